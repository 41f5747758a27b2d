//! The calls that a server makes on its disk, as strace sees them.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::OnceLock;

use super::{DiskCall, STRACE};
use crate::drill::done;
use crate::edges::{Kept, has, questions, storing};
use crate::samples::Slice;
use crate::server::{Options, Server};
use crate::stow::try_ask;
use crate::wire::{Association, Keys, identifier};
use crate::workspace;

/// The calls of the disk that fail here, each in the kernel.
pub const DISK_CALLS: [DiskCall; 16] = [
    call(&["openat"], "EIO").shared(),
    call(&["pread64"], "EIO").shared(),
    call(&["pwritev", "pwritev2"], "EIO"),
    call(&["pwrite64"], "ENOSPC"),
    call(&["read"], "EIO").shared(),
    call(&["write"], "ENOSPC").shared(),
    call(&["fdatasync"], "EIO"),
    call(&["fsync"], "EIO"),
    call(&["ftruncate"], "EIO"),
    call(&["fallocate"], "ENOSPC"),
    call(&["rename", "renameat", "renameat2"], "EIO"),
    call(&["unlink", "unlinkat"], "EIO"),
    call(&["mkdir", "mkdirat"], "ENOSPC"),
    call(
        &["statx", "newfstatat", "fstat", "statfs", "fstatfs"],
        "EIO",
    )
    .shared(),
    call(&["getdents64", "flock"], "EIO").shared(),
    call(&["fadvise64"], "EIO").hint(),
];

/// Calls of which nothing follows for what is kept: how a process begins; what is asked of the
/// descriptor alone; and the end of a descriptor, before which everything is synced that has to be.
pub const UNWATCHED_CALLS: [&str; 3] = ["execve", "fcntl", "close"];

const fn call(names: &'static [&'static str], error: &'static str) -> DiskCall {
    DiskCall {
        names,
        error,
        is_shared: false,
        is_hint: false,
    }
}

impl DiskCall {
    const fn shared(mut self) -> Self {
        self.is_shared = true;
        self
    }

    const fn hint(mut self) -> Self {
        self.is_hint = true;
        self
    }
}

/// `strace` with these options, which becomes what comes after them.
pub(crate) fn launcher(options: &[&str]) -> Vec<String> {
    // The process of the server is the one that was started, and strace another one.
    let words = [STRACE, "-D", "-f"];
    words
        .iter()
        .chain(options)
        .map(|word| (*word).to_owned())
        .collect()
}

/// Whether strace is here, and may look at processes; said loudly, or failed, where not.
#[must_use]
pub fn can_trace() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    has(STRACE, "strace")
        && *CAN.get_or_init(|| {
            let mut trial = Command::new(STRACE);
            let trial = trial
                .args(["-f", "-qq", "-o", "/dev/null", "true"])
                .status();
            let can = trial.is_ok_and(|status| status.success());
            if !can {
                workspace::say_skipped("strace may not look at processes here");
            }
            can
        })
}

/// The calls on its data folder of a server that begins an archive, stores, gives
/// back, makes a picture, is backed up, stops, and starts again; `None` where they cannot be seen.
///
/// # Panics
/// When the server does not do all that.
#[must_use]
pub fn calls_of_a_day() -> Option<BTreeSet<String>> {
    if !can_trace() {
        return None;
    }
    let folder = workspace::temporary_folder();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (data, list) = (path("data"), path("calls"));
    let mut server = Server::start(Options {
        arguments: ["--open-loopback", "--data", &data]
            .map(str::to_owned)
            .into(),
        launcher: launcher(&["-qq", "-y", "-A", "-o", &list, "-e", "trace=%file,%desc"]),
        ..Options::default()
    });
    store_and_give_back(&server);
    done(&["backup", "--data", &data, &path("backup")]);
    assert!(server.stop().success(), "it does not stop in order");
    server.restart();
    assert!(server.stop().success(), "it does not stop in order");
    let list = std::fs::read_to_string(&list).expect("a list of calls");
    let of_disk = list.lines().filter(|line| line.contains(&data));
    Some(of_disk.filter_map(name_of).map(str::to_owned).collect())
}

/// The name of the call of a line, which begins with the number of a process; none of one that goes
/// on after another.
fn name_of(line: &str) -> Option<&str> {
    let (_, call) = line.split_once(' ')?;
    let (name, _) = call.trim_start().split_once('(')?;
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    name.chars().all(is_name).then_some(name)
}

fn store_and_give_back(server: &Server) {
    let kept = Kept::default();
    let mut association = Association::connect(server.dicom(), &storing()).expect("accepted");
    let mut slice = Slice::new(1, 1);
    for (number, side) in [(1, 16), (2, 512), (3, 2_200), (4, 16)] {
        slice = Slice::new(1, number);
        slice.side = side;
        assert_eq!(kept.store(&mut association, &slice).expect("an answer"), 0);
    }
    association.release().expect("a release in order");
    kept.check(server);
    let mut asking = server.associate(questions()).expect("an association");
    let keys = Keys::at("STUDY").with(identifier::tag::STUDY, &slice.study);
    let (ended, _) = asking.get(&keys).expect("an answer");
    assert_eq!(ended.status, 0, "{ended:?}");
    asking.release().expect("a release in order");
    let Slice {
        study,
        series,
        instance,
        ..
    } = &slice;
    let path = format!("/dicomweb/studies/{study}/series/{series}/instances/{instance}/rendered");
    for _ in 0..2 {
        // The second time it is read.
        let answer = try_ask(server.http(), "GET", &path, &[], b"").expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.head);
    }
}
