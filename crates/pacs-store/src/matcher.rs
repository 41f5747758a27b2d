//! Says of what comes into an archive which examination it is of, and when an examination has all
//! its images.
//!
//! A follower of the change sequence with a cursor of its own: storing never waits for it, and what
//! it had not finished when it ended it judges again, which changes nothing a second time. What
//! belongs where is said by [`verdict`](pacs_core::examination::reconcile::verdict); whose images
//! they are, by the devices that sent them. What waits is judged again where an order, a patient, a
//! device or an organisation changes. All that its clocks rest on is in the records, so that they
//! go on where they were after a restart.

mod desk;
mod heads;
mod judging;
mod progress;
mod retrying;

pub use desk::{Compared, SeenSeries, SeenStudy};
pub use progress::Progressed;

use crate::archive::{Archive, Cursor};
use crate::error::ReadError;
use crate::index::{Change, ChangeKind, ChangeNumber, IndexError, StoredInstance};
use crate::limits::{MatcherLimits, VERSIONS_LOOKED_AT_MAX};
use crate::records::RecordsError;
use crate::registry::{Moment, Registry, RegistryError, Stirred};
use chrono::{DateTime, FixedOffset};
use pacs_core::access::{Find, Get, Maintain};
use pacs_core::examination::reconcile::{Candidate, MatchingPolicy};
use pacs_core::role::{Agent, Licence, Unlicensed, duty::Reconcile};
use pacs_core::uid::{SeriesUid, StudyUid};
use pacs_core::{OrganisationCode, Permit, SopInstanceUid};
use progress::Watched;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The name of its cursor, and of its task.
const CURSOR: &str = "matcher";

