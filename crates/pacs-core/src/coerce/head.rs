//! Finds the root elements of a data set that may be changed, up to the last of them.

use super::CoerceError;
use crate::convert::ConvertError;
use crate::limits::ScanLimits;
use crate::scan::machine::{Machine, Step, Window};
use crate::scan::{Element, Encoding, Event, ScanError};
use crate::tag::Tag;
use std::ops::Range;

/// A root element, by where it stands.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) tag: Tag,
    /// From its tag to its end.
    pub(super) whole: Range<usize>,
    /// Its value; nothing for a sequence.
    pub(super) value: Range<usize>,
    pub(super) is_sequence: bool,
}

/// A search in progress. It owns no bytes, so that it can wait for them.
pub(super) struct Head {
    machine: Machine,
    /// Tags that are looked for, in order.
    wanted: Vec<Tag>,
    found: Vec<Found>,
    highest: Option<Tag>,
    /// Sequences that are open.
    nesting: usize,
    /// The root sequence that is open and looked for.
    open: Option<Found>,
}

impl Head {
    /// `wanted` is in order of tags.
    pub(super) fn new(encoding: Encoding, wanted: Vec<Tag>, limits: &ScanLimits) -> Self {
        Self {
            machine: Machine::new(encoding.syntax(), *limits, true),
            wanted,
            found: Vec::new(),
            highest: None,
            nesting: 0,
            open: None,
        }
    }

    /// Goes on in `bytes`, which begin with the data set; whether all that can be found is found.
    pub(super) fn search(&mut self, bytes: &[u8], has_ended: bool) -> Result<bool, ConvertError> {
        if has_ended {
            let total = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            self.machine.set_total(total);
        }
        loop {
            let step = self.machine.step(Window { base: 0, bytes })?;
            let offset = self.machine.position();
            if self.machine.losses() > 0 {
                return Err(ConvertError::Damaged { offset });
            }
            match step {
                Step::Done => return Ok(true),
                Step::NeedMore if has_ended => return Err(ScanError::Truncated { offset }.into()),
                Step::NeedMore => return Ok(false),
                Step::Event(event) => {
                    if self.take(&event, offset)? {
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// What was found, in order of tags.
    pub(super) fn found(&self) -> &[Found] {
        &self.found
    }

    /// Takes an event, behind which the next header stands at `position`; whether it is behind the
    /// last that is looked for.
    fn take(&mut self, event: &Event, position: u64) -> Result<bool, CoerceError> {
        match event {
            Event::Element(element) if self.nesting == 0 => {
                if self.arrive(element)? {
                    return Ok(true);
                }
                if self.wanted.contains(&element.tag) {
                    self.found.push(found(element, false));
                }
            }
            Event::SequenceBegin(element) | Event::FragmentsBegin(element) => {
                if self.nesting == 0 {
                    if self.arrive(element)? {
                        return Ok(true);
                    }
                    let is_wanted = self.wanted.contains(&element.tag);
                    if is_wanted && matches!(event, Event::FragmentsBegin(_)) {
                        return Err(CoerceError::Unreadable { tag: element.tag });
                    }
                    self.open = is_wanted.then(|| found(element, true));
                }
                self.nesting = self.nesting.saturating_add(1);
            }
            Event::SequenceEnd { .. } | Event::FragmentsEnd { .. } => {
                self.nesting = self.nesting.saturating_sub(1);
                if self.nesting == 0
                    && let Some(mut found) = self.open.take()
                {
                    found.whole.end = place(position);
                    self.found.push(found);
                }
            }
            Event::Trailing { .. } => return Ok(true),
            Event::Element(_)
            | Event::Fragment { .. }
            | Event::ItemBegin { .. }
            | Event::ItemEnd { .. } => {}
        }
        Ok(false)
    }

    /// Whether a root element is behind the last that is looked for.
    fn arrive(&mut self, element: &Element) -> Result<bool, CoerceError> {
        let tag = element.tag;
        if self.highest.is_some_and(|highest| tag <= highest) {
            return if self.wanted.contains(&tag) {
                Err(CoerceError::Order { tag })
            } else {
                Ok(false)
            };
        }
        self.highest = Some(tag);
        Ok(self.wanted.last().is_none_or(|last| tag > *last))
    }
}

fn found(element: &Element, is_sequence: bool) -> Found {
    let value = place(element.value.start)..place(element.value.end);
    Found {
        tag: element.tag,
        whole: place(element.offset)..value.end,
        value,
        is_sequence,
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
