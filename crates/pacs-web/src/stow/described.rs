//! Instances that come as metadata with bulk data (PS3.18 10.5.1): gathered, composed, and stored
//! by the same deposit as files.
//!
//! Metadata is held in memory, of which each client has a share ([`Share`]); bulk data is not
//! ([`Spool`]). An instance is composed once everything of the request is there, since its bulk
//! data may come in any order; where the request is cut, those whose bulk data has come are kept.

use super::answer::{Named, Reason, Verdict};
use super::incoming::Incoming;
use super::spool::{Spool, SpoolError};
use super::{Ended, Receiving, next};
use crate::compose::bulk::{BulkKind, BulkPart, BulkParts};
use crate::compose::layout::{Piece, compose};
use crate::compose::{Described, DescribedError, Place, json, xml};
use crate::error::Failure;
use crate::limits::{ModelLimits, WebLimits};
use crate::media_type::MediaType;
use crate::memory::Share;
use crate::multipart::{Next, PartHead, PartReader};
use crate::service::Web;
use bytes::Bytes;
use pacs_core::tag::tags;
use pacs_core::{Caller, SeriesUid, SopClassUid, SopInstanceUid, StudyUid};
use std::io;
use std::sync::Arc;

/// Bytes of a part that are looked at to know its code stream: frame headers come early.
const START_BYTES: usize = 4 << 10;

/// Bytes of bulk data that go on at once.
const PIECE_BYTES: usize = 256 << 10;

/// Bytes that the name of a part takes beside itself.
const PART_BYTES: u64 = 256;

/// How metadata is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notation {
    Json,
    /// One instance a part.
    Xml,
}

impl Notation {
    const ALL: [Self; 2] = [Self::Json, Self::Xml];

    const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/dicom+json",
            Self::Xml => "application/dicom+xml",
        }
    }

    /// Of metadata in `kind`.
    pub(crate) fn of(kind: &MediaType) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|notation| kind.is(notation.media_type()))
    }

    /// The data sets of `text`, which is of this notation to its end then. `memory` is what may be
    /// taken meanwhile.
    pub(crate) fn find(
        self,
        text: &[u8],
        limits: &WebLimits,
        mut memory: Share,
    ) -> Result<Found, Failure> {
        Ok(match self {
            Self::Json => json::find(text, limits.metadata_nodes_max, limits.multipart.parts_max),
            Self::Xml => {
                let place = xml::place(text);
                memory.grow(place.memory_bytes)?;
                xml::check(text, &model(limits)).map(|()| vec![place])
            }
        })
    }

    /// Reads the data set that is `text`.
    pub(crate) fn read(self, text: &[u8], limits: &WebLimits) -> Result<Described, DescribedError> {
        match self {
            Self::Json => json::read(text),
            Self::Xml => xml::read(text, &model(limits)),
        }
    }
}

/// What a text holds, or what is wrong with it.
pub(crate) type Found = Result<Vec<Place>, DescribedError>;

fn model(limits: &WebLimits) -> ModelLimits {
    ModelLimits {
        bytes_max: limits.metadata_bytes_max,
        elements_max: limits.metadata_nodes_max,
        ..ModelLimits::default()
    }
}

/// What came of a request.
struct Gathering<'w> {
    web: &'w Web,
    caller: &'w Caller,
    notation: Notation,
    memory: Share,
    texts: Vec<Arc<Vec<u8>>>,
    places: Vec<(usize, Place)>,
    parts: BulkParts,
    spool: Spool,
    open: Open,
}

/// The part that arrives.
enum Open {
    Bulk {
        name: String,
        kind: Option<MediaType>,
        from: u64,
    },
    Metadata(Vec<u8>),
    /// None, or one that nothing can name.
    Nothing,
}

impl<'w> Gathering<'w> {
    fn new(web: &'w Web, caller: &'w Caller, notation: Notation) -> Self {
        let limits = web.limits();
        Self {
            memory: web.memory_to_describe(caller),
            texts: Vec::new(),
            places: Vec::new(),
            parts: BulkParts::default(),
            spool: Spool::new(web.spool_directory(), limits.bulk_bytes_max),
            open: Open::Nothing,
            web,
            caller,
            notation,
        }
    }

