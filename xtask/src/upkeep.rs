//! `cargo xtask flip`, `drill` and `indexes`: builds the server and runs campaigns of `pacs-tests`.

use clap::Args;

use crate::run::{Workspace, must};

/// Options of `cargo xtask flip`.
#[derive(Debug, Args)]
pub(crate) struct Flips {
    /// Bits that are changed and have to be noticed
    #[arg(long, default_value_t = 1000)]
    count: u32,
    /// Seed; taken from the clock when absent, and printed
    #[arg(long)]
    seed: Option<u64>,
}

/// Options of `cargo xtask drill`.
#[derive(Debug, Args)]
pub(crate) struct Drills {
    /// Archives that are lost and restored
    #[arg(long, default_value_t = 20)]
    rounds: u32,
    /// Seed; taken from the clock when absent, and printed
    #[arg(long)]
    seed: Option<u64>,
}

/// Options of `cargo xtask indexes`.
#[derive(Debug, Args)]
pub(crate) struct Indexes {
    /// Archives whose index is rebuilt, lost, of an earlier day, and of another archive
    #[arg(long, default_value_t = 20)]
    archives: u32,
    /// Seed; taken from the clock when absent, and printed
    #[arg(long)]
    seed: Option<u64>,
}

/// Runs `cargo xtask flip`.
pub(crate) fn flip(workspace: &Workspace, options: &Flips) -> anyhow::Result<()> {
    let count = ["--count", &options.count.to_string()];
    campaign(workspace, "flip-campaign", count, options.seed)
}

/// Runs `cargo xtask drill`.
pub(crate) fn drill(workspace: &Workspace, options: &Drills) -> anyhow::Result<()> {
    let rounds = ["--rounds", &options.rounds.to_string()];
    campaign(workspace, "drill-campaign", rounds, options.seed)
}

/// Runs `cargo xtask indexes`.
pub(crate) fn indexes(workspace: &Workspace, options: &Indexes) -> anyhow::Result<()> {
    let archives = ["--archives", &options.archives.to_string()];
    campaign(workspace, "index-campaign", archives, options.seed)
}

fn campaign(
    workspace: &Workspace,
    name: &str,
    number: [&str; 2],
    seed: Option<u64>,
) -> anyhow::Result<()> {
    let mut campaign = workspace.cargo(["run", "--release", "--quiet", "-p", "pacs-tests"]);
    campaign.args(["--bin", name, "--"]).args(number);
    if let Some(seed) = seed {
        campaign.args(["--seed", &seed.to_string()]);
    }
    must(&mut campaign)
}
