//! Random bodies, cut at random: read the same however they are cut, within the limits, and what
//! comes of a part is never more than came.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use pacs_web::limits::MultipartLimits;
use pacs_web::media_type::MediaType;
use pacs_web::multipart::{MultipartError, Next, PartReader};

type Read = (Vec<Vec<u8>>, Result<(), MultipartError>);

fn read(body: &[u8], piece_bytes: usize) -> Read {
    let kind = MediaType::parse("multipart/related; boundary=b").expect("a media type");
    let limits = MultipartLimits {
        head_bytes_max: 64,
        head_fields_max: 4,
        parts_max: 16,
        preamble_bytes_max: 64,
    };
    let mut reader = PartReader::new(&kind, limits).expect("a boundary");
    let mut pieces = body.chunks(piece_bytes);
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

fuzz_target!(|input: &[u8]| {
    let Some((cut, body)) = input.split_first() else {
        return;
    };
    let at_once = read(body, body.len().max(1));
    assert_eq!(read(body, usize::from(*cut).max(1)), at_once);
    assert_eq!(read(body, 1), at_once);
    let bytes: usize = at_once.0.iter().map(Vec::len).sum();
    assert!(bytes <= body.len() && at_once.0.len() <= 16);
});
