//! Bodies that are made while they are sent, no faster than the client takes them, and not for
//! longer than it takes any of them.

#[cfg(test)]
mod tests;

use crate::limits::WebLimits;
use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, timeout};

/// Bytes of a piece that is joined with a short one before it: to send each alone takes longer than
/// to copy both.
const JOINED_BYTES_MAX: usize = 256 << 10;

/// The body cannot be given to its end: the connection is cut, so that the client does not take
/// what it has for the whole.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the answer was cut")]
pub(crate) struct Cut;

/// What goes to a body.
#[derive(Debug)]
enum Message {
    Piece(Bytes),
    /// All of it was given.
    Whole,
}

/// Where the pieces of a body go.
#[derive(Debug, Clone)]
pub(crate) struct Pieces {
    sender: Sender<Message>,
    wait_max: Duration,
    bytes_per_second_min: u64,
    pace: Arc<Pace>,
    /// Goes with the next piece.
    short: Arc<Mutex<Vec<u8>>>,
}

/// How fast the client is.
#[derive(Debug, Default)]
struct Pace {
    waited_ms: AtomicU64,
    bytes: AtomicU64,
}

/// Nothing more is to be sent: nobody takes the body any more, or it cannot be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gone;

impl Pieces {
    /// Gives a short piece, which goes with the one behind it: each alone is a task woken and a
    /// packet sent.
    pub(crate) fn put_with_next(&self, piece: &[u8]) {
        let mut short = self.short.lock().unwrap_or_else(PoisonError::into_inner);
        short.extend_from_slice(piece);
    }

    fn take_short(&self) -> Vec<u8> {
        let mut short = self.short.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *short)
    }

    /// Gives what waits for a piece behind it.
    async fn put_short(&self) -> Result<(), Gone> {
        let short = self.take_short();
        if short.is_empty() {
            return Ok(());
        }
        self.give(short.into()).await
    }

    /// Gives the next piece, once there is room. A client that takes nothing for
    /// [`WebLimits::piece_wait_max`], or less than
    /// [`WebLimits::leaving_bytes_per_second_min`] on the whole, counts as gone: what was to be
    /// sent is given back then.
    pub(crate) async fn put(&self, piece: Bytes) -> Result<(), Gone> {
        if piece.len() > JOINED_BYTES_MAX {
            self.put_short().await?;
            return self.give(piece).await;
        }
        let mut short = self.take_short();
        if short.is_empty() {
            return self.give(piece).await;
        }
        short.extend_from_slice(&piece);
        self.give(short.into()).await
    }

    async fn give(&self, piece: Bytes) -> Result<(), Gone> {
        let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        let before = self.pace.bytes.fetch_add(length, Ordering::Relaxed);
        match self.sender.try_send(Message::Piece(piece)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(_)) => Err(Gone),
            Err(TrySendError::Full(message)) => self.wait(message, before).await,
        }
    }

    /// Gives it when there is room, behind so many bytes.
    async fn wait(&self, message: Message, before: u64) -> Result<(), Gone> {
        let begun = Instant::now();
        let sent = timeout(self.wait_max, self.sender.send(message)).await;
        let waited_ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        // Only what the client is waited for: what it waits for is not its fault.
        let here_ms = waited_ms(begun.elapsed());
        let waited = self.pace.waited_ms.fetch_add(here_ms, Ordering::Relaxed);
        let slow_ms = waited
            .saturating_add(here_ms)
            .saturating_sub(waited_ms(self.wait_max));
        let due = slow_ms.saturating_mul(self.bytes_per_second_min) / 1_000;
        match sent {
            Ok(sent) if due <= before => sent.map_err(|_closed| Gone),
            _ => {
                tracing::info!("a client takes its answer too slowly: it is cut");
                Err(Gone)
            }
        }
    }
}

impl Pieces {
    /// Whether somebody still takes the body.
    pub(crate) fn check(&self) -> Result<(), Gone> {
        if self.sender.is_closed() {
            return Err(Gone);
        }
        Ok(())
    }
}

/// A body of `length_bytes` (where that is known), whose pieces `produce` gives in a task of its
/// own. It is whole where that returns so; where it gives up, panics or is dropped, the connection
/// is cut.
pub(crate) fn body<P, F>(limits: &WebLimits, length_bytes: Option<u64>, produce: P) -> Body
where
    P: FnOnce(Pieces) -> F,
    F: Future<Output = Result<(), Gone>> + Send + 'static,
{
    let (sender, receiver) = channel(limits.pieces_waiting_max.max(1));
    let pieces = Pieces {
        sender,
        wait_max: limits.piece_wait_max,
        bytes_per_second_min: limits.leaving_bytes_per_second_min,
        pace: Arc::default(),
        short: Arc::default(),
    };
    let produced = produce(pieces.clone());
    tokio::spawn(async move {
        if produced.await.is_ok() && pieces.put_short().await.is_ok() {
            let whole = pieces.sender.send(Message::Whole);
            // Who takes nothing more has all of it, or does not want it.
            timeout(pieces.wait_max, whole).await.ok();
        }
    });
    Body::new(Streamed {
        receiver,
        left_bytes: length_bytes,
        has_ended: false,
    })
}

struct Streamed {
    receiver: Receiver<Message>,
    left_bytes: Option<u64>,
    has_ended: bool,
}

impl HttpBody for Streamed {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        match ready!(self.receiver.poll_recv(context)) {
            Some(Message::Piece(piece)) => {
                if let Some(left) = &mut self.left_bytes {
                    *left = left.saturating_sub(u64::try_from(piece.len()).unwrap_or(u64::MAX));
                }
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Some(Message::Whole) => {
                self.has_ended = true;
                // hyper looks again after it has written. Where it comes upon the end only then,
                // and that has no bytes of its own (HTTP/1.0), it closes the connection when it is
                // woken next; but the sender may be about to wake a receiver that is gone by then,
                // with its waker.
                context.waker().wake_by_ref();
                Poll::Ready(None)
            }
            None => {
                self.has_ended = true;
                Poll::Ready(Some(Err(Cut)))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.left_bytes
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
