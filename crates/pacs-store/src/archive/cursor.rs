//! How far a follower of the change sequence has come, by its name.

use super::Archive;
use crate::index::{ChangeNumber, IndexError};
use crate::records::{Kind, Records, RecordsError, Revision};
use pacs_core::Permit;
use pacs_core::access::Maintain;
use std::sync::Arc;

/// Cancelled calls that are remembered.
const PENDING_COUNT_MAX: usize = 16;

/// A position in the change sequence that outlives the process, where `ArchiveOptions::records`
/// does.
///
/// A follower reads changes after [`Cursor::position`], does its work, and then advances: work that
/// was done when a crash comes before the advance is done again.
#[derive(Debug)]
pub struct Cursor {
    records: Arc<dyn Records>,
    name: String,
    revision: Option<Revision>,
    position: ChangeNumber,
    /// What calls that did not return, or not well, may have written.
    pending: Vec<ChangeNumber>,
}

impl Archive {
    /// The last change: where a follower begins who cares for what comes, not for what was.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn last_change(
        &self,
        _permit: &Permit<Maintain>,
    ) -> Result<ChangeNumber, IndexError> {
        let committed = self.shared.index.committed().await;
        Ok(self.shared.noted(committed)?.change)
    }

    /// The cursor of the follower `name`, at the beginning if there was none.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn cursor(
        &self,
        _permit: &Permit<Maintain>,
        name: &str,
    ) -> Result<Cursor, RecordsError> {
        let records = Arc::clone(&self.shared.records);
        let record = records.get(Kind::CURSOR, name).await?;
        let position = match &record {
            None => ChangeNumber(0),
            Some(record) => parse(&record.value).ok_or(RecordsError::Damaged { what: "cursor" })?,
        };
        Ok(Cursor {
            records,
            name: name.to_owned(),
            revision: record.map(|record| record.revision),
            position,
            pending: Vec::new(),
        })
    }
}

fn parse(value: &[u8]) -> Option<ChangeNumber> {
    let text = std::str::from_utf8(value).ok()?;
    text.parse().ok().map(ChangeNumber)
}

impl Cursor {
    /// Everything up to and with this change is behind the follower.
    #[must_use]
    pub const fn position(&self) -> ChangeNumber {
        self.position
    }

    /// Whether there was none of its name.
    #[must_use]
    pub const fn is_new(&self) -> bool {
        self.revision.is_none()
    }

    /// Moves to `position`, durably, also backwards. Where the call is cancelled, it may have moved
    /// or not; it can be called again.
    ///
    /// # Errors
    /// [`RecordsError::Changed`] where another follower of this name has moved it: there should be
    /// one.
    pub async fn advance(&mut self, position: ChangeNumber) -> Result<(), RecordsError> {
        if self.pending.len() >= PENDING_COUNT_MAX {
            self.pending.remove(0);
        }
        self.pending.push(position);
        let mut put = self.put(position).await;
        if matches!(put, Err(RecordsError::Changed { .. })) && self.was_own().await? {
            put = self.put(position).await;
        }
        self.revision = Some(put?);
        self.position = position;
        self.pending.clear();
        Ok(())
    }

    async fn put(&self, position: ChangeNumber) -> Result<Revision, RecordsError> {
        let value = position.0.to_string().into_bytes();
        self.records
            .put(Kind::CURSOR, &self.name, value, self.revision)
            .await
    }

    /// Whether a call that did not return has written what is there now.
    async fn was_own(&mut self) -> Result<bool, RecordsError> {
        // All but the one of the call that asks.
        let earlier = self.pending.split_last().map_or(&[][..], |(_, rest)| rest);
        if earlier.is_empty() {
            return Ok(false);
        }
        let record = self.records.get(Kind::CURSOR, &self.name).await?;
        let Some(record) = record else {
            return Ok(false);
        };
        let is_own = parse(&record.value).is_some_and(|position| earlier.contains(&position));
        if is_own {
            self.revision = Some(record.revision);
        }
        Ok(is_own)
    }
}
