//! Space on the disk that a database has before it needs it.
//!
//! redb takes any error of its file for the end: after a write that found the disk full nothing can
//! be read either. So blocks are taken ahead of what is written, as many as redb may have in memory
//! unwritten and as many again, and whoever fills the database asks whether they are there. What
//! others do to the disk then takes nothing from a database that is not filled further.

use crate::disk::DiskFile;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Where a database has come to, and how much is taken ahead of that.
#[derive(Debug)]
pub(crate) struct Space {
    file: Arc<dyn DiskFile>,
    /// What is to be taken ahead.
    ahead_bytes: u64,
    /// The end of what was ever written.
    written: AtomicU64,
    /// The end of what is taken.
    taken: AtomicU64,
    is_short: AtomicBool,
}

impl Space {
    pub(crate) fn new(file: Arc<dyn DiskFile>, ahead_bytes: u64) -> io::Result<Self> {
        // What was taken ahead by the last one is found again, and taken for written.
        let written = file.allocated_bytes()?.min(file.length_bytes()?);
        Ok(Self {
            file,
            ahead_bytes,
            written: AtomicU64::new(written),
            taken: AtomicU64::new(0),
            is_short: AtomicBool::new(false),
        })
    }

    /// Something was written that ends at `end`.
    pub(super) fn is_written(&self, end: u64) {
        self.written.fetch_max(end, Ordering::Relaxed);
    }

    /// The file now ends at `length_bytes`; what was taken behind that may be gone.
    pub(super) fn was_cut(&self, length_bytes: u64) {
        self.taken.fetch_min(length_bytes, Ordering::Relaxed);
        self.written.fetch_min(length_bytes, Ordering::Relaxed);
    }

    /// Whether there is enough ahead to go on filling the database; takes more where it gets less.
    pub(crate) fn is_ample(&self) -> bool {
        let written = self.written.load(Ordering::Relaxed);
        // Half of it is for what redb has in memory already.
        let enough = written.saturating_add(self.ahead_bytes / 4 * 3);
        if self.taken.load(Ordering::Relaxed) >= enough {
            return true;
        }
        let wanted = written.saturating_add(self.ahead_bytes);
        match self.file.allocate(wanted) {
            Ok(()) => {
                self.taken.fetch_max(wanted, Ordering::Relaxed);
                if self.is_short.swap(false, Ordering::Relaxed) {
                    tracing::info!("there is room on the disk for the database again");
                }
                true
            }
            Err(error) => {
                if !self.is_short.swap(true, Ordering::Relaxed) {
                    tracing::error!(%error, "the disk has no room for the database to grow");
                }
                false
            }
        }
    }
}
