//! Follows what comes, and sends it to one destination.

use super::counters::Came;
use super::desk::{Because, Desk};
use super::ledger::Content;
use super::line::Line;
use super::outgoing::Verdict;
use super::told::Told;
use super::{ForwardingError, Shared, Trouble, came_from, pause_after};
use crate::notes::facts_of;
use pacs_core::role::sight::Studied;
use pacs_store::Cursor;
use pacs_store::index::{ChangeNumber, StoredInstance};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long is waited where the archive is closed: this task is about to end.
const CLOSED_DURATION: Duration = Duration::from_secs(1);

/// How often it is shown how much waits while it is waited for a peer.
const SHOWN_EVERY: Duration = Duration::from_secs(5);

/// The sender of one destination.
#[derive(Debug)]
pub(super) struct Sender {
    shared: Arc<Shared>,
    desk: Arc<Desk>,
    cursor: Cursor,
    line: Line,
    told: Told,
    /// Attempts that failed in a row.
    failures_count: u32,
    /// What was put aside is not tried before this.
    again_not_before: Instant,
    /// On which instance it went no further of late, and how often in a row.
    stuck: Option<(Content, u32)>,
}

impl Sender {
    /// From where it was; the first time from the beginning where the destination is to confirm,
    /// and else from now on.
    pub(super) async fn open(
        shared: Arc<Shared>,
        desk: Arc<Desk>,
    ) -> Result<Self, ForwardingError> {
        let first = match desk.confirms {
            true => ChangeNumber(0),
            false => shared.archive.last_change(&shared.maintain).await?,
        };
        let name = format!("forward {}", desk.title);
        let cursor = shared.place(&name, first).await?;
        desk.sent.send_replace(cursor.position());
        let line = Line::new(desk.title.clone(), !desk.confirms);
        Ok(Self {
            shared,
            desk,
            cursor,
            line,
            told: Told::new(),
            failures_count: 0,
            again_not_before: Instant::now(),
            stuck: None,
        })
    }

    /// Sends until the task is dropped.
    pub(super) async fn run(mut self) {
        loop {
            match self.turn().await {
                Ok(()) => self.failures_count = 0,
                Err(trouble) => self.rest_after(&trouble).await,
            }
        }
    }

    async fn turn(&mut self) -> Result<(), Trouble> {
        let was_new = self.send_new().await;
        // Also where nothing new may go: there may be room again.
        let was_again = self.send_again().await?;
        let was_new = was_new?;
        let parts = &self.shared.parts;
        let told = self
            .told
            .finish(&parts.recorder, &self.desk.title, &parts.bounds);
        told.await;
        if !was_again && !was_new {
            self.idle().await?;
        }
        Ok(())
    }

    async fn rest_after(&mut self, trouble: &Trouble) {
        let bounds = self.shared.parts.bounds;
        self.failures_count = self.failures_count.saturating_add(1);
        let (first, longest) = (bounds.retry_first, bounds.retry_longest);
        let pause = pause_after(self.failures_count, first, longest);
        self.desk.counters.attempt_failed();
        tracing::warn!(
            called = %self.desk.title, why = crate::tool::failure::chain(trouble),
            again_in_s = pause.as_secs(), "instances could not be sent on"
        );
        let until = Instant::now() + pause;
        while Instant::now() < until {
            self.show().await.ok();
            let left = until.saturating_duration_since(Instant::now());
            sleep(left.min(SHOWN_EVERY)).await;
        }
    }

    /// Shows how much waits; the last change.
    async fn show(&mut self) -> Result<ChangeNumber, Trouble> {
        let shared = &self.shared;
        let last = shared.archive.last_change(&shared.maintain).await?;
        let count = last.0.saturating_sub(self.cursor.position().0);
        self.desk.counters.waiting(count);
        Ok(last)
    }

    /// Waits until there is something to do. An association on which nothing goes for a while is
    /// released.
    async fn idle(&mut self) -> Result<(), Trouble> {
        let (shared, desk) = (Arc::clone(&self.shared), Arc::clone(&self.desk));
        let bounds = shared.parts.bounds;
        let is_open = self.line.is_open();
        let longest = if is_open {
            bounds.linger
        } else {
            bounds.look_every
        };
        let not_before = self.again_not_before;
        let not_before = not_before.saturating_duration_since(Instant::now());
        let patience = desk.due_in(longest).max(not_before).min(longest);
        tokio::select! {
            changed = shared.archive.wait_for_change(&shared.maintain, self.cursor.position()) => {
                changed?;
                if self.show().await? == self.cursor.position() {
                    sleep(CLOSED_DURATION).await;
                }
            }
            () = desk.wakes_sender.notified() => {}
            () = sleep(patience) => {
                if is_open && patience == bounds.linger {
                    self.line.release().await;
                    let recorder = &shared.parts.recorder;
                    self.told.finish_now(recorder, &desk.title).await;
                }
            }
        }
        Ok(())
    }

