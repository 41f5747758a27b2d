//! Every second call of the disk fails once, and all calls from every fifth one on (security.md
//! R6); `PACS_EVERY_CALL=1` leaves none out.
//!
//! Nothing acknowledged is lost, whichever call it was: neither of the packs nor of the index.

use crate::rig::{self, Sample, sample};
use pacs_core::access::{Hide, Maintain};
use pacs_store::disk::{Disk, DiskFile, OpenHow, OsDisk, Room};
use pacs_store::index::Target;
use pacs_store::index::redb::{RedbIndex, RedbOptions};
use pacs_store::{Archive, ArchiveOptions};
use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts the calls, and says which of them fail.
#[derive(Debug)]
struct Calls {
    count: AtomicU64,
    fails_at: u64,
    goes_on: bool,
}

impl Calls {
    fn next(&self) -> io::Result<()> {
        let number = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        if number == self.fails_at || (self.goes_on && number > self.fails_at) {
            return Err(io::Error::from_raw_os_error(5));
        }
        Ok(())
    }

    fn were_enough(&self) -> bool {
        self.count.load(Ordering::SeqCst) >= self.fails_at
    }
}

#[derive(Debug)]
struct FailingDisk {
    disk: OsDisk,
    calls: Arc<Calls>,
}

impl Disk for FailingDisk {
    fn open(&self, name: &str, how: OpenHow) -> io::Result<Arc<dyn DiskFile>> {
        self.calls.next()?;
        Ok(Arc::new(FailingFile {
            file: self.disk.open(name, how)?,
            calls: Arc::clone(&self.calls),
        }))
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        self.calls.next()?;
        self.disk.list(directory)
    }

    fn create_directory(&self, directory: &str) -> io::Result<()> {
        self.calls.next()?;
        self.disk.create_directory(directory)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.calls.next()?;
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.calls.next()?;
        self.disk.remove(name)
    }

    fn sync_directory(&self, directory: &str) -> io::Result<()> {
        self.calls.next()?;
        self.disk.sync_directory(directory)
    }

    fn room(&self) -> io::Result<Option<Room>> {
        self.calls.next()?;
        // As much as no test uses up, on whatever this runs.
        Ok(Some(Room {
            bytes: 1 << 40,
            free_bytes: 1 << 39,
        }))
    }

    fn lock(&self) -> io::Result<Box<dyn Debug + Send + Sync>> {
        self.calls.next()?;
        self.disk.lock()
    }
}

#[derive(Debug)]
struct FailingFile {
    file: Arc<dyn DiskFile>,
    calls: Arc<Calls>,
}

impl DiskFile for FailingFile {
    fn length_bytes(&self) -> io::Result<u64> {
        self.calls.next()?;
        self.file.length_bytes()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.calls.next()?;
        self.file.read_at(buffer, offset)
    }

    fn write_vectored_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        if let Err(error) = self.calls.next() {
            // Half of it is there all the same.
            let all: Vec<u8> = parts.iter().flat_map(|part| part.to_vec()).collect();
            self.file.write_at(&all[..all.len() / 2], offset)?;
            return Err(error);
        }
        self.file.write_vectored_at(parts, offset)
    }

    fn set_length(&self, length_bytes: u64) -> io::Result<()> {
        self.calls.next()?;
        self.file.set_length(length_bytes)
    }

    fn allocate(&self, length_bytes: u64) -> io::Result<()> {
        self.calls.next()?;
        self.file.allocate(length_bytes)
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        self.calls.next()?;
        self.file.allocated_bytes()
    }

    fn write_aligned_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        if let Err(error) = self.calls.next() {
            self.file.write_at(&data[..data.len() / 2], offset)?;
            return Err(error);
        }
        self.file.write_aligned_at(data, offset)
    }

    fn read_aligned_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.calls.next()?;
        self.file.read_aligned_at(buffer, offset)
    }

    fn read_vec(&self, offset: u64, length_bytes: usize) -> io::Result<Vec<u8>> {
        self.calls.next()?;
        self.file.read_vec(offset, length_bytes)
    }

    fn forget(&self, offset: u64, length_bytes: u64) {
        self.file.forget(offset, length_bytes);
    }

    fn sync_data(&self) -> io::Result<()> {
        self.calls.next()?;
        self.file.sync_data()
    }
}

