//! Opening after a crash, and of directories that are not as they should be.

use crate::rig::{self, Sample, sample};
use pacs_core::access::Maintain;
use pacs_store::disk::OsDisk;
use pacs_store::index::memory::MemoryIndex;
use pacs_store::index::redb::{RedbIndex, RedbOptions};
use pacs_store::index::{DurableContent, Index, LogPosition, LogRecord, StoredInstance};
use pacs_store::records::Records;
use pacs_store::records::memory::MemoryRecords;
use pacs_store::{Archive, ArchiveOptions, DataDirectory, OpenError, Problem};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn log(directory: &Path) -> PathBuf {
    directory.join("packs/log-0000000001.tar")
}

/// A directory whose log has these samples and ends with the last of them; where each begins.
async fn filled(samples: &[Sample]) -> (tempfile::TempDir, Vec<usize>) {
    let directory = tempfile::tempdir().unwrap();
    let archive = rig::open(directory.path()).await;
    let mut starts = vec![0];
    for sample in samples {
        rig::deposit(&archive, sample).await.unwrap();
        starts.push(
            fs::metadata(log(directory.path()))
                .unwrap()
                .len()
                .try_into()
                .unwrap(),
        );
    }
    archive.close().await;
    let bytes = fs::read(log(directory.path())).unwrap();
    fs::write(log(directory.path()), &bytes[..*starts.last().unwrap()]).unwrap();
    (directory, starts)
}

/// Opens, asserts that exactly `samples` are there, and that the archive takes and keeps another.
async fn assert_recovers(directory: &Path, samples: &[Sample], what: &str) {
    let archive = rig::open(directory).await;
    assert_eq!(rig::select(&archive).await.len(), samples.len(), "{what}");
    rig::assert_holds(&archive, samples).await;
    let mut all = samples.to_vec();
    all.push(sample(99, 1, 700));
    rig::deposit(&archive, &all[samples.len()]).await.unwrap();
    let archive = rig::reopen(archive, directory).await;
    rig::assert_holds(&archive, &all).await;
    archive.close().await;
    remove_cuts(directory);
    assert_eq!(rig::pack_files(directory), ["log-0000000001.tar"], "{what}");
}

/// Removes what was cut off the log and set aside; how many files.
fn remove_cuts(directory: &Path) -> usize {
    let mut cuts = rig::pack_files(directory);
    cuts.retain(|name| name.starts_with("cut-"));
    for cut in &cuts {
        fs::remove_file(directory.join("packs").join(cut)).unwrap();
    }
    cuts.len()
}

#[tokio::test]
async fn what_is_cut_with_the_head_of_an_entry_is_set_aside() {
    let samples = [sample(1, 1, 3_000), sample(2, 1, 3_000)];
    let (directory, starts) = filled(&samples).await;
    let whole = fs::read(log(directory.path())).unwrap();
    // In the data set of the last; and no end of it.
    let mut changed = whole.clone();
    changed[starts[1] + 3_000] ^= 1;
    for torn in [&changed[..], &whole[..starts[1] + 3_001]] {
        fs::write(log(directory.path()), torn).unwrap();

        let archive = rig::open(directory.path()).await;

        assert_eq!(archive.opened().set_aside_count, 1);
        rig::assert_holds(&archive, &samples[..1]).await;
        let name = format!("packs/cut-0000000001-{:012}-1.bin", starts[1]);
        let aside = fs::read(directory.path().join(name)).unwrap();
        let mut expected = torn[starts[1]..].to_vec();
        expected.truncate(expected.iter().rposition(|byte| *byte != 0).unwrap() + 1);
        assert!(aside == expected);
        let archive = rig::reopen(archive, directory.path()).await;
        assert_eq!(archive.opened().set_aside_count, 0);
        archive.close().await;
        assert_eq!(remove_cuts(directory.path()), 1);
    }
}