    /// Sends what was put aside and is due; whether there was any.
    async fn send_again(&mut self) -> Result<bool, Trouble> {
        let (shared, desk) = (Arc::clone(&self.shared), Arc::clone(&self.desk));
        let due = desk.due(shared.parts.bounds.aside_at_once);
        if due.is_empty() || Instant::now() < self.again_not_before {
            return Ok(false);
        }
        let mut there = Vec::with_capacity(due.len());
        for content in due {
            let kept = shared.archive.versions(&shared.maintain, &content.instance);
            let kept = kept.await?.stored;
            match kept.into_iter().find(|stored| content.is(stored)) {
                // One that an archive sent us and now does not confirm goes back, too.
                Some(stored) if desk.confirms || self.is_to_go(&stored).await? => {
                    there.push(stored);
                }
                // It was erased, or taken out of sight.
                Some(_) | None => desk.drop_aside(&content).await?,
            }
        }
        let (settled_count, sent) = self.send(&there).await;
        if sent.is_err() && settled_count > 0 {
            // The peer is there, and did not take one of these: no reason to keep others waiting.
            let pause = shared.parts.bounds.retry_longest;
            self.again_not_before = Instant::now() + pause;
            return Ok(true);
        }
        sent?;
        Ok(true)
    }

    /// Sends what came; whether anything did.
    async fn send_new(&mut self) -> Result<bool, Trouble> {
        let (shared, desk) = (Arc::clone(&self.shared), Arc::clone(&self.desk));
        let bounds = shared.parts.bounds;
        let after = self.cursor.position();
        let last = self.show().await?;
        let came = shared
            .archive
            .arrivals(&shared.maintain, after, bounds.page_count);
        let came = came.await?;
        let is_all = came.len() < bounds.page_count;
        let through = came.last().map_or(after, |(number, _)| *number);
        // Hides and restores count too, and are no arrivals.
        let through = if is_all { through.max(last) } else { through };
        if through == after {
            return Ok(false);
        }
        if !desk.has_room(&bounds) {
            let why = "too many instances are put aside";
            return Err(Trouble::Peer(why.to_owned()));
        }
        let mut skipped_count = 0_usize;
        let (mut numbers, mut to_go) = (Vec::new(), Vec::new());
        for (number, stored) in came {
            if self.is_to_go(&stored).await? {
                numbers.push(number);
                to_go.push(stored);
            } else {
                skipped_count = skipped_count.saturating_add(1);
            }
        }
        let (settled_count, sent) = self.send(&to_go).await;
        let through = match numbers.get(settled_count) {
            Some(first_left) => ChangeNumber(first_left.0.saturating_sub(1)),
            None => {
                (0..skipped_count).for_each(|_| desk.counters.came(Came::Skipped));
                through
            }
        };
        if through > after {
            self.cursor.advance(through).await?;
            desk.sent.send_replace(through);
            desk.wakes_asker.notify_one();
            self.show().await?;
        }
        sent?;
        Ok(true)
    }

    /// Whether an instance goes there: not to whom it came from. An archive that is to confirm gets
    /// every version, also what is out of sight, so that it has what devices are told is safe. A
    /// workstation gets what is in sight here, and of that what it sees.
    async fn is_to_go(&mut self, stored: &StoredInstance) -> Result<bool, Trouble> {
        if came_from(stored, &self.desk.title) {
            return Ok(false);
        }
        if self.desk.confirms {
            return Ok(true);
        }
        let (archive, maintain) = (&self.shared.archive, &self.shared.maintain);
        let kept = archive.versions(maintain, &stored.instance.instance);
        let kept = kept.await?;
        let served = kept.stored.first();
        let is_served = served.is_some_and(|served| served.digest == stored.digest);
        Ok(!kept.is_hidden && is_served && self.is_seen(stored).await?)
    }

