//! What patients agreed to: that those who treat at an organisation see their examinations until a
//! day, wherever those were made; or the law that takes the place of that.
//!
//! A consent is a document that is never deleted: it ends with its term, or is withdrawn, and says
//! who wrote it down, on which ground, and who withdrew it. Who may see what by it is decided by
//! [`can_see`](pacs_core::role::visibility::can_see); a restricted examination it opens to nobody.

use super::batch::Batch;
use super::commit::agent_event;
use super::document::Document;
use super::patients::{Patient, key_of};
use super::{Moment, Refusal, Registry, RegistryError, Stored};
use crate::limits::{CONSENT_DAYS_MAX, CONSENT_REFERENCE_CHARS_MAX, CONSENTS_OF_PATIENT_MAX};
use crate::records::Kind;
use chrono::{DateTime, TimeDelta, Utc};
use pacs_core::audit::Act;
use pacs_core::examination::Reason;
use pacs_core::patient::PatientKey;
use pacs_core::role::Licence;
use pacs_core::role::duty::{PatientEdit, PatientSearch};
use pacs_core::{OrganisationCode, Phi};
use serde::{Deserialize, Serialize};
use std::fmt;

/// On which ground an organisation may see a patient's examinations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ground {
    /// The patient signed the form.
    Agreement,
    /// A law demands or permits it without the patient.
    Law,
}

/// Which of the consents of a patient: the number under which it was written down, which may have
/// gone into another since, and how many-th it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ConsentId {
    patient: PatientKey,
    number: u32,
}

impl ConsentId {
    /// Reads what `Display` writes; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (patient, number) = text.rsplit_once('.')?;
        let id = Self {
            patient: PatientKey::parse(patient).ok()?,
            number: number.parse().ok()?,
        };
        (id.to_string() == text).then_some(id)
    }

    fn key(self) -> String {
        format!("{}{:08}", prefix_of(self.patient), self.number)
    }

    /// The consent whose key this is.
    ///
    /// # Errors
    /// [`RegistryError::Damaged`] where it is none.
    pub fn of_key(key: &str) -> Result<Self, RegistryError> {
        let id = key.rsplit_once('/').and_then(|(patient, number)| {
            Some(Self {
                patient: PatientKey::parse(patient).ok()?,
                number: number.parse().ok()?,
            })
        });
        id.ok_or(RegistryError::Damaged {
            what: Consent::NAME,
        })
    }
}

impl fmt::Display for ConsentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.patient, self.number)
    }
}

impl From<ConsentId> for String {
    fn from(id: ConsentId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for ConsentId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("not the ID of a consent")
    }
}

/// What the keys of the consents of a patient begin with.
fn prefix_of(patient: PatientKey) -> String {
    format!("{}/", key_of(patient))
}

/// That a consent was withdrawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawal {
    /// Who wrote it down.
    pub by: String,
    /// Why.
    pub reason: Reason,
    /// When.
    pub at: Moment,
}

/// What a patient agreed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// Its ID.
    pub id: ConsentId,
    /// The organisation whose people may see.
    pub to: OrganisationCode,
    /// Until when.
    pub until: Moment,
    /// On which ground.
    pub ground: Ground,
    /// The number of the form, or the article of the law.
    pub reference: String,
    /// Who wrote it down.
    pub by: String,
    /// For which organisation they did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_organisation: Option<OrganisationCode>,
    /// When.
    pub at: Moment,
    /// It was withdrawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<Withdrawal>,
}

impl Document for Consent {
    const KIND: Kind = Kind::new("consent");
    const NAME: &'static str = "consent";
}

impl Consent {
    /// Whether it holds at a moment.
    #[must_use]
    pub fn holds(&self, at: Moment) -> bool {
        self.withdrawn.is_none() && self.until >= at
    }
}

/// What is to be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewConsent {
    /// The organisation whose people may see.
    pub to: OrganisationCode,
    /// Until when.
    pub until: Moment,
    /// On which ground.
    pub ground: Ground,
    /// The number of the form, or the article of the law.
    pub reference: String,
}

impl NewConsent {
    fn check(&self, at: Moment) -> Result<(), Refusal> {
        let longest = at.checked_add_signed(TimeDelta::days(CONSENT_DAYS_MAX));
        if self.until <= at || longest.is_none_or(|longest| self.until > longest) {
            return Err(Refusal::Unfit { what: "term" });
        }
        let is_long = self.reference.chars().nth(CONSENT_REFERENCE_CHARS_MAX);
        let is_wrong = self.reference.chars().any(char::is_control);
        if self.reference.is_empty() || is_long.is_some() || is_wrong {
            return Err(Refusal::Unfit { what: "reference" });
        }
        Ok(())
    }
}

