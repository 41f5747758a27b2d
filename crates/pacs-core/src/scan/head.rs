//! Reads the head of an instance: all at once from a slice, or from fragments as they arrive.

use super::collect::Collector;
use super::element::{Element, Event};
use super::inflate::Inflater;
use super::machine::{Machine, Step, Window};
use super::{Encoding, ScanError};
use crate::attributes::Attributes;
use crate::instance::{Instance, InstanceError};
use crate::limits::ScanLimits;
use crate::tag::{Tag, tags};
use crate::uid::{
    SeriesUid, SopClassUid, SopInstanceUid, StudyUid, TransferSyntaxUid, Uid, UidError,
};

pub(crate) fn read_instance(
    data_set: &[u8],
    transfer_syntax: &TransferSyntaxUid,
    limits: &ScanLimits,
) -> Result<Instance, InstanceError> {
    let mut reader = HeadReader::new(transfer_syntax, limits);
    if !reader.is_deflated() {
        // All is here: nothing needs to be kept between fragments.
        let total = length(data_set);
        reader.gather.machine.set_total(total);
        let window = Window {
            base: 0,
            bytes: data_set,
        };
        reader.gather.run(window)?;
        reader.received = total;
        return reader.into_instance();
    }
    let _ = reader.push(data_set)?;
    reader.finish()
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Whether a head is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadState {
    /// All attributes are read; what follows is pixel data. More fragments change nothing.
    Complete,
    /// The pixel data has not begun.
    NeedMore,
}

/// Reads the head of an instance from fragments of any size, holding no more than one attribute's
/// bytes.
#[derive(Debug)]
pub struct HeadReader {
    transfer_syntax: TransferSyntaxUid,
    gather: Gather,
    inflater: Option<Inflater>,
    received: u64,
    /// Bytes that are here and not yet read.
    pending: Vec<u8>,
    /// Where they begin, or where the next fragment begins.
    base: u64,
}

impl HeadReader {
    /// At the beginning of a data set.
    #[must_use]
    pub fn new(transfer_syntax: &TransferSyntaxUid, limits: &ScanLimits) -> Self {
        let encoding = Encoding::of(transfer_syntax);
        Self {
            transfer_syntax: transfer_syntax.clone(),
            gather: Gather {
                machine: Machine::new(encoding.syntax(), *limits, true),
                collector: Collector::new(*limits),
                waiting: None,
                complete: false,
            },
            inflater: (encoding == Encoding::Deflated).then(|| Inflater::new(limits)),
            received: 0,
            pending: Vec::new(),
            base: 0,
        }
    }

    /// Bytes of the data set that it holds at the moment.
    #[must_use]
    pub fn bytes_held(&self) -> usize {
        self.pending.len()
    }

    fn is_deflated(&self) -> bool {
        self.inflater.is_some()
    }

    /// Takes the next fragment of the data set.
    ///
    /// # Errors
    /// [`ScanError`], after which nothing more can be read.
    pub fn push(&mut self, fragment: &[u8]) -> Result<HeadState, ScanError> {
        self.received = self.received.saturating_add(length(fragment));
        if !self.gather.complete {
            match self.inflater.take() {
                Some(mut inflater) => {
                    let result = inflater.push(fragment, &mut |bytes| self.feed(bytes));
                    self.inflater = Some(inflater);
                    result?;
                }
                None => {
                    let _ = self.feed(fragment)?;
                }
            }
        }
        Ok(if self.gather.complete {
            HeadState::Complete
        } else {
            HeadState::NeedMore
        })
    }

    /// Reads on in bytes that are not deflated (any more); whether more are wanted.
    fn feed(&mut self, bytes: &[u8]) -> Result<bool, ScanError> {
        if self.pending.is_empty() {
            let window = Window {
                base: self.base,
                bytes,
            };
            self.gather.run(window)?;
            if self.gather.complete {
                // What follows is pixel data, which nobody asks for here.
                return Ok(false);
            }
            let unread = window.get(self.gather.first_needed(), u64::MAX);
            self.pending.extend_from_slice(unread);
            self.base = self
                .base
                .saturating_add(length(bytes))
                .saturating_sub(length(unread));
        } else {
            self.pending.extend_from_slice(bytes);
            let window = Window {
                base: self.base,
                bytes: &self.pending,
            };
            self.gather.run(window)?;
            if self.gather.complete {
                self.pending = Vec::new();
                return Ok(false);
            }
            let read = self
                .pending
                .len()
                .saturating_sub(window.get(self.gather.first_needed(), u64::MAX).len());
            if read > 0 {
                self.pending.drain(..read);
                self.base = self.base.saturating_add(u64::try_from(read).unwrap_or(0));
            }
        }
        Ok(!self.gather.complete)
    }

    /// Says that there are no more fragments, and gives the instance.
    ///
    /// # Errors
    /// [`InstanceError`]: bytes that cannot be read within the limits, or no identity.
    pub fn finish(mut self) -> Result<Instance, InstanceError> {
        if !self.gather.complete
            && let Some(mut inflater) = self.inflater.take()
        {
            inflater.finish(&mut |bytes| self.feed(bytes))?;
            if !inflater.is_finished() && !self.gather.complete {
                return Err(ScanError::Deflate.into());
            }
            self.inflater = Some(inflater);
        }
        if !self.gather.complete {
            let total = self.base.saturating_add(length(&self.pending));
            self.gather.machine.set_total(total);
            let pending = std::mem::take(&mut self.pending);
            self.gather.run(Window {
                base: self.base,
                bytes: &pending,
            })?;
            if let Some((element, _)) = &self.gather.waiting {
                let offset = element.offset;
                return Err(ScanError::Overrun { offset }.into());
            }
        }
        self.into_instance()
    }

    fn into_instance(self) -> Result<Instance, InstanceError> {
        let head_bytes = if self.is_deflated() {
            0
        } else {
            self.gather.machine.head_end().unwrap_or(self.received)
        };
        let attributes = self.gather.collector.finish();
        let identity = |tag| identifier(&attributes, tag);
        Ok(Instance {
            sop_class: SopClassUid::from(identity(tags::SOP_CLASS_UID)?),
            instance: SopInstanceUid::from(identity(tags::SOP_INSTANCE_UID)?),
            study: StudyUid::from(identity(tags::STUDY_INSTANCE_UID)?),
            series: SeriesUid::from(identity(tags::SERIES_INSTANCE_UID)?),
            transfer_syntax: self.transfer_syntax,
            attributes,
            head_bytes,
        })
    }
}

fn identifier(attributes: &Attributes, tag: Tag) -> Result<Uid, InstanceError> {
    let text = attributes.text(tag).unwrap_or_default();
    Uid::parse_legacy(text).map_err(|source| match source {
        UidError::Empty => InstanceError::Missing { tag },
        UidError::Grammar | UidError::TooLong => InstanceError::Uid { tag, source },
    })
}

/// The scan and what it has gathered.
#[derive(Debug)]
struct Gather {
    machine: Machine,
    collector: Collector,
    /// An element whose value is wanted and not all here, and how much of it is wanted.
    waiting: Option<(Element, u64)>,
    complete: bool,
}

impl Gather {
    /// The first byte that is still needed.
    fn first_needed(&self) -> u64 {
        match &self.waiting {
            Some((element, _)) => element.value.start,
            None => self.machine.position(),
        }
    }

    /// Reads as far as the bytes go.
    fn run(&mut self, window: Window<'_>) -> Result<(), ScanError> {
        if let Some((element, wanted)) = self.waiting.take()
            && !self.take(&element, wanted, window)
        {
            self.waiting = Some((element, wanted));
            return Ok(());
        }
        loop {
            let collector = &mut self.collector;
            let plain = self
                .machine
                .plain_element(window, |tag| collector.wants_tag(tag));
            let element = match plain {
                Some(element) => element,
                None => match self.machine.step(window)? {
                    Step::Done => {
                        self.complete = true;
                        return Ok(());
                    }
                    Step::NeedMore => return Ok(()),
                    Step::Event(Event::Element(element)) => element,
                    Step::Event(event) => {
                        self.collector.on(&event);
                        continue;
                    }
                },
            };
            let Some(wanted) = self.collector.wants(&element) else {
                continue;
            };
            if !self.take(&element, wanted, window) {
                self.waiting = Some((element, wanted));
                return Ok(());
            }
        }
    }

    /// Takes a value, if all that is wanted of it is here.
    fn take(&mut self, element: &Element, wanted: u64, window: Window<'_>) -> bool {
        let start = element.value.start;
        let bytes = window.get(start, start.saturating_add(wanted));
        if length(bytes) < wanted {
            return false;
        }
        self.collector.take(element, bytes);
        true
    }
}
