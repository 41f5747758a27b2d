//! Studies of which others are to be told whether their images are to be had (PS3.4 Annex R): what
//! the rules of examinations and the end of a rejection owe.
//!
//! That something is owed is written in the batch that makes it so, under a key of its own, so that
//! it is in nobody's way. It is dealt out to those who want to be told, one document for an AE and
//! a study however often that changed, and stays until the AE was told or it is given up. What they
//! are told is looked up then: whoever is told late is told what is so by now.

use super::batch::Batch;
use super::document::{Document, decode};
use super::examinations::Examination;
use super::rejections::{Rejection, RejectionState};
use super::{Moment, Registry, RegistryError, Stored};
use crate::limits::{ANNOUNCEMENTS_PAGE_COUNT, REGISTRY_ATTEMPTS_MAX};
use crate::records::{Change, Kind};
use pacs_core::AeTitle;
use pacs_core::examination::Effect;
use pacs_core::uid::StudyUid;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A study of which others are to be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Announcement {
    study: StudyUid,
    at: Moment,
}

impl Document for Announcement {
    const KIND: Kind = Kind::new("announcement");
    const NAME: &'static str = "announcement";
}

/// A study of which an AE is to be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwedAnnouncement {
    /// Whom.
    pub to: AeTitle,
    /// Of which study.
    pub study: StudyUid,
    /// When it changed last.
    pub at: Moment,
}

impl Document for OwedAnnouncement {
    const KIND: Kind = Kind::new("announcement-owed");
    const NAME: &'static str = "owed announcement";
}

impl OwedAnnouncement {
    fn key(&self) -> String {
        format!("{}{}", prefix_of(&self.to), self.study)
    }
}

/// What the keys of an AE begin with; no title holds a backslash.
fn prefix_of(to: &AeTitle) -> String {
    format!("{to}\\")
}

/// Adds to `batch` that others are to be told of a study, because of `cause`, which happens once.
fn announce(
    batch: &mut Batch,
    study: &StudyUid,
    cause: &str,
    at: Moment,
) -> Result<(), RegistryError> {
    let announcement = Announcement {
        study: study.clone(),
        at,
    };
    batch.put(&format!("{study}/{cause}"), &announcement, None)
}

/// Adds to `batch` that others are to be told of the studies of an examination, where `effects` of
/// what happened to it say so; it `had` some before.
pub(super) fn announce_examination(
    batch: &mut Batch,
    had: &[StudyUid],
    examination: &Examination,
    effects: &[Effect],
) -> Result<(), RegistryError> {
    let is_told = [Effect::NotifyAvailable, Effect::NotifyUnavailable];
    if !effects.iter().any(|effect| is_told.contains(effect)) {
        return Ok(());
    }
    let cause = format!("{}/{}", examination.id, examination.events_count);
    let studies: BTreeSet<&StudyUid> = had.iter().chain(&examination.studies).collect();
    let mut studies = studies.into_iter();
    studies.try_for_each(|study| announce(batch, study, &cause, examination.changed_at))
}

/// Adds to `batch` that others are to be told of images that were taken out of sight, or brought
/// back.
pub(super) fn announce_turned(
    batch: &mut Batch,
    rejection: &Rejection,
) -> Result<(), RegistryError> {
    let (turned, at) = match &rejection.state {
        RejectionState::Ordered | RejectionState::Applied => ("applied", rejection.at),
        RejectionState::Restoring(turned) | RejectionState::Restored(turned) => {
            ("restored", turned.at)
        }
    };
    let cause = format!("{}/{turned}", rejection.id);
    announce(batch, &rejection.study, &cause, at)
}

/// Whether one of `changes` owes something to somebody.
pub(super) fn owes(changes: &[Change]) -> bool {
    changes
        .iter()
        .any(|change| matches!(change, Change::Put { kind, .. } if *kind == Announcement::KIND))
}

impl Registry {
    /// Waits until something is owed: for the one task that deals it out. What is said when the
    /// call is cancelled is not lost.
    pub async fn announced(&self) {
        self.inner.announced.notified().await;
    }

