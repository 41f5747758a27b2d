//! Healthcare organisations, as identifiers name them.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_three_digits_and_not_zero() {
        assert_eq!(OrganisationCode::parse("006").unwrap().to_string(), "006");
        for text in ["", "6", "06", "0006", "000", "+06", "0 6", "٠٠٦"] {
            assert!(OrganisationCode::parse(text).is_err(), "{text}");
        }
        assert!(serde_json::from_str::<OrganisationCode>("\"000\"").is_err());
    }
}
