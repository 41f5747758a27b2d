//! Texts of registers, as values.

use crate::patient::Sex;
use chrono::NaiveDate;
use std::collections::BTreeMap;

/// Reads a day: `1990-01-31`, with a time behind it, or `31.01.1990`.
pub(super) fn day(text: &str) -> Option<NaiveDate> {
    let text = text.trim();
    let date = text.split(['T', ' ', '+', 'Z']).next().unwrap_or(text);
    let read = |form| NaiveDate::parse_from_str(date, form).ok();
    let read = read("%Y-%m-%d").or_else(|| read("%d.%m.%Y"));
    // Four digits of a year: nobody of another century is meant.
    read.filter(|date| (1800..=2200).contains(&chrono::Datelike::year(date)))
}

/// Reads whether something is so. What is not understood is taken to be: it warns somebody, who
/// then looks.
pub(super) fn is_so(text: &str) -> bool {
    !matches!(
        text.trim().to_lowercase().as_str(),
        "" | "0" | "false" | "no" | "n" | "нет" | "жок"
    )
}

/// Reads the sex, by the words of the register.
pub(super) fn sex(text: &str, codes: &BTreeMap<String, Sex>) -> Option<Sex> {
    let text = text.trim();
    codes.get(text).copied().or_else(|| Sex::of_word(text))
}

/// Reads a part of a name, or another text that is shown: one line without what delimits names.
pub(super) fn line(text: &str) -> String {
    let kept = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .filter(|c| !matches!(c, '^' | '=' | '\\' | '*' | '?'));
    let kept: String = kept.collect();
    kept.split_whitespace().collect::<Vec<_>>().join(" ")
}
