//! [`Records`] in one redb file, apart from that of the index: this one must never be deleted.

use super::{Change, Kind, Record, Records, RecordsError, Revision, Take, change};
use crate::directory::DataDirectory;
use crate::redb_file::{self, Held, Space, begin_durable, caught, is_damage};
use async_trait::async_trait;
use redb::{ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use std::sync::{Arc, Mutex, PoisonError};

/// Kind, NUL, key; the revision (eight bytes, big endian), then the value.
const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");
/// `format` and `revision`, the last one given.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// Version of what is in the tables; another one is refused.
const FORMAT_VERSION: u64 = 1;

/// Its name in the data directory.
const FILE: &str = "records.redb";

/// Bytes of pages kept in memory: documents are few and small.
const CACHE_BYTES: usize = 4 << 20;

/// Documents in one redb file.
#[derive(Debug, Clone)]
pub struct RedbRecords {
    inner: Arc<Inner>,
    directory: DataDirectory,
}

#[derive(Debug)]
struct Inner {
    database: Held,
    space: Arc<Space>,
    /// Set after a failed commit: what the file then holds is known only to whoever opens it anew.
    has_failed: Mutex<bool>,
}

impl RedbRecords {
    /// Opens the records of `directory`, or begins them. One at a time: the directory is locked
    /// against other processes, not against this one.
    ///
    /// # Errors
    /// [`RecordsError::Damaged`] where the file is none of this version or cannot be read,
    /// [`RecordsError::Backend`] where the disk fails.
    pub fn open(directory: &DataDirectory) -> Result<Self, RecordsError> {
        attempt("open", || {
            let fill = |transaction: &WriteTransaction| {
                transaction
                    .open_table(META)?
                    .insert("format", FORMAT_VERSION)?;
                transaction.open_table(RECORDS)?;
                Ok(())
            };
            let (database, space) = redb_file::open(directory, FILE, CACHE_BYTES, fill)?;
            let version = database.begin_read()?.open_table(META)?.get("format")?;
            if version.map(|version| version.value()) != Some(FORMAT_VERSION) {
                return Err(damaged("format version"));
            }
            Ok(Self {
                inner: Arc::new(Inner {
                    database: Held::new(database),
                    space,
                    has_failed: Mutex::new(false),
                }),
                directory: directory.clone(),
            })
        })
    }

    /// Begins the records of `directory` with these documents (name of the kind, document), as they
    /// were; what is there goes. It is there whole, or not at all.
    ///
    /// # Errors
    /// [`RecordsError::Backend`].
    pub(crate) fn begin_with(
        directory: &DataDirectory,
        documents: impl Iterator<Item = (String, Record)>,
    ) -> Result<(), RecordsError> {
        attempt("begin", || {
            match directory.disk().remove(FILE) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(redb::StorageError::from(error).into());
                }
                _ => {}
            }
            let fill = |transaction: &WriteTransaction| {
                let mut meta = transaction.open_table(META)?;
                let mut records = transaction.open_table(RECORDS)?;
                let mut last = 0;
                for (kind, record) in documents {
                    let key = full_key_of(&kind, &record.key);
                    let row = [&record.revision.0.to_be_bytes(), record.value.as_slice()].concat();
                    records.insert(key.as_slice(), row.as_slice())?;
                    last = record.revision.0.max(last);
                }
                meta.insert("format", FORMAT_VERSION)?;
                meta.insert("revision", last)?;
                Ok(())
            };
            redb_file::open(directory, FILE, CACHE_BYTES, fill)?;
            Ok(())
        })
    }

    /// Runs `work` on a thread that may wait.
    async fn blocking<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Inner) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, RecordsError> {
        let inner = Arc::clone(&self.inner);
        match tokio::task::spawn_blocking(move || attempt(operation, || work(&inner))).await {
            Ok(outcome) => outcome,
            Err(source) => Err(RecordsError::Backend {
                operation,
                source: Box::new(source),
            }),
        }
    }
}

impl Inner {
    /// Makes one durable change.
    fn change<T>(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        if !self.space.is_ample() {
            return Err(Fault::Told(RecordsError::Full));
        }
        // Held to the end: who comes next must not see what is only set for the time of a commit.
        let mut has_failed = self
            .has_failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if *has_failed {
            return Err(Fault::Told(RecordsError::Backend {
                operation: "write after a failed commit",
                source: "the records must be opened anew".into(),
            }));
        }
        let transaction = begin_durable(self.database.get()?)?;
        let outcome = change(&transaction)?;
        // Set before, so that a panic counts as a failure too.
        *has_failed = true;
        transaction.commit()?;
        *has_failed = false;
        Ok(outcome)
    }

    fn apply(&self, changes: &[Change]) -> Result<Vec<Revision>, Fault> {
        self.change(|transaction| {
            let mut meta = transaction.open_table(META)?;
            let mut records = transaction.open_table(RECORDS)?;
            // All before any: an error here drops the transaction as it began.
            for (at, change) in changes.iter().enumerate() {
                expect(&records, at, change)?;
            }
            let mut last = meta.get("revision")?.map_or(0, |last| last.value());
            let before = last;
            let mut revisions = Vec::with_capacity(changes.len());
            for change in changes {
                let at = full_key(change.kind(), change.key());
                revisions.push(match change {
                    Change::Delete { expected, .. } => {
                        records.remove(at.as_slice())?;
                        *expected
                    }
                    Change::Keep { expected, .. } => *expected,
                    Change::Put { value, .. } => {
                        last = last.saturating_add(1);
                        let row = [&last.to_be_bytes(), value.as_slice()].concat();
                        records.insert(at.as_slice(), row.as_slice())?;
                        Revision(last)
                    }
                });
            }
            if last != before {
                meta.insert("revision", last)?;
            }
            Ok(revisions)
        })
    }
}

