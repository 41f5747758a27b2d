//! Sign-ins that are under way: what was asked of the provider for which browser, so that an answer
//! counts once, soon, and in the browser that asked.
//!
//! They are in memory alone and bounded. A network that begins too many loses its own oldest; where
//! many networks do, the one that has most does.

use super::return_to::ReturnTo;
use crate::guessing;
use crate::limits::{OIDC_SIGN_IN_LIFE, OIDC_SIGN_INS_MAX, OIDC_SIGN_INS_OF_NETWORK_MAX};
use blake3::Hash;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Sign-ins by the digest of what names them: the state at the provider, and the cookie of the
/// browser.
pub(super) struct Pending<T>(Mutex<HashMap<Hash, Kept<T>>>);

struct Kept<T> {
    /// Of the secret in the cookie of the browser.
    browser: Hash,
    network: IpAddr,
    began_at: Instant,
    what: T,
}

impl<T> Default for Pending<T> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").finish_non_exhaustive()
    }
}

impl<T> Kept<T> {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began_at) >= OIDC_SIGN_IN_LIFE
    }
}

/// What is remembered of a sign-in while somebody is at the provider.
#[derive(Clone)]
pub(super) struct Flow {
    /// What the ID token must repeat.
    pub(super) nonce: String,
    /// What the code is good for nothing without (RFC 7636).
    pub(super) verifier: String,
    /// Where the browser goes afterwards.
    pub(super) return_to: ReturnTo,
    /// The secret of the session that the browser has, which ends.
    pub(super) old: Option<String>,
    /// When it was asked, in seconds since 1970.
    pub(super) asked_at: i64,
}

impl<T> Pending<T> {
    /// Remembers `what` under `name` for the browser with `secret`.
    pub(super) fn put(&self, (name, secret): (&str, &str), from: IpAddr, now: Instant, what: T) {
        let network = guessing::network(from);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_network = all.values().filter(|kept| kept.network == network).count();
        let is_full = all.len() >= OIDC_SIGN_INS_MAX;
        if is_full || of_network >= OIDC_SIGN_INS_OF_NETWORK_MAX {
            all.retain(|_, kept| !kept.is_over(now));
            let of_network = |kept: &Kept<T>| kept.network == network;
            let count = all.values().filter(|kept| of_network(kept)).count();
            if count >= OIDC_SIGN_INS_OF_NETWORK_MAX {
                forget_oldest(&mut all, of_network);
            } else if all.len() >= OIDC_SIGN_INS_MAX {
                forget_oldest_of_most(&mut all);
            }
        }
        let kept = Kept {
            browser: digest(secret),
            network,
            began_at: now,
            what,
        };
        all.insert(digest(name), kept);
    }

    /// Takes what is remembered under `name`, where the browser with `secret` began it and it is
    /// not over. It is there once. In another browser it stays for the one that it belongs to.
    pub(super) fn take(&self, name: &str, secret: &str, now: Instant) -> Option<T> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = digest(name);
        if all.get(&name)?.browser != digest(secret) {
            return None;
        }
        let kept = all.remove(&name)?;
        (!kept.is_over(now)).then_some(kept.what)
    }
}

impl<T: Clone> Pending<T> {
    /// The same as [`Self::take`], which leaves it there.
    pub(super) fn look(&self, name: &str, secret: &str, now: Instant) -> Option<T> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = all.get(&digest(name))?;
        let is_live = kept.browser == digest(secret) && !kept.is_over(now);
        is_live.then(|| kept.what.clone())
    }
}

/// Equality of digests takes the same time whatever they are.
fn digest(secret: &str) -> Hash {
    blake3::hash(secret.as_bytes())
}

fn forget_oldest<T>(all: &mut HashMap<Hash, Kept<T>>, is_meant: impl Fn(&Kept<T>) -> bool) {
    let meant = all.iter().filter(|(_, kept)| is_meant(kept));
    let oldest = meant.min_by_key(|(_, kept)| kept.began_at);
    if let Some(name) = oldest.map(|(name, _)| *name) {
        all.remove(&name);
    }
}

