//! Orders that images could be of, for
//! [`verdict`](pacs_core::examination::reconcile::verdict).

use super::super::{Registry, RegistryError, Stored};
use super::document::LIST;
use super::{BETWEEN, Examination};
use crate::limits::CANDIDATES_MAX;
use chrono::{NaiveDateTime, TimeDelta};
use pacs_core::ExaminationId;
use pacs_core::OrganisationCode;
use pacs_core::examination::Status;
use pacs_core::examination::reconcile::{Candidate, StudyHeader};
use pacs_core::role::{Licence, duty::Reconcile};
use std::collections::BTreeMap;

/// How far from the study an order of the organisation may be, and be thought of because of a
/// name.
const WINDOW: TimeDelta = TimeDelta::hours(72);

impl Registry {
    /// Orders that a study with these headers could be of: those it names by an ID, of any
    /// organisation; the one whose planned UID it has; the open ones of patients whose identifier
    /// it has; and the open ones of `organisation` that are near in time.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn candidates(
        &self,
        licence: &Licence<Reconcile>,
        headers: &[StudyHeader],
        organisation: OrganisationCode,
        received_at: NaiveDateTime,
    ) -> Result<Vec<Candidate>, RegistryError> {
        licence.check(organisation)?;
        let mut found: BTreeMap<ExaminationId, Stored<Examination>> = BTreeMap::new();
        for header in headers {
            for id in header.ids().take(CANDIDATES_MAX) {
                match self.examination_at(id).await {
                    Ok(examination) => {
                        found.insert(id, examination);
                    }
                    Err(RegistryError::NotFound { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            if let Some(examination) = self.planned(&header.study).await? {
                found.insert(examination.value.id, examination);
            }
            for identifier in header.person.identifiers.iter().take(CANDIDATES_MAX) {
                if let Some(patient) = self.owner(identifier).await? {
                    for examination in self.examinations_of(&patient.value).await? {
                        if is_open(&examination.value) {
                            found.insert(examination.value.id, examination);
                        }
                    }
                }
            }
        }
        let near = headers.iter().find_map(|header| header.made_at);
        let near = near.unwrap_or(received_at);
        for examination in self.open_near(organisation, near).await? {
            found.insert(examination.value.id, examination);
        }
        let mut candidates = Vec::new();
        for examination in found.into_values() {
            candidates.push(self.candidate(&examination.value).await?);
        }
        Ok(candidates)
    }

    /// Open orders of an organisation that were made or are planned near a moment.
    async fn open_near(
        &self,
        organisation: OrganisationCode,
        near: NaiveDateTime,
    ) -> Result<Vec<Stored<Examination>>, RegistryError> {
        let mut found = Vec::new();
        for status in ["scheduled", "in_progress"] {
            let prefix = format!("performing/{organisation}{BETWEEN}{status}{BETWEEN}");
            let records = self.records().list(LIST, &prefix, None, CANDIDATES_MAX);
            for record in records.await? {
                let id = super::listing::id_of(&record)?;
                let examination = self.examination_at(id).await?;
                let planned = examination.value.order.scheduled_at;
                let made = examination.value.created_at.naive_local();
                let is_near =
                    |time: NaiveDateTime| time.signed_duration_since(near).abs() <= WINDOW;
                if is_near(planned) || is_near(made) {
                    found.push(examination);
                }
            }
        }
        Ok(found)
    }

    pub(crate) async fn candidate(
        &self,
        examination: &Examination,
    ) -> Result<Candidate, RegistryError> {
        let patient = self.survivor(examination.patient).await?;
        Ok(Candidate {
            examination: examination.id,
            organisation: examination.performing,
            planned_study: examination.planned_study.clone(),
            kind: examination.order.kind.clone(),
            status: examination.status(),
            person: self.person(&patient.value).await?,
            ordered_at: examination.created_at.naive_local(),
            scheduled_at: examination.order.scheduled_at,
        })
    }
}

fn is_open(examination: &Examination) -> bool {
    matches!(examination.status(), Status::Scheduled | Status::InProgress)
}
