//! How a redb file is opened here: cache, recovery, durability of its name; and what becomes of its panics.

use redb::{Database, DatabaseError, StorageBackend, WriteTransaction};
use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Opens the database in the file `path`, or begins one there.
pub(crate) fn open_file(path: &Path, cache_bytes: usize) -> Result<Database, DatabaseError> {
    let is_new = fs::metadata(path).map_or(true, |meta| meta.len() == 0);
    let database = opening(|| Database::builder().set_cache_size(cache_bytes).create(path))?;
    if is_new {
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))
            .and_then(|directory| directory.sync_all())
            .map_err(|e| DatabaseError::Storage(e.into()))?;
    }
    Ok(database)
}

/// Opens the database in `backend`, or begins one there.
pub(crate) fn open_backend(
    backend: impl StorageBackend,
    cache_bytes: usize,
) -> Result<Database, DatabaseError> {
    let mut builder = Database::builder();
    opening(|| {
        builder
            .set_cache_size(cache_bytes)
            .create_with_backend(backend)
    })
}

fn opening(
    open: impl FnOnce() -> Result<Database, DatabaseError>,
) -> Result<Database, DatabaseError> {
    caught(open).unwrap_or_else(|| {
        let what = "database file".to_owned();
        Err(DatabaseError::Storage(redb::StorageError::Corrupted(what)))
    })
}

/// A transaction whose commit is durable when it returns, and after which a crash is recovered from without
/// reading the whole file.
pub(crate) fn begin_durable(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    Ok(transaction)
}

/// Runs `work`; nothing if it panicked. redb trusts its pages, so that a damaged one can make it panic where
/// a checksum was not looked at; to us that is damage like other damage.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}
