//! Application Entity titles (PS3.5 6.2, VR AE). A title is a label, never an identity and never a
//! path.

use std::fmt;

/// An AE title: 1 to 16 printable ASCII characters without backslash, outer spaces taken off.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AeTitle(Box<str>);

/// Why a string is not an AE title.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an AE title is 1 to 16 printable ASCII characters without backslash")]
pub struct AeTitleError;

impl AeTitle {
    /// Reads a title; leading and trailing spaces are not significant.
    ///
    /// # Errors
    /// [`AeTitleError`] for an empty, long or unprintable title.
    pub fn parse(text: &str) -> Result<Self, AeTitleError> {
        let text = text.trim_matches([' ', '\0']);
        let permitted = text
            .bytes()
            .all(|b| (0x20..0x7f).contains(&b) && b != b'\\');
        if permitted && (1..=16).contains(&text.len()) {
            Ok(Self(text.into()))
        } else {
            Err(AeTitleError)
        }
    }

    /// The title without padding.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AeTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AeTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for AeTitle {
    type Error = AeTitleError;

    fn try_from(text: String) -> Result<Self, AeTitleError> {
        Self::parse(&text)
    }
}

impl From<AeTitle> for String {
    fn from(title: AeTitle) -> Self {
        title.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outer_spaces_are_not_significant() {
        assert_eq!(
            AeTitle::parse(" PACS            ").unwrap().as_str(),
            "PACS"
        );
    }

    #[test]
    fn what_is_not_a_title_is_refused() {
        for text in [
            "",
            "   ",
            "A\\B",
            "ABCDEFGHIJKLMNOPQ",
            "tab\tbed",
            "\u{41f}\u{410}\u{41a}\u{421}",
        ] {
            assert_eq!(AeTitle::parse(text), Err(AeTitleError), "{text:?}");
        }
    }
}
