//! The person at a device: whoever is known by the name and passcode that its association shows
//! (PS3.7 D.3.3.7, type 2), as they are now. Nothing of it is kept from one operation to the next,
//! so that whatever ends a session, or changes what somebody may, counts from the next one on.

use super::caller;
use crate::accounts::{Accounts, Refused};
use pacs_core::access::SignedIn;
use pacs_core::{Caller, Denied};
use pacs_net::pdu::{UserIdentity, UserIdentityKind};
use pacs_net::service::Peer;
use pacs_net::status::{FindStatus, RetrieveStatus};
use pacs_store::registry::Registry;

/// Those who can be at a device. Clones are the same.
#[derive(Debug, Clone)]
pub struct People {
    accounts: Accounts,
    registry: Registry,
}

impl People {
    /// Those who have an account.
    #[must_use]
    pub const fn new(accounts: Accounts, registry: Registry) -> Self {
        Self { accounts, registry }
    }

    /// The accounts.
    pub(crate) const fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// Who is at the device `peer`; `None`: nobody is said to be, or by a claim alone.
    ///
    /// # Errors
    /// [`Refused::NotSignedIn`] where name and passcode are nobody's, or not any more;
    /// [`Refused::Busy`], [`Refused::Internal`].
    pub(crate) async fn at(&self, peer: &Peer) -> Result<Option<SignedIn>, Refused> {
        let Some(shown) = passcode(peer) else {
            return Ok(None);
        };
        let (name, passcode) = (&shown.primary, &shown.secondary);
        let who = self.accounts.who_by_passcode(name, passcode).await?;
        let at = (peer.address.ip(), Some(peer.calling_ae_title.clone()));
        let person = self.accounts.person(who, &self.registry, at).await?;
        Ok(Some(person))
    }

    /// Who searches and retrieves at the device `peer`: the person there, or else the device.
    pub(super) async fn caller(&self, peer: &Peer) -> Result<Caller, Barred> {
        Ok(match self.at(peer).await? {
            Some(person) => Caller::User(Box::new(person)),
            None => caller(peer),
        })
    }
}

/// What a device shows as name and passcode of the person there.
pub(crate) fn passcode(peer: &Peer) -> Option<&UserIdentity> {
    let shown = peer.user_identity.as_ref();
    shown.filter(|shown| shown.kind == UserIdentityKind::UsernameAndPassword)
}

/// Why nothing is done for whoever is at a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Barred {
    /// They may not, or the device may not.
    Denied,
    /// It could not be found out who it is.
    Failed,
    /// The session of their passcode is over.
    Over,
}

impl From<Denied> for Barred {
    fn from(_: Denied) -> Self {
        Self::Denied
    }
}

impl From<Refused> for Barred {
    fn from(refused: Refused) -> Self {
        if refused == Refused::NotSignedIn {
            Self::Over
        } else {
            Self::Failed
        }
    }
}

/// What the operator of the device may read.
const OVER: &str = "the session of the passcode is over";
const FAILED: &str = "who asks could not be found out, try again";

impl From<Barred> for FindStatus {
    fn from(barred: Barred) -> Self {
        match barred {
            Barred::Denied => Self::NOT_AUTHORIZED,
            Barred::Failed => Self::UNABLE_TO_PROCESS.with_comment(FAILED),
            Barred::Over => Self::NOT_AUTHORIZED.with_comment(OVER),
        }
    }
}

impl From<Barred> for RetrieveStatus {
    fn from(barred: Barred) -> Self {
        match barred {
            Barred::Denied => Self::NOT_AUTHORIZED,
            Barred::Failed => Self::UNABLE_TO_PROCESS.with_comment(FAILED),
            Barred::Over => Self::NOT_AUTHORIZED.with_comment(OVER),
        }
    }
}
