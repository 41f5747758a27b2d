//! Derived data of this server: where it is kept, what it counts, and who makes it ready.

use crate::access::SystemMay;
use crate::config::Config;
use crate::limits::DERIVED_GIVES_WAY_EVERY;
use pacs_core::access::permit;
use pacs_core::{Action, Caller};
use pacs_web::{Derived, DerivedCounts, DerivedLimits, FollowLimits, Web};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntGauge, Registry};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Its folder in the data directory, as docs/on-disk-format.md has it.
const FOLDER: &str = "derived";

/// What keeps derived data, as the settings say. A folder that cannot be used is no reason not to
/// start: then nothing is kept.
#[must_use]
pub fn open(config: &Config) -> Derived {
    let limits = DerivedLimits {
        bytes_max: config.derived.bytes_max,
        ..DerivedLimits::default()
    };
    if limits.bytes_max == 0 {
        return Derived::not_kept(&limits);
    }
    let folder = config.derived.folder.clone();
    let folder = folder.unwrap_or_else(|| config.data.join(FOLDER));
    Derived::in_folder(folder, &limits).unwrap_or_else(|error| {
        tracing::warn!(kind = ?error.kind(), "no folder for derived data: nothing of it is kept");
        Derived::not_kept(&limits)
    })
}

/// Makes the metadata of series ready once they are quiet, until the archive is closed.
pub async fn make_ready(web: Web, quiet_duration: Duration) {
    let limits = FollowLimits {
        quiet_duration,
        ..FollowLimits::default()
    };
    let policy = SystemMay(&[Action::Get, Action::Maintain]);
    let caller = Caller::System { task: "make ready" };
    let (Ok(follow), Ok(get)) = (permit(&policy, caller.clone()), permit(&policy, caller)) else {
        return;
    };
    let followed = pacs_web::make_ready(web, follow, get, limits).await;
    if let Err(error) = followed {
        tracing::warn!(%error, "changes cannot be followed: metadata is made when it is asked for");
    }
}

/// Has derived data make room where the disk runs low, until the task is dropped.
pub async fn give_way(derived: Derived) {
    loop {
        tokio::time::sleep(DERIVED_GIVES_WAY_EVERY).await;
        derived.give_way().await;
    }
}

/// Shows what derived data counts.
#[derive(Debug)]
pub struct DerivedMetrics {
    derived: Derived,
    shown: Vec<Shown>,
    /// Held while the counters are brought up to date.
    updating: Mutex<()>,
}

#[derive(Debug)]
enum Shown {
    Counter(IntCounter, fn(&DerivedCounts) -> u64),
    Gauge(IntGauge, fn(&DerivedCounts) -> u64),
}

impl Shown {
    fn collector(&self) -> &dyn Collector {
        match self {
            Self::Counter(counter, _) => counter,
            Self::Gauge(gauge, _) => gauge,
        }
    }

    fn update(&self, counts: &DerivedCounts) {
        match self {
            Self::Counter(counter, of) => {
                counter.inc_by(of(counts).saturating_sub(counter.get()));
            }
            Self::Gauge(gauge, of) => gauge.set(i64::try_from(of(counts)).unwrap_or(i64::MAX)),
        }
    }
}

impl DerivedMetrics {
    /// Shows those of `derived` in `registry`.
    ///
    /// # Errors
    /// [`prometheus::Error`] where a name is registered twice: a fault of this crate.
    pub fn register(registry: &Registry, derived: &Derived) -> Result<(), prometheus::Error> {
        let counter =
            |name, help, of| IntCounter::new(name, help).map(|counter| Shown::Counter(counter, of));
        let gauge = |name, help, of| IntGauge::new(name, help).map(|gauge| Shown::Gauge(gauge, of));
        let shown = vec![
            counter(
                "pacs_derived_hits_total",
                "Derived data that was kept already when it was asked for",
                |counts| counts.hits,
            )?,
            counter(
                "pacs_derived_misses_total",
                "Derived data that had to be made",
                |counts| counts.misses,
            )?,
            counter(
                "pacs_derived_shared_total",
                "Requests that waited for derived data which another one had made or read",
                |counts| counts.shared,
            )?,
            counter(
                "pacs_derived_evictions_total",
                "Derived data that went to make room for other",
                |counts| counts.evictions,
            )?,
            counter(
                "pacs_derived_damaged_total",
                "Files of derived data that were not as they had been written",
                |counts| counts.damaged,
            )?,
            counter(
                "pacs_derived_not_kept_total",
                "Derived data that could not be kept: the disk is full or refuses",
                |counts| counts.not_kept,
            )?,
            gauge(
                "pacs_derived_bytes",
                "Bytes of derived data on the disk",
                |counts| counts.bytes,
            )?,
            gauge("pacs_derived_entries", "Files of derived data", |counts| {
                counts.entries
            })?,
        ];
        registry.register(Box::new(Self {
            derived: derived.clone(),
            shown,
            updating: Mutex::default(),
        }))
    }
}

impl Collector for DerivedMetrics {
    fn desc(&self) -> Vec<&Desc> {
        let shown = self.shown.iter();
        shown.flat_map(|shown| shown.collector().desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let _updating = self.updating.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = self.derived.counts();
        let collected = self.shown.iter().flat_map(|shown| {
            shown.update(&counts);
            shown.collector().collect()
        });
        collected.collect()
    }
}
