//! Has the index say of studies what the registry knows: follows the audit trail, which tells of
//! every change, and notes anew what a change is about.
//!
//! Whoever searches therefore finds what was corrected, and sees what they may, without a look into
//! the registry for each study; some milliseconds after a change at the latest. Bytes that go out
//! are corrected by what the registry says at that moment.

use crate::access::SystemMay;
use crate::directory::Directory;
use crate::limits::{NOTES_LOOK_EVERY, NOTES_PAGE_COUNT, NOTES_RETRY_DURATION};
use crate::overlays::overlay_of;
use pacs_core::access::{Maintain, permit};
use pacs_core::audit::{Act, AuditEvent};
use pacs_core::examination::Status;
use pacs_core::instance::level_of;
use pacs_core::role::sight::{Examined, StudyFacts};
use pacs_core::role::{Agent, Licence, Unlicensed, duty::Reconcile};
use pacs_core::uid::StudyUid;
use pacs_core::{Action, Caller, Denied, Permit};
use pacs_store::Archive;
use pacs_store::index::{IndexError, Notes, StudyNote};
use pacs_store::registry::audit::{AuditError, AuditRecord};
use pacs_store::registry::examinations::{BoundStudy, KnownStudy};
use pacs_store::registry::{Registry, RegistryError};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why notes are not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotesError {
    /// The trail cannot be read.
    #[error("the audit trail could not be followed")]
    Audit(#[from] AuditError),
    /// The policy does not let the archive itself do it.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The index takes none.
    #[error("what is known of studies could not be noted")]
    Index(#[from] IndexError),
    /// The registry cannot be read.
    #[error("the registry could not be asked")]
    Registry(#[from] RegistryError),
    /// The table of roles does not let the archive itself do it.
    #[error(transparent)]
    Unlicensed(#[from] Unlicensed),
}

/// Takes notes of studies.
#[derive(Debug)]
pub struct NoteTaker {
    archive: Archive,
    registry: Registry,
    directory: Directory,
    permit: Permit<Maintain>,
    licence: Licence<Reconcile>,
    /// Up to here there is nothing to note: not each search that is recorded has the index write.
    passed: AtomicU64,
}

impl NoteTaker {
    /// For `archive`; what changes of organisations and devices is learnt by `directory`.
    ///
    /// # Errors
    /// [`NotesError`].
    pub fn new(archive: &Archive, directory: Directory) -> Result<Self, NotesError> {
        let caller = Caller::System { task: "notes" };
        Ok(Self {
            archive: archive.clone(),
            registry: archive.registry(),
            directory,
            permit: permit(&SystemMay(&[Action::Maintain]), caller)?,
            licence: Agent::system("notes").national_licence()?,
            passed: AtomicU64::new(0),
        })
    }

    /// Takes notes until the task is dropped.
    pub async fn follow(self) {
        let mut appended = self.registry.audit_trail().appended();
        loop {
            match self.catch_up().await {
                Ok(()) => {
                    // Another process may append, too.
                    tokio::time::timeout(NOTES_LOOK_EVERY, appended.changed())
                        .await
                        .ok();
                }
                Err(error) => {
                    let error = crate::tool::failure::chain(&error);
                    tracing::warn!(error, "what is known of studies cannot be noted now");
                    tokio::time::sleep(NOTES_RETRY_DURATION).await;
                }
            }
        }
    }

    /// Notes whatever changed since the last time; everything where nothing is noted yet.
    ///
    /// # Errors
    /// [`NotesError`].
    pub async fn catch_up(&self) -> Result<(), NotesError> {
        let trail = self.registry.audit_trail();
        let mut through = self.archive.notes_through(&self.permit).await?;
        if through == 0 {
            through = self.begin().await?;
        }
        through = through.max(self.passed.load(Ordering::Relaxed));
        loop {
            let records = trail.after(through, NOTES_PAGE_COUNT).await?;
            let Some(last) = records.last() else {
                return Ok(());
            };
            through = last.number;
            if records.iter().any(is_of_devices) {
                self.directory.learn(&self.registry).await?;
            }
            let mut studies = BTreeSet::new();
            for event in records.iter().map(|record| &record.event) {
                self.touched(event, &mut studies).await?;
            }
            if !studies.is_empty() {
                self.note(studies, through).await?;
            }
            self.passed.store(through, Ordering::Relaxed);
        }
    }

    /// Notes all that is known; how far the trail was before.
    async fn begin(&self) -> Result<u64, NotesError> {
        self.directory.learn(&self.registry).await?;
        let anchor = self.registry.audit_trail().anchor().await?;
        let through = anchor.map_or(0, |anchor| anchor.number);
        let mut after: Option<StudyUid> = None;
        loop {
            let page = self
                .registry
                .decided_studies(&self.licence, after.as_ref(), NOTES_PAGE_COUNT)
                .await?;
            after = page.last().cloned();
            let is_last = page.len() < NOTES_PAGE_COUNT;
            // Of a part alone nothing is said to be whole.
            let so_far = if is_last { through } else { 0 };
            self.note(page.into_iter().collect(), so_far).await?;
            if is_last {
                return Ok(through);
            }
        }
    }

    /// Adds the studies that an event may have changed.
    async fn touched(
        &self,
        event: &AuditEvent,
        studies: &mut BTreeSet<StudyUid>,
    ) -> Result<(), NotesError> {
        if !may_change(event.act) {
            return Ok(());
        }
        let object = &event.object;
        studies.extend(object.studies.iter().map(|touched| touched.study.clone()));
        if let Some(id) = object.examination {
            let of_it = self.registry.studies_of_examination(&self.licence, id);
            studies.extend(of_it.await?);
        }
        for patient in event.patients() {
            let of_them = self.registry.studies_of_patient(&self.licence, patient);
            studies.extend(of_them.await?);
        }
        Ok(())
    }

    async fn note(&self, studies: BTreeSet<StudyUid>, through: u64) -> Result<(), NotesError> {
        let mut notes = Notes {
            of_studies: Vec::with_capacity(studies.len()),
            through,
        };
        for study in studies {
            let known = match self.registry.known_study(&self.licence, &study).await {
                Ok(known) => known,
                Err(error @ RegistryError::Backend(_)) => return Err(error.into()),
                Err(error) => {
                    // Nobody but those who sent it see it then.
                    tracing::error!(%error, %study, "what is known of a study cannot be read");
                    None
                }
            };
            let note = known.as_ref().map(note_of).unwrap_or_default();
            notes.of_studies.push((study, note));
        }
        Ok(self.archive.note(&self.permit, notes).await?)
    }
}

/// Whether an act can change what is known of studies. Looking at them cannot, however often.
const fn may_change(act: Act) -> bool {
    !matches!(
        act,
        Act::ApplicationStarted
            | Act::ApplicationStopped
            | Act::AuditRead
            | Act::AuditRecordingStarted
            | Act::AuditRecordingStopped
            | Act::BreakGlassReviewed
            | Act::BreakGlassStarted
            | Act::BreakGlassStopped
            | Act::Exported
            | Act::ImagesReceived
            | Act::ImagesReplaced
            | Act::ImagesSent
            | Act::ImagesViewed
            | Act::Imported
            | Act::NodeRefused
            | Act::PatientRead
            | Act::PreambleReplaced
            | Act::Queried
            | Act::RegisterAsked
            | Act::SignedIn
            | Act::SignedOut
            | Act::TrailSigned
            | Act::TransferBegun
    )
}

const fn is_of_devices(record: &AuditRecord) -> bool {
    matches!(
        record.event.act,
        Act::HardwareConfigured
            | Act::NetworkConfigured
            | Act::SecurityConfigured
            | Act::SoftwareConfigured
    )
}

/// What decides who sees a study; `None` where nobody knows whose it is.
pub(crate) fn facts_of(known: &KnownStudy) -> Option<StudyFacts> {
    let parts = known.parts.iter().map(|part| &part.bound);
    let all: Vec<&BoundStudy> = known.bound.iter().chain(parts).collect();
    let is_restricted = all.iter().any(|bound| bound.examination.is_restricted);
    // What is restricted stays so, whatever is in question.
    let is_sure = !known.is_in_question() || is_restricted;
    let named = named_for_all(&all);
    let mut all = all.into_iter().filter(|_| is_sure).map(|bound| Examined {
        is_restricted,
        ..examined(bound)
    });
    let examined = all.next();
    // Of nobody's device, and of no examination: it is as if it had just come.
    let performing = examined.as_ref().map(|examined| examined.performing);
    let organisation = known.study.organisation.or(performing);
    organisation.map(|organisation| StudyFacts {
        organisation,
        department: known.study.department.clone(),
        examined,
        others: all.collect(),
        named,
    })
}

fn note_of(known: &KnownStudy) -> StudyNote {
    // A row of a study says one patient.
    let patients = |bound: &BoundStudy| bound.patient.key;
    let of_rest = known.bound.as_ref().map(patients);
    let mut others = known.parts.iter();
    let is_of_one = others.all(|part| Some(patients(&part.bound)) == of_rest);
    let correction = match overlay_of(known) {
        Ok(overlay) => overlay
            .filter(|_| is_of_one)
            .map(|overlay| overlay.correction(|tag| level_of(tag).is_some())),
        Err(error) => {
            tracing::error!(%error, study = %known.study.study, "a study cannot be corrected");
            None
        }
    };
    StudyNote {
        correction: correction.unwrap_or_default(),
        facts: facts_of(known),
    }
}

/// Who is named for each that is restricted, of those that one study is of.
fn named_for_all(all: &[&BoundStudy]) -> Vec<String> {
    let restricted = all.iter().map(|bound| &bound.examination);
    let mut restricted = restricted.filter(|one| one.is_restricted);
    let Some(first) = restricted.next() else {
        return Vec::new();
    };
    let rest: Vec<_> = restricted.collect();
    let is_everywhere = |name: &&String| rest.iter().all(|one| one.named.contains(name));
    first.named.iter().filter(is_everywhere).cloned().collect()
}

fn examined(bound: &BoundStudy) -> Examined {
    let examination = &bound.examination;
    Examined {
        patient: bound.patient.key,
        performing: examination.performing,
        ordering: examination.ordering,
        requester: examination.requester.clone(),
        is_delivered: examination.status() == Status::Delivered,
        assigned_to: examination.assigned_to.clone(),
        pool: examination.pool.clone(),
        kind: Some(examination.order.kind.clone()),
        performing_department: examination.order.performing_department.clone(),
        ordering_department: examination.order.ordering_department.clone(),
        is_restricted: examination.is_restricted,
        tied_until: bound.tied_until.clone(),
    }
}
