//! `cargo xtask edges`: builds the servers and runs the edge campaign of `pacs-tests`.

use clap::Args;

use crate::run::{Workspace, must};

/// The case that is a test of the archive, without a server.
const EVERY_CALL: &str = "every-call";

/// Options of `cargo xtask edges`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// What to try: memory (ten instances of 1 GB), huge (one of 5 GB), crowd (10,000 silent
    /// connections), churn (100,000 associations broken off), askers (200 that ask for all of
    /// 10,000 instances and take nothing), assault (64 hostile data sets over each of 50
    /// associations), disk-full, io-errors, clock, network, lossy (a kernel that loses packets),
    /// names (that change where they lead to), every-call (every single call of the disk fails,
    /// once and for good, in the archive alone); all of them when absent. They take up to 12 GB of
    /// the disk
    cases: Vec<String>,
    /// Seed of the random moments and data; taken from the clock when absent, and printed
    #[arg(long)]
    seed: Option<u64>,
}

/// Runs `cargo xtask edges`.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> anyhow::Result<()> {
    let (alone, cases): (Vec<&String>, Vec<&String>) =
        options.cases.iter().partition(|case| *case == EVERY_CALL);
    if !alone.is_empty() || cases.is_empty() {
        every_call(workspace)?;
    }
    if !alone.is_empty() && cases.is_empty() {
        return Ok(());
    }
    let mut campaign = workspace.cargo(["run", "--release", "--quiet", "-p", "pacs-tests"]);
    campaign.args(["--bin", "edges", "--"]);
    campaign.args(cases);
    if let Some(seed) = options.seed {
        campaign.args(["--seed", &seed.to_string()]);
    }
    must(&mut campaign)
}

/// The archive on a disk of which one call fails, and each one once.
fn every_call(workspace: &Workspace) -> anyhow::Result<()> {
    let mut tests = workspace.cargo(["test", "--release", "-p", "pacs-store"]);
    tests.args(["--test", "archive", "every_call"]);
    must(tests.env("PACS_EVERY_CALL", "1"))
}
