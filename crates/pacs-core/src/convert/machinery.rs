//! The converter at work: from the scanner's events to bytes, with edits on the way.

mod encapsulation;
mod fragments;
mod values;

use super::input::{Input, Refilled, length};
use super::level::{Level, NOTED_BYTES_MAX};
use super::{ConvertError, PixelDecoder, PixelEncoder, Progress};
use crate::coerce::edits::{Edits, Handling};
use crate::encode::{Layout, Writer};
use crate::limits::ScanLimits;
use crate::scan::machine::{Machine, Step};
use crate::scan::{Element, Encoding, Event, ScanError};
use crate::tag::Tag;
use encapsulation::Encapsulation;
use std::sync::Arc;

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
    /// They are a text that may have to be written in another character set.
    Recoding(Element),
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

pub(crate) struct Machinery {
    input: Input,
    /// `None` where a deflated data set only needs to be inflated.
    machine: Option<Machine>,
    to: Layout,
    decoder: Option<Box<dyn PixelDecoder>>,
    decoding: Option<Decoding>,
    /// Where native pixel data of the data set becomes fragments.
    encapsulation: Option<Encapsulation>,
    /// What is changed beside the encoding.
    edits: Option<Box<Edits>>,
    /// Fragments are written as they come.
    passes_fragments: bool,
    doing: Doing,
    /// The data set and the items that are open.
    levels: Vec<Level>,
    /// Photometric Interpretation of the image was written as what decoding makes of it.
    is_photometric_changed: bool,
    has_ended: bool,
}

