//! What the index keeps of an instance: its identifiers and the attributes that queries ask for.

use crate::attributes::Attributes;
use crate::limits::ScanLimits;
use crate::query::Level;
use crate::scan::ScanError;
use crate::tag::{Tag, tags};
use crate::uid::{SeriesUid, SopClassUid, SopInstanceUid, StudyUid, TransferSyntaxUid, UidError};

/// The head of an instance, read once from its bytes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Instance {
    /// Study Instance UID.
    pub study: StudyUid,
    /// Series Instance UID.
    pub series: SeriesUid,
    /// SOP Instance UID.
    pub instance: SopInstanceUid,
    /// SOP Class UID.
    pub sop_class: SopClassUid,
    /// The transfer syntax its bytes are in.
    pub transfer_syntax: TransferSyntaxUid,
    /// The attributes of [`INDEXED`] that it has, decoded.
    pub attributes: Attributes,
    /// Bytes of the stored data set before its pixel data element: its whole length where there is
    /// no pixel data, and 0 where it is deflated, whose stored bytes have no such place.
    pub head_bytes: u64,
}

/// Why bytes are not an instance the archive can keep.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstanceError {
    /// An identifying UID is absent or empty.
    #[error("attribute {tag} is missing or empty")]
    Missing {
        /// Which.
        tag: Tag,
    },
    /// The bytes are not a data set in the named transfer syntax.
    #[error("data set cannot be read")]
    Scan(#[from] ScanError),
    /// An identifying UID cannot be a key.
    #[error("attribute {tag} holds no UID")]
    Uid {
        /// Which.
        tag: Tag,
        /// Why not.
        source: UidError,
    },
}

impl Instance {
    /// Reads the head of an instance from the beginning of its data set (or all of it).
    ///
    /// `data_set` may end anywhere at or after the pixel data element's tag; if it ends before, the
    /// data set is taken as complete without pixel data.
    ///
    /// # Errors
    /// [`InstanceError`]: bytes that cannot be read within `limits`, or no identity.
    pub fn parse(
        data_set: &[u8],
        transfer_syntax: &TransferSyntaxUid,
        limits: &ScanLimits,
    ) -> Result<Self, InstanceError> {
        crate::scan::head::read_instance(data_set, transfer_syntax, limits)
    }

    /// The attributes of `level` alone, as [`INDEXED`] assigns them.
    #[must_use]
    pub fn attributes_of(&self, level: Level) -> Attributes {
        let mut attributes = self.attributes.clone();
        attributes.retain(|a| level_of(a.tag) == Some(level));
        attributes
    }
}

/// The level that `tag` belongs to, if the index keeps it.
#[must_use]
pub fn level_of(tag: Tag) -> Option<Level> {
    let at = INDEXED.binary_search_by_key(&tag, |entry| entry.0).ok()?;
    INDEXED.get(at).map(|entry| entry.1)
}

