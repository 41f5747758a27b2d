//! Finding patients: by an identifier, or by a name however it is spelled.

use super::super::batch::Batch;
use super::super::commit::agent_event;
use super::super::{Moment, Refusal, Registry, RegistryError, Stored};
use super::document::{Identity, Particulars, Patient};
use super::key_of;
use super::register::parse_key;
use crate::limits::{PATIENT_CANDIDATES_MAX, PATIENT_QUERY_CHARS_MAX, PATIENT_WORDS_MAX};
use crate::records::Kind;

use chrono::NaiveDate;
use pacs_core::audit::{Act, masked};
use pacs_core::fold::{k1, k2};
use pacs_core::patient::{Identifier, PatientKey};
use pacs_core::role::{Licence, duty::PatientSearch};
use pacs_core::{OrganisationCode, Phi};
use std::collections::BTreeSet;
use std::fmt;

/// An identifier points to its patient.
pub(super) const IDENTIFIER: Kind = Kind::new("patient-identifier");
/// A word of a name within its script, and the patient.
const WORD: Kind = Kind::new("patient-word");
/// A word of a name as it sounds, and the patient.
const SOUND: Kind = Kind::new("patient-sound");
/// A date of birth and the patient.
const BORN: Kind = Kind::new("patient-born");

/// Between the parts of a key: no name has it.
const BETWEEN: char = '\u{1f}';

/// Words that are part of many names, as they sound: уулу, кызы, оглы, угли.
const STOP_WORDS: [&str; 4] = ["ulu", "kizi", "ogli", "ugli"];

/// What is looked for. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub enum PatientQuery {
    /// Whoever has this identifier.
    Identifier(Identifier),
    /// Whoever is called so, in any script, with the words in any order and cut short.
    Name {
        /// The words.
        words: String,
        /// Date of birth, where it is known.
        birth_date: Option<NaiveDate>,
    },
}

impl PatientQuery {
    /// What somebody of `organisation` typed: an identifier, or a name.
    #[must_use]
    pub fn parse(
        text: &str,
        birth_date: Option<NaiveDate>,
        organisation: OrganisationCode,
    ) -> Self {
        let has_digits = text.chars().any(|c| c.is_ascii_digit());
        match Identifier::of_patient_id(text, organisation) {
            Some(identifier) if has_digits => Self::Identifier(identifier),
            _ => Self::Name {
                words: text.to_owned(),
                birth_date,
            },
        }
    }
}

impl fmt::Debug for PatientQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[patient data]")
    }
}

/// How well a patient fits what was looked for; the last is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Many letters of the names are the same.
    Similar,
    /// Every word sounds like one of the name.
    Sounds,
    /// Every word begins one of the name.
    Begins,
    /// Every word is one of the name, or the identifier is theirs.
    Exact,
}

/// A patient who was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundPatient {
    /// The patient.
    pub patient: Stored<Patient>,
    /// How well they fit.
    pub rank: Rank,
}

/// Those who were found, the best first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FoundPatients {
    /// They.
    pub patients: Vec<FoundPatient>,
    /// There are more: ask for more words, or for the date of birth.
    pub has_more: bool,
}

impl Registry {
    /// Looks for patients; those who went into another are found as that one. The audit record has
    /// who asked for what.
    ///
    /// # Errors
    /// [`Refusal::Unfit`] for a name without a word of two letters; [`RegistryError`] otherwise.
    pub async fn find_patients(
        &self,
        licence: &Licence<PatientSearch>,
        query: &PatientQuery,
        count_max: usize,
        at: Moment,
    ) -> Result<FoundPatients, RegistryError> {
        let mut event = agent_event(Act::Queried, licence.agent(), licence.organisation(), at);
        event.object.query = Some(Phi::new(shown(query)));
        self.commit(Batch::default(), event).await?;
        match query {
            PatientQuery::Identifier(identifier) => {
                let owner = self.owner(identifier).await?;
                let patients = owner.map(|patient| FoundPatient {
                    patient,
                    rank: Rank::Exact,
                });
                Ok(FoundPatients {
                    patients: patients.into_iter().collect(),
                    has_more: false,
                })
            }
            PatientQuery::Name { words, birth_date } => {
                let mut found = self.named(words, *birth_date).await?;
                if found.patients.len() > count_max {
                    found.patients.truncate(count_max);
                    found.has_more = true;
                }
                Ok(found)
            }
        }
    }

