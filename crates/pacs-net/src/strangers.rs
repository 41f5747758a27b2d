//! Connections that have not become associations yet: whoever they are, they may not crowd out the
//! others.
//!
//! A peer that means it asks within milliseconds. So it is the oldest that have to go where there
//! are too many, and a flood makes room for whoever comes during it.

use crate::limits::NetLimits;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Time in which a connection is let alone, however many come from its address: bursts of honest
/// connections are over by then.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// Counts connections without association.
#[derive(Debug, Clone, Default)]
pub(crate) struct Strangers(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    last_id: u64,
    /// In the order in which they came.
    by_id: BTreeMap<u64, Entry>,
    by_network: HashMap<IpAddr, VecDeque<u64>>,
    request_bytes: usize,
}

#[derive(Debug)]
struct Entry {
    network: IpAddr,
    since: Instant,
    request_bytes: usize,
    leave: Arc<Notify>,
}

/// One connection without association, until it is dropped.
#[derive(Debug)]
pub(crate) struct Stranger {
    strangers: Strangers,
    id: u64,
    leave: Arc<Notify>,
}

/// What counts as one address: of IPv6, a host has a whole /64 to choose from.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(
            address.to_bits() & !u128::from(u64::MAX),
        )),
        address => address,
    }
}

impl Waiting {
    fn remove(&mut self, id: u64) -> Option<Entry> {
        let entry = self.by_id.remove(&id)?;
        self.request_bytes = self.request_bytes.saturating_sub(entry.request_bytes);
        if let Some(ids) = self.by_network.get_mut(&entry.network) {
            if let Ok(at) = ids.binary_search(&id) {
                ids.remove(at);
            }
            if ids.is_empty() {
                self.by_network.remove(&entry.network);
            }
        }
        Some(entry)
    }

    fn evict(&mut self, id: u64) {
        if let Some(entry) = self.remove(id) {
            entry.leave.notify_one();
        }
    }

    /// The oldest of `network`, if it has been there for long enough to have to go.
    fn settled(&self, network: &IpAddr, limits: &NetLimits) -> Option<u64> {
        let ids = self.by_network.get(network)?;
        let oldest = *ids.front()?;
        let is_over = ids.len() > limits.strangers_per_address_max;
        let since = self.by_id.get(&oldest)?.since;
        (is_over && since.elapsed() >= SETTLED_AFTER).then_some(oldest)
    }
}

impl Strangers {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a connection. Where there are too many from its address, the oldest have to go.
    pub(crate) fn enter(&self, address: IpAddr, limits: &NetLimits) -> Stranger {
        let network = network(address);
        let leave = Arc::new(Notify::new());
        let mut waiting = self.lock();
        let id = waiting.last_id.saturating_add(1);
        waiting.last_id = id;
        let entry = Entry {
            network,
            since: Instant::now(),
            request_bytes: 0,
            leave: Arc::clone(&leave),
        };
        waiting.by_id.insert(id, entry);
        waiting.by_network.entry(network).or_default().push_back(id);
        while let Some(oldest) = waiting.settled(&network, limits) {
            waiting.evict(oldest);
        }
        drop(waiting);
        Stranger {
            strangers: self.clone(),
            id,
            leave,
        }
    }

    /// Sends the oldest of all away, and says whether there was one. However short it has been
    /// there: as many as there are places have come since.
    pub(crate) fn evict_oldest(&self) -> bool {
        let mut waiting = self.lock();
        let Some(id) = waiting.by_id.first_key_value().map(|(id, _)| *id) else {
            return false;
        };
        waiting.evict(id);
        true
    }
}

impl Stranger {
    /// Resolves when this connection has to go. For one waiter.
    pub(crate) async fn has_to_go(&self) {
        self.leave.notified().await;
    }

    /// Says how much memory its request takes. Where all requests take too much, the oldest of the
    /// others that take some have to go.
    pub(crate) fn hold(&self, request_bytes: usize, limits: &NetLimits) {
        let mut waiting = self.strangers.lock();
        let Some(entry) = waiting.by_id.get_mut(&self.id) else {
            return;
        };
        let more = request_bytes.saturating_sub(entry.request_bytes);
        entry.request_bytes = entry.request_bytes.max(request_bytes);
        waiting.request_bytes = waiting.request_bytes.saturating_add(more);
        while waiting.request_bytes > limits.association_requests_bytes_max {
            let mut others = waiting.by_id.iter();
            let Some((&oldest, _)) =
                others.find(|(id, entry)| **id != self.id && entry.request_bytes > 0)
            else {
                return;
            };
            waiting.evict(oldest);
        }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.strangers.lock().remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> NetLimits {
        NetLimits {
            strangers_per_address_max: 2,
            association_requests_bytes_max: 100,
            ..NetLimits::default()
        }
    }

    /// Whether it has to go, without waiting for it.
    async fn goes(stranger: &Stranger) -> bool {
        let now = Duration::ZERO;
        let told = tokio::time::timeout(now, stranger.has_to_go()).await;
        told.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_of_an_address_go_first_once_they_have_had_their_time() {
        let strangers = Strangers::default();
        let address = IpAddr::from([10, 0, 0, 7]);
        let other = strangers.enter(IpAddr::from([10, 0, 0, 8]), &limits());
        let first = strangers.enter(address, &limits());
        let second = strangers.enter(address, &limits());
        let third = strangers.enter(address, &limits());
        assert!(!goes(&first).await, "a burst is no flood");

        tokio::time::advance(SETTLED_AFTER).await;
        let fourth = strangers.enter(address, &limits());

        assert!(goes(&first).await && goes(&second).await);
        assert!(!goes(&third).await && !goes(&fourth).await && !goes(&other).await);
        drop((first, second, third, fourth, other));
        let waiting = strangers.lock();
        assert!(waiting.by_id.is_empty() && waiting.by_network.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn requests_under_way_have_a_budget_in_all() {
        let strangers = Strangers::default();
        let enter = |host| strangers.enter(IpAddr::from([10, 0, 0, host]), &limits());
        let (silent, first, second) = (enter(1), enter(2), enter(3));

        first.hold(60, &limits());
        first.hold(60, &limits());
        assert!(!goes(&first).await);
        second.hold(60, &limits());

        assert!(goes(&first).await);
        assert!(!goes(&silent).await && !goes(&second).await);
        drop((silent, first, second));
        assert_eq!(strangers.lock().request_bytes, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn where_no_place_is_left_the_oldest_of_all_goes() {
        let strangers = Strangers::default();
        assert!(!strangers.evict_oldest());
        let first = strangers.enter(IpAddr::from([10, 0, 0, 1]), &limits());
        let second = strangers.enter(IpAddr::from([10, 0, 0, 2]), &limits());

        assert!(strangers.evict_oldest());

        assert!(goes(&first).await && !goes(&second).await);
    }

    #[test]
    fn addresses_of_one_host_are_one() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::2:3"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }
}
