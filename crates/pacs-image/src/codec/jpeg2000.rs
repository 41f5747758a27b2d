//! JPEG 2000 and High-Throughput JPEG 2000 (ISO/IEC 15444-1 and -15), by OpenJPEG. PS3.5 A.4.4.
//!
//! OpenJPEG is C, and hostile code streams have made it use gigabytes and minutes: it belongs into
//! a worker process ([`crate::WorkerPool`]). What is here reads the size of the image first, and
//! makes native samples of what comes out.

use super::samples::{Shape, extend_sign, native};
use jpeg2k::{DecodeParameters, Image};
use pacs_core::convert::{PixelError, PixelForm};

const fn damaged(what: &'static str) -> PixelError {
    PixelError::Damaged { what }
}

/// How a bare code stream begins: its start, and the marker of the size.
const START: [u8; 4] = [0xFF, 0x4F, 0xFF, 0x51];

/// How a JP2 file begins, which the standard forbids and archives hold.
const FILE_START: [u8; 8] = [0, 0, 0, 12, b'j', b'P', b' ', b' '];

/// The code stream, without the boxes of a JP2 file around it.
fn code_stream(encoded: &[u8]) -> Option<&[u8]> {
    if encoded.starts_with(&START) {
        return Some(encoded);
    }
    let mut rest = encoded.starts_with(&FILE_START).then_some(encoded)?;
    loop {
        let ([a, b, c, d, kind @ ..], after) = rest.split_first_chunk::<8>()?;
        let length = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).ok()?;
        if kind == b"jp2c" {
            let stream = if length == 1 { after.get(8..)? } else { after };
            return stream.starts_with(&START).then_some(stream);
        }
        rest = rest.get(length.max(8)..)?;
    }
}

/// What the marker of the size says (ISO/IEC 15444-1 A.5.1).
pub(super) fn shape(encoded: &[u8]) -> Result<Shape, PixelError> {
    let cut = damaged("no code stream of JPEG 2000");
    let stream = code_stream(encoded).ok_or(cut)?;
    let words = stream.get(8..40).ok_or(cut)?.as_chunks::<4>().0;
    let mut words = words.iter().map(|word| u32::from_be_bytes(*word));
    let mut next = || words.next().ok_or(cut);
    let (right, bottom, left, top) = (next()?, next()?, next()?, next()?);
    let (tile_columns, tile_rows) = (next()?, next()?);
    let count = stream
        .get(40..42)
        .and_then(|two| two.first_chunk())
        .ok_or(cut)?;
    let count = u16::from_be_bytes(*count);
    let of_each = stream.get(42..).ok_or(cut)?.as_chunks::<3>().0;
    let of_each = of_each.get(..usize::from(count)).ok_or(cut)?;
    let [depth, ..] = of_each.first().ok_or(cut)?;
    if of_each
        .iter()
        .any(|[other, across, down]| other != depth || (*across, *down) != (1, 1))
    {
        let what = "JPEG 2000 components that are not alike";
        return Err(PixelError::Unsupported { what });
    }
    if tile_columns == 0 || tile_rows == 0 {
        return Err(damaged("tiles without size"));
    }
    Ok(Shape {
        rows: bottom.saturating_sub(top),
        columns: right.saturating_sub(left),
        components: u32::from(count),
        precision: u32::from(depth & 0x7F).saturating_add(1),
    })
}

/// Decodes a frame; a multiple component transformation is undone, so that colour is RGB.
pub(super) fn decode(form: &PixelForm, encoded: &[u8]) -> Result<Vec<u8>, PixelError> {
    let shape = shape(encoded)?;
    shape.check(form)?;
    let parameters = DecodeParameters::new().strict(true).ignore_pclr_cmap_cdef();
    let stream = code_stream(encoded).ok_or(damaged("no code stream of JPEG 2000"))?;
    let image = Image::from_bytes_with(stream, parameters)
        .map_err(|_error| damaged("a code stream of JPEG 2000"))?;
    let components = image.components();
    let is_whole = |c: &jpeg2k::ImageComponent| {
        c.width() == u32::from(form.columns) && c.height() == u32::from(form.rows)
    };
    if components.len() != usize::from(form.samples_per_pixel) || !components.iter().all(is_whole) {
        return Err(damaged("components of another size"));
    }
    let planes: Vec<Vec<i32>> = components
        .iter()
        .map(|component| {
            signed_as(
                form,
                component.is_signed(),
                shape.precision,
                component.data(),
            )
        })
        .collect();
    native(form, &planes)
}

/// The samples as Pixel Representation has them: encoders are known that say something else in the
/// code stream, where the bits are meant.
fn signed_as(form: &PixelForm, is_signed: bool, precision: u32, samples: &[i32]) -> Vec<i32> {
    let mask = u32::MAX
        .checked_shr(32_u32.saturating_sub(precision))
        .unwrap_or(0);
    let mask = i32::from_ne_bytes(mask.to_ne_bytes());
    match (is_signed, form.is_signed) {
        (true, true) | (false, false) => samples.to_vec(),
        (false, true) => samples.iter().map(|s| extend_sign(*s, precision)).collect(),
        (true, false) => samples.iter().map(|s| s & mask).collect(),
    }
}
