//! Reading an instance back, as it came.

use crate::archive::Shared;
use crate::digest::{Digest, Digester};
use crate::error::ReadError;
use crate::index::Location;
use crate::pack::name::PackName;
use crate::pack::read::PackFiles;
use bytes::Bytes;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// The bytes of a data set, chunk after chunk; the next chunk is read while the caller uses the
/// last.
///
/// With `ArchiveOptions::verifies_reads` the digest is compared before the last chunk is given, so
/// that damaged content never looks complete. At most two chunks are in memory.
#[derive(Debug)]
pub struct DataSetReader {
    files: Arc<PackFiles>,
    location: Location,
    digest: Digest,
    chunk_bytes: usize,
    /// Of the first chunk, where that is to be shorter.
    first_bytes: Option<usize>,
    /// Taken along by the read that is under way.
    hasher: Option<Digester>,
    /// Bytes that have been asked of the disk.
    asked_bytes: u64,
    next: Option<JoinHandle<Result<Read, ReadError>>>,
    /// Whether what memory holds of it is to be passed by.
    from_medium: bool,
}

#[derive(Debug)]
struct Read {
    chunk: Bytes,
    hasher: Option<Digester>,
}

impl DataSetReader {
    pub(crate) fn new(shared: &Shared, location: Location, digest: Digest) -> Self {
        Self {
            files: Arc::clone(&shared.files),
            location,
            digest,
            chunk_bytes: shared.limits.chunk_bytes,
            first_bytes: None,
            hasher: shared.verifies_reads.then(Digester::new),
            asked_bytes: 0,
            next: None,
            from_medium: false,
        }
    }

    /// Compares the digest in any case, with what the medium holds where the system can tell.
    pub(crate) fn checking(shared: &Shared, location: Location, digest: Digest) -> Self {
        Self {
            hasher: Some(Digester::new()),
            from_medium: true,
            ..Self::new(shared, location, digest)
        }
    }

    /// Gives the bytes of `range` alone.
    pub(crate) fn part(
        shared: &Shared,
        location: Location,
        digest: Digest,
        range: &Range<u64>,
    ) -> Self {
        Self {
            hasher: None,
            ..Self::new(shared, part_of(location, range), digest)
        }
    }

    /// Bytes that it gives altogether.
    #[must_use]
    pub const fn length_bytes(&self) -> u64 {
        self.location.length_bytes
    }

    /// Gives a first chunk of so many bytes at most, so that it can be used while the rest is read.
    #[must_use]
    pub const fn begins_with(mut self, bytes: usize) -> Self {
        self.first_bytes = Some(bytes);
        self
    }

    /// Begins to read the next chunk, if that has not begun. To be called ahead of need.
    pub fn prefetch(&mut self) {
        if self.next.is_some() || self.asked_bytes >= self.location.length_bytes {
            return;
        }
        let rest = self.location.length_bytes - self.asked_bytes;
        let chunk_bytes = self.chunk_bytes.max(1);
        let most = match self.first_bytes.take() {
            Some(first) => chunk_bytes.min(first.max(1)),
            None => chunk_bytes,
        };
        let length = usize::try_from(rest).unwrap_or(usize::MAX).min(most);
        let offset = self.location.offset.saturating_add(self.asked_bytes);
        self.asked_bytes = self.asked_bytes.saturating_add(length as u64);
        let is_last = self.asked_bytes == self.location.length_bytes;
        let files = Arc::clone(&self.files);
        let pack = PackName::of_location(self.location.pack);
        let mut hasher = self.hasher.take();
        let expected = self.digest;
        let from_medium = self.from_medium;
        self.next = Some(tokio::task::spawn_blocking(move || {
            if from_medium && let Ok(file) = files.file(pack) {
                file.forget(offset, length as u64);
            }
            let chunk = read(&files, pack, offset, length)?;
            if let Some(hasher) = &mut hasher {
                hasher.update(&chunk);
            }
            if let Some(hasher) = hasher.take_if(|_| is_last)
                && hasher.finish() != expected
            {
                tracing::error!(?pack, offset, "stored instance is damaged");
                return Err(ReadError::Damaged);
            }
            Ok(Read {
                chunk: Bytes::from(chunk),
                hasher,
            })
        }));
    }

    /// The next chunk; `None` after the last. After an error there is no more; a call that
    /// was cancelled takes nothing away.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        self.prefetch();
        let Some(task) = &mut self.next else {
            return Ok(None);
        };
        let read = match task.await {
            Ok(read) => read,
            Err(error) => Err(ReadError::Disk(io::Error::other(error))),
        };
        self.next = None;
        match read {
            Ok(read) => {
                self.hasher = read.hasher;
                self.prefetch();
                Ok(Some(read.chunk))
            }
            Err(error) => {
                self.asked_bytes = self.location.length_bytes;
                Err(error)
            }
        }
    }
}

/// The part of a data set, as far as that has it.
fn part_of(location: Location, range: &Range<u64>) -> Location {
    let start = range.start.min(location.length_bytes);
    let end = range.end.clamp(start, location.length_bytes);
    Location {
        pack: location.pack,
        offset: location.offset.saturating_add(start),
        length_bytes: end.saturating_sub(start),
    }
}

/// The bytes of `range`, as far as the data set has them.
pub(crate) fn read_now(
    files: &PackFiles,
    location: Location,
    range: &Range<u64>,
) -> Result<Vec<u8>, ReadError> {
    let part = part_of(location, range);
    let length = usize::try_from(part.length_bytes).unwrap_or(usize::MAX);
    if length == 0 {
        return Ok(Vec::new());
    }
    read(files, PackName::of_location(part.pack), part.offset, length)
}

fn read(
    files: &PackFiles,
    pack: PackName,
    offset: u64,
    length: usize,
) -> Result<Vec<u8>, ReadError> {
    let file = files.file(pack).map_err(by_kind)?;
    file.read_vec(offset, length).map_err(by_kind)
}

fn by_kind(error: io::Error) -> ReadError {
    if matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof
    ) {
        return ReadError::Missing;
    }
    ReadError::Disk(error)
}
