//! What goes wrong inside, before it is told outside.

use crate::index::IndexError;
use crate::redb_file::{caught, is_damage};

/// Why a step failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// redb failed.
    Database(Box<redb::Error>),
    /// Something is to be told as it is.
    Index(IndexError),
    /// Enough was found: not a failure, and never told outside.
    Enough,
    /// More work than a thread that must not wait may do.
    OutOfBudget,
    /// Nobody waits for it any more: told to nobody.
    Unwanted,
}

impl Fault {
    /// As the outside sees it.
    pub(super) fn during(self, operation: &'static str) -> IndexError {
        match self {
            Self::Index(error) => error,
            Self::Unwanted => IndexError::Busy,
            Self::Enough | Self::OutOfBudget => IndexError::Backend {
                operation,
                source: "work is not bounded".into(),
            },
            Self::Database(source) if is_damage(&source) => DAMAGED,
            Self::Database(source) => IndexError::Backend { operation, source },
        }
    }
}

const DAMAGED: IndexError = IndexError::Damaged {
    what: "database file",
};

/// Runs `work`, which is `operation` in errors.
pub(super) fn attempt<T>(
    operation: &'static str,
    work: impl FnOnce() -> Result<T, Fault>,
) -> Result<T, IndexError> {
    match caught(work) {
        Some(outcome) => outcome.map_err(|fault| fault.during(operation)),
        None => Err(DAMAGED),
    }
}

impl From<IndexError> for Fault {
    fn from(error: IndexError) -> Self {
        Self::Index(error)
    }
}

impl<E: Into<redb::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Database(Box::new(error.into()))
    }
}
