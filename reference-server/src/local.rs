//! The archive in a directory of this machine.

#[cfg(feature = "failpoints")]
mod campaign;
#[cfg(not(feature = "failpoints"))]
mod ordinary;

#[cfg(feature = "failpoints")]
use campaign::{fail_points, for_campaigns};
#[cfg(not(feature = "failpoints"))]
use ordinary::{fail_points, for_campaigns};

use crate::access::SystemMay;
use crate::limits::RESULTS_MAX;
use pacs_core::access::{Action, Commit, permit};
use pacs_core::{Caller, Denied};
use pacs_store::disk::{OpenHow, OsDisk};
use pacs_store::index::IndexError;
use pacs_store::index::redb::{RedbIndex, RedbOptions};
use pacs_store::records::Records;
use pacs_store::records::redb::RedbRecords;
use pacs_store::{Archive, ArchiveOptions, DataDirectory, INDEX_SUSPECT, OpenError, StoreLimits};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

/// The file of the index, as docs/on-disk-format.md has it.
const INDEX_FILE: &str = "index.redb";

/// Where a damaged one goes, in place of an earlier one.
const INDEX_ASIDE: &str = "index.redb.damaged";

/// Opens the archive in `directory`, making it if it is not there.
///
/// # Errors
/// [`OpenError`].
pub async fn open(directory: &Path) -> Result<Archive, OpenError> {
    let disk = OsDisk::open(directory).map_err(|source| OpenError::Disk {
        operation: "open the data directory",
        source,
    })?;
    let directory = DataDirectory::open(for_campaigns(disk)?)?;
    let index = Arc::new(open_index(&directory)?);
    let options = ArchiveOptions {
        records: Arc::new(RedbRecords::open(&directory)?),
        limits: StoreLimits {
            results_count_max: RESULTS_MAX,
            ..StoreLimits::default()
        },
        fail_points: fail_points(),
        commits_in_place: true,
        ..ArchiveOptions::new(directory, index)
    };
    Archive::open(options).await
}

/// Opens the index. One that cannot be read is set aside, and made again from the packs: it holds
/// nothing that they do not.
fn open_index(directory: &DataDirectory) -> Result<RedbIndex, OpenError> {
    let open = || RedbIndex::open(directory, &RedbOptions::default());
    let damaged = match is_suspect(directory)? {
        true => IndexError::Damaged {
            what: "what a scrub found",
        },
        false => match open() {
            Err(error @ IndexError::Damaged { .. }) => error,
            opened => return Ok(opened?),
        },
    };
    tracing::error!(
        error = %damaged,
        aside = INDEX_ASIDE,
        "the index is made again from the packs"
    );
    let disk = directory.disk();
    let aside = match disk.rename(INDEX_FILE, INDEX_ASIDE) {
        // It was set aside before, and the note of it is still there.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    };
    aside
        .and_then(|()| disk.sync_directory(""))
        .and_then(|()| match disk.remove(INDEX_SUSPECT) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
        .map_err(|source| OpenError::Disk {
            operation: "set the damaged index aside",
            source,
        })?;
    Ok(open()?)
}

/// Whether a scrub found that the index cannot be trusted.
fn is_suspect(directory: &DataDirectory) -> Result<bool, OpenError> {
    match directory.disk().open(INDEX_SUSPECT, OpenHow::Read) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(source) => Err(OpenError::Disk {
            operation: "look for a note about the index",
            source,
        }),
    }
}

/// The documents of the server's own in an archive, for one `task`.
///
/// # Errors
/// [`Denied`] never, as the policy is ours.
pub(crate) fn own_records(
    archive: &Archive,
    task: &'static str,
) -> Result<Arc<dyn Records>, Denied> {
    let permit = permit::<Commit>(&SystemMay(&[Action::Commit]), Caller::System { task })?;
    Ok(archive.records(&permit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pacs_core::Caller;
    use pacs_core::access::{Maintain, PermitAll, permit};

    #[tokio::test]
    async fn an_index_that_a_scrub_distrusts_is_made_again_once() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path()).await.unwrap().close().await;
        std::fs::write(folder.path().join(INDEX_SUSPECT), "").unwrap();

        open(folder.path()).await.unwrap().close().await;

        assert!(folder.path().join(INDEX_ASIDE).is_file());
        assert!(!folder.path().join(INDEX_SUSPECT).exists());
        std::fs::remove_file(folder.path().join(INDEX_ASIDE)).unwrap();
        open(folder.path()).await.unwrap().close().await;
        assert!(!folder.path().join(INDEX_ASIDE).exists());
    }

    #[tokio::test]
    async fn a_damaged_index_is_set_aside_and_made_again() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path()).await.unwrap().close().await;
        std::fs::write(folder.path().join(INDEX_FILE), b"not a database").unwrap();

        let archive = open(folder.path()).await.unwrap();

        let may = permit::<Maintain>(&PermitAll, Caller::System { task: "test" }).unwrap();
        assert!(archive.verify(&may, |_| {}).await.unwrap().is_clean());
        assert!(folder.path().join(INDEX_ASIDE).is_file());
        archive.close().await;
    }
}
