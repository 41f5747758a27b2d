//! The drill: backups are made while senders store, the archive is lost, and a backup restored.
//!
//! What was acknowledged before the last backup began must come back, with its bytes; what comes
//! back beyond that was sent, and is whole.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use crate::crash::{Mix, Oracle, send_until_it_dies};
use crate::web_server::open_server;
use crate::workspace;

/// Backups that are made while they send, one after the other.
const BACKUPS: usize = 3;

/// Instances that come in before the next backup.
const NEW_INSTANCES: usize = 20;

/// What a drill found, when it found no fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Archives that were lost and restored.
    pub rounds: u32,
    /// Instances that were acknowledged before a last backup, all of which came back.
    pub acknowledged: usize,
    /// Instances that came back and were acknowledged later, or not at all.
    pub later: usize,
}

/// Runs `pacs` with these arguments: its exit code, and what it said.
///
/// # Panics
/// When it cannot be run.
#[must_use]
pub fn pacs(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(workspace::binary("pacs"));
    let output = command.args(arguments).stdin(Stdio::null()).output();
    let output = output.expect("pacs runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), said)
}

/// Runs `pacs` with these arguments; what it said.
///
/// # Panics
/// When `pacs` does not say that it was done.
pub fn done(arguments: &[&str]) -> String {
    let (code, said) = pacs(arguments);
    assert_eq!(code, Some(0), "pacs {arguments:?}: {said}");
    said
}

fn text(path: &Path) -> &str {
    path.to_str().expect("Unicode")
}

/// Runs `rounds` drills.
///
/// # Panics
/// When anything that was acknowledged before a backup is not restored, or anything is half there.
#[must_use]
pub fn drill(rounds: u32, seed: u64) -> Report {
    println!("drill: seed {seed}");
    let mut report = Report::default();
    for round in 0..rounds {
        one(seed.wrapping_add(u64::from(round)), &mut report);
        report.rounds += 1;
        println!("drill: {report:?}");
    }
    report
}

fn one(seed: u64, report: &mut Report) {
    let mut server = open_server();
    let folder = workspace::temporary_folder();
    let (data, to) = (server.data(), folder.path().join("backup"));
    let backup = || done(&["backup", "--data", text(&data), text(&to)]);
    let oracle = Mutex::new(Oracle::default());
    send_until_it_dies(&mut server, &oracle, (1, seed, Mix::LargeFirst), |server| {
        for number in 1..=BACKUPS {
            // Something has come in since the last one.
            while known(&oracle) < NEW_INSTANCES * number {
                server.echo().expect("the server answers");
            }
            if number == BACKUPS {
                // What is acknowledged from now on may be in it or not.
                oracle.lock().expect("no sender panics").note_power_gone();
            }
            backup();
        }
        // Everything is read while more comes in.
        done(&["verify", "--data", text(&data)]);
        let (status, health) = server.get("/healthz");
        assert_eq!(status, 200, "{health}");
        assert!(health.contains(r#""backup":{"age_seconds""#), "{health}");
        server.kill();
    });
    std::fs::remove_dir_all(&data).expect("a stopped archive");
    done(&["restore", text(&to), text(&data)]);
    server.restart();
    let mut oracle = oracle.into_inner().expect("no sender panics");
    report.acknowledged += oracle.acknowledged();
    let all = oracle.studies();
    report.later += oracle.ask(&server, &all);
    // And on it goes.
    backup();
    done(&["backup", "--check", "--data", text(&data), text(&to)]);
    assert!(server.stop().success());
    done(&["verify", "--data", text(&data)]);
}

fn known(oracle: &Mutex<Oracle>) -> usize {
    oracle.lock().expect("no sender panics").acknowledged()
}

/// Reads the command line of the campaign and runs it.
///
/// # Panics
/// When the command line is wrong, or as [`drill`].
pub fn main() {
    let (rounds, seed) = crate::flip::two_numbers(["--rounds", "--seed"], 20);
    let begun = Instant::now();
    let report = drill(u32::try_from(rounds).expect("a number of rounds"), seed);
    println!("drill: nothing lost, {report:?}, in {:?}", begun.elapsed());
}
