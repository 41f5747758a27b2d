//! Scrub: everything in the packs is read again and compared, a little at a time, without end.
//!
//! A pass goes through the log packs in an order of its own, drawn anew for each, with the large
//! packs that they name, at the pace that ends it in time. How far it has come, and what it found,
//! is kept in the records, so that the next process goes on. Once a day the files of index and
//! records are checked too. What is read is asked of the disk, and not of what the system has in
//! memory.

mod pass;
#[cfg(test)]
mod tests;

use crate::archive::erasing::is_doomed;
use crate::archive::{Archive, Shared};
use crate::error::MaintainError;
use crate::index::{IndexError, Location, LogPosition};
use crate::pack::name::PackName;
use crate::records::{Kind, RecordsError, Revision};
use pacs_core::Permit;
use pacs_core::access::Maintain;
use pass::Found;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

pub use pass::{Damage, Pass, PassEnd};

/// Where the state is kept.
const KIND: Kind = Kind::new("scrub");
const KEY: &str = "state";

/// How often the state is kept where nothing was found.
const SAVE_INTERVAL_MS: u64 = 60_000;

/// How often index and records are checked.
const TABLES_INTERVAL_MS: u64 = 24 * 60 * 60 * 1_000;

/// Longest sleep, after which the pace is looked at again.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// Damaged places that are remembered; all are counted.
const DAMAGE_COUNT_MAX: usize = 1_000;

/// How a scrub works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrubPlan {
    /// In this time everything is read once.
    pub pass_duration: Duration,
    /// Bytes read in a second at most, even where a pass comes late then.
    pub bytes_per_second_max: u64,
}

impl ScrubPlan {
    /// How long to wait after so many bytes, to end the pass in time.
    fn pause(&self, pass: &Pass, now_unix_ms: u64, bytes: u64) -> Duration {
        // A tenth is kept for what comes between.
        let whole = self.pass_duration.mul_f64(0.9);
        let gone = Duration::from_millis(now_unix_ms.saturating_sub(pass.started_unix_ms));
        let left_s = whole.saturating_sub(gone).as_secs_f64();
        let left_bytes = pass
            .total_bytes
            .saturating_sub(pass.bytes)
            .max(bytes)
            .max(1);
        let fastest_s = bytes as f64 / self.bytes_per_second_max.max(1) as f64;
        let pause_s = (left_s * bytes as f64 / left_bytes as f64).max(fastest_s);
        Duration::try_from_secs_f64(pause_s)
            .unwrap_or(whole)
            .min(whole)
    }
}

/// How far a scrub has come, and what it found.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ScrubState {
    /// The pass that is under way.
    pub pass: Option<Pass>,
    /// The last that came to its end.
    pub last: Option<PassEnd>,
    /// Places that are damaged, as far as they are remembered.
    pub damage: Vec<Damage>,
    /// The file of the index does not have its checksums. The next start makes it again.
    pub is_index_damaged: bool,
    /// The file of the records does not have its checksums.
    pub is_records_damaged: bool,
}

impl ScrubState {
    /// Whether nothing that was found is still damaged.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.damage.is_empty() && !self.is_index_damaged && !self.is_records_damaged
    }
}

impl Archive {
    /// Scrubs without end, and tells `status` how far it is. To be dropped when the archive closes.
    ///
    /// # Errors
    /// [`MaintainError`] where it cannot go on.
    pub async fn scrub(
        &self,
        _permit: &Permit<Maintain>,
        plan: ScrubPlan,
        status: &watch::Sender<ScrubState>,
    ) -> Result<(), MaintainError> {
        let mut scrub = Scrub::resume(Arc::clone(&self.shared), plan, status).await?;
        loop {
            scrub.pass().await?;
        }
    }

    /// Has a scrub look again at what it found damaged: it may have been repaired.
    pub fn look_again(&self, _permit: &Permit<Maintain>) {
        self.shared.damage.look_again.notify_one();
    }
}

struct Scrub<'a> {
    shared: Arc<Shared>,
    plan: ScrubPlan,
    status: &'a watch::Sender<ScrubState>,
    state: ScrubState,
    revision: Option<Revision>,
    saved_unix_ms: u64,
    /// When index and records were last checked by this process.
    tables_unix_ms: Option<u64>,
}

