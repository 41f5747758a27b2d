//! What inflates, counted and bounded: an entry of a ZIP archive, or a file of an Orthanc storage.

use crate::limits::MediaLimits;
use crate::zip::ZipError;
use std::io::{self, Read};

/// A stream that inflates, and knows how much it has read.
pub trait Inflating: Read {
    /// Compressed bytes that were read so far.
    fn bytes_in(&self) -> u64;
}

impl<R: Read> Inflating for flate2::read::ZlibDecoder<R> {
    fn bytes_in(&self) -> u64 {
        self.total_in()
    }
}

/// What comes out of a compressed stream, counted: more than an honest file would become is an
/// error.
#[derive(Debug)]
pub struct Bounded<R> {
    inner: R,
    bytes_out: u64,
    limits: MediaLimits,
}

impl<R> Bounded<R> {
    /// Over `inner`.
    #[must_use]
    pub const fn new(inner: R, limits: &MediaLimits) -> Self {
        Self {
            inner,
            bytes_out: 0,
            limits: *limits,
        }
    }
}

impl<R: Inflating> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.bytes_out = self.bytes_out.saturating_add(count as u64);
        let limits = &self.limits;
        let ratio_counts = self.bytes_out > limits.inflate_ratio_from_bytes;
        let bytes_in = self.inner.bytes_in();
        let most = bytes_in.saturating_mul(limits.inflate_ratio_max);
        if self.bytes_out > limits.inflated_bytes_max || (ratio_counts && self.bytes_out > most) {
            return Err(io::Error::other(ZipError::Bomb));
        }
        Ok(count)
    }
}
