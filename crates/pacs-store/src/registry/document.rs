//! Documents: JSON with a version number, so that a person can read a backup.

use super::{Registry, RegistryError};
use crate::records::{Kind, Record, Revision};
use pacs_core::audit::StateDigest;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// A kind of document. Its type has a form on disk, which only grows by what may be absent;
/// whatever else changes is a new [`VERSION`](Document::VERSION).
pub(super) trait Document: Serialize + DeserializeOwned {
    /// Its namespace.
    const KIND: Kind;
    /// What errors call it.
    const NAME: &'static str;
    /// The form on disk. Another one is refused.
    const VERSION: u32 = 1;
}

/// A document and the state it is in, by which a change says what it is based on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored<D> {
    /// The state.
    pub revision: Revision,
    /// The document.
    pub value: D,
    pub(super) digest: StateDigest,
}

#[expect(
    private_bounds,
    reason = "what is stored is one of the registry's documents"
)]
impl<D: Document> Stored<D> {
    /// A document that was stored just now.
    pub(super) fn of(value: D, revision: Revision) -> Result<Self, RegistryError> {
        let digest = digest_of(&encode(&value)?);
        Ok(Self {
            revision,
            value,
            digest,
        })
    }
}

#[derive(Serialize)]
struct Written<'a, D> {
    version: u32,
    #[serde(flatten)]
    document: &'a D,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// The document as it is stored.
pub(super) fn encode<D: Document>(document: &D) -> Result<Vec<u8>, RegistryError> {
    let written = Written {
        version: D::VERSION,
        document,
    };
    serde_json::to_vec(&written).map_err(|_| RegistryError::Damaged { what: D::NAME })
}

/// Reads a stored document.
pub(super) fn decode<D: Document>(record: &Record) -> Result<Stored<D>, RegistryError> {
    // What serde found wrong may quote the document.
    let damaged = || RegistryError::Damaged { what: D::NAME };
    let found: Version = serde_json::from_slice(&record.value).map_err(|_| damaged())?;
    if found.version != D::VERSION {
        return Err(damaged());
    }
    Ok(Stored {
        revision: record.revision,
        value: serde_json::from_slice(&record.value).map_err(|_| damaged())?,
        digest: digest_of(&record.value),
    })
}

/// What the audit record keeps of a state.
pub(super) fn digest_of(bytes: &[u8]) -> StateDigest {
    StateDigest(*blake3::hash(bytes).as_bytes())
}

impl Registry {
    /// The document, if it is there.
    pub(super) async fn find<D: Document>(
        &self,
        key: &str,
    ) -> Result<Option<Stored<D>>, RegistryError> {
        let record = self.records().get(D::KIND, key).await?;
        record.as_ref().map(decode).transpose()
    }

    /// The document, which must be there.
    pub(super) async fn read<D: Document>(&self, key: &str) -> Result<Stored<D>, RegistryError> {
        let found = self.find(key).await?;
        found.ok_or(RegistryError::NotFound { what: D::NAME })
    }

    /// Documents by their keys, as [`Records::list`](crate::records::Records::list) has it.
    pub(super) async fn list<D: Document>(
        &self,
        prefix: &str,
        after: Option<&str>,
        count_max: usize,
    ) -> Result<Vec<Stored<D>>, RegistryError> {
        let records = self.records().list(D::KIND, prefix, after, count_max);
        records.await?.iter().map(decode).collect()
    }
}
