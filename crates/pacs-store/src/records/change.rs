//! One change of one document, and what all backends refuse of several.

use super::{Kind, RecordsError, Revision};
use crate::limits::{
    RECORD_CHANGES_BYTES_MAX, RECORD_CHANGES_COUNT_MAX, RECORD_KEY_BYTES_MAX,
    RECORD_VALUE_BYTES_MAX,
};
use std::collections::HashSet;

/// One change of one document, with the state that it is based on. `Debug` shows neither key nor
/// value: they may say something about a patient.
#[derive(Clone, PartialEq, Eq)]
pub enum Change {
    /// It goes.
    Delete {
        /// Its kind.
        kind: Kind,
        /// Its key.
        key: String,
        /// What it must be at.
        expected: Revision,
    },
    /// It stays as it is, and nobody may have changed it: what the other changes rest on.
    Keep {
        /// Its kind.
        kind: Kind,
        /// Its key.
        key: String,
        /// What it must be at.
        expected: Revision,
    },
    /// It becomes this.
    Put {
        /// Its kind.
        kind: Kind,
        /// Its key.
        key: String,
        /// What it says from now on.
        value: Vec<u8>,
        /// What it must be at; `None`: it must not be there.
        expected: Option<Revision>,
    },
}

impl Change {
    /// [`Change::Delete`].
    #[must_use]
    pub fn delete(kind: Kind, key: impl Into<String>, expected: Revision) -> Self {
        let key = key.into();
        Self::Delete {
            kind,
            key,
            expected,
        }
    }

    /// [`Change::Keep`].
    #[must_use]
    pub fn keep(kind: Kind, key: impl Into<String>, expected: Revision) -> Self {
        let key = key.into();
        Self::Keep {
            kind,
            key,
            expected,
        }
    }

    /// [`Change::Put`].
    #[must_use]
    pub fn put(
        kind: Kind,
        key: impl Into<String>,
        value: Vec<u8>,
        expected: Option<Revision>,
    ) -> Self {
        let key = key.into();
        Self::Put {
            kind,
            key,
            value,
            expected,
        }
    }

    /// The kind of the document.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Delete { kind, .. } | Self::Keep { kind, .. } | Self::Put { kind, .. } => *kind,
        }
    }

    /// The key of the document.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Delete { key, .. } | Self::Keep { key, .. } | Self::Put { key, .. } => key,
        }
    }

    /// What the document must be at; `None`: it must not be there.
    #[must_use]
    pub const fn expected(&self) -> Option<Revision> {
        match self {
            Self::Delete { expected, .. } | Self::Keep { expected, .. } => Some(*expected),
            Self::Put { expected, .. } => *expected,
        }
    }

    fn value(&self) -> &[u8] {
        match self {
            Self::Delete { .. } | Self::Keep { .. } => &[],
            Self::Put { value, .. } => value,
        }
    }
}

impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self {
            Self::Delete { .. } => "Delete",
            Self::Keep { .. } => "Keep",
            Self::Put { .. } => "Put",
        };
        f.debug_struct(name)
            .field("kind", &self.kind())
            .field("expected", &self.expected())
            .finish_non_exhaustive()
    }
}

/// Refuses what no backend keeps.
pub(super) fn check(changes: &[Change]) -> Result<(), RecordsError> {
    let unfit = |what| Err(RecordsError::Unfit { what });
    if changes.len() > RECORD_CHANGES_COUNT_MAX {
        return unfit("number of changes");
    }
    let mut bytes = 0_usize;
    let mut seen = HashSet::with_capacity(changes.len());
    for change in changes {
        let (key, value) = (change.key(), change.value());
        if key.is_empty() || key.len() > RECORD_KEY_BYTES_MAX || key.contains('\0') {
            return unfit("key");
        }
        if value.len() > RECORD_VALUE_BYTES_MAX {
            return unfit("value");
        }
        if !seen.insert((change.kind(), key)) {
            return unfit("document that is changed twice");
        }
        bytes = bytes.saturating_add(key.len()).saturating_add(value.len());
    }
    if bytes > RECORD_CHANGES_BYTES_MAX {
        return unfit("length of changes");
    }
    Ok(())
}
