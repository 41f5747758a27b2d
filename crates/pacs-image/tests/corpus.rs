//! The corpora of the fuzz targets `convert` and `rle`, replayed: see `fuzz/fuzz_targets` for what
//! their first bytes mean.
#![expect(
    clippy::unwrap_used,
    reason = "what a test's own functions do is the test"
)]

use pacs_core::TransferSyntaxUid;
use pacs_core::convert::{ConvertError, Converter, PixelDecoder, PixelError, PixelForm, Progress};
use pacs_core::limits::ScanLimits;
use pacs_image::{ImageLimits, decoder};
use std::path::Path;

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

fn uid(name: &str) -> TransferSyntaxUid {
    TransferSyntaxUid::parse(name).unwrap()
}

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    std::fs::read_dir(folder.join(target))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.display().to_string(), std::fs::read(path).unwrap()))
        .collect()
}

fn convert(
    bytes: &[u8],
    (from, to): (&TransferSyntaxUid, &TransferSyntaxUid),
    size: usize,
) -> Result<Vec<u8>, ConvertError> {
    let decoder = decoder(from, &ImageLimits::default());
    let mut converter = Converter::new(from, to, decoder, &ScanLimits::default())?;
    let mut rest = bytes.chunks(size);
    let mut out = Vec::new();
    loop {
        let bytes_max = out.len() + size;
        match converter.read(&mut out, bytes_max)? {
            Progress::Done => return Ok(out),
            Progress::Full => {}
            Progress::NeedsInput => match rest.next() {
                Some(chunk) => converter.push(chunk.to_vec()),
                None => converter.end(),
            },
        }
    }
}

#[test]
fn what_was_converted_does_not_change_when_it_is_converted_again() {
    let mut converted = 0;
    for (name, input) in corpus("convert") {
        let Some((&choice, bytes)) = input.split_first() else {
            continue;
        };
        let from = uid(FROM[usize::from(choice & 7)]);
        let to = uid(TO[usize::from(choice >> 3 & 3)]);
        let whole = convert(bytes, (&from, &to), 1 << 20);
        let pieces = convert(bytes, (&from, &to), usize::from(choice >> 5) * 7 + 1);
        assert_eq!(whole.is_ok(), pieces.is_ok(), "{name}");
        if let (Ok(whole), Ok(pieces)) = (whole, pieces) {
            assert_eq!(whole, pieces, "{name}");
            if from.as_str() != FROM[3] {
                assert_eq!(convert(&whole, (&to, &to), 1 << 20), Ok(whole), "{name}");
            }
            converted += 1;
        }
    }
    assert!(converted >= 18, "{converted}");
}

fn decode(
    decoder: &mut dyn PixelDecoder,
    form: &PixelForm,
    bytes: &[u8],
    size: usize,
) -> Result<u64, PixelError> {
    decoder.begin(form)?;
    let mut decoded = 0;
    let mut out = Vec::new();
    for fragment in std::iter::once(&[][..]).chain(bytes.chunks(size)) {
        decoder.fragment(fragment.len() as u64)?;
        decoded += drain(decoder, &mut out)?;
        decoder.push(fragment)?;
    }
    decoder.end()?;
    Ok(decoded + drain(decoder, &mut out)?)
}

fn drain(decoder: &mut dyn PixelDecoder, out: &mut Vec<u8>) -> Result<u64, PixelError> {
    let mut all = 0;
    loop {
        out.clear();
        decoder.read(out, 1000)?;
        if out.is_empty() {
            return Ok(all);
        }
        all += out.len() as u64;
    }
}

#[test]
fn no_more_pixels_come_out_than_the_attributes_say() {
    let mut decoded = 0;
    for (name, input) in corpus("rle") {
        let Some(([rows, columns, choice, size], bytes)) = input.split_first_chunk() else {
            continue;
        };
        let form = PixelForm {
            rows: u16::from(*rows),
            columns: u16::from(*columns),
            samples_per_pixel: u16::from(choice & 3),
            bits_allocated: [1, 8, 16, 32][usize::from(choice >> 2 & 3)],
            is_planar: choice & 16 != 0,
            is_subsampled: false,
            frames: u32::from(choice >> 5) + 1,
        };
        let mut decoder = decoder(&uid(FROM[4]), &ImageLimits::default()).unwrap();
        let size = usize::from(*size) * 4 + 64;
        if let Ok(bytes) = decode(decoder.as_mut(), &form, bytes, size) {
            assert!(bytes <= form.native_bytes(), "{name}");
            decoded += 1;
        }
    }
    assert!(decoded >= 4, "{decoded}");
}
