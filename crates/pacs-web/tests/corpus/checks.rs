//! What must hold of any input: for the fuzz targets `multipart` and `accept`, and for their
//! corpora.

use bytes::Bytes;
use pacs_web::accept::{Accept, Offer, describe};
use pacs_web::limits::MultipartLimits;
use pacs_web::media_type::MediaType;
use pacs_web::multipart::{MultipartError, Next, PartReader};

const LIMITS: MultipartLimits = MultipartLimits {
    head_bytes_max: 64,
    head_fields_max: 4,
    parts_max: 16,
    preamble_bytes_max: 64,
};

fn read(body: &[u8], piece_bytes: usize) -> (Vec<Vec<u8>>, Result<(), MultipartError>) {
    let kind = MediaType::parse("multipart/related; boundary=b").unwrap();
    let mut reader = PartReader::new(&kind, LIMITS).unwrap();
    let mut pieces = body.chunks(piece_bytes.max(1));
    let mut whole = Vec::new();
    let mut open = Vec::new();
    loop {
        match reader.advance() {
            Ok(Next::Part(_)) => open.clear(),
            Ok(Next::Data(bytes)) => open.extend_from_slice(&bytes),
            Ok(Next::PartEnd) => whole.push(std::mem::take(&mut open)),
            Ok(Next::End) => return (whole, Ok(())),
            Ok(Next::NeedsChunk) => match pieces.next() {
                Some(piece) => reader.push(Bytes::copy_from_slice(piece)),
                None => return (whole, reader.finish()),
            },
            Err(error) => return (whole, Err(error)),
        }
    }
}

/// A body is read the same however it is cut, within the limits, and never more comes of it than
/// it holds. The first byte says how it is cut.
pub(crate) fn multipart(input: &[u8]) {
    let Some((cut, body)) = input.split_first() else {
        return;
    };
    let at_once = read(body, body.len());
    assert_eq!(read(body, usize::from(*cut)), at_once);
    assert_eq!(read(body, 1), at_once);
    let bytes: usize = at_once.0.iter().map(Vec::len).sum();
    assert!(bytes <= body.len() && at_once.0.len() <= LIMITS.parts_max);
}

/// What is chosen is one of the offers; the order of the server decides among equals alone, never
/// what is possible at all. The query parameter follows the first end of a line.
pub(crate) fn accept(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (header, query) = text.split_once('\n').unwrap_or((&text, ""));
    let offers = [
        Offer::multipart("application/dicom").in_syntax("1.2.840.10008.1.2.1", true),
        Offer::multipart("application/dicom").in_syntax("1.2.840.10008.1.2.4.50", false),
        Offer::single("application/dicom+json"),
        Offer::single("image/jpeg"),
    ];
    let Ok(accept) = Accept::parse([header], [query]) else {
        return;
    };
    let chosen = accept.choose(&offers);
    assert!(chosen.is_none_or(|chosen| offers.contains(chosen)));
    let mut reversed = offers.clone();
    reversed.reverse();
    assert_eq!(accept.choose(&reversed).is_some(), chosen.is_some());
    assert!(!describe(&offers).is_empty());
}
