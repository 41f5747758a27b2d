//! Texts that go into data sets: checked once, when they are made.

use crate::tag::Tag;
use std::fmt;
use unicode_normalization::UnicodeNormalization as _;

/// Characters of an SH (PS3.5 6.2).
pub(super) const SHORT_CHARS_MAX: usize = 16;

/// Characters of an LO, and of a component group of a PN (PS3.5 6.2).
pub(super) const LONG_CHARS_MAX: usize = 64;

/// Why a text cannot stand in a data set. It is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OverlayError {
    /// A name without any component.
    #[error("a person's name is empty")]
    EmptyName,
    /// More groups or components than a name has.
    #[error("a person's name has up to three groups of five components")]
    Form,
    /// A control character, or a delimiter of DICOM.
    #[error("text for {} has a character that may not stand there", name(*tag))]
    Character {
        /// For which attribute; `None` for a person's name.
        tag: Option<Tag>,
    },
    /// More characters than the standard permits.
    #[error("text for {} is longer than {chars_max} characters", name(*tag))]
    TooLong {
        /// For which attribute; `None` for a person's name.
        tag: Option<Tag>,
        /// How many it may have.
        chars_max: usize,
    },
}

fn name(tag: Option<Tag>) -> String {
    tag.map_or_else(|| "a person's name".to_owned(), |tag| tag.to_string())
}

/// A person's name as a data set has it: up to three component groups, alphabetic, ideographic and
/// phonetic, of up to five components each (PS3.5 6.2.1). `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PersonName(Box<str>);

impl PersonName {
    /// From the components of the alphabetic group: family name, given name, patronymic.
    ///
    /// # Errors
    /// [`OverlayError`].
    pub fn new(family: &str, given: &str, patronymic: &str) -> Result<Self, OverlayError> {
        Self::of_groups(&[&[family, given, patronymic]])
    }

    /// From groups of components. Text is composed (NFC); empty components at the end are left
    /// out, and spaces around each.
    ///
    /// # Errors
    /// [`OverlayError`].
    pub fn of_groups(groups: &[&[&str]]) -> Result<Self, OverlayError> {
        if groups.len() > 3 || groups.iter().any(|group| group.len() > 5) {
            return Err(OverlayError::Form);
        }
        let mut value = String::new();
        for (at, group) in groups.iter().enumerate() {
            let parts: Result<Vec<_>, _> = group.iter().copied().map(component).collect();
            let group = parts?.join("^");
            let group = group.trim_end_matches('^');
            if group.chars().count() > LONG_CHARS_MAX {
                let chars_max = LONG_CHARS_MAX;
                return Err(OverlayError::TooLong {
                    tag: None,
                    chars_max,
                });
            }
            if at > 0 {
                value.push('=');
            }
            value.push_str(group);
        }
        let value = value.trim_end_matches('=');
        if value.is_empty() {
            return Err(OverlayError::EmptyName);
        }
        Ok(Self(value.into()))
    }

    /// The value, delimiters included.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PersonName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[patient data]")
    }
}

fn component(text: &str) -> Result<String, OverlayError> {
    if text.contains(['^', '=', '\\']) || text.chars().any(char::is_control) {
        return Err(OverlayError::Character { tag: None });
    }
    Ok(text.trim().nfc().collect())
}

/// A text for an SH.
pub(super) fn short(tag: Tag, text: &str) -> Result<Box<str>, OverlayError> {
    checked(tag, text, SHORT_CHARS_MAX)
}

/// A text for an LO.
pub(super) fn long(tag: Tag, text: &str) -> Result<Box<str>, OverlayError> {
    checked(tag, text, LONG_CHARS_MAX)
}

fn checked(tag: Tag, text: &str, chars_max: usize) -> Result<Box<str>, OverlayError> {
    if text.contains('\\') || text.chars().any(char::is_control) {
        return Err(OverlayError::Character { tag: Some(tag) });
    }
    let text: String = text.trim().nfc().collect();
    if text.chars().count() > chars_max {
        let tag = Some(tag);
        return Err(OverlayError::TooLong { tag, chars_max });
    }
    Ok(text.into())
}
