//! Reads a pack that is gone through from front to back in long pieces, before they are asked for.
//!
//! The disk then always has something to do, and nothing is read twice.

use super::entry::HEAD_BYTES_MAX;
use crate::disk::{ALIGNED_BYTES, Aligned, DiskFile};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::Builder;

/// Bytes read at once.
const PIECE_BYTES: usize = 4 << 20;

/// Pieces that are looked at together. Two more are being read or wait to be taken.
const PIECES_COUNT_MAX: usize = 2;

/// A part of a file, in memory.
#[derive(Debug)]
struct Piece {
    from: u64,
    memory: Aligned,
    /// Less than [`PIECE_BYTES`] where the file ends, and nothing where it could not be read.
    held_bytes: usize,
}

impl Piece {
    const fn end(&self) -> u64 {
        self.from.saturating_add(PIECE_BYTES as u64)
    }

    /// What is in memory from `offset` on.
    fn held(&self, offset: u64) -> &[u8] {
        let held = self.memory.get(self.held_bytes);
        let skipped = offset.checked_sub(self.from).map(usize::try_from);
        skipped
            .and_then(Result::ok)
            .and_then(|skipped| held.get(skipped..))
            .unwrap_or_default()
    }
}

/// A file and pieces of it that are in memory. What is not in them is read from the file; and what
/// changed since they were read shows in [`Self::file`] alone.
#[derive(Debug)]
pub(crate) struct Window {
    file: Arc<dyn DiskFile>,
    /// One after the other.
    pieces: VecDeque<Piece>,
}

impl Window {
    /// The file itself.
    pub(crate) fn file(&self) -> &dyn DiskFile {
        &*self.file
    }

    /// What is in memory from `offset` on, to the end of a piece.
    fn held(&self, offset: u64) -> &[u8] {
        let held = self.pieces.iter().map(|piece| piece.held(offset));
        held.into_iter()
            .find(|held| !held.is_empty())
            .unwrap_or_default()
    }
}

impl DiskFile for Window {
    fn length_bytes(&self) -> io::Result<u64> {
        self.file.length_bytes()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let held = self.held(offset);
        let count = held.len().min(buffer.len());
        if count == 0 {
            return self.file.read_at(buffer, offset);
        }
        if let (Some(into), Some(from)) = (buffer.get_mut(..count), held.get(..count)) {
            into.copy_from_slice(from);
        }
        Ok(count)
    }