#[async_trait]
impl Records for RedbRecords {
    async fn get(&self, kind: Kind, key: &str) -> Result<Option<Record>, RecordsError> {
        let key = key.to_owned();
        self.blocking("read", move |inner| {
            let records = inner.database.get()?.begin_read()?.open_table(RECORDS)?;
            let row = records.get(full_key(kind, &key).as_slice())?;
            row.map(|row| read(key, row.value())).transpose()
        })
        .await
    }

    async fn list(
        &self,
        kind: Kind,
        prefix: &str,
        after: Option<&str>,
        count_max: usize,
    ) -> Result<Vec<Record>, RecordsError> {
        let prefix = full_key(kind, prefix);
        let after = after.map(|after| full_key(kind, after));
        let kind_bytes = full_key(kind, "").len();
        self.blocking("list", move |inner| {
            let records = inner.database.get()?.begin_read()?.open_table(RECORDS)?;
            let start = after.as_ref().map_or(&prefix, |after| after.max(&prefix));
            let mut found = Vec::new();
            for entry in records.range::<&[u8]>(start.as_slice()..)? {
                if found.len() == count_max {
                    break;
                }
                let (key, row) = entry?;
                let key = key.value();
                if !key.starts_with(&prefix) {
                    break;
                }
                if after.as_deref() == Some(key) {
                    continue;
                }
                let key = key
                    .get(kind_bytes..)
                    .and_then(|k| std::str::from_utf8(k).ok());
                found.push(read(key.ok_or(damaged("key"))?.to_owned(), row.value())?);
            }
            Ok(found)
        })
        .await
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<Vec<Revision>, RecordsError> {
        change::check(&changes)?;
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        self.blocking("write", move |inner| inner.apply(&changes))
            .await
    }

    async fn each(&self, mut take: Take) -> Result<(), RecordsError> {
        self.blocking("read all", move |inner| {
            let records = inner.database.get()?.begin_read()?.open_table(RECORDS)?;
            for entry in records.iter()? {
                let (key, row) = entry?;
                let key = std::str::from_utf8(key.value()).ok();
                let (kind, key) = key
                    .and_then(|key| key.split_once('\0'))
                    .ok_or(damaged("key"))?;
                if !take(kind, read(key.to_owned(), row.value())?) {
                    break;
                }
            }
            Ok(())
        })
        .await
    }

    async fn check(&self) -> Result<(), RecordsError> {
        let directory = self.directory.clone();
        // A change that comes in between can make a sound file look damaged; not under the lock of
        // a change of ours.
        let look = move |_: &Inner| Ok(redb_file::check(&directory, FILE)?);
        let looked = self.blocking("check", look.clone()).await;
        if !matches!(looked, Err(RecordsError::Damaged { .. })) {
            return looked;
        }
        self.blocking("check", move |inner| {
            let _nobody_writes = begin_durable(inner.database.get()?)?;
            look(inner)
        })
        .await
    }
}

fn full_key(kind: Kind, key: &str) -> Vec<u8> {
    full_key_of(kind.name(), key)
}

fn full_key_of(kind: &str, key: &str) -> Vec<u8> {
    [kind.as_bytes(), b"\0", key.as_bytes()].concat()
}

fn expect(
    records: &impl ReadableTable<&'static [u8], &'static [u8]>,
    at: usize,
    change: &Change,
) -> Result<(), Fault> {
    let row = records.get(full_key(change.kind(), change.key()).as_slice())?;
    let record = row
        .map(|row| read(String::new(), row.value()))
        .transpose()?;
    let current = record.map(|record| record.revision);
    if current == change.expected() {
        Ok(())
    } else {
        Err(Fault::Told(RecordsError::Changed { at, current }))
    }
}

fn read(key: String, row: &[u8]) -> Result<Record, Fault> {
    let (revision, value) = row.split_first_chunk().ok_or(damaged("value"))?;
    Ok(Record {
        key,
        revision: Revision(u64::from_be_bytes(*revision)),
        value: value.to_vec(),
    })
}

const fn damaged(what: &'static str) -> Fault {
    Fault::Told(RecordsError::Damaged { what })
}

/// Why a step failed.
enum Fault {
    /// redb failed.
    Database(redb::Error),
    /// Something is to be told as it is.
    Told(RecordsError),
}

impl<E: Into<redb::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Database(error.into())
    }
}

/// Runs `work`, which is `operation` in errors.
fn attempt<T>(
    operation: &'static str,
    work: impl FnOnce() -> Result<T, Fault>,
) -> Result<T, RecordsError> {
    let what = "database file";
    match caught(work) {
        None => Err(RecordsError::Damaged { what }),
        Some(Ok(done)) => Ok(done),
        Some(Err(Fault::Told(error))) => Err(error),
        Some(Err(Fault::Database(error))) if is_damage(&error) => {
            Err(RecordsError::Damaged { what })
        }
        Some(Err(Fault::Database(source))) => Err(RecordsError::Backend {
            operation,
            source: Box::new(source),
        }),
    }
}
