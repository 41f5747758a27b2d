//! Metadata (PS3.18 10.4.1.1.2): instances without their pixel data, in the DICOM JSON model
//! or the Native DICOM Model.
//!
//! Made from the heads alone; pixel data is passed over and not read. The tag of an answer changes
//! whenever the instances do, so that a client that has it already is told so (304). The documents
//! of series are derived data, kept compressed: see [`series`].

mod answer;
mod gzip;
mod series;
mod unreadable;
mod written;

pub(crate) use answer::prepare;

use crate::access::Allowed;
use crate::derived::Kind;
use crate::error::Failure;
use crate::listing::Listing;
use crate::resource::Resource;
use crate::retrieve::accept;
use crate::service::Web;
use crate::validator::has_already;
use answer::Answer;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pacs_core::access::Get;
use pacs_core::{Level, Permit};
use pacs_store::Digester;
use pacs_store::index::StoredInstance;
use written::Writing;

/// Changes with the form of what is written, so that no client keeps what an older version wrote.
const FORM: &str = Kind::Metadata.form();

/// `GET /studies/{study}/metadata`, and of what is below it
pub(crate) async fn get(
    Allowed(permit): Allowed<Get>,
    State(web): State<Web>,
    resource: Resource,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    metadata(web, permit, &headers, query.as_deref(), &resource).await
}

async fn metadata(
    web: Web,
    permit: Permit<Get>,
    headers: &HeaderMap,
    query: Option<&str>,
    resource: &Resource,
) -> Result<Response, Failure> {
    let listing = Listing::choose(&accept(&web, headers, query)?)?;
    let kind = listing.content_type();
    let kind = HeaderValue::from_str(&kind).map_err(|_| Failure::Internal)?;
    let (web, found) = resource.instances(&web, &permit).await?;
    let base = web.base_url_by(headers);
    let tag = entity_tag(&web, &found, &base, listing.is_xml());
    let tag_header = HeaderValue::from_str(&tag).map_err(|_| Failure::Internal)?;
    let mut response = if has_already(headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let is_zipped = accepts_gzip(headers);
        let mut response = if listing.is_xml() {
            Writing::new(web, permit, base, found, listing).respond(is_zipped)
        } else {
            let is_kept = resource.level() != Level::Instance;
            let answer = Answer::new(web, permit, &base, found, is_kept);
            answer.respond(is_zipped).await?
        };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, kind);
        if is_zipped {
            let gzip = HeaderValue::from_static("gzip");
            headers.insert(header::CONTENT_ENCODING, gzip);
        }
        response
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, tag_header);
    headers.insert(
        header::VARY,
        HeaderValue::from_static("Accept, Accept-Encoding, Host"),
    );
    // Kept by the client alone, and asked about each time: access may end, instances may come.
    let private = HeaderValue::from_static("private, no-cache");
    headers.insert(header::CACHE_CONTROL, private);
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    Ok(response)
}

/// A weak tag: the same instances that say the same, in whatever encoding they are sent.
fn entity_tag(web: &Web, found: &[StoredInstance], base: &str, is_xml: bool) -> String {
    let mut digester = Digester::new();
    digester.update(FORM.as_bytes());
    digester.update(if is_xml { b"xml" } else { b"json" });
    digester.update(base.as_bytes());
    digester.update(web.said());
    for stored in found {
        digester.update(stored.instance.instance.as_str().as_bytes());
        digester.update(b"\n");
        digester.update(&stored.digest.0);
    }
    let digest = format!("{:?}", digester.finish());
    format!("W/\"{}\"", digest.get(..32).unwrap_or(&digest))
}

/// Whether Accept-Encoding takes gzip (RFC 9110 12.5.3).
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::ACCEPT_ENCODING).iter();
    let mut codings = lines.flat_map(|line| line.to_str().unwrap_or_default().split(','));
    codings.any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.replace(' ', "");
        let is_none =
            weight.starts_with("q=0") && !weight.contains(|c: char| ('1'..='9').contains(&c));
        name.trim().eq_ignore_ascii_case("gzip") && !is_none
    })
}