impl<'a> Scrub<'a> {
    async fn resume(
        shared: Arc<Shared>,
        plan: ScrubPlan,
        status: &'a watch::Sender<ScrubState>,
    ) -> Result<Self, MaintainError> {
        let record = shared.records.get(KIND, KEY).await?;
        let revision = record.as_ref().map(|record| record.revision);
        // What cannot be read is begun anew.
        let state: ScrubState = record
            .and_then(|record| serde_json::from_slice(&record.value).ok())
            .unwrap_or_default();
        let saved_unix_ms = shared.clock.now_unix_ms();
        let mut scrub = Self {
            shared,
            plan,
            status,
            state,
            revision,
            saved_unix_ms,
            tables_unix_ms: None,
        };
        // The index was opened, so that it was made again if it had to be.
        scrub.state.is_index_damaged = false;
        scrub.look_again().await?;
        Ok(scrub)
    }

    fn now(&self) -> u64 {
        self.shared.clock.now_unix_ms()
    }

    fn tell(&self) {
        self.status.send_replace(self.state.clone());
    }

    async fn save(&mut self) -> Result<(), MaintainError> {
        self.tell();
        self.saved_unix_ms = self.now();
        let value = serde_json::to_vec(&self.state).unwrap_or_default();
        let put = self.shared.records.put(KIND, KEY, value, self.revision);
        self.revision = Some(put.await?);
        Ok(())
    }

    /// Goes on with the pass that is under way, or waits for the next and makes it.
    async fn pass(&mut self) -> Result<(), MaintainError> {
        let pass = match self.state.pass.clone() {
            Some(pass) => pass,
            None => self.begin().await?,
        };
        let order = pass.order();
        let from = usize::try_from(pass.done_count).unwrap_or(usize::MAX);
        for number in order.into_iter().skip(from) {
            self.pack(number, pass.end).await?;
            if let Some(pass) = &mut self.state.pass {
                pass.done_count = pass.done_count.saturating_add(1);
                pass.offset = 0;
            }
        }
        let Some(pass) = self.state.pass.take() else {
            return Ok(());
        };
        let end = PassEnd {
            started_unix_ms: pass.started_unix_ms,
            finished_unix_ms: self.now(),
            bytes: pass.bytes,
            entries_count: pass.entries_count,
            damaged_count: pass.damaged_count,
        };
        tracing::info!(?end, "a scrub came to its end");
        self.state.last = Some(end);
        self.save().await
    }

    /// Begins a pass when it is due.
    async fn begin(&mut self) -> Result<Pass, MaintainError> {
        let duration_ms = u64::try_from(self.plan.pass_duration.as_millis()).unwrap_or(u64::MAX);
        let last_ms = self.state.last.as_ref().map_or(0, |l| l.started_unix_ms);
        loop {
            self.check_tables().await?;
            let since_ms = self.now().saturating_sub(last_ms);
            // A clock that went back is no reason to wait for ever.
            if since_ms >= duration_ms || self.now() < last_ms {
                break;
            }
            let rest = Duration::from_millis(duration_ms.saturating_sub(since_ms));
            self.sleep(rest.min(SLEEP_MAX)).await?;
        }
        let shared = Arc::clone(&self.shared);
        let end = *self.shared.visible.borrow();
        let now = self.now();
        let begun = tokio::task::spawn_blocking(move || Pass::begin(&shared, end, now));
        let pass = begun.await.map_err(io::Error::other).and_then(|pass| pass);
        let pass = pass.map_err(MaintainError::Disk)?;
        self.state.pass = Some(pass.clone());
        self.save().await?;
        Ok(pass)
    }

    /// Reads what is left of a log pack.
    async fn pack(&mut self, number: u64, end: LogPosition) -> Result<(), MaintainError> {
        let stop = if number == end.pack {
            end.offset
        } else {
            u64::MAX
        };
        loop {
            self.check_tables().await?;
            let Some(offset) = self.state.pass.as_ref().map(|pass| pass.offset) else {
                return Ok(());
            };
            let shared = Arc::clone(&self.shared);
            let task = tokio::task::spawn_blocking(move || {
                pass::step(&shared, PackName::Log(number), offset, stop)
            });
            let step = task.await.map_err(io::Error::other).and_then(|step| step);
            let step = step.map_err(MaintainError::Disk)?;
            let is_news = !step.damage.is_empty();
            if let Some(pass) = &mut self.state.pass {
                pass.offset = step.next.unwrap_or(0);
                pass.bytes = pass.bytes.saturating_add(step.bytes);
                pass.entries_count = pass.entries_count.saturating_add(step.entries_count);
                let count = step.damage.len() as u64;
                pass.damaged_count = pass.damaged_count.saturating_add(count);
            }
            self.note(step.damage, step.unindexed).await?;
            if is_news || self.now().saturating_sub(self.saved_unix_ms) >= SAVE_INTERVAL_MS {
                self.save().await?;
            }
            self.tell();
            let pass = self.state.pass.as_ref();
            let pause = pass.map(|pass| self.plan.pause(pass, self.now(), step.bytes));
            let pause = pause.unwrap_or_default();
            self.sleep(pause).await?;
            if step.next.is_none() {
                return Ok(());
            }
        }
    }

