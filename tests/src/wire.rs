//! A small DICOM Upper Layer and DIMSE implementation of the tests' own (PS3.7, PS3.8).
//!
//! It sends data sets exactly as it is given them, can be told to break the rules, and shares no
//! code with the archive. It blocks, and every read has a deadline.

pub mod association;
pub mod command;
pub mod commitment;
pub mod giver;
pub mod identifier;
pub mod pdu;
pub mod sink;
pub mod steps;
pub mod tree;
pub mod uid;

use std::fmt;

pub use association::{Association, Context, Proposal, Received, SubOperations};
pub use command::Command;
pub use giver::Giver;
pub use identifier::{Answer, Keys};
pub use sink::Sink;
pub use tree::Tree;

/// Why an exchange ended early, by the layer that ended it.
#[derive(Debug)]
pub enum WireError {
    /// The transport failed: refused, reset, or silent for too long.
    Transport(std::io::Error),
    /// The peer closed the connection.
    Closed,
    /// A-ASSOCIATE-RJ (PS3.8 9.3.4).
    Rejected {
        /// 1 permanent, 2 transient.
        result: u8,
        /// Who rejects.
        source: u8,
        /// Why.
        reason: u8,
    },
    /// A-ABORT (PS3.8 9.3.8).
    Aborted {
        /// 0 service user, 2 service provider.
        source: u8,
        /// Why, when the provider aborts.
        reason: u8,
    },
    /// The peer sent what the standard does not allow here.
    Unexpected(String),
    /// No accepted presentation context fits.
    NoContext(String),
}

impl fmt::Display for WireError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self:?}")
    }
}

impl std::error::Error for WireError {}

impl From<std::io::Error> for WireError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::UnexpectedEof
            | std::io::ErrorKind::ConnectionReset
            | std::io::ErrorKind::BrokenPipe
            | std::io::ErrorKind::ConnectionAborted => Self::Closed,
            _ => Self::Transport(error),
        }
    }
}

/// SHA-256 of `bytes` in hexadecimal.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
