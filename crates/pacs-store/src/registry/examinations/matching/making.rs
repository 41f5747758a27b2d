//! «Создать назначение из снимка»: an examination is made from images whose order nobody entered.

use super::super::super::announcements::announce_examination;
use super::super::super::batch::Batch;
use super::super::super::patients::{Patient, key_of};
use super::super::super::{Refusal, Registry, RegistryError, Stored};
use super::super::actions::{add_event, first_that_may};
use super::super::{Examination, NewExamination, Readings, study_of};
use super::corrections::Draft;
use super::{Correcting, CorrectionKind, MatchState, StudyMatch};
use pacs_core::examination::Progress;
use pacs_core::uid::StudyUid;

impl Registry {
    /// Makes an examination from a study that waits. The study's UID is its planned one, and it
    /// begins with its images received; what the form lacks can be told later.
    ///
    /// # Errors
    /// [`Refusal::Taken`] where the study, or a part of it, is bound; [`Refusal::Transition`] where
    /// it has no image in sight; [`Refusal::Unfit`] where another organisation would make it;
    /// [`RegistryError`] otherwise.
    pub async fn create_from_study(
        &self,
        how: &Correcting<'_>,
        study: &StudyUid,
        new: &NewExamination,
    ) -> Result<Stored<StudyMatch>, RegistryError> {
        new.order.check()?;
        let _turn = self.turn().await;
        let before = self.correctable(how, study).await?;
        if !before.value.examinations().is_empty() {
            return Err(Refusal::Taken { what: "study" }.into());
        }
        let is_own = before
            .value
            .organisation
            .is_none_or(|own| own == new.performing);
        let over = how.licence.check_over(new.performing, new.order.made());
        if !is_own || over.is_err() {
            return Err(Refusal::Unfit {
                what: "organisation",
            }
            .into());
        }
        let mut batch = Batch::default();
        let examination = self.made(how, &mut batch, &before.value, new).await?;
        let id = examination.id;
        let mut after = before.value.clone();
        after.organisation = Some(new.performing);
        after.state = MatchState::Bound {
            examination: id,
            rule: None,
            flags: Vec::new(),
        };
        let draft = Draft {
            kind: CorrectionKind::Create,
            examination: Some(id),
            studies: vec![(before, after)],
        };
        self.correct_with(how, batch, draft, Some(id)).await
    }

    /// Adds the examination to `batch`.
    async fn made(
        &self,
        how: &Correcting<'_>,
        batch: &mut Batch,
        study: &StudyMatch,
        new: &NewExamination,
    ) -> Result<Examination, RegistryError> {
        let patient = self.survivor(new.patient).await?;
        for organisation in [new.ordering, new.performing] {
            self.organisation(organisation).await?;
        }
        let kept = how
            .kept
            .count_of(&study.study)
            .ok_or(RegistryError::Changed)?;
        let agent = how.licence.agent();
        let actors = agent.actors_at(new.performing, new.order.made());
        let ((progress, effects), actor) = first_that_may(&actors, |actor| {
            Ok((Progress::from_images(actor, kept)?, actor))
        })
        .map_err(Refusal::Transition)?;
        let id = self.next_id(new.performing, how.at, batch).await?;
        // The images' own, but where an order has it that they are not of.
        let planned_study = match self.planned(&study.study).await? {
            None => study.study.clone(),
            Some(_) => study_of(how.random)?,
        };
        let examination = Examination {
            id,
            patient: patient.value.key,
            ordering: new.ordering,
            performing: new.performing,
            requester: agent.name.clone(),
            order: new.order.clone(),
            planned_study,
            attempt: 1,
            progress,
            created_at: how.at,
            changed_at: how.at,
            began_at: None,
            first_image_at: Some(study.received_at),
            last_image_at: Some(how.at),
            received_at: Some(how.at),
            lock: None,
            assigned_to: None,
            pool: Some(new.performing.to_string()),
            is_restricted: false,
            named: Vec::new(),
            studies: vec![study.study.clone()],
            readings: Readings::default(),
            events_count: 0,
        };
        // Nobody merges the patient away meanwhile.
        batch.keep::<Patient>(&key_of(patient.value.key), patient.revision);
        let mut row = add_event(
            agent,
            actor,
            "make from images",
            Some(how.reason.clone()),
            how.at,
        );
        row.to = progress.status();
        let made = self
            .put_examination(batch, None, examination, vec![row])
            .await?;
        announce_examination(batch, &[], &made, effects)?;
        Ok(made)
    }
}
