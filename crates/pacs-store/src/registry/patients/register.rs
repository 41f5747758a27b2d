//! Registering patients, changing them, and what they were before.

use super::super::batch::Batch;
use super::super::commit::agent_event;
use super::super::document::Document;
use super::super::{Moment, Refusal, Registry, RegistryError, Stored};
use super::document::{HistoryEntry, Identity, Particulars, Patient, PersonName, What};
use super::key_of;
use super::search::{IDENTIFIER, identifier_key, search_keys};
use crate::limits::{PATIENT_HISTORY_MAX, REGISTRY_ATTEMPTS_MAX};
use crate::records::Revision;
use pacs_core::audit::{Act, AuditEvent};
use pacs_core::examination::Reason;
use pacs_core::patient::{Identifier, PatientKey, Sex};
use pacs_core::role::duty::{PatientEdit, PatientMerge, PatientSearch};
use pacs_core::role::{Duty, Licence};
use pacs_core::{OrganisationCode, Phi};

/// What is known of somebody of the same date of birth whose name sounds the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alike {
    /// Somebody looked: this is another person.
    IsAnother,
    /// Nobody looked.
    Unknown,
}

/// The patient who was to be registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registered {
    /// One of the identifiers was known: this patient was there, and is as it was.
    Known(Stored<Patient>),
    /// New.
    New(Stored<Patient>),
}

impl Registered {
    /// The patient.
    #[must_use]
    pub const fn patient(&self) -> &Stored<Patient> {
        match self {
            Self::Known(patient) | Self::New(patient) => patient,
        }
    }
}

impl Registry {
    /// Registers a patient; or gives the one who has one of the identifiers, whatever else is said
    /// of them. However many do it at once, there is one.
    ///
    /// # Errors
    /// [`Refusal::Alike`] where somebody of the same date of birth has a name that sounds the same
    /// and nobody looked; [`Refusal::SeveralPatients`] where the identifiers are of several;
    /// [`RegistryError`] otherwise.
    pub async fn register_patient(
        &self,
        licence: &Licence<PatientEdit>,
        particulars: Particulars,
        alike: Alike,
        at: Moment,
    ) -> Result<Registered, RegistryError> {
        let particulars = particulars.tidied()?;
        let _turn = self.turn().await;
        for _ in 0..REGISTRY_ATTEMPTS_MAX {
            let registered = self.register_once(licence, &particulars, alike, at);
            match registered.await {
                Err(RegistryError::Changed) => {}
                other => return other,
            }
        }
        Err(RegistryError::Busy)
    }

