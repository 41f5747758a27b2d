//! The converter at work: from the scanner's events to bytes.

use super::input::{Input, Refilled, length};
use super::level::{Level, NOTED_BYTES_MAX, implied_vr};
use super::{ConvertError, PixelDecoder, PixelError, Progress};
use crate::encode::{Layout, Writer, has_long_form};
use crate::limits::ScanLimits;
use crate::scan::machine::{Machine, Step};
use crate::scan::{Element, Encoding, Event, ScanError};
use crate::tag::{Tag, Vr, tags};

/// The length that stands for "until the delimiter".
const UNDEFINED: u32 = u32::MAX;

const ITEM: Tag = Tag(0xFFFE, 0xE000);
const ITEM_END: Tag = Tag(0xFFFE, 0xE00D);
const SEQUENCE_END: Tag = Tag(0xFFFE, 0xE0DD);

/// What is done with the bytes that come next.
#[derive(Debug)]
enum Doing {
    /// They are a value.
    Copying(Copying),
    /// All is done.
    Finished,
    /// They are a fragment, for the decoder.
    Fragment { left: u64 },
    /// They are a value that others depend on; it is copied once it is noted.
    Noting(Element),
    /// They are elements.
    Scanning,
    /// They are left out.
    Skipping { left: u64 },
    /// They stand behind the data set.
    Trailing { must_be_zeros: bool },
}

/// A value on its way.
#[derive(Debug)]
struct Copying {
    left: u64,
    /// Bytes whose order is turned around together.
    unit: usize,
    /// What makes its length even.
    padding: Option<u8>,
}

/// Pixel data that is being decoded.
#[derive(Debug)]
struct Decoding {
    expected_bytes: u64,
    given_bytes: u64,
    unit: usize,
    has_ended: bool,
}

/// What one step came to.
enum Advance {
    Done,
    Starved,
    Went,
}

pub(super) struct Machinery {
    input: Input,
    /// `None` where a deflated data set only needs to be inflated.
    machine: Option<Machine>,
    to: Layout,
    decoder: Option<Box<dyn PixelDecoder>>,
    decoding: Option<Decoding>,
    doing: Doing,
    /// The data set and the items that are open.
    levels: Vec<Level>,
    /// Photometric Interpretation of the image was written as what decoding makes of it.
    is_photometric_changed: bool,
    has_ended: bool,
}

impl Machinery {
    pub(super) fn new(
        from: Encoding,
        to: Layout,
        decoder: Option<Box<dyn PixelDecoder>>,
        limits: &ScanLimits,
    ) -> Self {
        let is_deflated = from == Encoding::Deflated;
        let is_inflated_only = is_deflated && to == Layout::ExplicitLittle;
        Self {
            input: Input::new(is_deflated, limits),
            machine: (!is_inflated_only).then(|| Machine::new(from.syntax(), *limits, false)),
            to,
            decoder,
            decoding: None,
            doing: Doing::Scanning,
            levels: vec![Level::default()],
            is_photometric_changed: false,
            has_ended: false,
        }
    }

    pub(super) fn set_length(&mut self, length_bytes: u64) {
        // How much a deflated data set becomes nobody knows.
        if !self.input.is_deflated()
            && let Some(machine) = &mut self.machine
        {
            machine.set_total(length_bytes);
        }
    }

    pub(super) fn push(&mut self, bytes: Vec<u8>) {
        self.input.push(bytes);
    }

    pub(super) const fn end(&mut self) {
        self.input.end();
    }

    pub(super) const fn offset(&self) -> u64 {
        self.input.at()
    }

    pub(super) fn bytes_held(&self) -> u64 {
        let decoder = self.decoder.as_ref().map_or(0, |d| d.bytes_held());
        self.input.bytes_held().saturating_add(decoder)
    }

