//! The state of a scan: where it stands and what is open. It owns no bytes, so that it can wait for
//! them.

mod item;
mod value;

use super::dictionary::known_vr;
use super::element::{Element, Event, is_pixel_data};
use super::header::{self, DELIMITER_GROUP, Header, ITEM, ITEM_END, SEQUENCE_END};
use super::{ScanError, ScanLimits, Syntax};
use crate::tag::{Tag, Vr};

/// Bytes of a data set that are here now, and where they begin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window<'a> {
    pub(crate) base: u64,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Window<'a> {
    /// What is here from `start` on; empty where that is not here.
    #[inline]
    pub(crate) fn from(self, start: u64) -> &'a [u8] {
        start
            .checked_sub(self.base)
            .and_then(|from| usize::try_from(from).ok())
            .and_then(|from| self.bytes.get(from..))
            .unwrap_or(&[])
    }

    /// What is here of the bytes from `start` to `end`, from their beginning on; empty where that
    /// is not here.
    pub(crate) fn get(self, start: u64, end: u64) -> &'a [u8] {
        let rest = self.from(start);
        match usize::try_from(end.saturating_sub(start)) {
            Ok(length) => rest.get(..length).unwrap_or(rest),
            Err(_) => rest,
        }
    }
}

/// What one step came to.
#[derive(Debug)]
pub(crate) enum Step {
    Done,
    Event(Event),
    NeedMore,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Fragments,
    Item,
    Root,
    Sequence,
}

/// One open container.
#[derive(Debug, Clone, Copy)]
struct Frame {
    kind: Kind,
    /// Its end, or that of the innermost container around it that has one.
    bound: u64,
    /// Whether the end is its own.
    defined: bool,
    syntax: Syntax,
}

/// A scan in progress.
#[derive(Debug)]
pub(crate) struct Machine {
    limits: ScanLimits,
    /// The containers around `top`.
    stack: Vec<Frame>,
    top: Frame,
    /// Where the next header stands.
    position: u64,
    /// Bytes of the data set; `u64::MAX` while unknown.
    total: u64,
    sequences_open: usize,
    elements: usize,
    head_bytes: usize,
    /// Where the last value began, for the message.
    last_offset: u64,
    stops_at_pixel_data: bool,
    passed_pixel_data: bool,
    /// Frames to close because the container at this height is damaged.
    unwinding_to: Option<usize>,
    irregularities: u64,
    /// Containers whose rest was left behind because it is damaged.
    losses: u64,
    /// Set once the end or the pixel data is reached.
    head_end: Option<u64>,
}

impl Machine {
    pub(crate) fn new(syntax: Syntax, limits: ScanLimits, stops_at_pixel_data: bool) -> Self {
        Self {
            limits,
            stack: Vec::new(),
            top: Frame {
                kind: Kind::Root,
                bound: u64::MAX,
                defined: false,
                syntax,
            },
            position: 0,
            total: u64::MAX,
            sequences_open: 0,
            elements: 0,
            head_bytes: 0,
            last_offset: 0,
            stops_at_pixel_data,
            passed_pixel_data: false,
            unwinding_to: None,
            irregularities: 0,
            losses: 0,
            head_end: None,
        }
    }

    /// Says how long the data set is.
    pub(crate) fn set_total(&mut self, total: u64) {
        self.total = total;
    }

    /// Where the next header stands; it may lie beyond what is here.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Sequences around the position.
    pub(crate) fn depth(&self) -> usize {
        self.sequences_open
    }

    /// How often something was read that is not as PS3.5 has it.
    pub(crate) fn irregularities(&self) -> u64 {
        self.irregularities
    }

    /// How often something was left behind because it cannot be read.
    pub(crate) fn losses(&self) -> u64 {
        self.losses
    }

    /// Whether pixel data of the data set itself is behind.
    pub(crate) fn has_passed_pixel_data(&self) -> bool {
        self.passed_pixel_data
    }

    /// Where the head ended, once it has.
    pub(crate) fn head_end(&self) -> Option<u64> {
        self.head_end
    }

    /// Goes on to the next event.
    pub(crate) fn step(&mut self, window: Window<'_>) -> Result<Step, ScanError> {
        if let Some(element) = self.plain_element(window, |_| true) {
            return Ok(Step::Event(Event::Element(element)));
        }
        loop {
            if let Some(step) = self.unwind() {
                return Ok(step);
            }
            match self.advance(window) {
                Ok(Some(step)) => return Ok(step),
                Ok(None) => {}
                Err(error) => self.recover(error)?,
            }
        }
    }

