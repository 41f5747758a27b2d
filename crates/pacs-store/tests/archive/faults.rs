//! A disk that fails: nothing is acknowledged that is not durable, and what was acknowledged stays.

use crate::faulty::{Faults, FaultyDisk};
use crate::rig::{self, sample};
use pacs_core::access::{Hide, Maintain};
use pacs_store::index::Target;
use pacs_store::index::memory::MemoryIndex;
use pacs_store::index::redb::{RedbIndex, RedbOptions};
use pacs_store::{
    Archive, ArchiveOptions, DataDirectory, DepositError, FailPoints, MaintainError, OpenError,
    Outcome,
};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

async fn open(directory: &Path, faults: &Arc<Faults>) -> Archive {
    open_with(directory, faults, |_| ()).await
}

async fn open_with(
    directory: &Path,
    faults: &Arc<Faults>,
    change: impl FnOnce(&mut ArchiveOptions),
) -> Archive {
    let index = MemoryIndex::new();
    try_open(directory, faults, &index, change).await.unwrap()
}

async fn try_open(
    directory: &Path,
    faults: &Arc<Faults>,
    index: &MemoryIndex,
    change: impl FnOnce(&mut ArchiveOptions),
) -> Result<Archive, OpenError> {
    let directory = DataDirectory::open(FaultyDisk::new(directory, faults)).unwrap();
    let mut options = ArchiveOptions::new(directory, Arc::new(index.clone()));
    change(&mut options);
    Archive::open(options).await
}

#[tokio::test]
async fn a_full_disk_refuses_and_the_archive_goes_on_when_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let archive = open_with(directory.path(), &faults, |o| o.limits.large_bytes = 50_000).await;
    let samples = [sample(1, 1, 9_000), sample(2, 1, 500), sample(4, 1, 80_000)];
    rig::deposit(&archive, &samples[0]).await.unwrap();

    faults.is_full.store(true, Ordering::SeqCst);
    let refused = rig::deposit(&archive, &sample(3, 1, 20_000))
        .await
        .unwrap_err();
    let large = rig::deposit(&archive, &samples[2]).await.unwrap_err();
    rig::assert_holds(&archive, &samples[..1]).await;
    faults.is_full.store(false, Ordering::SeqCst);
    rig::deposit(&archive, &samples[1]).await.unwrap();
    rig::deposit(&archive, &samples[2]).await.unwrap();

    assert!(matches!(refused, DepositError::Full), "{refused:?}");
    assert!(matches!(large, DepositError::Full), "{large:?}");
    rig::assert_holds(&archive, &samples).await;
    // Nothing of what was refused is in the log, and no file is left of it.
    let archive = rig::reopen(archive, directory.path()).await;
    rig::assert_holds(&archive, &samples).await;
    assert_eq!(rig::pack_files(directory.path()).len(), 2);
}

#[tokio::test]
async fn where_the_index_cannot_grow_deposits_are_refused_and_all_else_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    faults.nothing_ahead.store(true, Ordering::SeqCst);
    let open = async || {
        let disk = FaultyDisk::new(directory.path(), &faults);
        let data = DataDirectory::open(disk).unwrap();
        let index = RedbIndex::open(&data, &RedbOptions::default()).unwrap();
        let options = ArchiveOptions::new(data, Arc::new(index));
        Archive::open(options).await.unwrap()
    };
    let archive = open().await;

    let refused = rig::deposit(&archive, &sample(1, 1, 500))
        .await
        .unwrap_err();
    assert!(!archive.has_room());
    faults.nothing_ahead.store(false, Ordering::SeqCst);
    // The answer of the disk is kept for a moment.
    while !archive.has_room() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    rig::deposit(&archive, &sample(2, 1, 500)).await.unwrap();
    // What is there already is the index's own; after a close it has written all it had in memory.
    archive.close().await;
    drop(archive);
    let archive = open().await;
    assert!(archive.has_room());
    faults.nothing_ahead.store(true, Ordering::SeqCst);
    rig::deposit(&archive, &sample(3, 1, 500)).await.unwrap();

    assert!(matches!(refused, DepositError::Full), "{refused:?}");
    rig::assert_holds(&archive, &[sample(2, 1, 500), sample(3, 1, 500)]).await;
    let again = rig::deposit(&archive, &sample(2, 1, 500)).await.unwrap();
    assert_eq!(again.outcome, Outcome::Same);
}

