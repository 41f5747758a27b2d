//! How X-Road names who asks and who answers, and what belongs to every message.
//!
//! The codes are the configuration's: those of the Kyrgyz deployment are observed in public code,
//! not promised by anybody.

use super::{FaultCode, Outcome, Service};
use crate::patient::Sex;
use std::collections::{BTreeMap, BTreeSet};

/// Characters of one code.
const CODE_CHARS_MAX: usize = 100;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subsystem {
    /// Instance of X-Road.
    pub instance: String,
    /// Class of the member.
    pub class: String,
    /// The member.
    pub member: String,
    /// Its subsystem.
    pub subsystem: String,
}

impl Subsystem {
    /// The codes, from the instance to the subsystem.
    #[must_use]
    pub fn codes(&self) -> [&str; 4] {
        [&self.instance, &self.class, &self.member, &self.subsystem]
    }
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceCodes {
    /// Whose it is.
    pub of: Subsystem,
    /// The service; over SOAP it is the name of an element too.
    pub service: String,
    /// Its version; empty where it has none.
    pub version: String,
}

/// The set-up of one register behind X-Road.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XRoad {
    /// Who asks.
    pub client: Subsystem,
    /// The services that may be asked; the others are not.
    pub services: BTreeMap<Service, ServiceCodes>,
    /// Namespace of the elements of the services (SOAP).
    pub producer_namespace: String,
    /// What of what the register says of the sex means which, where [`Sex::of_word`] does not know.
    pub sex_codes: BTreeMap<String, Sex>,
    /// Codes of faults that mean: there is nobody.
    pub not_found_codes: BTreeSet<String>,
}

/// What is said of one message beside the question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circumstances {
    /// The id of the message, which the answer has to repeat.
    pub message_id: String,
    /// Who asks: the code of the organisation and the login. It stands in the log of the register.
    pub user_id: String,
    /// What for: the ID of an examination, or a word.
    pub issue: String,
}

/// Whether `text` can be a code of X-Road: nothing that separates codes, and nothing unseen.
#[must_use]
pub fn is_code(text: &str) -> bool {
    let is_apart = |c: char| c.is_control() || c.is_whitespace() || "/\\:;%\"<>&".contains(c);
    !text.is_empty() && text.chars().nth(CODE_CHARS_MAX).is_none() && !text.contains(is_apart)
}

/// Whether `text` can be the code of a service over SOAP, where it names an element.
#[must_use]
pub fn is_element_name(text: &str) -> bool {
    let is_begun = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let is_of_name = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    is_begun && text.len() <= CODE_CHARS_MAX && text.bytes().all(is_of_name)
}

/// What a fault of X-Road means: its code says which of the parties failed.
#[must_use]
pub fn of_fault(code: &str, not_found_codes: &BTreeSet<String>) -> Outcome {
    let code = FaultCode::of(code);
    let text = code.as_str();
    if not_found_codes.contains(text) {
        return Outcome::NotFound;
    }
    let last = text.rsplit('.').next().unwrap_or(text);
    match last {
        "AccessDenied" | "UnknownMember" | "UnknownService" | "ServiceDisabled" => {
            Outcome::Refused(code)
        }
        "NetworkError" | "Timeout" | "HttpError" | "IOError" => Outcome::Unavailable,
        _ => Outcome::Fault(code),
    }
}
