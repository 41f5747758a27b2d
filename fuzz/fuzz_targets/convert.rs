//! The converter under random bytes.
//!
//! The first byte chooses source, target and the size of pieces. Whole and in pieces must give the
//! same; what was converted can be converted again, and then changes no more.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pacs_core::TransferSyntaxUid;
use pacs_core::convert::{ConvertError, Converter, Progress};
use pacs_core::limits::ScanLimits;
use pacs_image::{ImageLimits, decoder};

const FROM: [&str; 8] = [
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.1.98",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.5",
];

const TO: [&str; 4] = [
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1",
];

/// Bytes that are looked at: a short run may stand for many pixels.
const OUT_BYTES_MAX: usize = 64 << 20;

fuzz_target!(|input: &[u8]| {
    let Some((&choice, bytes)) = input.split_first() else {
        return;
    };
    let uid = |name: &str| TransferSyntaxUid::parse(name).expect("a known UID");
    let from = uid(FROM[usize::from(choice & 7)]);
    let to = uid(TO[usize::from(choice >> 3 & 3)]);
    let size = usize::from(choice >> 5) * 7 + 1;

    let whole = convert(bytes, (&from, &to), bytes.len().max(1), 1 << 20);
    let pieces = convert(bytes, (&from, &to), size, size);
    assert_eq!(whole.is_ok(), pieces.is_ok(), "{whole:?}, {pieces:?}");
    if let (Ok(whole), Ok(pieces)) = (whole, pieces) {
        assert!(whole == pieces);
        // A deflated data set is passed on unread.
        if whole.len() < OUT_BYTES_MAX && FROM[usize::from(choice & 7)] != FROM[3] {
            let again = convert(&whole, (&to, &to), whole.len().max(1), 1 << 20);
            assert!(again.expect("what was converted is a data set") == whole);
        }
    }
});

fn convert(
    bytes: &[u8],
    (from, to): (&TransferSyntaxUid, &TransferSyntaxUid),
    input_bytes: usize,
    output_bytes: usize,
) -> Result<Vec<u8>, ConvertError> {
    let decoder = decoder(from, &ImageLimits::default());
    let mut converter = Converter::new(from, to, decoder, &ScanLimits::default())?;
    let mut rest = bytes.chunks(input_bytes);
    let mut out = Vec::new();
    while out.len() < OUT_BYTES_MAX {
        let bytes_max = out.len() + output_bytes;
        match converter.read(&mut out, bytes_max)? {
            Progress::Done => break,
            Progress::Full => {}
            Progress::NeedsInput => match rest.next() {
                Some(chunk) => converter.push(chunk.to_vec()),
                None => converter.end(),
            },
        }
    }
    out.truncate(OUT_BYTES_MAX);
    Ok(out)
}
