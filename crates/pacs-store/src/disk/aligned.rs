//! Memory from which and into which a disk moves whole blocks by itself.

use super::ALIGNED_BYTES;

/// Memory that begins at a multiple of [`ALIGNED_BYTES`], to be used again and again: fresh memory
/// costs as much as what is done with it.
#[derive(Debug, Default)]
pub(crate) struct Aligned {
    /// Longer than what is used, so that that fits wherever the memory begins.
    memory: Vec<u8>,
}

impl Aligned {
    /// The first `length` bytes; what they hold is what was left there.
    pub(crate) fn first(&mut self, length: usize) -> &mut [u8] {
        let needed = length.saturating_add(ALIGNED_BYTES);
        if self.memory.len() < needed {
            self.memory.resize(needed, 0);
        }
        let start = self.memory.as_ptr().align_offset(ALIGNED_BYTES);
        let end = start.saturating_add(length);
        self.memory.get_mut(start..end).unwrap_or_default()
    }

    /// The first `length` bytes, to be read; none where that many were never used.
    pub(crate) fn get(&self, length: usize) -> &[u8] {
        let start = self.memory.as_ptr().align_offset(ALIGNED_BYTES);
        let end = start.saturating_add(length);
        self.memory.get(start..end).unwrap_or_default()
    }
}
