//! Patients: who they are, by which identifiers and names they are found, and what was changed of
//! it by whom.
//!
//! A patient has a number of the archive's own for ever. A national identifier belongs to one
//! patient: whoever registers somebody with a known one is given the patient that is there. Two
//! documents of one person are merged, which leaves both as they are and is undone for ninety days.

mod document;
mod identity;
mod merging;
mod numbers;
mod register;
mod search;

pub use document::{Card, HistoryEntry, Identity, Merge, Particulars, Patient, PersonName, What};
pub use identity::AskedOfRegister;
pub use register::{Alike, Registered};
pub use search::{FoundPatient, FoundPatients, PatientQuery, Rank};

use super::document::Document;
use super::{Registry, RegistryError, Stored};
use crate::limits::PATIENT_ALIASES_MAX;
use pacs_core::examination::reconcile::Person;
use pacs_core::patient::{Identifier, PatientKey};
use pacs_core::role::visibility::BreakGlass;

/// The key of a patient's document, which is the Patient ID that devices see.
pub(super) fn key_of(patient: PatientKey) -> String {
    patient.to_string()
}

impl Registry {
    /// The document of the patient whom `patient` names, be it by a number that went into another.
    pub(crate) async fn survivor(
        &self,
        patient: PatientKey,
    ) -> Result<Stored<Patient>, RegistryError> {
        let mut key = patient;
        for _ in 0..=PATIENT_ALIASES_MAX {
            let stored = self.read::<Patient>(&key_of(key)).await?;
            match &stored.value.merge {
                None => return Ok(stored),
                Some(merge) => key = merge.into,
            }
        }
        Err(RegistryError::Damaged {
            what: Patient::NAME,
        })
    }

    /// The numbers of a patient and of all that went into it.
    pub(super) async fn keys_of(
        &self,
        patient: &Patient,
    ) -> Result<Vec<PatientKey>, RegistryError> {
        let mut keys = vec![patient.key];
        let mut waiting = patient.aliases.clone();
        while let Some(key) = waiting.pop() {
            if keys.len() > PATIENT_ALIASES_MAX || keys.contains(&key) {
                continue;
            }
            keys.push(key);
            waiting.extend(self.read::<Patient>(&key_of(key)).await?.value.aliases);
        }
        Ok(keys)
    }

    /// The same emergencies by every number that the patients have now: whoever opens somebody
    /// opens the person, and examinations of before a merge have the number that went.
    ///
    /// # Errors
    /// [`RegistryError::Damaged`], [`RegistryError::Backend`].
    pub async fn by_all_numbers(
        &self,
        opened: &[BreakGlass],
    ) -> Result<Vec<BreakGlass>, RegistryError> {
        let mut all = Vec::with_capacity(opened.len());
        for glass in opened {
            let patient = match self.survivor(glass.patient()).await {
                Ok(patient) => patient,
                // Nobody has that number: it opens nothing.
                Err(RegistryError::NotFound { .. }) => continue,
                Err(error) => return Err(error),
            };
            let keys = self.keys_of(&patient.value).await?;
            all.extend(keys.into_iter().map(|key| glass.by_number(key)));
        }
        Ok(all)
    }

    /// Everything by which images can be told to be of `patient`: identifiers and names of the
    /// document, and of all that went into it.
    pub(super) async fn person(&self, patient: &Patient) -> Result<Person, RegistryError> {
        let mut person = Person {
            birth_date: patient.particulars.birth_date,
            sex: patient.particulars.sex,
            ..Person::default()
        };
        for key in self.keys_of(patient).await? {
            let stored = self.read::<Patient>(&key_of(key)).await?.value;
            person.identifiers.push(Identifier::Key(key));
            person.identifiers.extend(stored.particulars.identifiers());
            let names = stored.particulars.names().into_iter();
            // Consoles leave the patronymic out.
            let short = stored.particulars.short_names().into_iter();
            for name in names.chain(short) {
                if !person.names.contains(&name) {
                    person.names.push(name);
                }
            }
        }
        Ok(person)
    }
}
