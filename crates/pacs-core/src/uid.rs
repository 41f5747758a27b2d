//! Unique identifiers (PS3.5 9.1), one type per role so that mixing them does not compile.
//!
//! [`Uid::parse`] is strict. [`Uid::parse_legacy`] also takes what real devices send in its place
//! (letters, leading zeros): such an identifier may be a key, but [`Uid::is_conformant`] is false
//! and it must never become part of a path.

use std::fmt;
use std::sync::Arc;

/// Longest UID, in bytes (PS3.5 6.2).
pub const UID_BYTES_MAX: usize = 64;

/// Why a string is not a UID. The text itself is left out: it may hold anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UidError {
    /// Nothing but padding.
    #[error("UID is empty")]
    Empty,
    /// More than [`UID_BYTES_MAX`] bytes.
    #[error("UID is longer than {UID_BYTES_MAX} bytes")]
    TooLong,
    /// A byte outside the grammar, an empty component, or a leading zero in the strict form.
    #[error("UID does not follow the grammar of PS3.5 9.1")]
    Grammar,
}

/// A unique identifier without a role.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Uid(Arc<str>);

impl Uid {
    /// Reads a UID as PS3.5 9.1 spells it; trailing NUL and space padding is taken off.
    ///
    /// # Errors
    /// [`UidError`], naming the rule that is broken.
    pub fn parse(text: &str) -> Result<Self, UidError> {
        let text = Self::bounded(text)?;
        if is_conformant(text) {
            Ok(Self(text.into()))
        } else {
            Err(UidError::Grammar)
        }
    }

    /// Reads a UID as devices really send it: 1 to 64 characters of `[0-9A-Za-z._-]`, beginning
    /// with a letter or digit, without `..`. The archive keeps such instances; it cannot make the
    /// sender right.
    ///
    /// # Errors
    /// [`UidError`], naming the rule that is broken.
    pub fn parse_legacy(text: &str) -> Result<Self, UidError> {
        let text = Self::bounded(text)?;
        let permitted = text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        let begins_well = text
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric());
        if permitted && begins_well && !text.contains("..") && !text.ends_with('.') {
            Ok(Self(text.into()))
        } else {
            Err(UidError::Grammar)
        }
    }

    fn bounded(text: &str) -> Result<&str, UidError> {
        let text = text.trim_end_matches(['\0', ' ']).trim_start_matches(' ');
        match text.len() {
            0 => Err(UidError::Empty),
            1..=UID_BYTES_MAX => Ok(text),
            _ => Err(UidError::TooLong),
        }
    }

    /// The text, without padding.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the text follows PS3.5 9.1 to the letter, and so may be part of a file name.
    #[must_use]
    pub fn is_conformant(&self) -> bool {
        is_conformant(&self.0)
    }
}

/// The text of a UID that is made of a random UUID (PS3.5 B.2): version 4, variant 1 (RFC 9562).
#[must_use]
pub fn text_of_random(random: [u8; 16]) -> String {
    let uuid = u128::from_be_bytes(random) & !(0xf << 76) | 0x4 << 76;
    let uuid = uuid & !(0x3 << 62) | 0x2 << 62;
    format!("2.25.{uuid}")
}

fn is_conformant(text: &str) -> bool {
    text.split('.').all(|component| {
        !component.is_empty()
            && component.bytes().all(|b| b.is_ascii_digit())
            && (component == "0" || !component.starts_with('0'))
    })
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Uid {
    type Error = UidError;

    fn try_from(text: String) -> Result<Self, UidError> {
        Self::parse_legacy(&text)
    }
}

impl From<Uid> for String {
    fn from(uid: Uid) -> Self {
        uid.as_str().to_owned()
    }
}

macro_rules! roles {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(
            Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(Uid);

        impl $name {
            /// As [`Uid::parse`].
            ///
            /// # Errors
            /// [`UidError`], naming the rule that is broken.
            pub fn parse(text: &str) -> Result<Self, UidError> {
                Uid::parse(text).map(Self)
            }

            /// As [`Uid::parse_legacy`].
            ///
            /// # Errors
            /// [`UidError`], naming the rule that is broken.
            pub fn parse_legacy(text: &str) -> Result<Self, UidError> {
                Uid::parse_legacy(text).map(Self)
            }

            /// The text, without padding.
            #[must_use]
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }

            /// The identifier without its role.
            #[must_use]
            pub fn uid(&self) -> &Uid {
                &self.0
            }
        }

        impl From<Uid> for $name {
            fn from(uid: Uid) -> Self {
                Self(uid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    )*};
}

roles! {
    /// Transaction UID (0008,1195) of a workitem that is in work: whoever knows it has the workitem
    /// (PS3.4 CC.1.1).
    ClaimUid;
    /// Study Instance UID (0020,000D).
    StudyUid;
    /// Series Instance UID (0020,000E).
    SeriesUid;
    /// SOP Instance UID (0008,0018).
    SopInstanceUid;
    /// SOP Class UID (0008,0016).
    SopClassUid;
    /// Transaction UID (0008,1195) of storage commitment.
    TransactionUid;
    /// Transfer Syntax UID (0002,0010).
    TransferSyntaxUid;
    /// SOP Instance UID (0008,0018) of a Unified Procedure Step (PS3.4 Annex CC).
    WorkitemUid;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conformant_uid_is_read_and_loses_its_padding() {
        assert_eq!(
            Uid::parse("1.2.840.10008.1.1\0").unwrap().as_str(),
            "1.2.840.10008.1.1"
        );
        assert_eq!(Uid::parse("1.2.0.3 ").unwrap().as_str(), "1.2.0.3");
    }

    #[test]
    fn no_door_lets_a_path_in() {
        let long = ".".repeat(64);
        for text in [
            "..",
            ".",
            "",
            "../../etc/x",
            "/abs",
            "C:\\x",
            "a\\..\\b",
            "1.2\0.3",
            &long,
            "1..2",
            "1.2.",
            ".1",
            "\u{0}",
            "1.2/3",
            "\u{2024}\u{2024}",
            "1 2",
        ] {
            assert!(Uid::parse(text).is_err(), "{text:?}");
            assert!(Uid::parse_legacy(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_odd_uid_is_only_a_legacy_one() {
        for text in ["dccc9599087131742838cc1162a630fe", "1.02.3", "3gb_native.0"] {
            assert!(Uid::parse(text).is_err(), "{text}");
            assert!(!Uid::parse_legacy(text).unwrap().is_conformant(), "{text}");
        }
        assert_eq!(Uid::parse_legacy(&"1".repeat(65)), Err(UidError::TooLong));
    }
}
