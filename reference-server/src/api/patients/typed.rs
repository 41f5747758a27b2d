//! What somebody types of a patient, as particulars.

use super::{PIN_CHANGE_NEEDED, PIN_INVALID};
use crate::api::Problem;
use crate::api::guard::organisations;
use crate::api::problem::codes;
use chrono::NaiveDate;
use pacs_core::examination::Reason;
use pacs_core::patient::{Document, Sex};
use pacs_core::role::Agent;
use pacs_core::{OrganisationCode, Pin};
use pacs_store::registry::patients::{Alike, Card, Identity, Particulars, PersonName};
use serde::Deserialize;

/// A name.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct TypedName {
    pub(in crate::api) family: String,
    #[serde(default)]
    pub(in crate::api) given: String,
    #[serde(default)]
    pub(in crate::api) patronymic: String,
}

impl From<TypedName> for PersonName {
    fn from(typed: TypedName) -> Self {
        Self {
            family: typed.family,
            given: typed.given,
            patronymic: typed.patronymic,
        }
    }
}

/// The number of a card of a hospital.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct TypedCard {
    organisation: OrganisationCode,
    number: String,
}

/// What is said of a patient.
#[derive(Deserialize, Clone)]
struct Said {
    name: TypedName,
    #[serde(default)]
    latin: Option<TypedName>,
    #[serde(default)]
    birth_date: Option<NaiveDate>,
    #[serde(default)]
    sex: Option<Sex>,
    #[serde(default)]
    pin: Option<String>,
    #[serde(default)]
    documents: Vec<String>,
    #[serde(default)]
    cards: Vec<TypedCard>,
    #[serde(default)]
    citizenship: Option<String>,
    #[serde(default)]
    address: Option<String>,
    #[serde(default)]
    telephone: Option<String>,
}

impl Said {
    fn read(&self, agent: &Agent, today: NaiveDate) -> Result<Particulars, Problem> {
        let pin = match &self.pin {
            None => None,
            Some(text) => {
                let pin = Pin::parse(text, today);
                Some(pin.map_err(|error| PIN_INVALID.with("rule", error.code()))?)
            }
        };
        let documents = self.documents.iter().map(|text| Document::read(text));
        let documents: Result<Vec<_>, _> = documents.collect();
        let own = organisations(agent);
        let mut cards = Vec::new();
        for card in &self.cards {
            // Each hospital gives its own numbers.
            if !own.contains(&card.organisation) {
                return Err((&codes::NOT_PERMITTED).into());
            }
            cards.push(Card {
                organisation: card.organisation,
                number: card.number.clone(),
            });
        }
        let of_pin = pin.as_ref();
        Ok(Particulars {
            name: self.name.clone().into(),
            latin: self.latin.clone().map(PersonName::from),
            birth_date: self
                .birth_date
                .or_else(|| of_pin.map(|pin| *pin.birth_date().reveal())),
            sex: self.sex.or_else(|| of_pin.map(|pin| *pin.sex().reveal())),
            pin,
            documents: documents.map_err(|_| codes::MALFORMED.with("what", "documents"))?,
            cards,
            citizenship: self.citizenship.clone(),
            address: self.address.clone(),
            telephone: self.telephone.clone(),
            ..Particulars::default()
        })
    }
}

macro_rules! typed {
    ($(#[$doc:meta])* $name:ident { $($member:ident: $kind:ty,)* }) => {
        $(#[$doc])*
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(in crate::api) struct $name {
            name: TypedName,
            #[serde(default)]
            latin: Option<TypedName>,
            #[serde(default)]
            birth_date: Option<NaiveDate>,
            #[serde(default)]
            sex: Option<Sex>,
            #[serde(default)]
            pin: Option<String>,
            #[serde(default)]
            documents: Vec<String>,
            #[serde(default)]
            cards: Vec<TypedCard>,
            #[serde(default)]
            citizenship: Option<String>,
            #[serde(default)]
            address: Option<String>,
            #[serde(default)]
            telephone: Option<String>,
            /// For which organisation it is done.
            #[serde(default)]
            pub(super) organisation: Option<OrganisationCode>,
            $(#[serde(default)] $member: $kind,)*
        }

        impl $name {
            fn said(&self) -> Said {
                Said {
                    name: self.name.clone(),
                    latin: self.latin.clone(),
                    birth_date: self.birth_date,
                    sex: self.sex,
                    pin: self.pin.clone(),
                    documents: self.documents.clone(),
                    cards: self.cards.clone(),
                    citizenship: self.citizenship.clone(),
                    address: self.address.clone(),
                    telephone: self.telephone.clone(),
                }
            }
        }
    };
}

typed! {
    /// Somebody who is to be registered.
    NewPatient {
        is_another: bool,
    }
}

typed! {
    /// What is to be said of a patient from now on, whole.
    Correction {
        reason: Option<String>,
        pin_change: Option<PinChange>,
    }
}

/// Why a patient has another PIN.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum PinChange {
    /// It was typed wrongly: it was never theirs.
    Mistyped,
    /// The state gave them another one; the former one stays an identifier.
    Reassigned,
}

impl NewPatient {
    /// What is known of those who sound the same.
    pub(super) const fn alike(&self) -> Alike {
        if self.is_another {
            Alike::IsAnother
        } else {
            Alike::Unknown
        }
    }

    pub(super) fn read(&self, agent: &Agent, today: NaiveDate) -> Result<Particulars, Problem> {
        self.said().read(agent, today)
    }
}

impl Correction {
    /// What is said from now on of somebody of whom `before` was said.
    pub(super) fn read(
        &self,
        agent: &Agent,
        before: &Particulars,
        today: NaiveDate,
    ) -> Result<(Particulars, Option<Reason>), Problem> {
        let mut after = self.said().read(agent, today)?;
        after.former_pins.clone_from(&before.former_pins);
        if let Some(former) = &before.pin
            && after.pin.as_ref() != Some(former)
        {
            match self.pin_change {
                None => return Err((&PIN_CHANGE_NEEDED).into()),
                Some(PinChange::Mistyped) => {}
                Some(PinChange::Reassigned) => after.former_pins.push(former.clone()),
            }
        }
        // Those of other hospitals are not shown, and not taken away.
        let own = organisations(agent);
        let others = before.cards.iter();
        let others = others.filter(|card| !own.contains(&card.organisation));
        after.cards.extend(others.cloned());
        after.checked_at = before.checked_at;
        after.is_pin_blocked = before.is_pin_blocked && after.pin == before.pin;
        after.died_on = before.died_on;
        let is_same_person = after.name == before.name
            && after.birth_date == before.birth_date
            && after.sex == before.sex
            && after.pin == before.pin;
        after.identity = match before.identity {
            Identity::Unidentified => Identity::Unidentified,
            identity if is_same_person => identity,
            Identity::Declared | Identity::Mismatch | Identity::Verified => Identity::Declared,
        };
        let reason = match &self.reason {
            None => None,
            Some(text) => Some(Reason::parse(text).map_err(|_| &codes::REASON_NEEDED)?),
        };
        Ok((after, reason))
    }
}
