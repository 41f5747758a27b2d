//! Which passwords are taken (NIST SP 800-63B-4, OWASP ASVS 5.0 V6.2): long ones that nobody
//! guesses. Nothing is asked of the kinds of their characters.

use super::UserName;
use crate::limits::{
    PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN, PASSWORD_CHARS_MIN_WITH_SECOND_FACTOR,
};
use std::collections::BTreeSet;
use std::fmt;
use unicode_normalization::UnicodeNormalization as _;

/// A password as it is hashed: in normal form C, so that it is the same from every keyboard.
/// `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[password]")
    }
}

/// Why a password is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// It is among what everybody tries: words, keys beside one another, the user's name.
    #[error("this password is easy to guess")]
    Guessable,
    /// Longer than anybody types.
    #[error("a password has at most {PASSWORD_CHARS_MAX} characters")]
    TooLong,
    /// Too short to stand against guessing.
    #[error("a password has at least {chars_min} characters")]
    TooShort {
        /// How many it must have.
        chars_min: usize,
    },
}

/// What people take when a long one is asked for; what is around them may be digits and signs.
const KNOWN: [&str; 24] = [
    "password",
    "passw0rd",
    "passphrase",
    "letmein",
    "welcome",
    "iloveyou",
    "trustno1",
    "administrator",
    "correcthorsebatterystaple",
    "radiology",
    "hospital",
    "kyrgyzstan",
    "пароль",
    "администратор",
    "рентген",
    "больница",
    "кыргызстан",
    "сырсөз",
    "gfhjkm",
    "qwerty",
    "йцукен",
    "secret",
    "default",
    "changeme",
];

/// Keys beside one another, forwards; each is looked for backwards too.
const ROWS: [&str; 8] = [
    "01234567890",
    "abcdefghijklmnopqrstuvwxyz",
    "qwertyuiop[]",
    "asdfghjkl;'",
    "zxcvbnm,./",
    "йцукенгшщзхъ",
    "фывапролджэ",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm",
];

/// How many keys beside one another count as one.
const RUN_CHARS: usize = 3;

/// Characters that must be left once what is easy to guess counts as one each.
const SURPRISES_MIN: usize = 8;

impl Password {
    /// What somebody typed who signs in. Whether it would be taken today does not matter, but that
    /// it is not longer than one can be.
    ///
    /// # Errors
    /// [`PasswordError::TooLong`].
    pub fn typed(text: &str) -> Result<Self, PasswordError> {
        // A character has at most four bytes, and normal form C of one at most three characters.
        if text.len() > PASSWORD_CHARS_MAX.saturating_mul(4) {
            return Err(PasswordError::TooLong);
        }
        let password: String = text.nfc().collect();
        if password.chars().count() > PASSWORD_CHARS_MAX {
            return Err(PasswordError::TooLong);
        }
        Ok(Self(password))
    }

    /// Takes a new password of `user`, who signs in with a second factor besides or not.
    ///
    /// # Errors
    /// [`PasswordError`].
    pub fn choose(
        text: &str,
        user: &UserName,
        has_second_factor: bool,
    ) -> Result<Self, PasswordError> {
        let password = Self::typed(text)?;
        let chars_min = if has_second_factor {
            PASSWORD_CHARS_MIN_WITH_SECOND_FACTOR
        } else {
            PASSWORD_CHARS_MIN
        };
        if password.0.chars().count() < chars_min {
            return Err(PasswordError::TooShort { chars_min });
        }
        if surprises(&password.0, user) < SURPRISES_MIN {
            return Err(PasswordError::Guessable);
        }
        Ok(password)
    }

    /// For the hash alone.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// About how many characters of `password` somebody has to guess: words that everybody knows and
/// keys beside one another are one, what was there before is none.
fn surprises(password: &str, user: &UserName) -> usize {
    let mut text = password.to_lowercase();
    let name = user.as_str().split(['.', '_', '-']);
    let name = name.filter(|part| part.len() >= 4);
    for word in KNOWN.into_iter().chain(name).chain([user.as_str()]) {
        text = text.replace(word, "\u{1}");
    }
    let letters: Vec<char> = text.chars().collect();
    let mut count = 0_usize;
    let mut seen = BTreeSet::new();
    let mut at = 0_usize;
    while let Some(rest) = letters.get(at..).filter(|rest| !rest.is_empty()) {
        let run = run_length(rest).max(1);
        let part: String = rest.iter().take(run).collect();
        // The same again surprises nobody, and a repeated character does not either.
        count = count.saturating_add(usize::from(seen.insert(part)));
        at = at.saturating_add(run);
    }
    count
}

/// How many characters from here on are keys beside one another, or one key again and again; 0 for
/// fewer than [`RUN_CHARS`].
fn run_length(rest: &[char]) -> usize {
    let same = rest.iter().take_while(|c| rest.first() == Some(c)).count();
    let along = ROWS.iter().flat_map(|row| {
        let forwards: String = (*row).to_owned();
        let backwards: String = row.chars().rev().collect();
        [forwards, backwards].map(|row| common(&row, rest))
    });
    let longest = along.max().unwrap_or(0).max(same);
    if longest >= RUN_CHARS { longest } else { 0 }
}

/// How much of `rest` stands somewhere in `row`.
fn common(row: &str, rest: &[char]) -> usize {
    let mut length = 0_usize;
    let mut text = String::new();
    for letter in rest {
        text.push(*letter);
        if !row.contains(&text) {
            break;
        }
        length = length.saturating_add(1);
    }
    length
}
