//! Deflated data sets (PS3.5 A.5), inflated piece by piece and never further than the limits allow.

use super::ScanError;
use crate::limits::ScanLimits;
use flate2::{Decompress, FlushDecompress, Status};

/// Bytes that are inflated at a time.
const CHUNK_BYTES: usize = 16 << 10;

/// First bytes that tell a raw deflate stream from one with a zlib header.
const PREFIX_BYTES: usize = 5;

/// A deflated stream on its way.
pub struct Inflater {
    limits: ScanLimits,
    state: State,
    bytes_in: u64,
    bytes_out: u64,
    chunk: Vec<u8>,
}

enum State {
    Beginning(Vec<u8>),
    Finished,
    Running(Box<Decompress>),
}

impl std::fmt::Debug for Inflater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inflater")
            .field("bytes_in", &self.bytes_in)
            .field("bytes_out", &self.bytes_out)
            .finish_non_exhaustive()
    }
}

impl Inflater {
    /// At the beginning of a stream.
    #[must_use]
    pub fn new(limits: &ScanLimits) -> Self {
        Self {
            limits: *limits,
            state: State::Beginning(Vec::new()),
            bytes_in: 0,
            bytes_out: 0,
            chunk: Vec::new(),
        }
    }

    /// Whether the end of the stream was seen. What follows it is padding.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        matches!(self.state, State::Finished)
    }

    /// Bytes that have come out.
    #[must_use]
    pub fn bytes_out(&self) -> u64 {
        self.bytes_out
    }

    /// Inflates `input` and hands what comes out to `sink`, at most 16 KiB at a time, until that
    /// says `false` or the input is used up.
    ///
    /// # Errors
    /// [`ScanError::Deflate`], [`ScanError::Inflated`], or what `sink` returns.
    pub fn push(
        &mut self,
        input: &[u8],
        sink: &mut dyn FnMut(&[u8]) -> Result<bool, ScanError>,
    ) -> Result<(), ScanError> {
        if let State::Beginning(prefix) = &mut self.state {
            prefix.extend_from_slice(input);
            if prefix.len() < PREFIX_BYTES {
                return Ok(());
            }
            let prefix = std::mem::take(prefix);
            return self.begin(&prefix, sink);
        }
        self.run(input, sink)
    }

    /// Says that there is no more input; only a stream of less than five bytes waits for this.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn finish(
        &mut self,
        sink: &mut dyn FnMut(&[u8]) -> Result<bool, ScanError>,
    ) -> Result<(), ScanError> {
        if let State::Beginning(prefix) = &mut self.state {
            let prefix = std::mem::take(prefix);
            return self.begin(&prefix, sink);
        }
        Ok(())
    }

    fn begin(
        &mut self,
        prefix: &[u8],
        sink: &mut dyn FnMut(&[u8]) -> Result<bool, ScanError>,
    ) -> Result<(), ScanError> {
        self.start(prefix);
        self.run(prefix, sink)
    }

    fn run(
        &mut self,
        mut input: &[u8],
        sink: &mut dyn FnMut(&[u8]) -> Result<bool, ScanError>,
    ) -> Result<(), ScanError> {
        loop {
            let before = input.len();
            let out = self.step(&mut input)?;
            let produced = out.len();
            if produced > 0 && !sink(out)? {
                return Ok(());
            }
            if self.is_finished() || (input.len() == before && produced == 0) {
                return Ok(());
            }
        }
    }

    /// Begins a stream, for [`Self::step`]; `first` are its first bytes, five of them or all.
    pub(crate) fn start(&mut self, first: &[u8]) {
        self.state = State::Running(Box::new(Decompress::new(has_zlib_header(first))));
        self.chunk = vec![0; CHUNK_BYTES];
    }

    /// Inflates the beginning of `input`, takes that away from it, and gives what came out: at most
    /// 16 KiB. More may come out of no input; nothing is that there is no more without input.
    ///
    /// # Errors
    /// [`ScanError::Deflate`] or [`ScanError::Inflated`].
    pub(crate) fn step(&mut self, input: &mut &[u8]) -> Result<&[u8], ScanError> {
        let State::Running(decompress) = &mut self.state else {
            return Ok(&[]);
        };
        let status = decompress
            .decompress(input, &mut self.chunk, FlushDecompress::None)
            .map_err(|_| ScanError::Deflate)?;
        let consumed = decompress.total_in().saturating_sub(self.bytes_in);
        let produced = decompress.total_out().saturating_sub(self.bytes_out);
        self.bytes_in = decompress.total_in();
        self.bytes_out = decompress.total_out();
        self.check()?;
        if status == Status::StreamEnd {
            self.state = State::Finished;
        }
        let consumed = usize::try_from(consumed).unwrap_or(usize::MAX);
        let produced = usize::try_from(produced).unwrap_or(usize::MAX);
        *input = input.get(consumed..).unwrap_or(&[]);
        Ok(self.chunk.get(..produced).unwrap_or(&self.chunk))
    }

    fn check(&self) -> Result<(), ScanError> {
        let ratio_counts = self.bytes_out > self.limits.inflate_ratio_from_bytes;
        let most = self.bytes_in.saturating_mul(self.limits.inflate_ratio_max);
        if self.bytes_out > self.limits.inflated_bytes_max
            || (ratio_counts && self.bytes_out > most)
        {
            return Err(ScanError::Inflated);
        }
        Ok(())
    }
}

/// Whether a stream begins with a zlib header (RFC 1950), which PS3.5 does not ask for but some
/// write. A raw stream with such a first byte would be a stored block, whose length is written
/// twice.
fn has_zlib_header(prefix: &[u8]) -> bool {
    let Some(&[method, flags]) = prefix.first_chunk::<2>() else {
        return false;
    };
    let is_header = method & 0x0F == 8
        && method >> 4 <= 7
        && u16::from_be_bytes([method, flags]).is_multiple_of(31);
    let is_stored = matches!(prefix, [_, a, b, c, d, ..] if *a == !*c && *b == !*d);
    is_header && !is_stored
}

/// Inflates a whole deflated data set.
///
/// # Errors
/// [`ScanError::Deflate`] where the stream is broken or cut, [`ScanError::Inflated`] at a limit.
pub fn inflate(deflated: &[u8], limits: &ScanLimits) -> Result<Vec<u8>, ScanError> {
    let mut inflated = Vec::new();
    let mut inflater = Inflater::new(limits);
    let mut sink = |bytes: &[u8]| {
        inflated.extend_from_slice(bytes);
        Ok(true)
    };
    inflater.push(deflated, &mut sink)?;
    inflater.finish(&mut sink)?;
    if inflater.is_finished() {
        Ok(inflated)
    } else {
        Err(ScanError::Deflate)
    }
}
