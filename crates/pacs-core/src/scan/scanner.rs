//! Events over a data set that is all there.

use super::machine::{Machine, Step, Window};
use super::{Encoding, Event, ScanError, ScanLimits};
use std::ops::Range;

/// Reads a data set from one slice, event by event. For a deflated data set the slice is what it
/// inflates to ([`super::inflate::inflate`]).
///
/// After an error or the end it yields nothing more.
#[derive(Debug)]
pub struct Scanner<'a> {
    window: Window<'a>,
    machine: Machine,
    finished: bool,
}

impl<'a> Scanner<'a> {
    /// Over all of `data_set`.
    #[must_use]
    pub fn new(data_set: &'a [u8], encoding: Encoding, limits: &ScanLimits) -> Self {
        Self::with(data_set, encoding, limits, false)
    }

    /// Over `data_set` up to its pixel data, which need not be there.
    #[must_use]
    pub fn of_head(data_set: &'a [u8], encoding: Encoding, limits: &ScanLimits) -> Self {
        Self::with(data_set, encoding, limits, true)
    }

    fn with(data_set: &'a [u8], encoding: Encoding, limits: &ScanLimits, head: bool) -> Self {
        let mut machine = Machine::new(encoding.syntax(), *limits, head);
        machine.set_total(u64::try_from(data_set.len()).unwrap_or(u64::MAX));
        Self {
            window: Window {
                base: 0,
                bytes: data_set,
            },
            machine,
            finished: false,
        }
    }

    /// The bytes of a range that an event names; empty where it is not of this data set.
    #[must_use]
    pub fn bytes(&self, range: &Range<u64>) -> &'a [u8] {
        self.window.get(range.start, range.end)
    }

    /// Sequences around the next event.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.machine.depth()
    }

    /// How often something was read that is not as PS3.5 has it.
    #[must_use]
    pub fn irregularities(&self) -> u64 {
        self.machine.irregularities()
    }

    /// Where the pixel data begins, or the end where there is none; known once there are no more
    /// events of [`Scanner::of_head`].
    #[must_use]
    pub fn head_end(&self) -> Option<u64> {
        self.machine.head_end()
    }
}

impl Iterator for Scanner<'_> {
    type Item = Result<Event, ScanError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        match self.machine.step(self.window) {
            Ok(Step::Event(event)) => Some(Ok(event)),
            Ok(Step::Done | Step::NeedMore) => {
                self.finished = true;
                None
            }
            Err(error) => {
                self.finished = true;
                Some(Err(error))
            }
        }
    }
}
