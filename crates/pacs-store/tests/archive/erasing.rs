//! Erasing for good: nobody gets it, nothing has its bytes, and nothing else is harmed, whenever
//! the process dies.

use crate::backup::{back_up_to, disk, on_crash_disk, small};
use crate::maintain::changes;
use crate::rig::{self, Sample, sample, sample_in};
use pacs_core::access::{Get, Hide, Maintain};
use pacs_core::{Level, Query, StudyUid};
use pacs_store::backup;
use pacs_store::index::{ChangeKind, Target};
use pacs_store::records::memory::MemoryRecords;
use pacs_store::repair::repair;
use pacs_store::scrub::{ScrubPlan, ScrubState};
use pacs_store::{Archive, EraseError, ErasedStudy, FailPoints, Outcome};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::watch;

/// The study that is erased.
const DOOMED: &str = "1.2.8";

/// In no sample but those of that study.
const CANARY: &[u8] = &[b'#'; 300];

fn doomed_uid() -> StudyUid {
    StudyUid::parse(DOOMED).unwrap()
}

/// An instance of the study that is erased: its pixels are the canary, again and again.
fn doomed(number: u32, content: u8, pixel_bytes: usize) -> Sample {
    let uid = format!("{DOOMED}.1.{number}");
    let mut sample = sample_in(DOOMED, &uid, content, pixel_bytes);
    let mut data_set = sample.data_set.to_vec();
    let begin = data_set.len() - pixel_bytes + 1;
    data_set[begin..].fill(b'#');
    sample.data_set = data_set.into();
    sample
}

async fn open(directory: &Path) -> Archive {
    rig::open_with(directory, small).await
}

fn kept() -> Vec<Sample> {
    vec![
        sample(1, 1, 2_000),
        sample(2, 1, 150_000),
        sample(3, 1, 500),
    ]
}

/// What is to be erased: in several packs, in one of its own, two versions, hidden.
async fn fill(archive: &Archive) {
    let kept = kept();
    let all = [
        &kept[0],
        &doomed(1, 1, 3_000),
        &doomed(2, 1, 200_000),
        &kept[1],
        &doomed(3, 1, 700),
        &doomed(3, 2, 700),
        &doomed(4, 1, 5_000),
        &kept[2],
    ];
    for sample in all {
        rig::deposit(archive, sample).await.unwrap();
    }
    let hide = rig::permit::<Hide>();
    let uid = doomed(4, 1, 5_000).announced.sop_instance;
    for (target, count) in [(Target::Instance(uid), 1), (whole(), 3)] {
        let hidden = archive.hide(&hide, target, "wrong").await;
        assert_eq!(hidden.unwrap(), count);
    }
}

fn whole() -> Target {
    Target::Study(doomed_uid())
}

async fn erase(archive: &Archive) -> ErasedStudy {
    let hide = rig::permit::<Hide>();
    archive.erase(&hide, &doomed_uid()).await.unwrap()
}

/// How many files of a folder have the canary.
fn canaries_in(directory: &Path) -> usize {
    let folder = directory.join("packs");
    let has = |name: &String| {
        let bytes = fs::read(folder.join(name)).unwrap();
        bytes.windows(CANARY.len()).any(|at| at == CANARY)
    };
    rig::pack_files(directory)
        .iter()
        .filter(|name| has(name))
        .count()
}

/// How many instances of the study come into sight, or are.
async fn brought_back(archive: &Archive) -> usize {
    let hide = rig::permit::<Hide>();
    archive.restore(&hide, whole()).await.unwrap();
    let all = Query::new(Level::Study);
    let found = archive.select(&rig::permit::<Get>(), &all).await.unwrap();
    let of_it = found.iter();
    of_it
        .filter(|stored| stored.instance.study == doomed_uid())
        .count()
}

async fn assert_sound(archive: &Archive) {
    let maintain = rig::permit::<Maintain>();
    let report = archive.verify(&maintain, |_| ()).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
}

