//! Rejections, for those who may see them.

use super::super::batch::Batch;
use super::super::commit::agent_event;
use super::super::document::Document as _;
use super::super::examinations::Examination;
use super::super::{Moment, Registry, RegistryError, Stored};
use super::document::{OF_ORGANISATION, scope};
use super::{Belonging, OF_STUDY, OPEN, Rejection, RejectionId};
use crate::limits::{REJECTIONS_OF_STUDY_MAX, REJECTIONS_PAGE_MAX, REJECTIONS_SCANNED_MAX};
use crate::records::{Kind, Record};
use chrono::NaiveDate;
use pacs_core::audit::{Act, AuditEvent, StudyTouched};
use pacs_core::patient::PatientKey;
use pacs_core::rejection::may_see;
use pacs_core::role::{Agent, AgentKind};
use pacs_core::uid::StudyUid;
use pacs_core::{ExaminationId, OrganisationCode, Phi};

/// Which rejections are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RejectionSearch {
    /// Of which organisation; `None`: of studies that nobody knows whose they are.
    pub organisation: Option<OrganisationCode>,
    /// Of the images of this examination alone.
    pub examination: Option<ExaminationId>,
    /// Of the images of this patient alone, also under a number that went into theirs.
    pub patient: Option<PatientKey>,
    /// Of this day and later.
    pub from: Option<NaiveDate>,
    /// Of this day and earlier.
    pub to: Option<NaiveDate>,
}

/// One thing that is kept of a study, which somebody opens.
pub(in crate::registry) struct Opened<'a> {
    /// What it is, as the audit record has it.
    pub(in crate::registry) what: String,
    pub(in crate::registry) study: &'a StudyUid,
    pub(in crate::registry) organisation: Option<OrganisationCode>,
    /// The examination that it says it is about.
    pub(in crate::registry) examination: Option<ExaminationId>,
    /// The patient that it says it is about.
    pub(in crate::registry) patient: Option<PatientKey>,
}

impl RejectionSearch {
    /// Whether a rejection is one of them, but for the patient.
    fn finds(&self, rejection: &Rejection) -> bool {
        let day = rejection.at.date_naive();
        let is_of = |id| rejection.examination == Some(id);
        self.examination.is_none_or(is_of)
            && self.from.is_none_or(|from| day >= from)
            && self.to.is_none_or(|to| day <= to)
    }

    /// As the audit record has it.
    fn said(&self) -> String {
        let of = |name: &str, value: Option<String>| value.map(|value| format!("{name} {value}"));
        let parts = [
            of("rejections of", Some(scope(self.organisation))),
            of("examination", self.examination.map(|id| id.to_string())),
            of("from", self.from.map(|day| day.to_string())),
            of("to", self.to.map(|day| day.to_string())),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        parts.join(" ")
    }
}

/// A part of the rejections of an organisation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RejectionPage {
    /// They, newest first.
    pub rejections: Vec<Stored<Rejection>>,
    /// Where the next part begins; `None` after the last.
    pub next: Option<String>,
}

impl Registry {
    /// One rejection, for whoever may see it; for others it is not there.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`]; [`RegistryError`] otherwise.
    pub async fn rejection(
        &self,
        agent: &Agent,
        id: &RejectionId,
    ) -> Result<Stored<Rejection>, RegistryError> {
        let found = self.read::<Rejection>(id.as_str()).await?;
        // Whoever rejected knows that they did.
        let is_own = agent.kind == AgentKind::User && found.value.by == agent.name;
        if is_own || may_see(agent, found.value.images(), found.value.title) {
            return Ok(found);
        }
        Err(RegistryError::NotFound {
            what: Rejection::NAME,
        })
    }

    /// The same; the audit record has who opened it.
    ///
    /// # Errors
    /// As [`Registry::rejection`].
    pub async fn open_rejection(
        &self,
        agent: &Agent,
        id: &RejectionId,
        at: Moment,
    ) -> Result<Stored<Rejection>, RegistryError> {
        let found = self.rejection(agent, id).await?;
        let Rejection {
            study,
            organisation,
            examination,
            patient,
            ..
        } = &found.value;
        let opened = Opened {
            what: format!("rejection {id}"),
            study,
            organisation: *organisation,
            examination: *examination,
            patient: *patient,
        };
        self.note_opened(agent, opened, at).await?;
        Ok(found)
    }

