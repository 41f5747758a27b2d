//! Why a request is not done: a problem (RFC 9457) with a code for programs and a key for people.

use crate::accounts::Refused;
use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pacs_core::account::password::PasswordError;
use serde_json::json;

/// Why a request is not done. Exhaustive on purpose: each has a status, a code and a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// The body is no JSON, or not what it must be.
    BadBody,
    /// It comes from a page of another place, or without what shows that it does not.
    CrossSite,
    /// It is not of the form that is asked for.
    Malformed,
    /// Accounts say no.
    Refused(Refused),
    /// The body is too long, or takes too long.
    TooLarge,
    /// The body is not JSON.
    UnsupportedMediaType,
}

impl Problem {
    /// Status, code, and key of the glossary.
    const fn told(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::BadBody => (S::BAD_REQUEST, "BAD_BODY", "error.request"),
            Self::CrossSite => (S::FORBIDDEN, "CROSS_SITE", "error.request"),
            Self::Malformed => (S::UNPROCESSABLE_ENTITY, "MALFORMED", "error.request"),
            Self::TooLarge => (S::PAYLOAD_TOO_LARGE, "TOO_LARGE", "error.request"),
            Self::UnsupportedMediaType => {
                (S::UNSUPPORTED_MEDIA_TYPE, "JSON_NEEDED", "error.request")
            }
            Self::Refused(refused) => match refused {
                Refused::Busy => (S::SERVICE_UNAVAILABLE, "BUSY", "error.busy"),
                Refused::CodeNeeded => (S::UNAUTHORIZED, "CODE_NEEDED", "auth.second_factor"),
                Refused::Explanation(_) => {
                    (S::UNPROCESSABLE_ENTITY, "EXPLANATION", "error.explanation")
                }
                Refused::Internal => (S::INTERNAL_SERVER_ERROR, "INTERNAL", "error.internal"),
                Refused::NotFound => (S::NOT_FOUND, "NOT_FOUND", "error.not_found"),
                Refused::NotPermitted => (S::FORBIDDEN, "NOT_PERMITTED", "error.not_permitted"),
                Refused::NotSignedIn => (S::UNAUTHORIZED, "NOT_SIGNED_IN", "auth.session_expired"),
                Refused::Password(error) => password(error),
                Refused::PasswordMustChange => (
                    S::FORBIDDEN,
                    "PASSWORD_MUST_CHANGE",
                    "auth.password_must_change",
                ),
                Refused::SetUpOver => (S::FORBIDDEN, "SET_UP_OVER", "auth.set_up_over"),
                Refused::Taken => (S::CONFLICT, "TAKEN", "error.taken"),
                Refused::Wait { .. } => (S::TOO_MANY_REQUESTS, "WAIT", "auth.wait"),
                Refused::WrongCredentials => (S::UNAUTHORIZED, "WRONG_CREDENTIALS", "auth.wrong"),
            },
        }
    }

    fn detail(self) -> String {
        match self {
            Self::BadBody => "the body is not what is asked for".to_owned(),
            Self::CrossSite => "the request comes from elsewhere, or without its token".to_owned(),
            Self::Malformed => "a value is not of the form that is asked for".to_owned(),
            Self::Refused(refused) => refused.to_string(),
            Self::TooLarge => "the body is too long, or takes too long".to_owned(),
            Self::UnsupportedMediaType => "a body is application/json".to_owned(),
        }
    }
}

const fn password(error: PasswordError) -> (StatusCode, &'static str, &'static str) {
    let (code, key) = match error {
        PasswordError::Guessable => ("PASSWORD_GUESSABLE", "auth.password_guessable"),
        PasswordError::TooLong => ("PASSWORD_TOO_LONG", "auth.password_too_long"),
        PasswordError::TooShort { .. } => ("PASSWORD_TOO_SHORT", "auth.password_too_short"),
        _ => ("PASSWORD_REFUSED", "auth.password_refused"),
    };
    (StatusCode::UNPROCESSABLE_ENTITY, code, key)
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
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

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, code, key) = self.told();
        let mut problem = json!({
            "title": status.canonical_reason().unwrap_or_default(),
            "status": status.as_u16(),
            "code": code,
            "key": key,
            "detail": self.detail(),
        });
        if let Self::Refused(Refused::Password(PasswordError::TooShort { chars_min })) = self {
            problem["chars_min"] = json!(chars_min);
        }
        let kind = HeaderValue::from_static("application/problem+json");
        let mut response = (status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, kind);
        let wait = if let Self::Refused(Refused::Wait { seconds }) = self {
            Some(seconds)
        } else {
            (self == Self::Refused(Refused::Busy)).then_some(5)
        };
        if let Some(wait) = wait {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait));
        }
        response
    }
}
