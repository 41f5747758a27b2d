//! Dates, times and datetimes as spans whose ends sort as text.
//!
//! A value of lesser precision is a span: `10` is the hour from 10:00:00 to 10:59:59.999999. In a
//! query the whole span matches; a stored value stands for its beginning.
//!
//! PS3.5 6.2 (DA, DT, TM, and the forms with `.` and `:` of older versions), PS3.4 C.2.2.2.5.

use crate::tag::Vr;

/// First and last moment of a value, as fixed-width digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// The beginning.
    pub(crate) first: String,
    /// The last microsecond (or the day itself).
    pub(crate) last: String,
}

const SECOND_US: i64 = 1_000_000;
const MINUTE_US: i64 = 60 * SECOND_US;
const HOUR_US: i64 = 60 * MINUTE_US;
const DAY_US: i64 = 24 * HOUR_US;

/// A time of day, or a whole datetime: where it begins and how long it lasts, in microseconds.
struct Span {
    begin_us: i64,
    length_us: i64,
}

/// The bounds of a single DA, TM or DT value; `None` where it is no such value.
pub(crate) fn bounds(vr: Vr, value: &str) -> Option<Bounds> {
    let value = value.trim_matches([' ', '\0']);
    if vr == Vr::DA {
        let day = date(value)?;
        return Some(Bounds {
            first: day.clone(),
            last: day,
        });
    }
    let (span, width) = if vr == Vr::TM {
        (time(value)?, 11)
    } else if vr == Vr::DT {
        (datetime(value)?, 18)
    } else {
        return None;
    };
    let last_us = span.begin_us.checked_add(span.length_us)?.checked_sub(1)?;
    // Before the year 0 there is nothing: an offset can lead there, and no stored value is earlier.
    Some(Bounds {
        first: format!("{:0width$}", span.begin_us.max(0)),
        last: format!("{:0width$}", last_us.max(0)),
    })
}

/// Splits a range at its hyphen: both ends trimmed, an open one empty. `None` where `text` is no
/// range.
pub(crate) fn split_range(vr: Vr, text: &str) -> Option<(&str, &str)> {
    if bounds(vr, text).is_some() {
        // A hyphen can be the sign of an offset.
        return None;
    }
    let end_is_good = |end: &str| end.is_empty() || bounds(vr, end).is_some();
    text.match_indices('-')
        .filter_map(|(at, _)| text.split_at_checked(at))
        .map(|(from, to)| (from.trim(), to.trim_start_matches('-').trim(), to))
        .find(|(from, to, raw)| !raw.starts_with("--") && end_is_good(from) && end_is_good(to))
        .map(|(from, to, _)| (from, to))
}

fn date(value: &str) -> Option<String> {
    let digits: String = match value.as_bytes() {
        [_, _, _, _, _, _, _, _] => value.to_owned(),
        [_, _, _, _, b'.', _, _, b'.', _, _] => value.replace('.', ""),
        _ => return None,
    };
    let (year, rest) = number(&digits, 4)?;
    let (month, rest) = number(rest, 2)?;
    let (day, _) = number(rest, 2)?;
    let days = days_of_month(year, month)?;
    ((1..=days).contains(&day) && digits.len() == 8).then_some(digits)
}

fn time(value: &str) -> Option<Span> {
    if value.contains(':') {
        return time_of_day(&value.replace(':', ""));
    }
    time_of_day(value)
}

fn time_of_day(value: &str) -> Option<Span> {
    let (hour, rest) = number(value, 2)?;
    let mut span = Span {
        begin_us: unit(hour, 0, 23, HOUR_US)?,
        length_us: HOUR_US,
    };
    if rest.is_empty() {
        return Some(span);
    }
    let (minute, rest) = number(rest, 2)?;
    span.begin_us = span.begin_us.checked_add(unit(minute, 0, 59, MINUTE_US)?)?;
    span.length_us = MINUTE_US;
    if rest.is_empty() {
        return Some(span);
    }
    let (second, rest) = number(rest, 2)?;
    // 60 is a leap second, and as a moment the first of the next minute.
    span.begin_us = span.begin_us.checked_add(unit(second, 0, 60, SECOND_US)?)?;
    span.length_us = SECOND_US;
    if rest.is_empty() {
        return Some(span);
    }
    let fraction = rest.strip_prefix('.')?;
    let places = fraction.len();
    let (digits, _) = (1..=6)
        .contains(&places)
        .then(|| number(fraction, places))??;
    let step = 10_i64.checked_pow(u32::try_from(6_usize.checked_sub(places)?).ok()?)?;
    span.begin_us = span.begin_us.checked_add(digits.checked_mul(step)?)?;
    span.length_us = step;
    Some(span)
}

