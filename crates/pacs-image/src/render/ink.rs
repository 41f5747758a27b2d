//! What is drawn and covered with: a level of grey, or a colour as presentation states name it.

use super::picture::Picture;
use crate::head::DataSet;
use pacs_core::Tag;

/// What a pixel is given: red, green and blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ink(pub(super) [u8; 3]);

/// What PCS-Values say nothing of: a* and b* of 0 (PS3.3 C.10.7.1.1).
const ZERO: f64 = 128.0;

impl Ink {
    pub(super) const BLACK: Self = Self::grey(0);
    pub(super) const WHITE: Self = Self::grey(u8::MAX);

    pub(super) const fn grey(level: u8) -> Self {
        Self([level; 3])
    }

    /// What `item` names: by the `lab` of a colour where the picture has colours, or else by a
    /// P-Value that is `grey`.
    pub(super) fn of(
        item: &DataSet<'_>,
        (lab, grey): (Tag, Tag),
        picture: &Picture,
    ) -> Option<Self> {
        let lab = item.words(lab, 3).filter(|_| picture.is_colour());
        if let Some([lightness, a, b]) = lab.as_deref() {
            return Some(Self::of_lab([*lightness, *a, *b]));
        }
        let [level, _] = super::grey::word(item.number(grey)?).to_be_bytes();
        Some(Self::grey(level))
    }

    /// The colour of these PCS-Values (PS3.3 C.10.7.1.1) in sRGB (IEC 61966-2-1), the nearest where
    /// sRGB has none.
    fn of_lab([lightness, a, b]: [u16; 3]) -> Self {
        let part = |word: u16| f64::from(word) / f64::from(u16::MAX);
        let middle = (part(lightness) * 100.0 + 16.0) / 116.0;
        let of_a = (part(a) * 255.0 - ZERO) / 500.0;
        let of_b = (part(b) * 255.0 - ZERO) / 200.0;
        // CIE 1976 L*a*b*, by the white of D50.
        let linear = |root: f64| {
            if root > 6.0 / 29.0 {
                root * root * root
            } else {
                (root - 4.0 / 29.0) * 108.0 / 841.0
            }
        };
        let x = 0.964_22 * linear(middle + of_a);
        let y = linear(middle);
        let z = 0.825_21 * linear(middle - of_b);
        // To the white of D65, by Bradford.
        let channels = [
            3.133_856_1 * x - 1.616_866_7 * y - 0.490_614_6 * z,
            -0.978_768_4 * x + 1.916_141_5 * y + 0.033_454 * z,
            0.071_945_3 * x - 0.228_991_4 * y + 1.405_242_7 * z,
        ];
        Self(channels.map(|channel| {
            let channel = channel.clamp(0.0, 1.0);
            super::grey::level(if channel <= 0.003_130_8 {
                channel * 12.92
            } else {
                1.055 * channel.powf(1.0 / 2.4) - 0.055
            })
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// L*, a* and b* as PCS-Values.
    fn ink(lightness: f64, a: f64, b: f64) -> [u8; 3] {
        let word = |part: f64| super::super::grey::word(part * 65_535.0);
        let words = [
            word(lightness / 100.0),
            word((a + 128.0) / 255.0),
            word((b + 128.0) / 255.0),
        ];
        Ink::of_lab(words).0
    }

    #[test]
    fn colours_are_those_of_srgb() {
        assert_eq!(ink(0.0, 0.0, 0.0), [0; 3]);
        assert_eq!(ink(100.0, 0.0, 0.0), [255; 3]);
        assert_eq!(ink(53.585, 0.0, 0.0), [128; 3]);
        // The corners of sRGB, seen by D50.
        for (lab, wanted) in [
            ((54.29, 80.81, 69.89), [255, 0, 0]),
            ((87.82, -79.29, 80.99), [0, 255, 0]),
            ((29.57, 68.30, -112.03), [0, 0, 255]),
        ] {
            let found = ink(lab.0, lab.1, lab.2);
            let is_near = found.iter().zip(wanted).all(|(a, b)| a.abs_diff(b) <= 3);
            assert!(is_near, "{found:?} for {wanted:?}");
        }
        // Greener than any that sRGB has.
        assert_eq!(ink(90.0, -128.0, 127.0)[0], 0);
    }
}
