//! A register out of a table that a hospital loads: whom it knows, it knows.
//!
//! The file is read whole, and read again when it has changed; where the new one is wrong the old
//! one stays, and the log says which line. It is held in memory, by PIN and by date of birth.

use super::CitizenRegister;
use super::csv::{CsvError, Row, Rows};
use crate::limits::{REGISTER_FILE_BYTES_MAX, REGISTER_FILE_LOOKED_AT_EVERY};
use async_trait::async_trait;
use chrono::NaiveDate;
use pacs_core::fold::k2;
use pacs_core::patient::Sex;
use pacs_core::register::answer::{Members, of_members};
use pacs_core::register::xroad::Circumstances;
use pacs_core::register::{Found, Outcome, Question, RegisteredPerson};
use pacs_core::{Phi, Pin};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

/// Columns of the table; the first four must be there.
const COLUMNS: [&str; 10] = [
    "pin",
    "surname",
    "name",
    "dateOfBirth",
    "patronymic",
    "gender",
    "citizenship",
    "address",
    "deathDate",
    "pinBlocked",
];

/// How many of [`COLUMNS`] must be there.
const COLUMNS_MIN: usize = 4;

/// Why a file is no register. Shows nothing of whom it holds.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterFileError {
    /// A column that there is not.
    #[error("line 1: the columns are {}; {found:?} is none of them", COLUMNS.join(", "))]
    Column {
        /// What stands there.
        found: String,
    },
    /// It is no table.
    #[error(transparent)]
    Csv(#[from] CsvError),
    /// It is not in UTF-8.
    #[error("it is not in UTF-8: save it as \"CSV UTF-8\"")]
    Encoding,
    /// It cannot be read.
    #[error("it cannot be read")]
    File(#[from] io::Error),
    /// A column that must be there.
    #[error("line 1: the column {column:?} is missing, or there twice")]
    Missing {
        /// Which.
        column: &'static str,
    },
    /// A PIN for the second time.
    #[error("line {line}: its PIN stands in the table twice")]
    Twice {
        /// Where.
        line: usize,
    },
    /// It is longer than any.
    #[error("it is longer than {limit_bytes} bytes")]
    TooLong {
        /// The limit.
        limit_bytes: u64,
    },
    /// A line that says nothing of anybody.
    #[error("line {line}: {what}")]
    Line {
        /// Where.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
}

/// Whom the table knows.
#[derive(Debug, Default)]
pub(super) struct People {
    by_pin: HashMap<Pin, RegisteredPerson>,
    by_birth: BTreeMap<NaiveDate, Vec<Pin>>,
}

impl People {
    /// Reads a table.
    pub(super) fn read(text: &str) -> Result<Self, RegisterFileError> {
        let mut rows = Rows::new(text);
        let (_, head) = rows.next()?.unwrap_or_default();
        let columns = columns(&head)?;
        let mut people = Self::default();
        while let Some(row) = rows.next()? {
            let line = row.0;
            let person = person(&columns, &row)?;
            let Some(pin) = person.pin.clone() else {
                continue;
            };
            let same_day = people.by_birth.entry(person.birth_date).or_default();
            same_day.push(pin.clone());
            if people.by_pin.insert(pin, person).is_some() {
                return Err(RegisterFileError::Twice { line });
            }
        }
        Ok(people)
    }

    fn answer(&self, question: &Question) -> Outcome {
        let of = |pin: &Pin| self.by_pin.get(pin);
        match question {
            Question::Person(pin) => match of(pin) {
                Some(person) => Outcome::Found(Found::Person(Box::new(person.clone()))),
                None => Outcome::NotFound,
            },
            Question::Address(pin) => match of(pin).and_then(|person| person.address.clone()) {
                Some(address) => Outcome::Found(Found::Address(Phi::new(address))),
                None => Outcome::NotFound,
            },
            Question::Pins {
                family,
                given,
                birth_date,
                ..
            } => {
                let same_day = self.by_birth.get(birth_date).into_iter().flatten();
                let is_called_so = |pin: &&Pin| {
                    let person = of(pin);
                    person.is_some_and(|person| {
                        k2(&person.family) == k2(family) && k2(&person.given) == k2(given)
                    })
                };
                let pins: Vec<Pin> = same_day.filter(is_called_so).cloned().collect();
                if pins.is_empty() {
                    Outcome::NotFound
                } else {
                    Outcome::Found(Found::Pins(pins))
                }
            }
            Question::Foreigner { .. } | Question::Passport { .. } => Outcome::fault("NO_SERVICE"),
        }
    }
}

/// Which column says what.
fn columns(head: &[String]) -> Result<Vec<&'static str>, RegisterFileError> {
    let mut columns = Vec::new();
    for text in head {
        let known = COLUMNS.iter().find(|of| of.eq_ignore_ascii_case(text));
        let Some(column) = known else {
            // It could be a person, where the line with the columns is missing.
            let is_word = text.len() <= 20 && text.bytes().all(|b| b.is_ascii_alphabetic());
            let found = if is_word {
                text.as_str()
            } else {
                "something else"
            };
            return Err(RegisterFileError::Column {
                found: found.to_owned(),
            });
        };
        if columns.contains(column) {
            return Err(RegisterFileError::Missing { column });
        }
        columns.push(*column);
    }
    let mut needed = COLUMNS.iter().take(COLUMNS_MIN);
    match needed.find(|column| !columns.contains(*column)) {
        Some(column) => Err(RegisterFileError::Missing { column }),
        None => Ok(columns),
    }
}

fn person(columns: &[&str], (line, fields): &Row) -> Result<RegisteredPerson, RegisterFileError> {
    let wrong = |what| RegisterFileError::Line { line: *line, what };
    if fields.len() > columns.len() {
        return Err(wrong("it has more fields than there are columns"));
    }
    let mut members = Members::default();
    for (name, value) in columns.iter().zip(fields) {
        members
            .add(name, value)
            .map_err(|_| wrong("it has too many fields"))?;
    }
    let pin = members.first(&["pin"]).unwrap_or_default().to_owned();
    let pin = Pin::try_from(pin).map_err(|_| wrong("its PIN is none"))?;
    // Spaces and hyphens in it are passed over, as where it is typed.
    let mut said = Members::default();
    for (name, value) in columns.iter().zip(fields) {
        let value = if *name == "pin" { pin.reveal() } else { value };
        said.add(name, value)
            .map_err(|_| wrong("it has too many fields"))?;
    }
    let question = Question::Person(pin);
    match of_members(&question, &said, &BTreeMap::<String, Sex>::new()) {
        Outcome::Found(Found::Person(person)) => Ok(*person),
        Outcome::Fault(code) => Err(wrong(match code.as_str() {
            "BAD_BIRTH_DATE" => "dateOfBirth is no day, as in 1990-01-31",
            "BAD_DEATH_DATE" => "deathDate is no day, as in 1990-01-31",
            "NO_NAME" => "surname is missing",
            _ => "it cannot be understood",
        })),
        Outcome::Found(_)
        | Outcome::NotFound
        | Outcome::Refused(_)
        | Outcome::TimedOut
        | Outcome::Unavailable => Err(wrong("it cannot be understood")),
    }
}

/// A register out of a file.
#[derive(Debug)]
pub struct FileRegister {
    path: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    people: Option<Arc<People>>,
    /// Of the file that was read last: when it was changed, and how long it is.
    seen: Option<(SystemTime, u64)>,
    looked_at: Option<Instant>,
}

impl FileRegister {
    /// The one in `path`, which is read when somebody asks.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            state: Arc::default(),
        }
    }

    /// Reads the file, where it has changed and was not looked at just now.
    async fn people(&self) -> Option<Arc<People>> {
        let (path, state) = (self.path.clone(), Arc::clone(&self.state));
        let read = tokio::task::spawn_blocking(move || refreshed(&path, &state));
        read.await.ok().flatten()
    }
}

