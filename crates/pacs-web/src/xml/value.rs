//! Values, by their VR (PS3.19 table A.1.5-2).

use crate::json::is_multi_valued;
use pacs_core::{Vr, xml};
use std::io::Write as _;

/// The component groups of a name.
pub(super) const GROUPS: [&str; 3] = ["Alphabetic", "Ideographic", "Phonetic"];

/// The components of a group (PS3.5 6.2.1.1).
pub(super) const COMPONENTS: [&str; 5] = [
    "FamilyName",
    "GivenName",
    "MiddleName",
    "NamePrefix",
    "NameSuffix",
];

/// Writes the values of a text of `vr` without padding, which stand between backslashes; nothing
/// where it is empty.
pub(crate) fn write_values(out: &mut Vec<u8>, vr: Vr, text: &str) {
    if text.is_empty() {
        return;
    }
    if !is_multi_valued(vr) {
        write_value(out, vr, 1, text);
        return;
    }
    for (number, value) in (1_u64..).zip(text.split('\\')) {
        write_value(out, vr, number, value);
    }
}

fn write_value(out: &mut Vec<u8>, vr: Vr, number: u64, value: &str) {
    let name = if vr == Vr::PN { "PersonName" } else { "Value" };
    if value.is_empty() {
        // Writing to memory does not fail.
        write!(out, "<{name} number=\"{number}\"/>").ok();
        return;
    }
    write!(out, "<{name} number=\"{number}\">").ok();
    if vr == Vr::PN {
        write_name(out, value);
    } else if matches!(vr, Vr::DS | Vr::IS) {
        xml::write(out, value.trim_matches(' '));
    } else {
        xml::write(out, value);
    }
    write!(out, "</{name}>").ok();
}

/// A name as its groups and their components; what is empty is left out.
fn write_name(out: &mut Vec<u8>, value: &str) {
    let groups = value.splitn(GROUPS.len(), '=');
    for (name, group) in GROUPS.iter().zip(groups) {
        let group = group.trim_end_matches(' ');
        if group.is_empty() {
            continue;
        }
        write!(out, "<{name}>").ok();
        let components = group.splitn(COMPONENTS.len(), '^');
        for (name, component) in COMPONENTS.iter().zip(components) {
            if component.is_empty() {
                continue;
            }
            write!(out, "<{name}>").ok();
            xml::write(out, component);
            write!(out, "</{name}>").ok();
        }
        write!(out, "</{name}>").ok();
    }
}
