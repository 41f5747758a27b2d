//! The files of the embedded index and of the records: reopened, killed, damaged, of another
//! version.

#![expect(clippy::unwrap_used, reason = "what cannot be made fails the test")]

use pacs_core::Level;
use pacs_core::tag::tags;
use pacs_store::DataDirectory;
use pacs_store::disk::{Disk, OpenHow, OsDisk};
use pacs_store::index::redb::{RedbIndex, RedbOptions};
use pacs_store::index::{ChangeNumber, Index, IndexError, LogPosition, Page, Quota, Target};
use pacs_store::records::redb::RedbRecords;
use pacs_store::records::{Change, Kind, Records, RecordsError};
use pacs_store_conformance::crash_disk::CrashDisk;
use pacs_store_conformance::log::{Log, apply, position};
use pacs_store_conformance::samples::{Sample, hide, query, single, study_uid};
use pacs_store_conformance::tenants::sight;
use std::sync::Arc;

const INDEX: &str = "index.redb";

fn open(disk: &CrashDisk) -> Result<Arc<dyn Index>, IndexError> {
    let directory = DataDirectory::open(Arc::new(disk.clone())).unwrap();
    let options = RedbOptions {
        cache_bytes: 1 << 20,
        ..RedbOptions::default()
    };
    Ok(Arc::new(RedbIndex::open(&directory, &options)?))
}

async fn count(index: &Arc<dyn Index>) -> usize {
    let all = query(Level::Instance, []);
    index.search(&all, &Quota::of(1_000)).await.unwrap().len()
}

#[tokio::test]
async fn after_a_crash_the_index_is_as_of_a_flush_and_a_replay_completes_it() {
    for seed in 0..100 {
        let disk = CrashDisk::new(seed);
        let log = Log::new(open(&disk).unwrap());
        for number in 1..=8 {
            let sample = Sample::new(number % 3 + 1, 1, number);
            log.add(vec![sample.record()]).await;
            if u64::from(number) == seed % 8 {
                log.index.flush().await.unwrap();
            }
        }
        let target = Target::Study(study_uid(2));
        log.add(vec![hide(target), Sample::new(2, 1, 9).record()])
            .await;
        let expected = (log.changes().await, log.entries().await);

        let disk = disk.restarted();
        let index = open(&disk).unwrap();
        let durable = index.durable_position().await.unwrap();
        assert!(durable >= position(usize::try_from(seed % 8).unwrap()) || seed % 8 == 0);
        let after = Log::new(Arc::clone(&index));
        let known = after.entries().await.len();
        assert_eq!(after.entries().await, expected.1[..known]);

        // What follows the durable position in the log.
        log.index.clear().await.unwrap_err();
        let log = log.follow(index);
        log.replay(durable).await;

        assert_eq!((log.changes().await, log.entries().await), expected);
        assert_eq!(count(&log.index).await, 5 + 1);
    }
}

#[tokio::test]
async fn what_was_flushed_is_there_after_closing_in_order() {
    let disk = CrashDisk::new(1);
    let index = open(&disk).unwrap();
    apply(
        index.as_ref(),
        vec![Sample::new(1, 1, 1).record()],
        position(1),
    )
    .await;
    index.flush().await.unwrap();
    drop(index);

    let index = open(&disk).unwrap();

    assert_eq!(index.durable_position().await.unwrap(), position(1));
    assert_eq!(count(&index).await, 1);
    // The numbers go on where they were.
    apply(
        index.as_ref(),
        vec![Sample::new(2, 1, 1).record()],
        position(2),
    )
    .await;
    assert_eq!(count(&index).await, 2);
}