/// Each pack is a tar of the same length as before, with the same files in it.
fn listed(directory: &Path) -> Vec<(String, u64, String)> {
    let list = |name: String| {
        let path = directory.join("packs").join(&name);
        let listed = std::process::Command::new("tar")
            .arg("-tf")
            .arg(&path)
            .output()
            .unwrap();
        assert!(listed.status.success(), "{name}");
        let length = fs::metadata(&path).unwrap().len();
        (name, length, String::from_utf8(listed.stdout).unwrap())
    };
    rig::pack_files(directory).into_iter().map(list).collect()
}

#[tokio::test]
async fn an_erased_study_leaves_the_disk_and_nothing_else_does() {
    let directory = tempfile::tempdir().unwrap();
    let archive = open(directory.path()).await;
    fill(&archive).await;
    assert!(canaries_in(directory.path()) >= 3);
    let before = changes(&archive).await.len();
    archive.close().await;
    drop(archive);
    let tars = listed(directory.path());
    let archive = open(directory.path()).await;

    let erased = erase(&archive).await;

    assert_eq!(erased.versions_count, 5);
    assert_eq!(
        (erased.destroyed.count, erased.destroyed.left_count),
        (5, 0)
    );
    assert!(erased.destroyed.bytes > 209_000, "{erased:?}");
    assert_eq!(canaries_in(directory.path()), 0);
    assert_eq!(brought_back(&archive).await, 0);
    rig::assert_holds(&archive, &kept()).await;
    assert_sound(&archive).await;
    let after = changes(&archive).await;
    let kinds: Vec<_> = after[before..].iter().map(|change| change.kind).collect();
    assert_eq!(kinds, [ChangeKind::Erased; 5]);
    assert_eq!(erase(&archive).await, ErasedStudy::default());
    // From the packs alone the same comes out, to the last number.
    let rebuilt = archive.rebuild(&rig::permit::<Maintain>(), |_| ()).await;
    assert_eq!(rebuilt.unwrap().damaged_count, 0);
    assert_eq!(changes(&archive).await, after);
    archive.close().await;
    drop(archive);
    let now = listed(directory.path());
    for (name, length, files) in &tars {
        let (_, length_now, files_now) = now.iter().find(|now| now.0 == *name).unwrap();
        // The last one was appended to.
        assert!(files_now.starts_with(files), "{name}");
        assert!(length_now == length || files_now != files, "{name}");
    }
    let archive = open(directory.path()).await;
    assert_eq!(archive.opened().damaged_count, 0);
    assert_eq!(changes(&archive).await, after);
    rig::assert_holds(&archive, &kept()).await;
    assert_sound(&archive).await;
}

#[tokio::test]
async fn what_is_sent_again_after_that_is_new_and_stays() {
    let directory = tempfile::tempdir().unwrap();
    let archive = open(directory.path()).await;
    fill(&archive).await;
    let same = rig::deposit(&archive, &doomed(1, 1, 3_000)).await.unwrap();
    assert_eq!(same.outcome, Outcome::Same);
    // What comes before it is erased is not erased: nobody agreed to that.
    let late = rig::deposit(&archive, &doomed(5, 1, 1_000)).await.unwrap();
    assert_eq!(late.outcome, Outcome::New);
    let hide = rig::permit::<Hide>();
    let refused = archive.erase(&hide, &doomed_uid()).await;
    assert!(matches!(refused, Err(EraseError::InSight)), "{refused:?}");
    archive.hide(&hide, whole(), "late").await.unwrap();
    erase(&archive).await;

    for again in [doomed(1, 1, 3_000), doomed(2, 1, 200_000)] {
        let receipt = rig::deposit(&archive, &again).await.unwrap();
        assert_eq!(receipt.outcome, Outcome::New);
    }

    let expected = changes(&archive).await;
    let archive = rig::reopen(archive, directory.path()).await;
    assert_eq!(changes(&archive).await, expected);
    assert_eq!(brought_back(&archive).await, 2);
    assert!(canaries_in(directory.path()) >= 2);
    assert_sound(&archive).await;
    // It can be erased once more.
    let hide = rig::permit::<Hide>();
    archive.hide(&hide, whole(), "again").await.unwrap();
    assert_eq!(erase(&archive).await.versions_count, 2);
    assert_eq!(canaries_in(directory.path()), 0);
}

