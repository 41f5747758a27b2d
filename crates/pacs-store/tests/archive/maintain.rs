//! Hide, restore, changes, verify, rebuild.

use crate::rig::{self, sample};
use pacs_core::SeriesUid;
use pacs_core::access::{Get, Hide, Maintain};
use pacs_store::index::{Change, ChangeKind, ChangeNumber, Target};
use pacs_store::{Archive, HideError, Outcome, Problem, ReadError};
use std::fs;
use std::sync::{Arc, Mutex};

pub(crate) async fn changes(archive: &Archive) -> Vec<Change> {
    let maintain = rig::permit::<Maintain>();
    archive
        .changes(&maintain, ChangeNumber(0), 1_000)
        .await
        .unwrap()
}

/// An archive with something of everything in it.
pub(crate) async fn lived_in(archive: &Archive) {
    let hide = rig::permit::<Hide>();
    let series = || Target::Series(SeriesUid::parse("1.2.3.1").unwrap());
    let instance = |number| Target::Instance(sample(number, 1, 1).announced.sop_instance);
    for number in 1..6 {
        rig::deposit(archive, &sample(number, 1, 2_000))
            .await
            .unwrap();
    }
    rig::deposit(archive, &sample(2, 2, 2_000)).await.unwrap();
    assert_eq!(
        archive
            .hide(&hide, series(), "wrong patient")
            .await
            .unwrap(),
        5
    );
    assert_eq!(archive.restore(&hide, instance(3)).await.unwrap(), 1);
    assert_eq!(archive.restore(&hide, instance(3)).await.unwrap(), 0);
    rig::deposit(archive, &sample(7, 1, 300_000)).await.unwrap();
    assert_eq!(archive.restore(&hide, instance(2)).await.unwrap(), 1);
    assert_eq!(archive.hide(&hide, instance(7), "").await.unwrap(), 1);
}

#[tokio::test]
async fn what_is_hidden_goes_and_comes_back_and_the_packs_know() {
    let directory = tempfile::tempdir().unwrap();
    let archive = rig::open_with(directory.path(), |o| o.limits.large_bytes = 100_000).await;

    lived_in(&archive).await;

    let visible = [sample(2, 1, 2_000), sample(3, 1, 2_000)];
    rig::assert_holds(&archive, &visible).await;
    let before = changes(&archive).await;
    assert_eq!(before.len(), 5 + 1 + 5 + 1 + 1 + 1 + 1);
    assert_eq!(before[6].kind, ChangeKind::Hidden);
    // From the packs alone, at opening and by a rebuild, the same comes out.
    let archive = rig::reopen(archive, directory.path()).await;
    rig::assert_holds(&archive, &visible).await;
    assert_eq!(changes(&archive).await, before);
    let told = Arc::new(Mutex::new(0));
    let telling = Arc::clone(&told);
    let done = archive
        .rebuild(&rig::permit::<Maintain>(), move |p| {
            *telling.lock().unwrap() = p.entries_count
        })
        .await
        .unwrap();
    assert_eq!((done.entries_count, done.damaged_count), (12, 0));
    assert_eq!(*told.lock().unwrap(), 12);
    rig::assert_holds(&archive, &visible).await;
    assert_eq!(changes(&archive).await, before);
}

#[tokio::test]
async fn a_reason_without_end_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let archive = rig::open(directory.path()).await;
    let target = Target::Instance(sample(1, 1, 1).announced.sop_instance);

    let hide = rig::permit::<Hide>();
    let refused = archive
        .hide(&hide, target, &"x".repeat(2_000))
        .await
        .unwrap_err();

    assert!(matches!(
        refused,
        HideError::ReasonTooLong { limit_chars: 1_024 }
    ));
}

