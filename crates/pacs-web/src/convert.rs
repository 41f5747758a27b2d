//! Instances in another transfer syntax than they are stored in, for clients that name it: the
//! uncompressed ones, of whatever can be decoded; for others see [`crate::recompress`]. And those
//! that have to say who their patient is or what they were ordered for. Nothing is stored anew.
//!
//! What is converted is sent at once. There is memory for it before anything is answered; where the
//! middle of an instance cannot be converted the answer is cut, so that no client takes it for
//! whole.
//!
//! **Invariant:** who holds memory for a conversion waits for no turn to make derived data, since
//! those who have such turns wait for memory.

use crate::error::Failure;
use crate::limits::WebLimits;
use crate::recompress;
use crate::service::Web;
use crate::stream::{Gone, Pieces};
use pacs_core::access::Get;
use pacs_core::coerce::Coercer;
use pacs_core::convert::{Converter, Progress, Rewrite, is_native, targets};
use pacs_core::limits::{CoerceLimits, ScanLimits};
use pacs_core::tag::tags;
use pacs_core::{Caller, Permit, TransferSyntaxUid};
use pacs_image::Decoders;
use pacs_store::DataSetReader;
use pacs_store::egress::{AsStored, Begun, EgressError, begin};
use pacs_store::index::StoredInstance;
use pacs_store::shares::{Share, Shares};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Bytes of one permit of the budget.
const UNIT_BYTES: u64 = 1 << 20;

/// Bytes that a conversion takes beside its frame: what was read, and what comes out.
const BYTES_MIN: u64 = 2 << 20;

/// Times a native frame is in memory while it is decoded, and encoded it is smaller.
const FRAMES_DECODED: u64 = 2;

/// The same, where it is encoded again.
const FRAMES_ENCODED: u64 = 4;

/// What all conversions share: turns to work, memory and decoders.
#[derive(Debug)]
pub(crate) struct Conversions {
    turns: Arc<Semaphore>,
    memory: Shares,
    decoders: Option<Decoders>,
}

impl Conversions {
    pub(crate) fn new(limits: &WebLimits, decoders: Option<Decoders>) -> Self {
        Self {
            turns: Arc::new(Semaphore::new(limits.conversions_max)),
            memory: Shares::new(
                units(limits.conversion_memory_bytes_max).max(1),
                units(limits.conversion_memory_of_client_bytes_max).max(1),
                limits.conversion_queue_duration_max,
            ),
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

    /// A share of the memory for conversions for `caller`, once there is so much; all where more is
    /// wanted.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] after a while.
    pub(crate) async fn share(&self, caller: &Caller, bytes: u64) -> Result<Share, Failure> {
        let units = units(bytes).max(1);
        let share = self.memory.take(Some(&caller.holder()), units).await;
        share.map_err(|_none| Failure::Unavailable {
            detail: "no memory for a conversion at the moment",
        })
    }
}

fn units(bytes: u64) -> u32 {
    bytes.div_ceil(UNIT_BYTES).try_into().unwrap_or(u32::MAX)
}

/// A data set on its way to a client.
pub(crate) enum Way {
    /// Its bytes are those that are stored.
    AsStored(AsStored),
    /// Its frames are encoded for this transfer syntax.
    Encoded(
        Box<(StoredInstance, Permit<Get>, TransferSyntaxUid)>,
        DataSetReader,
    ),
    /// It goes through `work`, to which what is left is pushed.
    Through {
        work: Box<dyn Rewrite>,
        reader: DataSetReader,
        /// Whether frames are decoded on the way.
        decodes: bool,
    },
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
        let decodes = decoder.is_some();
        let Some(overlay) = overlay else {
            let converter = Converter::new(from, to, decoder, &ScanLimits::default())?;
            let converter = converter.with_length(reader.length_bytes());
            return Ok(Self::Through {
                work: Box::new(converter),
                reader,
                decodes,
            });
        };
        let coercer = Coercer::new(from, to, decoder, overlay, &CoerceLimits::default())?;
        Ok(match begin(reader, coercer).await? {
            Begun::AsStored(bytes) => Self::AsStored(bytes),
            Begun::Rewritten(work, reader) => Self::Through {
                work,
                reader,
                decodes,
            },
        })
    }

    /// The memory that it takes to be sent, as far as the index tells; `None`: none of that for
    /// conversions.
    pub(crate) fn bytes_needed(&self, stored: &StoredInstance) -> Option<u64> {
        let frame = native_frame_bytes(stored);
        let frames = match self {
            Self::AsStored(_) => return None,
            Self::Encoded(..) => frame.saturating_mul(FRAMES_ENCODED),
            Self::Through { decodes: true, .. } => frame.saturating_mul(FRAMES_DECODED),
            Self::Through { decodes: false, .. } => 0,
        };
        Some(frames.saturating_add(BYTES_MIN))
    }

    /// Sends it with `memory`; after [`Gone`] nothing more is to be sent.
    pub(crate) async fn send(
        self,
        web: &Web,
        pieces: &Pieces,
        memory: &mut Option<Share>,
    ) -> Result<(), Gone> {
        match (self, memory) {
            (Self::AsStored(mut bytes), _) => loop {
                match bytes.next().await {
                    Ok(Some(piece)) => pieces.put(piece).await?,
                    Ok(None) => return Ok(()),
                    Err(error) => {
                        tracing::error!(%error, "a stored instance cannot be given back");
                        return Err(Gone);
                    }
                }
            },
            (Self::Encoded(what, reader), Some(memory)) => {
                let (stored, permit, to) = &*what;
                // It is long, and rarely wanted.
                let sent = recompress::send(pieces, reader, web, (permit, stored), (to, memory));
                Box::pin(sent).await
            }
            (Self::Through { work, reader, .. }, Some(memory)) => {
                // Held to the end: a frame is in memory while a client takes its time.
                run(Sink::Client(pieces), reader, work, web, memory).await?;
                Ok(())
            }
            (_, None) => Err(Gone),
        }
    }
}

/// Memory of so many bytes to send an instance, which is waited for, since nothing is held
/// meanwhile: of what is `held` from the instance before, if that is enough.
///
/// # Errors
/// [`Failure::Unavailable`].
pub(crate) async fn memory(
    web: &Web,
    caller: &Caller,
    bytes: Option<u64>,
    held: Option<Share>,
) -> Result<Option<Share>, Failure> {
    let Some(bytes) = bytes else {
        return Ok(held);
    };
    if let Some(mut held) = held
        && held.need(units(bytes)).is_ok()
    {
        return Ok(Some(held));
    }
    web.conversions().share(caller, bytes).await.map(Some)
}

/// Bytes of a frame when it is decoded, as far as the index tells.
fn native_frame_bytes(stored: &StoredInstance) -> u64 {
    let number = |tag, default| {
        let text = stored.instance.attributes.text(tag);
        let number = text.and_then(|text| text.trim().parse::<u16>().ok());
        u64::from(number.unwrap_or(default))
    };
    let pixels = number(tags::ROWS, 0).saturating_mul(number(tags::COLUMNS, 0));
    let samples = number(tags::SAMPLES_PER_PIXEL, 1);
    let bits = number(tags::BITS_ALLOCATED, 16).saturating_mul(samples);
    pixels.saturating_mul(bits).div_ceil(8)
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
    memory: &mut Share,
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
        if let Err(error) = memory.need(units(work.bytes_held())) {
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
