//! What can go wrong, by what the caller can do about it.

use crate::index::{IndexError, LogPosition};
use crate::records::RecordsError;
use pacs_core::instance::InstanceError;
use pacs_core::{Tag, Uid};
use std::io;

/// Why an instance was not kept. Exhaustive on purpose: the server gives each a status.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are named for what they hold")]
pub enum DepositError {
    /// The disk or the index failed; the archive goes on. The peer may send the instance again.
    #[error("archive could not {operation}")]
    Backend {
        operation: &'static str,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No turn within `StoreLimits::busy_wait`. The peer may send the instance again.
    #[error("archive has no turn for another instance now")]
    Busy,
    /// The archive has failed or is closed and takes nothing more.
    #[error("archive is closed")]
    Closed,
    /// The disk is full.
    #[error("disk is full")]
    Full,
    /// The bytes are no instance that can be kept.
    #[error("data set is no instance")]
    NotAnInstance(#[from] InstanceError),
    /// The instance was rejected because it endangers the patient, and is not taken again.
    #[error("instance was rejected for the safety of the patient")]
    Rejected,
    /// More bytes than `StoreLimits::instance_bytes_max`.
    #[error("instance is longer than {limit_bytes} bytes")]
    TooLong { limit_bytes: u64 },
    /// The data set is not the instance that was announced.
    #[error("{tag} of the data set is {found}, announced was {announced}")]
    UidMismatch {
        tag: Tag,
        announced: Uid,
        found: Uid,
    },
}

/// Why an archive could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are named for what they hold")]
pub enum OpenError {
    /// The disk did not do what was asked.
    #[error("could not {operation}")]
    Disk {
        operation: &'static str,
        source: io::Error,
    },
    /// The disk that the directory is on is smaller than
    /// [`DISK_BYTES_MIN`](crate::limits::DISK_BYTES_MIN).
    #[error("data directory is on a disk of {disk_bytes} bytes, where {needed_bytes} are needed")]
    DiskTooSmall { disk_bytes: u64, needed_bytes: u64 },
    /// The directory holds something else, or another version.
    #[error("data directory has a format this program does not know")]
    Format,
    /// A backup is being restored here, and that has not come to its end.
    #[error("a backup was restored here, but not to the end: restore it again")]
    HalfRestored,
    /// The index did not do what was asked.
    #[error("index could not be brought up to the log")]
    Index(#[from] IndexError),
    /// The index knows more than the packs hold: packs are missing or older than the index.
    #[error("index has come to {index:?}, but the log ends before")]
    IndexAhead { index: LogPosition },
    /// The index has come to a place within an entry, or does not know the instance before its
    /// place: index and packs are of two archives. Which of them is in the wrong place only a
    /// person knows: put the right packs there, or remove the index, which is made again then.
    #[error(
        "index and packs are of two archives, to judge by {index:?}, to which the index has come"
    )]
    IndexForeign { index: LogPosition },
    /// Another process has the directory open.
    #[error("data directory is in use by another process")]
    Locked,
    /// The records cannot be opened; they are in no other place.
    #[error("records could not be opened")]
    Records(#[from] RecordsError),
}

impl OpenError {
    /// Says what the disk was doing.
    pub(crate) fn disk(operation: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Disk { operation, source }
    }
}

/// Why stored bytes could not be given back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The bytes are not those that were received.
    #[error("stored bytes do not have the digest they were received with")]
    Damaged,
    /// The disk failed.
    #[error("pack could not be read")]
    Disk(#[source] io::Error),
    /// The pack is gone, or shorter than it was.
    #[error("stored bytes are missing")]
    Missing,
}

/// Why something could not be hidden or shown again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are named for what they hold")]
pub enum HideError {
    /// The disk or the index failed. Nothing changed, unless the archive has failed of it: then it
    /// is known when it is opened again.
    #[error("archive could not {operation}")]
    Backend {
        operation: &'static str,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The archive has failed or is closed.
    #[error("archive is closed")]
    Closed,
    /// The disk is full.
    #[error("disk is full")]
    Full,
    /// The reason is longer than `StoreLimits::reason_chars_max`.
    #[error("reason is longer than {limit_chars} characters")]
    ReasonTooLong { limit_chars: usize },
}

/// Why a study was not erased, or its bytes not destroyed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are named for what they hold")]
pub enum EraseError {
    /// The disk or the index failed. Nothing was erased, unless the archive has failed of it: then
    /// it is known when it is opened again.
    #[error("archive could not {operation}")]
    Backend {
        operation: &'static str,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The study is erased, but bytes of it could not be destroyed now.
    #[error("bytes that are erased could not be destroyed")]
    Bytes(#[source] io::Error),
    /// The archive has failed or is closed.
    #[error("archive is closed")]
    Closed,
    /// The disk is full: it has no room to say what is erased.
    #[error("disk is full")]
    Full,
    /// Something of the study is in sight: nothing is erased before that is hidden.
    #[error("something of the study is in sight")]
    InSight,
    /// Whoever asks does not see all studies.
    #[error("whoever erases has to see all studies")]
    Narrowed,
}

impl From<IndexError> for EraseError {
    fn from(error: IndexError) -> Self {
        Self::Backend {
            operation: "look up what is erased",
            source: Box::new(error),
        }
    }
}

/// Why a verification or a rebuild stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MaintainError {
    /// The archive has failed or is closed.
    #[error("archive is closed")]
    Closed,
    /// A pack or the directory could not be read at all.
    #[error("packs could not be read")]
    Disk(#[source] io::Error),
    /// The index failed.
    #[error("index failed")]
    Index(#[from] IndexError),
    /// The records failed.
    #[error("records failed")]
    Records(#[from] RecordsError),
}

/// Which of the two folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The data directory.
    Archive,
    /// The folder of a backup.
    Backup,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Archive => "archive",
            Self::Backup => "backup",
        })
    }
}

/// Why a backup was not made, or not restored. The backup that was there before is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are named for what they hold")]
pub enum BackupError {
    /// The folder holds a backup of this archive that has come further than the archive.
    #[error("backup has come to {backup:?}, the archive only to {archive:?}")]
    Ahead {
        backup: LogPosition,
        archive: LogPosition,
    },
    /// What was copied is not read back as it was.
    #[error("{file} is not read back from the backup as it was copied")]
    Copy { file: String },
    /// A disk did not do what was asked.
    #[error("{place}: could not {operation}")]
    Disk {
        place: Place,
        operation: &'static str,
        source: io::Error,
    },
    /// The backup is of another version.
    #[error("backup has a format this program does not know")]
    Format,
    /// A disk is full.
    #[error("{place}: disk is full")]
    Full { place: Place },
    /// Another process has one of the folders open.
    #[error("{place} is in use by another process")]
    Locked { place: Place },
    /// The manifest is not whole.
    #[error("manifest of the backup is damaged")]
    Manifest,
    /// There is no manifest.
    #[error("no backup is here")]
    NoBackup,
    /// The folder holds something else.
    #[error("{place}: folder holds something else ({found})")]
    NotEmpty { place: Place, found: String },
    /// The folder holds a backup of another archive, or the archive went another way since.
    #[error("folder holds the backup of another archive: pack {pack} is not the same")]
    OtherArchive { pack: u64 },
    /// The records could not be read or begun.
    #[error("records could not be copied")]
    Records(#[from] RecordsError),
}
