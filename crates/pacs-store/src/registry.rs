//! What the archive knows besides content, as typed documents over [`crate::records`]: one module a
//! family.
//!
//! Whatever is changed here is changed together with the [`audit`] record that tells of it, or not
//! at all.

pub mod audit;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why a document was not understood. Shows nothing of what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a document of kind {kind} is damaged or of another version")]
pub struct DocumentError {
    /// Its kind.
    pub kind: &'static str,
}

/// Reads a document of one kind.
pub(crate) fn read<T: DeserializeOwned>(
    kind: crate::records::Kind,
    value: &[u8],
) -> Result<T, DocumentError> {
    serde_json::from_slice(value).map_err(|_| DocumentError { kind: kind.name() })
}

/// Writes a document, which can be written: its maps have keys of text.
pub(crate) fn write<T: Serialize>(document: &T) -> Vec<u8> {
    serde_json::to_vec(document).unwrap_or_default()
}
