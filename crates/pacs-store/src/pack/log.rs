//! The end of the log, where one thread appends.

use super::around::{self, Piece};
use super::name::PackName;
use super::prepare::{CreateError, LogPack, Next, Preparer, Remover, seal};
use crate::disk::{Disk, DiskFile};
use crate::index::LogPosition;
use bytes::Bytes;
use std::io::{self, IoSlice};
use std::sync::Arc;

/// Zeros are not written ahead before that much came in: a short-lived archive does not need them.
const FILL_FROM_BYTES: u64 = 4 << 20;

/// Zeros are written ahead only where commits are shorter than this on average: there the journal
/// of the file system is most of what a sync costs. Of longer ones it is little, and writing
/// everything twice is much.
const FILL_BATCH_BYTES_MAX: u64 = 128 << 10;

/// Bytes to append, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    parts: Vec<Bytes>,
    length: u64,
}

impl Batch {
    pub(crate) fn push(&mut self, part: Bytes) {
        self.length = self.length.saturating_add(part.len() as u64);
        self.parts.push(part);
    }

    pub(crate) const fn length(&self) -> u64 {
        self.length
    }

    /// Takes in the batch that comes right after this one.
    pub(crate) fn absorb(&mut self, next: Self) {
        self.length = self.length.saturating_add(next.length);
        self.parts.extend(next.parts);
    }

    /// Lets go of the bytes, once they are written; the length stays.
    pub(crate) fn let_go(&mut self) {
        self.parts = Vec::new();
    }
}

/// The pack that is appended to, and the next one.
#[derive(Debug)]
pub(crate) struct Log {
    disk: Arc<dyn Disk>,
    preparer: Preparer,
    pack: Arc<LogPack>,
    tail: u64,
    /// Where the pack before ended, if it was turned over from that since the archive was opened.
    previous_end: Option<u64>,
    next: Option<Next>,
    /// Bytes appended since the archive was opened.
    appended: u64,
    /// For batches that are written around memory.
    piece: Piece,
    /// Bytes of a batch, on average of the last few.
    batch_bytes: u64,
    pack_bytes: u64,
    is_filled_ahead: bool,
}

impl Log {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        pack: Arc<LogPack>,
        tail: u64,
        pack_bytes: u64,
        is_filled_ahead: bool,
    ) -> io::Result<Self> {
        Ok(Self {
            preparer: Preparer::start(Arc::clone(&disk))?,
            disk,
            pack,
            tail,
            previous_end: None,
            next: None,
            appended: 0,
            piece: Piece::default(),
            batch_bytes: 0,
            pack_bytes,
            is_filled_ahead,
        })
    }

    pub(crate) fn remover(&self) -> Remover {
        self.preparer.remover()
    }

    /// Where the next entry will stand.
    pub(crate) fn position(&self) -> LogPosition {
        LogPosition {
            pack: self.pack.number,
            offset: self.tail,
        }
    }

    /// Where the pack before ended, as far as that is known.
    pub(crate) const fn previous_end(&self) -> Option<u64> {
        self.previous_end
    }

    /// The file to sync after [`Self::write`].
    pub(crate) fn file(&self) -> Arc<dyn DiskFile> {
        Arc::clone(&self.pack.file)
    }

    /// Writes `batch` after the tail, which stays where it is until [`Self::advance`]. After an
    /// error part of it may be there: [`Self::take_back`].
    pub(crate) fn write(&mut self, batch: &Batch) -> io::Result<()> {
        self.pack.claim(self.tail.saturating_add(batch.length));
        let file = &*self.pack.file;
        if batch.length >= around::BATCH_BYTES_MIN {
            return self.piece.write(file, &batch.parts, self.tail);
        }
        let slices: Vec<IoSlice<'_>> = batch.parts.iter().map(|p| IoSlice::new(p)).collect();
        file.write_vectored_at(&slices, self.tail)
    }

    /// Ends the log at its tail again, durably. After an error nobody knows what it is.
    pub(crate) fn take_back(&mut self) -> io::Result<()> {
        // What is behind the tail must not look like entries when something shorter is written over
        // it.
        self.pack.stop_filling();
        let file = &self.pack.file;
        file.set_length(self.tail)?;
        file.sync_data()?;
        self.pack.was_cut(self.tail);
        Ok(())
    }

    /// Moves the tail behind a batch that is written.
    pub(crate) fn advance(&mut self, batch: &Batch) {
        self.tail = self.tail.saturating_add(batch.length);
        self.appended = self.appended.saturating_add(batch.length);
        self.batch_bytes = self.batch_bytes / 8 * 7 + batch.length / 8;
    }

    /// Whether [`Self::turn`] changes over to the next pack.
    pub(crate) const fn is_full(&self) -> bool {
        self.tail >= self.pack_bytes
    }

    /// Does what no reply waits for: asks for the next pack, for zeros, and changes over to the
    /// next pack when this one is full. With `has_room`, there is room for zeros.
    ///
    /// An error means that the name of the next pack may not be durable though a later sync says
    /// so: nothing may be appended any more.
    pub(crate) fn turn(&mut self, has_room: bool) -> io::Result<()> {
        let is_worth_it = has_room
            && self.appended >= FILL_FROM_BYTES
            && self.batch_bytes <= FILL_BATCH_BYTES_MAX;
        let fill_to = if self.is_filled_ahead && is_worth_it {
            let ahead = self.tail.saturating_add(self.appended).min(self.pack_bytes);
            self.preparer.fill(&self.pack, ahead);
            self.appended.min(self.pack_bytes)
        } else {
            0
        };
        if self.tail < self.pack_bytes / 2 {
            return Ok(());
        }
        let number = self.pack.number.saturating_add(1);
        let preparer = &self.preparer;
        let next = self
            .next
            .get_or_insert_with(|| preparer.create(number, fill_to));
        if self.tail < self.pack_bytes {
            return Ok(());
        }
        // The thread may be busy with zeros that nobody wants any more.
        self.pack.stop_filling();
        let next = next.recv();
        self.next = None;
        match next {
            Ok(Ok(pack)) => {
                let full = std::mem::replace(&mut self.pack, pack);
                self.preparer.seal(full, self.tail);
                self.previous_end = Some(self.tail);
                self.tail = 0;
            }
            // The pack grows longer than it should; the next turn tries again.
            Ok(Err(CreateError::Refused(error))) => {
                tracing::warn!(%error, "no new pack could be made");
            }
            Ok(Err(CreateError::Unknown(error))) => return Err(error),
            Err(_) => tracing::warn!("no new pack could be made"),
        }
        Ok(())
    }

    /// Ends the pack, so that it is a well-formed tar without zeros ahead.
    pub(crate) fn close(mut self) -> io::Result<()> {
        if let Some(Ok(Ok(next))) = self.next.take().map(|next| next.recv()) {
            next.stop_filling();
            self.preparer.remover().remove(PackName::Log(next.number));
        }
        self.pack.stop_filling();
        let result = seal(&*self.pack.file, self.tail);
        drop(self.preparer);
        drop(self.disk);
        result
    }
}
