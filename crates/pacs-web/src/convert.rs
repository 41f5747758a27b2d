//! Instances in another transfer syntax than they are stored in, for clients that name it: the
//! uncompressed ones, of whatever can be decoded. Nothing is stored anew.
//!
//! What is converted is sent at once. Where the middle of an instance cannot be converted the
//! answer is cut, so that no client takes it for whole.

use crate::error::Failure;
use crate::limits::WebLimits;
use crate::stream::{Gone, Pieces};
use pacs_core::TransferSyntaxUid;
use pacs_core::convert::{Converter, Progress, targets};
use pacs_core::limits::ScanLimits;
use pacs_image::Decoders;
use pacs_store::DataSetReader;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Bytes of one permit of the budget.
const UNIT_BYTES: u64 = 1 << 20;

/// Units that a conversion takes from its beginning: what was read, and what comes out.
const UNITS_MIN: u32 = 2;

/// What all conversions share: turns to work, memory and decoders.
#[derive(Debug)]
pub(crate) struct Conversions {
    turns: Arc<Semaphore>,
    memory: Arc<Semaphore>,
    units_max: u64,
    queue_duration_max: Duration,
    decoders: Option<Decoders>,
}

impl Conversions {
    pub(crate) fn new(limits: &WebLimits, decoders: Option<Decoders>) -> Self {
        let units = limits.conversion_memory_bytes_max / UNIT_BYTES;
        let units_max = units.max(1);
        let units = usize::try_from(units).unwrap_or(Semaphore::MAX_PERMITS);
        let units = units.min(Semaphore::MAX_PERMITS);
        Self {
            turns: Arc::new(Semaphore::new(limits.conversions_max)),
            memory: Arc::new(Semaphore::new(units)),
            units_max,
            queue_duration_max: limits.conversion_queue_duration_max,
            decoders,
        }
    }

    /// What an instance in `stored` can be converted to, the best first.
    pub(crate) fn targets(&self, stored: &TransferSyntaxUid) -> Vec<TransferSyntaxUid> {
        targets(
            stored,
            self.decoders.is_some() && pacs_image::is_decoded(stored),
        )
    }

    /// What decodes and encodes, if anything does.
    pub(crate) const fn decoders(&self) -> Option<&Decoders> {
        self.decoders.as_ref()
    }

    /// A share of the memory for conversions, once there is so much; all where more is wanted.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] after a while.
    pub(crate) async fn share(&self, bytes: u64) -> Result<OwnedSemaphorePermit, Failure> {
        let units = bytes.div_ceil(UNIT_BYTES).clamp(1, self.units_max);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let share = Arc::clone(&self.memory).acquire_many_owned(units);
        let share = timeout(self.queue_duration_max, share).await;
        let detail = "no memory for a conversion at the moment";
        let share = share.map_err(|_elapsed| Failure::Unavailable { detail })?;
        share.map_err(|_closed| Failure::Internal)
    }

    async fn memory(&self) -> Result<OwnedSemaphorePermit, NoMemory> {
        let share = Arc::clone(&self.memory).acquire_many_owned(UNITS_MIN);
        let share = timeout(self.queue_duration_max, share).await;
        share
            .map_err(|_elapsed| NoMemory)?
            .map_err(|_closed| NoMemory)
    }

    /// Sees to it that `share` has room for what a converter holds.
    fn grow(&self, share: &mut OwnedSemaphorePermit, bytes_held: u64) -> Result<(), NoMemory> {
        let needed = u32::try_from(bytes_held.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        let here = u32::try_from(share.num_permits()).unwrap_or(u32::MAX);
        let missing = needed.saturating_sub(here);
        if missing > 0 {
            let more = Arc::clone(&self.memory).try_acquire_many_owned(missing);
            share.merge(more.map_err(|_none| NoMemory)?);
        }
        Ok(())
    }
}

/// Other conversions take all memory there is for them.
#[derive(Debug, thiserror::Error)]
#[error("no memory for a conversion at the moment")]
struct NoMemory;

/// Sends what `reader` gives, which is in `from`, as a data set in `to`.
pub(crate) async fn send(
    pieces: &Pieces,
    mut reader: DataSetReader,
    (from, to): (&TransferSyntaxUid, &TransferSyntaxUid),
    conversions: &Conversions,
    piece_bytes: usize,
) -> Result<(), Gone> {
    // Given back at the end: a frame is held while a client takes its time.
    let mut memory = match conversions.memory().await {
        Ok(memory) => memory,
        Err(error) => return cut(&error),
    };
    let decoders = conversions.decoders.as_ref();
    let decoder = decoders.and_then(|decoders| decoders.decoder(from));
    let converter = Converter::new(from, to, decoder, &ScanLimits::default());
    let mut converter = match converter {
        Ok(converter) => converter.with_length(reader.length_bytes()),
        Err(error) => return cut(&error),
    };
    loop {
        // Not held while a client takes its time. It is never closed.
        let Ok(turn) = Arc::clone(&conversions.turns).acquire_owned().await else {
            return Err(Gone);
        };
        // Decoding and inflating are work for threads that may be kept.
        let worked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let mut piece = Vec::new();
            let progress = converter.read(&mut piece, piece_bytes);
            (converter, piece, progress)
        });
        let (back, piece, progress) = match worked.await {
            Ok(worked) => worked,
            Err(error) => return cut(&error),
        };
        converter = back;
        if let Err(error) = conversions.grow(&mut memory, converter.bytes_held()) {
            return cut(&error);
        }
        if !piece.is_empty() {
            pieces.put(piece.into()).await?;
        }
        match progress {
            Ok(Progress::Full) => {}
            Ok(Progress::NeedsInput) => match reader.next().await {
                Ok(Some(chunk)) => converter.push(chunk.into()),
                Ok(None) => converter.end(),
                Err(error) => return cut(&error),
            },
            Ok(Progress::Done) => return Ok(()),
            Err(error) => return cut(&error),
        }
    }
}

fn cut(error: &(dyn std::error::Error + Sync)) -> Result<(), Gone> {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    let causes: Vec<String> = causes.map(ToString::to_string).collect();
    let causes = causes.join(": ");
    tracing::warn!(%error, %causes, "an instance cannot be converted for a web client");
    Err(Gone)
}
