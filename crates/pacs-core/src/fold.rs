//! Folding of text: the form in which values are compared, and keys for finding people by their
//! names.
//!
//! [`matching_key`] is the meaning of "equal" in [`crate::matching`]: an index that keeps these
//! keys compares bytes and is right. Only person names are folded beyond what the standard calls
//! insignificant, as PS3.4 C.2.2.2.1 permits for them alone: case, apostrophes, and the letters
//! that keyboards and clerks interchange (Ё/Е, Ң/Н, Ө/О, Ү/У). [`k1`] and [`k2`] go further, for
//! search fields of people, and never decide what a DICOM query matches. [`transliterate`] makes
//! the Latin form of a Cyrillic name, and [`retyped`] undoes a keyboard that was set to the wrong
//! letters.

mod keyboard;
mod name;
mod number;
mod search;
mod transliteration;

pub use keyboard::retyped;
pub use search::{k1, k2};
pub use transliteration::transliterate;

use crate::matching::moment;
use crate::tag::Vr;
use std::borrow::Cow;
use unicode_normalization::{IsNormalized, UnicodeNormalization as _, is_nfc_quick};

/// The form of `text` that is compared, for all its values: they stand between backslashes as
/// before.
///
/// - PN: NFC, lower case, no apostrophes, Ё/Ң/Ө/Ү as Е/Н/О/У, no spaces around components, no empty
///   components or component groups at the end.
/// - DA, TM, DT: a fixed number of digits that sorts as time does; nothing where the value is none
///   of its VR. A value of lesser precision stands for its beginning. DT is in UTC; without an
///   offset it counts as UTC.
/// - IS, DS and binary numbers: the shortest decimal form.
/// - UI: without padding. Other text: NFC, without the spaces that PS3.5 6.2 calls insignificant.
///
/// `*` and `?` stay what they are, so that the key of a pattern is the pattern of the keys.
#[must_use]
pub fn matching_key(vr: Vr, text: &str) -> Cow<'_, str> {
    if is_plain(vr, text) {
        return Cow::Borrowed(text);
    }
    if !is_multi_valued(vr) || !text.contains('\\') {
        return value_key(vr, text);
    }
    let mut keys = String::with_capacity(text.len());
    for (at, value) in text.split('\\').enumerate() {
        if at > 0 {
            keys.push('\\');
        }
        keys.push_str(&value_key(vr, value));
    }
    Cow::Owned(keys)
}

/// The parts of a [`matching_key`] that an index keeps as entries, so that an equal value or a
/// literal prefix finds them: each value, and of names each component group. Empty ones are left
/// out.
pub fn entries(vr: Vr, key: &str) -> impl Iterator<Item = &str> {
    values(vr, key)
        .flat_map(move |value| groups(vr, value))
        .filter(|entry| !entry.is_empty())
}

/// The values of a text: one where the VR has no multiplicity.
pub(crate) fn values(vr: Vr, text: &str) -> impl Iterator<Item = &str> {
    split(text, is_multi_valued(vr).then_some('\\'))
}

/// The component groups of a value: one where it is no name.
pub(crate) fn groups(vr: Vr, value: &str) -> impl Iterator<Item = &str> {
    split(value, (vr == Vr::PN).then_some('='))
}

fn split(text: &str, at: Option<char>) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let parts = at.and_then(|at| text.split_once(at));
        rest = parts.map(|(_, tail)| tail);
        Some(parts.map_or(text, |(head, _)| head))
    })
}

/// Whether a backslash separates values in this VR (PS3.5 6.4).
pub(crate) const fn is_multi_valued(vr: Vr) -> bool {
    !matches!(vr, Vr::LT | Vr::ST | Vr::UR | Vr::UT)
}

/// Whether a value says nothing: it is empty but for padding and, where it is a name, for the marks
/// between its parts. One of apostrophes alone says something, though its key is empty: nobody has
/// such a name.
pub(crate) fn is_blank(vr: Vr, value: &str) -> bool {
    let is_of_name = |c| vr == Vr::PN && matches!(c, '^' | '=');
    value
        .chars()
        .all(|c| matches!(c, ' ' | '\0') || is_of_name(c))
}

/// A quick way for what is already its own key: most identifiers and codes are.
fn is_plain(vr: Vr, text: &str) -> bool {
    matches!(
        vr,
        Vr::AE | Vr::CS | Vr::LO | Vr::SH | Vr::UI | Vr::LT | Vr::ST | Vr::UT | Vr::UC
    ) && text.bytes().all(|b| (0x21..0x7f).contains(&b))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "text is what no other rule names, and is compared as it stands"
)]
fn value_key(vr: Vr, value: &str) -> Cow<'_, str> {
    match vr {
        Vr::PN => Cow::Owned(name::key(value)),
        Vr::DA | Vr::DT | Vr::TM => {
            moment::bounds(vr, value).map_or(Cow::Borrowed(""), |bounds| Cow::Owned(bounds.first))
        }
        Vr::DS | Vr::FD | Vr::FL | Vr::IS | Vr::SL | Vr::SS | Vr::SV | Vr::UL | Vr::US | Vr::UV => {
            number::key(trim(value))
        }
        Vr::LT | Vr::ST | Vr::UC | Vr::UR | Vr::UT => nfc(value.trim_end_matches([' ', '\0'])),
        _ => nfc(trim(value)),
    }
}

fn trim(value: &str) -> &str {
    value.trim_matches([' ', '\0'])
}

fn nfc(text: &str) -> Cow<'_, str> {
    if is_surely_composed(text) || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.nfc().collect())
    }
}

/// Whether every character is one that NFC never touches: below U+0300, or Cyrillic without its
/// combining marks. That is what nearly all text here is, and far cheaper to see than to normalise.
fn is_surely_composed(text: &str) -> bool {
    let stable =
        |c: char| matches!(c, '\0'..'\u{300}' | '\u{400}'..'\u{483}' | '\u{48a}'..'\u{530}');
    text.is_ascii() || text.chars().all(stable)
}

/// Calls `each` with the characters of `text` in NFC.
fn each_composed(text: &str, each: impl FnMut(char)) {
    nfc(text).chars().for_each(each);
}

/// Appends `c` in lower case, as the letter that stands for it.
fn push_folded(out: &mut String, c: char) {
    match c {
        '\0'..'\u{80}' => out.push(c.to_ascii_lowercase()),
        'а'..='я' => out.push(c),
        // The capitals stand 32 before the small letters.
        'А'..='Я' => out.extend(char::from_u32(u32::from(c).wrapping_add(32))),
        c => out.extend(c.to_lowercase().map(interchanged)),
    }
}

/// Marks that stand for an apostrophe in names, typed or transliterated.
const fn is_apostrophe(c: char) -> bool {
    matches!(
        c,
        '\'' | '`'
            | '\u{b4}'
            | '\u{2b9}'
            | '\u{2bb}'
            | '\u{2bc}'
            | '\u{2018}'
            | '\u{2019}'
            | '\u{201b}'
            | '\u{2032}'
    )
}

/// The letter that stands for `c` (in lower case) where writers interchange them.
pub(crate) const fn interchanged(c: char) -> char {
    match c {
        'ё' => 'е',
        'ң' => 'н',
        'ө' => 'о',
        'ү' => 'у',
        other => other,
    }
}

#[cfg(test)]
mod tests;