    /// The rejections of a search that `agent` sees, newest first, from where a former part says. A
    /// part may have fewer than it could. The audit record has who looked.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn rejections(
        &self,
        agent: &Agent,
        search: &RejectionSearch,
        (cursor, count_max): (Option<&str>, usize),
        at: Moment,
    ) -> Result<RejectionPage, RegistryError> {
        let patient = match search.patient {
            None => None,
            Some(patient) => match self.survivor(patient).await {
                Ok(patient) => Some(patient.value.key),
                // Nobody learns whether there is such a number.
                Err(RegistryError::NotFound { .. }) => Some(patient),
                Err(error) => return Err(error),
            },
        };
        let mut event = agent_event(Act::Queried, agent, search.organisation, at);
        event.object.query = Some(Phi::new(search.said()));
        event.object.patient = patient.map(Phi::new);
        self.commit(Batch::default(), event).await?;
        let prefix = format!("{}/", scope(search.organisation));
        let count_max = count_max.clamp(1, REJECTIONS_PAGE_MAX);
        let mut after = cursor.map(|cursor| format!("{prefix}{cursor}"));
        let mut page = RejectionPage::default();
        let mut scanned = 0_usize;
        loop {
            let records = self
                .records()
                .list(OF_ORGANISATION, &prefix, after.as_deref(), count_max)
                .await?;
            let is_last = records.len() < count_max;
            for record in records {
                scanned = scanned.saturating_add(1);
                let found = self.read::<Rejection>(&pointed_at(&record)?).await?;
                let place = record.key.get(prefix.len()..).map(str::to_owned);
                after = Some(record.key);
                let is_seen = may_see(agent, found.value.images(), found.value.title)
                    && search.finds(&found.value)
                    && self.is_of_patient(&found.value, patient).await?;
                if is_seen {
                    page.rejections.push(found);
                }
                if page.rejections.len() == count_max || scanned == REJECTIONS_SCANNED_MAX {
                    page.next = place;
                    return Ok(page);
                }
            }
            if is_last {
                return Ok(page);
            }
        }
    }

    /// Whether a rejection is of a patient, by whatever number.
    async fn is_of_patient(
        &self,
        rejection: &Rejection,
        patient: Option<PatientKey>,
    ) -> Result<bool, RegistryError> {
        match (patient, rejection.patient) {
            (None, _) => Ok(true),
            (Some(_), None) => Ok(false),
            (Some(patient), Some(of)) => {
                Ok(of == patient || self.survivor(of).await?.value.key == patient)
            }
        }
    }

    /// Writes down that somebody looks at a list of what is kept of studies.
    ///
    /// # Errors
    /// [`RegistryError`]; nothing is to be shown then.
    pub async fn note_look(
        &self,
        agent: &Agent,
        (organisation, what): (Option<OrganisationCode>, String),
        at: Moment,
    ) -> Result<(), RegistryError> {
        let mut event = agent_event(Act::Queried, agent, organisation, at);
        event.object.query = Some(Phi::new(what));
        self.commit(Batch::default(), event).await.map(drop)
    }

    /// Writes down that somebody opens one thing that is kept of a study: whose images it is about
    /// is what it says itself, else what is known of the study now.
    pub(in crate::registry) async fn note_opened(
        &self,
        agent: &Agent,
        opened: Opened<'_>,
        at: Moment,
    ) -> Result<(), RegistryError> {
        let mut event = agent_event(Act::Queried, agent, opened.organisation, at);
        event.object.query = Some(Phi::new(opened.what));
        event.object.studies = vec![StudyTouched {
            study: opened.study.clone(),
            sop_class: None,
            instances_count: 0,
            instances: Vec::new(),
        }];
        event.object.examination = opened.examination;
        event.object.patient = opened.patient.map(Phi::new);
        if opened.examination.is_none() && opened.patient.is_none() {
            self.is_of_study(&mut event, opened.study).await?;
        }
        self.commit(Batch::default(), event).await.map(drop)
    }

    /// Says in `event` which examination and whose a study is, where that is known.
    async fn is_of_study(
        &self,
        event: &mut AuditEvent,
        study: &StudyUid,
    ) -> Result<(), RegistryError> {
        if let Some((id, _)) = self.belonging(study).await?.examination {
            let examination = self.read::<Examination>(&id.to_string()).await?;
            event.object.patient = Some(Phi::new(examination.value.patient));
            event.object.examination = Some(id);
        }
        Ok(())
    }

    /// Writes down that somebody looks at what is kept of a study.
    ///
    /// # Errors
    /// [`RegistryError`]; nothing is to be shown then.
    pub async fn note_look_at_study(
        &self,
        agent: &Agent,
        (study, belonging): (&StudyUid, &Belonging),
        at: Moment,
    ) -> Result<(), RegistryError> {
        let mut event = agent_event(Act::Queried, agent, belonging.organisation, at);
        event.object.query = Some(Phi::new(format!("study {}", study.as_str())));
        if let Some((id, _)) = belonging.examination {
            let examination = self.read::<Examination>(&id.to_string()).await?;
            event.object.patient = Some(Phi::new(examination.value.patient));
            event.object.examination = Some(id);
        }
        self.commit(Batch::default(), event).await.map(drop)
    }

    /// All rejections of a study, oldest first: for the archive's own work.
    ///
    /// # Errors
    /// [`RegistryError::Damaged`], [`RegistryError::Backend`].
    pub async fn rejections_of_study(
        &self,
        study: &StudyUid,
    ) -> Result<Vec<Stored<Rejection>>, RegistryError> {
        let prefix = format!("{}/", study.as_str());
        self.rejections_by(OF_STUDY, &prefix).await
    }

    /// Rejections of which the archive has not been told to the end, oldest first: some of them,
    /// where there are many.
    ///
    /// # Errors
    /// [`RegistryError::Damaged`], [`RegistryError::Backend`].
    pub async fn open_rejections(&self) -> Result<Vec<Stored<Rejection>>, RegistryError> {
        self.rejections_by(OPEN, "").await
    }

    async fn rejections_by(
        &self,
        kind: Kind,
        prefix: &str,
    ) -> Result<Vec<Stored<Rejection>>, RegistryError> {
        let records = self
            .records()
            .list(kind, prefix, None, REJECTIONS_OF_STUDY_MAX)
            .await?;
        let mut found = Vec::with_capacity(records.len());
        for record in &records {
            found.push(self.read::<Rejection>(&pointed_at(record)?).await?);
        }
        Ok(found)
    }
}

/// The key that a key points to.
pub(super) fn pointed_at(record: &Record) -> Result<String, RegistryError> {
    let to = String::from_utf8(record.value.clone());
    to.map_err(|_| RegistryError::Damaged {
        what: "key of a rejection",
    })
}
