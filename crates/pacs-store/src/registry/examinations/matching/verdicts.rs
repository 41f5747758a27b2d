//! What the matcher decides, as it is stored.

use super::super::super::batch::Batch;
use super::super::super::{Moment, Refusal, Registry, RegistryError, Stored, Turn};
use super::super::{Examination, Random};
use super::allocation::{By, Moving};
use super::state::{state_of, with_flag};
use super::{MatchState, StudyMatch, touched};
use crate::limits::{IMAGES_NOTED_EVERY_SECONDS, REGISTRY_ATTEMPTS_MAX};
use crate::records::Revision;
use pacs_core::examination::reconcile::{QueueReason, Verdict};
use pacs_core::examination::{Event, Status};
use pacs_core::role::{Licence, duty::Reconcile};
use pacs_core::uid::{SeriesUid, StudyUid};
use pacs_core::{DepartmentCode, ExaminationId, OrganisationCode, Phi, SopInstanceUid};
use std::collections::BTreeMap;

/// A study that came, as the matcher knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedStudy {
    /// Which.
    pub study: StudyUid,
    /// The organisation whose device sent it, or to which it was brought.
    pub organisation: Option<OrganisationCode>,
    /// The department of that device.
    pub department: Option<DepartmentCode>,
    /// It was brought on media or from another archive.
    pub is_import: bool,
    /// When its first instance came.
    pub received_at: Moment,
    /// Its first instance: by its header the others are judged.
    pub first_instance: SopInstanceUid,
    /// Instances whose headers differ from the first one's and from each other.
    pub witnesses: Vec<SopInstanceUid>,
    /// There were more of these than are remembered.
    pub has_more_headers: bool,
    /// Another version of one of its instances came.
    pub has_other_version: bool,
    /// Who sent it, the first one first.
    pub senders: Vec<String>,
    /// Series of which instances came since it was judged last, and when the last of each came.
    pub news: BTreeMap<SeriesUid, Moment>,
    /// The state of what was decided of it before, by which it was judged; `None`: of nothing.
    pub judged: Option<Revision>,
}

impl ReceivedStudy {
    /// Whether something came that says what nothing before it said.
    pub(crate) fn has_new_header(&self, was: Option<&StudyMatch>) -> bool {
        let is_new = |was: &StudyMatch| {
            let mut witnesses = self.witnesses.iter();
            witnesses.any(|witness| !was.witnesses.contains(witness))
        };
        self.has_more_headers || was.is_some_and(is_new)
    }
}

