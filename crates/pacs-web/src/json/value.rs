//! Values, by their VR (PS3.18 F.2.2 to F.2.6).

use super::{number, string};
use pacs_core::Vr;

/// Digits of a whole number that every reader keeps: JavaScript has 53 bits.
const EXACT_DIGITS_MAX: usize = 15;

/// Writes `,"Value":[…]` for a text of `vr` without padding, whose values stand between
/// backslashes; nothing where it is empty.
pub(crate) fn write_values(out: &mut Vec<u8>, vr: Vr, text: &str) {
    if text.is_empty() {
        return;
    }
    out.extend_from_slice(b",\"Value\":[");
    if is_multi_valued(vr) && text.as_bytes().contains(&b'\\') {
        for (at, value) in text.split('\\').enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write_value(out, vr, value);
        }
    } else {
        write_value(out, vr, text);
    }
    out.push(b']');
}

/// Whether a backslash separates values in this VR (PS3.5 6.4).
pub(crate) const fn is_multi_valued(vr: Vr) -> bool {
    !matches!(vr, Vr::LT | Vr::ST | Vr::UR | Vr::UT)
}

fn write_value(out: &mut Vec<u8>, vr: Vr, value: &str) {
    if value.is_empty() {
        out.extend_from_slice(b"null");
    } else if vr == Vr::PN {
        write_name(out, value);
    } else if is_number(vr) {
        write_number(out, vr, value);
    } else {
        string::write(out, value);
    }
}

const fn is_number(vr: Vr) -> bool {
    use Vr::{DS, FD, FL, IS, SL, SS, SV, UL, US, UV};
    matches!(vr, DS | FD | FL | IS | SL | SS | SV | UL | US | UV)
}

fn write_number(out: &mut Vec<u8>, vr: Vr, value: &str) {
    let value = value.trim_matches(' ');
    let is_long = matches!(vr, Vr::SV | Vr::UV) && value.len() > EXACT_DIGITS_MAX;
    match number::of_text(value).filter(|_| !is_long) {
        Some(number) => out.extend_from_slice(number.as_bytes()),
        None => string::write(out, value),
    }
}

/// A name is an object of its component groups; empty groups are left out (F.2.2).
fn write_name(out: &mut Vec<u8>, value: &str) {
    let names = ["Alphabetic", "Ideographic", "Phonetic"];
    let groups = value
        .splitn(names.len(), '=')
        .map(|group| group.trim_end_matches(' '));
    out.push(b'{');
    let mut is_first = true;
    for (name, group) in names.iter().zip(groups) {
        if group.is_empty() {
            continue;
        }
        if !is_first {
            out.push(b',');
        }
        is_first = false;
        string::write(out, name);
        out.push(b':');
        string::write(out, group);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(vr: Vr, text: &str) -> String {
        let mut out = Vec::new();
        write_values(&mut out, vr, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_come_as_the_standard_has_them() {
        for (vr, text, expected) in [
            (Vr::LO, "", ""),
            (Vr::LO, "a\\b", r#","Value":["a","b"]"#),
            (Vr::LO, "\\b", r#","Value":[null,"b"]"#),
            (Vr::UT, "a\\b", r#","Value":["a\\b"]"#),
            (Vr::DS, "1.0\\x\\+2", r#","Value":[1.0,"x",2]"#),
            (Vr::FD, "NaN\\inf\\1.5", r#","Value":["NaN","inf",1.5]"#),
            (
                Vr::UV,
                "18446744073709551615",
                r#","Value":["18446744073709551615"]"#,
            ),
            (Vr::AT, "00100020", r#","Value":["00100020"]"#),
            (Vr::PN, "A^B", r#","Value":[{"Alphabetic":"A^B"}]"#),
            (
                Vr::PN,
                "A=B=C\\=D",
                concat!(
                    r#","Value":[{"Alphabetic":"A","Ideographic":"B","Phonetic":"C"},"#,
                    r#"{"Ideographic":"D"}]"#
                ),
            ),
        ] {
            assert_eq!(written(vr, text), expected, "{text}");
        }
    }
}
