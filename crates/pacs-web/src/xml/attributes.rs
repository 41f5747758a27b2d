//! Decoded attributes, as a search finds them, in the Native DICOM Model.

use super::{notation, value};
use pacs_core::attributes::Attribute;
use pacs_core::limits::ITEM_DEPTH_MAX;
use pacs_core::tag::tags;
use pacs_core::{Attributes, Value};

/// Writes `attributes` as one document. Sequences deeper than [`ITEM_DEPTH_MAX`] are left out:
/// nothing that was read has them.
pub fn write_attributes(out: &mut Vec<u8>, attributes: &Attributes) {
    notation::document_begins(out);
    write_all(out, attributes, 0);
    notation::document_ends(out);
}

fn write_all(out: &mut Vec<u8>, attributes: &Attributes, depth: usize) {
    for attribute in attributes {
        write_attribute(out, attribute, depth);
    }
}

fn write_attribute(out: &mut Vec<u8>, attribute: &Attribute, depth: usize) {
    notation::member_begins(out, attribute.tag, attribute.vr, None);
    match &attribute.value {
        Value::Suspect(_) | Value::Text(_) if attribute.tag == tags::SPECIFIC_CHARACTER_SET => {
            value::write_values(out, attribute.vr, "ISO_IR 192");
        }
        Value::Suspect(text) | Value::Text(text) => value::write_values(out, attribute.vr, text),
        Value::Items(_) if depth >= ITEM_DEPTH_MAX => {}
        Value::Items(items) => {
            for (number, item) in (1..).zip(items) {
                notation::item_begins(out, number);
                write_all(out, item, depth.saturating_add(1));
                out.extend_from_slice(b"</Item>");
            }
        }
    }
    out.extend_from_slice(b"</DicomAttribute>");
}
