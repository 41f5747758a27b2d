//! `cargo xtask package`: makes the Debian package of the server and the tool, and tries it.
//!
//! reference-server/Cargo.toml says what is in it, reference-server/debian holds the unit, the
//! first settings and the scripts; what can be made is made here.

mod contents;
mod day;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use clap::Args;

use crate::run::{Workspace, ask, must};

/// Options of `cargo xtask package`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Try it as root: an administrator's day on bare machines, from installation to purge
    #[arg(long = "try")]
    is_tried: bool,
    /// Releases of Debian to try it on
    #[arg(long, value_name = "NAME", default_values = ["bookworm", "trixie"])]
    release: Vec<String>,
    /// An earlier package, which is installed first, to be upgraded from
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

/// Version of cargo-deb the package is made with.
const CARGO_DEB: &str = "3.8.0";

/// Runs `cargo xtask package`.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> anyhow::Result<()> {
    let package = make(workspace)?;
    println!("package: {}", package.display());
    lint(&package)?;
    if options.is_tried {
        day::run(workspace, &package, options)?;
    }
    Ok(())
}

/// Makes the package, and says where it is.
fn make(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let tools = workspace.tools();
    let cargo_deb = tools.join("bin/cargo-deb");
    if !cargo_deb.is_file() {
        println!(
            "package: cargo-deb {CARGO_DEB} is built into {}",
            tools.display()
        );
        let root = tools.display().to_string();
        must(&mut workspace.cargo([
            "install",
            "cargo-deb",
            "--version",
            CARGO_DEB,
            "--locked",
            "--root",
            &root,
        ]))?;
    }
    workspace.release_server()?;
    let release = workspace.target.join("release");
    contents::make(workspace, &release, &release.join("package"))?;
    let folder = workspace.target.join("debian");
    let mut package = Command::new(cargo_deb);
    package
        .current_dir(&workspace.root)
        // The line tables stay where the benchmarks want them; a package is to be small.
        .args(["-p", "reference-server", "--no-build", "--strip"])
        .arg("--output")
        .arg(folder.join(""));
    must(&mut package)?;
    newest(&folder)
}

fn newest(folder: &Path) -> anyhow::Result<PathBuf> {
    let mut newest = None;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            let made = path.metadata()?.modified()?;
            newest = newest.max(Some((made, path)));
        }
    }
    let (_, path) = newest.context("no package was made")?;
    Ok(path)
}

/// What Debian's own checker says of it; an error of it is one here.
fn lint(package: &Path) -> anyhow::Result<()> {
    if ask(Command::new("lintian").arg("--version")).is_none() {
        println!("package: NOT CHECKED by lintian, which is not installed");
        return Ok(());
    }
    let mut lintian = Command::new("lintian");
    must(
        lintian
            .args(["--fail-on", "error", "--tag-display-limit", "0"])
            .arg(package),
    )
}