    fn limits(&self) -> &'w WebLimits {
        self.web.limits()
    }

    fn begin(&mut self, head: &PartHead) -> Result<(), Failure> {
        let wrong = |_| Failure::bad_request("a part has a Content-Type that is no media type");
        let kind = head.content_type().map_err(wrong)?;
        let is_metadata = match &kind {
            Some(kind) => Notation::of(kind) == Some(self.notation),
            None => self.texts.is_empty(),
        };
        if is_metadata {
            self.open = Open::Metadata(Vec::new());
            return Ok(());
        }
        if self.texts.is_empty() {
            let detail = "metadata has to come first, and its bulk data behind it";
            return Err(Failure::bad_request(detail));
        }
        let name = head.field("content-location").unwrap_or_default();
        let length = u64::try_from(name.len()).unwrap_or(u64::MAX);
        if name.len() > self.limits().bulk_name_bytes_max {
            return Err(Failure::bad_request("a Content-Location is too long"));
        }
        if name.is_empty() {
            self.open = Open::Nothing;
            return Ok(());
        }
        self.memory.grow(length.saturating_add(PART_BYTES))?;
        self.open = Open::Bulk {
            name: name.to_owned(),
            kind,
            from: self.spool.length_bytes(),
        };
        Ok(())
    }

    async fn write(&mut self, bytes: &Bytes) -> Result<(), Failure> {
        match &mut self.open {
            Open::Nothing => Ok(()),
            Open::Metadata(text) => {
                let length = text.len().saturating_add(bytes.len());
                let bytes_max = self.web.limits().metadata_bytes_max;
                if length > bytes_max {
                    let detail = format!("at most {bytes_max} bytes of metadata in one part");
                    return Err(Failure::TooLarge { detail });
                }
                // What the text is copied to as it grows counts, too.
                let added = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                self.memory.grow(added.saturating_mul(2))?;
                text.extend_from_slice(bytes);
                Ok(())
            }
            Open::Bulk { .. } => {
                let was_written = self.spool.write(bytes).await?;
                if was_written && !self.web.archive().has_room() {
                    return Err(Failure::Unavailable {
                        detail: "the disk is full",
                    });
                }
                Ok(())
            }
        }
    }

    async fn end(&mut self) -> Result<(), Failure> {
        match std::mem::replace(&mut self.open, Open::Nothing) {
            Open::Nothing => Ok(()),
            Open::Metadata(text) => self.metadata(text).await,
            Open::Bulk { name, kind, from } => {
                let range = from..self.spool.length_bytes();
                let is_picture = kind.as_ref().is_some_and(|kind| kind.is("image/jpeg"));
                let start = if is_picture {
                    self.spool.flush().await.map_err(SpoolError::from)?;
                    let start = self.spool.read(range.clone(), START_BYTES).await;
                    start.map_err(SpoolError::from)?
                } else {
                    Bytes::new()
                };
                let kind = BulkKind::of(kind.as_ref(), &start);
                self.parts.add(&name, BulkPart { range, kind });
                Ok(())
            }
        }
    }

    async fn metadata(&mut self, text: Vec<u8>) -> Result<(), Failure> {
        let (notation, limits) = (self.notation, *self.limits());
        let parts_max = limits.multipart.parts_max;
        let text = Arc::new(text);
        let shared = Arc::clone(&text);
        let memory = self.web.memory_to_describe(self.caller);
        let task = move || notation.find(&shared, &limits, memory);
        let found = tokio::task::spawn_blocking(task).await;
        let found = found.map_err(|_| Failure::Internal)??;
        let found = found.map_err(|error| {
            let detail = error.to_string();
            if error == DescribedError::TooLarge {
                Failure::TooLarge { detail }
            } else {
                Failure::BadRequest { detail }
            }
        })?;
        let number = self.texts.len();
        self.texts.push(text);
        self.places
            .extend(found.into_iter().map(|place| (number, place)));
        if self.places.len() > parts_max {
            let detail = format!("at most {parts_max} instances in one request");
            return Err(Failure::TooLarge { detail });
        }
        Ok(())
    }

    /// Makes the pieces of the instance at `place`.
    async fn compose(&mut self, (text, place): (usize, Place)) -> Result<Made, Failure> {
        let text = self.texts.get(text).cloned().ok_or(Failure::Internal)?;
        let mut parts = std::mem::take(&mut self.parts);
        let (notation, limits) = (self.notation, *self.limits());
        let task = tokio::task::spawn_blocking(move || {
            let text = text.get(place.text).unwrap_or_default();
            let made = match notation.read(text, &limits) {
                Ok(described) => Made {
                    named: named(&described),
                    pieces: compose(&described, &mut parts),
                },
                Err(error) => Made {
                    named: Named::default(),
                    pieces: Err(error),
                },
            };
            (parts, made)
        });
        let (parts, made) = task.await.map_err(|_| Failure::Internal)?;
        self.parts = parts;
        Ok(made)
    }
}

