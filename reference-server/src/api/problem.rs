//! Why a request is not done: a problem (RFC 9457) with a code for programs and a key for people.

pub(super) mod codes;
mod registry;

use crate::accounts::Refused;
use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pacs_core::account::password::PasswordError;
use serde_json::{Map, Value, json};

/// Seconds after which a request is tried again that was refused because others do the same.
const BUSY_WAIT_S: u64 = 5;

/// A kind of refusal. Its code never changes its meaning.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// The status of HTTP.
    pub status: u16,
    /// For programs.
    pub code: &'static str,
    /// For people: a key of the glossary.
    pub key: &'static str,
    /// For whoever reads logs.
    pub detail: &'static str,
}

/// Why a request is not done.
#[derive(Debug, Clone)]
pub enum Problem {
    /// The body is no JSON, or not what it must be.
    BadBody,
    /// It comes from a page of another place, or without what shows that it does not.
    CrossSite,
    /// It is not of the form that is asked for.
    Malformed,
    /// Accounts say no.
    Refused(Refused),
    /// One of the codes of a family.
    Told(Told),
    /// The body is too long, or takes too long.
    TooLarge,
    /// The body is not JSON.
    UnsupportedMediaType,
}

/// A code, with what programs need to go on.
#[derive(Debug, Clone)]
pub struct Told {
    code: &'static Code,
    members: Option<Box<Map<String, Value>>>,
}

impl Code {
    /// The problem of this code.
    #[must_use]
    pub const fn problem(&'static self) -> Problem {
        Problem::Told(Told {
            code: self,
            members: None,
        })
    }

    /// The same with a member beside those of RFC 9457. It goes to whoever asks, and to no log.
    #[must_use]
    pub fn with(&'static self, name: &str, value: impl Into<Value>) -> Problem {
        let members = Map::from_iter([(name.to_owned(), value.into())]);
        Problem::Told(Told {
            code: self,
            members: Some(Box::new(members)),
        })
    }
}

impl Problem {
    /// The code that it has.
    pub(super) const fn code(&self) -> &'static Code {
        match self {
            Self::BadBody => &codes::BAD_BODY,
            Self::CrossSite => &codes::CROSS_SITE,
            Self::Malformed => &codes::MALFORMED,
            Self::Refused(refused) => of_accounts(*refused),
            Self::Told(told) => told.code,
            Self::TooLarge => &codes::TOO_LARGE,
            Self::UnsupportedMediaType => &codes::JSON_NEEDED,
        }
    }

    /// A member beside those of RFC 9457 that is text.
    pub(super) fn member(&self, name: &str) -> Option<&str> {
        let Self::Told(told) = self else {
            return None;
        };
        told.members.as_ref()?.get(name)?.as_str()
    }

    fn detail(&self) -> String {
        if let Self::Refused(refused) = self {
            refused.to_string()
        } else {
            self.code().detail.to_owned()
        }
    }

    /// How long whoever asks has to wait.
    const fn wait_s(&self) -> Option<u64> {
        if let Self::Refused(Refused::Wait { seconds }) = self {
            Some(*seconds)
        } else if self.code().status == 503 {
            Some(BUSY_WAIT_S)
        } else {
            None
        }
    }
}

/// The code of what accounts refuse.
const fn of_accounts(refused: Refused) -> &'static Code {
    match refused {
        Refused::Busy => &codes::BUSY,
        Refused::CodeNeeded => &codes::CODE_NEEDED,
        Refused::Explanation(_) => &codes::EXPLANATION,
        Refused::Full => &codes::FULL,
        Refused::Internal => &codes::INTERNAL,
        Refused::NotFound => &codes::NOT_FOUND,
        Refused::NotLinked => &codes::NOT_LINKED,
        Refused::NotPermitted => &codes::NOT_PERMITTED,
        Refused::NotSignedIn => &codes::NOT_SIGNED_IN,
        Refused::Password(error) => match error {
            PasswordError::Guessable => &codes::PASSWORD_GUESSABLE,
            PasswordError::TooLong => &codes::PASSWORD_TOO_LONG,
            PasswordError::TooShort { .. } => &codes::PASSWORD_TOO_SHORT,
            _ => &codes::PASSWORD_REFUSED,
        },
        Refused::PasswordMustChange => &codes::PASSWORD_MUST_CHANGE,
        Refused::SetUpOver => &codes::SET_UP_OVER,
        Refused::Taken => &codes::TAKEN,
        Refused::TooMany => &codes::REFUSED,
        Refused::Wait { .. } => &codes::WAIT,
        Refused::WrongCredentials => &codes::WRONG_CREDENTIALS,
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<&'static Code> for Problem {
    fn from(code: &'static Code) -> Self {
        code.problem()
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        // What it found wrong may quote a password.
        match rejection.status() {
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::UnsupportedMediaType,
            StatusCode::PAYLOAD_TOO_LARGE => Self::TooLarge,
            _ => Self::BadBody,
        }
    }
}

impl From<PathRejection> for Problem {
    fn from(_: PathRejection) -> Self {
        Self::Malformed
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let code = self.code();
        let status = StatusCode::from_u16(code.status).unwrap_or_default();
        let mut problem = json!({
            "title": status.canonical_reason().unwrap_or_default(),
            "status": code.status,
            "code": code.code,
            "key": code.key,
            "detail": self.detail(),
        });
        if let Self::Refused(Refused::Password(PasswordError::TooShort { chars_min })) = self {
            problem["chars_min"] = json!(chars_min);
        }
        let wait_s = self.wait_s();
        if let (Self::Told(told), Some(problem)) = (self, problem.as_object_mut()) {
            problem.extend(told.members.map(|members| *members).unwrap_or_default());
        }
        let kind = HeaderValue::from_static("application/problem+json");
        let mut response = (status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, kind);
        if let Some(wait_s) = wait_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait_s));
        }
        response
    }
}

/// The problem of a patient who went into another.
pub(super) fn merged(into: &str) -> Problem {
    registry::MERGED.with("into", into)
}

/// The problem of an examination that somebody else has in work.
pub(super) fn claimed(by: &str) -> Problem {
    registry::CLAIMED.with("by", by)
}

/// Every code that there is.
#[cfg(test)]
pub(super) fn all_codes() -> impl Iterator<Item = &'static Code> {
    let of_families = [
        super::examinations::ALL,
        super::oidc::ALL,
        super::patients::ALL,
        super::register::ALL,
        super::studies::ALL,
        super::unmatched::ALL,
        super::users::ALL,
    ];
    let families = [codes::ALL, registry::ALL].into_iter().chain(of_families);
    families.flatten().copied()
}
