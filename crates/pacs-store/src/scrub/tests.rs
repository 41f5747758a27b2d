//! The pace and the order of passes, on a clock that is turned by hand.

use super::*;
use std::collections::BTreeSet;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// When passes begin here.
const BEGIN_MS: u64 = 1_800_000_000_000;

/// As a server is set up that nobody set up otherwise, but for the speed.
const PLAN: ScrubPlan = ScrubPlan {
    pass_duration: Duration::from_millis(30 * DAY_MS),
    bytes_per_second_max: 100 << 20,
};

fn pass(total_bytes: u64, packs: u64, seed: u64) -> Pass {
    let end = LogPosition {
        pack: packs,
        offset: 0,
    };
    Pass::over(total_bytes, end, (BEGIN_MS, seed))
}

/// Steps of very different length, over and over.
fn steps() -> impl Iterator<Item = u64> {
    [1 << 20, 700, 512 << 10, 40 << 20, 3 << 10]
        .into_iter()
        .cycle()
}

/// Plays a pass, each step of which takes `step_ms`: the clock at its end, and the longest pause.
fn play(pass: &mut Pass, mut now_ms: u64, step_ms: u64) -> (u64, Duration) {
    let mut longest = Duration::ZERO;
    for step in steps() {
        let bytes = step.min(pass.total_bytes - pass.bytes);
        now_ms += step_ms;
        pass.bytes += bytes;
        let pause = PLAN.pause(pass, now_ms, bytes);
        longest = longest.max(pause);
        now_ms += u64::try_from(pause.as_millis()).unwrap();
        if pass.bytes == pass.total_bytes {
            break;
        }
    }
    (now_ms, longest)
}

#[test]
fn a_pass_is_spread_over_its_thirty_days_and_ends_within_them() {
    for total_bytes in [50 << 20, 20 << 30] {
        for step_ms in [0, 5, 100] {
            let (end_ms, _) = play(&mut pass(total_bytes, 9, 1), BEGIN_MS, step_ms);

            let days = (end_ms - BEGIN_MS) as f64 / DAY_MS as f64;
            assert!((26.0..=30.0).contains(&days), "{days} days");
        }
    }
}

#[test]
fn half_of_the_time_is_half_of_the_bytes() {
    let mut pass = pass(20 << 30, 9, 1);
    let mut now_ms = BEGIN_MS;
    for bytes in steps() {
        pass.bytes += bytes;
        let pause = PLAN.pause(&pass, now_ms, bytes);
        now_ms += u64::try_from(pause.as_millis()).unwrap();
        let of_time = (now_ms - BEGIN_MS) as f64 / (27 * DAY_MS) as f64;
        let of_bytes = pass.bytes as f64 / pass.total_bytes as f64;
        assert!((of_time - of_bytes).abs() < 0.01, "{of_time} {of_bytes}");
        if of_bytes > 0.95 {
            break;
        }
    }
}

#[test]
fn a_pass_that_is_late_hurries_no_more_than_it_may() {
    let mut pass = pass(1 << 30, 9, 1);
    let late_ms = BEGIN_MS + 40 * DAY_MS;

    let (end_ms, _) = play(&mut pass, late_ms, 0);

    // 1 GiB at 100 MiB/s; pauses are told in whole milliseconds here.
    assert!((9_000..=10_300).contains(&(end_ms - late_ms)), "{end_ms}");
}

#[test]
fn a_clock_that_is_set_back_stops_no_pass() {
    let mut pass = pass(1 << 30, 9, 1);

    let (_, longest) = play(&mut pass, BEGIN_MS - 400 * DAY_MS, 0);

    assert!(longest <= PLAN.pass_duration, "{longest:?}");
}

#[test]
fn each_pass_has_an_order_of_its_own_with_every_pack_once() {
    const PACKS: u64 = 12;
    let all: BTreeSet<u64> = (1..=PACKS).collect();
    let (mut orders, mut firsts) = (BTreeSet::new(), BTreeSet::new());
    for seed in BEGIN_MS..BEGIN_MS + 200 {
        let pass = pass(1, PACKS, seed);
        let order = pass.order();

        assert_eq!(order.len() as u64, PACKS);
        assert_eq!(order.iter().copied().collect::<BTreeSet<_>>(), all);
        assert_eq!(order, pass.order(), "it goes on where it was");
        firsts.insert(order[0]);
        orders.insert(order);
    }
    assert_eq!(orders.len(), 200, "none is as another");
    assert_eq!(firsts, all, "each is first once");
}
