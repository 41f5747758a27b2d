//! The one place that writes: what waits goes into the log as one group, which is then finished:
//! made durable with one sync, visible and answered (`finish.rs`).
//!
//! What comes in meanwhile waits and is the next group: the slower the disk, the larger the groups.
//! A thread takes what waits; whoever finds nothing waiting and nobody writing may commit on its
//! own thread instead ([`Desk::commit_here`]).

use super::Clock;
use super::damage::FoundDamage;
use super::finish::{End, Finisher, Showing, Tools, Written, index_refusal};
use super::group::{Group, Refusal};
use super::room::Reserve;
use crate::deposit::Receipt;
use crate::directory::DataDirectory;
use crate::error::{DepositError, EraseError, HideError, MaintainError};
use crate::fail_point::FailPoints;
use crate::index::{
    Digest, Index, IndexError, Location, LogPosition, LogRecord, Provenance, Quota, Target,
};
use crate::limits::StoreLimits;
use crate::pack::large::LargePack;
use crate::pack::log::Log;
use crate::pack::read::PackFiles;
use crate::rebuild::{self, Progress, RebuildError};
use bytes::Bytes;
use pacs_core::Instance;
use pacs_core::uid::StudyUid;
use std::io;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use tokio::task::block_in_place;

pub(super) type DepositReply = oneshot::Sender<Result<Receipt, DepositError>>;
pub(super) type EraseReply = oneshot::Sender<Result<u64, EraseError>>;
pub(super) type TurnReply = oneshot::Sender<Result<u64, HideError>>;

/// What waits for the thread.
pub(crate) enum Work {
    Close {
        reply: oneshot::Sender<()>,
    },
    Deposit(Box<Sealed>),
    Erase {
        study: StudyUid,
        provenance: Provenance,
        reply: EraseReply,
    },
    /// Nothing but a reason to look at the time again.
    Look,
    Rebuild {
        progress: Box<dyn FnMut(Progress) + Send>,
        reply: oneshot::Sender<Result<Progress, MaintainError>>,
    },
    Turn {
        record: Box<LogRecord>,
        provenance: Provenance,
        reply: TurnReply,
    },
}

/// A deposit that is complete.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) instance: Instance,
    pub(crate) digest: Digest,
    pub(crate) provenance: Provenance,
    pub(crate) content: Content,
    pub(crate) reply: DepositReply,
}

/// Where the bytes of a deposit are.
#[derive(Debug)]
pub(crate) enum Content {
    /// In memory, with the permit for it.
    Held {
        fragments: Vec<Bytes>,
        permit: Option<OwnedSemaphorePermit>,
    },
    /// In a pack of its own, durable.
    Large(LargePack),
}

impl Work {
    fn bytes(&self) -> u64 {
        match self {
            Self::Deposit(sealed) => match &sealed.content {
                Content::Held { fragments, .. } => fragments.iter().map(|f| f.len() as u64).sum(),
                Content::Large(_) => 0,
            },
            Self::Close { .. }
            | Self::Erase { .. }
            | Self::Look
            | Self::Rebuild { .. }
            | Self::Turn { .. } => 0,
        }
    }
}

pub(super) type Queue = mpsc::Receiver<(Work, Option<OwnedSemaphorePermit>)>;

/// Nobody knows any more what is durable or what the index holds.
pub(super) struct Failed;

/// What a [`Committer`] is made of.
pub(super) struct Parts {
    pub(super) log: Log,
    pub(super) files: Arc<PackFiles>,
    pub(super) index: Arc<dyn Index>,
    pub(super) limits: Arc<StoreLimits>,
    pub(super) fail_points: FailPoints,
    pub(super) reserve: Arc<Reserve>,
    pub(super) damage: FoundDamage,
    pub(super) clock: Clock,
    pub(super) runtime: Handle,
    pub(super) visible: watch::Sender<LogPosition>,
    pub(super) failed: watch::Sender<bool>,
    /// Keeps the lock as long as anything may be written.
    pub(super) directory: DataDirectory,
}

