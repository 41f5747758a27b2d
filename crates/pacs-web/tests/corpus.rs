//! Replays the corpora of the fuzz targets, so that what was found once stays found.

#![expect(clippy::unwrap_used, reason = "a test says by it what it expects")]

use bytes::Bytes;
use pacs_web::accept::{Accept, Offer};
use pacs_web::limits::MultipartLimits;
use pacs_web::media_type::MediaType;
use pacs_web::multipart::{MultipartError, Next, PartReader};
use std::path::Path;

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let files = std::fs::read_dir(folder.join(target)).unwrap();
    let inputs: Vec<(String, Vec<u8>)> = files
        .map(|file| {
            let path = file.unwrap().path();
            (path.display().to_string(), std::fs::read(&path).unwrap())
        })
        .collect();
    assert!(!inputs.is_empty(), "the corpus of {target} is empty");
    inputs
}

fn read(body: &[u8], piece_bytes: usize) -> (Vec<Vec<u8>>, Result<(), MultipartError>) {
    let kind = MediaType::parse("multipart/related; boundary=b").unwrap();
    let limits = MultipartLimits {
        head_bytes_max: 64,
        head_fields_max: 4,
        parts_max: 16,
        preamble_bytes_max: 64,
    };
    let mut reader = PartReader::new(&kind, limits).unwrap();
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

#[test]
fn the_multipart_corpus_holds() {
    for (name, input) in corpus("multipart") {
        let (cut, body) = input.split_first().expect("a first byte");
        let at_once = read(body, body.len());
        assert_eq!(read(body, usize::from(*cut)), at_once, "{name}");
        assert_eq!(read(body, 1), at_once, "{name}");
    }
}

#[test]
fn the_accept_corpus_holds() {
    let offers = [
        Offer::multipart("application/dicom").in_syntax("1.2.840.10008.1.2.1", true),
        Offer::single("application/dicom+json"),
        Offer::single("image/jpeg"),
    ];
    for (name, input) in corpus("accept") {
        let text = String::from_utf8_lossy(&input);
        let (header, query) = text.split_once('\n').unwrap_or((&text, ""));
        if let Ok(accept) = Accept::parse([header], [query]) {
            let chosen = accept.choose(&offers);
            assert!(
                chosen.is_none_or(|chosen| offers.contains(chosen)),
                "{name}"
            );
        }
    }
}
