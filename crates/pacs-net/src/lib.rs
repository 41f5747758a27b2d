//! DICOM associations and DIMSE services.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
