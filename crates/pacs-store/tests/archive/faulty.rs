//! A disk that fails when it is told to.

use pacs_store::disk::{Disk, DiskFile, OpenHow, OsDisk};
use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// What to do wrong.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Writes write half, then the disk is full.
    pub(crate) is_full: AtomicBool,
    /// Syncs of data fail.
    pub(crate) sync_fails: AtomicBool,
    /// Syncs of data that were asked for.
    pub(crate) syncs_count: AtomicU64,
    /// Opening a file for reading fails.
    pub(crate) opens_fail: AtomicBool,
    /// A file, and the 512 bytes of it that cannot be read.
    pub(crate) bad_block: Mutex<Option<(String, u64)>>,
    /// Writes of data, with the file and offset.
    pub(crate) writes: Mutex<Vec<(String, u64)>>,
    /// No blocks can be taken ahead of what is written.
    pub(crate) nothing_ahead: AtomicBool,
    /// Syncs of directories fail.
    pub(crate) directory_sync_fails: AtomicBool,
}

/// An [`OsDisk`] with [`Faults`].
#[derive(Debug)]
pub(crate) struct FaultyDisk {
    disk: OsDisk,
    faults: Arc<Faults>,
}

impl FaultyDisk {
    pub(crate) fn new(directory: &Path, faults: &Arc<Faults>) -> Arc<Self> {
        Arc::new(Self {
            disk: OsDisk::open(directory).unwrap(),
            faults: Arc::clone(faults),
        })
    }
}

impl Disk for FaultyDisk {
    fn open(&self, name: &str, how: OpenHow) -> io::Result<Arc<dyn DiskFile>> {
        if how == OpenHow::Read && self.faults.opens_fail.load(Ordering::SeqCst) {
            return Err(io::Error::other("open failed"));
        }
        let file = self.disk.open(name, how)?;
        Ok(Arc::new(FaultyFile {
            name: name.to_owned(),
            file,
            faults: Arc::clone(&self.faults),
        }))
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        self.disk.list(directory)
    }

    fn create_directory(&self, directory: &str) -> io::Result<()> {
        self.disk.create_directory(directory)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_directory(&self, directory: &str) -> io::Result<()> {
        if self.faults.directory_sync_fails.load(Ordering::SeqCst) {
            return Err(io::Error::other("sync failed"));
        }
        self.disk.sync_directory(directory)
    }

    fn lock(&self) -> io::Result<Box<dyn Debug + Send + Sync>> {
        self.disk.lock()
    }
}

#[derive(Debug)]
struct FaultyFile {
    name: String,
    file: Arc<dyn DiskFile>,
    faults: Arc<Faults>,
}

impl DiskFile for FaultyFile {
    fn length_bytes(&self) -> io::Result<u64> {
        self.file.length_bytes()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let bad_block = self.faults.bad_block.lock().unwrap();
        if let Some((name, at)) = &*bad_block
            && *name == self.name
            && offset < at + 512
            && *at < offset + buffer.len() as u64
        {
            return Err(io::Error::other("bad block"));
        }
        self.file.read_at(buffer, offset)
    }

    fn write_vectored_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        if self.faults.is_full.load(Ordering::SeqCst) {
            let all: Vec<u8> = parts.iter().flat_map(|part| part.to_vec()).collect();
            self.file.write_at(&all[..all.len() / 2], offset)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut writes = self.faults.writes.lock().unwrap();
        writes.push((self.name.clone(), offset));
        self.file.write_vectored_at(parts, offset)
    }

    fn set_length(&self, length_bytes: u64) -> io::Result<()> {
        self.file.set_length(length_bytes)
    }

    fn allocate(&self, length_bytes: u64) -> io::Result<()> {
        if self.faults.nothing_ahead.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.allocate(length_bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.faults.syncs_count.fetch_add(1, Ordering::SeqCst);
        if self.faults.sync_fails.load(Ordering::SeqCst) {
            return Err(io::Error::other("sync failed"));
        }
        self.file.sync_data()
    }
}