/// Forgets the oldest of the network that has most, so that many begun elsewhere do not drive out
/// the few of a hospital.
fn forget_oldest_of_most<T>(all: &mut HashMap<Hash, Kept<T>>) {
    let mut counts: HashMap<IpAddr, usize> = HashMap::new();
    for kept in all.values() {
        *counts.entry(kept.network).or_default() += 1;
    }
    let most = counts.values().copied().max();
    forget_oldest(all, |kept| counts.get(&kept.network).copied() == most);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1));

    #[test]
    fn a_sign_in_counts_once_in_its_own_browser_and_for_ten_minutes() {
        let pending = Pending::default();
        let began = Instant::now();
        pending.put(("state", "cookie"), HERE, began, 1);
        assert_eq!(pending.take("state", "another", began), None);
        assert_eq!(pending.take("another", "cookie", began), None);
        assert_eq!(pending.take("state", "cookie", began), Some(1));
        assert_eq!(pending.take("state", "cookie", began), None, "once");

        pending.put(("state", "cookie"), HERE, began, 2);
        let late = began + OIDC_SIGN_IN_LIFE;
        assert_eq!(pending.take("state", "cookie", late), None);
        assert_eq!(
            pending.take("state", "cookie", began),
            None,
            "what is over is gone"
        );
    }

    #[test]
    fn who_begins_without_end_loses_what_they_began_and_nobody_elses() {
        let pending = Pending::default();
        let began = Instant::now();
        pending.put(("own", "cookie"), THERE, began, 0);
        for n in 0..OIDC_SIGN_INS_OF_NETWORK_MAX + 9 {
            let now = began + Duration::from_millis(n as u64);
            pending.put((&format!("state {n}"), "cookie"), HERE, now, n);
        }
        let now = began + Duration::from_secs(5);
        assert_eq!(
            pending.0.lock().unwrap().len(),
            OIDC_SIGN_INS_OF_NETWORK_MAX + 1
        );
        assert_eq!(pending.take("state 8", "cookie", now), None);
        assert_eq!(pending.take("state 9", "cookie", now), Some(9));
        assert_eq!(pending.take("own", "cookie", now), Some(0));

        for n in 0..u32::try_from(OIDC_SIGN_INS_MAX).unwrap() + 9 {
            let from = IpAddr::from(n.to_be_bytes());
            pending.put((&format!("other {n}"), "cookie"), from, now, 7);
        }
        assert_eq!(pending.0.lock().unwrap().len(), OIDC_SIGN_INS_MAX);
    }

    #[test]
    fn where_the_table_is_full_the_network_with_most_loses_its_oldest() {
        let pending = Pending::default();
        let began = Instant::now();
        let put = |name: &str, from: IpAddr, at_ms: u64| {
            let now = began + Duration::from_millis(at_ms);
            pending.put((name, "cookie"), from, now, at_ms);
        };
        // The two of the hospital are the oldest of all.
        put("first", HERE, 0);
        put("second", HERE, 1);
        let networks = u32::try_from(OIDC_SIGN_INS_MAX / 40).unwrap();
        for n in 0..OIDC_SIGN_INS_MAX as u64 * 2 {
            let network = u32::try_from(n).unwrap() % networks;
            let from = IpAddr::from((0xc633_6400 + network).to_be_bytes());
            put(&format!("other {n}"), from, n + 2);
        }

        assert_eq!(pending.0.lock().unwrap().len(), OIDC_SIGN_INS_MAX);
        let now = began + Duration::from_secs(9);
        assert_eq!(pending.take("first", "cookie", now), Some(0));
        assert_eq!(pending.take("second", "cookie", now), Some(1));
        assert_eq!(pending.take("other 0", "cookie", now), None, "the oldest");
    }
}
