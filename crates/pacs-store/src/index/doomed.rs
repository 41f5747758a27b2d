//! Content that is erased.

use super::{Digest, Location};
use pacs_core::{SeriesUid, SopInstanceUid, StudyUid};

/// Content of a study that was erased, as long as nobody knows that its bytes are destroyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doomed {
    /// Where it stands.
    pub location: Location,
    /// What it is.
    pub digest: Digest,
    /// Of which study.
    pub study: StudyUid,
    /// Of which series.
    pub series: SeriesUid,
    /// Which instance.
    pub instance: SopInstanceUid,
}

impl Doomed {
    /// Its place, which tells it from others.
    #[must_use]
    pub const fn place(&self) -> (u64, u64) {
        (self.location.pack, self.location.offset)
    }
}
