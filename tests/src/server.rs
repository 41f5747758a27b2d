//! The real server as a child process: started on free ports with its own folder, watched, killed.

mod ending;
mod output;

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::wire::{Association, Context, Proposal, WireError, uid};
use crate::workspace;

use ending::exit_within;
pub use ending::wait_for_exit;
use output::lines;
pub use output::{Ready, ready_line};

/// How long a server may take to start, to stop, or to say what it should say.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A remote AE for the configuration.
#[derive(Clone, Debug)]
pub struct RemoteAe {
    /// Its AE title.
    pub title: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// The AE titles it may name as move destination.
    pub move_to: Vec<String>,
}

impl RemoteAe {
    /// The AE `title` at `address`, which may move to itself.
    #[must_use]
    pub fn new(title: &str, address: SocketAddr) -> Self {
        Self {
            title: title.to_owned(),
            address,
            move_to: vec![title.to_owned()],
        }
    }
}

/// How to start a server. The default: loopback, free ports, AE title `PACS`, a new folder.
#[derive(Debug, Default)]
pub struct Options {
    /// The binary; the ordinary server when `None`.
    pub binary: Option<PathBuf>,
    /// A command that becomes the server, such as `setpriv` with its options; empty for none.
    pub launcher: Vec<String>,
    /// Known peers.
    pub remote: Vec<RemoteAe>,
    /// More TOML for the configuration file.
    pub config: String,
    /// More arguments.
    pub arguments: Vec<String>,
    /// More environment variables.
    pub environment: Vec<(String, String)>,
}

/// What every server is told, unless a test tells it something else.
const DEFAULTS: [(&str, &str); 5] = [
    ("--config", "pacs.toml"),
    ("--data", "data"),
    ("--dicom", "127.0.0.1:0"),
    ("--http", "127.0.0.1:0"),
    ("--ae-title", "PACS"),
];

/// Everything a peer may be allowed here.
const ALLOWED: &str = r#"["echo", "store", "find", "move", "get", "commit"]"#;

impl Options {
    /// The arguments and the environment of a server whose home is `home`.
    fn command(&self, home: &Path) -> Command {
        let config = home.join("pacs.toml");
        std::fs::write(&config, self.config_text()).expect("the home is writable");
        let binary = self
            .binary
            .clone()
            .unwrap_or_else(|| workspace::binary("pacs-server"));
        let mut words = self.launcher.iter();
        let mut command = match words.next() {
            Some(launcher) => {
                let mut command = Command::new(launcher);
                command.args(words).arg(binary);
                command
            }
            None => Command::new(binary),
        };
        // An option may stand on a command line once, so a default gives way to an argument.
        for (name, value) in DEFAULTS {
            if !self.arguments.iter().any(|argument| argument == name) {
                command.args([name, value]);
            }
        }
        command
            .current_dir(home)
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn config_text(&self) -> String {
        let mut text = self.config.clone();
        for ae in &self.remote {
            let may_move = format!("{:?}", ae.move_to);
            write!(
                text,
                "\n[[dicom.ae]]\ntitle = \"{}\"\naddress = \"{}\"\n\
                 allow = {ALLOWED}\nmove_to = {may_move}\n",
                ae.title, ae.address
            )
            .expect("writing to a string does not fail");
        }
        text
    }
}

/// What the server has written to standard error so far.
#[derive(Debug, Default)]
struct Log {
    text: Mutex<String>,
    grown: Condvar,
}

/// A running server. Dropping it kills it and removes its folder.
#[derive(Debug)]
pub struct Server {
    child: Child,
    dicom: SocketAddr,
    http: SocketAddr,
    dicom_tls: Option<SocketAddr>,
    log: Arc<Log>,
    options: Options,
    home: TempDir,
}

impl Server {
    /// Starts a server in a new folder and waits until it says that it is ready.
    ///
    /// # Panics
    /// When it does not become ready; the message holds its log.
    #[must_use]
    pub fn start(options: Options) -> Self {
        let home = workspace::temporary_folder();
        Self::start_in(home, options)
    }

