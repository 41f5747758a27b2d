//! Whether there is room on the disk for more content.
//!
//! Some of it is kept back: the index has to be made durable, and hides have to be logged, when
//! instances no longer fit. What others on the disk take all the same, the index does not miss: it
//! has space of its own ahead, and says when that runs short.

use crate::directory::DataDirectory;
use crate::disk::{Disk, Room};
use crate::index::Index;
use crate::limits::StoreLimits;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How old an answer of the disk may be: what others write meanwhile is not seen. The disk itself
/// has the last word.
const ASKED_EVERY: Duration = Duration::from_millis(250);

/// Asks the disk, not too often.
#[derive(Debug)]
pub(crate) struct Reserve {
    disk: Arc<dyn Disk>,
    index: Arc<dyn Index>,
    reserve_bytes_max: u64,
    last: Mutex<Option<(Instant, u64)>>,
}

impl Reserve {
    pub(crate) fn new(
        directory: &DataDirectory,
        index: &Arc<dyn Index>,
        limits: &StoreLimits,
    ) -> Self {
        Self {
            disk: Arc::clone(directory.disk()),
            index: Arc::clone(index),
            reserve_bytes_max: limits.reserve_bytes_max,
            last: Mutex::new(None),
        }
    }

    /// Whether more than the reserve is free.
    pub(crate) fn has_room(&self) -> bool {
        self.has_room_for(0)
    }

    /// Whether more than the reserve is free when `bytes` are written. A disk that does not say has
    /// room.
    pub(crate) fn has_room_for(&self, bytes: u64) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let room = match *last {
            Some((when, room)) if when.elapsed() < ASKED_EVERY => room,
            _ => {
                let room = self.ask();
                *last = Some((Instant::now(), room));
                room
            }
        };
        room > bytes
    }

    /// Says that `bytes` were written, for the answers until the disk is asked again.
    pub(crate) fn took(&self, bytes: u64) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, room)) = &mut *last
            && *room < u64::MAX
        {
            *room = room.saturating_sub(bytes);
        }
    }

    /// Bytes that are free beyond the reserve; none where the index has no room.
    fn ask(&self) -> u64 {
        if !self.index.has_room() {
            return 0;
        }
        match self.disk.room() {
            Ok(Some(Room { free_bytes, bytes })) => {
                free_bytes.saturating_sub(self.reserve_bytes_max.min(bytes / 100))
            }
            Ok(None) | Err(_) => u64::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{DiskFile, OpenHow, OsDisk};
    use crate::index::memory::MemoryIndex;
    use std::io;

    /// A disk as large and as full as is said.
    #[derive(Debug)]
    struct Sized(OsDisk, Room);

    impl Disk for Sized {
        fn open(&self, name: &str, how: OpenHow) -> io::Result<Arc<dyn DiskFile>> {
            self.0.open(name, how)
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

        fn sync_directory(&self, directory: &str) -> io::Result<()> {
            self.0.sync_directory(directory)
        }

        fn lock(&self) -> io::Result<Box<dyn std::fmt::Debug + Send + Sync>> {
            self.0.lock()
        }

        fn room(&self) -> io::Result<Option<Room>> {
            Ok(Some(self.1))
        }
    }

    #[test]
    fn a_hundredth_of_the_disk_is_kept_and_256_mib_at_most() {
        const TB: u64 = 1_000_000_000_000;
        let directory = tempfile::tempdir().unwrap();
        for (bytes, kept) in [(10 * TB, 256 << 20), (TB / 100, TB / 10_000), (0, 0)] {
            for (free_bytes, has_room) in [(kept, false), (kept + 1, true)] {
                let room = Room { free_bytes, bytes };
                let reserve = Reserve {
                    disk: Arc::new(Sized(OsDisk::open(directory.path()).unwrap(), room)),
                    index: Arc::new(MemoryIndex::default()),
                    reserve_bytes_max: StoreLimits::default().reserve_bytes_max,
                    last: Mutex::new(None),
                };
                assert_eq!(reserve.has_room(), has_room, "{room:?}");
                assert!(!reserve.has_room_for(1), "{room:?}");
            }
        }
    }
}
