//! How a command of the tool ends when it does not succeed: what failed, in which layer.

use pacs_net::requestor::RequestorError;
use std::process::ExitCode;

/// Why a command did not do what was asked. `Display` names the layer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// An archive of this machine.
    #[error("archive: {0}")]
    Archive(String),
    /// What was typed cannot be done.
    #[error("command line: {0}")]
    CommandLine(String),
    /// A file or folder of this machine.
    #[error("file {path}: {why}")]
    File {
        /// Which.
        path: String,
        /// Why.
        why: String,
    },
    /// The peer, or the way to it.
    #[error("{}", layer(.0))]
    Peer(#[from] RequestorError),
    /// The work was done in part; what was not is told above.
    #[error("{0}")]
    Partly(String),
}

impl Failure {
    /// For a file or folder.
    pub fn file(path: &std::path::Path, why: impl ToString) -> Self {
        Self::File {
            path: path.display().to_string(),
            why: why.to_string(),
        }
    }

    /// The exit code of docs/operations.md.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::CommandLine(_) => ExitCode::from(2),
            Self::Peer(
                RequestorError::Status { .. } | RequestorError::NoPresentationContext { .. },
            )
            | Self::Peer(RequestorError::Source(_))
            | Self::Archive(_)
            | Self::File { .. }
            | Self::Partly(_) => ExitCode::from(1),
            Self::Peer(_) => ExitCode::from(3),
        }
    }
}

/// The layer a request failed in, then why.
fn layer(error: &RequestorError) -> String {
    match error {
        RequestorError::Transport(why) => format!("TCP: {why}"),
        RequestorError::TimedOut {
            waiting_for: waiting_for @ "a connection",
        } => {
            format!("TCP: time-out waiting for {waiting_for}")
        }
        RequestorError::TimedOut { waiting_for } if waiting_for.contains("association") => {
            format!("association: {error}")
        }
        RequestorError::Source(_) => error.to_string(),
        RequestorError::Rejected(rejection) => format!("association: {rejection}"),
        RequestorError::Aborted(_) | RequestorError::Closed | RequestorError::Fault(_) => {
            format!("association: {error}")
        }
        RequestorError::NoPresentationContext { .. } | RequestorError::TooManyContexts { .. } => {
            format!("presentation context: {error}")
        }
        RequestorError::Status { .. } => error.to_string(),
        RequestorError::Misuse(_) | RequestorError::TimedOut { .. } | _ => {
            format!("DIMSE: {error}")
        }
    }
}
