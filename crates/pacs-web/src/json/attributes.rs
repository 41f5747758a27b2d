//! Decoded attributes, as a search finds them, in the JSON model.

use super::{string, value};
use pacs_core::attributes::Attribute;
use pacs_core::limits::ITEM_DEPTH_MAX;
use pacs_core::tag::tags;
use pacs_core::{Attributes, Tag, Value};
use std::io::Write as _;

/// Writes `attributes` as one object. Sequences deeper than [`ITEM_DEPTH_MAX`] are left out:
/// nothing that was read has them.
pub fn write_attributes(out: &mut Vec<u8>, attributes: &Attributes) {
    write_object(out, attributes, 0);
}

fn write_object(out: &mut Vec<u8>, attributes: &Attributes, depth: usize) {
    out.push(b'{');
    for (at, attribute) in attributes.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_attribute(out, attribute, depth);
    }
    out.push(b'}');
}

fn write_attribute(out: &mut Vec<u8>, attribute: &Attribute, depth: usize) {
    write_key(out, attribute.tag);
    out.extend_from_slice(b"{\"vr\":\"");
    out.extend_from_slice(&attribute.vr.to_bytes());
    out.push(b'"');
    match &attribute.value {
        Value::Suspect(_) | Value::Text(_) if attribute.tag == tags::SPECIFIC_CHARACTER_SET => {
            value::write_values(out, attribute.vr, "ISO_IR 192");
        }
        Value::Suspect(text) | Value::Text(text) => value::write_values(out, attribute.vr, text),
        Value::Items(items) if items.is_empty() || depth >= ITEM_DEPTH_MAX => {}
        Value::Items(items) => {
            out.extend_from_slice(b",\"Value\":[");
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_object(out, item, depth.saturating_add(1));
            }
            out.push(b']');
        }
    }
    out.push(b'}');
}

/// Writes `"GGGGEEEE":`.
pub(super) fn write_key(out: &mut Vec<u8>, tag: Tag) {
    // Writing to memory does not fail.
    write!(out, "\"{:04X}{:04X}\":", tag.group(), tag.element()).ok();
}

/// Writes a member whose value is a string.
pub(super) fn write_member(out: &mut Vec<u8>, name: &str, text: &str) {
    out.push(b',');
    string::write(out, name);
    out.push(b':');
    string::write(out, text);
}
