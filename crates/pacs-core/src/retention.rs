//! For how long images are kept: data, not code. Where nothing says otherwise, for ever.

use crate::OrganisationCode;
use chrono::{Days, NaiveDate};

/// Days that pass at least between the agreement to erase and its being final.
pub const WAITING_DAYS_MIN: u32 = 7;

/// One rule of a policy.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionRule {
    /// Of which organisation; `None`: of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organisation: Option<OrganisationCode>,
    /// Studies that have this modality; `None`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modality: Option<String>,
    /// For how many days from their study date; nothing is erased sooner.
    pub keep_days: u32,
}

/// For how long images are kept.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionPolicy {
    /// The rules; of several for one study the longest counts, and without any it is kept for ever.
    pub rules: Vec<RetentionRule>,
    /// Days between the agreement to erase and its being final.
    pub waiting_days: u32,
}

impl Default for RetentionPolicy {
    /// Nothing is ever due.
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            waiting_days: 30,
        }
    }
}

/// What rules ask of a study.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StudyFacts<'a> {
    /// Whose it is.
    pub organisation: Option<OrganisationCode>,
    /// Its modalities.
    pub modalities: &'a [&'a str],
    /// When it was made; `None`: nobody knows, and so it is never due.
    pub study_date: Option<NaiveDate>,
}

impl RetentionPolicy {
    /// The first day on which a study may be proposed because its term is over; `None`: never.
    #[must_use]
    pub fn due_on(&self, study: &StudyFacts<'_>) -> Option<NaiveDate> {
        let is_for = |rule: &&RetentionRule| {
            let is_of = rule.organisation.is_none() || rule.organisation == study.organisation;
            let modality = rule.modality.as_deref();
            is_of && modality.is_none_or(|modality| study.modalities.contains(&modality))
        };
        let rules = self.rules.iter().filter(is_for);
        let longest = rules.map(|rule| rule.keep_days).max()?;
        study
            .study_date?
            .checked_add_days(Days::new(u64::from(longest)))
    }

    /// Whether it can be kept and followed.
    #[must_use]
    pub fn is_fit(&self, rules_max: usize) -> bool {
        let is_code = |text: &String| {
            let is_letter = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
            (1..=16).contains(&text.len()) && text.bytes().all(is_letter)
        };
        let is_rule = |rule: &RetentionRule| rule.modality.as_ref().is_none_or(is_code);
        self.rules.len() <= rules_max
            && self.waiting_days >= WAITING_DAYS_MIN
            && self.rules.iter().all(is_rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn rule(organisation: Option<&str>, modality: Option<&str>, keep_days: u32) -> RetentionRule {
        RetentionRule {
            organisation: organisation.map(|code| OrganisationCode::parse(code).unwrap()),
            modality: modality.map(str::to_owned),
            keep_days,
        }
    }

    #[test]
    fn nothing_is_ever_due_unless_a_rule_says_so_and_then_by_the_longest() {
        let study = StudyFacts {
            organisation: OrganisationCode::parse("006").ok(),
            modalities: &["CT"],
            study_date: Some(day("2020-01-01")),
        };
        assert_eq!(RetentionPolicy::default().due_on(&study), None);
        let policy = RetentionPolicy {
            rules: vec![
                rule(None, None, 10),
                rule(Some("006"), Some("CT"), 31),
                rule(Some("001"), None, 4_000),
                rule(None, Some("MR"), 5_000),
            ],
            ..RetentionPolicy::default()
        };
        assert_eq!(policy.due_on(&study), Some(day("2020-02-01")));
        let other = StudyFacts {
            organisation: None,
            ..study
        };
        assert_eq!(policy.due_on(&other), Some(day("2020-01-11")));
        let undated = StudyFacts {
            study_date: None,
            ..study
        };
        assert_eq!(policy.due_on(&undated), None);
    }

    #[test]
    fn a_policy_that_waits_too_short_or_names_no_modality_is_not_taken() {
        let fit = RetentionPolicy::default();
        assert!(fit.is_fit(9));
        let hasty = RetentionPolicy {
            waiting_days: WAITING_DAYS_MIN - 1,
            ..fit.clone()
        };
        assert!(!hasty.is_fit(9));
        let odd = RetentionPolicy {
            rules: vec![rule(None, Some("ct"), 1)],
            ..fit
        };
        assert!(!odd.is_fit(9) && !odd.is_fit(0));
    }
}
