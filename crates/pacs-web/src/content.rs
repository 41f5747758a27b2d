//! Stored data sets, as walks read them.

use crate::error::Failure;
use crate::limits::WebLimits;
use crate::service::Web;
use crate::walk::{DataSet, Walk, WalkError};
use pacs_core::Permit;
use pacs_core::access::Get;
use pacs_core::limits::ScanLimits;
use pacs_core::scan::{Encoding, inflate};
use pacs_store::index::StoredInstance;
use pacs_store::{Archive, ReadError};
use std::ops::Range;

/// A data set: where it is kept, or inflated in memory. Reading blocks.
#[derive(Debug)]
pub(crate) enum Content {
    /// What a deflated one inflates to.
    Inflated(Vec<u8>),
    /// As it is kept.
    Stored {
        archive: Archive,
        permit: Permit<Get>,
        stored: Box<StoredInstance>,
    },
}

impl DataSet for Content {
    fn length_bytes(&self) -> u64 {
        match self {
            Self::Inflated(bytes) => bytes.as_slice().length_bytes(),
            Self::Stored { stored, .. } => stored.location.length_bytes,
        }
    }

    fn read(&self, range: &Range<u64>) -> Result<Vec<u8>, ReadError> {
        match self {
            Self::Inflated(bytes) => bytes.as_slice().read(range),
            Self::Stored {
                archive,
                permit,
                stored,
            } => archive.read_now(permit, stored, range),
        }
    }
}

impl Content {
    /// The data set of `stored`, to be read in a thread that may block.
    pub(crate) fn open(
        web: &Web,
        permit: &Permit<Get>,
        stored: &StoredInstance,
    ) -> Result<Self, WalkError> {
        let content = Self::Stored {
            archive: web.archive().clone(),
            permit: permit.clone(),
            stored: Box::new(stored.clone()),
        };
        if encoding(stored) != Encoding::Deflated {
            return Ok(content);
        }
        let limits = scan_limits(web.limits());
        let length = content.length_bytes();
        if length > limits.inflated_bytes_max {
            return Err(pacs_core::scan::ScanError::Inflated.into());
        }
        let bytes = content.read(&(0..length))?;
        Ok(Self::Inflated(inflate::inflate(&bytes, &limits)?))
    }

    /// Whether its bytes are those that are kept.
    pub(crate) const fn is_as_stored(&self) -> bool {
        matches!(self, Self::Stored { .. })
    }
}

/// How `stored` is encoded.
pub(crate) fn encoding(stored: &StoredInstance) -> Encoding {
    Encoding::of(&stored.instance.transfer_syntax)
}

/// A walk through the data set of `stored`.
pub(crate) fn walk(
    web: &Web,
    permit: &Permit<Get>,
    stored: &StoredInstance,
) -> Result<Walk<Content>, WalkError> {
    let content = Content::open(web, permit, stored)?;
    let head_bytes = stored.instance.head_bytes;
    let limits = scan_limits(web.limits());
    Ok(Walk::new(content, encoding(stored), head_bytes, &limits))
}

fn scan_limits(limits: &WebLimits) -> ScanLimits {
    ScanLimits {
        inflated_bytes_max: limits.inflated_bytes_max,
        ..ScanLimits::default()
    }
}

impl From<WalkError> for Failure {
    fn from(error: WalkError) -> Self {
        match error {
            WalkError::Read(error) => error.into(),
            WalkError::Scan(error) => {
                tracing::warn!(%error, "a stored data set cannot be taken apart");
                Self::Conflict {
                    detail: "the stored data set is broken, or too large to be taken apart"
                        .to_owned(),
                }
            }
        }
    }
}
