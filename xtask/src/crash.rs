//! `cargo xtask crash`: builds the servers and runs the campaigns of `pacs-tests`: kill -9, loss of
//! power, and the disk that tears and reorders what was not synced.

use std::process::Command;

use clap::Args;

use crate::run::{Workspace, must};

/// What the campaign exits with where power cannot be cut.
const IMPOSSIBLE: i32 = 77;

/// Options of `cargo xtask crash`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Kills at random moments
    #[arg(long, default_value_t = 1000)]
    kills: u32,
    /// Longest time between the start of the senders and a kill or a cut, in milliseconds
    #[arg(long, default_value_t = 400)]
    wait_ms_max: u64,
    /// Seed of the random moments and data; taken from the clock when absent, and printed
    #[arg(long)]
    seed: Option<u64>,
    /// Crashes at each named step, beside the kills
    #[arg(long, default_value_t = 5)]
    rounds_per_step: u32,
    /// Leave out the kills at every named step
    #[arg(long)]
    random_only: bool,
    /// Cut the power of the server's file system instead of killing the server (root only), and
    /// show that a server that does not sync is found out
    #[arg(long)]
    power: bool,
    /// Losses of power
    #[arg(long, default_value_t = 200, requires = "power")]
    cuts: u32,
    /// The file system under the server: ext4 or xfs
    #[arg(long, default_value = "ext4", requires = "power")]
    file_system: String,
    /// How it is mounted, such as data=writeback
    #[arg(long, requires = "power")]
    mount_options: Option<String>,
    /// Try the disk in memory that tears and reorders what was not synced instead, with these
    /// seeds: COUNT or FROM..TO
    #[arg(long, value_name = "SEEDS", conflicts_with = "power")]
    torn: Option<String>,
}

/// Runs `cargo xtask crash`.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> anyhow::Result<()> {
    if let Some(seeds) = &options.torn {
        return tear(workspace, seeds);
    }
    if options.power {
        return cut_power(workspace, options);
    }
    let rounds = if options.random_only {
        0
    } else {
        options.rounds_per_step
    };
    let mut campaign = campaign(workspace);
    campaign.args(["--kills", &options.kills.to_string()]);
    campaign.args(["--rounds-per-step", &rounds.to_string()]);
    must(shared(&mut campaign, options))
}

/// Why power cannot be cut here, when it cannot.
pub(crate) fn why_no_power_cuts(workspace: &Workspace) -> anyhow::Result<Option<String>> {
    let mut ask = workspace.cargo(["run", "--quiet", "-p", "pacs-tests"]);
    ask.args(["--bin", "crash-campaign", "--", "--power", "--ask-only"]);
    let output = ask.arg("true").output()?;
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Ok((output.status.code() == Some(IMPOSSIBLE)).then_some(reason))
}

fn cut_power(workspace: &Workspace, options: &Options) -> anyhow::Result<()> {
    let mut campaign = campaign(workspace);
    campaign.args(["--power", "--cuts", &options.cuts.to_string()]);
    must(shared(with_disk(&mut campaign, options), options))?;
    println!("crash: the same with a server that does not sync, which must lose something");
    let mut control = self::campaign(workspace);
    control.args(["--power", "--without-syncs", "true"]);
    must(shared(with_disk(&mut control, options), options))
}

fn with_disk<'a>(campaign: &'a mut Command, options: &Options) -> &'a mut Command {
    campaign.args(["--file-system", &options.file_system]);
    if let Some(mount_options) = &options.mount_options {
        campaign.args(["--mount-options", mount_options]);
    }
    campaign
}

fn shared<'a>(campaign: &'a mut Command, options: &Options) -> &'a mut Command {
    campaign.args(["--wait-ms-max", &options.wait_ms_max.to_string()]);
    if let Some(seed) = options.seed {
        campaign.args(["--seed", &seed.to_string()]);
    }
    campaign
}

fn campaign(workspace: &Workspace) -> Command {
    // Optimised: the faster the server, the more is in flight when it dies.
    let mut campaign = workspace.cargo(["run", "--release", "--quiet", "-p", "pacs-tests"]);
    campaign.args(["--bin", "crash-campaign", "--"]);
    campaign
}

/// The archive on the crash disk: at any operation, and again while it recovers.
fn tear(workspace: &Workspace, seeds: &str) -> anyhow::Result<()> {
    let mut tests = workspace.cargo(["test", "--release", "-p", "pacs-store"]);
    tests.args(["--test", "conformance_crash"]);
    must(tests.env("PACS_CRASH_SEEDS", seeds))
}
