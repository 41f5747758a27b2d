//! States of documents in `ETag` and `If-Match` (RFC 9110 8.8.3, 13.1.1): nobody overwrites unseen
//! what somebody else changed.

use super::problem::codes;
use super::{Api, Problem};
use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pacs_store::registry::Revision;
use serde::Serialize;

/// A state as `ETag` has it. Lists have it with each of their entries, as `etag`.
pub(super) fn etag(revision: Revision) -> String {
    format!("\"{:x}\"", revision.0)
}

/// The state that a text names as [`etag`] writes it, and not otherwise.
pub(super) fn revision(text: &str) -> Option<Revision> {
    let digits = text.strip_prefix('"')?.strip_suffix('"')?;
    let revision = Revision(u64::from_str_radix(digits, 16).ok()?);
    (etag(revision) == text).then_some(revision)
}

/// A document, and the state it is in.
pub(super) struct Tagged<T>(pub(super) StatusCode, pub(super) Revision, pub(super) T);

impl<T: Serialize> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let Self(status, revision, document) = self;
        (status, [(header::ETAG, etag(revision))], Json(document)).into_response()
    }
}

/// The state that a change is based on. Whoever names none is told to; one that no state of a
/// document has, is none that this document is in.
pub(super) struct Based(pub(super) Revision);

impl FromRequestParts<Api> for Based {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        let named = named(&parts.headers)?;
        named
            .map(Self)
            .ok_or_else(|| (&codes::IF_MATCH_NEEDED).into())
    }
}

/// The same, where the rules of what is changed forbid by themselves what is too late.
pub(super) struct PerhapsBased(pub(super) Option<Revision>);

impl FromRequestParts<Api> for PerhapsBased {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        named(&parts.headers).map(Self)
    }
}

fn named(headers: &HeaderMap) -> Result<Option<Revision>, Problem> {
    let mut named = headers.get_all(header::IF_MATCH).iter();
    let (first, second) = (named.next(), named.next());
    let Some(first) = first else {
        return Ok(None);
    };
    let text = first.to_str().unwrap_or_default().trim();
    if text == "*" {
        // Any state would do: that is what nobody has seen.
        return Ok(None);
    }
    match (revision(text), second) {
        (Some(revision), None) => Ok(Some(revision)),
        _ => Err((&codes::STALE).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn read(of: &[&str]) -> Result<Option<Revision>, u16> {
        let mut headers = HeaderMap::new();
        for value in of {
            headers.append(header::IF_MATCH, HeaderValue::from_str(value).unwrap());
        }
        named(&headers).map_err(|problem| problem.into_response().status().as_u16())
    }

    #[test]
    fn a_state_is_read_as_it_was_written_and_nothing_else_is_one() {
        for revision in [0, 1, 0xabc, u64::MAX] {
            assert_eq!(
                read(&[&etag(Revision(revision))]),
                Ok(Some(Revision(revision)))
            );
        }
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["*"]), Ok(None));
        for other in [
            "1",
            "\"\"",
            "W/\"1\"",
            "\"01\"",
            "\"+1\"",
            "\"1\", \"2\"",
            "\"A\"",
        ] {
            assert_eq!(read(&[other]), Err(412), "{other}");
        }
        assert_eq!(read(&["\"1\"", "\"2\""]), Err(412));
    }
}