    /// Starts a server whose data is already in `home`.
    ///
    /// # Panics
    /// When it does not become ready; the message holds its log.
    #[must_use]
    pub fn start_in(home: TempDir, options: Options) -> Self {
        let (child, at, log) =
            spawn(&options, home.path()).unwrap_or_else(|log| panic!("{NOT_READY}:\n{log}"));
        Self {
            child,
            dicom: at.dicom,
            http: at.http,
            dicom_tls: at.dicom_tls,
            log,
            options,
            home,
        }
    }

    /// Where it speaks DICOM.
    #[must_use]
    pub fn dicom(&self) -> SocketAddr {
        self.dicom
    }

    /// Where it speaks HTTP.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where it speaks DICOM over TLS.
    ///
    /// # Panics
    /// When it was not told to.
    #[must_use]
    pub fn dicom_tls(&self) -> SocketAddr {
        self.dicom_tls.expect("a listener with TLS")
    }

    /// Its data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        let arguments = &self.options.arguments;
        let told = arguments.iter().position(|argument| argument == "--data");
        let told = told.and_then(|at| arguments.get(at + 1));
        self.home.path().join(told.map_or("data", String::as_str))
    }

    /// What its packs hold.
    ///
    /// # Panics
    /// When they cannot be read.
    #[must_use]
    pub fn packs(&self) -> Vec<Vec<u8>> {
        let packs = std::fs::read_dir(self.data().join("packs")).expect("packs");
        let read = |pack: std::io::Result<std::fs::DirEntry>| std::fs::read(pack?.path());
        packs.map(|pack| read(pack).expect("a pack")).collect()
    }

