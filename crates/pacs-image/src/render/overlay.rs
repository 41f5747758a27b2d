//! Overlays (PS3.3 C.9): planes of single bits that are drawn over the image in white.

use super::NativeFrame;
use super::ink::Ink;
use super::picture::Picture;
use crate::head::DataSet;
use crate::limits::RenderLimits;
use pacs_core::Tag;

/// The first of the groups for overlays; the others follow, two apart.
const FIRST_GROUP: u16 = 0x6000;

/// Draws those overlays of the frame whose group `is_shown`.
pub(super) fn draw(
    root: &DataSet<'_>,
    frame: &NativeFrame<'_>,
    picture: &mut Picture,
    limits: &RenderLimits,
    is_shown: impl Fn(u16) -> bool,
) {
    let groups = (FIRST_GROUP..).step_by(2).take(limits.overlays_max.min(16));
    for group in groups.filter(|group| is_shown(*group)) {
        if let Some(plane) = Plane::of(root, group, frame) {
            plane.draw(picture);
        }
    }
}

/// An overlay.
struct Plane {
    rows: usize,
    columns: usize,
    /// Where its first pixel lies, from 0 on; may be off the image.
    top: i64,
    left: i64,
    bits: Bits,
}

enum Bits {
    /// Eight pixels to a byte, the lowest bit first, from a number of bits on.
    Packed(Vec<u8>, usize),
    /// One to a pixel of the image.
    Embedded(Vec<bool>),
}

impl Plane {
    fn of(root: &DataSet<'_>, group: u16, frame: &NativeFrame<'_>) -> Option<Self> {
        let tag = |element| Tag(group, element);
        let size = |element| {
            let number = root.number(tag(element))?;
            (1.0..=65_535.0)
                .contains(&number)
                .then(|| usize::from(super::grey::word(number)))
        };
        let (rows, columns) = (size(0x0010)?, size(0x0011)?);
        let (top, left) = match *root.numbers(tag(0x0050)) {
            [top, left, ..] => (place(top), place(left)),
            _ => (0, 0),
        };
        let is_apart = root.value(tag(0x3000)).is_some_and(|bits| !bits.is_empty());
        let bits = match is_apart {
            true => {
                let index = frame_index(root, group, frame.number)?;
                let count = rows.checked_mul(columns)?;
                let skip = count.checked_mul(index)?;
                let words = skip.checked_add(count)?.div_ceil(16);
                let words = root.words(tag(0x3000), words)?;
                Bits::Packed(
                    words.iter().flat_map(|word| word.to_le_bytes()).collect(),
                    skip,
                )
            }
            false => Bits::Embedded(embedded(frame, root.number(tag(0x0102))?)?),
        };
        Some(Self {
            rows,
            columns,
            top,
            left,
            bits,
        })
    }

    fn draw(&self, picture: &mut Picture) {
        let count = self.rows.saturating_mul(self.columns);
        match &self.bits {
            Bits::Embedded(bits) => {
                let set = bits.iter().take(count).enumerate().filter(|(_, bit)| **bit);
                for (at, _) in set {
                    self.dot(at, picture);
                }
            }
            Bits::Packed(bytes, skip) => {
                let end = skip.saturating_add(count);
                let bytes = (*skip >> 3..).zip(bytes.iter().skip(*skip >> 3));
                let set = bytes.filter(|(_, byte)| **byte != 0);
                for (at, byte) in set.take_while(|(at, _)| at.saturating_mul(8) < end) {
                    for bit in (0_u32..8).filter(|bit| byte.wrapping_shr(*bit) & 1 == 1) {
                        let bit = usize::try_from(bit).unwrap_or(0);
                        let at = at.saturating_mul(8).saturating_add(bit);
                        if at >= *skip && at < end {
                            self.dot(at.saturating_sub(*skip), picture);
                        }
                    }
                }
            }
        }
    }

    /// Makes the pixel white that lies under a bit.
    fn dot(&self, at: usize, picture: &mut Picture) {
        let (row, column) = (at.checked_div(self.columns), at.checked_rem(self.columns));
        let (Some(row), Some(column)) = (row, column) else {
            return;
        };
        let x = self
            .left
            .saturating_add(i64::try_from(column).unwrap_or(i64::MAX));
        let y = self
            .top
            .saturating_add(i64::try_from(row).unwrap_or(i64::MAX));
        picture.put(x, y, Ink::WHITE);
    }
}

/// The place, from 0 on, of a row or column that is counted from 1 on.
fn place(number: f64) -> i64 {
    i64::from(super::grey::signed_word(number)).saturating_sub(1)
}

/// Which of the frames of an overlay belongs to a frame of the image.
fn frame_index(root: &DataSet<'_>, group: u16, frame: u32) -> Option<usize> {
    let Some(count) = root.number(Tag(group, 0x0015)) else {
        // One for all.
        return Some(0);
    };
    let origin = root.number(Tag(group, 0x0051)).unwrap_or(1.0);
    let index = f64::from(frame) - origin;
    (index >= 0.0 && index < count).then(|| usize::from(super::grey::word(index)))
}

/// Bits of the pixels that hold an overlay beside the image (retired).
fn embedded(frame: &NativeFrame<'_>, position: f64) -> Option<Vec<bool>> {
    let form = frame.form;
    let is_beside = position >= f64::from(form.bits_stored) && position < 16.0;
    if form.bits_allocated != 16 || form.samples_per_pixel != 1 || !is_beside {
        return None;
    }
    let position = u32::from(super::grey::word(position));
    let words = frame.bytes.as_chunks::<2>().0.iter();
    let bits = words.map(|word| u16::from_le_bytes(*word).wrapping_shr(position) & 1 == 1);
    Some(bits.collect())
}
