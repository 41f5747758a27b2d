//! Examinations as pages see them.

use super::form::word;
use crate::api::conditional::etag;
use crate::api::patients::{Name, PatientInShort};
use chrono::{DateTime, FixedOffset};
use pacs_core::examination::{Side, Status};
use pacs_core::role::Role;
use pacs_core::worklist::Pregnancy;
use pacs_core::{DepartmentCode, OrganisationCode};
use pacs_store::registry::Stored;
use pacs_store::registry::examinations::{
    Examination, ExaminationEvent, Order, Priority, Scheduled,
};
use pacs_store::registry::patients::Patient;
use serde::Serialize;

type Moment = DateTime<FixedOffset>;

#[derive(Serialize)]
struct Region {
    part: &'static str,
    meaning: &'static str,
    side: Option<Side>,
}

fn regions(order: &Order) -> Vec<Region> {
    let regions = order.regions.iter().map(|region| Region {
        part: region.part.code(),
        meaning: region.part.meaning(),
        side: region.side,
    });
    regions.collect()
}

/// Who has an examination in work.
#[derive(Serialize)]
struct Lock {
    by: String,
    at: Moment,
}

/// What lists, cards and answers to acts have of an examination: nothing that is said of health.
#[derive(Serialize)]
pub(in crate::api) struct Standing {
    id: String,
    id_grouped: String,
    status: Status,
    status_key: &'static str,
    performing: OrganisationCode,
    ordering: OrganisationCode,
    created_at: Moment,
    changed_at: Moment,
    lock: Option<Lock>,
    /// The reader that it is for.
    assigned_to: Option<String>,
    /// Only those see it who are named.
    is_restricted: bool,
    named: Vec<String>,
    has_late_images: bool,
    is_incomplete: bool,
    is_expired: bool,
}

impl From<&Examination> for Standing {
    fn from(of: &Examination) -> Self {
        Self {
            id: of.id.to_string(),
            id_grouped: of.id.grouped(),
            status: of.status(),
            status_key: of.status().message_key(),
            performing: of.performing,
            ordering: of.ordering,
            created_at: of.created_at,
            changed_at: of.changed_at,
            lock: of.lock.as_ref().map(|lock| Lock {
                by: lock.by.clone(),
                at: lock.at,
            }),
            assigned_to: of.assigned_to.clone(),
            is_restricted: of.is_restricted,
            named: of.named.clone(),
            has_late_images: of.progress.has_late_images(),
            is_incomplete: of.progress.is_incomplete(),
            is_expired: of.progress.is_expired(),
        }
    }
}

/// An examination in a list.
#[derive(Serialize)]
pub(in crate::api) struct ListedExamination {
    #[serde(flatten)]
    standing: Standing,
    etag: String,
    patient: PatientInShort,
    kind: String,
    regions: Vec<Region>,
    priority: Priority,
    scheduled_at: Moment,
    received_at: Option<Moment>,
    studies_count: usize,
}

impl ListedExamination {
    pub(in crate::api) fn new(of: &Stored<Examination>, patient: &Patient) -> Self {
        let Stored {
            revision, value, ..
        } = of;
        Self {
            standing: value.into(),
            etag: etag(*revision),
            patient: patient.into(),
            kind: word(&value.order.kind),
            regions: regions(&value.order),
            priority: value.order.priority,
            scheduled_at: planned(&value.order),
            received_at: value.received_at,
            studies_count: value.studies.len(),
        }
    }
}

fn planned(order: &Order) -> Moment {
    let offset = crate::place::offset();
    let local = order.scheduled_at.and_local_timezone(offset);
    // An offset that never changes has each time once.
    local.single().unwrap_or_default()
}

/// The form, as it was saved.
#[derive(Serialize)]
struct Form {
    kind: String,
    regions: Vec<Region>,
    scheduled_at: Moment,
    priority: Priority,
    station: Option<String>,
    weight_kg: Option<f64>,
    size_cm: Option<u16>,
    complaints: String,
    anamnesis: String,
    contrast: String,
    allergies: String,
    pregnancy: Option<Pregnancy>,
    referring_physician: Option<Name>,
    department: String,
    performing_department: Option<DepartmentCode>,
    ordering_department: Option<DepartmentCode>,
    ward: String,
    card_number: String,
    placer_number: String,
}

impl From<&Order> for Form {
    fn from(of: &Order) -> Self {
        Self {
            kind: word(&of.kind),
            regions: regions(of),
            scheduled_at: planned(of),
            priority: of.priority,
            station: of.station.as_ref().map(|title| title.as_str().to_owned()),
            weight_kg: of.weight_tenths_kg.map(|tenths| f64::from(tenths) / 10.0),
            size_cm: of.size_cm,
            complaints: of.complaints.clone(),
            anamnesis: of.anamnesis.clone(),
            contrast: of.contrast.clone(),
            allergies: of.allergies.clone(),
            pregnancy: of.pregnancy,
            referring_physician: of.referring_physician.clone().map(Name::from),
            department: of.department.clone(),
            performing_department: of.performing_department.clone(),
            ordering_department: of.ordering_department.clone(),
            ward: of.ward.clone(),
            card_number: of.card_number.clone(),
            placer_number: of.placer_number.clone(),
        }
    }
}

/// An examination.
#[derive(Serialize)]
pub(in crate::api) struct ShownExamination {
    #[serde(flatten)]
    standing: Standing,
    patient: PatientInShort,
    /// What is odd about the patient.
    warnings: Vec<&'static str>,
    form: Form,
    step_id: String,
    planned_study: String,
    requester: String,
    began_at: Option<Moment>,
    first_image_at: Option<Moment>,
    last_image_at: Option<Moment>,
    received_at: Option<Moment>,
    studies: Vec<String>,
}

impl ShownExamination {
    pub(super) fn new(of: &Scheduled) -> Self {
        let examination = &of.examination.value;
        let patient = &of.patient.value;
        let today = crate::place::now().date_naive();
        Self {
            standing: examination.into(),
            patient: patient.into(),
            warnings: crate::api::patients::warnings(&patient.particulars, today),
            form: (&examination.order).into(),
            step_id: examination.step().to_string(),
            planned_study: examination.planned_study.as_str().to_owned(),
            requester: examination.requester.clone(),
            began_at: examination.began_at,
            first_image_at: examination.first_image_at,
            last_image_at: examination.last_image_at,
            received_at: examination.received_at,
            studies: examination
                .studies
                .iter()
                .map(|study| study.as_str().to_owned())
                .collect(),
        }
    }
}

/// Something that happened.
#[derive(Serialize)]
pub(in crate::api) struct ShownEvent {
    from: Option<Status>,
    to: Status,
    event: String,
    by: String,
    role: Option<Role>,
    reason: Option<String>,
    at: Moment,
}

impl From<ExaminationEvent> for ShownEvent {
    fn from(event: ExaminationEvent) -> Self {
        Self {
            from: event.from,
            to: event.to,
            event: event.event,
            by: event.by,
            role: event.role,
            reason: event.reason.map(|reason| reason.reveal().to_owned()),
            at: event.at,
        }
    }
}
