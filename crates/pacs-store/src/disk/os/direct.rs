//! Writing to the disk itself, where Linux and the file system can do that (`O_DIRECT`).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// A second way to an open file, made when it is first needed.
#[derive(Debug)]
pub(super) struct Direct {
    path: PathBuf,
    file: OnceLock<Option<File>>,
    is_refused: AtomicBool,
}

impl Direct {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: OnceLock::new(),
            is_refused: AtomicBool::new(false),
        }
    }

    /// Writes `data` at `offset` of what `file` is too; how many bytes that were: not all of them
    /// where the system does not do this, now or at all.
    pub(super) fn write(&self, file: &File, data: &[u8], offset: u64) -> io::Result<usize> {
        if self.is_refused.load(Ordering::Relaxed) {
            return Ok(0);
        }
        let Some(direct) = self.file.get_or_init(|| self.open(file)) else {
            return Ok(0);
        };
        loop {
            match direct.write_at(data, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The alignment is not enough for this file system; nothing was written.
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
        let direct = options.write(true).custom_flags(flags).open(&self.path);
        let direct = direct.ok()?;
        // What has the name now may be another file.
        let (one, other) = (file.metadata().ok()?, direct.metadata().ok()?);
        (one.dev() == other.dev() && one.ino() == other.ino()).then_some(direct)
    }
}
