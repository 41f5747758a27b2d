//! Types of directory records below a series, and what each must say (PS3.3 F.5).

use pacs_core::tag::{Tag, tags};

/// What a record must say of an attribute (types 1, 1C and 2, 3 of PS3.3 F.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Only where the instance has it.
    Optional,
    /// Even where the instance has nothing: then this.
    Required(&'static str),
    /// Always, if need be empty.
    Present,
}

use Need::{Optional, Present, Required};

/// A type of record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    /// Directory Record Type (0004,1430).
    pub(super) name: &'static str,
    /// Its keys, in order of tags.
    pub(super) keys: &'static [(Tag, Need)],
}

/// In place of a date and a time that an instance does not have but a record must.
pub(super) const NO_DATE: &str = "19000101";
pub(super) const NO_TIME: &str = "000000";

const NUMBER: (Tag, Need) = (tags::INSTANCE_NUMBER, Required("1"));
const DATE: (Tag, Need) = (tags::CONTENT_DATE, Required(NO_DATE));
const TIME: (Tag, Need) = (tags::CONTENT_TIME, Required(NO_TIME));
const CONCEPT: (Tag, Need) = (tags::CONCEPT_NAME_CODE_SEQUENCE, Optional);
const LABEL: (Tag, Need) = (tags::CONTENT_LABEL, Required("UNNAMED"));
const DESCRIPTION: (Tag, Need) = (tags::CONTENT_DESCRIPTION, Present);
const CREATOR: (Tag, Need) = (tags::CONTENT_CREATOR_NAME, Present);

macro_rules! kinds {
    ($($constant:ident = $name:literal [$($key:expr),* $(,)?];)*) => {
        $(const $constant: Kind = Kind { name: $name, keys: &[$($key),*] };)*
    };
}

kinds! {
    IMAGE = "IMAGE" [
        (tags::IMAGE_TYPE, Optional), NUMBER, (tags::NUMBER_OF_FRAMES, Optional),
        (tags::ROWS, Optional), (tags::COLUMNS, Optional),
    ];
    DOSE = "RT DOSE" [NUMBER, (tags::DOSE_SUMMATION_TYPE, Required("PLAN"))];
    STRUCTURES = "RT STRUCTURE SET" [
        NUMBER, (tags::STRUCTURE_SET_LABEL, Required("UNNAMED")),
        (tags::STRUCTURE_SET_DATE, Present), (tags::STRUCTURE_SET_TIME, Present),
    ];
    PLAN = "RT PLAN" [
        NUMBER, (tags::RT_PLAN_LABEL, Required("UNNAMED")), (tags::RT_PLAN_DATE, Present),
        (tags::RT_PLAN_TIME, Present),
    ];
    TREATMENT = "RT TREAT RECORD" [
        NUMBER, (tags::TREATMENT_DATE, Present), (tags::TREATMENT_TIME, Present),
    ];
    PRESENTATION = "PRESENTATION" [
        (tags::REFERENCED_SERIES_SEQUENCE, Optional), NUMBER, LABEL, DESCRIPTION,
        (tags::PRESENTATION_CREATION_DATE, Required(NO_DATE)),
        (tags::PRESENTATION_CREATION_TIME, Required(NO_TIME)), CREATOR,
        (tags::BLENDING_SEQUENCE, Optional),
    ];
    WAVEFORM = "WAVEFORM" [DATE, TIME, NUMBER];
    REPORT = "SR DOCUMENT" [
        DATE, TIME, NUMBER, (tags::VERIFICATION_DATE_TIME, Optional), CONCEPT,
        (tags::COMPLETION_FLAG, Required("PARTIAL")),
        (tags::VERIFICATION_FLAG, Required("UNVERIFIED")),
    ];
    KEY_OBJECTS = "KEY OBJECT DOC" [DATE, TIME, NUMBER, CONCEPT];
    SPECTROSCOPY = "SPECTROSCOPY" [
        (tags::IMAGE_TYPE, Required("ORIGINAL\\PRIMARY")), DATE, TIME,
        (tags::REFERENCED_IMAGE_EVIDENCE_SEQUENCE, Optional), NUMBER,
        (tags::NUMBER_OF_FRAMES, Required("1")), (tags::ROWS, Required("1")),
        (tags::COLUMNS, Required("1")), (tags::DATA_POINT_ROWS, Required("1")),
        (tags::DATA_POINT_COLUMNS, Required("1")),
    ];
    RAW = "RAW DATA" [DATE, TIME, (tags::INSTANCE_NUMBER, Present)];
    REGISTRATION = "REGISTRATION" [DATE, TIME, NUMBER, LABEL, DESCRIPTION, CREATOR];
    FIDUCIALS = "FIDUCIAL" [DATE, TIME, NUMBER, LABEL, DESCRIPTION, CREATOR];
    DOCUMENT = "ENCAP DOC" [
        (tags::CONTENT_DATE, Present), (tags::CONTENT_TIME, Present), NUMBER,
        (tags::CONCEPT_NAME_CODE_SEQUENCE, Present), (tags::DOCUMENT_TITLE, Present),
        (tags::MIME_TYPE_OF_ENCAPSULATED_DOCUMENT, Required("application/octet-stream")),
    ];
    VALUE_MAP = "VALUE MAP" [DATE, TIME, NUMBER, LABEL, DESCRIPTION, CREATOR];
    STEREOMETRIC = "STEREOMETRIC" [];
    SURFACE = "SURFACE" [DATE, TIME, NUMBER, LABEL, DESCRIPTION, CREATOR];
    MEASUREMENT = "MEASUREMENT" [DATE, TIME, NUMBER, LABEL, DESCRIPTION, CREATOR];
    TRACT = "TRACT" [DATE, TIME, NUMBER, LABEL, DESCRIPTION, CREATOR];
    PRIVATE = "PRIVATE" [];
}

