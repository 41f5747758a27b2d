//! The examination ID («ID снимка»): the Accession Number that a person types at a console.
//!
//! Twelve digits: two of the year, three of the organisation, six of a sequence, one check digit.
//! Every wrong digit and every swap of neighbours is noticed, and it is never as long as a PIN.

use crate::OrganisationCode;
use crate::check_digit::check_digit;
use chrono::{Datelike as _, NaiveDate};
use std::fmt;

const DIGITS: usize = 12;
const SEQUENCE_MAX: u32 = 999_999;
const STEP_MAX: u8 = 99;
/// How people write an ID: year, organisation, sequence, check digit.
const GROUPS: [usize; 4] = [2, 3, 6, 1];

/// The ID of an examination; in data sets Accession Number, Requested Procedure ID and Study ID.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct ExaminationId {
    year: u8,
    organisation: OrganisationCode,
    sequence: u32,
}

/// Why a text is not an [`ExaminationId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExaminationIdError {
    /// Twelve digits, but one is wrong or two are swapped.
    #[error("the check digit of the examination ID is wrong")]
    CheckDigit,
    /// Not twelve digits.
    #[error("an examination ID has twelve digits")]
    Format,
    /// Organisation 000 or number 000000, which nobody gives.
    #[error("no organisation gives this examination ID")]
    NeverGiven,
}

impl ExaminationId {
    /// Reads an ID as it is typed: with spaces, hyphens, underscores and dots anywhere, and with
    /// letters that look like digits.
    ///
    /// # Errors
    /// [`ExaminationIdError`], naming the rule that is broken.
    pub fn parse(text: &str) -> Result<Self, ExaminationIdError> {
        let kept = |c: &char| !c.is_whitespace() && !matches!(c, '-' | '_' | '.');
        let digits = text.chars().filter(kept).map(digit_for);
        // One more than fits shows that it is too long.
        Self::from_digits(&digits.take(DIGITS + 1).collect::<String>())
    }

    fn from_digits(digits: &str) -> Result<Self, ExaminationIdError> {
        if digits.len() != DIGITS {
            return Err(ExaminationIdError::Format);
        }
        match check_digit(digits) {
            None => return Err(ExaminationIdError::Format),
            Some(0) => {}
            Some(_) => return Err(ExaminationIdError::CheckDigit),
        }
        let part = |range| digits.get(range).ok_or(ExaminationIdError::Format);
        let number = |text: &str| text.parse::<u32>().map_err(|_| ExaminationIdError::Format);
        let id = Self {
            year: u8::try_from(number(part(0..2)?)?).map_err(|_| ExaminationIdError::Format)?,
            organisation: OrganisationCode::parse(part(2..5)?)
                .map_err(|_| ExaminationIdError::NeverGiven)?,
            sequence: number(part(5..11)?)?,
        };
        if id.sequence == 0 {
            return Err(ExaminationIdError::NeverGiven);
        }
        Ok(id)
    }

    /// Every ID that stands in `text` among other things: as one word, with a step's suffix, or
    /// grouped as [`ExaminationId::grouped`] shows it; for values that were typed into a field of
    /// another kind. A date and a time, a PIN or a telephone number are none.
    pub fn all_in(text: &str) -> Vec<Self> {
        let ends_word = |c: char| {
            c.is_whitespace()
                || matches!(
                    c,
                    '^' | '=' | '\\' | ',' | ';' | ':' | '(' | ')' | '№' | '#'
                )
        };
        let words: Vec<&str> = text
            .split(ends_word)
            .filter(|word| !word.is_empty())
            .collect();
        let mut found: Vec<Self> = Vec::new();
        let mut note = |digits: &str| {
            if let Ok(id) = Self::parse(digits)
                && !found.contains(&id)
            {
                found.push(id);
            }
        };
        for word in &words {
            let parts: Vec<&str> = word.split(['-', '_', '.']).collect();
            let lengths: Vec<usize> = parts.iter().map(|part| part.chars().count()).collect();
            match (lengths.as_slice(), parts.first()) {
                ([DIGITS] | [DIGITS, 2], Some(id)) => note(id),
                ([2, 3, 6, 1], _) => note(word),
                _ => {}
            }
        }
        for group in words.windows(GROUPS.len()) {
            if group.iter().map(|word| word.chars().count()).eq(GROUPS) {
                note(&group.concat());
            }
        }
        found
    }

    /// The organisation that gave it.
    #[must_use]
    pub const fn organisation(self) -> OrganisationCode {
        self.organisation
    }

