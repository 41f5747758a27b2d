//! Who asks, and whether they may. A [`Permit`] is the only key to an archive.
//!
//! A permit can be made by [`permit`] alone, which asks the [`Policy`]; forgetting to ask does not
//! compile.

use crate::AeTitle;
use crate::role::Grants;
use crate::role::sight::Sight;
use crate::role::visibility::BreakGlass;
use std::marker::PhantomData;
use std::net::IpAddr;

/// Whoever asks something of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Caller {
    /// A client over HTTP.
    Client {
        /// Where its connection comes from.
        address: IpAddr,
        /// The name that its credentials stand for; `None`: it showed none, and none are needed.
        name: Option<String>,
    },
    /// A DICOM peer.
    Device {
        /// The title it calls itself by: a label, not an identity.
        ae_title: AeTitle,
        /// Where its connection comes from.
        address: IpAddr,
        /// The user it names, if it names one.
        user: Option<ClaimedUser>,
    },
    /// A person with an account, in a session of theirs: over HTTP, or at a device over DICOM.
    User(Box<SignedIn>),
    /// A task of the system itself.
    System {
        /// Which task.
        task: &'static str,
    },
}

/// Whose share of something scarce it is, so that nobody takes what is there for all: everything
/// that one client asks for at once counts together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Holder {
    /// Whoever comes from an address and shows no name that can be believed.
    Address(IpAddr),
    /// The client of these credentials.
    Client(String),
    /// The system itself.
    System,
    /// Somebody who is signed in, in all of their sessions.
    User(String),
}

impl Caller {
    /// Whose share is taken by what they ask for.
    #[must_use]
    pub fn holder(&self) -> Holder {
        match self {
            Self::Client {
                name: Some(name), ..
            } => Holder::Client(name.clone()),
            Self::Client { address, .. } | Self::Device { address, .. } => {
                Holder::Address(address.to_canonical())
            }
            Self::System { .. } => Holder::System,
            Self::User(user) => Holder::User(user.name.clone()),
        }
    }
}

/// Somebody who is signed in, as of one request.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedIn {
    /// How they sign in.
    pub name: String,
    /// Their roles, and where.
    pub grants: Grants,
    /// They are a doctor, which some roles are held without.
    pub is_doctor: bool,
    /// Patients whom they opened in an emergency.
    pub break_glass: Vec<BreakGlass>,
    /// The session, by a part of what is kept of it: no secret.
    pub session: Option<String>,
    /// Where the request comes from.
    pub address: IpAddr,
    /// The AE that they are at, over DICOM: what that may not do, they may not do there.
    pub device: Option<AeTitle>,
}

/// Who it is and in which session, for logs: neither what they may nor whom they opened in an
/// emergency.
impl std::fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedIn")
            .field("name", &self.name)
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

/// A user whom a device names (PS3.7 D.3.3.7). This is the claim, whoever verified it; whom the
/// archive knows for what they do is a [`Caller::User`]. What proves the claim (password, ticket,
/// assertion, token) is never kept here.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClaimedUser {
    /// By an assertion of SAML.
    Assertion,
    /// By name, with or without a password.
    Named(String),
    /// By a ticket of Kerberos.
    Ticket,
    /// By a JSON web token.
    Token,
}

/// What can be asked.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Action {
    /// Take reading tasks into work, and give them back (UPS).
    Claim,
    /// Ask for storage commitment.
    Commit,
    /// Verify the connection (C-ECHO).
    Echo,
    /// Search (C-FIND).
    Find,
    /// Retrieve over the caller's own connection (C-GET).
    Get,
    /// Hide an instance, or bring it back.
    Hide,
    /// Verify, rebuild and follow the archive.
    Maintain,
    /// Have instances sent to another AE (C-MOVE).
    Move,
    /// Tell of performed procedure steps (MPPS).
    Mpps,
    /// Store an instance (C-STORE).
    Store,
    /// Ask for the worklist (C-FIND of the modality worklist).
    Worklist,
}

/// The refusal of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("caller may not {action:?}")]
pub struct Denied {
    /// What was asked.
    pub action: Action,
}

