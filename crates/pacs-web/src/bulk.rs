//! Bulk data (PS3.18 10.4.1.1.4): the values that metadata names by a `BulkDataURI`, with Range.

mod encapsulated;

use crate::accept::{Offer, describe};
use crate::access::Allowed;
use crate::content::{self, Content};
use crate::error::Failure;
use crate::frames;
use crate::model::word_bytes;
use crate::pixels::{self, Found};
use crate::range;
use crate::resource::{Resource, Tail};
use crate::retrieve::{accept, guarded, part_writer, send};
use crate::service::Web;
use crate::stream::{self, Gone, Pieces};
use crate::turned::{self, Turn};
use crate::validator::{self, has_already, not_modified, tagged};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use pacs_core::access::Get;
use pacs_core::scan::is_pixel_data;
use pacs_core::{Permit, Tag};
use pacs_store::Digester;
use pacs_store::index::StoredInstance;
use std::ops::Range;

use encapsulated::{Encapsulated, Of};

const BYTES: &str = "application/octet-stream";

/// `GET /studies/{study}/series/{series}/instances/{instance}/bulkdata/{*path}`
pub(crate) async fn bulk_data(
    Allowed(permit): Allowed<Get>,
    State(web): State<Web>,
    resource: Resource,
    Tail(path): Tail,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let accept = accept(&web, &headers, query.as_deref())?;
    let (sequences, last) = read_path(&path).ok_or(NOT_THERE)?;
    let (web, mut found) = resource.instances(&web, &permit).await?;
    let stored = found.pop().ok_or(NOT_THERE)?;
    let is_nested = !sequences.is_empty();
    let located = locate(&web, &permit, &stored, sequences, last).await?;
    let (found, content) = located.ok_or(NOT_THERE)?;
    match found {
        Found::Value(element) => {
            let offers = [Offer::single(BYTES), Offer::multipart(BYTES)];
            let chosen = accept.choose(&offers).ok_or_else(|| {
                let available = describe(&offers);
                Failure::NotAcceptable { available }
            })?;
            let word = if element.big_endian {
                word_bytes(element.vr)
            } else {
                1
            };
            let said = if content.is_as_stored() {
                &[]
            } else {
                web.said()
            };
            let tag = entity_tag(&stored, &path, said);
            if has_already(&headers, &tag) {
                return not_modified(&tag);
            }
            let value = Value {
                tag,
                web,
                permit,
                stored,
                content,
                range: element.value,
                word,
            };
            value.answer(&headers, chosen.is_multipart)
        }
        Found::Fragments { items } => {
            let tag = frames::entity_tag(&stored, &path, &headers, query.as_deref());
            // Whoever knows it was given these frames before.
            if validator::knows(&headers, &tag) {
                return not_modified(&tag);
            }
            let of = match (is_pixel_data(last), is_nested) {
                (true, false) => Of::Image,
                (true, true) => Of::Item,
                (false, _) => Of::Other,
            };
            let found = Encapsulated::find((web, permit), stored, content, (of, items)).await?;
            tagged(found.answer(&accept).await?, &tag)
        }
    }
}

const NOT_THERE: Failure = Failure::NotFound { what: "bulk data" };

/// Reads `TAG`, or `SEQUENCE/ITEM/…/TAG`.
pub(crate) fn read_path(path: &str) -> Option<(Vec<(Tag, u32)>, Tag)> {
    let mut sequences = Vec::new();
    let mut parts = path.split('/');
    loop {
        let tag = tag_of(parts.next()?)?;
        let Some(item) = parts.next() else {
            return Some((sequences, tag));
        };
        let is_plain = item.bytes().all(|b| b.is_ascii_digit());
        sequences.push((tag, item.parse().ok().filter(|_| is_plain)?));
        if sequences.len() > pacs_core::limits::ITEM_DEPTH_MAX {
            return None;
        }
    }
}

