//! What clients over the web asked for, in memory: counts, what is to be checked, what came of it.

use super::document::Request;
use crate::commitment::desk::Checked;
use crate::limits::CommitmentBounds;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// What came of a request, once that is known.
type Outcome = Option<Arc<Checked>>;

/// By both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) unix_ms: u64,
}

/// A request that somebody waits for.
#[derive(Debug)]
pub(super) struct Standing {
    /// Closed when the request is forgotten.
    pub(super) outcome: watch::Receiver<Outcome>,
    /// The client whose requests nobody checks yet.
    pub(super) work: Option<String>,
}

#[derive(Debug)]
struct Entry {
    client: String,
    accepted_unix_ms: u64,
    references_count: usize,
    outcome: watch::Sender<Outcome>,
    /// Whether it is to be checked, or being checked.
    is_due: bool,
}

/// What is kept for one client.
#[derive(Debug, Default)]
struct Desk {
    count: usize,
    references_count: usize,
    to_check: VecDeque<String>,
    /// Whether somebody checks.
    is_served: bool,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: HashMap<String, Entry>,
    by_age: BTreeSet<(u64, String)>,
    desks: HashMap<String, Desk>,
    references_count: usize,
}

impl Ledger {
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    pub(super) fn add(&mut self, request: &Request) {
        let key = request.key();
        self.remove(&key);
        let references_count = request.wanted.len();
        let desk = self.desks.entry(request.client.clone()).or_default();
        desk.count += 1;
        desk.references_count += references_count;
        self.references_count += references_count;
        self.by_age.insert((request.accepted_unix_ms, key.clone()));
        let entry = Entry {
            client: request.client.clone(),
            accepted_unix_ms: request.accepted_unix_ms,
            references_count,
            outcome: watch::Sender::new(None),
            is_due: false,
        };
        self.entries.insert(key, entry);
    }

    pub(super) fn remove(&mut self, key: &str) {
        let Some(entry) = self.entries.remove(key) else {
            return;
        };
        self.by_age
            .remove(&(entry.accepted_unix_ms, key.to_owned()));
        let count = entry.references_count;
        self.references_count = self.references_count.saturating_sub(count);
        if let Some(desk) = self.desks.get_mut(&entry.client) {
            desk.count = desk.count.saturating_sub(1);
            desk.references_count = desk.references_count.saturating_sub(count);
            desk.to_check.retain(|queued| queued != key);
            if desk.count == 0 && !desk.is_served {
                self.desks.remove(&entry.client);
            }
        }
    }

    /// The keys of what was accepted longer ago than `kept`.
    pub(super) fn older_than(&self, now_unix_ms: u64, kept: Duration) -> Vec<String> {
        let old = self
            .by_age
            .iter()
            .take_while(|(at, _)| is_old(*at, now_unix_ms, kept));
        old.map(|(_, key)| key.clone()).collect()
    }

    /// The keys of what has to go so that `request` fits: the oldest of the same client that are
    /// checked. `None` where that would not do.
    pub(super) fn room(&self, request: &Request, bounds: &CommitmentBounds) -> Option<Vec<String>> {
        let desk = self.desks.get(&request.client);
        let mut counts = [desk.map_or(0, |desk| desk.count), self.entries.len()];
        let mut references = [
            desk.map_or(0, |desk| desk.references_count),
            self.references_count,
        ];
        for count in &mut references {
            *count = count.saturating_add(request.wanted.len());
        }
        let fits = |counts: [usize; 2], references: [usize; 2]| {
            let counts_max = [bounds.open_per_ae_max, bounds.open_max];
            let references_max = [bounds.references_per_ae_max, bounds.references_max];
            counts.iter().zip(counts_max).all(|(of, max)| *of < max)
                && references
                    .iter()
                    .zip(references_max)
                    .all(|(of, max)| *of <= max)
        };
        let mut in_the_way = Vec::new();
        let mut oldest = self.by_age.iter();
        while !fits(counts, references) {
            let (key, entry) = oldest.by_ref().find_map(|(_, key)| {
                let entry = self.entries.get(key)?;
                let may_go = entry.client == request.client && entry.outcome.borrow().is_some();
                may_go.then_some((key, entry))
            })?;
            in_the_way.push(key.clone());
            for count in &mut counts {
                *count = count.saturating_sub(1);
            }
            for count in &mut references {
                *count = count.saturating_sub(entry.references_count);
            }
        }
        Some(in_the_way)
    }

    /// The request `key`, as somebody waits for it now: to be checked, unless it was of late.
    pub(super) fn stand(
        &mut self,
        key: &str,
        now: Now,
        bounds: &CommitmentBounds,
    ) -> Option<Standing> {
        let entry = self.entries.get_mut(key)?;
        if is_old(entry.accepted_unix_ms, now.unix_ms, bounds.result_kept) {
            return None;
        }
        let is_stale = |outcome: &Checked| {
            now.instant.saturating_duration_since(outcome.began) > bounds.checked_for
        };
        let is_stale = entry.outcome.borrow().as_deref().is_some_and(is_stale);
        if is_stale {
            entry.outcome.send_replace(None);
        }
        let outcome = entry.outcome.subscribe();
        let mut work = None;
        if outcome.borrow().is_none() && !entry.is_due {
            entry.is_due = true;
            let desk = self.desks.entry(entry.client.clone()).or_default();
            desk.to_check.push_back(key.to_owned());
            if !desk.is_served {
                desk.is_served = true;
                work = Some(entry.client.clone());
            }
        }
        Some(Standing { outcome, work })
    }

