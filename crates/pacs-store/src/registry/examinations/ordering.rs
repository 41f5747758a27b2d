//! Ordering: the form is saved, and the examination has its ID.

use super::super::batch::Batch;
use super::super::commit::agent_event;
use super::super::document::Document;
use super::super::patients::{Patient, key_of};
use super::super::{Moment, Refusal, Registry, RegistryError, Stored};
use super::actions::{add_event, first_that_may};
use super::document::{OF_PATIENT, Order};
use super::{BETWEEN, Examination, Random, Readings, newest_first, study_of};
use crate::limits::{EXAMINATIONS_OF_PATIENT_MAX, REGISTRY_ATTEMPTS_MAX};
use crate::records::Kind;
use chrono::TimeDelta;
use pacs_core::audit::Act;
use pacs_core::examination::progress::{Duplicate, Form};
use pacs_core::examination::{Event, Numbering, Progress, Status};
use pacs_core::patient::PatientKey;
use pacs_core::role::{Licence, duty::OrderCreate};
use pacs_core::{ExaminationId, OrganisationCode, Phi};

/// How far back another order of the same kind counts as the same.
const DUPLICATE_WINDOW: TimeDelta = TimeDelta::hours(24);

/// Orders that are read at once to find such a one.
const DUPLICATES_PAGE: usize = 16;

impl Document for Numbering {
    const KIND: Kind = Kind::new("examination-numbering");
    const NAME: &'static str = "numbering of examinations";
}

/// What is ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewExamination {
    /// For whom.
    pub patient: PatientKey,
    /// The organisation that orders.
    pub ordering: OrganisationCode,
    /// The organisation that makes it.
    pub performing: OrganisationCode,
    /// What the form says.
    pub order: Order,
    /// Somebody said that it is meant, though the patient has an open order of this kind.
    pub is_meant_twice: bool,
}

impl Registry {
    /// «Сохранить»: gives an ID and a planned Study Instance UID, which is made of `random`.
    ///
    /// # Errors
    /// [`Refusal::Transition`] for what the form lacks, and for an open order of the same kind;
    /// [`Refusal::Numbering`]; [`RegistryError`] otherwise. Nothing was done, but of
    /// [`RegistryError::Backend`] that is not known.
    pub async fn order_examination(
        &self,
        licence: &Licence<OrderCreate>,
        new: &NewExamination,
        random: Random,
        at: Moment,
    ) -> Result<Stored<Examination>, RegistryError> {
        licence.check_over(new.ordering, new.order.ordered())?;
        new.order.check()?;
        let _turn = self.turn().await;
        for _ in 0..REGISTRY_ATTEMPTS_MAX {
            match self.order_once(licence, new, random, at).await {
                Err(RegistryError::Changed) => {}
                other => return other,
            }
        }
        Err(RegistryError::Busy)
    }

    async fn order_once(
        &self,
        licence: &Licence<OrderCreate>,
        new: &NewExamination,
        random: Random,
        at: Moment,
    ) -> Result<Stored<Examination>, RegistryError> {
        let patient = self.survivor(new.patient).await?;
        for organisation in [new.ordering, new.performing] {
            self.organisation(organisation).await?;
        }
        let form = self.form(&patient.value, &new.order, None, at).await?;
        let duplicate = if form.duplicate == Duplicate::Yes && new.is_meant_twice {
            Duplicate::Confirmed
        } else {
            form.duplicate
        };
        let form = Form { duplicate, ..form };
        let actors = licence.agent().actors_at(new.ordering, new.order.ordered());
        let draft = first_that_may(&actors, |actor| {
            let draft = Progress::open(actor)?;
            let (saved, _) = draft.apply(&Event::Save(form), actor)?;
            Ok((saved, actor))
        });
        let (progress, actor) = draft.map_err(Refusal::Transition)?;

        let mut batch = Batch::default();
        let id = self.next_id(new.performing, at, &mut batch).await?;
        let examination = Examination {
            id,
            patient: patient.value.key,
            ordering: new.ordering,
            performing: new.performing,
            requester: licence.agent().name.clone(),
            order: new.order.clone(),
            planned_study: study_of(random)?,
            attempt: 1,
            progress,
            created_at: at,
            changed_at: at,
            began_at: None,
            first_image_at: None,
            last_image_at: None,
            received_at: None,
            lock: None,
            assigned_to: None,
            pool: None,
            is_restricted: false,
            named: Vec::new(),
            studies: Vec::new(),
            readings: Readings::default(),
            events_count: 0,
        };
        // Nobody merges the patient away meanwhile.
        batch.keep::<Patient>(&key_of(patient.value.key), patient.revision);
        let place = batch.changes.len();
        let mut row = add_event(licence.agent(), actor, "save", None, at);
        row.to = progress.status();
        let examination = self
            .put_examination(&mut batch, None, examination, vec![row])
            .await?;
        let mut event = agent_event(Act::OrderCreated, licence.agent(), Some(new.ordering), at);
        event.object.patient = Some(Phi::new(examination.patient));
        event.object.examination = Some(id);
        let revisions = self.commit(batch, event).await?;
        let revision = revisions.get(place).copied();
        Stored::of(examination, revision.ok_or(RegistryError::Changed)?)
    }

