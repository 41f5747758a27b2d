//! A line on which the kernel loses packets or lets few bytes pass (R11), in a network namespace of
//! its own: what a sender is told is true, sending again ends with Success, and nothing is twice.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::network::{count, nothing_is_left};
use super::{Kept, is_root, storing};
use crate::samples::Slice;
use crate::server::{Options, Server};
use crate::wire::association::dial;
use crate::wire::{Association, WireError};
use crate::workspace;

/// The argument by which the campaign is told that it runs within such a namespace.
pub(super) const INSIDE: &str = "inside-a-line";

/// Tools of network namespaces, and their Debian packages.
pub(super) const NEEDED: [(&str, &str); 2] = [("nft", "nftables"), ("tc", "iproute2")];

/// What is done to the loopback of the namespace.
#[derive(Clone, Copy, Debug)]
pub enum Line {
    /// This many of a hundred packets are lost, at random.
    Loses(u32),
    /// It lets pass so many kilobits a second.
    Narrow(u32),
}

impl Line {
    fn set_up(self) -> String {
        match self {
            Self::Loses(percent) => format!(
                "nft add table inet line && \
                 nft 'add chain inet line input {{ type filter hook input priority 0 ; }}' && \
                 nft add rule inet line input numgen random mod 100 '<' {percent} drop"
            ),
            Self::Narrow(kilobits) => {
                // A packet longer than the burst would never pass.
                format!(
                    "ip link set lo mtu 1500 && \
                     tc qdisc add dev lo root tbf rate {kilobits}kbit burst 32kb latency 400ms"
                )
            }
        }
    }
}

/// Runs `campaign`, the program of `cargo xtask edges`, on `line`; whether it could be.
///
/// # Panics
/// When something was untrue.
pub fn run(campaign: &Path, line: Line, instances: u32) -> bool {
    if !is_root() {
        return false;
    }
    for (tool, package) in NEEDED {
        if !crate::peers::has_tool(tool) {
            workspace::skip(package);
            return false;
        }
    }
    let server = workspace::binary("pacs-server");
    let script = format!(
        "ip link set lo up && {} && exec \"$0\" {INSIDE} {instances} {}",
        line.set_up(),
        namespace()
    );
    let status = Command::new("unshare")
        .args(["--net", "sh", "-c", &script])
        .arg(campaign)
        .env("PACS_BIN_DIR", server.parent().expect("a folder"))
        .stdin(Stdio::null())
        .status();
    assert!(status.expect("unshare runs").success(), "{line:?}");
    true
}

/// The network namespace of this process: a number without blanks or quotes.
pub(super) fn namespace() -> String {
    let link = std::fs::read_link("/proc/self/ns/net").expect("a namespace");
    let digits = link.display().to_string();
    digits.chars().filter(char::is_ascii_digit).collect()
}

/// How long a test's own peer bears silence: the kernel sends again after longer and longer pauses.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often an instance is sent before the line is given up.
const ATTEMPTS_MAX: u32 = 20;

fn store(server: &Server, kept: &Kept, slice: &Slice) -> Result<u16, WireError> {
    let stream = dial(server.dicom())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut association = Association::over(stream, &storing())?;
    kept.store(&mut association, slice)
}

/// Sends `slice` until the answer is Success; how many times it was not.
fn insist(server: &Server, kept: &Kept, slice: &Slice) -> u32 {
    let answers = (0..ATTEMPTS_MAX).map(|_| store(server, kept, slice));
    let failures = answers.take_while(|answer| !matches!(answer, Ok(0)));
    let failures = u32::try_from(failures.count()).expect("few");
    assert!(failures < ATTEMPTS_MAX, "{} is not taken", slice.instance);
    failures
}

/// What runs within the namespace: everything is sent twice over the bad line. Then the line is
/// good again, and the server is asked.
///
/// # Panics
/// When the server told anything untrue.
pub(super) fn inside(instances: u32, outside: &str) {
    // The rules of the machine itself are not for us.
    assert_ne!(namespace(), outside, "not in a namespace of its own");
    let server = Server::start(Options::default());
    let kept = Kept::default();
    let slices = (1..=instances).map(|number| {
        let mut slice = Slice::new(number % 3 + 1, number);
        slice.side = 128;
        slice
    });
    let slices: Vec<Slice> = slices.collect();
    let twice = slices.iter().chain(&slices);
    let failures: u32 = twice.map(|slice| insist(&server, &kept, slice)).sum();

    // One of the two was done, and the other fails.
    for repair in ["nft flush ruleset", "tc qdisc del dev lo root"] {
        let mut words = repair.split(' ');
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).stderr(Stdio::null());
        command.status().expect("it runs");
    }
    kept.check(&server);
    for slice in &slices {
        assert_eq!(count(&server, slice), 1, "{}", slice.instance);
    }
    nothing_is_left(&server);
    println!("edges: {instances} instances sent twice, {failures} failures told, nothing untrue");
}

/// Lines that lose 1, 10 and 30 of 100 packets, and one of 1 Mbit/s.
///
/// # Panics
/// As [`run`].
pub fn campaign() {
    let program = std::env::current_exe().expect("the running executable has a path");
    let lines = [
        Line::Loses(1),
        Line::Loses(10),
        Line::Loses(30),
        Line::Narrow(1_000),
    ];
    for line in lines {
        println!("edges: {line:?}");
        run(&program, line, 30);
    }
}
