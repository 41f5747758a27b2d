//! Foreign peers: DCMTK, pynetdicom and Orthanc, as child processes.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::workspace;

pub use crate::ports::free_port;

/// How long a peer's command may run.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a command of a peer said.
#[derive(Debug)]
pub struct Said {
    /// Whether it ended with exit status 0.
    pub success: bool,
    /// Standard output and standard error together.
    pub text: String,
}

impl Said {
    /// Itself, when the command succeeded.
    ///
    /// # Panics
    /// When it did not; the message holds what it said.
    #[must_use]
    pub fn succeeded(self) -> Self {
        assert!(self.success, "the peer's command failed:\n{}", self.text);
        self
    }

    /// The line of JSON that a script of ours for a peer ends with.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn json(&self) -> Value {
        let last = self.text.lines().rfind(|line| line.starts_with('{'));
        let last = last.unwrap_or_else(|| panic!("no line of JSON:\n{}", self.text));
        serde_json::from_str(last).expect("JSON")
    }
}

/// Whether DCMTK is installed; says so loudly when not.
#[must_use]
pub fn has_dcmtk() -> bool {
    on_path("storescu").is_some() || {
        workspace::skip("DCMTK");
        false
    }
}

/// A DCMTK command, with Nagle's algorithm off: DCMTK leaves it on and then waits 40 ms a reply.
#[must_use]
pub fn dcmtk(command: &str) -> Command {
    let mut dcmtk = Command::new(command);
    dcmtk.env("TCP_NODELAY", "1").stdin(Stdio::null());
    dcmtk
}

/// Runs a command to its end.
///
/// # Panics
/// When it cannot be started.
#[must_use]
pub fn run(command: &mut Command) -> Said {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    Said {
        success: output.status.success(),
        text,
    }
}

/// The Python of the environment `cargo xtask setup` makes, or `None` (said loudly).
#[must_use]
pub fn python() -> Option<PathBuf> {
    let python = tools().join("venv/bin/python");
    if python.is_file() {
        return Some(python);
    }
    workspace::skip("the Python environment with pydicom and pynetdicom");
    None
}

/// Gives a script `lines` and returns its answers, a line each.
///
/// # Panics
/// Where it does not take them all and end in order.
#[must_use]
pub fn answers(script: &mut Command, lines: &[String]) -> Vec<String> {
    let mut child = script
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the script runs");
    let asked: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
    let mut stdin = child.stdin.take().expect("piped");
    // Beside reading, or both ends wait for one another once the pipes are full.
    let writer = std::thread::spawn(move || stdin.write_all(asked.as_bytes()));
    let output = child.wait_with_output().expect("the script ends");
    writer.join().expect("a writer").expect("lines are written");
    assert!(output.status.success(), "the script ends in order");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().map(str::to_owned).collect()
}

/// `peer.py`, which makes of pynetdicom what a test needs.
#[must_use]
pub fn peer_py(python: &Path) -> Command {
    let mut script = Command::new(python);
    script.arg(workspace::root().join("tests/pynetdicom/peer.py"));
    script
}

/// The Python of the environment with dicomweb-client, which shadows a library that others need
/// and so has one of its own; or `None` (said loudly).
#[must_use]
pub fn dicomweb_python() -> Option<PathBuf> {
    let python = tools().join("dicomweb/bin/python");
    if python.is_file() {
        return Some(python);
    }
    workspace::skip("the Python environment with dicomweb-client");
    None
}

/// The command of schemathesis, which has an environment of its own: dicomweb-client breaks it; or
/// `None` (said loudly).
#[must_use]
pub fn schemathesis() -> Option<PathBuf> {
    let command = tools().join("schemathesis/bin/schemathesis");
    if command.is_file() {
        return Some(command);
    }
    workspace::skip("schemathesis");
    None
}

/// Where Node.js finds the packages that `cargo xtask setup` installs, or `None` (said loudly).
#[must_use]
pub fn node() -> Option<PathBuf> {
    let modules = tools().join("node/node_modules");
    if on_path("node").is_some() && modules.join("dcmjs-dimse").is_dir() {
        return Some(modules);
    }
    workspace::skip("Node.js with dcmjs-dimse");
    None
}

/// Where Node.js finds oidc-provider, or `None` (said loudly).
#[must_use]
pub fn oidc_provider() -> Option<PathBuf> {
    let modules = tools().join("oidc/node_modules");
    if on_path("node").is_some() && modules.join("oidc-provider").is_dir() {
        return Some(modules);
    }
    workspace::skip("Node.js with oidc-provider");
    None
}

