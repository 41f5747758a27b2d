//! The archive: the only way to content and index.

mod come_to;
mod commit;
mod cursor;
mod damage;
pub(crate) mod erasing;
mod finish;
mod group;
mod hiding;
mod kept;
mod parts;
mod provenance;
pub(crate) mod recover;
mod refused;
mod room;
mod safekeeping;
mod stage;
mod turns;

use crate::deposit::Deposit;
use crate::directory::DataDirectory;
use crate::error::{DepositError, MaintainError, OpenError};
use crate::fail_point::FailPoints;
use crate::index::{
    Change, ChangeNumber, Index, IndexError, Match, Provenance, Quota, ResultMemory, Results,
    StoredInstance,
};
use crate::limits::StoreLimits;
use crate::pack::log::Log;
use crate::pack::prepare::Remover;
use crate::pack::read::PackFiles;
use crate::rebuild::Progress;
use crate::records::Records;
use crate::records::memory::MemoryRecords;
use crate::registry::Registry;
use crate::retrieve::DataSetReader;
use pacs_core::access::{Find, Get, Maintain, Move, Store};
use pacs_core::role::sight::Sight;
use pacs_core::{Caller, Permit, Query, SopClassUid, SopInstanceUid, TransferSyntaxUid};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use commit::Desk;
pub(crate) use commit::{Content, Sealed, Work};
pub use cursor::Cursor;
use damage::FoundDamage;
pub use erasing::{Destruction, ErasedStudy};
use refused::Refused;
use room::Reserve;
pub use safekeeping::Safekeeping;
use turns::Turns;

/// What an archive is opened with.
#[derive(Debug)]
pub struct ArchiveOptions {
    /// Where the packs are.
    pub directory: DataDirectory,
    /// What is known of them.
    pub index: Arc<dyn Index>,
    /// Where followers keep how far they have come. Default: in memory, so that every follower
    /// begins anew with the process.
    pub records: Arc<dyn Records>,
    /// Bounds.
    pub limits: StoreLimits,
    /// Tells the time.
    pub clock: Clock,
    /// For tests that stop the world.
    pub fail_points: FailPoints,
    /// Whether zeros are written ahead of the log once much comes in, which halves what a sync
    /// costs and doubles what is written. Default: yes.
    pub is_filled_ahead: bool,
    /// Whether a deposit that finds nothing else being written commits on its own thread, by
    /// [`tokio::task::block_in_place`]: one sender is then answered sooner by the waking of two
    /// threads. A runtime of one thread is left alone. Default: no, since that function panics
    /// within a [`tokio::task::LocalSet`]; say yes where no deposit is made in one.
    pub commits_in_place: bool,
    /// Whether the digest of what is read is compared before its last chunk is given. Default: yes.
    pub verifies_reads: bool,
}

impl ArchiveOptions {
    /// With default limits and the system's clock.
    #[must_use]
    pub fn new(directory: DataDirectory, index: Arc<dyn Index>) -> Self {
        Self {
            directory,
            index,
            records: Arc::new(MemoryRecords::new()),
            limits: StoreLimits::default(),
            clock: Clock::default(),
            fail_points: FailPoints::default(),
            is_filled_ahead: true,
            commits_in_place: false,
            verifies_reads: true,
        }
    }
}

