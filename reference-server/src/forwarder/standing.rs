//! How far forwarding is, and what is wrong with it: for health, metrics and alarms.

use crate::limits::FORWARD_TOLD_EVERY;
use crate::place;
use chrono::{DateTime, FixedOffset};
use pacs_store::registry::audit::{AuditRecord, AuditTrail};
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use serde_json::{Value, json};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// What is known.
#[derive(Debug)]
pub(super) struct Standing {
    known: Mutex<Known>,
    appended: watch::Receiver<u64>,
    alarm_after: Duration,
    forwarded: IntCounter,
    failures: IntCounterVec,
    waiting: IntGauge,
    oldest: IntGauge,
}

#[derive(Debug, Default)]
struct Known {
    /// The last record that was taken.
    through: u64,
    /// The last record that is known to be there.
    last: u64,
    /// When the act was of which the first record tells that was not taken.
    oldest_at: Option<DateTime<FixedOffset>>,
    trouble: Option<&'static str>,
    told_at: Option<Instant>,
    alarmed_at: Option<Instant>,
    refused_at: Option<Instant>,
}

/// What came of a failure.
#[derive(Debug)]
pub(super) struct Trouble {
    /// It is another one than before, or was not told of for long.
    pub(super) is_news: bool,
    /// Something has waited too long, and that was not told of for long.
    pub(super) is_alarm: bool,
    /// Records that wait.
    pub(super) waiting: u64,
}

impl Standing {
    pub(super) fn new(
        registry: &Registry,
        trail: &AuditTrail,
        alarm_after: Duration,
    ) -> Result<Self, prometheus::Error> {
        let forwarded = IntCounter::new(
            "pacs_audit_forwarded_total",
            "Records of the audit trail that a repository elsewhere has taken",
        )?;
        let failures = IntCounterVec::new(
            Opts::new(
                "pacs_audit_forward_failures_total",
                "Attempts to forward the audit trail that failed, by reason",
            ),
            &["reason"],
        )?;
        let waiting = IntGauge::new(
            "pacs_audit_forward_waiting",
            "Records of the audit trail that no repository is known to have taken",
        )?;
        let oldest = IntGauge::new(
            "pacs_audit_forward_oldest_seconds",
            "How long the first of them has waited",
        )?;
        registry.register(Box::new(forwarded.clone()))?;
        registry.register(Box::new(failures.clone()))?;
        registry.register(Box::new(waiting.clone()))?;
        registry.register(Box::new(oldest.clone()))?;
        Ok(Self {
            known: Mutex::default(),
            appended: trail.appended(),
            alarm_after,
            forwarded,
            failures,
            waiting,
            oldest,
        })
    }

    /// All up to `through` was taken; `first` waits.
    pub(super) fn waits(&self, through: u64, first: Option<&AuditRecord>) {
        let mut known = self.known();
        known.through = through;
        known.last = known.last.max(through);
        known.oldest_at = first.map(|first| first.event.at);
        if let Some(first) = first {
            known.last = known.last.max(first.number);
        }
    }

    /// What came after `before` was taken, up to `through`; `next` waits.
    pub(super) fn taken(&self, before: u64, through: u64, next: Option<&AuditRecord>) {
        self.forwarded.inc_by(through.saturating_sub(before));
        self.waits(through, next);
        let mut known = self.known();
        if known.trouble.take().is_some() {
            tracing::info!(through, "the audit trail is forwarded again");
        }
        known.told_at = None;
        known.alarmed_at = None;
    }

    /// It failed.
    pub(super) fn failed(&self, reason: &'static str) -> Trouble {
        self.failures.with_label_values(&[reason]).inc();
        let (waiting, age) = self.backlog();
        let mut known = self.known();
        let is_news = known.trouble != Some(reason) || is_due(known.told_at);
        let is_alarm = age >= self.alarm_after && is_due(known.alarmed_at);
        known.trouble = Some(reason);
        if is_news {
            known.told_at = Some(Instant::now());
        }
        if is_alarm {
            known.alarmed_at = Some(Instant::now());
        }
        Trouble {
            is_news,
            is_alarm,
            waiting,
        }
    }

