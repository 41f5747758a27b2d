//! The one thread that writes: it takes what waits, makes it durable with one sync, then visible,
//! then answers.
//!
//! While the sync runs on a thread of its own the index stages the group, so that its work is
//! hidden behind the sync. What comes in meanwhile waits and is the next group: the slower the
//! disk, the larger the groups.

use super::Clock;
use super::damage::FoundDamage;
use super::group::{Group, Refusal};
use super::room::Reserve;
use super::stage::Stager;
use crate::deposit::Receipt;
use crate::directory::DataDirectory;
use crate::error::{DepositError, HideError, MaintainError};
use crate::fail_point::FailPoints;
use crate::index::{
    Applied, Digest, DurableContent, Index, IndexError, LogPosition, LogRecord, Provenance,
};
use crate::limits::StoreLimits;
use crate::pack::large::LargePack;
use crate::pack::log::{AppendError, Log};
use crate::pack::read::PackFiles;
use crate::rebuild::{self, Progress, RebuildError};
use bytes::Bytes;
use pacs_core::Instance;
use std::io;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Instant;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

pub(super) type DepositReply = oneshot::Sender<Result<Receipt, DepositError>>;
pub(super) type TurnReply = oneshot::Sender<Result<u64, HideError>>;

/// What waits for the thread.
pub(crate) enum Work {
    Close {
        reply: oneshot::Sender<()>,
    },
    Deposit(Box<Sealed>),
    Rebuild {
        progress: Box<dyn FnMut(Progress) + Send>,
        reply: oneshot::Sender<Result<Progress, MaintainError>>,
    },
    Turn {
        record: LogRecord,
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
            Self::Close { .. } | Self::Rebuild { .. } | Self::Turn { .. } => 0,
        }
    }
}

pub(super) type Queue = mpsc::Receiver<(Work, Option<OwnedSemaphorePermit>)>;

/// Nobody knows any more what is durable or what the index holds.
struct Failed;

/// Says at the end of the thread, also by a panic, that the archive has failed, unless it was
/// closed.
struct End {
    failed: watch::Sender<bool>,
    is_orderly: bool,
}

impl Drop for End {
    fn drop(&mut self) {
        if !self.is_orderly {
            self.failed.send_replace(true);
        }
    }
}

pub(super) struct Committer {
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

impl Committer {
    pub(super) fn start(self, queue: Queue) -> io::Result<JoinHandle<()>> {
        let stager = Stager::start(Arc::clone(&self.index), self.runtime.clone())?;
        std::thread::Builder::new()
            .name("pacs-commit".to_owned())
            .spawn(move || {
                let mut end = End {
                    failed: self.failed.clone(),
                    is_orderly: false,
                };
                end.is_orderly = self.run(&queue, &stager).is_ok();
                drop(end);
                // What still waits is dropped with the queue, and so told that the archive is
                // closed.
            })
    }

