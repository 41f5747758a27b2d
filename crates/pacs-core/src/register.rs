//! The register of citizens, asked who somebody is: questions, answers and how asking can end.
//!
//! [`soap`] writes questions and reads answers as X-Road message protocol 4.0 has them, [`answer`]
//! makes an answer of the members that any way of asking brings, [`breaker`] says when a register
//! that is down is left in peace. All of it is pure: who carries the bytes stands elsewhere.
//!
//! What the register tells and nobody here needs is dropped where it is read: nationality, family
//! status, photographs. A text of the register reaches no log: of a fault only its code is kept,
//! and only where that looks like one.

pub mod answer;
pub mod breaker;
mod compare;
mod question;
pub mod soap;
#[cfg(test)]
mod tests;
mod text;
pub mod xroad;

pub use compare::{Agreement, Declared};
pub use question::{Question, Service};

use crate::patient::Sex;
use crate::{Phi, Pin};
use chrono::NaiveDate;
use std::fmt;

/// What the register knows of somebody. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct RegisteredPerson {
    /// The PIN; `None` of a foreigner who was found by a document.
    pub pin: Option<Pin>,
    /// The family name.
    pub family: String,
    /// The given name.
    pub given: String,
    /// The patronymic; empty where there is none.
    pub patronymic: String,
    /// Date of birth.
    pub birth_date: NaiveDate,
    /// Sex, where what the register says is understood.
    pub sex: Option<Sex>,
    /// Citizenship, in the words of the register.
    pub citizenship: Option<String>,
    /// Address.
    pub address: Option<String>,
    /// Date of death.
    pub died_on: Option<NaiveDate>,
    /// The PIN is blocked.
    pub is_pin_blocked: bool,
    /// The document that was asked about.
    pub document: Option<RegisteredDocument>,
}

impl fmt::Debug for RegisteredPerson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[patient data]")
    }
}

/// What the register knows of a document. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct RegisteredDocument {
    /// Series and number, as they stand on it.
    pub number: String,
    /// When it was issued.
    pub issued_on: Option<NaiveDate>,
    /// Until when it is good.
    pub expires_on: Option<NaiveDate>,
    /// Who issued it.
    pub authority: Option<String>,
    /// It is void.
    pub is_void: bool,
}

impl fmt::Debug for RegisteredDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[patient data]")
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Where somebody lives.
    Address(Phi<String>),
    /// Somebody.
    Person(Box<RegisteredPerson>),
    /// Those who are called so and were born on that day.
    Pins(Vec<Pin>),
}

/// How asking ended. Exhaustive on purpose: each has a name of its own in interfaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The register, or what stands before it, failed or gave what is no answer.
    Fault(FaultCode),
    /// It knows.
    Found(Found),
    /// It knows nobody of that.
    NotFound,
    /// It does not tell us.
    Refused(FaultCode),
    /// It did not answer in time.
    TimedOut,
    /// It cannot be reached, or is left in peace for a while.
    Unavailable,
}

impl Outcome {
    /// As interfaces and the audit record name it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Fault(_) => "fault",
            Self::Found(_) => "found",
            Self::NotFound => "not_found",
            Self::Refused(_) => "refused",
            Self::TimedOut => "timed_out",
            Self::Unavailable => "unavailable",
        }
    }

    /// Whether the register answered the question: what it said then counts.
    #[must_use]
    pub const fn is_answer(&self) -> bool {
        matches!(self, Self::Found(_) | Self::NotFound)
    }

    /// The code of a fault or a refusal.
    #[must_use]
    pub const fn code(&self) -> Option<&FaultCode> {
        match self {
            Self::Fault(code) | Self::Refused(code) => Some(code),
            Self::Found(_) | Self::NotFound | Self::TimedOut | Self::Unavailable => None,
        }
    }

    /// A fault that is found here: what came is no answer to what was asked.
    #[must_use]
    pub fn fault(code: &'static str) -> Self {
        Self::Fault(FaultCode(code.into()))
    }
}

/// The code of a fault: letters, dots and underscores, so that it can be shown and logged. What a
/// register says beside it may quote what it was asked, and is dropped.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FaultCode(Box<str>);

impl FaultCode {
    /// Characters of a code.
    const CHARS_MAX: usize = 80;

    /// What of `text` is a code: without the prefix of its namespace, or `OTHER`.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let text = text.trim();
        let text = text.rsplit(':').next().unwrap_or(text);
        let is_of_code = |b: u8| b.is_ascii_alphabetic() || matches!(b, b'.' | b'_');
        let is_code = !text.is_empty() && text.len() <= Self::CHARS_MAX;
        if is_code && text.bytes().all(is_of_code) {
            Self(text.into())
        } else {
            Self("OTHER".into())
        }
    }

    /// The code.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FaultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
