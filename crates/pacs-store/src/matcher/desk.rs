//! What a person sees of a study who decides whose it is.

use super::heads::of_study;
use super::{Matcher, MatcherError};
use crate::registry::examinations::{Examination, KeptImages, StudyMatch};
use crate::registry::patients::Patient;
use crate::registry::{RegistryError, Stored};
use pacs_core::examination::reconcile::{Difference, Kind, QueueReason, differences, objection};
use pacs_core::role::{Licence, duty};
use pacs_core::tag::{Tag, tags};
use pacs_core::uid::{SeriesUid, StudyUid};
use pacs_core::{Attributes, ExaminationId, Level};
use std::collections::BTreeSet;

/// What the first header of a study says, and what there is of it. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct SeenStudy {
    /// Patient ID.
    pub patient_id: String,
    /// Patient's Name.
    pub patient_name: String,
    /// Patient's Birth Date.
    pub birth_date: String,
    /// Patient's Sex.
    pub sex: String,
    /// Accession Number.
    pub accession: String,
    /// Study Date and Study Time.
    pub made_at: (String, String),
    /// Study Description.
    pub description: String,
    /// Its series that are in sight.
    pub series: Vec<SeenSeries>,
}

/// A series that is in sight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenSeries {
    /// Which.
    pub series: SeriesUid,
    /// Modality.
    pub modality: String,
    /// Series Description.
    pub description: String,
    /// Images in sight.
    pub images_count: u64,
}

/// An examination, held against a study.
#[derive(Debug, Clone)]
pub struct Compared {
    /// The examination.
    pub examination: Stored<Examination>,
    /// Its patient, as they are called now.
    pub patient: Stored<Patient>,
    /// In what the headers differ from it, all of them together.
    pub differences: BTreeSet<Difference>,
    /// What speaks against it so that it was not bound by a rule.
    pub objection: Option<QueueReason>,
}

impl std::fmt::Debug for SeenStudy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[patient data]")
    }
}

impl SeenStudy {
    /// Images in sight.
    #[must_use]
    pub fn images_count(&self) -> u64 {
        let counts = self.series.iter().map(|series| series.images_count);
        counts.fold(0, u64::saturating_add)
    }

    /// What its series were made by.
    #[must_use]
    pub fn modalities(&self) -> BTreeSet<&str> {
        let all = self.series.iter().map(|series| series.modality.as_str());
        all.filter(|modality| !modality.is_empty()).collect()
    }
}

impl Matcher {
    /// What is in sight of a study, for whoever may say whose it is.
    ///
    /// # Errors
    /// [`MatcherError`].
    pub async fn seen(
        &self,
        _licence: &Licence<duty::Reconcile>,
        study: &StudyUid,
    ) -> Result<SeenStudy, MatcherError> {
        let find = &self.permits.find;
        let wanted = [
            tags::PATIENT_ID,
            tags::PATIENT_NAME,
            tags::PATIENT_BIRTH_DATE,
            tags::PATIENT_SEX,
            tags::ACCESSION_NUMBER,
            tags::STUDY_DATE,
            tags::STUDY_TIME,
            tags::STUDY_DESCRIPTION,
            tags::MODALITY,
            tags::SERIES_DESCRIPTION,
            tags::NUMBER_OF_SERIES_RELATED_INSTANCES,
        ];
        let of_it = of_study(Level::Series, study);
        let query = wanted
            .into_iter()
            .fold(of_it, |query, tag| query.returning(tag));
        let mut seen = SeenStudy::default();
        for (number, found) in self.archive.search(find, &query).await?.iter().enumerate() {
            let text = |tag| text(&found.attributes, tag);
            if number == 0 {
                seen.patient_id = text(tags::PATIENT_ID);
                seen.patient_name = text(tags::PATIENT_NAME);
                seen.birth_date = text(tags::PATIENT_BIRTH_DATE);
                seen.sex = text(tags::PATIENT_SEX);
                seen.accession = text(tags::ACCESSION_NUMBER);
                seen.made_at = (text(tags::STUDY_DATE), text(tags::STUDY_TIME));
                seen.description = text(tags::STUDY_DESCRIPTION);
            }
            let Ok(series) = SeriesUid::parse_legacy(&text(tags::SERIES_INSTANCE_UID)) else {
                continue;
            };
            let count = text(tags::NUMBER_OF_SERIES_RELATED_INSTANCES).parse();
            seen.series.push(SeenSeries {
                series,
                modality: text(tags::MODALITY),
                description: text(tags::SERIES_DESCRIPTION),
                images_count: count.unwrap_or(0),
            });
        }
        Ok(seen)
    }

