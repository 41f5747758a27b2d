//! What telling others of instances counts.

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

/// Counters of notifications.
#[derive(Debug, Clone)]
pub(crate) struct AnnouncingCounters {
    studies: IntCounterVec,
    owed: IntGauge,
}

/// How telling somebody of a study ended, or why it goes on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ended {
    /// The AE knows.
    Delivered,
    /// It could not be told in all the time there was, or is owed too much.
    GivenUp,
    /// It answered that it does not want it.
    Refused,
    /// An attempt failed; there will be others.
    Retried,
}

impl AnnouncingCounters {
    /// All at zero, in `registry`.
    ///
    /// # Errors
    /// [`prometheus::Error`] where a name is registered twice: a fault of this crate.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = Self {
            studies: IntCounterVec::new(
                Opts::new(
                    "pacs_notifications_total",
                    "Studies of which an AE was to be told, by how that ended; failed attempts",
                ),
                &["outcome"],
            )?,
            owed: IntGauge::new(
                "pacs_notifications_owed",
                "Studies of which AEs are still to be told",
            )?,
        };
        registry.register(Box::new(counters.studies.clone()))?;
        registry.register(Box::new(counters.owed.clone()))?;
        Ok(counters)
    }

    pub(super) fn show(&self, owed: usize) {
        self.owed.set(i64::try_from(owed).unwrap_or(i64::MAX));
    }

    #[cfg(test)]
    pub(super) fn counts(&self, outcome: &str) -> (u64, i64) {
        let ended = self.studies.with_label_values(&[outcome]).get();
        (ended, self.owed.get())
    }

    pub(super) fn ended(&self, how: Ended, count: usize) {
        let outcome = match how {
            Ended::Delivered => "delivered",
            Ended::GivenUp => "given_up",
            Ended::Refused => "refused",
            Ended::Retried => "retried",
        };
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.studies.with_label_values(&[outcome]).inc_by(count);
    }
}