#[tokio::test]
async fn damage_to_the_last_group_of_an_archive_that_was_closed_is_known_to_be_damage() {
    let directory = tempfile::tempdir().unwrap();
    let archive = rig::open(directory.path()).await;
    let samples = [sample(1, 1, 3_000), sample(2, 1, 3_000)];
    for sample in &samples {
        rig::deposit(&archive, sample).await.unwrap();
    }
    let end = fs::metadata(log(directory.path())).unwrap().len();
    archive.close().await;
    drop(archive);
    let mut damaged = fs::read(log(directory.path())).unwrap();
    damaged[usize::try_from(end).unwrap() - 1_500] ^= 1;
    fs::write(log(directory.path()), &damaged).unwrap();

    for _ in 0..2 {
        let archive = rig::open(directory.path()).await;

        assert_eq!(archive.opened().damaged_count, 1);
        assert_eq!(archive.opened().set_aside_count, 0);
        rig::assert_holds(&archive, &samples[..1]).await;
        archive.close().await;
        drop(archive);
        // Nothing was appended, so there is no other mark.
        assert!(fs::read(log(directory.path())).unwrap() == damaged);
    }
}

#[tokio::test]
async fn a_pack_that_is_missing_is_counted_and_found() {
    let directory = tempfile::tempdir().unwrap();
    let change = |o: &mut ArchiveOptions| o.limits.pack_bytes = 20_000;
    let samples: Vec<_> = (0..5).map(|number| sample(number, 1, 20_000)).collect();
    let maintain = rig::permit::<Maintain>();
    for gone in [1, 3] {
        let archive = rig::open_with(directory.path(), change).await;
        for sample in &samples {
            rig::deposit(&archive, sample).await.unwrap();
        }
        archive.close().await;
        drop(archive);
        let name = format!("packs/log-000000000{gone}.tar");
        fs::remove_file(directory.path().join(name)).unwrap();

        let archive = rig::open_with(directory.path(), change).await;

        assert_eq!(archive.opened().damaged_count, 1, "{gone}");
        let report = archive.verify(&maintain, |_| ()).await.unwrap();
        assert_eq!(report.problems, [Problem::PackMissing { pack: gone }]);
        let done = archive.rebuild(&maintain, |_| ()).await.unwrap();
        assert_eq!(done.damaged_count, 1, "{gone}");
        let mut rest = samples.clone();
        rest.remove(usize::try_from(gone).unwrap() - 1);
        rig::assert_holds(&archive, &rest).await;
        archive.close().await;
        drop(archive);
        fs::remove_dir_all(directory.path().join("packs")).unwrap();
    }
}

#[tokio::test]
async fn a_pack_that_lost_its_last_entries_is_counted_and_found() {
    let directory = tempfile::tempdir().unwrap();
    let change = |o: &mut ArchiveOptions| o.limits.pack_bytes = 30_000;
    let samples: Vec<_> = (0..4).map(|number| sample(number, 1, 9_000)).collect();
    let maintain = rig::permit::<Maintain>();
    let archive = rig::open_with(directory.path(), change).await;
    let mut ends = Vec::new();
    for sample in &samples {
        rig::deposit(&archive, sample).await.unwrap();
        ends.push(fs::metadata(log(directory.path())).unwrap().len());
    }
    archive.close().await;
    drop(archive);
    // Three are in the first pack; the last of them goes, exactly.
    let file = fs::File::options().write(true).open(log(directory.path()));
    file.unwrap().set_len(ends[1]).unwrap();

    let archive = rig::open_with(directory.path(), change).await;

    assert_eq!(archive.opened().damaged_count, 1);
    let rest = [&samples[..2], &samples[3..]].concat();
    rig::assert_holds(&archive, &rest).await;
    let report = archive.verify(&maintain, |_| ()).await.unwrap();
    assert_eq!(report.problems, [Problem::PackShort { pack: 1 }]);
    let done = archive.rebuild(&maintain, |_| ()).await.unwrap();
    assert_eq!(done.damaged_count, 1);
}

