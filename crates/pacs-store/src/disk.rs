//! The few file operations that packs and the embedded index need.
//!
//! Everything on a data directory goes through [`Disk`], so that the conformance suite can put a
//! disk there that crashes. Calls block; callers that must not wait use a thread. Names are
//! relative to the data directory, with `/` between the parts, and never come from outside: they
//! are built from numbers.
//!
//! What the trait promises is less than a real disk may keep: bytes that were written are lost in a
//! crash, in any subset of sectors, unless [`DiskFile::sync_data`] was called after them and
//! returned; a file that was created, renamed or removed is as it was before unless
//! [`Disk::sync_directory`] of its directory returned.

mod aligned;
mod os;

pub(crate) use aligned::Aligned;
pub use os::OsDisk;

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::sync::Arc;

/// A data directory.
pub trait Disk: Debug + Send + Sync + 'static {
    /// Opens `name`.
    ///
    /// # Errors
    /// As the system gives them; [`io::ErrorKind::NotFound`] and [`io::ErrorKind::AlreadyExists`]
    /// are told apart.
    fn open(&self, name: &str, how: OpenHow) -> io::Result<Arc<dyn DiskFile>>;

    /// The names of the files in `directory`, without the directory, in no order.
    ///
    /// # Errors
    /// As the system gives them.
    fn list(&self, directory: &str) -> io::Result<Vec<String>>;

    /// Makes `directory` unless it is there; durable after a sync of the directory that holds it.
    ///
    /// # Errors
    /// As the system gives them.
    fn create_directory(&self, directory: &str) -> io::Result<()>;

    /// Gives the file `from` the name `to`, in place of whatever had it.
    ///
    /// # Errors
    /// As the system gives them.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Takes the file `name` away. What has it open goes on reading.
    ///
    /// # Errors
    /// As the system gives them.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes the names in `directory` durable; `""` is the data directory itself.
    ///
    /// # Errors
    /// As the system gives them. After an error nothing is known of what is durable.
    fn sync_directory(&self, directory: &str) -> io::Result<()>;

    /// How large it is and what is free; `None` where that has no meaning.
    ///
    /// # Errors
    /// As the system gives them.
    fn room(&self) -> io::Result<Option<Room>> {
        Ok(None)
    }

    /// Keeps every other process (and every other lock of this one) out until the result is
    /// dropped.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] where another has it.
    fn lock(&self) -> io::Result<Box<dyn Debug + Send + Sync>>;
}

/// Whether there is no room on the disk, or none for us.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// What [`DiskFile::write_aligned_at`] and [`DiskFile::read_aligned_at`] are aligned to: a page of
/// the usual systems, and a multiple of the blocks of the usual disks.
pub const ALIGNED_BYTES: usize = 4 << 10;

/// How full a disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes it can hold.
    pub bytes: u64,
    /// Bytes that can still be written.
    pub free_bytes: u64,
}

/// How to open a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenHow {
    /// Make it; it must not be there.
    CreateNew,
    /// To read; it must be there.
    Read,
    /// To read and write; it must be there.
    ReadWrite,
}

/// An open file. Positions are given with every call: there is no cursor.
pub trait DiskFile: Debug + Send + Sync + 'static {
    /// How long it is.
    ///
    /// # Errors
    /// As the system gives them.
    fn length_bytes(&self) -> io::Result<u64>;

    /// Reads from `offset` on; fewer bytes than asked for, or 0, where the file ends.
    ///
    /// # Errors
    /// As the system gives them; an interrupted call is repeated here.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all `parts`, one after the other, from `offset` on. After an error any part of them
    /// may be written.
    ///
    /// # Errors
    /// As the system gives them; short and interrupted writes are continued here.
    fn write_vectored_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()>;

    /// Cuts the file or extends it with zeros.
    ///
    /// # Errors
    /// As the system gives them.
    fn set_length(&self, length_bytes: u64) -> io::Result<()>;

    /// Takes blocks of the disk for the first `length_bytes` of the file, which may lie behind its
    /// end and stay empty: a later write there does not find the disk full. A disk that cannot do
    /// that says nothing.
    ///
    /// # Errors
    /// As the system gives them; [`io::ErrorKind::StorageFull`] where there are not as many.
    fn allocate(&self, _length_bytes: u64) -> io::Result<()> {
        Ok(())
    }

    /// How many bytes of the disk the file has taken, as far as the disk says so.
    ///
    /// # Errors
    /// As the system gives them.
    fn allocated_bytes(&self) -> io::Result<u64> {
        self.length_bytes()
    }

    /// Makes everything written so far durable, with what is needed to read it back (the length,
    /// too).
    ///
    /// # Errors
    /// As the system gives them. After an error nothing is known of what is durable, and a second
    /// call that succeeds proves nothing: the caller must stop.
    fn sync_data(&self) -> io::Result<()>;

    /// Gives back the blocks of the disk that lie wholly in these bytes, which are zeros, durably.
    /// A hint: the file is as long as before, and reads give zeros as before.
    fn discard_zeros(&self, _offset: u64, _length_bytes: u64) {}

    /// Asks that the next read of these bytes comes from the medium and not from memory, as far as
    /// the system can do that and nothing of them waits to be written. A hint: reads give the same.
    fn forget(&self, _offset: u64, _length_bytes: u64) {}

    /// Writes all of `data` from `offset` on.
    ///
    /// # Errors
    /// As [`Self::write_vectored_at`].
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.write_vectored_at(&[IoSlice::new(data)], offset)
    }

    /// Writes all of `data` from `offset` on as [`Self::write_at`] does, and where the system can
    /// do that, without keeping it in memory for reads to come. The offset, the length and the
    /// place of `data` in memory are multiples of [`ALIGNED_BYTES`].
    ///
    /// # Errors
    /// As [`Self::write_vectored_at`].
    fn write_aligned_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.write_at(data, offset)
    }

    /// Reads until `buffer` is full or the file ends, as [`Self::read_up_to`] does, and where the
    /// system can do that from the medium itself: memory holds neither more nor less of the file
    /// then. The offset, the length and the place of `buffer` in memory are multiples of
    /// [`ALIGNED_BYTES`].
    ///
    /// # Errors
    /// As [`Self::read_at`].
    fn read_aligned_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read_up_to(buffer, offset)
    }

    /// Reads until `buffer` is full or the file ends; how many bytes that were.
    ///
    /// # Errors
    /// As [`Self::read_at`].
    fn read_up_to(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let count = self.read_at(rest, offset.saturating_add(done as u64))?;
            if count == 0 {
                break;
            }
            done = done.saturating_add(count);
        }
        Ok(done)
    }

    /// The `length_bytes` bytes from `offset` on, in a buffer of their own.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] where the file ends before; else as [`Self::read_at`].
    fn read_vec(&self, offset: u64, length_bytes: usize) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; length_bytes];
        if self.read_up_to(&mut buffer, offset)? < length_bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(buffer)
    }
}
