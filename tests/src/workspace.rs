//! Where things are: the workspace, its build output, the test data; and when a test may skip.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The root of the workspace.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ has a parent")
        .to_path_buf()
}

/// The folder the running executable's profile builds into, such as `target/debug`.
#[must_use]
pub fn build_folder() -> PathBuf {
    let executable = std::env::current_exe().expect("the running executable has a path");
    let folder = executable
        .parent()
        .expect("an executable stands in a folder");
    if folder.ends_with("deps") {
        folder
            .parent()
            .expect("deps stands in the build folder")
            .to_path_buf()
    } else {
        folder.to_path_buf()
    }
}

/// A folder for temporary data on the disk that also holds the build output.
///
/// The system's temporary folder may be memory, on which a sync costs nothing and proves nothing.
#[must_use]
pub fn temporary_folder() -> tempfile::TempDir {
    let parent = build_folder().join("tmp");
    std::fs::create_dir_all(&parent).expect("the build folder is writable");
    tempfile::Builder::new()
        .prefix("pacs-")
        .tempdir_in(parent)
        .expect("a temporary folder")
}

/// The server and the tool, built from the tree as it stands.
///
/// With `PACS_BIN_DIR` set they are taken from there and nothing is built.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        if let Some(folder) = std::env::var_os("PACS_BIN_DIR") {
            return PathBuf::from(folder);
        }
        build_server(&[]);
        build_folder()
    });
    let path = folder.join(name);
    assert!(path.is_file(), "{} was not built", path.display());
    path
}

/// The server with its named crash points compiled in, as a file of its own.
#[must_use]
pub fn server_with_failpoints() -> PathBuf {
    static SERVER: OnceLock<PathBuf> = OnceLock::new();
    SERVER
        .get_or_init(|| {
            if let Some(server) = std::env::var_os("PACS_FAILPOINTS_SERVER") {
                return PathBuf::from(server);
            }
            variant("failpoints")
        })
        .clone()
}

/// The server that calls the system through the C library alone, where libfiu can see it.
#[must_use]
pub fn server_with_libc_calls() -> PathBuf {
    static SERVER: OnceLock<PathBuf> = OnceLock::new();
    SERVER.get_or_init(|| variant("libc-calls")).clone()
}

/// The server with one of its features, as a file of its own.
///
/// Cargo puts every variant under the same name, so this one is copied away and the ordinary one
/// is put back (from the cache) before any test starts it.
fn variant(feature: &str) -> PathBuf {
    // Campaigns are processes of their own: one at a time builds, and none writes over a file that
    // another runs.
    let lock = File::create(build_folder().join("variants.lock")).expect("a lock file");
    lock.lock().expect("the lock");
    let copy = build_folder().join(format!("pacs-server-{feature}"));
    let new = copy.with_extension("new");
    build_server(&["--features", &format!("reference-server/{feature}")]);
    std::fs::copy(build_folder().join("pacs-server"), &new).expect("the server copies");
    std::fs::rename(&new, &copy).expect("the copy gets its name");
    build_server(&[]);
    copy
}

/// The whole workspace, so that the dependencies are those the tests were built with.
fn build_server(options: &[&str]) {
    let folder = build_folder();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(root())
        .args(["build", "--quiet", "--workspace", "--bins"])
        .args(options)
        .arg("--target-dir")
        .arg(
            folder
                .parent()
                .expect("a profile stands in the target folder"),
        );
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.status().expect("cargo runs");
    assert!(status.success(), "the server does not build");
}

/// Whether a missing peer or missing test data is a failure.
#[must_use]
pub fn peers_required() -> bool {
    std::env::var_os("PACS_REQUIRE_PEERS").is_some_and(|value| value == "1")
}

/// Says loudly that a test does not run because `what` is missing; fails where it must be there.
///
/// # Panics
/// When `PACS_REQUIRE_PEERS=1`.
pub fn skip(what: &str) {
    assert!(
        !peers_required(),
        "{what} is missing; run `cargo xtask setup`"
    );
    say_skipped(&format!("{what} is missing; run `cargo xtask setup`"));
}

/// Says that a test does not run, and why.
///
/// Nobody hears what a test says that passes, so that it is also written to the end of the file
/// that `PACS_SKIPPED` names; `cargo xtask test` reads it.
///
/// # Panics
/// When that file cannot be written.
pub fn say_skipped(reason: &str) {
    eprintln!("SKIPPED: {reason}");
    if let Some(list) = std::env::var_os("PACS_SKIPPED") {
        let test = std::thread::current();
        let line = format!("{}: {reason}\n", test.name().unwrap_or("a test"));
        let list = File::options().create(true).append(true).open(list);
        let mut list = list.expect("the list of what is skipped");
        list.write_all(line.as_bytes()).expect("a line of it");
    }
}

/// The folder of the test data, or `None` (said loudly) when it is not here.
#[must_use]
pub fn test_data() -> Option<PathBuf> {
    let folder = std::env::var_os("PACS_TESTDATA")
        .map_or_else(|| root().join("../shared/testdata"), PathBuf::from);
    if folder.join("MANIFEST.tsv").is_file() {
        return Some(folder);
    }
    skip("the test data (PACS_TESTDATA, or ../shared/testdata beside the workspace)");
    None
}
