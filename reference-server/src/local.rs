//! The archive in a directory of this machine.

use crate::limits::RESULTS_MAX;
use pacs_store::disk::OsDisk;
use pacs_store::index::redb::{RedbIndex, RedbOptions};
use pacs_store::{Archive, ArchiveOptions, DataDirectory, FailPoints, OpenError, StoreLimits};
use std::path::Path;
use std::sync::Arc;

/// Opens the archive in `directory`, making it if it is not there.
///
/// # Errors
/// [`OpenError`].
pub async fn open(directory: &Path) -> Result<Archive, OpenError> {
    let disk = OsDisk::open(directory).map_err(|source| OpenError::Disk {
        operation: "open the data directory",
        source,
    })?;
    let directory = DataDirectory::open(Arc::new(disk))?;
    let index = Arc::new(RedbIndex::open(&directory, &RedbOptions::default())?);
    let options = ArchiveOptions {
        limits: StoreLimits {
            results_count_max: RESULTS_MAX,
            ..StoreLimits::default()
        },
        fail_points: fail_points(),
        ..ArchiveOptions::new(directory, index)
    };
    Archive::open(options).await
}

#[cfg(not(feature = "failpoints"))]
fn fail_points() -> FailPoints {
    FailPoints::default()
}

/// `PACS_CRASH_AT=step:count` aborts the process when `step` is reached for the `count`th time.
#[cfg(feature = "failpoints")]
fn fail_points() -> FailPoints {
    use std::sync::atomic::{AtomicU64, Ordering};

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
