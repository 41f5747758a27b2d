//! Character sets: bytes of text values become Unicode (PS3.3 C.12.1.1.2, PS3.5 6.1).
//!
//! Values are decoded whole and split at backslashes afterwards, because in several sets the byte
//! of the backslash is the second half of a character. Text that does not follow its declared set
//! is read as well as can be and marked: it never makes an instance unreadable.

mod guess;
mod iso2022;
mod set;

pub(crate) use set::Set;

use crate::scan::is_charset_text;
use crate::tag::Vr;
use encoding_rs::Encoding;
use std::borrow::Cow;

/// ESC, which begins the switch to another set.
const ESCAPE: u8 = 0x1B;

/// What bytes beyond ASCII probably are where nothing, or nothing that fits, is declared. None of
/// these but the first is a character set of DICOM; devices write them all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Undeclared {
    /// ISO 8859-5.
    #[serde(rename = "ISO_IR 144")]
    Cyrillic,
    /// KOI8-R.
    #[serde(rename = "KOI8-R")]
    Koi8R,
    /// Windows-1251.
    #[serde(rename = "windows-1251")]
    Windows1251,
    /// Windows-1252.
    #[serde(rename = "windows-1252")]
    Windows1252,
}

impl Undeclared {
    const fn encoding(self) -> &'static Encoding {
        match self {
            Self::Cyrillic => encoding_rs::ISO_8859_5,
            Self::Koi8R => encoding_rs::KOI8_R,
            Self::Windows1251 => encoding_rs::WINDOWS_1251,
            Self::Windows1252 => encoding_rs::WINDOWS_1252,
        }
    }
}

/// A text, and whether its bytes followed the declared character set. `Debug` does not show the
/// text.
#[derive(Clone, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// The text.
    pub text: Cow<'a, str>,
    /// Whether it had to be guessed, or has gaps.
    pub is_suspect: bool,
}

impl std::fmt::Debug for Decoded<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoded")
            .field("is_suspect", &self.is_suspect)
            .finish_non_exhaustive()
    }
}

/// The character sets of a data set or item: the value of Specific Character Set (0008,0005).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CharacterSets {
    /// Value 1, in force at the beginning of each value and after delimiters.
    first: Set,
    /// Which sets escape sequences may switch to.
    declared: set::Sets,
    /// What an undefined term probably means.
    outside: Option<&'static Encoding>,
    /// Whether a term is not one that PS3.3 defines.
    has_unknown_term: bool,
}

impl Default for CharacterSets {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl CharacterSets {
    /// The default repertoire, ISO-IR 6.
    pub const DEFAULT: Self = Self {
        first: Set::Ascii,
        declared: set::Sets::NONE,
        outside: None,
        has_unknown_term: false,
    };

    /// Reads the value of Specific Character Set (0008,0005). Misspelt terms are understood where
    /// they leave no doubt.
    #[must_use]
    pub fn decode_term_list(value: &[u8]) -> Self {
        let mut sets = Self::DEFAULT;
        for (at, term) in value.split(|&b| b == b'\\').enumerate() {
            let term = String::from_utf8_lossy(term);
            let term = term.trim_matches([' ', '\0']);
            match Set::of_term(term) {
                Some(set) => {
                    if at == 0 {
                        sets.first = set;
                    }
                    sets.declared.add(set);
                }
                None => {
                    sets.has_unknown_term = true;
                    if at == 0 {
                        let label = term.to_ascii_lowercase().replace('_', "-");
                        sets.outside = Encoding::for_label(label.as_bytes());
                    }
                }
            }
        }
        sets
    }

    /// Whether a term is none that PS3.3 defines, so that text beyond ASCII is only guessed.
    #[must_use]
    pub fn has_unknown_term(&self) -> bool {
        self.has_unknown_term
    }

    /// Decodes a text value of a VR.
    #[must_use]
    pub fn decode<'a>(&self, vr: Vr, bytes: &'a [u8]) -> Decoded<'a> {
        if let Some(text) = plain(bytes) {
            return Decoded {
                text: Cow::Borrowed(text),
                is_suspect: false,
            };
        }
        let (text, follows) = self.declared_reading(vr, bytes);
        // Other VRs are ASCII, whatever is declared (PS3.5 6.1.2.3).
        let may_be_other = is_charset_text(vr) || text.is_ascii();
        if follows && may_be_other && !guess::is_doubtful(self.first, bytes, &text) {
            return Decoded {
                text: text.into(),
                is_suspect: false,
            };
        }
        let (text, is_guessed) = guess::best(self.first, vr, bytes, text, follows);
        Decoded {
            text: text.into(),
            is_suspect: is_guessed || !follows || !may_be_other,
        }
    }

    /// As [`Self::decode`], with a guess for bytes that do not follow the declared set. It is
    /// marked as one.
    #[must_use]
    pub fn decode_as<'a>(
        &self,
        vr: Vr,
        bytes: &'a [u8],
        undeclared: Option<Undeclared>,
    ) -> Decoded<'a> {
        let decoded = self.decode(vr, bytes);
        // UTF-8 recognises itself.
        let Some(guess) = undeclared
            .filter(|_| decoded.is_suspect && decoded.text.as_bytes() != bytes)
            .filter(|_| !bytes.contains(&ESCAPE))
        else {
            return decoded;
        };
        let text = guess
            .encoding()
            .decode_without_bom_handling_and_without_replacement(bytes);
        match text {
            Some(text) => Decoded {
                text,
                is_suspect: true,
            },
            None => decoded,
        }
    }

    /// What the bytes say under the declared sets, and whether they follow them.
    fn declared_reading(&self, vr: Vr, bytes: &[u8]) -> (String, bool) {
        if let Some(outside) = self.outside {
            let (text, _) = outside.decode_without_bom_handling(bytes);
            return (text.into_owned(), false);
        }
        let known = !self.has_unknown_term;
        let first = self.first;
        let (text, follows) = if first == Set::Utf8 {
            whole(encoding_rs::UTF_8, bytes)
        } else if matches!(first, Set::Gb18030 | Set::Gbk) {
            whole(encoding_rs::GB18030, bytes)
        } else if self.declared.has_extensions(first) || bytes.contains(&ESCAPE) {
            iso2022::decode(first, self.declared, vr, bytes)
        } else {
            single_byte(first, bytes)
        };
        (text, follows && known)
    }
}

/// Bytes that mean the same in every set: ASCII without escape sequences.
fn plain(bytes: &[u8]) -> Option<&str> {
    // Without an early end the compiler looks at many bytes at once.
    let is_other = |found, &b: &u8| found | (b >= 0x80) | (b == ESCAPE);
    if bytes.iter().fold(false, is_other) {
        return None;
    }
    std::str::from_utf8(bytes).ok()
}

fn whole(encoding: &'static Encoding, bytes: &[u8]) -> (String, bool) {
    let (text, has_errors) = encoding.decode_without_bom_handling(bytes);
    (text.into_owned(), !has_errors)
}

fn single_byte(set: Set, bytes: &[u8]) -> (String, bool) {
    let mut follows = true;
    let text = bytes
        .iter()
        .map(|&b| {
            if b < 0x80 {
                char::from(b)
            } else {
                set.high(b).unwrap_or_else(|| {
                    follows = false;
                    char::REPLACEMENT_CHARACTER
                })
            }
        })
        .collect();
    (text, follows)
}

#[cfg(test)]
mod tests;