/// What the index keeps, in tag order, with the level each attribute belongs to (PS3.4 C.6.1.1 and
/// C.6.2.1, and what clients ask for beyond them).
pub const INDEXED: &[(Tag, Level)] = &[
    (tags::SPECIFIC_CHARACTER_SET, Level::Instance),
    (tags::IMAGE_TYPE, Level::Instance),
    (tags::SOP_CLASS_UID, Level::Instance),
    (tags::SOP_INSTANCE_UID, Level::Instance),
    (tags::STUDY_DATE, Level::Study),
    (tags::SERIES_DATE, Level::Series),
    (tags::ACQUISITION_DATE, Level::Instance),
    (tags::CONTENT_DATE, Level::Instance),
    (tags::ACQUISITION_DATE_TIME, Level::Instance),
    (tags::STUDY_TIME, Level::Study),
    (tags::SERIES_TIME, Level::Series),
    (tags::ACQUISITION_TIME, Level::Instance),
    (tags::CONTENT_TIME, Level::Instance),
    (tags::ACCESSION_NUMBER, Level::Study),
    (tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE, Level::Study),
    (tags::MODALITY, Level::Series),
    (tags::MANUFACTURER, Level::Series),
    (tags::INSTITUTION_NAME, Level::Series),
    (tags::REFERRING_PHYSICIAN_NAME, Level::Study),
    (tags::TIMEZONE_OFFSET_FROM_UTC, Level::Instance),
    (tags::STATION_NAME, Level::Series),
    (tags::STUDY_DESCRIPTION, Level::Study),
    (tags::PROCEDURE_CODE_SEQUENCE, Level::Study),
    (tags::SERIES_DESCRIPTION, Level::Series),
    (tags::INSTITUTIONAL_DEPARTMENT_NAME, Level::Series),
    (tags::PERFORMING_PHYSICIAN_NAME, Level::Series),
    (tags::NAME_OF_PHYSICIANS_READING_STUDY, Level::Study),
    (tags::OPERATORS_NAME, Level::Series),
    (tags::ADMITTING_DIAGNOSES_DESCRIPTION, Level::Study),
    (tags::MANUFACTURER_MODEL_NAME, Level::Series),
    (tags::PATIENT_NAME, Level::Patient),
    (tags::PATIENT_ID, Level::Patient),
    (tags::ISSUER_OF_PATIENT_ID, Level::Patient),
    (tags::PATIENT_BIRTH_DATE, Level::Patient),
    (tags::PATIENT_BIRTH_TIME, Level::Patient),
    (tags::PATIENT_SEX, Level::Patient),
    (tags::OTHER_PATIENT_NAMES, Level::Patient),
    (tags::OTHER_PATIENT_I_DS_SEQUENCE, Level::Patient),
    (tags::PATIENT_AGE, Level::Study),
    (tags::PATIENT_SIZE, Level::Study),
    (tags::PATIENT_WEIGHT, Level::Study),
    (tags::OCCUPATION, Level::Study),
    (tags::ADDITIONAL_PATIENT_HISTORY, Level::Study),
    (tags::PATIENT_COMMENTS, Level::Patient),
    (tags::BODY_PART_EXAMINED, Level::Series),
    (tags::PROTOCOL_NAME, Level::Series),
    (tags::PATIENT_POSITION, Level::Series),
    (tags::STUDY_INSTANCE_UID, Level::Study),
    (tags::SERIES_INSTANCE_UID, Level::Series),
    (tags::STUDY_ID, Level::Study),
    (tags::SERIES_NUMBER, Level::Series),
    (tags::ACQUISITION_NUMBER, Level::Instance),
    (tags::INSTANCE_NUMBER, Level::Instance),
    (tags::LATERALITY, Level::Series),
    (tags::IMAGE_COMMENTS, Level::Instance),
    (tags::NUMBER_OF_FRAMES, Level::Instance),
    (tags::ROWS, Level::Instance),
    (tags::COLUMNS, Level::Instance),
    (tags::BITS_ALLOCATED, Level::Instance),
    (tags::PERFORMED_PROCEDURE_STEP_START_DATE, Level::Series),
    (tags::PERFORMED_PROCEDURE_STEP_START_TIME, Level::Series),
    (tags::PERFORMED_PROCEDURE_STEP_ID, Level::Series),
    (tags::REQUEST_ATTRIBUTES_SEQUENCE, Level::Series),
    (tags::CONTAINER_IDENTIFIER, Level::Instance),
    (tags::CONCEPT_NAME_CODE_SEQUENCE, Level::Instance),
    (tags::DOCUMENT_TITLE, Level::Instance),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_indexed_tags_are_in_order() {
        for pair in INDEXED.windows(2) {
            assert!(
                pair[0].0 < pair[1].0,
                "{} stands before {}",
                pair[0].0,
                pair[1].0
            );
        }
    }
}