    async fn named(
        &self,
        text: &str,
        birth_date: Option<NaiveDate>,
    ) -> Result<FoundPatients, RegistryError> {
        if text.chars().nth(PATIENT_QUERY_CHARS_MAX).is_some() {
            return Err(Refusal::Unfit { what: "name" }.into());
        }
        let words = Words::of(text);
        let Some(longest) = words.longest() else {
            return Err(Refusal::Unfit { what: "name" }.into());
        };
        let mut keys = Keys::default();
        if let Some(date) = birth_date {
            keys.add(self.keys(BORN, &format!("{date}{BETWEEN}")).await?);
        } else {
            keys.add(self.keys(WORD, &longest.0).await?);
            let sound = format!("{}{BETWEEN}", longest.1);
            keys.add(self.keys(SOUND, &sound).await?);
        }
        let mut found = FoundPatients {
            patients: Vec::new(),
            has_more: keys.has_more,
        };
        let mut seen = BTreeSet::new();
        for key in keys.found {
            let own = self.read::<Patient>(&key).await?;
            let Some(rank) = words.rank(&own.value.particulars, birth_date.is_some()) else {
                continue;
            };
            let patient = match own.value.merge {
                None => own,
                Some(_) => self.survivor(own.value.key).await?,
            };
            if seen.insert(patient.value.key) {
                found.patients.push(FoundPatient { patient, rank });
            }
        }
        let order = |found: &FoundPatient| {
            let name = found.patient.value.particulars.name.person_name();
            (std::cmp::Reverse(found.rank), name, found.patient.value.key)
        };
        found.patients.sort_by_cached_key(order);
        Ok(found)
    }

    /// Patients who could be the same person, as somebody has to judge: born on one day, with names
    /// that sound the same.
    pub(super) async fn patients_alike(
        &self,
        particulars: &Particulars,
    ) -> Result<Vec<PatientKey>, RegistryError> {
        let Some(date) = particulars.birth_date else {
            return Ok(Vec::new());
        };
        let sound = |particulars: &Particulars| {
            let name = &particulars.name;
            k2(&format!("{} {}", name.family, name.given))
        };
        let mut alike = Vec::new();
        for key in self.keys(BORN, &format!("{date}{BETWEEN}")).await?.0 {
            let other = self.read::<Patient>(&key).await?.value;
            if sound(&other.particulars) == sound(particulars) {
                let survivor = self.survivor(other.key).await?.value.key;
                if !alike.contains(&survivor) {
                    alike.push(survivor);
                }
            }
        }
        Ok(alike)
    }

    /// Keys of the patients whom keys of `kind` with `prefix` point to, and whether there are more.
    async fn keys(&self, kind: Kind, prefix: &str) -> Result<(Vec<String>, bool), RegistryError> {
        let records = self
            .records()
            .list(kind, prefix, None, PATIENT_CANDIDATES_MAX);
        let records = records.await?;
        let has_more = records.len() == PATIENT_CANDIDATES_MAX;
        let key = |value| {
            let key = String::from_utf8(value)
                .map_err(|_| RegistryError::Damaged { what: kind.name() })?;
            parse_key(&key).map(key_of)
        };
        let keys = records.into_iter().map(|record| key(record.value));
        Ok((keys.collect::<Result<_, _>>()?, has_more))
    }
}

#[derive(Default)]
struct Keys {
    found: BTreeSet<String>,
    has_more: bool,
}

impl Keys {
    fn add(&mut self, (keys, has_more): (Vec<String>, bool)) {
        self.found.extend(keys);
        self.has_more |= has_more;
    }
}

/// A word of a name, within its script and as it sounds.
type Word = (String, String);

/// The words of a name.
struct Words(Vec<Word>);

impl Words {
    fn of(text: &str) -> Self {
        let words = k1(text);
        let words = words.split(' ').map(|word| (word.to_owned(), k2(word)));
        let words = words.filter(|(_, sound)| !STOP_WORDS.contains(&sound.as_str()));
        Self(
            words
                .filter(|(word, _)| !word.is_empty())
                .take(PATIENT_WORDS_MAX)
                .collect(),
        )
    }

