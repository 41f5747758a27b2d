//! What is open, by AE, in memory: counts, what is to be checked, what is to be reported and how.

use super::transaction::Transaction;
use super::{Refusal, Wake};
use crate::limits::CommitmentBounds;
use pacs_core::AeTitle;
use pacs_core::commitment::FailureReason;
use pacs_net::service::EventLine;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use tokio::time::Instant;

/// What a check came to: which references fail, by their place, and when it began.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) failures: Vec<(usize, FailureReason)>,
    pub(super) began: Instant,
}

/// An open request.
#[derive(Debug)]
pub(super) struct Open {
    references_count: usize,
    /// The way back over its association, and since when.
    line: Option<(EventLine, Instant)>,
    checked: Option<Arc<Checked>>,
    /// Whether its report is on its way.
    is_under_way: bool,
    /// Whether it was asked for once more since its report went on its way.
    is_renewed: bool,
    /// When its report is given up.
    until: Instant,
    /// Whether other archives have to confirm it first.
    is_put_off: bool,
}

impl Open {
    pub(super) fn new(
        transaction: &Transaction,
        line: Option<(EventLine, Instant)>,
        until: Instant,
    ) -> Self {
        Self {
            references_count: transaction.references.len(),
            line,
            checked: None,
            is_under_way: false,
            is_renewed: false,
            until,
            is_put_off: false,
        }
    }
}

/// What an AE is owed.
#[derive(Debug, Default)]
struct Desk {
    open: BTreeMap<String, Open>,
    references_count: usize,
    to_check: VecDeque<String>,
    wake: Arc<Wake>,
    /// Whether the AE has shown up since the last plan.
    was_seen: bool,
}

/// All desks.
#[derive(Debug, Default)]
pub(super) struct Book {
    desks: HashMap<AeTitle, Desk>,
    open_count: usize,
    references_count: usize,
    /// And when, by the clock on the wall.
    given_up: BTreeMap<String, u64>,
}

/// Whether what was given up then is still to be shown.
pub(super) fn is_of_late(at_unix_ms: u64, now_unix_ms: u64, bounds: &CommitmentBounds) -> bool {
    u128::from(now_unix_ms.saturating_sub(at_unix_ms)) < bounds.given_up_shown.as_millis()
}

/// What a desk is to do now.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Nothing is open any more, and the desk is closed.
    pub(super) is_closed: bool,
    /// Reports to go over the associations of their requests.
    pub(super) over_lines: Vec<(String, EventLine)>,
    /// Reports to go over an association of our own.
    pub(super) over_own: Vec<String>,
    /// Reports whose time is over.
    pub(super) given_up: Vec<String>,
    /// Requests without a way back.
    pub(super) stranded: Vec<String>,
    /// Whether the AE has shown up, so that trying again is worth it.
    pub(super) was_seen: bool,
    /// When to look again at the latest.
    pub(super) next: Option<Instant>,
}

/// What a plan depends on beyond the desk itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances<'a> {
    pub(super) now: Instant,
    pub(super) bounds: &'a CommitmentBounds,
    /// Whether the AE has an address.
    pub(super) has_address: bool,
    /// Whether reports are on their way there.
    pub(super) is_attempting: bool,
    /// No attempt before this.
    pub(super) not_before: Option<Instant>,
}

impl Book {
    pub(super) const fn open_count(&self) -> usize {
        self.open_count
    }

    /// Reports that were given up of late.
    pub(super) fn given_up_count(&self, now_unix_ms: u64, bounds: &CommitmentBounds) -> usize {
        let when = self.given_up.values();
        when.filter(|at| is_of_late(**at, now_unix_ms, bounds))
            .count()
    }

    /// Forgets, and gives, the keys of reports that were given up too long ago to be shown.
    pub(super) fn no_longer_shown(
        &mut self,
        now_unix_ms: u64,
        bounds: &CommitmentBounds,
    ) -> Vec<String> {
        let all = std::mem::take(&mut self.given_up).into_iter();
        let (shown, old): (BTreeMap<_, _>, BTreeMap<_, _>) =
            all.partition(|(_, at)| is_of_late(*at, now_unix_ms, bounds));
        self.given_up = shown;
        old.into_keys().collect()
    }

