//! From decoded components to native pixel data.

use pacs_core::convert::{PixelError, PixelForm};

/// What a code stream says of its image, to be compared with the attributes before it is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) rows: u32,
    pub(crate) columns: u32,
    pub(crate) components: u32,
    /// Bits of a sample.
    pub(crate) precision: u32,
}

impl Shape {
    /// Whether the image is the one that the attributes describe.
    pub(crate) fn check(self, form: &PixelForm) -> Result<(), PixelError> {
        let damaged = |what| Err(PixelError::Damaged { what });
        if self.rows != u32::from(form.rows) || self.columns != u32::from(form.columns) {
            return damaged("a code stream of another size than Rows and Columns");
        }
        if self.components != u32::from(form.samples_per_pixel) {
            return damaged("a code stream of another number of components");
        }
        if self.precision == 0 || self.precision > u32::from(form.bits_allocated) {
            return damaged("a code stream of more bits than Bits Allocated");
        }
        Ok(())
    }
}

/// Number of pixels of a frame.
pub(super) fn pixels(form: &PixelForm) -> usize {
    usize::from(form.rows).saturating_mul(usize::from(form.columns))
}

/// Makes a signed number of the lowest `precision` bits of `value`.
pub(super) const fn extend_sign(value: i32, precision: u32) -> i32 {
    let shift = 32_u32.saturating_sub(precision);
    value.wrapping_shl(shift).wrapping_shr(shift)
}

/// Native pixel data of `planes`, one for each sample, each with the values of all pixels: little
/// endian, by pixel or by plane as `form` has it, single bits packed.
pub(super) fn native(
    form: &PixelForm,
    planes: &[impl AsRef<[i32]>],
) -> Result<Vec<u8>, PixelError> {
    let what = "fewer samples than pixels";
    let count = pixels(form);
    let planes: Option<Vec<&[i32]>> = planes
        .iter()
        .map(|plane| plane.as_ref().get(..count))
        .collect();
    let planes = planes.ok_or(PixelError::Damaged { what })?;
    let one = matches!(*planes, [_]);
    let mut out = Vec::new();
    let bytes = usize::from(form.bits_allocated.div_ceil(8));
    out.reserve_exact(count.saturating_mul(bytes).saturating_mul(planes.len()));
    if form.bits_allocated == 1 {
        let [plane] = *planes else {
            let what = "single bits of several samples";
            return Err(PixelError::Unsupported { what });
        };
        for eight in plane.chunks(8) {
            let pack =
                |byte: u8, (at, bit): (u32, &i32)| byte | u8::from(*bit & 1 == 1).wrapping_shl(at);
            out.push((0_u32..).zip(eight).fold(0, pack));
        }
        return Ok(out);
    }
    match form.bits_allocated {
        8 if one || form.is_planar => put::<1>(&planes, &mut out),
        16 if one || form.is_planar => put::<2>(&planes, &mut out),
        32 if one || form.is_planar => put::<4>(&planes, &mut out),
        8 => interleave::<1>(&planes, &mut out),
        16 => interleave::<2>(&planes, &mut out),
        32 => interleave::<4>(&planes, &mut out),
        _ => {
            let what = "Bits Allocated that the codec is not for";
            return Err(PixelError::Unsupported { what });
        }
    }
    Ok(out)
}

fn put<const N: usize>(planes: &[&[i32]], out: &mut Vec<u8>) {
    for plane in planes {
        out.extend(plane.iter().flat_map(|sample| low::<N>(*sample)));
    }
}

fn interleave<const N: usize>(planes: &[&[i32]], out: &mut Vec<u8>) {
    if let [red, green, blue] = planes {
        for ((red, green), blue) in red.iter().zip(*green).zip(*blue) {
            out.extend_from_slice(&low::<N>(*red));
            out.extend_from_slice(&low::<N>(*green));
            out.extend_from_slice(&low::<N>(*blue));
        }
        return;
    }
    let mut planes: Vec<_> = planes.iter().map(|plane| plane.iter()).collect();
    loop {
        for plane in &mut planes {
            let Some(sample) = plane.next() else {
                return;
            };
            out.extend_from_slice(&low::<N>(*sample));
        }
    }
}

/// The lowest `N` bytes.
fn low<const N: usize>(sample: i32) -> [u8; N] {
    let bytes = sample.to_le_bytes();
    let mut low = [0; N];
    for (low, byte) in low.iter_mut().zip(bytes) {
        *low = byte;
    }
    low
}
