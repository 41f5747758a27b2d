//! The device at the other end of an association, as the registry knows it.

use pacs_core::OrganisationCode;
use pacs_core::role::{Agent, Duty, Licence};
use pacs_net::service::Peer;
use pacs_store::registry::devices::Device;
use pacs_store::registry::{Registry, RegistryError};

/// A device, and what it may do at its organisation.
#[derive(Debug)]
pub(super) struct KnownDevice {
    pub(super) device: Device,
    agent: Agent,
}

/// Why nothing is done for a peer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unknown {
    /// Its title stands for no device: it belongs to no organisation.
    #[error("no device of this AE title is registered")]
    Title,
    /// The registry did not say.
    #[error("the registry did not answer")]
    Registry(#[source] RegistryError),
}

impl KnownDevice {
    /// Looks the calling title up. Who may call itself so was decided when it associated.
    pub(super) async fn find(registry: &Registry, peer: &Peer) -> Result<Self, Unknown> {
        let title = &peer.calling_ae_title;
        let device = match registry.device(title).await {
            Ok(stored) => stored.value,
            Err(RegistryError::NotFound { .. }) => return Err(Unknown::Title),
            Err(error) => return Err(Unknown::Registry(error)),
        };
        let mut agent = Agent::device(title, device.organisation);
        agent.address = Some(peer.address.ip());
        Ok(Self { device, agent })
    }

    /// Whose it is.
    pub(super) const fn organisation(&self) -> OrganisationCode {
        self.device.organisation
    }

    /// A licence for its own organisation.
    pub(super) fn licence<D: Duty>(&self) -> Result<Licence<D>, RegistryError> {
        Ok(self.agent.licence(self.device.organisation)?)
    }
}
