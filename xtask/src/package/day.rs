//! `cargo xtask package --try`: an administrator's day with the package, on bare machines.
//!
//! The day itself is `xtask/package/day.sh`. It needs root, DCMTK, debootstrap and systemd-nspawn,
//! and takes minutes, so that no other check runs it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use super::Options;
use crate::run::{Workspace, ask, must, on_path};

/// Programs it takes, and the Debian packages that have them.
const NEEDED: [(&str, &str); 7] = [
    ("debootstrap", "debootstrap"),
    ("systemd-nspawn", "systemd-container"),
    ("storescp", "dcmtk"),
    ("openssl", "openssl"),
    ("ip", "iproute2"),
    ("unshare", "util-linux"),
    ("pgrep", "procps"),
];

/// Has the day on each release of Debian.
pub(super) fn run(workspace: &Workspace, package: &Path, options: &Options) -> anyhow::Result<()> {
    if let Some(reason) = why_not(workspace) {
        bail!("the day cannot be tried here: {reason}");
    }
    let data = workspace.test_data().context("the test data")?;
    let folder = workspace.target.join("package-day");
    std::fs::create_dir_all(&folder)?;
    for release in &options.release {
        let mut day = Command::new("unshare");
        day.args(["--mount", "bash"])
            .arg(workspace.root.join("xtask/package/day.sh"))
            .arg(release)
            .args([package, &folder, &data])
            .arg(workspace.target.join("release/pacs"));
        let earlier: Option<&PathBuf> = options.from.as_ref();
        if let Some(earlier) = earlier {
            day.arg(earlier.canonicalize().context("the earlier package")?);
        }
        must(&mut day)?;
    }
    Ok(())
}

/// What is missing here, if anything.
fn why_not(workspace: &Workspace) -> Option<String> {
    if ask(Command::new("id").arg("-u")).is_none_or(|id| id.trim() != "0") {
        return Some("only root can boot a machine".to_owned());
    }
    let missing: Vec<&str> = NEEDED
        .into_iter()
        .filter(|(program, _)| on_path(program).is_none())
        .map(|(_, package)| package)
        .collect();
    if !missing.is_empty() {
        return Some(format!("apt-get install {}", missing.join(" ")));
    }
    if workspace.test_data().is_none() {
        return Some("the DICOM test files are not here (PACS_TESTDATA)".to_owned());
    }
    None
}
