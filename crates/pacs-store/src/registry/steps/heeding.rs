//! What a step says to the examinations that it names, in the batch that stores it.

use super::super::batch::Batch;
use super::super::examinations::{
    Action, By, Examination, KeptImages, MatchState, Moving, Random, StudyMatch, as_system,
};
use super::super::{Refusal, Registry, RegistryError, Stored};
use super::PerformedStep;
use crate::limits::STEP_EXAMINATIONS_MAX;
use pacs_core::examination::progress::ReportFate;
use pacs_core::examination::reconcile::{QueueReason, StudyHeader, objection};
use pacs_core::examination::{Event, Reason, Status, TransitionError};
use pacs_core::mpps::{Discontinuation, StepState};
use pacs_core::patient::PatientKey;
use pacs_core::role::Agent;
use pacs_core::{ExaminationId, StudyUid};
use std::collections::BTreeSet;

/// What examinations record where a device gave no reason.
const NO_REASON: &str = "discontinued at the device";

/// Who tells, what there is of images, and a random number where one is needed.
pub(super) type Heeding<'a> = (&'a Agent, &'a KeptImages, Random);

/// What a step says of its examinations now.
enum Told {
    /// It began.
    Begun,
    /// It was broken off.
    BrokenOff(Reason),
    /// It was another entry of the worklist that was meant.
    WrongEntry(Reason),
}

impl Registry {
    /// Adds to `batch` what the examinations become, as far as they are of the organisation of the
    /// step and of its patient and kind, and their progress permits it; gives the patient of the
    /// first. `before` is the step as it was, where it was there.
    pub(super) async fn heed(
        &self,
        batch: &mut Batch,
        heeding: Heeding<'_>,
        (before, step): (Option<&PerformedStep>, &PerformedStep),
    ) -> Result<Option<PatientKey>, RegistryError> {
        let told = told(before, step)?;
        let mut patient = None;
        let mut taken = BTreeSet::new();
        for (id, study) in named(step) {
            let Some(found) = self.find::<Examination>(&id.to_string()).await? else {
                continue;
            };
            if found.value.performing != step.organisation {
                continue;
            }
            patient.get_or_insert(found.value.patient);
            let event = match &told {
                None => continue,
                // Whoever says so may well have had another patient before them.
                Some(Told::WrongEntry(reason)) => {
                    self.take_back(batch, heeding, (&found, reason), step, &mut taken)
                        .await?;
                    continue;
                }
                Some(Told::Begun) => Event::Start,
                Some(Told::BrokenOff(reason)) => {
                    if !self.is_all_broken_off(id, step).await? {
                        continue;
                    }
                    let reason = reason.clone();
                    Event::Discontinue { reason }
                }
            };
            if !self.is_of(&found.value, step, &study).await? {
                tracing::warn!(
                    examination = %id, step = %step.sop_instance,
                    "a step is of another patient or kind than the examination that it names"
                );
                continue;
            }
            self.tell(batch, heeding, (&found, step), &event).await?;
        }
        Ok(patient)
    }

