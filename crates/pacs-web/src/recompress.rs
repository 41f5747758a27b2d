//! Whole instances whose frames are encoded anew for clients that name a compressed transfer
//! syntax: without loss, and of nothing that a lossy compression made. Nothing is stored anew.
//!
//! What was encoded of a frame is derived data, the same that requests for frames use: one encodes
//! for all who wait. An instance of more than one frame is gone through twice: where its frames
//! begin stands before them, and is known when the last is encoded.

use crate::content::Content;
use crate::convert;
use crate::error::Failure;
use crate::frames::{form_of, frame_key};
use crate::service::Web;
use crate::stream::{Gone, Pieces};
use bytes::Bytes;
use pacs_core::access::Get;
use pacs_core::coerce::Coercer;
use pacs_core::convert::{ConvertError, Converter, PixelEncoder, PixelError, PixelForm, Rewrite};
use pacs_core::limits::{CoerceLimits, ScanLimits};
use pacs_core::{Permit, TransferSyntaxUid};
use pacs_image::{Decoders, native_form};
use pacs_store::DataSetReader;
use pacs_store::index::StoredInstance;
use std::sync::Arc;
use tokio::runtime::Handle;

/// Times a native frame is in memory while it is encoded, and encoded it is smaller.
const FRAMES_HELD: u64 = 4;

/// Bytes that a conversion takes beside its frame: what was read, and what comes out.
const BYTES_MIN: u64 = 2 << 20;

/// Whether each instance of `wanted` can be encoded for the transfer syntax beside it, as far as
/// its attributes tell.
///
/// # Errors
/// [`Failure::NotAcceptable`] names what one that cannot be is available in.
pub(crate) async fn check(
    web: &Web,
    permit: &Permit<Get>,
    wanted: Vec<(StoredInstance, TransferSyntaxUid)>,
) -> Result<(), Failure> {
    if wanted.is_empty() {
        return Ok(());
    }
    let (web, permit) = (web.clone(), permit.clone());
    let task = tokio::task::spawn_blocking(move || {
        for (stored, to) in wanted {
            let decoders = web.conversions().decoders().ok_or(Failure::Internal)?;
            let syntax = &stored.instance.transfer_syntax;
            let content = Content::open(&web, &permit, &stored)?;
            let Some(form) = form_of(&web, &content, &stored) else {
                // It has no pixel data that would be encoded.
                continue;
            };
            let native = native_form(syntax, &form);
            if let Err(error) = decoders.check_encoding(&to, &native) {
                let instance = stored.instance.instance.as_str();
                let available = format!(
                    "{instance} not in {to}, since {error}, but as stored ({syntax}) or \
                     uncompressed"
                );
                return Err(Failure::NotAcceptable { available });
            }
        }
        Ok(())
    });
    task.await.map_err(|_panicked| Failure::Internal)?
}

/// Sends `stored`, which `reader` gives, with its frames encoded for `to`.
pub(crate) async fn send(
    pieces: &Pieces,
    reader: DataSetReader,
    web: &Web,
    (permit, stored): (&Permit<Get>, &StoredInstance),
    to: &TransferSyntaxUid,
) -> Result<(), Gone> {
    let form = pixel_form(web, permit, stored).await?;
    let native = form.map(|form| native_form(&stored.instance.transfer_syntax, &form));
    let frame_bytes = native.map_or(0, |form| form.frame_bits().div_ceil(8));
    let bytes = frame_bytes.saturating_mul(FRAMES_HELD);
    let memory = web.conversions().share(bytes.saturating_add(BYTES_MIN));
    let mut memory = match memory.await {
        Ok(memory) => memory,
        Err(error) => return convert::cut(&error),
    };
    let pass = |lengths| work(web, permit, stored, to, lengths);
    let mut lengths: Option<Arc<[u64]>> = None;
    if native.is_some_and(|form| form.frames > 1) {
        let first = match pass(None) {
            Ok(first) => first,
            Err(error) => return convert::cut(&error),
        };
        let reader = web.archive().read(permit, stored);
        let sink = convert::Sink::Nowhere(pieces);
        let first = convert::run(sink, reader, first, web, &mut memory).await?;
        lengths = Some(first.frame_lengths().into());
    }
    let work = match pass(lengths) {
        Ok(work) => work,
        Err(error) => return convert::cut(&error),
    };
    let sink = convert::Sink::Client(pieces);
    convert::run(sink, reader, work, web, &mut memory).await?;
    Ok(())
}

