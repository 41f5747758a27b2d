//! `cargo xtask crash`: builds the servers and runs the kill -9 campaign of `pacs-tests`.

use clap::Args;

use crate::run::{Workspace, must};

/// Options of `cargo xtask crash`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Kills at random moments
    #[arg(long, default_value_t = 1000)]
    kills: u32,
    /// Longest time between the start of the senders and a kill, in milliseconds
    #[arg(long, default_value_t = 400)]
    wait_ms_max: u64,
    /// Seed of the random moments and data; taken from the clock when absent, and printed
    #[arg(long)]
    seed: Option<u64>,
    /// Leave out the kills at every named step
    #[arg(long)]
    random_only: bool,
}

/// Runs `cargo xtask crash`.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> anyhow::Result<()> {
    // Optimised: the faster the server, the more is in flight when it dies.
    let mut campaign = workspace.cargo(["run", "--release", "--quiet", "-p", "pacs-tests"]);
    campaign.args(["--bin", "crash-campaign", "--"]);
    campaign.args(["--kills", &options.kills.to_string()]);
    campaign.args(["--wait-ms-max", &options.wait_ms_max.to_string()]);
    if let Some(seed) = options.seed {
        campaign.args(["--seed", &seed.to_string()]);
    }
    if options.random_only {
        campaign.arg("--random-only");
    }
    must(&mut campaign)
}