    async fn tell(
        &self,
        batch: &mut Batch,
        (agent, _, random): Heeding<'_>,
        (found, step): (&Stored<Examination>, &PerformedStep),
        event: &Event,
    ) -> Result<(), RegistryError> {
        let action = Action {
            event: event.clone(),
            order: None,
            expected: None,
            random,
        };
        let told = self.add_step(batch, agent, found, (event, &action), step.changed_at);
        match told.await {
            // It is cancelled, or over, or began by its images: the step is kept all the same.
            Ok(_) | Err(RegistryError::Refused(Refusal::Transition(_))) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Takes the images of the studies that the step names from the examination, which waits for
    /// its own again. Where a signed report stands they stay, and somebody has to look.
    async fn take_back(
        &self,
        batch: &mut Batch,
        (agent, kept, random): Heeding<'_>,
        (found, reason): (&Stored<Examination>, &Reason),
        step: &PerformedStep,
        taken: &mut BTreeSet<StudyUid>,
    ) -> Result<(), RegistryError> {
        let id = found.value.id;
        let mut bound = Vec::new();
        for scheduled in step.step.scheduled() {
            let study = self.find::<StudyMatch>(scheduled.study.as_str()).await?;
            let study = study.filter(|study| study.value.examination() == Some(id));
            bound.extend(study.filter(|study| taken.insert(study.value.study.clone())));
        }
        // Without them: of what is left, series may be of other examinations.
        let taken_away = bound.iter().map(|study| StudyMatch {
            state: MatchState::Queued {
                reason: QueueReason::Unbound,
                suggestions: Vec::new(),
            },
            ..study.value.clone()
        });
        let after: Vec<StudyMatch> = taken_away.collect();
        let turns: Vec<_> = bound
            .iter()
            .zip(&after)
            .map(|(before, after)| (Some(&before.value), after))
            .collect();
        let (studies, images_left) = self.left(&found.value, &turns, kept).await?;
        let is_idle =
            found.value.status() != Status::InProgress || !self.is_all_broken_off(id, step).await?;
        if bound.is_empty() && is_idle {
            return Ok(());
        }
        let system = as_system(agent);
        let by = By {
            agent: &system,
            random,
            at: step.changed_at,
        };
        let moving = Moving { by, kept, reason };
        let event = Event::MoveImagesAway {
            images_left,
            report: ReportFate::Nothing,
            reason: reason.clone(),
        };
        let moved = self
            .add_events(batch, &by, (found, studies), &[event])
            .await;
        let may_move = match moved {
            Ok(()) => true,
            Err(RegistryError::Refused(Refusal::Transition(
                TransitionError::Guard(_) | TransitionError::Status { .. },
            ))) => false,
            Err(error) => return Err(error),
        };
        for study in &bound {
            self.disown(batch, (study, id), &moving, may_move).await?;
        }
        Ok(())
    }

    /// Whether every step of the examination was broken off, of which this is the last: none goes
    /// on, and none was completed.
    async fn is_all_broken_off(
        &self,
        examination: ExaminationId,
        step: &PerformedStep,
    ) -> Result<bool, RegistryError> {
        let others = self.steps_of_examination(examination).await?;
        Ok(others.iter().all(|other| {
            let other = &other.value;
            other.sop_instance == step.sop_instance || other.step.state() == StepState::Discontinued
        }))
    }

    /// Whether nothing in a step speaks against its being of the examination.
    pub(crate) async fn is_of(
        &self,
        examination: &Examination,
        step: &PerformedStep,
        study: &StudyUid,
    ) -> Result<bool, RegistryError> {
        let header = StudyHeader::read(study, step.step.attributes(), step.organisation);
        let candidate = self.candidate(examination).await?;
        Ok(objection(&header, &candidate).is_none())
    }

    /// The examinations that devices of the study's organisation said its images are not of: they
    /// had taken a wrong entry of the worklist.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub(crate) async fn disowned_by(
        &self,
        organisation: pacs_core::OrganisationCode,
        study: &StudyUid,
    ) -> Result<Vec<ExaminationId>, RegistryError> {
        let mut disowned = Vec::new();
        for step in self.steps_of_study(organisation, study).await? {
            let told = &step.value.step;
            let is_wrong = told.state() == StepState::Discontinued
                && told.discontinuation() == Discontinuation::IncorrectWorklistEntry;
            if is_wrong {
                let named = told.scheduled().into_iter();
                let of_it = named.filter(|scheduled| scheduled.study == *study);
                disowned.extend(of_it.filter_map(|scheduled| scheduled.examination));
            }
        }
        Ok(disowned)
    }
}

/// The examinations that a step names, each once, with a study that it names for it.
fn named(step: &PerformedStep) -> Vec<(ExaminationId, StudyUid)> {
    let scheduled = step.step.scheduled().into_iter();
    let mut named: Vec<_> = scheduled
        .filter_map(|of| Some((of.examination?, of.study)))
        .collect();
    named.sort();
    named.dedup_by_key(|(id, _)| *id);
    named.truncate(STEP_EXAMINATIONS_MAX);
    named
}

/// What happened, where something did that says something to examinations.
fn told(
    before: Option<&PerformedStep>,
    step: &PerformedStep,
) -> Result<Option<Told>, RegistryError> {
    Ok(match step.step.state() {
        // A step that goes on says nothing new.
        StepState::InProgress => before.is_none().then_some(Told::Begun),
        // Whether all its images are there is for others to see.
        StepState::Completed => None,
        StepState::Discontinued => {
            let reason = match step.step.discontinuation_reason() {
                Some(reason) => reason,
                None => Reason::parse(NO_REASON)
                    .map_err(|_| RegistryError::Damaged { what: "reason" })?,
            };
            Some(match step.step.discontinuation() {
                Discontinuation::IncorrectWorklistEntry => Told::WrongEntry(reason),
                Discontinuation::NotNow | Discontinuation::Other => Told::BrokenOff(reason),
            })
        }
    })
}