fn datetime(value: &str) -> Option<Span> {
    let (local, offset_us) = split_offset(value)?;
    let (year, rest) = number(local, 4)?;
    let (month, rest) = if rest.is_empty() {
        (1, rest)
    } else {
        number(rest, 2)?
    };
    let has_month = local.len() >= 6;
    let (day, rest) = if rest.is_empty() {
        (1, rest)
    } else {
        number(rest, 2)?
    };
    let has_day = local.len() >= 8;
    let days = days_of_month(year, month)?;
    let first_day = days_before(year, month)?.checked_add(unit(day, 1, days, 1)?)?;
    let begin_us = first_day.checked_mul(DAY_US)?;
    let span_days = match (has_month, has_day) {
        (false, _) => days_before(year.checked_add(1)?, 1)?.checked_sub(days_before(year, 1)?)?,
        (true, false) => days,
        (true, true) => 1,
    };
    let mut span = Span {
        begin_us,
        length_us: span_days.checked_mul(DAY_US)?,
    };
    if !rest.is_empty() {
        let time = time_of_day(rest)?;
        span.begin_us = span.begin_us.checked_add(time.begin_us)?;
        span.length_us = time.length_us;
    }
    span.begin_us = span.begin_us.checked_sub(offset_us)?;
    Some(span)
}

/// Takes `&ZZXX` off the end: -1200 to +1400.
fn split_offset(value: &str) -> Option<(&str, i64)> {
    let Some((local, offset)) = value
        .len()
        .checked_sub(5)
        .and_then(|at| value.split_at_checked(at))
    else {
        return Some((value, 0));
    };
    let (sign, digits) = match offset.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return Some((value, 0)),
    };
    let (hours, rest) = number(digits, 2)?;
    let (minutes, _) = number(rest, 2)?;
    let size = hours
        .checked_mul(60)?
        .checked_add(unit(minutes, 0, 59, 1)?)?;
    let greatest = if sign > 0 { 14 * 60 } else { 12 * 60 };
    let offset_us = size.checked_mul(MINUTE_US)?.checked_mul(sign)?;
    (size <= greatest).then_some((local, offset_us))
}

/// The number in the first `digits` characters, and what follows.
fn number(text: &str, digits: usize) -> Option<(i64, &str)> {
    let (head, rest) = text.split_at_checked(digits)?;
    let all_digits = head.bytes().all(|b| b.is_ascii_digit());
    let value = all_digits.then(|| head.parse().ok()).flatten()?;
    Some((value, rest))
}

fn unit(value: i64, least: i64, greatest: i64, size: i64) -> Option<i64> {
    (least..=greatest)
        .contains(&value)
        .then(|| value.checked_mul(size))?
}