struct Committer {
    parts: Parts,
    finisher: Finisher,
    /// What was taken out of the queue too early, with its place there.
    next: Option<(Work, Option<OwnedSemaphorePermit>)>,
    /// When the index was last as durable as it is visible, if it is not now.
    dirty_since: Option<Instant>,
}

/// Where the committer is to be found: nowhere once the archive is closed.
#[derive(Clone)]
pub(super) struct Desk {
    committer: Arc<Mutex<Option<Committer>>>,
    failed: watch::Sender<bool>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Desk")
    }
}

impl Desk {
    /// Starts the thread that commits what comes through `queue`.
    pub(super) fn open(parts: Parts, queue: Queue) -> io::Result<(Self, JoinHandle<()>)> {
        let tools = Tools {
            index: Arc::clone(&parts.index),
            runtime: parts.runtime.clone(),
            fail_points: parts.fail_points.clone(),
            visible: parts.visible.clone(),
            failed: parts.failed.clone(),
        };
        let finisher = Finisher::start(
            tools,
            parts.log.position(),
            parts.limits.finished_beside_count_max,
        )?;
        let desk = Self {
            failed: parts.failed.clone(),
            committer: Arc::new(Mutex::new(Some(Committer {
                parts,
                finisher,
                next: None,
                dirty_since: None,
            }))),
        };
        let own = desk.clone();
        let thread = std::thread::Builder::new()
            .name("pacs-commit".to_owned())
            .spawn(move || {
                let mut end = End::new(&own.failed);
                end.is_orderly = own.run(&queue).is_ok();
                // It holds the lock of the directory, which is free when anybody hears of the end.
                own.leave();
                drop(end);
                // What still waits is dropped with the queue, and so told that the archive is
                // closed.
            })?;
        Ok((desk, thread))
    }

