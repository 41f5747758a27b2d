//! Kill -9: thirty kills at random moments, and one crash at every named step.
//!
//! `cargo xtask crash` runs the same campaign a thousand times; its seed is printed.

use std::time::Duration;

use pacs_tests::crash::{Plan, Sabotage, run};

#[test]
fn nothing_acknowledged_is_lost_in_thirty_kills_and_a_crash_at_every_step() {
    let plan = Plan {
        kills: 30,
        wait_max: Duration::from_millis(900),
        seed: 20_261_125,
        rounds_per_step: 1,
        sabotage: Sabotage::None,
    };

    let report = run(&plan);

    assert_eq!(report.kills, 30);
    assert!(
        report.acknowledged > 100,
        "the senders hardly sent anything: {report:?}"
    );
    assert!(
        report.stowed > 50 && report.stowed < report.acknowledged,
        "hardly anything was sent over one of the two ways: {report:?}"
    );
    assert!(
        report.hidden > 0 && report.restored > 0,
        "no study was turned: {report:?}"
    );
    assert!(
        report.commitments > 30,
        "the device hardly asked anything: {report:?}"
    );
}

/// Five kills, with something done wrong on purpose.
fn five_kills(sabotage: Sabotage) {
    let plan = Plan {
        kills: 5,
        wait_max: Duration::from_millis(900),
        seed: 1,
        rounds_per_step: 0,
        sabotage,
    };

    let report = run(&plan);

    assert_eq!(report.kills, 0, "nothing was noticed");
}

/// An oracle that notices nothing would pass every campaign.
#[test]
#[should_panic(expected = "LOST after it was acknowledged")]
fn a_loss_is_noticed() {
    five_kills(Sabotage::LoseEverything);
}

#[test]
#[should_panic(expected = "LOST after it was acknowledged")]
fn what_is_in_sight_and_should_not_be_or_the_other_way_round_is_noticed() {
    five_kills(Sabotage::LieAboutSight);
}
