//! «Restore to AE X»: studies that are sent back to a console or workstation, how far that is, and
//! the receipt of what was taken there, what was refused, and why.
//!
//! It is written down when it is asked for and again as it goes on, so that a restart goes on where
//! it was. Who asked and how it ended stand in the audit trail.

use super::batch::Batch;
use super::commit::agent_event;
use super::document::Document;
use super::examinations::Examination;
use super::rejections::{Belonging, Opened, RejectionId};
use super::{Moment, Refusal, Registry, RegistryError, Stored};
use crate::limits::{
    REGISTRY_ATTEMPTS_MAX, REJECTIONS_PAGE_MAX, SENDING_REFUSALS_LISTED_MAX, SENDINGS_OPEN_MAX,
};
use crate::records::{Kind, Revision};
use pacs_core::audit::{Act, AuditEvent, Outcome, StudyTouched};
use pacs_core::examination::reconcile::Kind as ImageKind;
use pacs_core::patient::PatientKey;
use pacs_core::rejection::{Images, may_send};
use pacs_core::role::{Agent, Permission, Unlicensed};
use pacs_core::uid::{SeriesUid, StudyUid};
use pacs_core::{AeTitle, DepartmentCode, OrganisationCode, Phi, SopInstanceUid};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Sendings that are not at their end.
const OPEN: Kind = Kind::new("sending-open");
/// Sendings of a study, newest first.
const OF_STUDY: Kind = Kind::new("sending-of-study");

/// Where a sending stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SendingState {
    /// Somebody broke it off.
    Cancelled,
    /// Everything was answered: taken, or refused.
    Done,
    /// The time for it is over.
    GivenUp,
    /// It waits for its turn, or goes on.
    Open,
}

/// An instance that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotTaken {
    /// Which.
    pub instance: SopInstanceUid,
    /// The status (0000,0900) of the answer, where one came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why, as the peer or this side says it.
    pub why: String,
}

/// A sending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sending {
    /// Its ID.
    pub id: RejectionId,
    /// Of which study.
    pub study: StudyUid,
    /// One series of it; `None`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<SeriesUid>,
    /// Whose the study was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organisation: Option<OrganisationCode>,
    /// The kinds of its images; of none, nobody knew them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub kinds: BTreeSet<ImageKind>,
    /// The department where they were made; `None`: nobody knew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub department: Option<DepartmentCode>,
    /// Whose images they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<PatientKey>,
    /// Where to.
    pub destination: AeTitle,
    /// Who asked.
    pub by: String,
    /// When.
    pub at: Moment,
    /// Where it stands.
    pub state: SendingState,
    /// Instances that were to be sent, as of the last attempt.
    pub instances_count: u64,
    /// Instances that were taken.
    pub taken_count: u64,
    /// Of those, with a reservation of the peer.
    pub warned_count: u64,
    /// Instances that were refused for good.
    pub refused_count: u64,
    /// Which they are, as far as they are listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<NotTaken>,
    /// Attempts that failed since something was taken.
    pub attempts_count: u32,
    /// Why the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// When something of it changed.
    pub changed_at: Moment,
    /// Documents with what was answered.
    chunks_count: u32,
}

impl Document for Sending {
    const KIND: Kind = Kind::new("sending");
    const NAME: &'static str = "sending";
}

/// Instances that were answered, taken or refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Answered {
    instances: Vec<SopInstanceUid>,
}

impl Document for Answered {
    const KIND: Kind = Kind::new("sending-answered");
    const NAME: &'static str = "answers of a sending";
}

/// What is to be sent, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSending {
    /// Of which study.
    pub study: StudyUid,
    /// One series of it; `None`: all.
    pub series: Option<SeriesUid>,
    /// Where to.
    pub destination: AeTitle,
    /// How many instances that are now.
    pub instances_count: u64,
    /// Tells two of the same moment apart.
    pub random: [u8; 8],
}

/// What came of a sending since it was written down last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answers {
    /// Taken; whether with a reservation.
    pub taken: Vec<(SopInstanceUid, bool)>,
    /// Refused for good.
    pub refused: Vec<NotTaken>,
}