#[tokio::test]
async fn a_failed_sync_is_acknowledged_to_nobody_and_ends_the_archive() {
    let directory = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let archive = open(directory.path(), &faults).await;
    let first = sample(1, 1, 9_000);
    rig::deposit(&archive, &first).await.unwrap();

    faults.sync_fails.store(true, Ordering::SeqCst);
    let refused = rig::deposit(&archive, &sample(2, 1, 500))
        .await
        .unwrap_err();
    archive.failed().await;
    let syncs_count = faults.syncs_count.load(Ordering::SeqCst);
    let later = rig::deposit(&archive, &sample(3, 1, 500))
        .await
        .unwrap_err();
    archive.close().await;

    assert!(matches!(refused, DepositError::Closed), "{refused:?}");
    assert!(matches!(later, DepositError::Closed), "{later:?}");
    assert_eq!(
        faults.syncs_count.load(Ordering::SeqCst),
        syncs_count,
        "nothing is retried"
    );
    rig::assert_holds(&archive, std::slice::from_ref(&first)).await;
    drop(archive);
    // What was written and not synced may come back: it is whole, and sent again it is the same.
    let archive = rig::open(directory.path()).await;
    rig::deposit(&archive, &sample(2, 1, 500)).await.unwrap();
    rig::assert_holds(&archive, &[first, sample(2, 1, 500)]).await;
}

