//! The answer to a search: its results, warnings, the way to the next page.

use super::page::{Cursor, Found};
use super::request::SearchRequest;
use crate::listing::Listing;
use crate::resource::Parents;
use crate::service::Web;
use crate::{json, stream, xml};
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pacs_core::tag::tags;
use pacs_core::{Attributes, Level, Value, Vr};
use pacs_store::index::{IntoResults, Match};

/// What a client asked for.
pub(super) struct Asked<'a> {
    pub(super) request: &'a SearchRequest,
    /// The study, and perhaps the series, of the path.
    pub(super) parents: &'a Parents,
    /// The query of the URL.
    pub(super) parameters: &'a [(String, String)],
}

/// Answers `asked` with what was found, in the form of `listing`.
pub(super) fn answer(
    web: &Web,
    asked: &Asked<'_>,
    found: Found,
    listing: Listing,
    base: String,
) -> Response {
    let Found { page, next, .. } = found;
    let request = asked.request;
    let level = request.query.level;
    let link = next.map(|cursor| search_path(&base, asked, &cursor, found.offset));
    let is_empty = page.matches.is_empty();
    let kind = [(header::CONTENT_TYPE, listing.content_type())];
    let mut response = if is_empty {
        StatusCode::NO_CONTENT.into_response()
    } else {
        let writing = Writing {
            results: page.matches.into_iter(),
            listing: Some(listing),
            blank: blank(request),
            base,
            level,
            piece_bytes: web.limits().piece_bytes,
        };
        (kind, writing.body(web)).into_response()
    };
    if found.is_cut {
        warn(
            &mut response,
            "The search ended before it had looked at everything: the next page goes on",
        );
    } else if page.has_more {
        // 8.3.4.4 would have their number, for which the whole archive would have to be searched.
        let told = "There are additional results that can be requested";
        warn(&mut response, told);
    }
    for warning in request.warnings.iter().take(web.limits().warnings_max) {
        warn(&mut response, warning);
    }
    if let Some(link) = link {
        add(
            &mut response,
            header::LINK,
            &format!("<{link}>; rel=\"next\""),
        );
    }
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

/// Bytes of an answer that is written at once: about as much as the results it is written from,
/// which go meanwhile. To hand over pieces takes longer than to write some of them.
const AT_ONCE_BYTES: usize = 256 << 10;

/// Results on their way: each is let go when it is written.
struct Writing {
    results: IntoResults<Match>,
    /// Until all is written.
    listing: Option<Listing>,
    blank: Attributes,
    base: String,
    level: Level,
    piece_bytes: usize,
}

impl Writing {
    /// A short answer is written at once, a long one while it is sent.
    fn body(mut self, web: &Web) -> Body {
        let first = self.piece(AT_ONCE_BYTES.max(self.piece_bytes));
        if self.listing.is_none() {
            return first.into();
        }
        stream::body(web.limits(), None, |pieces| async move {
            pieces.put(first.into()).await?;
            while self.listing.is_some() {
                pieces.put(self.piece(self.piece_bytes).into()).await?;
            }
            Ok(())
        })
    }

    /// So many bytes, or what is left.
    fn piece(&mut self, bytes: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.piece_bytes);
        while out.len() < bytes
            && let Some(listing) = &mut self.listing
        {
            let Some(result) = self.results.next() else {
                if let Some(listing) = self.listing.take() {
                    listing.end(&mut out);
                }
                break;
            };
            let mut attributes = result.attributes;
            attributes.fill_from(&self.blank);
            let url = retrieve_url(&self.base, &attributes, self.level);
            attributes.insert_text(tags::RETRIEVE_URL, Vr::UR, url);
            listing.next(&mut out);
            if listing.is_xml() {
                xml::write_attributes(&mut out, &attributes);
            } else {
                json::write_attributes(&mut out, &attributes);
            }
        }
        out
    }
}

/// Adds a warning (PS3.18 8.4.1.1).
pub(crate) fn warn(response: &mut Response, text: &str) {
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
            Value::Text("".into())
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

/// The URL of the next page: the same search, after `cursor` and what `offset` leaves out. The
/// parents of the path stay in it whatever the query says, so that no page holds more than the
/// first could.
fn search_path(base: &str, asked: &Asked<'_>, cursor: &Cursor, offset: usize) -> String {
    let mut url = base.to_owned();
    url.push_str(&asked.parents.path());
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
    if offset > 0 {
        url.push_str(&format!("offset={offset}&"));
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
