//! Whether the archive takes instances: as metrics, and in the log when it changes.

use crate::limits::ROOM_ASKED_EVERY;
use crate::metrics::Metrics;
use pacs_store::Archive;
use prometheus::IntGauge;

/// What is watched.
#[derive(Debug)]
pub(crate) struct Room {
    disk_full: IntGauge,
    memory_full: IntGauge,
}

impl Room {
    /// With its gauges among `metrics`.
    ///
    /// # Errors
    /// [`prometheus::Error`] where a name is registered twice: a fault of this crate.
    pub(crate) fn new(metrics: &Metrics) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            metrics.registry().register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        Ok(Self {
            disk_full: gauge(
                "pacs_store_disk_full",
                "1 while instances are refused because the disk has no room for them",
            )?,
            memory_full: gauge(
                "pacs_store_memory_used_up",
                "1 while newcomers are rejected because instances on their way take all memory",
            )?,
        })
    }

    /// Asks `archive` again and again, until the task is dropped.
    pub(crate) async fn watch(self, archive: Archive) {
        let mut ticks = tokio::time::interval(ROOM_ASKED_EVERY);
        let mut was_full = false;
        loop {
            ticks.tick().await;
            let is_full = !archive.has_room();
            self.disk_full.set(i64::from(is_full));
            self.memory_full.set(i64::from(!archive.has_memory()));
            if is_full && !was_full {
                tracing::error!("the disk is full: instances are refused until there is room");
            } else if was_full && !is_full {
                tracing::warn!("the disk has room again: instances are taken");
            }
            was_full = is_full;
        }
    }
}