#[tokio::test]
async fn whenever_the_process_dies_all_of_it_is_there_or_nothing_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let copies: Arc<Mutex<Vec<(&str, TempDir)>>> = Arc::default();
    let is_on = Arc::new(AtomicBool::new(false));
    let (taken, on, from) = (
        Arc::clone(&copies),
        Arc::clone(&is_on),
        directory.path().to_owned(),
    );
    let hook = move |step| {
        if on.load(Ordering::SeqCst) {
            taken.lock().unwrap().push((step, rig::copy_of(&from)));
        }
    };
    let archive = rig::open_with(directory.path(), |options| {
        small(options);
        options.fail_points = FailPoints::new(hook);
        options.limits.flush_interval = Duration::from_secs(3_600);
    })
    .await;
    fill(&archive).await;
    is_on.store(true, Ordering::SeqCst);
    erase(&archive).await;
    is_on.store(false, Ordering::SeqCst);
    let expected = changes(&archive).await;

    let copies = std::mem::take(&mut *copies.lock().unwrap());
    let (mut there_count, mut gone_count) = (0, 0);
    for (step, copy) in &copies {
        let archive = open(copy.path()).await;
        let found = changes(&archive).await;
        match brought_back(&archive).await {
            0 => {
                assert_eq!(canaries_in(copy.path()), 0, "{step}");
                assert_eq!(found, expected, "{step}");
                gone_count += 1;
            }
            count => {
                // Or what was done before is only just shown.
                let is_before = ["after-commit", "before-append"].contains(step);
                assert!(is_before && count == 4, "{step} {count}");
                there_count += 1;
            }
        }
        rig::assert_holds(&archive, &kept()).await;
        assert_sound(&archive).await;
    }
    assert!(
        there_count > 0 && gone_count > 10,
        "{there_count} {gone_count}"
    );
    let steps: Vec<_> = copies.iter().map(|(step, _)| *step).collect();
    for step in [
        "after-sync",
        "erase-begun",
        "erase-marked",
        "erase-zeroed",
        "erase-told",
    ] {
        assert!(steps.contains(&step), "{step}");
    }
}

#[tokio::test]
async fn a_scrub_finds_nothing_wrong_with_what_is_erased() {
    let directory = tempfile::tempdir().unwrap();
    let records = Arc::new(MemoryRecords::new());
    let archive = rig::open_with(directory.path(), |options| {
        small(options);
        options.records = records;
    })
    .await;
    fill(&archive).await;
    erase(&archive).await;
    let at_once = ScrubPlan {
        pass_duration: Duration::from_millis(1),
        bytes_per_second_max: u64::MAX,
    };
    let (status, mut told) = watch::channel(ScrubState::default());
    let permit = rig::permit::<Maintain>();

    let state = tokio::select! {
        ended = archive.scrub(&permit, at_once, &status) => panic!("{ended:?}"),
        state = told.wait_for(|state| state.last.is_some()) => state.unwrap().clone(),
    };

    assert!(state.is_clean(), "{state:?}");
    assert!(state.last.unwrap().entries_count > 8);
}