impl Machinery {
    pub(crate) fn new(
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
            encapsulation: None,
            edits: None,
            passes_fragments: false,
            doing: Doing::Scanning,
            levels: vec![Level::default()],
            is_photometric_changed: false,
            has_ended: false,
        }
    }

    /// With `edits` on the way; fragments pass where the encoding stays and nobody decodes them.
    pub(crate) fn with_edits(
        from: Encoding,
        to: Layout,
        decoder: Option<Box<dyn PixelDecoder>>,
        edits: Box<Edits>,
        limits: &ScanLimits,
    ) -> Self {
        let mut work = Self::new(from, to, decoder, limits);
        if work.machine.is_none() {
            work.machine = Some(Machine::new(from.syntax(), *limits, false));
        }
        work.passes_fragments = work.decoder.is_none() && from.layout() == to;
        work.edits = Some(edits);
        work
    }

    /// Has frames encoded by `encoder`, so that pixel data goes out in fragments. `lengths` are
    /// those of the encoded frames, where they are known.
    pub(crate) fn encapsulate(
        &mut self,
        from: Encoding,
        encoder: Box<dyn PixelEncoder>,
        lengths: Option<Arc<[u64]>>,
        limits: &ScanLimits,
    ) {
        if self.machine.is_none() {
            self.machine = Some(Machine::new(from.syntax(), *limits, false));
        }
        self.passes_fragments = false;
        self.encapsulation = Some(Encapsulation::new(encoder, lengths));
    }

    /// Lengths of the frames that were encoded so far.
    pub(crate) fn frame_lengths(&self) -> &[u64] {
        let encapsulation = self.encapsulation.as_ref();
        encapsulation.map_or(&[], Encapsulation::lengths)
    }

    /// What was changed so far, beside the encoding.
    pub(crate) fn edits(&self) -> Option<&Edits> {
        self.edits.as_deref()
    }

    pub(crate) fn set_length(&mut self, length_bytes: u64) {
        // How much a deflated data set becomes nobody knows.
        if !self.input.is_deflated()
            && let Some(machine) = &mut self.machine
        {
            machine.set_total(length_bytes);
        }
    }

    pub(crate) fn push(&mut self, bytes: Vec<u8>) {
        self.input.push(bytes);
    }

    pub(crate) const fn end(&mut self) {
        self.input.end();
    }

    pub(super) const fn offset(&self) -> u64 {
        self.input.at()
    }

    pub(crate) fn bytes_held(&self) -> u64 {
        let decoder = self.decoder.as_ref().map_or(0, |d| d.bytes_held());
        let encapsulation = self.encapsulation.as_ref();
        let encoder = encapsulation.map_or(0, Encapsulation::bytes_held);
        let held = self.input.bytes_held().saturating_add(decoder);
        held.saturating_add(encoder)
    }

    pub(crate) fn read(
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
        if let Some(encapsulation) = &mut self.encapsulation
            && encapsulation.advance(out, room)?
        {
            return Ok(Advance::Went);
        }
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
            Doing::Fragment { left } => self.fragment(left),
            Doing::Recoding(element) => self.recode(element, out),
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
                self.finish_edits(out);
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
        if self.edits.as_ref().is_some_and(|edits| edits.is_dropping()) {
            self.pass_over(&event);
            return Ok(());
        }
        match event {
            Event::Element(element) => return self.element(element, out),
            Event::Fragment { value, .. } => return self.fragment_begins(&value, out),
            Event::FragmentsBegin(element) => {
                if self.is_kept(&element, out)? {
                    self.fragments_begin(&element, out)?;
                }
            }
            Event::FragmentsEnd { .. } => self.fragments_end(out)?,
            Event::SequenceBegin(element) => {
                if self.is_kept(&element, out)? {
                    self.complete(element.tag, out);
                    // The value of an UN of undefined length is a sequence, too (PS3.5 6.2.2).
                    self.writer(out).begin_sequence(element.tag);
                }
            }
            Event::ItemBegin { .. } => {
                self.levels.push(Level::default());
                if let Some(edits) = &mut self.edits {
                    edits.item_begins();
                }
                self.writer(out).begin_item();
            }
            Event::ItemEnd { .. } => {
                let _ = self.levels.pop();
                if let Some(edits) = &mut self.edits {
                    edits.item_ends();
                }
                self.writer(out).end_item();
            }
            Event::SequenceEnd { .. } => {
                let is_root = self.is_root();
                if let Some(edits) = &mut self.edits {
                    edits.sequence_ends(is_root, out);
                }
                self.writer(out).end_sequence();
            }
            Event::Trailing { .. } => {
                self.finish_edits(out);
                let machine = self.machine.as_ref();
                // Behind pixel data the data set is whole, and garbage does not belong to it.
                let must_be_zeros = machine.is_some_and(|m| !m.has_passed_pixel_data());
                self.doing = Doing::Trailing { must_be_zeros };
                return Ok(());
            }
        }
        self.skip_header();
        Ok(())
    }

    fn element(&mut self, element: Element, out: &mut Vec<u8>) -> Result<(), ConvertError> {
        self.skip_to(element.value.start);
        let is_root = self.is_root();
        let handling = match &mut self.edits {
            Some(edits) => edits.element(&element, is_root, out)?,
            None => Handling::Keep,
        };
        if handling == Handling::Drop || is_left_out(element.tag, self.moves_frames()) {
            let left = element.length();
            self.doing = Doing::Skipping { left };
        } else if handling == Handling::Recode {
            self.doing = Doing::Recoding(element);
        } else if Level::notes(element.tag) && element.length() <= NOTED_BYTES_MAX {
            self.doing = Doing::Noting(element);
        } else {
            self.begin_value(&element, out)?;
        }
        Ok(())
    }

    /// Whether a sequence, or pixel data in fragments, is written.
    fn is_kept(&mut self, element: &Element, out: &mut Vec<u8>) -> Result<bool, ConvertError> {
        let is_root = self.is_root();
        Ok(match &mut self.edits {
            Some(edits) => edits.container(element, is_root, out)?,
            None => true,
        })
    }

    /// Leaves out what belongs to a container that is left out.
    fn pass_over(&mut self, event: &Event) {
        if let Some(edits) = &mut self.edits {
            edits.passed_over(event);
        }
        let value = match event {
            Event::Element(element) => &element.value,
            Event::Fragment { value, .. } => value,
            Event::FragmentsBegin(_)
            | Event::FragmentsEnd { .. }
            | Event::ItemBegin { .. }
            | Event::ItemEnd { .. }
            | Event::SequenceBegin(_)
            | Event::SequenceEnd { .. }
            | Event::Trailing { .. } => return self.skip_header(),
        };
        self.skip_to(value.start);
        let left = value.end.saturating_sub(value.start);
        self.doing = Doing::Skipping { left };
    }

    /// Writes what is due before the end.
    fn finish_edits(&mut self, out: &mut Vec<u8>) {
        if let Some(edits) = &mut self.edits {
            edits.finish(out);
        }
    }

    /// Whether frames will not be where they were.
    const fn moves_frames(&self) -> bool {
        self.decoder.is_some() || self.encapsulation.is_some()
    }

    /// Whether elements are those of the data set itself.
    const fn is_root(&self) -> bool {
        self.levels.len() == 1
    }

    /// Goes on to the next header: a delimiter or the header of a container was read.
    fn skip_header(&mut self) {
        let position = self.machine.as_ref().map_or(0, Machine::position);
        self.skip_to(position);
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
}

/// Whether an element is not written: group lengths and Length to End (PS3.5 7.2, PS3.6), and,
/// where frames move, what says where they are.
fn is_left_out(tag: Tag, moves_frames: bool) -> bool {
    let locates_frames = matches!(tag.element(), 0x0001..=0x0003) && tag.group() == 0x7FE0;
    tag.element() == 0 || tag == Tag(0x0008, 0x0001) || (moves_frames && locates_frames)
}