    fn run(mut self, queue: &Queue, stager: &Stager) -> Result<(), Failed> {
        // When the index was last as durable as it is visible, if it is not now.
        let mut dirty_since: Option<Instant> = None;
        let mut closing = Vec::new();
        while closing.is_empty() {
            let first = match dirty_since {
                None => queue.recv().map_err(RecvTimeoutError::from),
                Some(since) => {
                    let wait = self.limits.flush_interval.saturating_sub(since.elapsed());
                    queue.recv_timeout(wait)
                }
            };
            match first {
                Ok((work, place)) => {
                    drop(place);
                    let is_dirty = self.take(work, queue, stager, &mut closing)?;
                    if is_dirty {
                        dirty_since.get_or_insert_with(Instant::now);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if dirty_since.is_some_and(|since| since.elapsed() >= self.limits.flush_interval) {
                self.flush()?;
                dirty_since = None;
            }
        }
        self.flush()?;
        if self.log.is_appended() {
            self.mark();
        }
        let result = self.log.close();
        drop(self.directory);
        if let Err(error) = result {
            // All that was answered is durable; the next to open finds the end as after a crash.
            tracing::warn!(%error, "the log could not be closed well");
        }
        for reply in closing {
            reply.send(()).ok();
        }
        Ok(())
    }

    /// Does `first` and what waits with it; whether the index has something that is not durable
    /// there.
    fn take(
        &mut self,
        first: Work,
        queue: &Queue,
        stager: &Stager,
        closing: &mut Vec<oneshot::Sender<()>>,
    ) -> Result<bool, Failed> {
        if *self.failed.borrow() {
            // Somewhere else: a large pack could not be synced.
            return Err(Failed);
        }
        let mut works = Vec::new();
        let mut bytes = 0_u64;
        let mut next = Some(first);
        let mut rebuild = None;
        while let Some(work) = next.take() {
            bytes = bytes.saturating_add(work.bytes());
            match work {
                Work::Close { reply } => closing.push(reply),
                Work::Rebuild { progress, reply } => rebuild = Some((progress, reply)),
                Work::Deposit(_) | Work::Turn { .. } => works.push(work),
            }
            let is_full =
                works.len() >= self.limits.group_count_max || bytes >= self.limits.group_bytes_max;
            if is_full || rebuild.is_some() || !closing.is_empty() {
                break;
            }
            next = queue.try_recv().ok().map(|(work, _place)| work);
        }
        let is_dirty = self.commit(works, stager)?;
        let zeros_bytes_max = self.limits.pack_bytes.saturating_mul(2);
        let turned = self.log.turn(self.reserve.has_room_for(zeros_bytes_max));
        if let Err(error) = turned {
            tracing::error!(%error, "it is not known whether the next pack has a durable name");
            return Err(Failed);
        }
        if let Some((progress, reply)) = rebuild {
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
        Ok(is_dirty)
    }

    /// Commits one group; whether there was anything to commit.
    fn commit(&mut self, works: Vec<Work>, stager: &Stager) -> Result<bool, Failed> {
        let mut group = Group::new(self.log.position(), self.log.previous_end());
        for work in works {
            match work {
                Work::Deposit(sealed) => {
                    let (instance, digest) = (&sealed.instance.instance, &sealed.digest);
                    let known = self.runtime.block_on(self.index.knows(instance, digest));
                    let is_damaged =
                        matches!(known, Ok(true) if self.damage.take(instance, digest));
                    match known.map(|is_known| is_known && !is_damaged) {
                        Ok(false) if !self.reserve.has_room() => {
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
                } => group.push_turn(record, &provenance, reply),
                Work::Close { .. } | Work::Rebuild { .. } => {}
            }
        }
        if group.records.is_empty() {
            return Ok(false);
        }
        match self.write(&mut group, stager) {
            Ok(applied) => {
                self.log.advance(&group.batch);
                self.fail_points.reach("before-answer");
                self.visible.send_replace(self.log.position());
                group.answer(applied);
                Ok(true)
            }
            Err((refusal, is_failed)) => {
                group.refuse(&refusal);
                if is_failed { Err(Failed) } else { Ok(false) }
            }
        }
    }

    /// Content first, then the index: the order that everything rests on (docs/decisions/0001).
    fn write(
        &mut self,
        group: &mut Group,
        stager: &Stager,
    ) -> Result<Vec<Applied>, (Refusal, bool)> {
        let end = group.end();
        let records = std::mem::take(&mut group.records);
        group.larges.iter_mut().for_each(LargePack::leave);
        self.fail_points.reach("before-append");
        match self.log.write(&group.batch) {
            Ok(()) => self.reserve.took(group.batch.length()),
            Err(AppendError::Refused(error)) => {
                group.larges.iter_mut().for_each(LargePack::take_back);
                return Err((Refusal::of_disk("append to the log", error), false));
            }
            Err(AppendError::Unknown(error)) => {
                tracing::error!(%error, "the log could not be put back after a failed write");
                return Err((Refusal::Closed, true));
            }
        }
        self.fail_points.reach("after-append");
        stager.begin(records, end);
        let synced = self.log.file().sync_data();
        let staged = stager.wait();
        if let Err(error) = synced {
            tracing::error!(%error, "a sync of the log failed; it is not known what is durable");
            return Err((Refusal::Closed, true));
        }
        self.fail_points.reach("after-sync");
        for large in &group.larges {
            if let Err(error) = large.keep() {
                tracing::error!(%error, "a large pack could not be given its name");
                return Err((Refusal::Closed, true));
            }
        }
        self.fail_points.reach("after-keep");
        let staged = staged.map_err(|error| (index_refusal("stage", error), true))?;
        self.fail_points.reach("after-stage");
        if *self.failed.borrow() {
            return Err((Refusal::Closed, true));
        }
        let content = DurableContent::synced_up_to(end);
        let applied = self.runtime.block_on(staged.commit(content));
        let applied =
            applied.map_err(|error| (index_refusal("commit to the index", error), true))?;
        self.fail_points.reach("after-commit");
        Ok(applied)
    }

    /// Ends the log with the proof that all before it is durable: what is damaged of the last group
    /// later is then known to be damage. The sync comes with the end of the pack; nobody waits for
    /// this, and nothing depends on it.
    fn mark(&mut self) {
        let mut group = Group::new(self.log.position(), self.log.previous_end());
        group.push_mark(self.clock.now_unix_ms());
        match self.log.write(&group.batch) {
            Ok(()) => self.log.advance(&group.batch),
            Err(error) => tracing::warn!(?error, "the log could not be marked at its end"),
        }
    }

    fn flush(&self) -> Result<(), Failed> {
        self.fail_points.reach("before-flush");
        if let Err(error) = self.runtime.block_on(self.index.flush()) {
            tracing::error!(%error, "the index could not be made durable");
            return Err(Failed);
        }
        self.fail_points.reach("after-flush");
        Ok(())
    }

    fn rebuild(&self, progress: Box<dyn FnMut(Progress) + Send>) -> Result<Progress, RebuildError> {
        rebuild::rebuild(
            &self.files,
            &*self.index,
            &self.runtime,
            &self.limits,
            self.log.position(),
            progress,
        )
    }
}

/// The log holds the group: the index gets it at the next opening, since the archive goes no
/// further.
fn index_refusal(operation: &'static str, error: IndexError) -> Refusal {
    tracing::error!(%error, operation, "the index failed");
    Refusal::Backend {
        operation,
        source: Arc::new(error),
    }
}
