//! Stands in for the packs: feeds records to an index, in order, with proofs.

use pacs_core::Query;
use pacs_store::index::{
    Applied, Change, ChangeNumber, DurableContent, Index, IndexError, LogPosition, LogRecord,
    Match, Quota, StoredInstance,
};
use std::sync::{Arc, Mutex};

/// More than any case has.
pub const MANY: usize = 10_000;

/// A log and the index that follows it.
#[derive(Debug)]
pub struct Log {
    /// What follows.
    pub index: Arc<dyn Index>,
    groups: Mutex<Vec<Vec<LogRecord>>>,
}

impl Log {
    /// An empty log before an empty index.
    #[must_use]
    pub fn new(index: Arc<dyn Index>) -> Self {
        Self {
            index,
            groups: Mutex::default(),
        }
    }

    /// The same log before another index.
    #[must_use]
    pub fn follow(self, index: Arc<dyn Index>) -> Self {
        Self { index, ..self }
    }

    /// How many groups there are.
    #[must_use]
    pub fn groups_count(&self) -> usize {
        self.groups.lock().unwrap().len()
    }

    /// The position after the last group.
    #[must_use]
    pub fn end(&self) -> LogPosition {
        position(self.groups.lock().unwrap().len())
    }

    /// Adds a group to the log and applies it.
    pub async fn add(&self, group: Vec<LogRecord>) -> Vec<Applied> {
        let count = {
            let mut groups = self.groups.lock().unwrap();
            groups.push(group.clone());
            groups.len()
        };
        apply(self.index.as_ref(), group, position(count)).await
    }

    /// Applies the groups after `from` again.
    pub async fn replay(&self, from: LogPosition) {
        let groups = self.groups.lock().unwrap().clone();
        for (group, end) in groups.into_iter().zip((1..).map(position)) {
            if end > from {
                apply(self.index.as_ref(), group, end).await;
            }
        }
    }

    /// What matches.
    pub async fn search(&self, query: &Query) -> Vec<Match> {
        self.index
            .search(query, &Quota::of(MANY))
            .await
            .unwrap()
            .into_vec()
    }

    /// The instances of what matches.
    pub async fn select(&self, query: &Query) -> Vec<StoredInstance> {
        self.index
            .select(query, &Quota::of(MANY))
            .await
            .unwrap()
            .into_vec()
    }

    /// The whole change sequence.
    pub async fn changes(&self) -> Vec<Change> {
        self.index.changes(ChangeNumber(0), MANY).await.unwrap()
    }

    /// Every version.
    pub async fn entries(&self) -> Vec<(u64, StoredInstance)> {
        self.index.entries(0, MANY).await.unwrap()
    }
}

/// Where the log stands after so many groups.
#[must_use]
pub fn position(groups_count: usize) -> LogPosition {
    LogPosition {
        pack: 1,
        offset: groups_count as u64 * 100,
    }
}

/// Stages and commits one group.
pub async fn apply(index: &dyn Index, group: Vec<LogRecord>, end: LogPosition) -> Vec<Applied> {
    try_apply(index, group, end).await.unwrap()
}

/// Stages and commits one group.
///
/// # Errors
/// Those of the index.
pub async fn try_apply(
    index: &dyn Index,
    group: Vec<LogRecord>,
    end: LogPosition,
) -> Result<Vec<Applied>, IndexError> {
    let staged = index.stage(group, end).await?;
    staged.commit(DurableContent::synced_up_to(end))
}
