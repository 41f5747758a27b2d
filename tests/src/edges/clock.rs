//! A clock that jumps (R10): nothing hangs, no association ends of it, what was stored is found.
//!
//! libfaketime moves the wall clock of the server; the monotonic one stays as it is, as when
//! somebody sets the time of a machine.

use std::path::{Path, PathBuf};

use super::{Kept, has, library, storing};
use crate::samples::Slice;
use crate::server::{Options, Server};
use crate::wire::{Association, WireError};
use crate::{crash, workspace};

/// The library that moves the clock of a process.
pub(crate) const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// Offsets in the notation of libfaketime; 2038 is near the end of 32 bit seconds, 2107 behind
/// that of the unsigned ones.
const JUMPS: [&str; 12] = [
    "+1h", "-1h", "+1d", "-1d", "-10y", "+0", "+10y", "-1h", "+2h", "-3650d", "+13y", "+81y",
];

/// A clock that is moved while a server runs.
#[derive(Debug)]
pub struct Clock {
    /// What the library reads whenever somebody asks for the time.
    file: PathBuf,
}

impl Clock {
    /// One that is right so far, with its file in `folder`; `None` (said loudly) without the
    /// library.
    ///
    /// # Panics
    /// When the folder cannot be written.
    #[must_use]
    pub fn start(folder: &Path) -> Option<Self> {
        if !has(&library(LIBRARY).display().to_string(), "faketime") {
            return None;
        }
        let clock = Self {
            file: folder.join("clock"),
        };
        clock.set("+0");
        Some(clock)
    }

    /// Moves it, by an offset in the notation of libfaketime.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn set(&self, offset: &str) {
        // In one step, so that the server never reads half of it.
        let new = self.file.with_extension("new");
        std::fs::write(&new, format!("{offset}\n")).expect("a file");
        std::fs::rename(&new, &self.file).expect("a file");
    }

    /// What the environment of a server is that goes by it.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("LD_PRELOAD", library(LIBRARY).display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }
}

fn server_with(clock: &Clock) -> Server {
    let environment = clock.environment();
    Server::start(Options {
        config: "[dicom]\nidle_seconds = 30\n".to_owned(),
        environment: environment
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
        ..Options::default()
    })
}

/// What an association stores while the clock jumps between its instances.
fn store_while_it_jumps(
    server: &Server,
    association: &mut Association,
    kept: &Kept,
    clock: &Clock,
    study: u32,
) -> Result<(), WireError> {
    for (number, jump) in (1..).zip(JUMPS) {
        clock.set(jump);
        let status = kept.store(association, &Slice::new(study, number))?;
        assert_eq!(status, 0, "after a jump by {jump}");
        assert_eq!(association.echo()?, 0, "after a jump by {jump}");
        assert_eq!(server.echo()?, 0, "a new one after a jump by {jump}");
    }
    Ok(())
}

/// The days that the server's own log names.
fn days(log: &str) -> std::collections::BTreeSet<String> {
    let stamps = log.split("\"timestamp\":\"").skip(1);
    stamps.map(|rest| rest.chars().take(10).collect()).collect()
}

/// Jumps while associations stand, then restarts at every jump. Whether it ran.
///
/// # Panics
/// When an association ends of a jump, or anything is lost.
pub fn jumps() -> bool {
    let home = workspace::temporary_folder();
    let Some(clock) = Clock::start(home.path()) else {
        return false;
    };
    let mut server = server_with(&clock);
    let kept = Kept::default();
    let mut first = Association::connect(server.dicom(), &storing()).expect("an association");
    let mut idle = Association::connect(server.dicom(), &storing()).expect("an association");

    store_while_it_jumps(&server, &mut first, &kept, &clock, 1)
        .expect("no association ends of a jump");
    assert_eq!(idle.echo().expect("an idle one lives on"), 0);
    kept.check(&server);
    assert!(days(&server.log()).len() > 4, "the clock did not jump");
    idle.release().expect("a release in order");
    first.release().expect("a release in order");
    for (study, jump) in (2..).zip(JUMPS) {
        assert!(server.stop().success(), "the server does not stop in order");
        crash::verify(&server.data());
        clock.set(jump);
        server.restart();
        let mut association =
            Association::connect(server.dicom(), &storing()).expect("an association");
        let status = kept.store(&mut association, &Slice::new(study, 1));
        assert_eq!(status.expect("an answer"), 0, "after a start at {jump}");
        kept.check(&server);
    }
    server.kill();
    clock.set("-10y");
    server.restart();
    kept.check(&server);
    true
}

/// The same as in the tests: it takes seconds.
///
/// # Panics
/// As [`jumps`].
pub fn campaign() {
    if jumps() {
        println!(
            "edges: {} jumps of the clock did no harm",
            2 * JUMPS.len() + 1
        );
    }
}
