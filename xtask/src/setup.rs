//! `cargo xtask setup`: installs what the tests need, only what is missing, and says what it does.
//!
//! DCMTK, Orthanc, Chromium, Python, Node.js and rsyslog come from Debian; pydicom, pynetdicom,
//! dicomweb-client, dcmjs-dimse, oidc-provider and OHIF go below the target folder. Nothing is
//! installed outside the system's packages and that folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use clap::Args;

use crate::run::{Workspace, ask, must, on_path};

/// Options of `cargo xtask setup`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Say what is missing, install nothing, and fail when something is
    #[arg(long)]
    check: bool,
    /// Also install what fuzzing needs: a nightly compiler and cargo-fuzz
    #[arg(long)]
    fuzz: bool,
    /// Also prepare the side-by-side benchmark: its peers and its data (1.5 GB)
    #[arg(long)]
    bench: bool,
}

/// A Python environment, and what it holds at the versions the tests were written with.
struct Environment {
    folder: &'static str,
    packages: &'static str,
    /// What can be imported where all is there.
    imports: &'static str,
}

/// dicomweb-client brings a library that shadows one of the others, and so stands alone.
const ENVIRONMENTS: [Environment; 3] = [
    Environment {
        folder: "venv",
        packages: "tests/requirements.txt",
        imports: "aiosmtpd, imagecodecs, lxml, pydicom, pynetdicom, sqlalchemy, PIL, libjpeg, \
                  openjpeg",
    },
    Environment {
        folder: "dicomweb",
        packages: "tests/dicomweb/requirements.txt",
        imports: "pydicom, dicomweb_client",
    },
    Environment {
        folder: "schemathesis",
        packages: "tests/schemathesis/requirements.txt",
        imports: "schemathesis",
    },
];

/// A package of Node.js, with what it needs, likewise.
struct NodePackage {
    folder: &'static str,
    manifest: &'static str,
    name: &'static str,
}

const NODE_PACKAGES: [NodePackage; 2] = [
    NodePackage {
        folder: "node",
        manifest: "tests/dcmjs/package.json",
        name: "dcmjs-dimse",
    },
    NodePackage {
        folder: "oidc",
        manifest: "tests/oidc/package.json",
        name: "oidc-provider",
    },
];

/// Runs `cargo xtask setup`.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> anyhow::Result<()> {
    if options.check {
        let missing = missing(workspace);
        for what in &missing {
            println!("missing: {what}");
        }
        if missing.is_empty() {
            println!("setup: everything the tests need is here");
            return Ok(());
        }
        bail!("{} missing; run `cargo xtask setup`", missing.len());
    }
    tests(workspace)?;
    if options.fuzz {
        fuzzing(workspace)?;
    }
    if options.bench {
        crate::bench::prepare(workspace)?;
    }
    println!("setup: done");
    Ok(())
}

/// Installs what the tests need.
pub(crate) fn tests(workspace: &Workspace) -> anyhow::Result<()> {
    debian_packages()?;
    for environment in &ENVIRONMENTS {
        python_environment(workspace, environment)?;
    }
    for package in &NODE_PACKAGES {
        node_package(workspace, package)?;
    }
    crate::viewer::install(workspace)?;
    // Where a nightly compiler is at hand, CI fuzzes too; a developer asks for it with --fuzz.
    if std::env::var_os("CI").is_some() && crate::fuzz::has_nightly() {
        fuzzing(workspace)?;
    }
    if workspace.test_data().is_none() {
        println!(
            "setup: the DICOM test files are not here (PACS_TESTDATA, or ../shared/testdata); \
             tests that need them will be skipped"
        );
    }
    Ok(())
}

/// What the tests need and this machine lacks, in words.
pub(crate) fn missing(workspace: &Workspace) -> Vec<String> {
    let mut missing: Vec<String> = missing_packages()
        .iter()
        .map(|package| format!("{package} (Debian package)"))
        .collect();
    for environment in &ENVIRONMENTS {
        if !environment.is_complete(workspace) {
            missing.push(format!("{} (Python environment)", environment.imports));
        }
    }
    for package in NODE_PACKAGES.iter().filter(|it| !it.is_there(workspace)) {
        missing.push(format!("{} (Node.js package)", package.name));
    }
    if !crate::viewer::is_there(workspace) {
        missing.push("OHIF and playwright-core (Node.js packages)".to_owned());
    }
    missing
}

fn missing_packages() -> Vec<&'static str> {
    let mut missing = Vec::new();
    if on_path("storescu").is_none() || on_path("dcmqrscp").is_none() {
        missing.push("dcmtk");
    }
    if on_path("Orthanc").is_none() {
        missing.push("orthanc");
    }
    if ask(Command::new("python3").args(["-c", "import venv, ensurepip"])).is_none() {
        missing.push("python3-venv");
    }
    if on_path("dciodvfy").is_none() {
        missing.push("dicom3tools");
    }
    if on_path("ojph_expand").is_none() {
        missing.push("openjph-tools");
    }
    if on_path("node").is_none() || on_path("npm").is_none() {
        missing.push("nodejs");
        missing.push("npm");
    }
    if on_path("chromium").is_none() {
        missing.push("chromium");
    }
    if on_path("fiu-run").is_none() {
        missing.push("fiu-utils");
    }
    if on_path("strace").is_none() {
        missing.push("strace");
    }
    if on_path("faketime").is_none() {
        missing.push("faketime");
    }
    if !has_rsyslog() {
        missing.push("rsyslog");
        missing.push("rsyslog-gnutls");
    }
    // Power cuts need a file system of their own, bad lines a network: only root can make them.
    if is_root() {
        if on_path("nft").is_none() {
            missing.push("nftables");
        }
        if on_path("tc").is_none() {
            missing.push("iproute2");
        }
        if on_path("mkfs.ext4").is_none() {
            missing.push("e2fsprogs");
        }
        if on_path("mkfs.xfs").is_none() {
            missing.push("xfsprogs");
        }
    }
    missing
}

