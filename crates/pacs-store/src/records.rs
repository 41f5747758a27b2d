//! Small documents that are not content: cursors of followers now; patients, users, reports later.
//!
//! A document has a kind and a key and is replaced as a whole. Every change gives it a new
//! [`Revision`], and every change names the revision it is based on, so that two writers cannot
//! overwrite each other unseen. Unlike the index this cannot be made again from the packs: a change
//! is durable when its call returns.

mod change;
pub mod memory;
pub mod redb;

pub use change::Change;

use async_trait::async_trait;

/// What a document is about; its namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(&'static str);

impl Kind {
    /// Positions of followers of the change sequence, by the name of the follower.
    pub const CURSOR: Self = Self("cursor");

    /// A kind of the caller's own. `name` is on disk for ever, and holds no NUL.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// As it stands on disk.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.0
    }
}

/// State of a document. No two states of a store, of any document, have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// A document as it was stored. `Debug` does not show the value: it may say something about a
/// patient.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// Its key.
    pub key: String,
    /// Its state.
    pub revision: Revision,
    /// What it says.
    pub value: Vec<u8>,
}

/// Why a document was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// The backend failed. Whether a change was made is not known; after a restart it is made or
    /// not, whole.
    #[error("records could not {operation}")]
    Backend {
        /// What it was doing.
        operation: &'static str,
        /// Why it could not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Somebody else changed the document. Nothing was done: read it again.
    #[error("document {at} of the change was changed in the meantime")]
    Changed {
        /// Which of the changes that were to be made, from 0; the first, where several.
        at: usize,
        /// What it is at; `None` where it is not there.
        current: Option<Revision>,
    },
    /// What is stored cannot be read: it is damaged or of another version.
    #[error("records cannot be read: {what}")]
    Damaged {
        /// What kind of entry.
        what: &'static str,
    },
    /// The disk is full. Nothing was done: it can be tried again when there is room.
    #[error("disk is full")]
    Full,
    /// A key that is empty, has a NUL or is longer than
    /// [`RECORD_KEY_BYTES_MAX`](crate::limits::RECORD_KEY_BYTES_MAX), a value longer than
    /// [`RECORD_VALUE_BYTES_MAX`](crate::limits::RECORD_VALUE_BYTES_MAX), or changes that are too
    /// many, too long together, or two of one document.
    #[error("{what} cannot be stored")]
    Unfit {
        /// What of it.
        what: &'static str,
    },
}

/// Takes one document after another, with the name of its kind; `false` ends it.
pub type Take = Box<dyn FnMut(&str, Record) -> bool + Send>;

/// Keeps documents. Every backend passes `pacs-store-conformance`.
#[async_trait]
pub trait Records: std::fmt::Debug + Send + Sync + 'static {
    /// The document, if it is there.
    ///
    /// # Errors
    /// [`RecordsError::Backend`], [`RecordsError::Damaged`].
    async fn get(&self, kind: Kind, key: &str) -> Result<Option<Record>, RecordsError>;

    /// Up to `count_max` documents whose keys begin with `prefix` and come after `after`, in order
    /// of the bytes of their keys.
    ///
    /// # Errors
    /// [`RecordsError::Backend`], [`RecordsError::Damaged`].
    async fn list(
        &self,
        kind: Kind,
        prefix: &str,
        after: Option<&str>,
        count_max: usize,
    ) -> Result<Vec<Record>, RecordsError>;

    /// Makes all these changes, durably, or none of them, and gives the state of each document in
    /// the order of the changes: the new one of what was put, the one that is left of what was kept
    /// or deleted. Whoever reads sees all of them or none. Changes of one document happen one after
    /// the other.
    ///
    /// # Errors
    /// [`RecordsError::Changed`] with the first document that is not as it was expected, and
    /// [`RecordsError::Unfit`] and [`RecordsError::Full`], and nothing was done; or
    /// [`RecordsError::Backend`].
    async fn apply(&self, changes: Vec<Change>) -> Result<Vec<Revision>, RecordsError>;

    /// Stores a document, durably, if it is at `expected` (`None`: if it is not there), and gives
    /// its new state.
    ///
    /// # Errors
    /// [`RecordsError::Changed`] and [`RecordsError::Unfit`], and nothing was done; or
    /// [`RecordsError::Backend`].
    async fn put(
        &self,
        kind: Kind,
        key: &str,
        value: Vec<u8>,
        expected: Option<Revision>,
    ) -> Result<Revision, RecordsError> {
        let change = Change::put(kind, key, value, expected);
        let revisions = self.apply(vec![change]).await?;
        revisions.first().copied().ok_or(RecordsError::Damaged {
            what: "answer of the backend",
        })
    }

    /// Gives every document of every kind to `take`, as they all are at one moment, in order of
    /// kind and key.
    ///
    /// # Errors
    /// [`RecordsError::Backend`], [`RecordsError::Damaged`].
    async fn each(&self, take: Take) -> Result<(), RecordsError>;

    /// Reads everything that is kept and compares it with whatever the backend keeps to notice
    /// damage.
    ///
    /// # Errors
    /// [`RecordsError::Damaged`]: a backup has what can be had again. [`RecordsError::Backend`]
    /// where it could not be looked at.
    async fn check(&self) -> Result<(), RecordsError> {
        Ok(())
    }

    /// Takes a document away, durably, if it is at `expected`.
    ///
    /// # Errors
    /// [`RecordsError::Changed`], also where it is not there, and nothing was done; or
    /// [`RecordsError::Backend`].
    async fn delete(&self, kind: Kind, key: &str, expected: Revision) -> Result<(), RecordsError> {
        self.apply(vec![Change::delete(kind, key, expected)])
            .await?;
        Ok(())
    }
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record")
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}