fn tag_of(text: &str) -> Option<Tag> {
    if text.len() != 8 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let [g0, g1, e0, e1] = u32::from_str_radix(text, 16).ok()?.to_be_bytes();
    Some(Tag(
        u16::from_be_bytes([g0, g1]),
        u16::from_be_bytes([e0, e1]),
    ))
}

async fn locate(
    web: &Web,
    permit: &Permit<Get>,
    stored: &StoredInstance,
    sequences: Vec<(Tag, u32)>,
    last: Tag,
) -> Result<Option<(Found, Content)>, Failure> {
    let (web, permit, stored) = (web.clone(), permit.clone(), stored.clone());
    let task = tokio::task::spawn_blocking(move || -> Result<_, Failure> {
        // Nothing changes pixel data, and where it stands is asked again and again.
        let mut walk = if is_pixel_data(last) {
            content::walk(&web, &permit, &stored)?
        } else {
            content::walk_corrected(&web, &permit, &stored)?
        };
        let found = pixels::find(&mut walk, &sequences, last)?;
        Ok(found.map(|found| (found, walk.into_source())))
    });
    task.await.map_err(|_| Failure::Internal)?
}

/// What a value is known by: stored data sets never change, and what is `said` beside them tells
/// itself apart.
fn entity_tag(stored: &StoredInstance, path: &str, said: &[u8]) -> String {
    let mut digester = Digester::new();
    digester.update(b"bulk data 1");
    digester.update(&stored.digest.0);
    digester.update(said);
    digester.update(path.as_bytes());
    let digest = format!("{:?}", digester.finish());
    format!("\"{}\"", digest.get(..32).unwrap_or(&digest))
}

/// A value that is sent.
struct Value {
    /// What it is known by.
    tag: String,
    web: Web,
    permit: Permit<Get>,
    stored: StoredInstance,
    content: Content,
    range: Range<u64>,
    /// Bytes of the words that are to be turned to little endian; 1: none are.
    word: usize,
}

impl Value {
    fn answer(self, headers: &HeaderMap, is_multipart: bool) -> Result<Response, Failure> {
        let length = self.range.end.saturating_sub(self.range.start);
        let limits = *self.web.limits();
        if is_multipart {
            let mut writer = part_writer();
            let kind = [(header::CONTENT_TYPE, writer.content_type(BYTES))];
            let body = stream::body(&limits, None, |pieces| async move {
                let part = writer.part(&[("Content-Type", BYTES)]);
                pieces.put_with_next(&part);
                self.send(&pieces).await?;
                pieces.put(writer.end()).await
            });
            return Ok(guarded((kind, body).into_response()));
        }
        let tag = self.tag.clone();
        // Words that are turned around are given from the first to the last.
        let has_ranges = self.word == 1;
        let asked = if has_ranges {
            range::asked(headers, length, &self.tag)?
        } else {
            None
        };
        let mut part = self;
        if let Some(asked) = &asked {
            let start = part.range.start;
            part.range = start.saturating_add(asked.start)..start.saturating_add(asked.end);
        }
        let sent = part.range.end.saturating_sub(part.range.start);
        let body = stream::body(&limits, Some(sent), |pieces| async move {
            part.send(&pieces).await
        });
        let kind = [(header::CONTENT_TYPE, BYTES)];
        let mut response = guarded((kind, body).into_response());
        if has_ranges {
            range::tell(&mut response, asked.as_ref(), length)?;
        }
        tagged(response, &tag)
    }

    async fn send(self, pieces: &Pieces) -> Result<(), Gone> {
        if self.word == 1 && self.content.is_as_stored() {
            let archive = self.web.archive();
            let reader = archive.read_range(&self.permit, &self.stored, &self.range);
            return send(pieces, reader).await;
        }
        let turn = Turn {
            word: self.word,
            bits: None,
        };
        let sent = turned::send(pieces, self.content, &self.range, turn).await;
        sent.map(drop)
    }
}

#[cfg(test)]
mod tests;
