//! What comes after a group is written: it is made durable with one sync, then visible, then
//! answered.
//!
//! While the sync runs the index stages the group on a thread of its own, so that its work is
//! hidden behind the sync. It shows the group while whoever sent it is answered already: who reads
//! meanwhile waits for it. Long groups are finished on a third thread, while the next ones are
//! written: the disk has to do then all the time. Whatever was written while that thread was at
//! work it finishes as one group, with one sync.

use super::commit::Failed;
use super::group::{Group, Refusal};
use super::stage::Stager;
use crate::disk::DiskFile;
use crate::fail_point::FailPoints;
use crate::index::{Applied, Digest, DurableContent, Index, IndexError, LogPosition, Promised};
use pacs_core::SopInstanceUid;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Says at the end of a thread, also by a panic, that the archive has failed, unless the end is an
/// orderly one.
pub(super) struct End {
    failed: watch::Sender<bool>,
    pub(super) is_orderly: bool,
}

impl End {
    pub(super) fn new(failed: &watch::Sender<bool>) -> Self {
        Self {
            failed: failed.clone(),
            is_orderly: false,
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if !self.is_orderly {
            self.failed.send_replace(true);
        }
    }
}

/// A group that stands in the log, and is not known to be durable.
pub(super) struct Written {
    pub(super) group: Group,
    /// Where it stands.
    pub(super) file: Arc<dyn DiskFile>,
}

/// What a [`Finisher`] is made of.
pub(super) struct Tools {
    pub(super) index: Arc<dyn Index>,
    pub(super) runtime: Handle,
    pub(super) fail_points: FailPoints,
    pub(super) visible: watch::Sender<LogPosition>,
    pub(super) failed: watch::Sender<bool>,
}

/// Where a group is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Showing {
    /// On the thread that stages, since this one belongs to somebody who was answered.
    Beside,
    /// On this thread, after everybody was answered: what it costs to wake another one is saved.
    Here,
}

/// What is to be known of a group on the thread.
struct InFlight {
    end: LogPosition,
    known: HashMap<Digest, SopInstanceUid>,
}

/// Finishes groups in the order in which they were written.
pub(super) struct Finisher {
    work: Arc<Mutex<Finishing>>,
    /// Taken away to end the thread.
    groups: Option<mpsc::Sender<Written>>,
    /// How many groups are durable, visible and answered.
    results: mpsc::Receiver<Result<usize, Failed>>,
    thread: Option<JoinHandle<()>>,
    /// The groups on the thread, in order, as far as is known here.
    in_flight: VecDeque<InFlight>,
    in_flight_max: usize,
    /// Where the last group ended that is durable.
    durable: LogPosition,
    /// Whether a group could not be finished: nothing may be any more.
    has_failed: bool,
}

impl Drop for Finisher {
    /// Waits for the thread: it holds the index, and with it the lock of the data directory, which
    /// has to be free when the archive is closed.
    fn drop(&mut self) {
        self.groups = None;
        if let Some(thread) = self.thread.take() {
            // If it panicked, the archive has failed.
            thread.join().ok();
        }
    }
}

impl Finisher {
    /// Starts the threads. What stands in the log up to `durable` is durable. At most
    /// `in_flight_max` groups, which is one at least, are finished beside one that is written.
    pub(super) fn start(
        tools: Tools,
        durable: LogPosition,
        in_flight_max: usize,
    ) -> io::Result<Self> {
        let failed = tools.failed.clone();
        let tools = Arc::new(tools);
        let stager = Stager::start(Arc::clone(&tools))?;
        let work = Arc::new(Mutex::new(Finishing { tools, stager }));
        let (groups, queue) = mpsc::channel::<Written>();
        let (reply, results) = mpsc::channel();
        let own = Arc::clone(&work);
        let thread = std::thread::Builder::new()
            .name("pacs-finish".to_owned())
            .spawn(move || {
                let mut end = End::new(&failed);
                while let Ok(first) = queue.recv() {
                    let (written, count) = with_what_waits(first, &queue);
                    let result = finish(&own, written, Showing::Here);
                    let is_failed = result.is_err();
                    if reply.send(result.map(|()| count)).is_err() || is_failed {
                        end.is_orderly = !is_failed;
                        return;
                    }
                }
                end.is_orderly = true;
            })?;
        Ok(Self {
            work,
            groups: Some(groups),
            results,
            thread: Some(thread),
            in_flight: VecDeque::new(),
            in_flight_max: in_flight_max.max(1),
            durable,
            has_failed: false,
        })
    }

