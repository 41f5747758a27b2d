//! `cargo xtask test`: every check and every test, and a table of what passed.
//!
//! A failed step does not stop the ones after it. A step that cannot run here is shown as skipped,
//! with the reason, never left out.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::run::{Workspace, ask, must};
use crate::{fuzz, setup};

/// Options of `cargo xtask test`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only what takes seconds: format, lints, unit tests, tidiness; no peers, nothing installed
    #[arg(long)]
    quick: bool,
}

/// Seconds each fuzz target runs here; `cargo xtask fuzz` runs them longer.
const FUZZ_SECONDS: u64 = 10;

/// Where its inputs begin: what passed once does not fail the next time for no change at all.
/// `cargo xtask fuzz` begins elsewhere every time.
const FUZZ_SEED: u32 = 1;

const UNIT_TESTS: [&str; 5] = ["test", "--workspace", "--lib", "--bins", "--no-fail-fast"];
const TIDINESS: [&str; 5] = ["test", "-p", "pacs-tests", "--test", "tidy"];

enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

struct Step {
    name: String,
    outcome: Outcome,
    duration: Duration,
}

/// Runs the steps and remembers how each ended.
#[derive(Default)]
struct Steps {
    ended: Vec<Step>,
    tests: TestCount,
}

/// What `cargo test` counted.
#[derive(Clone, Copy, Default)]
struct TestCount {
    passed: u64,
    failed: u64,
}

impl Steps {
    fn run(&mut self, name: &str, step: impl FnOnce() -> anyhow::Result<()>) {
        println!("\n== {name}");
        let begun = Instant::now();
        let outcome = match step() {
            Ok(()) => Outcome::Passed,
            Err(error) => {
                println!("== {name} FAILED: {error:#}");
                Outcome::Failed(format!("{error:#}"))
            }
        };
        self.ended.push(Step {
            name: name.to_owned(),
            outcome,
            duration: begun.elapsed(),
        });
    }

    fn skip(&mut self, name: &str, reason: &str) {
        println!("\n== {name} SKIPPED: {reason}");
        let outcome = Outcome::Skipped(reason.to_owned());
        self.ended.push(Step {
            name: name.to_owned(),
            outcome,
            duration: Duration::ZERO,
        });
    }
}

/// Runs `cargo xtask test`.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> anyhow::Result<()> {
    let mut steps = Steps::default();
    if options.quick {
        quick(workspace, &mut steps);
    } else {
        whole(workspace, &mut steps);
    }
    if conclude(&steps) {
        return Ok(());
    }
    // The count is the last line; an error message after it would hide it.
    std::process::exit(1);
}

fn quick(workspace: &Workspace, steps: &mut Steps) {
    steps.run("format", || {
        must(&mut workspace.cargo(["fmt", "--all", "--check"]))
    });
    steps.run("lints", || lints(workspace));
    let mut count = TestCount::default();
    steps.run("unit tests", || {
        counted(&mut count, &mut workspace.cargo(UNIT_TESTS))
    });
    steps.run("tidiness", || {
        counted(&mut count, &mut workspace.cargo(TIDINESS))
    });
    steps.tests = count;
}

fn whole(workspace: &Workspace, steps: &mut Steps) {
    steps.run("setup", || setup::tests(workspace));
    if workspace.test_data().is_none() {
        let reason = "PACS_TESTDATA, or ../shared/testdata, is not here";
        steps.skip("tests on the DICOM test files", reason);
    }
    steps.run("format", || {
        must(&mut workspace.cargo(["fmt", "--all", "--check"]))
    });
    steps.run("lints", || lints(workspace));
    steps.run("build", || {
        must(&mut workspace.cargo(["build", "--workspace", "--bins"]))
    });
    let mut count = TestCount::default();
    let skipped = workspace.target.join("skipped-tests.txt");
    steps.run("tests", || tests(workspace, &skipped, &mut count));
    steps.tests = count;
    tell_skipped(&skipped, steps);
    // The test itself cannot be heard when it skips.
    match crate::crash::why_no_power_cuts(workspace) {
        Ok(None) => {}
        Ok(Some(reason)) => steps.skip("power cuts", &reason),
        Err(error) => steps.run("power cuts", || Err(error)),
    }
    examples(workspace, steps);
    steps.run("documentation", || {
        let mut doc = workspace.cargo(["doc", "--workspace", "--no-deps", "--quiet"]);
        must(doc.env("RUSTDOCFLAGS", "-D warnings"))
    });
    if ask(&mut workspace.cargo(["deny", "--version"])).is_some() {
        steps.run("licences and advisories", || {
            must(&mut workspace.cargo(["deny", "--all-features", "check"]))
        });
    } else {
        let reason = "cargo-deny is not installed, so that nobody asked whether a dependency has a \
                      known hole or was withdrawn, nor for licences of other systems' \
                      dependencies. Licences, sources and doubles were checked by tidy";
        steps.skip("advisories", reason);
    }
    short_fuzz(workspace, steps);
    let reason = "boots bare machines as root, for minutes: `cargo xtask package --try`";
    steps.skip("an administrator's day with the package", reason);
}

fn lints(workspace: &Workspace) -> anyhow::Result<()> {
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ];
    must(&mut workspace.cargo(clippy))?;
    // The fuzz targets are a workspace of their own, whose lock file nothing else looks at.
    let of_fuzz = ["tree", "--locked", "--manifest-path", "fuzz/Cargo.toml"];
    must(&mut workspace.cargo(of_fuzz.into_iter().chain(["--depth", "0"])))
}