#[tokio::test]
async fn a_failed_sync_of_a_large_pack_ends_the_archive_too() {
    let directory = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let archive = open_with(directory.path(), &faults, |o| o.limits.large_bytes = 50_000).await;

    faults.sync_fails.store(true, Ordering::SeqCst);
    let refused = rig::deposit(&archive, &sample(2, 1, 90_000))
        .await
        .unwrap_err();
    archive.failed().await;

    assert!(
        matches!(refused, DepositError::Backend { .. }),
        "{refused:?}"
    );
    assert_eq!(rig::select(&archive).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_waits_together_is_made_durable_by_one_sync() {
    let directory = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    // The first group is held until the others wait.
    let (reached, is_held) = std::sync::mpsc::channel();
    let (go, held) = std::sync::mpsc::channel();
    let held = std::sync::Mutex::new(Some((reached, held)));
    let archive = open_with(directory.path(), &faults, |o| {
        o.fail_points = FailPoints::new(move |step| {
            if step == "before-append"
                && let Some((reached, held)) = held.lock().unwrap().take()
            {
                reached.send(()).unwrap();
                held.recv().unwrap();
            }
        });
    })
    .await;
    let before = faults.syncs_count.load(Ordering::SeqCst);
    let begin = |number| {
        let archive = archive.clone();
        tokio::spawn(async move { rig::deposit(&archive, &sample(number, 1, 5_000)).await })
    };
    let mut tasks = vec![begin(0)];
    is_held.recv().unwrap();
    tasks.extend((1..40).map(begin));
    while archive.waiting_count() < 39 {
        tokio::task::yield_now().await;
    }

    go.send(()).unwrap();
    for task in tasks {
        task.await.unwrap().unwrap();
    }

    assert_eq!(faults.syncs_count.load(Ordering::SeqCst) - before, 2);
    assert_eq!(rig::select(&archive).await.len(), 40);
}

const FIRST: &str = "packs/log-0000000001.tar";

#[tokio::test]
async fn a_rebuild_that_the_disk_ends_ends_the_archive_and_the_next_start_has_everything() {
    let directory = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let index = MemoryIndex::new();
    let open = || try_open(directory.path(), &faults, &index, |_| ());
    let archive = open().await.unwrap();
    let samples = [sample(1, 1, 9_000), sample(2, 1, 500)];
    for sample in &samples {
        rig::deposit(&archive, sample).await.unwrap();
    }

    faults.opens_fail.store(true, Ordering::SeqCst);
    let error = archive
        .rebuild(&rig::permit::<Maintain>(), |_| ())
        .await
        .unwrap_err();
    archive.failed().await;
    let later = rig::deposit(&archive, &samples[0]).await.unwrap_err();
    archive.close().await;
    drop(archive);
    faults.opens_fail.store(false, Ordering::SeqCst);

    assert!(matches!(error, MaintainError::Disk(_)), "{error:?}");
    assert!(matches!(later, DepositError::Closed), "{later:?}");
    rig::assert_holds(&open().await.unwrap(), &samples).await;
}

#[tokio::test]
async fn a_bad_block_is_damage_to_one_entry_and_ends_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let archive = open(directory.path(), &faults).await;
    let samples = [
        sample(1, 1, 9_000),
        sample(2, 1, 9_000),
        sample(3, 1, 9_000),
    ];
    let mut starts = vec![0];
    for sample in &samples {
        rig::deposit(&archive, sample).await.unwrap();
        let log = directory.path().join(FIRST);
        starts.push(std::fs::metadata(log).unwrap().len());
    }
    let maintain = rig::permit::<Maintain>();
    let rest = [samples[0].clone(), samples[2].clone()];

    // Its first header, its second, its data set.
    for at in [0, 1_536, 4_096] {
        *faults.bad_block.lock().unwrap() = Some((FIRST.to_owned(), starts[1] + at));

        let report = archive.verify(&maintain, |_| ()).await.unwrap();
        let done = archive.rebuild(&maintain, |_| ()).await.unwrap();

        assert!(!report.is_clean(), "at {at}");
        assert_eq!(done.damaged_count, 1, "at {at}");
        rig::assert_holds(&archive, &rest).await;
        let copy = rig::copy_of(directory.path());
        let reopened = open(copy.path(), &faults).await;
        assert_eq!(reopened.opened().damaged_count, 1, "at {at}");
        rig::assert_holds(&reopened, &rest).await;
        *faults.bad_block.lock().unwrap() = None;
        archive.rebuild(&maintain, |_| ()).await.unwrap();
        rig::assert_holds(&archive, &samples).await;
    }
}

#[tokio::test]
async fn a_tail_that_cannot_be_read_is_left_alone_and_the_log_goes_on_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let samples = [sample(1, 1, 9_000), sample(2, 1, 9_000)];
    let archive = open(directory.path(), &faults).await;
    rig::deposit(&archive, &samples[0]).await.unwrap();
    let log = directory.path().join(FIRST);
    let start = std::fs::metadata(&log).unwrap().len();
    rig::deposit(&archive, &samples[1]).await.unwrap();
    let copy = rig::copy_of(directory.path());
    let before = std::fs::read(copy.path().join(FIRST)).unwrap();

    *faults.bad_block.lock().unwrap() = Some((FIRST.to_owned(), start + 4_096));
    let archive = open(copy.path(), &faults).await;
    assert_eq!(archive.opened().damaged_count, 1);
    rig::assert_holds(&archive, &samples[..1]).await;
    let third = sample(3, 1, 9_000);
    rig::deposit(&archive, &third).await.unwrap();
    archive.close().await;
    drop(archive);
    *faults.bad_block.lock().unwrap() = None;

    assert!(std::fs::read(copy.path().join(FIRST)).unwrap() == before);
    let archive = open(copy.path(), &faults).await;
    rig::assert_holds(&archive, &[&samples[..], &[third]].concat()).await;
}

