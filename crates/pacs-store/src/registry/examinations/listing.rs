//! Reading examinations: lists, one by its ID, and the worklist of a device.

use super::super::batch::Batch;
use super::super::commit::agent_event;
use super::super::patients::{Patient, key_of};
use super::super::{Moment, Registry, RegistryError, Stored};
use super::candidates::if_readable;
use super::document::{OF_PATIENT, PLANNED, WORKLIST};
use super::{BETWEEN, Examination, ExaminationEvent, Listed};
use crate::limits::{EXAMINATIONS_OF_PATIENT_MAX, WORKLIST_MAX};
use crate::records::Record;
use chrono::{NaiveDateTime, TimeDelta, Utc};
use pacs_core::audit::Act;
use pacs_core::examination::Status;
use pacs_core::patient::PatientKey;
use pacs_core::role::duty::{Reconcile, WorklistQuery};
use pacs_core::role::visibility::{BreakGlass, ExaminationFacts, Viewer, can_see};
use pacs_core::role::{Agent, AgentKind, Licence};
use pacs_core::uid::StudyUid;
use pacs_core::worklist::WorklistSubject;
use pacs_core::{ExaminationId, OrganisationCode, Phi};

/// How long an order or encounter makes an organisation one that treats the patient.
pub(super) const TREATING_FOR: TimeDelta = TimeDelta::days(90);

/// Somebody who wants to see examinations, and what ties them to patients besides their roles.
/// What is seen is decided by [`can_see`]; the archive itself sees everything.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    /// Who.
    pub agent: &'a Agent,
    /// The pools they read for.
    pub pools: &'a [&'a str],
    /// They are a doctor.
    pub is_doctor: bool,
    /// Patients whom they opened in an emergency.
    pub break_glass: &'a [BreakGlass],
}

impl<'a> Reader<'a> {
    /// Somebody with nothing but roles.
    #[must_use]
    pub const fn new(agent: &'a Agent) -> Self {
        Self {
            agent,
            pools: &[],
            is_doctor: false,
            break_glass: &[],
        }
    }

    pub(super) fn sees(
        &self,
        examination: &Examination,
        tied_to: &[OrganisationCode],
        at: Moment,
    ) -> bool {
        if self.agent.kind == AgentKind::System {
            return true;
        }
        let now = at.with_timezone(&Utc);
        let mut opened = self.break_glass.iter().copied();
        let viewer = Viewer {
            user: &self.agent.name,
            grants: &self.agent.grants,
            pools: self.pools,
            is_doctor: self.is_doctor,
            tied_to,
            break_glass: opened.find(|glass| glass.opens(examination.patient, now)),
        };
        let facts = ExaminationFacts {
            patient: examination.patient,
            performing: examination.performing,
            ordering: examination.ordering,
            requester: &examination.requester,
            is_delivered: examination.status() == Status::Delivered,
            assigned_to: examination.assigned_to.as_deref(),
            pool: examination.pool.as_deref(),
            kind: Some(&examination.order.kind),
            performing_department: examination.order.performing_department.as_ref(),
            ordering_department: examination.order.ordering_department.as_ref(),
            is_restricted: examination.is_restricted,
            named: &examination.named,
        };
        can_see(&viewer, &facts, now)
    }
}

/// Which examinations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Those assigned to a user.
    Assigned(String),
    /// Those that an organisation ordered.
    Ordering(OrganisationCode),
    /// Those that an organisation makes.
    Performing(OrganisationCode),
    /// Those that wait in a pool of readers.
    Pool(String),
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExaminationPage {
    /// The examinations, newest first.
    pub examinations: Vec<Stored<Examination>>,
    /// Where the next part begins; `None` after the last.
    pub next: Option<String>,
}

/// An examination that a device may ask for, and its patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheduled {
    /// The examination.
    pub examination: Stored<Examination>,
    /// The patient, as they are called now.
    pub patient: Stored<Patient>,
}

/// A part of a worklist.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScheduledPage {
    /// The examinations, in the order of their planned times.
    pub examinations: Vec<Scheduled>,
    /// Where the next part begins; `None` after the last.
    pub next: Option<String>,
}

