//! What sender and asker of one destination, and whoever waits for a confirmation, know in common.

use super::counters::{Came, CountersOf};
use super::ledger::{Aside, Content, Ledger, State};
use super::pause_after;
use crate::config::Forward;
use crate::limits::ForwardingBounds;
use pacs_core::AeTitle;
use pacs_store::index::ChangeNumber;
use pacs_store::records::{Records, RecordsError, Revision};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{Notify, watch};

/// Contents of one batch of notes; each may be two changes.
const NOTED_AT_ONCE: usize = 400;

/// Why an instance is put aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Because {
    /// The destination did not take it or confirm it: that happens so often and no oftener.
    NotTaken,
    /// The destination has no room, or the line broke: that says nothing of the instance.
    NotNow,
    /// The destination does not want it.
    Refused,
}

/// How a content stands at a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stands {
    Confirmed,
    Failed,
    Waiting,
}

#[derive(Debug, Clone)]
struct Entry {
    aside: Aside,
    revision: Revision,
}

/// The desk of one destination.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) title: AeTitle,
    pub(super) confirms: bool,
    pub(super) counters: CountersOf,
    ledger: Ledger,
    asides: Mutex<BTreeMap<Content, Entry>>,
    /// What devices wait for, and up to where the asker must have come before it is asked about
    /// apart.
    wanted: Mutex<BTreeMap<Content, ChangeNumber>>,
    /// The sender's place: what is before it was taken, put aside, or is not to be sent.
    pub(super) sent: watch::Sender<ChangeNumber>,
    /// The asker's place: what is before it was confirmed or put aside once.
    pub(super) decided: watch::Sender<ChangeNumber>,
    /// Goes up when something was confirmed, or failed, at any destination.
    progress: Arc<watch::Sender<u64>>,
    pub(super) wakes_sender: Notify,
    pub(super) wakes_asker: Notify,
}

pub(super) fn now_unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

impl Desk {
    /// With what is put aside. What had failed is tried again from now on.
    pub(super) async fn open(
        forward: &Forward,
        records: Arc<dyn Records>,
        (counters, progress): (CountersOf, Arc<watch::Sender<u64>>),
    ) -> Result<Self, RecordsError> {
        let ledger = Ledger::new(records, &forward.to);
        let mut asides = BTreeMap::new();
        for (mut aside, revision) in ledger.asides().await? {
            if aside.state == State::Failed {
                aside = Aside::new(&aside.content(), State::Again);
            }
            asides.insert(aside.content(), Entry { aside, revision });
        }
        let desk = Self {
            title: forward.to.clone(),
            confirms: forward.confirm,
            counters,
            ledger,
            asides: Mutex::new(asides),
            wanted: Mutex::default(),
            sent: watch::Sender::new(ChangeNumber(0)),
            decided: watch::Sender::new(ChangeNumber(0)),
            progress,
            wakes_sender: Notify::new(),
            wakes_asker: Notify::new(),
        };
        desk.show();
        Ok(desk)
    }

