//! Patients as pages see them. The PIN stands whole on the card alone, and the numbers that other
//! hospitals gave on no card.

use crate::api::conditional::etag;
use crate::api::guard::organisations;
use chrono::{DateTime, FixedOffset, NaiveDate};
use pacs_core::OrganisationCode;
use pacs_core::patient::{PatientKey, Sex};
use pacs_core::pin::PinWarning;
use pacs_core::role::Agent;
use pacs_store::registry::Stored;
use pacs_store::registry::patients::{
    self, HistoryEntry, Identity, Particulars, Patient, PersonName, Rank, What,
};
use serde::Serialize;

/// For whom it is shown, and when.
pub(in crate::api) struct Seer<'a> {
    pub(in crate::api) agent: &'a Agent,
    pub(in crate::api) today: NaiveDate,
}

/// A name.
#[derive(Serialize)]
pub(in crate::api) struct Name {
    family: String,
    given: String,
    patronymic: String,
}

impl From<PersonName> for Name {
    fn from(name: PersonName) -> Self {
        Self {
            family: name.family,
            given: name.given,
            patronymic: name.patronymic,
        }
    }
}

/// The number of a patient.
pub(in crate::api) fn number_of(key: PatientKey) -> String {
    key.to_string()
}

/// Who a patient is, in short: for lists.
#[derive(Serialize)]
pub(in crate::api) struct PatientInShort {
    number: String,
    name: Name,
    latin: Name,
    birth_date: Option<NaiveDate>,
    sex: Option<Sex>,
    /// The first digit and the last four.
    pin: Option<String>,
    identity: Identity,
}

impl From<&Patient> for PatientInShort {
    fn from(patient: &Patient) -> Self {
        let of = &patient.particulars;
        Self {
            number: number_of(patient.key),
            name: of.name.clone().into(),
            latin: of.latin_name().into(),
            birth_date: of.birth_date,
            sex: of.sex,
            pin: of.pin.as_ref().map(pacs_core::Pin::masked),
            identity: of.identity,
        }
    }
}

/// Somebody who was found.
#[derive(Serialize)]
pub(in crate::api) struct FoundPatient {
    #[serde(flatten)]
    patient: PatientInShort,
    etag: String,
    rank: &'static str,
}

impl From<patients::FoundPatient> for FoundPatient {
    fn from(found: patients::FoundPatient) -> Self {
        Self {
            patient: (&found.patient.value).into(),
            etag: etag(found.patient.revision),
            rank: match found.rank {
                Rank::Similar => "similar",
                Rank::Sounds => "sounds",
                Rank::Begins => "begins",
                Rank::Exact => "exact",
            },
        }
    }
}

#[derive(Serialize)]
struct Card {
    organisation: OrganisationCode,
    number: String,
}

/// Who a patient is.
#[derive(Serialize)]
struct Said {
    name: Name,
    latin: Name,
    /// The Latin name is the holder's own; else it is transliterated.
    is_latin_given: bool,
    birth_date: Option<NaiveDate>,
    sex: Option<Sex>,
    pin: Option<String>,
    former_pins: Vec<String>,
    documents: Vec<String>,
    cards: Vec<Card>,
    citizenship: Option<String>,
    address: Option<String>,
    telephone: Option<String>,
    identity: Identity,
    checked_at: Option<DateTime<FixedOffset>>,
    is_pin_blocked: bool,
    died_on: Option<NaiveDate>,
}

impl Said {
    fn new(of: &Particulars, seer: &Seer<'_>, is_card: bool) -> Self {
        let own = organisations(seer.agent);
        let cards = of.cards.iter();
        let cards = cards.filter(|card| own.contains(&card.organisation));
        let shown = |pin: &pacs_core::Pin| {
            if is_card {
                pin.reveal().to_owned()
            } else {
                pin.masked()
            }
        };
        Self {
            name: of.name.clone().into(),
            latin: of.latin_name().into(),
            is_latin_given: of.latin.is_some(),
            birth_date: of.birth_date,
            sex: of.sex,
            pin: of.pin.as_ref().map(shown),
            former_pins: of.former_pins.iter().map(pacs_core::Pin::masked).collect(),
            documents: of.documents.iter().map(|it| it.reveal()).collect(),
            cards: cards
                .map(|card| Card {
                    organisation: card.organisation,
                    number: card.number.clone(),
                })
                .collect(),
            citizenship: of.citizenship.clone(),
            address: of.address.clone(),
            telephone: of.telephone.clone(),
            identity: of.identity,
            checked_at: of.checked_at,
            is_pin_blocked: of.is_pin_blocked,
            died_on: of.died_on,
        }
    }
}

/// The card of a patient.
#[derive(Serialize)]
pub(in crate::api) struct ShownPatient {
    number: String,
    #[serde(flatten)]
    said: Said,
    registered_at: DateTime<FixedOffset>,
    registered_by: String,
    registered_for: Option<OrganisationCode>,
    /// Numbers that went into this one.
    aliases: Vec<String>,
    /// What is odd, by the codes of the rules of PINs.
    warnings: Vec<&'static str>,
}

impl ShownPatient {
    pub(super) fn new(patient: &Stored<Patient>, seer: &Seer<'_>) -> Self {
        let patient = &patient.value;
        Self {
            number: number_of(patient.key),
            said: Said::new(&patient.particulars, seer, true),
            registered_at: patient.registered_at,
            registered_by: patient.registered_by.clone(),
            registered_for: patient.registered_for,
            aliases: patient.aliases.iter().copied().map(number_of).collect(),
            warnings: warnings(&patient.particulars, seer.today),
        }
    }

    pub(super) fn number(&self) -> String {
        self.number.clone()
    }
}

/// What is odd about somebody.
pub(in crate::api) fn warnings(of: &Particulars, today: NaiveDate) -> Vec<&'static str> {
    let mut warnings = Vec::new();
    if let Some(pin) = &of.pin {
        warnings.extend(pin.warnings(today, None).into_iter().map(PinWarning::code));
        let is_other_day = of
            .birth_date
            .is_some_and(|day| day != *pin.birth_date().reveal());
        let is_other_sex = of.sex.is_some_and(|sex| sex != *pin.sex().reveal());
        if is_other_day || is_other_sex || of.identity == Identity::Mismatch {
            warnings.push(PinWarning::RegisterMismatch.code());
        }
    }
    if of.is_pin_blocked {
        warnings.push(PinWarning::Blocked.code());
    }
    if of.died_on.is_some() {
        warnings.push(PinWarning::Deceased.code());
    }
    warnings
}

/// One change of a patient.
#[derive(Serialize)]
pub(in crate::api) struct Change {
    at: DateTime<FixedOffset>,
    by: String,
    what: &'static str,
    /// The patient who went into this one or came out of it, or the other way round.
    other: Option<String>,
    reason: Option<String>,
    /// What was said before.
    before: Option<Said>,
}

impl Change {
    pub(super) fn new(entry: HistoryEntry, seer: &Seer<'_>) -> Self {
        let (what, other) = match entry.what {
            What::Absorbed(other) => ("absorbed", Some(other)),
            What::Changed => ("changed", None),
            What::Merged(other) => ("merged", Some(other)),
            What::Registered => ("registered", None),
            What::Released(other) => ("released", Some(other)),
            What::Unmerged(other) => ("unmerged", Some(other)),
        };
        Self {
            at: entry.at,
            by: entry.by,
            what,
            other: other.map(number_of),
            reason: entry.reason.map(|reason| reason.reveal().to_owned()),
            before: entry.before.map(|before| Said::new(&before, seer, false)),
        }
    }
}