    /// The folder it runs in; the configuration file is in it, and the data if not told otherwise.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    ///
    /// # Panics
    /// Never, unless the rig itself has panicked.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.text.lock().expect("the log is whole").clone()
    }

    /// Waits until the log holds `text`.
    ///
    /// # Panics
    /// When it does not within [`PATIENCE`].
    pub fn wait_for_log(&self, text: &str) {
        let log = self.log.text.lock().expect("the log is whole");
        let (log, timeout) = self
            .log
            .grown
            .wait_timeout_while(log, PATIENCE, |log| !log.contains(text))
            .expect("the log is whole");
        assert!(
            !timeout.timed_out(),
            "the log does not say {text:?}:\n{log}"
        );
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    ///
    /// # Panics
    /// When it was already gone.
    pub fn kill(&mut self) {
        self.child.kill().expect("the server runs");
        self.child
            .wait()
            .expect("a killed server can be waited for");
    }

    /// Whether it still runs.
    ///
    /// # Panics
    /// When the process cannot be asked.
    pub fn is_alive(&mut self) -> bool {
        self.child
            .try_wait()
            .expect("the server can be asked")
            .is_none()
    }

    /// Waits until it ends by itself, at most `patience`; `None` when it lives on.
    ///
    /// # Panics
    /// When the process cannot be asked.
    pub fn wait_at_most(&mut self, patience: Duration) -> Option<ExitStatus> {
        exit_within(&mut self.child, patience)
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// When it does not within [`PATIENCE`].
    pub fn wait(&mut self) -> ExitStatus {
        wait_for_exit(&mut self.child)
    }

    /// Asks it to end (SIGTERM), without waiting.
    ///
    /// # Panics
    /// When it is already gone.
    pub fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// Replaces what [`Options::config`] said, in the file; the server learns of it when it is told
    /// to look.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn rewrite_config(&mut self, config: String) {
        self.options.config = config;
        let path = self.home.path().join("pacs.toml");
        std::fs::write(path, self.options.config_text()).expect("the home is writable");
    }

    /// Asks it to read its AE table and certificates again (SIGHUP), without waiting.
    ///
    /// # Panics
    /// When it is already gone.
    pub fn hang_up(&self) {
        self.signal(rustix::process::Signal::HUP);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let process = i32::try_from(self.child.id()).expect("a process number");
        let process = rustix::process::Pid::from_raw(process).expect("not zero");
        rustix::process::kill_process(process, signal).expect("the server runs");
    }

    /// Asks it to end and waits until it has.
    pub fn stop(&mut self) -> ExitStatus {
        self.terminate();
        self.wait()
    }

    /// Starts it again on the same folder, after it has ended.
    ///
    /// # Panics
    /// When it does not become ready; the message holds its log.
    pub fn restart(&mut self) {
        self.try_restart()
            .unwrap_or_else(|log| panic!("{NOT_READY}:\n{log}"));
    }

    /// Starts it again on the same folder, after it has ended.
    ///
    /// # Errors
    /// Its log, when it does not become ready.
    pub fn try_restart(&mut self) -> Result<(), String> {
        let (child, at, log) = spawn(&self.options, self.home.path())?;
        (self.child, self.log) = (child, log);
        (self.dicom, self.http, self.dicom_tls) = (at.dicom, at.http, at.dicom_tls);
        Ok(())
    }

    /// Sets the binary of the next start; the ordinary server when `None`.
    pub fn set_binary(&mut self, binary: Option<PathBuf>) {
        self.options.binary = binary;
    }

    /// Sets the command that becomes the server at the next start; none where empty.
    pub fn set_launcher(&mut self, launcher: Vec<String>) {
        self.options.launcher = launcher;
    }

    /// Sets an environment variable of the next start, or removes it.
    pub fn set_environment(&mut self, name: &str, value: Option<&str>) {
        self.options.environment.retain(|(known, _)| known != name);
        if let Some(value) = value {
            self.options
                .environment
                .push((name.to_owned(), value.to_owned()));
        }
    }

    /// Starts it again and kills it after `delay`, ready or not, and after `before_the_kill`: a
    /// crash during recovery.
    ///
    /// # Panics
    /// When it cannot be started at all.
    pub fn restart_and_kill_after(&mut self, delay: Duration, before_the_kill: impl FnOnce()) {
        let mut command = self.options.command(self.home.path());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the server runs");
        // The delay is the random moment of the crash, not a wait for something.
        std::thread::sleep(delay);
        before_the_kill();
        child.kill().expect("a child can be killed");
        child.wait().expect("a killed server can be waited for");
    }

    /// The same server with other options, after it has ended.
    #[must_use]
    pub fn restart_with(self, options: Options) -> Self {
        let home = self.release_home();
        Self::start_in(home, options)
    }

    /// Gives the folder back, after the server has ended.
    fn release_home(mut self) -> TempDir {
        let empty = workspace::temporary_folder();
        std::mem::replace(&mut self.home, empty)
    }

    /// Its resident memory now.
    ///
    /// # Panics
    /// When it is gone.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The highest resident memory it ever had.
    ///
    /// # Panics
    /// When it is gone.
    #[must_use]
    pub fn peak_resident_bytes(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .expect("the server runs");
        let line = status
            .lines()
            .find(|line| line.starts_with(field))
            .expect("a field");
        let kilobytes = line.split_whitespace().nth(1).expect("a number");
        kilobytes.parse::<u64>().expect("a number") * 1024
    }

    /// Associates with it.
    ///
    /// # Errors
    /// As [`Association::connect`].
    pub fn associate(&self, contexts: Vec<Context>) -> Result<Association, WireError> {
        Association::connect(self.dicom, &Proposal::new(contexts))
    }

    /// One C-ECHO on an association of its own.
    ///
    /// # Errors
    /// When the server does not answer as it must.
    pub fn echo(&self) -> Result<u16, WireError> {
        let context = Context::new(uid::VERIFICATION, uid::IMPLICIT_LITTLE_ENDIAN);
        let mut association = self.associate(vec![context])?;
        let status = association.echo()?;
        association.release()?;
        Ok(status)
    }

    /// GET `path`: the status code and the body.
    ///
    /// # Panics
    /// When the answer is not HTTP.
    #[must_use]
    pub fn get(&self, path: &str) -> (u16, String) {
        http_get(self.http, path)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already; that is as good.
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            self.home.disable_cleanup(true);
            eprintln!(
                "the folder of the server is kept: {}",
                self.home.path().display()
            );
            eprintln!("its log:\n{}", self.log());
        }
    }
}

