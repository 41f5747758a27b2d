//! Events over a data set of which only a window is at hand: for whoever reads from a disk and does
//! not want to read values that nobody asks for, pixel data above all.

use super::machine::{Machine, Step, Window};
use super::{Encoding, Event, ScanError, ScanLimits};

/// What the bytes of a window came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// There is nothing more.
    Done,
    /// An event. Its value need not be in the window.
    Event(Event),
    /// Bytes from this place on are needed to go on, some hundred at least if there are as many.
    NeedMore {
        /// The place.
        from: u64,
    },
}

/// Reads a data set event by event, from windows that the caller chooses: those before the place of
/// the last [`Progress::NeedMore`] are not needed again.
///
/// For a deflated data set windows are of what it inflates to.
#[derive(Debug)]
pub struct WindowedScanner {
    machine: Machine,
    is_finished: bool,
}

impl WindowedScanner {
    /// At the beginning of a data set of `length_bytes`.
    #[must_use]
    pub fn new(encoding: Encoding, length_bytes: u64, limits: &ScanLimits) -> Self {
        let mut machine = Machine::new(encoding.syntax(), *limits, false);
        machine.set_total(length_bytes);
        Self {
            machine,
            is_finished: false,
        }
    }

    /// Goes on in `bytes`, which stand at `base` of the data set. After the end or an error there
    /// is nothing more.
    ///
    /// # Errors
    /// [`ScanError`].
    pub fn next(&mut self, base: u64, bytes: &[u8]) -> Result<Progress, ScanError> {
        if self.is_finished {
            return Ok(Progress::Done);
        }
        let stepped = self.machine.step(Window { base, bytes });
        match stepped {
            Ok(Step::Event(event)) => Ok(Progress::Event(event)),
            Ok(Step::NeedMore) => Ok(Progress::NeedMore {
                from: self.machine.position(),
            }),
            Ok(Step::Done) => {
                self.is_finished = true;
                Ok(Progress::Done)
            }
            Err(error) => {
                self.is_finished = true;
                Err(error)
            }
        }
    }

    /// Sequences around the next event.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.machine.depth()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::Scanner;

    /// An element, a sequence with one item, pixel data, padding.
    fn data_set() -> Vec<u8> {
        let mut bytes = b"\x10\0\x10\0PN\x04\0A^B ".to_vec();
        bytes.extend(b"\x40\0\x75\x02SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff");
        bytes.extend(b"\x40\0\x07\0LO\x02\0ab\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0");
        bytes.extend(b"\xe0\x7f\x10\0OW\0\0\0\x10\0\0");
        bytes.extend([7; 4096]);
        bytes.extend(b"\xfc\xff\xfc\xffOB\0\0\x02\0\0\0\0\0");
        bytes
    }

    #[test]
    fn small_windows_give_the_events_of_the_whole() {
        let bytes = data_set();
        let limits = ScanLimits::default();
        let encoding = Encoding::ExplicitLittleEndian;
        let whole: Vec<Event> = Scanner::new(&bytes, encoding, &limits)
            .map(Result::unwrap)
            .collect();
        for size in [12, 13, 64, 10_000] {
            let mut scanner = WindowedScanner::new(encoding, bytes.len() as u64, &limits);
            let (mut from, mut read, mut events) = (0, 0, Vec::new());
            loop {
                let start = usize::try_from(from).unwrap();
                let window = &bytes[start..bytes.len().min(start + size)];
                match scanner.next(from, window).unwrap() {
                    Progress::Done => break,
                    Progress::Event(event) => events.push(event),
                    Progress::NeedMore { from: needed } => {
                        assert!(needed > from, "no window of {size} is asked for twice");
                        from = needed;
                        read += 1;
                    }
                }
            }
            assert_eq!(events, whole, "{size}");
            assert!(
                read < 20,
                "pixel data is passed over: {read} windows of {size}"
            );
        }
    }
}
