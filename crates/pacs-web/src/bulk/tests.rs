//! Bulk data as clients ask for it: compressed pixel data, and words of the other byte order.

use super::*;
use crate::testing::{Service, may};
use axum::body::to_bytes;
use axum::http::{HeaderValue, StatusCode};
use pacs_core::encode::write_data_set;
use pacs_core::tag::tags;
use pacs_core::{Attributes, TransferSyntaxUid, Vr};
use pacs_image::{Decoders, ImageLimits};

const CLASS: &str = "1.2.840.10008.5.1.4.1.1.7";
const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";
const RLE: &str = "1.2.840.10008.1.2.5";

/// Pixels of a frame.
const FRAME: [u8; 4] = [10, 20, 30, 40];

async fn service() -> Service {
    let decoders = Decoders::in_process(ImageLimits::default());
    Service::with(|options| options.decoders = Some(decoders)).await
}

/// The head of an image of two rows and columns.
fn head(number: u32, frames: usize, bits: u8) -> Attributes {
    let mut head = Attributes::new();
    let mut say = |tag, vr, text: &str| head.insert_text(tag, vr, text);
    say(tags::SOP_CLASS_UID, Vr::UI, CLASS);
    say(
        tags::SOP_INSTANCE_UID,
        Vr::UI,
        &format!("2.25.1.1.{number}"),
    );
    say(tags::PATIENT_ID, Vr::LO, "1");
    say(tags::STUDY_INSTANCE_UID, Vr::UI, "2.25.1");
    say(tags::SERIES_INSTANCE_UID, Vr::UI, "2.25.1.1");
    say(tags::SAMPLES_PER_PIXEL, Vr::US, "1");
    say(tags::PHOTOMETRIC_INTERPRETATION, Vr::CS, "MONOCHROME2");
    say(tags::NUMBER_OF_FRAMES, Vr::IS, &frames.to_string());
    say(tags::ROWS, Vr::US, "2");
    say(tags::COLUMNS, Vr::US, "2");
    say(tags::BITS_ALLOCATED, Vr::US, &bits.to_string());
    say(tags::BITS_STORED, Vr::US, &bits.to_string());
    say(tags::HIGH_BIT, Vr::US, &bits.saturating_sub(1).to_string());
    say(tags::PIXEL_REPRESENTATION, Vr::US, "0");
    head
}

/// Stores an image whose frames are RLE (PS3.5 G): each one segment, one run of literals.
async fn store_rle(service: &Service, number: u32, frames: usize) {
    let explicit = TransferSyntaxUid::parse(EXPLICIT).unwrap();
    let mut bytes = write_data_set(&head(number, frames, 8), &explicit).unwrap();
    bytes.extend(*b"\xE0\x7F\x10\x00OB\0\0\xFF\xFF\xFF\xFF\xFE\xFF\x00\xE0\0\0\0\0");
    for _ in 0..frames {
        let mut frame = vec![0; 64];
        frame[0] = 1;
        frame[4] = 64;
        frame.push(3);
        frame.extend(FRAME);
        frame.push(0x80);
        bytes.extend(*b"\xFE\xFF\x00\xE0");
        bytes.extend(u32::try_from(frame.len()).unwrap().to_le_bytes());
        bytes.extend(frame);
    }
    bytes.extend(*b"\xFE\xFF\xDD\xE0\0\0\0\0");
    let instance = format!("2.25.1.1.{number}");
    let syntax = TransferSyntaxUid::parse(RLE).unwrap();
    service.deposit((CLASS, &instance), syntax, bytes).await;
}

async fn ask(
    service: &Service,
    number: u32,
    headers: &[(header::HeaderName, &str)],
) -> Result<Response, Failure> {
    let instance = format!("2.25.1.1.{number}");
    let resource = Resource::new("2.25.1", Some("2.25.1.1"), Some(&instance)).unwrap();
    let mut all = HeaderMap::new();
    for (name, value) in headers {
        all.insert(name, HeaderValue::from_str(value).unwrap());
    }
    bulk_data(
        Allowed(may()),
        State(service.web.clone()),
        resource,
        Tail("7FE00010".to_owned()),
        all,
        RawQuery(None),
    )
    .await
}

async fn body(response: Response) -> Vec<u8> {
    to_bytes(response.into_body(), 1 << 20)
        .await
        .unwrap()
        .to_vec()
}

#[tokio::test]
async fn compressed_pixel_data_is_native_where_no_transfer_syntax_is_named() {
    let service = service().await;
    store_rle(&service, 1, 1).await;
    store_rle(&service, 2, 2).await;
    let bytes = r#"multipart/related; type="application/octet-stream""#;
    let rle = format!("{bytes}; transfer-syntax={RLE}");
    for (accept, syntax) in [
        (bytes, EXPLICIT),
        (&rle, RLE),
        (r#"multipart/related; type="image/dicom-rle""#, RLE),
    ] {
        let given = ask(&service, 2, &[(header::ACCEPT, accept)]).await.unwrap();
        let text = String::from_utf8_lossy(&body(given).await).into_owned();
        let kind = format!("transfer-syntax={syntax}\r\n");
        assert_eq!(text.matches(&kind).count(), 2, "{accept}: {text}");
        let is_native = text.matches("\r\n\r\n\n\u{14}\u{1e}(\r\n").count() == 2;
        assert_eq!(is_native, syntax == EXPLICIT, "{accept}: {text}");
    }
    let single = [(header::ACCEPT, BYTES)];
    let alone = ask(&service, 1, &single).await.unwrap();
    assert_eq!(
        alone.headers()[header::CONTENT_TYPE],
        format!("{BYTES}; transfer-syntax={EXPLICIT}")
    );
    assert_eq!(body(alone).await, FRAME);
    let two = ask(&service, 2, &single).await;
    assert!(matches!(two, Err(Failure::NotAcceptable { .. })));
}

#[tokio::test]
async fn whoever_has_compressed_pixel_data_is_not_given_it_again() {
    let service = service().await;
    store_rle(&service, 1, 2).await;
    let given = ask(&service, 1, &[]).await.unwrap();
    let tag = given.headers()[header::ETAG].to_str().unwrap().to_owned();
    assert!(tag.starts_with("W/"), "{tag}");

    let again = ask(&service, 1, &[(header::IF_NONE_MATCH, &tag)]).await;
    assert_eq!(again.unwrap().status(), StatusCode::NOT_MODIFIED);
    let native = (
        header::ACCEPT,
        "multipart/related; type=\"image/dicom-rle\"",
    );
    let other = ask(&service, 1, &[(header::IF_NONE_MATCH, &tag), native]).await;
    assert_eq!(other.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn of_words_that_are_turned_around_no_range_is_promised_or_refused() {
    let service = service().await;
    let big = TransferSyntaxUid::parse(BIG_ENDIAN).unwrap();
    let mut bytes = write_data_set(&head(1, 1, 16), &big).unwrap();
    bytes.extend(*b"\x7F\xE0\x00\x10OW\0\0\0\0\0\x08\0\x01\0\x02\0\x03\0\x04");
    service.deposit((CLASS, "2.25.1.1.1"), big, bytes).await;

    for range in ["bytes=0-1", "bytes=100-"] {
        let asked = [(header::RANGE, range), (header::ACCEPT, BYTES)];
        let given = ask(&service, 1, &asked).await.unwrap();
        assert_eq!(given.status(), StatusCode::OK, "{range}");
        assert!(!given.headers().contains_key(header::ACCEPT_RANGES));
        assert_eq!(body(given).await, *b"\x01\0\x02\0\x03\0\x04\0");
    }
}
