//! Backup: a copy of the log up to one place, of the large packs that it names, and of the records.
//!
//! A backup is a folder. Its packs have the names and the bytes of those of the archive, so that
//! `tar` reads them; its manifest, which is written last, says what belongs to it, and up to where.
//! Sealed packs are copied once, and of the last one what came since: the log is only appended to,
//! so that what an interrupted run left behind the end of a file is nothing to the manifest that is
//! there. What the archive erased is erased in the backup by the next run that copies the record of
//! it. docs/on-disk-format.md describes the folder.

mod copy;
mod document;
mod erasing;
mod manifest;
mod restore;

use crate::archive::Archive;
use crate::digest::Digester;
use crate::disk::{Disk, DiskFile, OpenHow, is_full};
use crate::error::{MaintainError, Place};
use crate::index::Committed;
use crate::limits::BACKUP_DOCUMENT_BYTES_MAX;
use crate::records::{Kind, Take};
use pacs_core::Permit;
use pacs_core::access::Maintain;
use std::io;

pub use crate::error::BackupError;
pub use copy::{Backup, BackupReport};
pub use document::Document;
pub use manifest::{Manifest, check};
pub use restore::{Restored, restore};

/// Bytes read and written at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Where it is kept when the last backup was made.
const KIND: Kind = Kind::new("backup");
const KEY: &str = "last";

/// That a backup was made, and of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Made {
    /// When, in milliseconds since 1970-01-01 UTC.
    pub unix_ms: u64,
    /// The archive was copied up to here.
    pub committed: Committed,
}

/// How far a copy has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CopyProgress {
    /// Bytes that are behind.
    pub bytes: u64,
    /// Bytes in all, as far as is known.
    pub total_bytes: u64,
}

impl Archive {
    /// Where a backup that begins now ends: everything before is durable, and none of it changes
    /// any more. To be asked after [`Archive::documents`], so that no cursor is ahead of it.
    ///
    /// # Errors
    /// [`MaintainError::Index`].
    pub async fn committed(&self, _permit: &Permit<Maintain>) -> Result<Committed, MaintainError> {
        Ok(self.shared.index.committed().await?)
    }

    /// Remembers that a backup was made.
    ///
    /// # Errors
    /// [`MaintainError::Records`].
    pub async fn note_backup(
        &self,
        _permit: &Permit<Maintain>,
        made: Made,
    ) -> Result<(), MaintainError> {
        let records = &self.shared.records;
        let before = records.get(KIND, KEY).await?;
        let value = serde_json::to_vec(&made).unwrap_or_default();
        let revision = before.map(|record| record.revision);
        records.put(KIND, KEY, value, revision).await?;
        Ok(())
    }

    /// The last backup that was made.
    ///
    /// # Errors
    /// [`MaintainError::Records`].
    pub async fn last_backup(
        &self,
        _permit: &Permit<Maintain>,
    ) -> Result<Option<Made>, MaintainError> {
        let record = self.shared.records.get(KIND, KEY).await?;
        Ok(record.and_then(|record| serde_json::from_slice(&record.value).ok()))
    }

    /// Gives all documents to `take`, as they are at one moment.
    ///
    /// # Errors
    /// [`MaintainError::Records`].
    pub async fn documents(
        &self,
        _permit: &Permit<Maintain>,
        take: Take,
    ) -> Result<(), MaintainError> {
        Ok(self.shared.records.each(take).await?)
    }
}

/// Says what the disk of the archive or of the backup was doing.
pub(crate) fn failed(place: Place, operation: &'static str) -> impl Fn(io::Error) -> BackupError {
    move |source| {
        if is_full(&source) {
            return BackupError::Full { place };
        }
        BackupError::Disk {
            place,
            operation,
            source,
        }
    }
}

/// The file, cut to nothing where there was one.
pub(crate) fn create(disk: &dyn Disk, name: &str) -> io::Result<std::sync::Arc<dyn DiskFile>> {
    match disk.open(name, OpenHow::CreateNew) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let file = disk.open(name, OpenHow::ReadWrite)?;
            file.set_length(0)?;
            Ok(file)
        }
        other => other,
    }
}

/// The digest of a part of a file, in hexadecimal; `None` where the file ends before.
fn digest_of_part(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<Option<String>> {
    let mut hasher = Digester::new();
    let is_whole = each_chunk(file, from, to, |_, chunk| {
        hasher.update(chunk);
        Ok(())
    })?;
    Ok(is_whole.then(|| hex(&hasher)))
}

/// Reads on, chunk after chunk, with their offsets; `false` where the file ends before.
fn each_chunk(
    file: &dyn DiskFile,
    from: u64,
    to: u64,
    mut take: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<bool> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut at = from;
    while at < to {
        let rest = usize::try_from(to - at).unwrap_or(CHUNK_BYTES);
        let wanted = rest.min(CHUNK_BYTES);
        let chunk = buffer.get_mut(..wanted).unwrap_or(&mut []);
        if file.read_up_to(chunk, at)? < wanted {
            return Ok(false);
        }
        take(at, chunk)?;
        at = at.saturating_add(wanted as u64);
    }
    Ok(true)
}

/// The digest of what was taken, in hexadecimal.
fn hex(digester: &Digester) -> String {
    format!("{:?}", digester.finish())
}
