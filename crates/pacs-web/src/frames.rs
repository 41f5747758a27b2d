//! Frames (PS3.18 10.4.1.1.3), as they are stored: each is found and read alone.

use crate::accept::{Offer, describe};
use crate::access::Allowed;
use crate::content::{self, Content};
use crate::error::Failure;
use crate::limits::WebLimits;
use crate::model::word_bytes;
use crate::pixels::{self, Frame, FrameError, FrameTable, Pixels, TableLimits};
use crate::resource::{Resource, Tail};
use crate::retrieve::{accept, guarded, part_writer, send};
use crate::service::Web;
use crate::stream::{self, Gone, Pieces};
use crate::turned::{self, Turn};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use pacs_core::Permit;
use pacs_core::access::Get;
use pacs_store::index::StoredInstance;

const BYTES: &str = "application/octet-stream";

/// What native frames are given in (8.7.3.3).
const EXPLICIT_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1";

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
    let mut found = resource.instances(&web, &permit).await?;
    let stored = found.pop().ok_or(Failure::NotFound { what: "instance" })?;
    let is_one = numbers.len() == 1;
    let located = locate(&web, &permit, &stored, numbers).await?;
    let syntax = if located.is_encapsulated {
        stored.instance.transfer_syntax.as_str()
    } else {
        EXPLICIT_LITTLE_ENDIAN
    };
    let kind = if located.is_encapsulated {
        media_type_of(syntax)
    } else {
        BYTES
    };
    let mut offers = vec![Offer::multipart(kind).in_syntax(syntax, true)];
    if is_one {
        offers.push(Offer::single(kind).in_syntax(syntax, true));
    }
    if kind != BYTES {
        offers.push(Offer::multipart(BYTES).in_syntax(syntax, true));
        if is_one {
            offers.push(Offer::single(BYTES).in_syntax(syntax, true));
        }
    }
    let chosen = accept.choose(&offers).ok_or_else(|| {
        let available = describe(&offers);
        Failure::NotAcceptable { available }
    })?;
    let (kind, is_multipart) = (chosen.media_type, chosen.is_multipart);
    let sending = Sending::new(&web, permit, stored.clone(), located.content, located.word);
    if is_multipart {
        return Ok(sending.multipart(located.frames, kind, syntax));
    }
    let frame = located.frames.into_iter().next();
    let frame = frame.ok_or(Failure::NotFound { what: "frame" })?;
    Ok(sending.single(frame, kind, syntax))
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
        Some("4.100" | "4.101") => "video/mpeg",
        Some("4.102" | "4.103" | "4.104" | "4.105" | "4.106") => "video/mp4",
        _ => BYTES,
    }
}

struct Located {
    frames: Vec<Frame>,
    content: Content,
    is_encapsulated: bool,
    /// Bytes of the words that are to be turned to little endian; 1: none are.
    word: usize,
}

async fn locate(
    web: &Web,
    permit: &Permit<Get>,
    stored: &StoredInstance,
    numbers: Vec<u64>,
) -> Result<Located, Failure> {
    let (web, permit, stored) = (web.clone(), permit.clone(), stored.clone());
    let task = tokio::task::spawn_blocking(move || -> Result<Located, Failure> {
        let mut walk = content::walk(&web, &permit, &stored)?;
        let (description, pixels) = pixels::describe(&mut walk)?;
        let content = walk.into_source();
        match pixels {
            Pixels::Native {
                value,
                vr,
                big_endian,
            } => {
                let frames: Result<Vec<Frame>, FrameError> = numbers
                    .iter()
                    .map(|number| pixels::native_frame(&description, &value, *number))
                    .collect();
                Ok(Located {
                    frames: frames?,
                    content,
                    is_encapsulated: false,
                    word: if big_endian { word_bytes(vr) } else { 1 },
                })
            }
            Pixels::Encapsulated { items } => {
                let limits = tables(web.limits());
                let table = FrameTable::find(&content, &description, items, limits)?;
                Ok(Located {
                    frames: table.frames(&content, numbers, limits)?,
                    content,
                    is_encapsulated: true,
                    word: 1,
                })
            }
        }
    });
    task.await.map_err(|_| Failure::Internal)?
}

impl From<FrameError> for Failure {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Walk(error) => error.into(),
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
                pieces.put(part).await?;
                self.send(&pieces, frame).await?;
            }
            pieces.put(writer.end()).await
        });
        guarded((headers, body).into_response())
    }

    fn single(mut self, frame: Frame, kind: &'static str, syntax: &str) -> Response {
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
