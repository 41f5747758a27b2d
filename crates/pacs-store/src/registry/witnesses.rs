//! «Кто смотрел мои данные»: who saw the data of a patient, from the audit trail.

use super::audit::AuditRecord;
use super::batch::Batch;
use super::commit::agent_event;
use super::{Moment, Registry, RegistryError};
use crate::limits::AUDIT_PAGE_COUNT_MAX;
use pacs_core::Phi;
use pacs_core::audit::Act;
use pacs_core::patient::PatientKey;
use pacs_core::role::{Licence, duty::AuditRead};

/// A part of the record of who saw somebody's data.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Witnesses {
    /// Records of those who looked, searched, took away or were shown, newest first.
    pub records: Vec<AuditRecord>,
    /// Records before this one come next; `None` after the last.
    pub next: Option<u64>,
}

impl Registry {
    /// Who saw the data of `patient`, and of those who went into them: newest first, before the
    /// record `before`. A licence of one organisation shows what its own people and devices did.
    /// That this was asked is recorded itself. A part may have fewer than it could.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn who_saw(
        &self,
        licence: &Licence<AuditRead>,
        patient: PatientKey,
        (before, count_max): (Option<u64>, usize),
        at: Moment,
    ) -> Result<Witnesses, RegistryError> {
        let survivor = self.survivor(patient).await?.value;
        let organisation = licence.organisation();
        let mut event = agent_event(Act::AuditRead, licence.agent(), organisation, at);
        event.object.patient = Some(Phi::new(survivor.key));
        self.commit(Batch::default(), event).await?;
        let count_max = count_max.clamp(1, AUDIT_PAGE_COUNT_MAX);
        let mut all = Vec::new();
        // Of each number no more than so many: what is before the oldest of a full part comes with
        // the next.
        let mut whole_from = 0;
        for key in self.keys_of(&survivor).await? {
            let trail = self.audit_trail();
            let records = trail.of_patient(key, before, AUDIT_PAGE_COUNT_MAX).await?;
            if let Some(last) = records
                .last()
                .filter(|_| records.len() == AUDIT_PAGE_COUNT_MAX)
            {
                whole_from = last.number.max(whole_from);
            }
            all.extend(records);
        }
        all.retain(|record| record.number >= whole_from);
        all.sort_by_key(|record| std::cmp::Reverse(record.number));
        all.dedup_by_key(|record| record.number);
        let mut next = (whole_from > 0).then_some(whole_from);
        let is_meant = |record: &AuditRecord| {
            let of = record.event.actor.organisation;
            is_seeing(record.event.act) && organisation.is_none_or(|own| of == Some(own))
        };
        all.retain(is_meant);
        if all.len() > count_max {
            all.truncate(count_max);
            next = all.last().map(|last| last.number);
        }
        Ok(Witnesses { records: all, next })
    }
}

/// Whether whoever does it sees something of the patient.
const fn is_seeing(act: Act) -> bool {
    matches!(
        act,
        Act::AuditRead
            | Act::BreakGlassStarted
            | Act::Exported
            | Act::ImagesSent
            | Act::ImagesViewed
            | Act::PatientRead
            | Act::Queried
            | Act::RegisterAsked
            | Act::ReportSent
            | Act::TransferBegun
    )
}