    fn asides(&self) -> MutexGuard<'_, BTreeMap<Content, Entry>> {
        self.asides.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wanted(&self) -> MutexGuard<'_, BTreeMap<Content, ChangeNumber>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self) {
        let asides = self.asides();
        let failed = asides.values();
        let failed = failed.filter(|entry| entry.aside.state == State::Failed);
        let failed_count = failed.count();
        let others_count = asides.len().saturating_sub(failed_count);
        self.counters.aside(others_count, failed_count);
    }

    /// Something was confirmed, or failed: whoever waits looks again.
    fn tell(&self) {
        self.show();
        self.progress
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Whether one more may be put aside.
    pub(super) fn has_room(&self, bounds: &ForwardingBounds) -> bool {
        self.asides().len() < bounds.aside_max
    }

    pub(super) fn is_aside(&self, content: &Content) -> bool {
        self.asides().contains_key(content)
    }

    /// Puts an instance aside, durably, or once more.
    pub(super) async fn put_aside(
        &self,
        content: &Content,
        (because, why): (Because, String),
        bounds: &ForwardingBounds,
    ) -> Result<(), RecordsError> {
        let known = self.asides().get(content).cloned();
        let revision = known.as_ref().map(|entry| entry.revision);
        let aside = known.map(|entry| entry.aside);
        let mut aside = aside.unwrap_or_else(|| Aside::new(content, State::Again));
        aside.attempts_count = aside.attempts_count.saturating_add(1);
        if because == Because::NotTaken {
            aside.count = aside.count.saturating_add(1);
        }
        let is_over = aside.count >= bounds.again_count_max;
        aside.state = match because {
            Because::Refused => State::Failed,
            Because::NotTaken if is_over => State::Failed,
            Because::NotNow | Because::NotTaken => State::Again,
        };
        let (first, longest) = (bounds.again_first, bounds.again_longest);
        let pause = pause_after(aside.attempts_count, first, longest);
        let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        aside.again_unix_ms = now_unix_ms().saturating_add(pause_ms);
        aside.why = why;
        if aside.state == State::Failed {
            return self.give_up(aside, revision).await;
        }
        tracing::warn!(
            called = %self.title, instance = %content.instance, why = aside.why,
            again_in_s = pause.as_secs(), "an instance to be sent on was put aside"
        );
        self.counters.came(Came::Aside);
        self.put(aside, revision).await?;
        self.wakes_sender.notify_one();
        Ok(())
    }

    /// An instance is not tried any more. Where the destination is to confirm it, that is kept for
    /// whoever asks, and for the next start.
    async fn give_up(&self, aside: Aside, expected: Option<Revision>) -> Result<(), RecordsError> {
        let (instance, why) = (aside.instance.clone(), aside.why.clone());
        self.counters.came(Came::Failed);
        if !self.confirms {
            tracing::warn!(
                called = %self.title, %instance, why, "an instance was not sent on: it is not taken"
            );
            return self.drop_aside(&aside.content()).await;
        }
        tracing::error!(
            called = %self.title, %instance, why,
            "ALARM: an instance could not be sent on, and is not tried again in this run"
        );
        self.put(aside, expected).await?;
        self.tell();
        Ok(())
    }

    async fn put(&self, aside: Aside, expected: Option<Revision>) -> Result<(), RecordsError> {
        let revision = self.ledger.put(&aside, expected).await?;
        let content = aside.content();
        self.wanted().remove(&content);
        self.asides().insert(content, Entry { aside, revision });
        self.show();
        Ok(())
    }

    /// What was put aside was taken: it is to be confirmed, or done with.
    pub(super) async fn taken(&self, content: &Content) -> Result<(), RecordsError> {
        let Some(Entry {
            mut aside,
            revision,
        }) = self.asides().get(content).cloned()
        else {
            return Ok(());
        };
        if !self.confirms {
            return self.drop_aside(content).await;
        }
        aside.state = State::Sent;
        self.put(aside, Some(revision)).await?;
        self.wakes_asker.notify_one();
        Ok(())
    }

    /// What was put aside is gone from the archive, or done with.
    pub(super) async fn drop_aside(&self, content: &Content) -> Result<(), RecordsError> {
        let revision = self.asides().get(content).map(|entry| entry.revision);
        if let Some(revision) = revision {
            self.ledger.take_away(content, revision).await?;
            self.asides().remove(content);
            self.show();
        }
        Ok(())
    }

    /// What was put aside and is to be sent now.
    pub(super) fn due(&self, count_max: usize) -> Vec<Content> {
        let now = now_unix_ms();
        let asides = self.asides();
        let due = asides.iter().filter(|(_, entry)| {
            entry.aside.state == State::Again && entry.aside.again_unix_ms <= now
        });
        due.take(count_max)
            .map(|(content, _)| content.clone())
            .collect()
    }

    /// How long until something that was put aside is to be sent; at most `longest`.
    pub(super) fn due_in(&self, longest: Duration) -> Duration {
        let asides = self.asides();
        let again = asides
            .values()
            .filter(|entry| entry.aside.state == State::Again);
        let first = again.map(|entry| entry.aside.again_unix_ms).min();
        let left = first.map(|at| Duration::from_millis(at.saturating_sub(now_unix_ms())));
        left.map_or(longest, |left| left.min(longest))
    }

    /// What was put aside, was sent again, and is to be confirmed.
    pub(super) fn sent_again(&self, count_max: usize) -> Vec<Content> {
        let asides = self.asides();
        let sent = asides
            .iter()
            .filter(|(_, entry)| entry.aside.state == State::Sent);
        sent.take(count_max)
            .map(|(content, _)| content.clone())
            .collect()
    }

    /// Writes down what the destination has confirmed.
    pub(super) async fn confirm(&self, contents: &[Content]) -> Result<(), RecordsError> {
        for some in contents.chunks(NOTED_AT_ONCE) {
            let with_asides = some.iter().map(|content| {
                let revision = self.asides().get(content).map(|entry| entry.revision);
                (content.clone(), revision)
            });
            let with_asides: Vec<_> = with_asides.collect();
            self.ledger.confirm(&with_asides, now_unix_ms()).await?;
            for content in some {
                self.asides().remove(content);
                self.wanted().remove(content);
                self.counters.came(Came::Confirmed);
            }
            self.tell();
        }
        Ok(())
    }

    pub(super) async fn is_confirmed(&self, content: &Content) -> Result<bool, RecordsError> {
        self.ledger.is_confirmed(content).await
    }

    pub(super) async fn forget(&self, contents: &[Content]) -> Result<(), RecordsError> {
        for some in contents.chunks(NOTED_AT_ONCE) {
            self.ledger.forget(some).await?;
        }
        Ok(())
    }

    /// How a content stands; what nobody will ask about by itself is asked about once the asker
    /// is past `last`.
    pub(super) async fn stands(
        &self,
        content: &Content,
        last: ChangeNumber,
        bounds: &ForwardingBounds,
    ) -> Result<Stands, RecordsError> {
        if self.is_confirmed(content).await? {
            return Ok(Stands::Confirmed);
        }
        let state = self.asides().get(content).map(|entry| entry.aside.state);
        match state {
            Some(State::Failed) => return Ok(Stands::Failed),
            Some(State::Again | State::Sent) => {}
            None => self.want(content, last, bounds),
        }
        Ok(Stands::Waiting)
    }

    fn want(&self, content: &Content, last: ChangeNumber, bounds: &ForwardingBounds) {
        let mut wanted = self.wanted();
        if wanted.len() < bounds.wanted_max && !wanted.contains_key(content) {
            wanted.insert(content.clone(), last);
            self.wakes_asker.notify_one();
        }
    }

    /// What devices wait for and the asker is past already.
    pub(super) fn wanted_before(&self, decided: ChangeNumber, count_max: usize) -> Vec<Content> {
        let wanted = self.wanted();
        let past = wanted.iter().filter(|(_, last)| **last <= decided);
        past.take(count_max)
            .map(|(content, _)| content.clone())
            .collect()
    }
}
