//! Which service class an abstract syntax belongs to (PS3.4, PS3.6 Annex A).

use pacs_core::query::Model;

/// Verification SOP Class.
pub const VERIFICATION: &str = "1.2.840.10008.1.1";
/// Patient Root Query/Retrieve Information Model - FIND.
pub const PATIENT_ROOT_FIND: &str = "1.2.840.10008.5.1.4.1.2.1.1";
/// Patient Root Query/Retrieve Information Model - MOVE.
pub const PATIENT_ROOT_MOVE: &str = "1.2.840.10008.5.1.4.1.2.1.2";
/// Patient Root Query/Retrieve Information Model - GET.
pub const PATIENT_ROOT_GET: &str = "1.2.840.10008.5.1.4.1.2.1.3";
/// Study Root Query/Retrieve Information Model - FIND.
pub const STUDY_ROOT_FIND: &str = "1.2.840.10008.5.1.4.1.2.2.1";
/// Study Root Query/Retrieve Information Model - MOVE.
pub const STUDY_ROOT_MOVE: &str = "1.2.840.10008.5.1.4.1.2.2.2";
/// Study Root Query/Retrieve Information Model - GET.
pub const STUDY_ROOT_GET: &str = "1.2.840.10008.5.1.4.1.2.2.3";

/// Storage Commitment Push Model SOP Class.
pub const STORAGE_COMMITMENT_PUSH: &str = "1.2.840.10008.1.20.1";
/// Its well-known SOP Instance (PS3.4 J.3.5).
pub const STORAGE_COMMITMENT_INSTANCE: &str = "1.2.840.10008.1.20.1.1";

/// Modality Worklist Information Model - FIND.
pub const MODALITY_WORKLIST_FIND: &str = "1.2.840.10008.5.1.4.31";
/// Modality Performed Procedure Step SOP Class.
pub const MODALITY_PERFORMED_PROCEDURE_STEP: &str = "1.2.840.10008.3.1.2.3.3";

/// Instance Availability Notification SOP Class.
pub const INSTANCE_AVAILABILITY_NOTIFICATION: &str = "1.2.840.10008.5.1.4.33";

/// Implicit VR Little Endian.
pub const IMPLICIT_VR_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2";
/// Explicit VR Little Endian.
pub const EXPLICIT_VR_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1";
/// Deflated Explicit VR Little Endian.
pub const DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1.99";
/// Explicit VR Big Endian (retired).
pub const EXPLICIT_VR_BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

/// The service class of an abstract syntax.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServiceClass {
    /// N-ACTION and N-EVENT-REPORT of storage commitment
    Commitment,
    /// C-FIND
    Find(Model),
    /// C-GET
    Get(Model),
    /// C-MOVE
    Move(Model),
    /// A class of the standard that this crate does not serve.
    Other,
    /// N-CREATE and N-SET of modality performed procedure steps
    ProcedureStep,
    /// C-STORE; every class that is not of the standard, too.
    Storage,
    /// C-ECHO
    Verification,
    /// C-FIND of modality worklists
    Worklist,
}

/// Storage SOP classes of the standard outside [`STORAGE_ROOT`].
const STORAGE_ELSEWHERE: [&str; 11] = [
    "1.2.840.10008.5.1.1.27",
    "1.2.840.10008.5.1.1.29",
    "1.2.840.10008.5.1.1.30",
    "1.2.840.10008.5.1.4.34.1",
    "1.2.840.10008.5.1.4.34.7",
    "1.2.840.10008.5.1.4.34.10",
    "1.2.840.10008.5.1.4.38.1",
    "1.2.840.10008.5.1.4.39.1",
    "1.2.840.10008.5.1.4.43.1",
    "1.2.840.10008.5.1.4.44.1",
    "1.2.840.10008.5.1.4.45.1",
];

/// Where the standard registers storage SOP classes, those to come included.
const STORAGE_ROOT: &str = "1.2.840.10008.5.1.4.1.1.";

/// Classes under [`STORAGE_ROOT`] that query, retrieve or act (protocol approval, inventory).
const NOT_STORAGE: [&str; 8] = [
    "1.2.840.10008.5.1.4.1.1.200.4",
    "1.2.840.10008.5.1.4.1.1.200.5",
    "1.2.840.10008.5.1.4.1.1.200.6",
    "1.2.840.10008.5.1.4.1.1.201.2",
    "1.2.840.10008.5.1.4.1.1.201.3",
    "1.2.840.10008.5.1.4.1.1.201.4",
    "1.2.840.10008.5.1.4.1.1.201.5",
    "1.2.840.10008.5.1.4.1.1.201.6",
];

/// Everything that DICOM itself registers.
const DICOM_ROOT: &str = "1.2.840.10008.";

/// The service class of `abstract_syntax`.
#[must_use]
pub fn service_class(abstract_syntax: &str) -> ServiceClass {
    match abstract_syntax {
        VERIFICATION => ServiceClass::Verification,
        STORAGE_COMMITMENT_PUSH => ServiceClass::Commitment,
        MODALITY_PERFORMED_PROCEDURE_STEP => ServiceClass::ProcedureStep,
        MODALITY_WORKLIST_FIND => ServiceClass::Worklist,
        PATIENT_ROOT_FIND => ServiceClass::Find(Model::PatientRoot),
        PATIENT_ROOT_MOVE => ServiceClass::Move(Model::PatientRoot),
        PATIENT_ROOT_GET => ServiceClass::Get(Model::PatientRoot),
        STUDY_ROOT_FIND => ServiceClass::Find(Model::StudyRoot),
        STUDY_ROOT_MOVE => ServiceClass::Move(Model::StudyRoot),
        STUDY_ROOT_GET => ServiceClass::Get(Model::StudyRoot),
        uid if !uid.starts_with(DICOM_ROOT) => ServiceClass::Storage,
        uid if uid.starts_with(STORAGE_ROOT) && !NOT_STORAGE.contains(&uid) => {
            ServiceClass::Storage
        }
        uid if STORAGE_ELSEWHERE.contains(&uid) => ServiceClass::Storage,
        _ => ServiceClass::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sop_class_of_the_standard_is_what_its_name_says() {
        for line in include_str!("../testdata/sop-classes.tsv").lines().skip(1) {
            let fields: Vec<&str> = line.split('\t').collect();
            let found = match service_class(fields[0]) {
                ServiceClass::Storage => "storage",
                ServiceClass::Other => "other",
                ServiceClass::Commitment
                | ServiceClass::Find(_)
                | ServiceClass::Get(_)
                | ServiceClass::Move(_)
                | ServiceClass::ProcedureStep
                | ServiceClass::Verification
                | ServiceClass::Worklist => "served",
            };
            assert_eq!(found, fields[1], "{line}");
        }
    }

    #[test]
    fn private_and_future_storage_classes_are_storage() {
        assert_eq!(service_class("1.3.12.2.1107.5.9.1"), ServiceClass::Storage);
        assert_eq!(
            service_class("1.2.840.10008.5.1.4.1.1.999.1"),
            ServiceClass::Storage
        );
    }

    #[test]
    fn query_retrieve_classes_have_their_model() {
        assert_eq!(
            service_class("1.2.840.10008.5.1.4.1.2.2.3"),
            ServiceClass::Get(Model::StudyRoot)
        );
        assert_eq!(
            service_class("1.2.840.10008.5.1.4.1.2.1.1"),
            ServiceClass::Find(Model::PatientRoot)
        );
    }
}