fn limits(options: &mut ArchiveOptions) {
    options.limits.pack_bytes = 40_000;
    options.limits.large_bytes = 50_000;
    options.limits.flush_interval = Duration::ZERO;
    options.limits.finished_beside_bytes_min = 0;
}

async fn open(disk: Arc<dyn Disk>) -> Option<Archive> {
    let directory = rig::data_directory(disk).ok()?;
    let index = RedbIndex::open(&directory, &RedbOptions::default()).ok()?;
    let mut options = ArchiveOptions::new(directory, Arc::new(index));
    limits(&mut options);
    Archive::open(options).await.ok()
}

/// What a day of an archive is, in short; what of it was acknowledged.
async fn day(disk: Arc<dyn Disk>) -> Vec<Sample> {
    let mut kept = Vec::new();
    let Some(archive) = open(disk).await else {
        return kept;
    };
    for number in 0..8 {
        let length = if number == 3 { 80_000 } else { 9_000 };
        let sample = sample(number, 1, length);
        if rig::deposit(&archive, &sample).await.is_ok() {
            kept.push(sample);
        }
    }
    let other = sample(1, 9, 9_000);
    // Other content under a known name; hidden and shown again. Either may fail.
    rig::deposit(&archive, &other).await.ok();
    let target = || Target::Instance(sample(2, 1, 1).announced.sop_instance);
    let hide = rig::permit::<Hide>();
    let is_hidden = archive.hide(&hide, target(), "test").await;
    let is_shown = archive.restore(&hide, target()).await;
    if is_hidden.is_err() || is_shown.is_err() {
        // Where the archive failed of it, the next start may know of it all the same.
        kept.retain(|sample| sample.announced.sop_instance.as_str() != "1.2.3.1.2");
    }
    archive.close().await;
    kept
}

/// After a good start everything is there.
async fn everything_is_there(directory: &Path, kept: &[Sample], number: u64) {
    let disk = Arc::new(OsDisk::open(directory).unwrap());
    let archive = open(disk).await;
    assert!(archive.is_some(), "call {number}: it does not open again");
    let archive = archive.unwrap();
    let report = archive.verify(&rig::permit::<Maintain>(), |_| ()).await;
    assert!(report.unwrap().is_clean(), "call {number}");
    holds(&archive, kept, number).await;
    archive.close().await;
    drop(archive);
    // And the packs alone say the same.
    let archive = rig::open_with(directory, limits).await;
    holds(&archive, kept, number).await;
    archive.close().await;
}

async fn holds(archive: &Archive, kept: &[Sample], number: u64) {
    let shown = rig::select(archive).await;
    for sample in kept {
        let is_there = shown
            .iter()
            .any(|stored| stored.instance.instance == sample.announced.sop_instance);
        assert!(is_there, "call {number}: lost {:?}", sample.announced);
    }
}

/// Memory, where there is such a folder: hundreds of archives are made and synced.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

async fn each_call_fails(goes_on: bool, step: usize) {
    let mut kept_count = 0;
    let step = std::env::var_os("PACS_EVERY_CALL").map_or(step, |_| 1);
    for fails_at in (1..).step_by(step) {
        let directory = folder();
        let calls = Arc::new(Calls {
            count: AtomicU64::new(0),
            fails_at,
            goes_on,
        });
        let disk = FailingDisk {
            disk: OsDisk::open(directory.path()).unwrap(),
            calls: Arc::clone(&calls),
        };
        let kept = day(Arc::new(disk)).await;

        everything_is_there(directory.path(), &kept, fails_at).await;

        kept_count += kept.len();
        if !calls.were_enough() {
            assert!(fails_at > 100 && kept_count > 100, "{fails_at} calls");
            return;
        }
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_whichever_call_of_the_disk_fails() {
    each_call_fails(false, 2).await;
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_whichever_call_is_the_first_to_fail_for_good() {
    each_call_fails(true, 5).await;
}
