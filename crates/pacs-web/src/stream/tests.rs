//! Bodies that are whole, cut and slow, and one on a connection of hyper.

use super::*;
use axum::body::to_bytes;
use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::atomic::AtomicUsize;
use std::task::{Wake, Waker};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::io::{DuplexStream, duplex};

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

/// How often a connection was woken.
#[derive(Debug, Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The end of a body comes while this is flushed, and whoever brings it wakes nobody.
struct Flushed {
    stream: DuplexStream,
    sender: Sender<Message>,
    wakes: Arc<Wakes>,
}

impl AsyncRead for Flushed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Flushed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.sender.try_send(Message::Whole).ok();
        self.wakes.0.store(0, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The end comes between the two times that hyper (from 1.10 on) looks at a body, and the sender
/// wakes nobody since the receiver is gone (tokio from 1.53 on): what in a run on several threads
/// happens now and then.
#[tokio::test]
async fn a_connection_that_comes_upon_the_end_late_is_woken_and_closes() {
    let (ours, mut theirs) = duplex(1 << 10);
    theirs.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let (sender, receiver) = channel(2);
    let piece = Message::Piece(Bytes::from_static(b"all of it"));
    sender.send(piece).await.unwrap();
    let body = Mutex::new(Some(Body::new(Streamed {
        receiver,
        left_bytes: None,
        has_ended: false,
    })));
    let service = service_fn(move |_request: Request<Incoming>| {
        let body = body.lock().unwrap().take();
        async move { Ok::<_, Infallible>(Response::new(body.unwrap())) }
    });
    let wakes = Arc::new(Wakes::default());
    let stream = TokioIo::new(Flushed {
        stream: ours,
        sender,
        wakes: Arc::clone(&wakes),
    });
    let mut serving = pin!(http1::Builder::new().serve_connection(stream, service));

    let waker = Waker::from(Arc::clone(&wakes));
    let served = serving.as_mut().poll(&mut Context::from_waker(&waker));

    assert!(served.is_ready() || wakes.0.load(Ordering::Relaxed) > 0);
    serving.await.unwrap();
    let mut answer = Vec::new();
    theirs.read_to_end(&mut answer).await.unwrap();
    assert!(answer.ends_with(b"\r\n\r\nall of it"));
}