/// Classes by the part of their UID behind 1.2.840.10008.5.1.4.1.1, where they are no images; the
/// longest prefix counts.
const BY_CLASS: [(&str, Kind); 31] = [
    ("481.2", DOSE),
    ("481.3", STRUCTURES),
    ("481.4", TREATMENT),
    ("481.5", PLAN),
    ("481.6", TREATMENT),
    ("481.7", TREATMENT),
    ("481.8", PLAN),
    ("481.9", TREATMENT),
    ("9", WAVEFORM),
    ("11", PRESENTATION),
    ("88", REPORT),
    ("88.59", KEY_OBJECTS),
    ("4.2", SPECTROSCOPY),
    ("66", RAW),
    ("66.1", REGISTRATION),
    ("66.2", FIDUCIALS),
    ("66.3", REGISTRATION),
    // Segmentation.
    ("66.4", IMAGE),
    ("66.5", SURFACE),
    ("66.6", TRACT),
    ("67", VALUE_MAP),
    ("68", SURFACE),
    ("68.1", SURFACE),
    ("77.1.5.3", STEREOMETRIC),
    ("78", MEASUREMENT),
    ("79", MEASUREMENT),
    ("80", MEASUREMENT),
    ("81", MEASUREMENT),
    ("82", MEASUREMENT),
    ("104", DOCUMENT),
    ("90", RAW),
];

const STORAGE: &str = "1.2.840.10008.5.1.4.1.1.";

/// The type of record for an instance of a class.
pub(super) fn of(sop_class: &str, is_image: bool) -> Kind {
    let known = sop_class.strip_prefix(STORAGE).and_then(|rest| {
        let matching = BY_CLASS.iter().filter(|(prefix, _)| {
            let below = rest.strip_prefix(prefix);
            below.is_some_and(|below| below.is_empty() || below.starts_with('.'))
        });
        matching.max_by_key(|(prefix, _)| prefix.len())
    });
    match known {
        Some((_, kind)) => *kind,
        None if is_image => IMAGE,
        None => PRIVATE,
    }
}

/// Every tag that any record takes from an instance, apart from those of its own level.
pub(super) fn wanted(tag: Tag) -> bool {
    BY_CLASS
        .iter()
        .map(|(_, kind)| kind)
        .chain([&IMAGE])
        .any(|kind| kind.keys.iter().any(|(key, _)| *key == tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_every_type_are_in_order_of_tags() {
        for (_, kind) in BY_CLASS {
            for pair in kind.keys.windows(2) {
                assert!(pair[0].0 < pair[1].0, "{}: {:?}", kind.name, pair);
            }
        }
    }

    #[test]
    fn a_class_has_its_type_whatever_else_begins_alike() {
        let named = |class: &str| of(&format!("{STORAGE}{class}"), true).name;

        assert_eq!(named("2"), "IMAGE");
        assert_eq!(named("9.1.1"), "WAVEFORM");
        assert_eq!(named("88.59"), "KEY OBJECT DOC");
        assert_eq!(named("88.33"), "SR DOCUMENT");
        assert_eq!(named("66.4"), "IMAGE");
        assert_eq!(named("104.1"), "ENCAP DOC");
        assert_eq!(named("11.1"), "PRESENTATION");
        assert_eq!(of("1.2.3", true).name, "IMAGE");
        assert_eq!(of("1.2.3", false).name, "PRIVATE");
    }
}
