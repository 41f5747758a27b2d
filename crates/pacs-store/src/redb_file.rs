//! A redb file in a data directory: how it is begun, opened and committed, and what becomes of
//! redb's panics.

mod overlay;
mod space;

pub(crate) use space::Space;

use crate::directory::DataDirectory;
use crate::disk::{DiskFile, OpenHow, Room};
use redb::{Database, StorageBackend, StorageError, WriteTransaction};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Bytes of pages kept in memory while a file is checked: each is read once.
const CHECK_CACHE_BYTES: usize = 8 << 20;

/// The part of a disk that a database has ahead at most, and caches at most.
const DISK_PARTS: u64 = 64;

/// The least cache that redb works well with.
const CACHE_BYTES_MIN: u64 = 256 << 10;

/// Opens the database in the file `name`; where there is none, one that `fill` has filled. It gets
/// as much space ahead of it as it may keep in memory before it is written: `cache_bytes`, less on
/// a small disk.
///
/// A new file gets its name when it is whole: redb does not open what a crash left half begun.
pub(crate) fn open(
    directory: &DataDirectory,
    name: &str,
    cache_bytes: usize,
    fill: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
) -> Result<(Database, Arc<Space>), redb::Error> {
    let disk = directory.disk();
    let bytes = match disk.room() {
        Ok(Some(Room { bytes, .. })) => bytes / DISK_PARTS,
        Ok(None) | Err(_) => u64::MAX,
    };
    let cache_bytes = bytes.max(CACHE_BYTES_MIN).min(cache_bytes as u64);
    let open = |name: &str, how| -> io::Result<_> {
        let file = disk.open(name, how)?;
        let directory = directory.clone();
        let space = Arc::new(Space::new(Arc::clone(&file), cache_bytes)?);
        Ok(Storage {
            file,
            space,
            directory,
        })
    };
    let cache_bytes = usize::try_from(cache_bytes).unwrap_or(usize::MAX);
    let database = |storage| {
        Database::builder()
            .set_cache_size(cache_bytes)
            .create_with_backend(storage)
    };
    let storage = match open(name, OpenHow::ReadWrite) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let new = format!("{name}.new");
            match disk.remove(&new) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(StorageError::from(error).into());
                }
                _ => {}
            }
            let storage = open(&new, OpenHow::CreateNew).map_err(StorageError::from)?;
            let file = Arc::clone(&storage.file);
            let begun = database(storage)?;
            let transaction = begin_durable(&begun)?;
            fill(&transaction)?;
            transaction.commit()?;
            begun.close()?;
            file.sync_data()
                .and_then(|()| disk.rename(&new, name))
                .and_then(|()| disk.sync_directory(""))
                .and_then(|()| open(name, OpenHow::ReadWrite))
        }
        other => other,
    };
    let storage = storage.map_err(StorageError::from)?;
    let space = Arc::clone(&storage.space);
    Ok((database(storage)?, space))
}

/// A transaction whose commit is durable when it returns, and after which a crash is recovered from
/// without reading the whole file.
pub(crate) fn begin_durable(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    Ok(transaction)
}

/// Compares every checksum of the database in the file `name`, as its last durable commit left it.
/// The file may be open; nothing of it is changed.
pub(crate) fn check(directory: &DataDirectory, name: &str) -> Result<(), redb::Error> {
    let file = directory.disk().open(name, OpenHow::Read);
    let overlay = file.and_then(overlay::Overlay::new);
    let overlay = overlay.map_err(StorageError::from)?;
    let end = overlay.end();
    let mut database = Database::builder()
        .set_cache_size(CHECK_CACHE_BYTES)
        .set_check_integrity_on_open(true)
        .create_with_backend(overlay)?;
    // redb writes once more when it is dropped, by pages that may be others by now, and panics
    // there, where no second panic is survived. It leaves alone what it cannot read any more.
    end.now();
    database.check_integrity().ok();
    Ok(())
}

/// A database whose end cannot panic either: redb looks at its pages once more when it is dropped.
#[derive(Debug)]
pub(crate) struct Held(Option<Database>);

impl Held {
    pub(crate) const fn new(database: Database) -> Self {
        Self(Some(database))
    }

    /// The database, which is there until this is dropped.
    pub(crate) fn get(&self) -> Result<&Database, redb::Error> {
        self.0.as_ref().ok_or(redb::Error::DatabaseClosed)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(database) = self.0.take()
            && caught(move || drop(database)).is_none()
        {
            tracing::error!("a damaged database could not be closed well");
        }
    }
}

/// Runs `work`; nothing if it panicked. redb trusts its pages, so that a damaged one can make it
/// panic where a checksum was not looked at; to us that is damage like other damage.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// Whether the file is no database, or not one that can be read, rather than out of reach.
pub(crate) fn is_damage(error: &redb::Error) -> bool {
    if let redb::Error::Io(error) = error {
        return error.kind() == io::ErrorKind::InvalidData;
    }
    matches!(
        error,
        redb::Error::Corrupted(_)
            | redb::Error::TableDoesNotExist(_)
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::UpgradeRequired(_)
    )
}

/// The file of a database.
#[derive(Debug)]
struct Storage {
    file: Arc<dyn DiskFile>,
    space: Arc<Space>,
    /// Kept locked as long as the database is open.
    #[expect(dead_code, reason = "held for its lock")]
    directory: DataDirectory,
}

impl StorageBackend for Storage {
    fn len(&self) -> io::Result<u64> {
        self.file.length_bytes()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.file.read_up_to(out, offset)? < out.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_length(len)?;
        self.space.was_cut(len);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.space
            .is_written(offset.saturating_add(data.len() as u64));
        self.file.write_at(data, offset)
    }
}