/// Decides who may do what. The same one stands under every protocol.
pub trait Policy: std::fmt::Debug + Send + Sync + 'static {
    /// Whether `caller` may do `action`.
    fn permits(&self, caller: &Caller, action: Action) -> bool;

    /// Of which studies, where it may. There is no default: whoever decides who may search decides
    /// who sees what.
    fn sight(&self, caller: &Caller, action: Action) -> Sight;
}

/// One right of a [`Permit`].
pub trait Right: sealed::Sealed {
    /// The action that [`Policy::permits`] is asked about.
    const ACTION: Action;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! rights {
    ($($(#[$doc:meta])* $name:ident = $action:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub struct $name;
        impl sealed::Sealed for $name {}
        impl Right for $name {
            const ACTION: Action = Action::$action;
        }
    )*};
}

rights! {
    /// The right to take reading tasks into work.
    Claim = Claim;
    /// The right to ask for storage commitment.
    Commit = Commit;
    /// The right to search.
    Find = Find;
    /// The right to retrieve to oneself.
    Get = Get;
    /// The right to hide and restore.
    Hide = Hide;
    /// The right to verify, rebuild and follow.
    Maintain = Maintain;
    /// The right to have instances sent elsewhere.
    Move = Move;
    /// The right to tell of performed procedure steps.
    Mpps = Mpps;
    /// The right to store.
    Store = Store;
    /// The right to ask for the worklist.
    Worklist = Worklist;
}

/// Proof that the policy was asked and agreed.
#[derive(Debug, Clone)]
pub struct Permit<R: Right> {
    caller: Caller,
    sight: Sight,
    right: PhantomData<R>,
}

impl<R: Right> Permit<R> {
    /// Who asked.
    #[must_use]
    pub const fn caller(&self) -> &Caller {
        &self.caller
    }

    /// What they see: an archive gives nothing else.
    #[must_use]
    pub const fn sight(&self) -> &Sight {
        &self.sight
    }
}

/// Asks `policy` whether `caller` has the right `R`.
///
/// # Errors
/// [`Denied`] where the policy does not agree.
pub fn permit<R: Right>(policy: &dyn Policy, caller: Caller) -> Result<Permit<R>, Denied> {
    if policy.permits(&caller, R::ACTION) {
        Ok(Permit {
            sight: policy.sight(&caller, R::ACTION),
            caller,
            right: PhantomData,
        })
    } else {
        Err(Denied { action: R::ACTION })
    }
}

/// Permits everything to everyone: for an embedded archive whose host application decides, and for
/// tests.
#[derive(Debug, Clone, Copy)]
pub struct PermitAll;

impl Policy for PermitAll {
    fn permits(&self, _caller: &Caller, _action: Action) -> bool {
        true
    }

    fn sight(&self, _caller: &Caller, _action: Action) -> Sight {
        Sight::Everything
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct EchoOnly;

    impl Policy for EchoOnly {
        fn permits(&self, _caller: &Caller, action: Action) -> bool {
            action == Action::Echo
        }

        fn sight(&self, _caller: &Caller, _action: Action) -> Sight {
            Sight::Everything
        }
    }

    #[test]
    fn a_log_tells_who_is_signed_in_and_neither_what_they_may_nor_whom_they_opened() {
        let opened = crate::patient::PatientNumber::from_serial(1234).unwrap();
        let opened = crate::patient::PatientKey::Known(opened);
        let user = SignedIn {
            name: "asanov".to_owned(),
            grants: Grants::default(),
            is_doctor: true,
            break_glass: vec![BreakGlass::open(opened, chrono::DateTime::UNIX_EPOCH)],
            session: Some("0a1b2c3d".to_owned()),
            address: IpAddr::from([192, 0, 2, 1]),
            device: None,
        };

        let told = format!("{:?}", Caller::User(Box::new(user)));

        assert_eq!(
            told,
            "User(SignedIn { name: \"asanov\", session: Some(\"0a1b2c3d\"), .. })"
        );
    }

    #[test]
    fn no_permit_without_the_policy() {
        let caller = Caller::System { task: "test" };

        assert!(permit::<Store>(&PermitAll, caller.clone()).is_ok());
        let refused = permit::<Store>(&EchoOnly, caller).unwrap_err();
        assert_eq!(
            refused,
            Denied {
                action: Action::Store
            }
        );
    }
}
