//! Deposits: new, same, conflicting, large, refused.

use crate::rig::{self, sample, sample_with_uid};
use bytes::Bytes;
use pacs_core::access::Store;
use pacs_store::index::ChangeNumber;
use pacs_store::{Archive, Deposit, DepositError, Outcome};

#[tokio::test]
async fn what_was_deposited_is_found_and_read_back_also_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let samples = [
        sample(1, 1, 10_000),
        sample(2, 1, 526_000),
        sample(3, 1, 11),
    ];
    let archive = rig::open(directory.path()).await;

    for sample in &samples {
        let receipt = rig::deposit(&archive, sample).await.unwrap();
        assert_eq!(receipt.outcome, Outcome::New);
    }

    rig::assert_holds(&archive, &samples).await;
    let archive = rig::reopen(archive, directory.path()).await;
    assert_eq!(archive.opened().replayed_count, 3);
    rig::assert_holds(&archive, &samples).await;
}

#[tokio::test]
async fn equal_content_again_is_same_and_other_content_is_a_conflict() {
    let directory = tempfile::tempdir().unwrap();
    let archive = rig::open(directory.path()).await;
    let first = sample(1, 1, 1_000);

    let mut outcomes = Vec::new();
    for (content, fragment_bytes) in [(1, 100), (1, 7), (2, 1_000), (2, 33), (1, 5_000), (3, 9)] {
        let sample = sample(1, content, 1_000);
        let receipt = rig::deposit_in(&archive, &sample, fragment_bytes)
            .await
            .unwrap();
        outcomes.push((receipt.outcome, receipt.change));
    }

    let change = |number| Some(ChangeNumber(number));
    assert_eq!(
        outcomes,
        [
            (Outcome::New, change(1)),
            (Outcome::Same, None),
            (Outcome::Conflict { version: 2 }, change(2)),
            (Outcome::Same, None),
            (Outcome::Same, None),
            (Outcome::Conflict { version: 3 }, change(3)),
        ]
    );
    rig::assert_holds(&archive, &[first]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_instance_from_many_at_once_is_kept_once() {
    let directory = tempfile::tempdir().unwrap();
    let archive = rig::open(directory.path()).await;
    let tasks: Vec<_> = (0..24_u32)
        .map(|number| {
            let archive = archive.clone();
            tokio::spawn(async move { rig::deposit(&archive, &sample(number % 3, 1, 9_000)).await })
        })
        .collect();

    let mut new_count = 0;
    for task in tasks {
        let receipt = task.await.unwrap().unwrap();
        new_count += u32::from(receipt.outcome == Outcome::New);
    }

    assert_eq!(new_count, 3);
    assert_eq!(rig::select(&archive).await.len(), 3);
    let archive = rig::reopen(archive, directory.path()).await;
    assert_eq!(archive.opened().replayed_count, 3);
}

#[tokio::test]
async fn an_instance_above_the_limit_streams_into_a_pack_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let open = || rig::open_with(directory.path(), |o| o.limits.large_bytes = 100_000);
    let samples = [
        sample(1, 1, 5_000_001),
        sample(2, 1, 90_000),
        sample(3, 1, 200_000),
        sample_with_uid("legacy.07", 1, 300_000),
    ];
    let archive = open().await;

    for sample in &samples {
        let receipt = rig::deposit(&archive, sample).await.unwrap();
        assert_eq!(receipt.outcome, Outcome::New);
    }
    let again = rig::deposit(&archive, &samples[0]).await.unwrap();
    assert_eq!(again.outcome, Outcome::Same);

    rig::assert_holds(&archive, &samples).await;
    archive.close().await;
    drop(archive);
    assert_eq!(
        rig::pack_files(directory.path()),
        [
            "large-0000000001.tar",
            "large-0000000002.tar",
            "large-0000000003.tar",
            "log-0000000001.tar"
        ]
    );
    rig::assert_holds(&open().await, &samples).await;
}

#[tokio::test]
async fn a_deposit_that_is_dropped_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let archive = rig::open_with(directory.path(), |o| o.limits.large_bytes = 100_000).await;
    for length in [1_000, 300_000] {
        let sample = sample(1, 1, 400_000);
        let store = rig::permit::<Store>();
        let provenance = archive.provenance(store.caller());
        let mut deposit = archive
            .deposit(&store, sample.announced, provenance)
            .unwrap();
        deposit
            .write(sample.data_set.slice(..length))
            .await
            .unwrap();
        drop(deposit);
    }

    assert_eq!(rig::select(&archive).await, []);
    archive.close().await;
    assert_eq!(rig::pack_files(directory.path()), ["log-0000000001.tar"]);
}

