//! Reports as others read them: a signed report of [`pacs_core::report`] as the data set of a DICOM
//! structured report.
//!
//! Everything here is pure: whoever calls says who the patient is, what was ordered, which images
//! there are and when it was signed, and stores what comes of it.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub mod sr;

pub use sr::{EvidenceSeries, SignedReport, SrError, data_set};
