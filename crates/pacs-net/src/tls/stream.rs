//! A TLS connection as a byte stream whose errors are [`TlsError`](crate::security::TlsError)s.

use super::failure;
use bytes::BytesMut;
use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

pub(super) struct SecureStream {
    stream: TlsStream<ReadAhead<TcpStream>>,
    /// An end without `close_notify` is an error.
    needs_close_notify: bool,
}

impl SecureStream {
    pub(super) fn new(stream: TlsStream<ReadAhead<TcpStream>>) -> Self {
        Self {
            stream,
            needs_close_notify: false,
        }
    }

    pub(super) fn needing_close_notify(self, needs_close_notify: bool) -> Self {
        Self {
            needs_close_notify,
            ..self
        }
    }
}

fn named<T>(result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| {
        if error
            .get_ref()
            .is_some_and(|inner| inner.is::<rustls::Error>())
        {
            failure::of_stream(&error).into()
        } else {
            error
        }
    })
}

impl AsyncRead for SecureStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        Poll::Ready(match named(read) {
            // Many peers leave without a close_notify. That an association was cut short shows in
            // its own messages, which end with A-RELEASE.
            Err(error)
                if error.kind() == io::ErrorKind::UnexpectedEof && !self.needs_close_notify =>
            {
                Ok(())
            }
            read => read,
        })
    }
}

impl AsyncWrite for SecureStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes).map(named)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream)
            .poll_write_vectored(cx, slices)
            .map(named)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx).map(named)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx).map(named)
    }
}

/// Bytes read at once while there are many to read.
const AHEAD_BYTES: usize = 64 << 10;

/// Reads ahead while there is much to read, since rustls asks for 4 KiB at a time. Who waits holds
/// no buffer.
#[derive(Debug)]
pub(super) struct ReadAhead<S> {
    inner: S,
    ahead: BytesMut,
    /// Whether the last read was filled to its end, so that there may be more.
    is_filled: bool,
}

impl<S> ReadAhead<S> {
    pub(super) fn new(inner: S) -> Self {
        Self {
            inner,
            ahead: BytesMut::new(),
            is_filled: false,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ahead.is_empty() && !this.is_filled {
            ready!(Pin::new(&mut this.inner).poll_read(cx, buffer))?;
            this.is_filled = buffer.remaining() == 0;
            return Poll::Ready(Ok(()));
        }
        if this.ahead.is_empty() {
            this.ahead.reserve(AHEAD_BYTES);
            let read = pin!(this.inner.read_buf(&mut this.ahead)).poll(cx);
            this.is_filled = matches!(read, Poll::Ready(Ok(bytes)) if bytes >= buffer.remaining());
            if this.ahead.is_empty() {
                this.ahead = BytesMut::new();
            }
            ready!(read)?;
        }
        let taken = this.ahead.len().min(buffer.remaining());
        buffer.put_slice(&this.ahead.split_to(taken));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAhead<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::AsyncWriteExt as _;
    use tokio::time::timeout;

    #[tokio::test]
    async fn what_is_read_ahead_is_whole_and_no_buffer_waits() {
        let (mut near, far) = tokio::io::duplex(256 << 10);
        let mut reader = ReadAhead::new(far);
        let sent: Vec<u8> = (0..200_000_u32)
            .flat_map(u32::to_be_bytes)
            .take(200_003)
            .collect();
        near.write_all(&sent).await.unwrap();
        let mut received = Vec::new();
        let mut piece = [0; 4096];

        while received.len() < sent.len() {
            let length = reader.read(&mut piece).await.unwrap();
            received.extend_from_slice(&piece[..length]);
        }

        assert!(received == sent);
        let waiting = timeout(Duration::from_millis(1), reader.read(&mut piece)).await;
        assert!(waiting.is_err());
        assert_eq!(reader.ahead.capacity(), 0);
        drop(near);
        assert_eq!(reader.read(&mut piece).await.unwrap(), 0, "the end");
    }
}