impl Scope {
    /// What keys of its examinations begin with.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Assigned(user) => format!("assigned/{user}"),
            Self::Ordering(organisation) => format!("ordering/{organisation}"),
            Self::Performing(organisation) => format!("performing/{organisation}"),
            Self::Pool(pool) => format!("pool/{pool}"),
        }
    }
}

impl Registry {
    /// «На рассмотрении»: the examinations of a scope that `reader` sees, of one status or of all,
    /// newest first, from where a former part says. A part may have fewer than it could.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn examinations(
        &self,
        reader: &Reader<'_>,
        (scope, status): (&Scope, Option<Status>),
        cursor: Option<&str>,
        count_max: usize,
        at: Moment,
    ) -> Result<ExaminationPage, RegistryError> {
        let listed = Listed::all(scope.clone(), status);
        self.listed_examinations(reader, &listed, cursor, count_max, at)
            .await
    }

    /// One examination, for whoever sees it; for others it is not there.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`]; [`RegistryError`] otherwise.
    pub async fn examination(
        &self,
        reader: &Reader<'_>,
        id: ExaminationId,
        at: Moment,
    ) -> Result<Stored<Examination>, RegistryError> {
        let found = self.examination_at(id).await?;
        let is_seen = reader.sees(&found.value, &[], at) || {
            let tied_to = self.tied_to(&found.value, at).await?;
            reader.sees(&found.value, &tied_to, at)
        };
        if is_seen {
            Ok(found)
        } else {
            Err(RegistryError::NotFound {
                what: "examination",
            })
        }
    }

    /// The same with its patient, as they are called now; the audit record has who opened it.
    ///
    /// # Errors
    /// As [`Registry::examination`].
    pub async fn open_examination(
        &self,
        reader: &Reader<'_>,
        id: ExaminationId,
        at: Moment,
    ) -> Result<Scheduled, RegistryError> {
        let examination = self.examination(reader, id, at).await?;
        let patient = self.survivor(examination.value.patient).await?;
        let organisation = Some(examination.value.performing);
        let mut event = agent_event(Act::PatientRead, reader.agent, organisation, at);
        event.object.patient = Some(Phi::new(patient.value.key));
        event.object.examination = Some(id);
        self.commit(Batch::default(), event).await?;
        Ok(Scheduled {
            examination,
            patient,
        })
    }

    /// The patient of an examination of a list, as they are called now, for whoever sees it.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn patient_in_list(
        &self,
        reader: &Reader<'_>,
        examination: &Examination,
        at: Moment,
    ) -> Result<Stored<Patient>, RegistryError> {
        if !reader.sees(examination, &[], at) {
            let tied_to = self.tied_to(examination, at).await?;
            if !reader.sees(examination, &tied_to, at) {
                return Err(RegistryError::NotFound {
                    what: "examination",
                });
            }
        }
        self.survivor(examination.patient).await
    }

    /// What happened to an examination, oldest first, for whoever sees it; the audit record has who
    /// looked.
    ///
    /// # Errors
    /// As [`Registry::examination`].
    pub async fn examination_events(
        &self,
        reader: &Reader<'_>,
        id: ExaminationId,
        at: Moment,
    ) -> Result<Vec<ExaminationEvent>, RegistryError> {
        self.open_examination(reader, id, at).await?;
        self.rows_of(id).await
    }

    /// The examinations of a patient that `reader` sees, newest first.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn examinations_of_patient(
        &self,
        reader: &Reader<'_>,
        patient: PatientKey,
        at: Moment,
    ) -> Result<Vec<Stored<Examination>>, RegistryError> {
        let patient = self.survivor(patient).await?;
        let mut event = agent_event(Act::Queried, reader.agent, None, at);
        event.object.patient = Some(Phi::new(patient.value.key));
        let event = asked(
            event,
            format!("examinations of {}", key_of(patient.value.key)),
        );
        self.commit(Batch::default(), event).await?;
        let all = self.examinations_of(&patient.value).await?;
        let agreed_for = self.agreed_for(&patient.value, at).await?;
        let mut seen = Vec::new();
        for examination in &all {
            let is_newer = |other: &&Stored<Examination>| {
                other.value.created_at > examination.value.created_at
            };
            let mut tied_to = treating(all.iter().filter(is_newer), at);
            tied_to.extend(&agreed_for);
            if reader.sees(&examination.value, &tied_to, at) {
                seen.push(examination.clone());
            }
        }
        Ok(seen)
    }

    /// The examination whose planned Study Instance UID this is.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn examination_planned_as(
        &self,
        licence: &Licence<Reconcile>,
        study: &StudyUid,
    ) -> Result<Option<Stored<Examination>>, RegistryError> {
        let Some(found) = self.planned(study).await? else {
            return Ok(None);
        };
        licence.check_over(found.value.performing, found.value.work())?;
        Ok(Some(found))
    }

    pub(super) async fn planned(
        &self,
        study: &StudyUid,
    ) -> Result<Option<Stored<Examination>>, RegistryError> {
        match self.pointer(PLANNED, study.as_str()).await? {
            None => Ok(None),
            Some(pointer) => Ok(Some(self.examination_at(parse_id(&pointer.to)?).await?)),
        }
    }

    /// Examinations of `organisation` that devices may ask for, planned from `from` to `to`, in the
    /// order of their times, each with its patient, from where a former part says. One that cannot
    /// be read is told of in the log, and hides none of the others; a part may have fewer than it
    /// could.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn scheduled_examinations(
        &self,
        licence: &Licence<WorklistQuery>,
        organisation: OrganisationCode,
        (from, to): (NaiveDateTime, NaiveDateTime),
        cursor: Option<&str>,
        count_max: usize,
    ) -> Result<ScheduledPage, RegistryError> {
        licence.check(organisation)?;
        let prefix = format!("{organisation}{BETWEEN}");
        let count_max = count_max.clamp(1, WORKLIST_MAX);
        // Just before the first second of `from`: what stands between is behind both.
        let first = first_second(from);
        let after = format!("{prefix}{}", cursor.unwrap_or(&first));
        let last = first_second(to);
        let records = self
            .records()
            .list(WORKLIST, &prefix, Some(&after), count_max)
            .await?;
        let mut page = ScheduledPage::default();
        let is_last = records.len() < count_max;
        for record in records {
            let place = record.key.get(prefix.len()..).unwrap_or_default();
            let time = place.split(BETWEEN).next().unwrap_or_default();
            if time > last.as_str() {
                page.next = None;
                return Ok(page);
            }
            page.next = (!is_last).then(|| place.to_owned());
            let Some(examination) = self.readable(&record).await? else {
                continue;
            };
            let of_it = &examination.value;
            if licence.check_over(organisation, of_it.work()).is_err() {
                continue;
            }
            match self.survivor(examination.value.patient).await {
                Ok(patient) => page.examinations.push(Scheduled {
                    examination,
                    patient,
                }),
                Err(error @ (RegistryError::Damaged { .. } | RegistryError::NotFound { .. })) => {
                    let examination = examination.value.id;
                    tracing::error!(%examination, %error, "a patient cannot be read");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(page)
    }

    /// Those of them that `subject` names.
    ///
    /// # Errors
    /// As [`Registry::scheduled_examinations`].
    pub async fn scheduled_examinations_of(
        &self,
        licence: &Licence<WorklistQuery>,
        organisation: OrganisationCode,
        subject: WorklistSubject,
        (from, to): (NaiveDateTime, NaiveDateTime),
    ) -> Result<Vec<Scheduled>, RegistryError> {
        licence.check(organisation)?;
        let named = self.examinations_named(subject).await?;
        let span = first_second(from)..=first_second(to);
        let mut found = Vec::new();
        for examination in named {
            let value = &examination.value;
            let is_listed = value.performing == organisation
                && licence.check_over(organisation, value.work()).is_ok()
                && value.is_in_worklist()
                && span.contains(&first_second(value.order.scheduled_at));
            if is_listed && let Some(patient) = if_readable(self.survivor(value.patient).await)? {
                found.push(Scheduled {
                    examination,
                    patient,
                });
            }
        }
        found.sort_by_key(|one| {
            let value = &one.examination.value;
            (first_second(value.order.scheduled_at), value.id)
        });
        Ok(found)
    }

    /// The examinations that somebody names, those that cannot be read left out.
    pub(super) async fn examinations_named(
        &self,
        subject: WorklistSubject,
    ) -> Result<Vec<Stored<Examination>>, RegistryError> {
        match subject {
            WorklistSubject::Examination(id) => {
                let found = if_readable(self.examination_at(id).await)?;
                Ok(found.into_iter().collect())
            }
            WorklistSubject::Patient(key) => self.readable_of_patient(key).await,
        }
    }

    /// The examinations of a patient, those that cannot be read left out.
    async fn readable_of_patient(
        &self,
        key: PatientKey,
    ) -> Result<Vec<Stored<Examination>>, RegistryError> {
        let mut found = Vec::new();
        let Some(patient) = if_readable(self.survivor(key).await)? else {
            return Ok(found);
        };
        for key in self.keys_of(&patient.value).await? {
            let prefix = format!("{}{BETWEEN}", key_of(key));
            let left = EXAMINATIONS_OF_PATIENT_MAX.saturating_sub(found.len());
            let records = self.records().list(OF_PATIENT, &prefix, None, left);
            for record in records.await? {
                found.extend(self.readable(&record).await?);
            }
        }
        Ok(found)
    }

    /// The examination that a device of its organisation names by its ID, and its patient.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`], also for those of other organisations.
    pub async fn scheduled_examination(
        &self,
        licence: &Licence<WorklistQuery>,
        id: ExaminationId,
    ) -> Result<Scheduled, RegistryError> {
        let examination = self.examination_at(id).await?;
        let of_it = &examination.value;
        if licence.check_over(of_it.performing, of_it.work()).is_err() {
            return Err(RegistryError::NotFound {
                what: "examination",
            });
        }
        let patient = self.survivor(examination.value.patient).await?;
        Ok(Scheduled {
            examination,
            patient,
        })
    }

    /// Organisations where the patient of an older examination is treated now, and those for which
    /// they agreed.
    async fn tied_to(
        &self,
        examination: &Examination,
        at: Moment,
    ) -> Result<Vec<OrganisationCode>, RegistryError> {
        let patient = self.survivor(examination.patient).await?;
        let all = self.examinations_of(&patient.value).await?;
        let newer = all.iter();
        let newer = newer.filter(|other| other.value.created_at > examination.created_at);
        let mut tied_to = treating(newer, at);
        tied_to.extend(self.agreed_for(&patient.value, at).await?);
        Ok(tied_to)
    }
}

/// A planned time, as keys of the worklist have it: to the second.
pub(super) fn first_second(of: NaiveDateTime) -> String {
    of.format("%Y-%m-%dT%H:%M:%S").to_string()
}

/// Organisations that ordered or make examinations of the last ninety days.
fn treating<'a>(
    examinations: impl Iterator<Item = &'a Stored<Examination>>,
    at: Moment,
) -> Vec<OrganisationCode> {
    let mut organisations = Vec::new();
    for examination in examinations {
        let examination = &examination.value;
        let age = at.signed_duration_since(examination.created_at);
        if age <= TREATING_FOR && is_treated_by(examination) {
            organisations.extend([examination.performing, examination.ordering]);
        }
    }
    organisations.sort();
    organisations.dedup();
    organisations
}

/// Whether who has this order treats its patient.
pub(super) const fn is_treated_by(examination: &Examination) -> bool {
    !matches!(examination.status(), Status::Cancelled | Status::Registered)
}

pub(super) fn asked(
    mut event: pacs_core::audit::AuditEvent,
    query: String,
) -> pacs_core::audit::AuditEvent {
    event.object.query = Some(Phi::new(query));
    event
}

/// The examination that a key points to.
pub(super) fn id_of(record: &Record) -> Result<ExaminationId, RegistryError> {
    let text = std::str::from_utf8(&record.value).unwrap_or_default();
    parse_id(text)
}

pub(super) fn parse_id(text: &str) -> Result<ExaminationId, RegistryError> {
    ExaminationId::try_from(text.to_owned()).map_err(|_| RegistryError::Damaged {
        what: "key of an examination",
    })
}
