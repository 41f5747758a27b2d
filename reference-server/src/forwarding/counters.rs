//! What sending on counts, by destination: there are as many as the settings name.

use pacs_core::AeTitle;
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

/// Counters of all destinations.
#[derive(Debug, Clone)]
pub(super) struct Counters {
    instances: IntCounterVec,
    attempts_failed: IntCounterVec,
    waiting: IntGaugeVec,
    unconfirmed: IntGaugeVec,
    aside: IntGaugeVec,
    failed: IntGaugeVec,
}

/// What came of an instance.
#[derive(Debug, Clone, Copy)]
pub(super) enum Came {
    /// It is tried again.
    Aside,
    /// The destination has confirmed that it is safe there.
    Confirmed,
    /// It is not tried any more until the next start.
    Failed,
    /// The destination took it.
    Sent,
    /// It is not to be sent: the destination sent it itself, or nobody there is to see it.
    Skipped,
}

/// Those of one destination.
#[derive(Debug, Clone)]
pub(super) struct CountersOf {
    all: Counters,
    to: String,
}

impl Counters {
    /// All at zero, in `registry`.
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| {
            let gauge = IntGaugeVec::new(Opts::new(name, help), &["to"])?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        Ok(Self {
            instances: counter(
                "pacs_forwarded_instances_total",
                "Instances that were to be sent on, by destination and what came of them",
                &["to", "outcome"],
            )?,
            attempts_failed: counter(
                "pacs_forward_attempts_failed_total",
                "Attempts to send on, or to ask for commitment, that failed as a whole",
                &["to"],
            )?,
            waiting: gauge(
                "pacs_forward_waiting",
                "Changes of the archive that were not sent on yet, by destination",
            )?,
            unconfirmed: gauge(
                "pacs_forward_unconfirmed",
                "Changes of the archive that were sent on and are not confirmed yet",
            )?,
            aside: gauge(
                "pacs_forward_aside",
                "Instances that are put aside and tried again, or wait to be confirmed",
            )?,
            failed: gauge(
                "pacs_forward_failed",
                "Instances that the destination does not take or confirm",
            )?,
        })
    }

    pub(super) fn of(&self, to: &AeTitle) -> CountersOf {
        CountersOf {
            all: self.clone(),
            to: to.as_str().to_owned(),
        }
    }
}

impl CountersOf {
    pub(super) fn came(&self, how: Came) {
        let outcome = match how {
            Came::Aside => "aside",
            Came::Confirmed => "confirmed",
            Came::Failed => "failed",
            Came::Sent => "sent",
            Came::Skipped => "skipped",
        };
        let instances = &self.all.instances;
        instances.with_label_values(&[&self.to, outcome]).inc();
    }

    #[cfg(test)]
    pub(super) fn count(&self, outcome: &str) -> u64 {
        let instances = &self.all.instances;
        instances.with_label_values(&[&*self.to, outcome]).get()
    }

    pub(super) fn attempt_failed(&self) {
        let failed = &self.all.attempts_failed;
        failed.with_label_values(&[&self.to]).inc();
    }

    pub(super) fn waiting(&self, count: u64) {
        self.show(&self.all.waiting, count);
    }

    pub(super) fn unconfirmed(&self, count: u64) {
        self.show(&self.all.unconfirmed, count);
    }

    pub(super) fn aside(&self, aside: usize, failed: usize) {
        self.show(&self.all.aside, aside as u64);
        self.show(&self.all.failed, failed as u64);
    }

    fn show(&self, gauge: &IntGaugeVec, count: u64) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        gauge.with_label_values(&[&self.to]).set(count);
    }
}
