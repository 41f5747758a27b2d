//! Bulk data (PS3.18 10.4.1.1.4): the values that metadata names by a `BulkDataURI`, with Range.

use crate::accept::{Offer, describe};
use crate::access::Allowed;
use crate::content::{self, Content};
use crate::error::Failure;
use crate::frames::{media_type_of, tables};
use crate::json::word_bytes;
use crate::pixels::{self, Found, FrameTable};
use crate::range;
use crate::resource::Resource;
use crate::retrieve::{accept, guarded, part_writer, send};
use crate::service::Web;
use crate::stream::{self, Gone, Pieces};
use crate::walk::DataSet as _;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pacs_core::access::Get;
use pacs_core::scan::is_pixel_data;
use pacs_core::{Permit, Tag};
use pacs_store::index::StoredInstance;
use std::ops::Range;

const BYTES: &str = "application/octet-stream";

/// `GET /studies/{study}/series/{series}/instances/{instance}/bulkdata/{*path}`
pub(crate) async fn bulk_data(
    Allowed(permit): Allowed<Get>,
    State(web): State<Web>,
    Path((study, series, instance, path)): Path<(String, String, String, String)>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let resource = Resource::new(&study, Some(&series), Some(&instance))?;
    let accept = accept(&web, &headers, query.as_deref())?;
    let (sequences, last) = read_path(&path).ok_or(NOT_THERE)?;
    let mut found = resource.instances(&web, &permit).await?;
    let stored = found.pop().ok_or(NOT_THERE)?;
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
            let value = Value {
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
            let syntax = stored.instance.transfer_syntax.as_str().to_owned();
            let kind = if is_pixel_data(last) {
                media_type_of(&syntax)
            } else {
                BYTES
            };
            let mut offers = vec![Offer::multipart(kind).in_syntax(&syntax, true)];
            if kind != BYTES {
                offers.push(Offer::multipart(BYTES).in_syntax(&syntax, true));
            }
            let chosen = accept.choose(&offers).ok_or_else(|| {
                let available = describe(&offers);
                Failure::NotAcceptable { available }
            })?;
            let kind = chosen.media_type;
            fragments(web, permit, stored, content, items, kind).await
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
        let mut walk = content::walk(&web, &permit, &stored)?;
        let found = pixels::find(&mut walk, &sequences, last)?;
        Ok(found.map(|found| (found, walk.into_source())))
    });
    task.await.map_err(|_| Failure::Internal)?
}

/// A value that is sent.
struct Value {
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
        let pieces_max = self.web.limits().pieces_waiting_max;
        if is_multipart {
            let (pieces, body) = stream::body(pieces_max, None);
            let mut writer = part_writer();
            let kind = [(header::CONTENT_TYPE, writer.content_type(BYTES))];
            tokio::spawn(async move {
                let part = writer.part(&[("Content-Type", BYTES)]);
                if pieces.put(part).await.is_ok() && self.send(&pieces).await.is_ok() {
                    // Who has gone by now has everything.
                    pieces.put(writer.end()).await.ok();
                }
            });
            return Ok(guarded((kind, body).into_response()));
        }
        let asked = range::asked(headers, length)?.filter(|_| self.word == 1);
        let mut part = self;
        if let Some(asked) = &asked {
            let start = part.range.start;
            part.range = start.saturating_add(asked.start)..start.saturating_add(asked.end);
        }
        let sent = part.range.end.saturating_sub(part.range.start);
        let (pieces, body) = stream::body(pieces_max, Some(sent));
        tokio::spawn(async move { part.send(&pieces).await.ok() });
        let kind = [(header::CONTENT_TYPE, BYTES)];
        let mut response = guarded((kind, body).into_response());
        let headers = response.headers_mut();
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if let Some(asked) = asked {
            let last = asked.end.saturating_sub(1);
            let text = format!("bytes {}-{last}/{length}", asked.start);
            let text = HeaderValue::from_str(&text).map_err(|_| Failure::Internal)?;
            headers.insert(header::CONTENT_RANGE, text);
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        Ok(response)
    }

    async fn send(self, pieces: &Pieces) -> Result<(), Gone> {
        if self.word == 1 && self.content.is_as_stored() {
            let archive = self.web.archive();
            let reader = archive.read_range(&self.permit, &self.stored, &self.range);
            return send(pieces, reader).await;
        }
        send_turned(pieces, self.content, self.range, self.word).await
    }
}

/// Bytes of one piece of what has to be held to be turned; a multiple of every word.
const TURNED_BYTES: u64 = 256 << 10;

async fn send_turned(
    pieces: &Pieces,
    mut content: Content,
    range: Range<u64>,
    word: usize,
) -> Result<(), Gone> {
    let mut from = range.start;
    while from < range.end {
        let to = from.saturating_add(TURNED_BYTES).min(range.end);
        let task = tokio::task::spawn_blocking(move || {
            let bytes = content.read(&(from..to));
            (content, bytes)
        });
        let Ok((back, Ok(mut bytes))) = task.await else {
            pieces.cut().await;
            return Err(Gone);
        };
        content = back;
        if word > 1 {
            for word in bytes.chunks_exact_mut(word) {
                word.reverse();
            }
        }
        pieces.put(bytes.into()).await?;
        from = to;
    }
    Ok(())
}

/// All frames of encapsulated pixel data, each in a part.
async fn fragments(
    web: Web,
    permit: Permit<Get>,
    stored: StoredInstance,
    content: Content,
    items: u64,
    kind: &'static str,
) -> Result<Response, Failure> {
    let limits = tables(web.limits());
    let frames_max = web.limits().frames_max;
    let again = (web.clone(), permit.clone(), stored.clone());
    let task = tokio::task::spawn_blocking(move || -> Result<_, Failure> {
        let (web, permit, stored) = again;
        let mut walk = content::walk(&web, &permit, &stored)?;
        let (description, _) = pixels::describe(&mut walk)?;
        let table = FrameTable::find(&content, &description, items, limits)?;
        let count = description.frames;
        if count > u64::try_from(frames_max).unwrap_or(u64::MAX) {
            let detail = format!("more than {frames_max} frames: ask for them by number");
            return Err(Failure::TooLarge { detail });
        }
        let frames = table.frames(&content, 1..=count, limits)?;
        Ok((frames, content))
    });
    let (frames, content) = task.await.map_err(|_| Failure::Internal)??;
    crate::frames::multipart(&web, &permit, &stored, content, frames, kind)
}
