//! A full disk (R5): A700H on an association that lives on, 503 over the web, queries and
//! retrievals go on, and so does storing once there is room, without a restart.
//!
//! The disk is a file system in memory with a size of its own, which only root may mount.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Kept, is_root, storing};
use crate::huge::Huge;
use crate::samples::{Random, Slice};
use crate::server::{Options, Server, start_refused};
use crate::wire::{Association, Context, uid};
use crate::{crash, workspace};

/// Refused: Out of Resources (PS3.4 B.2.3).
const OUT_OF_RESOURCES: u16 = 0xA700;

/// The time in which an archive stores again after there is room.
pub const RECOVERY_MAX: Duration = Duration::from_secs(30);

/// A file system of its own size.
#[derive(Debug)]
pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// One of `megabytes`.
    ///
    /// # Panics
    /// When it cannot be mounted.
    #[must_use]
    pub fn mount(megabytes: u64) -> Self {
        Self::of_kilobytes(megabytes << 10)
    }

    /// One of `kilobytes`.
    ///
    /// # Panics
    /// When it cannot be mounted.
    #[must_use]
    pub fn of_kilobytes(kilobytes: u64) -> Self {
        let folder = workspace::temporary_folder();
        let size = format!("size={kilobytes}k");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "pacs-tests"]);
        let status = mount.arg(folder.path()).status().expect("mount runs");
        assert!(status.success(), "a file system of {size} is mounted");
        Self { folder }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Fills it with a file of `leaving` bytes less than what is free; where that is.
    ///
    /// # Panics
    /// When the file cannot be made.
    #[must_use]
    pub fn fill(&self, leaving: u64) -> PathBuf {
        let path = self.path().join("filler");
        let mut file = File::create(&path).expect("a file");
        let zeros = vec![0; 64 << 10];
        loop {
            let stat = rustix::fs::statvfs(self.path()).expect("a file system");
            let free = stat.f_bavail * stat.f_frsize;
            let step = free.saturating_sub(leaving).min(zeros.len() as u64);
            let step = usize::try_from(step).expect("short");
            if step == 0 || file.write_all(&zeros[..step]).is_err() {
                return path;
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, for a server that failed may still have it open.
        Command::new("umount")
            .arg("-l")
            .arg(self.path())
            .status()
            .ok();
    }
}

/// What a round came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Instances acknowledged, all of which came back.
    pub acknowledged: usize,
    /// C-STOREs refused with A700H.
    pub refused: usize,
    /// The longest time from room on the disk to Success.
    pub recovery: Duration,
}

/// A server on `disk`.
fn server_on(disk: &SmallDisk) -> Server {
    Server::start(options_on(disk))
}

fn options_on(disk: &SmallDisk) -> Options {
    let data = disk.path().join("data").display().to_string();
    Options {
        arguments: ["--open-loopback", "--data", &data]
            .map(str::to_owned)
            .into(),
        ..Options::default()
    }
}

/// Two slices in one request of STOW-RS.
fn two(study: u32, number: u32) -> [Slice; 2] {
    [number, number + 1].map(|number| {
        let mut slice = Slice::new(study, number);
        slice.side = 300;
        slice
    })
}

/// A request of STOW-RS is refused whole (PS3.18 8.5.1: 503 where it is temporary), with the time
/// after which to come again.
fn stow_is_refused(server: &Server, kept: &Kept) {
    let slices = two(998, 1);
    let answer = kept.stow(server, &slices);
    assert_eq!(answer.status, 503, "{}", answer.head);
    assert!(answer.head.contains("retry-after: "), "{}", answer.head);
    assert!(answer.stored().is_empty(), "{}", answer.head);
}

struct Sender<'a> {
    association: Association,
    kept: &'a Kept,
    random: Random,
    side_max: u64,
    study: u32,
    number: u32,
}

/// Longest side of the images here.
const SIDE_MAX: u64 = 416;

impl Sender<'_> {
    fn store(&mut self) -> u16 {
        self.number += 1;
        let mut slice = Slice::new(self.study, self.number);
        slice.side = u16::try_from(self.random.below(self.side_max - 16) + 16).expect("small");
        let stored = self.kept.store(&mut self.association, &slice);
        stored.expect("the association lives on, whatever the disk does")
    }

    /// Stores until nothing fits any more; what does not is refused with A700H and nothing else.
    fn store_until_full(&mut self, report: &mut Report) {
        let mut in_a_row = 0;
        while in_a_row < 20 {
            match self.store() {
                0 => in_a_row = 0,
                status => {
                    assert_eq!(status, OUT_OF_RESOURCES, "{status:04X}");
                    report.refused += 1;
                    in_a_row += 1;
                }
            }
        }
    }

    /// Refused again and again, on an association that answers.
    fn is_refused(&mut self, report: &mut Report) {
        for _ in 0..5 {
            assert_eq!(self.store(), OUT_OF_RESOURCES);
            report.refused += 1;
        }
        assert_eq!(self.association.echo().expect("an answer"), 0);
    }

    /// Stores until that succeeds again.
    fn store_until_kept(&mut self, report: &mut Report) {
        let begun = Instant::now();
        while self.store() != 0 {
            assert!(begun.elapsed() < RECOVERY_MAX, "it does not store again");
            std::thread::sleep(Duration::from_millis(20));
        }
        report.recovery = report.recovery.max(begun.elapsed());
    }
}

