//! Bodies that are made while they are sent, no faster than the client takes them.

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// The body cannot be given to its end: the connection is cut, so that the client does not take
/// what it has for the whole.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the answer was cut")]
pub(crate) struct Cut;

/// Where the pieces of a body go.
#[derive(Debug)]
pub(crate) struct Pieces {
    sender: Sender<Result<Bytes, Cut>>,
}

/// Nobody takes the body any more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gone;

impl Pieces {
    /// Gives the next piece, once there is room.
    pub(crate) async fn put(&self, piece: Bytes) -> Result<(), Gone> {
        self.sender.send(Ok(piece)).await.map_err(|_| Gone)
    }

    /// Ends the body where it must not end.
    pub(crate) async fn cut(&self) {
        // Who has gone needs not be told.
        self.sender.send(Err(Cut)).await.ok();
    }
}

/// A body of `length_bytes` (where that is known), and where its pieces go.
pub(crate) fn body(pieces_waiting_max: usize, length_bytes: Option<u64>) -> (Pieces, Body) {
    let (sender, receiver) = channel(pieces_waiting_max.max(1));
    let streamed = Streamed {
        receiver,
        left_bytes: length_bytes,
    };
    (Pieces { sender }, Body::new(streamed))
}

struct Streamed {
    receiver: Receiver<Result<Bytes, Cut>>,
    left_bytes: Option<u64>,
}

impl HttpBody for Streamed {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.receiver.poll_recv(context).map(|piece| {
            let piece = piece?;
            if let (Ok(piece), Some(left)) = (&piece, &mut self.left_bytes) {
                *left = left.saturating_sub(u64::try_from(piece.len()).unwrap_or(u64::MAX));
            }
            Some(piece.map(Frame::data))
        })
    }

    fn size_hint(&self) -> SizeHint {
        self.left_bytes
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