/// Reads a table from a file.
fn read_file(path: &Path) -> Result<People, RegisterFileError> {
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    file.take(REGISTER_FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > REGISTER_FILE_BYTES_MAX {
        return Err(RegisterFileError::TooLong {
            limit_bytes: REGISTER_FILE_BYTES_MAX,
        });
    }
    let text = String::from_utf8(bytes).map_err(|_| RegisterFileError::Encoding)?;
    People::read(&text)
}

/// Whoever asks while the file is read waits for it: it is one answer for all.
fn refreshed(path: &Path, state: &Mutex<State>) -> Option<Arc<People>> {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let is_fresh = state
        .looked_at
        .is_some_and(|at| at.elapsed() < REGISTER_FILE_LOOKED_AT_EVERY);
    if is_fresh {
        return state.people.clone();
    }
    state.looked_at = Some(Instant::now());
    let seen = path
        .metadata()
        .and_then(|of| Ok((of.modified()?, of.len())));
    if state.people.is_some() && seen.as_ref().ok() == state.seen.as_ref() {
        return state.people.clone();
    }
    match read_file(path) {
        Ok(people) => {
            tracing::info!(
                file = %path.display(),
                people = people.by_pin.len(),
                "the file of the citizen register was read"
            );
            state.people = Some(Arc::new(people));
            state.seen = seen.ok();
        }
        Err(error) => {
            let error = crate::tool::failure::chain(&error);
            tracing::error!(
                file = %path.display(),
                error,
                is_old_kept = state.people.is_some(),
                "the file of the citizen register is of no use"
            );
        }
    }
    state.people.clone()
}

#[async_trait]
impl CitizenRegister for FileRegister {
    async fn ask(&self, question: &Question, _circumstances: &Circumstances) -> Outcome {
        match self.people().await {
            Some(people) => people.answer(question),
            None => Outcome::Unavailable,
        }
    }
}
