//! Organisations, what they know of studies, and what they see.

use crate::samples::study_uid;
use chrono::{DateTime, NaiveDate, Utc};
use pacs_core::coerce::{
    Change, Correction, Demographics, Order, Overlay, PersonName, Reason, Request,
};
use pacs_core::examination::reconcile::Kind;
use pacs_core::instance::level_of;
use pacs_core::patient::{PatientKey, PatientNumber};
use pacs_core::role::sight::{Examined, Onlooker, Senders, Sight, StudyFacts};
use pacs_core::role::{Departments, Grant, Grants, Kinds, Reach, Role};
use pacs_core::{DepartmentCode, ExaminationId, OrganisationCode, Phi};
use pacs_store::index::{Notes, StudyNote};
use std::sync::Arc;

/// An organisation by its code.
#[must_use]
pub fn organisation(code: &str) -> OrganisationCode {
    OrganisationCode::parse(code).unwrap()
}

fn department(code: &str) -> DepartmentCode {
    DepartmentCode::parse(code).unwrap()
}

/// The patient with this serial number.
#[must_use]
pub fn patient(serial: u32) -> PatientKey {
    PatientKey::Known(PatientNumber::from_serial(serial).unwrap())
}

/// What a study of a patient with this family name says.
#[must_use]
pub fn correction(serial: u32, family: &str) -> Correction {
    let at = DateTime::parse_from_rfc3339("2026-11-26T09:30:00+06:00").unwrap();
    let overlay = Overlay::new(Change::new(Reason::Coerce, at))
        .with_patient(&Demographics {
            name: PersonName::new(family, "Үсөн", "").unwrap(),
            latin_name: None,
            key: patient(serial),
            identifiers: Vec::new(),
            birth_date: NaiveDate::from_ymd_opt(1990, 1, 31).map(Phi::new),
            sex: None,
        })
        .unwrap()
        .with_order(&Order {
            request: Request::new(ExaminationId::parse("250060004329").unwrap()),
            further_requests: Vec::new(),
            referring_physician: None,
            study_description: None,
            procedure_codes: Vec::new(),
        })
        .unwrap()
        .or_institution("Hospital")
        .unwrap();
    overlay.correction(|tag| level_of(tag).is_some())
}

/// That `performing` makes a study of the patient, whom `treating` treats, too: a CT of the odd
/// ones and an MR of the others; each third one in RAD, each next one in ER, the rest nobody knows
/// where.
#[must_use]
pub fn facts(serial: u32, performing: &str, treating: Option<&str>) -> StudyFacts {
    let until = DateTime::from_timestamp(4_000_000_000, 0).unwrap();
    StudyFacts {
        organisation: organisation(performing),
        department: None,
        others: Vec::new(),
        named: Vec::new(),
        examined: Some(Examined {
            patient: patient(serial),
            performing: organisation(performing),
            ordering: organisation(performing),
            requester: "op".to_owned(),
            is_delivered: false,
            assigned_to: None,
            pool: None,
            kind: Some(if serial.is_multiple_of(2) {
                Kind::Mr
            } else {
                Kind::Ct
            }),
            performing_department: match serial % 3 {
                0 => Some(department("RAD")),
                1 => Some(department("ER")),
                _ => None,
            },
            ordering_department: None,
            is_restricted: false,
            tied_until: treating
                .map(|of| (organisation(of), until))
                .into_iter()
                .collect(),
        }),
    }
}

/// Notes of one study.
#[must_use]
pub fn note(study: u32, note: StudyNote, through: u64) -> Notes {
    Notes {
        of_studies: vec![(study_uid(study), note)],
        through,
    }
}

/// What a device of the organisation sees; of none, nothing. `CT1` is a device of 001, in its
/// department RAD, `CT2` of 006.
#[must_use]
pub fn sight(of: Option<&str>) -> Sight {
    let of = of.map(organisation);
    Sight::Narrowed(Arc::new(Onlooker::machine(of, senders(), at())))
}

/// What a radiologist of the organisation sees who reads these kinds of images alone, of these
/// departments alone.
///
/// # Panics
/// Where the words are none of kinds or departments.
#[must_use]
pub fn reading_sight(of: &str, kinds: &[&str], departments: &[&str]) -> Sight {
    let kinds = Kinds::of_words(kinds.iter().copied()).unwrap();
    let departments = Departments::of_words(departments.iter().copied()).unwrap();
    let grant = Grant::new(Role::Radiologist, Reach::Organisation(organisation(of)));
    let grant = grant.within(departments);
    Sight::Narrowed(Arc::new(Onlooker {
        user: "reader".to_owned(),
        grants: Grants::single(grant.limited_to(kinds)),
        ..Onlooker::machine(None, senders(), at())
    }))
}

fn senders() -> Arc<Senders> {
    let device = |title: &str, of| {
        let title = pacs_core::AeTitle::parse(title).unwrap();
        (title, organisation(of))
    };
    Arc::new(Senders {
        departments: [(device("CT1", "001").0, department("RAD"))].into(),
        devices: [device("CT1", "001"), device("CT2", "006")].into(),
        ..Senders::default()
    })
}

fn at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}
