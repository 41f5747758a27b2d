//! Transport connections: the options that every DICOM socket needs, and who opens them.

use crate::link::ByteStream;
use async_trait::async_trait;
use pacs_core::AeTitle;
use std::fmt::Debug;
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;

/// Silence on a connection before the kernel asks whether the peer is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Sets what every socket needs. Without `TCP_NODELAY` each response waits for a delayed
/// acknowledgement.
///
/// # Errors
/// Those of the operating system.
pub fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE);
    socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive)
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
        let stream = TcpStream::connect(address).await?;
        prepare(&stream)?;
        Ok(Box::new(stream))
    }
}