/// Tells the time, in milliseconds since 1970-01-01 UTC.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Clock {
    /// A clock that asks `now`.
    pub fn new(now: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub(crate) fn now_unix_ms(&self) -> u64 {
        (self.0)()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new(|| {
            let since = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// What a deposit is said to be, before its bytes come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// SOP Class UID.
    pub sop_class: SopClassUid,
    /// SOP Instance UID.
    pub sop_instance: SopInstanceUid,
    /// The transfer syntax its bytes are in.
    pub transfer_syntax: TransferSyntaxUid,
}

/// What was found at opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// Entries of the log that the index did not have.
    pub replayed_count: u64,
    /// Entries that are damaged, though they were durable once, and packs that are missing.
    pub damaged_count: u64,
    /// Whether the index had come less far than when the archive was last opened or closed: its
    /// file is one of an earlier day, and no crash leaves that. It was brought up to the log.
    pub is_index_old: bool,
    /// Whether the end of the log was cut with something that a crash tore: 1, else 0. A copy of
    /// that is in `packs`, in a file whose name begins with `cut`.
    pub set_aside_count: u64,
}

/// The part of the budget that must be free for one more sender to be welcome: with the default
/// budget as much as one instance may hold.
const MEMORY_KEPT_BACK: u32 = 32;

/// The right to retrieve, in one way or another.
pub trait RetrievePermit: sealed::Sealed + Sync {
    /// What whoever holds it sees.
    fn seen(&self) -> &Sight;

    /// Who asked.
    fn asked_by(&self) -> &Caller;
}

mod sealed {
    pub trait Sealed {}
}

impl sealed::Sealed for Permit<Get> {}
impl sealed::Sealed for Permit<Move> {}
impl RetrievePermit for Permit<Get> {
    fn asked_by(&self) -> &Caller {
        self.caller()
    }

    fn seen(&self) -> &Sight {
        self.sight()
    }
}

impl RetrievePermit for Permit<Move> {
    fn asked_by(&self) -> &Caller {
        self.caller()
    }

    fn seen(&self) -> &Sight {
        self.sight()
    }
}

/// Instances, with what is known of them. Clones are the same archive; it closes with the last of
/// them, but only [`Archive::close`] tells when.
#[derive(Debug, Clone)]
pub struct Archive {
    pub(crate) shared: Arc<Shared>,
}

/// What the archive, its deposits and its readers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) directory: DataDirectory,
    pub(crate) files: Arc<PackFiles>,
    pub(crate) index: Arc<dyn Index>,
    pub(crate) limits: Arc<StoreLimits>,
    pub(crate) clock: Clock,
    pub(crate) fail_points: FailPoints,
    pub(crate) verifies_reads: bool,
    pub(crate) reserve: Arc<Reserve>,
    pub(crate) damage: FoundDamage,
    pub(crate) records: Arc<dyn Records>,
    pub(crate) registry: Registry,
    /// Instances that are not taken again.
    pub(crate) refused: Refused,
    /// What one search may give.
    quota: Quota,
    /// Bytes of instances in memory.
    pub(crate) budget: Arc<Semaphore>,
    /// Places in the queue.
    places: Arc<Semaphore>,
    queue: mpsc::Sender<(Work, Option<OwnedSemaphorePermit>)>,
    /// Where deposits commit in place, if they may.
    desk: Option<Desk>,
    pub(crate) remover: Remover,
    pub(crate) large_next: AtomicU64,
    /// Goes up with every group that becomes visible, with the position in the log it ends at.
    pub(crate) visible: watch::Receiver<crate::index::LogPosition>,
    pub(crate) failed: watch::Sender<bool>,
    is_closing: AtomicBool,
    pub(crate) turns: Turns,
    committer: Mutex<Option<JoinHandle<()>>>,
    opened: Opened,
}

impl Archive {
    /// Opens an archive: brings the index up to the log, cuts what a crash left half-written.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(options: ArchiveOptions) -> Result<Self, OpenError> {
        let is_old = come_to::is_old(&*options.index, &*options.records).await?;
        let runtime = Handle::current();
        let task =
            tokio::task::spawn_blocking(move || Self::open_blocking(options, runtime, is_old));
        match task.await {
            Ok(result) => {
                let archive = result?;
                let shared = &archive.shared;
                come_to::keep_if_possible(&*shared.index, &*shared.records).await;
                shared.refused.read(&shared.registry).await?;
                archive.finish_erasing().await;
                Ok(archive)
            }
            Err(error) => Err(OpenError::disk("finish opening")(std::io::Error::other(
                error,
            ))),
        }
    }

    fn open_blocking(
        options: ArchiveOptions,
        runtime: Handle,
        is_index_old: bool,
    ) -> Result<Self, OpenError> {
        let disk = Arc::clone(options.directory.disk());
        let limits = Arc::new(options.limits);
        let files = Arc::new(PackFiles::new(Arc::clone(&disk), limits.open_packs_max));
        let found = recover::recover(
            &files,
            (&*options.index, is_index_old),
            &runtime,
            &limits,
            &options.fail_points,
        )?;
        let log = Log::new(
            disk,
            found.pack,
            found.tail,
            limits.pack_bytes,
            options.is_filled_ahead,
        )
        .map_err(OpenError::disk("start a thread"))?;
        let results = ResultMemory::new(limits.results_bytes_max, limits.results_own_bytes);
        let reserve = Arc::new(Reserve::new(&options.directory, &options.index, &limits));
        let remover = log.remover();
        let (queue, work) = mpsc::channel();
        let (seen, visible) = watch::channel(log.position());
        let (failed, _) = watch::channel(false);
        let damage = FoundDamage::default();
        let parts = commit::Parts {
            log,
            files: Arc::clone(&files),
            index: Arc::clone(&options.index),
            limits: Arc::clone(&limits),
            fail_points: options.fail_points.clone(),
            reserve: Arc::clone(&reserve),
            damage: damage.clone(),
            clock: options.clock.clone(),
            runtime,
            visible: seen,
            failed: failed.clone(),
            directory: options.directory.clone(),
        };
        let (desk, committer) =
            Desk::open(parts, work).map_err(OpenError::disk("start a thread"))?;
        Ok(Self {
            shared: Arc::new(Shared {
                directory: options.directory,
                files,
                index: options.index,
                quota: Quota::of(limits.results_count_max).within(&results),
                budget: Arc::new(Semaphore::new(limits.budget_bytes as usize)),
                places: Arc::new(Semaphore::new(limits.queue_count_max)),
                limits,
                clock: options.clock,
                fail_points: options.fail_points,
                verifies_reads: options.verifies_reads,
                reserve,
                damage,
                registry: Registry::new(Arc::clone(&options.records)),
                refused: Refused::default(),
                records: options.records,
                queue,
                desk: options.commits_in_place.then_some(desk),
                remover,
                large_next: AtomicU64::new(found.large_next),
                visible,
                failed,
                is_closing: AtomicBool::new(false),
                turns: Turns::default(),
                committer: Mutex::new(Some(committer)),
                opened: found.opened,
            }),
        })
    }

    /// What was found at opening.
    #[must_use]
    pub fn opened(&self) -> Opened {
        self.shared.opened
    }

    /// Begins a deposit; nothing is kept of it before [`Deposit::seal`].
    ///
    /// # Errors
    /// [`DepositError::Closed`], [`DepositError::Rejected`].
    pub fn deposit(
        &self,
        _permit: &Permit<Store>,
        announced: Announced,
        provenance: Provenance,
    ) -> Result<Deposit, DepositError> {
        if *self.shared.failed.borrow() || self.shared.is_closing() {
            return Err(DepositError::Closed);
        }
        if self.shared.refused.has(&announced.sop_instance) {
            return Err(DepositError::Rejected);
        }
        Ok(Deposit::new(
            Arc::clone(&self.shared),
            announced,
            provenance,
        ))
    }

    /// What matches `query`, as far as whoever asks sees it.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn search(
        &self,
        permit: &Permit<Find>,
        query: &Query,
    ) -> Result<Results<Match>, IndexError> {
        let quota = self.shared.quota_of(permit.caller(), permit.sight());
        let answer = self.shared.index.search(query, &quota).await;
        self.shared.noted(answer)
    }

    /// The instances of every entity that matches `query`, to be read.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn select(
        &self,
        permit: &impl RetrievePermit,
        query: &Query,
    ) -> Result<Results<StoredInstance>, IndexError> {
        let quota = self.shared.quota_of(permit.asked_by(), permit.seen());
        let answer = self.shared.index.select(query, &quota).await;
        self.shared.noted(answer)
    }

    /// The bytes of an instance, as they came.
    #[must_use]
    pub fn read(&self, _permit: &impl RetrievePermit, instance: &StoredInstance) -> DataSetReader {
        DataSetReader::new(&self.shared, instance.location, instance.digest)
    }

    /// Up to `count_max` changes after `after`.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn changes(
        &self,
        _permit: &Permit<Maintain>,
        after: ChangeNumber,
        count_max: usize,
    ) -> Result<Vec<Change>, IndexError> {
        let answer = self.shared.index.changes(after, count_max).await;
        self.shared.noted(answer)
    }

    /// Returns when there is a change after `after`, or the archive is closed.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn wait_for_change(
        &self,
        _permit: &Permit<Maintain>,
        after: ChangeNumber,
    ) -> Result<(), IndexError> {
        let mut visible = self.shared.visible.clone();
        loop {
            visible.mark_unchanged();
            if !self.shared.index.changes(after, 1).await?.is_empty() {
                return Ok(());
            }
            if visible.changed().await.is_err() {
                return Ok(());
            }
        }
    }

    /// Forgets the index and makes it again from the packs. Deposits wait meanwhile; searches see
    /// what is there already. Waits for a verification that is under way.
    ///
    /// # Errors
    /// [`MaintainError`]; where the index was cleared already, the archive has failed.
    pub async fn rebuild(
        &self,
        _permit: &Permit<Maintain>,
        mut progress: impl FnMut(Progress) + Send + 'static,
    ) -> Result<Progress, MaintainError> {
        // What is to be destroyed shows till its erasure is read again.
        self.finish_erasing().await;
        let held = Arc::clone(&self.shared.turns.maintenance)
            .lock_owned()
            .await;
        come_to::forget(&*self.shared.records).await?;
        let progress = move |told| {
            // Until the work is done, whether or not anybody still waits for it.
            let _ = &held;
            progress(told);
        };
        let (reply, result) = oneshot::channel();
        let work = Work::Rebuild {
            progress: Box::new(progress),
            reply,
        };
        let submitted = self.shared.submit(work).await;
        submitted.map_err(|_| MaintainError::Closed)?;
        let rebuilt = result.await.unwrap_or(Err(MaintainError::Closed));
        self.finish_erasing().await;
        rebuilt
    }

    /// Deposits, hides and restores that wait for the commit of a group.
    #[must_use]
    pub fn waiting_count(&self) -> usize {
        self.shared.waiting_count()
    }

    /// Whether there is memory for the instances of one more sender. Those who send already go on
    /// where there is none; their instances go to disk early then.
    #[must_use]
    pub fn has_memory(&self) -> bool {
        let kept_back = self.shared.limits.budget_bytes / MEMORY_KEPT_BACK;
        self.shared.budget.available_permits() >= kept_back as usize
    }

    /// Whether the disk has room for more instances. Where it has not, deposits are refused as long
    /// as that is so, and all else goes on.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.shared.reserve.has_room()
    }

    /// Resolves when the disk or the index failed in a way that leaves unknown what is durable: the
    /// process has to exit then, and the next one recovers. Nothing is retried.
    pub async fn failed(&self) {
        let mut failed = self.shared.failed.subscribe();
        if failed.wait_for(|failed| *failed).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Ends the archive after everything that was submitted before; returns when all of it is
    /// durable and the files are closed. Deposits that come later are refused.
    pub async fn close(&self) {
        self.shared.is_closing.store(true, Ordering::Release);
        // After what waits for a place now, if that does not take too long.
        let place = self.shared.place().await.ok();
        let (reply, closed) = oneshot::channel();
        if self
            .shared
            .queue
            .send((Work::Close { reply }, place))
            .is_ok()
        {
            // Where the archive has failed there is nothing to wait for.
            closed.await.ok();
        }
        let committer = self.shared.committer.lock();
        let thread = committer.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            tokio::task::spawn_blocking(move || thread.join())
                .await
                .ok();
            let shared = &self.shared;
            come_to::keep_if_possible(&*shared.index, &*shared.records).await;
        }
    }
}

