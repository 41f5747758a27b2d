//! The archive on a disk that loses its power.

use pacs_store_conformance::archive_cases::{Scenario, crash};

/// Seeds of the crashes in each test; `PACS_CRASH_SEEDS` sets others, as `COUNT` or `FROM..TO`.
fn seeds() -> std::ops::Range<u64> {
    let Ok(setting) = std::env::var("PACS_CRASH_SEEDS") else {
        return 0..1_000;
    };
    let (from, to) = setting.split_once("..").unwrap_or(("0", &setting));
    #[expect(clippy::expect_used, reason = "whoever sets it wrongly must be told")]
    let number = |text: &str| text.parse().expect("PACS_CRASH_SEEDS is COUNT or FROM..TO");
    number(from)..number(to)
}

fn scenario(seed: u64) -> Scenario {
    Scenario {
        seed,
        // How many operations there are depends on how groups form; some have to go to the end.
        crash_at: if seed.is_multiple_of(20) {
            u64::MAX
        } else {
            seed % 199 + 1
        },
        crash_again_at: None,
        ignores_syncs: false,
    }
}

#[test]
fn what_was_acknowledged_survives_a_crash_at_any_operation() {
    let mut ended_count = 0;
    for seed in seeds() {
        let scenario = scenario(seed);
        match crash(scenario) {
            Ok(operations_count) => {
                ended_count += usize::from(operations_count < scenario.crash_at);
            }
            Err(fault) => panic!("{scenario:?}: {fault}"),
        }
    }
    assert!(
        ended_count > 0,
        "no crash was late enough to be after the end"
    );
}

#[test]
fn what_was_acknowledged_survives_a_crash_while_recovering_from_one() {
    for seed in seeds() {
        let scenario = Scenario {
            crash_at: seed * 7 % 200 + 1,
            crash_again_at: Some(seed % 31 + 1),
            ..scenario(seed)
        };
        if let Err(fault) = crash(scenario) {
            panic!("{scenario:?}: {fault}");
        }
    }
}

/// The control: if this found nothing, the other tests would prove nothing.
#[test]
fn a_store_whose_syncs_do_nothing_is_found_out() {
    let found_out = (0..50)
        .filter(|seed| {
            let scenario = Scenario {
                crash_at: u64::MAX,
                ignores_syncs: true,
                ..scenario(*seed)
            };
            crash(scenario).is_err()
        })
        .count();
    assert!(found_out > 25, "only {found_out} of 50");
}