/// An instance as far as it was composed.
struct Made {
    named: Named,
    pieces: Result<Vec<Piece>, DescribedError>,
}

fn named(described: &Described) -> Named {
    let text = |tag| described.text(tag).unwrap_or_default();
    Named {
        study: StudyUid::parse_legacy(text(tags::STUDY_INSTANCE_UID)).ok(),
        series: SeriesUid::parse_legacy(text(tags::SERIES_INSTANCE_UID)).ok(),
        sop_class: SopClassUid::parse_legacy(text(tags::SOP_CLASS_UID)).ok(),
        sop_instance: SopInstanceUid::parse_legacy(text(tags::SOP_INSTANCE_UID)).ok(),
    }
}

impl From<SpoolError> for Failure {
    fn from(error: SpoolError) -> Self {
        match error {
            SpoolError::TooLong => Self::TooLarge {
                detail: error.to_string(),
            },
            SpoolError::Disk(error) => {
                tracing::error!(kind = ?error.kind(), "bulk data of a request cannot be kept");
                Self::Unavailable {
                    detail: "bulk data cannot be kept at the moment",
                }
            }
        }
    }
}

impl Receiving {
    /// Takes metadata and bulk data in parts.
    pub(super) async fn described(
        &mut self,
        web: &Web,
        mut reader: PartReader,
        notation: Notation,
    ) -> Result<Ended, Failure> {
        let caller = self.deposits.permit.caller().clone();
        let mut gathering = Gathering::new(web, &caller, notation);
        let ended = loop {
            match next(&mut self.body, &mut reader).await {
                Ok(Next::Part(head)) => gathering.begin(&head)?,
                Ok(Next::Data(bytes)) => gathering.write(&bytes).await?,
                Ok(Next::PartEnd) => gathering.end().await?,
                Ok(Next::End | Next::NeedsChunk) => {}
                Err(ended) => break ended,
            }
        };
        if ended == Ended::Whole {
            self.body.drain().await;
        }
        self.compose(gathering).await?;
        Ok(ended)
    }

    /// Takes metadata that needs no bulk data, as of a report.
    pub(super) async fn described_alone(
        &mut self,
        web: &Web,
        notation: Notation,
    ) -> Result<Ended, Failure> {
        let caller = self.deposits.permit.caller().clone();
        let mut gathering = Gathering::new(web, &caller, notation);
        gathering.open = Open::Metadata(Vec::new());
        loop {
            match self.body.next().await {
                Ok(Some(bytes)) => gathering.write(&bytes).await?,
                Ok(None) => break,
                Err(stopped) => return Ok(Ended::Stopped(stopped)),
            }
        }
        gathering.end().await?;
        self.compose(gathering).await?;
        Ok(Ended::Whole)
    }

    async fn compose(&mut self, mut gathering: Gathering<'_>) -> Result<(), Failure> {
        gathering.spool.flush().await.map_err(SpoolError::from)?;
        for place in std::mem::take(&mut gathering.places) {
            // Given back as soon as the instance is on its way.
            let mut memory = gathering.web.memory_to_describe(gathering.caller);
            let bytes = place.1.memory_bytes;
            if let Err(full) = memory.grow(bytes) {
                let told = full.to_string();
                self.note(Verdict::told(Named::default(), Reason::BUSY, told))
                    .await;
                continue;
            }
            let Made { named, pieces } = gathering.compose(place).await?;
            match pieces {
                Ok(pieces) => self.store(&gathering.spool, named, pieces).await,
                Err(error) => {
                    tracing::warn!(
                        %error, caller = ?self.deposits.permit.caller(),
                        "no instance can be made of what a client describes"
                    );
                    let reason = Reason::CANNOT_UNDERSTAND;
                    self.note(Verdict::told(named, reason, error.to_string()))
                        .await;
                }
            }
        }
        Ok(())
    }

