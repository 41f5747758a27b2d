//! A group that is made durable while the next one is written.

use crate::faulty::{Faults, FaultyDisk};
use crate::rig::{self, Sample, sample};
use pacs_core::access::Maintain;
use pacs_store::index::memory::MemoryIndex;
use pacs_store::{
    Archive, ArchiveOptions, DataDirectory, DepositError, FailPoints, Outcome, Receipt,
};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Longest wait for a step; one that does not come is a failed test.
const PATIENCE: Duration = Duration::from_secs(20);

/// A step at which the archive stops once, until it is let go.
struct Stop {
    reached: mpsc::Receiver<String>,
    go: mpsc::Sender<()>,
}

impl Stop {
    /// Waits until the archive has come here; on which thread.
    fn wait(&self) -> String {
        self.reached.recv_timeout(PATIENCE).unwrap()
    }

    fn go(&self) {
        self.go.send(()).unwrap();
    }
}

/// Stops where each of `steps` is reached for the given time.
fn stops<const COUNT: usize>(steps: [(&'static str, usize); COUNT]) -> (FailPoints, [Stop; COUNT]) {
    let mut inner = Vec::new();
    let outer = steps.map(|(step, times)| {
        let (arrived, reached) = mpsc::channel();
        let (go, held) = mpsc::channel::<()>();
        inner.push((step, times, Some((arrived, held))));
        Stop { reached, go }
    });
    let inner = Mutex::new(inner);
    let points = FailPoints::new(move |reached| {
        let mut here = None;
        for (step, times, stop) in inner.lock().unwrap().iter_mut() {
            if *step == reached && *times > 0 {
                *times -= 1;
                if *times == 0 {
                    here = stop.take();
                }
            }
        }
        if let Some((arrived, held)) = here {
            let thread = std::thread::current().name().unwrap_or("").to_owned();
            arrived.send(thread).unwrap();
            // Whoever waits may be gone where the test has failed.
            held.recv_timeout(PATIENCE).ok();
        }
    });
    (points, outer)
}

async fn open(directory: &Path, faults: &Arc<Faults>, fail_points: FailPoints) -> Archive {
    let data = DataDirectory::open(FaultyDisk::new(directory, faults)).unwrap();
    let mut options = ArchiveOptions::new(data, Arc::new(MemoryIndex::new()));
    options.fail_points = fail_points;
    options.limits.finished_beside_bytes_min = 0;
    Archive::open(options).await.unwrap()
}

fn begin(archive: &Archive, sample: &Sample) -> JoinHandle<Result<Receipt, DepositError>> {
    let (archive, sample) = (archive.clone(), sample.clone());
    tokio::spawn(async move { rig::deposit(&archive, &sample).await })
}

async fn until_waiting(archive: &Archive, count: usize) {
    while archive.waiting_count() < count {
        tokio::task::yield_now().await;
    }
}

/// Begins two deposits, the second one while the first is about to be written.
async fn begin_both(
    archive: &Archive,
    append: &Stop,
    samples: [&Sample; 2],
) -> [JoinHandle<Result<Receipt, DepositError>>; 2] {
    let first = begin(archive, samples[0]);
    append.wait();
    let second = begin(archive, samples[1]);
    until_waiting(archive, 1).await;
    append.go();
    [first, second]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_next_group_is_written_before_the_one_before_it_is_answered() {
    let directory = tempfile::tempdir().unwrap();
    let faults = Arc::default();
    let (points, [append, synced, second_written]) =
        stops([("before-append", 1), ("after-sync", 1), ("after-append", 2)]);
    let archive = open(directory.path(), &faults, points).await;
    let samples = [sample(1, 1, 9_000), sample(2, 1, 500)];

    let [first, second] = begin_both(&archive, &append, [&samples[0], &samples[1]]).await;
    assert_eq!(synced.wait(), "pacs-finish");
    assert_eq!(second_written.wait(), "pacs-commit");
    assert!(rig::select(&archive).await.is_empty());
    second_written.go();
    synced.go();
    for task in [first, second] {
        assert_eq!(task.await.unwrap().unwrap().outcome, Outcome::New);
    }

    rig::assert_holds(&archive, &samples).await;
    let report = archive.verify(&rig::permit::<Maintain>(), |_| ()).await;
    assert!(report.unwrap().is_clean());
    let archive = rig::reopen(archive, directory.path()).await;
    rig::assert_holds(&archive, &samples).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_sync_that_fails_beside_the_next_write_acknowledges_neither() {
    let directory = tempfile::tempdir().unwrap();
    let faults: Arc<Faults> = Arc::default();
    let (points, [append, second_written]) = stops([("before-append", 1), ("after-append", 2)]);
    let archive = open(directory.path(), &faults, points).await;
    let samples = [sample(1, 1, 9_000), sample(2, 1, 500)];

    faults.sync_fails.store(true, Ordering::SeqCst);
    let [first, second] = begin_both(&archive, &append, [&samples[0], &samples[1]]).await;
    assert!(first.await.unwrap().is_err());
    archive.failed().await;
    // It may have found out before it wrote.
    if second_written.reached.try_recv().is_ok() {
        second_written.go();
    }
    assert!(second.await.unwrap().is_err());
    archive.close().await;
    drop(archive);
    faults.sync_fails.store(false, Ordering::SeqCst);

    // What was written may come back, whole; sent again it is there.
    let archive = rig::open(directory.path()).await;
    for sample in &samples {
        rig::deposit(&archive, sample).await.unwrap();
    }
    rig::assert_holds(&archive, &samples).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_full_disk_takes_nothing_away_from_the_group_before() {
    let directory = tempfile::tempdir().unwrap();
    let faults: Arc<Faults> = Arc::default();
    let (points, [append, synced, second_append]) = stops([
        ("before-append", 1),
        ("after-sync", 1),
        ("before-append", 2),
    ]);
    let archive = open(directory.path(), &faults, points).await;
    let samples = [sample(1, 1, 9_000), sample(2, 1, 5_000), sample(3, 1, 700)];

    let [first, second] = begin_both(&archive, &append, [&samples[0], &samples[1]]).await;
    synced.wait();
    second_append.wait();
    faults.is_full.store(true, Ordering::SeqCst);
    second_append.go();
    synced.go();
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    faults.is_full.store(false, Ordering::SeqCst);

    assert_eq!(first.unwrap().outcome, Outcome::New);
    assert!(matches!(second, Err(DepositError::Full)), "{second:?}");
    rig::deposit(&archive, &samples[2]).await.unwrap();
    let kept = [samples[0].clone(), samples[2].clone()];
    rig::assert_holds(&archive, &kept).await;
    let archive = rig::reopen(archive, directory.path()).await;
    rig::assert_holds(&archive, &kept).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn content_that_is_just_being_made_durable_is_not_written_again() {
    let directory = tempfile::tempdir().unwrap();
    let faults = Arc::default();
    let (points, [append]) = stops([("before-append", 1)]);
    let archive = open(directory.path(), &faults, points).await;
    let sample = sample(1, 1, 9_000);

    let [first, second] = begin_both(&archive, &append, [&sample, &sample]).await;

    assert_eq!(first.await.unwrap().unwrap().outcome, Outcome::New);
    assert_eq!(second.await.unwrap().unwrap().outcome, Outcome::Same);
    archive.close().await;
    let log = std::fs::metadata(directory.path().join("packs/log-0000000001.tar")).unwrap();
    assert!(log.len() < 2 * sample.data_set.len() as u64);
}

/// Four deposits: the first is held after its sync, two are written and wait for theirs, and the
/// last is about to be written.
struct Queued {
    archive: Archive,
    faults: Arc<Faults>,
    samples: [Sample; 4],
    finishing: [JoinHandle<Result<Receipt, DepositError>>; 3],
    last: JoinHandle<Result<Receipt, DepositError>>,
    synced: Stop,
    last_append: Stop,
}

impl Queued {
    async fn new(directory: &Path) -> Self {
        let faults: Arc<Faults> = Arc::default();
        let (points, [append, synced, second_append, third_append, last_append]) = stops([
            ("before-append", 1),
            ("after-sync", 1),
            ("before-append", 2),
            ("before-append", 3),
            ("before-append", 4),
        ]);
        let archive = open(directory, &faults, points).await;
        let samples = [(1, 9_000), (2, 500), (3, 70_000), (4, 3_000)]
            .map(|(number, length)| sample(number, 1, length));
        let [first, second] = begin_both(&archive, &append, [&samples[0], &samples[1]]).await;
        synced.wait();
        second_append.wait();
        second_append.go();
        let third = begin(&archive, &samples[2]);
        third_append.wait();
        let last = begin(&archive, &samples[3]);
        until_waiting(&archive, 1).await;
        third_append.go();
        last_append.wait();
        Self {
            archive,
            faults,
            samples,
            finishing: [first, second, third],
            last,
            synced,
            last_append,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_written_during_a_sync_is_made_durable_with_the_next_one() {
    let directory = tempfile::tempdir().unwrap();
    let queued = Queued::new(directory.path()).await;
    let syncs_count = || queued.faults.syncs_count.load(Ordering::SeqCst);

    let before = syncs_count();
    queued.synced.go();
    for task in queued.finishing {
        assert_eq!(task.await.unwrap().unwrap().outcome, Outcome::New);
    }
    assert_eq!(syncs_count(), before + 1, "one for the two that waited");
    queued.last_append.go();
    assert_eq!(queued.last.await.unwrap().unwrap().outcome, Outcome::New);

    rig::assert_holds(&queued.archive, &queued.samples).await;
    let archive = rig::reopen(queued.archive, directory.path()).await;
    rig::assert_holds(&archive, &queued.samples).await;
    let report = archive.verify(&rig::permit::<Maintain>(), |_| ()).await;
    assert!(report.unwrap().is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_full_disk_takes_nothing_away_from_all_that_wait_for_their_sync() {
    let directory = tempfile::tempdir().unwrap();
    let queued = Queued::new(directory.path()).await;

    queued.faults.is_full.store(true, Ordering::SeqCst);
    queued.last_append.go();
    queued.synced.go();
    for task in queued.finishing {
        assert_eq!(task.await.unwrap().unwrap().outcome, Outcome::New);
    }
    let last = queued.last.await.unwrap();
    assert!(matches!(last, Err(DepositError::Full)), "{last:?}");
    queued.faults.is_full.store(false, Ordering::SeqCst);

    let [first, second, third, last] = queued.samples;
    let mut kept = vec![first, second, third];
    rig::assert_holds(&queued.archive, &kept).await;
    rig::deposit(&queued.archive, &last).await.unwrap();
    kept.push(last);
    let archive = rig::reopen(queued.archive, directory.path()).await;
    rig::assert_holds(&archive, &kept).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_sync_that_fails_acknowledges_none_of_those_that_waited_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let queued = Queued::new(directory.path()).await;

    queued.faults.sync_fails.store(true, Ordering::SeqCst);
    queued.synced.go();
    let [first, second, third] = queued.finishing;
    assert_eq!(first.await.unwrap().unwrap().outcome, Outcome::New);
    for task in [second, third] {
        assert!(task.await.unwrap().is_err());
    }
    queued.archive.failed().await;
    queued.last_append.go();
    assert!(queued.last.await.unwrap().is_err());
    queued.archive.close().await;
    drop(queued.archive);

    // What was written may come back, whole; sent again it is there.
    let archive = rig::open(directory.path()).await;
    for sample in &queued.samples {
        rig::deposit(&archive, sample).await.unwrap();
    }
    rig::assert_holds(&archive, &queued.samples).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_that_many_senders_were_told_of_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let archive = rig::open_with(directory.path(), |options| {
        options.commits_in_place = true;
        options.limits.finished_beside_bytes_min = 0;
        options.limits.pack_bytes = 400_000;
    })
    .await;
    let samples: Vec<_> = (1..=160)
        .map(|number| sample(number, 1, if number % 4 == 0 { 300_000 } else { 3_000 }))
        .collect();

    let senders: Vec<_> = samples
        .chunks(20)
        .map(|chunk| {
            let (archive, chunk) = (archive.clone(), chunk.to_vec());
            tokio::spawn(async move {
                for sample in &chunk {
                    rig::deposit(&archive, sample).await.unwrap();
                    let again = rig::deposit(&archive, sample).await.unwrap();
                    assert_eq!(again.outcome, Outcome::Same);
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }

    let archive = rig::reopen(archive, directory.path()).await;
    let stored = rig::select(&archive).await;
    assert_eq!(stored.len(), samples.len());
    for stored in stored {
        let uid = &stored.instance.instance;
        let sample = samples.iter().find(|s| s.announced.sop_instance == *uid);
        assert!(rig::read(&archive, &stored).await == sample.unwrap().data_set);
    }
    let report = archive.verify(&rig::permit::<Maintain>(), |_| ()).await;
    assert!(report.unwrap().is_clean());
}