#[tokio::test]
async fn whoever_waits_for_a_change_is_woken_by_it() {
    let directory = tempfile::tempdir().unwrap();
    let archive = rig::open(directory.path()).await;
    let waiting = archive.clone();
    let waiter = tokio::spawn(async move {
        let maintain = rig::permit::<Maintain>();
        waiting
            .wait_for_change(&maintain, ChangeNumber(1))
            .await
            .unwrap();
        waiting
            .changes(&maintain, ChangeNumber(1), 10)
            .await
            .unwrap()
            .len()
    });

    rig::deposit(&archive, &sample(1, 1, 10)).await.unwrap();
    assert!(!waiter.is_finished());
    rig::deposit(&archive, &sample(2, 1, 10)).await.unwrap();

    assert_eq!(waiter.await.unwrap(), 1);
}

#[tokio::test]
async fn an_untouched_archive_verifies_clean() {
    let directory = tempfile::tempdir().unwrap();
    let change = |o: &mut pacs_store::ArchiveOptions| {
        o.limits.large_bytes = 100_000;
        o.limits.pack_bytes = 9_000;
    };
    let archive = rig::open_with(directory.path(), change).await;
    lived_in(&archive).await;

    let report = archive
        .verify(&rig::permit::<Maintain>(), |_| ())
        .await
        .unwrap();

    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.versions_count, report.entries_count), (7, 12));
    archive.close().await;
    drop(archive);
    let archive = rig::open_with(directory.path(), change).await;
    let report = archive
        .verify(&rig::permit::<Maintain>(), |_| ())
        .await
        .unwrap();
    assert!(report.is_clean(), "{report:?}");
}

#[tokio::test]
async fn one_changed_bit_anywhere_in_the_packs_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let archive = rig::open_with(directory.path(), |o| o.limits.large_bytes = 100_000).await;
    lived_in(&archive).await;
    let maintain = rig::permit::<Maintain>();
    let pack = directory.path().join("packs/log-0000000001.tar");
    let whole = fs::read(&pack).unwrap();

    // A prime, so that every part of an entry is hit.
    for at in (0..whole.len()).step_by(397) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        fs::write(&pack, &damaged).unwrap();
        let report = archive.verify(&maintain, |_| ()).await.unwrap();
        if report.is_clean() {
            // The rest of a block after what says something: fill of a header, of records, of a
            // data set.
            assert_eq!(whole[at], 0, "byte {at}");
        }
    }
    fs::write(&pack, &whole).unwrap();
    assert!(archive.verify(&maintain, |_| ()).await.unwrap().is_clean());
}

#[tokio::test]
async fn content_without_index_and_index_without_content_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let archive = rig::open_with(directory.path(), |o| o.limits.large_bytes = 100_000).await;
    let maintain = rig::permit::<Maintain>();
    rig::deposit(&archive, &sample(1, 1, 200_000))
        .await
        .unwrap();
    rig::deposit(&archive, &sample(2, 1, 200_000))
        .await
        .unwrap();
    let packs = directory.path().join("packs");
    fs::copy(
        packs.join("large-0000000001.tar"),
        packs.join("large-0000000009.tar"),
    )
    .unwrap();
    fs::remove_file(packs.join("large-0000000002.tar")).unwrap();
    archive.close().await;
    drop(archive);

    let archive = rig::open(directory.path()).await;
    let report = archive.verify(&maintain, |_| ()).await.unwrap();

    assert_eq!(archive.opened().damaged_count, 1);
    assert!(
        report
            .problems
            .iter()
            .any(|p| matches!(p, Problem::EntryDamaged { .. })),
        "{report:?}"
    );
    assert_eq!(rig::select(&archive).await.len(), 1);
}

