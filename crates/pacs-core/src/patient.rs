//! Patients, as the archive identifies them.
//!
//! The archive gives every patient a [`number`] of its own, which never changes; PIN, documents and
//! hospital cards are further identifiers, each with its issuer (PS3.3 C.2.2 and C.7.1.1).

pub mod document;
pub mod number;

use crate::{OrganisationCode, Pin};
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

    /// Reads the defined term.
    #[must_use]
    pub fn of_code(code: &str) -> Option<Self> {
        match code.trim() {
            "F" => Some(Self::Female),
            "M" => Some(Self::Male),
            "O" => Some(Self::Other),
            _ => None,
        }
    }

    /// Reads the words that registers give, in any case and language. `None` for anything else,
    /// numbers among them: what 1 means is for the configuration of a register to say.
    #[must_use]
    pub fn of_word(text: &str) -> Option<Self> {
        let text = text.trim().to_lowercase();
        match text.as_str() {
            "m" | "м" | "эркек" => Some(Self::Male),
            "f" | "ж" | "аял" => Some(Self::Female),
            word if word.starts_with("муж") => Some(Self::Male),
            word if word.starts_with("жен") => Some(Self::Female),
            _ => None,
        }
    }
}

/// What the archive calls a patient: known, or not yet.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub enum PatientKey {
    /// Somebody known.
    Known(PatientNumber),
    /// Somebody whose identity is not known yet.
    Unidentified(TemporaryNumber),
}

impl PatientKey {
    /// Reads either number as it is typed.
    ///
    /// # Errors
    /// [`PatientNumberError`]: the shape or the check digit.
    pub fn parse(text: &str) -> Result<Self, PatientNumberError> {
        let known = PatientNumber::parse(text).map(Self::Known);
        known.or_else(|_| TemporaryNumber::parse(text).map(Self::Unidentified))
    }
}

impl fmt::Display for PatientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(number) => number.fmt(f),
            Self::Unidentified(number) => number.fmt(f),
        }
    }
}

/// An identifier of a patient, by who gave it. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identifier {
    /// The number of a hospital card, or whatever else a device of the hospital made up.
    Card {
        /// The hospital.
        organisation: OrganisationCode,
        /// The number.
        number: Box<str>,
    },
    /// A passport or the like.
    Document(Document),
    /// The archive's own.
    Key(PatientKey),
    /// The state's.
    Pin(Pin),
}

impl Identifier {
    /// Reads what stands in Patient ID of an image that a device of `organisation` made: what
    /// looks like nothing else is a number of that hospital, and nothing where none is known.
    #[must_use]
    pub fn of_patient_id(
        text: &str,
        organisation: impl Into<Option<OrganisationCode>>,
    ) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        if let Ok(key) = PatientKey::parse(text) {
            return Some(Self::Key(key));
        }
        if let Ok(pin) = Pin::try_from(text.to_owned()) {
            return Some(Self::Pin(pin));
        }
        if let Ok(document) = Document::read(text) {
            return Some(Self::Document(document));
        }
        let organisation = organisation.into()?;
        Some(Self::Card {
            organisation,
            number: text.into(),
        })
    }

    /// Whether it names one person in the whole country; the number of a card does not.
    #[must_use]
    pub const fn is_national(&self) -> bool {
        !matches!(self, Self::Card { .. })
    }

    /// Who gave it (PS3.3 C.2.2, Issuer of Patient ID).
    #[must_use]
    pub const fn issuer(&self) -> Issuer {
        match self {
            Self::Card { organisation, .. } => Issuer::Card(*organisation),
            Self::Document(_) => Issuer::Document,
            Self::Key(_) => Issuer::Archive,
            Self::Pin(_) => Issuer::Pin,
        }
    }
}

impl fmt::Debug for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[patient data]")
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
            (" М ", Some(Sex::Male)),
            ("Ж", Some(Sex::Female)),
            ("Мужской", Some(Sex::Male)),
            ("женщина", Some(Sex::Female)),
            ("Эркек", Some(Sex::Male)),
            ("аял", Some(Sex::Female)),
            ("1", None),
            ("2", None),
            ("", None),
        ] {
            assert_eq!(Sex::of_word(text), sex, "{text}");
        }
        for (code, sex) in [("M", Some(Sex::Male)), ("O", Some(Sex::Other)), ("m", None)] {
            assert_eq!(Sex::of_code(code), sex, "{code}");
        }
    }

    #[test]
    fn a_patient_id_is_known_by_its_shape() {
        let here = OrganisationCode::parse("006").unwrap();
        for (text, issuer) in [
            ("P0000005724", Issuer::Archive),
            ("t0000005724", Issuer::Archive),
            ("2 0101 1990 99907", Issuer::Pin),
            ("KGZ-ID1234567", Issuer::Document),
            ("17", Issuer::Card(here)),
            // A check digit is wrong: not the archive's.
            ("P0000005725", Issuer::Card(here)),
        ] {
            let identifier = Identifier::of_patient_id(text, here).unwrap();
            assert_eq!(identifier.issuer(), issuer, "{text}");
            assert_eq!(identifier.is_national(), issuer != Issuer::Card(here));
            assert_eq!(format!("{identifier:?}"), "[patient data]");
        }
        assert_eq!(Identifier::of_patient_id(" ", here), None);
        assert_eq!(Identifier::of_patient_id("17", None), None);
    }

    #[test]
    fn issuers_have_the_names_that_go_into_data_sets() {
        let card = Issuer::Card(OrganisationCode::parse("006").unwrap());
        let names = [card, Issuer::Document, Issuer::Archive, Issuer::Pin].map(|i| i.to_string());
        assert_eq!(names, ["006", "KG-DOC", "KGPACS", "KG-PIN"]);
    }
}
