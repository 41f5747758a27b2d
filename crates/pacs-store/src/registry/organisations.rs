//! Healthcare organisations.

use super::batch::Batch;
use super::document::Document;
use super::{Imported, Moment, Refusal, Registry, RegistryError, Stored};
use crate::limits::{ORGANISATION_TEXT_CHARS_MAX, ORGANISATIONS_MAX, REGISTRY_ATTEMPTS_MAX};
use crate::records::{Kind, Revision};
use pacs_core::audit::{Act, AuditEvent};
use pacs_core::role::{Licence, duty::OrganisationsManage};
use pacs_core::sender::Sender;
use pacs_core::{AeTitle, DepartmentCode, OrganisationCode};
use serde::{Deserialize, Serialize};

/// The prefix of AE titles points to the organisation.
const PREFIX: Kind = Kind::new("organisation-prefix");

/// A healthcare organisation. Read from a list of organisations, entries that it does not know are
/// passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Organisation {
    /// Its code, part of every examination ID that it gives.
    pub code: OrganisationCode,
    /// A short name for programs: small letters, digits, underscores.
    pub key: String,
    /// Its name in Russian.
    pub name_ru: String,
    /// Its name in Kyrgyz.
    pub name_ky: String,
    /// Its name in English.
    pub name_en: String,
    /// Its city in Russian, as its papers have it.
    pub city_ru: String,
    /// Its city in Kyrgyz, as its papers have it.
    pub city_ky: String,
    /// What the city is called today, where that is another name; in Russian.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub city_ru_current: Option<String>,
    /// What the city is called today, where that is another name; in Kyrgyz.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub city_ky_current: Option<String>,
    /// Its region in Russian.
    pub region_ru: String,
    /// Its address in Russian, as its papers have it.
    pub address_ru: String,
    /// What the AE titles of its devices begin with: up to 6 capitals and digits.
    pub ae_prefix: String,
    /// Institution Name (0008,0080) for devices that show Cyrillic letters.
    pub dicom_institution_name: String,
    /// Institution Name (0008,0080) for all others.
    pub dicom_institution_name_ascii: String,
    /// Its time zone, by the name of the IANA database.
    pub timezone: String,
    /// Notes for whoever looks after the list.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub notes: String,
}

impl Document for Organisation {
    const KIND: Kind = Kind::new("organisation");
    const NAME: &'static str = "organisation";
}

impl Organisation {
    /// Refuses what could not be shown or sent.
    fn check(&self) -> Result<(), Refusal> {
        let unfit = |what| Err(Refusal::Unfit { what });
        let is_text = |text: &str, chars_max| {
            let is_short = text.chars().nth(chars_max).is_none();
            is_short && !text.chars().any(char::is_control)
        };
        let is_word = |text: &str, length_max, letter: fn(u8) -> bool| {
            let is_length = (1..=length_max).contains(&text.len());
            is_length && text.bytes().all(|b| letter(b) || b.is_ascii_digit())
        };
        if !is_word(&self.ae_prefix, 6, |b| b.is_ascii_uppercase()) {
            return unfit("ae_prefix");
        }
        if !is_word(&self.key, 40, |b| b.is_ascii_lowercase() || b == b'_') {
            return unfit("key");
        }
        // An LO has 64 characters (PS3.5 6.2).
        let is_name = |text: &str| !text.trim().is_empty() && is_text(text, 64);
        if !is_name(&self.dicom_institution_name) || self.dicom_institution_name.contains('\\') {
            return unfit("dicom_institution_name");
        }
        let ascii = &self.dicom_institution_name_ascii;
        if !is_name(ascii) || !ascii.is_ascii() || ascii.contains('\\') {
            return unfit("dicom_institution_name_ascii");
        }
        if self.timezone.is_empty() || !self.timezone.is_ascii() || !is_text(&self.timezone, 40) {
            return unfit("timezone");
        }
        let current = self.city_ru_current.iter().chain(&self.city_ky_current);
        let texts = [
            &self.name_ru,
            &self.name_ky,
            &self.name_en,
            &self.city_ru,
            &self.city_ky,
            &self.region_ru,
            &self.address_ru,
            &self.notes,
        ];
        for text in texts.into_iter().chain(current) {
            if !is_text(text, ORGANISATION_TEXT_CHARS_MAX) {
                return unfit("text");
            }
        }
        if self.name_ru.trim().is_empty() {
            return unfit("name_ru");
        }
        Ok(())
    }
}

impl Registry {
    /// An organisation by its code.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`], [`RegistryError::Damaged`], [`RegistryError::Backend`].
    pub async fn organisation(
        &self,
        code: OrganisationCode,
    ) -> Result<Stored<Organisation>, RegistryError> {
        self.read(&code.to_string()).await
    }

    /// Every organisation, in the order of their codes.
    ///
    /// # Errors
    /// [`RegistryError::Damaged`], [`RegistryError::Backend`].
    pub async fn organisations(&self) -> Result<Vec<Stored<Organisation>>, RegistryError> {
        self.list("", None, ORGANISATIONS_MAX).await
    }

    /// Whether there is an organisation at all.
    ///
    /// # Errors
    /// [`RegistryError::Backend`].
    pub async fn has_organisations(&self) -> Result<bool, RegistryError> {
        let any = self.records().list(Organisation::KIND, "", None, 1);
        Ok(!any.await?.is_empty())
    }

