//! How many associations there are: in all, with one AE title, from one address.

use crate::limits::NetLimits;
use pacs_core::AeTitle;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts associations. Its maps hold only what has one.
#[derive(Debug, Default)]
pub(super) struct Admissions(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_ae_title: HashMap<AeTitle, usize>,
    by_address: HashMap<IpAddr, usize>,
}

/// A place among the associations, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    counts: Arc<Mutex<Counts>>,
    ae_title: AeTitle,
    address: IpAddr,
}

fn count<K: Hash + Eq>(map: &HashMap<K, usize>, key: &K) -> usize {
    map.get(key).copied().unwrap_or(0)
}

fn leave<K: Hash + Eq>(map: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = map.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            map.remove(key);
        }
    }
}

impl Admissions {
    /// Takes a place, unless a limit is reached.
    pub(super) fn enter(
        &self,
        ae_title: &AeTitle,
        address: IpAddr,
        limits: &NetLimits,
    ) -> Option<Place> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.all >= limits.associations_max
            || count(&counts.by_ae_title, ae_title) >= limits.associations_per_ae_max
            || count(&counts.by_address, &address) >= limits.associations_per_address_max
        {
            return None;
        }
        counts.all = counts.all.saturating_add(1);
        let of_title = counts.by_ae_title.entry(ae_title.clone()).or_default();
        *of_title = of_title.saturating_add(1);
        let of_address = counts.by_address.entry(address).or_default();
        *of_address = of_address.saturating_add(1);
        Some(Place {
            counts: Arc::clone(&self.0),
            ae_title: ae_title.clone(),
            address,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all = counts.all.saturating_sub(1);
        leave(&mut counts.by_ae_title, &self.ae_title);
        leave(&mut counts.by_address, &self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_back_when_its_association_ends() {
        let limits = NetLimits {
            associations_per_ae_max: 1,
            ..NetLimits::default()
        };
        let admissions = Admissions::default();
        let (title, address) = (AeTitle::parse("A").unwrap(), IpAddr::from([127, 0, 0, 1]));

        let place = admissions.enter(&title, address, &limits);
        assert!(place.is_some());
        assert!(admissions.enter(&title, address, &limits).is_none());
        drop(place);
        assert!(admissions.enter(&title, address, &limits).is_some());

        assert!(admissions.0.lock().unwrap().by_address.is_empty());
    }
}