    pub(super) fn desks(&self) -> Vec<(AeTitle, Arc<Wake>)> {
        let desks = self.desks.iter();
        desks
            .map(|(ae, desk)| (ae.clone(), Arc::clone(&desk.wake)))
            .collect()
    }

    /// The keys of `ae` that begin with `prefix`.
    pub(super) fn keys(&self, ae: &AeTitle, prefix: &str) -> Vec<String> {
        let Some(desk) = self.desks.get(ae) else {
            return Vec::new();
        };
        desk.open
            .range(prefix.to_owned()..)
            .map(|(key, _)| key)
            .take_while(|key| key.starts_with(prefix))
            .cloned()
            .collect()
    }

    /// Whether one more request fits.
    pub(super) fn has_room(
        &self,
        ae: &AeTitle,
        references_count: usize,
        bounds: &CommitmentBounds,
    ) -> Result<(), Refusal> {
        let desk = self.desks.get(ae);
        let of_ae = desk.map_or(0, |desk| desk.open.len());
        let references_of_ae = desk.map_or(0, |desk| desk.references_count);
        let references = |open: usize| open.saturating_add(references_count);
        let rules = [
            (of_ae < bounds.open_per_ae_max, "requests of this AE"),
            (
                references(references_of_ae) <= bounds.references_per_ae_max,
                "references of this AE",
            ),
            (self.open_count < bounds.open_max, "requests"),
            (
                references(self.references_count) <= bounds.references_max,
                "references",
            ),
        ];
        match rules.into_iter().find(|(fits, _)| !fits) {
            Some((_, what)) => Err(Refusal::Busy { what }),
            None => Ok(()),
        }
    }

    /// Opens a request, to be checked; gives what wakes the desk where it is new.
    pub(super) fn open(&mut self, ae: AeTitle, key: String, open: Open) -> Option<Arc<Wake>> {
        let is_new = !self.desks.contains_key(&ae);
        let desk = self.desks.entry(ae).or_default();
        self.open_count += 1;
        self.references_count += open.references_count;
        desk.references_count += open.references_count;
        desk.was_seen = true;
        desk.to_check.push_back(key.clone());
        desk.open.insert(key, open);
        desk.wake.checking.notify_one();
        desk.wake.reporting.notify_one();
        is_new.then(|| Arc::clone(&desk.wake))
    }

    /// The same request came once more, over another association perhaps.
    pub(super) fn renew(&mut self, ae: &AeTitle, key: &str, line: Option<(EventLine, Instant)>) {
        let Some(desk) = self.desks.get_mut(ae) else {
            return;
        };
        if let Some(open) = desk.open.get_mut(key) {
            open.line = line;
            open.is_renewed = true;
            desk.was_seen = true;
            desk.wake.reporting.notify_one();
        }
    }

    pub(super) fn next_to_check(&mut self, ae: &AeTitle) -> Option<String> {
        self.desks.get_mut(ae)?.to_check.pop_front()
    }

    /// A request cannot be checked yet, and is not given up before `until` therefore; whether that
    /// is new.
    pub(super) fn put_off(&mut self, ae: &AeTitle, key: &str, until: Instant) -> bool {
        let desk = self.desks.get_mut(ae);
        let Some(open) = desk.and_then(|desk| desk.open.get_mut(key)) else {
            return false;
        };
        open.until = until;
        !std::mem::replace(&mut open.is_put_off, true)
    }

    /// What was put off is to be checked again, as far as it is open still.
    pub(super) fn check_again(&mut self, ae: &AeTitle, keys: Vec<String>) {
        let Some(desk) = self.desks.get_mut(ae) else {
            return;
        };
        let open = &desk.open;
        let keys = keys.into_iter().filter(|key| open.contains_key(key));
        desk.to_check.extend(keys);
    }

    pub(super) fn checked(&mut self, ae: &AeTitle, key: &str, checked: Checked) {
        let Some(desk) = self.desks.get_mut(ae) else {
            return;
        };
        if let Some(open) = desk.open.get_mut(key) {
            open.checked = Some(Arc::new(checked));
            desk.wake.reporting.notify_one();
        }
    }

