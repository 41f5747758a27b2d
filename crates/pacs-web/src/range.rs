//! `Range` (RFC 9110 14.2): one range of bytes; who asks for several gets all of it, as the
//! standard permits. `If-Range` (13.1.5): of what has changed all is given.

use crate::error::Failure;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use std::ops::Range;

/// The range of `length_bytes` that a request asks for; `None`: all. `tag` is what they are
/// known by, a strong one.
///
/// # Errors
/// [`Failure::RangeNotSatisfiable`].
pub(crate) fn asked(
    headers: &HeaderMap,
    length_bytes: u64,
    tag: &str,
) -> Result<Option<Range<u64>>, Failure> {
    // A date is no validator here: there is no Last-Modified.
    if let Some(known) = headers.get(header::IF_RANGE)
        && known.as_bytes() != tag.as_bytes()
    {
        return Ok(None);
    }
    let Some(text) = headers
        .get(header::RANGE)
        .and_then(|value| value.to_str().ok())
    else {
        return Ok(None);
    };
    let Some((from, to)) = text
        .trim()
        .strip_prefix("bytes=")
        .and_then(|t| t.split_once('-'))
    else {
        return Ok(None);
    };
    let (from, to) = (from.trim(), to.trim());
    let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()) && text.len() < 19;
    if !is_number(from) || !is_number(to) || (from.is_empty() && to.is_empty()) {
        return Ok(None);
    }
    let number = |text: &str| text.parse::<u64>().ok();
    let refused = Failure::RangeNotSatisfiable { length_bytes };
    let range = match (number(from), number(to)) {
        (Some(from), Some(to)) if to < from => return Ok(None),
        (Some(from), to) => {
            let end = to.map_or(length_bytes, |to| to.saturating_add(1).min(length_bytes));
            from..end
        }
        (None, Some(count)) => length_bytes.saturating_sub(count)..length_bytes,
        (None, None) => return Ok(None),
    };
    if range.start >= range.end {
        return Err(refused);
    }
    Ok(Some(range))
}

/// Says in the head of `response` that ranges are given, and which one of `length_bytes` this is.
///
/// # Errors
/// [`Failure::Internal`]: no range of ours is none.
pub(crate) fn tell(
    response: &mut Response,
    range: Option<&Range<u64>>,
    length_bytes: u64,
) -> Result<(), Failure> {
    let headers = response.headers_mut();
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(range) = range {
        let last = range.end.saturating_sub(1);
        let text = format!("bytes {}-{last}/{length_bytes}", range.start);
        let text = HeaderValue::from_str(&text).map_err(|_| Failure::Internal)?;
        headers.insert(header::CONTENT_RANGE, text);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &'static str) -> Result<Option<Range<u64>>, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_static(text));
        asked(&headers, 100, TAG)
    }

    const TAG: &str = "\"a\"";

    #[test]
    fn of_what_has_changed_all_is_given() {
        for (known, is_part) in [(TAG, true), ("\"b\"", false), ("W/\"a\"", false)] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, HeaderValue::from_static("bytes=0-9"));
            headers.insert(header::IF_RANGE, HeaderValue::from_static(known));
            let range = asked(&headers, 100, TAG).unwrap();
            assert_eq!(range.is_some(), is_part, "{known}");
        }
    }

    #[test]
    fn ranges_are_read_as_the_rfc_has_them() {
        for (text, range) in [
            ("bytes=0-9", Some(0..10)),
            ("bytes=90-", Some(90..100)),
            ("bytes=90-500", Some(90..100)),
            ("bytes=-5", Some(95..100)),
            ("bytes=-500", Some(0..100)),
            ("bytes=9-3", None),
            ("bytes=0-1,5-6", None),
            ("pages=1-2", None),
            ("bytes=-", None),
        ] {
            assert_eq!(of(text).ok(), Some(range), "{text}");
        }
        for text in ["bytes=100-", "bytes=200-300", "bytes=-0"] {
            let refused = Failure::RangeNotSatisfiable { length_bytes: 100 };
            assert_eq!(of(text).unwrap_err().to_string(), refused.to_string());
        }
    }
}
