//! Why a request is not answered, and the status and the problem document (RFC 9457) that say so.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pacs_store::egress::EgressError;
use pacs_store::index::IndexError;
use pacs_store::{HideError, ReadError};

/// Why a request is not answered. Exhaustive on purpose: each has a status (PS3.18 8.5).
///
/// What a client is told never holds a value of its request that could be patient data.
#[derive(Debug, Clone, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are named for what they hold")]
pub enum Failure {
    /// The request itself is wrong.
    #[error("{detail}")]
    BadRequest { detail: String },
    /// What is asked cannot be done to what is there.
    #[error("{detail}")]
    Conflict { detail: String },
    /// Whoever asks may not do that.
    #[error("not permitted")]
    Forbidden,
    /// It was there, and is kept no longer.
    #[error("the {what} is kept no longer")]
    Gone { what: &'static str },
    /// A fault of ours; the log says which.
    #[error("the server could not do it")]
    Internal,
    /// Nothing that the client accepts can be given.
    #[error("available: {available}")]
    NotAcceptable { available: String },
    /// There is no such thing, or not any more.
    #[error("there is no such {what}")]
    NotFound { what: &'static str },
    /// The resource is there, and is nothing that this can be done to.
    #[error("{detail}")]
    NotAllowed {
        allow: &'static str,
        detail: &'static str,
    },
    /// The standard has it, and this server does not.
    #[error("{detail}")]
    NotImplemented { detail: &'static str },
    /// The range lies behind the end.
    #[error("the range is not within the {length_bytes} bytes there are")]
    RangeNotSatisfiable { length_bytes: u64 },
    /// More was sent, or asked for, than there is room for.
    #[error("{detail}")]
    TooLarge { detail: String },
    /// Too many requests of this client were wrong.
    #[error("too many wrong requests; wait")]
    TooManyRequests,
    /// Nobody known asks.
    #[error("credentials are needed")]
    Unauthorized { challenge: &'static str },
    /// Not now; later.
    #[error("{detail}")]
    Unavailable { detail: &'static str },
    /// What was sent is of a kind that is not understood.
    #[error("{detail}")]
    UnsupportedMediaType { detail: String },
}

impl Failure {
    /// The statuses of all failures.
    pub const STATUSES: [StatusCode; 15] = [
        StatusCode::BAD_REQUEST,
        StatusCode::UNAUTHORIZED,
        StatusCode::FORBIDDEN,
        StatusCode::NOT_FOUND,
        StatusCode::METHOD_NOT_ALLOWED,
        StatusCode::NOT_ACCEPTABLE,
        StatusCode::CONFLICT,
        StatusCode::GONE,
        StatusCode::PAYLOAD_TOO_LARGE,
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        StatusCode::RANGE_NOT_SATISFIABLE,
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::INTERNAL_SERVER_ERROR,
        StatusCode::NOT_IMPLEMENTED,
        StatusCode::SERVICE_UNAVAILABLE,
    ];

    /// A fault of the request.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::BadRequest {
            detail: detail.into(),
        }
    }

    /// Its status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest { .. } => StatusCode::BAD_REQUEST,
            Self::Conflict { .. } => StatusCode::CONFLICT,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Gone { .. } => StatusCode::GONE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotAcceptable { .. } => StatusCode::NOT_ACCEPTABLE,
            Self::NotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotFound { .. } => StatusCode::NOT_FOUND,
            Self::NotImplemented { .. } => StatusCode::NOT_IMPLEMENTED,
            Self::RangeNotSatisfiable { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::Unauthorized { .. } => StatusCode::UNAUTHORIZED,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::UnsupportedMediaType { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = self.status();
        let problem = serde_json::json!({
            "title": status.canonical_reason().unwrap_or_default(),
            "status": status.as_u16(),
            "detail": self.to_string(),
        });
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (status, kind, problem.to_string()).into_response();
        let headers = response.headers_mut();
        match self {
            Self::Unauthorized { challenge } => {
                let challenge = HeaderValue::from_static(challenge);
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            Self::RangeNotSatisfiable { length_bytes } => {
                if let Ok(range) = HeaderValue::from_str(&format!("bytes */{length_bytes}")) {
                    headers.insert(header::CONTENT_RANGE, range);
                }
            }
            Self::TooManyRequests | Self::Unavailable { .. } => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
            }
            Self::NotAllowed { allow, .. } => {
                headers.insert(header::ALLOW, HeaderValue::from_static(allow));
            }
            Self::BadRequest { .. }
            | Self::Conflict { .. }
            | Self::Forbidden
            | Self::Gone { .. }
            | Self::Internal
            | Self::NotAcceptable { .. }
            | Self::NotFound { .. }
            | Self::NotImplemented { .. }
            | Self::TooLarge { .. }
            | Self::UnsupportedMediaType { .. } => {}
        }
        response
    }
}

impl From<IndexError> for Failure {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::TooMany { .. } => Self::TooLarge {
                detail: "too many results: narrow the query, or ask for less at once".to_owned(),
            },
            IndexError::TooLong { .. } => Self::TooLarge {
                detail:
                    "the search would look at too much: narrow it by a name, an ID, a date or a \
                         UID"
                    .to_owned(),
            },
            IndexError::Busy => Self::Unavailable {
                detail: "too many long searches now: narrow the query, or wait",
            },
            IndexError::NoMemory => Self::Unavailable {
                detail: "no memory for the results now: narrow the query, or wait",
            },
            IndexError::Backend { .. } | IndexError::Damaged { .. } | IndexError::Premature => {
                tracing::error!(%error, "the index failed under a web request");
                Self::Internal
            }
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        tracing::error!(%error, "a stored instance cannot be given back");
        Self::Internal
    }
}

impl From<EgressError> for Failure {
    fn from(error: EgressError) -> Self {
        match error {
            EgressError::Convert(error) => crate::walk::WalkError::Correct(error).into(),
            EgressError::Read(error) => error.into(),
            _ => Self::Internal,
        }
    }
}

impl From<HideError> for Failure {
    fn from(error: HideError) -> Self {
        match error {
            HideError::Closed => Self::Unavailable {
                detail: "the archive is closed",
            },
            HideError::Full => Self::Unavailable {
                detail: "the disk is full",
            },
            HideError::ReasonTooLong { .. } => Self::bad_request(error.to_string()),
            HideError::Backend { .. } | _ => {
                tracing::error!(%error, "something could not be hidden");
                Self::Internal
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_a_status_of_the_list_and_every_status_a_failure() {
        let detail = String::new;
        let all = [
            Failure::BadRequest { detail: detail() },
            Failure::Conflict { detail: detail() },
            Failure::Forbidden,
            Failure::Gone { what: "" },
            Failure::Internal,
            Failure::NotAcceptable {
                available: detail(),
            },
            Failure::NotAllowed {
                allow: "GET",
                detail: "",
            },
            Failure::NotFound { what: "" },
            Failure::NotImplemented { detail: "" },
            Failure::RangeNotSatisfiable { length_bytes: 0 },
            Failure::TooLarge { detail: detail() },
            Failure::TooManyRequests,
            Failure::Unauthorized { challenge: "" },
            Failure::Unavailable { detail: "" },
            Failure::UnsupportedMediaType { detail: detail() },
        ];

        let mut statuses: Vec<StatusCode> = all.iter().map(Failure::status).collect();
        statuses.sort();

        assert_eq!(statuses, Failure::STATUSES);
    }
}