impl Shared {
    /// Commits a deposit in place, or puts the work into the queue of the commits.
    pub(crate) async fn submit(&self, work: Work) -> Result<(), DepositError> {
        let work = match &self.desk {
            Some(desk) if matches!(work, Work::Deposit(_)) && self.waiting_count() == 0 => {
                match desk.commit_here(work) {
                    Ok(is_to_look) => {
                        if is_to_look {
                            // Where the thread is gone nothing is made durable any more.
                            self.queue.send((Work::Look, None)).ok();
                        }
                        return Ok(());
                    }
                    Err(work) => work,
                }
            }
            Some(_) | None => work,
        };
        let place = self.place().await?;
        self.queue
            .send((work, Some(place)))
            .map_err(|_| DepositError::Closed)
    }

    fn waiting_count(&self) -> usize {
        let places = self.places.available_permits();
        self.limits.queue_count_max.saturating_sub(places)
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit, DepositError> {
        let place = Arc::clone(&self.places).acquire_owned();
        match tokio::time::timeout(self.limits.busy_wait, place).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) => Err(DepositError::Closed),
            Err(_) => Err(DepositError::Busy),
        }
    }

    /// Whether [`Archive::close`] was called.
    pub(crate) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Acquire)
    }

    /// What one search of `caller`, who sees `sight`, may give.
    fn quota_of(&self, caller: &Caller, sight: &Sight) -> Quota {
        self.quota.clone().seen_by(sight).asked_by(caller)
    }

    /// An index that could not read its file once answers nothing any more: it has to be opened
    /// anew, and so the archive.
    fn noted<T>(&self, answer: Result<T, IndexError>) -> Result<T, IndexError> {
        if let Err(IndexError::Backend { .. }) = answer {
            self.fail();
        }
        answer
    }

    /// Says that nobody knows any more what is durable.
    pub(crate) fn fail(&self) {
        self.failed.send_replace(true);
    }
}