    fn read_aligned_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = offset.saturating_add(done as u64);
            let held_bytes = self.held(at).len().min(rest.len());
            // A piece that ends elsewhere ends with the file.
            if held_bytes == 0 && done.is_multiple_of(ALIGNED_BYTES) {
                return Ok(done.saturating_add(self.file.read_aligned_at(rest, at)?));
            }
            match self.read_at(rest, at)? {
                0 => break,
                count => done = done.saturating_add(count),
            }
        }
        Ok(done)
    }

    fn write_vectored_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.file.write_vectored_at(parts, offset)
    }

    fn set_length(&self, length_bytes: u64) -> io::Result<()> {
        self.file.set_length(length_bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Reads a file from front to back while what was read of it is looked at.
#[derive(Debug)]
pub(crate) struct Ahead {
    window: Window,
    coming: Receiver<Piece>,
    /// Takes memory back that is needed no more.
    used: Sender<Aligned>,
    is_at_end: bool,
}

impl Ahead {
    /// Begins to read `file`, up to `stop` or its end.
    pub(crate) fn new(file: Arc<dyn DiskFile>, stop: u64) -> Self {
        let (give, coming) = sync_channel(1);
        let (used, unused) = channel();
        let read = Arc::clone(&file);
        // Where there is no thread to be had, nothing comes, and all is read when it is asked for.
        drop(Builder::new().spawn(move || read_on(&*read, stop, &give, &unused)));
        Self {
            window: Window {
                file,
                pieces: VecDeque::new(),
            },
            coming,
            used,
            is_at_end: false,
        }
    }

    /// What is in memory now.
    pub(crate) const fn window(&self) -> &Window {
        &self.window
    }

    /// Waits until what is at `offset` is in memory, and forgets what is before. Entries that begin
    /// before the offset that is given back have their heads in memory.
    pub(crate) fn come_to(&mut self, offset: u64) -> u64 {
        loop {
            let pieces = &mut self.window.pieces;
            if pieces.front().is_some_and(|first| first.end() <= offset) {
                // The reader may have come to the end.
                let memory = pieces.pop_front().map(|first| first.memory);
                let _ended = memory.map(|memory| self.used.send(memory));
                continue;
            }
            if self.is_at_end {
                return u64::MAX;
            }
            let end = pieces.back().map_or(0, Piece::end);
            let heads_end = end.saturating_sub(HEAD_BYTES_MAX as u64);
            if heads_end > offset || pieces.len() >= PIECES_COUNT_MAX {
                return heads_end;
            }
            self.take();
        }
    }

    /// Waits for more where an entry ends at `offset`.
    pub(crate) fn reach(&mut self, offset: u64) {
        while !self.is_at_end
            && self.window.pieces.len() < PIECES_COUNT_MAX
            && self.window.pieces.back().map_or(0, Piece::end) < offset
        {
            self.take();
        }
    }

    fn take(&mut self) {
        match self.coming.recv() {
            Ok(piece) => self.window.pieces.push_back(piece),
            Err(_) => self.is_at_end = true,
        }
    }
}

/// Reads `file` piece after piece, until it ends or nobody wants more.
fn read_on(file: &dyn DiskFile, stop: u64, give: &SyncSender<Piece>, unused: &Receiver<Aligned>) {
    let mut from = 0;
    while from < stop {
        let mut memory = unused.try_recv().unwrap_or_default();
        let read = file.read_aligned_at(memory.first(PIECE_BYTES), from);
        // Whoever asks for what could not be read hears why from the file.
        let held_bytes = read.as_ref().map_or(0, |count| *count);
        let piece = Piece {
            from,
            memory,
            held_bytes,
        };
        from = piece.end();
        let is_last = read.is_ok() && held_bytes < PIECE_BYTES;
        if give.send(piece).is_err() || is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, OpenHow, OsDisk};

    const PIECE: u64 = PIECE_BYTES as u64;

    /// A file whose bytes from here to there cannot be read.
    #[derive(Debug)]
    struct Worn(Arc<dyn DiskFile>, std::ops::Range<u64>);

    impl DiskFile for Worn {
        fn length_bytes(&self) -> io::Result<u64> {
            self.0.length_bytes()
        }

        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let end = offset.saturating_add(buffer.len() as u64);
            if offset < self.1.end && end > self.1.start {
                return Err(io::Error::other("worn"));
            }
            self.0.read_at(buffer, offset)
        }

        fn write_vectored_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
            self.0.write_vectored_at(parts, offset)
        }

        fn set_length(&self, length_bytes: u64) -> io::Result<()> {
            self.0.set_length(length_bytes)
        }

        fn sync_data(&self) -> io::Result<()> {
            self.0.sync_data()
        }
    }

    fn a_file(directory: &tempfile::TempDir, bytes: &[u8]) -> Arc<dyn DiskFile> {
        let disk = OsDisk::open(directory.path()).unwrap();
        let file = disk.open("f", OpenHow::CreateNew).unwrap();
        file.write_at(bytes, 0).unwrap();
        file
    }

    fn bytes(count: usize) -> Vec<u8> {
        (0..=250).cycle().take(count).collect()
    }

    #[test]
    fn what_is_read_is_what_the_file_has_wherever_the_pieces_are() {
        let directory = tempfile::tempdir().unwrap();
        let expected = bytes(5 * PIECE_BYTES + 12_345);
        let length = expected.len() as u64;
        let mut ahead = Ahead::new(a_file(&directory, &expected), u64::MAX);

        let mut at = 0;
        while at < length {
            let until = ahead.come_to(at);
            assert!(until > at, "{until} is no way on from {at}");
            // Over the end of what is in memory, and over that of the file.
            let end = at + 3 * PIECE / 2;
            ahead.reach(end);
            for (from, count) in [(at, 100), (at + PIECE - 7, 9_000), (end - 50, 100), (0, 10)] {
                let mut read = vec![0; count];
                let count = ahead.window().read_up_to(&mut read, from).unwrap();
                let from = usize::try_from(from.min(length)).unwrap();
                assert_eq!(
                    &read[..count],
                    &expected[from..(from + read.len()).min(expected.len())]
                );
            }
            let mut memory = Aligned::default();
            let read = memory.first(2 * PIECE_BYTES);
            let from = at / ALIGNED_BYTES as u64 * ALIGNED_BYTES as u64;
            let count = ahead.window().read_aligned_at(read, from).unwrap();
            let from = usize::try_from(from).unwrap();
            assert!(read[..count] == expected[from..(from + 2 * PIECE_BYTES).min(expected.len())]);
            at = end;
        }
        assert_eq!(ahead.come_to(length + PIECE), u64::MAX);
    }

    #[test]
    fn what_the_disk_does_not_give_is_asked_of_the_file_and_the_rest_is_read_on() {
        let directory = tempfile::tempdir().unwrap();
        let expected = bytes(3 * PIECE_BYTES);
        let bad = PIECE + 5_000..PIECE + 5_001;
        let file = Arc::new(Worn(a_file(&directory, &expected), bad));
        let mut ahead = Ahead::new(file, u64::MAX);

        ahead.come_to(PIECE);
        ahead.reach(2 * PIECE + 1);

        let mut read = [0; 100];
        for at in [PIECE, PIECE + 6_000, 2 * PIECE] {
            assert_eq!(ahead.window().read_at(&mut read, at).unwrap(), read.len());
            let at = usize::try_from(at).unwrap();
            assert_eq!(read[..], expected[at..at + read.len()]);
        }
        let error = ahead
            .window()
            .read_at(&mut read, PIECE + 4_950)
            .unwrap_err();
        assert_eq!(error.to_string(), "worn");
    }

    #[test]
    fn a_reader_that_nobody_listens_to_ends_and_closes_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = a_file(&directory, &bytes(6 * PIECE_BYTES));

        drop(Ahead::new(Arc::clone(&file), u64::MAX));

        let patience = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while Arc::strong_count(&file) > 1 {
            assert!(std::time::Instant::now() < patience, "it reads on");
            std::thread::yield_now();
        }
    }
}