/// OHIF, a viewer, and what runs it.
#[derive(Debug)]
pub struct Ohif {
    /// The browser.
    pub chromium: PathBuf,
    /// Where Node.js finds what drives the browser.
    pub modules: PathBuf,
    /// The viewer's files.
    pub viewer: PathBuf,
}

/// OHIF and a browser, or `None` (said loudly).
#[must_use]
pub fn ohif() -> Option<Ohif> {
    let folder = tools().join("ohif");
    let found = on_path("chromium").filter(|_| on_path("node").is_some());
    let found = found.map(|chromium| Ohif {
        chromium,
        modules: folder.join("node_modules"),
        viewer: folder.join("viewer/dist"),
    });
    let found = found.filter(|ohif| {
        ohif.modules.join("playwright-core").is_dir() && ohif.viewer.join("index.html").is_file()
    });
    if found.is_none() {
        workspace::skip("OHIF with Chromium and Node.js");
    }
    found
}

/// Where `cargo xtask setup` puts what it installs.
fn tools() -> PathBuf {
    std::env::var_os("PACS_TOOLS").map_or_else(
        || {
            workspace::build_folder()
                .parent()
                .expect("a target folder")
                .join("tools")
        },
        PathBuf::from,
    )
}

/// The Orthanc executable, or `None` (said loudly).
#[must_use]
pub fn orthanc() -> Option<PathBuf> {
    let found = on_path("Orthanc")
        .or_else(|| Some(PathBuf::from("/usr/sbin/Orthanc")).filter(|path| path.is_file()));
    if found.is_none() {
        workspace::skip("Orthanc");
    }
    found
}

/// The rsyslog daemon, where its driver for TLS is there too, or `None` (said loudly).
#[must_use]
pub fn rsyslogd() -> Option<PathBuf> {
    let found = on_path("rsyslogd")
        .or_else(|| Some(PathBuf::from("/usr/sbin/rsyslogd")).filter(|path| path.is_file()))
        .filter(|_| has_rsyslog_tls());
    if found.is_none() {
        workspace::skip("rsyslog with its GnuTLS driver");
    }
    found
}

/// Debian has libraries in a folder for each architecture.
fn has_rsyslog_tls() -> bool {
    let folders = std::fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .flatten();
    let mut folders = folders.map(|folder| folder.path().join("rsyslog/lmnsd_gtls.so"));
    folders.any(|driver| driver.is_file())
}

fn on_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// Whether an administrator's tool is installed; those are not on everybody's path.
pub(crate) fn has_tool(name: &str) -> bool {
    on_path(name).is_some() || Path::new("/usr/sbin").join(name).is_file()
}

/// A peer that listens; dropping it kills it.
#[derive(Debug)]
pub struct Listener {
    child: Child,
    address: SocketAddr,
    /// What it says on standard error.
    complaints: File,
}

impl Listener {
    /// Starts `command`, which is to listen on `port`, and waits until it does.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn start(command: &mut Command, port: u16) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let complaints = tempfile::tempfile().expect("a file");
        let stderr = complaints.try_clone().expect("a file");
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut listener = Self {
            child,
            address,
            complaints,
        };
        listener.wait_until_open(port);
        listener
    }

    /// Waits until `port` is open too.
    ///
    /// # Panics
    /// When it is not within two minutes, or the peer ends.
    pub fn wait_until_open(&mut self, port: u16) {
        // A foreign peer tells nobody when it listens; trying is all there is.
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            let ended = self.child.try_wait().expect("a child can be asked");
            if let Some(status) = ended {
                panic!("the peer ended, {status}:\n{}", self.last_words());
            }
            assert!(
                Instant::now() < deadline,
                "the peer does not listen on {address}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The end of what it said on standard error.
    fn last_words(&mut self) -> String {
        const LENGTH: usize = 4_000;
        let mut said = Vec::new();
        let read = self
            .complaints
            .rewind()
            .and_then(|()| self.complaints.read_to_end(&mut said));
        read.expect("a file can be read");
        String::from_utf8_lossy(&said[said.len().saturating_sub(LENGTH)..]).into_owned()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Every file below `folder`.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path)
            } else {
                files.push(path)
            }
        }
    }
    files.sort();
    files
}

/// Writes `files` into `folder` under short names, for a command that takes a folder.
///
/// # Panics
/// When they cannot be copied.
pub fn gather(folder: &Path, files: impl IntoIterator<Item = impl AsRef<OsStr>>) {
    for (index, file) in files.into_iter().enumerate() {
        let target = folder.join(format!("{index:04}.dcm"));
        std::fs::copy(file.as_ref(), target).expect("a copy");
    }
}
