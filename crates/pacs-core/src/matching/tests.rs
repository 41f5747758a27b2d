//! Tests of the reference matcher, by kind of matching.

#![expect(clippy::arithmetic_side_effects, reason = "numbers of tests are small")]

use super::pattern::Pattern;
use super::*;
use crate::limits::QueryLimits;
use crate::query::{Level, Matching};
use crate::tag::tags;
use crate::uid::Uid;
use proptest::prelude::*;

fn query(tag: Tag, vr: Vr, matching: Matching) -> Query {
    let keys = vec![Key { tag, vr, matching }];
    Query {
        level: Level::Study,
        keys,
    }
}

fn single(text: &str) -> Matching {
    Matching::SingleValue(text.to_owned())
}

fn wild(text: &str) -> Matching {
    Matching::WildCard(text.to_owned())
}

fn range(from: &str, to: &str) -> Matching {
    let end = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Matching::Range {
        from: end(from),
        to: end(to),
    }
}

/// Holds a key against a stored text in every way there is, which must agree.
fn holds(vr: Vr, matching: Matching, stored: &str) -> bool {
    let tag = Tag(0x0009, 0x1001);
    let mut attributes = Attributes::new();
    attributes.insert_text(tag, vr, stored);
    let query = query(tag, vr, matching);
    let matcher = Matcher::new(&query);
    let folded = fold::matching_key(vr, stored);

    let answer = matches(&query, &attributes);

    assert_eq!(matcher.matches_key(tag, &folded), answer);
    for key in matcher.keys() {
        assert!(
            !answer || can_find(&key.lookup(), vr, &folded),
            "lookup loses a match"
        );
    }
    answer
}

fn can_find(lookup: &Lookup<'_>, vr: Vr, folded: &str) -> bool {
    fold::entries(vr, folded).any(|entry| match lookup {
        Lookup::Between(first, last) => {
            first.is_none_or(|first| first <= entry) && last.is_none_or(|last| entry <= last)
        }
        Lookup::OneOf(values) => values.iter().any(|value| value == entry),
        Lookup::Prefix(prefix) => entry.starts_with(prefix),
        Lookup::Scan => true,
    })
}

