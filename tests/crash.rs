//! Kill -9: thirty kills at random moments, and one crash at every named step.
//!
//! `cargo xtask crash` runs the same campaign a thousand times; its seed is printed.

use std::time::Duration;

use pacs_tests::crash::{Plan, run};

#[test]
fn nothing_acknowledged_is_lost_in_thirty_kills_and_a_crash_at_every_step() {
    let plan = Plan {
        kills: 30,
        wait_max: Duration::from_millis(900),
        seed: 20_261_125,
        rounds_per_step: 1,
        lose_everything: false,
    };

    let report = run(&plan);

    assert_eq!(report.kills, 30);
    assert!(
        report.acknowledged > 100,
        "the senders hardly sent anything: {report:?}"
    );
    assert!(
        report.commitments > 30,
        "the device hardly asked anything: {report:?}"
    );
}

/// An oracle that notices nothing would pass every campaign.
#[test]
#[should_panic(expected = "LOST after it was acknowledged")]
fn a_loss_is_noticed() {
    let plan = Plan {
        kills: 5,
        wait_max: Duration::from_millis(900),
        seed: 1,
        rounds_per_step: 0,
        lose_everything: true,
    };

    let report = run(&plan);

    assert_eq!(report.kills, 0, "nothing was noticed");
}
