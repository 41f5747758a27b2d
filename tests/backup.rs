//! Backup, restore, repair and scrub with the real server: the drill, the flips, and the day on
//! which a disk rots.

use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;
use std::time::Instant;

use pacs_tests::drill::{done, drill, pacs};
use pacs_tests::flip::flip;
use pacs_tests::indexes;
use pacs_tests::samples::Slice;
use pacs_tests::server::{Options, PATIENCE, Server};
use pacs_tests::wire::{Association, Context, Proposal, uid};
use pacs_tests::workspace;

#[test]
fn a_backup_under_load_restores_what_was_acknowledged_before_it() {
    let report = drill(2, 20_261_125);

    assert!(report.acknowledged >= 120, "{report:?}");
}

#[test]
fn every_bit_that_changes_is_noticed() {
    let report = flip(24, 20_261_125);

    assert!(
        report.packs > 5 && report.index + report.records > 0,
        "{report:?}"
    );
}

fn text(path: &Path) -> &str {
    path.to_str().expect("Unicode")
}

fn store(server: &Server, numbers: std::ops::Range<u32>) {
    let syntax = uid::EXPLICIT_LITTLE_ENDIAN;
    let context = Context::new(uid::CT_IMAGE_STORAGE, syntax);
    let proposal = Proposal::new(vec![context]);
    let mut association = Association::connect(server.dicom(), &proposal).expect("accepted");
    for number in numbers {
        let slice = Slice::new(1, number);
        let stored = association.store(
            uid::CT_IMAGE_STORAGE,
            &slice.instance,
            syntax,
            &slice.data_set(),
        );
        assert_eq!(stored.expect("the server answers"), 0);
    }
    association.release().expect("the server releases in order");
}

/// Asks for the health again and again until it says `wanted`.
fn wait_for_health(server: &Server, wanted: &str) {
    let begun = Instant::now();
    loop {
        let (_, health) = server.get("/healthz");
        if health.contains(wanted) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{wanted} not in {health}");
    }
}

#[test]
fn rot_is_found_while_serving_shown_and_repaired_from_a_backup() {
    // A pass takes a second.
    let scrub = "[scrub]\ndays = 0.00001\nmegabytes_per_second_max = 1000\n";
    let mut server = Server::start(Options {
        config: scrub.to_owned(),
        ..Options::default()
    });
    store(&server, 1..12);
    let folder = workspace::temporary_folder();
    let to = folder.path().join("backup");
    let data = server.data();
    done(&["backup", "--data", text(&data), text(&to)]);
    wait_for_health(&server, r#""status":"ok""#);
    let pack = data.join("packs/log-0000000001.tar");
    let rot = |at: usize| {
        let mut bytes = std::fs::read(&pack).expect("a pack");
        bytes[at] ^= 1;
        std::os::unix::fs::FileExt::write_at(
            &std::fs::OpenOptions::new()
                .write(true)
                .open(&pack)
                .expect("a pack"),
            &bytes[at..=at],
            at as u64,
        )
        .expect("written");
    };

    rot(5_000);
    rot(20_000);
    wait_for_health(&server, r#""damaged":2"#);
    wait_for_health(&server, r#""status":"damaged""#);
    let (_, metrics) = server.get("/metrics");
    assert!(metrics.contains("pacs_scrub_damaged 2"), "{metrics}");
    let verified = pacs(&["verify", "--data", text(&data)]);
    assert_eq!(verified.0, Some(5), "{}", verified.1);
    // It goes on meanwhile.
    store(&server, 12..15);
    done(&["repair", "--data", text(&data), text(&to)]);
    wait_for_health(&server, r#""status":"ok""#);
    done(&["verify", "--data", text(&data)]);
    assert!(server.stop().success());
    // And with the server stopped.
    rot(5_000);
    let verified = pacs(&["verify", "--data", text(&data)]);
    assert_eq!(verified.0, Some(5), "{}", verified.1);
    done(&["repair", "--data", text(&data), text(&to)]);
    done(&["verify", "--data", text(&data)]);
    let mode = |name: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        let meta = std::fs::metadata(data.join(name)).expect("there");
        meta.permissions().mode() & 0o777
    };
    assert_eq!(mode("control.sock"), 0o600);
}

/// An administrator restores as root, and the server runs as a user of its own.
#[test]
fn what_root_restores_belongs_to_the_owner_of_the_place_and_is_closed_to_others() {
    let mut server = Server::start(Options::default());
    store(&server, 1..3);
    assert!(server.stop().success());
    let folder = workspace::temporary_folder();
    if folder.path().metadata().expect("a folder").uid() != 0 {
        workspace::say_skipped("only root can give files away");
        return;
    }
    let (backup, place) = (folder.path().join("backup"), folder.path().join("place"));
    done(&["backup", "--data", text(&server.data()), text(&backup)]);
    std::fs::create_dir(&place).expect("a folder");
    chown(&place, Some(4711), Some(4712)).expect("root may");

    done(&["restore", text(&backup), text(&place)]);

    let mut files_count = 0;
    for folder in [place.clone(), place.join("packs")] {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let of = path.symlink_metadata().expect("a file");
            assert_eq!((of.uid(), of.gid()), (4711, 4712), "{}", path.display());
            assert_eq!(of.mode() & 0o007, 0, "{}", path.display());
            files_count += 1;
        }
    }
    assert!(files_count >= 5, "{files_count}");
    let folder = backup.metadata().expect("a folder");
    assert_eq!((folder.uid(), folder.mode() & 0o007), (0, 0));
}

#[test]
fn under_an_old_a_foreign_a_lost_and_a_rebuilt_index_nothing_is_answered_that_was_not_before() {
    let report = indexes::run(1, 20_261_127);

    let is_much = report.acknowledged > 20 && report.hidden > 0 && report.answers > 20;
    assert!(is_much, "{report:?}");
    assert_eq!(
        (report.of_earlier, report.foreign, report.made_again),
        (1, 1, 3)
    );
}

#[test]
fn the_index_of_all_test_files_is_rebuilt_as_it_was() {
    let instances_count = indexes::of_test_files();

    assert!(instances_count > 100 || workspace::test_data().is_none());
}
