//! Encapsulated pixel data as bulk data: all frames, each in a part, in whatever requests for
//! frames get them in as well (PS3.18 8.7.3.4); one frame alone also without parts.

use super::BYTES;
use crate::accept::{Accept, Offer, describe};
use crate::content::{self, Content};
use crate::error::Failure;
use crate::frames::{self, Sending, Source, form_of, tables};
use crate::pixels::{self, Description, Frame, FrameTable};
use crate::retrieve::{guarded, part_writer};
use crate::service::Web;
use crate::stream::{self, Gone, Pieces};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use pacs_core::access::Get;
use pacs_core::convert::PixelForm;
use pacs_core::{Permit, TransferSyntaxUid};
use pacs_store::index::StoredInstance;
use std::collections::VecDeque;
use std::sync::Arc;

/// Frames that are looked up together.
const LOOKED_UP: u64 = 64;

/// What the fragments are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// The image of the instance.
    Image,
    /// Pixel data of an item: one frame, as that of an icon (PS3.3 F.7).
    Item,
    /// Something else, of which nothing is known but its bytes.
    Other,
}

/// Encapsulated pixel data, found.
pub(super) struct Encapsulated {
    web: Web,
    permit: Permit<Get>,
    stored: StoredInstance,
    /// What is sent of it as it is stored.
    sent: Content,
    of: Of,
    /// The form of the frames, where they can be made anew.
    form: Option<PixelForm>,
    lookup: Lookup,
}

impl Encapsulated {
    /// Of `content`, where the first of the items stands at `items`.
    pub(super) async fn find(
        (web, permit): (Web, Permit<Get>),
        stored: StoredInstance,
        content: Content,
        (of, items): (Of, u64),
    ) -> Result<Self, Failure> {
        let task = tokio::task::spawn_blocking(move || {
            let mut description = Description::default();
            description.frames = 1;
            let mut form = None;
            let sent = if of == Of::Image {
                let mut walk = content::walk(&web, &permit, &stored)?;
                (description, _) = pixels::describe(&mut walk)?;
                form = form_of(&web, &content, &stored);
                walk.into_source()
            } else {
                let bytes_max = web.limits().inflated_bytes_max;
                Content::open_corrected(&web, &permit, &stored, bytes_max)?
            };
            let fragments = (items, &stored.instance.transfer_syntax);
            let limits = tables(web.limits());
            let table = FrameTable::find(&content, &description, fragments, limits)?;
            let lookup = Lookup {
                table: Arc::new(table),
                content: Arc::new(content),
                web: web.clone(),
                next: 1,
                count: description.frames,
                found: VecDeque::new(),
            };
            Ok(Self {
                web,
                permit,
                stored,
                sent,
                of,
                form,
                lookup,
            })
        });
        task.await.map_err(|_panicked| Failure::Internal)?
    }

    fn offers(&self) -> Vec<Offer> {
        let stored = self.stored.instance.transfer_syntax.as_str();
        if self.of == Of::Other {
            return vec![Offer::multipart(BYTES).in_syntax(stored, true)];
        }
        let is_one = self.lookup.count == 1;
        frames::offers_of(&self.stored, stored, self.form.as_ref(), is_one)
    }

    /// The response. What is wrong with the first frame still has a status of its own.
    pub(super) async fn answer(self, accept: &Accept) -> Result<Response, Failure> {
        let offers = self.offers();
        let chosen = accept.choose(&offers).ok_or_else(|| {
            let available = describe(&offers);
            Failure::NotAcceptable { available }
        })?;
        let kind = chosen.media_type;
        let syntax = chosen.transfer_syntax.clone().unwrap_or_default();
        let part_kind = format!("{kind}; transfer-syntax={syntax}");
        let Self {
            web,
            permit,
            stored,
            sent,
            form,
            lookup,
            ..
        } = self;
        let is_stored = syntax == stored.instance.transfer_syntax.as_str();
        let anew = match form.filter(|_| !is_stored) {
            Some(form) => {
                let target = TransferSyntaxUid::parse_legacy(&syntax);
                let target = target.map_err(|_| Failure::Internal)?;
                let content = Arc::clone(&lookup.content);
                let source = Source::new(&web, &permit, &stored, (content, form));
                Some((source, target))
            }
            None => None,
        };
        let mut giving = Giving { lookup, anew };
        let mut sending = Sending::new(&web, permit, stored, sent, 1);
        let first = giving.next().await?;
        let mut next = Some(first.ok_or(Failure::NotFound { what: "frame" })?);
        if !chosen.is_multipart {
            return Ok(match next {
                Some(Given::Stored(frame)) => sending.single(frame, kind, &syntax),
                Some(Given::Made(bytes)) => {
                    guarded(([(header::CONTENT_TYPE, part_kind)], bytes).into_response())
                }
                None => return Err(Failure::NotFound { what: "frame" }),
            });
        }
        let mut writer = part_writer();
        let headers = [(header::CONTENT_TYPE, writer.content_type(kind))];
        let body = stream::body(web.limits(), None, |pieces| async move {
            while let Some(given) = next {
                pieces.put_with_next(&writer.part(&[("Content-Type", &part_kind)]));
                given.send(&pieces, &mut sending).await?;
                next = giving.next().await.map_err(|error| cut(&error))?;
            }
            pieces.put(writer.end()).await
        });
        Ok(guarded((headers, body).into_response()))
    }
}

/// Frames in their order, looked up while they are given.
struct Lookup {
    table: Arc<FrameTable>,
    content: Arc<Content>,
    web: Web,
    /// The first that was not looked up.
    next: u64,
    count: u64,
    found: VecDeque<(Frame, u64)>,
}

impl Lookup {
    async fn next(&mut self) -> Result<Option<(Frame, u64)>, Failure> {
        if self.found.is_empty() && self.next <= self.count {
            let last = self.next.saturating_add(LOOKED_UP.saturating_sub(1));
            let numbers = self.next..=self.count.min(last);
            self.next = numbers.end().saturating_add(1);
            let (table, content) = (Arc::clone(&self.table), Arc::clone(&self.content));
            let limits = tables(self.web.limits());
            let wanted = numbers.clone();
            let task = tokio::task::spawn_blocking(move || table.frames(&*content, wanted, limits));
            let frames = task.await.map_err(|_panicked| Failure::Internal)??;
            self.found = frames.into_iter().zip(numbers).collect();
        }
        Ok(self.found.pop_front())
    }
}

/// Frames on their way.
struct Giving {
    lookup: Lookup,
    /// How they are made, and in what; none: they are given as they are stored.
    anew: Option<(Source, TransferSyntaxUid)>,
}

/// A frame that is given.
enum Given {
    Stored(Frame),
    Made(Bytes),
}

impl Giving {
    async fn next(&mut self) -> Result<Option<Given>, Failure> {
        let Some((frame, number)) = self.lookup.next().await? else {
            return Ok(None);
        };
        Ok(Some(match &self.anew {
            Some((source, target)) => Given::Made(source.frame(frame, number, target).await?),
            None => Given::Stored(frame),
        }))
    }
}

impl Given {
    async fn send(self, pieces: &Pieces, sending: &mut Sending) -> Result<(), Gone> {
        match self {
            Self::Stored(frame) => sending.send(pieces, frame).await,
            Self::Made(bytes) => pieces.put(bytes).await,
        }
    }
}

fn cut(error: &Failure) -> Gone {
    tracing::warn!(%error, "the frames of an instance cannot be given to their end");
    Gone
}
