//! Instances in another transfer syntax than they are stored in, for clients that name it: the
//! uncompressed ones, of whatever can be decoded; for others see [`crate::recompress`]. And those
//! that have to say who their patient is or what they were ordered for. Nothing is stored anew.
//!
//! What is converted is sent at once. Where the middle of an instance cannot be converted the
//! answer is cut, so that no client takes it for whole.

use crate::error::Failure;
use crate::limits::WebLimits;
use crate::recompress;
use crate::service::Web;
use crate::stream::{Gone, Pieces};
use pacs_core::access::Get;
use pacs_core::coerce::Coercer;
use pacs_core::convert::{Converter, Progress, Rewrite, is_native, targets};
use pacs_core::limits::{CoerceLimits, ScanLimits};
use pacs_core::{Permit, TransferSyntaxUid};
use pacs_image::Decoders;
use pacs_store::DataSetReader;
use pacs_store::egress::{AsStored, Begun, EgressError, begin};
use pacs_store::index::StoredInstance;
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

    /// What the frames of an instance in `stored` can be encoded for, the best first.
    pub(crate) fn encodings(&self, stored: &TransferSyntaxUid) -> Vec<TransferSyntaxUid> {
        match self.decoders {
            Some(_) => pacs_image::encodings(stored),
            None => Vec::new(),
        }
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

/// A data set on its way to a client.
pub(crate) enum Way {
    /// Its bytes are those that are stored.
    AsStored(AsStored),
    /// Its frames are encoded for this transfer syntax.
    Encoded(
        Box<(StoredInstance, Permit<Get>, TransferSyntaxUid)>,
        DataSetReader,
    ),
    /// It goes through this, to which what is left is pushed.
    Through(Box<dyn Rewrite>, DataSetReader),
}

impl Way {
    /// Of `stored`, which `reader` reads, to a client that takes `to`. Where it may have to say
    /// something else than it does, its beginning is read for that.
    ///
    /// # Errors
    /// [`EgressError`].
    pub(crate) async fn of(
        web: &Web,
        permit: &Permit<Get>,
        reader: DataSetReader,
        stored: &StoredInstance,
        to: &TransferSyntaxUid,
    ) -> Result<Self, EgressError> {
        let from = &stored.instance.transfer_syntax;
        if from != to && !is_native(to) {
            let what = (stored.clone(), permit.clone(), to.clone());
            return Ok(Self::Encoded(Box::new(what), reader));
        }
        let overlay = web.overlay(&stored.instance.series).cloned();
        if overlay.is_none() && from == to {
            return Ok(Self::AsStored(reader.into()));
        }
        let decoders = web.conversions().decoders.as_ref();
        let decoder = decoders.filter(|_| from != to);
        let decoder = decoder.and_then(|decoders| decoders.decoder(from));
        let Some(overlay) = overlay else {
            let converter = Converter::new(from, to, decoder, &ScanLimits::default())?;
            let converter = converter.with_length(reader.length_bytes());
            return Ok(Self::Through(Box::new(converter), reader));
        };
        let coercer = Coercer::new(from, to, decoder, overlay, &CoerceLimits::default())?;
        Ok(match begin(reader, coercer).await? {
            Begun::AsStored(bytes) => Self::AsStored(bytes),
            Begun::Rewritten(coercer, reader) => Self::Through(coercer, reader),
        })
    }

    /// Sends it; after [`Gone`] nothing more is to be sent.
    pub(crate) async fn send(self, web: &Web, pieces: &Pieces) -> Result<(), Gone> {
        match self {
            Self::AsStored(mut bytes) => loop {
                match bytes.next().await {
                    Ok(Some(piece)) => pieces.put(piece).await?,
                    Ok(None) => return Ok(()),
                    Err(error) => {
                        tracing::error!(%error, "a stored instance cannot be given back");
                        return Err(Gone);
                    }
                }
            },
            Self::Encoded(what, reader) => {
                let (stored, permit, to) = &*what;
                // It is long, and rarely wanted.
                let sent = recompress::send(pieces, reader, web, (permit, stored), to);
                Box::pin(sent).await
            }
            Self::Through(work, reader) => rewrite(pieces, reader, work, web).await,
        }
    }
}

/// Sends what `reader` gives as `work` gives it again.
async fn rewrite(
    pieces: &Pieces,
    reader: DataSetReader,
    work: Box<dyn Rewrite>,
    web: &Web,
) -> Result<(), Gone> {
    let conversions = web.conversions();
    // Given back at the end: a frame is held while a client takes its time.
    let mut memory = match conversions.memory().await {
        Ok(memory) => memory,
        Err(error) => return cut(&error),
    };
    run(Sink::Client(pieces), reader, work, web, &mut memory).await?;
    Ok(())
}

/// Where what is rewritten goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sink<'p> {
    /// To a client.
    Client(&'p Pieces),
    /// It is made to know how it will be, as long as the client waits for that.
    Nowhere(&'p Pieces),
}

/// Sends what `reader` gives as `work` gives it again, which comes back when it is done. `memory`
/// grows with what it holds.
pub(crate) async fn run(
    sink: Sink<'_>,
    mut reader: DataSetReader,
    mut work: Box<dyn Rewrite>,
    web: &Web,
    memory: &mut OwnedSemaphorePermit,
) -> Result<Box<dyn Rewrite>, Gone> {
    let (conversions, piece_bytes) = (web.conversions(), web.limits().piece_bytes);
    loop {
        // Not held while a client takes its time. It is never closed.
        let Ok(turn) = Arc::clone(&conversions.turns).acquire_owned().await else {
            return Err(Gone);
        };
        // Decoding and inflating are work for threads that may be kept.
        let worked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let mut piece = Vec::new();
            let progress = work.read(&mut piece, piece_bytes);
            (work, piece, progress)
        });
        let (back, piece, progress) = match worked.await {
            Ok(worked) => worked,
            Err(error) => return cut(&error),
        };
        work = back;
        if let Err(error) = conversions.grow(memory, work.bytes_held()) {
            return cut(&error);
        }
        if matches!(progress, Ok(Progress::Done)) {
            // What stands behind the data set belongs to what the digest is of.
            loop {
                match reader.next().await {
                    Ok(Some(_behind)) => {}
                    Ok(None) => break,
                    Err(error) => return cut(&error),
                }
            }
        }
        match sink {
            Sink::Client(pieces) if !piece.is_empty() => pieces.put(piece.into()).await?,
            Sink::Client(_) => {}
            Sink::Nowhere(pieces) => pieces.check()?,
        }
        match progress {
            Ok(Progress::Full) => {}
            Ok(Progress::NeedsInput) => match reader.next().await {
                Ok(Some(chunk)) => work.push(chunk.into()),
                Ok(None) => work.end(),
                Err(error) => return cut(&error),
            },
            Ok(Progress::Done) => return Ok(work),
            Err(error) => return cut(&error),
        }
    }
}

/// Tells the log why an answer is cut.
pub(crate) fn cut<T>(error: &(dyn std::error::Error + Sync)) -> Result<T, Gone> {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    let causes: Vec<String> = causes.map(ToString::to_string).collect();
    let causes = causes.join(": ");
    tracing::warn!(%error, %causes, "an instance cannot be converted for a web client");
    Err(Gone)
}