/// The first commit that fails ends it: nobody knows what the file holds then.
#[tokio::test]
async fn after_a_failed_flush_nothing_more_is_taken() {
    let disk = CrashDisk::new(1);
    let index = open(&disk).unwrap();
    apply(
        index.as_ref(),
        vec![Sample::new(1, 1, 1).record()],
        position(1),
    )
    .await;
    disk.crash();

    let flushed = index.flush().await;

    assert!(matches!(flushed, Err(IndexError::Backend { .. })));
    let group = vec![Sample::new(1, 1, 2).record()];
    let staged = index.stage(group, position(2)).await;
    assert!(matches!(staged, Err(IndexError::Backend { .. })));
    assert_eq!(
        index.durable_position().await.unwrap(),
        LogPosition::default()
    );
}

#[tokio::test]
async fn a_file_that_is_no_index_is_refused_and_left_alone() {
    let disk = CrashDisk::new(1);
    let file = disk.open(INDEX, OpenHow::CreateNew).unwrap();
    file.write_at(&[b'x'; 10_000], 0).unwrap();

    let refused = open(&disk);

    assert!(matches!(refused, Err(IndexError::Damaged { .. })));
    assert_eq!(file.read_vec(0, 10_000).unwrap(), [b'x'; 10_000]);
}

/// Whatever a bad disk changes: answers, or an error, and never a panic.
#[tokio::test]
async fn damage_anywhere_is_an_error_or_harmless_and_never_a_panic() {
    let disk = CrashDisk::new(1);
    let index = open(&disk).unwrap();
    let records = (1..=60).map(|number| Sample::new(number / 5 + 1, 1, number).record());
    apply(index.as_ref(), records.collect(), position(1)).await;
    index.flush().await.unwrap();
    drop(index);
    let file = disk.open(INDEX, OpenHow::ReadWrite).unwrap();
    let length = file.length_bytes().unwrap();
    let whole = file.read_vec(0, usize::try_from(length).unwrap()).unwrap();
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap();
    let (mut refused_count, mut failed_count) = (0, 0);
    for turn in 0..60_usize {
        let at = turn * used / 60;
        let mut damaged = whole.clone();
        for byte in damaged.iter_mut().skip(at).take(40) {
            *byte ^= 0x5a;
        }
        file.write_at(&damaged, 0).unwrap();
        match open(&disk) {
            Err(error) => {
                assert!(!matches!(error, IndexError::Premature));
                refused_count += 1;
            }
            Ok(index) => {
                for level in [Level::Patient, Level::Study, Level::Instance] {
                    let all = query(level, []);
                    failed_count +=
                        usize::from(index.search(&all, &Quota::of(1_000)).await.is_err());
                    failed_count +=
                        usize::from(index.select(&all, &Quota::of(1_000)).await.is_err());
                }
                drop(index.entries(0, 1_000).await);
                drop(index.changes(ChangeNumber(0), 1_000).await);
                let group = vec![Sample::new(1, 2, 99).record()];
                let staged = index.stage(group, position(2)).await;
                failed_count += usize::from(staged.is_err());
            }
        }
    }
    assert!(
        refused_count > 0 && failed_count > 0,
        "{refused_count} {failed_count}"
    );
}

fn open_on(disk: Arc<dyn Disk>) -> Result<Arc<dyn Index>, IndexError> {
    let options = RedbOptions {
        cache_bytes: 1 << 20,
        ..RedbOptions::default()
    };
    let index = RedbIndex::open(&DataDirectory::open(disk).unwrap(), &options)?;
    Ok(Arc::new(index))
}