#[test]
fn a_single_name_matches_itself_in_any_spelling_and_no_longer_one() {
    let same = [
        ("Ivanov^Ivan", "IVANOV^IVAN^^"),
        ("IVANOV", "IVANOV"),
        ("IVANOV^", "ivanov"),
        ("ИВАНОВ^ФЕДОР", "Иванов^Фёдор"),
        ("Жэнбеков^Усон", "ЖЭҢБЕКОВ^ҮСӨН"),
        ("obrien", "O'Brien"),
        ("Yamada^Tarou", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("山田^太郎", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("=山田^太郎", "Yamada^Tarou=山田^太郎"),
        (
            "yamada^tarou=山田^太郎",
            "Yamada^Tarou=山田^太郎=やまだ^たろう",
        ),
        ("B^C", "A^B\\B^C"),
        ("и\u{306}", "Й"),
    ];
    for (key, stored) in same {
        assert!(holds(Vr::PN, single(key), stored), "{key} {stored}");
    }
    let other = [
        ("IVANOV", "IVANOV^IVAN"),
        ("IVANOV^IVAN", "IVANOV"),
        ("IVANOV", "IVANOVA"),
        ("IVAN^IVANOV", "IVANOV^IVAN"),
        ("=山田", "山田"),
        ("Yamada=やまだ", "Yamada=山田=やまだ"),
        ("A=B", "A"),
        ("и", "й"),
        ("IVANOV", ""),
    ];
    for (key, stored) in other {
        assert!(!holds(Vr::PN, single(key), stored), "{key} {stored}");
    }
}

#[test]
fn wild_cards_in_names_span_components_and_bear_missing_ones() {
    let same = [
        ("иван*", "ИВАНОВ^Иван"),
        ("*ова*", "Петрова^Анна"),
        ("*^анна", "Петрова^Анна"),
        ("Ivanov^*", "IVANOV"),
        ("Ivanov^*^*", "IVANOV^IVAN"),
        ("Ivanov^*^*", "IVANOV"),
        ("Iv*^*", "IVANOV"),
        ("??????^????", "Иванов^Иван"),
        ("ф?дор*", "Фёдор"),
        ("*=山*", "Yamada=山田"),
        ("山*", "Yamada=山田"),
        ("*^*", "Ivanov"),
        ("*^*^*^^", ""),
        ("*'*", "anything"),
    ];
    for (key, stored) in same {
        assert!(holds(Vr::PN, wild(key), stored), "{key} {stored}");
    }
    let other = [
        ("иван?", "Иванов"),
        ("Ivanov^?*", "Ivanov"),
        ("?ivanov", "ivanov"),
        ("*ивана", "Иванов"),
        ("*=山*", "Yamada"),
        ("a*", ""),
        ("и*", "й"),
    ];
    for (key, stored) in other {
        assert!(!holds(Vr::PN, wild(key), stored), "{key} {stored}");
    }
}

#[test]
fn other_text_is_matched_with_its_case() {
    assert!(holds(Vr::LO, single("P1 "), " P1"));
    assert!(holds(Vr::LO, single("P1"), "P0\\P1"));
    assert!(!holds(Vr::LO, single("p1"), "P1"));
    assert!(!holds(Vr::LO, single("Е"), "Ё"));
    assert!(holds(Vr::LO, wild("Голова*"), "Голова и шея"));
    assert!(!holds(Vr::LO, wild("голова*"), "Голова и шея"));
    assert!(holds(Vr::SH, wild("*A?C*"), "xxABCxx"));
    assert!(holds(Vr::ST, single("a\\b"), "a\\b "));
    assert!(!holds(Vr::ST, single("b"), "a\\b"));
    assert!(holds(Vr::LO, wild("**"), ""));
}

#[test]
fn a_range_of_dates_includes_its_ends_and_no_absent_date() {
    let cases = [
        ("20260101", "20260131", "20260101", true),
        ("20260101", "20260131", "2026.01.31", true),
        ("20260101", "20260131", "20260201", false),
        ("20260101", "20260131", "20251231", false),
        ("20260101", "", "20991231", true),
        ("", "20260131", "19000101", true),
        ("", "20260131", "", false),
        ("", "20260131", "unknown", false),
        ("1993.08.01", "1993.08.31", "19930822", true),
        ("20260131", "20260101", "20260115", false),
        ("", "", "", true),
    ];
    for (from, to, stored, expected) in cases {
        assert_eq!(
            holds(Vr::DA, range(from, to), stored),
            expected,
            "{from}-{to} {stored}"
        );
    }
    assert!(holds(Vr::DA, single("20260101"), "2026.01.01"));
    assert!(holds(Vr::DA, single("20260101"), "20250101\\20260101"));
    assert!(!holds(Vr::DA, single("20260101"), "20260102"));
}

#[test]
fn times_of_differing_precision_are_compared_by_meaning() {
    let cases = [
        (range("0900", "1000"), "100059.999999", true),
        (range("0900", "1000"), "1001", false),
        (range("0900", "1000"), "09", true),
        (range("0900", "1000"), "085959", false),
        (range("09", "09"), "095959", true),
        (range("", "1000"), "000000", true),
        (range("235959.5", ""), "235959.500000", true),
        (range("0900", "1000"), "", false),
        (single("0900"), "09:00:30", true),
        (single("0900"), "0901", false),
        (single("090000"), "0900", true),
        (single("090000.000000"), "090000", true),
        (single("1"), "1", false),
    ];
    for (matching, stored, expected) in cases {
        assert_eq!(
            holds(Vr::TM, matching.clone(), stored),
            expected,
            "{matching:?} {stored}"
        );
    }
}

#[test]
fn datetimes_are_compared_with_their_offsets() {
    let cases = [
        (
            range("20260101120000+0600", "20260101130000+0600"),
            "20260101063000",
            true,
        ),
        (
            range("20260101120000+0600", "20260101130000+0600"),
            "20260101123000",
            false,
        ),
        (range("2026", "2026"), "20261231235959.999999", true),
        (range("2026", ""), "20251231230000-0100", true),
        (single("202601"), "20260115", true),
        (single("20260101120000+0600"), "20260101060000+0000", true),
    ];
    for (matching, stored, expected) in cases {
        assert_eq!(
            holds(Vr::DT, matching.clone(), stored),
            expected,
            "{matching:?} {stored}"
        );
    }
}

#[test]
fn numbers_are_compared_by_value() {
    for stored in ["1", "01", "1 ", "+1", "2\\1"] {
        assert!(holds(Vr::IS, single("1"), stored), "{stored}");
        assert!(holds(Vr::IS, single("001"), stored), "{stored}");
    }
    assert!(!holds(Vr::IS, single("1"), "10"));
    assert!(holds(Vr::DS, single("1.50"), "15e-1"));
    assert!(holds(Vr::US, single("0512"), "512"));
}

#[test]
fn a_list_of_uids_matches_any_of_them_exactly() {
    let uids =
        |list: &[&str]| Matching::UidList(list.iter().map(|u| Uid::parse(u).unwrap()).collect());
    assert!(holds(Vr::UI, uids(&["1.2.9", "1.2.3"]), "1.2.3\0"));
    assert!(!holds(Vr::UI, uids(&["1.2.9", "1.2.3"]), "1.2.30"));
    assert!(!holds(Vr::UI, uids(&["1.2.3"]), ""));
    assert!(!holds(Vr::UI, uids(&[]), "1.2.3"));
    assert!(holds(Vr::UI, single("1.2.3"), "1.2.4\\1.2.3"));
}

#[test]
fn alternatives_match_each_in_its_own_way() {
    let modalities = Matching::AnyOf(vec![single("MR"), wild("C*"), single("US")]);
    for (stored, expected) in [
        ("CT\\SR", true),
        ("SR\\MR", true),
        ("US", true),
        ("XA", false),
    ] {
        assert_eq!(
            holds(Vr::CS, modalities.clone(), stored),
            expected,
            "{stored}"
        );
    }
    assert!(holds(
        Vr::CS,
        Matching::AnyOf(vec![Matching::Universal]),
        ""
    ));
    assert!(!holds(Vr::CS, Matching::AnyOf(vec![]), "CT"));
}

#[test]
fn only_universal_keys_match_what_is_absent() {
    let absent = Attributes::new();
    let holds = |matching| matches(&query(tags::PATIENT_NAME, Vr::PN, matching), &absent);
    assert!(holds(Matching::Universal));
    assert!(holds(single("")));
    assert!(holds(wild("*")));
    assert!(!holds(wild("?*")));
    assert!(!holds(single("A")));
    assert!(!holds(range("20260101", "")));
    assert!(holds(Matching::Sequence(vec![])));
}

/// Else whoever looks for one mark would find everybody.
#[test]
fn a_name_of_apostrophes_alone_is_nobodys_and_one_of_delimiters_is_none() {
    let limits = QueryLimits::default();
    let read = |text| Matching::of_text(tags::PATIENT_NAME, Vr::PN, text, &limits).unwrap();
    for text in ["'", "`", "''", " ' ", "'^'", "'='", "\u{2019}"] {
        assert_ne!(read(text), Matching::Universal, "{text:?}");
        for stored in ["Ivanov^Ivan", "O'Neill", "'"] {
            assert!(!holds(Vr::PN, read(text), stored), "{text:?} {stored:?}");
        }
    }
    assert!(holds(Vr::PN, read("oneill"), "O'Neill"));
    assert!(holds(Vr::PN, read("'*"), "Ivanov"));
    for text in ["", " ", "^", "^^", "=", "^=^ "] {
        assert!(holds(Vr::PN, read(text), "Ivanov^Ivan"), "{text:?}");
    }
}

fn item(value: &str, scheme: &str) -> Attributes {
    let mut item = Attributes::new();
    item.insert_text(tags::CODE_VALUE, Vr::SH, value);
    item.insert_text(tags::CODING_SCHEME_DESIGNATOR, Vr::SH, scheme);
    item
}

#[test]
fn a_sequence_matches_by_one_item_that_matches_all() {
    let tag = tags::PROCEDURE_CODE_SEQUENCE;
    let key = |tag, matching| Key {
        tag,
        vr: Vr::SH,
        matching,
    };
    let asks = |value: Matching, scheme: Matching| {
        let keys = vec![
            key(tags::CODE_VALUE, value),
            key(tags::CODING_SCHEME_DESIGNATOR, scheme),
        ];
        query(tag, Vr::SQ, Matching::Sequence(keys))
    };
    let mut study = Attributes::new();
    study.insert(
        tag,
        Vr::SQ,
        Value::Items(vec![item("A", "DCM"), item("B", "SRT")]),
    );

    assert!(matches(&asks(single("B"), single("SRT")), &study));
    assert!(!matches(&asks(single("B"), single("DCM")), &study));
    assert!(matches(&asks(wild("?"), Matching::Universal), &study));
    assert!(matches(
        &asks(Matching::Universal, Matching::Universal),
        &Attributes::new()
    ));
    assert!(!matches(
        &asks(single("B"), Matching::Universal),
        &Attributes::new()
    ));
    let text_key = query(tag, Vr::LO, single("B"));
    assert!(!matches(&text_key, &study));
}

#[test]
fn text_that_could_not_be_decoded_is_matched_as_far_as_it_goes() {
    let mut patient = Attributes::new();
    let suspect = Value::Suspect("ИВ\u{fffd}НОВ".into());
    patient.insert(tags::PATIENT_NAME, Vr::PN, suspect);

    assert!(matches(
        &query(tags::PATIENT_NAME, Vr::PN, wild("ив?нов")),
        &patient
    ));
    assert!(!matches(
        &query(tags::PATIENT_NAME, Vr::PN, single("иванов")),
        &patient
    ));
}

#[test]
fn every_key_must_match() {
    let mut study = Attributes::new();
    study.insert_text(tags::PATIENT_ID, Vr::LO, "P1");
    study.insert_text(tags::PATIENT_SEX, Vr::CS, "F");
    let mut asks = query(tags::PATIENT_ID, Vr::LO, single("P1"));
    assert!(matches(&asks, &study));

    asks.keys.push(Key {
        tag: tags::PATIENT_SEX,
        vr: Vr::CS,
        matching: single("M"),
    });

    assert!(!matches(&asks, &study));
}

#[test]
fn a_lookup_is_as_narrow_as_the_key() {
    let lookup = |vr, matching, check: &dyn Fn(Lookup<'_>)| {
        let matcher = Matcher::new(&query(tags::PATIENT_NAME, vr, matching));
        check(matcher.keys()[0].lookup());
    };
    lookup(Vr::PN, wild("ИВАН*"), &|l| {
        assert!(l == Lookup::Prefix("иван"))
    });
    lookup(Vr::PN, wild("Иванов^*"), &|l| {
        assert!(l == Lookup::Prefix("иванов"))
    });
    lookup(Vr::PN, wild("*ов"), &|l| assert!(l == Lookup::Scan));
    lookup(Vr::PN, wild("=山*"), &|l| {
        assert!(l == Lookup::Prefix("山"))
    });
    lookup(Vr::LO, single("P1"), &|l| {
        assert!(l == Lookup::OneOf(&["P1".to_owned()]))
    });
    lookup(Vr::DA, range("20260101", ""), &|l| {
        assert!(l == Lookup::Between(Some("20260101"), None));
    });
}

#[test]
fn nothing_of_a_key_is_in_its_debug_form() {
    let canary = query(tags::PATIENT_NAME, Vr::PN, wild("CANARY*"));
    let shown = format!("{canary:?} {:?}", Matcher::new(&canary));
    assert!(!shown.to_lowercase().contains("canary"));
}

#[test]
fn many_stars_take_no_time_that_grows_with_their_number() {
    let pattern = Pattern::new(&format!("{}b", "*a".repeat(500)));
    let text = "a".repeat(16 << 10);
    // A matcher that backtracks into every star would not come back.
    assert!(!pattern.matches(&text));
    assert!(!Pattern::new(&format!("{}b", "*a?".repeat(300))).matches(&text));
}

/// The definition, without any thought of speed.
fn naive(pattern: &[char], text: &[char], name: bool) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some(('*', rest)), _) => {
            naive(rest, text, name)
                || text
                    .split_first()
                    .is_some_and(|(_, t)| naive(pattern, t, name))
        }
        (Some(('^', rest)), None) if name => naive(rest, text, name),
        (Some((p, rest)), Some((t, text))) => (*p == '?' || p == t) && naive(rest, text, name),
        (Some(_), None) | (None, Some(_)) => false,
    }
}

