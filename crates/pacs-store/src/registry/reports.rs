//! Reports: drafts, the versions that were signed, and who was sent them.
//!
//! A draft is its writer's alone. A version is written with the event that signs it, in one batch
//! with the record of who did, and never changes; that its document is to be in the archive is
//! written there too, so that a crash in between costs nothing. What an organisation was sent is
//! the version of the time, until the next is sent.

mod delivering;
mod reading;
mod revising;
mod signing;

pub use delivering::{Delivery, DeliveryPage, Opening, Recipients};
pub use reading::ReportShown;
pub use revising::Revising;
pub use signing::Signing;

use super::accounts::{AccountStore, User};
use super::batch::Batch;
use super::commit::agent_event;
use super::document::{Document, encode};
use super::examinations::{Examination, GONE_ON_EVERY};
use super::{Moment, Refusal, Registry, RegistryError, Stored};
use crate::limits::REPORT_VERSIONS_MAX;
use crate::records::{Change, Kind, Revision as State};
use pacs_core::audit::{Act, AuditEvent, StudyTouched};
use pacs_core::examination::progress::{Guard, Revision};
use pacs_core::examination::{Reason, Status};
use pacs_core::report::ReportText;
use pacs_core::role::{Agent, Licence, duty::Reconcile};
use pacs_core::uid::{SeriesUid, StudyUid};
use pacs_core::{ExaminationId, Phi, SopInstanceUid};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Versions whose document is not in the archive yet.
const OWED: Kind = Kind::new("report-document-owed");

/// A draft of a report: what somebody wrote and has not signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportDraft {
    /// What it says so far.
    pub text: ReportText,
    /// The version that it changes; 0: there was none.
    pub based_on: u32,
    /// What it is of that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// Why that one is taken up again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// When it was written last.
    pub changed_at: Moment,
}

impl Document for ReportDraft {
    const KIND: Kind = Kind::new("report-draft");
    const NAME: &'static str = "draft of a report";
}

/// A version of a report, as it was signed. `Debug` does not show what it says.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportVersion {
    /// Of which examination.
    pub examination: ExaminationId,
    /// Which version, from 1 on.
    pub number: u32,
    /// What it is of the one before; `None`: the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// Why the one before was taken up again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// What it says.
    pub text: ReportText,
    /// The user who signed it.
    pub author: String,
    /// What they were called then.
    pub author_name: String,
    /// When.
    pub signed_at: Moment,
    /// The study that its document is in.
    pub study: StudyUid,
    /// The series there, of all its versions.
    pub series: SeriesUid,
    /// The document of this version.
    pub instance: SopInstanceUid,
}

impl Document for ReportVersion {
    const KIND: Kind = Kind::new("report-version");
    const NAME: &'static str = "version of a report";
}

impl fmt::Debug for ReportVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (examination, number) = (self.examination, self.number);
        write!(f, "version {number} of the report of {examination}")
    }
}

impl ReportVersion {
    fn key(&self) -> String {
        version_key(self.examination, self.number)
    }
}

impl Stored<ReportVersion> {
    /// The digest (BLAKE3, in hexadecimal) of what was signed, as the audit record has it in which
    /// it was.
    #[must_use]
    pub fn digest_signed(&self) -> String {
        self.digest.to_string()
    }
}

fn version_key(id: ExaminationId, number: u32) -> String {
    format!("{id}/{number:04}")
}

fn draft_key(id: ExaminationId, user: &str) -> String {
    format!("{id}/{user}")
}

/// The record of something that `agent` does with a report.
fn told(act: Act, agent: &Agent, examination: &Examination, at: Moment) -> AuditEvent {
    let mut event = agent_event(act, agent, Some(examination.performing), at);
    event.object.patient = Some(Phi::new(examination.patient));
    event.object.examination = Some(examination.id);
    event
}

