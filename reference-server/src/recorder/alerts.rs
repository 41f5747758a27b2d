//! Alerts that somebody outside can cause as often as they like: refused nodes, wrong passcodes,
//! and files that may be programs.
//!
//! Of each network the first ones are recorded one by one. The next one says that more are counted,
//! and from then on one record tells, once in a while, how many there were: whoever floods the
//! archive fills no disk, and nothing is left out silently. How many are counted is lost with a
//! crash; that they are is on record before.

use crate::guessing::network;
use crate::limits::{
    ALERTS_ALONE_MAX, ALERTS_GATHERED_DURATION, ALERTS_KINDS_MAX, ALERTS_NETWORKS_MAX,
    ALERTS_RETRY_DURATION, ALERTS_WAITING_MAX, RECORDED_AT_ONCE_MAX,
};
use crate::place;
use pacs_core::audit::{Act, Actor, AuditEvent, Outcome};
use pacs_store::registry::audit::{AuditError, AuditTrail};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;

/// What the last one that is told alone says besides.
const MORE: &str = "more of this network are counted";

/// Groups the alerts of one archive. Clones are the same.
#[derive(Debug, Clone)]
pub struct Alerts {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    trail: AuditTrail,
    groups: Mutex<Groups>,
    woken: Notify,
}

/// Whose alerts are told together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Peer {
    /// Everybody of whom there is no room to tell them apart.
    Crowd,
    /// Whoever is at the machine of the archive.
    Here,
    /// A network: an address, or of IPv6 a /64.
    Network(IpAddr),
}

/// Which alerts are told together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    act: Act,
    peer: Peer,
}

#[derive(Debug)]
struct Group {
    since: Instant,
    alone_count: u32,
    /// The trail has it that more are counted.
    is_open: bool,
    /// Those that no record tells of yet.
    counted: u64,
    kinds: BTreeMap<String, u64>,
    last: AuditEvent,
}

#[derive(Debug, Default)]
struct Groups {
    of: HashMap<Key, Group>,
    /// To be told alone; nobody waits for them.
    waiting: Vec<AuditEvent>,
}

/// What becomes of an alert.
#[derive(Debug, PartialEq)]
pub(crate) enum Told {
    /// It is to be recorded.
    Alone(Box<AuditEvent>),
    /// It is to be recorded, and says that more are counted.
    Opening(Key, Box<AuditEvent>),
    /// It is counted; a record says so already.
    Counted,
}

/// What is to be recorded now.
#[derive(Debug)]
enum Due {
    Alone(AuditEvent),
    Sum {
        key: Key,
        event: AuditEvent,
        kinds: BTreeMap<String, u64>,
    },
}

impl Due {
    const fn event(&self) -> &AuditEvent {
        match self {
            Self::Alone(event) | Self::Sum { event, .. } => event,
        }
    }
}

impl Groups {
    /// Judges an alert of a `kind` (one of few words).
    fn judge(&mut self, mut event: AuditEvent, kind: &str, now: Instant) -> Told {
        let key = self.key_of(&event);
        let group = self.of.entry(key).or_insert_with(|| Group {
            since: now,
            alone_count: 0,
            is_open: false,
            counted: 0,
            kinds: BTreeMap::new(),
            last: event.clone(),
        });
        if group.alone_count < ALERTS_ALONE_MAX {
            group.alone_count = group.alone_count.saturating_add(1);
            return Told::Alone(Box::new(event));
        }
        if group.is_open {
            group.count(event, kind);
            return Told::Counted;
        }
        event.reason = Some(match event.reason {
            Some(reason) => format!("{reason}; {MORE}"),
            None => MORE.to_owned(),
        });
        Told::Opening(key, Box::new(event))
    }

    /// The same of what nobody waits for: it is told soon.
    fn note(&mut self, event: AuditEvent, kind: &str, now: Instant) {
        match self.judge(event, kind, now) {
            Told::Alone(event) => self.wait(*event, kind),
            Told::Opening(key, event) => {
                self.opened(key);
                self.wait(*event, kind);
            }
            Told::Counted => {}
        }
    }

    /// Where too much waits, since nothing can be written, it is counted.
    fn wait(&mut self, event: AuditEvent, kind: &str) {
        if self.waiting.len() < ALERTS_WAITING_MAX {
            self.waiting.push(event);
            return;
        }
        let key = self.key_of(&event);
        if let Some(group) = self.of.get_mut(&key) {
            group.count(event, kind);
        }
    }

    fn key_of(&self, event: &AuditEvent) -> Key {
        let peer = event
            .from
            .map_or(Peer::Here, |from| Peer::Network(network(from)));
        let key = Key {
            act: event.act,
            peer,
        };
        if self.of.contains_key(&key) || self.of.len() < ALERTS_NETWORKS_MAX {
            return key;
        }
        Key {
            peer: Peer::Crowd,
            ..key
        }
    }

