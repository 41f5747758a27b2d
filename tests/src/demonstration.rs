//! `pacs-server --demo` as a child process: a national archive with examinations in every state.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::portal::Browser;
use crate::server::{Ready, ready_line, wait_for_exit};
use crate::workspace;

/// What a new demonstration prints once it is filled.
pub const FILLED: &str = "Try, in another window";

/// A running demonstration. Dropping it kills it.
#[derive(Debug)]
pub struct Demonstration {
    child: Child,
    /// Where it listens.
    pub ready: Ready,
    /// What it printed until it said what to try.
    pub told: String,
    _out: BufReader<ChildStdout>,
}

impl Drop for Demonstration {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The server on free ports of loopback, with these words.
#[must_use]
pub fn command(words: &[&str]) -> Command {
    let mut command = Command::new(workspace::binary("pacs-server"));
    command.args(["--dicom", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    command
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command.stderr(Stdio::null());
    command
}

impl Demonstration {
    /// Fills one in `folder`, which is not there yet.
    ///
    /// # Panics
    /// When it does not become ready.
    #[must_use]
    pub fn fill(folder: &Path) -> Self {
        let folder = folder.to_str().expect("UTF-8");
        Self::start(command(&["--demo", folder]), FILLED)
    }

    /// Starts one, and reads until `until` has been printed.
    ///
    /// # Panics
    /// When it ends before.
    #[must_use]
    pub fn start(mut command: Command, until: &str) -> Self {
        let mut child = command.spawn().expect("the server runs");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let (mut told, mut ready) = (String::new(), None);
        while !told.contains(until) {
            let mut line = String::new();
            let read = out.read_line(&mut line).expect("text");
            assert!(read > 0, "it ended: {told}");
            ready = ready.or_else(|| ready_line(&line));
            told.push_str(&line);
        }
        Self {
            child,
            ready: ready.expect("a line that says it is ready"),
            told,
            _out: out,
        }
    }

    /// Name and password of each account that was printed.
    #[must_use]
    pub fn accounts(&self) -> BTreeMap<String, String> {
        let lines = self
            .told
            .lines()
            .skip_while(|line| !line.starts_with("Accounts"));
        let lines = lines.take_while(|line| !line.starts_with("Try"));
        let words = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
        let accounts = words.filter(|words| words.len() > 2 && words[1].contains('-'));
        accounts
            .map(|words| (words[0].to_owned(), words[1].to_owned()))
            .collect()
    }

    /// One of its accounts, signed in.
    ///
    /// # Panics
    /// When there is none, or it is refused.
    #[must_use]
    pub fn user(&self, name: &str) -> Browser {
        let password = &self.accounts()[name];
        Browser::sign_in(self.ready.http, name, password)
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Panics
    /// When it does not end in order.
    pub fn stop(mut self) {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, rustix::process::Signal::TERM).expect("it runs");
        assert!(wait_for_exit(&mut self.child).success());
    }
}
