//! What commitment counts.

use pacs_core::commitment::FailureReason;
use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

/// Counters of storage commitment.
#[derive(Debug, Clone)]
pub struct Counters {
    instances: IntCounterVec,
    reports: IntCounterVec,
    open: IntGauge,
    given_up: IntGauge,
}

/// How a report ended, or why it goes on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ended {
    /// The peer knows.
    Delivered,
    /// It could not be brought in all the time there was.
    GivenUp,
    /// The peer is gone, and has no address.
    NoWayBack,
    /// The peer answered that it does not want it.
    Refused,
    /// An attempt failed; there will be others.
    Retried,
}

impl Counters {
    /// All at zero, in `registry`.
    ///
    /// # Errors
    /// [`prometheus::Error`] where a name is registered twice: a fault of this crate.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = Self {
            instances: IntCounterVec::new(
                Opts::new(
                    "pacs_commitment_instances_total",
                    "Instances checked for storage commitment, by outcome: committed or a reason",
                ),
                &["outcome"],
            )?,
            reports: IntCounterVec::new(
                Opts::new(
                    "pacs_commitment_reports_total",
                    "Reports of storage commitment by how they ended, and attempts that failed",
                ),
                &["outcome"],
            )?,
            open: IntGauge::new(
                "pacs_commitments_open",
                "Requests for storage commitment whose report is owed",
            )?,
            given_up: IntGauge::new(
                "pacs_commitments_given_up",
                "Reports of storage commitment that were given up of late",
            )?,
        };
        registry.register(Box::new(counters.instances.clone()))?;
        registry.register(Box::new(counters.reports.clone()))?;
        registry.register(Box::new(counters.open.clone()))?;
        registry.register(Box::new(counters.given_up.clone()))?;
        Ok(counters)
    }

    pub(super) fn show(&self, open: usize, given_up: usize) {
        self.open.set(i64::try_from(open).unwrap_or(i64::MAX));
        let given_up = i64::try_from(given_up).unwrap_or(i64::MAX);
        self.given_up.set(given_up);
    }

    pub(super) fn checked(&self, failure: Option<FailureReason>) {
        let outcome = failure.map_or_else(
            || "committed".to_owned(),
            |reason| format!("{:04X}", reason.0),
        );
        self.instances.with_label_values(&[&outcome]).inc();
    }

    #[cfg(test)]
    pub(super) fn checked_count(&self, outcome: &str) -> u64 {
        self.instances.with_label_values(&[outcome]).get()
    }

    pub(super) fn ended(&self, how: Ended) {
        let outcome = match how {
            Ended::Delivered => "delivered",
            Ended::GivenUp => "given_up",
            Ended::NoWayBack => "no_way_back",
            Ended::Refused => "refused",
            Ended::Retried => "retried",
        };
        self.reports.with_label_values(&[outcome]).inc();
    }
}
