//! One connection to a repository: frames go out, nothing comes back but its end.

use crate::config::audit::SyslogConfig;
use crate::limits::{
    FORWARD_CONNECT_DURATION_MAX, FORWARD_END_DURATION_MAX, FORWARD_SAID_BYTES_MAX,
    FORWARD_WRITE_DURATION_MAX,
};
use crate::tls::{TlsFileError, outgoing};
use pacs_net::ByteStream;
use pacs_net::security::TlsError;
use pacs_store::registry::audit::AuditError;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::time::timeout;

/// How long a connection that takes nothing may need to say why.
const WHY: Duration = Duration::from_secs(1);

/// Why the trail was not forwarded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum ForwardError {
    /// The trail cannot be read, or the position not be kept.
    #[error("the audit trail could not be followed")]
    Audit(#[from] AuditError),
    /// No connection came about.
    #[error("no connection")]
    Connect(#[source] io::Error),
    /// The repository ended the connection while there was more to come.
    #[error("the connection ended in the middle")]
    Ended,
    /// Our certificates are of no use any more.
    #[error(transparent)]
    Files(#[from] TlsFileError),
    /// The connection failed.
    #[error("the connection was lost")]
    Lost(#[source] io::Error),
    /// It took too long.
    #[error("it took too long {0}")]
    Slow(&'static str),
    /// It says something, which no repository does.
    #[error("it speaks another protocol")]
    Speaks,
}

impl ForwardError {
    /// A short name, for labels.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Audit(_) => "trail",
            Self::Connect(error) => TlsError::within(error).map_or("connect", TlsError::name),
            Self::Ended => "ended",
            Self::Files(_) => "files",
            Self::Lost(error) => TlsError::within(error).map_or("lost", TlsError::name),
            Self::Slow(_) => "slow",
            Self::Speaks => "protocol",
        }
    }

    /// Whether one of both sides is not whom the other expects.
    pub(super) fn is_of_identity(&self) -> bool {
        let (Self::Connect(error) | Self::Lost(error)) = self else {
            return false;
        };
        matches!(
            TlsError::within(error),
            Some(
                TlsError::Alert { .. }
                    | TlsError::Certificate { .. }
                    | TlsError::Expired
                    | TlsError::NoCertificate
                    | TlsError::NotPinned
                    | TlsError::NotYetValid
                    | TlsError::UnknownAuthority
                    | TlsError::WrongName
            )
        )
    }
}

type Reading = Pin<Box<dyn Future<Output = Result<(), ForwardError>> + Send>>;

/// A connection.
pub(super) struct Connection {
    writer: WriteHalf<Box<dyn ByteStream>>,
    /// Ends with the connection; `Ok` where the repository ended it in order.
    reading: Reading,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Connection {
    pub(super) async fn open(config: &SyslogConfig) -> Result<Self, ForwardError> {
        let client = outgoing("audit.syslog", &config.tls)?;
        let client = client.needing_close_notify(config.needs_close_notify);
        let opened = timeout(FORWARD_CONNECT_DURATION_MAX, client.open(&config.address)).await;
        let stream = opened.map_err(|_elapsed| ForwardError::Slow("to connect"))?;
        let stream = stream.map_err(ForwardError::Connect)?;
        let (reader, writer) = tokio::io::split(stream);
        Ok(Self {
            writer,
            reading: Box::pin(read_to_end(reader)),
        })
    }

    /// Sends a frame.
    pub(super) async fn send(&mut self, frame: &[u8]) -> Result<(), ForwardError> {
        let writing = async {
            self.writer.write_all(frame).await?;
            self.writer.flush().await
        };
        let written = tokio::select! {
            biased;
            ended = &mut self.reading => return Err(in_the_middle(ended)),
            written = timeout(FORWARD_WRITE_DURATION_MAX, writing) => written,
        };
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                // The other side says why, where it is our certificate that it does not take.
                match timeout(WHY, &mut self.reading).await {
                    Ok(Err(why)) => Err(why),
                    Ok(Ok(())) | Err(_) => Err(ForwardError::Lost(error)),
                }
            }
            Err(_elapsed) => Err(ForwardError::Slow("to take a message")),
        }
    }

    /// Waits until the repository ends the connection, and says how.
    pub(super) async fn ended(&mut self) -> ForwardError {
        in_the_middle((&mut self.reading).await)
    }

    /// Says that nothing more comes, and waits until the repository has read all and ends its side.
    pub(super) async fn end(mut self) -> Result<(), ForwardError> {
        let ending = async {
            let said = self.writer.shutdown().await;
            // What the other side says tells more.
            self.reading.await?;
            said.map_err(ForwardError::Lost)
        };
        match timeout(FORWARD_END_DURATION_MAX, ending).await {
            Ok(ended) => ended,
            Err(_elapsed) => Err(ForwardError::Slow("to end the connection")),
        }
    }
}

fn in_the_middle(ended: Result<(), ForwardError>) -> ForwardError {
    match ended {
        Ok(()) => ForwardError::Ended,
        Err(error) => error,
    }
}

async fn read_to_end(mut reader: ReadHalf<Box<dyn ByteStream>>) -> Result<(), ForwardError> {
    let mut said = 0;
    let mut piece = [0; 512];
    loop {
        match reader.read(&mut piece).await {
            Ok(0) => return Ok(()),
            Ok(count) => said += count,
            Err(error) => return Err(ForwardError::Lost(error)),
        }
        if said > FORWARD_SAID_BYTES_MAX {
            return Err(ForwardError::Speaks);
        }
    }
}