    /// Whose sender this is, as provenance has it: for which organisation it was stored, else whose
    /// device has the title.
    ///
    /// # Errors
    /// [`RegistryError::Damaged`], [`RegistryError::Backend`].
    pub async fn organisation_of_sender(
        &self,
        sender: &str,
    ) -> Result<Option<OrganisationCode>, RegistryError> {
        let title = match Sender::of(sender) {
            Sender::Program {
                organisation: Some(code),
                ..
            } => {
                return match self.organisation(code).await {
                    Ok(_) => Ok(Some(code)),
                    Err(RegistryError::NotFound { .. }) => Ok(None),
                    Err(error) => Err(error),
                };
            }
            Sender::Program {
                organisation: None, ..
            } => return Ok(None),
            Sender::Device(title) => AeTitle::parse(title),
        };
        match title {
            Ok(title) => self.organisation_of_title(&title).await,
            Err(_) => Ok(None),
        }
    }

    /// Whose device has this title: of a registered device its organisation, of others the one
    /// whose prefix the title begins with.
    ///
    /// # Errors
    /// [`RegistryError::Damaged`], [`RegistryError::Backend`].
    pub async fn organisation_of_title(
        &self,
        ae_title: &AeTitle,
    ) -> Result<Option<OrganisationCode>, RegistryError> {
        match self.device(ae_title).await {
            Ok(device) => return Ok(Some(device.value.organisation)),
            Err(RegistryError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        let Some((prefix, _)) = ae_title.as_str().split_once('_') else {
            return Ok(None);
        };
        let Some(pointer) = self.pointer(PREFIX, prefix).await? else {
            return Ok(None);
        };
        let code = OrganisationCode::parse(&pointer.to);
        code.map(Some).map_err(|_| RegistryError::Damaged {
            what: PREFIX.name(),
        })
    }

    /// The department of a sender, as provenance has it: of the registered device of `organisation`
    /// that has the title.
    ///
    /// # Errors
    /// [`RegistryError::Damaged`], [`RegistryError::Backend`].
    pub async fn department_of_sender(
        &self,
        sender: &str,
        organisation: Option<OrganisationCode>,
    ) -> Result<Option<DepartmentCode>, RegistryError> {
        let Sender::Device(title) = Sender::of(sender) else {
            return Ok(None);
        };
        let Ok(title) = AeTitle::parse(title) else {
            return Ok(None);
        };
        match self.device(&title).await.map(|device| device.value) {
            Ok(device) if Some(device.organisation) == organisation => Ok(device.department),
            Ok(_) | Err(RegistryError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stores an organisation that is at `expected`; `None`: that is not there.
    ///
    /// # Errors
    /// [`RegistryError`]; nothing was done, but of [`RegistryError::Backend`] that is not known.
    pub async fn save_organisation(
        &self,
        licence: &Licence<OrganisationsManage>,
        organisation: &Organisation,
        expected: Option<Revision>,
        at: Moment,
    ) -> Result<Revision, RegistryError> {
        licence.check(organisation.code)?;
        organisation.check()?;
        let key = organisation.code.to_string();
        let before = self.find::<Organisation>(&key).await?;
        if before.as_ref().map(|before| before.revision) != expected {
            return Err(RegistryError::Changed);
        }
        self.put_organisation(licence, organisation, before.as_ref(), at)
            .await
    }

    /// Makes an organisation what a list says of it, whatever it was.
    ///
    /// # Errors
    /// As [`Registry::save_organisation`].
    pub async fn import_organisation(
        &self,
        licence: &Licence<OrganisationsManage>,
        organisation: &Organisation,
        at: Moment,
    ) -> Result<Imported, RegistryError> {
        licence.check(organisation.code)?;
        organisation.check()?;
        let key = organisation.code.to_string();
        let _turn = self.turn().await;
        for _ in 0..REGISTRY_ATTEMPTS_MAX {
            let before = self.find::<Organisation>(&key).await?;
            let imported = match &before {
                None => Imported::Added,
                Some(before) if before.value == *organisation => return Ok(Imported::Same),
                Some(_) => Imported::Changed,
            };
            let put = self.put_organisation(licence, organisation, before.as_ref(), at);
            match put.await {
                Err(RegistryError::Changed) => {}
                Err(error) => return Err(error),
                Ok(_) => return Ok(imported),
            }
        }
        Err(RegistryError::Busy)
    }

    async fn put_organisation(
        &self,
        licence: &Licence<OrganisationsManage>,
        organisation: &Organisation,
        before: Option<&Stored<Organisation>>,
        at: Moment,
    ) -> Result<Revision, RegistryError> {
        let key = organisation.code.to_string();
        let mut batch = Batch::default();
        batch.main(&key, organisation, before)?;
        let former = before.map(|before| before.value.ae_prefix.as_str());
        if former != Some(&organisation.ae_prefix) {
            let taken = self.pointer(PREFIX, &organisation.ae_prefix).await?;
            if taken.is_some() {
                return Err(Refusal::Taken { what: "ae_prefix" }.into());
            }
            batch.point(PREFIX, &organisation.ae_prefix, &key, None);
            if let Some(former) = former
                && let Some(pointer) = self.pointer(PREFIX, former).await?
            {
                batch.unpoint(PREFIX, former, pointer.revision);
            }
        }
        let mut event = AuditEvent::by(Act::SoftwareConfigured, at, licence.agent());
        event.actor.organisation = licence.organisation();
        event.object.setting = Some(format!("organisations/{key}"));
        let revisions = self.commit(batch, event).await?;
        revisions.first().copied().ok_or(RegistryError::Changed)
    }
}
