//! Tells AEs which instances are to be had (Instance Availability Notification, PS3.4 Annex R), as
//! service class user: of studies whose examination got its images or lost some, and of what was
//! rejected or brought back.
//!
//! What is owed is written down with what owes it (see [`pacs_store::registry::announcements`]),
//! and goes away when the AE took it, refused it for good, or could not be told for days. An AE is
//! told of what it sees, of each study as a whole, and what is so when it is told. A few are told
//! at once; one that cannot be reached is tried again with longer pauses.

mod counters;
mod telling;

pub(crate) use counters::AnnouncingCounters;

use crate::access::Access;
use crate::clock::World;
use crate::config::RemoteAe;
use crate::limits::AnnouncingBounds;
use counters::Ended;
use pacs_core::AeTitle;
use pacs_core::role::{Agent, Licence, Unlicensed, duty::Reconcile};
use pacs_net::NetLimits;
use pacs_net::transport::Connector;
use pacs_store::registry::announcements::OwedAnnouncement;
use pacs_store::registry::{Registry, RegistryError, Stored};
use pacs_store::rejections::Rejections;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

/// What telling works with.
#[derive(Debug)]
pub(crate) struct Parts {
    /// What is owed, and whose studies are.
    pub(crate) registry: Registry,
    /// Knows which instances are to be had.
    pub(crate) rejections: Rejections,
    /// Knows who is to be told, where they are, and what they see.
    pub(crate) access: Arc<Access>,
    /// Our title, by which instances are retrieved.
    pub(crate) our_title: AeTitle,
    /// Opens connections.
    pub(crate) connector: Arc<dyn Connector>,
    /// Counts.
    pub(crate) counters: AnnouncingCounters,
    /// The time, and names for what is told.
    pub(crate) world: World,
    /// Bounds.
    pub(crate) bounds: AnnouncingBounds,
}

/// Tells AEs of one archive.
#[derive(Debug)]
pub(crate) struct Announcer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    parts: Parts,
    licence: Licence<Reconcile>,
    net_limits: NetLimits,
    /// Of how many studies each AE is to be told.
    owed: Mutex<BTreeMap<AeTitle, usize>>,
}

/// What is known of an AE that is to be told something.
#[derive(Debug)]
struct Desk {
    is_busy: bool,
    /// Attempts that failed in a row.
    failures_count: u32,
    not_before: Instant,
}

/// How an attempt to tell an AE ended; why, where it failed.
type Attempted = (AeTitle, Result<(), String>);

impl Announcer {
    /// Over what there is; nobody is told before [`Self::run`].
    ///
    /// # Errors
    /// [`Unlicensed`]: the table of roles does not know the archive's own task.
    pub(crate) fn new(parts: Parts) -> Result<Self, Unlicensed> {
        let net_limits = NetLimits {
            response_duration_max: parts.bounds.response_duration_max,
            ..NetLimits::default()
        };
        Ok(Self {
            shared: Arc::new(Shared {
                licence: Agent::system("announcing").national_licence()?,
                net_limits,
                owed: Mutex::default(),
                parts,
            }),
        })
    }

    /// Tells whoever is to be told, until the task is dropped.
    pub(crate) async fn run(self) {
        let shared = self.shared;
        let bounds = shared.parts.bounds;
        while let Err(error) = shared.count_all().await {
            tell(&error);
            sleep(bounds.look_every).await;
        }
        let mut desks: BTreeMap<AeTitle, Desk> = BTreeMap::new();
        let mut at_work: JoinSet<Attempted> = JoinSet::new();
        loop {
            let news = shared.deal().await;
            let next = shared.begin(&mut desks, &mut at_work, &news);
            tokio::select! {
                () = shared.parts.registry.announced() => sleep(bounds.gathered_for).await,
                () = sleep_until(next) => {}
                Some(ended) = at_work.join_next() => match ended {
                    Ok((ae, attempted)) => shared.ended(&mut desks, &ae, attempted),
                    Err(error) => {
                        // A panic is logged where it happens; who was being told is told again.
                        tracing::error!(%error, "telling an AE of instances broke down");
                        at_work.shutdown().await;
                        desks.clear();
                    }
                },
            }
        }
    }
}

