//! What is known of the data set or item that is being converted: what its VRs and its pixel data
//! depend on.

use super::{Photometric, PixelForm};
use crate::limits::ScanLimits;
use crate::scan::{Element, Encoding, Event, ScanError, Scanner};
use crate::tag::{Tag, Vr, tags};
use crate::uid::TransferSyntaxUid;
use dicom_core::dictionary::{DataDictionary as _, DataDictionaryEntry as _, VirtualVr};

/// Attributes of one data set or item, as far as others depend on them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Level {
    rows: Option<u16>,
    columns: Option<u16>,
    pub(super) samples_per_pixel: Option<u16>,
    pub(super) bits_allocated: Option<u16>,
    bits_stored: Option<u16>,
    pixel_representation: Option<u16>,
    pub(super) planar_configuration: Option<u16>,
    waveform_bits_allocated: Option<u16>,
    photometric: Photometric,
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
                | tags::BITS_STORED
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
            tags::BITS_STORED => self.bits_stored = number(),
            tags::PIXEL_REPRESENTATION => self.pixel_representation = number(),
            // One that is there without a value is not written again.
            tags::PLANAR_CONFIGURATION => self.planar_configuration = number().or(Some(0)),
            tags::WAVEFORM_BITS_ALLOCATED => self.waveform_bits_allocated = number(),
            tags::PHOTOMETRIC_INTERPRETATION => self.photometric = Photometric::of(value),
            tags::NUMBER_OF_FRAMES => {
                let text = std::str::from_utf8(value).unwrap_or_default();
                let text = text.trim_matches([' ', '\0']);
                self.frames = text.parse().ok().filter(|frames| *frames > 0);
            }
            _ => {}
        }
    }

    pub(super) const fn photometric(&self) -> Photometric {
        self.photometric
    }

    /// The form of the pixel data; `None` where an attribute is missing.
    pub(super) fn pixel_form(&self) -> Option<PixelForm> {
        Some(PixelForm {
            rows: self.rows?,
            columns: self.columns?,
            samples_per_pixel: self.samples_per_pixel.unwrap_or(1),
            bits_allocated: self.bits_allocated?,
            bits_stored: self.bits_stored.or(self.bits_allocated)?,
            is_signed: self.pixel_representation == Some(1),
            photometric: self.photometric,
            is_planar: self.planar_configuration == Some(1),
            is_subsampled: self.photometric.is_subsampled(),
            frames: self.frames.unwrap_or(1),
        })
    }
}

/// The form of the pixel data of a data set that begins with `head`, which holds everything before
/// the pixel data; `None` where an attribute is missing. A deflated one has to be inflated.
///
/// # Errors
/// [`ScanError`].
pub fn pixel_form(
    head: &[u8],
    transfer_syntax: &TransferSyntaxUid,
    limits: &ScanLimits,
) -> Result<Option<PixelForm>, ScanError> {
    let mut scanner = Scanner::of_head(head, Encoding::of(transfer_syntax), limits);
    let mut level = Level::default();
    while let Some(event) = scanner.next() {
        if let Event::Element(element) = event?
            && scanner.depth() == 0
            && Level::notes(element.tag)
            && element.length() <= NOTED_BYTES_MAX
        {
            level.note(&element, scanner.bytes(&element.value));
        }
    }
    Ok(level.pixel_form())
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
