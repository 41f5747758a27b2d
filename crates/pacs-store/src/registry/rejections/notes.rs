//! Rejection notes that came: what a device, or somebody at one, would like to be rejected. They
//! are kept as any instance, and change nothing; a person follows them or does not.

use super::super::batch::Batch;
use super::super::commit::agent_event;
use super::super::document::Document;
use super::super::{Moment, Refusal, Registry, RegistryError, Stored};
use super::document::scope;
use super::listing::pointed_at;
use super::{Opened, RejectionId, Turned, unlicensed};
use crate::limits::REJECTIONS_PAGE_MAX;
use crate::records::{Kind, Revision};
use pacs_core::audit::{Act, AuditEvent, Outcome, StudyTouched};
use pacs_core::examination::Reason;
use pacs_core::rejection::{Asked, Quality, Rejected, Title, may_reject, may_restore, may_see};
use pacs_core::role::{Agent, AgentKind, Permission};
use pacs_core::uid::StudyUid;
use pacs_core::{OrganisationCode, SopInstanceUid};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Notes that nobody has looked at, by organisation, newest first.
const WAITING: Kind = Kind::new("rejection-note-waiting");

/// What became of a note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoteState {
    /// Somebody looked at it, and nothing is rejected.
    Dismissed(Turned),
    /// Somebody rejected what it names, or brought it back.
    Followed {
        /// By these rejections.
        rejections: Vec<RejectionId>,
        /// Who.
        by: String,
        /// When.
        at: Moment,
    },
    /// Nobody has looked at it.
    Waiting,
}

/// A note that came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredNote {
    /// The instance that it is.
    pub instance: SopInstanceUid,
    /// The study that it stands in.
    pub study: StudyUid,
    /// Who sent it: an AE title, the name of a token.
    pub sender: String,
    /// Whose device that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organisation: Option<OrganisationCode>,
    /// When it came.
    pub received_at: Moment,
    /// What it asks for.
    pub asked: Asked,
    /// What is wrong with them, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<Quality>,
    /// What it names, series by series.
    pub rejected: Vec<Rejected>,
    /// Instances that it names besides.
    #[serde(default)]
    pub left_out_count: u64,
    /// What became of it.
    pub state: NoteState,
}

impl Document for StoredNote {
    const KIND: Kind = Kind::new("rejection-note");
    const NAME: &'static str = "rejection note";
}

/// A note, as it comes.
pub type ReceivedNote = StoredNote;

/// A part of the notes that wait.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NotePage {
    /// They, newest first.
    pub notes: Vec<Stored<StoredNote>>,
    /// Where the next part begins; `None` after the last.
    pub next: Option<String>,
}

impl StoredNote {
    /// What it would be rejected for; bringing back is for those who may see anything.
    const fn title(&self) -> Title {
        match self.asked {
            Asked::Reject(title) => title,
            Asked::Restore => Title::PatientSafety,
        }
    }

    /// The keys by which it is found, as long as it waits.
    fn keys(&self) -> BTreeSet<(Kind, String)> {
        match self.state {
            NoteState::Waiting => BTreeSet::from([(WAITING, self.key())]),
            NoteState::Dismissed(_) | NoteState::Followed { .. } => BTreeSet::new(),
        }
    }

    fn key(&self) -> String {
        let unix_ms = u64::try_from(self.received_at.timestamp_millis()).unwrap_or(0);
        let newest_first = u64::MAX.saturating_sub(unix_ms);
        let uid = self.instance.as_str();
        format!("{}/{newest_first:016x}/{uid}", scope(self.organisation))
    }
}

