//! Deposits that commit on the thread of the sender.

use crate::faulty::{Faults, FaultyDisk};
use crate::rig::{self, sample};
use pacs_core::access::Maintain;
use pacs_store::index::memory::MemoryIndex;
use pacs_store::{Archive, ArchiveOptions, DataDirectory, DepositError, FailPoints, Outcome};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;

async fn open(directory: &Path) -> Archive {
    rig::open_with(directory, |options| options.commits_in_place = true).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_that_many_senders_were_told_of_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let archive = open(directory.path()).await;
    let samples: Vec<_> = (1..=200)
        .map(|number| sample(number, 1, if number % 4 == 0 { 300_000 } else { 3_000 }))
        .collect();

    let senders: Vec<_> = samples
        .chunks(25)
        .map(|chunk| {
            let (archive, chunk) = (archive.clone(), chunk.to_vec());
            tokio::spawn(async move {
                for sample in &chunk {
                    let receipt = rig::deposit(&archive, sample).await.unwrap();
                    assert_eq!(receipt.outcome, Outcome::New);
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }

    assert_eq!(rig::select(&archive).await.len(), samples.len());
    let archive = rig::reopen(archive, directory.path()).await;
    for stored in rig::select(&archive).await {
        let uid = &stored.instance.instance;
        let sample = samples.iter().find(|s| s.announced.sop_instance == *uid);
        assert!(rig::read(&archive, &stored).await == sample.unwrap().data_set);
    }
    let report = archive.verify(&rig::permit::<Maintain>(), |_| {}).await;
    assert!(report.unwrap().is_clean());
}

#[tokio::test]
async fn a_runtime_of_one_thread_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let archive = open(directory.path()).await;

    rig::deposit(&archive, &sample(1, 1, 500)).await.unwrap();

    rig::assert_holds(&archive, &[sample(1, 1, 500)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_is_made_durable_in_time_by_the_thread_of_the_archive() {
    let directory = tempfile::tempdir().unwrap();
    let (reached, mut steps) = mpsc::unbounded_channel();
    let archive = rig::open_with(directory.path(), |options| {
        options.commits_in_place = true;
        options.limits.flush_interval = Duration::from_millis(20);
        options.fail_points = FailPoints::new(move |step| {
            reached
                .send((step, std::thread::current().name().map(str::to_owned)))
                .ok();
        });
    })
    .await;

    rig::deposit(&archive, &sample(1, 1, 500)).await.unwrap();
    let mut commit_thread = None;
    let mut flush_thread = None;
    while let Some((step, thread)) = steps.recv().await {
        match step {
            "before-answer" => commit_thread = thread,
            "after-flush" => {
                flush_thread = thread;
                break;
            }
            _ => {}
        }
    }

    assert_ne!(commit_thread.as_deref(), Some("pacs-commit"));
    assert_eq!(flush_thread.as_deref(), Some("pacs-commit"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_fails_in_place_ends_the_archive() {
    let directory = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let data = DataDirectory::open(FaultyDisk::new(directory.path(), &faults)).unwrap();
    let archive = Archive::open(ArchiveOptions {
        commits_in_place: true,
        ..ArchiveOptions::new(data, Arc::new(MemoryIndex::new()))
    })
    .await
    .unwrap();
    rig::deposit(&archive, &sample(1, 1, 500)).await.unwrap();

    faults.sync_fails.store(true, Ordering::SeqCst);
    let refused = rig::deposit(&archive, &sample(2, 1, 500))
        .await
        .unwrap_err();
    faults.sync_fails.store(false, Ordering::SeqCst);
    archive.failed().await;
    let later = rig::deposit(&archive, &sample(3, 1, 500))
        .await
        .unwrap_err();

    assert!(matches!(refused, DepositError::Closed), "{refused:?}");
    assert!(matches!(later, DepositError::Closed), "{later:?}");
    archive.close().await;
}
