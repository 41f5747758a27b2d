//! What stands in metadata for an instance whose bytes cannot be read, or are no data set: what the
//! index knows of it, and that it is not available. Without it the rest would look complete, and
//! for its sake nobody goes without the rest.

use crate::walk::WalkError;
use pacs_core::tag::tags;
use pacs_core::{Attributes, Vr};
use pacs_store::index::StoredInstance;

/// Whether it is the instance that is at fault, and not want of memory, which passes.
pub(super) fn is_lasting(error: &WalkError) -> bool {
    !matches!(error, WalkError::NoMemory)
}

/// What is known of `stored`, with Instance Availability (0008,0056).
pub(super) fn known_of(stored: &StoredInstance) -> Attributes {
    let head = &stored.instance;
    let mut known = head.attributes.clone();
    for (tag, uid) in [
        (tags::SOP_CLASS_UID, head.sop_class.as_str()),
        (tags::SOP_INSTANCE_UID, head.instance.as_str()),
        (tags::STUDY_INSTANCE_UID, head.study.as_str()),
        (tags::SERIES_INSTANCE_UID, head.series.as_str()),
    ] {
        known.insert_text(tag, Vr::UI, uid);
    }
    known.insert_text(tags::INSTANCE_AVAILABILITY, Vr::CS, "UNAVAILABLE");
    known
}

/// Tells the log.
pub(super) fn tell(stored: &StoredInstance, error: &WalkError) {
    tracing::error!(
        instance = %stored.instance.instance, %error,
        "an instance cannot be read: its metadata is what the index knows"
    );
}
