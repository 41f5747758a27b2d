//! What must hold of conversion and of RLE, whatever the bytes: used by the fuzz targets `convert`
//! and `rle`, and by the replay of their corpora.

use pacs_core::TransferSyntaxUid;
use pacs_core::convert::{
    ConvertError, Converter, Photometric, PixelDecoder, PixelError, PixelForm, Progress,
};
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

fn uid(name: &str) -> TransferSyntaxUid {
    TransferSyntaxUid::parse(name).expect("a known UID")
}

/// The first byte chooses source, target and the size of pieces. Whole and in pieces must give the
/// same; what was converted can be converted again, and then changes no more. Whether it was.
pub(crate) fn converted(input: &[u8]) -> bool {
    let Some((&choice, bytes)) = input.split_first() else {
        return false;
    };
    let from = uid(FROM[usize::from(choice & 7)]);
    let to = uid(TO[usize::from(choice >> 3 & 3)]);
    let size = usize::from(choice >> 5) * 7 + 1;
    let whole = convert(bytes, (&from, &to), bytes.len().max(1), 1 << 20);
    let pieces = convert(bytes, (&from, &to), size, size);
    assert_eq!(whole.is_ok(), pieces.is_ok(), "{whole:?}, {pieces:?}");
    let (Ok(whole), Ok(pieces)) = (whole, pieces) else {
        return false;
    };
    assert!(whole == pieces, "whole and in pieces are not the same");
    // A deflated data set is passed on unread.
    if whole.len() < OUT_BYTES_MAX && from.as_str() != FROM[3] {
        let again = convert(&whole, (&to, &to), whole.len().max(1), 1 << 20);
        let again = again.expect("what was converted is a data set");
        assert!(again == whole, "it changes again");
    }
    true
}

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

/// Fragments of an image whose form the first bytes choose: no more comes out than the form says,
/// and what is held is bounded by what came in. Whether they were decoded.
pub(crate) fn rle(input: &[u8]) -> bool {
    let Some(([rows, columns, choice, size], bytes)) = input.split_first_chunk() else {
        return false;
    };
    let form = PixelForm {
        rows: u16::from(*rows),
        columns: u16::from(*columns),
        samples_per_pixel: u16::from(choice & 3),
        bits_allocated: [1, 8, 16, 32][usize::from(choice >> 2 & 3)],
        bits_stored: 1,
        is_signed: false,
        photometric: Photometric::Other,
        is_planar: choice & 16 != 0,
        is_subsampled: false,
        frames: u32::from(choice >> 5) + 1,
    };
    let decoder = decoder(&uid("1.2.840.10008.1.2.5"), &ImageLimits::default());
    let mut decoder = decoder.expect("RLE is decoded");
    let size = usize::from(*size) * 4 + 64;
    let decoded = decode(decoder.as_mut(), &form, bytes, size);
    if let Ok(decoded) = decoded {
        assert!(decoded as u64 <= form.native_bytes());
    }
    assert!(decoder.bytes_held() <= 4 * input.len() as u64 + 4096);
    decoded.is_ok()
}

/// How many bytes come out of fragments of `size` bytes, the first one the offset table.
fn decode(
    decoder: &mut dyn PixelDecoder,
    form: &PixelForm,
    bytes: &[u8],
    size: usize,
) -> Result<usize, PixelError> {
    decoder.begin(form)?;
    let table = 4 * form.frames as usize * usize::from(bytes.len() % 2 == 1);
    let (table, frames) = bytes.split_at(bytes.len().min(table));
    let mut decoded = 0;
    for fragment in std::iter::once(table).chain(frames.chunks(size)) {
        decoder.fragment(fragment.len() as u64)?;
        decoded += drain(decoder)?;
        for part in fragment.chunks(50) {
            decoder.push(part)?;
        }
    }
    decoder.end()?;
    Ok(decoded + drain(decoder)?)
}

fn drain(decoder: &mut dyn PixelDecoder) -> Result<usize, PixelError> {
    let (mut all, mut out) = (0, Vec::new());
    loop {
        decoder.read(&mut out, 1000)?;
        if out.is_empty() {
            return Ok(all);
        }
        all += out.len();
        out.clear();
    }
}