#[tokio::test]
async fn a_large_pack_whose_name_the_disk_lost_gets_it_again() {
    let directory = tempfile::tempdir().unwrap();
    let index = Arc::new(MemoryIndex::new());
    let open = || {
        let index: Arc<dyn Index> = Arc::clone(&index) as Arc<dyn Index>;
        let mut options = rig::options(directory.path(), index).unwrap();
        options.limits.large_bytes = 10_000;
        Archive::open(options)
    };
    let samples = [sample(1, 1, 30_000)];
    let archive = open().await.unwrap();
    rig::deposit(&archive, &samples[0]).await.unwrap();
    archive.close().await;
    drop(archive);
    let packs = directory.path().join("packs");
    fs::rename(
        packs.join("large-0000000001.tar"),
        packs.join("large-0000000001.part"),
    )
    .unwrap();

    let archive = open().await.unwrap();

    assert_eq!(archive.opened().replayed_count, 0, "the index has it");
    rig::assert_holds(&archive, &samples).await;
}

#[tokio::test]
async fn a_tail_torn_anywhere_is_cut_and_nothing_before_it() {
    let samples = [sample(1, 1, 3_000), sample(2, 1, 3_000)];
    let (directory, starts) = filled(&samples).await;
    let whole = fs::read(log(directory.path())).unwrap();
    let [_, start, end] = starts[..] else {
        panic!("two entries")
    };

    // Every boundary of a block, and beside it: headers, records, File Meta, data set, padding.
    for block in (start..end).step_by(512) {
        for length in [block, block + 1, block + 300, block + 511] {
            // The file ends there; or zeros were there ahead.
            for zeros in [0, whole.len() - length, 20_000] {
                let mut torn = whole[..length].to_vec();
                torn.resize(length + zeros, 0);
                // Zeros that are missing at the end say nothing.
                let mut filled = torn.clone();
                filled.resize(filled.len().max(end), 0);
                let is_whole = filled[..end] == whole[..];
                fs::write(log(directory.path()), &torn).unwrap();
                let expected = if is_whole {
                    &samples[..]
                } else {
                    &samples[..1]
                };
                let what = format!("cut at {length}, then {zeros} zeros");
                assert_recovers(directory.path(), expected, &what).await;
            }
        }
    }
}

#[tokio::test]
async fn a_sector_that_did_not_reach_the_disk_tears_its_entry_off() {
    let samples = [sample(1, 1, 3_000), sample(2, 1, 3_000)];
    let (directory, starts) = filled(&samples).await;
    let whole = fs::read(log(directory.path())).unwrap();
    let [_, start, end] = starts[..] else {
        panic!("two entries")
    };

    for block in (start..end).step_by(512) {
        let mut torn = whole.clone();
        torn[block..block + 512].fill(0);
        if torn == whole {
            continue;
        }
        fs::write(log(directory.path()), &torn).unwrap();
        let what = format!("no sector at {block}");
        assert_recovers(directory.path(), &samples[..1], &what).await;
    }
}

#[tokio::test]
async fn damage_before_durable_entries_is_passed_over_and_not_cut() {
    let samples = [
        sample(1, 1, 3_000),
        sample(2, 1, 3_000),
        sample(3, 1, 3_000),
    ];
    let (directory, starts) = filled(&samples).await;
    let whole = fs::read(log(directory.path())).unwrap();

    for at in [starts[1] + 20, starts[1] + 700, starts[1] + 2_000] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        fs::write(log(directory.path()), &damaged).unwrap();

        let archive = rig::open(directory.path()).await;

        assert_eq!(archive.opened().damaged_count, 1, "at {at}");
        rig::assert_holds(&archive, &[samples[0].clone(), samples[2].clone()]).await;
        archive.close().await;
        let after = fs::read(log(directory.path())).unwrap();
        assert_eq!(
            after[..damaged.len()],
            damaged[..],
            "nothing is written over"
        );
    }
}

