//! Tests of the writer: exact bytes where they are few, dicom-object as the reader where they are
//! many.

use super::*;
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::{TransferSyntaxIndex as _, TransferSyntaxRegistry};

const IMPLICIT: &str = "1.2.840.10008.1.2";
const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const BIG: &str = "1.2.840.10008.1.2.2";
const DEFLATED: &str = "1.2.840.10008.1.2.1.99";

fn syntax(uid: &str) -> TransferSyntaxUid {
    TransferSyntaxUid::parse(uid).unwrap()
}

fn sample() -> Attributes {
    let mut code = Attributes::new();
    code.insert_text(tags::CODE_VALUE, Vr::SH, "T-A0100");
    code.insert_text(tags::CODE_MEANING, Vr::LO, "Голова");
    let mut attributes = Attributes::new();
    attributes.insert_text(tags::SPECIFIC_CHARACTER_SET, Vr::CS, "ISO_IR 144");
    attributes.insert_text(tags::MODALITIES_IN_STUDY, Vr::CS, "CT\\MR");
    attributes.insert(
        tags::PROCEDURE_CODE_SEQUENCE,
        Vr::SQ,
        Value::Items(vec![code, Attributes::new()]),
    );
    attributes.insert_text(tags::PATIENT_NAME, Vr::PN, "Жээнбеков^Үсөн");
    attributes.insert_text(tags::STUDY_INSTANCE_UID, Vr::UI, "1.2.3");
    attributes.insert_text(tags::ROWS, Vr::US, "512");
    attributes.insert_text(tags::FRAME_INCREMENT_POINTER, Vr::AT, "(0018,1063)");
    attributes
}

#[test]
fn an_identifier_is_written_to_the_byte() {
    let mut attributes = Attributes::new();
    attributes.insert_text(tags::QUERY_RETRIEVE_LEVEL, Vr::CS, "STUDY");
    attributes.insert_text(tags::STUDY_INSTANCE_UID, Vr::UI, "1.2.3");

    let implicit = write_data_set(&attributes, &syntax(IMPLICIT)).unwrap();
    let big = write_data_set(&attributes, &syntax(BIG)).unwrap();

    assert_eq!(
        implicit,
        b"\x08\0\x52\0\x06\0\0\0STUDY \x20\0\x0d\0\x06\0\0\x001.2.3\0"
    );
    assert_eq!(
        big,
        b"\0\x08\0\x52CS\0\x06STUDY \0\x20\0\x0dUI\0\x061.2.3\0"
    );
}

#[test]
fn dicom_object_reads_what_is_written_in_every_encoding() {
    for uid in [IMPLICIT, EXPLICIT, BIG] {
        let bytes = write_data_set(&sample(), &syntax(uid)).unwrap();

        let ts = TransferSyntaxRegistry.get(uid).unwrap();
        let object = InMemDicomObject::read_dataset_with_ts(bytes.as_slice(), ts).unwrap();

        let text = |tag| object.element(tag).unwrap().to_str().unwrap().into_owned();
        assert_eq!(text(tags::SPECIFIC_CHARACTER_SET), "ISO_IR 192", "{uid}");
        assert_eq!(text(tags::MODALITIES_IN_STUDY), "CT\\MR", "{uid}");
        assert_eq!(text(tags::PATIENT_NAME), "Жээнбеков^Үсөн", "{uid}");
        assert_eq!(text(tags::STUDY_INSTANCE_UID), "1.2.3", "{uid}");
        assert_eq!(text(tags::ROWS), "512", "{uid}");
        let pointer = object.element(tags::FRAME_INCREMENT_POINTER).unwrap();
        assert_eq!(
            pointer.value().to_tag().unwrap(),
            Tag(0x0018, 0x1063),
            "{uid}"
        );
        let codes = object.element(tags::PROCEDURE_CODE_SEQUENCE).unwrap();
        let items = codes.items().unwrap();
        assert_eq!(items.len(), 2, "{uid}");
        let meaning = items[0].element(tags::CODE_MEANING).unwrap();
        assert_eq!(meaning.to_str().unwrap(), "Голова", "{uid}");
        assert_eq!(items[1].iter().count(), 0, "{uid}");
    }
}

