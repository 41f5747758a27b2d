//! Studies that could not be judged, because something that was to be read for them is damaged:
//! they are kept in mind until it can be read again.

use super::super::super::{Registry, RegistryError};
use crate::limits::UNJUDGED_PAGE_COUNT;
use crate::records::{Kind, RecordsError};
use pacs_core::uid::StudyUid;

/// Their UIDs.
const UNJUDGED: Kind = Kind::new("study-unjudged");

impl Registry {
    /// Keeps in mind that a study is still to be judged.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub(crate) async fn keep_unjudged(&self, study: &StudyUid) -> Result<(), RegistryError> {
        let put = self
            .records()
            .put(UNJUDGED, study.as_str(), Vec::new(), None);
        match put.await {
            // It is kept already.
            Ok(_) | Err(RecordsError::Changed { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The first of the studies that are still to be judged, in order, after `after`.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub(crate) async fn unjudged(
        &self,
        after: Option<&StudyUid>,
    ) -> Result<Vec<StudyUid>, RegistryError> {
        let after = after.map(StudyUid::as_str);
        let list = self
            .records()
            .list(UNJUDGED, "", after, UNJUDGED_PAGE_COUNT);
        let found = list.await?.into_iter();
        // Only UIDs were put there.
        Ok(found
            .filter_map(|record| StudyUid::parse_legacy(&record.key).ok())
            .collect())
    }

    /// That a study was judged.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub(crate) async fn forget_unjudged(&self, study: &StudyUid) -> Result<(), RegistryError> {
        let Some(record) = self.records().get(UNJUDGED, study.as_str()).await? else {
            return Ok(());
        };
        let deleted = self
            .records()
            .delete(UNJUDGED, study.as_str(), record.revision);
        match deleted.await {
            Ok(()) | Err(RecordsError::Changed { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
