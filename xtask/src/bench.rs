//! `cargo xtask bench`: the server side by side with its peers, interleaved, in one run.
//!
//! The load generator, the data and the way to start the peers are those of the side-by-side kit
//! (`PACS_BENCH`, else `../shared/bench`); `xtask/bench/side_by_side.py` orders the runs and makes
//! the table. `BENCH_HOME` is where the kit keeps peers, data and storage; it must be a real disk.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::run::{Workspace, must};

/// Options of `cargo xtask bench`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// What to measure: ingest, find, get, web, worklist and matching, each optionally with a
    /// pattern for its cases, such as ingest:small or web:retrieve/frame (a part and a pattern),
    /// start, tls and upkeep; all of them when absent. Only when named: growth, which fills an
    /// archive with a million instances (growth:fill does only that) and needs 12 GB, and benches,
    /// which measures functions of the libraries beside dicom-object in one process
    cases: Vec<String>,
    /// How often each case is repeated; the median is shown
    #[arg(long, default_value_t = 3)]
    repetitions: u32,
    /// The peers of the kit to measure beside the server
    #[arg(long, default_value = "orthanc,orthanc13")]
    peers: String,
    /// Sizes of the archive for find, in studies
    #[arg(long, default_value = "1000,100000")]
    studies: String,
    /// The same for the peers, which become slow
    #[arg(long, default_value = "1000,10000")]
    peer_studies: String,
    /// Sizes of the archive for growth, in instances, ascending
    #[arg(long, default_value = "100000,250000,500000,1000000")]
    growth: String,
    /// Examinations that are open while worklists are asked for
    #[arg(long, default_value_t = 10_000)]
    open: u32,
    /// Seconds of each find case
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// Bytes a second that all of them together may write to the disk (root only): to see how well
    /// a slower disk is used than this machine has
    #[arg(long)]
    disk_bytes_per_second: Option<u64>,
    /// Only make the table again from the results of the last run
    #[arg(long)]
    report: bool,
}

/// Runs `cargo xtask bench`.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> anyhow::Result<()> {
    let (of_libraries, cases): (Vec<_>, Vec<_>) =
        options.cases.iter().partition(|case| *case == "benches");
    if !of_libraries.is_empty() {
        must(&mut workspace.cargo(["bench", "-p", "pacs-benches"]))?;
        if cases.is_empty() {
            return Ok(());
        }
    }
    let output = workspace.target.join("bench");
    std::fs::create_dir_all(&output)?;
    let home = home();
    let python = home.join("venv/bin/python");
    ensure!(
        python.is_file() && home.join("data/tiny.done").is_file(),
        "the kit is not prepared in {}; run `cargo xtask setup --bench`",
        home.display()
    );
    let mut command = Command::new(python);
    command
        .arg(workspace.root.join("xtask/bench/side_by_side.py"))
        .args(cases)
        .args(["--repetitions", &options.repetitions.to_string()])
        .args(["--peers", &options.peers])
        .args(["--studies", &options.studies])
        .args(["--peer-studies", &options.peer_studies])
        .args(["--growth", &options.growth])
        .args(["--open", &options.open.to_string()])
        .args(["--seconds", &options.seconds.to_string()])
        .arg("--output")
        .arg(&output)
        .env("PACS_BENCH", kit(workspace)?)
        .env("BENCH_HOME", &home)
        .env("BENCH_OUT", output.join("results.jsonl"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    if let Some(bytes) = options.disk_bytes_per_second {
        command.args(["--disk-bytes-per-second", &bytes.to_string()]);
    }
    if options.report {
        command.arg("--report");
    } else {
        command.arg("--server").arg(workspace.release_server()?);
    }
    must(&mut command)?;
    println!(
        "bench: the table is in {}",
        output.join("benchmarks.md").display()
    );
    Ok(())
}

/// Prepares the kit: peers, clients, data.
pub(crate) fn prepare(workspace: &Workspace) -> anyhow::Result<()> {
    println!(
        "setup: preparing the side-by-side kit in {}",
        home().display()
    );
    must(Command::new(kit(workspace)?.join("setup.sh")).env("BENCH_HOME", home()))
}

fn kit(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let kit = std::env::var_os("PACS_BENCH")
        .map_or_else(|| workspace.root.join("../shared/bench"), PathBuf::from);
    ensure!(
        kit.join("bench.py").is_file(),
        "no side-by-side kit in {}",
        kit.display()
    );
    kit.canonicalize().context("the kit")
}

fn home() -> PathBuf {
    std::env::var_os("BENCH_HOME")
        .map_or_else(|| std::env::temp_dir().join("pacs-bench"), PathBuf::from)
}
