//! The workspace and the commands run in it.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

/// Where the workspace is and where it builds to.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// The folder of the root `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// The target folder.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Finds the workspace this program was built from.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask stands in a workspace")?
            .to_path_buf();
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root.join("target"), |folder| root.join(folder));
        Ok(Self { root, target })
    }

    /// Where tools that are not part of the system are kept.
    pub(crate) fn tools(&self) -> PathBuf {
        std::env::var_os("PACS_TOOLS").map_or_else(|| self.target.join("tools"), PathBuf::from)
    }

    /// The test data, when they are here.
    pub(crate) fn test_data(&self) -> Option<PathBuf> {
        let folder = std::env::var_os("PACS_TESTDATA")
            .map_or_else(|| self.root.join("../shared/testdata"), PathBuf::from);
        folder.join("MANIFEST.tsv").is_file().then_some(folder)
    }

    /// Cargo in the root of the workspace.
    pub(crate) fn cargo<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.current_dir(&self.root).args(arguments);
        command
    }

    /// Builds the optimised server and says where it is.
    pub(crate) fn release_server(&self) -> anyhow::Result<PathBuf> {
        must(&mut self.cargo(["build", "--release", "-p", "reference-server", "--bins"]))?;
        Ok(self.target.join("release/pacs-server"))
    }
}

/// Shows a command, runs it, and fails when it fails.
pub(crate) fn must(command: &mut Command) -> anyhow::Result<()> {
    eprintln!("  $ {}", shown(command));
    let status = command
        .status()
        .with_context(|| format!("cannot run {}", shown(command)))?;
    ensure!(status.success(), "{} failed ({status})", shown(command));
    Ok(())
}

/// Runs a command without showing anything: its standard output when it succeeds.
pub(crate) fn ask(command: &mut Command) -> Option<String> {
    let output = command.stderr(std::process::Stdio::null()).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Becomes `command`: signals reach it as if it had been started directly.
pub(crate) fn replace_with(command: &mut Command) -> anyhow::Result<()> {
    let error = command.exec();
    bail!("cannot run {}: {error}", shown(command))
}

/// Where an executable stands on the path.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> =
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    folders.push(PathBuf::from("/usr/sbin"));
    folders
        .into_iter()
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