/// One instance too long for memory is refused on the full disk, and its file goes.
fn huge_is_refused(server: &Server, disk: &SmallDisk) {
    let context = Context::new(uid::CT_IMAGE_STORAGE, uid::EXPLICIT_LITTLE_ENDIAN);
    let mut association = server.associate(vec![context]).expect("an association");
    let status = Huge::native(999, 1, 40 << 20).store(&mut association);
    assert_eq!(status.expect("the data set is drained"), OUT_OF_RESOURCES);
    association.release().expect("the association lives on");
    super::until(Duration::from_secs(10), "the end of the file", || {
        let packs = std::fs::read_dir(disk.path().join("data/packs")).expect("packs");
        let names = packs.flatten().map(|entry| entry.file_name());
        let parts = names.filter(|name| name.to_string_lossy().ends_with(".part"));
        (parts.count() == 0).then_some(())
    });
}

/// Fills a disk of `megabytes` in every way, and empties it again.
///
/// # Panics
/// When the server does anything but refuse and go on.
#[must_use]
pub fn round(megabytes: u64, seed: u64) -> Report {
    let disk = SmallDisk::mount(megabytes);
    let mut random = Random::new(seed);
    let kept = Kept::default();
    let mut report = Report::default();
    let bytes = megabytes << 20;
    // Somebody else's file, so that there is something to be freed later.
    let ballast = disk.path().join("ballast");
    let ballast_bytes = bytes / 4 + random.below(bytes / 4);
    std::fs::write(
        &ballast,
        vec![0; usize::try_from(ballast_bytes).expect("small")],
    )
    .expect("the ballast fits");
    let mut server = server_on(&disk);
    let association = Association::connect(server.dicom(), &storing()).expect("an association");
    let mut sender = Sender {
        association,
        kept: &kept,
        random,
        side_max: SIDE_MAX,
        study: 1,
        number: 0,
    };

    // The archive itself fills the disk, up to its reserve.
    assert_eq!(sender.store(), 0);
    sender.store_until_full(&mut report);
    sender.is_refused(&mut report);
    stow_is_refused(&server, &kept);
    kept.check(&server);
    huge_is_refused(&server, &disk);
    // Others take the reserve too, to the last byte.
    let filler = disk.fill(0);
    sender.is_refused(&mut report);
    stow_is_refused(&server, &kept);
    kept.check(&server);
    // Longer than the index waits before it makes itself durable.
    std::thread::sleep(Duration::from_millis(1_500));
    sender.is_refused(&mut report);
    kept.check(&server);

    // There is room again.
    std::fs::remove_file(&filler).expect("the filler is there");
    std::fs::remove_file(&ballast).expect("the ballast is there");
    sender.store_until_kept(&mut report);
    assert_eq!(
        kept.stow(&server, &two(997, 1)).status,
        200,
        "the same over the web"
    );
    sender.study = 2;
    for _ in 0..20 {
        assert_eq!(sender.store(), 0);
    }
    kept.check(&server);
    assert!(server.is_alive(), "no restart was needed");

    // Killed while it is full, it comes back with everything.
    sender.store_until_full(&mut report);
    let filler = disk.fill(0);
    server.kill();
    server.restart();
    kept.check(&server);
    std::fs::remove_file(&filler).expect("the filler is there");
    assert!(server.stop().success(), "the server does not stop in order");
    crash::verify(&disk.path().join("data"));
    crash::no_temporary_files(&disk.path().join("data"));
    report.acknowledged = kept.count();
    report
}

/// The smallest disk on which an archive is begun and serves, in MB.
pub const SMALLEST_MB: u64 = 4;

/// Disks on which no archive is begun, in KB.
pub const TOO_SMALL_KB: [u64; 3] = [128, 1_024, (SMALLEST_MB << 10) - 4];