impl Registry {
    /// Writes down what a patient agreed to; it holds at once.
    ///
    /// # Errors
    /// [`Refusal::Unfit`] for a term that is over or too long, and a reference that says nothing;
    /// [`Refusal::Exhausted`] where the patient has too many; [`RegistryError::NotFound`] for a
    /// patient or an organisation that is not there; [`RegistryError`].
    pub async fn record_consent(
        &self,
        licence: &Licence<PatientEdit>,
        patient: PatientKey,
        new: &NewConsent,
        at: Moment,
    ) -> Result<Stored<Consent>, RegistryError> {
        new.check(at)?;
        let _turn = self.turn().await;
        let patient = self.survivor(patient).await?;
        self.organisation(new.to).await?;
        let prefix = prefix_of(patient.value.key);
        let known = self
            .list::<Consent>(&prefix, None, CONSENTS_OF_PATIENT_MAX)
            .await?;
        if known.len() >= CONSENTS_OF_PATIENT_MAX {
            return Err(Refusal::Exhausted { what: "consents" }.into());
        }
        let number = known.last().map_or(0, |last| last.value.id.number);
        let consent = Consent {
            id: ConsentId {
                patient: patient.value.key,
                number: number.saturating_add(1),
            },
            to: new.to,
            until: new.until,
            ground: new.ground,
            reference: new.reference.clone(),
            by: licence.agent().name.clone(),
            by_organisation: licence.organisation(),
            at,
            withdrawn: None,
        };
        let mut batch = Batch::default();
        batch.main(&consent.id.key(), &consent, None)?;
        // Nobody merges the patient away meanwhile.
        batch.keep::<Patient>(&key_of(patient.value.key), patient.revision);
        self.tell_of_consent(licence, (batch, "CONSENT_GIVEN"), consent, at)
            .await
    }

    /// Writes down that a consent is withdrawn: from then on nobody sees anything by it.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`]; [`Refusal::TooLate`] where it was withdrawn before;
    /// [`RegistryError`].
    pub async fn withdraw_consent(
        &self,
        licence: &Licence<PatientEdit>,
        (patient, id): (PatientKey, ConsentId),
        reason: Reason,
        at: Moment,
    ) -> Result<Stored<Consent>, RegistryError> {
        let _turn = self.turn().await;
        let before = self.read::<Consent>(&id.key()).await?;
        let survivor = self.survivor(patient).await?.value;
        if !self.keys_of(&survivor).await?.contains(&id.patient) {
            return Err(RegistryError::NotFound {
                what: Consent::NAME,
            });
        }
        if before.value.withdrawn.is_some() {
            return Err(Refusal::TooLate.into());
        }
        let mut after = before.value.clone();
        after.withdrawn = Some(Withdrawal {
            by: licence.agent().name.clone(),
            reason,
            at,
        });
        let mut batch = Batch::default();
        batch.main(&id.key(), &after, Some(&before))?;
        self.tell_of_consent(licence, (batch, "CONSENT_WITHDRAWN"), after, at)
            .await
    }

    async fn tell_of_consent(
        &self,
        licence: &Licence<PatientEdit>,
        (batch, what): (Batch, &str),
        consent: Consent,
        at: Moment,
    ) -> Result<Stored<Consent>, RegistryError> {
        let organisation = licence.organisation();
        let mut event = agent_event(Act::PatientChanged, licence.agent(), organisation, at);
        event.object.patient = Some(Phi::new(consent.id.patient));
        event.reason = Some(format!("{what} {} {}", consent.id, consent.to));
        let revisions = self.commit(batch, event).await?;
        let revision = revisions.first().copied().ok_or(RegistryError::Changed)?;
        Stored::of(consent, revision)
    }

    /// A consent that was written down just now, for whoever did.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`]; [`RegistryError`].
    pub async fn consent(
        &self,
        _licence: &Licence<PatientEdit>,
        id: ConsentId,
    ) -> Result<Stored<Consent>, RegistryError> {
        self.read::<Consent>(&id.key()).await
    }

    /// What a patient agreed to, also by numbers that went into theirs, the oldest first; the audit
    /// record has who looked.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn consents_of_patient(
        &self,
        licence: &Licence<PatientSearch>,
        patient: PatientKey,
        at: Moment,
    ) -> Result<Vec<Stored<Consent>>, RegistryError> {
        let patient = self.patient(licence, patient, at).await?;
        let mut all = self.consents_of(&patient.value).await?;
        all.sort_by_key(|consent| (consent.value.at, consent.value.id));
        Ok(all)
    }

    async fn consents_of(&self, patient: &Patient) -> Result<Vec<Stored<Consent>>, RegistryError> {
        let mut all = Vec::new();
        for key in self.keys_of(patient).await? {
            let prefix = prefix_of(key);
            let of_it = self.list::<Consent>(&prefix, None, CONSENTS_OF_PATIENT_MAX);
            all.extend(of_it.await?);
        }
        Ok(all)
    }

    /// The organisations for which a patient agreed, where the term runs.
    pub(super) async fn agreed_for(
        &self,
        patient: &Patient,
        at: Moment,
    ) -> Result<Vec<OrganisationCode>, RegistryError> {
        let agreed = self.agreed_until(patient).await?.into_iter();
        let running = agreed.filter(|(_, until)| *until >= at);
        Ok(running.map(|(organisation, _)| organisation).collect())
    }

    /// Until when organisations may see what is there of a patient because of what they agreed to.
    pub(super) async fn agreed_until(
        &self,
        patient: &Patient,
    ) -> Result<Vec<(OrganisationCode, DateTime<Utc>)>, RegistryError> {
        let all = self.consents_of(patient).await?;
        let standing = all.into_iter().map(|consent| consent.value);
        let standing = standing.filter(|consent| consent.withdrawn.is_none());
        let agreed = standing.map(|consent| (consent.to, consent.until.with_timezone(&Utc)));
        Ok(agreed.collect())
    }
}
