//! Packs as others see them: a tar of DICOM files, sealed packs untouched.

use crate::rig::{self, sample, sample_with_uid};
use pacs_core::access::{Get, Hide};
use pacs_core::{Level, Query};
use pacs_store::index::Target;
use std::path::Path;
use std::process::Command;

/// Whether `program` is here; says so where it is not, and fails where it has to be.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn has(program: &str) -> bool {
    let is_here = Command::new(program).arg("--version").output().is_ok();
    if !is_here {
        assert!(
            std::env::var_os("PACS_REQUIRE_PEERS").is_none(),
            "{program} is required"
        );
        eprintln!("skipped: {program} is not installed");
    }
    is_here
}

fn run(program: &str, arguments: &[&str], directory: &Path) -> (String, String) {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    (String::from_utf8_lossy(&output.stdout).into_owned(), errors)
}

#[tokio::test]
async fn tar_lists_and_extracts_a_pack_and_dcmdump_reads_the_files() {
    if !has("tar") || !has("dcmdump") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let out = tempfile::tempdir().unwrap();
    let archive = rig::open_with(directory.path(), |o| o.limits.large_bytes = 100_000).await;
    let samples = [
        sample(1, 1, 10_000),
        sample(1, 2, 10_000),
        sample(2, 1, 200_000),
        sample_with_uid("legacy.07", 1, 600),
        sample_with_uid(&format!("1.2.{}", "9".repeat(60)), 1, 600),
    ];
    for sample in &samples {
        rig::deposit(&archive, sample).await.unwrap();
    }
    let target = Target::Instance(samples[0].announced.sop_instance.clone());
    archive
        .hide(
            &rig::permit::<Hide>(),
            target,
            "\u{441}\u{43d}\u{438}\u{43c}\u{43e}\u{43a}",
        )
        .await
        .unwrap();

    // While the archive is open, and when it is closed.
    for is_closed in [false, true] {
        if is_closed {
            archive.close().await;
        }
        let packs = directory.path().join("packs");
        for pack in rig::pack_files(directory.path()) {
            let (list, errors) = run("tar", &["-tvf", &pack], &packs);
            assert_eq!(errors, "", "{list}");
            let target = out.path().to_str().unwrap();
            let (_, errors) = run("tar", &["-xf", &pack, "-C", target], &packs);
            assert_eq!(errors, "");
        }
    }

    let (files, _) = run("find", &[".", "-type", "f", "-name", "*.dcm"], out.path());
    let mut files: Vec<&str> = files.lines().collect();
    files.sort_unstable();
    assert_eq!(files.len(), samples.len(), "{files:?}");
    assert!(
        files[0].starts_with("./1.2.3/1.2.3.1/1.2.3.1.1-"),
        "{files:?}"
    );
    assert!(
        files.iter().any(|f| f.starts_with("./digest/")),
        "{files:?}"
    );
    for file in files {
        let (dump, errors) = run(
            "dcmdump",
            &["+P", "PatientID", "+P", "0002,0010", file],
            out.path(),
        );
        assert_eq!(errors, "");
        assert!(
            dump.contains("[P1]") && dump.contains("LittleEndianExplicit"),
            "{dump}"
        );
        let bytes = std::fs::read(out.path().join(file)).unwrap();
        assert!(
            samples.iter().any(|s| bytes.ends_with(&s.data_set)),
            "{file}"
        );
    }
    let (logs, _) = run("find", &["log", "-type", "f"], out.path());
    assert_eq!(logs.lines().count(), 3, "large, hide, mark: {logs}");
}

