//! The numbers that the archive itself gives to patients.

use crate::check_digit::check_digit;
use std::fmt;

/// How many patients one kind of number can tell apart.
const SERIAL_MAX: u32 = 999_999_999;

/// Why a text is not the number of a patient, or a serial number gives none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatientNumberError {
    /// A digit is wrong, or two are swapped.
    #[error("the check digit of the patient number is wrong")]
    CheckDigit,
    /// Not a letter and ten digits.
    #[error("a patient number is a letter and ten digits")]
    Format,
    /// The serial number is 0 or has more than nine digits.
    #[error("patient numbers are numbered from 1 to {SERIAL_MAX}")]
    Serial,
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $letter:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
        )]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(u32);

        impl $name {
            /// The number with this serial number, from 1 on.
            ///
            /// # Errors
            /// [`PatientNumberError::Serial`] for 0 and for more than nine digits.
            pub const fn from_serial(serial: u32) -> Result<Self, PatientNumberError> {
                match serial {
                    1..=SERIAL_MAX => Ok(Self(serial)),
                    _ => Err(PatientNumberError::Serial),
                }
            }

            /// Reads a number as it is typed, in either case, with spaces around it.
            ///
            /// # Errors
            /// [`PatientNumberError`]: the shape or the check digit.
            pub fn parse(text: &str) -> Result<Self, PatientNumberError> {
                let digits = text
                    .trim()
                    .strip_prefix([$letter, $letter.to_ascii_lowercase()])
                    .filter(|digits| digits.len() == 10)
                    .ok_or(PatientNumberError::Format)?;
                let check = check_digit(digits).ok_or(PatientNumberError::Format)?;
                if check != 0 {
                    return Err(PatientNumberError::CheckDigit);
                }
                let serial = digits.get(..9).and_then(|serial| serial.parse().ok());
                Self::from_serial(serial.ok_or(PatientNumberError::Format)?)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let serial = format!("{:09}", self.0);
                let check = check_digit(&serial).unwrap_or_default();
                write!(f, "{}{serial}{check}", $letter)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl TryFrom<String> for $name {
            type Error = PatientNumberError;

            fn try_from(text: String) -> Result<Self, PatientNumberError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(number: $name) -> Self {
                number.to_string()
            }
        }
    };
}

number! {
    /// The Patient ID of a patient in the archive: `P`, nine digits, a check digit. It is given
    /// once, stays with the patient, and says nothing about the person.
    PatientNumber, 'P'
}

number! {
    /// The Patient ID of somebody whose identity is not known yet: `T`, nine digits, a check digit.
    /// It becomes an alias when the patient is merged into a known one.
    TemporaryNumber, 'T'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_and_read_again() {
        for serial in [1, 572, 123_456_789, SERIAL_MAX] {
            let number = PatientNumber::from_serial(serial).unwrap();
            let text = number.to_string();
            assert!(text.len() == 11 && text.starts_with('P'), "{text}");
            assert_eq!(PatientNumber::parse(&text.to_lowercase()), Ok(number));
            let json = serde_json::to_string(&number).unwrap();
            assert_eq!(
                serde_json::from_str::<PatientNumber>(&json).unwrap(),
                number
            );
            // The kinds are told apart.
            assert_eq!(
                TemporaryNumber::parse(&text),
                Err(PatientNumberError::Format)
            );
        }
        assert_eq!(
            PatientNumber::from_serial(572).unwrap().to_string(),
            "P0000005724"
        );
    }

    #[test]
    fn what_is_no_number_is_refused_by_rule() {
        for (text, why) in [
            ("", PatientNumberError::Format),
            ("P", PatientNumberError::Format),
            ("P000000572", PatientNumberError::Format),
            ("P000000572٤", PatientNumberError::Format),
            ("P00000057240", PatientNumberError::Format),
            ("0000005724", PatientNumberError::Format),
            ("P0000005742", PatientNumberError::CheckDigit),
            ("P0000005725", PatientNumberError::CheckDigit),
            ("P0000000000", PatientNumberError::Serial),
        ] {
            assert_eq!(PatientNumber::parse(text), Err(why), "{text}");
        }
        assert!(PatientNumber::from_serial(SERIAL_MAX + 1).is_err());
    }
}