#[test]
fn a_deflated_data_set_inflates_to_the_explicit_one_and_has_even_length() {
    use std::io::Read as _;
    let deflated = write_data_set(&sample(), &syntax(DEFLATED)).unwrap();
    let plain = write_data_set(&sample(), &syntax(EXPLICIT)).unwrap();

    let mut inflated = Vec::new();
    flate2::read::DeflateDecoder::new(deflated.as_slice())
        .read_to_end(&mut inflated)
        .unwrap();

    assert_eq!(inflated, plain);
    assert_eq!(deflated.len() % 2, 0);
}

#[test]
fn ascii_text_names_no_character_set() {
    let mut attributes = Attributes::new();
    attributes.insert_text(tags::SPECIFIC_CHARACTER_SET, Vr::CS, "ISO_IR 100");
    attributes.insert_text(tags::PATIENT_ID, Vr::LO, "P1");

    let bytes = write_data_set(&attributes, &syntax(EXPLICIT)).unwrap();

    assert_eq!(bytes, b"\x10\0\x20\0LO\x02\0P1");
}

#[test]
fn the_character_set_comes_before_the_first_greater_tag_even_at_the_end() {
    let mut attributes = Attributes::new();
    attributes.insert_text(Tag(0x0008, 0x0001), Vr::LO, "щ");

    let bytes = write_data_set(&attributes, &syntax(EXPLICIT)).unwrap();

    assert!(bytes.ends_with(b"\x08\0\x05\0CS\x0a\0ISO_IR 192"));
}

#[test]
fn binary_values_are_numbers_of_their_vr() {
    let cases: [(Vr, &str, &[u8]); 9] = [
        (Vr::US, "1\\65535", b"\x01\0\xff\xff"),
        (Vr::SS, "-2", b"\xfe\xff"),
        (Vr::UL, "4294967295", b"\xff\xff\xff\xff"),
        (Vr::SL, "-1", b"\xff\xff\xff\xff"),
        (Vr::FL, "0.5", b"\0\0\0\x3f"),
        (Vr::FD, "0.5", b"\0\0\0\0\0\0\xe0\x3f"),
        (Vr::SV, "-1", b"\xff\xff\xff\xff\xff\xff\xff\xff"),
        (Vr::UV, "1", b"\x01\0\0\0\0\0\0\0"),
        (Vr::AT, "00181063", b"\x18\0\x63\x10"),
    ];
    for (vr, text, expected) in cases {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out, Layout::ImplicitLittle);
        let tag = Tag(0x0029, 0x1001);
        let value = Value::Text(text.into());
        writer.attribute(&Attribute { tag, vr, value }).unwrap();
        assert_eq!(&out[8..], expected, "{vr:?}");
        assert_eq!(usize::from(out[4]), expected.len(), "{vr:?}");
    }
}

#[test]
fn what_cannot_be_written_is_named_and_leaves_no_trace() {
    let cases = [
        (Vr::US, "65536"),
        (Vr::US, "A"),
        (Vr::OB, "text"),
        (Vr::AT, "0018106"),
        (Vr::AT, "+0180018"),
    ];
    for (vr, text) in cases {
        let mut attributes = Attributes::new();
        attributes.insert_text(tags::PATIENT_ID, Vr::LO, "P1");
        attributes.insert_text(tags::ROWS, vr, text);
        let mut out = b"before".to_vec();

        let written = write_data_set_into(&mut out, &attributes, &syntax(EXPLICIT));

        assert_eq!(
            written,
            Err(EncodeError::Value { tag: tags::ROWS }),
            "{vr:?}"
        );
        assert_eq!(out, b"before", "{vr:?}");
    }
    let mut attributes = Attributes::new();
    attributes.insert_text(tags::PATIENT_ID, Vr::LO, "x".repeat(65_536));
    assert_eq!(
        write_data_set(&attributes, &syntax(EXPLICIT)),
        Err(EncodeError::TooLong {
            tag: tags::PATIENT_ID
        })
    );
    assert!(write_data_set(&attributes, &syntax(IMPLICIT)).is_ok());
}

#[test]
fn sequences_nested_without_end_are_refused() {
    let mut attributes = Attributes::new();
    for _ in 0..=ITEM_DEPTH_MAX {
        let mut outer = Attributes::new();
        outer.insert(
            tags::PROCEDURE_CODE_SEQUENCE,
            Vr::SQ,
            Value::Items(vec![attributes]),
        );
        attributes = outer;
    }

    assert_eq!(
        write_data_set(&attributes, &syntax(EXPLICIT)),
        Err(EncodeError::Depth)
    );
}
