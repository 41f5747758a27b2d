//! A data directory of the operating system.

#[cfg(target_os = "linux")]
mod direct;

use super::{Disk, DiskFile, OpenHow, Room};
use rustix::fs::FallocateFlags;
use std::fmt::Debug;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, IoSlice};
#[cfg(not(any(target_vendor = "apple", target_os = "openbsd")))]
use std::num::NonZeroU64;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Name of the file that is locked while an archive is open.
const LOCK: &str = "LOCK";

/// Mode of a directory, for owner and group.
const DIRECTORY_MODE: u32 = 0o750;

/// Slices handed to the system at once; Linux takes 1,024 (`IOV_MAX`).
const SLICES_MAX: usize = 1_024;

/// What memory holds of files is in pages of this size, or in parts of larger ones.
#[cfg(not(any(target_vendor = "apple", target_os = "openbsd")))]
const PAGE_BYTES: u64 = 4_096;

/// A directory of the operating system. What is made in it, and itself, can be read by owner and
/// group alone: it holds patient data.
#[derive(Debug, Clone)]
pub struct OsDisk {
    root: PathBuf,
}

impl OsDisk {
    /// The directory `root`, made with its parents where it is not there.
    ///
    /// # Errors
    /// As the system gives them.
    pub fn open(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        make_durably(&root, Some(DIRECTORY_MODE))?;
        Ok(Self { root })
    }

    /// Where it is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() {
            self.root.clone()
        } else {
            self.root.join(name)
        }
    }
}