async fn pixel_form(
    web: &Web,
    permit: &Permit<Get>,
    stored: &StoredInstance,
) -> Result<Option<PixelForm>, Gone> {
    let (web, permit, stored) = (web.clone(), permit.clone(), stored.clone());
    let task = tokio::task::spawn_blocking(move || {
        let content = Content::open(&web, &permit, &stored)?;
        Ok::<_, Failure>(form_of(&web, &content, &stored))
    });
    match task.await {
        Ok(Ok(form)) => Ok(form),
        Ok(Err(error)) => convert::cut(&error),
        Err(error) => convert::cut(&error),
    }
}

/// What the data set goes through. It says who its patient is, as all that is given.
fn work(
    web: &Web,
    permit: &Permit<Get>,
    stored: &StoredInstance,
    to: &TransferSyntaxUid,
    lengths: Option<Arc<[u64]>>,
) -> Result<Box<dyn Rewrite>, ConvertError> {
    let decoders = web.conversions().decoders();
    let decoders = decoders.ok_or(ConvertError::Unsupported)?;
    let inner = decoders.encoder(to).ok_or(ConvertError::Unsupported)?;
    let from = &stored.instance.transfer_syntax;
    let encoder = Kept {
        inner,
        decoders: decoders.clone(),
        web: web.clone(),
        permit: permit.clone(),
        stored: stored.clone(),
        to: to.clone(),
        form: None,
        number: 0,
        runtime: Handle::current(),
    };
    let (encoder, decoder) = (Box::new(encoder), decoders.decoder(from));
    let bytes = stored.location.length_bytes;
    let Some(overlay) = web.overlay(&stored.instance.series).cloned() else {
        let limits = ScanLimits::default();
        let converter = Converter::encoding(from, decoder, encoder, lengths, &limits)?;
        return Ok(Box::new(converter.with_length(bytes)));
    };
    let limits = CoerceLimits::default();
    let coercer = Coercer::encoding(from, decoder, encoder, lengths, overlay, &limits)?;
    Ok(Box::new(coercer.with_length(bytes)))
}

/// An encoder whose frames are derived data.
struct Kept {
    inner: Box<dyn PixelEncoder>,
    decoders: Decoders,
    web: Web,
    permit: Permit<Get>,
    stored: StoredInstance,
    to: TransferSyntaxUid,
    /// Of the pixel data that has begun.
    form: Option<PixelForm>,
    /// Of the frame that came last, from 1 on.
    number: u64,
    /// Of the threads that may wait for this one, which may block.
    runtime: Handle,
}

impl PixelEncoder for Kept {
    fn is_by_pixel(&self) -> bool {
        self.inner.is_by_pixel()
    }

    fn begin(&mut self, native: &PixelForm) -> Result<(), PixelError> {
        self.form = Some(*native);
        self.inner.begin(native)
    }

    fn encode(&mut self, native: Vec<u8>) -> Result<Vec<u8>, PixelError> {
        let what = "a frame outside pixel data";
        let form = self.form.ok_or(PixelError::Damaged { what })?;
        self.number = self.number.saturating_add(1);
        let key = frame_key(&self.stored, &self.to, self.number);
        let native = Bytes::from(native);
        let (decoders, to, frame) = (self.decoders.clone(), self.to.clone(), native.clone());
        let making = async move {
            let encoding = tokio::task::spawn_blocking(move || {
                let encoded = decoders.encode_frame(&to, &form, &frame);
                encoded.map(Bytes::from)
            });
            let encoded = encoding.await.map_err(|_panicked| Failure::Internal)?;
            encoded.map_err(Failure::from)
        };
        let derived = self.web.derived().clone();
        let made = derived.get_or_make(&self.permit, key, making);
        match self.runtime.block_on(made) {
            Ok(encoded) => Ok(encoded.into()),
            // Others may have had no memory or turn for it; what is wrong with it shows again.
            Err(_) => self.inner.encode(native.into()),
        }
    }
}