    pub(super) fn read(
        &mut self,
        out: &mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<Progress, ConvertError> {
        loop {
            if out.len() >= bytes_max {
                return Ok(Progress::Full);
            }
            let room = bytes_max.saturating_sub(out.len());
            match self.advance(out, room)? {
                Advance::Done => return Ok(Progress::Done),
                Advance::Went => {}
                Advance::Starved => match self.input.refill()? {
                    Refilled::More => {}
                    Refilled::Nothing => return Ok(Progress::NeedsInput),
                    Refilled::Ended => self.input_ended()?,
                },
            }
        }
    }

    /// There is no more: the scanner is told, and must then come to an end.
    fn input_ended(&mut self) -> Result<(), ConvertError> {
        let offset = self.input.at();
        let is_behind = matches!(self.doing, Doing::Trailing { .. });
        let Some(machine) = self.machine.as_mut().filter(|_| !is_behind) else {
            self.doing = Doing::Finished;
            return Ok(());
        };
        if self.has_ended {
            return Err(ScanError::Truncated { offset }.into());
        }
        self.has_ended = true;
        machine.set_total(offset.saturating_add(length(self.input.bytes().len())));
        Ok(())
    }

    /// One step. `room` is how much is wanted at most; it is not zero.
    fn advance(&mut self, out: &mut Vec<u8>, room: usize) -> Result<Advance, ConvertError> {
        if self.decoding.is_some() && self.drain(out, room)? {
            return Ok(Advance::Went);
        }
        if self.machine.is_none() && !matches!(self.doing, Doing::Finished) {
            return Ok(self.pass_on(out, room));
        }
        match std::mem::replace(&mut self.doing, Doing::Scanning) {
            Doing::Scanning => self.scan(out),
            Doing::Finished => {
                self.doing = Doing::Finished;
                Ok(Advance::Done)
            }
            Doing::Noting(element) => self.note(element, out),
            Doing::Trailing { must_be_zeros } => {
                let bytes = self.input.bytes();
                if must_be_zeros && bytes.iter().any(|byte| *byte != 0) {
                    let offset = self.input.at();
                    return Err(ConvertError::Damaged { offset });
                }
                self.input.skip(bytes.len());
                self.doing = Doing::Trailing { must_be_zeros };
                Ok(Advance::Starved)
            }
            Doing::Copying(copying) => Ok(self.copy(copying, out, room)),
            Doing::Skipping { left } => {
                let count = self.here(left);
                self.input.skip(count);
                let left = left.saturating_sub(length(count));
                if left > 0 {
                    self.doing = Doing::Skipping { left };
                    return Ok(Advance::Starved);
                }
                Ok(Advance::Went)
            }
            Doing::Fragment { left } => {
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
        }
    }

    /// How many of the next `wanted` bytes are here.
    fn here(&self, wanted: u64) -> usize {
        let here = self.input.bytes().len();
        usize::try_from(wanted).map_or(here, |wanted| wanted.min(here))
    }

    /// What comes out of a deflated data set is in explicit VR little endian already.
    fn pass_on(&mut self, out: &mut Vec<u8>, room: usize) -> Advance {
        let bytes = self.input.bytes();
        let count = bytes.len().min(room);
        if count == 0 {
            return Advance::Starved;
        }
        out.extend_from_slice(bytes.get(..count).unwrap_or_default());
        self.input.skip(count);
        Advance::Went
    }

    fn scan(&mut self, out: &mut Vec<u8>) -> Result<Advance, ConvertError> {
        let Some(machine) = &mut self.machine else {
            return Ok(Advance::Done);
        };
        let step = machine.step(self.input.window())?;
        if machine.losses() > 0 {
            return Err(ConvertError::Damaged {
                offset: machine.position(),
            });
        }
        match step {
            Step::Done => {
                self.doing = Doing::Finished;
                Ok(Advance::Went)
            }
            Step::NeedMore => Ok(Advance::Starved),
            Step::Event(event) => {
                self.event(event, out)?;
                Ok(Advance::Went)
            }
        }
    }

    fn event(&mut self, event: Event, out: &mut Vec<u8>) -> Result<(), ConvertError> {
        match event {
            Event::Element(element) => {
                self.skip_to(element.value.start);
                if is_left_out(element.tag, self.decoder.is_some()) {
                    let left = element.length();
                    self.doing = Doing::Skipping { left };
                } else if Level::notes(element.tag) && element.length() <= NOTED_BYTES_MAX {
                    self.doing = Doing::Noting(element);
                } else {
                    self.begin_value(&element, out)?;
                }
                return Ok(());
            }
            Event::SequenceBegin(element) => {
                self.complete(element.tag, out);
                self.writer(out).put_tag(element.tag);
                if self.to != Layout::ImplicitLittle {
                    // The value of an UN of undefined length is a sequence, too (PS3.5 6.2.2).
                    out.extend_from_slice(b"SQ\0\0");
                }
                self.writer(out).put_u32(UNDEFINED);
            }
            Event::ItemBegin { .. } => {
                self.levels.push(Level::default());
                self.delimiter(ITEM, UNDEFINED, out);
            }
            Event::ItemEnd { .. } => {
                let _ = self.levels.pop();
                self.delimiter(ITEM_END, 0, out);
            }
            Event::SequenceEnd { .. } => self.delimiter(SEQUENCE_END, 0, out),
            Event::FragmentsBegin(element) => self.fragments_begin(&element, out)?,
            Event::Fragment { value, .. } => {
                self.skip_to(value.start);
                let left = value.end.saturating_sub(value.start);
                if let Some(decoder) = &mut self.decoder {
                    decoder.fragment(left)?;
                }
                self.doing = Doing::Fragment { left };
                return Ok(());
            }
            Event::FragmentsEnd { .. } => {
                if let (Some(decoder), Some(decoding)) = (&mut self.decoder, &mut self.decoding) {
                    decoder.end()?;
                    decoding.has_ended = true;
                }
            }
            Event::Trailing { .. } => {
                let machine = self.machine.as_ref();
                // Behind pixel data the data set is whole, and garbage does not belong to it.
                let must_be_zeros = machine.is_some_and(|m| !m.has_passed_pixel_data());
                self.doing = Doing::Trailing { must_be_zeros };
                return Ok(());
            }
        }
        let position = self.machine.as_ref().map_or(0, Machine::position);
        self.skip_to(position);
        Ok(())
    }

    /// Goes on to where a value or the next header begins: what is before it has been read.
    fn skip_to(&mut self, offset: u64) {
        let count = offset.saturating_sub(self.input.at());
        self.input
            .skip(usize::try_from(count).unwrap_or(usize::MAX));
    }

    fn writer<'b>(&self, out: &'b mut Vec<u8>) -> Writer<'b> {
        Writer::new(out, self.to)
    }

