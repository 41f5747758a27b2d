//! The bytes that were pushed and not read yet, inflated where the data set is deflated.

use crate::limits::ScanLimits;
use crate::scan::ScanError;
use crate::scan::inflate::Inflater;
use crate::scan::machine::Window;

/// First bytes that tell how a deflated stream begins.
const PREFIX_BYTES: usize = 5;

/// Bytes with a position among them.
#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    from: usize,
}

impl Held {
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.from..).unwrap_or(&[])
    }

    fn push(&mut self, bytes: Vec<u8>) {
        if self.rest().is_empty() {
            self.bytes = bytes;
        } else {
            self.bytes.drain(..self.from);
            self.bytes.extend_from_slice(&bytes);
        }
        self.from = 0;
    }

    fn append(&mut self, bytes: &[u8]) {
        if self.from > 0 {
            self.bytes.drain(..self.from.min(self.bytes.len()));
            self.from = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    fn skip(&mut self, count: usize) {
        self.from = self.from.saturating_add(count).min(self.bytes.len());
    }
}

/// What a data set is read from.
pub(crate) struct Input {
    here: Held,
    /// Where `here` stands in the data set.
    at: u64,
    deflated: Option<(Inflater, Held, bool)>,
    has_ended: bool,
}

impl Input {
    pub(crate) fn new(is_deflated: bool, limits: &ScanLimits) -> Self {
        Self {
            here: Held::default(),
            at: 0,
            deflated: is_deflated.then(|| (Inflater::new(limits), Held::default(), false)),
            has_ended: false,
        }
    }

    pub(crate) const fn is_deflated(&self) -> bool {
        self.deflated.is_some()
    }

    pub(crate) fn push(&mut self, bytes: Vec<u8>) {
        match &mut self.deflated {
            Some((_, raw, _)) => raw.push(bytes),
            None => self.here.push(bytes),
        }
    }

    pub(crate) const fn end(&mut self) {
        self.has_ended = true;
    }

    /// Where the next unread byte stands.
    pub(crate) const fn at(&self) -> u64 {
        self.at
    }

    /// What is here.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.here.rest()
    }

    pub(crate) fn window(&self) -> Window<'_> {
        Window {
            base: self.at,
            bytes: self.bytes(),
        }
    }

    pub(crate) fn skip(&mut self, count: usize) {
        let count = count.min(self.bytes().len());
        self.here.skip(count);
        self.at = self.at.saturating_add(length(count));
    }

    /// Takes in more of what was pushed; whether there is something new, an end being new too.
    pub(crate) fn refill(&mut self) -> Result<Refilled, ScanError> {
        let Some((inflater, raw, has_begun)) = &mut self.deflated else {
            return Ok(if self.has_ended {
                Refilled::Ended
            } else {
                Refilled::Nothing
            });
        };
        if !*has_begun {
            if raw.rest().len() < PREFIX_BYTES && !self.has_ended {
                return Ok(Refilled::Nothing);
            }
            inflater.start(raw.rest());
            *has_begun = true;
        }
        loop {
            if inflater.is_finished() {
                return Ok(Refilled::Ended);
            }
            let mut rest = raw.rest();
            let before = rest.len();
            let out = inflater.step(&mut rest)?;
            let used = before.saturating_sub(rest.len());
            let is_empty = out.is_empty();
            if !is_empty {
                self.here.append(out);
            }
            raw.skip(used);
            if !is_empty {
                return Ok(Refilled::More);
            }
            if used == 0 && !inflater.is_finished() {
                return match (before, self.has_ended) {
                    (0, false) => Ok(Refilled::Nothing),
                    _ => Err(ScanError::Deflate),
                };
            }
        }
    }

    pub(crate) fn bytes_held(&self) -> u64 {
        let raw = self
            .deflated
            .as_ref()
            .map_or(0, |(_, raw, _)| raw.bytes.len());
        length(raw.saturating_add(self.here.bytes.len()))
    }
}

/// What [`Input::refill`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refilled {
    /// There is nothing more, and there will not be.
    Ended,
    /// There are more bytes.
    More,
    /// There is nothing more until more is pushed.
    Nothing,
}

pub(crate) fn length(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
