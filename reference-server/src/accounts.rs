//! Accounts of people: who signs in, for how long, and what they may do to their own account.
//!
//! The rules are [`pacs_core::account`], what is kept is [`pacs_store::registry::accounts`]. Every
//! act here is one change with the record that tells of it.

pub mod administer;
pub mod emergency;
pub mod external;
mod hashing;
pub mod manage;
mod own;
mod passcodes;
mod sessions;
mod sign_in;
#[cfg(test)]
mod tests;
mod throttling;

pub use hashing::HashCost;
pub use sessions::Who;
pub(crate) use sessions::{is_secret, must_change_password};
pub use sign_in::{Credentials, SignedIn};

use crate::clock::{NoRandomness, World};
use crate::limits::ACCOUNTS_SWEPT_EVERY;
use hashing::{Hashing, HashingError};
use pacs_core::account::break_glass::ExplanationError;
use pacs_core::account::password::PasswordError;
use pacs_core::account::session::SessionRules;
use pacs_core::audit::{Act, Actor, ActorKind, AuditEvent};
use pacs_store::records::RecordsError;
use pacs_store::registry::accounts::{AccountStore, AccountsError, User};
use pacs_store::registry::audit::AuditTrail;
use std::net::IpAddr;
use std::sync::Arc;
use throttling::UnderWay;

/// Why something is not done for somebody. Exhaustive on purpose: each has a status and a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Others do the same now; it can be tried again.
    #[error("too much at once")]
    Busy,
    /// The password is right, and the code of the second factor is needed besides.
    #[error("the code of the second factor is needed")]
    CodeNeeded,
    /// What should explain does not.
    #[error(transparent)]
    Explanation(#[from] ExplanationError),
    /// The disk is full: nothing was done.
    #[error("disk is full")]
    Full,
    /// A fault of ours; the log says which.
    #[error("the server could not do it")]
    Internal,
    /// There is no such thing.
    #[error("there is no such thing")]
    NotFound,
    /// The provider knows who it is, and no account is linked with them, or none that gets in.
    #[error("no account here is linked with this identity")]
    NotLinked,
    /// Whoever asks may not do that.
    #[error("not permitted")]
    NotPermitted,
    /// Nobody is signed in, or not any more.
    #[error("nobody is signed in, or not any more")]
    NotSignedIn,
    /// A new password is not taken.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// Another password has to be chosen before anything else.
    #[error("another password must be chosen first")]
    PasswordMustChange,
    /// There is a user already, or the token is none or too old.
    #[error("the set-up token is none, or is over")]
    SetUpOver,
    /// The name is taken.
    #[error("the name is taken")]
    Taken,
    /// There are as many of them as there may be.
    #[error("there are as many as there may be")]
    TooMany,
    /// Too much was wrong.
    #[error("too much was wrong; wait")]
    Wait {
        /// For how long.
        seconds: u64,
    },
    /// What was typed is wrong, or there is no such account: nobody is told which.
    #[error("wrong user name, password or code")]
    WrongCredentials,
}

impl From<AccountsError> for Refused {
    fn from(error: AccountsError) -> Self {
        let is_busy = matches!(
            error,
            AccountsError::Busy | AccountsError::Records(RecordsError::Changed { .. })
        );
        if is_busy {
            return Self::Busy;
        }
        if matches!(error, AccountsError::Records(RecordsError::Full)) {
            return Self::Full;
        }
        let error = crate::tool::failure::chain(&error);
        tracing::error!(error, "accounts could not be read or changed");
        Self::Internal
    }
}

impl From<NoRandomness> for Refused {
    fn from(error: NoRandomness) -> Self {
        tracing::error!(%error, "nothing secret can be made");
        Self::Internal
    }
}

impl From<HashingError> for Refused {
    fn from(error: HashingError) -> Self {
        match error {
            HashingError::Busy => Self::Busy,
            HashingError::Failed => {
                tracing::error!("a password could not be hashed");
                Self::Internal
            }
        }
    }
}

/// What can be set of accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AccountRules {
    /// What hashing a password costs.
    pub cost: HashCost,
    /// How long sessions live.
    pub sessions: SessionRules,
}

/// The accounts of an archive. Clones are the same.
#[derive(Debug, Clone)]
pub struct Accounts {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: AccountStore,
    rules: AccountRules,
    hashing: Hashing,
    under_way: UnderWay,
    world: World,
}

impl Accounts {
    /// Those beside `trail`.
    ///
    /// # Errors
    /// [`Refused::Internal`] where nothing can be hashed.
    pub fn new(trail: AuditTrail, rules: AccountRules, world: World) -> Result<Self, Refused> {
        let hashing = Hashing::new(rules.cost, &world)?;
        Ok(Self {
            inner: Arc::new(Inner {
                store: AccountStore::new(trail),
                rules,
                hashing,
                under_way: UnderWay::default(),
                world,
            }),
        })
    }

    /// The trail to which all of it is appended.
    #[must_use]
    pub fn trail(&self) -> &AuditTrail {
        self.inner.store.trail()
    }

    /// How long sessions live.
    #[must_use]
    pub fn session_rules(&self) -> SessionRules {
        self.inner.rules.sessions
    }

    /// Takes away what is over, once in a while, until the task is dropped.
    pub async fn keep_clean(self) {
        let mut ticks = tokio::time::interval(ACCOUNTS_SWEPT_EVERY);
        loop {
            ticks.tick().await;
            if let Err(error) = self.sweep().await {
                tracing::warn!(%error, "what is over of accounts could not be taken away");
            }
        }
    }

    fn event(&self, act: Act, actor: Actor, from: Option<IpAddr>) -> AuditEvent {
        let mut event = AuditEvent::new(act, self.inner.world.moment(), actor);
        event.from = from;
        event
    }
}

/// A user as they stand in the audit trail.
fn actor_of(user: &User, session_key: Option<&str>) -> Actor {
    let grants: Vec<_> = user.grants.clone().into();
    let mut roles: Vec<_> = grants.iter().map(|grant| grant.role).collect();
    roles.sort_unstable();
    roles.dedup();
    let mut organisations = grants.iter().filter_map(|grant| match grant.reach {
        pacs_core::role::Reach::Organisation(code) => Some(code),
        pacs_core::role::Reach::National => None,
    });
    let organisation = organisations.next();
    let is_of_one = organisations.all(|other| Some(other) == organisation);
    Actor {
        roles,
        organisation: organisation.filter(|_| is_of_one),
        // A few digits of a hash: enough to tell sessions apart.
        session: session_key.and_then(|key| key.get(..8)).map(str::to_owned),
        ..Actor::new(ActorKind::User, user.name.as_str())
    }
}

/// What is kept of a secret of 140 random bits or more.
fn hash_of(secret: &str) -> String {
    blake3::hash(secret.as_bytes()).to_hex().to_string()
}

/// Hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