#[tokio::test]
async fn what_may_be_in_memory_alone_after_a_failed_sync_is_written_again() {
    let directory = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let archive = open(directory.path(), &faults).await;
    rig::deposit(&archive, &sample(1, 1, 9_000)).await.unwrap();
    let start = std::fs::metadata(directory.path().join(FIRST))
        .unwrap()
        .len();
    faults.sync_fails.store(true, Ordering::SeqCst);
    rig::deposit(&archive, &sample(2, 1, 500))
        .await
        .unwrap_err();
    archive.close().await;
    drop(archive);
    faults.sync_fails.store(false, Ordering::SeqCst);
    faults.writes.lock().unwrap().clear();
    let syncs_count = faults.syncs_count.load(Ordering::SeqCst);

    let archive = open(directory.path(), &faults).await;

    rig::assert_holds(&archive, &[sample(1, 1, 9_000), sample(2, 1, 500)]).await;
    let writes = faults.writes.lock().unwrap().clone();
    assert_eq!(writes, [(FIRST.to_owned(), start)]);
    assert_eq!(faults.syncs_count.load(Ordering::SeqCst) - syncs_count, 2);
}

/// Calls `hook` at the first time a step is reached.
fn at_step(
    step: &'static str,
    hook: impl FnOnce() + Send + 'static,
) -> impl FnOnce(&mut ArchiveOptions) {
    let hook = std::sync::Mutex::new(Some(hook));
    move |options: &mut ArchiveOptions| {
        options.fail_points = FailPoints::new(move |reached| {
            if reached == step
                && let Some(hook) = hook.lock().unwrap().take()
            {
                hook();
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_failed_sync_of_a_large_pack_ends_the_group_that_is_under_way() {
    let directory = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let (reached, is_held) = std::sync::mpsc::channel();
    let (go, held) = std::sync::mpsc::channel::<()>();
    let hold = at_step("after-stage", move || {
        reached.send(()).unwrap();
        held.recv().unwrap();
    });
    let archive = open_with(directory.path(), &faults, |o| {
        hold(o);
        o.limits.large_bytes = 50_000;
    })
    .await;
    let other = archive.clone();
    let first = tokio::spawn(async move { rig::deposit(&other, &sample(1, 1, 500)).await });
    is_held.recv().unwrap();
    let other = archive.clone();
    let second = tokio::spawn(async move { rig::deposit(&other, &sample(2, 1, 500)).await });
    while archive.waiting_count() < 1 {
        tokio::task::yield_now().await;
    }

    faults.sync_fails.store(true, Ordering::SeqCst);
    let large = rig::deposit(&archive, &sample(3, 1, 90_000)).await;
    archive.failed().await;
    faults.sync_fails.store(false, Ordering::SeqCst);
    let syncs_count = faults.syncs_count.load(Ordering::SeqCst);
    go.send(()).unwrap();

    large.unwrap_err();
    for refused in [first.await.unwrap(), second.await.unwrap()] {
        assert!(matches!(refused, Err(DepositError::Closed)), "{refused:?}");
    }
    assert_eq!(rig::select(&archive).await, []);
    assert_eq!(faults.syncs_count.load(Ordering::SeqCst), syncs_count);
}

#[tokio::test]
async fn a_panic_of_the_thread_that_commits_is_a_failure_of_the_archive() {
    let directory = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let panics = at_step("after-sync", || panic!("as the test wants it"));
    let archive = open_with(directory.path(), &faults, panics).await;

    let refused = rig::deposit(&archive, &sample(1, 1, 500)).await;
    archive.failed().await;

    assert!(matches!(refused, Err(DepositError::Closed)), "{refused:?}");
    archive.close().await;
}

#[tokio::test]
async fn a_directory_that_could_not_be_synced_for_the_next_pack_ends_the_archive() {
    let directory = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let change = |o: &mut ArchiveOptions| o.limits.pack_bytes = 20_000;
    let archive = open_with(directory.path(), &faults, change).await;
    let samples = [sample(1, 1, 5_000), sample(2, 1, 30_000)];

    rig::deposit(&archive, &samples[0]).await.unwrap();
    faults.directory_sync_fails.store(true, Ordering::SeqCst);
    rig::deposit(&archive, &samples[1]).await.unwrap();
    archive.failed().await;
    archive.close().await;
    drop(archive);

    faults.directory_sync_fails.store(false, Ordering::SeqCst);
    let archive = open_with(directory.path(), &faults, change).await;
    rig::assert_holds(&archive, &samples).await;
}

#[tokio::test]
async fn a_next_pack_that_could_not_be_made_once_is_made_later() {
    let directory = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let change = |o: &mut ArchiveOptions| o.limits.pack_bytes = 20_000;
    let archive = open_with(directory.path(), &faults, change).await;
    // Somebody's file, which is not to be taken for a pack, and goes away later.
    let second = directory.path().join("packs/log-0000000002.tar");
    std::fs::write(&second, "no pack").unwrap();
    let samples: Vec<_> = (0..4).map(|number| sample(number, 1, 30_000)).collect();
    rig::deposit(&archive, &samples[0]).await.unwrap();
    rig::deposit(&archive, &samples[1]).await.unwrap();
    assert_eq!(rig::pack_files(directory.path()).len(), 2);

    std::fs::write(&second, "").unwrap();
    rig::deposit(&archive, &samples[2]).await.unwrap();
    rig::deposit(&archive, &samples[3]).await.unwrap();

    rig::assert_holds(&archive, &samples).await;
    archive.close().await;
    drop(archive);
    assert!(rig::pack_files(directory.path()).len() >= 3);
    rig::assert_holds(&open(directory.path(), &faults).await, &samples).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_archive_whose_queue_is_full_can_be_closed() {
    let directory = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let (reached, is_held) = std::sync::mpsc::channel();
    let (go, held) = std::sync::mpsc::channel::<()>();
    let hold = at_step("before-append", move || {
        reached.send(()).unwrap();
        held.recv().unwrap();
    });
    let archive = open_with(directory.path(), &faults, |o| {
        hold(o);
        o.limits.queue_count_max = 1;
        o.limits.busy_wait = Duration::from_millis(10);
    })
    .await;
    let mut tasks = Vec::new();
    for number in 0..2 {
        let archive = archive.clone();
        tasks.push(tokio::spawn(async move {
            rig::deposit(&archive, &sample(number, 1, 500)).await
        }));
        if number == 0 {
            is_held.recv().unwrap();
        }
    }
    while archive.waiting_count() < 1 {
        tokio::task::yield_now().await;
    }
    let closing = archive.clone();
    let closed = tokio::spawn(async move { closing.close().await });
    // No place becomes free before these have given up waiting for one, and so has closing.
    let target = || Target::Instance(sample(1, 1, 1).announced.sop_instance);
    for _ in 0..3 {
        let hidden = archive.hide(&rig::permit::<Hide>(), target(), "").await;
        assert!(hidden.is_err());
    }
    go.send(()).unwrap();

    closed.await.unwrap();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_pack_that_cannot_be_opened_ends_a_verification_and_is_no_damage() {
    let directory = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let archive = open(directory.path(), &faults).await;
    rig::deposit(&archive, &sample(1, 1, 500)).await.unwrap();
    let maintain = rig::permit::<Maintain>();

    faults.opens_fail.store(true, Ordering::SeqCst);
    let error = archive.verify(&maintain, |_| ()).await.unwrap_err();
    faults.opens_fail.store(false, Ordering::SeqCst);

    assert!(matches!(error, MaintainError::Disk(_)), "{error:?}");
    assert!(archive.verify(&maintain, |_| ()).await.unwrap().is_clean());
}