    /// Deals out to each of `to` what is owed since the last time; of how many studies more each of
    /// them is to be told then. `None` where nothing was owed.
    ///
    /// # Errors
    /// [`RegistryError::Damaged`], [`RegistryError::Backend`].
    pub async fn deal_announcements(
        &self,
        to: &BTreeSet<AeTitle>,
    ) -> Result<Option<BTreeMap<AeTitle, usize>>, RegistryError> {
        let mut more: Option<BTreeMap<AeTitle, usize>> = None;
        let mut attempts_left = REGISTRY_ATTEMPTS_MAX;
        loop {
            match self.deal_page(to).await {
                Ok(None) => return Ok(more),
                Ok(Some(of_page)) => {
                    let more = more.get_or_insert_default();
                    for (title, count) in of_page {
                        let all = more.entry(title).or_default();
                        *all = all.saturating_add(count);
                    }
                }
                // Somebody was told in between.
                Err(RegistryError::Changed) if attempts_left > 0 => {
                    attempts_left = attempts_left.saturating_sub(1);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Deals out some of what is owed; `None` where nothing is.
    async fn deal_page(
        &self,
        to: &BTreeSet<AeTitle>,
    ) -> Result<Option<BTreeMap<AeTitle, usize>>, RegistryError> {
        let page = self
            .records()
            .list(Announcement::KIND, "", None, ANNOUNCEMENTS_PAGE_COUNT)
            .await?;
        if page.is_empty() {
            return Ok(None);
        }
        let (mut batch, mut studies) = (Batch::default(), BTreeMap::new());
        for record in &page {
            let announcement = decode::<Announcement>(record)?.value;
            let last = studies.entry(announcement.study).or_insert(announcement.at);
            *last = announcement.at.max(*last);
            batch.unpoint(Announcement::KIND, &record.key, record.revision);
        }
        let mut more = BTreeMap::new();
        for title in to {
            let count = self.owe(&mut batch, title, &studies).await?;
            more.insert(title.clone(), count);
        }
        self.audit_trail().commit_all(batch.changes, &[]).await?;
        Ok(Some(more))
    }

    /// Adds to `batch` that `to` is to be told of these studies; of how many nothing was owed.
    async fn owe(
        &self,
        batch: &mut Batch,
        to: &AeTitle,
        studies: &BTreeMap<StudyUid, Moment>,
    ) -> Result<usize, RegistryError> {
        let mut count = 0_usize;
        for (study, at) in studies {
            let owed = OwedAnnouncement {
                to: to.clone(),
                study: study.clone(),
                at: *at,
            };
            let key = owed.key();
            let found = self.find::<OwedAnnouncement>(&key).await?;
            count = count.saturating_add(usize::from(found.is_none()));
            batch.put(&key, &owed, found.map(|found| found.revision))?;
        }
        Ok(count)
    }

    /// What `to` is to be told, by studies after `after`, up to `count_max` of them.
    ///
    /// # Errors
    /// [`RegistryError::Damaged`], [`RegistryError::Backend`].
    pub async fn owed_announcements(
        &self,
        to: &AeTitle,
        after: Option<&StudyUid>,
        count_max: usize,
    ) -> Result<Vec<Stored<OwedAnnouncement>>, RegistryError> {
        let prefix = prefix_of(to);
        let after = after.map(|study| format!("{prefix}{study}"));
        self.list(&prefix, after.as_deref(), count_max).await
    }

    /// Who is to be told something, and of how many studies.
    ///
    /// # Errors
    /// [`RegistryError::Damaged`], [`RegistryError::Backend`].
    pub async fn owed_announcement_counts(
        &self,
    ) -> Result<BTreeMap<AeTitle, usize>, RegistryError> {
        let mut counts: BTreeMap<AeTitle, usize> = BTreeMap::new();
        let mut after: Option<String> = None;
        loop {
            let page = self
                .list::<OwedAnnouncement>("", after.as_deref(), ANNOUNCEMENTS_PAGE_COUNT)
                .await?;
            let Some(last) = page.last() else {
                return Ok(counts);
            };
            after = Some(last.value.key());
            for owed in page {
                let count = counts.entry(owed.value.to).or_default();
                *count = count.saturating_add(1);
            }
        }
    }

    /// Nothing is owed any more, because it was told or is given up. `false` where it changed
    /// since: then it is owed anew.
    ///
    /// # Errors
    /// [`RegistryError::Damaged`], [`RegistryError::Backend`].
    pub async fn settle_announcement(
        &self,
        owed: &Stored<OwedAnnouncement>,
    ) -> Result<bool, RegistryError> {
        let mut batch = Batch::default();
        batch.delete(&owed.value.key(), owed);
        let settled = self.audit_trail().commit_all(batch.changes, &[]).await;
        match settled.map_err(RegistryError::from) {
            Ok(_) => Ok(true),
            Err(RegistryError::Changed) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