#[tokio::test]
async fn a_search_that_would_look_at_too_much_is_refused_and_what_is_named_is_found() {
    let directory = DataDirectory::open(Arc::new(CrashDisk::new(0))).unwrap();
    let options = RedbOptions {
        rows_max: 20,
        ..RedbOptions::default()
    };
    let index = RedbIndex::open(&directory, &options).unwrap();
    let log = Log::new(Arc::new(index));
    let records = (1..=40).map(|n| Sample::new(n % 20 + 1, 1, n).record());
    log.add(records.collect()).await;
    let number = query(Level::Instance, [(tags::INSTANCE_NUMBER, single("999"))]);
    let quota = Quota::of(1_000);
    let is_told = |error| matches!(error, Err(IndexError::TooLong { rows_max: 20 }));

    let found = log.index.search(&number, &quota).await;
    assert!(is_told(found.map(drop)));
    let page = Page {
        count_max: 1,
        ..Page::default()
    };
    let found = log.index.search_page(&number, &page, &quota).await;
    assert!(is_told(found.map(drop)));
    let selected = log.index.select(&number, &quota).await;
    assert!(is_told(selected.map(drop)));

    // Behind a study that whoever asks does not see they look for nothing, as behind none.
    let all = query(Level::Study, []);
    for after in [study_uid(15), study_uid(99)] {
        let page = Page {
            after: Some(vec![after.as_str().to_owned()]),
            count_max: 1,
            ..Page::default()
        };
        let nothing = quota.clone().seen_by(&sight(None));
        let found = log.index.search_page(&all, &page, &nothing).await;
        assert!(found.unwrap().is_none());
    }

    let uid = study_uid(3);
    let named = query(
        Level::Instance,
        [(tags::STUDY_INSTANCE_UID, single(uid.as_str()))],
    );
    assert_eq!(log.index.search(&named, &quota).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_check_finds_one_changed_bit_in_all_that_is_used() {
    let directory = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::open(directory.path()).unwrap());
    let log = Log::new(open_on(Arc::clone(&disk)).unwrap());
    // At once, so that little is in pages that were used once.
    let records = (1..=400).map(|n| Sample::new(n % 40 + 1, 1, n).record());
    log.add(records.collect()).await;
    log.index.flush().await.unwrap();
    let expected = (log.changes().await, log.entries().await);
    let Log { index, .. } = log;
    drop(index);
    let file = directory.path().join(INDEX);
    let whole = std::fs::read(&file).unwrap();
    let used: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] != 0).collect();
    let mut found_count = 0;
    for turn in 0..80 {
        let at = used[turn * used.len() / 80];
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (turn % 8);
        std::fs::write(&file, &damaged).unwrap();
        let Ok(index) = open_on(Arc::clone(&disk)) else {
            found_count += 1;
            continue;
        };
        if index.check().await.is_err() {
            found_count += 1;
            continue;
        }
        // Then it was in a page that was used once.
        let log = Log::new(index);
        let found = (log.changes().await, log.entries().await);
        assert_eq!(found, expected, "byte {at}");
    }
    assert!(found_count > 20, "{found_count}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_beside_a_writer_says_that_all_is_well() {
    let directory = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::open(directory.path()).unwrap());
    let data = DataDirectory::open(disk).unwrap();
    let index: Arc<dyn Index> = Arc::new(RedbIndex::open(&data, &RedbOptions::default()).unwrap());
    let records = RedbRecords::open(&data).unwrap();
    let checked = Arc::clone(&index);
    let writer = tokio::spawn(async move {
        for number in 1..=50_u32 {
            let group = (0..20).map(|n| Sample::new(number, 1, number * 20 + n).record());
            let end = position(usize::try_from(number).unwrap());
            apply(index.as_ref(), group.collect(), end).await;
            if number % 7 == 0 {
                index.flush().await.unwrap();
            }
        }
    });
    let mut revision = None;
    let mut checks_count = 0;
    while !writer.is_finished() || checks_count == 0 {
        checked.check().await.unwrap();
        let next = records.put(Kind::CURSOR, "k", vec![7], revision).await;
        revision = Some(next.unwrap());
        records.check().await.unwrap();
        checks_count += 1;
    }
    writer.await.unwrap();
}