    /// A verdict in its turn, behind those of instances that are still made durable.
    async fn note(&mut self, verdict: Verdict) {
        self.sealing.push_back((0, tokio::spawn(async { verdict })));
        self.settle(self.deposits.limits.sealing_max).await;
    }

    /// Stores an instance of these pieces. Where its bulk data does not come back from the disk,
    /// that is its own verdict: those before it are stored, and those behind it may be.
    async fn store(&mut self, spool: &Spool, named: Named, pieces: Vec<Piece>) {
        let mut incoming = self.deposits.begin_single();
        match self.write(&mut incoming, spool, pieces).await {
            Ok(()) => self.seal(incoming).await,
            Err(error) => {
                // Nothing is kept of what was not brought to its end.
                drop(incoming);
                self.part_bytes = 0;
                let told = Failure::from(SpoolError::from(error)).to_string();
                self.note(Verdict::told(named, Reason::BUSY, told)).await;
            }
        }
    }

    async fn write(
        &mut self,
        incoming: &mut Incoming,
        spool: &Spool,
        pieces: Vec<Piece>,
    ) -> io::Result<()> {
        for piece in pieces {
            match piece {
                Piece::Bytes(bytes) => {
                    self.count(&bytes);
                    incoming.write(bytes.into()).await;
                }
                Piece::Bulk(mut range) => {
                    while !range.is_empty() && !incoming.has_failed() {
                        let bytes = spool.read(range.clone(), PIECE_BYTES).await?;
                        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                        range.start = range.start.saturating_add(length);
                        self.count(&bytes);
                        incoming.write(bytes).await;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::body::Arriving;
    use super::super::incoming::Deposits;
    use super::*;
    use crate::testing::{Service, may};
    use axum::body::Body;
    use std::collections::VecDeque;

    #[tokio::test]
    async fn bulk_data_that_does_not_come_back_is_the_verdict_of_its_own_instance_alone() {
        let service = Service::with(|_same| ()).await;
        let limits = *service.web.limits();
        let mut receiving = Receiving {
            body: Arriving::new(Body::empty(), &limits),
            deposits: Deposits {
                web: service.web.clone(),
                permit: may(),
                study: None,
                limits,
            },
            part_bytes: 0,
            sealing: VecDeque::new(),
            sealing_bytes: 0,
            verdicts: Vec::new(),
        };
        let caller = receiving.deposits.permit.caller().clone();
        let mut gathering = Gathering::new(&service.web, &caller, Notation::Json);
        let instance = |number: u32, bulk: &str| {
            format!(
                r#"{{"00080016":{{"vr":"UI","Value":["1.2.840.10008.5.1.4.1.1.7"]}},
                "00080018":{{"vr":"UI","Value":["2.25.1.1.{number}"]}},
                "0020000D":{{"vr":"UI","Value":["2.25.1"]}},
                "0020000E":{{"vr":"UI","Value":["2.25.1.1"]}}{bulk}}}"#
            )
        };
        let bulk = r#","00420011":{"vr":"OB","BulkDataURI":"gone"}"#;
        let all = [instance(1, ""), instance(2, bulk), instance(3, "")].join(",");
        let text = format!("[{all}]");
        gathering.metadata(text.into_bytes()).await.unwrap();
        let range = 0..10;
        let kind = BulkKind::of(None, &Bytes::new());
        gathering.parts.add("gone", BulkPart { range, kind });

        receiving.compose(gathering).await.unwrap();
        receiving.settle(0).await;

        let verdicts = receiving.verdicts.iter().map(Verdict::is_failure);
        assert_eq!(verdicts.collect::<Vec<_>>(), [false, true, false]);
        let told = format!("{:?}", receiving.verdicts.get(1));
        assert!(told.contains("2.25.1.1.2"), "{told}");
        assert_eq!(receiving.part_bytes, 0);
    }
}