    /// What the check of a request came to; one that is older than it may be is made again.
    pub(super) fn outcome(
        &mut self,
        ae: &AeTitle,
        key: &str,
        bounds: &CommitmentBounds,
    ) -> Option<Arc<Checked>> {
        let desk = self.desks.get_mut(ae)?;
        let open = desk.open.get_mut(key)?;
        let checked = open.checked.as_ref()?;
        if checked.began.elapsed() <= bounds.checked_for {
            return Some(Arc::clone(checked));
        }
        open.checked = None;
        desk.to_check.push_back(key.to_owned());
        desk.wake.checking.notify_one();
        None
    }

    /// The report of a request is not on its way any more.
    pub(super) fn returned(&mut self, ae: &AeTitle, key: &str, is_line_over: bool) {
        let desk = self.desks.get_mut(ae);
        if let Some(open) = desk.and_then(|desk| desk.open.get_mut(key)) {
            open.is_under_way = false;
            if is_line_over {
                open.line = None;
            }
        }
    }

    /// Whether a request is done with; one that came again meanwhile begins anew.
    pub(super) fn is_done(&mut self, ae: &AeTitle, key: &str) -> bool {
        let desk = self.desks.get_mut(ae);
        let Some(open) = desk.and_then(|desk| desk.open.get_mut(key)) else {
            return true;
        };
        open.is_under_way &= !open.is_renewed;
        !open.is_renewed
    }

    pub(super) fn close(&mut self, ae: &AeTitle, key: &str) {
        let Some(desk) = self.desks.get_mut(ae) else {
            return;
        };
        if let Some(open) = desk.open.remove(key) {
            self.open_count = self.open_count.saturating_sub(1);
            let count = open.references_count;
            self.references_count = self.references_count.saturating_sub(count);
            desk.references_count = desk.references_count.saturating_sub(count);
            desk.wake.reporting.notify_one();
        }
    }

    pub(super) fn given_up(&mut self, key: String, at_unix_ms: u64) {
        self.given_up.insert(key, at_unix_ms);
    }

    pub(super) fn is_not_given_up(&mut self, key: &str) {
        self.given_up.remove(key);
    }

    /// Says what is to be done for `ae`, and marks it as under way.
    pub(super) fn plan(&mut self, ae: &AeTitle, of: Circumstances<'_>) -> Plan {
        let mut plan = Plan::default();
        let Some(desk) = self.desks.get_mut(ae) else {
            plan.is_closed = true;
            return plan;
        };
        if desk.open.is_empty() {
            self.desks.remove(ae);
            plan.is_closed = true;
            return plan;
        }
        plan.was_seen = std::mem::take(&mut desk.was_seen);
        let is_due = plan.was_seen || of.not_before.is_none_or(|at| at <= of.now);
        let waiting = desk.open.iter_mut().filter(|(_, open)| !open.is_under_way);
        for (key, open) in waiting {
            open.plan(key, of, is_due, &mut plan);
        }
        plan
    }
}

impl Open {
    fn plan(&mut self, key: &str, of: Circumstances<'_>, is_due: bool, plan: &mut Plan) {
        self.line.take_if(|(line, _)| !line.is_open());
        self.is_renewed = false;
        let later = |at: Instant, plan: &mut Plan| {
            plan.next = Some(plan.next.map_or(at, |next| next.min(at)));
        };
        if self.line.is_none() && !of.has_address {
            plan.stranded.push(key.to_owned());
        } else if self.until <= of.now {
            self.is_under_way = true;
            plan.given_up.push(key.to_owned());
        } else if self.checked.is_none() {
            later(self.until, plan);
        } else if let Some((line, since)) = &self.line
            && (!of.has_address || !is_due || since.elapsed() < of.bounds.line_wait)
        {
            self.is_under_way = true;
            plan.over_lines.push((key.to_owned(), line.clone()));
        } else if is_due && !of.is_attempting {
            self.is_under_way = true;
            plan.over_own.push(key.to_owned());
        } else {
            later(self.until, plan);
            if let Some(at) = of.not_before.filter(|_| !of.is_attempting) {
                later(at, plan);
            }
        }
    }
}