    /// Takes the next ID of an organisation, in `batch`.
    pub(super) async fn next_id(
        &self,
        organisation: OrganisationCode,
        at: Moment,
        batch: &mut Batch,
    ) -> Result<ExaminationId, RegistryError> {
        let key = organisation.to_string();
        let today = at.date_naive();
        let before = self.find::<Numbering>(&key).await?;
        let mut numbering = match &before {
            Some(before) => before.value,
            None => Numbering::new(organisation, today),
        };
        let id = numbering.take(today).map_err(Refusal::Numbering)?;
        batch.put(&key, &numbering, before.map(|before| before.revision))?;
        Ok(id)
    }

    /// What the form has, with what the registry knows of the patient's other orders.
    pub(super) async fn form(
        &self,
        patient: &Patient,
        order: &Order,
        own: Option<ExaminationId>,
        at: Moment,
    ) -> Result<Form, RegistryError> {
        let is_double = self.has_double(patient, order, own, at).await?;
        let duplicate = if is_double {
            Duplicate::Yes
        } else {
            Duplicate::No
        };
        Ok(Form {
            has_patient: true,
            has_body_part_and_kind: !order.regions.is_empty(),
            has_weight_if_needed: order.weight_tenths_kg.is_some() || !order.needs_weight(),
            duplicate,
        })
    }

    /// Whether the patient has another open order of the same kind that is not old.
    async fn has_double(
        &self,
        patient: &Patient,
        order: &Order,
        own: Option<ExaminationId>,
        at: Moment,
    ) -> Result<bool, RegistryError> {
        for key in self.keys_of(patient).await? {
            let prefix = format!("{}{BETWEEN}", key_of(key));
            // What is older stands behind this, and what is newer is looked at one by one.
            let oldest = at.checked_sub_signed(DUPLICATE_WINDOW).unwrap_or(at);
            let beyond = format!("{prefix}{}", newest_first(oldest));
            let mut after: Option<String> = None;
            loop {
                let records =
                    self.records()
                        .list(OF_PATIENT, &prefix, after.as_deref(), DUPLICATES_PAGE);
                let records = records.await?;
                let is_last = records.len() < DUPLICATES_PAGE;
                for record in records {
                    if record.key > beyond {
                        after = None;
                        break;
                    }
                    let other = self.examination_at(super::listing::id_of(&record)?).await?;
                    let other = other.value;
                    let is_open = matches!(other.status(), Status::Scheduled | Status::InProgress);
                    if Some(other.id) != own && is_open && other.order.is_like(order) {
                        return Ok(true);
                    }
                    after = Some(record.key);
                }
                if is_last || after.is_none() {
                    break;
                }
            }
        }
        Ok(false)
    }

    /// The examinations of a patient and of those who went into them, newest first.
    pub(super) async fn examinations_of(
        &self,
        patient: &Patient,
    ) -> Result<Vec<Stored<Examination>>, RegistryError> {
        let mut found = Vec::new();
        for key in self.keys_of(patient).await? {
            let prefix = format!("{}{BETWEEN}", key_of(key));
            let left = EXAMINATIONS_OF_PATIENT_MAX.saturating_sub(found.len());
            let records = self.records().list(OF_PATIENT, &prefix, None, left).await?;
            for record in records {
                let id = super::listing::id_of(&record)?;
                found.push(self.examination_at(id).await?);
            }
        }
        found.sort_by_key(|examination| std::cmp::Reverse(examination.value.created_at));
        Ok(found)
    }
}
