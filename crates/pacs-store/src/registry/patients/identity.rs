//! How it is known who patients are: whom the citizen register was asked about, whom it has still
//! to be asked about, and of whom it says something else.

use super::super::batch::Batch;
use super::super::commit::agent_event;
use super::super::{Moment, Registry, RegistryError, Stored};
use super::document::{Identity, Patient};
use super::key_of;
use super::register::parse_key;
use crate::limits::{PATIENTS_BY_IDENTITY_MAX, PATIENTS_SCANNED_MAX};
use crate::records::Kind;
use pacs_core::audit::{Act, Outcome};
use pacs_core::patient::{Identifier, PatientKey};
use pacs_core::role::duty::PatientSearch;
use pacs_core::role::{AgentKind, Licence};
use pacs_core::{ExaminationId, Phi};

/// A way in which it is known, and the patient.
const IDENTITY: Kind = Kind::new("patient-identity");

/// That the citizen register is asked, for the audit record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedOfRegister {
    /// About whom, where that is a PIN or a document.
    pub of: Option<Identifier>,
    /// What, with PINs masked.
    pub question: Phi<String>,
    /// For which examination.
    pub examination: Option<ExaminationId>,
    /// What for, and what came of it, as codes.
    pub reason: String,
    /// How it ended, as far as that is known.
    pub outcome: Outcome,
    /// The id of the message, by which the register knows it too; `None`: nothing was sent.
    pub message_id: Option<String>,
}

/// The key by which a patient of whom it is not settled who they are is found.
pub(super) fn key(patient: &Patient) -> Option<(Kind, String)> {
    let particulars = &patient.particulars;
    let name = match particulars.identity {
        Identity::Declared if particulars.pin.is_some() => "declared",
        Identity::Mismatch => "mismatch",
        Identity::Declared | Identity::Unidentified | Identity::Verified => return None,
    };
    Some((IDENTITY, format!("{name}/{}", key_of(patient.key))))
}

impl Registry {
    /// Records that somebody asks the citizen register. Gives the patient who has the PIN
    /// or the document, if there is one here: the record is in the list of those that are about
    /// them.
    ///
    /// # Errors
    /// [`RegistryError`]: then the register is not to be asked.
    pub async fn register_asked(
        &self,
        licence: &Licence<PatientSearch>,
        asked: AskedOfRegister,
        at: Moment,
    ) -> Result<Option<PatientKey>, RegistryError> {
        let patient = match &asked.of {
            Some(identifier) => self.owner(identifier).await?,
            None => None,
        };
        let key = patient.map(|patient| patient.value.key);
        let organisation = licence.organisation();
        let mut event = agent_event(Act::RegisterAsked, licence.agent(), organisation, at);
        event.outcome = asked.outcome;
        event.object.patient = key.map(Phi::new);
        event.object.query = Some(asked.question);
        event.object.examination = asked.examination;
        event.reason = Some(asked.reason);
        if asked.message_id.is_some() {
            event.correlation = asked.message_id;
        }
        self.commit(Batch::default(), event).await?;
        Ok(key)
    }

    /// Patients with a PIN about whom the citizen register was not asked, or told nothing yet
    /// ([`Identity::Declared`]), or of whom it says something else ([`Identity::Mismatch`]): those
    /// behind `after`, in the order of their numbers, and the last one that was looked at, where
    /// there may be more. A licence for one organisation is good for those that it registered.
    /// The audit record has who looked, unless it is a task of the archive.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn patients_by_identity(
        &self,
        licence: &Licence<PatientSearch>,
        identity: Identity,
        after: Option<PatientKey>,
        count_max: usize,
        at: Moment,
    ) -> Result<(Vec<Stored<Patient>>, Option<PatientKey>), RegistryError> {
        let prefix = match identity {
            Identity::Declared => "declared/",
            Identity::Mismatch => "mismatch/",
            Identity::Unidentified | Identity::Verified => return Ok((Vec::new(), None)),
        };
        if licence.agent().kind != AgentKind::System {
            let organisation = licence.organisation();
            let mut event = agent_event(Act::Queried, licence.agent(), organisation, at);
            event.object.query = Some(Phi::new(format!("patients {identity:?}")));
            self.commit(Batch::default(), event).await?;
        }
        let after = after.map(|after| format!("{prefix}{}", key_of(after)));
        let scanned = self
            .records()
            .list(IDENTITY, prefix, after.as_deref(), PATIENTS_SCANNED_MAX)
            .await?;
        let is_whole = scanned.len() < PATIENTS_SCANNED_MAX;
        let count_max = count_max.min(PATIENTS_BY_IDENTITY_MAX);
        let (mut found, mut last) = (Vec::new(), None);
        for pointer in scanned {
            if found.len() >= count_max {
                return Ok((found, last));
            }
            let to = String::from_utf8(pointer.value);
            let to = to.map_err(|_| RegistryError::Damaged {
                what: IDENTITY.name(),
            })?;
            last = Some(parse_key(&to)?);
            let patient = self.read::<Patient>(&to).await?;
            let of = patient.value.registered_for;
            let is_for = match licence.organisation() {
                None => true,
                Some(organisation) => of == Some(organisation),
            };
            if is_for
                && patient.value.merge.is_none()
                && patient.value.particulars.identity == identity
            {
                found.push(patient);
            }
        }
        Ok((found, last.filter(|_| !is_whole)))
    }
}
