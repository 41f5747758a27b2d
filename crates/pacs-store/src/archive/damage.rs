//! What a verification found damaged, until it is sent again.

use crate::index::Digest;
use pacs_core::SopInstanceUid;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// Versions whose bytes are not those that were received. A copy that is sent again is kept, though
/// the index knows the version; a rebuild takes it then.
#[derive(Debug, Clone, Default)]
pub(crate) struct FoundDamage {
    found: Arc<Mutex<HashMap<Digest, SopInstanceUid>>>,
    /// Asks a scrub to look again at what it found.
    pub(crate) look_again: Arc<Notify>,
}

impl FoundDamage {
    /// Remembers a version, unless there are `count_max` already: another verification finds it.
    pub(crate) fn note(&self, instance: &SopInstanceUid, digest: Digest, count_max: usize) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.len() < count_max {
            found.insert(digest, instance.clone());
        }
    }

    /// Whether the version was noted; it is not any more.
    pub(crate) fn take(&self, instance: &SopInstanceUid, digest: &Digest) -> bool {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.get(digest) != Some(instance) {
            return false;
        }
        found.remove(digest);
        true
    }
}
