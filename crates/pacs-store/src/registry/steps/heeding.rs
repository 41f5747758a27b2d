//! What a step says to the examinations that it names, in the batch that stores it.

use super::super::batch::Batch;
use super::super::examinations::{Action, Examination};
use super::super::{Refusal, Registry, RegistryError, Stored};
use super::{Arrived, PerformedStep};
use crate::limits::STEP_EXAMINATIONS_MAX;
use pacs_core::ExaminationId;
use pacs_core::examination::progress::Completion;
use pacs_core::examination::{Event, Reason};
use pacs_core::mpps::StepState;
use pacs_core::patient::PatientKey;
use pacs_core::role::Agent;

/// What examinations record where a device gave no reason.
const NO_REASON: &str = "discontinued at the device";

impl Registry {
    /// Adds to `batch` what the examinations become, as far as they are of the organisation of the
    /// step and their progress permits it; gives the patient of the first. `before` is the step as
    /// it was, where it was there.
    pub(super) async fn heed(
        &self,
        batch: &mut Batch,
        agent: &Agent,
        (before, step): (Option<&PerformedStep>, &PerformedStep),
        arrived: Arrived,
    ) -> Result<Option<PatientKey>, RegistryError> {
        let event = event(before, step, arrived)?;
        let mut patient = None;
        for examination in named(step) {
            let id = examination.to_string();
            let Some(found) = self.find::<Examination>(&id).await? else {
                continue;
            };
            if found.value.performing != step.organisation {
                continue;
            }
            patient.get_or_insert(found.value.patient);
            let Some(event) = &event else { continue };
            let is_end = matches!(event, Event::Complete { .. } | Event::Discontinue { .. });
            if is_end && self.has_other_open_step(examination, step).await? {
                continue;
            }
            self.tell(batch, agent, (&found, step), event).await?;
        }
        Ok(patient)
    }

    async fn tell(
        &self,
        batch: &mut Batch,
        agent: &Agent,
        (found, step): (&Stored<Examination>, &PerformedStep),
        event: &Event,
    ) -> Result<(), RegistryError> {
        let action = Action {
            event: event.clone(),
            order: None,
            expected: None,
            // None of these events gives a new Study Instance UID.
            random: [0; 16],
        };
        let told = self.add_step(batch, agent, found, (event, &action), step.changed_at);
        match told.await {
            // It is cancelled, or over, or began by its images: the step is kept all the same.
            Ok(_) | Err(RegistryError::Refused(Refusal::Transition(_))) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether a device of the organisation has begun another step of the examination and not ended
    /// it.
    async fn has_other_open_step(
        &self,
        examination: ExaminationId,
        step: &PerformedStep,
    ) -> Result<bool, RegistryError> {
        let others = self.steps_of_examination(examination).await?;
        Ok(others.iter().any(|other| {
            let other = &other.value;
            other.organisation == step.organisation
                && other.sop_instance != step.sop_instance
                && !other.step.state().is_final()
        }))
    }
}

/// The examinations that a step names, each once.
fn named(step: &PerformedStep) -> Vec<ExaminationId> {
    let scheduled = step.step.scheduled().into_iter();
    let mut named: Vec<_> = scheduled.filter_map(|of| of.examination).collect();
    named.sort();
    named.dedup();
    named.truncate(STEP_EXAMINATIONS_MAX);
    named
}

/// What happened, where something did.
fn event(
    before: Option<&PerformedStep>,
    step: &PerformedStep,
    arrived: Arrived,
) -> Result<Option<Event>, RegistryError> {
    Ok(match step.step.state() {
        // A step that goes on says nothing new.
        StepState::InProgress => before.is_none().then_some(Event::Start),
        StepState::Completed => Some(Event::Complete {
            by: Completion::Mpps {
                missing: arrived.missing_count,
            },
            images_kept: arrived.kept_count,
        }),
        StepState::Discontinued => {
            let reason = match step.step.discontinuation_reason() {
                Some(reason) => reason,
                None => Reason::parse(NO_REASON)
                    .map_err(|_| RegistryError::Damaged { what: "reason" })?,
            };
            Some(Event::Discontinue { reason })
        }
    })
}
