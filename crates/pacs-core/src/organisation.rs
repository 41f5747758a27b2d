//! Healthcare organisations and their departments, as identifiers name them.

use crate::limits::DEPARTMENT_CODE_CHARS_MAX;
use std::fmt;

/// The code of a healthcare organisation: three digits, part of every examination ID it issues.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct OrganisationCode(u16);

/// Why a string is not an [`OrganisationCode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the code of an organisation is three digits, 001 to 999")]
pub struct OrganisationCodeError;

impl OrganisationCode {
    /// Reads three digits; `000` is no organisation.
    ///
    /// # Errors
    /// [`OrganisationCodeError`] for anything else.
    pub fn parse(text: &str) -> Result<Self, OrganisationCodeError> {
        if text.len() != 3 || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(OrganisationCodeError);
        }
        match text.parse() {
            Ok(code @ 1..) => Ok(Self(code)),
            _ => Err(OrganisationCodeError),
        }
    }
}

impl fmt::Display for OrganisationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03}", self.0)
    }
}

impl fmt::Debug for OrganisationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl TryFrom<String> for OrganisationCode {
    type Error = OrganisationCodeError;

    fn try_from(text: String) -> Result<Self, OrganisationCodeError> {
        Self::parse(&text)
    }
}

impl From<OrganisationCode> for String {
    fn from(code: OrganisationCode) -> Self {
        code.to_string()
    }
}

/// The code of a department, which one organisation gives: 1 to 16 of `A` to `Z`, digits and `_`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DepartmentCode(Box<str>);

/// Why a string is not a [`DepartmentCode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the code of a department is 1 to {DEPARTMENT_CODE_CHARS_MAX} of A to Z, 0 to 9 and _")]
pub struct DepartmentCodeError;

impl DepartmentCode {
    /// Reads a code; nothing is made of what is none.
    ///
    /// # Errors
    /// [`DepartmentCodeError`] for anything else.
    pub fn parse(text: &str) -> Result<Self, DepartmentCodeError> {
        let is_code = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
        let is_fit = (1..=DEPARTMENT_CODE_CHARS_MAX).contains(&text.len());
        if !is_fit || !text.bytes().all(is_code) {
            return Err(DepartmentCodeError);
        }
        Ok(Self(text.into()))
    }

    /// As text.
    #[must_use]
    pub const fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DepartmentCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DepartmentCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl TryFrom<String> for DepartmentCode {
    type Error = DepartmentCodeError;

    fn try_from(text: String) -> Result<Self, DepartmentCodeError> {
        Self::parse(&text)
    }
}

impl From<DepartmentCode> for String {
    fn from(code: DepartmentCode) -> Self {
        code.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_department_is_a_word_of_capitals_digits_and_underscores() {
        for text in ["RAD", "ER_2", "1", "ABCDEFGHIJKLMNOP"] {
            let code = DepartmentCode::parse(text).unwrap();
            assert_eq!(code.to_string(), text);
            let json = serde_json::to_string(&code).unwrap();
            assert_eq!(serde_json::from_str::<DepartmentCode>(&json).unwrap(), code);
        }
        for text in [
            "",
            "rad",
            "R D",
            "R-D",
            "R,D",
            "R/D",
            "ЛОР",
            "ABCDEFGHIJKLMNOPQ",
        ] {
            assert!(DepartmentCode::parse(text).is_err(), "{text}");
        }
        assert!(serde_json::from_str::<DepartmentCode>("\"rad\"").is_err());
    }

    #[test]
    fn a_code_is_three_digits_and_not_zero() {
        assert_eq!(OrganisationCode::parse("006").unwrap().to_string(), "006");
        for text in ["", "6", "06", "0006", "000", "+06", "0 6", "٠٠٦"] {
            assert!(OrganisationCode::parse(text).is_err(), "{text}");
        }
        assert!(serde_json::from_str::<OrganisationCode>("\"000\"").is_err());
    }
}