/// Whether rsyslog is there, with its driver for TLS. Its daemon is not on everybody's path, and
/// Debian has libraries in a folder for each architecture.
fn has_rsyslog() -> bool {
    let folders = std::fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .flatten();
    let mut folders = folders.map(|folder| folder.path().join("rsyslog/lmnsd_gtls.so"));
    let has_daemon = on_path("rsyslogd").is_some() || Path::new("/usr/sbin/rsyslogd").is_file();
    has_daemon && folders.any(|driver| driver.is_file())
}

fn is_root() -> bool {
    ask(Command::new("id").arg("-u")).is_some_and(|id| id.trim() == "0")
}

fn debian_packages() -> anyhow::Result<()> {
    let packages = missing_packages();
    if packages.is_empty() {
        println!(
            "setup: DCMTK, Orthanc, Chromium, Python, Node.js, rsyslog and tools of file systems \
             are there"
        );
        return Ok(());
    }
    let list = packages.join(" ");
    if on_path("apt-get").is_none() {
        bail!("this is not Debian; install the equivalents of: {list}");
    }
    if !is_root() {
        bail!("missing: {list}. Run as root: apt-get install {list}");
    }
    println!("setup: installing with apt-get: {list}");
    // Debian starts a service it installs; Orthanc is wanted as a program only.
    let policy = Path::new("/usr/sbin/policy-rc.d");
    let ours = !policy.exists();
    if ours {
        println!(
            "setup: services are kept from starting meanwhile ({})",
            policy.display()
        );
        std::fs::write(policy, "#!/bin/sh\nexit 101\n").context("policy-rc.d")?;
        must(Command::new("chmod").args(["755", "/usr/sbin/policy-rc.d"]))?;
    }
    let result = install(&packages);
    if ours {
        std::fs::remove_file(policy).context("policy-rc.d")?;
    }
    result
}

fn install(packages: &[&str]) -> anyhow::Result<()> {
    must(&mut apt_get(&["update", "--quiet"]))?;
    let mut arguments = vec!["install", "--quiet", "--yes", "--no-install-recommends"];
    arguments.extend(packages);
    must(&mut apt_get(&arguments))
}

fn apt_get(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["-o", "DPkg::Lock::Timeout=600"])
        .args(arguments);
    command
}

impl Environment {
    fn python(&self, workspace: &Workspace) -> PathBuf {
        workspace.tools().join(self.folder).join("bin/python")
    }

    fn is_complete(&self, workspace: &Workspace) -> bool {
        let mut import = Command::new(self.python(workspace));
        import.args(["-c", &format!("import {}", self.imports)]);
        ask(&mut import).is_some()
    }
}

fn python_environment(workspace: &Workspace, environment: &Environment) -> anyhow::Result<()> {
    let folder = workspace.tools().join(environment.folder);
    if environment.is_complete(workspace) {
        println!(
            "setup: the Python environment is complete ({})",
            folder.display()
        );
        return Ok(());
    }
    println!("setup: making a Python environment in {}", folder.display());
    std::fs::create_dir_all(workspace.tools())?;
    must(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    let mut pip = Command::new(environment.python(workspace));
    pip.args(["-m", "pip", "install", "--quiet"]);
    pip.args(["--disable-pip-version-check", "-r"]);
    must(pip.arg(workspace.root.join(environment.packages)))
}

impl NodePackage {
    fn is_there(&self, workspace: &Workspace) -> bool {
        let modules = workspace.tools().join(self.folder).join("node_modules");
        modules.join(self.name).is_dir()
    }
}

fn node_package(workspace: &Workspace, package: &NodePackage) -> anyhow::Result<()> {
    let NodePackage {
        folder,
        manifest,
        name,
    } = package;
    let folder = workspace.tools().join(folder);
    if package.is_there(workspace) {
        println!("setup: {name} is installed ({})", folder.display());
        return Ok(());
    }
    println!("setup: installing {name} in {}", folder.display());
    std::fs::create_dir_all(&folder)?;
    std::fs::copy(workspace.root.join(manifest), folder.join("package.json"))
        .context("package.json")?;
    let mut npm = Command::new("npm");
    npm.current_dir(&folder);
    must(npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts"]))
}

/// Installs what fuzzing needs.
fn fuzzing(workspace: &Workspace) -> anyhow::Result<()> {
    if crate::fuzz::has_nightly() {
        println!("setup: a nightly compiler is installed");
    } else {
        println!("setup: installing a nightly compiler with rustup");
        let mut rustup = Command::new("rustup");
        must(rustup.args(["toolchain", "install", "nightly", "--profile", "minimal"]))?;
    }
    if crate::fuzz::has_cargo_fuzz() {
        println!("setup: cargo-fuzz is installed");
        return Ok(());
    }
    println!("setup: installing cargo-fuzz (takes some minutes)");
    must(&mut workspace.cargo(["install", "cargo-fuzz", "--locked"]))
}