async fn error_of(archive: &Archive, announced: &rig::Sample, bytes: Bytes) -> DepositError {
    let mut sample = announced.clone();
    sample.data_set = bytes;
    rig::deposit(archive, &sample).await.unwrap_err()
}

#[tokio::test]
async fn what_is_not_the_announced_instance_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let archive = rig::open_with(directory.path(), |o| o.limits.instance_bytes_max = 50_000).await;
    let one = sample(1, 1, 100);

    let other = error_of(&archive, &one, sample(2, 1, 100).data_set).await;
    let cut = error_of(&archive, &one, one.data_set.slice(..40)).await;
    let noise = error_of(&archive, &one, Bytes::from(vec![0xff; 600])).await;
    let long = error_of(&archive, &one, sample(1, 1, 60_000).data_set).await;
    let empty = error_of(&archive, &one, Bytes::new()).await;

    assert!(
        matches!(other, DepositError::UidMismatch { .. }),
        "{other:?}"
    );
    assert!(matches!(cut, DepositError::NotAnInstance(_)), "{cut:?}");
    assert!(matches!(noise, DepositError::NotAnInstance(_)), "{noise:?}");
    assert!(
        matches!(
            long,
            DepositError::TooLong {
                limit_bytes: 50_000
            }
        ),
        "{long:?}"
    );
    assert!(matches!(empty, DepositError::NotAnInstance(_)), "{empty:?}");
    assert_eq!(rig::select(&archive).await, []);
    let debug = format!("{other:?} {cut:?} {other} {cut}");
    assert!(!debug.contains("CANARY"));
}

/// Begins a deposit and sends `sent` bytes of it, in short fragments.
async fn begun(archive: &Archive, number: u32, sent: usize) -> Deposit {
    let store = rig::permit::<Store>();
    let sample = sample(number, 1, 60_000);
    let provenance = archive.provenance(store.caller());
    let mut deposit = archive
        .deposit(&store, sample.announced, provenance)
        .unwrap();
    for at in (0..sent).step_by(500) {
        let fragment = sample.data_set.slice(at..at + 500);
        deposit.write(fragment).await.unwrap();
    }
    deposit
}

#[tokio::test]
async fn who_holds_memory_and_stands_still_keeps_nobody_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let archive = rig::open_with(directory.path(), |o| {
        o.limits.budget_bytes = 640_000;
        o.limits.own_bytes = 20_000;
    })
    .await;
    assert!(archive.has_memory());
    let mut held = Vec::new();
    for number in 100..200 {
        held.push(begun(&archive, number, 20_000).await);
    }
    assert!(!archive.has_memory(), "the next sender is not welcome");

    // Whoever is there goes on: what is short is in memory, what is not goes to disk early.
    let samples = [
        sample(1, 1, 10_000),
        sample(2, 1, 60_000),
        sample(3, 1, 300_000),
    ];
    for sample in &samples {
        rig::deposit(&archive, sample).await.unwrap();
    }
    drop(held);

    assert!(archive.has_memory());
    rig::assert_holds(&archive, &samples).await;
    archive.close().await;
    let large = rig::pack_files(directory.path());
    assert!(large.iter().any(|name| name.starts_with("large")));
}

#[tokio::test]
async fn what_is_short_and_comes_alone_stays_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    let archive = rig::open(directory.path()).await;
    let sample = sample(1, 1, 7_000_000);

    rig::deposit(&archive, &sample).await.unwrap();

    rig::assert_holds(&archive, &[sample]).await;
    archive.close().await;
    assert_eq!(rig::pack_files(directory.path()), ["log-0000000001.tar"]);
}

#[tokio::test]
async fn a_closed_archive_takes_nothing_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let archive = rig::open(directory.path()).await;
    let store = rig::permit::<Store>();
    let begin = || {
        let provenance = archive.provenance(store.caller());
        archive.deposit(&store, sample(1, 1, 10).announced, provenance)
    };
    let mut begun = begin().unwrap();
    begun.write(sample(1, 1, 10).data_set).await.unwrap();
    archive.close().await;

    let late = begin().unwrap_err();
    let refused = begun.seal().await.unwrap_err();

    assert!(matches!(late, DepositError::Closed), "{late:?}");
    assert!(matches!(refused, DepositError::Closed), "{refused:?}");
    archive.close().await;
}
