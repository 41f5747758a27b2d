//! What comes into the archive, told to those who look at examinations while they are made.
//!
//! One task follows the change sequence for all of them; as long as nobody looks it reads nothing.
//! Whoever is too slow misses some, is told so, and reads anew.

use super::Problem;
use super::images::Images;
use crate::limits::{
    API_FEED_BATCHES_MAX, API_FEED_CHANGES_MAX, API_FEED_GATHERED_FOR, API_STREAMS_MAX,
    API_STREAMS_OF_USER_MAX,
};
use pacs_store::index::Change;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::broadcast;

/// How long is waited where the changes cannot be read.
const RETRY_DURATION: Duration = Duration::from_secs(5);

/// Changes that came in one go, in their order.
pub(super) type Batch = Arc<[Change]>;

/// The changes. Clones are the same.
#[derive(Debug, Clone)]
pub struct Feed {
    pub(super) images: Images,
    sender: broadcast::Sender<Batch>,
    /// Streams that are open, by user.
    streams: Arc<Mutex<HashMap<String, usize>>>,
}

/// A place among those who look; goes with it.
#[derive(Debug)]
pub(super) struct Place {
    feed: Feed,
    user: String,
}

impl Feed {
    /// Those of `archive`.
    #[must_use]
    pub fn new(archive: &pacs_store::Archive) -> Self {
        Self {
            images: Images::of(archive),
            sender: broadcast::Sender::new(API_FEED_BATCHES_MAX),
            streams: Arc::default(),
        }
    }

    /// Follows the archive until it is closed.
    pub async fn follow(self) {
        loop {
            match self.step().await {
                Ok(true) => {}
                Ok(false) => return,
                Err(_told) => tokio::time::sleep(RETRY_DURATION).await,
            }
        }
    }

    /// Follows from where the archive is; `false` where it was closed.
    async fn step(&self) -> Result<bool, Problem> {
        let mut position = self.images.last_change().await?;
        loop {
            self.images.wait(position).await?;
            // What comes in one go is told in one go.
            tokio::time::sleep(API_FEED_GATHERED_FOR).await;
            if self.sender.receiver_count() == 0 {
                let last = self.images.last_change().await?;
                if last == position {
                    return Ok(false);
                }
                position = last;
                continue;
            }
            let changes = self.images.changes(position, API_FEED_CHANGES_MAX).await?;
            let Some(last) = changes.last() else {
                return Ok(false);
            };
            position = last.number;
            // Whoever listened may have gone.
            self.sender.send(changes.into()).ok();
        }
    }

    /// What comes from now on.
    pub(super) fn listen(&self) -> broadcast::Receiver<Batch> {
        self.sender.subscribe()
    }

    /// A place for `user`; `None` where there are as many as there may be.
    pub(super) fn place(&self, user: &str) -> Option<Place> {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = streams.values().sum();
        let own = streams.entry(user.to_owned()).or_default();
        if *own >= API_STREAMS_OF_USER_MAX || all >= API_STREAMS_MAX {
            return None;
        }
        *own += 1;
        Some(Place {
            feed: self.clone(),
            user: user.to_owned(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let streams = self.feed.streams.lock();
        let mut streams = streams.unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = streams.get_mut(&self.user) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                streams.remove(&self.user);
            }
        }
    }
}