/// Unit, doc, black-box, peer and crash tests, with the corpora of the fuzz targets replayed. Tests
/// that do not run say so in the file `skipped`.
fn tests(workspace: &Workspace, skipped: &Path, count: &mut TestCount) -> anyhow::Result<()> {
    match std::fs::remove_file(skipped) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).context("cannot remove what the tests before these said");
        }
        _ => {}
    }
    let mut cargo = workspace.cargo(["test", "--workspace", "--no-fail-fast"]);
    cargo.env("PACS_SKIPPED", skipped);
    cargo.env("PACS_TOOLS", workspace.tools());
    // The step before this one has just built them.
    cargo.env("PACS_BIN_DIR", workspace.target.join("debug"));
    match workspace.test_data() {
        // Whatever is missing now is a fault of setup, so that it must not pass as skipped.
        Some(data) => cargo
            .env("PACS_REQUIRE_PEERS", "1")
            .env("PACS_TESTDATA", data),
        None => cargo.env_remove("PACS_REQUIRE_PEERS"),
    };
    counted(count, &mut cargo)
}

/// Shows what tests did not run: nobody hears what a test says that passes.
fn tell_skipped(skipped: &Path, steps: &mut Steps) {
    // There is no file where every test ran.
    let said = std::fs::read_to_string(skipped).unwrap_or_default();
    let mut names_by_reason: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, reason) in said.lines().filter_map(|line| line.split_once(": ")) {
        names_by_reason.entry(reason).or_default().insert(name);
    }
    for (reason, names) in names_by_reason {
        let names: Vec<&str> = names.into_iter().collect();
        let title = format!("{} tests, {}", names.len(), names.join(", "));
        steps.skip(&title, reason);
    }
}

/// Runs `cargo test`, showing what it says and adding up its results.
fn counted(count: &mut TestCount, cargo: &mut Command) -> anyhow::Result<()> {
    let mut child = cargo
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run cargo test")?;
    let output = child.stdout.take().context("its output")?;
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        let Some(result) = line.strip_prefix("test result: ") else {
            continue;
        };
        for part in result.split([';', '.']) {
            match part.trim().split_once(' ') {
                Some((number, "passed")) => count.passed += number.parse().unwrap_or(0),
                Some((number, "failed")) => count.failed += number.parse().unwrap_or(0),
                _ => {}
            }
        }
    }
    let status = child.wait()?;
    ensure!(status.success(), "cargo test failed ({status})");
    Ok(())
}

/// Runs every example without arguments; the list comes from cargo, so that none is forgotten.
fn examples(workspace: &Workspace, steps: &mut Steps) {
    let names = example_names(workspace);
    if names.is_empty() {
        steps.skip("examples", "there are none");
    }
    for (kind, name) in names {
        steps.run(&format!("example {name}"), || {
            let flag = format!("--{kind}");
            must(&mut workspace.cargo(["run", "--quiet", "-p", "pacs-examples", &flag, &name]))
        });
    }
}

fn example_names(workspace: &Workspace) -> Vec<(String, String)> {
    let metadata = ask(&mut workspace.cargo(["metadata", "--no-deps", "--format-version=1"]));
    let metadata = metadata.and_then(|text| serde_json::from_str(&text).ok());
    let metadata: serde_json::Value = metadata.unwrap_or_default();
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    let examples = packages
        .iter()
        .find(|package| package["name"] == "pacs-examples");
    let targets = examples.and_then(|package| package["targets"].as_array());
    let mut names = Vec::new();
    for target in targets.into_iter().flatten() {
        for kind in ["example", "bin"] {
            let is_kind = target["kind"]
                .as_array()
                .is_some_and(|it| it.iter().any(|k| k == kind));
            if let (true, Some(name)) = (is_kind, target["name"].as_str()) {
                names.push((kind.to_owned(), name.to_owned()));
            }
        }
    }
    names
}

fn short_fuzz(workspace: &Workspace, steps: &mut Steps) {
    if !fuzz::has_nightly() || !fuzz::has_cargo_fuzz() {
        let reason = "no nightly compiler with cargo-fuzz; `cargo xtask setup --fuzz`. Their \
                      corpora were replayed by the tests";
        steps.skip("short fuzzing", reason);
        return;
    }
    match fuzz::targets(workspace) {
        Ok(targets) => {
            for target in targets {
                steps.run(&format!("fuzz {target}, {FUZZ_SECONDS} s"), || {
                    must(&mut fuzz::command(
                        workspace,
                        &target,
                        FUZZ_SECONDS,
                        Some(FUZZ_SEED),
                    ))
                });
            }
        }
        Err(error) => steps.run("short fuzzing", || Err(error)),
    }
}

/// Shows how every step ended; whether all went well.
fn conclude(steps: &Steps) -> bool {
    println!();
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for step in &steps.ended {
        let (word, reason) = match &step.outcome {
            Outcome::Passed => {
                passed += 1;
                ("passed", "")
            }
            Outcome::Failed(reason) => {
                failed += 1;
                ("FAILED", reason.as_str())
            }
            Outcome::Skipped(reason) => {
                skipped += 1;
                ("skipped", reason.as_str())
            }
        };
        println!(
            "{word:8} {:7.1} s  {}  {reason}",
            step.duration.as_secs_f64(),
            step.name
        );
    }
    let TestCount {
        passed: tests_passed,
        failed: tests_failed,
    } = steps.tests;
    println!("tests: {tests_passed} passed, {tests_failed} failed");
    println!("steps: {passed} passed, {failed} failed, {skipped} skipped");
    // A failed step of tests is the failed tests; it must not be lost when none was counted.
    println!(
        "{} passed, {} failed",
        tests_passed + passed,
        tests_failed.max(failed)
    );
    failed == 0
}
