//! Bodies that are made while they are sent, no faster than the client takes them, and not for
//! longer than it takes any of them.

use crate::limits::WebLimits;
use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;

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
}

/// Nothing more is to be sent: nobody takes the body any more, or it cannot be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gone;

impl Pieces {
    /// Gives the next piece, once there is room. A client that takes nothing for
    /// [`WebLimits::piece_wait_max`] counts as gone: what was to be sent is given back then.
    pub(crate) async fn put(&self, piece: Bytes) -> Result<(), Gone> {
        let sent = timeout(self.wait_max, self.sender.send(Message::Piece(piece))).await;
        match sent {
            Ok(sent) => sent.map_err(|_closed| Gone),
            Err(_elapsed) => {
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
    };
    let produced = produce(pieces.clone());
    tokio::spawn(async move {
        if produced.await.is_ok() {
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
        let begun = tokio::time::Instant::now();

        // Its other end goes when the making is given up.
        assert!((&mut is_held).await.is_err());

        assert!(begun.elapsed() >= limits.piece_wait_max);
        assert!(read(body).await.is_err());
    }
}