impl Answers {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.taken.len().saturating_add(self.refused.len())
    }

    /// Whether nothing came.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Sending {
    fn keys(&self) -> BTreeSet<(Kind, String)> {
        let id = &self.id;
        let study = self.study.as_str();
        let mut keys = BTreeSet::from([(OF_STUDY, format!("{study}/{}", id.newest_first()))]);
        if self.state == SendingState::Open {
            keys.insert((OPEN, id.as_str().to_owned()));
        }
        keys
    }

    /// Whoever may send it sees it.
    fn is_seen_by(&self, agent: &Agent) -> bool {
        let images = Images::new(self.organisation, &self.kinds, self.department.as_ref());
        may_send(agent, images, self.organisation)
    }

    /// Adds what came.
    fn count(&mut self, answers: &Answers) {
        let warned = answers.taken.iter().filter(|(_, is_warned)| *is_warned);
        let add = |to: &mut u64, count: usize| *to = to.saturating_add(count as u64);
        add(&mut self.warned_count, warned.count());
        add(&mut self.taken_count, answers.taken.len());
        add(&mut self.refused_count, answers.refused.len());
        let left = SENDING_REFUSALS_LISTED_MAX.saturating_sub(self.refused.len());
        let listed = answers.refused.iter().take(left).cloned();
        self.refused.extend(listed);
    }
}

impl Registry {
    /// Whether `agent` may have a study sent to an AE.
    ///
    /// # Errors
    /// [`RegistryError::Unlicensed`] where not; [`RegistryError`].
    pub async fn sending_permitted(
        &self,
        agent: &Agent,
        study: &StudyUid,
        destination: &AeTitle,
    ) -> Result<(), RegistryError> {
        let belonging = self.belonging(study).await?;
        self.sending_of(agent, &belonging, destination).await
    }

    async fn sending_of(
        &self,
        agent: &Agent,
        belonging: &Belonging,
        destination: &AeTitle,
    ) -> Result<(), RegistryError> {
        let images = belonging.images();
        let of_destination = self.organisation_of_title(destination).await?;
        if may_send(agent, images, of_destination) {
            Ok(())
        } else {
            Err(unlicensed())
        }
    }

    /// Writes down that a study, or a series of it, is to be sent.
    ///
    /// # Errors
    /// [`RegistryError::Unlicensed`] for whoever may not send it there; [`Refusal::Exhausted`]
    /// where too much waits to be sent; [`RegistryError`].
    pub async fn order_sending(
        &self,
        agent: &Agent,
        new: &NewSending,
        at: Moment,
    ) -> Result<Stored<Sending>, RegistryError> {
        let belonging = self.belonging(&new.study).await?;
        self.sending_of(agent, &belonging, &new.destination).await?;
        let patient = match &belonging.examination {
            None => None,
            Some((id, _)) => {
                let examination = self.read::<Examination>(&id.to_string()).await?;
                Some(examination.value.patient)
            }
        };
        let open = self
            .records()
            .list(OPEN, "", None, SENDINGS_OPEN_MAX)
            .await?;
        if open.len() >= SENDINGS_OPEN_MAX {
            return Err(Refusal::Exhausted { what: "sendings" }.into());
        }
        let sending = Sending {
            id: RejectionId::new(at, new.random),
            study: new.study.clone(),
            series: new.series.clone(),
            organisation: belonging.organisation,
            kinds: belonging.kinds,
            department: belonging.department,
            patient,
            destination: new.destination.clone(),
            by: agent.name.clone(),
            at,
            state: SendingState::Open,
            instances_count: new.instances_count,
            taken_count: 0,
            warned_count: 0,
            refused_count: 0,
            refused: Vec::new(),
            attempts_count: 0,
            failure: None,
            changed_at: at,
            chunks_count: 0,
        };
        let mut batch = Batch::default();
        let id = sending.id.as_str();
        batch.main(id, &sending, None)?;
        for (kind, key) in sending.keys() {
            batch.point(kind, &key, id, None);
        }
        let event = told(Act::TransferBegun, agent, &sending, at);
        let revisions = self.commit(batch, event).await?;
        let revision = revisions.first().copied().ok_or(RegistryError::Changed)?;
        Stored::of(sending, revision)
    }

