//! Places among those who do something at once: for all together, and for each client no more than
//! its share, so that one cannot keep the others out.

use pacs_core::Caller;
use pacs_core::access::Holder;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// All places.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    taken: Arc<Mutex<HashMap<Holder, usize>>>,
    all_max: usize,
    each_max: usize,
}

/// A place; free again when it goes.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    holder: Holder,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// All are taken.
    All,
    /// This client has its share.
    Share,
}

impl Places {
    /// `all_max` places, of which one client has up to `each_max`.
    pub(crate) fn new(all_max: usize, each_max: usize) -> Self {
        Self {
            taken: Arc::default(),
            all_max,
            each_max,
        }
    }

    /// A place for `caller`.
    pub(crate) fn take(&self, caller: &Caller) -> Result<Place, NoPlace> {
        let holder = caller.holder();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.values().sum::<usize>() >= self.all_max {
            return Err(NoPlace::All);
        }
        let own = taken.entry(holder.clone()).or_default();
        if *own >= self.each_max {
            return Err(NoPlace::Share);
        }
        *own = own.saturating_add(1);
        Ok(Place {
            places: self.clone(),
            holder,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let taken = self.places.taken.lock();
        let mut taken = taken.unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.holder) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                taken.remove(&self.holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn client(name: &str) -> Caller {
        Caller::Client {
            address: IpAddr::from([192, 0, 2, 1]),
            name: Some(name.to_owned()),
        }
    }

    #[test]
    fn one_client_has_its_share_and_leaves_the_rest_to_others() {
        let places = Places::new(3, 2);
        let first = places.take(&client("one")).unwrap();
        let _second = places.take(&client("one")).unwrap();

        assert_eq!(places.take(&client("one")).unwrap_err(), NoPlace::Share);
        let _other = places.take(&client("two")).unwrap();
        assert_eq!(places.take(&client("three")).unwrap_err(), NoPlace::All);
        drop(first);
        assert!(places.take(&client("one")).is_ok());
        assert_eq!(places.taken.lock().unwrap().len(), 2);
    }
}