    /// The kinds of the images of a study that are in sight.
    ///
    /// # Errors
    /// [`MatcherError`].
    pub async fn kinds(&self, study: &StudyUid) -> Result<BTreeSet<Kind>, MatcherError> {
        let find = &self.permits.find;
        Ok(self.archive.kinds_of_images(find, study).await?)
    }

    /// Whether a licence is good for the images of a study that it was found by: the examination
    /// says of which kind and department they are, and where there is none, they themselves and the
    /// device that sent them.
    ///
    /// # Errors
    /// [`MatcherError`].
    pub async fn reaches(
        &self,
        licence: &Licence<duty::Reconcile>,
        found: &StudyMatch,
    ) -> Result<bool, MatcherError> {
        match found.organisation {
            Some(organisation)
                if found.examinations().is_empty() && licence.is_limited_at(organisation) =>
            {
                let kinds = self.kinds(&found.study).await?;
                let made = (&kinds, found.department.as_ref());
                Ok(licence.check_over_each(organisation, made).is_ok())
            }
            _ => Ok(true),
        }
    }

    /// The images that have to be counted before `studies` are put right for `examinations`.
    ///
    /// # Errors
    /// [`MatcherError`].
    pub async fn counted(
        &self,
        _licence: &Licence<duty::Reconcile>,
        studies: &[StudyUid],
        examinations: &[ExaminationId],
    ) -> Result<KeptImages, MatcherError> {
        let beside = self.registry.studies_beside(studies, examinations).await?;
        Ok(self.archive.kept_images(&self.permits.find, beside).await?)
    }

    /// Holds an examination against what the headers of a study say; of `series` alone, where some
    /// are named.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`] also where the examination is another organisation's than the
    /// study or the licence, or restricted to others.
    pub async fn compared(
        &self,
        licence: &Licence<duty::Reconcile>,
        found: &StudyMatch,
        series: &BTreeSet<SeriesUid>,
        id: ExaminationId,
    ) -> Result<Compared, MatcherError> {
        let not_found = RegistryError::NotFound {
            what: "examination",
        };
        let examination = self.registry.examination_of_id(id).await?;
        let performing = examination.value.performing;
        let is_own = found.organisation.is_none_or(|own| own == performing);
        let is_kept = examination.value.is_kept_from(licence.agent());
        let work = examination.value.work();
        if !is_own || is_kept || licence.check_over(performing, work).is_err() {
            return Err(not_found.into());
        }
        let patient = self.registry.survivor(examination.value.patient).await?;
        let candidate = self.registry.candidate(&examination.value).await?;
        let mut compared = Compared {
            examination,
            patient,
            differences: BTreeSet::new(),
            objection: None,
        };
        let seen = self
            .see(&found.study, &super::News::default(), Some(found))
            .await?;
        let is_meant = |one: &SeriesUid| series.is_empty() || series.contains(one);
        let mut witnesses: Vec<_> = seen
            .witnesses
            .iter()
            .filter(|one| is_meant(&one.series))
            .collect();
        if witnesses.is_empty() {
            // Their headers are those of the rest.
            witnesses = seen.witnesses.iter().collect();
        }
        for witness in witnesses {
            let different = differences(&witness.header, &candidate);
            compared.differences.extend(different);
            let objection = objection(&witness.header, &candidate);
            compared.objection = compared.objection.or(objection);
        }
        Ok(compared)
    }
}

fn text(attributes: &Attributes, tag: Tag) -> String {
    attributes.text(tag).unwrap_or_default().trim().to_owned()
}