    /// Writes down how far a sending is: what was answered, and what it becomes. Its end is told in
    /// the audit trail.
    ///
    /// # Errors
    /// [`RegistryError::Changed`] where somebody broke it off; [`RegistryError`].
    pub async fn note_sending(
        &self,
        before: &Stored<Sending>,
        answers: &Answers,
        change: impl FnOnce(&mut Sending),
        at: Moment,
    ) -> Result<Stored<Sending>, RegistryError> {
        let system = Agent::system("sending");
        self.note_sending_by(&system, (before, answers), change, at)
            .await
    }

    /// As [`Self::note_sending`]; `agent` is who has it end.
    async fn note_sending_by(
        &self,
        agent: &Agent,
        (before, answers): (&Stored<Sending>, &Answers),
        change: impl FnOnce(&mut Sending),
        at: Moment,
    ) -> Result<Stored<Sending>, RegistryError> {
        let mut after = before.value.clone();
        after.count(answers);
        after.changed_at = at;
        change(&mut after);
        let mut batch = Batch::default();
        if !answers.is_empty() {
            let taken = answers.taken.iter().map(|(uid, _)| uid.clone());
            let refused = answers.refused.iter().map(|not| not.instance.clone());
            let chunk = Answered {
                instances: taken.chain(refused).collect(),
            };
            let key = format!("{}/{:08}", after.id, after.chunks_count);
            after.chunks_count = after.chunks_count.saturating_add(1);
            batch.put(&key, &chunk, None)?;
        }
        let mut all = Batch::default();
        let id = after.id.as_str().to_owned();
        all.main(&id, &after, Some(before))?;
        all.changes.extend(batch.changes);
        self.reindex(&mut all, &before.value.keys(), &after.keys(), &id)
            .await?;
        let is_end = after.state != SendingState::Open;
        let revisions = if is_end {
            let mut event = told(Act::ImagesSent, agent, &after, at);
            let is_whole = after.state == SendingState::Done && after.refused_count == 0;
            event.reason = match after.state {
                SendingState::Cancelled => Some("CANCELLED".to_owned()),
                SendingState::GivenUp => Some("GIVEN_UP".to_owned()),
                SendingState::Done | SendingState::Open => None,
            };
            event.outcome = if is_whole {
                Outcome::Success
            } else {
                Outcome::MinorFailure
            };
            if let Some(study) = event.object.studies.first_mut() {
                study.instances_count = after.taken_count;
            }
            self.commit(all, event).await?
        } else {
            let trail = self.audit_trail();
            trail.commit_all(all.changes, &[]).await?
        };
        let revision = revisions.first().copied().ok_or(RegistryError::Changed)?;
        Stored::of(after, revision)
    }

    /// Breaks a sending off; what was taken stays there.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`]; [`Refusal::TooLate`] for one that is at its end;
    /// [`RegistryError::Changed`]; [`RegistryError`].
    pub async fn cancel_sending(
        &self,
        agent: &Agent,
        (id, expected): (&RejectionId, Option<Revision>),
        at: Moment,
    ) -> Result<Stored<Sending>, RegistryError> {
        for _ in 0..REGISTRY_ATTEMPTS_MAX {
            match self.cancel_sending_once(agent, (id, expected), at).await {
                // It went on in between, which is no reason not to break it off.
                Err(RegistryError::Changed) if expected.is_none() => {}
                other => return other,
            }
        }
        Err(RegistryError::Busy)
    }

    async fn cancel_sending_once(
        &self,
        agent: &Agent,
        (id, expected): (&RejectionId, Option<Revision>),
        at: Moment,
    ) -> Result<Stored<Sending>, RegistryError> {
        let before = self.sending(agent, id).await?;
        if expected.is_some_and(|expected| expected != before.revision) {
            return Err(RegistryError::Changed);
        }
        if before.value.state != SendingState::Open {
            return Err(Refusal::TooLate.into());
        }
        let by = agent.name.clone();
        let cancel = |sending: &mut Sending| {
            sending.state = SendingState::Cancelled;
            sending.failure = Some(format!("cancelled by {by}"));
        };
        let none = Answers::default();
        self.note_sending_by(agent, (&before, &none), cancel, at)
            .await
    }

