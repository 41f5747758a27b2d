//! Turns to work and memory, which all renderings share.

use crate::error::Failure;
use crate::limits::WebLimits;
use pacs_image::Decoders;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Bytes of one permit of the budget.
const UNIT_BYTES: u64 = 1 << 20;

const BUSY: Failure = Failure::Unavailable {
    detail: "too many pictures are being made at the moment",
};

/// What all renderings share: turns to work, memory and decoders.
#[derive(Debug)]
pub(crate) struct Rendering {
    turns: Arc<Semaphore>,
    /// Of animations, beside them.
    animations: Arc<Semaphore>,
    memory: Arc<Semaphore>,
    units: u32,
    queue_duration_max: Duration,
    pub(super) decoders: Option<Decoders>,
}

impl Rendering {
    pub(crate) fn new(limits: &WebLimits, decoders: Option<Decoders>) -> Self {
        let limits = &limits.rendering;
        let units = u32::try_from(limits.memory_bytes_max / UNIT_BYTES).unwrap_or(1 << 20);
        let permits = usize::try_from(units).unwrap_or(1);
        Self {
            turns: Arc::new(Semaphore::new(limits.pictures_max.max(1))),
            animations: Arc::new(Semaphore::new(limits.animations_max.max(1))),
            memory: Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))),
            units,
            queue_duration_max: limits.queue_duration_max,
            decoders,
        }
    }

    /// To be held by the thread that works, not by who waits for it and may go away.
    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit, Failure> {
        self.turn_among(&self.turns).await
    }

    /// The same, for what takes so long that nobody else should wait for it.
    pub(super) async fn turn_to_animate(&self) -> Result<OwnedSemaphorePermit, Failure> {
        self.turn_among(&self.animations).await
    }

    async fn turn_among(&self, turns: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Failure> {
        let turn = Arc::clone(turns).acquire_owned();
        let turn = timeout(self.queue_duration_max, turn).await;
        turn.map_err(|_elapsed| BUSY)?.map_err(|_closed| BUSY)
    }

    /// Memory for so many bytes, or for as many as there are.
    pub(super) async fn memory(&self, bytes: u64) -> Result<Share, Failure> {
        let most = self.units.max(1);
        let share = Arc::clone(&self.memory).acquire_many_owned(units(bytes, most));
        let share = timeout(self.queue_duration_max, share).await;
        let held = share.map_err(|_elapsed| BUSY)?.map_err(|_closed| BUSY)?;
        let memory = Arc::clone(&self.memory);
        Ok(Share { memory, held, most })
    }
}

fn units(bytes: u64, most: u32) -> u32 {
    let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
    units.min(most)
}

/// Memory that one rendering has of what there is.
#[derive(Debug)]
pub(super) struct Share {
    memory: Arc<Semaphore>,
    held: OwnedSemaphorePermit,
    most: u32,
}

impl Share {
    /// Makes it large enough for `bytes`, where it is not. Does not wait: two that wait for what
    /// the other one has would wait for ever.
    pub(super) fn need(&mut self, bytes: u64) -> Result<(), Failure> {
        let held = u32::try_from(self.held.num_permits()).unwrap_or(u32::MAX);
        let missing = units(bytes, self.most).saturating_sub(held);
        if missing > 0 {
            let more = Arc::clone(&self.memory).try_acquire_many_owned(missing);
            self.held.merge(more.map_err(|_| BUSY)?);
        }
        Ok(())
    }

    /// Gives back what is not needed for `bytes`.
    pub(super) fn keep(&mut self, bytes: u64) {
        let needed = usize::try_from(units(bytes, self.most)).unwrap_or(usize::MAX);
        let surplus = self.held.num_permits().saturating_sub(needed);
        drop(self.held.split(surplus));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_share_grows_as_far_as_there_is_memory_and_gives_back_the_rest() {
        let mut limits = WebLimits::default();
        limits.rendering.memory_bytes_max = 8 * UNIT_BYTES;
        limits.rendering.queue_duration_max = Duration::ZERO;
        let rendering = Rendering::new(&limits, None);
        let mut first = rendering.memory(3 * UNIT_BYTES).await.unwrap();
        let mut second = rendering.memory(UNIT_BYTES).await.unwrap();
        first.need(7 * UNIT_BYTES).unwrap();
        assert!(second.need(2 * UNIT_BYTES).is_err());
        assert!(rendering.memory(1).await.is_err());
        first.keep(2 * UNIT_BYTES);
        second.need(6 * UNIT_BYTES).unwrap();
        drop((first, second));
        // More than there is gets all.
        assert!(rendering.memory(u64::MAX).await.is_ok());
    }
}
