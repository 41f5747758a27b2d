//! The hand-shake before an association, as bounded as everything else of a stranger.

use super::session::{self, Origin, reached};
use super::{Phase, Shared};
use crate::link::{ByteStream, Ending};
use crate::security::{Channel, Security, TlsError};
use crate::strangers::Stranger;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Memory that a hand-shake takes, about: it counts as that of an association request.
const HANDSHAKE_BYTES: usize = 16 << 10;

/// Secures a connection and serves it to its end.
pub(super) async fn serve(
    stream: TcpStream,
    address: SocketAddr,
    security: Arc<dyn Security>,
    shared: Arc<Shared>,
) -> Ending {
    let stranger = shared.strangers.enter(address.ip(), &shared.limits);
    let mut phase = shared.phase.subscribe();
    let shaking = shake_hands(stream, &*security, &stranger, &shared);
    let secured = tokio::select! {
        secured = timeout(shared.limits.handshake_duration_max, shaking) => {
            secured.unwrap_or(Err(TlsError::TimedOut))
        }
        () = stranger.has_to_go() => return Ending::GivenUp,
        () = reached(&mut phase, Phase::Draining) => return Ending::GivenUp,
    };
    match secured {
        Ok((stream, channel)) => {
            let origin = Origin { address, channel };
            session::serve(stream, origin, stranger, shared).await
        }
        Err(error) => {
            shared.observer.handshake_failed(address, error);
            Ending::Tls(error)
        }
    }
}

async fn shake_hands(
    stream: TcpStream,
    security: &dyn Security,
    stranger: &Stranger,
    shared: &Shared,
) -> Result<(Box<dyn ByteStream>, Channel), TlsError> {
    // A silent connection costs no more than its socket.
    let failed = |error: std::io::Error| TlsError::Transport(error.kind());
    if stream.peek(&mut [0]).await.map_err(failed)? == 0 {
        return Err(TlsError::Transport(std::io::ErrorKind::UnexpectedEof));
    }
    stranger.hold(HANDSHAKE_BYTES, &shared.limits);
    security.secure(stream).await
}