impl Shared {
    fn owed(&self) -> MutexGuard<'_, BTreeMap<AeTitle, usize>> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self) {
        let owed = self.owed().values().sum();
        self.parts.counters.show(owed);
    }

    async fn count_all(&self) -> Result<(), RegistryError> {
        let counts = self.parts.registry.owed_announcement_counts().await?;
        *self.owed() = counts;
        self.show();
        Ok(())
    }

    /// Deals out what is owed since the last time; to whom something was.
    async fn deal(&self) -> BTreeSet<AeTitle> {
        let notified = self.parts.access.notified().into_iter();
        let notified: BTreeSet<AeTitle> = notified.map(|ae| ae.title).collect();
        self.forget_all_but(&notified).await;
        let has_room = |title: &AeTitle| {
            let count = self.owed().get(title).copied().unwrap_or_default();
            count < self.parts.bounds.owed_max
        };
        let (to, full): (BTreeSet<_>, BTreeSet<_>) = notified.into_iter().partition(has_room);
        let dealt = match self.parts.registry.deal_announcements(&to).await {
            Ok(dealt) => dealt,
            Err(error) => {
                tell(&error);
                return BTreeSet::new();
            }
        };
        for title in full.iter().filter(|_| dealt.is_some()) {
            self.parts.counters.ended(Ended::GivenUp, 1);
            tracing::error!(
                called = %title,
                "ALARM: an AE is owed notifications of too many studies, and gets no more of them"
            );
        }
        let dealt = dealt.unwrap_or_default();
        for (title, count) in &dealt {
            let mut owed = self.owed();
            let all = owed.entry(title.clone()).or_default();
            *all = all.saturating_add(*count);
        }
        self.show();
        dealt.into_keys().collect()
    }

    /// Whoever is not to be told any more is owed nothing.
    async fn forget_all_but(&self, notified: &BTreeSet<AeTitle>) {
        let gone = |title: &&AeTitle| !notified.contains(*title);
        let gone: Vec<AeTitle> = self.owed().keys().filter(gone).cloned().collect();
        for title in gone {
            match self.settle_all(&title, |_| true).await {
                Ok(count) => {
                    self.owed().remove(&title);
                    tracing::info!(called = %title, count, "an AE is not to be told any more");
                }
                Err(error) => tell(&error),
            }
        }
    }

    /// Begins what can be begun, and says when it is to be looked again; `news` are those who have
    /// something new to be told.
    fn begin(
        self: &Arc<Self>,
        desks: &mut BTreeMap<AeTitle, Desk>,
        at_work: &mut JoinSet<Attempted>,
        news: &BTreeSet<AeTitle>,
    ) -> Instant {
        let bounds = self.parts.bounds;
        let now = Instant::now();
        let mut next = now + bounds.look_every;
        for ae in self.parts.access.notified() {
            let owed_count = self.owed().get(&ae.title).copied().unwrap_or_default();
            let desk = desks.entry(ae.title.clone()).or_insert(Desk {
                is_busy: false,
                failures_count: 0,
                not_before: now,
            });
            if news.contains(&ae.title) && desk.failures_count == 0 {
                desk.not_before = now;
            }
            if desk.is_busy || owed_count == 0 {
                continue;
            }
            if desk.not_before > now {
                next = next.min(desk.not_before);
                continue;
            }
            if at_work.len() < bounds.at_once_max {
                desk.is_busy = true;
                let shared = Arc::clone(self);
                at_work.spawn(async move {
                    let attempted = shared.attempt(&ae).await;
                    (ae.title, attempted)
                });
            }
        }
        next
    }

    /// What an attempt came to: when there may be another.
    fn ended(
        &self,
        desks: &mut BTreeMap<AeTitle, Desk>,
        ae: &AeTitle,
        attempted: Result<(), String>,
    ) {
        let Some(desk) = desks.get_mut(ae) else {
            return;
        };
        let bounds = self.parts.bounds;
        desk.is_busy = false;
        let pause: Duration = match attempted {
            Ok(()) => {
                desk.failures_count = 0;
                bounds.look_every
            }
            Err(why) => {
                let doublings = desk.failures_count.min(16);
                let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
                desk.failures_count = desk.failures_count.saturating_add(1);
                let pause = bounds.retry_first.saturating_mul(factor);
                let pause = pause.min(bounds.retry_longest);
                self.parts.counters.ended(Ended::Retried, 1);
                tracing::warn!(
                    called = %ae, why, again_in_s = pause.as_secs(),
                    "an AE could not be told which instances are to be had"
                );
                pause
            }
        };
        desk.not_before = Instant::now() + pause;
    }

    /// Tells an AE all that it is owed, over one association.
    async fn attempt(&self, ae: &RemoteAe) -> Result<(), String> {
        let told = self.tell_all(ae).await;
        if told.is_err() {
            self.give_up(&ae.title).await;
        }
        self.show();
        told
    }

    /// Gives up what an AE could not be told in all the time there was.
    async fn give_up(&self, title: &AeTitle) {
        let now = self.parts.world.moment();
        let tried_for = self.parts.bounds.tried_for;
        let is_over = |owed: &OwedAnnouncement| {
            let age = now.signed_duration_since(owed.at).to_std();
            age.is_ok_and(|age| age >= tried_for)
        };
        match self.settle_all(title, is_over).await {
            Ok(0) => {}
            Ok(count) => {
                self.parts.counters.ended(Ended::GivenUp, count);
                tracing::error!(
                    called = %title, studies = count,
                    "ALARM: notifications of instances were given up; the AE does not know of them"
                );
            }
            Err(error) => tell(&error),
        }
    }

    /// Takes away what is owed to an AE and `is_over`; how much that was.
    async fn settle_all(
        &self,
        title: &AeTitle,
        is_over: impl Fn(&OwedAnnouncement) -> bool + Send + Sync,
    ) -> Result<usize, RegistryError> {
        let mut count = 0_usize;
        let mut after = None;
        loop {
            let page = self.page(title, after.as_ref()).await?;
            let Some(last) = page.last() else {
                return Ok(count);
            };
            after = Some(last.value.study.clone());
            for owed in page.iter().filter(|owed| is_over(&owed.value)) {
                count = count.saturating_add(usize::from(self.settle(owed).await?));
            }
        }
    }

    /// An AE is not to be told any more of a study; `false` where that changed meanwhile.
    async fn settle(&self, owed: &Stored<OwedAnnouncement>) -> Result<bool, RegistryError> {
        let is_settled = self.parts.registry.settle_announcement(owed).await?;
        if is_settled && let Some(count) = self.owed().get_mut(&owed.value.to) {
            *count = count.saturating_sub(1);
        }
        Ok(is_settled)
    }
}

fn tell(error: &RegistryError) {
    let error = crate::tool::failure::chain(error);
    tracing::error!(error, "whom to tell of instances cannot be read or written");
}

#[cfg(test)]
mod tests;
