//! What the members of an answer say, whatever carried them.

use super::text::{day, is_so, line, sex};
use super::{Found, Outcome, Question, RegisteredDocument, RegisteredPerson, Service};
use crate::patient::Sex;
use crate::{Phi, Pin};
use chrono::NaiveDate;
use std::collections::BTreeMap;
use std::fmt;

/// Members of one answer.
const MEMBERS_MAX: usize = 2_000;

/// PINs of one answer.
const PINS_MAX: usize = 100;

/// Names and values of an answer, in their order. `Debug` does not show them.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Members(Vec<(String, String)>);

/// There are more members than an answer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an answer with more members than answers have")]
pub struct TooManyMembers;

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[patient data]")
    }
}

impl Members {
    /// Adds one. Those that nobody here needs are dropped: what nation somebody is of, whether
    /// they are married, what they look like.
    ///
    /// # Errors
    /// [`TooManyMembers`].
    pub fn add(&mut self, name: &str, value: &str) -> Result<(), TooManyMembers> {
        let lower = name.to_ascii_lowercase();
        let is_dropped = ["nationality", "maritalstatus", "photo"]
            .iter()
            .any(|dropped| lower.contains(dropped));
        if is_dropped {
            return Ok(());
        }
        if self.0.len() >= MEMBERS_MAX {
            return Err(TooManyMembers);
        }
        self.0.push((name.to_owned(), value.trim().to_owned()));
        Ok(())
    }

    /// The first member of one of these names that says something.
    #[must_use]
    pub fn first(&self, names: &[&str]) -> Option<&str> {
        let mut said = self.0.iter().filter(|(_, value)| !value.is_empty());
        let found = said.find(|(name, _)| names.contains(&name.as_str()));
        found.map(|(_, value)| value.as_str())
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let said = self.0.iter().filter(move |(of, _)| of == name);
        said.map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }
}

/// What an answer to `question` says. `sex_codes` are the words of the register for the sexes.
#[must_use]
pub fn of_members(
    question: &Question,
    members: &Members,
    sex_codes: &BTreeMap<String, Sex>,
) -> Outcome {
    if members.first(&["error"]).is_some_and(is_so) {
        return Outcome::fault("ERROR");
    }
    let told = members.first(&["pin"]);
    // Of the address the register need not repeat whose it is.
    let is_other = told.is_some_and(|told| {
        let asked = question.pin().map(Pin::reveal);
        asked.is_some_and(|asked| asked != told)
    });
    if is_other {
        return Outcome::fault("OTHER_PIN");
    }
    match question.service() {
        Service::Address => match members.first(&["address"]) {
            Some(address) => Outcome::Found(Found::Address(Phi::new(line(address)))),
            None => Outcome::NotFound,
        },
        Service::Person | Service::Passport => match told {
            Some(_) => person(question, members, sex_codes),
            None => Outcome::NotFound,
        },
        Service::Foreigner => person(question, members, sex_codes),
        Service::Pins => pins(members),
    }
}

fn pins(members: &Members) -> Outcome {
    let mut pins = Vec::new();
    for text in members.all("pin") {
        let Ok(pin) = Pin::try_from(text.to_owned()) else {
            return Outcome::fault("BAD_PIN");
        };
        if pins.len() >= PINS_MAX {
            return Outcome::fault("TOO_MUCH");
        }
        if !pins.contains(&pin) {
            pins.push(pin);
        }
    }
    if pins.is_empty() {
        return Outcome::NotFound;
    }
    Outcome::Found(Found::Pins(pins))
}

fn person(question: &Question, members: &Members, sex_codes: &BTreeMap<String, Sex>) -> Outcome {
    let text = |names: &[&str]| members.first(names).map(line);
    let Some(family) = text(&["surname"]).filter(|family| !family.is_empty()) else {
        // A foreigner whom nobody knows is an answer without members.
        let is_nobody = question.service() == Service::Foreigner;
        return if is_nobody {
            Outcome::NotFound
        } else {
            Outcome::fault("NO_NAME")
        };
    };
    let born = members.first(&["dateOfBirth", "birthdate"]);
    let Some(birth_date) = born.and_then(day) else {
        return Outcome::fault("BAD_BIRTH_DATE");
    };
    let died = members.first(&["deathDate"]);
    let died_on = died.and_then(day);
    if died.is_some() && died_on.is_none() {
        return Outcome::fault("BAD_DEATH_DATE");
    }
    let sex = members.first(&["gender"]).and_then(|t| sex(t, sex_codes));
    Outcome::Found(Found::Person(Box::new(RegisteredPerson {
        pin: question.pin().cloned(),
        family,
        given: text(&["name"]).unwrap_or_default(),
        patronymic: text(&["patronymic"]).unwrap_or_default(),
        birth_date,
        sex,
        citizenship: text(&["citizenship"]),
        address: text(&["address", "regAddress"]).or_else(|| parts_of_address(members)),
        died_on,
        is_pin_blocked: members.first(&["pinBlocked"]).is_some_and(is_so),
        document: document(question, members),
    })))
}

/// Of an address that comes in parts.
fn parts_of_address(members: &Members) -> Option<String> {
    let names = [
        "addressRegion",
        "addressLocality",
        "addressStreet",
        "addressHouse",
    ];
    let parts = names.iter().filter_map(|name| members.first(&[name]));
    let parts: Vec<String> = parts.map(line).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn document(question: &Question, members: &Members) -> Option<RegisteredDocument> {
    let date = |names: &[&str]| -> Option<NaiveDate> { members.first(names).and_then(day) };
    let number = match question {
        Question::Passport { series, number, .. } => format!("{series}{number}"),
        Question::Foreigner { document, .. } => document.clone(),
        Question::Address(_) | Question::Person(_) | Question::Pins { .. } => return None,
    };
    Some(RegisteredDocument {
        number,
        issued_on: date(&["issuedDate", "docDateIssue"]),
        expires_on: date(&["expiredDate", "docDateExpiration"]),
        authority: members.first(&["passportAuthority"]).map(line),
        is_void: members.first(&["voidStatus"]).is_some_and(is_so),
    })
}
