//! Restoring a backup to an empty place.
//!
//! A file says from the beginning that the place is not whole, and nothing opens it before that is
//! gone again. What an interrupted run copied is compared and kept.

use super::erasing::Erasing;
use super::manifest::{Manifest, Part};
use super::{
    BACKUP_DOCUMENT_BYTES_MAX, BackupError, CopyProgress, Document, create, digest_of_part,
    each_chunk, failed, hex,
};
use crate::digest::Digester;
use crate::directory::{DataDirectory, FORMAT, RESTORING};
use crate::disk::{Disk, DiskFile, OpenHow};
use crate::error::{OpenError, Place};
use crate::index::Committed;
use crate::pack::name::DIRECTORY;
use crate::records::Record;
use crate::records::redb::RedbRecords;
use std::io;
use std::sync::Arc;

/// Name of the file that says so, until it is whole.
const RESTORING_NEW: &str = "RESTORING.new";

/// Bytes of the records that are read at once.
const READ_BYTES: usize = 1 << 20;

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The archive was copied up to here.
    pub committed: Committed,
    /// When the backup was made, in milliseconds since 1970-01-01 UTC.
    pub made_unix_ms: u64,
    /// Bytes that belong to the backup.
    pub bytes: u64,
    /// Files that belong to the backup.
    pub files_count: u64,
    /// Files that are not as they were copied, or not there. Of packs, what there was is restored
    /// nevertheless: entries that are damaged are passed over. Of records, nothing is.
    pub damaged: Vec<String>,
}

/// Restores the backup in `backup` to `target`, which is empty, or where this was interrupted. The
/// index is made when the archive is opened.
///
/// # Errors
/// [`BackupError`]; nothing opens `target` before a run came to its end.
pub fn restore(
    backup: &dyn Disk,
    target: Arc<dyn Disk>,
    progress: impl FnMut(CopyProgress),
) -> Result<Restored, BackupError> {
    let manifest = Manifest::read(backup)?.ok_or(BackupError::NoBackup)?;
    let target_failed = failed(Place::Archive, "write the data directory");
    let directory = DataDirectory::begin(target).map_err(|error| {
        if matches!(error, OpenError::Locked) {
            return BackupError::Locked {
                place: Place::Archive,
            };
        }
        target_failed(io::Error::other(error))
    })?;
    let disk = &**directory.disk();
    refuse_used(disk, &manifest)?;
    begin(disk, &manifest).map_err(&target_failed)?;
    let mut restoration = Restoration {
        backup,
        target: disk,
        progress: CopyProgress {
            bytes: 0,
            total_bytes: manifest.bytes(),
        },
        tell: progress,
        torn: Erasing::read(backup)?,
        damaged: Vec::new(),
    };
    for (name, part) in &manifest.packs {
        restoration.file(&name.path(), part)?;
    }
    let mut damaged = restoration.damaged;
    disk.sync_directory(DIRECTORY).map_err(&target_failed)?;
    let name = Manifest::records_name(manifest.sequence);
    let records = backup.open(&name, OpenHow::Read).ok();
    match records.filter(|file| are_whole(&**file, &manifest.records)) {
        Some(file) => {
            let mut documents = Documents::of(&*file, manifest.records.bytes);
            RedbRecords::begin_with(&directory, documents.by_ref())?;
            if documents.is_broken {
                // It was whole a moment ago.
                let failed = failed(Place::Backup, "read the records");
                return Err(failed(io::ErrorKind::InvalidData.into()));
            }
        }
        None => {
            damaged.push(name);
            RedbRecords::begin_with(&directory, std::iter::empty())?;
        }
    }
    let ended = directory.end(manifest.data_format);
    ended.map_err(&target_failed)?;
    disk.remove(RESTORING)
        .and_then(|()| disk.sync_directory(""))
        .map_err(&target_failed)?;
    Ok(Restored {
        committed: manifest.committed,
        made_unix_ms: manifest.made_unix_ms,
        bytes: manifest.bytes(),
        files_count: manifest.files().count() as u64,
        damaged,
    })
}

/// The place must be empty, or one to which this backup was being restored.
fn refuse_used(disk: &dyn Disk, manifest: &Manifest) -> Result<(), BackupError> {
    let list_failed = failed(Place::Archive, "list the data directory");
    if let Ok(file) = disk.open(RESTORING, OpenHow::Read) {
        let expected = manifest.digest().into_bytes();
        if file
            .read_vec(0, expected.len())
            .is_ok_and(|is| is == expected)
        {
            return Ok(());
        }
    }
    let files = disk.list("").map_err(&list_failed)?;
    let packs = match disk.list(DIRECTORY) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other.map_err(&list_failed)?,
    };
    let stranger = files
        .into_iter()
        .chain(packs)
        // Another restoration had just begun.
        .find(|name| !["LOCK", RESTORING_NEW].contains(&name.as_str()));
    match stranger {
        None => Ok(()),
        Some(found) => Err(BackupError::NotEmpty {
            place: Place::Archive,
            found: if found == FORMAT {
                "a data directory".to_owned()
            } else {
                found
            },
        }),
    }
}

