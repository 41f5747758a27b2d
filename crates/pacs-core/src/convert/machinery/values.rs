//! Values: noted where others depend on them, and copied in the byte order and with the VR that the
//! new encoding demands.

use super::encapsulation::Encapsulation;
use super::{Advance, Copying, Doing, Machinery};
use crate::coerce::edits::Recoded;
use crate::convert::input::length;
use crate::convert::level::implied_vr;
use crate::convert::{ConvertError, PixelError};
use crate::encode::{Layout, Writer, has_long_form};
use crate::scan::Element;
use crate::tag::{Tag, Vr, tags};

impl Machinery {
    /// Notes a value that is all here, and begins to copy it.
    pub(super) fn note(
        &mut self,
        element: Element,
        out: &mut Vec<u8>,
    ) -> Result<Advance, ConvertError> {
        let count = self.here(element.length());
        if length(count) < element.length() {
            self.doing = Doing::Noting(element);
            return Ok(Advance::Starved);
        }
        let value = self.input.bytes().get(..count).unwrap_or_default();
        if let Some(level) = self.levels.last_mut() {
            level.note(&element, value);
        }
        if !self.change_photometric(&element, out)? && !self.change_planes(&element, out) {
            self.begin_value(&element, out)?;
        }
        Ok(Advance::Went)
    }

    /// Writes the Photometric Interpretation that the decoded image has (PS3.5 8.2.1), where that
    /// is another one than `element` says. Items keep theirs: icons are not of compressed colour.
    fn change_photometric(
        &mut self,
        element: &Element,
        out: &mut Vec<u8>,
    ) -> Result<bool, ConvertError> {
        let tag = element.tag;
        let ([level], Some(decoder)) = (&*self.levels, &self.decoder) else {
            return Ok(false);
        };
        let native = decoder.native_photometric(level.photometric());
        let Some(native) = native.filter(|_| tag == tags::PHOTOMETRIC_INTERPRETATION) else {
            return Ok(false);
        };
        self.writer(out).text(tag, Vr::CS, native)?;
        self.is_photometric_changed = true;
        let left = element.length();
        self.doing = Doing::Skipping { left };
        Ok(true)
    }

    /// Writes a Planar Configuration of 0 where frames by plane will be in code streams that have
    /// the samples of a pixel together (PS3.5 8.2.3, 8.2.4).
    fn change_planes(&mut self, element: &Element, out: &mut Vec<u8>) -> bool {
        let tag = element.tag;
        let encapsulation = self.encapsulation.as_ref();
        let ([level], true) = (
            &*self.levels,
            encapsulation.is_some_and(Encapsulation::is_by_pixel),
        ) else {
            return false;
        };
        if tag != tags::PLANAR_CONFIGURATION || level.planar_configuration != Some(1) {
            return false;
        }
        self.writer(out).us(tag, 0);
        let left = element.length();
        self.doing = Doing::Skipping { left };
        true
    }

    /// Begins to encode the frames of native pixel data of the data set; whether `element` is that.
    fn begin_frames(&mut self, element: &Element) -> Result<bool, ConvertError> {
        let ([level], Some(encapsulation)) = (&*self.levels, &mut self.encapsulation) else {
            return Ok(false);
        };
        let unsupported = |what| PixelError::Unsupported { what };
        match element.tag {
            tags::PIXEL_DATA => {}
            tags::FLOAT_PIXEL_DATA | tags::DOUBLE_FLOAT_PIXEL_DATA => {
                return Err(unsupported("samples of floating point").into());
            }
            _ => return Ok(false),
        }
        if level.planar_configuration.is_some_and(|planar| planar > 1) {
            return Err(unsupported("an unknown Planar Configuration").into());
        }
        let form = level.pixel_form();
        let form = form.ok_or(unsupported("no Rows, Columns or Bits Allocated"))?;
        encapsulation.begin(&form)?;
        // Frames are little endian.
        let turns = element.big_endian;
        self.doing = Doing::Copying(Copying {
            left: element.length(),
            unit: if turns {
                turned_bytes(element, element.vr)
            } else {
                1
            },
            padding: None,
        });
        Ok(true)
    }

    /// Writes what a decoded image needs and the encapsulated one may lack, before `tag`.
    pub(super) fn complete(&mut self, tag: Tag, out: &mut Vec<u8>) {
        let to = self.to;
        let is_completed = self.moves_frames();
        let Some(level) = self.levels.last_mut() else {
            return;
        };
        if is_completed
            && tag > tags::PLANAR_CONFIGURATION
            && level.planar_configuration.is_none()
            && level.samples_per_pixel.is_some_and(|samples| samples > 1)
        {
            level.planar_configuration = Some(0);
            Writer::new(out, to).us(tags::PLANAR_CONFIGURATION, 0);
        }
    }

