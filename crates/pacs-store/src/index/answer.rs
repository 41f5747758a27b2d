//! What an answer holds, in terms that every backend shares: which keys, how computed ones are
//! written.

use super::StoredInstance;
use pacs_core::instance::level_of;
use pacs_core::tag::tags;
use pacs_core::{Attributes, Instance, Level, Query, Tag, Vr};
use std::collections::BTreeSet;

/// What makes studies one patient's.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum PatientKey {
    /// Patient ID, and its issuer or nothing.
    Identified { id: String, issuer: String },
    /// Patient's Name and birth date of who has no ID.
    Named { name: String, birth_date: String },
}

impl PatientKey {
    pub(crate) fn of(attributes: &Attributes) -> Self {
        let text = |tag| attributes.text(tag).unwrap_or_default().trim().to_owned();
        let id = text(tags::PATIENT_ID);
        if id.is_empty() {
            Self::Named {
                name: text(tags::PATIENT_NAME),
                birth_date: text(tags::PATIENT_BIRTH_DATE),
            }
        } else {
            Self::Identified {
                id,
                issuer: text(tags::ISSUER_OF_PATIENT_ID),
            }
        }
    }
}

/// The tags that answers to `query` carry: its keys and the unique keys of its level and those
/// above.
pub(crate) fn asked(query: &Query) -> BTreeSet<Tag> {
    let unique = [
        (tags::PATIENT_ID, Level::Patient),
        (tags::STUDY_INSTANCE_UID, Level::Study),
        (tags::SERIES_INSTANCE_UID, Level::Series),
        (tags::SOP_INSTANCE_UID, Level::Instance),
    ];
    let keys = query.keys.iter().map(|key| key.tag);
    let unique = unique
        .into_iter()
        .filter(|(_, level)| *level <= query.level)
        .map(|(tag, _)| tag);
    keys.chain(unique).collect()
}

/// The attributes of the instance level, with the UIDs of that level as they are keys.
pub(crate) fn instance_attributes(instance: &Instance) -> Attributes {
    let mut attributes = instance.attributes_of(Level::Instance);
    put_instance_uids(&mut attributes, instance);
    attributes
}

/// As [`super::Index::select`] gives it back.
pub(crate) fn without_levels_above(stored: &StoredInstance) -> StoredInstance {
    let mut stored = stored.clone();
    let mut attributes = std::mem::take(&mut stored.instance.attributes);
    attributes.retain(|a| level_of(a.tag) == Some(Level::Instance));
    put_instance_uids(&mut attributes, &stored.instance);
    put_uids_above(&mut attributes, &stored.instance);
    stored.instance.attributes = attributes;
    stored
}

/// Sets SOP Class and SOP Instance UID from the identifiers.
pub(crate) fn put_instance_uids(attributes: &mut Attributes, instance: &Instance) {
    attributes.insert_text(tags::SOP_CLASS_UID, Vr::UI, instance.sop_class.as_str());
    attributes.insert_text(tags::SOP_INSTANCE_UID, Vr::UI, instance.instance.as_str());
}

/// Sets Study and Series Instance UID from the identifiers.
pub(crate) fn put_uids_above(attributes: &mut Attributes, instance: &Instance) {
    attributes.insert_text(tags::STUDY_INSTANCE_UID, Vr::UI, instance.study.as_str());
    attributes.insert_text(tags::SERIES_INSTANCE_UID, Vr::UI, instance.series.as_str());
}

/// Sets a computed count.
pub(crate) fn put_count(attributes: &mut Attributes, tag: Tag, count: u64) {
    attributes.insert_text(tag, Vr::IS, count.to_string());
}

/// The values of `texts`, each once, in order, none that is empty.
pub(crate) fn set_of<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let values = texts.into_iter().flat_map(|text| text.split('\\'));
    let values: BTreeSet<&str> = values.map(str::trim).filter(|v| !v.is_empty()).collect();
    values.into_iter().collect::<Vec<_>>().join("\\")
}

/// Sets a computed attribute from a [`set_of`] values; an empty one is not there.
pub(crate) fn put_set(attributes: &mut Attributes, tag: Tag, set: &str) {
    if !set.is_empty() {
        let vr = if tag == tags::SOP_CLASSES_IN_STUDY {
            Vr::UI
        } else {
            Vr::CS
        };
        attributes.insert_text(tag, vr, set);
    }
}

/// Sets Instance Availability: what is in the archive can be had at once.
pub(crate) fn put_availability(attributes: &mut Attributes) {
    attributes.insert_text(tags::INSTANCE_AVAILABILITY, Vr::CS, "ONLINE");
}