    /// The next plain element that is wanted, the short way: those that are not wanted are passed
    /// over. `None` where something stands that is not plain; [`Self::step`] reads that.
    #[inline]
    pub(crate) fn plain_element(
        &mut self,
        window: Window<'_>,
        wants: impl FnMut(Tag) -> bool,
    ) -> Option<Element> {
        if !matches!(self.top.kind, Kind::Item | Kind::Root) || self.unwinding_to.is_some() {
            return None;
        }
        match self.top.syntax {
            Syntax::EXPLICIT_LITTLE => self.plain_in::<true, false>(window, wants),
            Syntax::IMPLICIT_LITTLE => self.plain_in::<false, false>(window, wants),
            Syntax {
                explicit: true,
                big_endian: true,
            } => self.plain_in::<true, true>(window, wants),
            _ => None,
        }
    }

    /// As [`Self::plain_element`], for one syntax.
    #[inline]
    fn plain_in<const EXPLICIT: bool, const BIG_ENDIAN: bool>(
        &mut self,
        window: Window<'_>,
        mut wants: impl FnMut(Tag) -> bool,
    ) -> Option<Element> {
        let bound = self.top.bound.min(self.total);
        let bulk_bytes_min = u64::try_from(self.limits.bulk_bytes_min).unwrap_or(u64::MAX);
        // What is passed over is no longer than bulk data, or not counted.
        let few = self.limits.elements_max.saturating_sub(self.elements);
        let mut rest = window.from(self.position);
        for _ in 0..few {
            let header: &[u8; 12] = rest.first_chunk()?;
            let plain = header::plain::<EXPLICIT, BIG_ENDIAN>(header)?;
            let start = self.position.saturating_add(u64::from(plain.size));
            let end = start.saturating_add(u64::from(plain.length));
            if end > bound || is_pixel_data(plain.tag) {
                return None;
            }
            let is_wanted = wants(plain.tag);
            let vr = match plain.vr {
                Some(vr) => vr,
                None if is_wanted => known_vr(plain.tag).unwrap_or(Vr::UN),
                None => Vr::UN,
            };
            let offset = self.position;
            if vr == Vr::SQ || !self.accept(end, u64::from(plain.length), bulk_bytes_min) {
                return None;
            }
            if is_wanted {
                return Some(Element {
                    tag: plain.tag,
                    vr,
                    written_vr: plain.vr,
                    offset,
                    value: start..end,
                    length_defined: true,
                    big_endian: BIG_ENDIAN,
                });
            }
            let passed = end.saturating_sub(offset);
            rest = rest.get(usize::try_from(passed).ok()?..)?;
        }
        None
    }

    /// Goes behind an element, unless that passes a limit.
    #[inline]
    fn accept(&mut self, end: u64, length: u64, bulk_bytes_min: u64) -> bool {
        if length < bulk_bytes_min {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let sum = self.head_bytes.saturating_add(length);
            if sum > self.limits.head_bytes_max {
                return false;
            }
            self.head_bytes = sum;
        }
        self.elements = self.elements.saturating_add(1);
        self.last_offset = self.position;
        self.position = end;
        true
    }

    /// Leaves a damaged container of known length behind.
    fn recover(&mut self, error: ScanError) -> Result<(), ScanError> {
        if !error.is_local() {
            return Err(error);
        }
        self.irregular()?;
        self.losses = self.losses.saturating_add(1);
        let height = if self.top.defined {
            Some(self.stack.len())
        } else {
            self.stack.iter().rposition(|frame| frame.defined)
        };
        self.unwinding_to = Some(height.ok_or(error)?);
        Ok(())
    }

    fn unwind(&mut self) -> Option<Step> {
        let height = self.unwinding_to?;
        if self.stack.len() > height {
            return Some(Step::Event(self.close()));
        }
        self.unwinding_to = None;
        self.position = self.top.bound;
        None
    }

    fn irregular(&mut self) -> Result<(), ScanError> {
        self.irregularities = self.irregularities.saturating_add(1);
        self.count()
    }

    /// Counts an element or item.
    fn count(&mut self) -> Result<(), ScanError> {
        self.elements = self.elements.saturating_add(1);
        if self.elements > self.limits.elements_max {
            return Err(ScanError::Elements {
                offset: self.position,
            });
        }
        Ok(())
    }

    /// One step; `None` where there was nothing to tell.
    fn advance(&mut self, window: Window<'_>) -> Result<Option<Step>, ScanError> {
        let bound = self.top.bound.min(self.total);
        if self.position >= bound {
            return self.at_bound(bound).map(Some);
        }
        let bytes = window.get(self.position, bound);
        match self.top.kind {
            Kind::Fragments => self.fragment(bytes, bound),
            Kind::Item | Kind::Root => self.element(bytes, bound),
            Kind::Sequence => self.item(bytes, bound),
        }
    }