    pub(super) fn begin_value(
        &mut self,
        element: &Element,
        out: &mut Vec<u8>,
    ) -> Result<(), ConvertError> {
        let tag = element.tag;
        self.complete(tag, out);
        let mut vr = match element.written_vr {
            Some(written) => written,
            None => implied_vr(element, &self.levels),
        };
        if tag == tags::PIXEL_DATA && self.is_photometric_changed && self.levels.len() == 1 {
            let what = "no fragments, but a compressed transfer syntax";
            return Err(PixelError::Unsupported { what }.into());
        }
        if self.begin_frames(element)? {
            return Ok(());
        }
        if tag == tags::PIXEL_DATA && vr == Vr::OB && !element.big_endian && self.has_words() {
            // Native samples of more than eight bits are OW (PS3.5 A.2), whatever was written.
            vr = Vr::OW;
        }
        let value_bytes = element.length();
        let padded = value_bytes.saturating_add(value_bytes & 1);
        let too_long = ConvertError::TooLong { tag };
        let padded = usize::try_from(padded).map_err(|_| too_long)?;
        if self.to != Layout::ImplicitLittle && !has_long_form(vr) && padded > 0xFFFF {
            vr = Vr::UN;
        }
        self.writer(out).header(tag, vr, padded)?;
        let turns = element.big_endian != (self.to == Layout::ExplicitBig && vr != Vr::UN);
        self.doing = Doing::Copying(Copying {
            left: value_bytes,
            unit: if turns { turned_bytes(element, vr) } else { 1 },
            padding: (value_bytes & 1 == 1).then(|| padding(vr)),
        });
        Ok(())
    }

    /// Writes a text that is all here in the character set that is wanted.
    pub(super) fn recode(
        &mut self,
        element: Element,
        out: &mut Vec<u8>,
    ) -> Result<Advance, ConvertError> {
        let left = element.length();
        let count = self.here(left);
        if length(count) < left {
            self.doing = Doing::Recoding(element);
            return Ok(Advance::Starved);
        }
        let is_root = self.levels.len() == 1;
        let value = self.input.bytes().get(..count).unwrap_or_default();
        let recoded = match &mut self.edits {
            Some(edits) => edits.recode(&element, value, is_root)?,
            None => Recoded::Keep,
        };
        match recoded {
            Recoded::Keep => self.begin_value(&element, out)?,
            Recoded::Drop => self.doing = Doing::Skipping { left },
            Recoded::Text(text) => {
                self.complete(element.tag, out);
                self.writer(out).text(element.tag, element.vr, &text)?;
                self.doing = Doing::Skipping { left };
            }
        }
        Ok(Advance::Went)
    }

    /// Whether samples have more than eight bits.
    fn has_words(&self) -> bool {
        let bits = self.levels.last().and_then(|level| level.bits_allocated);
        bits.is_some_and(|bits| bits > 8)
    }

    pub(super) fn copy(&mut self, mut copying: Copying, out: &mut Vec<u8>, room: usize) -> Advance {
        let unit = copying.unit.max(1);
        let here = self.input.bytes().len();
        let mut gathering = self
            .encapsulation
            .as_mut()
            .and_then(Encapsulation::gathering);
        let (out, room) = match &mut gathering {
            Some((gathered, missing)) => (&mut **gathered, *missing),
            None => (out, room),
        };
        let wanted = copying.left.min(length(room.saturating_add(unit)));
        let mut count = usize::try_from(wanted).map_or(here, |wanted| wanted.min(here));
        if length(count) < copying.left {
            // Half a number waits for the rest of it.
            count = count.saturating_sub(count.checked_rem(unit).unwrap_or(0));
        }
        if count == 0 && copying.left > 0 {
            self.doing = Doing::Copying(copying);
            return Advance::Starved;
        }
        let from = out.len();
        out.extend_from_slice(self.input.bytes().get(..count).unwrap_or_default());
        turn(out.get_mut(from..).unwrap_or_default(), unit);
        self.input.skip(count);
        copying.left = copying.left.saturating_sub(length(count));
        if copying.left > 0 {
            self.doing = Doing::Copying(copying);
        } else {
            out.extend(copying.padding);
            if let Some(encapsulation) = &mut self.encapsulation {
                encapsulation.end();
            }
        }
        Advance::Went
    }
}

/// Bytes that change places when the byte order changes (PS3.5 7.3).
fn turned_bytes(element: &Element, vr: Vr) -> usize {
    // A value too long for its VR goes as UN, and turns as what it was.
    let vr = if vr == Vr::UN { element.vr } else { vr };
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "every other VR is made of single bytes"
    )]
    match vr {
        Vr::AT | Vr::OW | Vr::SS | Vr::US => 2,
        Vr::FL | Vr::OF | Vr::OL | Vr::SL | Vr::UL => 4,
        Vr::FD | Vr::OD | Vr::OV | Vr::SV | Vr::UV => 8,
        _ => 1,
    }
}

/// What makes a value of odd length even (PS3.5 6.2).
fn padding(vr: Vr) -> u8 {
    use Vr::{AE, AS, CS, DA, DS, DT, IS, LO, LT, PN, SH, ST, TM, UC, UR, UT};
    let is_text = matches!(
        vr,
        AE | AS | CS | DA | DS | DT | IS | LO | LT | PN | SH | ST | TM | UC | UR | UT
    );
    if is_text { b' ' } else { 0 }
}

/// Turns each `unit` of bytes around; less than one at the end stays.
pub(super) fn turn(bytes: &mut [u8], unit: usize) {
    match unit {
        2 => bytes
            .as_chunks_mut::<2>()
            .0
            .iter_mut()
            .for_each(|n| n.reverse()),
        4 => bytes
            .as_chunks_mut::<4>()
            .0
            .iter_mut()
            .for_each(|n| n.reverse()),
        8 => bytes
            .as_chunks_mut::<8>()
            .0
            .iter_mut()
            .for_each(|n| n.reverse()),
        _ => {}
    }
}
