//! Instances that are not taken again: those that were rejected because they endanger the patient.
//!
//! They are known by sixteen bytes of the digest of their UID, so that whoever stores asks memory
//! alone, and read from the registry when the archive is opened.

use super::Archive;
use crate::digest::Digest;
use crate::error::OpenError;
use crate::records::RecordsError;
use crate::registry::{Registry, RegistryError};
use pacs_core::access::Hide;
use pacs_core::{Permit, SopInstanceUid};
use std::collections::HashSet;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

/// Their digests.
#[derive(Debug, Default)]
pub(crate) struct Refused(RwLock<HashSet<[u8; 16]>>);

impl Refused {
    /// Takes those of a registry.
    pub(super) async fn read(&self, registry: &Registry) -> Result<(), OpenError> {
        let each = |instances: &[SopInstanceUid]| self.change(instances, true);
        registry.each_refused(each).await.map_err(unreadable)
    }

    pub(super) fn has(&self, instance: &SopInstanceUid) -> bool {
        let held = self.held();
        !held.is_empty() && held.contains(&key_of(instance))
    }

    fn change(&self, instances: &[SopInstanceUid], is_refused: bool) {
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for instance in instances {
            let key = key_of(instance);
            if is_refused {
                held.insert(key);
            } else {
                held.remove(&key);
            }
        }
    }

    fn held(&self) -> RwLockReadGuard<'_, HashSet<[u8; 16]>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unreadable(error: RegistryError) -> OpenError {
    OpenError::Records(match error {
        RegistryError::Backend(error) => error,
        RegistryError::Damaged { what } => RecordsError::Damaged { what },
        RegistryError::Full => RecordsError::Full,
        error @ (RegistryError::Busy
        | RegistryError::Changed
        | RegistryError::NotFound { .. }
        | RegistryError::Refused(_)
        | RegistryError::Unlicensed(_)) => RecordsError::Backend {
            operation: "read what is rejected",
            source: Box::new(error),
        },
    })
}

fn key_of(instance: &SopInstanceUid) -> [u8; 16] {
    let Digest(digest) = Digest::of(instance.as_str().as_bytes());
    let mut key = [0; 16];
    for (to, from) in key.iter_mut().zip(digest) {
        *to = from;
    }
    key
}

impl Archive {
    /// Takes these instances no more, or again, until the archive is closed; at the next opening
    /// the registry says so.
    pub fn refuse(&self, _permit: &Permit<Hide>, instances: &[SopInstanceUid], is_refused: bool) {
        self.shared.refused.change(instances, is_refused);
    }
}