proptest! {
    #[test]
    fn patterns_match_as_the_naive_matcher_does(pattern in "[abё*?]{0,9}", text in "[abё]{0,9}") {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        prop_assert_eq!(
            Pattern::new(&pattern).matches(&text),
            naive(&chars(&pattern), &chars(&text), false)
        );
    }

    #[test]
    fn names_match_as_the_naive_matcher_does(pattern in "[ab^*?]{0,9}", text in "[ab^]{0,9}") {
        let pattern = fold::matching_key(Vr::PN, &pattern).into_owned();
        let text = fold::matching_key(Vr::PN, &text).into_owned();
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        prop_assert_eq!(
            Pattern::of_name(&pattern).matches(&text),
            naive(&chars(&pattern), &chars(&text), true)
        );
        let universal = pattern.chars().all(|c| "*^".contains(c));
        if !text.is_empty() && !universal {
            prop_assert_eq!(
                holds(Vr::PN, wild(&pattern), &text),
                naive(&chars(&pattern), &chars(&text), true)
            );
        }
    }

    #[test]
    fn date_ranges_match_as_numbers_do(
        days in proptest::collection::vec((1990_u32..2030, 1_u32..=12, 1_u32..=28), 3),
        open in 0..3,
    ) {
        let number = |i: usize| days[i].0 * 10_000 + days[i].1 * 100 + days[i].2;
        let text = |i: usize| number(i).to_string();
        let (from, to) = match open {
            0 => (text(0), text(1)),
            1 => (String::new(), text(1)),
            _ => (text(0), String::new()),
        };
        let begun = open == 1 || number(0) <= number(2);
        let expected = begun && (open == 2 || number(2) <= number(1));
        prop_assert_eq!(holds(Vr::DA, range(&from, &to), &text(2)), expected);
    }

    #[test]
    fn time_ranges_match_as_seconds_do(
        from in (0_u32..24, 0_u32..60),
        to in (0_u32..24, 0_u32..60),
        at in (0_u32..24, 0_u32..60, 0_u32..60),
    ) {
        let minute = |(h, m): (u32, u32)| format!("{h:02}{m:02}");
        let at_text = format!("{:02}{:02}{:02}", at.0, at.1, at.2);
        let at_s = at.0 * 3600 + at.1 * 60 + at.2;
        let expected = from.0 * 3600 + from.1 * 60 <= at_s && at_s <= to.0 * 3600 + to.1 * 60 + 59;
        prop_assert_eq!(holds(Vr::TM, range(&minute(from), &minute(to)), &at_text), expected);
    }

    #[test]
    fn any_value_matches_itself(text in "\\PC{0,24}", vr_at in 0..4_usize) {
        let vr = [Vr::PN, Vr::LO, Vr::IS, Vr::ST][vr_at];
        let value = fold::values(vr, &text).next().unwrap_or_default();
        if !fold::matching_key(vr, value).is_empty() {
            prop_assert!(holds(vr, single(value), &text));
        }
    }

    #[test]
    fn any_text_can_stand_in_any_key(
        text in "\\PC{0,24}",
        stored in "\\PC{0,24}",
        vr_at in 0..6_usize,
    ) {
        let vr = [Vr::PN, Vr::LO, Vr::DA, Vr::TM, Vr::DT, Vr::DS][vr_at];
        holds(vr, single(&text), &stored);
        holds(vr, wild(&text), &stored);
        holds(vr, range(&text, &stored), &stored);
    }
}
