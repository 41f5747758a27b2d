//! Overlays for tests, and what they write.

use chrono::{DateTime, NaiveDate};
use pacs_core::coerce::{Change, Code, Demographics, Order, Overlay, PersonName, Reason, Request};
use pacs_core::examination::id::StepId;
use pacs_core::patient::{Document, Identifier, PatientKey, PatientNumber, Sex};
use pacs_core::{ExaminationId, Phi};
use std::sync::Arc;

pub(crate) const CHANGED_AT: &str = "20261126093000+0600";

pub(crate) fn change() -> Change {
    let at = DateTime::parse_from_rfc3339("2026-11-26T09:30:00+06:00").unwrap();
    Change::new(Reason::Coerce, at)
        .from_source("CT_006")
        .unwrap()
}

pub(crate) fn patient() -> Demographics {
    let document = Document::parse("KGZ", "ID", "1234567").unwrap();
    Demographics {
        name: PersonName::new("Жээнбеков", "Үсөн", "Өмүрбекович").unwrap(),
        latin_name: Some(PersonName::new("ZHEENBEKOV", "USON", "OMURBEKOVICH").unwrap()),
        key: PatientKey::Known(PatientNumber::parse("P0000005724").unwrap()),
        identifiers: vec![Identifier::Document(document)],
        birth_date: Some(Phi::new(NaiveDate::from_ymd_opt(1990, 1, 31).unwrap())),
        sex: Some(Phi::new(Sex::Male)),
    }
}

pub(crate) fn order() -> Order {
    let examination = ExaminationId::parse("250060004329").unwrap();
    let code = Code::new("CT-CHEST", "99KGPACS", "КТ: грудная клетка").unwrap();
    Order {
        request: Request {
            step: Some(StepId::first(examination)),
            description: Some("КТ: грудная клетка".into()),
            codes: vec![code.clone()],
            ..Request::new(examination)
        },
        further_requests: Vec::new(),
        referring_physician: Some(PersonName::new("Щербакова", "Юлия", "Ильинична").unwrap()),
        study_description: Some("КТ: грудная клетка".into()),
        procedure_codes: vec![code],
    }
}

/// Everything that an overlay can say.
pub(crate) fn everything() -> Arc<Overlay> {
    let overlay = Overlay::new(change()).with_patient(&patient()).unwrap();
    let overlay = overlay.with_order(&order()).unwrap();
    let overlay = overlay.or_institution("Больница № 6").unwrap();
    Arc::new(overlay.or_weight_g(72_500).or_size_mm(1_810))
}

/// The patient alone.
pub(crate) fn patient_only() -> Arc<Overlay> {
    Arc::new(Overlay::new(change()).with_patient(&patient()).unwrap())
}
