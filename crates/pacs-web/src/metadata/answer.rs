//! The answer to a request for metadata: an array of the documents of its series, one after the
//! other, compressed or not.

use super::gzip::Gzip;
use super::series::{Document, Series, Writer};
use crate::error::Failure;
use crate::memory::Share;
use crate::resource::Resource;
use crate::service::Web;
use crate::stream::{self, Gone, Pieces};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::{Decompress, FlushDecompress};
use pacs_core::Permit;
use pacs_core::access::Get;
use pacs_store::index::{Results, StoredInstance};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// An answer before it is sent.
#[derive(Debug)]
pub(super) struct Answer {
    web: Web,
    series: VecDeque<Series>,
    is_kept: bool,
}

/// The series of `found`, each with its instances, in the order in which they come first.
fn series_of(
    web: &Web,
    permit: &Permit<Get>,
    base: &str,
    found: Results<StoredInstance>,
) -> VecDeque<Series> {
    let found = Arc::new(found);
    let base: Arc<str> = base.into();
    let mut series: VecDeque<Series> = VecDeque::new();
    let mut numbers = BTreeMap::new();
    for (place, stored) in found.iter().enumerate() {
        let head = &stored.instance;
        let number = *numbers
            .entry((head.study.as_str(), head.series.as_str()))
            .or_insert(series.len());
        match series.get_mut(number) {
            Some(series) => series.places.push(place),
            None => series.push_back(Series {
                web: web.clone(),
                permit: permit.clone(),
                base: Arc::clone(&base),
                found: Arc::clone(&found),
                places: vec![place],
            }),
        }
    }
    series
}

/// Makes the metadata of the series that `resource` is or has ready, so that who asks next need not
/// wait. Not where nobody has asked yet by which name we go.
///
/// # Errors
/// [`Failure`].
pub(crate) async fn prepare(
    web: &Web,
    permit: &Permit<Get>,
    resource: &Resource,
) -> Result<(), Failure> {
    let Some(base) = web.last_base_url() else {
        return Ok(());
    };
    if web.derived().keeps_nothing() {
        return Ok(());
    }
    let (web, found) = resource.instances(web, permit).await?;
    let bytes_max = web.limits().document_bytes_max;
    for series in series_of(&web, permit, &base, found) {
        if series.is_small(bytes_max) {
            series.document().await?;
        }
    }
    Ok(())
}

impl Answer {
    /// With what was `found`; `is_kept`: of derived data, as far as there is any.
    pub(super) fn new(
        web: Web,
        permit: Permit<Get>,
        base: &str,
        found: Results<StoredInstance>,
        is_kept: bool,
    ) -> Self {
        let is_kept = is_kept && !web.derived().keeps_nothing();
        if is_kept {
            web.note_base_url(base);
        }
        Self {
            series: series_of(&web, &permit, base, found),
            web,
            is_kept,
        }
    }

    /// The response, without its media type and encoding. What is wrong with the first series still
    /// has a status of its own.
    pub(super) async fn respond(mut self, is_zipped: bool) -> Result<Response, Failure> {
        let first = self.series.pop_front().ok_or(Failure::Internal)?;
        let begun = self.document(&first).await?;
        let limits = *self.web.limits();
        let body = stream::body(&limits, None, |pieces| {
            let sending = Sending {
                pieces,
                gzip: is_zipped.then(Gzip::default),
                length_bytes: 0,
            };
            self.send(sending, first, begun)
        });
        Ok(body.into_response())
    }

