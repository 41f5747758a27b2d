//! How many connections each network has, so that none takes all places.

use crate::guessing::network;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// The connections that are open, by network.
#[derive(Debug, Clone)]
pub(super) struct Crowd {
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
    each_max: usize,
}

/// One connection of a network; goes with it.
#[derive(Debug)]
pub(super) struct Member {
    crowd: Crowd,
    network: IpAddr,
}

impl Crowd {
    /// Of up to `each_max` connections of one network.
    pub(super) fn new(each_max: usize) -> Self {
        Self {
            counts: Arc::default(),
            each_max,
        }
    }

    /// A place for a connection from `address`; `None` where its network has as many as it may.
    /// Programs of this machine, as a proxy for everybody, have as many as there are.
    pub(super) fn join(&self, address: IpAddr) -> Option<Member> {
        let network = network(address);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(network).or_default();
        if *count >= self.each_max && !address.to_canonical().is_loopback() {
            return None;
        }
        *count += 1;
        Some(Member {
            crowd: self.clone(),
            network,
        })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let counts = self.crowd.counts.lock();
        let mut counts = counts.unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.network) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_no_more_places_than_it_may_and_they_come_back() {
        let crowd = Crowd::new(2);
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let first = crowd.join(one);
        let _second = crowd.join(one).unwrap();

        assert!(crowd.join(one).is_none());
        assert!(crowd.join(other).is_some());
        drop(first);
        assert!(crowd.join(one).is_some());
    }

    #[test]
    fn neighbours_in_ipv6_are_one_and_this_machine_is_not_counted_out() {
        let crowd = Crowd::new(1);
        let _first = crowd.join("2001:db8::1".parse().unwrap()).unwrap();
        assert!(crowd.join("2001:db8::2".parse().unwrap()).is_none());
        let of_here: IpAddr = "::ffff:127.0.0.1".parse().unwrap();
        let held: Vec<_> = (0..10).map(|_| crowd.join(of_here)).collect();
        assert!(held.iter().all(Option::is_some));
        drop(held);
        assert_eq!(crowd.counts.lock().unwrap().len(), 1);
    }
}