    /// The ID as people read it: `25 006 000432 9`.
    #[must_use]
    pub fn grouped(self) -> String {
        let digits = self.to_string();
        [0..2, 2..5, 5..11, 11..12]
            .into_iter()
            .filter_map(|range| digits.get(range))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// The digit that a letter was typed for, and every other character as it is.
const fn digit_for(c: char) -> char {
    match c {
        'О' | 'о' | 'O' | 'o' => '0',
        'І' | 'і' | 'I' | 'l' | '|' => '1',
        'З' | 'з' => '3',
        'Б' | 'б' => '6',
        'В' => '8',
        c => c,
    }
}

impl fmt::Display for ExaminationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:02}{}{:06}", self.year, self.organisation, self.sequence);
        let check = check_digit(&digits).unwrap_or_default();
        write!(f, "{digits}{check}")
    }
}

impl fmt::Debug for ExaminationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl TryFrom<String> for ExaminationId {
    type Error = ExaminationIdError;

    fn try_from(text: String) -> Result<Self, ExaminationIdError> {
        Self::from_digits(&text)
    }
}

impl From<ExaminationId> for String {
    fn from(id: ExaminationId) -> Self {
        id.to_string()
    }
}

/// A Scheduled Procedure Step ID: the examination ID and the number of the attempt, in 15 of the 16
/// characters that an SH permits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId {
    /// The examination.
    pub examination: ExaminationId,
    attempt: u8,
}

impl StepId {
    /// The first step of an examination.
    #[must_use]
    pub const fn first(examination: ExaminationId) -> Self {
        Self {
            examination,
            attempt: 1,
        }
    }

    /// The step after this one; `None` after the 99th.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        let attempt = self.attempt.checked_add(1)?;
        (attempt <= STEP_MAX).then_some(Self { attempt, ..self })
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:02}", self.examination, self.attempt)
    }
}

impl fmt::Debug for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// How far an organisation has come in a year. Whoever keeps it takes the next ID and stores the
/// advanced numbering in one transaction; a number that is lost between leaves a gap, which is
/// harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Numbering {
    year: i32,
    organisation: OrganisationCode,
    last: u32,
}

/// Why no ID is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NumberingError {
    /// The clock is more than a year ahead of the last ID, or in another century: what it says
    /// would be in IDs for ever.
    #[error("the clock says {year}, which the last examination ID makes unlikely")]
    Clock {
        /// What it says.
        year: i32,
    },
    /// All of a year are given.
    #[error("organisation {organisation} has given all its examination IDs for {year}")]
    Exhausted {
        /// The organisation.
        organisation: OrganisationCode,
        /// The year.
        year: i32,
    },
}

impl Numbering {
    /// The numbering of an organisation that has given nothing yet in the year of `today`.
    #[must_use]
    pub fn new(organisation: OrganisationCode, today: NaiveDate) -> Self {
        Self {
            year: today.year(),
            organisation,
            last: 0,
        }
    }

    /// Takes the next ID. `today` is the date at the place of the archive; a new year begins at 1.
    ///
    /// A date of a year before the last one counts as that one: a clock that is set back must not
    /// give an ID twice. After more than a year without an ID, an administrator begins anew with
    /// [`Numbering::new`].
    ///
    /// # Errors
    /// [`NumberingError`]; nothing changes then.
    pub fn take(&mut self, today: NaiveDate) -> Result<ExaminationId, NumberingError> {
        let is_likely =
            (2000..=2099).contains(&today.year()) && today.year() <= self.year.saturating_add(1);
        if !is_likely {
            return Err(NumberingError::Clock { year: today.year() });
        }
        let (year, last) = if today.year() > self.year {
            (today.year(), 0)
        } else {
            (self.year, self.last)
        };
        let exhausted = NumberingError::Exhausted {
            organisation: self.organisation,
            year,
        };
        let sequence = last.checked_add(1).ok_or(exhausted)?;
        if sequence > SEQUENCE_MAX {
            return Err(exhausted);
        }
        let year_of_century = u8::try_from(year.rem_euclid(100)).map_err(|_| exhausted)?;
        (self.year, self.last) = (year, sequence);
        Ok(ExaminationId {
            year: year_of_century,
            organisation: self.organisation,
            sequence,
        })
    }

