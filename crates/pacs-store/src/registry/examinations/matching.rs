//! Which study is of which examination, and those of which nobody knows yet.

mod state;

use super::super::batch::Batch;
use super::super::commit::agent_event;
use super::super::document::Document;
use super::super::{Moment, Refusal, Registry, RegistryError, Stored};
use super::actions::Action;
use super::{BETWEEN, Examination, Random, newest_first};
use crate::limits::{
    EXAMINATION_STUDIES_MAX, IMAGES_NOTED_EVERY_SECONDS, REGISTRY_ATTEMPTS_MAX, UNMATCHED_PAGE_MAX,
};
use crate::records::{Kind, Revision};
use pacs_core::audit::{Act, AuditEvent, StudyTouched};
use pacs_core::examination::progress::ReportFate;
use pacs_core::examination::reconcile::{QueueReason, Rule, Verdict};
use pacs_core::examination::{Effect, Event, Reason, Status};
use pacs_core::role::{Agent, Licence, duty::Reconcile};
use pacs_core::uid::StudyUid;
use pacs_core::{ExaminationId, OrganisationCode, Phi, SopInstanceUid};
use serde::{Deserialize, Serialize};
use state::{has_flags, state_of};
use std::collections::BTreeSet;

/// Studies of an organisation that wait for a person, newest first.
const UNMATCHED: Kind = Kind::new("study-unmatched");

/// A study that came, as the matcher knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedStudy {
    /// Which.
    pub study: StudyUid,
    /// The organisation whose device sent it, or to which it was brought.
    pub organisation: OrganisationCode,
    /// It was brought on media or from another archive.
    pub is_import: bool,
    /// When its first instance came.
    pub received_at: Moment,
    /// Its first instance: by its header the others are judged.
    pub first_instance: SopInstanceUid,
    /// Instances came since it was judged last.
    pub has_new_images: bool,
    /// The state of what was decided of it before, by which it was judged; `None`: of nothing.
    pub judged: Option<Revision>,
}

/// An order that a person may bind a study to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suggested {
    /// Which.
    pub examination: ExaminationId,
    /// Why.
    pub rule: Rule,
    /// How likely, of 100.
    pub score: u8,
}

/// What was decided of a study.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchState {
    /// It is of this examination.
    Bound {
        /// Which.
        examination: ExaminationId,
        /// By which rule; `None`: a person said so.
        rule: Option<Rule>,
        /// Somebody has to look.
        #[serde(default)]
        flags: Vec<QueueReason>,
    },
    /// A person decides.
    Queued {
        /// Why.
        reason: QueueReason,
        /// Orders that could be meant, the likeliest first.
        #[serde(default)]
        suggestions: Vec<Suggested>,
    },
}

/// What is known of whose a study is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StudyMatch {
    /// The study.
    pub study: StudyUid,
    /// The organisation whose device sent it, or to which it was brought.
    pub organisation: OrganisationCode,
    /// It was brought on media or from another archive.
    pub is_import: bool,
    /// When its first instance came.
    pub received_at: Moment,
    /// Its first instance.
    pub first_instance: SopInstanceUid,
    /// What was decided.
    pub state: MatchState,
    /// Examinations that a person said it is not of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_of: Vec<ExaminationId>,
    /// Nobody needs to look before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postponed_until: Option<Moment>,
    /// When it was decided last.
    pub decided_at: Moment,
    /// Who decided: a person, or the task of the archive.
    pub decided_by: String,
    /// Why, where a person decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

impl Document for StudyMatch {
    const KIND: Kind = Kind::new("study-match");
    const NAME: &'static str = "match of a study";
}

impl StudyMatch {
    /// The examination that it is bound to.
    #[must_use]
    pub const fn examination(&self) -> Option<ExaminationId> {
        match &self.state {
            MatchState::Bound { examination, .. } => Some(*examination),
            MatchState::Queued { .. } => None,
        }
    }

    /// Where it waits for a person: also one that is bound, and has to be looked at.
    fn keys(&self) -> BTreeSet<(Kind, String)> {
        let waits = match &self.state {
            MatchState::Bound { flags, .. } => !flags.is_empty(),
            MatchState::Queued { .. } => true,
        };
        let at = newest_first(self.received_at);
        let (organisation, study) = (self.organisation, self.study.as_str());
        let key = format!("{organisation}{BETWEEN}{at}{BETWEEN}{study}");
        waits.then_some((UNMATCHED, key)).into_iter().collect()
    }
}

