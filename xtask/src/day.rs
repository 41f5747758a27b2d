//! `cargo xtask simulate-day`: builds the server and runs the day in eleven hospitals of
//! `pacs-tests`.

use clap::Args;

use crate::run::{Workspace, must};

/// Options of `cargo xtask simulate-day`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Examinations, about a fifth of which something goes wrong with
    #[arg(long, default_value_t = 3_000)]
    examinations: usize,
    /// Seed of all that is random; taken from the clock when absent, and printed
    #[arg(long)]
    seed: Option<u64>,
    /// Print what was injected and what came of it as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `cargo xtask simulate-day`.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> anyhow::Result<()> {
    let mut campaign = workspace.cargo(["run", "--release", "--quiet", "-p", "pacs-tests"]);
    campaign.args(["--bin", "simulate-day", "--"]);
    campaign.args(["--examinations", &options.examinations.to_string()]);
    if let Some(seed) = options.seed {
        campaign.args(["--seed", &seed.to_string()]);
    }
    if options.json {
        campaign.arg("--json");
    }
    must(&mut campaign)
}
