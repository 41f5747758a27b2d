//! Foreign programs for tests: found or skipped loudly, started with `TCP_NODELAY`, stopped when
//! dropped.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Output;
use tokio::process::{Child, Command};

/// Whether tests must fail where a peer or the test data are missing.
fn peers_are_required() -> bool {
    std::env::var_os("PACS_REQUIRE_PEERS").is_some_and(|value| value == "1")
}

/// Says loudly that a test is skipped, or fails it.
pub(crate) fn skip(what: &str) {
    assert!(
        !peers_are_required(),
        "{what} is missing and PACS_REQUIRE_PEERS=1"
    );
    eprintln!("SKIPPED: {what} is missing");
}

/// The program `name`, if it is installed.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file());
    if found.is_none() {
        skip(name);
    }
    found
}

/// The Python with pynetdicom of the environment that `cargo xtask setup` makes.
pub(crate) fn python() -> Option<PathBuf> {
    let tools = std::env::var_os("PACS_TOOLS").map_or_else(
        || {
            // The test itself lies in target/debug/deps.
            let test = std::env::current_exe().unwrap();
            test.ancestors().nth(3).unwrap().join("tools")
        },
        PathBuf::from,
    );
    let python = tools.join("venv/bin/python");
    if python.is_file() {
        return Some(python);
    }
    skip("the Python environment with pynetdicom");
    None
}

/// The shared test data, if they are here.
pub(crate) fn test_data() -> Option<PathBuf> {
    let folder = std::env::var_os("PACS_TESTDATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/testdata"),
        PathBuf::from,
    );
    let found = folder.join("MANIFEST.tsv").is_file().then_some(folder);
    if found.is_none() {
        skip("the test data");
    }
    found
}

/// Some small, valid files of the test data in this transfer syntax.
pub(crate) fn valid_files(transfer_syntax: &str, count: usize) -> Option<Vec<PathBuf>> {
    let folder = test_data()?;
    let manifest = std::fs::read_to_string(folder.join("MANIFEST.tsv")).unwrap();
    let files = manifest.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        let bytes: u64 = fields[2].parse().ok()?;
        let fits = fields[3] == "valid" && fields[7] == transfer_syntax && bytes < 2 << 20;
        fits.then(|| folder.join(fields[0]))
    });
    Some(files.take(count).collect())
}

/// Runs a program to its end.
pub(crate) async fn run(program: &PathBuf, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .env("TCP_NODELAY", "1")
        .kill_on_drop(true)
        .output()
        .await
        .unwrap()
}

/// Starts a server and waits until it listens.
pub(crate) async fn start(program: &PathBuf, arguments: &[&str], address: SocketAddr) -> Child {
    let child = Command::new(program)
        .args(arguments)
        .env("TCP_NODELAY", "1")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    for _ in 0..500 {
        if tokio::net::TcpStream::connect(address).await.is_ok() {
            return child;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("{} does not listen", program.display());
}

/// A free port for a foreign server, which cannot choose its own.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}
