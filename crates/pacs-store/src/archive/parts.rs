//! Parts: of stored data sets, and of what a search finds.

use super::{Archive, RetrievePermit};
use crate::error::ReadError;
use crate::index::{
    ChangeNumber, IndexError, Notes, Page, PageOfMatches, Results, StoredInstance, Versions,
};
use crate::retrieve::{self, DataSetReader};
use pacs_core::access::{Find, Maintain};
use pacs_core::{Permit, Query, SopInstanceUid};
use std::ops::Range;

impl Archive {
    /// A page of what matches `query`, the newest studies first: `None` where the result that it
    /// begins after is not there (any more).
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn search_page(
        &self,
        permit: &Permit<Find>,
        query: &Query,
        page: &Page,
    ) -> Result<Option<PageOfMatches>, IndexError> {
        let quota = self.shared.quota_of(permit.caller(), permit.sight());
        let answer = self.shared.index.search_page(query, page, &quota);
        self.shared.noted(answer.await)
    }

    /// Up to `count_max` instances that arrived after the change `after`, in that order, each with
    /// the change that tells of it.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn arrivals(
        &self,
        _permit: &Permit<Maintain>,
        after: ChangeNumber,
        count_max: usize,
    ) -> Result<Vec<(ChangeNumber, StoredInstance)>, IndexError> {
        let entries = self.shared.index.entries(after.0, count_max).await;
        let entries = self.shared.noted(entries)?.into_iter();
        Ok(entries
            .map(|(number, stored)| (ChangeNumber(number), stored))
            .collect())
    }

    /// All that is kept under a SOP Instance UID, in sight or not: for those who follow what
    /// arrives.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn versions(
        &self,
        _permit: &Permit<Maintain>,
        instance: &SopInstanceUid,
    ) -> Result<Versions, IndexError> {
        let limit_count = self.shared.limits.versions_checked_max;
        let versions = self.shared.index.versions(instance, limit_count).await;
        self.shared.noted(versions)
    }

    /// Notes what is known of studies beside what was received.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn note(&self, _permit: &Permit<Maintain>, notes: Notes) -> Result<(), IndexError> {
        let noted = self.shared.index.note(notes).await;
        self.shared.noted(noted)
    }

    /// How far whoever notes has come; 0 where everything is to be noted (again).
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn notes_through(&self, _permit: &Permit<Maintain>) -> Result<u64, IndexError> {
        let noted = self.shared.index.noted().await;
        self.shared.noted(noted)
    }

    /// A page without results, to be filled: what is put on it counts as what a search gives.
    #[must_use]
    pub fn page_of_none(&self) -> PageOfMatches {
        PageOfMatches {
            matches: Results::new(&self.shared.quota),
            has_more: false,
        }
    }

    /// A part of the data set of `instance`; nothing where the range lies behind its end. A part
    /// has no digest to be compared with.
    pub fn read_range(
        &self,
        _permit: &impl RetrievePermit,
        instance: &StoredInstance,
        range: &Range<u64>,
    ) -> DataSetReader {
        DataSetReader::part(&self.shared, instance.location, instance.digest, range)
    }

    /// As [`Self::read_range`], at once, in this thread and into memory: for short parts that
    /// decide what else is read.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read_now(
        &self,
        _permit: &impl RetrievePermit,
        instance: &StoredInstance,
        range: &Range<u64>,
    ) -> Result<Vec<u8>, ReadError> {
        retrieve::read_now(&self.shared.files, instance.location, range)
    }
}
