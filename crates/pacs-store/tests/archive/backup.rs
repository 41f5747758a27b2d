//! Backup, restore and repair of packs, on disks that work and on one that crashes.

use crate::maintain::{changes, lived_in};
use crate::rig::{self, Sample, sample};
use pacs_core::access::{Get, Maintain};
use pacs_store::backup::{self, Backup, BackupReport, Document, Manifest, Restored};
use pacs_store::disk::{Disk, OsDisk};
use pacs_store::index::memory::MemoryIndex;
use pacs_store::records::memory::MemoryRecords;
use pacs_store::records::redb::RedbRecords;
use pacs_store::records::{Kind, Records};
use pacs_store::repair::repair;
use pacs_store::{Archive, ArchiveOptions, BackupError, DataDirectory, OpenError};
use pacs_store_conformance::crash_disk::CrashDisk;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

pub(crate) fn small(options: &mut ArchiveOptions) {
    options.limits.large_bytes = 100_000;
    options.limits.pack_bytes = 9_000;
}

async fn open(directory: &Path) -> Archive {
    rig::open_with(directory, small).await
}

pub(crate) fn disk(directory: &Path) -> Arc<dyn Disk> {
    Arc::new(OsDisk::open(directory).unwrap())
}

/// Backs up an archive that is open, as the tool does.
pub(crate) async fn back_up_to(
    archive: &Archive,
    data: &Path,
    target: Arc<dyn Disk>,
) -> Result<BackupReport, BackupError> {
    let maintain = rig::permit::<Maintain>();
    let mut backup = Backup::open(target)?;
    let documents = Arc::new(Mutex::new(Vec::new()));
    let taken = Arc::clone(&documents);
    let take = move |kind: &str, record| {
        taken.lock().unwrap().push(Document::new(kind, record));
        true
    };
    archive.documents(&maintain, Box::new(take)).await.unwrap();
    for document in documents.lock().unwrap().iter() {
        backup.document(document)?;
    }
    let committed = archive.committed(&maintain).await.unwrap();
    backup.copy(&*disk(data), committed, 1_795_000_000_000, |_| ())
}

async fn back_up(archive: &Archive, data: &Path, to: &Path) -> BackupReport {
    back_up_to(archive, data, disk(to)).await.unwrap()
}

fn restore(from: &Path) -> (TempDir, Restored) {
    let to = tempfile::tempdir().unwrap();
    let restored = backup::restore(&*disk(from), disk(to.path()), |_| ()).unwrap();
    (to, restored)
}

/// Everything that an archive answers, and whether it is sound.
async fn assert_equal(restored: &Path, archive: &Archive, visible: &[Sample]) {
    let other = open(restored).await;
    assert_eq!(changes(&other).await, changes(archive).await);
    rig::assert_holds(&other, visible).await;
    let report = other.verify(&rig::permit::<Maintain>(), |_| ()).await;
    let report = report.unwrap();
    assert!(report.is_clean(), "{report:?}");
    other.close().await;
}

fn visible() -> Vec<Sample> {
    vec![sample(2, 1, 2_000), sample(3, 1, 2_000)]
}

