//! For how long images are kept: data, not code. Where nothing says otherwise, for ever.

use crate::OrganisationCode;
use chrono::{Days, NaiveDate};

/// Days that pass at least between the agreement to erase and its being final.
pub const WAITING_DAYS_MIN: u32 = 7;

/// Whoever is as many years old is no child.
const ADULT_FROM_YEARS: u32 = 18;

/// How old the patient was when a study was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgeGroup {
    /// 18 years or more.
    Adult,
    /// Less.
    Child,
}

impl AgeGroup {
    /// That of somebody born on a day, on another day.
    #[must_use]
    pub fn on(born: NaiveDate, day: NaiveDate) -> Self {
        match day.years_since(born) {
            Some(ADULT_FROM_YEARS..) => Self::Adult,
            Some(_) | None => Self::Child,
        }
    }
}

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
    /// Of patients who were so old then; `None`: of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age: Option<AgeGroup>,
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
    /// When the patient was born; `None`: nobody knows, and so it is kept as long as those of
    /// adults and those of children.
    pub born: Option<NaiveDate>,
}

impl RetentionPolicy {
    /// The first day on which a study may be proposed because its term is over; `None`: never.
    #[must_use]
    pub fn due_on(&self, study: &StudyFacts<'_>) -> Option<NaiveDate> {
        let made = study.study_date?;
        let groups = match study.born {
            Some(born) => vec![AgeGroup::on(born, made)],
            None => vec![AgeGroup::Adult, AgeGroup::Child],
        };
        let mut longest = 0;
        for group in groups {
            longest = longest.max(self.keep_days(study, group)?);
        }
        made.checked_add_days(Days::new(u64::from(longest)))
    }

    /// For how many days a study is kept of somebody so old; `None`: for ever.
    fn keep_days(&self, study: &StudyFacts<'_>, age: AgeGroup) -> Option<u32> {
        let is_for = |rule: &&RetentionRule| {
            let is_of = rule.organisation.is_none() || rule.organisation == study.organisation;
            let modality = rule.modality.as_deref();
            is_of
                && rule.age.is_none_or(|group| group == age)
                && modality.is_none_or(|modality| study.modalities.contains(&modality))
        };
        let rules = self.rules.iter().filter(is_for);
        rules.map(|rule| rule.keep_days).max()
    }

    /// Studies that were made after this day are not due on `today`; `None`: nothing ever is.
    #[must_use]
    pub fn made_until(&self, today: NaiveDate) -> Option<NaiveDate> {
        let shortest = self.rules.iter().map(|rule| rule.keep_days).min()?;
        today.checked_sub_days(Days::new(u64::from(shortest)))
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
            age: None,
            keep_days,
        }
    }

    #[test]
    fn nothing_is_ever_due_unless_a_rule_says_so_and_then_by_the_longest() {
        let study = StudyFacts {
            organisation: OrganisationCode::parse("006").ok(),
            modalities: &["CT"],
            study_date: Some(day("2020-01-01")),
            born: Some(day("1990-05-05")),
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
    fn children_are_kept_by_their_own_rules_and_whoever_may_be_one_by_the_longer() {
        let of = |age, keep_days| RetentionRule {
            age: Some(age),
            ..rule(None, None, keep_days)
        };
        let mut policy = RetentionPolicy {
            rules: vec![of(AgeGroup::Adult, 10), of(AgeGroup::Child, 100)],
            ..RetentionPolicy::default()
        };
        let due = |policy: &RetentionPolicy, born: Option<&str>| {
            policy.due_on(&StudyFacts {
                organisation: None,
                modalities: &[],
                study_date: Some(day("2020-03-01")),
                born: born.map(day),
            })
        };
        // On the day itself somebody is of age.
        for (born, expected) in [
            (Some("2002-03-01"), Some("2020-03-11")),
            (Some("2002-03-02"), Some("2020-06-09")),
            (Some("2021-01-01"), Some("2020-06-09")),
            (None, Some("2020-06-09")),
        ] {
            assert_eq!(due(&policy, born), expected.map(day), "{born:?}");
        }
        assert_eq!(
            policy.made_until(day("2020-03-11")),
            Some(day("2020-03-01"))
        );
        policy.rules.pop();
        assert_eq!(due(&policy, Some("2010-01-01")), None);
        assert_eq!(due(&policy, None), None, "it may be of a child");
        assert_eq!(
            RetentionPolicy::default().made_until(day("2020-03-11")),
            None
        );
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