/// The smallest disk that an archive is good for: it stores, refuses when that is full, gives back
/// what it has, also after a kill, and stores again when there is room.
///
/// # Panics
/// When the server does anything else.
#[must_use]
pub fn smallest() -> Report {
    let disk = SmallDisk::mount(SMALLEST_MB);
    let kept = Kept::default();
    let mut report = Report::default();
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![0; 512 << 10]).expect("the ballast fits");
    let mut server = server_on(&disk);
    let association = Association::connect(server.dicom(), &storing()).expect("an association");
    let mut sender = Sender {
        association,
        kept: &kept,
        random: Random::new(7),
        side_max: 64,
        study: 1,
        number: 0,
    };

    assert_eq!(sender.store(), 0);
    sender.store_until_full(&mut report);
    stow_is_refused(&server, &kept);
    let filler = disk.fill(0);
    sender.is_refused(&mut report);
    kept.check(&server);
    std::fs::remove_file(&filler).expect("the filler is there");
    std::fs::remove_file(&ballast).expect("the ballast is there");
    sender.store_until_kept(&mut report);
    kept.check(&server);
    sender.store_until_full(&mut report);
    server.kill();
    server.restart();
    kept.check(&server);
    assert!(server.stop().success(), "the server does not stop in order");
    crash::verify(&server.data());
    report.acknowledged = kept.count();
    report
}

/// A disk of `kilobytes`, on which nothing that an archive begins with fits, or nothing that comes
/// after that: the server does not start, says what there is and what is needed, and writes
/// nothing.
///
/// # Panics
/// When the server does anything else.
pub fn too_small(kilobytes: u64) {
    let disk = SmallDisk::of_kilobytes(kilobytes);
    let home = workspace::temporary_folder();

    let (status, said) = start_refused(&options_on(&disk), home.path());

    assert!(!status.success(), "{status}: {said}");
    let [there, needed] = [kilobytes << 10, SMALLEST_MB << 20];
    assert!(said.contains(&format!("a disk of {there} bytes")), "{said}");
    assert!(said.contains(&format!("{needed} are needed")), "{said}");
    let mut left = std::fs::read_dir(disk.path().join("data")).expect("the folder");
    assert!(left.next().is_none(), "something was written");
}

/// The index alone finds no room: it is on a small disk of its own.
///
/// # Panics
/// When the server does anything but refuse and go on.
#[must_use]
pub fn index_alone() -> Report {
    let disk = SmallDisk::mount(256);
    let small = SmallDisk::mount(16);
    let kept = Kept::default();
    let mut report = Report::default();
    let mut server = server_on(&disk);
    assert!(server.stop().success(), "the server does not stop in order");
    let index = disk.path().join("data/index.redb");
    let elsewhere = small.path().join("index.redb");
    std::fs::copy(&index, &elsewhere).expect("a copy");
    std::fs::remove_file(&index).expect("the index is there");
    std::os::unix::fs::symlink(&elsewhere, &index).expect("a link");
    let filler = small.fill(512 << 10);
    server.restart();
    let association = Association::connect(server.dicom(), &storing()).expect("an association");
    let mut sender = Sender {
        association,
        kept: &kept,
        random: Random::new(5),
        side_max: SIDE_MAX,
        study: 1,
        number: 0,
    };

    sender.is_refused(&mut report);
    std::fs::remove_file(&filler).expect("the filler is there");
    sender.store_until_kept(&mut report);
    for _ in 0..200 {
        assert_eq!(sender.store(), 0);
    }
    // What the index has ahead is its own; it is used up, and then there is no more.
    let filler = small.fill(0);
    sender.store_until_full(&mut report);
    sender.is_refused(&mut report);
    std::thread::sleep(Duration::from_millis(1_500));
    kept.check(&server);
    std::fs::remove_file(&filler).expect("the filler is there");
    sender.store_until_kept(&mut report);

    assert!(server.is_alive(), "no restart was needed");
    kept.check(&server);
    assert!(server.stop().success(), "the server does not stop in order");
    crash::verify(&disk.path().join("data"));
    report.acknowledged = kept.count();
    report
}

/// Disks of many sizes, filled at random.
///
/// # Panics
/// As [`round`].
pub fn campaign(seed: u64) {
    if !is_root() {
        return;
    }
    for kilobytes in TOO_SMALL_KB {
        too_small(kilobytes);
    }
    println!("edges: a disk of {SMALLEST_MB} MB: {:?}", smallest());
    for (number, megabytes) in [32, 64, 64, 100, 200, 400, 1_000].into_iter().enumerate() {
        let report = round(megabytes, seed ^ number as u64);
        println!("edges: a disk of {megabytes} MB: {report:?}");
    }
    println!("edges: the index on a disk of its own: {:?}", index_alone());
}