impl Registry {
    /// Stores what the matcher decided. What was decided before and is the same is not stored
    /// again, so that it may be told twice; what a person decided stays so. In the turn it was seen
    /// that something of the study is there to be judged.
    ///
    /// # Errors
    /// [`Refusal::Transition`] where the examination takes no images; [`Refusal::Disowned`] where
    /// the device said that they are not of it; [`RegistryError::Changed`] where somebody decided
    /// otherwise since it was judged; [`RegistryError`] otherwise.
    pub async fn store_verdict(
        &self,
        _turn: &Turn<'_>,
        licence: &Licence<Reconcile>,
        (received, verdict): (&ReceivedStudy, &Verdict),
        at: Moment,
    ) -> Result<Stored<StudyMatch>, RegistryError> {
        if let Some(organisation) = received.organisation {
            licence.check(organisation)?;
        }
        for _ in 0..REGISTRY_ATTEMPTS_MAX {
            let now = self.find::<StudyMatch>(received.study.as_str()).await?;
            if now.as_ref().map(|now| now.revision) != received.judged {
                return Err(RegistryError::Changed);
            }
            match self
                .verdict_once(licence, received, (now.as_ref(), verdict), at)
                .await
            {
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
        (before, verdict): (Option<&Stored<StudyMatch>>, &Verdict),
        at: Moment,
    ) -> Result<Stored<StudyMatch>, RegistryError> {
        let was = before.map(|before| &before.value);
        let mut after = judged(received, was, verdict, at);
        let arrived = self.arrived(&after, was, received, at).await?;
        let is_same =
            |was: &StudyMatch| (&was.state, was.organisation) == (&after.state, after.organisation);
        if !was.is_some_and(is_same) {
            after.decided_at = at;
            licence.agent().name.clone_into(&mut after.decided_by);
            after.reason = None;
        }
        if let Some(before) = before
            && before.value == after
            && arrived.is_empty()
        {
            return Ok(before.clone());
        }
        let mut batch = Batch::default();
        let study = after.study.as_str();
        batch.main(study, &after, before)?;
        let had = was.map(StudyMatch::keys).unwrap_or_default();
        self.reindex(&mut batch, &had, &after.keys(), study).await?;
        let mut event = touched(licence, &[&after], at);
        let mut was_bound = was.map(StudyMatch::examinations).unwrap_or_default();
        for id in arrived {
            let is_new = was_bound.insert(id);
            let found = self.examination_at(id).await?;
            event.object.examination = Some(id);
            event.object.patient = Some(Phi::new(found.value.patient));
            // After the examination was read: who disowns images changes it.
            if is_new
                && let Some(organisation) = after.organisation
                && self
                    .disowned_by(organisation, &after.study)
                    .await?
                    .contains(&id)
            {
                return Err(Refusal::Disowned.into());
            }
            self.add_arrival(&mut batch, licence, (&found, &after.study), at)
                .await?;
        }
        let revisions = self.commit(batch, event).await?;
        let revision = revisions.first().copied().ok_or(RegistryError::Changed)?;
        Stored::of(after, revision)
    }

    /// The examinations to which images came that they have to be told of.
    async fn arrived(
        &self,
        after: &StudyMatch,
        was: Option<&StudyMatch>,
        received: &ReceivedStudy,
        at: Moment,
    ) -> Result<Vec<ExaminationId>, RegistryError> {
        let mut arrived = Vec::new();
        if let Some(id) = after.examination()
            && was.and_then(StudyMatch::examination) != Some(id)
        {
            arrived.push(id);
        }
        for (series, newest) in &received.news {
            if let Some(id) = after.examination_of(series)
                && !arrived.contains(&id)
                && self.are_images_news(id, *newest, at).await?
            {
                arrived.push(id);
            }
        }
        Ok(arrived)
    }

    /// Whether it has to be noted that further images came: not of each slice of a series, and not
    /// of what came before the examination was complete.
    async fn are_images_news(
        &self,
        id: ExaminationId,
        newest: Moment,
        at: Moment,
    ) -> Result<bool, RegistryError> {
        let examination = self.examination_at(id).await?.value;
        let is_noted = examination.last_image_at.is_some_and(|last| {
            at.signed_duration_since(last).num_seconds() < IMAGES_NOTED_EVERY_SECONDS
        });
        let is_arriving =
            examination.status() == Status::InProgress || examination.progress.has_late_images();
        if is_arriving {
            return Ok(!is_noted);
        }
        let complete_at = examination.received_at;
        Ok(complete_at.is_none_or(|complete_at| newest > complete_at))
    }

    async fn add_arrival(
        &self,
        batch: &mut Batch,
        licence: &Licence<Reconcile>,
        (found, study): (&Stored<Examination>, &StudyUid),
        at: Moment,
    ) -> Result<(), RegistryError> {
        let mut studies = found.value.studies.clone();
        if !studies.contains(study) {
            if studies.len() >= crate::limits::EXAMINATION_STUDIES_MAX {
                return Err(Refusal::Unfit { what: "study" }.into());
            }
            studies.push(study.clone());
        }
        let by = By {
            agent: licence.agent(),
            random: Random::default(),
            at,
        };
        let events = [Event::ImagesArrive];
        self.add_events(batch, &by, (found, studies), &events).await
    }

    /// Adds to `batch` that a device said that the images of a study are not of `id`: the study
    /// waits for a person, and nothing else binds it there again. `false`: the study stays where it
    /// is, for a signed report stands, and somebody has to look.
    pub(in super::super::super) async fn disown(
        &self,
        batch: &mut Batch,
        (before, id): (&Stored<StudyMatch>, ExaminationId),
        moving: &Moving<'_>,
        may_move: bool,
    ) -> Result<(), RegistryError> {
        let mut after = before.value.clone();
        if !after.not_of.contains(&id) {
            after.not_of.push(id);
        }
        after.state = if may_move {
            MatchState::Queued {
                reason: QueueReason::Unbound,
                suggestions: Vec::new(),
            }
        } else {
            with_flag(after.state, QueueReason::Unbound)
        };
        after.decided_at = moving.by.at;
        moving.by.agent.name.clone_into(&mut after.decided_by);
        after.reason = Some(moving.reason.clone());
        let study = after.study.as_str();
        batch.put(study, &after, Some(before.revision))?;
        self.reindex(batch, &before.value.keys(), &after.keys(), study)
            .await
    }
}

/// What the verdict makes of what was known.
fn judged(
    received: &ReceivedStudy,
    was: Option<&StudyMatch>,
    verdict: &Verdict,
    at: Moment,
) -> StudyMatch {
    let has_new_header = received.has_new_header(was);
    let state = state_of(verdict, was.map(|was| &was.state), has_new_header);
    let mut after = match was {
        Some(was) => was.clone(),
        None => first_match(received, state.clone(), at),
    };
    after.state = state;
    after.witnesses.clone_from(&received.witnesses);
    after.senders.clone_from(&received.senders);
    after.has_other_version |= received.has_other_version;
    // Of what is out of sight there is nothing to judge.
    after.is_out_of_sight = false;
    if !was.is_some_and(StudyMatch::is_settled) {
        after.organisation = received.organisation;
        after.department.clone_from(&received.department);
    }
    after
}

fn first_match(received: &ReceivedStudy, state: MatchState, at: Moment) -> StudyMatch {
    StudyMatch {
        study: received.study.clone(),
        organisation: received.organisation,
        department: received.department.clone(),
        is_import: received.is_import,
        received_at: received.received_at,
        first_instance: received.first_instance.clone(),
        witnesses: Vec::new(),
        senders: Vec::new(),
        has_other_version: false,
        is_out_of_sight: false,
        state,
        parts: Vec::new(),
        not_of: Vec::new(),
        postponed_until: None,
        decided_at: at,
        decided_by: String::new(),
        reason: None,
        correction: None,
    }
}