impl Registry {
    /// The versions of a report, oldest first.
    async fn report_versions(
        &self,
        id: ExaminationId,
    ) -> Result<Vec<Stored<ReportVersion>>, RegistryError> {
        self.list(&format!("{id}/"), None, REPORT_VERSIONS_MAX)
            .await
    }

    /// Whether `agent` is who signed the version that stands, or that one's account is in use no
    /// more: then it is whoever else signs reports there.
    async fn answers_for(
        &self,
        agent: &Agent,
        version: &ReportVersion,
    ) -> Result<bool, RegistryError> {
        if version.author == agent.name {
            return Ok(true);
        }
        let accounts = AccountStore::new(self.audit_trail());
        let author = accounts.get::<User>(&version.author).await?;
        Ok(author.is_none_or(|author| author.value.is_disabled))
    }

    /// Who signed the version that stands.
    pub(super) async fn author_of_report(
        &self,
        id: ExaminationId,
    ) -> Result<Option<String>, RegistryError> {
        let versions = self.report_versions(id).await?;
        Ok(versions
            .into_iter()
            .last()
            .map(|version| version.value.author))
    }

    /// Whether `agent` may say of the report of an examination what its author may.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn is_author_of_report(
        &self,
        agent: &Agent,
        id: ExaminationId,
    ) -> Result<bool, RegistryError> {
        let versions = self.report_versions(id).await?;
        match versions.last() {
            Some(version) => self.answers_for(agent, &version.value).await,
            None => Ok(false),
        }
    }

    /// Keeps what `agent` wrote of a report that they have in work; `expected` is the state of the
    /// draft that they saw, `None` where they saw none. Whoever writes goes on reading.
    ///
    /// # Errors
    /// [`Guard::NotHolder`] of [`Refusal::Transition`] for whoever does not have it in work;
    /// [`Refusal::Unfit`] for a text that no report can have, and for an addendum that changes what
    /// was signed; [`RegistryError::Changed`]; [`RegistryError`].
    pub async fn save_report_draft(
        &self,
        agent: &Agent,
        id: ExaminationId,
        (text, expected): (&ReportText, Option<State>),
        at: Moment,
    ) -> Result<Stored<ReportDraft>, RegistryError> {
        let text = checked(text)?;
        let _turn = self.turn().await;
        let held = self.held(agent, id).await?;
        let before = self
            .find::<ReportDraft>(&draft_key(id, &agent.name))
            .await?;
        if before.as_ref().map(|before| before.revision) != expected {
            return Err(RegistryError::Changed);
        }
        let versions = self.report_versions(id).await?;
        let standing = versions.last().map(|version| &version.value);
        let revision = held.value.progress.revision();
        if let (Some(Revision::Addendum), Some(standing)) = (revision, standing)
            && !text.has_sections_of(&standing.text)
        {
            return Err(Refusal::Unfit { what: "addendum" }.into());
        }
        let reason = before
            .as_ref()
            .and_then(|before| before.value.reason.clone());
        let draft = ReportDraft {
            text,
            based_on: standing.map_or(0, |standing| standing.number),
            revision,
            reason,
            changed_at: at,
        };
        self.put_draft(agent, (&held, before.as_ref()), draft, at)
            .await
    }

    async fn put_draft(
        &self,
        agent: &Agent,
        (held, before): (&Stored<Examination>, Option<&Stored<ReportDraft>>),
        draft: ReportDraft,
        at: Moment,
    ) -> Result<Stored<ReportDraft>, RegistryError> {
        let id = held.value.id;
        let key = draft_key(id, &agent.name);
        let expected = before.map(|before| before.revision);
        let lock = held.value.lock.as_ref();
        let last = lock.map_or(at, |lock| lock.at).max(held.value.changed_at);
        if at < last + GONE_ON_EVERY {
            // A draft is nobody's affair but its writer's: that it grows is not recorded.
            let changes = vec![
                Change::put(ReportDraft::KIND, &key, encode(&draft)?, expected),
                Change::keep(Examination::KIND, id.to_string(), held.revision),
            ];
            let states = self.records().apply(changes).await?;
            let state = states.first().copied().ok_or(RegistryError::Changed)?;
            return Stored::of(draft, state);
        }
        let mut batch = Batch::default();
        let mut after = held.value.clone();
        after.changed_at = at;
        let event = told(Act::ReadingContinued, agent, &after, at);
        self.put_examination(&mut batch, Some(held), after, Vec::new())
            .await?;
        let place = batch.changes.len();
        batch.put(&key, &draft, expected)?;
        let states = self.commit(batch, event).await?;
        let state = states.get(place).copied().ok_or(RegistryError::Changed)?;
        Stored::of(draft, state)
    }

    /// The examination, if `agent` has it in work.
    async fn held(
        &self,
        agent: &Agent,
        id: ExaminationId,
    ) -> Result<Stored<Examination>, RegistryError> {
        let held = self.examination_of_id(id).await?;
        if agent
            .actors_at(held.value.performing, held.value.work())
            .is_empty()
            || held.value.is_kept_from(agent)
        {
            return Err(RegistryError::NotFound {
                what: "examination",
            });
        }
        let lock = held.value.lock.as_ref();
        let holds = lock.is_some_and(|lock| lock.by == agent.name);
        if holds && held.value.status() == Status::UnderReview {
            return Ok(held);
        }
        Err(Refusal::Transition(Guard::NotHolder.into()).into())
    }

    /// Refuses whoever does not have the examination in work whose report they would sign.
    ///
    /// # Errors
    /// As [`Registry::save_report_draft`].
    pub async fn report_in_work(
        &self,
        agent: &Agent,
        id: ExaminationId,
    ) -> Result<(), RegistryError> {
        self.held(agent, id).await.map(drop)
    }

    /// Versions whose documents are to be in the archive and are not, oldest examination first.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn owed_report_documents(
        &self,
        _licence: &Licence<Reconcile>,
        count_max: usize,
    ) -> Result<Vec<Stored<ReportVersion>>, RegistryError> {
        let mut owed = Vec::new();
        for record in self.records().list(OWED, "", None, count_max).await? {
            owed.push(self.read::<ReportVersion>(&record.key).await?);
        }
        Ok(owed)
    }

    /// The version before `version`; `None`: it is the first.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn version_before(
        &self,
        _licence: &Licence<Reconcile>,
        version: &ReportVersion,
    ) -> Result<Option<Stored<ReportVersion>>, RegistryError> {
        match version.number.checked_sub(1).filter(|number| *number > 0) {
            Some(number) => self.find(&version_key(version.examination, number)).await,
            None => Ok(None),
        }
    }

    /// Takes note that the document of a version is in the archive.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn note_report_document(
        &self,
        licence: &Licence<Reconcile>,
        version: &ReportVersion,
        at: Moment,
    ) -> Result<(), RegistryError> {
        let key = version.key();
        let Some(owed) = self.pointer(OWED, &key).await? else {
            return Ok(());
        };
        let examination = self.examination_of_id(version.examination).await?.value;
        let mut batch = Batch::default();
        batch.unpoint(OWED, &key, owed.revision);
        let mut event = told(Act::ImagesReceived, licence.agent(), &examination, at);
        event.object.studies = vec![StudyTouched {
            study: version.study.clone(),
            sop_class: None,
            instances_count: 1,
            instances: vec![version.instance.clone()],
        }];
        self.commit(batch, event).await.map(drop)
    }

    /// Waits until the document of a version is owed to the archive: for the one task that writes
    /// them. What is said when the call is cancelled is not lost.
    pub async fn report_signed(&self) {
        self.inner.report_signed.notified().await;
    }
}

fn checked(text: &ReportText) -> Result<ReportText, Refusal> {
    use pacs_core::report::TextError;
    text.clone().checked().map_err(|error| match error {
        TextError::Control(section) | TextError::TooLong(section) => Refusal::Unfit {
            what: section.name(),
        },
        _ => Refusal::Unfit { what: "report" },
    })
}
