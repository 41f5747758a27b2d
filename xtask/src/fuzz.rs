//! `cargo xtask fuzz`: libFuzzer on the targets of `fuzz/`, one after another.

use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use clap::Args;

use crate::run::{Workspace, ask, must};

/// Options of `cargo xtask fuzz`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// A target of fuzz/; all of them when absent
    target: Option<String>,
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Where random inputs begin; another place every time when absent
    #[arg(long)]
    seed: Option<u32>,
}

/// Memory a target may use: what hostile input may cost the whole server, and no more.
const MEMORY_MEGABYTES_MAX: u64 = 1024;

/// Longest time for one input; more is a hang.
const INPUT_SECONDS_MAX: u64 = 10;

/// Runs `cargo xtask fuzz`.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> anyhow::Result<()> {
    ensure!(
        has_nightly() && has_cargo_fuzz(),
        "fuzzing needs `cargo xtask setup --fuzz` first"
    );
    let all = targets(workspace)?;
    let chosen = match &options.target {
        Some(target) if all.contains(target) => vec![target.clone()],
        Some(target) => bail!("no target {target}; there are: {}", all.join(", ")),
        None => all,
    };
    for target in &chosen {
        println!("fuzz: {target}, {} s", options.seconds);
        must(&mut command(
            workspace,
            target,
            options.seconds,
            options.seed,
        ))
        .with_context(|| format!("{target} found something; see fuzz/artifacts/{target}"))?;
    }
    Ok(())
}

/// The targets, as `fuzz/Cargo.toml` lists them.
pub(crate) fn targets(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let folder = workspace.root.join("fuzz");
    ensure!(
        folder.join("Cargo.toml").is_file(),
        "there is no fuzz/Cargo.toml"
    );
    let listed = ask(Command::new("cargo")
        .current_dir(folder)
        .args(["fuzz", "list"]));
    let listed = listed.context("`cargo fuzz list` failed")?;
    Ok(listed.lines().map(str::to_owned).collect())
}

/// One run of one target. The corpus grows in the target folder; the committed one stays as it is.
/// The same `seed` makes about the same inputs in the same order.
pub(crate) fn command(
    workspace: &Workspace,
    target: &str,
    seconds: u64,
    seed: Option<u32>,
) -> Command {
    let grown = workspace.target.join("fuzz-corpus").join(target);
    // cargo-fuzz says itself when a corpus folder is missing.
    std::fs::create_dir_all(&grown).ok();
    let mut command = Command::new("cargo");
    command
        .current_dir(workspace.root.join("fuzz"))
        .env_remove("RUSTUP_TOOLCHAIN")
        .args(["+nightly", "fuzz", "run", target])
        .arg(&grown)
        .arg(workspace.root.join("fuzz/corpus").join(target))
        .arg("--")
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-rss_limit_mb={MEMORY_MEGABYTES_MAX}"))
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .args(seed.map(|seed| format!("-seed={seed}")))
        .arg("-verbosity=0");
    command
}

/// Whether a nightly compiler is installed.
pub(crate) fn has_nightly() -> bool {
    let listed = ask(Command::new("rustup").args(["toolchain", "list"]));
    listed.is_some_and(|listed| listed.contains("nightly"))
}

/// Whether cargo-fuzz is installed.
pub(crate) fn has_cargo_fuzz() -> bool {
    ask(Command::new("cargo").args(["fuzz", "--version"])).is_some()
}
