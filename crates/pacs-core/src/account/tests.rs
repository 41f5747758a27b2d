//! The rules, by example.

#![expect(clippy::arithmetic_side_effects, reason = "of small numbers, in tests")]

use super::break_glass::{explanation, review_due};
use super::password::{Password, PasswordError};
use super::session::{SessionRules, SessionTimes};
use super::throttle::{Throttle, ThrottleRules};
use super::*;
use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

fn user() -> UserName {
    UserName::parse("b.osmonova").unwrap()
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

#[test]
fn a_name_is_read_in_any_case_and_stored_in_one() {
    assert_eq!(UserName::parse(" B.Osmonova ").unwrap(), user());
    for text in [
        "",
        "1a",
        ".a",
        "a.",
        "a b",
        "Ж",
        "a@b",
        "a/b",
        &"a".repeat(65),
    ] {
        assert!(UserName::parse(text).is_err(), "{text}");
    }
    assert!(serde_json::from_str::<UserName>("\"B.osmonova\"").is_err());
}

#[test]
fn long_passwords_that_nobody_guesses_are_taken() {
    let choose = |text: &str, second| Password::choose(text, &user(), second).map(|_| ());
    let weak = Err(PasswordError::Guessable);
    for good in [
        "wooden bridge 71 goats",
        "кызыл алма тоодо",
        "xkT9-qq2f-LLw8-pA",
        "ыөү ңөү ыыч жол 7!",
    ] {
        assert_eq!(choose(good, false), Ok(()), "{good}");
    }
    assert_eq!(choose("vT7kqP2xWm9c", true), Ok(()));
    let chars_min = 15;
    assert_eq!(
        choose("vT7kqP2xWm9c", false),
        Err(PasswordError::TooShort { chars_min })
    );
    for guessable in [
        "aaaaaaaaaaaaaaaa",
        "abcabcabcabcabcabc",
        "12345678901234567890",
        "qwertyuiop123456",
        "Password1234567890",
        "йцукенгшщзхъ12345",
        "osmonova-osmonova",
        "b.osmonova2026!!",
        "1qaz2wsx3edc4rfv",
        "Пароль-Пароль-1234",
        "hospitalhospital123",
    ] {
        assert_eq!(choose(guessable, false), weak, "{guessable}");
    }
    assert_eq!(
        choose(&"aB3".repeat(43), false),
        Err(PasswordError::TooLong)
    );
    assert!(Password::typed(&"ө".repeat(128)).is_ok());
    assert!(Password::typed(&"ө".repeat(129)).is_err());
    // The same from every keyboard.
    assert_eq!(
        Password::typed("\u{439}"),
        Password::typed("\u{438}\u{306}")
    );
    assert_eq!(format!("{:?}", Password::typed("x").unwrap()), "[password]");
}

#[test]
fn a_session_ends_by_idleness_by_age_and_where_the_clock_is_put_back() {
    let rules = SessionRules::default();
    let began_at = at("2026-11-26T08:00:00Z");
    let lives = |used: &str, now: &str| {
        let used_at = at(used);
        SessionTimes { began_at, used_at }.is_live(rules, at(now))
    };
    assert!(lives("2026-11-26T08:00:00Z", "2026-11-26T08:29:59Z"));
    assert!(!lives("2026-11-26T08:00:00Z", "2026-11-26T08:30:00Z"));
    assert!(lives("2026-11-26T19:45:00Z", "2026-11-26T19:59:59Z"));
    assert!(!lives("2026-11-26T19:45:00Z", "2026-11-26T20:00:00Z"));
    assert!(lives("2026-11-26T08:10:00Z", "2026-11-26T08:06:00Z"));
    assert!(!lives("2026-11-26T08:10:00Z", "2026-11-26T08:04:00Z"));
    assert!(!lives("2026-11-26T08:00:00Z", "2016-11-26T08:00:00Z"));
    let used_at = at("2026-11-26T19:45:00Z");
    let ends_at = SessionTimes { began_at, used_at }.ends_at(rules);
    assert_eq!(ends_at, at("2026-11-26T20:00:00Z"));
}

/// Every guess that is looked at is wrong.
fn looked_at(rules: ThrottleRules, guesses: u32, every: TimeDelta) -> u32 {
    let mut throttle = Throttle::CLEAN;
    let mut now = at("2026-11-26T08:00:00Z");
    let mut count = 0;
    for _ in 0..guesses {
        if throttle.wait(rules, 0, now).is_none() {
            throttle = throttle.failed(rules, now);
            count += 1;
        }
        now += every;
    }
    count
}

#[test]
fn of_ten_thousand_guesses_in_an_hour_a_hundred_are_looked_at() {
    let every = TimeDelta::milliseconds(360);
    assert_eq!(looked_at(ThrottleRules::ACCOUNT, 10_000, every), 99);
    assert!(looked_at(ThrottleRules::NETWORK, 10_000, every) <= 410);
}

#[test]
fn who_is_throttled_is_told_how_long_to_wait_and_then_may() {
    let rules = ThrottleRules::ACCOUNT;
    let now = at("2026-11-26T08:00:00Z");
    let mut throttle = Throttle::CLEAN;
    for _ in 0..rules.burst_max {
        assert_eq!(throttle.wait(rules, 0, now), None);
        throttle = throttle.failed(rules, now);
    }
    let wait = throttle.wait(rules, 0, now).unwrap();
    assert_eq!(wait, rules.restored_after);
    assert_eq!(throttle.wait(rules, 0, now + wait), None);
    assert!(
        throttle.wait(rules, 1, now + wait).is_some(),
        "another is under way"
    );
    // What is under way at once counts as if it were wrong.
    assert_eq!(Throttle::CLEAN.wait(rules, rules.burst_max - 1, now), None);
    assert!(Throttle::CLEAN.wait(rules, rules.burst_max, now).is_some());
    // A clock that was put back locks nobody out for years.
    let long_ago = at("2016-11-26T08:00:00Z");
    assert_eq!(
        throttle.wait(rules, 0, long_ago),
        Some(rules.restored_after)
    );
    assert!(throttle.is_forgiven(now + rules.restored_after * 10));
    assert!(!throttle.is_forgiven(now + rules.restored_after * 9));
}

#[test]
fn a_review_is_due_on_the_third_working_day() {
    let day = |text: &str| text.parse().unwrap();
    assert_eq!(
        review_due(day("2026-11-23")),
        day("2026-11-26"),
        "from a Monday"
    );
    assert_eq!(
        review_due(day("2026-11-26")),
        day("2026-12-01"),
        "from a Thursday"
    );
    assert_eq!(
        review_due(day("2026-11-28")),
        day("2026-12-02"),
        "from a Saturday"
    );
    assert!(explanation("short").is_err() && explanation(&"x".repeat(1_001)).is_err());
    assert_eq!(
        explanation("  trauma, unconscious ").unwrap(),
        "trauma, unconscious"
    );
}

proptest! {
    /// However guesses are spread, no more are looked at than the rule says.
    #[test]
    fn no_pattern_of_guesses_gets_more(gaps in prop::collection::vec(0..120_i64, 1..400)) {
        let rules = ThrottleRules::ACCOUNT;
        let began = at("2026-11-26T08:00:00Z");
        let (mut throttle, mut now, mut count) = (Throttle::CLEAN, began, 0_i64);
        for gap in gaps {
            now += TimeDelta::seconds(gap);
            if throttle.wait(rules, 0, now).is_none() {
                throttle = throttle.failed(rules, now);
                count += 1;
            }
        }
        let passed = (now - began).num_seconds();
        prop_assert!(count <= i64::from(rules.burst_max) + passed / 40);
    }

    #[test]
    fn no_text_makes_the_rules_fail(text in any::<String>()) {
        let _taken = Password::choose(&text, &user(), true);
        let _named = UserName::parse(&text);
    }
}
