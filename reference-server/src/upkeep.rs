//! What is known of the health of the content: how far the scrub is, what is damaged, how old the
//! last backup is, what is erased and not yet destroyed. `/healthz` and `/metrics` show it.

use crate::access::MaintenanceOnly;
use pacs_core::Caller;
use pacs_core::access::{Maintain, permit};
use pacs_store::backup::Made;
use pacs_store::scrub::{ScrubPlan, ScrubState};
use pacs_store::{Archive, MaintainError};
use prometheus::{Gauge, IntGauge, Registry};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// Pause before a scrub that could not go on is begun again.
const SCRUB_AGAIN: Duration = Duration::from_secs(60);

/// What is known.
#[derive(Debug)]
pub struct Upkeep {
    scrub: watch::Sender<ScrubState>,
    backup: Mutex<Option<Made>>,
    /// Erased studies whose bytes may still be there.
    erasures_waiting: AtomicU64,
    gauges: Gauges,
}

#[derive(Debug)]
struct Gauges {
    backup: IntGauge,
    damaged: IntGauge,
    erasures_waiting: IntGauge,
    index_damaged: IntGauge,
    last_pass: IntGauge,
    pass_ratio: Gauge,
}

impl Upkeep {
    /// With the last backup that was made; its gauges are shown by `registry`.
    ///
    /// # Errors
    /// [`prometheus::Error`] where a name is registered twice: a fault of this file.
    pub fn new(registry: &Registry, backup: Option<Made>) -> Result<Self, prometheus::Error> {
        let gauge = |name, help| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let pass_ratio = Gauge::new(
            "pacs_scrub_pass_ratio",
            "Part of the packs that the present scrub has read",
        )?;
        registry.register(Box::new(pass_ratio.clone()))?;
        let gauges = Gauges {
            backup: gauge(
                "pacs_backup_last_seconds",
                "When the last backup was made, in seconds since 1970; 0: never",
            )?,
            damaged: gauge(
                "pacs_scrub_damaged",
                "Places in the packs that are known to be damaged",
            )?,
            erasures_waiting: gauge(
                "pacs_erasures_waiting",
                "Erased studies whose bytes could not be destroyed yet",
            )?,
            index_damaged: gauge(
                "pacs_index_damaged",
                "1 where the index or the records are known to be damaged",
            )?,
            last_pass: gauge(
                "pacs_scrub_last_pass_seconds",
                "When the last scrub came to its end, in seconds since 1970; 0: never",
            )?,
            pass_ratio,
        };
        Ok(Self {
            scrub: watch::channel(ScrubState::default()).0,
            backup: Mutex::new(backup),
            erasures_waiting: AtomicU64::new(0),
            gauges,
        })
    }

    /// Scrubs without end; begins again where that fails. To be dropped when the archive closes.
    pub async fn scrub(&self, archive: &Archive, plan: ScrubPlan) {
        let caller = Caller::System { task: "scrub" };
        let Ok(permit) = permit::<Maintain>(&MaintenanceOnly, caller) else {
            return;
        };
        loop {
            match archive.scrub(&permit, plan, &self.scrub).await {
                Ok(()) | Err(MaintainError::Closed) => return,
                Err(error) => tracing::error!(%error, "the scrub could not go on"),
            }
            tokio::time::sleep(SCRUB_AGAIN).await;
        }
    }

    /// A backup was made.
    pub fn backup_was_made(&self, made: Made) {
        *self.backup.lock().unwrap_or_else(PoisonError::into_inner) = Some(made);
    }

    /// The bytes of so many erased studies could not be destroyed yet.
    pub(crate) fn erasures_wait(&self, count: u64) {
        self.erasures_waiting.store(count, Ordering::Relaxed);
    }

    fn backup(&self) -> Option<Made> {
        *self.backup.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing is known to be damaged.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.scrub.borrow().is_clean()
    }

    /// For `/healthz`: numbers and times, and nothing about anybody.
    #[must_use]
    pub fn shown(&self) -> Value {
        let scrub = self.scrub.borrow();
        let backup = self.backup().map(|made| {
            json!({
                "change": made.committed.change.0,
                "made_unix_ms": made.unix_ms,
                "age_seconds": now_unix_ms().saturating_sub(made.unix_ms) / 1_000,
            })
        });
        json!({
            "scrub": {
                "pass": scrub.pass.as_ref().map(|pass| json!({
                    "started_unix_ms": pass.started_unix_ms,
                    "bytes": pass.bytes,
                    "total_bytes": pass.total_bytes,
                })),
                "last": scrub.last.as_ref().map(|last| json!({
                    "started_unix_ms": last.started_unix_ms,
                    "finished_unix_ms": last.finished_unix_ms,
                    "bytes": last.bytes,
                    "log_entries": last.entries_count,
                    "damaged": last.damaged_count,
                })),
                "damaged": scrub.damage.len(),
                "index_damaged": scrub.is_index_damaged,
                "records_damaged": scrub.is_records_damaged,
            },
            "backup": backup,
            "erasures_waiting": self.erasures_waiting.load(Ordering::Relaxed),
        })
    }

    /// Sets the gauges to what is known now.
    pub fn measure(&self) {
        let scrub = self.scrub.borrow();
        let seconds = |unix_ms: u64| i64::try_from(unix_ms / 1_000).unwrap_or(i64::MAX);
        let gauges = &self.gauges;
        gauges
            .backup
            .set(self.backup().map_or(0, |made| seconds(made.unix_ms)));
        gauges
            .damaged
            .set(i64::try_from(scrub.damage.len()).unwrap_or(i64::MAX));
        let waiting = self.erasures_waiting.load(Ordering::Relaxed);
        gauges
            .erasures_waiting
            .set(i64::try_from(waiting).unwrap_or(i64::MAX));
        let is_damaged = scrub.is_index_damaged || scrub.is_records_damaged;
        gauges.index_damaged.set(i64::from(is_damaged));
        let last = scrub
            .last
            .as_ref()
            .map_or(0, |last| seconds(last.finished_unix_ms));
        gauges.last_pass.set(last);
        let ratio = scrub.pass.as_ref().map_or(0.0, |pass| {
            pass.bytes as f64 / pass.total_bytes.max(1) as f64
        });
        gauges.pass_ratio.set(ratio.min(1.0));
    }
}

/// Milliseconds since 1970-01-01 UTC.
pub(crate) fn now_unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}
