//! Performed procedure steps: what devices told of examinations while they made them (MPPS).
//!
//! A step belongs to the organisation of the device that told of it, and only its devices change
//! it. It is found by its UID, and by the studies and examinations that it names.

mod heeding;
mod readable;

use super::batch::Batch;
use super::document::Document;
use super::examinations::{KeptImages, Random};
use super::{Moment, Refusal, Registry, RegistryError, Stored};
use crate::limits::{REGISTRY_ATTEMPTS_MAX, STEPS_LISTED_MAX};
use crate::records::{Kind, Revision};
use pacs_core::audit::{Act, AuditEvent, StudyTouched};
use pacs_core::mpps::ProcedureStep;
use pacs_core::patient::PatientKey;
use pacs_core::role::{Licence, duty::ImageStore};
use pacs_core::{AeTitle, ExaminationId, OrganisationCode, Phi, SopInstanceUid, StudyUid};
use serde::{Deserialize, Serialize};

/// Steps by a study that they name: the organisation, the UID of the study, `/`, the UID of the
/// step.
const OF_STUDY: Kind = Kind::new("step-of-study");

/// Steps by an examination of their organisation that they name: its ID, `/`, the UID of the step.
const OF_EXAMINATION: Kind = Kind::new("step-of-examination");

/// A performed procedure step, as a device told of it. `Debug` shows no values of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PerformedStep {
    /// Its SOP Instance UID.
    pub sop_instance: SopInstanceUid,
    /// Whose device it is.
    pub organisation: OrganisationCode,
    /// The device that told of it.
    pub ae_title: AeTitle,
    /// When it was told first.
    pub begun_at: Moment,
    /// When it was told last.
    pub changed_at: Moment,
    /// What it told.
    #[serde(with = "readable")]
    pub step: ProcedureStep,
}

impl Document for PerformedStep {
    const KIND: Kind = Kind::new("step");
    const NAME: &'static str = "performed procedure step";
}

impl PerformedStep {
    /// The keys by which it is found.
    fn keys(&self) -> Vec<(Kind, String)> {
        let (uid, own) = (self.sop_instance.as_str(), self.organisation);
        let mut keys = Vec::new();
        for scheduled in self.step.scheduled() {
            let study = of_study(own, &scheduled.study);
            keys.push((OF_STUDY, format!("{study}/{uid}")));
            // What devices of others tell of an examination is nothing to it, and hides nothing.
            let own_examination = scheduled.examination.filter(|id| id.organisation() == own);
            if let Some(id) = own_examination {
                keys.push((OF_EXAMINATION, format!("{id}/{uid}")));
            }
        }
        keys.sort();
        keys.dedup();
        keys
    }
}

/// What the keys of steps that name a study begin with.
fn of_study(organisation: OrganisationCode, study: &StudyUid) -> String {
    format!("{organisation}/{}", study.as_str())
}

impl Registry {
    /// A step that a device of an organisation of the licence told of.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`], also where it is another organisation's;
    /// [`RegistryError::Damaged`], [`RegistryError::Backend`].
    pub async fn step(
        &self,
        licence: &Licence<ImageStore>,
        uid: &SopInstanceUid,
    ) -> Result<Stored<PerformedStep>, RegistryError> {
        let found = self.read::<PerformedStep>(uid.as_str()).await?;
        match licence.check(found.value.organisation) {
            Ok(()) => Ok(found),
            Err(_elsewhere) => Err(RegistryError::NotFound {
                what: PerformedStep::NAME,
            }),
        }
    }

    /// Keeps a step that begins; so do its examinations, as far as their progress permits.
    ///
    /// # Errors
    /// [`Refusal::Taken`] where there is a step with its UID, whosever it is; [`RegistryError`].
    /// Nothing was done, but of [`RegistryError::Backend`] that is not known.
    pub async fn begin_step(
        &self,
        licence: &Licence<ImageStore>,
        step: &PerformedStep,
    ) -> Result<Revision, RegistryError> {
        licence.check(step.organisation)?;
        let uid = step.sop_instance.as_str();
        for _ in 0..REGISTRY_ATTEMPTS_MAX {
            if self.find::<PerformedStep>(uid).await?.is_some() {
                return Err(Refusal::Taken { what: "UID" }.into());
            }
            let mut batch = Batch::default();
            batch.main(uid, step, None)?;
            for (kind, key) in step.keys() {
                batch.point(kind, &key, uid, None);
            }
            let kept = KeptImages::new();
            let heeding = (licence.agent(), &kept, Random::default());
            let patient = self.heed(&mut batch, heeding, (None, step)).await?;
            let event = told(Act::StepBegun, licence, step, patient);
            match self.commit(batch, event).await {
                // Somebody began it, or changed what it is for, in between.
                Err(RegistryError::Changed) => {}
                done => return done?.first().copied().ok_or(RegistryError::Changed),
            }
        }
        Err(RegistryError::Busy)
    }