#[tokio::test]
async fn the_next_backup_erases_it_too_and_is_restored_without_it() {
    let (data, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let archive = open(data.path()).await;
    fill(&archive).await;
    back_up_to(&archive, data.path(), disk(to.path()))
        .await
        .unwrap();
    assert!(canaries_in(to.path()) >= 3);
    erase(&archive).await;

    let report = back_up_to(&archive, data.path(), disk(to.path()))
        .await
        .unwrap();

    assert_eq!(report.damaged_count, 0, "{report:?}");
    assert_eq!(canaries_in(to.path()), 0);
    assert_eq!(backup::check(&*disk(to.path()), |_| ()).unwrap(), [""; 0]);
    assert!(!to.path().join("ERASING").exists());
    rig::deposit(&archive, &sample(9, 1, 100)).await.unwrap();
    let report = back_up_to(&archive, data.path(), disk(to.path()))
        .await
        .unwrap();
    assert_eq!(report.damaged_count, 0, "{report:?}");
    let restored = tempfile::tempdir().unwrap();
    let told = backup::restore(&*disk(to.path()), disk(restored.path()), |_| ()).unwrap();
    assert!(told.damaged.is_empty(), "{told:?}");
    let other = open(restored.path()).await;
    assert_eq!(changes(&other).await, changes(&archive).await);
    rig::assert_holds(&other, &[kept(), vec![sample(9, 1, 100)]].concat()).await;
    assert_sound(&other).await;
    let format = fs::read_to_string(restored.path().join("FORMAT")).unwrap();
    assert_eq!(format, "pacs data directory, format 3\n");
}

#[tokio::test]
async fn a_crash_at_any_operation_while_a_backup_erases_leaves_a_backup() {
    let (data, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let archive = open(data.path()).await;
    fill(&archive).await;
    back_up_to(&archive, data.path(), disk(to.path()))
        .await
        .unwrap();
    fs::remove_file(to.path().join("LOCK")).unwrap();
    erase(&archive).await;
    for operation in 1.. {
        let folder = on_crash_disk(to.path(), operation);
        folder.crash_at(folder.operations_count() + operation);
        let done = back_up_to(&archive, data.path(), Arc::new(folder.clone())).await;
        let folder = folder.restarted();

        // What is there now can be restored: the study is there wholly, or what is left of it is
        // known to be erased.
        assert_eq!(
            backup::check(&folder, |_| ()).unwrap(),
            [""; 0],
            "{operation}"
        );
        let restored = tempfile::tempdir().unwrap();
        let told = backup::restore(&folder, disk(restored.path()), |_| ()).unwrap();
        assert!(told.damaged.is_empty(), "{operation} {told:?}");
        let other = open(restored.path()).await;
        assert_eq!(other.opened().damaged_count, 0, "{operation}");
        rig::assert_holds(&other, &kept()).await;
        assert_sound(&other).await;
        // The next one goes on.
        let again = back_up_to(&archive, data.path(), Arc::new(folder.clone())).await;
        assert_eq!(again.unwrap().damaged_count, 0, "{operation}");
        assert_eq!(
            backup::check(&folder, |_| ()).unwrap(),
            [""; 0],
            "{operation}"
        );
        let restored = tempfile::tempdir().unwrap();
        backup::restore(&folder, disk(restored.path()), |_| ()).unwrap();
        assert_eq!(canaries_in(restored.path()), 0, "{operation}");
        if done.is_ok() {
            assert!(operation > 10, "{operation}");
            break;
        }
    }
}

#[tokio::test]
async fn no_repair_from_an_older_backup_brings_it_back() {
    let (data, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let archive = open(data.path()).await;
    fill(&archive).await;
    back_up_to(&archive, data.path(), disk(to.path()))
        .await
        .unwrap();
    erase(&archive).await;
    let maintain = rig::permit::<Maintain>();
    let end = archive.committed(&maintain).await.unwrap().position;
    let expected = changes(&archive).await;
    archive.close().await;
    drop(archive);
    let packs = rig::pack_files(data.path());
    for name in &packs {
        let file = data.path().join("packs").join(name);
        let whole = fs::read(&file).unwrap();
        let is_copied = to.path().join("packs").join(name).exists();
        for damage in 0..3 {
            match damage {
                // The first header of each entry; what says that it is erased is in it.
                0 => {
                    let mut bytes = whole.clone();
                    for at in (0..bytes.len()).step_by(512) {
                        if bytes[at..].starts_with(b"erased/") {
                            bytes[at + 3] ^= 1;
                        }
                    }
                    fs::write(&file, bytes).unwrap();
                }
                1 if is_copied => fs::remove_file(&file).unwrap(),
                _ => {
                    let mut bytes = whole.clone();
                    bytes[1_500] ^= 1;
                    fs::write(&file, bytes).unwrap();
                }
            }
            repair(&*disk(data.path()), end, &*disk(to.path()), |_| ()).unwrap();
            assert_eq!(canaries_in(data.path()), 0, "{name} {damage}");
            fs::write(&file, &whole).unwrap();
        }
        // What only the mark was lost of is as it was.
        let again = open(data.path()).await;
        assert_eq!(changes(&again).await, expected, "{name}");
        rig::assert_holds(&again, &kept()).await;
        again.close().await;
    }
}