    /// Whether it is new that one of both sides is not whom the other expects: at most once in a
    /// while, however often it changes.
    pub(super) fn is_refusal_news(&self) -> bool {
        let mut known = self.known();
        let is_news = is_due(known.refused_at);
        if is_news {
            known.refused_at = Some(Instant::now());
        }
        is_news
    }

    pub(super) fn is_in_trouble(&self) -> bool {
        self.known().trouble.is_some()
    }

    pub(super) fn shown(&self) -> Value {
        let (waiting, age) = self.backlog();
        json!({
            "waiting": waiting,
            "oldest_seconds": age.as_secs(),
            "alarm": age >= self.alarm_after,
            "trouble": self.known().trouble,
        })
    }

    pub(super) fn measure(&self) {
        let (waiting, age) = self.backlog();
        self.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.oldest
            .set(i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
    }

    /// How many records wait, and for how long the first of them has.
    fn backlog(&self) -> (u64, Duration) {
        let appended = *self.appended.borrow();
        let known = self.known();
        let waiting = known.last.max(appended).saturating_sub(known.through);
        let age = known
            .oldest_at
            .and_then(|at| place::now().signed_duration_since(at).to_std().ok());
        (waiting, age.unwrap_or_default())
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_due(at: Option<Instant>) -> bool {
    at.is_none_or(|at| at.elapsed() >= FORWARD_TOLD_EVERY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;
    use pacs_core::audit::{Act, Actor, AuditEvent, StateDigest};
    use pacs_store::records::memory::MemoryRecords;
    use std::sync::Arc;

    fn standing() -> Standing {
        let trail = AuditTrail::new(Arc::new(MemoryRecords::new()));
        Standing::new(&Registry::new(), &trail, Duration::from_secs(900)).unwrap()
    }

    fn record(number: u64, age: TimeDelta) -> AuditRecord {
        let at = place::now() - age;
        AuditRecord {
            number,
            event: AuditEvent::new(Act::SignedIn, at, Actor::nobody()),
            previous: StateDigest([0; 32]),
            digest: StateDigest([1; 32]),
        }
    }

    #[test]
    fn what_waits_too_long_is_an_alarm_and_is_told_once_in_a_while() {
        let standing = standing();
        standing.waits(4, Some(&record(5, TimeDelta::minutes(14))));
        let trouble = standing.failed("connect");
        assert!(trouble.is_news && !trouble.is_alarm && trouble.waiting == 1);
        assert_eq!(standing.shown()["alarm"], false);

        standing.waits(4, Some(&record(5, TimeDelta::minutes(16))));
        assert!(standing.failed("connect").is_alarm);
        let again = standing.failed("connect");
        assert!(!again.is_news && !again.is_alarm);
        let other = standing.failed("unknown_authority");
        assert!(other.is_news && !other.is_alarm);
        assert!(standing.is_refusal_news() && !standing.is_refusal_news());
        let shown = standing.shown();
        assert_eq!(shown["alarm"], true);
        assert_eq!(shown["trouble"], "unknown_authority");
        assert!(standing.is_in_trouble());

        standing.taken(4, 5, None);
        let shown = standing.shown();
        let expected = json!({
            "waiting": 0, "oldest_seconds": 0, "alarm": false, "trouble": null,
        });
        assert_eq!(shown, expected);
        assert_eq!(standing.forwarded.get(), 1);
    }

    #[test]
    fn a_clock_that_was_put_back_is_no_alarm() {
        let standing = standing();
        standing.waits(0, Some(&record(1, TimeDelta::minutes(-600))));
        assert_eq!(standing.shown()["oldest_seconds"], 0);
        assert!(!standing.failed("connect").is_alarm);
    }
}
