//! Whether there is room on the disk for more content.
//!
//! Some of it is kept back: the index has to be made durable, and hides have to be logged, when instances no
//! longer fit.

use crate::disk::{Disk, Room};
use crate::limits::StoreLimits;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How old an answer of the disk may be. At 1 GB/s four times the reserve comes in meanwhile; the disk itself
/// has the last word.
const ASKED_EVERY: Duration = Duration::from_millis(250);

/// Asks the disk, not too often.
#[derive(Debug)]
pub(crate) struct Reserve {
    disk: Arc<dyn Disk>,
    reserve_bytes_max: u64,
    last: Mutex<Option<(Instant, bool)>>,
}

impl Reserve {
    pub(crate) fn new(disk: Arc<dyn Disk>, limits: &StoreLimits) -> Self {
        Self {
            disk,
            reserve_bytes_max: limits.reserve_bytes_max,
            last: Mutex::new(None),
        }
    }

    /// Whether more than the reserve is free. A disk that does not say has room.
    pub(crate) fn has_room(&self) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((when, has_room)) = *last
            && when.elapsed() < ASKED_EVERY
        {
            return has_room;
        }
        let has_room = match self.disk.room() {
            Ok(Some(Room { free_bytes, bytes })) => {
                free_bytes > self.reserve_bytes_max.min(bytes / 100)
            }
            Ok(None) | Err(_) => true,
        };
        *last = Some((Instant::now(), has_room));
        has_room
    }
}