/// A part of the queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UnmatchedPage {
    /// The studies, newest first.
    pub studies: Vec<Stored<StudyMatch>>,
    /// Where the next part begins; `None` after the last.
    pub next: Option<String>,
}

/// A decision about a study, on its way.
struct Decision<'a> {
    before: Option<&'a Stored<StudyMatch>>,
    after: StudyMatch,
    /// What it makes of an examination.
    step: Option<(ExaminationId, Event)>,
    /// For a new planned Study Instance UID, where one is owed.
    random: Random,
    at: Moment,
}

impl Registry {
    /// What is known of whose a study is.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`], also for those of other organisations.
    pub async fn study_match(
        &self,
        licence: &Licence<Reconcile>,
        study: &StudyUid,
    ) -> Result<Stored<StudyMatch>, RegistryError> {
        let found = self.read::<StudyMatch>(study.as_str()).await?;
        if licence.check(found.value.organisation).is_err() {
            return Err(RegistryError::NotFound {
                what: StudyMatch::NAME,
            });
        }
        Ok(found)
    }

    /// «Неопознанные снимки» of an organisation, newest first, from where a former part says.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn unmatched_studies(
        &self,
        licence: &Licence<Reconcile>,
        organisation: OrganisationCode,
        cursor: Option<&str>,
        count_max: usize,
    ) -> Result<UnmatchedPage, RegistryError> {
        licence.check(organisation)?;
        let prefix = format!("{organisation}{BETWEEN}");
        let after = cursor.map(|cursor| format!("{prefix}{cursor}"));
        let count_max = count_max.clamp(1, UNMATCHED_PAGE_MAX);
        let records = self
            .records()
            .list(UNMATCHED, &prefix, after.as_deref(), count_max)
            .await?;
        let mut page = UnmatchedPage::default();
        if records.len() == count_max {
            let last = records.last().and_then(|last| last.key.get(prefix.len()..));
            page.next = last.map(str::to_owned);
        }
        for record in records {
            let study = String::from_utf8(record.value).unwrap_or_default();
            page.studies.push(self.read(&study).await?);
        }
        Ok(page)
    }

    /// Stores what the matcher decided. What was decided before and is the same is not stored
    /// again, so that it may be told twice; what a person bound stays so.
    ///
    /// # Errors
    /// [`Refusal::Transition`] where the examination takes no images; [`RegistryError::Changed`]
    /// where somebody decided otherwise since it was judged; [`RegistryError`] otherwise.
    pub async fn store_verdict(
        &self,
        licence: &Licence<Reconcile>,
        received: &ReceivedStudy,
        verdict: &Verdict,
        at: Moment,
    ) -> Result<Stored<StudyMatch>, RegistryError> {
        licence.check(received.organisation)?;
        let _turn = self.turn().await;
        for _ in 0..REGISTRY_ATTEMPTS_MAX {
            let now = self.find::<StudyMatch>(received.study.as_str()).await?;
            if now.map(|now| now.revision) != received.judged {
                return Err(RegistryError::Changed);
            }
            match self.verdict_once(licence, received, verdict, at).await {
                Err(RegistryError::Changed) => {}
                other => return other,
            }
        }
        Err(RegistryError::Busy)
    }

    async fn verdict_once(
        &self,
        licence: &Licence<Reconcile>,
        received: &ReceivedStudy,
        verdict: &Verdict,
        at: Moment,
    ) -> Result<Stored<StudyMatch>, RegistryError> {
        let before = self.find::<StudyMatch>(received.study.as_str()).await?;
        let mut after = match &before {
            Some(before) => before.value.clone(),
            None => first_match(received, at),
        };
        after.state = state_of(verdict, &after.state);
        let was_bound = before
            .as_ref()
            .and_then(|before| before.value.examination());
        let step = match after.examination() {
            Some(id) if was_bound != Some(id) => Some((id, Event::ImagesArrive)),
            Some(id) if received.has_new_images && self.are_images_news(id, at).await? => {
                Some((id, Event::ImagesArrive))
            }
            _ => None,
        };
        if let Some(before) = before.as_ref()
            && before.value.state == after.state
            && step.is_none()
        {
            return Ok(before.clone());
        }
        after.decided_at = at;
        licence.agent().name.clone_into(&mut after.decided_by);
        after.reason = None;
        let decision = Decision {
            before: before.as_ref(),
            after,
            step,
            random: Random::default(),
            at,
        };
        self.decide(licence, decision).await
    }

    /// Whether it has to be noted that further images came: not of each slice of a series.
    async fn are_images_news(&self, id: ExaminationId, at: Moment) -> Result<bool, RegistryError> {
        let examination = self.examination_at(id).await?.value;
        let is_noted = examination.last_image_at.is_some_and(|last| {
            at.signed_duration_since(last).num_seconds() < IMAGES_NOTED_EVERY_SECONDS
        });
        let is_arriving =
            examination.status() == Status::InProgress || examination.progress.has_late_images();
        Ok(!(is_arriving && is_noted))
    }

    /// «Привязать»: a person says that a study that waits is of this examination.
    ///
    /// # Errors
    /// [`Refusal::Taken`] where it is bound to another; [`Refusal::Transition`];
    /// [`RegistryError`] otherwise.
    pub async fn bind_study(
        &self,
        licence: &Licence<Reconcile>,
        study: &StudyUid,
        id: ExaminationId,
        reason: Reason,
        at: Moment,
    ) -> Result<Stored<StudyMatch>, RegistryError> {
        let _turn = self.turn().await;
        let before = self.study_match(licence, study).await?;
        let examination = self.examination_at(id).await?;
        // Nobody learns of another organisation's examination.
        if examination.value.performing != before.value.organisation {
            return Err(RegistryError::NotFound {
                what: Examination::NAME,
            });
        }
        match before.value.examination() {
            Some(bound) if bound == id && !has_flags(&before.value.state) => return Ok(before),
            Some(bound) if bound == id => {}
            Some(_) => return Err(Refusal::Taken { what: "study" }.into()),
            None => {}
        }
        let mut after = before.value.clone();
        after.state = MatchState::Bound {
            examination: id,
            rule: None,
            flags: Vec::new(),
        };
        after.not_of.retain(|not| *not != id);
        decided(&mut after, licence.agent(), reason, at);
        let decision = Decision {
            before: Some(&before),
            after,
            step: (before.value.examination() != Some(id)).then_some((id, Event::ImagesArrive)),
            random: Random::default(),
            at,
        };
        self.decide(licence, decision).await
    }

    /// «Отвязать»: a person says that a study is not of the examination that it is bound to. It
    /// waits again, and nothing but a person binds it there. `images_left` are those of the
    /// examination that stay and are not rejected; `random` is for a new planned Study Instance
    /// UID, where none stay.
    ///
    /// # Errors
    /// [`Refusal::Unfit`] for one that is not bound; [`Refusal::Transition`], such as where a
    /// signed report stands; [`RegistryError`] otherwise.
    pub async fn unbind_study(
        &self,
        licence: &Licence<Reconcile>,
        study: &StudyUid,
        (images_left, report): (u64, ReportFate),
        reason: Reason,
        random: Random,
        at: Moment,
    ) -> Result<Stored<StudyMatch>, RegistryError> {
        let _turn = self.turn().await;
        let before = self.study_match(licence, study).await?;
        let Some(id) = before.value.examination() else {
            return Err(Refusal::Unfit { what: "study" }.into());
        };
        let mut after = before.value.clone();
        after.state = MatchState::Queued {
            reason: QueueReason::Unbound,
            suggestions: Vec::new(),
        };
        if !after.not_of.contains(&id) {
            after.not_of.push(id);
        }
        decided(&mut after, licence.agent(), reason.clone(), at);
        let event = Event::MoveImagesAway {
            images_left,
            report,
            reason,
        };
        let decision = Decision {
            before: Some(&before),
            after,
            step: Some((id, event)),
            random,
            at,
        };
        self.decide(licence, decision).await
    }

    /// «Отложить»: nobody needs to look before `until`.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn postpone_study(
        &self,
        licence: &Licence<Reconcile>,
        study: &StudyUid,
        until: Moment,
        reason: Reason,
        at: Moment,
    ) -> Result<Stored<StudyMatch>, RegistryError> {
        let before = self.study_match(licence, study).await?;
        let mut after = before.value.clone();
        decided(&mut after, licence.agent(), reason, at);
        after.postponed_until = Some(until);
        let decision = Decision {
            before: Some(&before),
            after,
            step: None,
            random: Random::default(),
            at,
        };
        self.decide(licence, decision).await
    }

    /// Stores a decision with what it makes of the examination.
    async fn decide(
        &self,
        licence: &Licence<Reconcile>,
        decision: Decision<'_>,
    ) -> Result<Stored<StudyMatch>, RegistryError> {
        let Decision {
            before,
            after,
            step,
            random,
            at,
        } = decision;
        let study = after.study.clone();
        let mut batch = Batch::default();
        batch.main(study.as_str(), &after, before)?;
        let had = before.map(|before| before.value.keys()).unwrap_or_default();
        self.reindex(&mut batch, &had, &after.keys(), study.as_str())
            .await?;
        let mut event = touched(licence, &after, at);
        if let Some((id, step)) = step {
            let examination = self.examination_at(id).await?;
            event.object.examination = Some(id);
            event.object.patient = Some(Phi::new(examination.value.patient));
            self.add_images(
                &mut batch,
                licence.agent(),
                &examination,
                (&step, &study, random),
                at,
            )
            .await?;
        }
        let revisions = self.commit(batch, event).await?;
        let revision = revisions.first().copied().ok_or(RegistryError::Changed)?;
        Stored::of(after, revision)
    }

    /// Adds to `batch` that a study comes to an examination or leaves it.
    async fn add_images(
        &self,
        batch: &mut Batch,
        agent: &Agent,
        examination: &Stored<Examination>,
        (event, study, random): (&Event, &StudyUid, Random),
        at: Moment,
    ) -> Result<&'static [Effect], RegistryError> {
        let mut known = examination.clone();
        let studies = &mut known.value.studies;
        if matches!(event, Event::MoveImagesAway { .. }) {
            studies.retain(|bound| bound != study);
        } else if !studies.contains(study) {
            if studies.len() >= EXAMINATION_STUDIES_MAX {
                return Err(Refusal::Unfit { what: "study" }.into());
            }
            studies.push(study.clone());
        }
        let action = Action {
            event: event.clone(),
            order: None,
            expected: None,
            random,
        };
        // That images come is the archive's to say, whoever said whose they are.
        let arrives = Agent {
            kind: pacs_core::role::AgentKind::System,
            ..agent.clone()
        };
        let agent = if *event == Event::ImagesArrive {
            &arrives
        } else {
            agent
        };
        let (_, effects) = self
            .add_step(batch, agent, &known, (event, &action), at)
            .await?;
        Ok(effects)
    }
}