/// Why the follower does not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MatcherError {
    /// The changes or the instances cannot be read.
    #[error("changes could not be followed")]
    Index(#[from] IndexError),
    /// The head of an instance cannot be read.
    #[error("an instance could not be read")]
    Read(#[from] ReadError),
    /// The cursor cannot be read or moved.
    #[error("the place of the matcher could not be kept")]
    Records(#[from] RecordsError),
    /// The registry cannot be read or changed.
    #[error("the registry could not be asked")]
    Registry(#[from] RegistryError),
}

/// What the follower found in one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Judged {
    /// Changes that are behind it now.
    pub changes_count: usize,
    /// Studies that are of an examination.
    pub bound_count: u64,
    /// Studies that wait for a person.
    pub queued_count: u64,
    /// Of those, studies whose sender is of no organisation.
    pub foreign_count: u64,
}

/// The follower.
#[derive(Debug)]
pub struct Matcher {
    archive: Archive,
    registry: Registry,
    permits: Permits,
    licence: Licence<Reconcile>,
    place: FixedOffset,
    policy: MatchingPolicy,
    limits: MatcherLimits,
    watched: tokio::sync::Mutex<Watched>,
    /// While much is judged at once: the orders that are open, by organisation.
    open: tokio::sync::Mutex<Option<BTreeMap<OrganisationCode, Arc<[Candidate]>>>>,
}

/// What the archive lets the follower do.
#[derive(Debug, Clone)]
pub struct Permits {
    /// Follow the changes.
    pub maintain: Permit<Maintain>,
    /// Read headers.
    pub get: Permit<Get>,
    /// Count images.
    pub find: Permit<Find>,
}

/// What came of a study since it was judged last.
#[derive(Debug, Default)]
struct News {
    /// The first and the last of each series before all others.
    instances: Vec<SopInstanceUid>,
    has_other_version: bool,
    /// Versions of instances that are served as of another study: all that there is of this one.
    versions: Vec<StoredInstance>,
}

impl Matcher {
    /// A follower of `archive`, which is at a place with this offset from UTC.
    ///
    /// # Errors
    /// [`Unlicensed`] where the table of roles does not let the archive itself do it.
    pub fn new(
        archive: &Archive,
        permits: Permits,
        place: FixedOffset,
        limits: MatcherLimits,
    ) -> Result<Self, Unlicensed> {
        Ok(Self {
            archive: archive.clone(),
            registry: archive.registry(),
            permits,
            licence: Agent::system(CURSOR).national_licence()?,
            place,
            policy: MatchingPolicy::default(),
            limits,
            watched: tokio::sync::Mutex::default(),
            open: tokio::sync::Mutex::default(),
        })
    }

    /// Where the archive is now: whoever has this before anybody can send misses nothing that comes
    /// while there are organisations.
    ///
    /// # Errors
    /// [`MatcherError`].
    pub async fn last_change(&self) -> Result<ChangeNumber, MatcherError> {
        Ok(self.archive.last_change(&self.permits.maintain).await?)
    }

    /// Where it was; the first time, at `from`: what came before there were examinations is of
    /// none.
    ///
    /// # Errors
    /// [`MatcherError`].
    pub async fn cursor(&self, from: ChangeNumber) -> Result<Cursor, MatcherError> {
        let mut cursor = self.archive.cursor(&self.permits.maintain, CURSOR).await?;
        if cursor.is_new() {
            cursor.advance(from).await?;
        }
        Ok(cursor)
    }

    /// Follows until the archive is closed, the first time from `from` on. As long as there is no
    /// organisation there is nothing to judge, and nothing is written.
    ///
    /// # Errors
    /// [`MatcherError`]; it can be called again, and goes on where it was.
    pub async fn run(&self, from: ChangeNumber) -> Result<(), MatcherError> {
        let Some(mut cursor) = self.begin(from).await? else {
            return Ok(());
        };
        // What changed while nobody looked.
        let mut stirred = Stirred::all();
        let (mut judged_again_at, mut progressed_at) = (Instant::now(), Instant::now());
        loop {
            if self.archive.shared.is_closing() {
                return Ok(());
            }
            let begun = Instant::now();
            let judged = self.step(&mut cursor).await?;
            tell(&judged);
            if judged.changes_count >= self.limits.changes_max {
                self.give_way(begun.elapsed()).await?;
            } else {
                if !stirred.is_empty() && Instant::now() >= judged_again_at {
                    let (begun, stirred) = (Instant::now(), std::mem::take(&mut stirred));
                    self.judge_again(&stirred).await?;
                    // Never more than a tenth of the time.
                    let pause = begun.elapsed().saturating_mul(10);
                    let pause = pause.max(self.limits.judged_again_duration);
                    judged_again_at = Instant::now() + pause;
                }
                let mut wait = self.limits.tick_duration;
                if Instant::now() >= progressed_at {
                    self.progress(self.now()).await?;
                    progressed_at = Instant::now() + self.limits.progressed_duration;
                } else {
                    wait = wait.min(self.limits.progressed_duration);
                }
                if !stirred.is_empty() {
                    wait = wait.min(self.limits.judged_again_duration);
                }
                if !self.wait(&cursor, &mut stirred, wait).await? {
                    return Ok(());
                }
            }
        }
    }

    /// After it `worked`, leaves the processors to whoever sends for nine times as long, but no
    /// longer than somebody sends. More at once is judged with less work, too.
    async fn give_way(&self, worked: Duration) -> Result<(), MatcherError> {
        let mut last = self.last_change().await?;
        for _ in 0..9 {
            tokio::time::sleep(worked).await;
            let now = self.last_change().await?;
            if now == last {
                break;
            }
            last = now;
        }
        Ok(())
    }

    /// Waits until there is something to do; `false`: the archive is closed.
    async fn wait(
        &self,
        cursor: &Cursor,
        stirred: &mut Stirred,
        duration_max: Duration,
    ) -> Result<bool, MatcherError> {
        let maintain = &self.permits.maintain;
        tokio::select! {
            changed = self.archive.wait_for_change(maintain, cursor.position()) => {
                changed?;
                let changes = self.archive.changes(maintain, cursor.position(), 1).await?;
                if changes.is_empty() {
                    return Ok(false);
                }
            }
            more = self.registry.stirred() => stirred.add(more),
            () = tokio::time::sleep(duration_max) => return Ok(true),
        }
        // What comes in one go is judged in one go.
        tokio::time::sleep(self.limits.gather_duration).await;
        Ok(true)
    }

    /// Where it begins, once there is an organisation; `None`: the archive was closed before.
    async fn begin(&self, from: ChangeNumber) -> Result<Option<Cursor>, MatcherError> {
        let mut from = from;
        loop {
            let last = self.last_change().await?;
            if self.registry.has_organisations().await? {
                return Ok(Some(self.cursor(from).await?));
            }
            // Up to here there was none, surely.
            from = last;
            if self.archive.shared.is_closing() {
                return Ok(None);
            }
            tokio::select! {
                _ = self.registry.stirred() => {}
                () = tokio::time::sleep(self.limits.idle_duration) => {}
            }
        }
    }

    /// Judges what came after `cursor`, and moves it.
    ///
    /// # Errors
    /// [`MatcherError`]; the cursor is where it was, and what was judged is judged again.
    pub async fn step(&self, cursor: &mut Cursor) -> Result<Judged, MatcherError> {
        let maintain = &self.permits.maintain;
        let changes = self
            .archive
            .changes(maintain, cursor.position(), self.limits.changes_max)
            .await?;
        let Some(last) = changes.last() else {
            return Ok(Judged::default());
        };
        let last = last.number;
        let mut judged = Judged {
            changes_count: changes.len(),
            ..Judged::default()
        };
        let versions = versions(&changes);
        let mut studies = by_study(changes);
        self.trace(versions, &mut studies).await?;
        for (study, news) in studies {
            let Some(found) = self.judge_or_keep(&study, &news).await? else {
                continue;
            };
            if found.value.examination().is_some() {
                judged.bound_count = judged.bound_count.saturating_add(1);
            } else {
                judged.queued_count = judged.queued_count.saturating_add(1);
            }
            if found.value.organisation.is_none() {
                judged.foreign_count = judged.foreign_count.saturating_add(1);
            }
        }
        cursor.advance(last).await?;
        Ok(judged)
    }

    /// Judges again what waits and rests on what was changed; gives how many studies were judged.
    ///
    /// # Errors
    /// [`MatcherError`].
    pub async fn judge_again(&self, stirred: &Stirred) -> Result<u64, MatcherError> {
        let mut organisations: Vec<Option<OrganisationCode>> = Vec::new();
        if stirred.everything {
            organisations.push(None);
            let all = self.registry.organisations().await?;
            organisations.extend(all.into_iter().map(|one| Some(one.value.code)));
        } else {
            organisations.extend(stirred.organisations.iter().copied().map(Some));
        }
        let mut waiting = Vec::new();
        for organisation in organisations {
            waiting.extend(self.waiting(organisation).await?);
        }
        // What is open at an organisation is read once for all that wait there.
        *self.open.lock().await = Some(BTreeMap::new());
        let mut judged = self.retry().await;
        for study in &waiting {
            if judged.is_err() {
                break;
            }
            let again = self.judge_or_keep(study, &News::default()).await;
            judged = again.map(|_| ());
        }
        *self.open.lock().await = None;
        judged?;
        Ok(u64::try_from(waiting.len()).unwrap_or(u64::MAX))
    }

    /// Notes of instances of which another version came in which study the one is that is served:
    /// a device may have sent what it corrected under another Study Instance UID.
    async fn trace(
        &self,
        conflicts: BTreeSet<(StudyUid, SopInstanceUid)>,
        studies: &mut BTreeMap<StudyUid, News>,
    ) -> Result<(), MatcherError> {
        for (study, instance) in conflicts {
            let index = &self.archive.shared.index;
            let found = match index.versions(&instance, VERSIONS_LOOKED_AT_MAX).await {
                Ok(found) => found.stored,
                Err(IndexError::TooMany { limit_count }) => {
                    tracing::warn!(%study, limit_count, "an instance has too many versions");
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let Some(served) = found.first().map(|served| served.instance.study.clone()) else {
                continue;
            };
            if served != study {
                let of_it = found.into_iter().filter(|one| one.instance.study == study);
                let news = studies.entry(study.clone()).or_default();
                news.versions.extend(of_it);
                studies.entry(served).or_default().has_other_version = true;
            }
        }
        Ok(())
    }

    /// The studies that wait at an organisation and are not old.
    async fn waiting(
        &self,
        organisation: Option<OrganisationCode>,
    ) -> Result<Vec<StudyUid>, MatcherError> {
        let oldest = chrono::TimeDelta::days(self.limits.judged_again_days);
        let oldest = self.now().checked_sub_signed(oldest);
        let (mut studies, mut next) = (Vec::new(), None::<String>);
        loop {
            let left = self.limits.judged_again_max.saturating_sub(studies.len());
            if left == 0 {
                return Ok(studies);
            }
            let page = self
                .registry
                .unmatched_studies(&self.licence, organisation, next.as_deref(), left)
                .await?;
            for found in page.studies {
                if oldest.is_some_and(|oldest| found.value.received_at < oldest) {
                    return Ok(studies);
                }
                studies.push(found.value.study);
            }
            match page.next {
                Some(place) => next = Some(place),
                None => return Ok(studies),
            }
        }
    }

    fn now(&self) -> Moment {
        self.moment(self.archive.shared.clock.now_unix_ms())
    }

    fn moment(&self, unix_ms: u64) -> Moment {
        let unix_ms = i64::try_from(unix_ms).unwrap_or(i64::MAX);
        let moment = DateTime::from_timestamp_millis(unix_ms).unwrap_or_default();
        moment.with_timezone(&self.place)
    }
}

fn tell(judged: &Judged) {
    if judged.changes_count > 0 {
        tracing::debug!(
            changes = judged.changes_count,
            bound = judged.bound_count,
            queued = judged.queued_count,
            foreign = judged.foreign_count,
            "studies were matched"
        );
    }
}

/// The instances of which another version came, with the studies of those versions.
fn versions(changes: &[Change]) -> BTreeSet<(StudyUid, SopInstanceUid)> {
    let conflicts = changes.iter();
    let conflicts = conflicts.filter(|change| change.kind == ChangeKind::Conflicted);
    conflicts
        .map(|change| (change.study.clone(), change.instance.clone()))
        .collect()
}

fn by_study(changes: Vec<Change>) -> BTreeMap<StudyUid, News> {
    let mut came: BTreeMap<StudyUid, BTreeMap<SeriesUid, Vec<SopInstanceUid>>> = BTreeMap::new();
    let mut studies: BTreeMap<StudyUid, News> = BTreeMap::new();
    for change in changes {
        match change.kind {
            ChangeKind::Received | ChangeKind::Restored => {
                let series = came.entry(change.study).or_default();
                series
                    .entry(change.series)
                    .or_default()
                    .push(change.instance);
            }
            ChangeKind::Conflicted => {
                studies.entry(change.study).or_default().has_other_version = true;
            }
            ChangeKind::Erased | ChangeKind::Hidden => {}
        }
    }
    for (study, series) in came {
        let news = studies.entry(study).or_default();
        let (mut outer, mut inner) = (Vec::new(), Vec::new());
        for instances in series.into_values() {
            let last = instances.len().saturating_sub(1);
            for (at, instance) in instances.into_iter().enumerate() {
                let is_outer = at == 0 || at == last;
                if is_outer { &mut outer } else { &mut inner }.push(instance);
            }
        }
        outer.extend(inner);
        news.instances = outer;
    }
    studies
}
