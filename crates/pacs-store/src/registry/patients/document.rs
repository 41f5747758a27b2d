//! What is kept of a patient.

use super::super::document::Document;
use super::super::{Moment, Refusal};
use crate::limits::{PATIENT_IDENTIFIERS_MAX, PATIENT_TEXT_CHARS_MAX};
use crate::records::Kind;
use chrono::NaiveDate;
use pacs_core::examination::Reason;
use pacs_core::fold::transliterate;
use pacs_core::patient::{self, Identifier, PatientKey, Sex};
use pacs_core::{OrganisationCode, Pin};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Characters of one component group of a PN (PS3.5 6.2).
const NAME_CHARS_MAX: usize = 64;

/// A name of a person. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PersonName {
    /// The family name.
    pub family: String,
    /// The given name, or several.
    #[serde(default)]
    pub given: String,
    /// The patronymic.
    #[serde(default)]
    pub patronymic: String,
}

impl PersonName {
    /// As a PN value has it: `family^given^patronymic` (PS3.5 6.2).
    #[must_use]
    pub fn person_name(&self) -> String {
        let name = format!("{}^{}^{}", self.family, self.given, self.patronymic);
        name.trim_end_matches('^').to_owned()
    }

    /// Without outer and double spaces.
    fn tidy(&mut self) {
        for part in [&mut self.family, &mut self.given, &mut self.patronymic] {
            *part = part.split_whitespace().collect::<Vec<_>>().join(" ");
        }
    }

    pub(in super::super) fn check(&self) -> Result<(), Refusal> {
        let parts = [&self.family, &self.given, &self.patronymic];
        // What delimits names cannot be part of one.
        let is_wrong = |c: char| c.is_control() || matches!(c, '^' | '=' | '\\' | '*' | '?');
        let is_long = self.person_name().chars().nth(NAME_CHARS_MAX).is_some();
        if is_long || parts.iter().any(|part| part.contains(is_wrong)) || self.family.is_empty() {
            return Err(Refusal::Unfit { what: "name" });
        }
        Ok(())
    }
}

impl fmt::Debug for PersonName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[patient data]")
    }
}

/// How it is known who a patient is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// Somebody said so, or showed a document.
    #[default]
    Declared,
    /// The citizen register says otherwise, and nobody has settled it.
    Mismatch,
    /// Not at all, yet.
    Unidentified,
    /// The citizen register says so.
    Verified,
}

/// The number of a card of a hospital.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// The hospital.
    pub organisation: OrganisationCode,
    /// The number.
    pub number: String,
}

impl fmt::Debug for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[patient data]")
    }
}

/// Who a patient is. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Particulars {
    /// The name, in Cyrillic where it has such a form.
    pub name: PersonName,
    /// The name in Latin letters, as the holder's passport spells it; `None`: as it is
    /// transliterated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latin: Option<PersonName>,
    /// Date of birth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub birth_date: Option<NaiveDate>,
    /// Sex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sex: Option<Sex>,
    /// The PIN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
    /// PINs that the state has changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former_pins: Vec<Pin>,
    /// Passports and the like.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub documents: Vec<patient::Document>,
    /// Cards of hospitals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cards: Vec<Card>,
    /// Citizenship (ISO 3166-1, three letters).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub citizenship: Option<String>,
    /// Address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Telephone number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telephone: Option<String>,
    /// How it is known.
    #[serde(default)]
    pub identity: Identity,
    /// When the citizen register was asked last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked_at: Option<Moment>,
    /// The register says that the PIN is blocked.
    #[serde(default)]
    pub is_pin_blocked: bool,
    /// Date of death.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub died_on: Option<NaiveDate>,
}

impl Particulars {
    /// The name in Latin letters.
    #[must_use]
    pub fn latin_name(&self) -> PersonName {
        self.latin.clone().unwrap_or_else(|| PersonName {
            family: transliterate(&self.name.family),
            given: transliterate(&self.name.given),
            patronymic: transliterate(&self.name.patronymic),
        })
    }

