//! Frames (PS3.18 10.4.1.1.3), as they are stored or made anew: each is found and read alone.

mod layouts;
mod transcode;

use crate::accept::{Accept, Offer, describe};
use crate::access::Allowed;
use crate::content::Content;
use crate::error::Failure;
use crate::limits::WebLimits;
use crate::pixels::{Frame, FrameError, Pixels, TableLimits};
use crate::resource::{Resource, Tail};
use crate::retrieve::{accept, guarded, part_writer, send};
use crate::service::Web;
use crate::stream::{self, Gone, Pieces};
use crate::turned::{self, Turn};
use crate::validator;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
pub(crate) use layouts::Layouts;
use pacs_core::access::Get;
use pacs_core::convert::PixelForm;
use pacs_core::{Permit, TransferSyntaxUid};
use pacs_store::index::StoredInstance;
use std::collections::VecDeque;
pub(crate) use transcode::{Source, form_of, frame_key, has_float_pixels};

const BYTES: &str = "application/octet-stream";

/// What native frames are given in (8.7.3.3).
pub(crate) const EXPLICIT_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1";

/// `GET /studies/{study}/series/{series}/instances/{instance}/frames/{frames}`
pub(crate) async fn frames(
    Allowed(permit): Allowed<Get>,
    State(web): State<Web>,
    resource: Resource,
    Tail(list): Tail,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let accept = accept(&web, &headers, query.as_deref())?;
    let numbers = read_list(&list, web.limits())?;
    let (web, mut found) = resource.instances(&web, &permit).await?;
    let stored = found.pop().ok_or(Failure::NotFound { what: "instance" })?;
    let tag = entity_tag(&stored, &list, &headers, query.as_deref());
    // Whoever knows it was given these frames before.
    if validator::knows(&headers, &tag) {
        return validator::not_modified(&tag);
    }
    let given = give((web, permit), stored, numbers, &accept).await?;
    validator::tagged(given, &tag)
}

/// What frames of an instance are known by: nothing changes them, so that it is enough to know how
/// they were asked for. A weak tag: in parts they have another boundary each time.
pub(crate) fn entity_tag(
    stored: &StoredInstance,
    list: &str,
    headers: &HeaderMap,
    query: Option<&str>,
) -> String {
    let lines = headers.get_all(header::ACCEPT).iter();
    let mut parts: Vec<&[u8]> = vec![&stored.digest.0, list.as_bytes()];
    parts.push(query.unwrap_or_default().as_bytes());
    parts.extend(lines.map(|line| line.as_bytes()));
    validator::weak("frames 1", &parts)
}

async fn give(
    (web, permit): (Web, Permit<Get>),
    stored: StoredInstance,
    numbers: Vec<u64>,
    accept: &Accept,
) -> Result<Response, Failure> {
    let located = locate(&web, &permit, &stored, numbers.clone()).await?;
    let offers = offers(&located, &stored, numbers.len() == 1);
    let chosen = accept.choose(&offers).ok_or_else(|| {
        let available = describe(&offers);
        Failure::NotAcceptable { available }
    })?;
    let (kind, is_multipart) = (chosen.media_type, chosen.is_multipart);
    let syntax = chosen.transfer_syntax.as_deref().unwrap_or_default();
    if syntax != located.syntax(&stored)
        && let Some(form) = located.form
    {
        let source = Source {
            web: web.clone(),
            permit,
            stored,
            content: located.content.into(),
            word: located.word,
            form,
        };
        let target = TransferSyntaxUid::parse_legacy(syntax).map_err(|_| Failure::Internal)?;
        let frames: VecDeque<_> = located.frames.into_iter().zip(numbers).collect();
        let making = Making {
            source,
            frames,
            target,
        };
        return making.respond(kind, is_multipart).await;
    }
    let syntax = located.syntax(&stored).to_owned();
    let sending = Sending::new(&web, permit, stored.clone(), located.content, located.word);
    if is_multipart {
        return Ok(sending.multipart(located.frames, kind, &syntax));
    }
    let frame = located.frames.into_iter().next();
    let frame = frame.ok_or(Failure::NotFound { what: "frame" })?;
    Ok(sending.single(frame, kind, &syntax))
}

/// What frames can be had in, the best first: as they are stored, native, and encoded anew. Bytes
/// of no named transfer syntax are native (PS3.18 8.7.3.4), unless they cannot be, or only with
/// what a lossy compression left of them.
fn offers(located: &Located, stored: &StoredInstance, is_one: bool) -> Vec<Offer> {
    offers_of(
        stored,
        located.syntax(stored),
        located.form.as_ref(),
        is_one,
    )
}

