//! What a build for crash campaigns obeys: where to crash, and not to sync.
//!
//! It is compiled with the feature `failpoints` alone, which no build that is given away has.

use pacs_store::disk::{Disk, DiskFile, OpenHow, OsDisk, Room};
use pacs_store::{FailPoints, OpenError};
use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// `PACS_CRASH_AT=step:count` aborts the process when `step` is reached for the `count`th time.
pub(super) fn fail_points() -> FailPoints {
    let setting = std::env::var("PACS_CRASH_AT").unwrap_or_default();
    let Some((step, count)) = setting.split_once(':') else {
        return FailPoints::default();
    };
    let Ok(count) = count.parse::<u64>() else {
        return FailPoints::default();
    };
    let step = step.to_owned();
    let reached = AtomicU64::new(0);
    FailPoints::new(move |name| {
        if name == step && reached.fetch_add(1, Ordering::Relaxed) + 1 == count {
            std::process::abort();
        }
    })
}

/// `PACS_WITHOUT_SYNCS=1` makes every sync do nothing and say that it did: the control of the power
/// campaign, which must lose something.
pub(super) fn for_campaigns(disk: OsDisk) -> Result<Arc<dyn Disk>, OpenError> {
    if std::env::var_os("PACS_WITHOUT_SYNCS").is_none() {
        return Ok(Arc::new(disk));
    }
    tracing::error!("nothing is made durable: PACS_WITHOUT_SYNCS is set");
    Ok(Arc::new(SynclessDisk(disk)))
}

#[derive(Debug)]
struct SynclessDisk(OsDisk);

impl Disk for SynclessDisk {
    fn open(&self, name: &str, how: OpenHow) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(SynclessFile(self.0.open(name, how)?)))
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        self.0.list(directory)
    }

    fn create_directory(&self, directory: &str) -> io::Result<()> {
        self.0.create_directory(directory)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn sync_directory(&self, _directory: &str) -> io::Result<()> {
        Ok(())
    }

    fn room(&self) -> io::Result<Option<Room>> {
        self.0.room()
    }

    fn lock(&self) -> io::Result<Box<dyn Debug + Send + Sync>> {
        self.0.lock()
    }
}

#[derive(Debug)]
struct SynclessFile(Arc<dyn DiskFile>);

impl DiskFile for SynclessFile {
    fn length_bytes(&self) -> io::Result<u64> {
        self.0.length_bytes()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_vectored_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.0.write_vectored_at(parts, offset)
    }

    fn set_length(&self, length_bytes: u64) -> io::Result<()> {
        self.0.set_length(length_bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}
