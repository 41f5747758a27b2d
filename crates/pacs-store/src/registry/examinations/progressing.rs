//! Examinations that the archive itself looks after: those that wait for their images.

use super::super::{Registry, RegistryError, Stored};
use super::document::{LIST, WORKLIST};
use super::listing::id_of;
use super::{BETWEEN, Examination};
use crate::limits::PROGRESS_PAGE_COUNT;
use crate::records::{Kind, Record};
use chrono::NaiveDateTime;
use pacs_core::examination::Status;
use pacs_core::{ExaminationId, OrganisationCode};

impl Registry {
    /// An examination, for the archive's own work.
    pub(crate) async fn examination_of_id(
        &self,
        id: ExaminationId,
    ) -> Result<Stored<Examination>, RegistryError> {
        self.examination_at(id).await
    }

    /// The examinations of an organisation that are in progress. One that cannot be read is told of
    /// and left out.
    pub(crate) async fn in_progress(
        &self,
        organisation: OrganisationCode,
    ) -> Result<Vec<Stored<Examination>>, RegistryError> {
        let prefix = format!("performing/{organisation}{BETWEEN}in_progress{BETWEEN}");
        self.all_of(LIST, &prefix, None).await
    }

    /// The examinations of an organisation that somebody has in work, as [`Self::in_progress`].
    pub(crate) async fn under_review(
        &self,
        organisation: OrganisationCode,
    ) -> Result<Vec<Stored<Examination>>, RegistryError> {
        let prefix = format!("performing/{organisation}{BETWEEN}under_review{BETWEEN}");
        self.all_of(LIST, &prefix, None).await
    }

    /// The examinations of an organisation that wait for images, were planned before `before`, and
    /// stand in the worklist.
    pub(crate) async fn overdue(
        &self,
        organisation: OrganisationCode,
        before: NaiveDateTime,
    ) -> Result<Vec<Stored<Examination>>, RegistryError> {
        let prefix = format!("{organisation}{BETWEEN}");
        let end = format!("{prefix}{}", before.format("%Y-%m-%dT%H:%M:%S"));
        let mut found = self.all_of(WORKLIST, &prefix, Some(&end)).await?;
        found.retain(|examination| examination.value.status() == Status::Scheduled);
        Ok(found)
    }

    async fn all_of(
        &self,
        kind: Kind,
        prefix: &str,
        end: Option<&str>,
    ) -> Result<Vec<Stored<Examination>>, RegistryError> {
        let (mut found, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = self
                .records()
                .list(kind, prefix, after.as_deref(), PROGRESS_PAGE_COUNT)
                .await?;
            let is_last = page.len() < PROGRESS_PAGE_COUNT;
            for record in page {
                if end.is_some_and(|end| record.key.as_str() >= end) {
                    return Ok(found);
                }
                found.extend(self.readable(&record).await?);
                after = Some(record.key);
            }
            if is_last {
                return Ok(found);
            }
        }
    }

    /// The examination that a key points to; one that cannot be read is told of, and keeps nobody
    /// from the others.
    pub(super) async fn readable(
        &self,
        record: &Record,
    ) -> Result<Option<Stored<Examination>>, RegistryError> {
        let read = match id_of(record) {
            Ok(id) => self.examination_at(id).await,
            Err(error) => Err(error),
        };
        match read {
            Ok(examination) => Ok(Some(examination)),
            Err(error @ (RegistryError::Damaged { .. } | RegistryError::NotFound { .. })) => {
                tracing::error!(%error, "an examination in a list cannot be read");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