#[tokio::test]
async fn a_full_pack_is_sealed_and_never_touched_again() {
    let directory = tempfile::tempdir().unwrap();
    let change = |o: &mut pacs_store::ArchiveOptions| o.limits.pack_bytes = 100_000;
    let archive = rig::open_with(directory.path(), change).await;
    let samples: Vec<_> = (0..30).map(|number| sample(number, 1, 20_000)).collect();
    for sample in &samples[..20] {
        rig::deposit(&archive, sample).await.unwrap();
    }
    archive.close().await;
    drop(archive);
    let sealed = || {
        ["1", "4"].map(|number| {
            let name = format!("packs/log-000000000{number}.tar");
            std::fs::read(directory.path().join(name)).unwrap()
        })
    };
    let before = sealed();
    let count = rig::pack_files(directory.path()).len();
    assert_eq!(
        count, 5,
        "five instances fill a pack, and the next is ready"
    );
    assert!(before[0].ends_with(&[0; 1_024]));

    let archive = rig::open_with(directory.path(), change).await;
    for sample in &samples[20..] {
        rig::deposit(&archive, sample).await.unwrap();
    }

    rig::assert_holds(&archive, &samples).await;
    archive.close().await;
    assert!(sealed() == before);
    assert_eq!(rig::pack_files(directory.path()).len(), 7);
    drop(archive);
    rig::assert_holds(&rig::open(directory.path()).await, &samples).await;
}

#[tokio::test]
async fn zeros_written_ahead_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let change = |o: &mut pacs_store::ArchiveOptions| o.limits.pack_bytes = 12 << 20;
    let samples: Vec<_> = (0..400).map(|n| sample(n, 1, 100 << 10)).collect();
    let archive = rig::open_with(directory.path(), change).await;
    for sample in &samples {
        rig::deposit(&archive, sample).await.unwrap();
    }
    rig::assert_holds(&archive, &samples).await;

    // As a crash would leave it: nothing is closed, zeros are behind the tail.
    let copy = rig::copy_of(directory.path());
    rig::assert_holds(&rig::open_with(copy.path(), change).await, &samples).await;

    archive.close().await;
    drop(archive);
    rig::assert_holds(&rig::open_with(directory.path(), change).await, &samples).await;
}

#[tokio::test]
async fn a_next_pack_that_was_begun_before_a_kill_is_read_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let change = |o: &mut pacs_store::ArchiveOptions| o.limits.pack_bytes = 100_000;
    let samples: Vec<_> = (0..7).map(|number| sample(number, 1, 20_000)).collect();
    let archive = rig::open_with(directory.path(), change).await;
    for sample in &samples[..3] {
        rig::deposit(&archive, sample).await.unwrap();
    }
    // Its name is there as soon as the thread comes to it.
    while rig::pack_files(directory.path()).len() < 2 {
        tokio::task::yield_now().await;
    }
    let copy = rig::copy_of(directory.path());

    let archive = rig::open_with(copy.path(), change).await;
    for sample in &samples[3..] {
        rig::deposit(&archive, sample).await.unwrap();
    }

    assert_eq!(rig::pack_files(copy.path()).len(), 2, "the log turned over");
    rig::assert_holds(&archive, &samples).await;
}

#[tokio::test]
async fn a_part_of_a_data_set_is_what_the_whole_has_there() {
    let directory = tempfile::tempdir().unwrap();
    let archive = rig::open(directory.path()).await;
    let permit = rig::permit::<Get>();
    let large = sample(1, 1, 3_000_000);
    rig::deposit(&archive, &large).await.unwrap();
    let found = archive.select(&permit, &Query::new(Level::Study)).await;
    let stored = found.unwrap().pop().unwrap();
    let mut whole = Vec::new();
    let mut reader = archive.read(&permit, &stored);
    while let Some(piece) = reader.next().await.unwrap() {
        whole.extend_from_slice(&piece);
    }
    let length = whole.len() as u64;

    for (from, to) in [(0, 1), (7, 2_500_000), (length - 1, length), (5, 5)] {
        let (start, end) = (usize::try_from(from).unwrap(), usize::try_from(to).unwrap());
        let mut part = Vec::new();
        let mut reader = archive.read_range(&permit, &stored, &(from..to));
        assert_eq!(reader.length_bytes(), to - from);
        while let Some(piece) = reader.next().await.unwrap() {
            part.extend_from_slice(&piece);
        }
        assert!(part == whole[start..end], "{from}..{to}");
        let now = archive.read_now(&permit, &stored, &(from..to)).unwrap();
        assert!(now == whole[start..end], "{from}..{to} at once");
    }
    let behind = archive.read_now(&permit, &stored, &(length + 5..length + 9));
    assert!(behind.unwrap().is_empty());
    let over = archive.read_now(&permit, &stored, &(length - 3..u64::MAX));
    assert!(over.unwrap() == whole[whole.len() - 3..]);
}
