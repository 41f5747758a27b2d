//! A data set, event by event, of which only what is needed is read.

use pacs_core::limits::ScanLimits;
use pacs_core::scan::{Encoding, Event, Progress, ScanError, WindowedScanner};
use pacs_store::ReadError;
use std::borrow::Cow;
use std::ops::Range;

/// Bytes read at once where one element follows the other.
const WINDOW_BYTES: u64 = 64 << 10;

/// Bytes read behind a value that was passed over: a header or two.
const AFTER_JUMP_BYTES: u64 = 512;

/// Bytes of a data set, wherever they are.
pub trait DataSet {
    /// How many there are.
    fn length_bytes(&self) -> u64;

    /// Those of `range`, as far as there are such.
    ///
    /// # Errors
    /// [`ReadError`].
    fn read(&self, range: &Range<u64>) -> Result<Vec<u8>, ReadError>;
}

/// A data set in memory.
impl DataSet for &[u8] {
    fn length_bytes(&self) -> u64 {
        u64::try_from(self.len()).unwrap_or(u64::MAX)
    }

    fn read(&self, range: &Range<u64>) -> Result<Vec<u8>, ReadError> {
        let end = range.end.min(self.length_bytes());
        Ok(slice(self, 0, &(range.start..end))
            .unwrap_or_default()
            .to_vec())
    }
}

/// Why a walk ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WalkError {
    /// It has to be inflated, and others take all memory there is for that.
    #[error("no memory to inflate a data set at the moment")]
    NoMemory,
    /// They cannot be given other attributes.
    #[error("stored bytes cannot say what they are to say")]
    Correct(#[from] pacs_core::convert::ConvertError),
    /// The bytes could not be read.
    #[error("stored bytes could not be read")]
    Read(#[from] ReadError),
    /// They are no data set.
    #[error("stored bytes are no data set")]
    Scan(#[from] ScanError),
}

/// A walk through a data set.
#[derive(Debug)]
pub struct Walk<S> {
    source: S,
    scanner: WindowedScanner,
    window: Vec<u8>,
    base: u64,
    first_bytes: u64,
}

impl<S: DataSet> Walk<S> {
    /// At the beginning of `source`, whose attributes before the pixel data have about
    /// `head_bytes`.
    pub fn new(source: S, encoding: Encoding, head_bytes: u64, limits: &ScanLimits) -> Self {
        Self {
            scanner: WindowedScanner::new(encoding, source.length_bytes(), limits),
            source,
            window: Vec::new(),
            base: 0,
            first_bytes: head_bytes
                .saturating_add(AFTER_JUMP_BYTES)
                .min(WINDOW_BYTES),
        }
    }

    /// Reads the beginning, so that what cannot be read is known before anything is made of it.
    ///
    /// # Errors
    /// [`WalkError`].
    pub fn begin(&mut self) -> Result<(), WalkError> {
        if self.window.is_empty() && self.source.length_bytes() > 0 {
            self.refill(0)?;
        }
        Ok(())
    }

    /// The next event; `None` at the end.
    ///
    /// # Errors
    /// [`WalkError`], after which there is nothing more.
    pub fn step(&mut self) -> Result<Option<Event>, WalkError> {
        loop {
            match self.scanner.next(self.base, &self.window)? {
                Progress::Done => return Ok(None),
                Progress::Event(event) => return Ok(Some(event)),
                Progress::NeedMore { from } => self.refill(from)?,
            }
        }
    }

    fn refill(&mut self, from: u64) -> Result<(), WalkError> {
        let length = self.window_length();
        let end = self.base.saturating_add(length);
        let wanted = if self.window.is_empty() {
            self.first_bytes
        } else if from == self.base {
            // Not even one header was in it.
            length.saturating_mul(2)
        } else if from > end {
            AFTER_JUMP_BYTES
        } else {
            WINDOW_BYTES
        };
        let wanted = wanted.max(AFTER_JUMP_BYTES);
        let window = self.source.read(&(from..from.saturating_add(wanted)))?;
        let is_stuck = from == self.base && window.len() <= self.window.len();
        if is_stuck || window.is_empty() {
            return Err(ScanError::Truncated { offset: from }.into());
        }
        self.window = window;
        self.base = from;
        Ok(())
    }

    fn window_length(&self) -> u64 {
        u64::try_from(self.window.len()).unwrap_or(u64::MAX)
    }

    /// The bytes of a value, all of them: to be asked for those of bounded length.
    ///
    /// # Errors
    /// [`WalkError::Read`].
    pub fn value(&self, range: &Range<u64>) -> Result<Cow<'_, [u8]>, WalkError> {
        match slice(&self.window, self.base, range) {
            Some(bytes) => Ok(Cow::Borrowed(bytes)),
            None => Ok(Cow::Owned(self.source.read(range)?)),
        }
    }

    /// Where it walks.
    pub const fn source(&self) -> &S {
        &self.source
    }

    /// Where it walked.
    pub fn into_source(self) -> S {
        self.source
    }
}

/// The bytes of `range`, where `bytes` begin at `base` and have all of it.
fn slice<'b>(bytes: &'b [u8], base: u64, range: &Range<u64>) -> Option<&'b [u8]> {
    let from = usize::try_from(range.start.checked_sub(base)?).ok()?;
    let to = usize::try_from(range.end.checked_sub(base)?).ok()?;
    bytes.get(from..to)
}
