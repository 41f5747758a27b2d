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
    /// it has; and the open ones of `organisation` that are near in time. What cannot be read is
    /// told of and left out.
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
        let near = near(headers, received_at);
        let open = self.open_orders(licence, organisation, Some(near)).await?;
        self.candidates_among(headers, &open, received_at).await
    }

    /// As [`Registry::candidates`], where the open orders of the organisation are at hand.
    pub(crate) async fn candidates_among(
        &self,
        headers: &[StudyHeader],
        open: &[Candidate],
        received_at: NaiveDateTime,
    ) -> Result<Vec<Candidate>, RegistryError> {
        let mut found: BTreeMap<ExaminationId, Stored<Examination>> = BTreeMap::new();
        for header in headers {
            for id in header.ids().take(CANDIDATES_MAX) {
                if let Some(examination) = if_readable(self.examination_at(id).await)? {
                    found.insert(id, examination);
                }
            }
            if let Some(examination) = if_readable(self.planned(&header.study).await)?.flatten() {
                found.insert(examination.value.id, examination);
            }
            for identifier in header.person.identifiers.iter().take(CANDIDATES_MAX) {
                let Some(patient) = if_readable(self.owner(identifier).await)?.flatten() else {
                    continue;
                };
                let theirs = if_readable(self.examinations_of(&patient.value).await)?;
                for examination in theirs.unwrap_or_default() {
                    if is_open(&examination.value) {
                        found.insert(examination.value.id, examination);
                    }
                }
            }
        }
        let near = near(headers, received_at);
        let mut candidates = Vec::new();
        for order in open {
            let is_close = is_near(order.scheduled_at, near) || is_near(order.ordered_at, near);
            if is_close && !found.contains_key(&order.examination) {
                candidates.push(order.clone());
            }
        }
        for examination in found.into_values() {
            candidates.extend(if_readable(self.candidate(&examination.value).await)?);
        }
        Ok(candidates)
    }

    /// The open orders of an organisation that are near in time, where a time is given, the newest
    /// of each status first; one that cannot be read is told of and left out.
    pub(crate) async fn open_orders(
        &self,
        licence: &Licence<Reconcile>,
        organisation: OrganisationCode,
        near: Option<NaiveDateTime>,
    ) -> Result<Vec<Candidate>, RegistryError> {
        licence.check(organisation)?;
        let mut found = Vec::new();
        for status in ["scheduled", "in_progress"] {
            let prefix = format!("performing/{organisation}{BETWEEN}{status}{BETWEEN}");
            let records = self.records().list(LIST, &prefix, None, CANDIDATES_MAX);
            for record in records.await? {
                let Some(examination) = self.readable(&record).await? else {
                    continue;
                };
                let examination = examination.value;
                let times = [
                    examination.order.scheduled_at,
                    examination.created_at.naive_local(),
                ];
                if near.is_none_or(|near| times.iter().any(|time| is_near(*time, near))) {
                    found.extend(if_readable(self.candidate(&examination).await)?);
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

/// What is there and can be read: one that cannot be hides none of the others.
pub(super) fn if_readable<T>(read: Result<T, RegistryError>) -> Result<Option<T>, RegistryError> {
    match read {
        Ok(found) => Ok(Some(found)),
        Err(RegistryError::NotFound { .. }) => Ok(None),
        Err(error @ RegistryError::Damaged { .. }) => {
            tracing::error!(%error, "something of an order cannot be read");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The time by which orders are near a study.
fn near(headers: &[StudyHeader], received_at: NaiveDateTime) -> NaiveDateTime {
    let made_at = headers.iter().find_map(|header| header.made_at);
    made_at.unwrap_or(received_at)
}

fn is_near(time: NaiveDateTime, near: NaiveDateTime) -> bool {
    time.signed_duration_since(near).abs() <= WINDOW
}

fn is_open(examination: &Examination) -> bool {
    matches!(examination.status(), Status::Scheduled | Status::InProgress)
}