/// Runs a server that is expected to refuse to start: its exit status and standard error.
///
/// # Panics
/// When it starts.
#[must_use]
pub fn start_refused(options: &Options, home: &Path) -> (ExitStatus, String) {
    let mut child = options.command(home).spawn().expect("the server runs");
    let mut output = String::new();
    let mut errors = child.stderr.take().expect("piped");
    let ready = lines(child.stdout.take().expect("piped"));
    let reader = std::thread::spawn(move || {
        errors.read_to_string(&mut output).expect("text");
        output
    });
    let started = ready
        .recv_timeout(PATIENCE)
        .ok()
        .filter(|line| line.starts_with("ready "));
    if let Some(line) = started {
        child.kill().ok();
        child.wait().ok();
        panic!("the server started although it should not: {line}");
    }
    (
        wait_for_exit(&mut child),
        reader.join().expect("the reader ends"),
    )
}

/// GET `path` from `address`: the status code and the body.
///
/// # Panics
/// When the answer is not HTTP.
#[must_use]
pub fn http_get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("the HTTP port is open");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .expect("a request");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .expect("an answer in text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (
        status.unwrap_or_else(|| panic!("not HTTP: {head}")),
        body.to_owned(),
    )
}

const NOT_READY: &str = "the server did not become ready";

type Running = (Child, Ready, Arc<Log>);

/// Starts a server and waits until it is ready; its log when it does not become so.
fn spawn(options: &Options, home: &Path) -> Result<Running, String> {
    let mut child = options.command(home).spawn().expect("the server runs");
    let log = Arc::new(Log::default());
    let errors = child.stderr.take().expect("piped");
    let shared = Arc::clone(&log);
    let log_reader = std::thread::spawn(move || {
        for line in BufReader::new(errors).lines().map_while(Result::ok) {
            let mut text = shared.text.lock().expect("the log is whole");
            text.push_str(&line);
            text.push('\n');
            shared.grown.notify_all();
        }
    });
    let output = lines(child.stdout.take().expect("piped"));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok(line) = output.recv_timeout(left) else {
            child.kill().ok();
            child.wait().ok();
            log_reader.join().expect("the reader ends with its pipe");
            return Err(log.text.lock().expect("the log is whole").clone());
        };
        if let Some(at) = ready_line(&line) {
            return Ok((child, at, log));
        }
    }
}

/// What one attack may add to the memory of an idle server.
pub const GROWTH_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The memory of an idle server that has answered once.
///
/// # Panics
/// When it does not answer.
#[must_use]
pub fn idle_bytes(server: &Server) -> u64 {
    assert_eq!(server.echo().expect("an answer"), 0);
    server.resident_bytes()
}

/// The server lives, serves, and has at its highest not grown by more than `bytes_max`.
///
/// # Panics
/// When it does not, or has.
pub fn unharmed(server: &mut Server, idle: u64, bytes_max: u64, after: &str) {
    assert!(server.is_alive(), "{after} ended the server");
    let echo = server.echo();
    assert!(matches!(echo, Ok(0)), "after {after}: {echo:?}");
    let grown = server.peak_resident_bytes().saturating_sub(idle);
    assert!(
        grown <= bytes_max,
        "{after}: memory grew by {} MiB",
        grown >> 20
    );
}