    /// Whether the destination sees the study of an instance, as far as it is known whose it is.
    async fn is_seen(&mut self, stored: &StoredInstance) -> Result<bool, Trouble> {
        let shared = &self.shared;
        let sight = shared.parts.access.sight_of(&self.desk.title);
        if !sight.is_narrowed() {
            return Ok(true);
        }
        let (registry, study) = (shared.archive.registry(), &stored.instance.study);
        let known = registry.known_study(&shared.licence, study).await?;
        let facts = known.as_ref().and_then(facts_of);
        // Devices are of no kinds alone, so that what images of a study are does not count.
        let kinds = BTreeSet::new();
        Ok(sight.sees(match &facts {
            Some(facts) => Studied::Known(facts, &kinds),
            None => Studied::Unknown(&stored.provenance.calling, &kinds),
        }))
    }

    /// Sends `instances` in their order; how many of the first are settled, and why not more.
    async fn send(&mut self, instances: &[StoredInstance]) -> (usize, Result<(), Trouble>) {
        let mut settled_count = 0;
        while settled_count < instances.len() {
            let rest = instances.get(settled_count..).unwrap_or_default();
            let (more, sent) = match self.send_over_one(rest).await {
                Ok(sent) => sent,
                Err(trouble) => return (settled_count, Err(trouble)),
            };
            settled_count = settled_count.saturating_add(more);
            if let Err(trouble) = sent {
                return (settled_count, Err(trouble));
            }
        }
        (settled_count, Ok(()))
    }

    /// Sends over one association: how many of the first are settled. One that was left over from
    /// earlier may have ended meanwhile, which says nothing; then there are none.
    async fn send_over_one(
        &mut self,
        instances: &[StoredInstance],
    ) -> Result<(usize, Result<(), Trouble>), Trouble> {
        let shared = Arc::clone(&self.shared);
        let is_new = self.line.ready(&shared, instances).await?;
        let told = self
            .told
            .begin(&shared.parts.recorder, &self.desk.title, instances);
        told.await?;
        let verdicts = self.line.store(&shared, instances).await;
        let mut settled_count = 0_usize;
        let is_empty = verdicts.is_empty();
        for (stored, verdict) in instances.iter().zip(verdicts) {
            let ended = match &verdict {
                Verdict::Ended(_) if !is_new => return Ok((settled_count, Ok(()))),
                Verdict::Ended(why) | Verdict::NoRoom(why) => Some(why.clone()),
                Verdict::Again(_) | Verdict::Refused(_) | Verdict::Taken => None,
            };
            if self.settle(stored, verdict).await? {
                settled_count = settled_count.saturating_add(1);
            }
            if let Some(why) = ended {
                return Ok((settled_count, Err(Trouble::Peer(why))));
            }
        }
        if is_empty {
            let why = "the association ended".to_owned();
            return Ok((settled_count, Err(Trouble::Peer(why))));
        }
        Ok((settled_count, Ok(())))
    }

    /// Writes down what came of an instance; whether that is settled, so that it need not be sent
    /// in its turn again.
    async fn settle(&mut self, stored: &StoredInstance, verdict: Verdict) -> Result<bool, Trouble> {
        let desk = Arc::clone(&self.desk);
        let bounds = self.shared.parts.bounds;
        let content = Content::of(stored);
        let aside = match verdict {
            Verdict::Taken => {
                self.stuck = None;
                self.told.sent(stored);
                desk.counters.came(Came::Sent);
                desk.taken(&content).await?;
                return Ok(true);
            }
            Verdict::Again(why) => (Because::NotTaken, why),
            Verdict::Refused(why) => (Because::Refused, why),
            Verdict::Ended(why) | Verdict::NoRoom(why) => {
                if !desk.is_aside(&content) && !self.is_stuck(&content) {
                    return Ok(false);
                }
                (Because::NotNow, why)
            }
        };
        desk.put_aside(&content, aside, &bounds).await?;
        Ok(true)
    }

    /// It went no further than `content`: whether that has happened too often.
    fn is_stuck(&mut self, content: &Content) -> bool {
        let count = match self.stuck.take() {
            Some((on, count)) if on == *content => count.saturating_add(1),
            Some(_) | None => 1,
        };
        if count >= self.shared.parts.bounds.stuck_count_max {
            return true;
        }
        self.stuck = Some((content.clone(), count));
        false
    }
}
