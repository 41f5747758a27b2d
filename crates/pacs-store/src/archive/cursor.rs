//! How far a follower of the change sequence has come, by its name.

use super::Archive;
use crate::index::ChangeNumber;
use crate::records::{Kind, Records, RecordsError, Revision};
use pacs_core::Permit;
use pacs_core::access::Maintain;
use std::sync::Arc;

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
}

impl Archive {
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
            Some(record) => std::str::from_utf8(&record.value)
                .ok()
                .and_then(|text| text.parse().ok())
                .map(ChangeNumber)
                .ok_or(RecordsError::Damaged { what: "cursor" })?,
        };
        Ok(Cursor {
            records,
            name: name.to_owned(),
            revision: record.map(|record| record.revision),
            position,
        })
    }
}

impl Cursor {
    /// Everything up to and with this change is behind the follower.
    #[must_use]
    pub const fn position(&self) -> ChangeNumber {
        self.position
    }

    /// Moves to `position`, durably, also backwards.
    ///
    /// # Errors
    /// [`RecordsError::Changed`] where another follower of this name has moved it: there should be
    /// one.
    pub async fn advance(&mut self, position: ChangeNumber) -> Result<(), RecordsError> {
        let value = position.0.to_string().into_bytes();
        let put = self
            .records
            .put(Kind::CURSOR, &self.name, value, self.revision);
        self.revision = Some(put.await?);
        self.position = position;
        Ok(())
    }
}