#[tokio::test]
async fn a_backup_of_an_open_archive_gives_all_of_it_again() {
    let (data, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let records = Arc::new(MemoryRecords::new());
    let kept: Arc<dyn Records> = Arc::clone(&records) as _;
    let archive = rig::open_with(data.path(), |o| {
        small(o);
        o.records = kept;
    })
    .await;
    lived_in(&archive).await;
    let revision = records.put(Kind::CURSOR, "f", b"3".to_vec(), None).await;

    let first = back_up(&archive, data.path(), to.path()).await;
    // What came since alone is copied; what is there already stays.
    rig::deposit(&archive, &sample(8, 1, 300_000))
        .await
        .unwrap();
    rig::deposit(&archive, &sample(9, 1, 100)).await.unwrap();
    let second = back_up(&archive, data.path(), to.path()).await;
    let third = back_up(&archive, data.path(), to.path()).await;

    assert_eq!((first.damaged_count, second.damaged_count), (0, 0));
    assert!(first.copied_bytes > 300_000, "{first:?}");
    assert!(
        (300_000..310_000).contains(&second.copied_bytes),
        "{second:?}"
    );
    assert_eq!(third.copied_bytes, 0);
    assert!(backup::check(&*disk(to.path()), |_| ()).unwrap().is_empty());
    let (restored, told) = restore(to.path());
    assert_eq!(told.committed, third.committed);
    assert_eq!(
        told.committed.change.0,
        changes(&archive).await.len() as u64
    );
    assert!(told.damaged.is_empty());
    let now = [visible(), vec![sample(8, 1, 300_000), sample(9, 1, 100)]].concat();
    assert_equal(restored.path(), &archive, &now).await;
    let directory = DataDirectory::open(disk(restored.path())).unwrap();
    let again = RedbRecords::open(&directory).unwrap();
    let document = again.get(Kind::CURSOR, "f").await.unwrap().unwrap();
    assert_eq!(
        (document.revision, &*document.value),
        (revision.unwrap(), &b"3"[..])
    );
}

#[tokio::test]
async fn a_restored_archive_goes_on_and_so_does_its_backup() {
    let (data, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let archive = open(data.path()).await;
    lived_in(&archive).await;
    back_up(&archive, data.path(), to.path()).await;
    // This is lost.
    rig::deposit(&archive, &sample(8, 1, 100)).await.unwrap();
    archive.close().await;
    drop(archive);
    let (restored, _) = restore(to.path());

    let archive = open(restored.path()).await;
    rig::deposit(&archive, &sample(9, 1, 100)).await.unwrap();
    back_up(&archive, restored.path(), to.path()).await;

    let (again, _) = restore(to.path());
    let now = [visible(), vec![sample(9, 1, 100)]].concat();
    assert_equal(again.path(), &archive, &now).await;
    // The one that was lost went another way.
    let lost = open(data.path()).await;
    rig::deposit(&lost, &sample(10, 1, 9_000)).await.unwrap();
    let refused = back_up_to(&lost, data.path(), disk(to.path())).await;
    assert!(
        matches!(refused, Err(BackupError::OtherArchive { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn two_archives_are_not_mixed_and_nothing_else_is_written_over() {
    let (data, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let other_data = tempfile::tempdir().unwrap();
    let archive = open(data.path()).await;
    lived_in(&archive).await;
    back_up(&archive, data.path(), to.path()).await;
    let before = fs::read(to.path().join("MANIFEST")).unwrap();

    let other = open(other_data.path()).await;
    let ahead = back_up_to(&other, other_data.path(), disk(to.path())).await;
    lived_in(&other).await;
    for number in 20..30 {
        rig::deposit(&other, &sample(number, 1, 3_000))
            .await
            .unwrap();
    }
    let refused = back_up_to(&other, other_data.path(), disk(to.path())).await;
    let into_data = back_up_to(&archive, data.path(), disk(other_data.path())).await;
    fs::write(to.path().join("x"), "").unwrap();
    let restored = backup::restore(&*disk(to.path()), disk(other_data.path()), |_| ());
    let onto_backup = backup::restore(&*disk(to.path()), disk(to.path()), |_| ());

    assert!(matches!(ahead, Err(BackupError::Ahead { .. })), "{ahead:?}");
    assert!(
        matches!(refused, Err(BackupError::OtherArchive { .. })),
        "{refused:?}"
    );
    // The folder is locked by the archive that has it open.
    assert!(
        matches!(into_data, Err(BackupError::Locked { .. })),
        "{into_data:?}"
    );
    assert!(
        matches!(restored, Err(BackupError::Locked { .. })),
        "{restored:?}"
    );
    assert!(
        matches!(onto_backup, Err(BackupError::NotEmpty { .. })),
        "{onto_backup:?}"
    );
    assert_eq!(fs::read(to.path().join("MANIFEST")).unwrap(), before);
    other.close().await;
    drop(other);
    let into_data = back_up_to(&archive, data.path(), disk(other_data.path())).await;
    assert!(
        matches!(into_data, Err(BackupError::NotEmpty { .. })),
        "{into_data:?}"
    );
    let restored = backup::restore(&*disk(to.path()), disk(other_data.path()), |_| ());
    assert!(
        matches!(restored, Err(BackupError::NotEmpty { .. })),
        "{restored:?}"
    );
}

/// A copy of a folder on a disk that crashes.
pub(crate) fn on_crash_disk(from: &Path, seed: u64) -> CrashDisk {
    let to = CrashDisk::new(seed);
    to.create_directory("packs").unwrap();
    let source = disk(from);
    for directory in ["", "packs"] {
        for name in source.list(directory).unwrap() {
            let name = format!("{directory}/{name}");
            let name = name.trim_start_matches('/');
            let bytes = fs::read(from.join(name)).unwrap();
            let file = to.open(name, pacs_store::disk::OpenHow::CreateNew).unwrap();
            file.write_at(&bytes, 0).unwrap();
            file.sync_data().unwrap();
        }
        to.sync_directory(directory).unwrap();
    }
    to
}

#[tokio::test]
async fn a_crash_at_any_operation_leaves_the_backup_before_or_the_new_one() {
    let (data, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let archive = open(data.path()).await;
    lived_in(&archive).await;
    let old = back_up(&archive, data.path(), to.path()).await.committed;
    fs::remove_file(to.path().join("LOCK")).unwrap();
    for number in 10..14 {
        rig::deposit(&archive, &sample(number, 1, 4_000))
            .await
            .unwrap();
    }
    rig::deposit(&archive, &sample(14, 1, 200_000))
        .await
        .unwrap();
    let new = archive.committed(&rig::permit::<Maintain>()).await.unwrap();
    let (mut old_count, mut new_count) = (0, 0);
    let mut operation = 1;
    loop {
        let folder = on_crash_disk(to.path(), operation);
        folder.crash_at(folder.operations_count() + operation);
        let done = back_up_to(&archive, data.path(), Arc::new(folder.clone())).await;
        let folder = folder.restarted();

        let manifest = Manifest::read(&folder).unwrap().unwrap();
        assert_eq!(
            backup::check(&folder, |_| ()).unwrap(),
            [""; 0],
            "{operation}"
        );
        if done.is_ok() {
            assert_eq!(manifest.committed, new, "{operation}");
        }
        old_count += usize::from(manifest.committed == old);
        new_count += usize::from(manifest.committed == new);
        // It goes on from there.
        let again = back_up_to(&archive, data.path(), Arc::new(folder.clone())).await;
        assert_eq!(again.unwrap().committed, new, "{operation}");
        assert_eq!(
            backup::check(&folder, |_| ()).unwrap(),
            [""; 0],
            "{operation}"
        );
        if done.is_ok() {
            break;
        }
        operation += 1;
    }
    assert!(old_count > 5 && new_count > 0, "{old_count} {new_count}");
}

#[tokio::test]
async fn a_crash_at_any_operation_of_a_restoration_is_finished_by_the_next() {
    let (data, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let archive = open(data.path()).await;
    lived_in(&archive).await;
    let committed = back_up(&archive, data.path(), to.path()).await.committed;
    let expected = changes(&archive).await;
    let from = disk(to.path());
    let mut half_count = 0;
    for operation in 1.. {
        let target = CrashDisk::new(operation);
        target.crash_at(operation);
        let done = backup::restore(&*from, Arc::new(target.clone()), |_| ());
        let target = target.restarted();

        let names = target.file_names();
        if names.iter().any(|name| name == "RESTORING") {
            half_count += 1;
            let opened = DataDirectory::open(Arc::new(target.clone()));
            assert!(
                matches!(opened, Err(OpenError::HalfRestored)),
                "{operation}"
            );
        }
        if !names.iter().any(|name| name == "FORMAT") || half_count == 1 {
            let again = backup::restore(&*from, Arc::new(target.clone()), |_| ());
            assert_eq!(again.unwrap().committed, committed, "{operation}");
        }
        if !target.file_names().iter().any(|name| name == "RESTORING") {
            let directory = DataDirectory::open(Arc::new(target)).unwrap();
            RedbRecords::open(&directory).unwrap();
            let mut options = ArchiveOptions::new(directory, Arc::new(MemoryIndex::new()));
            small(&mut options);
            let archive = Archive::open(options).await.unwrap();
            assert_eq!(changes(&archive).await, expected, "{operation}");
        }
        if done.is_ok() {
            break;
        }
    }
    assert!(half_count > 10, "{half_count}");
}

#[tokio::test]
async fn what_is_damaged_in_a_backup_is_named_and_the_rest_restored() {
    let (data, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let records = MemoryRecords::new();
    let put = records.put(Kind::CURSOR, "f", b"3".to_vec(), None).await;
    put.unwrap();
    let archive = rig::open_with(data.path(), |o| {
        small(o);
        o.records = Arc::new(records);
    })
    .await;
    for number in 1..6 {
        rig::deposit(&archive, &sample(number, 1, 4_000))
            .await
            .unwrap();
    }
    back_up(&archive, data.path(), to.path()).await;
    flip(&to.path().join("packs/log-0000000001.tar"), 3_000);
    fs::write(to.path().join("records-0000000001.jsonl"), "x").unwrap();

    let damaged = backup::check(&*disk(to.path()), |_| ()).unwrap();
    let (restored, told) = restore(to.path());

    assert_eq!(
        damaged,
        ["records-0000000001.jsonl", "packs/log-0000000001.tar"]
    );
    assert_eq!(
        told.damaged,
        ["packs/log-0000000001.tar", "records-0000000001.jsonl"]
    );
    let other = open(restored.path()).await;
    assert_eq!(other.opened().damaged_count, 1);
    let rest: Vec<_> = (2..6).map(|n| sample(n, 1, 4_000)).collect();
    rig::assert_holds(&other, &rest).await;
    flip(&to.path().join("MANIFEST"), 50);
    let refused = backup::restore(&*disk(to.path()), disk(&to.path().join("n")), |_| ());
    assert!(matches!(refused, Err(BackupError::Manifest)), "{refused:?}");
}

#[tokio::test]
async fn damage_in_the_archive_does_not_come_over_a_good_copy() {
    let (data, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let archive = rig::open(data.path()).await;
    for number in 1..4 {
        rig::deposit(&archive, &sample(number, 1, 4_000))
            .await
            .unwrap();
    }
    back_up(&archive, data.path(), to.path()).await;
    // In what was copied, and in what was not.
    flip(&data.path().join("packs/log-0000000001.tar"), 3_000);
    rig::deposit(&archive, &sample(4, 1, 4_000)).await.unwrap();
    let last = rig::select(&archive).await.pop().unwrap();
    flip(
        &data.path().join("packs/log-0000000001.tar"),
        last.location.offset + 500,
    );

    let report = back_up(&archive, data.path(), to.path()).await;

    assert_eq!(report.damaged_count, 1, "{report:?}");
    let (restored, told) = restore(to.path());
    assert!(told.damaged.is_empty());
    let other = rig::open(restored.path()).await;
    let first: Vec<_> = (1..4).map(|n| sample(n, 1, 4_000)).collect();
    rig::assert_holds(&other, &first).await;
}

fn flip(file: &Path, at: u64) {
    let mut bytes = fs::read(file).unwrap();
    bytes[usize::try_from(at).unwrap()] ^= 4;
    fs::write(file, bytes).unwrap();
}

fn packs(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let read = |name: String| {
        let bytes = fs::read(directory.join("packs").join(&name)).unwrap();
        (name, bytes)
    };
    rig::pack_files(directory).into_iter().map(read).collect()
}

#[tokio::test]
async fn whatever_is_damaged_in_the_packs_is_as_it_was_after_a_repair() {
    let (data, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let archive = open(data.path()).await;
    lived_in(&archive).await;
    let committed = archive.committed(&rig::permit::<Maintain>()).await.unwrap();
    back_up(&archive, data.path(), to.path()).await;
    archive.close().await;
    drop(archive);
    let whole = packs(data.path());
    let end = committed.position;
    for (name, bytes) in &whole {
        let file = data.path().join("packs").join(name);
        let is_last = name == &format!("log-{:010}.tar", end.pack);
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        let mut places: Vec<_> = (0..=used).step_by(used / 60 + 1).collect();
        places.push(used);
        for at in places {
            if is_last && at as u64 >= end.offset {
                continue;
            }
            flip(&file, at as u64);
            let report = repair(&*disk(data.path()), end, &*disk(to.path()), |_| ()).unwrap();
            assert_eq!(
                (report.damaged_count, report.repaired_count),
                (1, 1),
                "{name} {at}"
            );
            assert_eq!(&fs::read(&file).unwrap(), bytes, "{name} {at}");
        }
        // All of it, half of it, or the file.
        fs::remove_file(&file).unwrap();
        let report = repair(&*disk(data.path()), end, &*disk(to.path()), |_| ()).unwrap();
        assert!(
            report.is_clean() && report.damaged_count == 1,
            "{name} {report:?}"
        );
        let now = fs::read(&file).unwrap();
        assert!(
            bytes.starts_with(&now) && now.len() > used.min(9_000) / 2,
            "{name}"
        );
        fs::write(&file, bytes).unwrap();
        let half = if is_last {
            usize::try_from(end.offset).unwrap() / 2
        } else {
            bytes.len() / 2
        };
        fs::write(&file, &bytes[..half]).unwrap();
        let report = repair(&*disk(data.path()), end, &*disk(to.path()), |_| ()).unwrap();
        assert!(
            report.is_clean() && report.damaged_count > 0,
            "{name} {report:?}"
        );
        let again = open(data.path()).await;
        rig::assert_holds(&again, &visible()).await;
        let verified = again
            .verify(&rig::permit::<Maintain>(), |_| ())
            .await
            .unwrap();
        assert!(verified.is_clean(), "{name} {verified:?}");
        again.close().await;
        drop(again);
        for (name, bytes) in &whole {
            fs::write(data.path().join("packs").join(name), bytes).unwrap();
        }
    }
}

#[tokio::test]
async fn a_repair_writes_nothing_that_does_not_prove_itself() {
    let (data, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let other_data = tempfile::tempdir().unwrap();
    let archive = open(data.path()).await;
    lived_in(&archive).await;
    let end = archive
        .committed(&rig::permit::<Maintain>())
        .await
        .unwrap()
        .position;
    back_up(&archive, data.path(), to.path()).await;
    // Another archive that has one of the instances, elsewhere.
    let other = open(other_data.path()).await;
    rig::deposit(&other, &sample(30, 1, 700)).await.unwrap();
    rig::deposit(&other, &sample(2, 1, 2_000)).await.unwrap();
    let stored = rig::select(&archive).await;
    let name = |at: usize| format!("packs/log-{:010}.tar", stored[at].location.pack);
    flip(&data.path().join(name(0)), stored[0].location.offset + 900);
    flip(&data.path().join(name(1)), stored[1].location.offset + 900);
    let damaged = packs(data.path());

    // A copy that has the same damage.
    flip(&to.path().join(name(0)), stored[0].location.offset + 900);
    flip(&to.path().join(name(1)), stored[1].location.offset + 900);
    let nothing = repair(&*disk(data.path()), end, &*disk(to.path()), |_| ()).unwrap();
    assert_eq!((nothing.damaged_count, nothing.repaired_count), (2, 0));
    assert_eq!(nothing.unrepaired.len(), 2);
    assert_eq!(packs(data.path()), damaged);

    let some = repair(&*disk(data.path()), end, &*disk(other_data.path()), |_| ()).unwrap();
    assert_eq!((some.damaged_count, some.repaired_count), (2, 1));
    assert_eq!(some.unrepaired.len(), 1);
    assert_eq!(
        rig::read(&archive, &stored[0]).await,
        sample(2, 1, 2_000).data_set
    );
    // It serves what is right meanwhile, or nothing.
    let permit = rig::permit::<Get>();
    let read = archive.read(&permit, &stored[1]).next().await;
    assert!(read.is_err());
}