    /// The document of `series`, with the memory it takes until it is sent; `None` where it has to
    /// be written piece by piece.
    async fn document(&self, series: &Series) -> Result<Option<(Document, Share)>, Failure> {
        let bytes_max = self.web.limits().document_bytes_max;
        if !self.is_kept || !series.is_small(bytes_max) {
            return Ok(None);
        }
        let mut memory = self.web.memory_for_documents(series.permit.caller());
        if memory.grow(series.heads_bytes()).is_err() {
            return Ok(None);
        }
        match series.document().await {
            Ok(document) => Ok(Some((document, memory))),
            Err(Failure::TooLarge { .. } | Failure::Unavailable { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn send(
        mut self,
        mut sending: Sending,
        first: Series,
        begun: Option<(Document, Share)>,
    ) -> Result<(), Gone> {
        if sending.gzip.is_some() {
            sending.pieces.put(Gzip::header().into()).await?;
        }
        sending.literal(b'[').await?;
        sending.series(first, begun).await?;
        while let Some(series) = self.series.pop_front() {
            sending.literal(b',').await?;
            match self.document(&series).await {
                Ok(document) => sending.series(series, document).await?,
                Err(_told_in_the_log) => return Err(Gone),
            }
        }
        sending.end(b']').await
    }
}

/// An answer on its way.
struct Sending {
    pieces: Pieces,
    gzip: Option<Gzip>,
    /// Of the text so far.
    length_bytes: u64,
}

impl Sending {
    fn count(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.length_bytes = self.length_bytes.saturating_add(bytes);
    }

    async fn literal(&mut self, byte: u8) -> Result<(), Gone> {
        self.count(1);
        let piece = match &mut self.gzip {
            Some(gzip) => gzip.literal(byte),
            None => vec![byte],
        };
        self.pieces.put(piece.into()).await
    }

    async fn end(mut self, byte: u8) -> Result<(), Gone> {
        self.count(1);
        let piece = match self.gzip {
            Some(gzip) => gzip.end(byte, self.length_bytes),
            None => vec![byte],
        };
        self.pieces.put(piece.into()).await
    }

    async fn series(
        &mut self,
        series: Series,
        document: Option<(Document, Share)>,
    ) -> Result<(), Gone> {
        let Some((document, _memory)) = document else {
            return self.written(Writer::new(series)).await;
        };
        let length = usize::try_from(document.length_bytes).unwrap_or(usize::MAX);
        self.count(length);
        if let Some(gzip) = &mut self.gzip {
            gzip.join(&document);
            return self.pieces.put(document.deflated).await;
        }
        let piece_bytes = series.web.limits().piece_bytes;
        self.inflated(document.deflated, piece_bytes).await
    }

    /// A document that is not kept, written now.
    async fn written(&mut self, mut writer: Writer) -> Result<(), Gone> {
        let mut deflate = Gzip::deflater();
        loop {
            // Reading and writing block, waiting for the client must not.
            let worked = tokio::task::spawn_blocking(move || {
                let piece = writer.piece();
                (writer, piece)
            });
            let Ok((back, Ok(piece))) = worked.await else {
                return Err(Gone);
            };
            writer = back;
            let Some(piece) = piece else {
                return Ok(());
            };
            self.count(piece.len());
            let piece = match &mut self.gzip {
                Some(gzip) => gzip.deflate(&mut deflate, &piece),
                None => Ok(piece),
            };
            match piece {
                Ok(piece) => self.pieces.put(piece.into()).await?,
                Err(_never) => return Err(Gone),
            }
        }
    }

    /// A document for a client that takes it as it is.
    async fn inflated(&mut self, deflated: Bytes, piece_bytes: usize) -> Result<(), Gone> {
        let mut inflate = Decompress::new(false);
        loop {
            let deflated = deflated.clone();
            let worked = tokio::task::spawn_blocking(move || {
                let taken = usize::try_from(inflate.total_in()).unwrap_or(usize::MAX);
                let rest = deflated.get(taken..).unwrap_or_default();
                let mut piece = Vec::with_capacity(piece_bytes.max(1));
                let inflated = inflate.decompress_vec(rest, &mut piece, FlushDecompress::None);
                (inflate, inflated.map(|_status| piece))
            });
            let Ok((back, Ok(piece))) = worked.await else {
                return Err(Gone);
            };
            inflate = back;
            // It has no end, so that it ends where nothing comes any more.
            if piece.is_empty() {
                return Ok(());
            }
            self.pieces.put(piece.into()).await?;
        }
    }
}