    /// Every form of the name, as PN values.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names = vec![self.name.person_name()];
        let latin = self.latin_name().person_name();
        if !names.contains(&latin) {
            names.push(latin);
        }
        names
    }

    /// Every form of the name without the patronymic, as PN values.
    pub(super) fn short_names(&self) -> Vec<String> {
        let names = [&self.name, &self.latin_name()].map(|name| PersonName {
            patronymic: String::new(),
            ..name.clone()
        });
        names.iter().map(PersonName::person_name).collect()
    }

    /// Every identifier but the archive's own, former ones too.
    #[must_use]
    pub fn identifiers(&self) -> Vec<Identifier> {
        let pins = self.pin.iter().chain(&self.former_pins);
        let documents = self.documents.iter().cloned().map(Identifier::Document);
        let cards = self.cards.iter().map(|card| Identifier::Card {
            organisation: card.organisation,
            number: card.number.as_str().into(),
        });
        let pins = pins.cloned().map(Identifier::Pin);
        pins.chain(documents).chain(cards).collect()
    }

    /// The same, written one way, or why it cannot be kept.
    pub(super) fn tidied(mut self) -> Result<Self, Refusal> {
        let unfit = |what| Err(Refusal::Unfit { what });
        self.name.tidy();
        self.name.check()?;
        if let Some(latin) = &mut self.latin {
            latin.tidy();
            latin.check()?;
            if !latin.person_name().is_ascii() {
                return unfit("latin name");
            }
        }
        for text in [&mut self.address, &mut self.telephone] {
            *text = text.take().map(|text| text.trim().to_owned());
            *text = text.take().filter(|text| !text.is_empty());
            let is_wrong = text.as_ref().is_some_and(|text| {
                let is_long = text.chars().nth(PATIENT_TEXT_CHARS_MAX).is_some();
                is_long || text.chars().any(char::is_control)
            });
            if is_wrong {
                return unfit("address or telephone");
            }
        }
        let is_country =
            |text: &String| text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase());
        if !self.citizenship.iter().all(is_country) {
            return unfit("citizenship");
        }
        for card in &mut self.cards {
            card.number = card.number.trim().to_owned();
            let is_long = card.number.chars().nth(NAME_CHARS_MAX).is_some();
            let is_wrong = |c: char| c.is_control() || c == '\\';
            if card.number.is_empty() || is_long || card.number.contains(is_wrong) {
                return unfit("card");
            }
        }
        let identifiers = self.identifiers();
        let mut sorted = identifiers.clone();
        sorted.sort();
        sorted.dedup();
        if identifiers.len() > PATIENT_IDENTIFIERS_MAX || sorted.len() != identifiers.len() {
            return unfit("identifiers");
        }
        let is_known = self.identity != Identity::Unidentified;
        if is_known && self.birth_date.is_none() && !sorted.iter().any(Identifier::is_national) {
            return unfit("date of birth or an identifier");
        }
        if !is_known && sorted.iter().any(Identifier::is_national) {
            return unfit("identifier of somebody unidentified");
        }
        Ok(self)
    }
}

impl fmt::Debug for Particulars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[patient data]")
    }
}

/// That a patient went into another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merge {
    /// The other.
    pub into: PatientKey,
    /// When.
    pub at: Moment,
    /// Who did it.
    pub by: String,
    /// Why.
    pub reason: Reason,
}

/// A patient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patient {
    /// What the archive calls them: their Patient ID.
    pub key: PatientKey,
    /// Who they are.
    pub particulars: Particulars,
    /// When they were registered.
    pub registered_at: Moment,
    /// By whom.
    pub registered_by: String,
    /// For which organisation; `None`: by the archive itself.
    pub registered_for: Option<OrganisationCode>,
    /// That they went into another: then only that one is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge: Option<Merge>,
    /// Those that went into this one, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<PatientKey>,
    /// Entries of the history.
    pub(super) changes_count: u32,
}

impl Document for Patient {
    const KIND: Kind = Kind::new("patient");
    const NAME: &'static str = "patient";
}

impl Patient {
    /// How many entries its history has.
    pub(in super::super) const fn changes_count(&self) -> u32 {
        self.changes_count
    }
}

/// What was done to a patient's document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Another patient went into it.
    Absorbed(PatientKey),
    /// What it says was changed.
    Changed,
    /// It went into another.
    Merged(PatientKey),
    /// It was made.
    Registered,
    /// Another patient came out of it again.
    Released(PatientKey),
    /// It came out of another again.
    Unmerged(PatientKey),
}

/// One change of a patient's document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// When.
    pub at: Moment,
    /// Who.
    pub by: String,
    /// What.
    pub what: What,
    /// Why, where a reason was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// What it said before, where that was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Particulars>,
}

impl Document for HistoryEntry {
    const KIND: Kind = Kind::new("patient-history");
    const NAME: &'static str = "history of a patient";
}