fn first_match(received: &ReceivedStudy, at: Moment) -> StudyMatch {
    StudyMatch {
        study: received.study.clone(),
        organisation: received.organisation,
        is_import: received.is_import,
        received_at: received.received_at,
        first_instance: received.first_instance.clone(),
        state: MatchState::Queued {
            reason: QueueReason::NoId,
            suggestions: Vec::new(),
        },
        not_of: Vec::new(),
        postponed_until: None,
        decided_at: at,
        decided_by: String::new(),
        reason: None,
    }
}

const fn suggested(suggestion: &pacs_core::examination::reconcile::Suggestion) -> Suggested {
    Suggested {
        examination: suggestion.examination,
        rule: suggestion.rule,
        score: suggestion.score,
    }
}

fn decided(after: &mut StudyMatch, agent: &Agent, reason: Reason, at: Moment) {
    after.decided_at = at;
    agent.name.clone_into(&mut after.decided_by);
    after.reason = Some(reason);
    after.postponed_until = None;
}

fn touched(licence: &Licence<Reconcile>, study: &StudyMatch, at: Moment) -> AuditEvent {
    let organisation = Some(study.organisation);
    let mut event = agent_event(Act::ImagesChanged, licence.agent(), organisation, at);
    event.object.studies = vec![StudyTouched {
        study: study.study.clone(),
        sop_class: None,
        instances_count: 0,
        instances: Vec::new(),
    }];
    event
}
