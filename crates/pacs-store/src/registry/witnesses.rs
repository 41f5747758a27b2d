//! «Кто смотрел мои данные»: records of the audit trail about a patient, and who saw their data.
//!
//! A patient has several numbers where others went into theirs. Records are about the numbers that
//! were asked for when they were made, and about whoever has them now. Where a merge was undone
//! each has their own again; whoever went back is told besides what was done with the other number
//! in between, when theirs was shown with it, and that it was so.

use super::audit::AuditRecord;
use super::batch::Batch;
use super::commit::agent_event;
use super::patients::{HistoryEntry, What, key_of};
use super::{Moment, Registry, RegistryError};
use crate::limits::{AUDIT_PAGE_COUNT_MAX, PATIENT_HISTORY_MAX};
use pacs_core::Phi;
use pacs_core::audit::Act;
use pacs_core::patient::PatientKey;
use pacs_core::role::{Licence, duty::AuditRead};

/// A record about somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The record.
    pub record: AuditRecord,
    /// The number that the patient had gone into when it was made, by a merge that was undone
    /// since: it is about whoever has that number, and may be about them as well.
    pub while_merged_into: Option<PatientKey>,
}

/// A part of the audit trail.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditPage {
    /// Records, newest first.
    pub records: Vec<About>,
    /// Records before this one come next; `None` after the last.
    pub next: Option<u64>,
}

/// When a patient had gone into another.
#[derive(Debug, Clone, Copy)]
struct Span {
    into: PatientKey,
    from: Moment,
    until: Moment,
}

/// The numbers under which records are about a patient.
#[derive(Debug, Default)]
struct Numbers {
    own: Vec<PatientKey>,
    spans: Vec<Span>,
}

impl Numbers {
    /// All of them.
    fn all(&self) -> Vec<PatientKey> {
        let others = self.spans.iter().map(|span| span.into);
        self.own.iter().copied().chain(others).collect()
    }

    /// The record, where it is about the patient.
    fn about(&self, record: AuditRecord) -> Option<About> {
        let event = &record.event;
        let is_own = event.patients().any(|of| self.own.contains(&of));
        let mut spans = self.spans.iter();
        let span = spans.find(|span| {
            let is_within = span.from <= event.at && event.at <= span.until;
            is_within && event.patients().any(|of| of == span.into)
        });
        let while_merged_into = span.filter(|_| !is_own).map(|span| span.into);
        (is_own || while_merged_into.is_some()).then_some(About {
            record,
            while_merged_into,
        })
    }
}

impl Registry {
    /// Up to `count_max` records before the record `before`, newest first: of all the trail, or
    /// about a patient, by whatever number. A part may have fewer than it could. Who reads is for
    /// the caller to record.
    ///
    /// # Errors
    /// [`RegistryError::Damaged`], [`RegistryError::Backend`].
    pub async fn audit_page(
        &self,
        patient: Option<PatientKey>,
        (before, count_max): (Option<u64>, usize),
    ) -> Result<AuditPage, RegistryError> {
        let count_max = count_max.clamp(1, AUDIT_PAGE_COUNT_MAX);
        let trail = self.audit_trail();
        let numbers = match patient {
            None => None,
            Some(patient) => Some(self.numbers_of(patient).await?),
        };
        let found = match &numbers {
            None => trail.page(before, count_max).await?,
            Some(numbers) => {
                let all = numbers.all();
                trail.of_patients(&all, before, count_max).await?
            }
        };
        let is_full = found.len() == count_max;
        let next = found.last().map(|last| last.number).filter(|_| is_full);
        let records = found.into_iter().filter_map(|record| match &numbers {
            None => Some(About {
                record,
                while_merged_into: None,
            }),
            Some(numbers) => numbers.about(record),
        });
        Ok(AuditPage {
            records: records.collect(),
            next,
        })
    }

    /// Who saw the data of `patient`, by whatever number: newest first, before the record `before`.
    /// A licence of one organisation shows what its own people and devices did. That this was asked
    /// is recorded itself. A part may have fewer than it could.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn who_saw(
        &self,
        licence: &Licence<AuditRead>,
        patient: PatientKey,
        (before, count_max): (Option<u64>, usize),
        at: Moment,
    ) -> Result<AuditPage, RegistryError> {
        let survivor = self.survivor(patient).await?.value;
        let organisation = licence.organisation();
        let mut event = agent_event(Act::AuditRead, licence.agent(), organisation, at);
        event.object.patient = Some(Phi::new(survivor.key));
        self.commit(Batch::default(), event).await?;
        let whole = (before, AUDIT_PAGE_COUNT_MAX);
        let mut page = self.audit_page(Some(patient), whole).await?;
        page.records.retain(|about| {
            let event = &about.record.event;
            let of = event.actor.organisation;
            is_seeing(event.act) && organisation.is_none_or(|own| of == Some(own))
        });
        let count_max = count_max.clamp(1, AUDIT_PAGE_COUNT_MAX);
        if page.records.len() > count_max {
            page.records.truncate(count_max);
            page.next = page.records.last().map(|last| last.record.number);
        }
        Ok(page)
    }

    async fn numbers_of(&self, patient: PatientKey) -> Result<Numbers, RegistryError> {
        let own = match self.survivor(patient).await {
            Ok(survivor) => self.keys_of(&survivor.value).await?,
            // Nobody learns whether there is such a number.
            Err(RegistryError::NotFound { .. }) => vec![patient],
            Err(error) => return Err(error),
        };
        let mut spans = Vec::new();
        let mut left = PATIENT_HISTORY_MAX;
        for key in &own {
            let prefix = format!("{}/", key_of(*key));
            let entries = self.list::<HistoryEntry>(&prefix, None, left).await?;
            left = left.saturating_sub(entries.len());
            let mut gone = None;
            for entry in entries {
                let HistoryEntry { at, what, .. } = entry.value;
                match what {
                    What::Merged(_) => gone = Some(at),
                    What::Unmerged(into) => spans.extend(gone.take().map(|from| Span {
                        into,
                        from,
                        until: at,
                    })),
                    What::Absorbed(_) | What::Changed | What::Registered | What::Released(_) => {}
                }
            }
        }
        spans.retain(|span| !own.contains(&span.into));
        Ok(Numbers { own, spans })
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
            | Act::ReportRead
            | Act::ReportSent
            | Act::TransferBegun
    )
}
