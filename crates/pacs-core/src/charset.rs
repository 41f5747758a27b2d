//! Character sets: bytes of text values become Unicode (PS3.3 C.12.1.1.2, PS3.5 6.1).

use crate::tag::Vr;
use std::borrow::Cow;

/// A text, and whether its bytes followed the declared character set.
#[derive(Clone, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// The text.
    pub text: Cow<'a, str>,
    /// Whether it had to be guessed.
    pub is_suspect: bool,
}

impl std::fmt::Debug for Decoded<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoded")
            .field("is_suspect", &self.is_suspect)
            .finish_non_exhaustive()
    }
}

/// The character sets of a data set or item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CharacterSets {}

impl CharacterSets {
    /// The default repertoire, ISO-IR 6.
    pub const DEFAULT: Self = Self {};

    /// Reads the value of Specific Character Set (0008,0005).
    #[must_use]
    pub fn decode_term_list(_bytes: &[u8]) -> Self {
        Self {}
    }

    /// Decodes a text value.
    #[must_use]
    pub fn decode<'a>(&self, _vr: Vr, bytes: &'a [u8]) -> Decoded<'a> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Decoded {
                text: Cow::Borrowed(text),
                is_suspect: false,
            },
            Err(_) => Decoded {
                text: bytes.iter().map(|&b| char::from(b)).collect(),
                is_suspect: true,
            },
        }
    }
}
