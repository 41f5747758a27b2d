//! Transport connections: the options that every DICOM socket needs, and who opens them.

use crate::link::ByteStream;
use async_trait::async_trait;
use pacs_core::AeTitle;
use std::fmt::Debug;
use std::io;
use std::time::Duration;
use tokio::net::{TcpStream, ToSocketAddrs};

/// Silence on a connection before the kernel asks whether the peer is still there.
pub const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);

/// Between two questions of the kernel that nobody answers.
pub const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);

/// Questions that nobody answers, after which the connection is given up: two minutes after the
/// peer was heard of last.
pub const KEEPALIVE_COUNT: u32 = 4;

/// Sets what every socket needs, of connections that were accepted and of those that were opened.
/// Without `TCP_NODELAY` each response waits for a delayed acknowledgement; without keep-alive a
/// peer whose power went, or that a firewall forgot, is there for ever.
///
/// # Errors
/// Those of the operating system.
pub fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_EVERY)
        .with_retries(KEEPALIVE_COUNT);
    socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Opens a TCP connection to `address` (`host:port`) that has what every socket needs. The caller
/// bounds the wait.
///
/// # Errors
/// Those of the operating system.
pub async fn open(address: impl ToSocketAddrs) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    prepare(&stream)?;
    Ok(stream)
}

/// Opens connections to peers, so that an application can put TLS or a proxy between.
#[async_trait]
pub trait Connector: Debug + Send + Sync + 'static {
    /// Connects to `address` (`host:port`) for an association with `called_ae_title`. The caller
    /// bounds the wait.
    ///
    /// # Errors
    /// Why no connection came about; a [`crate::security::TlsError`] inside shows as such.
    async fn connect(
        &self,
        address: &str,
        called_ae_title: &AeTitle,
    ) -> io::Result<Box<dyn ByteStream>>;
}

/// Plain TCP.
#[derive(Debug, Clone, Copy)]
pub struct TcpConnector;

#[async_trait]
impl Connector for TcpConnector {
    async fn connect(
        &self,
        address: &str,
        _called_ae_title: &AeTitle,
    ) -> io::Result<Box<dyn ByteStream>> {
        Ok(Box::new(open(address).await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn connections_that_were_opened_and_accepted_ask_whether_the_peer_is_there() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let opened = open(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        assert!(!socket2::SockRef::from(&accepted).keepalive().unwrap());
        prepare(&accepted).unwrap();

        for stream in [&opened, &accepted] {
            let socket = socket2::SockRef::from(stream);
            assert!(stream.nodelay().unwrap() && socket.keepalive().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_AFTER);
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), KEEPALIVE_EVERY);
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), KEEPALIVE_COUNT);
        }
    }
}
