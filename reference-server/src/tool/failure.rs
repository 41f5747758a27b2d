//! How a command of the tool ends when it does not succeed: what failed, in which layer.

use super::exit::Exit;
use pacs_net::error::Fault;
use pacs_net::pdu::PduError;
use pacs_net::requestor::RequestorError;
use pacs_net::security::TlsError;
use std::error::Error;

/// Why a command did not do what was asked. `Display` names the layer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// An archive of this machine.
    #[error("archive: {0}")]
    Archive(String),
    /// An association that is not the one that was asked for.
    #[error("association: {0}")]
    Association(String),
    /// What was typed, or is configured, cannot be done.
    #[error("command line: {0}")]
    CommandLine(String),
    /// An archive of this machine is damaged; what is, is told above.
    #[error("archive: {0}")]
    Damaged(String),
    /// A file or folder of this machine.
    #[error("file {path}: {why}")]
    File {
        /// Which.
        path: String,
        /// Why.
        why: String,
    },
    /// The name of a peer stands for no address.
    #[error("name: {0}")]
    Name(String),
    /// The work was done in part; what was not is told above.
    #[error("{0}")]
    Partly(String),
    /// The peer answered with a failure.
    #[error("DIMSE: {0}")]
    Refused(String),
    /// The peer, or the way to it.
    #[error("{}: {}", layer(.0), told(.0))]
    Peer(#[from] RequestorError),
}

impl Failure {
    /// For a file or folder.
    pub fn file(path: &std::path::Path, why: impl ToString) -> Self {
        Self::File {
            path: path.display().to_string(),
            why: why.to_string(),
        }
    }

    /// For an archive of this machine, with all that stands behind `error`.
    pub fn archive(error: &dyn Error) -> Self {
        Self::Archive(chain(error))
    }

    /// The layer it happened in, as `--json` names it.
    #[must_use]
    pub const fn layer(&self) -> &'static str {
        match self {
            Self::Archive(_) | Self::Damaged(_) => "archive",
            Self::Association(_) => "association",
            Self::CommandLine(_) => "command line",
            Self::File { .. } => "file",
            Self::Name(_) => "name",
            Self::Partly(_) => "partly",
            Self::Refused(_) => "DIMSE",
            Self::Peer(error) => layer(error),
        }
    }

    /// How the process ends.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::CommandLine(_) => Exit::CommandLine,
            Self::Damaged(_) => Exit::Damaged,
            Self::Partly(_) => Exit::Partly,
            Self::Archive(_) | Self::File { .. } | Self::Refused(_) => Exit::Failed,
            Self::Peer(
                RequestorError::Status { .. }
                | RequestorError::NoPresentationContext { .. }
                | RequestorError::Source(_),
            ) => Exit::Failed,
            Self::Association(_) | Self::Name(_) | Self::Peer(_) => Exit::Connection,
        }
    }
}

/// The layer that a request failed in.
const fn layer(error: &RequestorError) -> &'static str {
    match error {
        RequestorError::Transport(_) => "TCP",
        RequestorError::Tls(_) => "TLS",
        RequestorError::TimedOut { waiting_for } => match waiting_for.as_bytes() {
            b"a connection" => "TCP",
            b"a response" => "DIMSE",
            _ => "association",
        },
        RequestorError::Source(_) => "file",
        RequestorError::Rejected(_)
        | RequestorError::Aborted(_)
        | RequestorError::Closed
        | RequestorError::Fault(_) => "association",
        RequestorError::NoPresentationContext { .. } | RequestorError::TooManyContexts { .. } => {
            "presentation context"
        }
        RequestorError::Misuse(_) | RequestorError::Status { .. } | _ => "DIMSE",
    }
}

/// What it says beyond the layer.
fn told(error: &RequestorError) -> String {
    if let RequestorError::Transport(why) = error {
        why.to_string()
    } else if let RequestorError::Rejected(rejection) = error {
        rejection.to_string()
    } else if let RequestorError::Source(source) = error {
        chain(source)
    } else if let RequestorError::Tls(error) = error {
        format!("{error}{}", advice(*error))
    } else if is_tls_alert(error) {
        format!("{error}; it may want TLS (--tls)")
    } else {
        error.to_string()
    }
}

/// What may help.
const fn advice(error: TlsError) -> &'static str {
    match error {
        TlsError::Alert { .. } => " (--tls-cert and --tls-key are what this side shows)",
        TlsError::NotTls => " (at this port; a plain one is spoken to without --tls)",
        TlsError::UnknownAuthority => {
            " (--tls-ca FILE trusts another, --tls-sha256 FINGERPRINT the certificate itself)"
        }
        TlsError::WrongName => " (--tls-name NAME says what the peer is called)",
        TlsError::Certificate { .. }
        | TlsError::Expired
        | TlsError::Incompatible { .. }
        | TlsError::NoCertificate
        | TlsError::NotPinned
        | TlsError::NotYetValid
        | TlsError::Protocol { .. }
        | TlsError::TimedOut
        | TlsError::Transport(_)
        | _ => "",
    }
}

/// Whether what came instead of a PDU is how TLS refuses what it cannot read.
const fn is_tls_alert(error: &RequestorError) -> bool {
    const ALERT: u8 = 0x15;
    matches!(
        error,
        RequestorError::Fault(Fault::Pdu(PduError::UnrecognizedPdu { kind: ALERT }))
    )
}

/// An error and everything that stands behind it.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_its_layer_and_has_its_exit_code() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let tcp = Failure::from(RequestorError::Transport(refused));
        let status = Failure::from(RequestorError::Status {
            code: 0xA700,
            comment: None,
        });
        let waiting_for = "the answer to an association request or release";
        let silent = Failure::from(RequestorError::TimedOut { waiting_for });

        assert_eq!((tcp.layer(), tcp.exit()), ("TCP", Exit::Connection));
        assert!(tcp.to_string().starts_with("TCP: "), "{tcp}");
        assert_eq!((status.layer(), status.exit()), ("DIMSE", Exit::Failed));
        assert!(status.to_string().contains("A700H"), "{status}");
        assert_eq!(silent.layer(), "association");
    }
}
