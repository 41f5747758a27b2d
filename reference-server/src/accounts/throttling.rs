//! How often an account and a network may be wrong. What was wrong is kept with the record that
//! tells of it, so that a restart forgives nothing.

use super::{Accounts, Refused};
use crate::guessing;
use crate::limits::THROTTLE_ATTEMPTS_MAX;
use chrono::{DateTime, TimeDelta, Utc};
use pacs_core::account::UserName;
use pacs_core::account::throttle::{Throttle, ThrottleRules};
use pacs_core::audit::{Act, Actor, AuditEvent, Outcome};
use pacs_store::records::RecordsError;
use pacs_store::registry::accounts::{AccountsError, Throttled, put};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// What is tried at this moment, for each key.
#[derive(Debug, Default)]
pub(super) struct UnderWay(Mutex<HashMap<String, u32>>);

impl UnderWay {
    /// Counts one more, and says how many there were.
    fn add(&self, key: &str) -> u32 {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(key.to_owned()).or_default();
        let before = *count;
        *count = before.saturating_add(1);
        before
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().unwrap().is_empty()
    }

    fn remove(&self, key: &str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(key);
            }
        }
    }
}

/// What is tried. Each has counts of its own, so that whoever guesses at one keeps nobody from the
/// others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tried {
    /// A code of a second factor, by whoever knows the password or is signed in.
    Code,
    /// The password once more, by whoever is signed in.
    Proof,
    /// An answer of the provider of identities, by any browser.
    Provider,
    /// The token for the first account.
    SetUp,
    /// A name and a password, by anybody.
    SignIn,
}

impl Tried {
    /// What it counts for: an account by the digest of its name, a network.
    fn keys(self, name: &str, network: IpAddr) -> Vec<(String, ThrottleRules)> {
        match self {
            Self::Code => vec![(format!("code/{name}"), ThrottleRules::ACCOUNT)],
            Self::Proof => vec![(format!("proof/{name}"), ThrottleRules::ACCOUNT)],
            Self::Provider => vec![(format!("provider/{network}"), ThrottleRules::NETWORK)],
            Self::SetUp => vec![(format!("set-up/{network}"), ThrottleRules::NETWORK)],
            Self::SignIn => vec![
                (format!("account/{name}"), ThrottleRules::ACCOUNT),
                (format!("network/{network}"), ThrottleRules::NETWORK),
            ],
        }
    }
}

/// Something that is tried: what it counts for, until it is dropped.
pub(super) struct Attempt<'a> {
    accounts: &'a Accounts,
    keys: Vec<(String, ThrottleRules)>,
    from: IpAddr,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        for (key, _) in &self.keys {
            self.accounts.inner.under_way.remove(key);
        }
    }
}

impl Accounts {
    /// Lets something be tried for the account `name`, as it was typed, from `from`.
    pub(super) async fn attempt(
        &self,
        tried: Tried,
        name: &str,
        from: IpAddr,
    ) -> Result<Attempt<'_>, Refused> {
        // What was typed may be a password in the wrong place, and of any length.
        let name = name.trim().to_lowercase();
        let name = blake3::hash(name.as_bytes()).to_hex();
        let keys = tried.keys(&name, guessing::network(from));
        let under_way: Vec<u32> = keys
            .iter()
            .map(|(key, _)| self.inner.under_way.add(key))
            .collect();
        // From here on it is dropped, whatever happens.
        let attempt = Attempt {
            accounts: self,
            keys,
            from,
        };
        let now = self.inner.world.now();
        for ((key, rules), count) in attempt.keys.iter().zip(under_way) {
            let throttle = self.throttle(key).await?;
            if let Some(wait) = throttle.wait(*rules, count, now) {
                return Err(wait_for(wait));
            }
        }
        Ok(attempt)
    }

    async fn throttle(&self, key: &str) -> Result<Throttle, Refused> {
        let kept = self.inner.store.get::<Throttled>(key).await?;
        Ok(kept.map_or(Throttle::CLEAN, |kept| kept.value.throttle))
    }
}

impl Attempt<'_> {
    /// It was wrong: keeps that, and gives what to answer. `user` is the account, where there is
    /// one of the name.
    pub(super) async fn failed(self, act: Act, user: Option<&UserName>, reason: &str) -> Refused {
        let accounts = self.accounts;
        let mut event = accounts.event(act, Actor::nobody(), Some(self.from));
        event.outcome = Outcome::MinorFailure;
        event.reason = Some(reason.to_owned());
        event.object.user = user.map(|user| user.as_str().to_owned());
        let now = accounts.inner.world.now();
        for _ in 0..THROTTLE_ATTEMPTS_MAX {
            match self.keep(&event, now).await {
                Ok(()) => return Refused::WrongCredentials,
                // Another one of the same name or network was wrong in between.
                Err(AccountsError::Records(RecordsError::Changed { .. })) => {}
                Err(error) => return error.into(),
            }
        }
        Refused::Busy
    }

    async fn keep(&self, event: &AuditEvent, now: DateTime<Utc>) -> Result<(), AccountsError> {
        let store = &self.accounts.inner.store;
        let mut changes = Vec::new();
        for (key, rules) in &self.keys {
            let kept = store.get::<Throttled>(key).await?;
            let before = kept
                .as_ref()
                .map_or(Throttle::CLEAN, |kept| kept.value.throttle);
            let throttle = before.failed(*rules, now);
            let revision = kept.as_ref().map(|kept| kept.revision);
            changes.push(put(key, &Throttled { throttle }, revision));
            if throttle.wait(*rules, 0, now).is_some() {
                tracing::error!(
                    alarm = "password_guessing",
                    address = %self.from,
                    account = event.object.user,
                    "passwords are tried out; more are not looked at for a while"
                );
            }
        }
        store.commit(changes, std::slice::from_ref(event)).await
    }
}

fn wait_for(wait: TimeDelta) -> Refused {
    let seconds = u64::try_from(wait.num_seconds()).unwrap_or_default();
    Refused::Wait {
        seconds: seconds.saturating_add(1),
    }
}
