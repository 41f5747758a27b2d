//! A data directory: locked, and of a format we know.

use crate::disk::{Disk, OpenHow, Room};
use crate::error::OpenError;
use crate::limits::DISK_BYTES_MIN;
use std::fmt::Debug;
use std::io;
use std::sync::Arc;

/// Version of everything on disk; docs/on-disk-format.md describes it. It changes with any byte of
/// the format.
pub const FORMAT_VERSION: u32 = 3;

/// Version of a data directory of which nothing was ever erased: that is all that version 3 adds.
pub(crate) const FORMAT_WITHOUT_ERASING: u32 = 2;

/// Name of the file that says so.
pub(crate) const FORMAT: &str = "FORMAT";

/// Its name until it is whole.
const FORMAT_NEW: &str = "FORMAT.new";

/// Name of the file that says that the index cannot be trusted; whoever opens the index sets it
/// aside then, and removes this file after that.
pub const INDEX_SUSPECT: &str = "index.suspect";

/// Name of the file that says that a backup is being restored, and which.
pub(crate) const RESTORING: &str = "RESTORING";

/// Longest file of that name that is read.
const FORMAT_BYTES_MAX: usize = 256;

/// A data directory that is locked and whose format is known. The index is opened on it before the
/// archive.
#[derive(Debug, Clone)]
pub struct DataDirectory {
    disk: Arc<dyn Disk>,
    /// Held as long as anything uses the directory.
    _lock: Arc<dyn Debug + Send + Sync>,
}

impl DataDirectory {
    /// Locks the directory; an empty one is given the format of this version.
    ///
    /// # Errors
    /// [`OpenError::DiskTooSmall`], [`OpenError::Locked`], [`OpenError::Format`],
    /// [`OpenError::HalfRestored`], [`OpenError::Disk`].
    pub fn open(disk: Arc<dyn Disk>) -> Result<Self, OpenError> {
        is_large_enough(&*disk)?;
        let directory = Self::begin(disk)?;
        let disk = &directory.disk;
        match disk.open(RESTORING, OpenHow::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(OpenError::disk("open the data directory")(error)),
            Ok(_) => return Err(OpenError::HalfRestored),
        }
        match read_format(&**disk) {
            Ok(text) if version_of(&text).is_some() => {
                // What a crash left of another version that was to be written.
                disk.remove(FORMAT_NEW).ok();
            }
            Ok(_) => return Err(OpenError::Format),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Packs without a format are not ours to guess about.
                match disk.list(crate::pack::name::DIRECTORY) {
                    Ok(files) if !files.is_empty() => return Err(OpenError::Format),
                    _ => directory
                        .end(FORMAT_WITHOUT_ERASING)
                        .map_err(OpenError::disk("write FORMAT"))?,
                }
            }
            Err(error) => return Err(OpenError::disk("read FORMAT")(error)),
        }
        Ok(directory)
    }

    /// Locks the directory, whatever is in it.
    pub(crate) fn begin(disk: Arc<dyn Disk>) -> Result<Self, OpenError> {
        let lock = disk.lock().map_err(|source| {
            if source.kind() == io::ErrorKind::WouldBlock {
                OpenError::Locked
            } else {
                OpenError::disk("lock the data directory")(source)
            }
        })?;
        Ok(Self {
            disk,
            _lock: lock.into(),
        })
    }

    /// Says that the index cannot be trusted: whoever opens the directory next makes it again.
    pub(crate) fn suspect_index(&self) -> io::Result<()> {
        match self.disk.open(INDEX_SUSPECT, OpenHow::CreateNew) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        self.disk.sync_directory("")
    }

    /// Says that this is a data directory of this version, durably.
    pub(crate) fn end(&self, version: u32) -> io::Result<()> {
        write_format(&*self.disk, version)
    }

    /// Says, durably, that something may be erased here, unless that is said: a program that does
    /// not know what that means must not open it any more.
    pub(crate) fn allow_erasing(&self) -> io::Result<()> {
        if version(&*self.disk)? == Some(FORMAT_VERSION) {
            return Ok(());
        }
        self.end(FORMAT_VERSION)
    }

    /// What is in it.
    #[must_use]
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }
}

/// Before anything is written: an archive that is begun where it cannot be kept would fail later,
/// at whatever does not fit first. A disk that does not say how large it is is tried.
fn is_large_enough(disk: &dyn Disk) -> Result<(), OpenError> {
    match disk.room() {
        Ok(Some(Room { bytes, .. })) if (1..DISK_BYTES_MIN).contains(&bytes) => {
            Err(OpenError::DiskTooSmall {
                disk_bytes: bytes,
                needed_bytes: DISK_BYTES_MIN,
            })
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

fn format_text(version: u32) -> String {
    format!("pacs data directory, format {version}\n")
}

fn version_of(text: &[u8]) -> Option<u32> {
    let mut known = [FORMAT_WITHOUT_ERASING, FORMAT_VERSION].into_iter();
    known.find(|version| text == format_text(*version).as_bytes())
}

/// The version of the data directory on `disk`; `None` where it is none of ours.
pub(crate) fn version(disk: &dyn Disk) -> io::Result<Option<u32>> {
    Ok(version_of(&read_format(disk)?))
}

fn read_format(disk: &dyn Disk) -> io::Result<Vec<u8>> {
    let file = disk.open(FORMAT, OpenHow::Read)?;
    let mut text = vec![0; FORMAT_BYTES_MAX];
    let length = file.read_up_to(&mut text, 0)?;
    text.truncate(length);
    Ok(text)
}

fn write_format(disk: &dyn Disk, version: u32) -> io::Result<()> {
    match disk.remove(FORMAT_NEW) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.open(FORMAT_NEW, OpenHow::CreateNew)?;
    file.write_at(format_text(version).as_bytes(), 0)?;
    file.sync_data()?;
    disk.rename(FORMAT_NEW, FORMAT)?;
    disk.sync_directory("")
}
