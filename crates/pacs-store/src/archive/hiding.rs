//! Taking out of sight, and bringing back.

use super::Archive;
use super::commit::Work;
use crate::error::HideError;
use crate::index::{IndexError, LogRecord, Quota, StoredInstance, Target};
use pacs_core::access::Hide;
use pacs_core::{Permit, SopInstanceUid};
use tokio::sync::oneshot;

impl Archive {
    /// Takes `target` out of sight; how many instances that were: none where it is of a study that
    /// whoever asks may not hide. [`Archive::restore`] undoes it.
    ///
    /// # Errors
    /// [`HideError`]; nothing changed then.
    pub async fn hide(
        &self,
        permit: &Permit<Hide>,
        target: Target,
        reason: &str,
    ) -> Result<u64, HideError> {
        let limit_chars = self.shared.limits.reason_chars_max;
        if reason.chars().count() > limit_chars {
            return Err(HideError::ReasonTooLong { limit_chars });
        }
        if !self.may_hide(permit, &target).await? {
            return Ok(0);
        }
        let reason = reason.to_owned();
        self.turn(permit, LogRecord::Hide { target, reason }).await
    }

    /// Whether `permit` is for all of `target`: [`Archive::hide`] does nothing otherwise.
    ///
    /// # Errors
    /// [`HideError::Backend`].
    pub async fn may_hide(
        &self,
        permit: &Permit<Hide>,
        target: &Target,
    ) -> Result<bool, HideError> {
        if !permit.sight().is_narrowed() {
            return Ok(true);
        }
        let query = target.query();
        let count = |quota: Quota| {
            let query = &query;
            async move {
                let found = self.shared.index.select(query, &quota).await;
                let found = self.shared.noted(found).map(|found| found.len());
                found.map_err(|error| HideError::Backend {
                    operation: "look at what is to be hidden",
                    source: Box::new(error),
                })
            }
        };
        let all = count(self.shared.quota.clone()).await?;
        let seen = count(self.shared.quota.clone().seen_by(permit.sight())).await?;
        Ok(seen == all && seen > 0)
    }

    /// Brings `target` back into sight; how many instances that were: none for whoever does not see
    /// all studies, since what is hidden is of nobody.
    ///
    /// # Errors
    /// [`HideError`]; nothing changed then.
    pub async fn restore(&self, permit: &Permit<Hide>, target: Target) -> Result<u64, HideError> {
        if permit.sight().is_narrowed() {
            return Ok(0);
        }
        self.turn(permit, LogRecord::Restore { target }).await
    }

    /// What is kept of an instance, out of sight or not: for whoever may hide all studies, and so
    /// may look at what was hidden. `None` where there is no such instance.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn kept_instance(
        &self,
        permit: &Permit<Hide>,
        instance: &SopInstanceUid,
    ) -> Result<Option<StoredInstance>, IndexError> {
        if permit.sight().is_narrowed() {
            return Ok(None);
        }
        let limit_count = self.shared.limits.versions_checked_max;
        let versions = self.shared.index.versions(instance, limit_count).await?;
        Ok(versions.stored.into_iter().next())
    }

    async fn turn(&self, permit: &Permit<Hide>, record: LogRecord) -> Result<u64, HideError> {
        let provenance = self.provenance(permit.caller());
        let (reply, result) = oneshot::channel();
        let work = Work::Turn {
            record: Box::new(record),
            provenance,
            reply,
        };
        self.shared
            .submit(work)
            .await
            .map_err(|_| HideError::Closed)?;
        result.await.unwrap_or(Err(HideError::Closed))
    }
}
