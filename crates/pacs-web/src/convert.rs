//! Instances in another transfer syntax than they are stored in, for clients that name it: the
//! uncompressed ones, of whatever can be decoded. Nothing is stored anew.
//!
//! What is converted is sent at once. Where the middle of an instance cannot be converted the
//! answer is cut, so that no client takes it for whole.

use crate::limits::WebLimits;
use crate::stream::{Gone, Pieces};
use pacs_core::TransferSyntaxUid;
use pacs_core::convert::{Converter, Progress, targets};
use pacs_core::limits::ScanLimits;
use pacs_image::ImageLimits;
use pacs_store::DataSetReader;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// What an instance in `stored` can be converted to, the best first.
pub(crate) fn conversions(stored: &TransferSyntaxUid) -> Vec<TransferSyntaxUid> {
    targets(stored, pacs_image::is_decoded(stored))
}

/// How many conversions may go on at once.
#[derive(Debug, Clone)]
pub(crate) struct Turns(Arc<Semaphore>);

impl Turns {
    pub(crate) fn new(limits: &WebLimits) -> Self {
        Self(Arc::new(Semaphore::new(limits.conversions_max)))
    }
}

/// Sends what `reader` gives, which is in `from`, as a data set in `to`.
pub(crate) async fn send(
    pieces: &Pieces,
    mut reader: DataSetReader,
    (from, to): (&TransferSyntaxUid, &TransferSyntaxUid),
    turns: &Turns,
    piece_bytes: usize,
) -> Result<(), Gone> {
    let decoder = pacs_image::decoder(from, &ImageLimits::default());
    let converter = Converter::new(from, to, decoder, &ScanLimits::default());
    let mut converter = match converter {
        Ok(converter) => converter.with_length(reader.length_bytes()),
        Err(error) => return cut(pieces, &error).await,
    };
    loop {
        // Not held while a client takes its time. It is never closed.
        let Ok(turn) = Arc::clone(&turns.0).acquire_owned().await else {
            return Err(Gone);
        };
        // Decoding and inflating are work for threads that may be kept.
        let worked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let mut piece = Vec::new();
            let progress = converter.read(&mut piece, piece_bytes);
            (converter, piece, progress)
        });
        let Ok((back, piece, progress)) = worked.await else {
            pieces.cut().await;
            return Err(Gone);
        };
        converter = back;
        if !piece.is_empty() {
            pieces.put(piece.into()).await?;
        }
        match progress {
            Ok(Progress::Full) => {}
            Ok(Progress::NeedsInput) => match reader.next().await {
                Ok(Some(chunk)) => converter.push(chunk.into()),
                Ok(None) => converter.end(),
                Err(error) => return cut(pieces, &error).await,
            },
            Ok(Progress::Done) => return Ok(()),
            Err(error) => return cut(pieces, &error).await,
        }
    }
}

async fn cut(pieces: &Pieces, error: &(dyn std::error::Error + Sync)) -> Result<(), Gone> {
    tracing::warn!(%error, "an instance cannot be converted for a web client");
    pieces.cut().await;
    Err(Gone)
}
