//! The answer to a search: JSON, warnings, the way to the next page.

use super::page::{Cursor, Page};
use super::request::SearchRequest;
use crate::error::Failure;
use crate::json;
use crate::service::Web;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pacs_core::tag::tags;
use pacs_core::{Attributes, Level, Tag, Uid, Value, Vr};

/// What a client asked for.
pub(super) struct Asked<'a> {
    pub(super) request: &'a SearchRequest,
    /// The study, and perhaps the series, of the path.
    pub(super) parents: &'a [(Tag, Uid)],
    /// The query of the URL.
    pub(super) parameters: &'a [(String, String)],
}

/// Writes `page`, which `asked` is answered with.
pub(super) fn answer(
    web: &Web,
    asked: &Asked<'_>,
    page: Page,
    (kind, base): (&'static str, &str),
) -> Result<Response, Failure> {
    let request = asked.request;
    let level = request.query.level;
    let blank = blank(request);
    let next = page.matches.last().filter(|_| page.rest_count > 0);
    let next = next.and_then(|last| Cursor::after(&last.attributes, level));
    let mut body = Vec::with_capacity(page.matches.len().saturating_mul(1024));
    let is_empty = page.matches.is_empty();
    for (at, result) in page.matches.into_iter().enumerate() {
        body.push(if at == 0 { b'[' } else { b',' });
        let mut attributes = result.attributes;
        attributes.fill_from(&blank);
        let url = retrieve_url(base, &attributes, level);
        attributes.insert_text(tags::RETRIEVE_URL, Vr::UR, url);
        json::write_attributes(&mut body, &attributes);
    }
    body.push(b']');
    let kind = [(header::CONTENT_TYPE, kind)];
    let mut response = if is_empty {
        StatusCode::NO_CONTENT.into_response()
    } else {
        (kind, body).into_response()
    };
    let rest = page.rest_count;
    if rest > 0 {
        let told = format!("There are {rest} additional results that can be requested");
        warn(&mut response, &told);
    }
    for warning in request.warnings.iter().take(web.limits().warnings_max) {
        warn(&mut response, warning);
    }
    if let Some(cursor) = next {
        let path = search_path(base, asked, &cursor);
        let link = format!("<{path}>; rel=\"next\"");
        add(&mut response, header::LINK, &link);
    }
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    Ok(response)
}

fn warn(response: &mut Response, text: &str) {
    add(response, header::WARNING, &format!("299 pacs \"{text}\""));
}

fn add(response: &mut Response, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        response.headers_mut().append(name, value);
    }
}

/// What every result has: each attribute that was asked for, empty.
fn blank(request: &SearchRequest) -> Attributes {
    let mut blank = Attributes::new();
    for key in &request.query.keys {
        let empty = if key.vr == Vr::SQ {
            Value::Items(Vec::new())
        } else {
            Value::Text(String::new())
        };
        blank.insert(key.tag, key.vr, empty);
    }
    blank
}

/// Where the result can be had (10.6.3.3).
fn retrieve_url(base: &str, result: &Attributes, level: Level) -> String {
    let uid = |tag| result.text(tag).unwrap_or_default();
    let mut url = format!("{base}/studies/{}", uid(tags::STUDY_INSTANCE_UID));
    if level >= Level::Series {
        url.push_str("/series/");
        url.push_str(uid(tags::SERIES_INSTANCE_UID));
    }
    if level >= Level::Instance {
        url.push_str("/instances/");
        url.push_str(uid(tags::SOP_INSTANCE_UID));
    }
    url
}

/// The URL of the next page: the same search, after `cursor`. The parents of the path stay in it
/// whatever the query says, so that no page holds more than the first could.
fn search_path(base: &str, asked: &Asked<'_>, cursor: &Cursor) -> String {
    let mut url = base.to_owned();
    for (tag, uid) in asked.parents {
        url.push_str(if *tag == tags::STUDY_INSTANCE_UID {
            "/studies/"
        } else {
            "/series/"
        });
        url.push_str(uid.as_str());
    }
    url.push_str(match asked.request.query.level {
        Level::Patient | Level::Study => "/studies?",
        Level::Series => "/series?",
        Level::Instance => "/instances?",
    });
    for (name, value) in asked.parameters {
        if name != "offset" && name != "cursor" {
            encode(&mut url, name);
            url.push('=');
            encode(&mut url, value);
            url.push('&');
        }
    }
    url.push_str("cursor=");
    url.push_str(&cursor.to_text());
    url
}

/// Writes `text` with percent signs for all but unreserved letters (RFC 3986 2.3).
fn encode(url: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
}
