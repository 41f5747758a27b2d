//! A change and the record of who made it, in one batch.

use super::audit::AuditError;
use super::batch::Batch;
use super::document::Document as _;
use super::examinations::Examination;
use super::{Moment, Registry, RegistryError, announcements};
use crate::records::{Change, Revision};
use pacs_core::audit::{Act, AuditEvent};
use pacs_core::role::Agent;
use pacs_core::{ExaminationId, OrganisationCode};

impl Registry {
    /// Makes the changes, with the record of `event`, durably, or nothing of it. Gives the states
    /// of the changed documents, in the order of the changes.
    ///
    /// # Errors
    /// [`RegistryError::Changed`] where one of the documents is not as it was read.
    pub(super) async fn commit(
        &self,
        mut batch: Batch,
        mut event: AuditEvent,
    ) -> Result<Vec<Revision>, RegistryError> {
        event.change = event.change.or(batch.digests);
        let is_once = self.note_request(&mut batch, event.at)?;
        let examinations = examinations_of(&batch);
        let is_owing = announcements::owes(&batch.changes);
        let committed = self.inner.trail.commit(batch.changes, &event).await;
        match committed.map_err(RegistryError::from) {
            Err(RegistryError::Changed) if is_once => Err(self.repeated().await?),
            Err(error) => Err(error),
            Ok(revisions) => {
                self.inner.stirring.note(&event);
                if is_owing {
                    self.inner.announced.notify_one();
                }
                for id in examinations {
                    // Nobody may listen.
                    self.inner.changed.send(id).ok();
                }
                Ok(revisions)
            }
        }
    }
}

/// The examinations that a batch changes.
fn examinations_of(batch: &Batch) -> Vec<ExaminationId> {
    let changed = batch.changes.iter().filter_map(|change| match change {
        Change::Put { kind, key, .. } if *kind == Examination::KIND => Some(key.clone()),
        Change::Put { .. } | Change::Delete { .. } | Change::Keep { .. } => None,
    });
    changed.filter_map(|key| key.try_into().ok()).collect()
}

impl From<AuditError> for RegistryError {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Busy => Self::Busy,
            AuditError::Damaged(_) => Self::Damaged {
                what: "audit trail",
            },
            AuditError::Records(error) => error.into(),
        }
    }
}

/// The event of something that `agent` does for `organisation`.
pub(super) fn agent_event(
    act: Act,
    agent: &Agent,
    organisation: Option<OrganisationCode>,
    at: Moment,
) -> AuditEvent {
    let mut event = AuditEvent::by(act, at, agent);
    event.actor.organisation = organisation;
    event
}
