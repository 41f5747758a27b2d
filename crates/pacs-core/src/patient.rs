//! Patients, as the archive identifies them.
//!
//! The archive gives every patient a [`number`] of its own, which never changes; PIN, documents and
//! hospital cards are further identifiers, each with its issuer (PS3.3 C.2.2 and C.7.1.1).

pub mod document;
pub mod number;

use crate::OrganisationCode;
use std::fmt;

pub use document::{Document, DocumentError};
pub use number::{PatientNumber, PatientNumberError, TemporaryNumber};

/// The sex of a patient (PS3.3 C.7.1.1, Patient's Sex).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Sex {
    /// Female.
    #[serde(rename = "F")]
    Female,
    /// Male.
    #[serde(rename = "M")]
    Male,
    /// Neither, or not known.
    #[serde(rename = "O")]
    Other,
}

impl Sex {
    /// The defined term: `F`, `M` or `O`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Female => "F",
            Self::Male => "M",
            Self::Other => "O",
        }
    }

    /// Reads the defined term, or the words and numbers that registers give for it, in any case.
    /// `None` for anything else: a guess would be worse than nothing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_lowercase();
        match text.as_str() {
            "1" | "m" | "м" | "эркек" => Some(Self::Male),
            "2" | "f" | "ж" | "аял" => Some(Self::Female),
            "o" => Some(Self::Other),
            word if word.starts_with("муж") => Some(Self::Male),
            word if word.starts_with("жен") => Some(Self::Female),
            _ => None,
        }
    }
}

/// Who gave an identifier (PS3.3 C.2.2, Issuer of Patient ID).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Issuer {
    /// A hospital: the number of a card.
    Card(OrganisationCode),
    /// An authority that issues passports and the like.
    Document,
    /// This archive: [`PatientNumber`] and [`TemporaryNumber`].
    Archive,
    /// The state: the PIN.
    Pin,
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Card(organisation) => write!(f, "{organisation}"),
            Self::Document => f.write_str("KG-DOC"),
            Self::Archive => f.write_str("KGPACS"),
            Self::Pin => f.write_str("KG-PIN"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_registers_are_understood_and_others_are_not() {
        for (text, sex) in [
            ("M", Some(Sex::Male)),
            ("f", Some(Sex::Female)),
            ("O", Some(Sex::Other)),
            ("1", Some(Sex::Male)),
            ("2", Some(Sex::Female)),
            (" М ", Some(Sex::Male)),
            ("Ж", Some(Sex::Female)),
            ("Мужской", Some(Sex::Male)),
            ("женщина", Some(Sex::Female)),
            ("Эркек", Some(Sex::Male)),
            ("аял", Some(Sex::Female)),
            ("3", None),
            ("", None),
        ] {
            assert_eq!(Sex::parse(text), sex, "{text}");
        }
    }

    #[test]
    fn issuers_have_the_names_that_go_into_data_sets() {
        let card = Issuer::Card(OrganisationCode::parse("006").unwrap());
        let names = [card, Issuer::Document, Issuer::Archive, Issuer::Pin].map(|i| i.to_string());
        assert_eq!(names, ["006", "KG-DOC", "KGPACS", "KG-PIN"]);
    }
}
