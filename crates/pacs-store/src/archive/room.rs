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