    /// Sleeps; looks again at what is damaged when that is asked for meanwhile.
    async fn sleep(&mut self, pause: Duration) -> Result<(), MaintainError> {
        let until = tokio::time::Instant::now() + pause;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return Ok(()),
                () = self.shared.damage.look_again.notified() => {}
            }
            self.look_again().await?;
        }
    }

    /// Remembers what was found, and what the index does not know.
    async fn note(
        &mut self,
        found: Vec<Found>,
        unindexed: Vec<Found>,
    ) -> Result<(), MaintainError> {
        let found_unix_ms = self.now();
        for found in found {
            tracing::error!(
                pack = found.pack,
                offset = found.offset,
                "scrub found damage: repair it from a backup (pacs repair)"
            );
            if let Some((instance, digest, _)) = &found.version {
                // Sent again, it is kept again.
                let count_max = self.shared.limits.problems_listed_max;
                self.shared.damage.note(instance, *digest, count_max);
            }
            let known =
                |damage: &Damage| (damage.pack, damage.offset) == (found.pack, found.offset);
            if self.state.damage.len() < DAMAGE_COUNT_MAX && !self.state.damage.iter().any(known) {
                self.state.damage.push(Damage {
                    pack: found.pack,
                    offset: found.offset,
                    found_unix_ms,
                });
            }
        }
        for found in unindexed {
            let Some((instance, digest, location)) = &found.version else {
                continue;
            };
            let is_known = self.shared.index.knows(instance, digest).await?;
            if !is_known && !self.is_erased(*location).await? {
                tracing::error!(
                    pack = found.pack,
                    offset = found.offset,
                    "the index does not know what a pack holds"
                );
                self.index_is_damaged()?;
            }
        }
        Ok(())
    }

    /// Whether content was erased since it was read. What is doomed no more is marked: the order in
    /// which that is asked matters.
    async fn is_erased(&self, location: Location) -> Result<bool, MaintainError> {
        let place = (location.pack, location.offset);
        if is_doomed(&*self.shared.index, place).await? {
            return Ok(true);
        }
        let shared = Arc::clone(&self.shared);
        let task = tokio::task::spawn_blocking(move || pass::is_marked(&shared, location));
        let marked = task.await.map_err(io::Error::other);
        marked
            .and_then(|marked| marked)
            .map_err(MaintainError::Disk)
    }

    /// Checks the files of index and records, once a day.
    async fn check_tables(&mut self) -> Result<(), MaintainError> {
        let now = self.now();
        if self
            .tables_unix_ms
            .is_some_and(|at| now.saturating_sub(at) < TABLES_INTERVAL_MS)
        {
            return Ok(());
        }
        self.tables_unix_ms = Some(now);
        match self.shared.index.check().await {
            Err(IndexError::Damaged { .. }) => self.index_is_damaged()?,
            other => other?,
        }
        match self.shared.records.check().await {
            Err(RecordsError::Damaged { .. }) => {
                tracing::error!("the file of the records is damaged: restore it from a backup");
                self.state.is_records_damaged = true;
            }
            other => {
                other?;
                self.state.is_records_damaged = false;
            }
        }
        self.tell();
        Ok(())
    }

    fn index_is_damaged(&mut self) -> Result<(), MaintainError> {
        tracing::error!("the index is damaged: the next start makes it again from the packs");
        self.state.is_index_damaged = true;
        let directory = &self.shared.directory;
        directory.suspect_index().map_err(MaintainError::Disk)
    }

    /// Forgets damage that is none any more.
    async fn look_again(&mut self) -> Result<(), MaintainError> {
        let shared = Arc::clone(&self.shared);
        let damage = std::mem::take(&mut self.state.damage);
        let task = tokio::task::spawn_blocking(move || {
            let is_left = |damage: &Damage| !pass::is_sound(&shared, damage.pack, damage.offset);
            damage.into_iter().filter(is_left).collect()
        });
        self.state.damage = task
            .await
            .map_err(|error| MaintainError::Disk(io::Error::other(error)))?;
        self.save().await
    }
}