#[tokio::test]
async fn records_that_were_acknowledged_survive_a_crash_at_any_operation() {
    let kind = Kind::CURSOR;
    for seed in 0..300 {
        let disk = CrashDisk::new(seed);
        disk.crash_at(seed % 60 + 1);
        let mut acknowledged = 0;
        let mut offered = 0;
        let locked = DataDirectory::open(Arc::new(disk.clone()));
        if let Ok(records) = locked
            .map_err(|_| ())
            .and_then(|d| RedbRecords::open(&d).map_err(|_| ()))
        {
            let mut revision = None;
            for value in 1..=10_u8 {
                offered = value;
                let Ok(next) = records.put(kind, "follower", vec![value], revision).await else {
                    break;
                };
                revision = Some(next);
                acknowledged = value;
            }
        }

        let disk = disk.restarted();
        let directory = DataDirectory::open(Arc::new(disk)).unwrap();
        let records = RedbRecords::open(&directory).unwrap();
        let found = records.get(kind, "follower").await.unwrap();
        let value = found.map_or(0, |record| record.value[0]);
        assert!(
            (acknowledged..=offered.max(acknowledged)).contains(&value),
            "seed {seed}: {value} of {acknowledged}"
        );
    }
}

/// Makes changes of three documents at a time until the power goes; says how many were
/// acknowledged.
async fn change_three_at_a_time(disk: &CrashDisk, turns_count: u8) -> u8 {
    let opened = DataDirectory::open(Arc::new(disk.clone()));
    let records = opened
        .map_err(drop)
        .and_then(|d| RedbRecords::open(&d).map_err(drop));
    let Ok(records) = records else { return 0 };
    let mut at = [None; 2];
    let mut last = None;
    for turn in 1..=turns_count {
        let mut changes = vec![
            Change::put(THREE[0], "k", vec![turn; 700], at[0]),
            Change::put(THREE[1], "k", vec![turn], at[1]),
        ];
        // The third comes and goes.
        changes.push(match last.take() {
            None => Change::put(THREE[2], "k", vec![turn], None),
            Some(revision) => Change::delete(THREE[2], "k", revision),
        });
        let Ok(revisions) = records.apply(changes).await else {
            return turn - 1;
        };
        at = [revisions.first().copied(), revisions.get(1).copied()];
        last = (turn % 2 == 1).then(|| revisions[2]);
    }
    turns_count
}

const THREE: [Kind; 3] = [Kind::new("a"), Kind::new("b"), Kind::new("c")];

#[tokio::test]
async fn changes_of_several_records_are_whole_after_a_crash_at_any_operation() {
    let turns_count = 6;
    for style in 0..2 {
        let mut operation = 1;
        loop {
            let disk = CrashDisk::new(style * 1_000 + operation);
            disk.crash_at(operation);
            let acknowledged = change_three_at_a_time(&disk, turns_count).await;
            let was_reached = disk.has_crashed();

            let directory = DataDirectory::open(Arc::new(disk.restarted())).unwrap();
            let records = RedbRecords::open(&directory).unwrap();
            let mut found = Vec::new();
            for kind in THREE {
                found.push(records.get(kind, "k").await.unwrap().map(|r| r.value));
            }
            let turn = found[1].as_ref().map_or(0, |value| value[0]);
            let place = format!("operation {operation}: {turn} of {acknowledged}");
            assert!(turn == acknowledged || turn == acknowledged + 1, "{place}");
            let expected = [
                (turn > 0).then(|| vec![turn; 700]),
                (turn > 0).then(|| vec![turn]),
                (turn % 2 == 1).then(|| vec![turn]),
            ];
            assert_eq!(found, expected, "{place}");
            if !was_reached {
                break;
            }
            operation += 1;
        }
        assert!(operation > 30, "{operation}");
    }
}

#[tokio::test]
async fn a_file_that_holds_no_records_is_refused() {
    let disk = CrashDisk::new(1);
    let file = disk.open("records.redb", OpenHow::CreateNew).unwrap();
    file.write_at(&[7; 5_000], 0).unwrap();
    let directory = DataDirectory::open(Arc::new(disk)).unwrap();

    let refused = RedbRecords::open(&directory);

    assert!(matches!(refused, Err(RecordsError::Damaged { .. })));
}
