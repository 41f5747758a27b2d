//! What is known of the data set or item that is being converted: what its VRs and its pixel data
//! depend on.

use super::PixelForm;
use crate::scan::Element;
use crate::tag::{Tag, Vr, tags};
use dicom_core::dictionary::{DataDictionary as _, DataDictionaryEntry as _, VirtualVr};

/// Attributes of one data set or item, as far as others depend on them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Level {
    rows: Option<u16>,
    columns: Option<u16>,
    pub(super) samples_per_pixel: Option<u16>,
    pub(super) bits_allocated: Option<u16>,
    pixel_representation: Option<u16>,
    pub(super) planar_configuration: Option<u16>,
    waveform_bits_allocated: Option<u16>,
    is_subsampled: bool,
    frames: Option<u32>,
}

/// Longest value that is noted; real ones have two bytes, or a short number as text.
pub(super) const NOTED_BYTES_MAX: u64 = 64;

impl Level {
    /// Whether the value of `tag` is noted.
    pub(super) fn notes(tag: Tag) -> bool {
        matches!(
            tag,
            tags::ROWS
                | tags::COLUMNS
                | tags::SAMPLES_PER_PIXEL
                | tags::BITS_ALLOCATED
                | tags::PIXEL_REPRESENTATION
                | tags::PLANAR_CONFIGURATION
                | tags::WAVEFORM_BITS_ALLOCATED
                | tags::PHOTOMETRIC_INTERPRETATION
                | tags::NUMBER_OF_FRAMES
        )
    }

    /// Notes the value of an element.
    pub(super) fn note(&mut self, element: &Element, value: &[u8]) {
        let number = || {
            let two = *value.first_chunk::<2>()?;
            Some(if element.big_endian {
                u16::from_be_bytes(two)
            } else {
                u16::from_le_bytes(two)
            })
        };
        match element.tag {
            tags::ROWS => self.rows = number(),
            tags::COLUMNS => self.columns = number(),
            tags::SAMPLES_PER_PIXEL => self.samples_per_pixel = number(),
            tags::BITS_ALLOCATED => self.bits_allocated = number(),
            tags::PIXEL_REPRESENTATION => self.pixel_representation = number(),
            // One that is there without a value is not written again.
            tags::PLANAR_CONFIGURATION => self.planar_configuration = number().or(Some(0)),
            tags::WAVEFORM_BITS_ALLOCATED => self.waveform_bits_allocated = number(),
            tags::PHOTOMETRIC_INTERPRETATION => {
                let text = value.trim_ascii_end();
                let text = text.strip_suffix(&[0]).unwrap_or(text);
                self.is_subsampled = text.ends_with(b"_422") || text.ends_with(b"_420");
            }
            tags::NUMBER_OF_FRAMES => {
                let text = std::str::from_utf8(value).unwrap_or_default();
                let text = text.trim_matches([' ', '\0']);
                self.frames = text.parse().ok().filter(|frames| *frames > 0);
            }
            _ => {}
        }
    }

    /// The form of the pixel data; `None` where an attribute is missing.
    pub(super) fn pixel_form(&self) -> Option<PixelForm> {
        Some(PixelForm {
            rows: self.rows?,
            columns: self.columns?,
            samples_per_pixel: self.samples_per_pixel.unwrap_or(1),
            bits_allocated: self.bits_allocated?,
            is_planar: self.planar_configuration == Some(1),
            is_subsampled: self.is_subsampled,
            frames: self.frames.unwrap_or(1),
        })
    }
}

/// The VR of an element that came without one, in the innermost of `levels`.
pub(super) fn implied_vr(element: &Element, levels: &[Level]) -> Vr {
    // Only these stand where the dictionary gives a choice.
    if !matches!(element.vr, Vr::OW | Vr::US) || element.tag.group() & 1 == 1 {
        return element.vr;
    }
    let dictionary = dicom_dictionary_std::StandardDataDictionary;
    let Some(entry) = dictionary.by_tag(element.tag) else {
        return element.vr;
    };
    let level = levels.last().copied().unwrap_or_default();
    match entry.vr() {
        VirtualVr::Xs => {
            // Items inherit it: a modality LUT has the representation of its image.
            let mut inward = levels.iter().rev();
            let nearest = inward.find_map(|level| level.pixel_representation);
            if nearest == Some(1) { Vr::SS } else { Vr::US }
        }
        VirtualVr::Px if matches!(level.bits_allocated, Some(1..=8)) => Vr::OB,
        // Channel minimum and maximum, padding and data of waveforms.
        VirtualVr::Ox
            if element.tag.group() == 0x5400 && level.waveform_bits_allocated == Some(8) =>
        {
            Vr::OB
        }
        VirtualVr::Exact(_) | VirtualVr::Ox | VirtualVr::Px | VirtualVr::Lt | _ => element.vr,
    }
}
