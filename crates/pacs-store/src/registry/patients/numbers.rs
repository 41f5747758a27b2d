//! The next number of a patient.

use super::super::batch::Batch;
use super::super::document::Document;
use super::super::{Refusal, Registry, RegistryError};
use crate::records::Kind;
use pacs_core::patient::{PatientKey, PatientNumber, TemporaryNumber};
use serde::{Deserialize, Serialize};

/// The last serial number of a kind that was given.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Counter {
    last: u32,
}

impl Document for Counter {
    const KIND: Kind = Kind::new("counter");
    const NAME: &'static str = "counter";
}

impl Registry {
    /// Takes the next number, in `batch`.
    pub(super) async fn next_patient(
        &self,
        is_unidentified: bool,
        batch: &mut Batch,
    ) -> Result<PatientKey, RegistryError> {
        let name = if is_unidentified {
            "temporary-patient"
        } else {
            "patient"
        };
        let before = self.find::<Counter>(name).await?;
        let last = before.as_ref().map_or(0, |before| before.value.last);
        let serial = last.saturating_add(1);
        let exhausted = |_| Refusal::Exhausted {
            what: "patient numbers",
        };
        let key = if is_unidentified {
            TemporaryNumber::from_serial(serial)
                .map(PatientKey::Unidentified)
                .map_err(exhausted)?
        } else {
            PatientNumber::from_serial(serial)
                .map(PatientKey::Known)
                .map_err(exhausted)?
        };
        let expected = before.map(|before| before.revision);
        batch.put(name, &Counter { last: serial }, expected)?;
        Ok(key)
    }
}