fn begin(disk: &dyn Disk, manifest: &Manifest) -> io::Result<()> {
    let file = create(disk, RESTORING_NEW)?;
    file.write_at(manifest.digest().as_bytes(), 0)?;
    file.sync_data()?;
    disk.rename(RESTORING_NEW, RESTORING)?;
    disk.create_directory(DIRECTORY)?;
    disk.sync_directory("")
}

struct Restoration<'a, T> {
    backup: &'a dyn Disk,
    target: &'a dyn Disk,
    progress: CopyProgress,
    tell: T,
    /// Packs in which a backup that was interrupted erased something.
    torn: Erasing,
    damaged: Vec<String>,
}

impl<T: FnMut(CopyProgress)> Restoration<'_, T> {
    fn file(&mut self, name: &str, part: &Part) -> Result<(), BackupError> {
        let write_failed = failed(Place::Archive, "write a pack");
        let found = self.target.open(name, OpenHow::Read).and_then(|file| {
            if file.length_bytes()? != part.bytes {
                return Ok(None);
            }
            digest_of_part(&*file, 0, part.bytes)
        });
        let is_there = matches!(found, Ok(Some(found)) if found == part.blake3);
        if !is_there {
            let file = create(self.target, name).map_err(&write_failed)?;
            let mut hasher = Digester::new();
            let mut write = Ok(());
            let read = self.backup.open(name, OpenHow::Read).and_then(|source| {
                let end = part.bytes.min(source.length_bytes()?);
                each_chunk(&*source, 0, end, |at, chunk| {
                    hasher.update(chunk);
                    write = file.write_at(chunk, at);
                    match &write {
                        Ok(()) => Ok(()),
                        Err(error) => Err(error.kind().into()),
                    }
                })
            });
            write
                .and_then(|()| file.sync_data())
                .map_err(&write_failed)?;
            let is_same = hex(&hasher) == part.blake3 || self.torn.has(name);
            if !matches!(read, Ok(true)) || !is_same {
                tracing::error!(file = name, "a file of the backup is not as it was copied");
                self.damaged.push(name.to_owned());
            }
        }
        self.progress.bytes = self.progress.bytes.saturating_add(part.bytes);
        (self.tell)(self.progress);
        Ok(())
    }
}

/// Whether the documents of a backup are as they were copied, and can be read, one by one.
fn are_whole(file: &dyn DiskFile, part: &Part) -> bool {
    let digest = digest_of_part(file, 0, part.bytes);
    let is_same = matches!(digest, Ok(Some(digest)) if digest == part.blake3);
    let mut documents = Documents::of(file, part.bytes);
    is_same && {
        documents.by_ref().for_each(drop);
        !documents.is_broken
    }
}

/// The documents of a backup, line by line: however many there are, one of them is in memory.
struct Documents<'a> {
    file: &'a dyn DiskFile,
    at: u64,
    end: u64,
    /// What was read, and how much of it is behind.
    buffer: Vec<u8>,
    taken: usize,
    /// Something could not be read, or is no document: it ends there.
    is_broken: bool,
}

impl<'a> Documents<'a> {
    const fn of(file: &'a dyn DiskFile, end: u64) -> Self {
        Self {
            file,
            at: 0,
            end,
            buffer: Vec::new(),
            taken: 0,
            is_broken: false,
        }
    }

    /// The next line; `None` after the last.
    fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut searched = self.taken;
        loop {
            let rest = self.buffer.get(searched..).unwrap_or_default();
            if let Some(length) = rest.iter().position(|byte| *byte == b'\n') {
                let end = searched.saturating_add(length);
                let line = self.buffer.get(self.taken..end).unwrap_or_default();
                let line = line.to_vec();
                self.taken = end.saturating_add(1);
                return Ok(Some(line));
            }
            self.buffer.drain(..self.taken);
            self.taken = 0;
            searched = self.buffer.len();
            if searched > BACKUP_DOCUMENT_BYTES_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if self.at == self.end {
                let last = std::mem::take(&mut self.buffer);
                return Ok((!last.is_empty()).then_some(last));
            }
            let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
            let chunk = self.file.read_vec(self.at, left.min(READ_BYTES))?;
            self.at = self.at.saturating_add(chunk.len() as u64);
            self.buffer.extend_from_slice(&chunk);
        }
    }
}

impl Iterator for Documents<'_> {
    type Item = (String, Record);

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_broken {
            return None;
        }
        let document = match self.line() {
            Ok(None) => return None,
            Ok(Some(line)) => serde_json::from_slice::<Document>(&line).ok(),
            Err(_) => None,
        };
        self.is_broken = document.is_none();
        document.map(Document::into_record)
    }
}