#[tokio::test]
async fn an_index_that_is_ahead_of_the_packs_is_not_believed() {
    let (directory, starts) = filled(&[sample(1, 1, 3_000)]).await;
    let whole = fs::read(log(directory.path())).unwrap();
    let end = starts[1] as u64;
    let known = known(directory.path()).await;
    let ahead = [(1, end + 512), (1, end + 100_000), (2, 0)];
    for (pack, offset) in ahead {
        for zeros in [0, 50_000, 200_000] {
            let mut log_bytes = whole.clone();
            log_bytes.resize(whole.len() + zeros, 0);
            fs::write(log(directory.path()), log_bytes).unwrap();

            let error = open_at(directory.path(), &known, (pack, offset))
                .await
                .unwrap_err();

            assert!(matches!(error, OpenError::IndexAhead { .. }), "{error:?}");
        }
    }
    open_at(directory.path(), &known, (1, end)).await.unwrap();
}

#[tokio::test]
async fn an_index_of_another_archive_is_not_believed() {
    let (directory, starts) = filled(&[sample(1, 1, 3_000), sample(2, 1, 3_000)]).await;
    let (first, end) = (starts[1] as u64, starts[2] as u64);
    let known = known(directory.path()).await;
    // Within an entry; and where it says that it has come, without what is there.
    for (known, offset) in [(&known[..], first + 512), (&[], first), (&known[..1], end)] {
        let opened = open_at(directory.path(), known, (1, offset)).await;

        let error = opened.unwrap_err();
        assert!(matches!(error, OpenError::IndexForeign { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn an_index_of_an_earlier_day_is_told_from_one_that_a_crash_left() {
    let directory = tempfile::tempdir().unwrap();
    let index = directory.path().join("index.redb");
    let records = Arc::new(MemoryRecords::new());
    let open = || {
        let disk = Arc::new(OsDisk::open(directory.path()).unwrap());
        let disk = rig::data_directory(disk).unwrap();
        let index = RedbIndex::open(&disk, &RedbOptions::default()).unwrap();
        Archive::open(ArchiveOptions {
            records: Arc::clone(&records) as Arc<dyn Records>,
            ..ArchiveOptions::new(disk, Arc::new(index))
        })
    };
    let archive = open().await.unwrap();
    let kept = [sample(1, 1, 3_000), sample(2, 1, 3_000)];
    rig::deposit(&archive, &kept[0]).await.unwrap();
    archive.close().await;
    drop(archive);
    let yesterday = fs::read(&index).unwrap();
    let archive = open().await.unwrap();
    assert!(!archive.opened().is_index_old);
    rig::deposit(&archive, &kept[1]).await.unwrap();
    archive.close().await;
    drop(archive);

    fs::write(&index, yesterday).unwrap();
    let archive = open().await.unwrap();

    let opened = archive.opened();
    assert!(
        opened.is_index_old && opened.replayed_count == 1,
        "{opened:?}"
    );
    rig::assert_holds(&archive, &kept).await;
    archive.close().await;
    drop(archive);
    let archive = open().await.unwrap();
    assert!(!archive.opened().is_index_old, "it is told once");
    archive.close().await;
}

#[tokio::test]
async fn damage_before_the_place_the_index_has_come_to_is_no_reason_not_to_open() {
    let samples = [sample(1, 1, 3_000), sample(2, 1, 3_000)];
    let (directory, starts) = filled(&samples).await;
    let whole = fs::read(log(directory.path())).unwrap();
    let known = known(directory.path()).await;
    for at in [20, 700, 2_000] {
        let mut damaged = whole.clone();
        damaged[starts[1] + at] ^= 1;
        fs::write(log(directory.path()), &damaged).unwrap();

        let archive = open_at(directory.path(), &known, (1, starts[2] as u64))
            .await
            .unwrap();

        assert_eq!(archive.opened().replayed_count, 0);
        archive.close().await;
    }
}

/// What an index of the packs knows.
async fn known(directory: &Path) -> Vec<StoredInstance> {
    let archive = rig::open(directory).await;
    let known = rig::select(&archive).await;
    archive.close().await;
    known
}

/// Opens with an index that knows `known` and claims to have come to a place.
async fn open_at(
    directory: &Path,
    known: &[StoredInstance],
    (pack, offset): (u64, u64),
) -> Result<Archive, OpenError> {
    let index = Arc::new(MemoryIndex::new());
    let position = LogPosition { pack, offset };
    let records = known.iter().cloned().map(Box::new);
    let records: Vec<LogRecord> = records.map(LogRecord::Instance).collect();
    let staged = index.stage(records, position).await.unwrap();
    let content = DurableContent::synced_up_to(position);
    staged.commit(content).unwrap();
    index.flush().await.unwrap();
    assert_eq!(index.durable_position().await.unwrap(), position);
    Archive::open(rig::options(directory, index)?).await
}

#[tokio::test]
async fn what_the_index_has_durably_is_not_replayed() {
    let directory = tempfile::tempdir().unwrap();
    let index = Arc::new(MemoryIndex::new());
    let open = || {
        let index: Arc<dyn Index> = Arc::clone(&index) as Arc<dyn Index>;
        Archive::open(rig::options(directory.path(), index).unwrap())
    };
    let archive = open().await.unwrap();
    let samples = [sample(1, 1, 500), sample(2, 1, 900)];
    rig::deposit(&archive, &samples[0]).await.unwrap();
    archive.close().await;
    drop(archive);

    let archive = open().await.unwrap();

    assert_eq!(archive.opened().replayed_count, 0);
    rig::deposit(&archive, &samples[1]).await.unwrap();
    rig::assert_holds(&archive, &samples).await;
}

#[tokio::test]
async fn a_large_pack_the_log_names_gets_its_name_and_another_goes() {
    let directory = tempfile::tempdir().unwrap();
    let archive = rig::open_with(directory.path(), |o| o.limits.large_bytes = 10_000).await;
    let samples = [sample(1, 1, 30_000)];
    rig::deposit(&archive, &samples[0]).await.unwrap();
    archive.close().await;
    drop(archive);
    let packs = directory.path().join("packs");
    let (tar, part) = (
        packs.join("large-0000000001.tar"),
        packs.join("large-0000000001.part"),
    );
    fs::rename(&tar, &part).unwrap();
    fs::copy(&part, packs.join("large-0000000002.part")).unwrap();

    let archive = rig::open(directory.path()).await;

    rig::assert_holds(&archive, &samples).await;
    assert_eq!(
        rig::pack_files(directory.path()),
        ["large-0000000001.tar", "log-0000000001.tar"]
    );
}

#[tokio::test]
async fn a_directory_opens_once_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let archive = rig::open(directory.path()).await;

    let second = DataDirectory::open(Arc::new(OsDisk::open(directory.path()).unwrap()));

    assert!(matches!(second, Err(OpenError::Locked)));
    archive.close().await;
    drop(archive);
    rig::open(directory.path()).await;
}

#[tokio::test]
async fn another_format_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let open = || DataDirectory::open(Arc::new(OsDisk::open(directory.path()).unwrap()));
    drop(open().unwrap());
    fs::write(
        directory.path().join("FORMAT"),
        "pacs data directory, format 1\n",
    )
    .unwrap();
    assert!(matches!(open(), Err(OpenError::Format)));

    fs::remove_file(directory.path().join("FORMAT")).unwrap();
    fs::create_dir(directory.path().join("packs")).unwrap();
    fs::write(log(directory.path()), "").unwrap();
    assert!(matches!(open(), Err(OpenError::Format)), "packs of nobody");
}