    /// The longest word: the fewest have it. One letter finds nobody.
    fn longest(&self) -> Option<&Word> {
        let longest = self.0.iter().max_by_key(|(word, _)| word.chars().count());
        longest.filter(|(word, _)| word.chars().nth(1).is_some())
    }

    /// How well the names of `particulars` fit; `None`: not at all.
    fn rank(&self, particulars: &Particulars, takes_similar: bool) -> Option<Rank> {
        let names = particulars.names().join(" ");
        let of_name = Self::of(&names).0;
        let all = |fits: &dyn Fn(&Word, &Word) -> bool| {
            let has = |word: &Word| of_name.iter().any(|own| fits(word, own));
            self.0.iter().all(has)
        };
        if all(&|word, own| word.0 == own.0) {
            return Some(Rank::Exact);
        }
        if all(&|word, own| own.0.starts_with(&word.0)) {
            return Some(Rank::Begins);
        }
        let sounds = |word: &Word, own: &Word| own.0.starts_with(&word.0) || word.1 == own.1;
        if all(&sounds) {
            return Some(Rank::Sounds);
        }
        let text = |words: &[Word]| -> String {
            let sounds: BTreeSet<&str> = words.iter().map(|word| word.1.as_str()).collect();
            sounds.into_iter().collect::<Vec<_>>().join(" ")
        };
        let is_similar = takes_similar && likeness(&text(&self.0), &text(&of_name)) >= 50;
        is_similar.then_some(Rank::Similar)
    }
}

/// How many of the groups of three letters in `a` are in `b`, of a hundred: a patronymic is often
/// left out.
fn likeness(a: &str, b: &str) -> usize {
    let groups = |text: &str| -> BTreeSet<Vec<char>> {
        let mut groups = BTreeSet::new();
        for word in text.split(' ') {
            let letters: Vec<char> = format!("  {word} ").chars().collect();
            groups.extend(letters.windows(3).map(<[char]>::to_vec));
        }
        groups
    };
    let (a, b) = (groups(a), groups(b));
    let shared = a.intersection(&b).count();
    shared.saturating_mul(100).checked_div(a.len()).unwrap_or(0)
}

/// The keys by which a patient is found.
pub(super) fn search_keys(patient: &Patient) -> Vec<(Kind, String)> {
    let particulars = &patient.particulars;
    let key = key_of(patient.key);
    let mut keys: BTreeSet<(Kind, String)> = BTreeSet::new();
    for identifier in particulars.identifiers() {
        keys.insert((IDENTIFIER, identifier_key(&identifier)));
    }
    for (word, sound) in Words::of(&particulars.names().join(" ")).0 {
        keys.insert((WORD, format!("{word}{BETWEEN}{key}")));
        if !sound.is_empty() {
            keys.insert((SOUND, format!("{sound}{BETWEEN}{key}")));
        }
    }
    // Of those whom nobody knows there are many of one name, and none is another's double.
    if let Some(date) = particulars.birth_date
        && particulars.identity != Identity::Unidentified
    {
        keys.insert((BORN, format!("{date}{BETWEEN}{key}")));
    }
    keys.extend(super::identity::key(patient));
    keys.into_iter().collect()
}

/// The key by which the owner of an identifier is found.
pub(super) fn identifier_key(identifier: &Identifier) -> String {
    let number = match identifier {
        Identifier::Card { number, .. } => number.to_string(),
        Identifier::Document(document) => document.reveal(),
        Identifier::Key(key) => key_of(*key),
        Identifier::Pin(pin) => pin.reveal().to_owned(),
    };
    format!("{}{BETWEEN}{number}", identifier.issuer())
}

/// The query as the audit record keeps it.
fn shown(query: &PatientQuery) -> String {
    match query {
        PatientQuery::Identifier(Identifier::Pin(pin)) => format!("KG-PIN {}", pin.masked()),
        PatientQuery::Identifier(identifier) => identifier_key(identifier).replace(BETWEEN, " "),
        PatientQuery::Name { words, birth_date } => match birth_date {
            Some(date) => masked(&format!("{words} {date}")),
            None => masked(words),
        },
    }
}