#[tokio::test]
async fn damaged_content_never_looks_complete_to_whoever_reads_it() {
    let directory = tempfile::tempdir().unwrap();
    let archive = rig::open(directory.path()).await;
    let get = rig::permit::<Get>();
    // One chunk, and three.
    for (number, length) in [(1, 5_000), (2, 2_500_000)] {
        rig::deposit(&archive, &sample(number, 1, length))
            .await
            .unwrap();
    }
    let pack = directory.path().join("packs/log-0000000001.tar");
    let whole = fs::read(&pack).unwrap();
    for instance in rig::select(&archive).await {
        let location = instance.location;
        for at in [location.offset, location.offset + location.length_bytes - 1] {
            let mut damaged = whole.clone();
            damaged[usize::try_from(at).unwrap()] ^= 4;
            fs::write(&pack, &damaged).unwrap();

            let mut reader = archive.read(&get, &instance);
            let mut bytes = 0;
            let error = loop {
                match reader.next().await {
                    Ok(Some(chunk)) => bytes += chunk.len() as u64,
                    Ok(None) => panic!("damage was not seen"),
                    Err(error) => break error,
                }
            };

            assert!(matches!(error, ReadError::Damaged), "{error:?}");
            assert!(bytes < location.length_bytes);
            assert!(reader.next().await.unwrap().is_none());
        }
        fs::write(&pack, &whole[..1_000]).unwrap();
        let missing = archive.read(&get, &instance).next().await.unwrap_err();
        assert!(matches!(missing, ReadError::Missing), "{missing:?}");
        fs::write(&pack, &whole).unwrap();
    }
}

#[tokio::test]
async fn a_rebuild_takes_the_good_copy_of_what_was_damaged_and_sent_again() {
    let directory = tempfile::tempdir().unwrap();
    let archive = rig::open_with(directory.path(), |o| o.limits.large_bytes = 100_000).await;
    let maintain = rig::permit::<Maintain>();
    let samples = [sample(1, 1, 5_000), sample(2, 1, 300_000)];
    for sample in &samples {
        rig::deposit(&archive, sample).await.unwrap();
    }
    damage_all(&archive, directory.path()).await;

    let damaged = archive.rebuild(&maintain, |_| ()).await.unwrap();
    assert_eq!(damaged.damaged_count, 2);
    rig::assert_holds(&archive, &[]).await;
    for sample in &samples {
        let receipt = rig::deposit(&archive, sample).await.unwrap();
        assert_eq!(receipt.outcome, Outcome::New);
    }
    rig::assert_holds(&archive, &samples).await;
    archive.rebuild(&maintain, |_| ()).await.unwrap();
    rig::assert_holds(&archive, &samples).await;
    let archive = rig::reopen(archive, directory.path()).await;
    rig::assert_holds(&archive, &samples).await;
}

#[tokio::test]
async fn what_a_verification_found_damaged_is_kept_again_when_it_is_sent_again() {
    let directory = tempfile::tempdir().unwrap();
    let archive = rig::open_with(directory.path(), |o| o.limits.large_bytes = 100_000).await;
    let maintain = rig::permit::<Maintain>();
    let samples = [sample(1, 1, 5_000), sample(2, 1, 300_000)];
    for sample in &samples {
        rig::deposit(&archive, sample).await.unwrap();
    }
    damage_all(&archive, directory.path()).await;
    let report = archive.verify(&maintain, |_| ()).await.unwrap();
    assert_eq!(report.problems_count, 2, "{report:?}");

    for _ in 0..2 {
        for sample in &samples {
            let receipt = rig::deposit(&archive, sample).await.unwrap();
            assert_eq!(receipt.outcome, Outcome::Same);
        }
    }
    archive.rebuild(&maintain, |_| ()).await.unwrap();

    rig::assert_holds(&archive, &samples).await;
    let report = archive.verify(&maintain, |_| ()).await.unwrap();
    assert_eq!(report.versions_count, 2);
    // The damaged copies: the entry of the one, the pack of the other.
    assert_eq!(report.entries_count, 4, "sent again once is enough");
}

/// Changes a bit of everything that shows.
async fn damage_all(archive: &Archive, directory: &std::path::Path) {
    for instance in rig::select(archive).await {
        let name = if instance.location.length_bytes > 100_000 {
            "packs/large-0000000001.tar"
        } else {
            "packs/log-0000000001.tar"
        };
        let pack = directory.join(name);
        let mut bytes = fs::read(&pack).unwrap();
        bytes[usize::try_from(instance.location.offset).unwrap() + 2_000] ^= 1;
        fs::write(&pack, bytes).unwrap();
    }
}
