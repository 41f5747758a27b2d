//! `cargo xtask crash` runs this: the kill -9 campaign of `pacs_tests::crash` and, with `--power`,
//! the power cuts of `pacs_tests::power`.

use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant, SystemTime};

use pacs_tests::power::FileSystem;
use pacs_tests::{crash, power};

/// Power cannot be cut here; standard error says why.
const EXIT_IMPOSSIBLE: u8 = 77;

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_power = arguments.first().is_some_and(|first| first == "--power");
    if is_power {
        arguments.remove(0);
        return cut_power(arguments);
    }
    kill(arguments);
    ExitCode::SUCCESS
}

fn kill(arguments: Vec<String>) {
    let mut plan = crash::Plan {
        kills: 1000,
        wait_max: Duration::from_millis(400),
        seed: seed_of_the_clock(),
        rounds_per_step: 5,
        sabotage: crash::Sabotage::None,
    };
    for (name, value) in pairs(arguments) {
        match name.as_str() {
            "--kills" => plan.kills = number(&name, &value),
            "--wait-ms-max" => plan.wait_max = Duration::from_millis(number(&name, &value)),
            "--seed" => plan.seed = number(&name, &value),
            "--rounds-per-step" => plan.rounds_per_step = number(&name, &value),
            _ => panic!("unknown argument {name}"),
        }
    }
    let begun = Instant::now();
    let report = crash::run(&plan);
    println!(
        "crash campaign: nothing lost, {report:?}, in {:?}",
        begun.elapsed()
    );
}

fn cut_power(arguments: Vec<String>) -> ExitCode {
    let mut plan = power::Plan {
        cuts: 200,
        wait_max: Duration::from_millis(400),
        seed: seed_of_the_clock(),
        file_system: FileSystem::Ext4,
        mount_options: String::new(),
        is_without_syncs: false,
    };
    let mut asks_only = false;
    for (name, value) in pairs(arguments) {
        match name.as_str() {
            "--cuts" => plan.cuts = number(&name, &value),
            "--wait-ms-max" => plan.wait_max = Duration::from_millis(number(&name, &value)),
            "--seed" => plan.seed = number(&name, &value),
            "--file-system" => {
                plan.file_system = FileSystem::named(&value)
                    .unwrap_or_else(|| panic!("--file-system: ext4 or xfs, not {value}"));
            }
            "--mount-options" => plan.mount_options = value,
            "--without-syncs" => plan.is_without_syncs = number(&name, &value),
            "--ask-only" => asks_only = number(&name, &value),
            _ => panic!("unknown argument {name}"),
        }
    }
    if let Some(reason) = power::why_not(plan.file_system) {
        eprintln!("SKIPPED: power cannot be cut here: {reason}");
        return ExitCode::from(EXIT_IMPOSSIBLE);
    }
    if asks_only {
        return ExitCode::SUCCESS;
    }
    power::enter_own_namespace();
    let begun = Instant::now();
    if plan.is_without_syncs {
        let cut = power::run_until_a_loss(&plan);
        println!("power campaign: without syncs the loss was noticed at cut {cut}");
    } else {
        let report = power::run(&plan);
        println!(
            "power campaign: nothing lost, {report:?}, in {:?}",
            begun.elapsed()
        );
    }
    ExitCode::SUCCESS
}

/// Every argument is a name and a value.
fn pairs(arguments: Vec<String>) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut arguments = arguments.into_iter();
    while let Some(name) = arguments.next() {
        let value = arguments.next();
        pairs.push((
            name.clone(),
            value.unwrap_or_else(|| panic!("{name} needs a value")),
        ));
    }
    pairs
}

fn number<N: FromStr>(name: &str, value: &str) -> N {
    value
        .parse()
        .unwrap_or_else(|_| panic!("{name}: {value:?} is no value for it"))
}

fn seed_of_the_clock() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(1, |since| u64::from(since.subsec_nanos()) ^ since.as_secs())
}