    /// Whether nine tenths of the year's IDs are given, which the ministry should hear of.
    #[must_use]
    pub const fn is_running_out(&self) -> bool {
        self.last >= 899_999
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn organisation(text: &str) -> OrganisationCode {
        OrganisationCode::parse(text).unwrap()
    }

    fn id(text: &str) -> ExaminationId {
        ExaminationId::parse(text).unwrap()
    }

    #[test]
    fn year_organisation_and_sequence_make_the_digits() {
        for (year, code, sequence, digits) in [
            (25, "001", 1, "250010000013"),
            (25, "006", 432, "250060004329"),
            (25, "005", 123_456, "250051234565"),
            (26, "011", 999_999, "260119999994"),
        ] {
            let made = ExaminationId {
                year,
                organisation: organisation(code),
                sequence,
            };
            assert_eq!(made.to_string(), digits);
            assert_eq!(id(digits), made);
        }
        assert_eq!(id("250060004329").grouped(), "25 006 000432 9");
        assert_eq!(id("250060004329").organisation(), organisation("006"));
    }

    #[test]
    fn look_alikes_and_separators_are_read_as_they_were_meant() {
        for text in [
            "25 006 000432 9",
            " 25-006-000432-9 ",
            "25_006.000432.9",
            "25ОО6ооо4З29",
            "25OOБooo4з29",
        ] {
            assert_eq!(id(text), id("250060004329"), "{text}");
        }
        assert_eq!(id("25ООІООООО|З"), id("250010000013"));
    }

    #[test]
    fn what_is_no_id_is_refused_by_rule() {
        for (text, why) in [
            ("", ExaminationIdError::Format),
            ("25006000432", ExaminationIdError::Format),
            ("2500600043290", ExaminationIdError::Format),
            ("21502190099901", ExaminationIdError::Format),
            ("25006000432x", ExaminationIdError::Format),
            ("250060004328", ExaminationIdError::CheckDigit),
            ("250060003429", ExaminationIdError::CheckDigit),
            ("000000000000", ExaminationIdError::NeverGiven),
        ] {
            assert_eq!(ExaminationId::parse(text), Err(why), "{text}");
        }
        // What is stored has one spelling.
        assert!(serde_json::from_str::<ExaminationId>("\"25 006 000432 9\"").is_err());
    }

    #[test]
    fn ids_are_found_among_other_things() {
        let one = id("250060004329");
        for text in [
            "250060004329",
            "IVANOV^250060004329^",
            "ID 250060004329, repeat",
            "25 006 000432 9",
            "25 006 000432 9 2",
            "10.03.2025 25 006 000432 9",
            "250060004329-01",
            "№25-006-000432-9",
            "25ОО6ооо4З29^",
        ] {
            assert_eq!(ExaminationId::all_in(text), [one], "{text}");
        }
        assert_eq!(
            ExaminationId::all_in("250060004329 250010000013 250060004329"),
            [one, id("250010000013")]
        );
        for text in [
            "",
            "1250060004329",
            "250060004328",
            "21502190099901",
            "25006x0004329",
            // Twelve digits with a right check digit, but a date and a time, or a number and a
            // date.
            "25006000.4329",
            "2500 6000 4329",
        ] {
            assert_eq!(ExaminationId::all_in(text), [], "{text}");
        }
    }

    #[test]
    fn numbers_begin_again_with_the_year_and_never_repeat() {
        let mut numbering = Numbering::new(organisation("006"), day("2025-12-31"));
        let first = numbering.take(day("2025-12-31")).unwrap();
        let second = numbering.take(day("2025-12-31")).unwrap();
        let next_year = numbering.take(day("2026-01-01")).unwrap();
        let clock_set_back = numbering.take(day("2025-12-31")).unwrap();
        let digits = [first, second, next_year, clock_set_back].map(|id| id.to_string());
        assert_eq!(
            digits.each_ref().map(|d| &d[..11]),
            ["25006000001", "25006000002", "26006000001", "26006000002"]
        );
    }

    #[test]
    fn an_exhausted_year_is_told_in_time_and_gives_nothing() {
        let today = day("2026-06-01");
        let mut numbering = Numbering::new(organisation("006"), today);
        numbering.last = 899_998;
        assert!(!numbering.is_running_out());
        numbering.last = 899_999;
        assert!(numbering.is_running_out());
        numbering.last = SEQUENCE_MAX;
        let before = numbering;
        let exhausted = NumberingError::Exhausted {
            organisation: organisation("006"),
            year: 2026,
        };
        assert_eq!(numbering.take(today), Err(exhausted));
        for clock in ["2028-01-01", "2126-06-01", "1999-06-01"] {
            let refused = numbering.take(day(clock));
            assert!(
                matches!(refused, Err(NumberingError::Clock { .. })),
                "{clock}"
            );
        }
        assert_eq!(numbering, before);
        assert!(numbering.take(day("2027-01-01")).is_ok());
    }

    #[test]
    fn steps_are_numbered_and_fit_an_sh() {
        let step = StepId::first(id("250060004329"));
        assert_eq!(step.to_string(), "250060004329-01");
        assert_eq!(step.next().unwrap().to_string(), "250060004329-02");
        let last = std::iter::successors(Some(step), |step| step.next()).last();
        assert_eq!(last.unwrap().to_string(), "250060004329-99");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
            if let Ok(id) = ExaminationId::parse(&text) {
                prop_assert_eq!(ExaminationId::parse(&id.grouped()), Ok(id));
            }
            for id in ExaminationId::all_in(&text) {
                prop_assert_eq!(ExaminationId::parse(&id.to_string()), Ok(id));
            }
        }
    }
}
