//! Fragments of encapsulated pixel data on their way through a decoder, or past it.

use super::encapsulation::Encapsulation;
use super::{Advance, Copying, Decoding, Doing, Machinery};
use crate::convert::input::length;
use crate::convert::{ConvertError, Photometric, PixelError};
use crate::encode::Layout;
use crate::scan::Element;
use crate::tag::{Vr, tags};
use std::ops::Range;

impl Machinery {
    pub(super) fn fragments_begin(
        &mut self,
        element: &Element,
        out: &mut Vec<u8>,
    ) -> Result<(), ConvertError> {
        let tag = element.tag;
        self.complete(tag, out);
        if self.passes_fragments {
            self.writer(out).begin_fragments(tag, element.vr);
            return Ok(());
        }
        let Some(decoder) = self.decoder.as_mut().filter(|_| tag == tags::PIXEL_DATA) else {
            return Err(ConvertError::Fragments { tag });
        };
        let level = self.levels.last().copied().unwrap_or_default();
        if level.planar_configuration.is_some_and(|planar| planar > 1) {
            let what = "an unknown Planar Configuration";
            return Err(PixelError::Unsupported { what }.into());
        }
        let what = "no Rows, Columns or Bits Allocated";
        let mut form = level.pixel_form().ok_or(PixelError::Unsupported { what })?;
        if decoder.native_photometric(form.photometric).is_some() {
            if !self.is_photometric_changed || self.levels.len() > 1 {
                let what = "colour that would need another Photometric Interpretation";
                return Err(PixelError::Unsupported { what }.into());
            }
            form.is_subsampled = false;
        }
        decoder.begin(&form)?;
        let expected_bytes = form.native_bytes();
        if let Some(encapsulation) = self
            .encapsulation
            .as_mut()
            .filter(|_| self.levels.len() == 1)
        {
            if self.is_photometric_changed {
                form.photometric = Photometric::Rgb;
            }
            encapsulation.begin(&form)?;
            self.decoding = Some(Decoding {
                expected_bytes,
                given_bytes: 0,
                unit: 1,
                has_ended: false,
            });
            return Ok(());
        }
        let even = expected_bytes.saturating_add(expected_bytes & 1);
        let even = usize::try_from(even).map_err(|_| ConvertError::TooLong { tag })?;
        let vr = if form.bits_allocated > 8 {
            Vr::OW
        } else {
            Vr::OB
        };
        self.writer(out).header(tag, vr, even)?;
        let turns = self.to == Layout::ExplicitBig && vr == Vr::OW;
        self.decoding = Some(Decoding {
            expected_bytes,
            given_bytes: 0,
            unit: if turns { 2 } else { 1 },
            has_ended: false,
        });
        Ok(())
    }

    /// A fragment begins; its bytes are `value`.
    pub(super) fn fragment_begins(
        &mut self,
        value: &Range<u64>,
        out: &mut Vec<u8>,
    ) -> Result<(), ConvertError> {
        self.skip_to(value.start);
        let left = value.end.saturating_sub(value.start);
        if self.passes_fragments {
            let tag = tags::PIXEL_DATA;
            let fits = u32::try_from(left).map_err(|_| ConvertError::TooLong { tag })?;
            self.writer(out).begin_fragment(fits);
            self.doing = Doing::Copying(Copying {
                left,
                unit: 1,
                padding: None,
            });
            return Ok(());
        }
        if let Some(decoder) = &mut self.decoder {
            decoder.fragment(left)?;
        }
        self.doing = Doing::Fragment { left };
        Ok(())
    }

    /// The next bytes of a fragment, for the decoder.
    pub(super) fn fragment(&mut self, left: u64) -> Result<Advance, ConvertError> {
        let count = self.here(left);
        if let Some(decoder) = &mut self.decoder {
            let bytes = self.input.bytes().get(..count).unwrap_or_default();
            decoder.push(bytes)?;
        }
        self.input.skip(count);
        let left = left.saturating_sub(length(count));
        if left > 0 {
            self.doing = Doing::Fragment { left };
            return Ok(if count > 0 {
                Advance::Went
            } else {
                Advance::Starved
            });
        }
        Ok(Advance::Went)
    }

    /// There are no more fragments.
    pub(super) fn fragments_end(&mut self, out: &mut Vec<u8>) -> Result<(), ConvertError> {
        if self.passes_fragments {
            self.writer(out).end_sequence();
        } else if let (Some(decoder), Some(decoding)) = (&mut self.decoder, &mut self.decoding) {
            decoder.end()?;
            decoding.has_ended = true;
        }
        Ok(())
    }

    /// Takes what the decoder has ready; whether that was anything, an end being something too.
    pub(super) fn drain(&mut self, out: &mut Vec<u8>, room: usize) -> Result<bool, ConvertError> {
        let (Some(decoder), Some(decoding)) = (&mut self.decoder, &mut self.decoding) else {
            return Ok(false);
        };
        let mut gathering = self
            .encapsulation
            .as_mut()
            .and_then(Encapsulation::gathering);
        let is_gathered = gathering.is_some();
        let (out, room) = match &mut gathering {
            Some((gathered, missing)) => (&mut **gathered, room.min(*missing).max(1)),
            None => (out, room),
        };
        let from = out.len();
        decoder.read(out, room)?;
        let given = out.get_mut(from..).unwrap_or_default();
        decoding.given_bytes = decoding.given_bytes.saturating_add(length(given.len()));
        if decoding.given_bytes > decoding.expected_bytes {
            let what = "more frames than Number of Frames";
            return Err(PixelError::Damaged { what }.into());
        }
        if !given.is_empty() {
            super::values::turn(given, decoding.unit);
            return Ok(true);
        }
        if !decoding.has_ended {
            return Ok(false);
        }
        if decoding.given_bytes < decoding.expected_bytes {
            let what = "fewer frames than Number of Frames";
            return Err(PixelError::Damaged { what }.into());
        }
        if !is_gathered && decoding.expected_bytes & 1 == 1 {
            out.push(0);
        }
        if let Some(encapsulation) = &mut self.encapsulation {
            encapsulation.end();
        }
        self.decoding = None;
        Ok(true)
    }
}
