//! The personal identification number (ПИН, PIN) of the Kyrgyz Republic.
//!
//! Fourteen digits: sex, day, month and year of birth, and five more. No check digit is known, so
//! only the shape is an error. What the citizen register says wins over what the number says.

use crate::Phi;
use crate::patient::Sex;
use chrono::{Datelike as _, NaiveDate};
use std::fmt;

const DIGITS: usize = 14;

/// Above this age a number is more likely a typing error than a person.
const AGE_YEARS_MAX: i32 = 125;

/// A number of the right shape. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pin(Box<str>);

/// Why a text is not a [`Pin`]. The text itself is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// The day of birth is in no calendar.
    #[error("the PIN holds no date of birth")]
    Date,
    /// Not 14 digits.
    #[error("a PIN has 14 digits")]
    Format,
    /// The date of birth is after today.
    #[error("the PIN holds a date of birth in the future")]
    Future,
    /// It begins with 0: the number of an organisation.
    #[error("this is the number of an organisation, not of a person")]
    LegalEntity,
    /// It begins with neither 1 nor 2.
    #[error("a PIN begins with 1 or 2")]
    SexDigit,
}

impl PinError {
    /// The code that interfaces give beside the text.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Date => "PIN_DATE",
            Self::Format => "PIN_FORMAT",
            Self::Future => "PIN_FUTURE",
            Self::LegalEntity => "PIN_LEGAL_ENTITY",
            Self::SexDigit => "PIN_SEX_DIGIT",
        }
    }
}

/// What is odd about a [`Pin`], and does not forbid it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PinWarning {
    /// Its holder would be older than 125 years.
    Age,
    /// The register has blocked it.
    Blocked,
    /// The register says that its holder has died.
    Deceased,
    /// The register gives another date of birth or sex, and is right.
    RegisterMismatch,
}

impl PinWarning {
    /// The code that interfaces give beside the text.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Age => "PIN_AGE",
            Self::Blocked => "PIN_BLOCKED",
            Self::Deceased => "PATIENT_DECEASED",
            Self::RegisterMismatch => "PIN_REGISTER_MISMATCH",
        }
    }

    /// Whether whoever goes on all the same has to say why.
    #[must_use]
    pub const fn needs_reason(self) -> bool {
        matches!(self, Self::Blocked | Self::Deceased)
    }
}

/// What the register of citizens says of the holder of a number, as far as it is held against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegisterFacts {
    /// The date of birth.
    pub birth_date: Phi<NaiveDate>,
    /// The sex, where the register says one that is understood.
    pub sex: Option<Phi<Sex>>,
    /// Whether the number is blocked.
    pub is_blocked: bool,
    /// When the holder died.
    pub died_on: Option<Phi<NaiveDate>>,
}

impl Pin {
    /// Reads a number as it is typed, with spaces and hyphens anywhere. `today` is the date at the
    /// place of the archive.
    ///
    /// # Errors
    /// [`PinError`], naming the first rule that is broken.
    pub fn parse(text: &str, today: NaiveDate) -> Result<Self, PinError> {
        let pin = Self::of_any_day(text)?;
        match pin.date() {
            Some(date) if date > today => Err(PinError::Future),
            _ => Ok(pin),
        }
    }

    /// All rules but the one that asks for today's date: what was stored was read once.
    fn of_any_day(text: &str) -> Result<Self, PinError> {
        let kept = |c: &char| !c.is_whitespace() && *c != '-';
        // One more than fits shows that it is too long; the rest need not be gathered.
        let digits: String = text.chars().filter(kept).take(DIGITS + 1).collect();
        if digits.len() != DIGITS || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(PinError::Format);
        }
        match digits.bytes().next() {
            Some(b'1' | b'2') => {}
            Some(b'0') => return Err(PinError::LegalEntity),
            _ => return Err(PinError::SexDigit),
        }
        let pin = Self(digits.into());
        pin.date().map(|_| pin.clone()).ok_or(PinError::Date)
    }

    fn date(&self) -> Option<NaiveDate> {
        let number = |range: std::ops::Range<usize>| self.0.get(range)?.parse::<u32>().ok();
        let year = i32::try_from(number(5..9)?).ok()?;
        NaiveDate::from_ymd_opt(year, number(3..5)?, number(1..3)?)
    }

    /// The date of birth that the number holds.
    #[must_use]
    pub fn birth_date(&self) -> Phi<NaiveDate> {
        // `parse` admits no number without a date.
        Phi::new(self.date().unwrap_or_default())
    }

    /// The sex that the number holds.
    #[must_use]
    pub fn sex(&self) -> Phi<Sex> {
        Phi::new(if self.0.starts_with('1') {
            Sex::Female
        } else {
            Sex::Male
        })
    }

    /// What is odd about it, given today's date and what the register says of its holder.
    #[must_use]
    pub fn warnings(&self, today: NaiveDate, register: Option<&RegisterFacts>) -> Vec<PinWarning> {
        let mut warnings = Vec::new();
        let born = *self.birth_date().reveal();
        let had_birthday = (today.month(), today.day()) >= (born.month(), born.day());
        let age_years = today
            .year()
            .saturating_sub(born.year())
            .saturating_sub(i32::from(!had_birthday));
        if age_years > AGE_YEARS_MAX {
            warnings.push(PinWarning::Age);
        }
        let Some(register) = register else {
            return warnings;
        };
        let is_other_sex = register.sex.is_some_and(|sex| sex != self.sex());
        for (holds, warning) in [
            (register.is_blocked, PinWarning::Blocked),
            (register.died_on.is_some(), PinWarning::Deceased),
            (
                register.birth_date != self.birth_date() || is_other_sex,
                PinWarning::RegisterMismatch,
            ),
        ] {
            if holds {
                warnings.push(warning);
            }
        }
        warnings
    }

    /// The fourteen digits, for the register and the patient's own card; never for a log, an
    /// address or a list.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The number as lists show it: its first digit and its last four.
    #[must_use]
    pub fn masked(&self) -> String {
        let shown = |at: usize| at == 0 || at >= DIGITS - 4;
        let digits = self.0.chars().enumerate();
        digits
            .map(|(at, digit)| if shown(at) { digit } else { '•' })
            .collect()
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[patient data]")
    }
}

