//! Whether an instance is safe: what storage commitment stands on (PS3.4 Annex J).

use super::Archive;
use crate::error::ReadError;
use crate::index::{IndexError, StoredInstance};
use crate::records::Records;
use crate::registry::Registry;
use crate::retrieve::DataSetReader;
use pacs_core::access::Commit;
use pacs_core::commitment::Place;
use pacs_core::{Permit, SopClassUid, SopInstanceUid};
use std::sync::Arc;

/// How safe an instance is. Exhaustive on purpose: the server gives each a failure reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Safekeeping {
    /// Bytes of some version are damaged or cannot be read.
    Damaged,
    /// It is out of sight: nobody can retrieve it, and whoever put it there may mean to erase it.
    Hidden,
    /// It is there, whole and to be retrieved: every version under its UID was read just now, and
    /// has the digest it was received with.
    Kept,
    /// It is there with another SOP class.
    OtherClass,
    /// It is not there.
    Unknown,
}

impl Archive {
    /// Whether the instance is kept: looks it up and reads all of it, from the medium where the
    /// system allows. What is known of it was durable before it was known.
    ///
    /// # Errors
    /// [`IndexError`]: nothing is known of it then.
    pub async fn check(
        &self,
        permit: &Permit<Commit>,
        instance: &SopInstanceUid,
        sop_class: &SopClassUid,
    ) -> Result<Safekeeping, IndexError> {
        self.check_in(permit, instance, sop_class, None).await
    }

    /// As [`Archive::check`]; what is elsewhere than at `place` counts as [`Safekeeping::Unknown`].
    ///
    /// # Errors
    /// As there.
    pub async fn check_in(
        &self,
        _permit: &Permit<Commit>,
        instance: &SopInstanceUid,
        sop_class: &SopClassUid,
        place: Option<&Place>,
    ) -> Result<Safekeeping, IndexError> {
        let limit_count = self.shared.limits.versions_checked_max;
        let versions = self.shared.index.versions(instance, limit_count).await?;
        let Some(served) = versions.stored.first() else {
            return Ok(Safekeeping::Unknown);
        };
        let head = &served.instance;
        if place.is_some_and(|at| at.study != head.study || at.series != head.series) {
            return Ok(Safekeeping::Unknown);
        }
        if head.sop_class != *sop_class {
            return Ok(Safekeeping::OtherClass);
        }
        if versions.is_hidden {
            return Ok(Safekeeping::Hidden);
        }
        for version in &versions.stored {
            if let Err(error) = self.read_all(version).await {
                tracing::error!(%instance, %error, "an instance asked about cannot be committed");
                return Ok(Safekeeping::Damaged);
            }
        }
        Ok(Safekeeping::Kept)
    }

    async fn read_all(&self, version: &StoredInstance) -> Result<(), ReadError> {
        let mut reader = DataSetReader::checking(&self.shared, version.location, version.digest);
        loop {
            match reader.next().await {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                Err(error) => {
                    if matches!(error, ReadError::Damaged | ReadError::Missing) {
                        // Sent again, it is kept again.
                        let count_max = self.shared.limits.problems_listed_max;
                        let instance = &version.instance.instance;
                        self.shared.damage.note(instance, version.digest, count_max);
                    }
                    return Err(error);
                }
            }
        }
    }

    /// The registry that is kept beside the images. What it holds of people and their examinations
    /// is given for licences of its own.
    #[must_use]
    pub fn registry(&self) -> Registry {
        self.shared.registry.clone()
    }

    /// Where documents about commitments are kept: those of the archive itself stand there too,
    /// under kinds of their own.
    #[must_use]
    pub fn records(&self, _permit: &Permit<Commit>) -> Arc<dyn Records> {
        Arc::clone(&self.shared.records)
    }
}