    /// Keeps what `step` has become, which was `before`. Its examinations are broken off where all
    /// their steps are, as far as their progress permits, and lose the images of the step where the
    /// device says that it took a wrong entry of the worklist (110514): for that, `kept` has the
    /// images of all their studies, and `random` is for a new planned Study Instance UID. That an
    /// examination is complete is seen by who looks after its images. What a step was made for does
    /// not change.
    ///
    /// # Errors
    /// [`RegistryError::Changed`] where it is not `before` any more, or an examination was changed
    /// in between; [`RegistryError`]. Nothing was done, but of [`RegistryError::Backend`] that is
    /// not known.
    pub async fn change_step(
        &self,
        licence: &Licence<ImageStore>,
        before: &Stored<PerformedStep>,
        step: &PerformedStep,
        (kept, random): (&KeptImages, Random),
    ) -> Result<Revision, RegistryError> {
        licence.check(before.value.organisation)?;
        licence.check(step.organisation)?;
        let is_same = before.value.sop_instance == step.sop_instance;
        if !is_same || before.value.keys() != step.keys() {
            return Err(Refusal::Unfit { what: "step" }.into());
        }
        let mut batch = Batch::default();
        batch.main(step.sop_instance.as_str(), step, Some(before))?;
        let steps = (Some(&before.value), step);
        let heeding = (licence.agent(), kept, random);
        let patient = self.heed(&mut batch, heeding, steps).await?;
        let event = told(Act::StepChanged, licence, step, patient);
        let revisions = self.commit(batch, event).await?;
        revisions.first().copied().ok_or(RegistryError::Changed)
    }

    /// Steps of devices of `organisation` that name `study`, in the order of their UIDs, up to
    /// [`STEPS_LISTED_MAX`]: for the archive's own work, which asks whose images these are.
    ///
    /// # Errors
    /// [`RegistryError::Damaged`], [`RegistryError::Backend`].
    pub async fn steps_of_study(
        &self,
        organisation: OrganisationCode,
        study: &StudyUid,
    ) -> Result<Vec<Stored<PerformedStep>>, RegistryError> {
        let study = of_study(organisation, study);
        self.steps_by(OF_STUDY, &study).await
    }

    /// Steps of devices of its own organisation that name `examination`, as
    /// [`Self::steps_of_study`].
    ///
    /// # Errors
    /// [`RegistryError::Damaged`], [`RegistryError::Backend`].
    pub async fn steps_of_examination(
        &self,
        examination: ExaminationId,
    ) -> Result<Vec<Stored<PerformedStep>>, RegistryError> {
        self.steps_by(OF_EXAMINATION, &examination.to_string())
            .await
    }

    async fn steps_by(
        &self,
        kind: Kind,
        of: &str,
    ) -> Result<Vec<Stored<PerformedStep>>, RegistryError> {
        let prefix = format!("{of}/");
        let found = self
            .records()
            .list(kind, &prefix, None, STEPS_LISTED_MAX)
            .await?;
        let mut steps = Vec::with_capacity(found.len());
        for record in found {
            let uid = String::from_utf8(record.value);
            let uid = uid.map_err(|_| RegistryError::Damaged { what: kind.name() })?;
            steps.push(self.read(&uid).await?);
        }
        Ok(steps)
    }
}

fn told(
    act: Act,
    licence: &Licence<ImageStore>,
    step: &PerformedStep,
    patient: Option<PatientKey>,
) -> AuditEvent {
    let mut event = AuditEvent::by(act, step.changed_at, licence.agent());
    event.actor.organisation = Some(step.organisation);
    event.object.patient = patient.map(Phi::new);
    event.object.node = Some(step.ae_title.as_str().to_owned());
    let scheduled = step.step.scheduled();
    event.object.examination = scheduled.iter().find_map(|of| of.examination);
    let instances_count = u64::try_from(step.step.instances().len()).unwrap_or(u64::MAX);
    let touched = scheduled.into_iter().map(|of| StudyTouched {
        study: of.study,
        sop_class: None,
        instances_count,
        instances: Vec::new(),
    });
    event.object.studies = touched.collect();
    event
}
