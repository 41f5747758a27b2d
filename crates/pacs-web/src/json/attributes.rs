//! Decoded attributes, as a search finds them, in the JSON model.

use super::{base64, string, value};
use pacs_core::attributes::Attribute;
use pacs_core::limits::ITEM_DEPTH_MAX;
use pacs_core::tag::tags;
use pacs_core::{Attributes, Tag, Value, Vr};

const DIGITS: &[u8; 16] = b"0123456789ABCDEF";

/// Writes `attributes` as one object. Sequences deeper than [`ITEM_DEPTH_MAX`] are left out:
/// nothing that was read has them.
pub fn write_attributes(out: &mut Vec<u8>, attributes: &Attributes) {
    write_object(out, attributes, 0);
}

fn write_object(out: &mut Vec<u8>, attributes: &Attributes, depth: usize) {
    out.push(b'{');
    for (at, attribute) in attributes.iter().enumerate() {
        member_begins(out, attribute.tag, attribute.vr, at == 0);
        write_value(out, attribute, depth);
        out.push(b'}');
    }
    out.push(b'}');
}

fn write_value(out: &mut Vec<u8>, attribute: &Attribute, depth: usize) {
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
}

/// Begins the member of an attribute: its name and its VR.
pub(crate) fn member_begins(out: &mut Vec<u8>, tag: Tag, vr: Vr, is_first: bool) {
    if !is_first {
        out.push(b',');
    }
    // By hand: an answer has thousands of them.
    let number = u32::from(tag.group()) << 16 | u32::from(tag.element());
    let mut begun = *b"\"00000000\":{\"vr\":\"";
    let shifts = [28_u32, 24, 20, 16, 12, 8, 4, 0];
    for (digit, shift) in begun.iter_mut().skip(1).zip(shifts) {
        let nibble = usize::try_from(number.wrapping_shr(shift) & 15).unwrap_or(0);
        *digit = DIGITS.get(nibble).copied().unwrap_or(b'0');
    }
    out.extend_from_slice(&begun);
    out.extend_from_slice(&vr.to_bytes());
    out.push(b'"');
}

/// Says where a value stands.
pub(crate) fn bulk(out: &mut Vec<u8>, url: &str) {
    out.extend_from_slice(b",\"BulkDataURI\":");
    string::write(out, url);
}

/// Writes bytes.
pub(crate) fn inline(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(b",\"InlineBinary\":\"");
    base64::write(out, bytes);
    out.push(b'"');
}