    fn delimiter(&self, tag: Tag, length: u32, out: &mut Vec<u8>) {
        self.writer(out).put_tag(tag);
        self.writer(out).put_u32(length);
    }

    /// Notes a value that is all here, and begins to copy it.
    fn note(&mut self, element: Element, out: &mut Vec<u8>) -> Result<Advance, ConvertError> {
        let count = self.here(element.length());
        if length(count) < element.length() {
            self.doing = Doing::Noting(element);
            return Ok(Advance::Starved);
        }
        let value = self.input.bytes().get(..count).unwrap_or_default();
        if let Some(level) = self.levels.last_mut() {
            level.note(&element, value);
        }
        if !self.change_photometric(&element, out)? {
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

    /// Writes what a decoded image needs and the encapsulated one may lack, before `tag`.
    fn complete(&mut self, tag: Tag, out: &mut Vec<u8>) {
        let to = self.to;
        let Some(level) = self.levels.last_mut() else {
            return;
        };
        if self.decoder.is_some()
            && tag > tags::PLANAR_CONFIGURATION
            && level.planar_configuration.is_none()
            && level.samples_per_pixel.is_some_and(|samples| samples > 1)
        {
            level.planar_configuration = Some(0);
            Writer::new(out, to).us(tags::PLANAR_CONFIGURATION, 0);
        }
    }

    fn begin_value(&mut self, element: &Element, out: &mut Vec<u8>) -> Result<(), ConvertError> {
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

    /// Whether samples have more than eight bits.
    fn has_words(&self) -> bool {
        let bits = self.levels.last().and_then(|level| level.bits_allocated);
        bits.is_some_and(|bits| bits > 8)
    }

    fn copy(&mut self, mut copying: Copying, out: &mut Vec<u8>, room: usize) -> Advance {
        let unit = copying.unit.max(1);
        let wanted = copying.left.min(length(room.saturating_add(unit)));
        let mut count = self.here(wanted);
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
        }
        Advance::Went
    }

    fn fragments_begin(
        &mut self,
        element: &Element,
        out: &mut Vec<u8>,
    ) -> Result<(), ConvertError> {
        let tag = element.tag;
        self.complete(tag, out);
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

    /// Takes what the decoder has ready; whether that was anything, an end being something too.
    fn drain(&mut self, out: &mut Vec<u8>, room: usize) -> Result<bool, ConvertError> {
        let (Some(decoder), Some(decoding)) = (&mut self.decoder, &mut self.decoding) else {
            return Ok(false);
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
            turn(given, decoding.unit);
            return Ok(true);
        }
        if !decoding.has_ended {
            return Ok(false);
        }
        if decoding.given_bytes < decoding.expected_bytes {
            let what = "fewer frames than Number of Frames";
            return Err(PixelError::Damaged { what }.into());
        }
        if decoding.expected_bytes & 1 == 1 {
            out.push(0);
        }
        self.decoding = None;
        Ok(true)
    }
}

/// Whether an element is not written: group lengths and Length to End (PS3.5 7.2, PS3.6), and,
/// where pixel data is decoded, what says where its frames are.
fn is_left_out(tag: Tag, decodes: bool) -> bool {
    let locates_frames = matches!(tag.element(), 0x0001..=0x0003) && tag.group() == 0x7FE0;
    tag.element() == 0 || tag == Tag(0x0008, 0x0001) || (decodes && locates_frames)
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
fn turn(bytes: &mut [u8], unit: usize) {
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