    /// The container's end is reached, or that of one around it.
    fn at_bound(&mut self, bound: u64) -> Result<Step, ScanError> {
        if self.top.kind == Kind::Root {
            if self.position > bound {
                return Err(ScanError::Overrun {
                    offset: self.last_offset,
                });
            }
            self.head_end = Some(bound);
            return Ok(Step::Done);
        }
        if !self.top.defined {
            self.irregular()?;
            // A delimiter may be missing at the end of an enclosing container, but not at the end
            // of all.
            if bound == self.total && self.top.kind != Kind::Fragments {
                return Err(ScanError::Truncated { offset: bound });
            }
        }
        Ok(Step::Event(self.close()))
    }

    /// Closes the innermost container.
    fn close(&mut self) -> Event {
        let offset = self.position;
        let kind = self.top.kind;
        if let Some(below) = self.stack.pop() {
            self.top = below;
        }
        match kind {
            Kind::Fragments => Event::FragmentsEnd {
                offset,
                closed: false,
            },
            Kind::Item | Kind::Root => Event::ItemEnd { offset },
            Kind::Sequence => {
                self.sequences_open = self.sequences_open.saturating_sub(1);
                Event::SequenceEnd { offset }
            }
        }
    }

    fn open(&mut self, frame: Frame) {
        self.stack.push(self.top);
        self.top = frame;
    }

    /// More bytes are needed: wait, or find that there are none.
    fn short(&self, bytes: &[u8], bound: u64) -> Result<Option<Step>, ScanError> {
        let room = bound.saturating_sub(self.position);
        if u64::try_from(bytes.len()).is_ok_and(|here| here < room) {
            return Ok(Some(Step::NeedMore));
        }
        Err(ScanError::Truncated {
            offset: self.position,
        })
    }

    fn element(&mut self, bytes: &[u8], bound: u64) -> Result<Option<Step>, ScanError> {
        let at_root = self.top.kind == Kind::Root;
        if at_root
            && self.stops_at_pixel_data
            && let Some(tag) = bytes.first_chunk::<4>()
            && is_pixel_data(self.top.syntax.tag(*tag))
        {
            self.head_end = Some(self.position);
            return Ok(Some(Step::Done));
        }
        let room = bound.saturating_sub(self.position);
        let Some(header) = header::read(bytes, self.top.syntax, room) else {
            return match self.short(bytes, bound) {
                Err(_) if at_root && self.is_trailing(bytes) => Ok(Some(self.trailing())),
                other => other,
            };
        };
        if header.tag.group() == DELIMITER_GROUP {
            return self.delimiter_in_item(header);
        }
        if header.vr.is_some() && !self.top.syntax.explicit {
            // One explicit element among implicit ones: those after it are too, and others would
            // show.
            self.top.syntax.explicit = true;
        }
        if at_root && header.tag == Tag(0, 0) && self.position > 0 && bytes.starts_with(&[0; 8]) {
            return Ok(Some(self.trailing()));
        }
        match self.value(header, bytes, bound) {
            Err(error) if at_root && self.passed_pixel_data && error.is_local() => {
                Ok(Some(self.trailing()))
            }
            other => other,
        }
    }

    /// Whether less than a header at the end of all is padding or garbage that may stand there.
    fn is_trailing(&self, bytes: &[u8]) -> bool {
        self.passed_pixel_data || bytes.iter().all(|&b| b == 0)
    }

    /// The rest is no data set any more.
    fn trailing(&mut self) -> Step {
        let offset = self.position;
        self.irregularities = self.irregularities.saturating_add(1);
        // In a stream the end is not known yet: it is here.
        self.total = offset;
        Step::Event(Event::Trailing { offset })
    }

    /// An item tag or delimiter where elements stand.
    fn delimiter_in_item(&mut self, header: Header) -> Result<Option<Step>, ScanError> {
        let offset = self.position;
        let in_item = self.top.kind == Kind::Item;
        if in_item && !self.top.defined {
            match header.tag {
                ITEM_END => {}
                // The item's delimiter is missing; its sequence will see what stands here.
                ITEM | SEQUENCE_END => self.irregular()?,
                _ => return Err(ScanError::Structure { offset }),
            }
            let event = self.close();
            if header.tag == ITEM_END {
                self.skip(8);
            }
            return Ok(Some(Step::Event(event)));
        }
        if matches!(header.tag, ITEM_END | SEQUENCE_END) && header.length == 0 {
            // A stray delimiter ends nothing.
            self.irregular()?;
            self.skip(8);
            return Ok(None);
        }
        Err(ScanError::Structure { offset })
    }

    fn skip(&mut self, bytes: u64) {
        self.position = self.position.saturating_add(bytes);
    }
}
