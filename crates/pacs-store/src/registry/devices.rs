//! Devices: modalities, workstations and gateways, by their AE titles.
//!
//! Who may connect, and by which certificate or address a device is known, is in the configuration
//! of the server. Here is whose it is, what it makes and what it can take in.

use super::batch::Batch;
use super::document::Document;
use super::{Moment, Refusal, Registry, RegistryError, Stored};
use crate::limits::DEVICE_TEXT_CHARS_MAX;
use crate::records::{Kind, Revision};
use pacs_core::audit::{Act, AuditEvent};
use pacs_core::device::DeviceProfile;
use pacs_core::role::{Licence, duty::UsersManage};
use pacs_core::{AeTitle, DepartmentCode, OrganisationCode};
use serde::{Deserialize, Serialize};

/// A device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its AE title.
    pub ae_title: AeTitle,
    /// Whose it is.
    pub organisation: OrganisationCode,
    /// Name or address of its host, where images and reports of commitment go; empty: nowhere.
    #[serde(default)]
    pub host: String,
    /// Its port; 0 where nothing goes to it.
    #[serde(default)]
    pub port: u16,
    /// Modality (0008,0060) of what it makes; empty for a workstation or a gateway.
    #[serde(default)]
    pub modality: String,
    /// The department of the organisation that it is in; `None`: of none in particular.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub department: Option<DepartmentCode>,
    /// What people call it, and where it stands.
    #[serde(default)]
    pub name: String,
    /// It tells when it begins and ends (MPPS).
    #[serde(default)]
    pub mpps: bool,
    /// It asks for storage commitment.
    #[serde(default)]
    pub commitment: bool,
    /// What it can take in.
    #[serde(default)]
    pub profile: DeviceProfile,
}

impl Document for Device {
    const KIND: Kind = Kind::new("device");
    const NAME: &'static str = "device";
}

impl Device {
    /// Whether its worklist has what is made in `department`: its own, and what is of none. One of
    /// no department lists all.
    #[must_use]
    pub fn serves(&self, department: Option<&DepartmentCode>) -> bool {
        match (&self.department, department) {
            (Some(own), Some(department)) => own == department,
            (None, _) | (_, None) => true,
        }
    }

    /// Refuses what could not be shown or reached.
    fn check(&self) -> Result<(), Refusal> {
        let unfit = |what| Err(Refusal::Unfit { what });
        // A name of a host has up to 253 bytes (RFC 1035).
        let is_host = |b: u8| b.is_ascii_alphanumeric() || b"-.:[]_".contains(&b);
        if self.host.len() > 253 || !self.host.bytes().all(is_host) {
            return unfit("host");
        }
        if self.host.is_empty() != (self.port == 0) {
            return unfit("port");
        }
        // A CS (PS3.5 6.2).
        let is_code = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
        if self.modality.len() > 16 || !self.modality.bytes().all(is_code) {
            return unfit("modality");
        }
        let is_long = self.name.chars().nth(DEVICE_TEXT_CHARS_MAX).is_some();
        if is_long || self.name.chars().any(char::is_control) {
            return unfit("name");
        }
        let profile = &self.profile;
        let is_limit = |chars_max: u8| (1..=64).contains(&chars_max);
        if !is_limit(profile.name_chars_max) || !is_limit(profile.text_chars_max) {
            return unfit("profile");
        }
        Ok(())
    }
}

impl Registry {
    /// A device by its AE title.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`], [`RegistryError::Damaged`], [`RegistryError::Backend`].
    pub async fn device(&self, ae_title: &AeTitle) -> Result<Stored<Device>, RegistryError> {
        self.read(ae_title.as_str()).await
    }

    /// Up to `count_max` devices in the order of their AE titles, those after `after`.
    ///
    /// # Errors
    /// [`RegistryError::Damaged`], [`RegistryError::Backend`].
    pub async fn devices(
        &self,
        after: Option<&AeTitle>,
        count_max: usize,
    ) -> Result<Vec<Stored<Device>>, RegistryError> {
        let after = after.map(AeTitle::as_str);
        self.list("", after, count_max).await
    }

    /// Stores a device that is at `expected`; `None`: that is not there. The licence must be good
    /// at its organisation, at the former one where it changes hands, and of a new device at the
    /// one whose prefix its title begins with.
    ///
    /// # Errors
    /// [`RegistryError`]; nothing was done, but of [`RegistryError::Backend`] that is not known.
    pub async fn save_device(
        &self,
        licence: &Licence<UsersManage>,
        device: &Device,
        expected: Option<Revision>,
        at: Moment,
    ) -> Result<Revision, RegistryError> {
        licence.check(device.organisation)?;
        device.check()?;
        // It must be there: numbers and worklists are its organisation's.
        let organisation = self.organisation(device.organisation).await?;
        let before = self.find::<Device>(device.ae_title.as_str()).await?;
        if let Some(before) = &before {
            licence.check(before.value.organisation)?;
        } else if let Some(of_prefix) = self.organisation_of_title(&device.ae_title).await? {
            // Images that came under this title so far are of the organisation of its prefix.
            licence.check(of_prefix)?;
        }
        if before.as_ref().map(|before| before.revision) != expected {
            return Err(RegistryError::Changed);
        }
        let mut batch = Batch::default();
        batch.main(device.ae_title.as_str(), device, before.as_ref())?;
        let key = organisation.value.code.to_string();
        batch.keep::<super::organisations::Organisation>(&key, organisation.revision);
        let act = act_of(before.as_ref().map(|before| &before.value), device);
        let event = configured(licence, act, device, at);
        let revisions = self.commit(batch, event).await?;
        revisions.first().copied().ok_or(RegistryError::Changed)
    }

    /// Takes a device away that is at `expected`.
    ///
    /// # Errors
    /// [`RegistryError`]; nothing was done, but of [`RegistryError::Backend`] that is not known.
    pub async fn remove_device(
        &self,
        licence: &Licence<UsersManage>,
        ae_title: &AeTitle,
        expected: Revision,
        at: Moment,
    ) -> Result<(), RegistryError> {
        let before = self.device(ae_title).await?;
        licence.check(before.value.organisation)?;
        if before.revision != expected {
            return Err(RegistryError::Changed);
        }
        let mut batch = Batch::default();
        batch.delete(ae_title.as_str(), &before);
        let event = configured(licence, Act::NetworkConfigured, &before.value, at);
        self.commit(batch, event).await?;
        Ok(())
    }
}

/// What it is to make `before` into `after`: one that stays where it is, of whom it was, is another
/// machine or does something else (PS3.16 CID 401).
fn act_of(before: Option<&Device>, after: &Device) -> Act {
    let is_there = before.is_some_and(|before| {
        before.organisation == after.organisation
            && before.host == after.host
            && before.port == after.port
            && before != after
    });
    if is_there {
        Act::HardwareConfigured
    } else {
        Act::NetworkConfigured
    }
}

fn configured(licence: &Licence<UsersManage>, act: Act, device: &Device, at: Moment) -> AuditEvent {
    let mut event = AuditEvent::by(act, at, licence.agent());
    event.actor.organisation = Some(device.organisation);
    event.object.node = Some(device.ae_title.as_str().to_owned());
    event
}
