//! A database file that is looked at and not changed: what redb writes stays in memory.

use crate::disk::DiskFile;
use redb::StorageBackend;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is written is kept in pieces of this length.
const PIECE_BYTES: u64 = 4_096;

/// The file as it is, with what was written over it since.
#[derive(Debug)]
pub(super) struct Overlay {
    file: Arc<dyn DiskFile>,
    state: Mutex<State>,
    ended: End,
}

/// Has an [`Overlay`] answer nothing any more.
#[derive(Debug, Clone, Default)]
pub(super) struct End(Arc<AtomicBool>);

impl End {
    pub(super) fn now(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn check(&self) -> io::Result<()> {
        if self.0.load(Ordering::Acquire) {
            return Err(io::Error::other("it was looked at, and is let go of"));
        }
        Ok(())
    }
}

#[derive(Debug)]
struct State {
    length: u64,
    /// By number; each of [`PIECE_BYTES`] bytes.
    written: BTreeMap<u64, Vec<u8>>,
}

impl Overlay {
    pub(super) fn new(file: Arc<dyn DiskFile>) -> io::Result<Self> {
        let length = file.length_bytes()?;
        let written = BTreeMap::new();
        let state = Mutex::new(State { length, written });
        let ended = End::default();
        Ok(Self { file, state, ended })
    }

    /// By which it ends.
    pub(super) fn end(&self) -> End {
        self.ended.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the file has, with zeros behind its end.
    fn below(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.file.read_up_to(&mut bytes, offset)?;
        Ok(bytes)
    }
}

/// The pieces that `length` bytes at `offset` lie in: number, where in the piece, where in the
/// bytes, how many.
fn pieces(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
    let mut done = 0_usize;
    std::iter::from_fn(move || {
        let at = offset.saturating_add(done as u64);
        let from = usize::try_from(at % PIECE_BYTES).unwrap_or(0);
        let room = usize::try_from(PIECE_BYTES)
            .unwrap_or(0)
            .saturating_sub(from);
        let count = room.min(length.saturating_sub(done));
        let piece = (at / PIECE_BYTES, from, done, count);
        done = done.saturating_add(count);
        (count > 0).then_some(piece)
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        self.ended.check()?;
        Ok(self.state().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.ended.check()?;
        let state = self.state();
        if offset.saturating_add(out.len() as u64) > state.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        out.fill(0);
        self.file.read_up_to(out, offset)?;
        if state.written.is_empty() {
            return Ok(());
        }
        for (number, from, at, count) in pieces(offset, out.len()) {
            let piece = state.written.get(&number);
            let over = piece.and_then(|piece| piece.get(from..from.saturating_add(count)));
            if let (Some(over), Some(out)) = (over, out.get_mut(at..at.saturating_add(count))) {
                out.copy_from_slice(over);
            }
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.ended.check()?;
        self.state().length = length;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.ended.check()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.ended.check()?;
        let mut state = self.state();
        for (number, from, at, count) in pieces(offset, data.len()) {
            let piece = match state.written.entry(number) {
                Entry::Occupied(piece) => piece.into_mut(),
                Entry::Vacant(place) => {
                    let start = number.saturating_mul(PIECE_BYTES);
                    let length = usize::try_from(PIECE_BYTES).unwrap_or(0);
                    place.insert(self.below(start, length)?)
                }
            };
            let piece = piece.get_mut(from..from.saturating_add(count));
            if let (Some(piece), Some(data)) = (piece, data.get(at..at.saturating_add(count))) {
                piece.copy_from_slice(data);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, OpenHow, OsDisk};

    #[test]
    fn what_is_written_is_read_back_and_the_file_is_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let disk = OsDisk::open(directory.path()).unwrap();
        let file = disk.open("f", OpenHow::CreateNew).unwrap();
        let mut model: Vec<u8> = (0..20_000_u32).map(|n| (n % 251) as u8).collect();
        file.write_at(&model, 0).unwrap();
        let before = model.clone();
        let overlay = Overlay::new(Arc::clone(&file)).unwrap();

        for (offset, length) in [
            (0, 10),
            (4_000, 200),
            (8_192, 4_096),
            (12_287, 5_000),
            (1, 1),
        ] {
            overlay.write(offset as u64, &vec![0xff; length]).unwrap();
            model[offset..offset + length].fill(0xff);
        }
        overlay.set_len(30_000).unwrap();
        overlay.write(25_000, b"end").unwrap();
        model.resize(30_000, 0);
        model[25_000..25_003].copy_from_slice(b"end");

        let mut all = vec![1; 30_000];
        overlay.read(0, &mut all).unwrap();
        assert_eq!(all, model);
        let mut some = vec![1; 9_000];
        overlay.read(3_999, &mut some).unwrap();
        assert_eq!(some, model[3_999..12_999]);
        assert!(overlay.read(29_999, &mut some).is_err());
        assert_eq!(file.read_vec(0, 20_000).unwrap(), before);
        overlay.end().now();
        assert!(overlay.read(0, &mut some).is_err() && overlay.write(0, b"x").is_err());
    }
}
