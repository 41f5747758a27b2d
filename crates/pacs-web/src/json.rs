//! The DICOM JSON model (PS3.18 annex F), written.
//!
//! [`Model`] takes the events of a data set and writes one object, piece by piece; what it
//! holds does not grow with the data set. Text of any character set becomes UTF-8, and Specific
//! Character Set says so. Values over [`ModelOptions::value_bytes_max`], bytes over
//! [`ModelOptions::inline_bytes_max`] and pixel data are named by a `BulkDataURI`. Group lengths
//! and Data Set Trailing Padding are left out (PS3.19 A.1.5.2); of an element that stands twice the
//! first counts.
//!
//! DS and IS are numbers with the digits they were written with, and strings where they are none.

mod attributes;
mod base64;
mod model;
mod number;
mod string;
mod value;

pub use attributes::write_attributes;
pub(crate) use model::word_bytes;
pub use model::{Model, ModelOptions};