fn days_of_month(year: i64, month: i64) -> Option<i64> {
    Some(match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => return None,
    })
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Days from the beginning of the year 0 (Gregorian throughout) to that of the month.
fn days_before(year: i64, month: i64) -> Option<i64> {
    // Leap days of the years before this one; the year 0 is one of them.
    let past = year.checked_sub(1)?;
    let leap_days = past
        .div_euclid(4)
        .checked_sub(past.div_euclid(100))?
        .checked_add(past.div_euclid(400))?
        .checked_add(1)?;
    let mut days = year.checked_mul(365)?.checked_add(leap_days)?;
    for earlier in 1..month {
        days = days.checked_add(days_of_month(year, earlier)?)?;
    }
    Some(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(vr: Vr, inner: &str, outer: &str) -> bool {
        let (inner, outer) = (bounds(vr, inner).unwrap(), bounds(vr, outer).unwrap());
        outer.first <= inner.first && inner.last <= outer.last
    }

    #[test]
    fn dates_are_read_in_both_forms_and_checked() {
        let of = |text| bounds(Vr::DA, text).map(|b| b.first);
        assert_eq!(of("20240229 ").as_deref(), Some("20240229"));
        assert_eq!(of("1993.08.22").as_deref(), Some("19930822"));
        for text in [
            "",
            "2024",
            "202402",
            "20230229",
            "20241301",
            "20240100",
            "2024-01-01",
            "щщщщ",
            "1993.08.2\u{e9}",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_of_lesser_precision_holds_the_finer_ones() {
        for (inner, outer) in [
            ("10", "10"),
            ("1030", "10"),
            ("103059", "1030"),
            ("10:30:59", "1030"),
            ("103059.999999", "103059"),
            ("103059.12", "103059.1"),
        ] {
            assert!(within(Vr::TM, inner, outer), "{inner} {outer}");
        }
        assert!(!within(Vr::TM, "1100", "10"));
        for text in [
            "1",
            "24",
            "1060",
            "103061",
            "103059.",
            "103059.1234567",
            "103059,1",
            "-10",
            "10+1",
        ] {
            assert_eq!(bounds(Vr::TM, text), None, "{text}");
        }
    }

    #[test]
    fn datetimes_are_compared_in_utc() {
        let same = |a, b| bounds(Vr::DT, a).unwrap() == bounds(Vr::DT, b).unwrap();
        assert!(same("20260101120000+0600", "20260101060000"));
        assert!(same("20251231230000-0100", "20260101000000+0000"));
        assert!(!same("20260101120000", "20260101120000.0"));
        assert!(within(Vr::DT, "20240229235959.999999", "202402"));
        assert!(within(Vr::DT, "20241231", "2024"));
        assert!(!within(Vr::DT, "20250101", "2024"));
        for text in [
            "202",
            "20261",
            "202613",
            "20260101+1500",
            "20260101-1300",
            "20260101+06",
            "20260230",
        ] {
            assert_eq!(bounds(Vr::DT, text), None, "{text}");
        }
    }

    #[test]
    fn days_follow_one_another_through_the_leap_years() {
        let mut last = days_before(0, 1).unwrap();
        for year in 0..2401 {
            for month in 1..=12 {
                let days = days_before(year, month).unwrap();
                let expected = match (year, month) {
                    (0, 1) => 0,
                    (_, 1) => days_of_month(year - 1, 12).unwrap(),
                    _ => days_of_month(year, month - 1).unwrap(),
                };
                assert_eq!(days - last, expected, "{year} {month}");
                last = days;
            }
        }
    }

    #[test]
    fn a_hyphen_is_a_range_where_it_is_no_sign() {
        let cases = [
            (Vr::DA, "20260101-20260131", Some(("20260101", "20260131"))),
            (
                Vr::DA,
                "20260101 - 20260131 ",
                Some(("20260101", "20260131")),
            ),
            (Vr::DA, "-20260131", Some(("", "20260131"))),
            (Vr::DA, "2026.01.01-", Some(("2026.01.01", ""))),
            (Vr::DA, "-", Some(("", ""))),
            (Vr::DA, "20260101", None),
            (Vr::DA, "20260101--20260102", None),
            (Vr::DA, "20260101-x", None),
            (Vr::TM, "0900-1000", Some(("0900", "1000"))),
            (Vr::DT, "20260101-0500", None),
            (Vr::DT, "2025-2026", Some(("2025", "2026"))),
            (Vr::DT, "20260101-0500-", Some(("20260101-0500", ""))),
            (Vr::DT, "-20260101-0500", Some(("", "20260101-0500"))),
            (
                Vr::DT,
                "20260101-0500-20260102-0500",
                Some(("20260101-0500", "20260102-0500")),
            ),
        ];
        for (vr, text, range) in cases {
            assert_eq!(split_range(vr, text), range, "{text}");
        }
    }
}