impl TryFrom<String> for Pin {
    type Error = PinError;

    fn try_from(text: String) -> Result<Self, PinError> {
        Self::of_any_day(&text)
    }
}

impl From<Pin> for String {
    fn from(pin: Pin) -> Self {
        pin.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn today() -> NaiveDate {
        day("2026-11-25")
    }

    #[test]
    fn numbers_are_read_and_refused_by_rule() {
        let of = |text: &str| Pin::parse(text, today());
        let man = of("21502190099901").unwrap();
        assert_eq!(*man.birth_date().reveal(), day("1900-02-15"));
        assert_eq!(*man.sex().reveal(), Sex::Male);
        let woman = of("12902200099902").unwrap();
        assert_eq!(*woman.birth_date().reveal(), day("2000-02-29"));
        assert_eq!(*woman.sex().reveal(), Sex::Female);
        assert_eq!(of("2 0101 1990 99907").unwrap().reveal(), "20101199099907");
        for (text, why) in [
            ("12902190099903", PinError::Date),
            ("23002199099904", PinError::Date),
            ("30101199099905", PinError::SexDigit),
            ("2010119909990", PinError::Format),
            ("201011990999012", PinError::Format),
            ("2010119909990x", PinError::Format),
            ("٢٠١٠١١٩٩٠٩٩٩٠٧", PinError::Format),
            ("", PinError::Format),
            ("00101201510001", PinError::LegalEntity),
            ("22611202699901", PinError::Future),
        ] {
            assert_eq!(of(text), Err(why), "{text} {}", why.code());
        }
        assert!(of("22511202699901").is_ok(), "born today");
    }

    #[test]
    fn what_is_odd_is_told_and_permitted() {
        let pin = Pin::parse("21502190099901", today()).unwrap();
        assert_eq!(pin.warnings(today(), None), [PinWarning::Age]);
        assert_eq!(pin.warnings(day("2026-02-14"), None), []);

        let pin = Pin::parse("20101199099907", today()).unwrap();
        let says = RegisterFacts {
            birth_date: Phi::new(day("1990-01-01")),
            sex: Some(Phi::new(Sex::Male)),
            is_blocked: false,
            died_on: None,
        };
        let warnings = |register| pin.warnings(today(), Some(&register));
        assert_eq!(warnings(says), []);
        assert_eq!(warnings(RegisterFacts { sex: None, ..says }), []);
        let another_day = Phi::new(day("1990-01-02"));
        for register in [
            RegisterFacts {
                birth_date: another_day,
                sex: None,
                ..says
            },
            RegisterFacts {
                sex: Some(Phi::new(Sex::Female)),
                ..says
            },
        ] {
            assert_eq!(warnings(register), [PinWarning::RegisterMismatch]);
        }
        let gone = RegisterFacts {
            is_blocked: true,
            died_on: Some(Phi::new(day("2020-05-01"))),
            ..says
        };
        let told = warnings(gone);
        assert_eq!(told, [PinWarning::Blocked, PinWarning::Deceased]);
        assert_eq!(
            told.iter().map(|told| told.code()).collect::<Vec<_>>(),
            ["PIN_BLOCKED", "PATIENT_DECEASED"]
        );
        assert!(told.iter().all(|told| told.needs_reason()));
        assert!(!PinWarning::Age.needs_reason());
        assert!(!PinWarning::RegisterMismatch.needs_reason());
        assert!(!format!("{gone:?}").contains("2020"));
    }

    #[test]
    fn lists_show_five_digits_and_logs_none() {
        let pin = Pin::parse("21502190099901", today()).unwrap();
        assert_eq!(pin.masked(), "2•••••••••9901");
        assert!(!format!("{pin:?}").contains("9901"));
    }

    #[test]
    fn a_stored_number_is_read_again_and_a_broken_one_refused() {
        let pin = Pin::parse("21502190099901", today()).unwrap();
        let json = serde_json::to_string(&pin).unwrap();
        assert_eq!(serde_json::from_str::<Pin>(&json).unwrap(), pin);
        assert!(serde_json::from_str::<Pin>("\"23002199099904\"").is_err());
    }
}
