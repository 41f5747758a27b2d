//! Follows the sender of a destination that is to confirm: asks for storage commitment of what was
//! sent, and writes down what the reports say.
//!
//! The asker's place moves past an instance once that is confirmed or put aside. What is put aside
//! is asked about when it was sent again; what a device waits for and was forgotten, apart.

use super::came_from;
use super::desk::{Because, Desk, now_unix_ms};
use super::ledger::Content;
use super::reports::{Reported, Reports};
use super::{ForwardingError, Shared, Trouble, pause_after};
use pacs_core::uid::TransactionUid;
use pacs_store::Cursor;
use pacs_store::index::ChangeNumber;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

/// A request whose report is waited for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) transaction: TransactionUid,
    /// Where the asker is once the report came.
    pub(super) through: ChangeNumber,
    pub(super) until: Instant,
}

/// What is to be asked about next.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) contents: BTreeSet<Content>,
    pub(super) through: ChangeNumber,
}

/// The asker of one destination.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) shared: Arc<Shared>,
    pub(super) desk: Arc<Desk>,
    pub(super) reports: Arc<Reports>,
    comes: mpsc::Receiver<Reported>,
    /// Reports that came and are not written down.
    unwritten: VecDeque<Reported>,
    pub(super) asked: Option<Asked>,
    cursor: Cursor,
    /// What is before it was confirmed so long ago that the note of that is gone.
    swept: Cursor,
    swept_at: Option<Instant>,
    /// Attempts that failed in a row.
    failures_count: u32,
}

impl Asker {
    /// From where it was, the first time from the beginning. Reports come by `comes`.
    pub(super) async fn open(
        shared: Arc<Shared>,
        desk: Arc<Desk>,
        (reports, comes): (Arc<Reports>, mpsc::Receiver<Reported>),
    ) -> Result<Self, ForwardingError> {
        let first = ChangeNumber(0);
        let name = |what: &str| format!("{what} {}", desk.title);
        let cursor = shared.place(&name("forward-confirmed"), first).await?;
        let swept = shared.place(&name("forward-swept"), first).await?;
        desk.decided.send_replace(cursor.position());
        Ok(Self {
            cursor,
            swept,
            shared,
            desk,
            reports,
            comes,
            unwritten: VecDeque::new(),
            asked: None,
            swept_at: None,
            failures_count: 0,
        })
    }

    /// Asks until the task is dropped.
    pub(super) async fn run(mut self) {
        let bounds = self.shared.parts.bounds;
        loop {
            let (pause, has_failed) = match self.turn().await {
                Ok(pause) => {
                    self.failures_count = 0;
                    (pause, false)
                }
                Err(trouble) => (self.pause_after(&trouble), true),
            };
            // After a failure only a report is a reason to look before its time.
            let desk = Arc::clone(&self.desk);
            let news = async {
                if has_failed {
                    std::future::pending::<()>().await;
                }
                desk.wakes_asker.notified().await;
                // What is sent in one go is asked about in one go.
                sleep(bounds.gathered_for).await;
            };
            tokio::select! {
                Some(reported) = self.comes.recv() => self.unwritten.push_back(reported),
                () = news => {}
                () = sleep(pause) => {}
            }
        }
    }

    fn pause_after(&mut self, trouble: &Trouble) -> Duration {
        let bounds = self.shared.parts.bounds;
        self.failures_count = self.failures_count.saturating_add(1);
        let (first, longest) = (bounds.retry_first, bounds.retry_longest);
        let pause = pause_after(self.failures_count, first, longest);
        self.desk.counters.attempt_failed();
        tracing::warn!(
            called = %self.desk.title, why = crate::tool::failure::chain(trouble),
            again_in_s = pause.as_secs(), "what was sent on could not be confirmed"
        );
        pause
    }