/// Makes `directory` and what is missing above it, each durable in what holds it. `mode` is that of
/// the directory itself; those above hold nothing of ours.
fn make_durably(directory: &Path, mode: Option<u32>) -> io::Result<()> {
    let parent = parent_of(directory);
    if !directory.is_dir() {
        if let Some(parent) = parent {
            make_durably(parent, None)?;
        }
        let mut builder = DirBuilder::new();
        if let Some(mode) = mode {
            builder.mode(mode);
        }
        match builder.create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    // Also where it was there: whoever made it may have been killed before this.
    match parent.map(|parent| File::open(parent)?.sync_all()) {
        // Who may not look into it has not made anything there.
        Some(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Some(result) => result,
        None => Ok(()),
    }
}

/// The directory that holds `path`; none for `/` and the working directory.
fn parent_of(path: &Path) -> Option<&Path> {
    let parent = path.parent()?;
    if parent.as_os_str().is_empty() {
        let is_here = path.as_os_str().is_empty() || path == Path::new(".");
        return (!is_here).then_some(Path::new("."));
    }
    Some(parent)
}

impl Disk for OsDisk {
    fn open(&self, name: &str, how: OpenHow) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).mode(0o640);
        match how {
            OpenHow::CreateNew => options.write(true).create_new(true),
            OpenHow::Read => &mut options,
            OpenHow::ReadWrite => options.write(true),
        };
        let path = self.path(name);
        let file = options.open(&path)?;
        Ok(Arc::new(OsFile {
            file,
            #[cfg(target_os = "linux")]
            reading: direct::Direct::new(path.clone(), direct::Way::Reading),
            #[cfg(target_os = "linux")]
            writing: direct::Direct::new(path, direct::Way::Writing),
        }))
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path(directory))? {
            let entry = entry?;
            if !entry.file_type()?.is_file() {
                continue;
            }
            // A name that is not Unicode is none of ours.
            if let Ok(name) = entry.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create_directory(&self, directory: &str) -> io::Result<()> {
        let path = self.path(directory);
        match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync_directory(&self, directory: &str) -> io::Result<()> {
        File::open(self.path(directory))?.sync_all()
    }

    fn room(&self) -> io::Result<Option<Room>> {
        let stat = rustix::fs::statvfs(&self.root)?;
        Ok(Some(Room {
            bytes: stat.f_frsize.saturating_mul(stat.f_blocks),
            free_bytes: stat.f_frsize.saturating_mul(stat.f_bavail),
        }))
    }

    fn lock(&self) -> io::Result<Box<dyn Debug + Send + Sync>> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o640)
            .open(self.path(LOCK))?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

#[derive(Debug)]
struct OsFile {
    file: File,
    #[cfg(target_os = "linux")]
    reading: direct::Direct,
    #[cfg(target_os = "linux")]
    writing: direct::Direct,
}

impl DiskFile for OsFile {
    fn length_bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.file.read_at(buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn write_vectored_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let mut parts = parts.to_vec();
        let mut rest: &mut [IoSlice<'_>] = &mut parts;
        let mut at = offset;
        // Empty slices in front are stepped over, so that 0 bytes written always means no progress.
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let now = rest.get(..SLICES_MAX).unwrap_or(rest);
            match rustix::io::pwritev(&self.file, now, at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    IoSlice::advance_slices(&mut rest, count);
                    at = at.saturating_add(count as u64);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    #[cfg(target_os = "linux")]
    fn write_aligned_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let written = self.writing.write(&self.file, data, offset)?;
        let rest = data.get(written..).unwrap_or_default();
        self.write_at(rest, offset.saturating_add(written as u64))
    }

    #[cfg(target_os = "linux")]
    fn read_aligned_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = self.reading.read(&self.file, buffer, offset);
        let rest = buffer.get_mut(read..).unwrap_or_default();
        let rest = self.read_up_to(rest, offset.saturating_add(read as u64))?;
        Ok(read.saturating_add(rest))
    }

    fn set_length(&self, length_bytes: u64) -> io::Result<()> {
        self.file.set_len(length_bytes)
    }

    fn allocate(&self, length_bytes: u64) -> io::Result<()> {
        use rustix::io::Errno;
        loop {
            match rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, length_bytes) {
                // Not every file system can, and there is nothing else to be done then.
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(()),
                Err(Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
    }

    #[cfg(target_os = "linux")]
    fn discard_zeros(&self, offset: u64, length_bytes: u64) {
        let block = super::ALIGNED_BYTES as u64;
        let begin = offset.next_multiple_of(block);
        let end = offset.saturating_add(length_bytes) / block * block;
        if let Some(length) = end.checked_sub(begin).filter(|length| *length > 0) {
            let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            // Where it is not possible the zeros take their room as before.
            rustix::fs::fallocate(&self.file, how, begin, length).ok();
        }
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        // In units of 512 bytes, whatever the blocks are.
        Ok(self.file.metadata()?.blocks().saturating_mul(512))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    #[cfg(not(any(target_vendor = "apple", target_os = "openbsd")))]
    fn forget(&self, offset: u64, length_bytes: u64) {
        // The system keeps pages that are asked for in part.
        let begin = offset / PAGE_BYTES * PAGE_BYTES;
        let end = offset.saturating_add(length_bytes);
        let length = NonZeroU64::new(end.saturating_sub(begin).next_multiple_of(PAGE_BYTES));
        // Where it is not possible the bytes come from memory, as they would without this.
        rustix::fs::fadvise(&self.file, begin, length, rustix::fs::Advice::DontNeed).ok();
    }

    fn read_vec(&self, offset: u64, length_bytes: usize) -> io::Result<Vec<u8>> {
        // Reads into memory that was not zeroed first: half a megabyte is read in a tenth of a
        // millisecond, and clearing it would cost a third of that again.
        let mut buffer = Vec::with_capacity(length_bytes);
        while buffer.len() < length_bytes {
            let at = offset.saturating_add(buffer.len() as u64);
            match rustix::io::pread(&self.file, rustix::buffer::spare_capacity(&mut buffer), at) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // The allocator may have given more room than was asked for.
        buffer.truncate(length_bytes);
        Ok(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_slices_are_written_one_after_the_other() {
        let directory = tempfile::tempdir().unwrap();
        let disk = OsDisk::open(directory.path()).unwrap();
        let file = disk.open("f", OpenHow::CreateNew).unwrap();
        let texts: Vec<String> = (0..3_000).map(|n| format!("{n},")).collect();
        let mut slices: Vec<IoSlice<'_>> = vec![IoSlice::new(b"")];
        slices.extend(texts.iter().map(|t| IoSlice::new(t.as_bytes())));

        file.write_vectored_at(&slices, 7).unwrap();

        let expected = texts.concat();
        let length = usize::try_from(file.length_bytes().unwrap()).unwrap();
        assert_eq!(length, expected.len() + 7);
        assert_eq!(file.read_vec(7, length - 7).unwrap(), expected.as_bytes());
        assert!(file.read_vec(8, length - 7).is_err());
    }

    #[test]
    fn zeros_that_are_discarded_are_zeros_and_what_is_around_them_stays() {
        let directory = tempfile::tempdir().unwrap();
        let disk = OsDisk::open(directory.path()).unwrap();
        let file = disk.open("f", OpenHow::CreateNew).unwrap();
        let mut bytes = vec![7; 100_000];
        bytes[1_000..90_000].fill(0);
        file.write_at(&bytes, 0).unwrap();
        file.sync_data().unwrap();

        for (offset, length) in [(1_000, 89_000), (1_000, 5), (4_095, 4_097)] {
            file.discard_zeros(offset, length);
        }

        assert!(file.read_vec(0, bytes.len()).unwrap() == bytes);
        assert_eq!(file.length_bytes().unwrap(), 100_000);
    }

    #[test]
    fn a_directory_is_made_with_what_is_missing_above_it() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("a/b/c");

        for _ in 0..2 {
            assert!(OsDisk::open(&root).unwrap().root().is_dir());
        }
        fs::write(root.join("f"), "").unwrap();
        assert!(OsDisk::open(root.join("f/d")).is_err());

        let here = Some(Path::new("."));
        assert_eq!(parent_of(Path::new("data")), here, "what is synced");
        assert_eq!(parent_of(Path::new("./data")), here);
        assert_eq!(parent_of(Path::new("a/b")), Some(Path::new("a")));
        assert_eq!(parent_of(Path::new(".")), None);
        assert_eq!(parent_of(Path::new("/")), None);
    }

    #[test]
    fn a_second_lock_is_refused_until_the_first_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let disk = OsDisk::open(directory.path()).unwrap();

        let first = disk.lock().unwrap();
        let refused = disk.lock().unwrap_err();
        drop(first);

        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        disk.lock().unwrap();
    }
}
