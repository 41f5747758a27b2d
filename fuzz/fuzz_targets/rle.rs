//! RLE pixel data under random bytes: fragments of an image whose form the first bytes choose.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pacs_core::TransferSyntaxUid;
use pacs_core::convert::{PixelDecoder, PixelError, PixelForm};
use pacs_image::{ImageLimits, decoder};

fuzz_target!(|input: &[u8]| {
    let Some(([rows, columns, choice, size], bytes)) = input.split_first_chunk() else {
        return;
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
    let syntax = TransferSyntaxUid::parse("1.2.840.10008.1.2.5").expect("a known UID");
    let mut decoder = decoder(&syntax, &ImageLimits::default()).expect("RLE is decoded");
    let size = usize::from(*size) * 4 + 64;
    if let Ok(decoded) = decode(decoder.as_mut(), &form, bytes, size) {
        assert!(decoded as u64 <= form.native_bytes());
    }
    assert!(decoder.bytes_held() <= 4 * input.len() as u64 + 4096);
});

/// How many bytes come out of fragments of `size` bytes, the first one the offset table.
fn decode(
    decoder: &mut dyn PixelDecoder,
    form: &PixelForm,
    bytes: &[u8],
    size: usize,
) -> Result<usize, PixelError> {
    decoder.begin(form)?;
    let table = bytes.len().min(4 * form.frames as usize * usize::from(bytes.len() % 2 == 1));
    let (table, frames) = bytes.split_at(table);
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
