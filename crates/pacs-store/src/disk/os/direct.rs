//! Reading and writing the disk itself, where Linux and the file system can do that (`O_DIRECT`).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a second way to a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The file is there for it to be read.
    Reading,
    /// It is there to be written.
    Writing,
}

/// A second way to an open file, made when it is first needed.
#[derive(Debug)]
pub(super) struct Direct {
    path: PathBuf,
    way: Way,
    file: OnceLock<Option<File>>,
    is_refused: AtomicBool,
}

impl Direct {
    pub(super) fn new(path: PathBuf, way: Way) -> Self {
        Self {
            path,
            way,
            file: OnceLock::new(),
            is_refused: AtomicBool::new(false),
        }
    }

    /// Writes `data` at `offset` of what `file` is too; how many bytes that were: not all of them
    /// where the system does not do this, now or at all.
    pub(super) fn write(&self, file: &File, data: &[u8], offset: u64) -> io::Result<usize> {
        self.call(file, |direct| direct.write_at(data, offset))
    }

    /// Reads into `buffer` from `offset` on of what `file` is too; how many bytes that were: not
    /// all of them where the file ends, or the system does not do this. An error is none of them:
    /// whether the bytes can be read at all is for the usual way to say, which all others go.
    pub(super) fn read(&self, file: &File, buffer: &mut [u8], offset: u64) -> usize {
        self.call(file, |direct| direct.read_at(buffer, offset))
            .unwrap_or(0)
    }

    fn call(
        &self,
        file: &File,
        mut call: impl FnMut(&File) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if self.is_refused.load(Ordering::Relaxed) {
            return Ok(0);
        }
        let Some(direct) = self.file.get_or_init(|| self.open(file)) else {
            return Ok(0);
        };
        loop {
            match call(direct) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The alignment is not enough for this file system; nothing was done.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    self.is_refused.store(true, Ordering::Relaxed);
                    return Ok(0);
                }
                other => return other,
            }
        }
    }

    fn open(&self, file: &File) -> Option<File> {
        let flags = i32::try_from(rustix::fs::OFlags::DIRECT.bits()).ok()?;
        let mut options = OpenOptions::new();
        match self.way {
            Way::Reading => options.read(true),
            Way::Writing => options.write(true),
        };
        let direct = options.custom_flags(flags).open(&self.path);
        let direct = direct.ok()?;
        // What has the name now may be another file.
        let (one, other) = (file.metadata().ok()?, direct.metadata().ok()?);
        (one.dev() == other.dev() && one.ino() == other.ino()).then_some(direct)
    }
}
