//! All that is known of a study that is here: whose it is, what it was made for, and who treats
//! the patient. For the archive itself, which says so on the way out and decides who sees it.

use super::super::patients::{HistoryEntry, Patient, key_of};
use super::super::{Moment, Registry, RegistryError, Stored};
use super::listing::{TREATING_FOR, is_treated_by};
use super::{Examination, MatchState, StudyMatch};
use crate::registry::organisations::Organisation;
use chrono::{DateTime, Utc};
use pacs_core::role::{Licence, duty::Reconcile};
use pacs_core::uid::{SeriesUid, StudyUid};
use pacs_core::{ExaminationId, OrganisationCode};
use std::collections::{BTreeMap, BTreeSet};

/// All that is known of a study.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownStudy {
    /// What was decided of it.
    pub study: StudyMatch,
    /// The examination that it is of, where that is known.
    pub bound: Option<BoundStudy>,
    /// Series that a person said are of other examinations.
    pub parts: Vec<KnownPart>,
}

/// Series of a study that are of another examination than the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownPart {
    /// Which.
    pub series: BTreeSet<SeriesUid>,
    /// That examination.
    pub bound: BoundStudy,
}

/// The examination of a study.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundStudy {
    /// The examination.
    pub examination: Examination,
    /// Its patient, as they are called now.
    pub patient: Patient,
    /// When the patient's document was changed last.
    pub patient_changed_at: Moment,
    /// The organisation that makes it.
    pub performing: Organisation,
    /// Until when the patient is tied to organisations: by later orders, and by what they agreed
    /// to.
    pub tied_until: Vec<(OrganisationCode, DateTime<Utc>)>,
}

impl KnownStudy {
    /// Whether it is not sure of which examination it is, but for series that a person split off: a
    /// person has to look.
    #[must_use]
    pub const fn is_in_question(&self) -> bool {
        match &self.study.state {
            MatchState::Bound { flags, .. } => !flags.is_empty(),
            MatchState::Queued { .. } | MatchState::Rejected => true,
        }
    }
}

impl Registry {
    /// What is known of `study`; `None` where nothing was decided of it yet.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn known_study(
        &self,
        licence: &Licence<Reconcile>,
        study: &StudyUid,
    ) -> Result<Option<KnownStudy>, RegistryError> {
        let Some(found) = self.find::<StudyMatch>(study.as_str()).await? else {
            return Ok(None);
        };
        let study = found.value;
        if let Some(organisation) = study.organisation {
            licence.check(organisation)?;
        }
        let mut parts = Vec::with_capacity(study.parts.len());
        for part in &study.parts {
            parts.push(KnownPart {
                series: part.series.clone(),
                bound: self.bound_study(part.examination).await?,
            });
        }
        let bound = match study.examination() {
            Some(id) => Some(self.bound_study(id).await?),
            None => None,
        };
        Ok(Some(KnownStudy {
            study,
            bound,
            parts,
        }))
    }

    async fn bound_study(&self, id: ExaminationId) -> Result<BoundStudy, RegistryError> {
        let examination = self.examination_at(id).await?.value;
        let patient = self.survivor(examination.patient).await?.value;
        let performing = self.organisation(examination.performing).await?.value;
        let last = format!("{}/{:08}", key_of(patient.key), patient.changes_count());
        let last = self.find::<HistoryEntry>(&last).await?;
        let all = self.examinations_of(&patient).await?;
        let agreed_until = self.agreed_until(&patient).await?;
        Ok(BoundStudy {
            patient_changed_at: last.map_or(patient.registered_at, |last| last.value.at),
            tied_until: tied_until(&examination, &all, agreed_until),
            examination,
            patient,
            performing,
        })
    }

    /// The studies that are bound to an examination.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn studies_of_examination(
        &self,
        _licence: &Licence<Reconcile>,
        id: ExaminationId,
    ) -> Result<Vec<StudyUid>, RegistryError> {
        match self.examination_at(id).await {
            Ok(found) => Ok(found.value.studies),
            Err(RegistryError::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// The studies of all examinations of a patient, and of those who went into them.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn studies_of_patient(
        &self,
        _licence: &Licence<Reconcile>,
        patient: pacs_core::patient::PatientKey,
    ) -> Result<Vec<StudyUid>, RegistryError> {
        let patient = match self.survivor(patient).await {
            Ok(patient) => patient.value,
            Err(RegistryError::NotFound { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let all = self.examinations_of(&patient).await?;
        let studies = all.into_iter().flat_map(|found| found.value.studies);
        Ok(studies.collect())
    }

    /// Up to `count_max` of the studies of which something was decided, in order, after `after`.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn decided_studies(
        &self,
        _licence: &Licence<Reconcile>,
        after: Option<&StudyUid>,
        count_max: usize,
    ) -> Result<Vec<StudyUid>, RegistryError> {
        let after = after.map(StudyUid::as_str);
        let found = self.list::<StudyMatch>("", after, count_max).await?;
        Ok(found.into_iter().map(|found| found.value.study).collect())
    }
}

/// Until when a patient is tied to organisations: later orders make them ones that treat the
/// patient, and for some the patient agreed.
fn tied_until(
    examination: &Examination,
    all: &[Stored<Examination>],
    agreed_until: Vec<(OrganisationCode, DateTime<Utc>)>,
) -> Vec<(OrganisationCode, DateTime<Utc>)> {
    let mut tied: BTreeMap<OrganisationCode, DateTime<Utc>> = BTreeMap::new();
    let mut tie = |organisation, until: DateTime<Utc>| {
        let last = tied.entry(organisation).or_insert(until);
        *last = until.max(*last);
    };
    for (organisation, until) in agreed_until {
        tie(organisation, until);
    }
    let later = all.iter().map(|other| &other.value);
    for other in later.filter(|other| other.created_at > examination.created_at) {
        if !is_treated_by(other) {
            continue;
        }
        let until = other.created_at.checked_add_signed(TREATING_FOR);
        let until = until.unwrap_or(other.created_at).with_timezone(&Utc);
        for organisation in [other.performing, other.ordering] {
            tie(organisation, until);
        }
    }
    tied.into_iter().collect()
}
