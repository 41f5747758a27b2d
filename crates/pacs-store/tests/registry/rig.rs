//! Registries to test, and people who use them.

use chrono::DateTime;
use pacs_core::OrganisationCode;
use pacs_core::role::{Agent, AgentKind, Grant, Grants, Reach, Role};
use pacs_store::DataDirectory;
use pacs_store::disk::OsDisk;
use pacs_store::records::Records;
use pacs_store::records::memory::MemoryRecords;
use pacs_store::records::redb::RedbRecords;
use pacs_store::registry::organisations::Organisation;
use pacs_store::registry::{Moment, Registry};
use std::sync::Arc;
use tempfile::TempDir;

/// A registry with two organisations, 001 and 006.
pub(crate) struct Rig {
    pub(crate) registry: Registry,
    pub(crate) records: Arc<dyn Records>,
    _directory: Option<TempDir>,
}

impl Rig {
    /// In memory.
    pub(crate) async fn new() -> Self {
        Self::over(Arc::new(MemoryRecords::new()), None).await
    }

    /// On a disk.
    pub(crate) async fn on_disk() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let disk = Arc::new(OsDisk::open(directory.path()).unwrap());
        let records = RedbRecords::open(&DataDirectory::open(disk).unwrap()).unwrap();
        Self::over(Arc::new(records), Some(directory)).await
    }

    async fn over(records: Arc<dyn Records>, directory: Option<TempDir>) -> Self {
        let registry = Registry::new(Arc::clone(&records));
        let licence = Agent::system("test").national_licence().unwrap();
        for (code, prefix) in [("001", "KRKL"), ("006", "NATHOS")] {
            let organisation = organisation(code, prefix);
            let saved = registry.save_organisation(&licence, &organisation, None, now());
            saved.await.unwrap();
        }
        Self {
            registry,
            records,
            _directory: directory,
        }
    }
}

pub(crate) fn code(text: &str) -> OrganisationCode {
    OrganisationCode::parse(text).unwrap()
}

pub(crate) fn organisation(code_text: &str, prefix: &str) -> Organisation {
    Organisation {
        code: code(code_text),
        key: format!("hospital_{code_text}"),
        name_ru: format!("Больница {code_text}"),
        name_ky: format!("Оорукана {code_text}"),
        name_en: format!("Hospital {code_text}"),
        city_ru: "г. Бишкек".to_owned(),
        city_ky: "Бишкек ш.".to_owned(),
        city_ru_current: None,
        city_ky_current: None,
        region_ru: "г. Бишкек".to_owned(),
        address_ru: "ул. Тестовая, 1".to_owned(),
        ae_prefix: prefix.to_owned(),
        dicom_institution_name: format!("Больница {code_text}"),
        dicom_institution_name_ascii: format!("Hospital {code_text}"),
        timezone: "Asia/Bishkek".to_owned(),
        notes: String::new(),
    }
}

/// Somebody in one role.
pub(crate) fn user(name: &str, role: Role, organisation: &str) -> Agent {
    let reach = Reach::Organisation(code(organisation));
    Agent::new(
        AgentKind::User,
        name,
        Grants::single(Grant::new(role, reach)),
    )
}

/// Noon of an ordinary day in Bishkek.
pub(crate) fn now() -> Moment {
    DateTime::parse_from_rfc3339("2026-11-26T12:00:00+06:00").unwrap()
}