    /// Registers somebody whose name nobody knows, in an emergency: never the same as another.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn register_unidentified(
        &self,
        licence: &Licence<PatientEdit>,
        organisation: OrganisationCode,
        sex: Option<Sex>,
        at: Moment,
    ) -> Result<Stored<Patient>, RegistryError> {
        licence.check(organisation)?;
        let given = format!("{} {organisation}", at.format("%y%m%d-%H%M"));
        let name = |family: &str| PersonName {
            family: family.to_owned(),
            given: given.clone(),
            patronymic: String::new(),
        };
        let particulars = Particulars {
            name: name("НЕИЗВЕСТНЫЙ"),
            latin: Some(name("UNKNOWN")),
            sex,
            identity: Identity::Unidentified,
            ..Particulars::default()
        };
        let registered = self.register_patient(licence, particulars, Alike::IsAnother, at);
        Ok(registered.await?.patient().clone())
    }

    async fn register_once(
        &self,
        licence: &Licence<PatientEdit>,
        particulars: &Particulars,
        alike: Alike,
        at: Moment,
    ) -> Result<Registered, RegistryError> {
        if let Some(known) = self.patient_with(particulars).await? {
            // Whoever names an identifier is shown whose it is.
            let event = patient_event(Act::PatientRead, licence, &known.value, at);
            self.commit(Batch::default(), event).await?;
            return Ok(Registered::Known(known));
        }
        if alike == Alike::Unknown {
            let alike = self.patients_alike(particulars).await?;
            if !alike.is_empty() {
                return Err(Refusal::Alike { patients: alike }.into());
            }
        }
        let mut batch = Batch::default();
        let is_unidentified = particulars.identity == Identity::Unidentified;
        let key = self.next_patient(is_unidentified, &mut batch).await?;
        let patient = Patient {
            key,
            particulars: particulars.clone(),
            registered_at: at,
            registered_by: licence.agent().name.clone(),
            registered_for: licence.organisation(),
            merge: None,
            aliases: Vec::new(),
            changes_count: 0,
        };
        let by = licence.agent().name.clone();
        let entry = HistoryEntry {
            at,
            by,
            what: What::Registered,
            reason: None,
            before: None,
        };
        self.index_patient(&mut batch, None, &patient).await?;
        let event = patient_event(Act::PatientCreated, licence, &patient, at);
        let stored = self.put_patient(batch, None, patient, entry, event);
        Ok(Registered::New(stored.await?))
    }

    /// Changes what is said of a patient who is at `expected`. What it was stays in the history.
    ///
    /// # Errors
    /// [`Refusal::Taken`] where an identifier is another patient's, [`Refusal::Merged`] for one who
    /// went into another, [`Refusal::Unfit`] for a temporary number that would get an identity:
    /// that is a merge; [`RegistryError`] otherwise.
    pub async fn change_patient(
        &self,
        licence: &Licence<PatientEdit>,
        (patient, expected): (PatientKey, Revision),
        particulars: Particulars,
        reason: Option<Reason>,
        at: Moment,
    ) -> Result<Stored<Patient>, RegistryError> {
        let particulars = particulars.tidied()?;
        let before = self.read::<Patient>(&key_of(patient)).await?;
        if before.revision != expected {
            return Err(RegistryError::Changed);
        }
        if let Some(merge) = &before.value.merge {
            return Err(Refusal::Merged { into: merge.into }.into());
        }
        let was_unidentified = matches!(patient, PatientKey::Unidentified(_));
        if was_unidentified != (particulars.identity == Identity::Unidentified) {
            let what = "identity of a temporary number";
            return Err(Refusal::Unfit { what }.into());
        }
        if before.value.particulars == particulars {
            return Ok(before);
        }
        let mut after = before.value.clone();
        after.particulars = particulars;
        let entry = HistoryEntry {
            at,
            by: licence.agent().name.clone(),
            what: What::Changed,
            reason,
            before: Some(before.value.particulars.clone()),
        };
        let mut batch = Batch::default();
        self.index_patient(&mut batch, Some(&before.value), &after)
            .await?;
        let event = patient_event(Act::PatientChanged, licence, &after, at);
        self.put_patient(batch, Some(&before), after, entry, event)
            .await
    }

    /// The card of a patient, also by a number that went into another; the audit record has who
    /// opened it.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn patient(
        &self,
        licence: &Licence<PatientSearch>,
        patient: PatientKey,
        at: Moment,
    ) -> Result<Stored<Patient>, RegistryError> {
        self.opened(licence, patient, at).await
    }

    /// The same for whoever corrects patients.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn patient_to_edit(
        &self,
        licence: &Licence<PatientEdit>,
        patient: PatientKey,
        at: Moment,
    ) -> Result<Stored<Patient>, RegistryError> {
        self.opened(licence, patient, at).await
    }

    /// The same for whoever says that two patients are one.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn patient_to_merge(
        &self,
        licence: &Licence<PatientMerge>,
        patient: PatientKey,
        at: Moment,
    ) -> Result<Stored<Patient>, RegistryError> {
        self.opened(licence, patient, at).await
    }

    async fn opened<D: Duty>(
        &self,
        licence: &Licence<D>,
        patient: PatientKey,
        at: Moment,
    ) -> Result<Stored<Patient>, RegistryError> {
        let stored = self.survivor(patient).await?;
        let event = patient_event(Act::PatientRead, licence, &stored.value, at);
        self.commit(Batch::default(), event).await?;
        Ok(stored)
    }

    /// What was changed of a patient's own document, oldest first.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn patient_history(
        &self,
        licence: &Licence<PatientSearch>,
        patient: PatientKey,
        at: Moment,
    ) -> Result<Vec<HistoryEntry>, RegistryError> {
        let stored = self.read::<Patient>(&key_of(patient)).await?;
        let event = patient_event(Act::PatientRead, licence, &stored.value, at);
        self.commit(Batch::default(), event).await?;
        let prefix = format!("{}/", key_of(patient));
        let entries = self.list::<HistoryEntry>(&prefix, None, PATIENT_HISTORY_MAX);
        Ok(entries
            .await?
            .into_iter()
            .map(|entry| entry.value)
            .collect())
    }

    /// Completes `batch` with the document and the entry of its history, and commits it.
    pub(super) async fn put_patient(
        &self,
        mut batch: Batch,
        before: Option<&Stored<Patient>>,
        patient: Patient,
        entry: HistoryEntry,
        event: AuditEvent,
    ) -> Result<Stored<Patient>, RegistryError> {
        let at = batch.changes.len();
        let patient = add_patient(&mut batch, before, patient, &entry)?;
        let revisions = self.commit(batch, event).await?;
        let revision = revisions.get(at).copied().ok_or(RegistryError::Changed)?;
        Stored::of(patient, revision)
    }

    /// The patient who has one of the identifiers.
    async fn patient_with(
        &self,
        particulars: &Particulars,
    ) -> Result<Option<Stored<Patient>>, RegistryError> {
        let mut found: Option<Stored<Patient>> = None;
        for identifier in particulars.identifiers() {
            let Some(owner) = self.owner(&identifier).await? else {
                continue;
            };
            if found
                .as_ref()
                .is_some_and(|f| f.value.key != owner.value.key)
            {
                return Err(Refusal::SeveralPatients.into());
            }
            found = Some(owner);
        }
        Ok(found)
    }

    /// The patient whose identifier this is.
    pub(in super::super) async fn owner(
        &self,
        identifier: &Identifier,
    ) -> Result<Option<Stored<Patient>>, RegistryError> {
        if let Identifier::Key(key) = identifier {
            return match self.survivor(*key).await {
                Ok(patient) => Ok(Some(patient)),
                Err(RegistryError::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            };
        }
        let pointer = self
            .pointer(IDENTIFIER, &identifier_key(identifier))
            .await?;
        match pointer {
            None => Ok(None),
            Some(pointer) => Ok(Some(self.survivor(parse_key(&pointer.to)?).await?)),
        }
    }

    /// Adds to `batch` what changes of the keys by which the patient is found.
    async fn index_patient(
        &self,
        batch: &mut Batch,
        before: Option<&Patient>,
        after: &Patient,
    ) -> Result<(), RegistryError> {
        let key = key_of(after.key);
        let had = before.map_or_else(Vec::new, search_keys);
        let has = search_keys(after);
        for (kind, at) in has.iter().filter(|entry| !had.contains(entry)) {
            match self.pointer(*kind, at).await? {
                None => batch.point(*kind, at, &key, None),
                Some(pointer) if *kind == IDENTIFIER => {
                    // Of somebody who went into this one it is theirs already.
                    let owner = self.survivor(parse_key(&pointer.to)?).await?;
                    if owner.value.key != after.key {
                        return Err(Refusal::Taken { what: "identifier" }.into());
                    }
                }
                Some(_) => {}
            }
        }
        for (kind, at) in had.iter().filter(|entry| !has.contains(entry)) {
            if let Some(pointer) = self.pointer(*kind, at).await?
                && pointer.to == key
            {
                batch.unpoint(*kind, at, pointer.revision);
            }
        }
        Ok(())
    }
}

/// Adds a patient's document and the entry of its history.
pub(super) fn add_patient(
    batch: &mut Batch,
    before: Option<&Stored<Patient>>,
    mut patient: Patient,
    entry: &HistoryEntry,
) -> Result<Patient, RegistryError> {
    patient.changes_count = patient.changes_count.saturating_add(1);
    let key = key_of(patient.key);
    if batch.digests.is_none() {
        batch.main(&key, &patient, before)?;
    } else {
        batch.put(&key, &patient, before.map(|before| before.revision))?;
    }
    let at = format!("{key}/{:08}", patient.changes_count);
    batch.put(&at, entry, None)?;
    Ok(patient)
}

/// Reads the key of a patient's document.
pub(super) fn parse_key(text: &str) -> Result<PatientKey, RegistryError> {
    PatientKey::parse(text).map_err(|_| RegistryError::Damaged {
        what: Patient::NAME,
    })
}

/// The event of something that is done with a patient.
pub(super) fn patient_event<D: Duty>(
    act: Act,
    licence: &Licence<D>,
    patient: &Patient,
    at: Moment,
) -> AuditEvent {
    let mut event = agent_event(act, licence.agent(), licence.organisation(), at);
    event.object.patient = Some(Phi::new(patient.key));
    event
}
