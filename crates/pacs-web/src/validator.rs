//! What a representation is known by (RFC 9110 8.8.3), and the answer to whoever has it already.

use crate::error::Failure;
use crate::retrieve::guarded;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pacs_store::Digester;

/// The tag of a representation that is made of these parts and of nothing else, byte for byte.
/// `form` changes with the way in which it is made.
pub(crate) fn strong(form: &str, parts: &[&[u8]]) -> String {
    let mut digester = Digester::new();
    for part in std::iter::once(&form.as_bytes()).chain(parts) {
        // With their lengths, so that no two lists of parts are the same bytes.
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        digester.update(&length.to_le_bytes());
        digester.update(part);
    }
    let digest = format!("{:?}", digester.finish());
    format!("\"{}\"", digest.get(..32).unwrap_or(&digest))
}

/// The same, of one that says the same each time, with other bytes between its parts.
pub(crate) fn weak(form: &str, parts: &[&[u8]]) -> String {
    format!("W/{}", strong(form, parts))
}

/// Whether If-None-Match names the tag (RFC 9110 13.1.2).
pub(crate) fn has_already(headers: &HeaderMap, tag: &str) -> bool {
    named(headers).any(|theirs| theirs == "*" || is_same(theirs, tag))
}

/// Whether it names the very tag: for what may not be there.
pub(crate) fn knows(headers: &HeaderMap, tag: &str) -> bool {
    named(headers).any(|theirs| is_same(theirs, tag))
}

fn named(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(header::IF_NONE_MATCH).iter();
    let tags = lines.flat_map(|line| line.to_str().unwrap_or_default().split(','));
    tags.map(str::trim)
}

/// Compared as weak ones.
fn is_same(theirs: &str, tag: &str) -> bool {
    theirs.trim_start_matches("W/") == tag.trim_start_matches("W/")
}

/// The answer to whoever has it.
///
/// # Errors
/// As [`tagged`].
pub(crate) fn not_modified(tag: &str) -> Result<Response, Failure> {
    tagged(guarded(StatusCode::NOT_MODIFIED.into_response()), tag)
}

/// `response`, which is known by `tag`.
///
/// # Errors
/// [`Failure::Internal`]: no tag of ours is none.
pub(crate) fn tagged(mut response: Response, tag: &str) -> Result<Response, Failure> {
    let tag = HeaderValue::from_str(tag).map_err(|_| Failure::Internal)?;
    response.headers_mut().insert(header::ETAG, tag);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_known_weak_or_strong_alone_or_among_others() {
        let tag = strong("a", &[b"bc"]);
        assert_ne!(tag, strong("a", &[b"b", b"c"]));
        for (told, is_known) in [
            (tag.clone(), true),
            (format!("\"x\", W/{tag}"), true),
            (weak("a", &[b"bc"]), true),
            ("\"x\"".to_owned(), false),
            (String::new(), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, told.parse().unwrap());
            assert_eq!(has_already(&headers, &tag), is_known, "{told}");
            assert_eq!(knows(&headers, &tag), is_known, "{told}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static("*"));
        assert!(has_already(&headers, &tag) && !knows(&headers, &tag));
        assert!(!has_already(&HeaderMap::new(), &tag));
    }
}
