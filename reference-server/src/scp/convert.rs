//! Conversion of instances for peers that take none of their transfer syntaxes, and of those that
//! have to say who their patient is or what they were ordered for.
//!
//! A data set is converted to its end before anything of it is sent, so that one that cannot be
//! converted fails alone and its association lives on. Up to [`CONVERTED_BYTES_HELD`] of what comes
//! out are held; what is longer is read and converted a second time while it is sent, and so are
//! several frames that are encoded: where they begin stands before them. Memory is taken from one
//! budget for all conversions.

use super::conversion_counters::{ConversionCounters, Ended};
use super::retrieve::Stored;
use crate::limits::{
    CONVERSION_MEMORY_BYTES_MAX, CONVERSION_QUEUE_DURATION_MAX, CONVERTED_BYTES_HELD,
    CONVERTED_PIECE_BYTES,
};
use async_trait::async_trait;
use bytes::Bytes;
use pacs_core::TransferSyntaxUid;
use pacs_core::coerce::{Coercer, Overlay};
use pacs_core::convert::{ConvertError, Converter, Progress, Rewrite, targets};
use pacs_core::limits::{CoerceLimits, ScanLimits};
use pacs_image::Decoders;
use pacs_net::service::{ConversionError, DataSetSource, SourceError};
use pacs_store::egress::{AsStored, Begun, EgressError, OverlaysError, begin};
use pacs_store::{DataSetReader, ReadError};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::timeout;

/// Bytes of one permit of the budget.
const UNIT_BYTES: u64 = 1 << 20;

/// Units that a conversion takes from its beginning: what was read, what comes out, and what is
/// held of it.
const UNITS_MIN: u32 = 5;

/// What an instance in `stored` can be converted to, the best first: uncompressed, for that costs
/// least; else encoded without loss.
pub(super) fn conversions(stored: &TransferSyntaxUid) -> Vec<TransferSyntaxUid> {
    let mut all = targets(stored, pacs_image::is_decoded(stored));
    all.extend(pacs_image::encodings(stored));
    all
}

/// What all conversions of a server share: memory, decoders and counters.
#[derive(Debug, Clone)]
pub(super) struct Conversions {
    memory: Arc<Semaphore>,
    decoders: Decoders,
    counters: ConversionCounters,
}

impl Conversions {
    pub(super) fn new(counters: ConversionCounters, decoders: Decoders) -> Self {
        let units = CONVERSION_MEMORY_BYTES_MAX / UNIT_BYTES;
        let units = usize::try_from(units).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            memory: Arc::new(Semaphore::new(units)),
            decoders,
            counters,
        }
    }
}