/// The same of frames that are given in `own` where they are given as they are stored, and have
/// `form` where they can be made anew.
pub(crate) fn offers_of(
    stored: &StoredInstance,
    own: &str,
    form: Option<&PixelForm>,
    is_one: bool,
) -> Vec<Offer> {
    let is_made = form.is_some();
    let mut ways: Vec<(&'static str, String, bool)> = Vec::new();
    if own != EXPLICIT_LITTLE_ENDIAN {
        let kind = media_type_of(own);
        if kind != BYTES {
            ways.push((kind, own.to_owned(), true));
        }
        let is_default = !is_made || is_lossy(own);
        ways.push((BYTES, own.to_owned(), is_default));
        if is_made {
            ways.push((BYTES, EXPLICIT_LITTLE_ENDIAN.to_owned(), !is_default));
        }
    } else {
        ways.push((BYTES, own.to_owned(), true));
    }
    if let Some(form) = form {
        for target in transcode::targets(&stored.instance.transfer_syntax, form) {
            let kind = media_type_of(target.as_str());
            let is_default = is_default_of_its_kind(target.as_str());
            ways.push((kind, target.as_str().to_owned(), is_default));
            ways.push((BYTES, target.as_str().to_owned(), false));
        }
    }
    let mut offers = Vec::new();
    for (kind, syntax, is_default) in ways {
        offers.push(Offer::multipart(kind).in_syntax(syntax.as_str(), is_default));
        if is_one {
            offers.push(Offer::single(kind).in_syntax(syntax.as_str(), is_default));
        }
    }
    offers
}

/// Whether frames in this transfer syntax may have lost something when they were compressed.
pub(crate) fn is_lossy(transfer_syntax: &str) -> bool {
    let short = transfer_syntax.strip_prefix("1.2.840.10008.1.2.4.");
    matches!(
        short,
        Some("50" | "51" | "81" | "91" | "93" | "111" | "112" | "203")
    )
}

/// Whether frames are in this transfer syntax where only its media type is named (Table 8.7.3-5).
fn is_default_of_its_kind(transfer_syntax: &str) -> bool {
    let short = transfer_syntax.strip_prefix("1.2.840.10008.1.2.");
    matches!(short, Some("4.201" | "4.80" | "5"))
}

/// The numbers of a list, from 1 on.
pub(crate) fn read_list(list: &str, limits: &WebLimits) -> Result<Vec<u64>, Failure> {
    let wrong = || Failure::bad_request("frames are numbers from 1 on, with commas between them");
    let mut numbers = Vec::new();
    for text in list.split(',') {
        let is_plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number: u64 = text.parse().ok().filter(|_| is_plain).ok_or_else(wrong)?;
        if number == 0 {
            return Err(wrong());
        }
        if numbers.len() >= limits.frames_max {
            let detail = format!("at most {} frames at once", limits.frames_max);
            return Err(Failure::TooLarge { detail });
        }
        numbers.push(number);
    }
    Ok(numbers)
}

/// The bounds of finding frames.
pub(crate) const fn tables(limits: &WebLimits) -> TableLimits {
    TableLimits {
        fragments_max: limits.fragments_max,
        offset_table_bytes_max: limits.offset_table_bytes_max,
    }
}

/// The media type of a frame in `transfer_syntax` (Table 8.7.3-5).
pub(crate) fn media_type_of(transfer_syntax: &str) -> &'static str {
    match transfer_syntax.strip_prefix("1.2.840.10008.1.2.") {
        Some("4.50" | "4.51" | "4.57" | "4.70") => "image/jpeg",
        Some("4.80" | "4.81") => "image/jls",
        Some("4.90" | "4.91") => "image/jp2",
        Some("4.92" | "4.93") => "image/jpx",
        Some("4.201" | "4.202" | "4.203") => "image/jphc",
        Some("4.110" | "4.111" | "4.112") => "image/jxl",
        Some("5") => "image/dicom-rle",
        Some("4.100" | "4.100.1" | "4.101" | "4.101.1") => "video/mpeg",
        // MPEG-4 AVC and HEVC, whole or in fragments.
        Some(
            "4.102" | "4.102.1" | "4.103" | "4.103.1" | "4.104" | "4.104.1" | "4.105" | "4.105.1"
            | "4.106" | "4.106.1" | "4.107" | "4.108",
        ) => "video/mp4",
        _ => BYTES,
    }
}

struct Located {
    frames: Vec<Frame>,
    content: Content,
    is_encapsulated: bool,
    /// Bytes of the words that are to be turned to little endian; 1: none are.
    word: usize,
    /// The form of the frames, where they can be made anew.
    form: Option<PixelForm>,
}

impl Located {
    /// The transfer syntax of frames that are given as they are stored.
    fn syntax<'a>(&self, stored: &'a StoredInstance) -> &'a str {
        if self.is_encapsulated {
            stored.instance.transfer_syntax.as_str()
        } else {
            EXPLICIT_LITTLE_ENDIAN
        }
    }
}

async fn locate(
    web: &Web,
    permit: &Permit<Get>,
    stored: &StoredInstance,
    numbers: Vec<u64>,
) -> Result<Located, Failure> {
    let (web, permit, stored) = (web.clone(), permit.clone(), stored.clone());
    let task = tokio::task::spawn_blocking(move || -> Result<Located, Failure> {
        let (layout, content) = Layouts::find(&web, &permit, &stored)?;
        let frames = layout.frames(&content, &numbers, tables(web.limits()))?;
        Ok(Located {
            frames,
            content,
            is_encapsulated: matches!(layout.pixels, Pixels::Encapsulated { .. }),
            word: layout.pixels.word(),
            form: layout.form,
        })
    });
    task.await.map_err(|_| Failure::Internal)?
}

