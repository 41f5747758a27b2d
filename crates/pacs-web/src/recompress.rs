//! Whole instances whose frames are encoded anew for clients that name a compressed transfer
//! syntax: without loss, and of nothing that a lossy compression made. Nothing is stored anew.
//!
//! What was encoded of a frame is derived data, the same that requests for frames use. An instance
//! of more than one frame is gone through twice: where its frames begin stands before them, and is
//! known when the last is encoded.

use crate::content::Content;
use crate::convert;
use crate::error::Failure;
use crate::frames::{form_of, frame_key, has_float_pixels};
use crate::service::Web;
use crate::stream::{Gone, Pieces};
use bytes::Bytes;
use pacs_core::access::Get;
use pacs_core::coerce::Coercer;
use pacs_core::convert::{ConvertError, Converter, PixelEncoder, PixelError, PixelForm, Rewrite};
use pacs_core::limits::{CoerceLimits, ScanLimits};
use pacs_core::{Permit, TransferSyntaxUid};
use pacs_image::native_form;
use pacs_store::DataSetReader;
use pacs_store::index::StoredInstance;
use pacs_store::shares::Share;
use std::sync::Arc;

/// An instance that cannot be encoded as a client wants it.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) stored: StoredInstance,
    pub(crate) to: TransferSyntaxUid,
    /// What stands in the way.
    pub(crate) why: String,
    /// All that it cannot be encoded for.
    pub(crate) impossible: Vec<TransferSyntaxUid>,
}

/// Which instances of `wanted` cannot be encoded for the transfer syntax beside them, as far as
/// their attributes tell.
///
/// # Errors
/// [`Failure`].
pub(crate) async fn refused(
    web: &Web,
    permit: &Permit<Get>,
    wanted: Vec<(StoredInstance, TransferSyntaxUid)>,
) -> Result<Vec<Refused>, Failure> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let (web, permit) = (web.clone(), permit.clone());
    let task = tokio::task::spawn_blocking(move || {
        let mut refused = Vec::new();
        for (stored, to) in wanted {
            if let Some((why, impossible)) = hindrance(&web, &permit, &stored, &to)? {
                refused.push(Refused {
                    stored,
                    to,
                    why,
                    impossible,
                });
            }
        }
        Ok(refused)
    });
    task.await.map_err(|_panicked| Failure::Internal)?
}

/// Why `stored` cannot be encoded for `to`, and what else it cannot be encoded for. Blocks.
fn hindrance(
    web: &Web,
    permit: &Permit<Get>,
    stored: &StoredInstance,
    to: &TransferSyntaxUid,
) -> Result<Option<(String, Vec<TransferSyntaxUid>)>, Failure> {
    let decoders = web.conversions().decoders().ok_or(Failure::Internal)?;
    let syntax = &stored.instance.transfer_syntax;
    let content = Content::open(web, permit, stored)?;
    let native = form_of(web, &content, stored).map(|form| native_form(syntax, &form));
    // What has no pixel data has none that would be encoded.
    let is_float = native.is_none() && has_float_pixels(web, &content, stored);
    let why = |to: &TransferSyntaxUid| match &native {
        Some(native) => {
            let checked = decoders.check_encoding(to, native);
            checked.err().map(|error| error.to_string())
        }
        None => is_float.then(|| "its samples are of floating point".to_owned()),
    };
    Ok(why(to).map(|told| {
        let mut impossible = web.conversions().encodings(syntax);
        impossible.retain(|target| why(target).is_some());
        (told, impossible)
    }))
}

/// Sends `stored`, which `reader` gives, with its frames encoded for `to`, within `memory`.
pub(crate) async fn send(
    pieces: &Pieces,
    reader: DataSetReader,
    web: &Web,
    (permit, stored): (&Permit<Get>, &StoredInstance),
    (to, memory): (&TransferSyntaxUid, &mut Share),
) -> Result<(), Gone> {
    let form = pixel_form(web, permit, stored).await?;
    let pass = |lengths| work(web, permit, stored, to, lengths);
    let mut lengths: Option<Arc<[u64]>> = None;
    if form.is_some_and(|form| form.frames > 1) {
        let first = match pass(None) {
            Ok(first) => first,
            Err(error) => return convert::cut(&error),
        };
        let reader = web.archive().read(permit, stored);
        let sink = convert::Sink::Nowhere(pieces);
        let first = convert::run(sink, reader, first, web, memory).await?;
        lengths = Some(first.frame_lengths().into());
    }
    let work = match pass(lengths) {
        Ok(work) => work,
        Err(error) => return convert::cut(&error),
    };
    let sink = convert::Sink::Client(pieces);
    convert::run(sink, reader, work, web, memory).await?;
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
        web: web.clone(),
        permit: permit.clone(),
        stored: stored.clone(),
        to: to.clone(),
        number: 0,
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

/// An encoder whose frames are derived data. It waits for nobody: it holds memory and a turn among
/// conversions, for which those may wait who have the turns to make frames.
struct Kept {
    inner: Box<dyn PixelEncoder>,
    web: Web,
    permit: Permit<Get>,
    stored: StoredInstance,
    to: TransferSyntaxUid,
    /// Of the frame that came last, from 1 on.
    number: u64,
}

impl PixelEncoder for Kept {
    fn is_by_pixel(&self) -> bool {
        self.inner.is_by_pixel()
    }

    fn begin(&mut self, native: &PixelForm) -> Result<(), PixelError> {
        self.inner.begin(native)
    }

    fn encode(&mut self, native: Vec<u8>) -> Result<Vec<u8>, PixelError> {
        self.number = self.number.saturating_add(1);
        let key = frame_key(&self.stored, &self.to, self.number);
        let derived = self.web.derived();
        if let Some(kept) = derived.kept_now(&self.permit, &key) {
            return Ok(kept.into());
        }
        let encoded = Bytes::from(self.inner.encode(native)?);
        derived.keep_now(&key, &encoded);
        Ok(encoded.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Service, may};
    use pacs_core::{Level, Query};

    /// Turns bytes around.
    struct Around;

    impl PixelEncoder for Around {
        fn is_by_pixel(&self) -> bool {
            true
        }

        fn begin(&mut self, _native: &PixelForm) -> Result<(), PixelError> {
            Ok(())
        }

        fn encode(&mut self, native: Vec<u8>) -> Result<Vec<u8>, PixelError> {
            Ok(native.into_iter().rev().collect())
        }
    }

    #[tokio::test]
    async fn whoever_encodes_a_whole_instance_waits_for_none_who_make_frames() {
        let service = Service::with(|_same| ()).await;
        service.store(1, 1, "Asanov^Bakyt").await;
        let query = Query::new(Level::Study);
        let found = service.web.archive().select(&may::<Get>(), &query).await;
        let stored = found.unwrap().first().unwrap().clone();
        let _turns = service.web.derived().all_turns_to_make_frames().await;
        let mut kept = Kept {
            inner: Box::new(Around),
            web: service.web.clone(),
            permit: may(),
            stored,
            to: TransferSyntaxUid::parse("1.2.840.10008.1.2.5").unwrap(),
            number: 0,
        };

        let encoded = tokio::task::spawn_blocking(move || kept.encode(vec![1, 2, 3]));

        assert_eq!(encoded.await.unwrap().unwrap(), [3, 2, 1]);
    }
}
