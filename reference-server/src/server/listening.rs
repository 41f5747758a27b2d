//! The listeners.

use super::StartError;
use crate::config::Config;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpSocket};

/// Connections that the system holds until we take them: a hospital that comes back from a power
/// cut connects at once.
const BACKLOG: u32 = 4096;

pub(super) fn listen_secured(config: &Config) -> Result<Option<TcpListener>, StartError> {
    let at = config.tls.address;
    at.map(|at| listen("DICOM over TLS", at)).transpose()
}

pub(super) fn listen(
    protocol: &'static str,
    address: SocketAddr,
) -> Result<TcpListener, StartError> {
    let open = || {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        // As `TcpListener::bind` does: a server that starts again need not wait for old
        // connections.
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    open().map_err(|source| StartError::Listen {
        protocol,
        address,
        source,
    })
}
