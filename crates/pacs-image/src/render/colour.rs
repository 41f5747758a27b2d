//! Colour to RGB: palettes, YBR, planes (PS3.3 C.7.6.3.1.2).

use super::grey::Cell;
use super::lookup::Lookup;
use super::picture::Picture;
use super::{NativeFrame, RenderError};
use crate::head::DataSet;
use pacs_core::convert::Photometric;
use pacs_core::tag::tags;

/// Three tables that belong together (PS3.3 C.7.9).
pub(super) struct Palette {
    tables: [Lookup; 3],
    /// Bits of the entries below the upper eight.
    surplus_bits: u32,
}

impl Palette {
    /// Of `item`; `is_signed` is how its input is coded where the VR does not tell.
    pub(super) fn of(item: &DataSet<'_>, is_signed: bool) -> Option<Self> {
        let table = |descriptor, data, segmented| {
            let whole = Lookup::read(item, descriptor, data, is_signed);
            whole.or_else(|| Lookup::read_segmented(item, descriptor, segmented, is_signed))
        };
        let red = table(
            tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
            tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
            tags::SEGMENTED_RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
        )?;
        let green = table(
            tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
            tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
            tags::SEGMENTED_GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
        )?;
        let blue = table(
            tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
            tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
            tags::SEGMENTED_BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
        )?;
        let surplus_bits = Lookup::surplus_bits([&red, &green, &blue]);
        Some(Self {
            tables: [red, green, blue],
            surplus_bits,
        })
    }

    /// The colour of a value.
    fn at(&self, value: i64) -> [u8; 3] {
        let entries = self.tables.each_ref().map(|table| table.entry(value));
        entries.map(|entry| upper_bits(entry, self.surplus_bits))
    }

    /// The colour of a part of its input, from 0 to 1.
    pub(super) fn at_part(&self, part: f64) -> [u8; 3] {
        let entries = self.tables.each_ref().map(|table| table.entry_at(part));
        entries.map(|entry| upper_bits(entry, self.surplus_bits))
    }
}

/// An entry without its lower `surplus_bits`, in eight bits.
fn upper_bits(entry: u16, surplus_bits: u32) -> u8 {
    let byte = entry.checked_shr(surplus_bits).unwrap_or(0);
    u8::try_from(byte).unwrap_or(u8::MAX)
}

/// PALETTE COLOR.
pub(super) fn palette(root: &DataSet<'_>, frame: &NativeFrame<'_>) -> Result<Picture, RenderError> {
    let form = frame.form;
    let what = "it has no palette";
    let palette = Palette::of(root, form.is_signed).ok_or(RenderError::Damaged { what })?;
    let cell = Cell::of(Some(root), form);
    let pixels = super::pixels(form);
    let colour = |raw: u32| palette.at(cell.value(raw));
    let samples: Vec<u8> = match form.bits_allocated {
        8 => {
            let table: Vec<[u8; 3]> = (0..256).map(colour).collect();
            let at = frame.bytes.iter().take(pixels).map(|raw| usize::from(*raw));
            at.flat_map(|at| table.get(at).copied().unwrap_or_default())
                .collect()
        }
        16 => {
            let table: Vec<[u8; 3]> = (0..65_536).map(colour).collect();
            let words = frame.bytes.as_chunks::<2>().0.iter().take(pixels);
            let at = words.map(|raw| usize::from(u16::from_le_bytes(*raw)));
            at.flat_map(|at| table.get(at).copied().unwrap_or_default())
                .collect()
        }
        _ => {
            let what = "a palette image of these Bits Allocated";
            return Err(RenderError::Unsupported { what });
        }
    };
    Ok(Picture::new(
        form.columns.into(),
        form.rows.into(),
        true,
        samples,
    ))
}

/// Three samples to a pixel.
pub(super) fn render(frame: &NativeFrame<'_>) -> Result<Picture, RenderError> {
    let form = frame.form;
    let unsupported = |what| Err(RenderError::Unsupported { what });
    let bytes = eight_bits(frame)?;
    let pixels = super::pixels(form);
    let convert: Option<fn([u8; 3]) -> [u8; 3]> = match form.photometric {
        Photometric::YbrFull | Photometric::YbrFull422 | Photometric::YbrIct => Some(of_full),
        Photometric::YbrPartial422 => Some(of_partial),
        Photometric::YbrPartial420 | Photometric::YbrRct => {
            return unsupported("native pixel data of this Photometric Interpretation");
        }
        Photometric::Rgb
        | Photometric::Monochrome1
        | Photometric::Monochrome2
        | Photometric::PaletteColor
        | Photometric::Other => None,
    };
    let mut samples = if form.is_subsampled {
        // Two luminances, and the chrominance of both.
        let fours = bytes.as_chunks::<4>().0.iter();
        fours
            .flat_map(|[first, second, blue, red]| [*first, *blue, *red, *second, *blue, *red])
            .collect()
    } else if form.is_planar {
        let (first, rest) = bytes.split_at_checked(pixels).unwrap_or_default();
        let (second, third) = rest.split_at_checked(pixels).unwrap_or_default();
        let planes = first.iter().zip(second).zip(third);
        planes
            .flat_map(|((first, second), third)| [*first, *second, *third])
            .collect()
    } else {
        bytes.into_owned()
    };
    if let Some(convert) = convert {
        for pixel in samples.as_chunks_mut::<3>().0 {
            *pixel = convert(*pixel);
        }
    }
    Ok(Picture::new(
        form.columns.into(),
        form.rows.into(),
        true,
        samples,
    ))
}

