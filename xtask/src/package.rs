//! `cargo xtask package`: makes the Debian package of the server and the tool.
//!
//! reference-server/Cargo.toml says what is in it, reference-server/debian holds the unit, the
//! first settings and the scripts.

use std::process::Command;

use crate::run::{Workspace, must};

/// Version of cargo-deb the package is made with.
const CARGO_DEB: &str = "3.8.0";

/// Runs `cargo xtask package`.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
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
    let mut package = Command::new(cargo_deb);
    package
        .current_dir(&workspace.root)
        .args(["-p", "reference-server", "--no-build"])
        .arg("--output")
        .arg(workspace.target.join("debian/"));
    must(&mut package)
}
