//! What is stored as a file within an instance: an encapsulated PDF (PS3.3 C.24.2), a video in an
//! MP4 container (PS3.5 8.2.6 and on). Its bytes leave as they are, with Range.

use crate::content::{self, Content};
use crate::error::Failure;
use crate::frames::tables;
use crate::pixels::{self, Found, FrameTable, Pixels};
use crate::range;
use crate::retrieve::{guarded, send};
use crate::service::Web;
use crate::stream::{self, Gone, Pieces};
use crate::turned::{self, Turn};
use crate::validator::tagged;
use crate::walk::DataSet as _;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use pacs_core::Permit;
use pacs_core::access::Get;
use pacs_core::tag::tags;
use pacs_store::index::StoredInstance;
use std::ops::Range;
use std::sync::Arc;

/// Bytes at the beginning in which a PDF has to say that it is one (ISO 32000-1 annex H).
const PDF_START_BYTES: u64 = 1024;

const PDF: &str = "application/pdf";

/// What a PDF may load, and do where a browser shows it: nothing. It can hold
/// scripts.
const POLICY: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'self'; sandbox";

/// A file within an instance.
pub(super) struct Document {
    content: Content,
    /// Its pieces, in order.
    ranges: Arc<[Range<u64>]>,
    media_type: &'static str,
}

impl Document {
    /// The encapsulated PDF of `stored`.
    ///
    /// # Errors
    /// [`Failure::NotFound`] where there is none.
    pub(super) async fn pdf(
        web: &Web,
        permit: &Permit<Get>,
        stored: &StoredInstance,
    ) -> Result<Self, Failure> {
        let turn = web.rendering().turn().await?;
        let (web, permit, stored) = (web.clone(), permit.clone(), stored.clone());
        let task = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            const NO_PDF: Failure = Failure::NotFound { what: "PDF" };
            let mut walk = content::walk(&web, &permit, &stored)?;
            let found = pixels::find(&mut walk, &[], tags::ENCAPSULATED_DOCUMENT)?;
            let Some(Found::Value(element)) = found else {
                return Err(NO_PDF);
            };
            let content = walk.into_source();
            let mut range = element.value;
            let start_end = range.end.min(range.start.saturating_add(PDF_START_BYTES));
            let start = content.read(&(range.start..start_end))?;
            if !start.windows(5).any(|at| at == b"%PDF-") {
                return Err(NO_PDF);
            }
            let last = content.read(&(range.end.saturating_sub(1)..range.end))?;
            if last == [0] {
                // The padding of an odd length.
                range.end = range.end.saturating_sub(1);
            }
            Ok(Self {
                content,
                ranges: Arc::new([range]),
                media_type: PDF,
            })
        });
        task.await.map_err(|_| Failure::Internal)?
    }

    /// The video of `stored`, where it is stored in an MP4 container.
    ///
    /// # Errors
    /// [`Failure::NotAcceptable`] where it is in another one, or bare.
    pub(super) async fn mp4(
        web: &Web,
        permit: &Permit<Get>,
        stored: &StoredInstance,
    ) -> Result<Self, Failure> {
        let turn = web.rendering().turn().await?;
        let (web, permit, stored) = (web.clone(), permit.clone(), stored.clone());
        let task = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let mut walk = content::walk(&web, &permit, &stored)?;
            let (mut description, found) = pixels::describe(&mut walk)?;
            let content = walk.into_source();
            let bare = || Failure::NotAcceptable {
                available: "application/dicom".to_owned(),
            };
            let Pixels::Encapsulated { items } = found else {
                return Err(bare());
            };
            // All fragments are one stream, whatever Number of Frames says.
            description.frames = 1;
            let limits = tables(web.limits());
            let fragments = (items, &stored.instance.transfer_syntax);
            let table = FrameTable::find(&content, &description, fragments, limits)?;
            let mut frames = table.frames(&content, [1], limits)?;
            let frame = frames.pop().ok_or(Failure::NotFound { what: "video" })?;
            let first = frame.ranges.first().map_or(0, |range| range.start);
            let start = content.read(&(first..first.saturating_add(8)))?;
            if start.get(4..8) != Some(b"ftyp") {
                return Err(bare());
            }
            Ok(Self {
                content,
                ranges: frame.ranges,
                media_type: "video/mp4",
            })
        });
        task.await.map_err(|_| Failure::Internal)?
    }

    /// The file, or the range of it that the request wants.
    pub(super) fn answer(
        self,
        web: &Web,
        permit: &Permit<Get>,
        stored: &StoredInstance,
        headers: &HeaderMap,
    ) -> Result<Response, Failure> {
        let length = self.ranges.iter().fold(0_u64, |sum, range| {
            sum.saturating_add(range.end.saturating_sub(range.start))
        });
        let tag = Self::tag(stored);
        let asked = range::asked(headers, length, &tag)?;
        let part = asked.clone().unwrap_or(0..length);
        let sent = part.end.saturating_sub(part.start);
        let kind = [(header::CONTENT_TYPE, self.media_type)];
        let is_pdf = self.media_type == PDF;
        let ranges = within(&self.ranges, &part);
        let (web, permit, stored) = (web.clone(), permit.clone(), stored.clone());
        let limits = *web.limits();
        let body = stream::body(&limits, Some(sent), |pieces| async move {
            send_all(&web, &permit, &stored, self.content, ranges, &pieces).await
        });
        let mut response = guarded((kind, body).into_response());
        let headers = response.headers_mut();
        if is_pdf {
            let policy = HeaderValue::from_static(POLICY);
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
            let saved = HeaderValue::from_static("attachment; filename=\"document.pdf\"");
            headers.insert(header::CONTENT_DISPOSITION, saved);
        }
        range::tell(&mut response, asked.as_ref(), length)?;
        tagged(response, &tag)
    }

    /// What the file of `stored` is known by: nothing changes it.
    pub(super) fn tag(stored: &StoredInstance) -> String {
        let tag = format!("{:?}", stored.digest);
        format!("\"{}\"", tag.get(..32).unwrap_or(&tag))
    }
}

/// Where the bytes of `part` of all of `ranges` stand.
fn within(ranges: &[Range<u64>], part: &Range<u64>) -> Vec<Range<u64>> {
    let mut before: u64 = 0;
    let mut found = Vec::new();
    for range in ranges {
        let length = range.end.saturating_sub(range.start);
        let from = part.start.saturating_sub(before).min(length);
        let to = part.end.saturating_sub(before).min(length);
        if from < to {
            let start = range.start.saturating_add(from);
            found.push(start..range.start.saturating_add(to));
        }
        before = before.saturating_add(length);
    }
    found
}

async fn send_all(
    web: &Web,
    permit: &Permit<Get>,
    stored: &StoredInstance,
    mut content: Content,
    ranges: Vec<Range<u64>>,
    pieces: &Pieces,
) -> Result<(), Gone> {
    for range in ranges {
        if content.is_as_stored() {
            let reader = web.archive().read_range(permit, stored, &range);
            send(pieces, reader).await?;
        } else {
            let as_it_is = Turn {
                word: 1,
                bits: None,
            };
            content = turned::send(pieces, content, &range, as_it_is).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_found_among_fragments() {
        let ranges = [10..14, 20..21, 30..36];
        assert_eq!(within(&ranges, &(0..11)), ranges);
        assert_eq!(within(&ranges, &(3..6)), [13..14, 20..21, 30..31]);
        assert_eq!(within(&ranges, &(4..7)), [20..21, 30..32]);
        assert_eq!(within(&ranges, &(11..11)), []);
    }
}