    /// A sending, for whoever may send it; for others it is not there.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`]; [`RegistryError`] otherwise.
    pub async fn sending(
        &self,
        agent: &Agent,
        id: &RejectionId,
    ) -> Result<Stored<Sending>, RegistryError> {
        let found = self.read::<Sending>(id.as_str()).await?;
        if found.value.is_seen_by(agent) {
            return Ok(found);
        }
        Err(RegistryError::NotFound {
            what: Sending::NAME,
        })
    }

    /// The same; the audit record has who opened it.
    ///
    /// # Errors
    /// As [`Registry::sending`].
    pub async fn open_sending(
        &self,
        agent: &Agent,
        id: &RejectionId,
        at: Moment,
    ) -> Result<Stored<Sending>, RegistryError> {
        let found = self.sending(agent, id).await?;
        let opened = Opened {
            what: format!("sending {id}"),
            study: &found.value.study,
            organisation: found.value.organisation,
            examination: None,
            patient: found.value.patient,
        };
        self.note_opened(agent, opened, at).await?;
        Ok(found)
    }

    /// Sendings of a study, newest first, as far as `agent` may see them.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn sendings_of_study(
        &self,
        agent: &Agent,
        study: &StudyUid,
    ) -> Result<Vec<Stored<Sending>>, RegistryError> {
        let prefix = format!("{}/", study.as_str());
        let found = self.sendings_by(OF_STUDY, &prefix).await?;
        let seen = found.into_iter();
        Ok(seen.filter(|one| one.value.is_seen_by(agent)).collect())
    }

    /// Sendings that are not at their end, oldest first: for the archive's own work.
    ///
    /// # Errors
    /// [`RegistryError::Damaged`], [`RegistryError::Backend`].
    pub async fn open_sendings(&self) -> Result<Vec<Stored<Sending>>, RegistryError> {
        self.sendings_by(OPEN, "").await
    }

    /// The instances of a sending that were answered.
    ///
    /// # Errors
    /// [`RegistryError::Damaged`], [`RegistryError::Backend`].
    pub async fn answered(
        &self,
        sending: &Sending,
    ) -> Result<BTreeSet<SopInstanceUid>, RegistryError> {
        let prefix = format!("{}/", sending.id);
        let mut all = BTreeSet::new();
        let mut after: Option<String> = None;
        loop {
            let page = self
                .records()
                .list(Answered::KIND, &prefix, after.as_deref(), 16)
                .await?;
            let Some(last) = page.last() else {
                return Ok(all);
            };
            after = Some(last.key.clone());
            for record in &page {
                let chunk = super::document::decode::<Answered>(record)?;
                all.extend(chunk.value.instances);
            }
        }
    }

    async fn sendings_by(
        &self,
        kind: Kind,
        prefix: &str,
    ) -> Result<Vec<Stored<Sending>>, RegistryError> {
        let count_max = REJECTIONS_PAGE_MAX.max(SENDINGS_OPEN_MAX);
        let records = self.records().list(kind, prefix, None, count_max).await?;
        let mut found = Vec::with_capacity(records.len());
        for record in records {
            let id = String::from_utf8(record.value);
            let id = id.map_err(|_| RegistryError::Damaged { what: kind.name() })?;
            found.push(self.read::<Sending>(&id).await?);
        }
        Ok(found)
    }
}

const fn unlicensed() -> RegistryError {
    RegistryError::Unlicensed(Unlicensed {
        permission: Permission::Export,
    })
}

fn told(act: Act, agent: &Agent, sending: &Sending, at: Moment) -> AuditEvent {
    let mut event = agent_event(act, agent, sending.organisation, at);
    event.object.patient = sending.patient.map(Phi::new);
    event.object.node = Some(sending.destination.as_str().to_owned());
    event.object.studies = vec![StudyTouched {
        study: sending.study.clone(),
        sop_class: None,
        instances_count: sending.instances_count,
        instances: Vec::new(),
    }];
    event.correlation = Some(sending.id.as_str().to_owned());
    event
}