impl Registry {
    /// Keeps a note that came, with a record that it was ignored. One that is kept already stays as
    /// it is.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn keep_note(&self, note: &ReceivedNote) -> Result<bool, RegistryError> {
        let uid = note.instance.as_str();
        if self.find::<StoredNote>(uid).await?.is_some() {
            return Ok(false);
        }
        let mut batch = Batch::default();
        batch.main(uid, note, None)?;
        batch.point(WAITING, &note.key(), uid, None);
        let mut sender = Agent::new(AgentKind::Device, &note.sender, Default::default());
        sender.correlation = Some(uid.to_owned());
        let mut event = AuditEvent::by(Act::ImagesRejected, note.received_at, &sender);
        event.actor.organisation = note.organisation;
        event.outcome = Outcome::MinorFailure;
        event.reason = Some("IGNORED".to_owned());
        let mut studies: BTreeMap<&StudyUid, Vec<SopInstanceUid>> = BTreeMap::new();
        for of_series in &note.rejected {
            let named = studies.entry(&of_series.study).or_default();
            named.extend_from_slice(&of_series.instances);
        }
        let touched = studies.into_iter().map(|(study, instances)| StudyTouched {
            study: study.clone(),
            sop_class: None,
            instances_count: instances.len() as u64,
            instances,
        });
        event.object.studies = touched.collect();
        match self.commit(batch, event).await {
            // Somebody kept it in between.
            Err(RegistryError::Changed) => Ok(false),
            other => other.map(|_| true),
        }
    }

    /// A note, for whoever may judge it; for others it is not there.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`]; [`RegistryError`] otherwise.
    pub async fn note(
        &self,
        agent: &Agent,
        instance: &SopInstanceUid,
    ) -> Result<Stored<StoredNote>, RegistryError> {
        let found = self.read::<StoredNote>(instance.as_str()).await?;
        if may_see(agent, found.value.organisation, found.value.title()) {
            return Ok(found);
        }
        Err(RegistryError::NotFound {
            what: StoredNote::NAME,
        })
    }

    /// The same; the audit record has who opened it.
    ///
    /// # Errors
    /// As [`Registry::note`].
    pub async fn open_note(
        &self,
        agent: &Agent,
        instance: &SopInstanceUid,
        at: Moment,
    ) -> Result<Stored<StoredNote>, RegistryError> {
        let found = self.note(agent, instance).await?;
        let opened = Opened {
            what: format!("rejection note {}", instance.as_str()),
            study: &found.value.study,
            organisation: found.value.organisation,
            examination: None,
            patient: None,
        };
        self.note_opened(agent, opened, at).await?;
        Ok(found)
    }

    /// Notes of an organisation that nobody has looked at, newest first, as far as `agent` may see
    /// them. The audit record has who looked.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn waiting_notes(
        &self,
        agent: &Agent,
        organisation: Option<OrganisationCode>,
        cursor: Option<&str>,
        count_max: usize,
        at: Moment,
    ) -> Result<NotePage, RegistryError> {
        let what = format!("rejection notes of {}", scope(organisation));
        self.note_look(agent, (organisation, what), at).await?;
        let prefix = format!("{}/", scope(organisation));
        let count_max = count_max.clamp(1, REJECTIONS_PAGE_MAX);
        let after = cursor.map(|cursor| format!("{prefix}{cursor}"));
        let records = self
            .records()
            .list(WAITING, &prefix, after.as_deref(), count_max)
            .await?;
        let mut page = NotePage::default();
        if records.len() == count_max {
            let last = records.last().and_then(|last| last.key.get(prefix.len()..));
            page.next = last.map(str::to_owned);
        }
        for record in &records {
            let found = self.read::<StoredNote>(&pointed_at(record)?).await?;
            if may_see(agent, found.value.organisation, found.value.title()) {
                page.notes.push(found);
            }
        }
        Ok(page)
    }

    /// Says what became of a note that waits.
    ///
    /// # Errors
    /// [`RegistryError::Unlicensed`] for whoever may not reject for that; [`Refusal::TooLate`] for
    /// one that does not wait; [`RegistryError::Changed`]; [`RegistryError`].
    pub async fn settle_note(
        &self,
        agent: &Agent,
        (instance, expected): (&SopInstanceUid, Option<Revision>),
        state: NoteState,
        at: Moment,
    ) -> Result<Stored<StoredNote>, RegistryError> {
        let before = self.note_to_judge(agent, instance, expected).await?;
        let note = &before.value;
        if note.state != NoteState::Waiting {
            return Err(Refusal::TooLate.into());
        }
        self.turn_note(agent, &before, state, at).await
    }

    /// Has a note that was dismissed wait again.
    ///
    /// # Errors
    /// As [`Registry::settle_note`]; [`Refusal::TooLate`] for one that was not dismissed.
    pub async fn reopen_note(
        &self,
        agent: &Agent,
        (instance, expected): (&SopInstanceUid, Option<Revision>),
        at: Moment,
    ) -> Result<Stored<StoredNote>, RegistryError> {
        let before = self.note_to_judge(agent, instance, expected).await?;
        if !matches!(before.value.state, NoteState::Dismissed(_)) {
            return Err(Refusal::TooLate.into());
        }
        self.turn_note(agent, &before, NoteState::Waiting, at).await
    }

    /// A note, for whoever may do what it asks for.
    async fn note_to_judge(
        &self,
        agent: &Agent,
        instance: &SopInstanceUid,
        expected: Option<Revision>,
    ) -> Result<Stored<StoredNote>, RegistryError> {
        let found = self.note(agent, instance).await?;
        let note = &found.value;
        let may = match note.asked {
            Asked::Reject(title) => may_reject(agent, note.organisation, title),
            Asked::Restore => may_restore(agent, note.organisation),
        };
        if !may {
            return Err(unlicensed(Permission::ImageReject));
        }
        if expected.is_some_and(|expected| expected != found.revision) {
            return Err(RegistryError::Changed);
        }
        Ok(found)
    }

    async fn turn_note(
        &self,
        agent: &Agent,
        before: &Stored<StoredNote>,
        state: NoteState,
        at: Moment,
    ) -> Result<Stored<StoredNote>, RegistryError> {
        let note = &before.value;
        let instance = &note.instance;
        let mut after = note.clone();
        after.state = state;
        let mut batch = Batch::default();
        batch.main(instance.as_str(), &after, Some(before))?;
        self.reindex(&mut batch, &note.keys(), &after.keys(), instance.as_str())
            .await?;
        let mut event = agent_event(Act::ImagesChanged, agent, note.organisation, at);
        let reason = match after.state {
            NoteState::Dismissed(_) => "NOTE_DISMISSED",
            NoteState::Followed { .. } => "NOTE_FOLLOWED",
            NoteState::Waiting => "NOTE_REOPENED",
        };
        event.reason = Some(reason.to_owned());
        event.object.studies = vec![StudyTouched {
            study: note.study.clone(),
            sop_class: None,
            instances_count: 1,
            instances: vec![instance.clone()],
        }];
        let revisions = self.commit(batch, event).await?;
        let revision = revisions.first().copied().ok_or(RegistryError::Changed)?;
        Stored::of(after, revision)
    }

    /// «Отклонить» a proposal: nothing is rejected.
    ///
    /// # Errors
    /// As [`Registry::settle_note`].
    pub async fn dismiss_note(
        &self,
        agent: &Agent,
        note: (&SopInstanceUid, Option<Revision>),
        reason: Reason,
        at: Moment,
    ) -> Result<Stored<StoredNote>, RegistryError> {
        let by = agent.name.clone();
        let state = NoteState::Dismissed(Turned { by, at, reason });
        self.settle_note(agent, note, state, at).await
    }
}
