//! VRs by tag, without hashing where the tag itself says enough.

use crate::tag::{self, Tag, Vr};

/// The VR that the dictionary gives `tag`, if it knows it.
pub(crate) fn known_vr(tag: Tag) -> Option<Vr> {
    if tag.element() == 0 {
        return Some(Vr::UL);
    }
    if tag.group() & 1 == 1 {
        // Private creators (PS3.5 7.8.1); other private elements nobody but their creator knows.
        return matches!(tag.element(), 0x0010..=0x00FF).then_some(Vr::LO);
    }
    Some(tag::vr_of(tag)).filter(|vr| *vr != Vr::UN)
}