    /// What is to be checked next for `client`; where there is nothing, nobody serves it any more.
    pub(super) fn next_of(&mut self, client: &str) -> Option<String> {
        let desk = self.desks.get_mut(client)?;
        let next = desk.to_check.pop_front();
        if next.is_none() && desk.count == 0 {
            self.desks.remove(client);
        } else if next.is_none() {
            desk.is_served = false;
        }
        next
    }

    /// The request `key` was checked; or could not be, and is tried again when somebody asks.
    pub(super) fn checked(&mut self, key: &str, checked: Option<Checked>) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.is_due = false;
            if let Some(checked) = checked {
                entry.outcome.send_replace(Some(Arc::new(checked)));
            }
        }
    }
}

fn is_old(accepted_unix_ms: u64, now_unix_ms: u64, kept: Duration) -> bool {
    u128::from(now_unix_ms.saturating_sub(accepted_unix_ms)) >= kept.as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pacs_core::commitment::Reference;
    use pacs_core::uid::TransactionUid;
    use pacs_core::{SopClassUid, SopInstanceUid};
    use pacs_web::commitment::Wanted;

    const NOW_UNIX_MS: u64 = 1_000_000_000;

    fn request(client: &str, number: u64) -> Request {
        let wanted = Wanted {
            reference: Reference {
                sop_class: SopClassUid::parse("1.2.5").unwrap(),
                sop_instance: SopInstanceUid::parse("1.2.6").unwrap(),
            },
            place: None,
        };
        Request {
            client: client.to_owned(),
            transaction: TransactionUid::parse(&format!("2.25.{number}")).unwrap(),
            accepted_unix_ms: NOW_UNIX_MS + number,
            wanted: vec![wanted],
        }
    }

    fn checked() -> Option<Checked> {
        Some(Checked {
            failures: Vec::new(),
            began: Instant::now(),
        })
    }

    fn now() -> Now {
        Now {
            instant: Instant::now(),
            unix_ms: NOW_UNIX_MS,
        }
    }

    #[test]
    fn what_is_checked_makes_room_for_the_same_client_alone() {
        let bounds = CommitmentBounds {
            open_per_ae_max: 2,
            open_max: 3,
            ..CommitmentBounds::default()
        };
        let mut ledger = Ledger::default();
        let (first, second) = (request("a", 1), request("a", 2));
        ledger.add(&first);
        ledger.add(&second);
        assert_eq!(ledger.room(&request("a", 3), &bounds), None);
        assert_eq!(ledger.room(&request("b", 3), &bounds), Some(vec![]));
        ledger.checked(&second.key(), checked());
        let room = ledger.room(&request("a", 3), &bounds);
        assert_eq!(room, Some(vec![second.key()]));

        ledger.add(&request("b", 3));
        assert_eq!(ledger.room(&request("c", 4), &bounds), None);
        ledger.remove(&second.key());
        assert_eq!(ledger.room(&request("c", 4), &bounds), Some(vec![]));
    }

    #[test]
    fn a_client_is_served_by_one_and_its_requests_one_after_the_other() {
        let bounds = CommitmentBounds::default();
        let mut ledger = Ledger::default();
        let (first, second) = (request("a", 1), request("a", 2));
        ledger.add(&first);
        ledger.add(&second);
        let works = [&first, &second, &first].map(|of| {
            let standing = ledger.stand(&of.key(), now(), &bounds);
            standing.unwrap().work
        });
        assert_eq!(works, [Some("a".to_owned()), None, None]);
        assert_eq!(ledger.next_of("a"), Some(first.key()));
        // Who asks while it is checked does not have it checked once more.
        ledger.stand(&first.key(), now(), &bounds).unwrap();
        ledger.checked(&first.key(), checked());
        assert_eq!(ledger.next_of("a"), Some(second.key()));
        ledger.checked(&second.key(), None);
        assert_eq!(ledger.next_of("a"), None);

        // The second was not read: it is tried again, the first is not.
        let standing = ledger.stand(&first.key(), now(), &bounds).unwrap();
        assert!(standing.outcome.borrow().is_some() && standing.work.is_none());
        let standing = ledger.stand(&second.key(), now(), &bounds).unwrap();
        assert!(standing.outcome.borrow().is_none() && standing.work.is_some());
        ledger.remove(&second.key());
        assert!(standing.outcome.has_changed().is_err(), "closed");
        assert_eq!(ledger.next_of("a"), None);
    }

    #[test]
    fn what_is_stale_is_checked_again_and_what_is_old_is_gone() {
        let bounds = CommitmentBounds::default();
        let mut ledger = Ledger::default();
        let of = request("a", 1);
        ledger.add(&of);
        ledger.checked(&of.key(), checked());
        let later = |of: Duration| Now {
            instant: Instant::now() + of,
            unix_ms: NOW_UNIX_MS + u64::try_from(of.as_millis()).unwrap(),
        };
        let fresh = ledger.stand(&of.key(), later(bounds.checked_for / 2), &bounds);
        assert!(fresh.unwrap().outcome.borrow().is_some());
        let stale = ledger.stand(&of.key(), later(bounds.checked_for * 2), &bounds);
        let stale = stale.unwrap();
        assert!(stale.outcome.borrow().is_none() && stale.work.is_some());
        let old = later(bounds.result_kept * 2);
        assert!(ledger.stand(&of.key(), old, &bounds).is_none());
        let keys = ledger.older_than(old.unix_ms, bounds.result_kept);
        assert_eq!(keys, [of.key()]);
    }
}
