//! Bodies that are made while they are sent, no faster than the client takes them, and not for
//! longer than it takes any of them.

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

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;
    use std::future::poll_fn;

    async fn read(body: Body) -> Result<Bytes, axum::Error> {
        to_bytes(body, usize::MAX).await
    }

    #[tokio::test]
    async fn a_body_is_whole_where_all_of_it_was_given() {
        let body = body(&WebLimits::default(), None, |pieces| async move {
            for piece in ["a", "b", "c", "d"] {
                pieces.put(Bytes::from_static(piece.as_bytes())).await?;
            }
            Ok(())
        });
        assert_eq!(read(body).await.unwrap(), "abcd");
    }

    #[tokio::test]
    async fn a_short_piece_goes_with_the_one_behind_it_and_is_not_lost_at_the_end() {
        let large = vec![b'x'; JOINED_BYTES_MAX + 1];
        let expected = [b"ab", &large[..], b"c"].concat();
        let mut body = body(&WebLimits::default(), None, |pieces| async move {
            pieces.put_with_next(b"a");
            pieces.put(Bytes::from_static(b"b")).await?;
            pieces.put(large.into()).await?;
            pieces.put_with_next(b"c");
            Ok(())
        });
        let first = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        let first = first.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first, "ab");
        let rest = read(body).await.unwrap();
        assert!([&first[..], &rest[..]].concat() == expected);
    }

    #[tokio::test]
    async fn a_body_whose_making_fails_or_panics_does_not_end_as_if_it_were_whole() {
        let failing = body(&WebLimits::default(), None, |pieces| async move {
            pieces.put(Bytes::from_static(b"a")).await?;
            Err(Gone)
        });
        assert!(read(failing).await.is_err());
        let panicking = body(&WebLimits::default(), None, |pieces| async move {
            pieces.put(Bytes::from_static(b"a")).await?;
            assert!(pieces.wait_max.is_zero(), "a panic for the test");
            Ok(())
        });
        assert!(read(panicking).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up_and_what_it_held_is_free() {
        let limits = WebLimits::default();
        let (held, mut is_held) = tokio::sync::oneshot::channel::<()>();
        let body = body(&limits, None, |pieces| async move {
            let _held = held;
            loop {
                pieces.put(Bytes::from_static(b"a")).await?;
            }
        });
        let begun = Instant::now();

        // Its other end goes when the making is given up.
        assert!((&mut is_held).await.is_err());

        assert!(begun.elapsed() >= limits.piece_wait_max);
        assert!(read(body).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_a_little_now_and_then_is_given_up_and_one_that_hurries_is_not() {
        let limits = WebLimits::default();
        for (bytes, seconds, is_slow) in [(100, 30, true), (60_000, 50, false)] {
            let body = body(&limits, None, |pieces| async move {
                for _ in 0..100 {
                    pieces.put(vec![0; bytes].into()).await?;
                }
                Ok(())
            });
            let mut body = std::pin::pin!(body);
            let mut taken = 0;
            let ended = loop {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                match poll_fn(|context| body.as_mut().poll_frame(context)).await {
                    Some(Ok(frame)) => taken += frame.into_data().map_or(0, |data| data.len()),
                    ended => break ended,
                }
            };
            assert_eq!(ended.is_some(), is_slow, "{bytes}");
            assert_eq!(taken < 100 * bytes, is_slow, "{bytes}");
        }
    }
}
