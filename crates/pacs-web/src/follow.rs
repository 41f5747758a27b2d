//! Follows the changes of an archive and makes the metadata and the thumbnails of series ready that
//! have been quiet for a while, so that who opens a study that has just come need not wait.
//!
//! One series is made at a time, and the changes are looked at once in a while: receiving goes
//! first. What is not made here is made by the first who asks.

use crate::metadata;
use crate::rendered;
use crate::resource::Resource;
use crate::service::Web;
use pacs_core::Permit;
use pacs_core::access::{Get, Maintain};
use pacs_store::index::{Change, ChangeKind, IndexError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// Bounds of following.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowLimits {
    /// How long a series has to be quiet before its metadata and thumbnail are made.
    pub quiet_duration: Duration,
    /// How long changes gather before they are looked at.
    pub gather_duration: Duration,
    /// Changes that are looked at together.
    pub changes_max: usize,
    /// Series that wait to become quiet; of more, those that have waited longest are left to those
    /// who ask for them.
    pub series_max: usize,
    /// How long is waited where the changes cannot be read, before they are read again.
    pub retry_duration: Duration,
    /// How often that may fail, one time after the other.
    pub failures_max: u32,
}

impl Default for FollowLimits {
    fn default() -> Self {
        Self {
            quiet_duration: Duration::from_secs(10),
            gather_duration: Duration::from_secs(1),
            changes_max: 1_000,
            series_max: 4_096,
            retry_duration: Duration::from_secs(10),
            failures_max: 360,
        }
    }
}

/// Study and series.
type Uids = (String, String);

/// Follows from now on, until the archive is closed.
///
/// # Errors
/// [`IndexError`]: the changes cannot be read, not even later.
pub async fn make_ready(
    web: Web,
    follow: Permit<Maintain>,
    get: Permit<Get>,
    limits: FollowLimits,
) -> Result<(), IndexError> {
    let archive = web.archive().clone();
    let mut after = archive.last_change(&follow).await?;
    let mut waiting = Waiting::default();
    let mut failures: u32 = 0;
    loop {
        tokio::select! {
            () = waiting.quiet() => {
                if let Some(uids) = waiting.take() {
                    make(&web, &get, &uids.0, &uids.1).await;
                }
                continue;
            }
            changed = archive.wait_for_change(&follow, after) => {
                if let Err(error) = changed {
                    failures = failed(error, failures, &limits).await?;
                    continue;
                }
            }
        }
        sleep(limits.gather_duration).await;
        let changes = match archive.changes(&follow, after, limits.changes_max).await {
            Ok(changes) => changes,
            Err(error) => {
                failures = failed(error, failures, &limits).await?;
                continue;
            }
        };
        failures = 0;
        let Some(last) = changes.last() else {
            // Closed.
            return Ok(());
        };
        after = last.number;
        for change in changes {
            waiting.note(&change, &limits);
        }
    }
}

/// Waits after one failure more than `failures`, and counts it; where it was one too many, it is
/// the end.
async fn failed(
    error: IndexError,
    failures: u32,
    limits: &FollowLimits,
) -> Result<u32, IndexError> {
    let failures = failures.saturating_add(1);
    if failures > limits.failures_max {
        return Err(error);
    }
    tracing::warn!(%error, failures, "changes cannot be followed now: they are read again");
    sleep(limits.retry_duration).await;
    Ok(failures)
}

async fn make(web: &Web, permit: &Permit<Get>, study: &str, series: &str) {
    let resource = match Resource::new(study, Some(series), None) {
        Ok(resource) => resource,
        Err(error) => {
            tracing::debug!(%error, "a series cannot be made ready");
            return;
        }
    };
    // Hidden meanwhile, for instance; who asks is told.
    if let Err(error) = metadata::prepare(web, permit, &resource).await {
        tracing::debug!(%error, "metadata could not be made ready");
    }
    if let Err(error) = rendered::prepare(web, permit, &resource).await {
        tracing::debug!(%error, "a thumbnail could not be made ready");
    }
}

/// Series that have changed, and when they will have been quiet for long enough.
#[derive(Debug, Default)]
struct Waiting {
    when: BTreeMap<Arc<Uids>, Instant>,
    /// The same, those that are quiet soonest first.
    order: BTreeSet<(Instant, Arc<Uids>)>,
}

impl Waiting {
    fn note(&mut self, change: &Change, limits: &FollowLimits) {
        if matches!(change.kind, ChangeKind::Conflicted | ChangeKind::Erased) {
            // What is shown has not changed.
            return;
        }
        let (study, series) = (change.study.as_str(), change.series.as_str());
        let uids = Arc::new((study.to_owned(), series.to_owned()));
        let now = Instant::now();
        let when = now.checked_add(limits.quiet_duration).unwrap_or(now);
        if let Some(before) = self.when.insert(Arc::clone(&uids), when) {
            self.order.remove(&(before, Arc::clone(&uids)));
        }
        self.order.insert((when, uids));
        if self.when.len() > limits.series_max {
            self.take();
        }
    }

    /// When the first of them is quiet.
    async fn quiet(&self) {
        match self.order.first() {
            Some((when, _)) => sleep_until(*when).await,
            None => std::future::pending().await,
        }
    }

    fn take(&mut self) -> Option<Arc<Uids>> {
        let (_, uids) = self.order.pop_first()?;
        self.when.remove(&uids);
        Some(uids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pacs_core::SopInstanceUid;
    use pacs_core::uid::{SeriesUid, StudyUid};
    use pacs_store::index::ChangeNumber;

    fn change(series: u32, kind: ChangeKind) -> Change {
        Change {
            number: ChangeNumber(1),
            kind,
            study: StudyUid::parse("1.2.3").unwrap(),
            series: SeriesUid::parse(&format!("1.2.3.{series}")).unwrap(),
            instance: SopInstanceUid::parse("1.2.3.4.5").unwrap(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn series_are_taken_in_the_order_in_which_they_became_quiet_each_once() {
        let limits = FollowLimits {
            series_max: 3,
            ..FollowLimits::default()
        };
        let mut waiting = Waiting::default();
        for series in [1, 2, 3, 1] {
            waiting.note(&change(series, ChangeKind::Received), &limits);
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        waiting.note(&change(2, ChangeKind::Conflicted), &limits);
        // Of more than are kept, the one that has waited longest goes.
        waiting.note(&change(4, ChangeKind::Received), &limits);
        let begun = Instant::now();
        waiting.quiet().await;
        assert!(begun.elapsed() > Duration::from_secs(9));
        let taken = std::iter::from_fn(|| waiting.take().map(|uids| uids.1.clone()));
        let taken: Vec<String> = taken.collect();
        assert_eq!(taken, ["1.2.3.3", "1.2.3.1", "1.2.3.4"]);
        assert!(waiting.when.is_empty() && waiting.order.is_empty());
    }

    #[tokio::test]
    async fn one_failure_does_not_end_following_and_too_many_do() {
        let limits = FollowLimits {
            retry_duration: Duration::ZERO,
            failures_max: 2,
            ..FollowLimits::default()
        };
        let fail = |failures| failed(IndexError::NoMemory, failures, &limits);
        assert!(matches!(fail(0).await, Ok(1)));
        assert!(matches!(fail(1).await, Ok(2)));
        assert!(fail(2).await.is_err());
    }
}
