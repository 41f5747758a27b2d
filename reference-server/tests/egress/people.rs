//! Organisations, people and examinations to test with.

use pacs_core::audit::{Act, Actor, AuditEvent};
use pacs_core::role::{Agent, AgentKind, Grant, Grants, Reach, Role};
use pacs_core::{AeTitle, OrganisationCode};
use pacs_store::registry::devices::Device;
use pacs_store::registry::organisations::Organisation;
use pacs_store::registry::patients::{Particulars, PersonName};

pub(crate) fn code(text: &str) -> OrganisationCode {
    OrganisationCode::parse(text).unwrap()
}

pub(crate) fn title(text: &str) -> AeTitle {
    AeTitle::parse(text).unwrap()
}

pub(crate) fn agent(name: &str, role: Role, organisation: &str) -> Agent {
    let reach = Reach::Organisation(code(organisation));
    Agent::new(
        AgentKind::User,
        name,
        Grants::single(Grant::new(role, reach)),
    )
}

pub(crate) fn organisation(of: &str, prefix: &str) -> Organisation {
    let json = serde_json::json!({
        "code": of, "key": format!("hospital_{of}"),
        "name_ru": format!("Больница {of}"), "name_ky": "", "name_en": "",
        "city_ru": "", "city_ky": "", "region_ru": "", "address_ru": "",
        "ae_prefix": prefix,
        "dicom_institution_name": format!("Больница {of}"),
        "dicom_institution_name_ascii": format!("Hospital {of}"),
        "timezone": "Asia/Bishkek",
    });
    serde_json::from_value(json).unwrap()
}

pub(crate) fn device(name: &str, organisation: &str) -> Device {
    let json = serde_json::json!({
        "ae_title": name, "organisation": organisation, "modality": "CT",
    });
    serde_json::from_value(json).unwrap()
}

/// A person by this family name.
pub(crate) fn particulars(family: &str) -> Particulars {
    Particulars {
        name: PersonName {
            family: family.to_owned(),
            given: "Үсөн".to_owned(),
            patronymic: "Өмүрбекович".to_owned(),
        },
        birth_date: "1990-01-31".parse().ok(),
        ..Particulars::default()
    }
}

/// That somebody was let in, for the trail.
pub(crate) fn let_in() -> AuditEvent {
    let at = chrono::Utc::now().fixed_offset();
    AuditEvent::new(Act::UserChanged, at, Actor::system("test"))
}