    /// Whoever panicked while writing has left nothing that can be relied on.
    fn lock(&self) -> Result<MutexGuard<'_, Option<Committer>>, Failed> {
        self.committer.lock().map_err(|_| Failed)
    }

    /// Commits `work` on the thread of the caller, which blocks; gives it back where somebody else
    /// is writing, or where the runtime has no other thread. Where it was done, the thread of the
    /// archive may have to be told to [look](Work::Look) at the time: then the result is `true`.
    ///
    /// That saves waking two threads one after the other, which for a small instance takes as long
    /// as its sync.
    pub(super) fn commit_here(&self, work: Work) -> Result<bool, Work> {
        if Handle::current().runtime_flavor() != RuntimeFlavor::MultiThread {
            return Err(work);
        }
        let mut held = match self.committer.try_lock() {
            Ok(held) => held,
            Err(TryLockError::Poisoned(_) | TryLockError::WouldBlock) => return Err(work),
        };
        let Some(committer) = held.as_mut() else {
            return Err(work);
        };
        if !committer.is_at_rest() {
            return Err(work);
        }
        let was_dirty = committer.dirty_since.is_some();
        let mut end = End::new(&self.failed);
        end.is_orderly = block_in_place(|| committer.take(work, None, &mut Vec::new())).is_ok();
        if !end.is_orderly {
            *held = None;
        }
        Ok(!was_dirty || !end.is_orderly)
    }

    /// Gives up what an orderly end has closed already.
    fn leave(&self) {
        let held = self.committer.lock();
        drop(held.unwrap_or_else(PoisonError::into_inner).take());
    }

    fn run(&self, queue: &Queue) -> Result<(), Failed> {
        let mut closing = Vec::new();
        while closing.is_empty() {
            let (next, wait) = match self.lock()?.as_mut() {
                Some(committer) => (committer.next.take(), committer.time_to_flush()),
                None => (None, None),
            };
            let first = match (next, wait) {
                (Some(next), _) => Ok(next),
                (None, None) => queue.recv().map_err(RecvTimeoutError::from),
                (None, Some(wait)) => queue.recv_timeout(wait),
            };
            let mut held = self.lock()?;
            let Some(committer) = held.as_mut() else {
                return Ok(());
            };
            match first {
                Ok((work, place)) => {
                    drop(place);
                    committer.take(work, Some(queue), &mut closing)?;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if committer.time_to_flush() == Some(Duration::ZERO) {
                committer.flush()?;
            }
        }
        let committer = self.lock()?.take();
        committer.map_or(Ok(()), |committer| committer.close(closing))
    }
}

impl Committer {
    /// How long until the index is to be made durable, where it is not.
    fn time_to_flush(&self) -> Option<Duration> {
        let since = self.dirty_since?;
        Some(
            self.parts
                .limits
                .flush_interval
                .saturating_sub(since.elapsed()),
        )
    }

    /// Whether nothing is being finished or waits to be written.
    fn is_at_rest(&mut self) -> bool {
        self.next.is_none() && self.finisher.hear().is_ok() && !self.finisher.is_busy()
    }

    fn close(mut self, closing: Vec<oneshot::Sender<()>>) -> Result<(), Failed> {
        self.flush()?;
        // It holds the lock of the directory, too.
        drop(self.finisher);
        let result = self.parts.log.close();
        drop(self.parts.directory);
        if let Err(error) = result {
            // All that was answered is durable; the next to open finds the end as after a crash.
            tracing::warn!(%error, "the log could not be closed well");
        }
        for reply in closing {
            reply.send(()).ok();
        }
        Ok(())
    }

    /// Does `first`, and what waits with it in `queue`.
    fn take(
        &mut self,
        first: Work,
        queue: Option<&Queue>,
        closing: &mut Vec<oneshot::Sender<()>>,
    ) -> Result<(), Failed> {
        if *self.parts.failed.borrow() {
            // Somewhere else: a large pack could not be synced.
            return Err(Failed);
        }
        let mut works = Vec::new();
        let mut bytes = 0_u64;
        let mut next = Some(first);
        let (mut rebuild, mut erase) = (None, None);
        while let Some(work) = next.take() {
            bytes = bytes.saturating_add(work.bytes());
            match work {
                Work::Close { reply } => closing.push(reply),
                Work::Erase {
                    study,
                    provenance,
                    reply,
                } => erase = Some((study, provenance, reply)),
                Work::Rebuild { progress, reply } => rebuild = Some((progress, reply)),
                Work::Deposit(_) | Work::Turn { .. } => works.push(work),
                Work::Look => {}
            }
            let is_full = works.len() >= self.parts.limits.group_count_max
                || bytes >= self.parts.limits.group_bytes_max;
            if is_full || rebuild.is_some() || erase.is_some() || !closing.is_empty() {
                break;
            }
            let waiting = queue.and_then(|queue| queue.try_recv().ok());
            next = waiting.map(|(work, _place)| work);
        }
        self.commit(works, queue)?;
        if let Some((study, provenance, reply)) = erase {
            self.erase(&study, &provenance, reply, queue)?;
        }
        if self.parts.log.is_full() {
            // An entry in the next pack proves that all of this one is durable.
            self.finisher.wait()?;
        }
        let zeros_bytes_max = self.parts.limits.pack_bytes.saturating_mul(2);
        let turned = self
            .parts
            .log
            .turn(self.parts.reserve.has_room_for(zeros_bytes_max));
        if let Err(error) = turned {
            tracing::error!(%error, "it is not known whether the next pack has a durable name");
            return Err(Failed);
        }
        if let Some((progress, reply)) = rebuild {
            self.finisher.wait()?;
            let result = self.rebuild(progress);
            // Deposits that the index does not know any more would be kept again as new.
            let is_failed = matches!(result, Err(RebuildError::Incomplete(_)));
            if let Err(error) = &result {
                tracing::error!(?error, "the index could not be rebuilt");
            }
            reply.send(result.map_err(MaintainError::from)).ok();
            if is_failed {
                return Err(Failed);
            }
        }
        Ok(())
    }

    /// Commits one group, or begins to.
    fn commit(&mut self, works: Vec<Work>, queue: Option<&Queue>) -> Result<(), Failed> {
        let mut group = self.new_group();
        for work in works {
            match work {
                Work::Deposit(sealed) => {
                    let (instance, digest) = (&sealed.instance.instance, &sealed.digest);
                    if self.finisher.has_in_flight(instance, digest) {
                        self.finisher.wait()?;
                    }
                    let known = self
                        .parts
                        .runtime
                        .block_on(self.parts.index.knows(instance, digest));
                    let is_damaged =
                        matches!(known, Ok(true) if self.parts.damage.take(instance, digest));
                    match known.map(|is_known| is_known && !is_damaged) {
                        Ok(false) if !self.parts.reserve.has_room() => {
                            sealed.reply.send(Err(DepositError::Full)).ok();
                        }
                        Ok(false) => group.push_deposit(*sealed),
                        // What the index shows is durable.
                        Ok(true) => {
                            let receipt = Receipt::same(sealed.digest);
                            sealed.reply.send(Ok(receipt)).ok();
                        }
                        Err(error) => {
                            let refusal = index_refusal("ask the index", error);
                            sealed.reply.send(Err(refusal.clone().into())).ok();
                            group.refuse(&refusal);
                            return Err(Failed);
                        }
                    }
                }
                Work::Turn {
                    record,
                    provenance,
                    reply,
                } => group.push_turn(*record, &provenance, reply),
                Work::Close { .. } | Work::Erase { .. } | Work::Look | Work::Rebuild { .. } => {}
            }
        }
        if group.records.is_empty() {
            return Ok(());
        }
        match self.write(&mut group) {
            Ok(()) => self.finish(group, queue),
            Err((refusal, is_failed)) => {
                group.refuse(&refusal);
                if is_failed { Err(Failed) } else { Ok(()) }
            }
        }
    }

    /// Erases a study, by a group of its own with nothing else under way: whoever stores content of
    /// it was answered before, or asks an index that does not know it any more.
    fn erase(
        &mut self,
        study: &StudyUid,
        provenance: &Provenance,
        reply: EraseReply,
        queue: Option<&Queue>,
    ) -> Result<(), Failed> {
        self.finisher.wait()?;
        let content = match self.parts.runtime.block_on(self.out_of_sight(study)) {
            Ok(Some(content)) => content,
            Ok(None) => {
                reply.send(Err(EraseError::InSight)).ok();
                return Ok(());
            }
            Err(error) => {
                let is_failed = matches!(error, IndexError::Backend { .. });
                let refusal = index_refusal("ask the index", error);
                reply.send(Err(refusal.into())).ok();
                return if is_failed { Err(Failed) } else { Ok(()) };
            }
        };
        if content.is_empty() {
            reply.send(Ok(0)).ok();
            return Ok(());
        }
        if let Err(error) = self.parts.directory.allow_erasing() {
            let refusal = Refusal::of_disk("write FORMAT", error);
            reply.send(Err(refusal.into())).ok();
            return Ok(());
        }
        let mut group = self.new_group();
        group.push_erase(study, &content, provenance, reply);
        match self.write(&mut group) {
            Ok(()) => {
                self.finish(group, queue)?;
                self.finisher.wait()
            }
            Err((refusal, is_failed)) => {
                group.refuse(&refusal);
                if is_failed { Err(Failed) } else { Ok(()) }
            }
        }
    }

    /// Where the content of a study stands; `None` where something of it is in sight.
    async fn out_of_sight(&self, study: &StudyUid) -> Result<Option<Vec<Location>>, IndexError> {
        let index = &self.parts.index;
        let query = Target::Study(study.clone()).query();
        if !index.search(&query, &Quota::of(1)).await?.is_empty() {
            return Ok(None);
        }
        index.content_of(study).await.map(Some)
    }

    /// A group at the end of the log.
    fn new_group(&self) -> Group {
        let start = self.parts.log.position();
        let durable_offset = self.finisher.durable_offset(start);
        Group::new(start, durable_offset, self.parts.log.previous_end())
    }

    /// Writes a group into the log.
    fn write(&mut self, group: &mut Group) -> Result<(), (Refusal, bool)> {
        group.larges.iter_mut().for_each(LargePack::leave);
        self.parts.fail_points.reach("before-append");
        if let Err(error) = self.parts.log.write(&group.batch) {
            // The sync that follows must not take the news of a failed write away from that of the
            // group before.
            let waited = self.finisher.wait();
            if waited.is_err() || self.parts.log.take_back().is_err() {
                tracing::error!(%error, "the log could not be put back after a failed write");
                return Err((Refusal::Closed, true));
            }
            group.larges.iter_mut().for_each(LargePack::take_back);
            return Err((Refusal::of_disk("append to the log", error), false));
        }
        self.parts.reserve.took(group.batch.length());
        self.parts.log.advance(&group.batch);
        // Whoever sent it may use its memory for what comes next.
        group.batch.let_go();
        self.parts.fail_points.reach("after-append");
        Ok(())
    }

    /// Finishes a group that is written: here, or beside the writing of the next one where this one
    /// is long, and the next waits already or is about to come, since there are several senders.
    /// Short ones are better put together: for them it is the sync that takes its time, not the
    /// writing.
    fn finish(&mut self, group: Group, queue: Option<&Queue>) -> Result<(), Failed> {
        let is_long = group.batch.length() >= self.parts.limits.finished_beside_bytes_min;
        let written = Written {
            group,
            file: self.parts.log.file(),
        };
        let mut is_beside = false;
        if let Some(queue) = queue.filter(|_| is_long) {
            self.next = queue.try_recv().ok();
            let has_many = self.finisher.is_busy() || written.group.count() > 1;
            is_beside = self.next.is_some() || has_many;
        }
        if is_beside {
            self.finisher.begin(written)?;
        } else {
            // Without a queue this is the thread of whoever sent it.
            let showing = match queue {
                Some(_) => Showing::Here,
                None => Showing::Beside,
            };
            self.finisher.finish_here(written, showing)?;
        }
        self.dirty_since.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// Ends the log with the proof that all before it is durable: what is damaged of the last
    /// groups later is then known to be damage. A later sync makes it durable; nobody waits for
    /// that, and nothing depends on it.
    fn mark(&mut self) -> Result<(), Failed> {
        let mut group = self.new_group();
        group.push_mark(self.parts.clock.now_unix_ms());
        let Err(error) = self.parts.log.write(&group.batch) else {
            self.parts.log.advance(&group.batch);
            return Ok(());
        };
        tracing::warn!(%error, "the log could not be marked at its end");
        self.parts.log.take_back().map_err(|error| {
            tracing::error!(%error, "the log could not be put back after a failed write");
            Failed
        })
    }

    /// Makes the index durable, and marks the log: what was committed since is proven then.
    fn flush(&mut self) -> Result<(), Failed> {
        self.finisher.wait()?;
        if self.dirty_since.is_some() {
            self.mark()?;
        }
        self.parts.fail_points.reach("before-flush");
        if let Err(error) = self.parts.runtime.block_on(self.parts.index.flush()) {
            tracing::error!(%error, "the index could not be made durable");
            return Err(Failed);
        }
        self.parts.fail_points.reach("after-flush");
        self.dirty_since = None;
        Ok(())
    }

    fn rebuild(&self, progress: Box<dyn FnMut(Progress) + Send>) -> Result<Progress, RebuildError> {
        rebuild::rebuild(
            &self.parts.files,
            &*self.parts.index,
            &self.parts.runtime,
            &self.parts.limits,
            self.parts.log.position(),
            progress,
        )
    }
}
