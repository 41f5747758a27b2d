//! The services of pacs-net over the archive of pacs-store: translation of requests, permits and
//! statuses.

pub mod commitment;
mod conversion_counters;
mod convert;
mod device;
pub mod mpps;
pub mod person;
mod query;
mod retrieve;
mod store;
pub mod worklist;

use crate::access::Access;
use crate::admission::Door;
use crate::limits::USER_NAME_CHARS_MAX;
use crate::recorder::Recorder;
pub use conversion_counters::ConversionCounters;
use convert::Conversions;
use pacs_core::access::{Right, permit};
use pacs_core::{AeTitle, Caller, ClaimedUser, Denied, Permit};
use pacs_image::Decoders;
use pacs_net::pdu::{UserIdentity, UserIdentityKind};
use pacs_net::service::Peer;
use pacs_store::Archive;
use pacs_store::egress::Overlays;
use person::{Barred, People};
use std::sync::Arc;

/// All DIMSE services of one archive.
#[derive(Debug, Clone)]
pub struct Services {
    archive: Archive,
    access: Arc<Access>,
    our_title: AeTitle,
    conversions: Conversions,
    overlays: Arc<dyn Overlays>,
    recorder: Recorder,
    people: People,
}

impl Services {
    /// Over `archive`, under `access`. What a peer cannot take is decoded by `decoders`, and counts
    /// into `counters`; what goes out says what `overlays` know, and is recorded before. `people`
    /// know who is at a device.
    #[must_use]
    pub fn new(
        archive: Archive,
        access: Arc<Access>,
        our_title: AeTitle,
        (counters, decoders): (ConversionCounters, Decoders),
        (overlays, recorder, people): (Arc<dyn Overlays>, Recorder, People),
    ) -> Self {
        Self {
            archive,
            access,
            our_title,
            conversions: Conversions::new(counters, decoders),
            overlays,
            recorder,
            people,
        }
    }

    /// The archive.
    #[must_use]
    pub fn archive(&self) -> Archive {
        self.archive.clone()
    }

    /// The door to them.
    #[must_use]
    pub fn door(&self) -> Door {
        let access = Arc::clone(&self.access);
        Door::new(access, self.people.clone(), self.recorder.clone())
    }

    /// For what a device does, whoever is at it.
    fn permit_of_device<R: Right>(&self, peer: &Peer) -> Result<Permit<R>, Denied> {
        permit(&*self.access, caller(peer))
    }

    /// For what the person at a device does, or else the device.
    async fn permit<R: Right>(&self, peer: &Peer) -> Result<Permit<R>, Barred> {
        let caller = self.people.caller(peer).await?;
        Ok(permit(&*self.access, caller)?)
    }
}

/// The device that asks, for the policy.
pub(crate) fn caller(peer: &Peer) -> Caller {
    Caller::Device {
        ae_title: peer.calling_ae_title.clone(),
        address: peer.address.ip(),
        user: peer.user_identity.as_ref().map(claimed),
    }
}

/// Whom a device claims to act for, without what is to prove it.
fn claimed(identity: &UserIdentity) -> ClaimedUser {
    match identity.kind {
        UserIdentityKind::Username | UserIdentityKind::UsernameAndPassword => {
            let name = String::from_utf8_lossy(&identity.primary);
            let shown = name.chars().filter(|c| !c.is_control());
            ClaimedUser::Named(shown.take(USER_NAME_CHARS_MAX).collect())
        }
        UserIdentityKind::KerberosTicket => ClaimedUser::Ticket,
        UserIdentityKind::SamlAssertion => ClaimedUser::Assertion,
        UserIdentityKind::JsonWebToken => ClaimedUser::Token,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pacs_net::security::Channel;

    #[test]
    fn the_policy_learns_who_is_claimed_and_no_secret() {
        let identity = |kind, primary: &str| UserIdentity {
            kind,
            positive_response_requested: true,
            primary: primary.into(),
            secondary: b"secret".to_vec(),
        };
        let peer = |identity| Peer {
            calling_ae_title: AeTitle::parse("CT1").unwrap(),
            called_ae_title: AeTitle::parse("PACS").unwrap(),
            address: ([192, 0, 2, 7], 104).into(),
            channel: Channel::Plain,
            implementation_class_uid: String::new(),
            implementation_version_name: String::new(),
            user_identity: Some(identity),
        };
        let by_name = peer(identity(UserIdentityKind::UsernameAndPassword, "nurse\n1"));
        let by_token = peer(identity(UserIdentityKind::JsonWebToken, "secret.token"));

        let seen = [caller(&by_name), caller(&by_token)];

        let users = seen.clone().map(|caller| match caller {
            Caller::Device { user, .. } => user,
            Caller::System { .. } | _ => None,
        });
        let expected = [ClaimedUser::Named("nurse1".into()), ClaimedUser::Token];
        assert_eq!(users, expected.map(Some));
        let shown = format!("{seen:?}{by_name:?}{by_token:?}");
        assert!(!shown.contains("secret"), "{shown}");
    }
}