/// Why an instance is not converted. The texts go to the peer that asked.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("no memory for a conversion at the moment")]
    Busy,
    #[error(transparent)]
    Convert(#[from] ConvertError),
    #[error(transparent)]
    Overlays(#[from] OverlaysError),
    #[error("stored instance cannot be read")]
    Read(#[from] ReadError),
    #[error("conversion failed")]
    Task(#[from] JoinError),
}

impl Refusal {
    const fn ended(&self) -> Ended {
        match self {
            Self::Busy => Ended::Busy,
            Self::Convert(_) | Self::Task(_) => Ended::Refused,
            Self::Overlays(_) | Self::Read(_) => Ended::Unreadable,
        }
    }
}

impl From<EgressError> for Refusal {
    fn from(error: EgressError) -> Self {
        match error {
            EgressError::Convert(error) => Self::Convert(error),
            EgressError::Read(error) => Self::Read(error),
            _ => Self::Convert(ConvertError::Unsupported),
        }
    }
}

/// What a data set of `length_bytes` goes through, from a transfer syntax to another, or the same
/// where there is an overlay.
fn work(
    (from, to): (&TransferSyntaxUid, &TransferSyntaxUid),
    overlay: Option<Arc<Overlay>>,
    decoders: &Decoders,
    (length_bytes, frame_lengths): (u64, Option<Arc<[u64]>>),
) -> Result<Box<dyn Rewrite>, ConvertError> {
    let decoder = decoders.decoder(from);
    let encoder = decoders.encoder(to).filter(|_| from != to);
    let (scan, coerce) = (ScanLimits::default(), CoerceLimits::default());
    let (lengths, bytes) = (frame_lengths, length_bytes);
    Ok(match (overlay, encoder) {
        (Some(overlay), Some(encoder)) => {
            let coercer = Coercer::encoding(from, decoder, encoder, lengths, overlay, &coerce)?;
            Box::new(coercer.with_length(bytes))
        }
        (Some(overlay), None) => {
            let coercer = Coercer::new(from, to, decoder, overlay, &coerce)?;
            Box::new(coercer.with_length(bytes))
        }
        (None, Some(encoder)) => {
            let converter = Converter::encoding(from, decoder, encoder, lengths, &scan)?;
            Box::new(converter.with_length(bytes))
        }
        (None, None) => {
            let converter = Converter::new(from, to, decoder, &scan)?;
            Box::new(converter.with_length(bytes))
        }
    })
}

/// A data set on its way through a converter.
struct Conversion {
    reader: DataSetReader,
    /// Away while it works.
    work: Option<Box<dyn Rewrite>>,
    memory: Memory,
    is_done: bool,
}

/// A share of the budget, given back when it is dropped.
struct Memory {
    budget: Arc<Semaphore>,
    share: OwnedSemaphorePermit,
}

impl Memory {
    async fn take(budget: &Arc<Semaphore>) -> Result<Self, Refusal> {
        let share = Arc::clone(budget).acquire_many_owned(UNITS_MIN);
        let share = timeout(CONVERSION_QUEUE_DURATION_MAX, share)
            .await
            .map_err(|_elapsed| Refusal::Busy)?
            .map_err(|_closed| Refusal::Busy)?;
        let budget = Arc::clone(budget);
        Ok(Self { budget, share })
    }

    /// Sees to it that there is room for what a converter holds.
    fn grow(&mut self, bytes_held: u64) -> Result<(), Refusal> {
        let units = bytes_held.div_ceil(UNIT_BYTES);
        let needed = u32::try_from(units).unwrap_or(u32::MAX).max(UNITS_MIN);
        let here = u32::try_from(self.share.num_permits()).unwrap_or(u32::MAX);
        if needed > here {
            let more = Arc::clone(&self.budget).try_acquire_many_owned(needed - here);
            self.share.merge(more.map_err(|_none| Refusal::Busy)?);
        }
        Ok(())
    }
}

impl Conversion {
    fn new(
        stored: &dyn Stored,
        (to, overlay): (&TransferSyntaxUid, Option<Arc<Overlay>>),
        decoders: &Decoders,
        memory: Memory,
        frame_lengths: Option<Arc<[u64]>>,
    ) -> Result<Self, ConvertError> {
        let reader = stored.open();
        let ways = (stored.transfer_syntax(), to);
        let lengths = (reader.length_bytes(), frame_lengths);
        Ok(Self {
            work: Some(work(ways, overlay, decoders, lengths)?),
            reader,
            memory,
            is_done: false,
        })
    }

    /// The next piece; `None` after the last.
    async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        let mut piece = Vec::new();
        while !self.is_done {
            let Some(mut work) = self.work.take() else {
                // A step before this one was cancelled in the middle.
                return Err(ConvertError::Unsupported.into());
            };
            // Decoding and inflating are work for threads that may be kept.
            let (work, so_far, progress) = spawn_blocking(move || {
                let progress = work.read(&mut piece, CONVERTED_PIECE_BYTES);
                (work, piece, progress)
            })
            .await?;
            piece = so_far;
            let work = self.work.insert(work);
            self.memory.grow(work.bytes_held())?;
            match progress? {
                Progress::Full => return Ok(Some(piece.into())),
                Progress::NeedsInput => match self.reader.next().await? {
                    Some(chunk) => work.push(chunk.into()),
                    None => work.end(),
                },
                Progress::Done => {
                    self.is_done = true;
                    // What stands behind the data set belongs to what the digest is of.
                    while self.reader.next().await?.is_some() {}
                }
            }
        }
        Ok((!piece.is_empty()).then(|| piece.into()))
    }
}

/// The data set of `stored` in `to`.
pub(super) async fn convert(
    stored: Arc<dyn Stored>,
    to: &TransferSyntaxUid,
    conversions: &Conversions,
) -> Result<Box<dyn DataSetSource>, ConversionError> {
    match try_convert(stored, to, conversions).await {
        Ok((source, bytes)) => {
            conversions.counters.ended(Ended::Converted, bytes);
            Ok(source)
        }
        Err(refusal) => {
            conversions.counters.ended(refusal.ended(), 0);
            tracing::warn!(error = %refusal, %to, "an instance cannot be converted for a peer");
            Err(ConversionError(Box::new(refusal)))
        }
    }
}

/// What is to be sent, and its bytes.
async fn try_convert(
    stored: Arc<dyn Stored>,
    to: &TransferSyntaxUid,
    conversions: &Conversions,
) -> Result<(Box<dyn DataSetSource>, u64), Refusal> {
    let wanted = (to, stored.overlay().await?);
    let memory = Memory::take(&conversions.memory).await?;
    let decoders = &conversions.decoders;
    let trial = Conversion::new(&*stored, wanted.clone(), decoders, memory, None)?;
    tried(&*stored, trial, wanted, conversions).await
}

/// The data set of `stored` as it is to be said, in its own transfer syntax.
pub(super) async fn said(
    stored: &dyn Stored,
    conversions: &Conversions,
) -> Result<Box<dyn DataSetSource>, SourceError> {
    let failed = |refusal: Refusal| {
        conversions.counters.ended(refusal.ended(), 0);
        tracing::error!(error = %refusal, "an instance cannot be given as it is to be said");
        SourceError(Box::new(refusal))
    };
    try_saying(stored, conversions).await.map_err(failed)
}

async fn try_saying(
    stored: &dyn Stored,
    conversions: &Conversions,
) -> Result<Box<dyn DataSetSource>, Refusal> {
    let Some(overlay) = stored.overlay().await? else {
        return Ok(Box::new(Plain(stored.open().into())));
    };
    let own = stored.transfer_syntax();
    let limits = CoerceLimits::default();
    let coercer = Coercer::new(own, own, None, Arc::clone(&overlay), &limits)?;
    let (coercer, reader) = match begin(stored.open(), coercer).await? {
        Begun::AsStored(bytes) => return Ok(Box::new(Plain(bytes))),
        Begun::Rewritten(coercer, reader) => (coercer, reader),
    };
    let trial = Conversion {
        reader,
        work: Some(coercer),
        memory: Memory::take(&conversions.memory).await?,
        is_done: false,
    };
    let (source, bytes) = tried(stored, trial, (own, Some(overlay)), conversions).await?;
    conversions.counters.ended(Ended::Corrected, bytes);
    Ok(source)
}

/// Runs `trial` to its end: what is to be sent, and its bytes.
async fn tried(
    stored: &dyn Stored,
    mut trial: Conversion,
    wanted: (&TransferSyntaxUid, Option<Arc<Overlay>>),
    conversions: &Conversions,
) -> Result<(Box<dyn DataSetSource>, u64), Refusal> {
    let mut held: Vec<Bytes> = Vec::new();
    let mut held_bytes = 0_usize;
    while let Some(piece) = trial.next().await? {
        held_bytes = held_bytes.saturating_add(piece.len());
        if held_bytes <= CONVERTED_BYTES_HELD {
            held.push(piece);
        } else {
            held.clear();
        }
    }
    // Where more than one frame begins is told at the second time.
    let encoded = trial.work.as_deref().map(Rewrite::frame_lengths);
    let lengths = encoded.filter(|lengths| lengths.len() > 1).map(Arc::from);
    let memory = trial.memory;
    let bytes = u64::try_from(held_bytes).unwrap_or(u64::MAX);
    if held_bytes <= CONVERTED_BYTES_HELD && lengths.is_none() {
        let pieces = held.into_iter();
        let held = Held {
            pieces,
            _memory: memory,
        };
        return Ok((Box::new(held), bytes));
    }
    let decoders = &conversions.decoders;
    let conversion = Conversion::new(stored, wanted, decoders, memory, lengths)?;
    Ok((Box::new(Converted { conversion }), bytes))
}

/// A data set as it is stored.
struct Plain(AsStored);

#[async_trait]
impl DataSetSource for Plain {
    async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        self.0.next().await.map_err(|error| {
            tracing::error!(%error, "a stored instance cannot be given back");
            SourceError(Box::new(error))
        })
    }
}

/// A converted data set that is all in memory.
struct Held {
    pieces: std::vec::IntoIter<Bytes>,
    _memory: Memory,
}

#[async_trait]
impl DataSetSource for Held {
    async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        Ok(Iterator::next(&mut self.pieces))
    }
}

/// A data set that is converted while it is sent; that it can be was tried.
struct Converted {
    conversion: Conversion,
}

#[async_trait]
impl DataSetSource for Converted {
    async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        self.conversion.next().await.map_err(|refusal| {
            tracing::error!(error = %refusal, "a conversion failed at the second time");
            SourceError(Box::new(refusal))
        })
    }
}
