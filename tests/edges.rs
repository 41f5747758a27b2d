//! Limits at the edges, in short; `cargo xtask edges` is the same at full size.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use pacs_tests::edges::askers::{self, Askers};
use pacs_tests::edges::crowd::{self, Crowd};
use pacs_tests::edges::io_errors::{self, DISK_CALLS, Plan, UNWATCHED_CALLS};
use pacs_tests::edges::lossy::{self, Line};
use pacs_tests::edges::{big, clock, disk_full, is_root, names, network};
use pacs_tests::huge::Huge;

#[test]
fn huge_instances_go_in_and_out_at_once_in_little_memory() {
    let mut instances: Vec<Huge> = (1..=4)
        .map(|study| Huge::native(study, 1, 50_000_000))
        .collect();
    instances.push(Huge::encapsulated(9, 1, 8, 5_000_000));

    let peaks = big::in_and_out(&instances);

    let most = peaks.receiving_bytes.max(peaks.giving_bytes);
    assert!(most <= big::RESIDENT_BYTES_MAX, "{peaks:?}");
}

#[test]
fn t8_a_crowd_costs_little_and_a_healthy_sender_goes_on() {
    let cost = crowd::come(Crowd {
        silent: 400,
        idle: 100,
        per_second: 2_000,
        baseline: 50,
    });

    assert!(cost.grown_bytes <= 300 << 20, "{cost:?}");
    assert!(cost.silent_closed <= Duration::from_secs(12), "{cost:?}");
    assert!(cost.stored > 0, "{cost:?}");
}

#[test]
fn t8_associations_that_are_broken_off_leave_nothing_behind() {
    let drift = crowd::break_off(2_000);

    assert!(drift <= 16 << 20, "memory grew by {drift} bytes");
}

#[test]
fn t8_many_who_ask_for_everything_and_take_nothing_cost_little() {
    let answered = askers::come(Askers {
        count: 200,
        instances: 600,
        comments_chars: 10_000,
    });

    let is_little = answered.grown_bytes <= askers::GROWTH_BYTES_MAX;
    assert!(is_little && answered.refused > 0, "{answered:?}");
}

#[test]
fn a_full_disk_refuses_and_all_else_goes_on_until_there_is_room() {
    if !is_root() {
        return;
    }
    let report = disk_full::round(64, 1);

    assert!(
        report.acknowledged > 20 && report.refused > 20,
        "{report:?}"
    );
}

#[test]
fn four_megabytes_are_enough_for_a_small_archive() {
    if !is_root() {
        return;
    }
    let report = disk_full::smallest();

    assert!(
        report.acknowledged > 20 && report.refused > 20,
        "{report:?}"
    );
}

#[test]
fn a_disk_that_is_too_small_for_an_archive_is_refused_with_what_is_needed() {
    if !is_root() {
        return;
    }
    for kilobytes in disk_full::TOO_SMALL_KB {
        disk_full::too_small(kilobytes);
    }
}

#[test]
fn where_the_index_alone_finds_no_room_it_is_the_same() {
    if !is_root() {
        return;
    }
    let report = disk_full::index_alone();

    assert!(
        report.acknowledged > 200 && report.refused > 10,
        "{report:?}"
    );
}

#[test]
fn calls_that_fail_cost_no_acknowledged_instance() {
    let duration = Duration::from_secs(3);
    let calls = [
        "posix/io/rw/pwritev",
        "posix/io/rw/pread",
        "posix/io/oc/open",
    ];
    for call in calls {
        let plan = Plan::fails(call, 5, 0.01, duration);
        let Some(report) = io_errors::run(&plan, 1) else {
            return;
        };
        assert!(report.acknowledged > 0, "{call}: {report:?}");
    }
}

#[test]
fn every_call_that_the_server_makes_on_its_disk_is_one_that_fails_here() {
    let Some(made) = io_errors::calls_of_a_day() else {
        return;
    };
    let failing = DISK_CALLS.iter().flat_map(|call| call.names);
    let known: BTreeSet<&str> = failing.chain(&UNWATCHED_CALLS).copied().collect();

    let unknown: Vec<_> = made
        .iter()
        .filter(|call| !known.contains(&***call))
        .collect();
    assert!(unknown.is_empty(), "never failed in a test: {unknown:?}");
    for call in ["pwritev", "pwrite64", "pread64", "fdatasync", "fallocate"] {
        assert!(made.contains(call), "{call} is not among {made:?}");
    }
}

#[test]
fn calls_that_fail_in_the_kernel_cost_no_acknowledged_instance() {
    // What libfiu does not know, what ends at the disk itself, and what is always noticed.
    let calls = [
        ("fallocate", 16),
        ("mkdir", 16),
        ("statx", 16),
        ("getdents64", 16),
        ("pwrite64", 2),
        ("fadvise64", 16),
        ("fdatasync", 16),
    ];
    for (name, every) in calls {
        let mut all = DISK_CALLS.into_iter();
        let call = all.find(|call| call.names.contains(&name));
        let call = call.expect("a call of the disk");
        let mut plan = Plan::fails_in_kernel(call, every, Duration::from_secs(1));
        if name == "fdatasync" {
            plan = plan.until_noticed();
        }
        let Some(report) = io_errors::run(&plan, 4) else {
            return;
        };
        assert!(report.acknowledged > 0, "{name}: {report:?}");
    }
}

#[test]
fn a_sync_that_fails_ends_the_server_and_costs_no_acknowledged_instance() {
    let plan = Plan::fails("posix/io/sync/fdatasync", 5, 0.1, Duration::from_secs(4));

    let Some(report) = io_errors::run(&plan, 2) else {
        return;
    };

    assert!(report.acknowledged > 0 && report.ended > 0, "{report:?}");
}

#[test]
fn reads_and_writes_that_do_less_than_they_should_are_not_seen() {
    for call in [
        "posix/io/rw/pwritev/reduce",
        "posix/io/rw/pwrite/reduce",
        "posix/io/rw/pread/reduce",
    ] {
        let plan = Plan::is_short(call, 0.5, Duration::from_secs(2));
        let Some(report) = io_errors::run(&plan, 3) else {
            return;
        };
        assert!(report.acknowledged > 0 && report.refused == 0, "{report:?}");
    }
}

#[test]
fn a_clock_that_jumps_ends_nothing_and_loses_nothing() {
    clock::jumps();
}

#[test]
fn a_line_that_loses_packets_or_is_narrow_makes_nothing_untrue() {
    let campaign = Path::new(env!("CARGO_BIN_EXE_edges"));
    for line in [Line::Loses(5), Line::Narrow(1_000)] {
        if !lossy::run(campaign, line, 5) {
            return;
        }
    }
}

#[test]
fn t11_a_destination_stays_where_its_name_led_when_it_was_read() {
    names::run(Path::new(env!("CARGO_BIN_EXE_edges")));
}

#[test]
fn t8_lines_that_break_are_told_truthfully_and_leave_nothing() {
    network::breaks(97, 30, 1);
}

#[test]
fn t8_slow_and_silent_lines_are_served_or_ended() {
    network::waits();
}

/// Senders that stop in the middle hold what memory they get; the default budget is 256 MiB.
#[test]
fn t8_senders_that_stand_still_starve_nobody() {
    let cost = crowd::stand_still();

    assert_eq!(cost.honest, 8 * 20, "{cost:?}");
    assert!(cost.rejected, "{cost:?}");
}