    fn opened(&mut self, key: Key) {
        if let Some(group) = self.of.get_mut(&key) {
            group.is_open = true;
        }
    }

    /// What is to be told now; with `is_all`, what would be told later, too. Who was quiet for a
    /// while is forgotten.
    fn due(&mut self, now: Instant, is_all: bool) -> Vec<Due> {
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let mut due: Vec<Due> = waiting.map(Due::Alone).collect();
        self.of.retain(|key, group| {
            let age = now.saturating_duration_since(group.since);
            if age < ALERTS_GATHERED_DURATION && !is_all {
                return true;
            }
            if group.counted == 0 {
                return false;
            }
            due.push(group.sum(*key));
            group.since = now;
            true
        });
        due
    }

    /// Takes back what could not be told. Perhaps no record says that more are counted: who comes
    /// next is recorded first, or refused.
    fn take_back(&mut self, due: Vec<Due>) {
        for due in due {
            match due {
                Due::Alone(event) => self.waiting.push(event),
                Due::Sum { key, event, kinds } => {
                    let Some(group) = self.of.get_mut(&key) else {
                        continue;
                    };
                    group.is_open = false;
                    group.counted = group.counted.saturating_add(event.times);
                    for (kind, count) in kinds {
                        let of_kind = group.kinds.entry(kind).or_default();
                        *of_kind = of_kind.saturating_add(count);
                    }
                }
            }
        }
    }
}

impl Group {
    fn count(&mut self, event: AuditEvent, kind: &str) {
        self.counted = self.counted.saturating_add(1);
        let is_room = self.kinds.contains_key(kind) || self.kinds.len() < ALERTS_KINDS_MAX;
        let kind = if is_room { kind } else { "other" };
        let of_kind = self.kinds.entry(kind.to_owned()).or_default();
        *of_kind = of_kind.saturating_add(1);
        self.last = event;
    }

    /// One event for all that were counted, which begin anew.
    fn sum(&mut self, key: Key) -> Due {
        let kinds = std::mem::take(&mut self.kinds);
        let counts = kinds.iter().map(|(kind, count)| format!("{kind} {count}"));
        let counts: Vec<String> = counts.collect();
        let mut event = AuditEvent::new(key.act, place::now(), self.last.actor.clone());
        event.outcome = self.last.outcome;
        event.times = std::mem::take(&mut self.counted);
        event.reason = Some(format!("counted: {}", counts.join(", ")));
        if key.peer != Peer::Crowd {
            event.from = self.last.from;
        }
        Due::Sum { key, event, kinds }
    }
}

impl Alerts {
    /// For an archive with this trail. What nobody waits for is written by [`Alerts::follow`].
    #[must_use]
    pub fn new(trail: AuditTrail) -> Self {
        Self {
            inner: Arc::new(Inner {
                trail,
                groups: Mutex::default(),
                woken: Notify::new(),
            }),
        }
    }

    /// A node from `address` was refused, for `kind`, a short word; `node` is what it calls itself.
    pub fn node_refused(&self, address: IpAddr, node: Option<&str>, kind: &'static str) {
        let mut event = AuditEvent::new(Act::NodeRefused, place::now(), Actor::nobody());
        event.outcome = Outcome::SeriousFailure;
        event.from = Some(address);
        event.object.node = Some(node.map_or_else(|| address.to_string(), str::to_owned));
        event.reason = Some(kind.to_owned());
        self.groups().note(event, kind, Instant::now());
        self.inner.woken.notify_one();
    }

    /// Somebody at the AE `node` showed a passcode that is nobody's; `user` is the account that
    /// they named, where there is one.
    pub fn passcode_refused(&self, address: IpAddr, node: &str, user: Option<&str>) {
        let mut event = AuditEvent::new(Act::SignedIn, place::now(), Actor::nobody());
        event.outcome = Outcome::MinorFailure;
        event.from = Some(address);
        event.object.node = Some(node.to_owned());
        event.object.user = user.map(str::to_owned);
        event.reason = Some("WRONG_PASSCODE".to_owned());
        self.groups().note(event, "WRONG_PASSCODE", Instant::now());
        self.inner.woken.notify_one();
    }

    /// What is to be done about an alert that somebody waits for.
    pub(crate) fn judge(&self, event: AuditEvent, kind: &str) -> Told {
        self.groups().judge(event, kind, Instant::now())
    }

    /// What [`Told::Opening`] gave is on record.
    pub(crate) fn opened(&self, key: Key) {
        self.groups().opened(key);
    }

    /// Writes until the task is dropped.
    pub async fn follow(self) {
        loop {
            let again = tokio::time::sleep(ALERTS_RETRY_DURATION);
            tokio::select! {
                () = self.inner.woken.notified() => {}
                () = again => {}
            }
            if self.write(false).await.is_err() {
                tokio::time::sleep(ALERTS_RETRY_DURATION).await;
            }
        }
    }

