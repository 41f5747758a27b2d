//! Memory from which and into which a disk moves whole blocks by itself.

use super::ALIGNED_BYTES;
use memmap2::MmapMut;

/// Memory from this length on is asked for in huge pages.
const HUGE_FROM_BYTES: usize = 1 << 20;

/// What a huge page begins at a multiple of: of x86-64, and of ARM with pages of 4 KiB.
const HUGE_BYTES: usize = 2 << 20;

/// Memory that begins at a multiple of [`ALIGNED_BYTES`], to be used again and again: fresh memory
/// costs as much as what is done with it.
///
/// A disk is told of every page by itself, unless they stand side by side in the machine. So long
/// memory is asked for in huge pages, where the system has them: half a megabyte is then written in
/// a sixth less time (docs/decisions/0001).
#[derive(Debug, Default)]
pub(crate) struct Aligned {
    /// Longer than what is used, so that that fits wherever the memory begins.
    memory: Memory,
}

#[derive(Debug)]
enum Memory {
    Heap(Vec<u8>),
    Mapped(MmapMut),
}

impl Default for Memory {
    fn default() -> Self {
        Self::Heap(Vec::new())
    }
}

impl Memory {
    /// What is to be used of it begins at a multiple of this.
    const fn step(&self) -> usize {
        match self {
            Self::Heap(_) => ALIGNED_BYTES,
            Self::Mapped(_) => HUGE_BYTES,
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Heap(memory) => memory,
            Self::Mapped(memory) => memory,
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Heap(memory) => memory,
            Self::Mapped(memory) => memory,
        }
    }

    /// `length` bytes in huge pages; `None` where there are none to be had.
    fn mapped(length: usize) -> Option<Self> {
        let needed = length
            .next_multiple_of(HUGE_BYTES)
            .checked_add(HUGE_BYTES)?;
        let memory = MmapMut::map_anon(needed).ok()?;
        #[cfg(target_os = "linux")]
        memory.advise(memmap2::Advice::HugePage).ok()?;
        Some(Self::Mapped(memory))
    }
}

impl Aligned {
    /// The first `length` bytes; what they hold is what was left there, or anything where that many
    /// were never used.
    pub(crate) fn first(&mut self, length: usize) -> &mut [u8] {
        let needed = length.saturating_add(self.memory.step());
        if self.memory.bytes().len() < needed {
            self.grow(length);
        }
        let start = self.start();
        let end = start.saturating_add(length);
        let bytes = self.memory.bytes_mut();
        bytes.get_mut(start..end).unwrap_or_default()
    }

    /// The first `length` bytes, to be read; none where that many were never used.
    pub(crate) fn get(&self, length: usize) -> &[u8] {
        let start = self.start();
        let end = start.saturating_add(length);
        self.memory.bytes().get(start..end).unwrap_or_default()
    }

    fn start(&self) -> usize {
        self.memory
            .bytes()
            .as_ptr()
            .align_offset(self.memory.step())
    }

    /// Makes it long enough; what is there is lost.
    fn grow(&mut self, length: usize) {
        let is_long = length >= HUGE_FROM_BYTES;
        let mapped = is_long.then(|| Memory::mapped(length)).flatten();
        let heap = || Memory::Heap(vec![0; length.saturating_add(ALIGNED_BYTES)]);
        self.memory = mapped.unwrap_or_else(heap);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_any_length_begins_with_a_block_and_is_used_again() {
        let mut aligned = Aligned::default();
        assert!(aligned.get(1).is_empty());
        for length in [1, 4_096, 300_000, HUGE_FROM_BYTES, 3 * HUGE_BYTES + 1] {
            let first = aligned.first(length);
            assert!(first.as_ptr().addr().is_multiple_of(ALIGNED_BYTES));
            assert_eq!(first.len(), length);
            first.fill(7);
            let place = first.as_ptr();
            assert_eq!(aligned.first(length / 2).as_ptr(), place);
            assert_eq!(aligned.get(length).len(), length);
            assert!(aligned.get(length).iter().all(|byte| *byte == 7));
        }
    }
}
