//! The Native DICOM Model (PS3.19 A.1) in XML, written and read.
//!
//! [`write_attributes`] writes what a search finds, [`crate::model::Model`] a stored data set, and
//! [`read`] takes what a client sends. Text is UTF-8, and Specific Character Set says so. What XML
//! cannot hold (control characters) becomes U+FFFD. Private attributes stand with the block of
//! their tag empty and their creator beside it, where that is known and stands once in its group.
//!
//! What is read goes through [`pacs_core::xml`]: no DOCTYPE, no entities but the five of XML.

mod attributes;
mod notation;
mod read;
mod value;

pub use attributes::write_attributes;
pub(crate) use notation::{
    bulk, document_begins, document_ends, inline, item_begins, member_begins,
};
pub use read::{XmlError, read};
pub(crate) use value::write_values;

#[cfg(test)]
mod tests;