/// The samples in eight bits, the upper ones where there are more.
fn eight_bits<'f>(frame: &NativeFrame<'f>) -> Result<std::borrow::Cow<'f, [u8]>, RenderError> {
    let bits = u32::from(frame.form.bits_stored);
    let shift = bits.saturating_sub(8);
    let byte = |value: u32| u8::try_from(value.wrapping_shr(shift) & 0xFF).unwrap_or(0);
    let what = "a colour image of these Bits Allocated";
    match (frame.form.bits_allocated, frame.is_float) {
        (8, false) => Ok(frame.bytes.into()),
        (16, false) => {
            let words = frame.bytes.as_chunks::<2>().0.iter();
            Ok(words
                .map(|word| byte(u16::from_le_bytes(*word).into()))
                .collect())
        }
        (32, false) => {
            let longs = frame.bytes.as_chunks::<4>().0.iter();
            Ok(longs.map(|long| byte(u32::from_le_bytes(*long))).collect())
        }
        _ => Err(RenderError::Unsupported { what }),
    }
}

/// Half of the parts of 65536 that a conversion multiplies by.
const HALF: i32 = 32_768;

/// `YBR_FULL`: all levels are used. The inverse of PS3.3 C.7.6.3.1.2 as ITU-T T.871 7 has it, in
/// whole numbers: only the result is rounded.
fn of_full([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    let y = i32::from(y);
    let (cb, cr) = (
        i32::from(cb).wrapping_sub(128),
        i32::from(cr).wrapping_sub(128),
    );
    let times = i32::wrapping_mul;
    let red = times(y, 1_000).wrapping_add(times(cr, 1_402));
    let green = times(y, 587_000)
        .wrapping_sub(times(cb, 202_008))
        .wrapping_sub(times(cr, 419_198));
    let blue = times(y, 1_000).wrapping_add(times(cb, 1_772));
    [
        nearest::<1_000>(red),
        nearest::<587_000>(green),
        nearest::<1_000>(blue),
    ]
}

/// The nearest level to so many parts of `PARTS`, an even number; halves go up.
fn nearest<const PARTS: i32>(sum: i32) -> u8 {
    let level = sum.wrapping_add(PARTS / 2).div_euclid(PARTS);
    u8::try_from(level.clamp(0, 255)).unwrap_or(0)
}

/// `YBR_PARTIAL_422`: black is 16 and white 235.
fn of_partial([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    let y = i32::from(y)
        .wrapping_sub(16)
        .wrapping_mul(76_309)
        .wrapping_add(HALF);
    let (cb, cr) = (
        i32::from(cb).wrapping_sub(128),
        i32::from(cr).wrapping_sub(128),
    );
    let red = y.wrapping_add(cr.wrapping_mul(104_597));
    let green = y
        .wrapping_sub(cb.wrapping_mul(25_675))
        .wrapping_sub(cr.wrapping_mul(53_279));
    let blue = y.wrapping_add(cb.wrapping_mul(132_201));
    [upper(red), upper(green), upper(blue)]
}

fn upper(sum: i32) -> u8 {
    u8::try_from(sum.wrapping_shr(16).clamp(0, 255)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_of_full_range_are_rounded_once_and_halves_go_up() {
        // 222 - 1.772 * 125 is 0.5, and 222 + 1.772 * 125 beyond white.
        assert_eq!(of_full([222, 3, 128]), [222, 255, 1]);
        assert_eq!(of_full([0, 253, 128]), [0, 0, 222]);
        for y in (0..=255_u8).step_by(17) {
            for (cb, cr) in (0..=255_u8).flat_map(|cb| (0..=255_u8).map(move |cr| (cb, cr))) {
                let (b, r) = (f64::from(cb) - 128.0, f64::from(cr) - 128.0);
                let green = f64::from(y) - (0.202_008 * b + 0.419_198 * r) / 0.587;
                let wanted = [f64::from(y) + 1.402 * r, green, f64::from(y) + 1.772 * b];
                let found = of_full([y, cb, cr]).map(f64::from);
                for (wanted, found) in wanted.into_iter().zip(found) {
                    let error = (wanted.clamp(0.0, 255.0) - found).abs();
                    assert!(error <= 0.5 + 1e-9, "{y} {cb} {cr}: {found} for {wanted}");
                }
            }
        }
    }
}
