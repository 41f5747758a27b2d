//! The changes that happen together, as they are gathered.

use super::document::{Document, Stored, digest_of, encode};
use super::{Refusal, Registry, RegistryError};
use crate::records::{Change, Kind, Revision};
use pacs_core::audit::ChangeDigests;
use std::collections::BTreeSet;

/// Changes that happen together or not at all.
#[derive(Debug, Default, Clone)]
pub(super) struct Batch {
    pub(super) changes: Vec<Change>,
    /// Of the document that the whole is about.
    pub(super) digests: Option<ChangeDigests>,
    /// The key of that document, where it is put.
    pub(super) subject: Option<String>,
}

impl Batch {
    /// Changes the document that the whole is about: the audit record gets digests of it.
    pub(super) fn main<D: Document>(
        &mut self,
        key: &str,
        document: &D,
        before: Option<&Stored<D>>,
    ) -> Result<(), RegistryError> {
        let value = encode(document)?;
        self.digests = Some(ChangeDigests {
            before: before.map(|before| before.digest),
            after: Some(digest_of(&value)),
        });
        self.subject = Some(key.to_owned());
        let expected = before.map(|before| before.revision);
        self.changes
            .push(Change::put(D::KIND, key, value, expected));
        Ok(())
    }

    /// Deletes the document that the whole is about.
    pub(super) fn delete<D: Document>(&mut self, key: &str, before: &Stored<D>) {
        self.digests = Some(ChangeDigests {
            before: Some(before.digest),
            after: None,
        });
        self.changes
            .push(Change::delete(D::KIND, key, before.revision));
    }

    /// Changes another document.
    pub(super) fn put<D: Document>(
        &mut self,
        key: &str,
        document: &D,
        expected: Option<Revision>,
    ) -> Result<(), RegistryError> {
        let value = encode(document)?;
        self.changes
            .push(Change::put(D::KIND, key, value, expected));
        Ok(())
    }

    /// Another document must stay as it was read.
    pub(super) fn keep<D: Document>(&mut self, key: &str, expected: Revision) {
        self.changes.push(Change::keep(D::KIND, key, expected));
    }

    /// Puts a key by which a document is found; `to` is the key of the document.
    pub(super) fn point(&mut self, kind: Kind, key: &str, to: &str, expected: Option<Revision>) {
        let to = to.as_bytes().to_vec();
        self.changes.push(Change::put(kind, key, to, expected));
    }

    /// Takes away a key by which a document was found.
    pub(super) fn unpoint(&mut self, kind: Kind, key: &str, expected: Revision) {
        self.changes.push(Change::delete(kind, key, expected));
    }
}

/// What a key points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pointer {
    pub(super) revision: Revision,
    /// Key of the document.
    pub(super) to: String,
}

impl Registry {
    /// Adds to `batch` what changes of the keys by which the document `to` is found. A key that
    /// another document has is refused.
    pub(super) async fn reindex(
        &self,
        batch: &mut Batch,
        had: &BTreeSet<(Kind, String)>,
        has: &BTreeSet<(Kind, String)>,
        to: &str,
    ) -> Result<(), RegistryError> {
        for (kind, key) in has.difference(had) {
            match self.pointer(*kind, key).await? {
                None => batch.point(*kind, key, to, None),
                Some(pointer) if pointer.to == to => {}
                Some(_) => return Err(Refusal::Taken { what: kind.name() }.into()),
            }
        }
        for (kind, key) in had.difference(has) {
            if let Some(pointer) = self.pointer(*kind, key).await?
                && pointer.to == to
            {
                batch.unpoint(*kind, key, pointer.revision);
            }
        }
        Ok(())
    }

    /// What `key` points to.
    pub(super) async fn pointer(
        &self,
        kind: Kind,
        key: &str,
    ) -> Result<Option<Pointer>, RegistryError> {
        let Some(record) = self.records().get(kind, key).await? else {
            return Ok(None);
        };
        let to = String::from_utf8(record.value);
        Ok(Some(Pointer {
            revision: record.revision,
            to: to.map_err(|_| RegistryError::Damaged { what: kind.name() })?,
        }))
    }
}
