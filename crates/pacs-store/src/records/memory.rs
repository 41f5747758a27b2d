//! [`Records`] in memory: gone with the process.

use super::{Kind, Record, Records, RecordsError, Revision, Take, check};
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
    fn expect(&self, at: &(Kind, String), expected: Option<Revision>) -> Result<(), RecordsError> {
        let current = self.records.get(at).map(|record| record.revision);
        if current == expected {
            Ok(())
        } else {
            Err(RecordsError::Changed { current })
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
        Ok(self
            .state()
            .records
            .iter()
            .filter(|((of, key), _)| *of == kind && key.starts_with(prefix))
            .filter(|((_, key), _)| after.is_none_or(|after| key.as_str() > after))
            .map(|(_, record)| record.clone())
            .take(count_max)
            .collect())
    }

    async fn put(
        &self,
        kind: Kind,
        key: &str,
        value: Vec<u8>,
        expected: Option<Revision>,
    ) -> Result<Revision, RecordsError> {
        check(key, &value)?;
        let mut state = self.state();
        let at = (kind, key.to_owned());
        state.expect(&at, expected)?;
        state.last_revision = state.last_revision.saturating_add(1);
        let revision = Revision(state.last_revision);
        let record = Record {
            key: key.to_owned(),
            revision,
            value,
        };
        state.records.insert(at, record);
        Ok(revision)
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

    async fn delete(&self, kind: Kind, key: &str, expected: Revision) -> Result<(), RecordsError> {
        let mut state = self.state();
        let at = (kind, key.to_owned());
        state.expect(&at, Some(expected))?;
        state.records.remove(&at);
        Ok(())
    }
}
