//! Moves long batches and long entries around the memory in which the system keeps files.
//!
//! What is copied there costs the processor as much as its digest, pushes out what is being read,
//! and has to be written from there anyway before the sync returns. It pays for short batches only
//! (docs/decisions/0001).

use crate::digest::{Digest, Digester};
use crate::disk::{ALIGNED_BYTES, Aligned, DiskFile};
use bytes::Bytes;
use std::io;

/// Batches from this length on are written around memory.
pub(crate) const BATCH_BYTES_MIN: u64 = 256 << 10;

/// Bytes handed to the disk at once.
const PIECE_BYTES: usize = 2 << 20;

/// A shorter piece goes through memory: the sync writes it together with the rest.
const AROUND_BYTES_MIN: usize = 64 << 10;

/// What pieces are gathered in, since the disk takes them only from aligned memory.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    memory: Aligned,
    used: usize,
}

impl Piece {
    /// Writes `parts`, one after the other, from `offset` on. The blocks that the batch only shares
    /// go through memory: the disk takes whole blocks, and those before `offset` are durable.
    pub(crate) fn write(
        &mut self,
        file: &dyn DiskFile,
        parts: &[Bytes],
        offset: u64,
    ) -> io::Result<()> {
        self.used = 0;
        let mut at = offset;
        // To the next boundary first, where it does not begin at one.
        let mut length = usize::try_from(offset.next_multiple_of(ALIGNED_BYTES as u64) - offset)
            .ok()
            .filter(|length| *length > 0)
            .unwrap_or(PIECE_BYTES);
        for part in parts {
            let mut rest = part.as_ref();
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(length - self.used));
                self.take(now);
                rest = later;
                if self.used == length {
                    self.flush(file, at)?;
                    at = at.saturating_add(length as u64);
                    length = PIECE_BYTES;
                }
            }
        }
        self.flush(file, at)
    }

    fn take(&mut self, bytes: &[u8]) {
        let used = self.used;
        let end = used.saturating_add(bytes.len());
        if let Some(place) = self.memory.first(PIECE_BYTES).get_mut(used..end) {
            place.copy_from_slice(bytes);
            self.used = end;
        }
    }

    /// Writes what was gathered at `at`.
    fn flush(&mut self, file: &dyn DiskFile, at: u64) -> io::Result<()> {
        let used = std::mem::take(&mut self.used);
        let whole = if used >= AROUND_BYTES_MIN && at.is_multiple_of(ALIGNED_BYTES as u64) {
            used / ALIGNED_BYTES * ALIGNED_BYTES
        } else {
            0
        };
        let gathered = self.memory.first(used);
        let (blocks, rest) = gathered.split_at_checked(whole).unwrap_or_default();
        if !blocks.is_empty() {
            file.write_aligned_at(blocks, at)?;
        }
        if !rest.is_empty() {
            file.write_at(rest, at.saturating_add(whole as u64))?;
        }
        Ok(())
    }
}

/// The digest of `length_bytes` bytes from `offset` on, read from the medium itself into `memory`;
/// `None` where the file ends before.
pub(crate) fn digest_of(
    file: &dyn DiskFile,
    offset: u64,
    length_bytes: u64,
    memory: &mut Aligned,
) -> io::Result<Option<Digest>> {
    let mut digester = Digester::new();
    let end = offset.saturating_add(length_bytes);
    let mut at = offset / ALIGNED_BYTES as u64 * ALIGNED_BYTES as u64;
    while at < end {
        let left = usize::try_from(end.saturating_sub(at)).unwrap_or(PIECE_BYTES);
        let wanted = left.min(PIECE_BYTES).next_multiple_of(ALIGNED_BYTES);
        let piece = memory.first(wanted);
        let read = file.read_aligned_at(piece, at)?;
        if read < left.min(wanted) {
            return Ok(None);
        }
        let skipped = usize::try_from(offset.saturating_sub(at)).unwrap_or(usize::MAX);
        let ours = piece.get(..left.min(wanted)).unwrap_or_default();
        digester.update(ours.get(skipped..).unwrap_or_default());
        at = at.saturating_add(wanted as u64);
    }
    Ok(Some(digester.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, OpenHow, OsDisk};

    #[test]
    fn what_is_written_around_memory_is_what_was_given_wherever_it_begins() {
        let directory = tempfile::tempdir().unwrap();
        let disk = OsDisk::open(directory.path()).unwrap();
        let file = disk.open("f", OpenHow::CreateNew).unwrap();
        let mut piece = Piece::default();
        let mut expected = Vec::new();
        let bytes: Vec<u8> = (0..3_000_000_u32)
            .map(|at| u8::try_from(at * 7 % 253).unwrap())
            .collect();

        for lengths in [
            &[512_usize][..],
            &[1_024, 2_500_000, 512],
            &[4_096 - 2_037],
            &[1, 1 << 20, 0, 5],
            &[300_000, 300_000, 300_000],
        ] {
            let parts: Vec<Bytes> = lengths
                .iter()
                .map(|length| Bytes::copy_from_slice(&bytes[..*length]))
                .collect();
            let offset = expected.len() as u64;
            piece.write(&*file, &parts, offset).unwrap();
            expected.extend(parts.concat());
        }

        assert_eq!(file.length_bytes().unwrap(), expected.len() as u64);
        let length = expected.len();
        let mut memory = Aligned::default();
        for range in [0..0, 0..1, 5..length, 4_096..1_200_000, length - 1..length] {
            let (from, count) = (range.start as u64, range.len() as u64);
            let digest = digest_of(&*file, from, count, &mut memory).unwrap();
            assert_eq!(digest, Some(Digest::of(&expected[range])));
        }
        let beyond = digest_of(&*file, 5, length as u64, &mut memory).unwrap();
        assert_eq!(beyond, None);
        assert!(file.read_vec(0, expected.len()).unwrap() == expected);
    }
}