    /// Writes what is left, once nothing more comes.
    ///
    /// # Errors
    /// [`AuditError`]; it is still to be written.
    pub async fn finish(&self) -> Result<(), AuditError> {
        self.write(true).await
    }

    async fn write(&self, is_all: bool) -> Result<(), AuditError> {
        let mut due = self.groups().due(Instant::now(), is_all);
        while !due.is_empty() {
            let rest = due.split_off(due.len().min(RECORDED_AT_ONCE_MAX));
            let events: Vec<AuditEvent> = due.iter().map(|due| due.event().clone()).collect();
            if let Err(error) = self.inner.trail.commit_all(Vec::new(), &events).await {
                due.extend(rest);
                self.groups().take_back(due);
                let chain = crate::tool::failure::chain(&error);
                tracing::error!(error = chain, "alerts could not be recorded");
                return Err(error);
            }
            due = rest;
        }
        Ok(())
    }

    fn groups(&self) -> MutexGuard<'_, Groups> {
        let groups = self.inner.groups.lock();
        groups.unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(address: [u8; 4]) -> AuditEvent {
        let mut event = AuditEvent::new(Act::NodeRefused, place::now(), Actor::nobody());
        event.from = Some(IpAddr::from(address));
        event.reason = Some("calling_title".to_owned());
        event
    }

    fn total(due: &[Due]) -> u64 {
        due.iter().map(|due| due.event().times).sum()
    }

    #[test]
    fn a_flood_is_few_records_that_tell_all_of_it() {
        let mut groups = Groups::default();
        let began = Instant::now();
        for number in 0..10_000_u32 {
            let kind = if number % 4 == 0 {
                "address"
            } else {
                "calling_title"
            };
            groups.note(refused([192, 0, 2, 7]), kind, began);
        }
        let mut told = groups.due(began, false);
        let at_once = told.len();
        assert_eq!(at_once, ALERTS_ALONE_MAX as usize + 1);
        let opening = told[at_once - 1].event().reason.clone();
        assert_eq!(
            opening.as_deref(),
            Some("calling_title; more of this network are counted")
        );
        let later = began + ALERTS_GATHERED_DURATION;
        told.extend(groups.due(later, false));

        assert_eq!((told.len(), total(&told)), (at_once + 1, 10_000));
        let sum = told[at_once].event().reason.clone().unwrap();
        assert_eq!(sum, "counted: address 2495, calling_title 7488");
        // It goes on without any that are told alone, until it was quiet.
        groups.note(refused([192, 0, 2, 7]), "address", later);
        assert!(groups.due(later, false).is_empty());
        assert_eq!(
            total(&groups.due(later + ALERTS_GATHERED_DURATION, false)),
            1
        );
        assert!(
            groups
                .due(later + ALERTS_GATHERED_DURATION * 2, false)
                .is_empty()
        );
        assert!(groups.of.is_empty());
    }

    #[test]
    fn however_many_networks_flood_it_what_is_kept_is_bounded_and_nothing_is_left_out() {
        let mut groups = Groups::default();
        let now = Instant::now();
        for number in 0..20_000_u32 {
            let [a, b, c, d] = number.to_be_bytes();
            groups.note(refused([10 ^ a, b, c, d]), "address", now);
        }

        assert!(groups.of.len() <= ALERTS_NETWORKS_MAX + 1);
        assert!(groups.waiting.len() <= ALERTS_WAITING_MAX);
        assert_eq!(total(&groups.due(now, true)), 20_000);
    }

    #[test]
    fn what_cannot_be_written_is_told_later_and_who_comes_meanwhile_waits_for_a_record() {
        let mut groups = Groups::default();
        let now = Instant::now();
        let judge = |groups: &mut Groups| groups.judge(refused([192, 0, 2, 7]), "PE", now);
        for _ in 0..ALERTS_ALONE_MAX {
            assert!(matches!(judge(&mut groups), Told::Alone(_)));
        }
        // As long as no record says so, nothing is merely counted.
        assert!(matches!(judge(&mut groups), Told::Opening(..)));
        let Told::Opening(key, _) = judge(&mut groups) else {
            panic!("it is not open");
        };
        groups.opened(key);
        assert_eq!(judge(&mut groups), Told::Counted);
        assert_eq!(judge(&mut groups), Told::Counted);

        let due = groups.due(now + ALERTS_GATHERED_DURATION, false);
        assert_eq!(total(&due), 2);
        groups.take_back(due);

        assert!(matches!(judge(&mut groups), Told::Opening(..)));
        let due = groups.due(now, true);
        assert_eq!(total(&due), 2);
        assert_eq!(due[0].event().reason.as_deref(), Some("counted: PE 2"));
    }
}