    /// Does what there is to do; how long there is nothing, unless somebody says so.
    async fn turn(&mut self) -> Result<Duration, Trouble> {
        let bounds = self.shared.parts.bounds;
        self.write_down().await?;
        self.sweep().await?;
        if let Some(asked) = &self.asked {
            let left = asked.until.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                return Ok(left.min(bounds.look_every));
            }
            tracing::warn!(
                called = %self.desk.title, transaction = %asked.transaction,
                "a report about what was sent on did not come; it is asked for anew"
            );
            self.asked = None;
        }
        let batch = self.gather().await?;
        if batch.contents.is_empty() {
            self.advance(batch.through).await?;
            return Ok(bounds.look_every);
        }
        self.ask(batch).await?;
        Ok(Duration::ZERO)
    }

    async fn advance(&mut self, through: ChangeNumber) -> Result<(), Trouble> {
        if through > self.cursor.position() {
            self.cursor.advance(through).await?;
            self.desk.decided.send_replace(through);
        }
        let sent = *self.desk.sent.borrow();
        let count = sent.0.saturating_sub(self.cursor.position().0);
        self.desk.counters.unconfirmed(count);
        Ok(())
    }

    /// What was sent and not asked about yet, as much as fits a request.
    async fn gather(&self) -> Result<Batch, Trouble> {
        let (shared, desk) = (&self.shared, &self.desk);
        let bounds = shared.parts.bounds;
        let sent = *desk.sent.borrow();
        let mut batch = Batch {
            contents: BTreeSet::new(),
            through: self.cursor.position(),
        };
        // What fails is put aside: where there is no room for that, no more is asked about.
        let may_go_on = desk.has_room(&bounds);
        while may_go_on && batch.through < sent && batch.contents.len() < bounds.asked_max {
            let left = bounds.asked_max.saturating_sub(batch.contents.len());
            let came = shared
                .archive
                .arrivals(&shared.maintain, batch.through, left);
            let came = came.await?;
            let is_past = came.last().is_some_and(|(number, _)| *number > sent);
            let is_all = came.len() < left || is_past;
            for (number, stored) in came.into_iter().filter(|(number, _)| *number <= sent) {
                batch.through = number;
                let content = Content::of(&stored);
                let is_due = !came_from(&stored, &desk.title)
                    && !desk.is_aside(&content)
                    && !desk.is_confirmed(&content).await?;
                if is_due {
                    batch.contents.insert(content);
                }
            }
            if is_all {
                batch.through = sent;
            }
        }
        let wanted = desk.wanted_before(self.cursor.position(), bounds.asked_max);
        let others = desk.sent_again(bounds.asked_max).into_iter().chain(wanted);
        let room = bounds.asked_max.saturating_sub(batch.contents.len());
        batch.contents.extend(others.take(room));
        Ok(batch)
    }

    /// Writes down what the reports say that came.
    async fn write_down(&mut self) -> Result<(), Trouble> {
        while let Ok(reported) = self.comes.try_recv() {
            self.unwritten.push_back(reported);
        }
        while let Some(reported) = self.unwritten.front() {
            let is_awaited = |asked: &Asked| asked.transaction == reported.transaction;
            let is_awaited = self.asked.as_ref().is_some_and(is_awaited);
            self.write(reported).await?;
            self.unwritten.pop_front();
            if let Some(asked) = self.asked.take_if(|_| is_awaited) {
                self.advance(asked.through).await?;
            }
        }
        Ok(())
    }

    async fn write(&self, reported: &Reported) -> Result<(), Trouble> {
        let desk = &self.desk;
        tracing::info!(
            called = %desk.title, transaction = %reported.transaction,
            confirmed = reported.committed.len(), failed = reported.failed.len(),
            "a destination has reported on what was sent on"
        );
        desk.confirm(&reported.committed).await?;
        for (content, reason) in &reported.failed {
            // Another report may have said so meanwhile.
            if desk.is_confirmed(content).await? {
                continue;
            }
            let why = match reason {
                Some(reason) => format!("not confirmed: {reason}"),
                None => "not confirmed: the report does not name it".to_owned(),
            };
            let why = (Because::NotTaken, why);
            desk.put_aside(content, why, &self.shared.parts.bounds)
                .await?;
        }
        Ok(())
    }

    /// Forgets what was confirmed so long ago that hardly anybody asks any more.
    async fn sweep(&mut self) -> Result<(), Trouble> {
        let (shared, bounds) = (Arc::clone(&self.shared), self.shared.parts.bounds);
        let every = bounds.swept_every;
        if self.swept_at.is_some_and(|at| at.elapsed() < every) {
            return Ok(());
        }
        let noted_for = u64::try_from(bounds.noted_for.as_millis()).unwrap_or(u64::MAX);
        let before = now_unix_ms().saturating_sub(noted_for);
        loop {
            let after = self.swept.position();
            let came = shared
                .archive
                .arrivals(&shared.maintain, after, bounds.asked_max);
            let decided = self.cursor.position();
            let came = came.await?.into_iter();
            let old = came.take_while(|(number, stored)| {
                *number <= decided && stored.provenance.received_unix_ms < before
            });
            let (mut through, mut contents) = (after, Vec::new());
            for (number, stored) in old {
                through = number;
                contents.push(Content::of(&stored));
            }
            if through == after {
                self.swept_at = Some(Instant::now());
                return Ok(());
            }
            self.desk.forget(&contents).await?;
            self.swept.advance(through).await?;
        }
    }
}
