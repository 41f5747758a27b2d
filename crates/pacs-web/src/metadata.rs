//! Metadata (PS3.18 10.4.1.1.2): instances without their pixel data, in the DICOM JSON model.
//!
//! Made from the heads alone; pixel data is passed over and not read. The tag of an answer changes
//! whenever the instances do, so that a client that has it already is told so (304).

use crate::access::Allowed;
use crate::content;
use crate::content::Content;
use crate::error::Failure;
use crate::json::{Model, ModelOptions};
use crate::resource::{Resource, path_of};
use crate::retrieve::{accept, json_type};
use crate::service::Web;
use crate::stream::{self, Gone, Pieces};
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use pacs_core::Permit;
use pacs_core::access::Get;
use pacs_store::Digester;
use pacs_store::index::{IntoResults, StoredInstance};
use std::io::Write as _;

/// Changes with the form of what is written, so that no client keeps what an older version wrote.
const FORM: &[u8] = b"metadata 1";

/// `GET /studies/{study}/metadata`
pub(crate) async fn study(
    Allowed(permit): Allowed<Get>,
    State(web): State<Web>,
    Path(study): Path<String>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let resource = Resource::new(&study, None, None)?;
    metadata(web, permit, &headers, query.as_deref(), &resource).await
}

/// `GET /studies/{study}/series/{series}/metadata`
pub(crate) async fn series(
    Allowed(permit): Allowed<Get>,
    State(web): State<Web>,
    Path((study, series)): Path<(String, String)>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let resource = Resource::new(&study, Some(&series), None)?;
    metadata(web, permit, &headers, query.as_deref(), &resource).await
}

/// `GET /studies/{study}/series/{series}/instances/{instance}/metadata`
pub(crate) async fn instance(
    Allowed(permit): Allowed<Get>,
    State(web): State<Web>,
    Path((study, series, instance)): Path<(String, String, String)>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let resource = Resource::new(&study, Some(&series), Some(&instance))?;
    metadata(web, permit, &headers, query.as_deref(), &resource).await
}

async fn metadata(
    web: Web,
    permit: Permit<Get>,
    headers: &HeaderMap,
    query: Option<&str>,
    resource: &Resource,
) -> Result<Response, Failure> {
    let kind = json_type(&accept(&web, headers, query)?)?;
    let found = resource.instances(&web, &permit).await?;
    let base = web.base_url_by(headers);
    let tag = entity_tag(&found, &base);
    let tag_header = HeaderValue::from_str(&tag).map_err(|_| Failure::Internal)?;
    let mut response = if has_already(headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let is_zipped = accepts_gzip(headers);
        let (pieces, body) = stream::body(web.limits().pieces_waiting_max, None);
        let writing = Writing {
            web,
            permit,
            base,
            rest: found.into_iter(),
            open: None,
            has_begun: false,
            is_whole: false,
            out: Vec::new(),
            zip: is_zipped.then(|| GzEncoder::new(Vec::new(), Compression::fast())),
        };
        tokio::spawn(writing.run(pieces));
        let kind = [(header::CONTENT_TYPE, kind)];
        let mut response = (kind, body).into_response();
        if is_zipped {
            let gzip = HeaderValue::from_static("gzip");
            response
                .headers_mut()
                .insert(header::CONTENT_ENCODING, gzip);
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

/// A weak tag: the same instances, in whatever encoding they are sent.
fn entity_tag(found: &[StoredInstance], base: &str) -> String {
    let mut digester = Digester::new();
    digester.update(FORM);
    digester.update(base.as_bytes());
    for stored in found {
        digester.update(stored.instance.instance.as_str().as_bytes());
        digester.update(b"\n");
        digester.update(&stored.digest.0);
    }
    let digest = format!("{:?}", digester.finish());
    format!("W/\"{}\"", digest.get(..32).unwrap_or(&digest))
}

/// Whether If-None-Match names the tag (RFC 9110 13.1.2).
pub(crate) fn has_already(headers: &HeaderMap, tag: &str) -> bool {
    let weak = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let own = weak(tag);
    let mut lines = headers.get_all(header::IF_NONE_MATCH).iter();
    lines.any(|line| {
        let mut tags = line.to_str().unwrap_or_default().split(',');
        tags.any(|theirs| theirs.trim() == "*" || weak(theirs) == own)
    })
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

/// An answer on its way: an array of objects, one after the other, in pieces.
struct Writing {
    web: Web,
    permit: Permit<Get>,
    base: String,
    rest: IntoResults<StoredInstance>,
    open: Option<Model<Content>>,
    has_begun: bool,
    is_whole: bool,
    out: Vec<u8>,
    zip: Option<GzEncoder<Vec<u8>>>,
}

impl Writing {
    async fn run(mut self, pieces: Pieces) {
        loop {
            // Reading and writing block, waiting for the client must not.
            let worked = tokio::task::spawn_blocking(move || {
                let piece = self.piece();
                (self, piece)
            });
            let Ok((writing, piece)) = worked.await else {
                pieces.cut().await;
                return;
            };
            self = writing;
            let Ok(piece) = piece else {
                pieces.cut().await;
                return;
            };
            if !piece.is_empty() && matches!(pieces.put(piece).await, Err(Gone)) {
                return;
            }
            if self.is_whole {
                return;
            }
        }
    }

    /// The next bytes to send. An instance that cannot be read ends the answer: it would look
    /// complete without it.
    fn piece(&mut self) -> Result<Bytes, Failure> {
        let piece_bytes = self.web.limits().piece_bytes;
        while !self.is_whole && self.out.len() < piece_bytes {
            self.go_on(piece_bytes)?;
        }
        let plain = std::mem::take(&mut self.out);
        let Some(zip) = &mut self.zip else {
            return Ok(plain.into());
        };
        zip.write_all(&plain).map_err(|_| Failure::Internal)?;
        if self.is_whole {
            zip.try_finish().map_err(|_| Failure::Internal)?;
        }
        Ok(std::mem::take(zip.get_mut()).into())
    }

    fn go_on(&mut self, piece_bytes: usize) -> Result<(), Failure> {
        if let Some(model) = &mut self.open {
            if model.write(&mut self.out, piece_bytes) {
                self.open = None;
            }
            return Ok(());
        }
        match self.rest.next() {
            Some(stored) => {
                let begun = std::mem::replace(&mut self.has_begun, true);
                self.out.push(if begun { b',' } else { b'[' });
                self.open = Some(self.model(&stored)?);
            }
            None => {
                self.out.push(b']');
                self.is_whole = true;
            }
        }
        Ok(())
    }

    fn model(&self, stored: &StoredInstance) -> Result<Model<Content>, Failure> {
        let limits = self.web.limits();
        let options = ModelOptions {
            bulk_url: format!("{}{}/bulkdata", self.base, path_of(stored)),
            inline_bytes_max: limits.inline_bytes_max,
            value_bytes_max: limits.value_bytes_max,
            fragments_max: limits.fragments_max,
        };
        Ok(Model::new(
            content::walk(&self.web, &self.permit, stored)?,
            options,
        ))
    }
}
