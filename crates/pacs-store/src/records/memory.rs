//! [`Records`] in memory: gone with the process.

use super::{Change, Kind, Record, Records, RecordsError, Revision, Take, change};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Documents in memory. Clones share them.
#[derive(Debug, Default, Clone)]
pub struct MemoryRecords {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    last_revision: u64,
    records: BTreeMap<(Kind, String), Record>,
}

impl MemoryRecords {
    /// No documents.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics between the steps of a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// One change, whose expectation holds; gives the state it leaves.
    fn make(&mut self, change: Change) -> Option<Revision> {
        match change {
            Change::Delete { kind, key, .. } => {
                let record = self.records.remove(&(kind, key))?;
                Some(record.revision)
            }
            Change::Keep { expected, .. } => Some(expected),
            Change::Put {
                kind, key, value, ..
            } => {
                self.last_revision = self.last_revision.saturating_add(1);
                let revision = Revision(self.last_revision);
                let record = Record {
                    key: key.clone(),
                    revision,
                    value,
                };
                self.records.insert((kind, key), record);
                Some(revision)
            }
        }
    }
}

#[async_trait]
impl Records for MemoryRecords {
    async fn get(&self, kind: Kind, key: &str) -> Result<Option<Record>, RecordsError> {
        Ok(self.state().records.get(&(kind, key.to_owned())).cloned())
    }

    async fn list(
        &self,
        kind: Kind,
        prefix: &str,
        after: Option<&str>,
        count_max: usize,
    ) -> Result<Vec<Record>, RecordsError> {
        let first = after.map_or(prefix, |after| after.max(prefix));
        Ok(self
            .state()
            .records
            .range((kind, first.to_owned())..)
            .take_while(|((of, key), _)| *of == kind && key.starts_with(prefix))
            .filter(|((_, key), _)| after.is_none_or(|after| key.as_str() > after))
            .map(|(_, record)| record.clone())
            .take(count_max)
            .collect())
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<Vec<Revision>, RecordsError> {
        change::check(&changes)?;
        let mut state = self.state();
        for (at, change) in changes.iter().enumerate() {
            let record = state.records.get(&(change.kind(), change.key().to_owned()));
            let current = record.map(|record| record.revision);
            if current != change.expected() {
                return Err(RecordsError::Changed { at, current });
            }
        }
        Ok(changes
            .into_iter()
            .filter_map(|change| state.make(change))
            .collect())
    }

    async fn each(&self, mut take: Take) -> Result<(), RecordsError> {
        let all = self.state().records.clone();
        for ((kind, _), record) in all {
            if !take(kind.name(), record) {
                break;
            }
        }
        Ok(())
    }
}
