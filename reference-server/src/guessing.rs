//! Titles that are tried out: a source that is wrong again and again is not looked at for a while.
//!
//! Every wrong request of a network (an address; of IPv6 a /64) takes a token, and a second gives
//! one back. Where there is none, requests are turned away without being looked at, so that not
//! even a right guess is told from a wrong one.

use crate::limits::{GUESS_RESTORED_AFTER, GUESSES_MAX, GUESSING_NETWORKS_MAX};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Least time between two alarms about one network.
const ALARM_INTERVAL: Duration = Duration::from_secs(60);

/// What each network has left.
#[derive(Debug, Default)]
pub struct Guesses(Mutex<HashMap<IpAddr, Bucket>>);

#[derive(Debug)]
struct Bucket {
    /// When it will be, or was, full again.
    full_at: Instant,
    turned_away_count: u64,
    alarmed_at: Option<Instant>,
}

/// A request that was not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TurnedAway {
    /// Requests of this network that were not looked at since the last alarm, where it is time for
    /// one.
    pub alarm: Option<u64>,
}

impl Guesses {
    /// Looks at a request from `address` with `evaluate`, unless too many were wrong.
    ///
    /// # Errors
    /// [`TurnedAway`]; `evaluate` was not called.
    pub fn evaluate<T, E>(
        &self,
        address: IpAddr,
        now: Instant,
        evaluate: impl FnOnce() -> Result<T, E>,
    ) -> Result<Result<T, E>, TurnedAway> {
        let network = network(address);
        // Held meanwhile, so that many requests at once are not more guesses than one by one.
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = GUESS_RESTORED_AFTER * GUESSES_MAX;
        if let Some(bucket) = buckets.get_mut(&network) {
            if bucket.full_at <= now {
                buckets.remove(&network);
            } else if bucket.full_at - now + GUESS_RESTORED_AFTER > whole {
                return Err(bucket.turn_away(now));
            }
        }
        let evaluated = evaluate();
        if evaluated.is_err() {
            if buckets.len() >= GUESSING_NETWORKS_MAX {
                make_room(&mut buckets, now);
            }
            let bucket = buckets.entry(network).or_insert(Bucket {
                full_at: now,
                turned_away_count: 0,
                alarmed_at: None,
            });
            bucket.full_at = bucket.full_at.max(now) + GUESS_RESTORED_AFTER;
        }
        Ok(evaluated)
    }
}

impl Bucket {
    fn turn_away(&mut self, now: Instant) -> TurnedAway {
        self.turned_away_count += 1;
        let is_due = self
            .alarmed_at
            .is_none_or(|at| now.saturating_duration_since(at) >= ALARM_INTERVAL);
        let alarm = is_due.then_some(self.turned_away_count);
        if is_due {
            self.alarmed_at = Some(now);
            self.turned_away_count = 0;
        }
        TurnedAway { alarm }
    }
}

/// Forgets who has all tokens back, or else whoever has them back first.
fn make_room(buckets: &mut HashMap<IpAddr, Bucket>, now: Instant) {
    buckets.retain(|_, bucket| bucket.full_at > now);
    if buckets.len() >= GUESSING_NETWORKS_MAX
        && let Some(network) = buckets
            .iter()
            .min_by_key(|(_, bucket)| bucket.full_at)
            .map(|(network, _)| *network)
    {
        buckets.remove(&network);
    }
}

/// The network of an address: of IPv6 a /64.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    fn wrong(guesses: &Guesses, address: IpAddr, now: Instant) -> bool {
        let evaluated = guesses.evaluate(address, now, || Err::<(), ()>(()));
        evaluated.is_ok()
    }

    #[test]
    fn ten_thousand_guesses_are_looked_at_once_a_second() {
        let guesses = Guesses::default();
        let began = Instant::now();
        let mut looked_at = 0;
        for n in 0..10_000 {
            // A hundred a second.
            let now = began + Duration::from_millis(10) * n;
            looked_at += u32::from(wrong(&guesses, HERE, now));
        }

        assert_eq!(looked_at, GUESSES_MAX + 99);
    }

    #[test]
    fn right_requests_cost_nothing_and_are_not_looked_at_while_guesses_come() {
        let guesses = Guesses::default();
        let now = Instant::now();
        let right = |now| guesses.evaluate(HERE, now, || Ok::<(), ()>(())).is_ok();
        assert!((0..1000).all(|_| right(now)));

        while wrong(&guesses, HERE, now) {}

        assert!(!right(now), "a right guess would be told from a wrong one");
        assert!(
            wrong(&guesses, IpAddr::from([192, 0, 2, 8]), now),
            "others are served"
        );
        assert!(right(now + GUESS_RESTORED_AFTER));
    }

    #[test]
    fn the_alarm_sounds_at_once_and_then_once_a_minute() {
        let guesses = Guesses::default();
        let began = Instant::now();
        let mut alarms = Vec::new();
        for n in 0..1300 {
            let now = began + Duration::from_millis(100) * n;
            let turned_away = guesses.evaluate(HERE, now, || Err::<(), ()>(()));
            alarms.extend(turned_away.err().and_then(|turned_away| turned_away.alarm));
        }

        assert_eq!(alarms.len(), 3, "{alarms:?}");
        assert_eq!(alarms.first(), Some(&1));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let guesses = Guesses::default();
        let now = Instant::now();
        for n in 0..u32::try_from(GUESSING_NETWORKS_MAX).unwrap() + 100 {
            wrong(&guesses, IpAddr::from(n.to_be_bytes()), now);
        }

        assert_eq!(guesses.0.lock().unwrap().len(), GUESSING_NETWORKS_MAX);
    }
}