    /// Whether a group is being finished, as far as is known here.
    pub(super) fn is_busy(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// Whether a group that is being finished has this content: then the index will know it soon.
    pub(super) fn has_in_flight(&self, instance: &SopInstanceUid, digest: &Digest) -> bool {
        let mut in_flight = self.in_flight.iter();
        in_flight.any(|group| group.known.get(digest) == Some(instance))
    }

    /// Up to where a pack is durable that has come to `position`.
    pub(super) const fn durable_offset(&self, position: LogPosition) -> u64 {
        if self.durable.pack == position.pack {
            self.durable.offset
        } else {
            0
        }
    }

    /// Finishes a group on this thread.
    pub(super) fn finish_here(&mut self, written: Written, showing: Showing) -> Result<(), Failed> {
        self.wait()?;
        let end = written.group.end();
        finish(&self.work, written, showing)?;
        self.durable = end;
        Ok(())
    }

    /// Finishes a group on the other thread, after those that are there.
    pub(super) fn begin(&mut self, written: Written) -> Result<(), Failed> {
        while self.in_flight.len() >= self.in_flight_max {
            self.wait_for_some()?;
        }
        let in_flight = InFlight {
            end: written.group.end(),
            known: written.group.known(),
        };
        let groups = self.groups.as_ref().ok_or(Failed)?;
        groups.send(written).map_err(|_| Failed)?;
        self.in_flight.push_back(in_flight);
        self.hear()
    }

    /// Waits for the groups on the other thread.
    pub(super) fn wait(&mut self) -> Result<(), Failed> {
        while self.is_busy() {
            self.wait_for_some()?;
        }
        if self.has_failed { Err(Failed) } else { Ok(()) }
    }

    /// Hears of what is finished already.
    pub(super) fn hear(&mut self) -> Result<(), Failed> {
        while let Ok(result) = self.results.try_recv() {
            self.note(Some(result))?;
        }
        Ok(())
    }

    fn wait_for_some(&mut self) -> Result<(), Failed> {
        if self.has_failed {
            return Err(Failed);
        }
        let result = self.results.recv().ok();
        self.note(result)
    }

    /// Takes down how many groups are finished; `None`: the thread is gone.
    fn note(&mut self, result: Option<Result<usize, Failed>>) -> Result<(), Failed> {
        let Some(Ok(count)) = result else {
            self.has_failed = true;
            return Err(Failed);
        };
        for finished in self.in_flight.drain(..count.min(self.in_flight.len())) {
            self.durable = finished.end;
        }
        Ok(())
    }
}

/// A group and what was written after it, as one; how many they are.
fn with_what_waits(first: Written, queue: &mpsc::Receiver<Written>) -> (Written, usize) {
    let mut all = first;
    let mut count = 1;
    // The log changes over to another file only when nothing is under way.
    while let Ok(next) = queue.try_recv() {
        all.group.absorb(next.group);
        count += 1;
    }
    (all, count)
}

/// Whoever panicked at this has left nothing that can be relied on.
fn finish(work: &Mutex<Finishing>, written: Written, showing: Showing) -> Result<(), Failed> {
    let mut work = work.lock().map_err(|_| Failed)?;
    let Written { mut group, file } = written;
    match work.keep(&mut group, &*file) {
        Ok((applied, promised)) => {
            work.tools.fail_points.reach("before-answer");
            work.tools.visible.send_replace(group.end());
            match showing {
                Showing::Beside => {
                    work.stager.show(promised);
                    group.answer(applied);
                    Ok(())
                }
                Showing::Here => {
                    group.answer(applied);
                    work.tools.show(promised)
                }
            }
        }
        Err(refusal) => {
            group.refuse(&refusal);
            Err(Failed)
        }
    }
}

impl Tools {
    /// Shows a group that was answered. Where that fails the archive has failed: the group is
    /// durable in the log, and the index gets it at the next opening.
    pub(super) fn show(&self, promised: Box<dyn Promised>) -> Result<(), Failed> {
        if let Err(error) = promised.show() {
            tracing::error!(%error, "what was answered cannot be shown");
            self.failed.send_replace(true);
            return Err(Failed);
        }
        self.fail_points.reach("after-commit");
        Ok(())
    }
}

/// What became of a group, and what is to be shown of it.
type Kept = (Vec<Applied>, Box<dyn Promised>);

struct Finishing {
    tools: Arc<Tools>,
    stager: Stager,
}

impl Finishing {
    /// Content first, then the index: the order that everything rests on (docs/decisions/0001).
    fn keep(&mut self, group: &mut Group, file: &dyn DiskFile) -> Result<Kept, Refusal> {
        let end = group.end();
        let records = std::mem::take(&mut group.records);
        self.stager.begin(records, end);
        let synced = file.sync_data();
        let staged = self.stager.wait();
        if let Err(error) = synced {
            tracing::error!(%error, "a sync of the log failed; it is not known what is durable");
            return Err(Refusal::Closed);
        }
        self.tools.fail_points.reach("after-sync");
        for large in &group.larges {
            if let Err(error) = large.keep() {
                tracing::error!(%error, "a large pack could not be given its name");
                return Err(Refusal::Closed);
            }
        }
        self.tools.fail_points.reach("after-keep");
        let staged = staged.map_err(|error| index_refusal("stage", error))?;
        self.tools.fail_points.reach("after-stage");
        if *self.tools.failed.borrow() {
            return Err(Refusal::Closed);
        }
        let promised = staged.promise(DurableContent::synced_up_to(end));
        promised.map_err(|error| index_refusal("commit to the index", error))
    }
}

/// The log holds the group: the index gets it at the next opening, since the archive goes no
/// further.
pub(super) fn index_refusal(operation: &'static str, error: IndexError) -> Refusal {
    tracing::error!(%error, operation, "the index failed");
    Refusal::Backend {
        operation,
        source: Arc::new(error),
    }
}
