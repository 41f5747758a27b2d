//! The UIDs the tests name (PS3.6 Annex A).

/// DICOM Application Context Name.
pub const APPLICATION_CONTEXT: &str = "1.2.840.10008.3.1.1.1";
/// Implicit VR Little Endian.
pub const IMPLICIT_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2";
/// Explicit VR Little Endian.
pub const EXPLICIT_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1";
/// Deflated Explicit VR Little Endian.
pub const DEFLATED_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1.99";
/// Explicit VR Big Endian.
pub const EXPLICIT_BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";
/// Encapsulated Uncompressed Explicit VR Little Endian.
pub const ENCAPSULATED_UNCOMPRESSED: &str = "1.2.840.10008.1.2.1.98";
/// RLE Lossless.
pub const RLE_LOSSLESS: &str = "1.2.840.10008.1.2.5";
/// JPEG Baseline.
pub const JPEG_BASELINE: &str = "1.2.840.10008.1.2.4.50";
/// Verification.
pub const VERIFICATION: &str = "1.2.840.10008.1.1";
/// Storage Commitment Push Model.
pub const STORAGE_COMMITMENT: &str = "1.2.840.10008.1.20.1";
/// Its well-known instance.
pub const STORAGE_COMMITMENT_INSTANCE: &str = "1.2.840.10008.1.20.1.1";
/// CT Image Storage.
pub const CT_IMAGE_STORAGE: &str = "1.2.840.10008.5.1.4.1.1.2";
/// MR Image Storage.
pub const MR_IMAGE_STORAGE: &str = "1.2.840.10008.5.1.4.1.1.4";
/// Digital X-Ray Image Storage - For Presentation.
pub const DX_IMAGE_STORAGE: &str = "1.2.840.10008.5.1.4.1.1.1.1";
/// Modality Performed Procedure Step.
pub const PROCEDURE_STEP: &str = "1.2.840.10008.3.1.2.3.3";
/// Modality Worklist Information Model - FIND.
pub const WORKLIST_FIND: &str = "1.2.840.10008.5.1.4.31";
/// Secondary Capture Image Storage.
pub const SECONDARY_CAPTURE: &str = "1.2.840.10008.5.1.4.1.1.7";
/// Patient Root Query/Retrieve Information Model - FIND.
pub const PATIENT_ROOT_FIND: &str = "1.2.840.10008.5.1.4.1.2.1.1";
/// Study Root Query/Retrieve Information Model - FIND.
pub const STUDY_ROOT_FIND: &str = "1.2.840.10008.5.1.4.1.2.2.1";
/// Study Root Query/Retrieve Information Model - MOVE.
pub const STUDY_ROOT_MOVE: &str = "1.2.840.10008.5.1.4.1.2.2.2";
/// Study Root Query/Retrieve Information Model - GET.
pub const STUDY_ROOT_GET: &str = "1.2.840.10008.5.1.4.1.2.2.3";
