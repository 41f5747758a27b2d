//! OHIF, the viewer that a test opens in a browser: its package as npm has it, unpacked below the
//! target folder, and what drives the browser.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;

use crate::run::{Workspace, must};

/// The viewer. Its package depends on all that it was built with, and holds what was built: only it
/// itself is fetched.
const VIEWER: &str = "@ohif/app@3.13.2";

/// What npm calls the file of [`VIEWER`].
const FILE: &str = "ohif-app-3.13.2.tgz";

/// What drives the browser, which is Debian's: none is downloaded.
const DRIVER: &str = "tests/ohif/package.json";

/// Three quarters of the package, for segmentation by neural networks and slides; not asked for
/// here.
const LEFT_OUT: [&str; 2] = ["package/dist/ort", "package/dist/dicom-microscopy-viewer"];

fn folder(workspace: &Workspace) -> PathBuf {
    workspace.tools().join("ohif")
}

/// Whether both are there.
pub(crate) fn is_there(workspace: &Workspace) -> bool {
    let folder = folder(workspace);
    folder.join("node_modules/playwright-core").is_dir()
        && folder.join("viewer/dist/index.html").is_file()
}

/// Installs both.
pub(crate) fn install(workspace: &Workspace) -> anyhow::Result<()> {
    let folder = folder(workspace);
    if is_there(workspace) {
        println!("setup: OHIF is installed ({})", folder.display());
        return Ok(());
    }
    println!("setup: installing OHIF in {}", folder.display());
    let viewer = folder.join("viewer");
    std::fs::create_dir_all(&viewer)?;
    std::fs::copy(workspace.root.join(DRIVER), folder.join("package.json"))
        .context("package.json")?;
    let npm = || {
        let mut npm = Command::new("npm");
        npm.current_dir(&folder);
        npm
    };
    must(npm().args(["install", "--no-audit", "--no-fund", "--ignore-scripts"]))?;
    must(npm().args(["pack", "--silent", VIEWER]))?;
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--gzip", "--strip-components=1"]);
    tar.args(LEFT_OUT.map(|left_out| format!("--exclude={left_out}")));
    tar.arg("--directory").arg(&viewer);
    must(tar.arg("--file").arg(folder.join(FILE)))?;
    std::fs::remove_file(folder.join(FILE)).context(FILE)
}
