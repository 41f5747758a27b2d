//! The services of pacs-net over the archive of pacs-store: translation of requests, permits and
//! statuses.

mod query;
mod retrieve;
mod store;

use crate::access::Access;
use pacs_core::access::{Right, permit};
use pacs_core::{AeTitle, Caller, Denied, Permit};
use pacs_net::service::Peer;
use pacs_store::Archive;
use std::sync::Arc;

/// All DIMSE services of one archive.
#[derive(Debug, Clone)]
pub struct Services {
    archive: Archive,
    access: Arc<Access>,
    our_title: AeTitle,
}

impl Services {
    /// Over `archive`, under `access`.
    #[must_use]
    pub const fn new(archive: Archive, access: Arc<Access>, our_title: AeTitle) -> Self {
        Self {
            archive,
            access,
            our_title,
        }
    }

    fn permit<R: Right>(&self, peer: &Peer) -> Result<Permit<R>, Denied> {
        permit(&*self.access, caller(peer))
    }
}

fn caller(peer: &Peer) -> Caller {
    Caller::Device {
        ae_title: peer.calling_ae_title.clone(),
        address: peer.address.ip(),
    }
}