impl From<FrameError> for Failure {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Walk(error) => error.into(),
            FrameError::Map(error) => error.into(),
            FrameError::NoSuchFrame => Self::NotFound { what: "frame" },
            FrameError::NoPixelData => Self::NotFound { what: "pixel data" },
            FrameError::TooMany { .. } => Self::TooLarge {
                detail: error.to_string(),
            },
            FrameError::NotTold => Self::Conflict {
                detail: error.to_string(),
            },
        }
    }
}

/// Frames on their way that are made anew.
struct Making {
    source: Source,
    frames: VecDeque<(Frame, u64)>,
    target: TransferSyntaxUid,
}

impl Making {
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let Some((frame, number)) = self.frames.pop_front() else {
            return Ok(None);
        };
        let made = self.source.frame(frame, number, &self.target).await;
        made.map(Some)
    }

    /// The response. What is wrong with the first frame still has a status of its own.
    async fn respond(
        mut self,
        kind: &'static str,
        is_multipart: bool,
    ) -> Result<Response, Failure> {
        let mut next = self.next().await?;
        let syntax = self.target.as_str();
        let part_kind = format!("{kind}; transfer-syntax={syntax}");
        if !is_multipart {
            let bytes = next.ok_or(Failure::NotFound { what: "frame" })?;
            let headers = [(header::CONTENT_TYPE, part_kind)];
            return Ok(guarded((headers, bytes).into_response()));
        }
        let web = self.source.web.clone();
        let mut writer = part_writer();
        let headers = [(header::CONTENT_TYPE, writer.content_type(kind))];
        let body = stream::body(web.limits(), None, |pieces| async move {
            while let Some(bytes) = next {
                pieces.put_with_next(&writer.part(&[("Content-Type", &part_kind)]));
                pieces.put(bytes).await?;
                next = self.next().await.map_err(|_told_in_the_log| Gone)?;
            }
            pieces.put(writer.end()).await
        });
        Ok(guarded((headers, body).into_response()))
    }
}

/// Frames on their way.
pub(crate) struct Sending {
    web: Web,
    permit: Permit<Get>,
    stored: StoredInstance,
    /// Away while it is read.
    content: Option<Content>,
    word: usize,
}

impl Sending {
    /// Of `content`, whose words are of `word` bytes where they are to be turned, else 1.
    pub(crate) fn new(
        web: &Web,
        permit: Permit<Get>,
        stored: StoredInstance,
        content: Content,
        word: usize,
    ) -> Self {
        Self {
            web: web.clone(),
            permit,
            stored,
            content: Some(content),
            word,
        }
    }

    fn multipart(mut self, frames: Vec<Frame>, kind: &'static str, syntax: &str) -> Response {
        let mut writer = part_writer();
        let headers = [(header::CONTENT_TYPE, writer.content_type(kind))];
        let part_kind = format!("{kind}; transfer-syntax={syntax}");
        let limits = *self.web.limits();
        let body = stream::body(&limits, None, |pieces| async move {
            for frame in frames {
                let part = writer.part(&[("Content-Type", &part_kind)]);
                pieces.put_with_next(&part);
                self.send(&pieces, frame).await?;
            }
            pieces.put(writer.end()).await
        });
        guarded((headers, body).into_response())
    }

    /// Answers with one alone.
    pub(crate) fn single(mut self, frame: Frame, kind: &'static str, syntax: &str) -> Response {
        let length = frame.bits.map_or_else(
            || {
                let lengths = frame.ranges.iter().map(|r| r.end.saturating_sub(r.start));
                lengths.fold(0_u64, u64::saturating_add)
            },
            |bits| bits.div_ceil(8),
        );
        let kind = format!("{kind}; transfer-syntax={syntax}");
        let limits = *self.web.limits();
        let body = stream::body(&limits, Some(length), |pieces| async move {
            self.send(&pieces, frame).await
        });
        guarded(([(header::CONTENT_TYPE, kind)], body).into_response())
    }

    /// Sends one.
    pub(crate) async fn send(&mut self, pieces: &Pieces, frame: Frame) -> Result<(), Gone> {
        let is_plain = self.word == 1 && frame.bits.is_none() && frame.shift_bits == 0;
        let is_as_stored = self.content.as_ref().is_some_and(Content::is_as_stored);
        if is_plain && is_as_stored {
            for range in frame.ranges.iter() {
                let archive = self.web.archive();
                let reader = archive.read_range(&self.permit, &self.stored, range);
                send(pieces, reader).await?;
            }
            return Ok(());
        }
        let mut content = self.content.take().ok_or(Gone)?;
        let turn = Turn {
            word: self.word,
            bits: frame.bits.map(|bits| (frame.shift_bits, bits)),
        };
        for range in frame.ranges.iter() {
            content = turned::send(pieces, content, range, turn).await?;
        }
        self.content = Some(content);
        Ok(())
    }
}
