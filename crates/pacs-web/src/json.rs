//! The DICOM JSON model (PS3.18 annex F).
//!
//! [`write_attributes`] writes what a search finds, [`crate::model::Model`] a stored data set.
//! What clients send in JSON is read token by token ([`JsonReader`]).
//!
//! DS and IS are numbers with the digits they were written with, and strings where they are none.

mod attributes;
pub(crate) mod base64;
mod number;
mod reader;
mod string;
mod value;

pub use attributes::write_attributes;
pub(crate) use attributes::{bulk, inline, member_begins};
pub use reader::{JsonError, JsonReader, Token};
pub(crate) use value::{is_multi_valued, write_values};
