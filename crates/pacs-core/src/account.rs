//! The rules of accounts: names, passwords, second factors, sessions, passcodes, throttling, break
//! glass.
//!
//! Time and randomness are arguments. What is kept of an account, and how a password is hashed, is
//! for those who keep it.

pub mod break_glass;
pub mod passcode;
pub mod password;
pub mod session;
#[cfg(test)]
mod tests;
pub mod throttle;
pub mod totp;

use crate::limits::USER_NAME_CHARS_MAX;
use std::fmt;

/// The name by which somebody signs in: small letters, digits, and `.`, `_`, `-` between them; a
/// letter first. It is no secret, and stands in the audit trail.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct UserName(String);

/// Why a text is no [`UserName`]. The text is left out: people type passwords there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a user name is a letter, then letters a-z, digits and . _ -, up to {USER_NAME_CHARS_MAX}")]
pub struct UserNameError;

impl UserName {
    /// Reads a name as it is typed: in any case, with spaces around it.
    ///
    /// # Errors
    /// [`UserNameError`].
    pub fn parse(text: &str) -> Result<Self, UserNameError> {
        let name = text.trim().to_ascii_lowercase();
        let is_right = name.len() <= USER_NAME_CHARS_MAX
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.ends_with(|c: char| c.is_ascii_alphanumeric())
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if is_right {
            Ok(Self(name))
        } else {
            Err(UserNameError)
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for UserName {
    type Error = UserNameError;

    /// As it stands in documents: nothing is made of it.
    fn try_from(text: String) -> Result<Self, UserNameError> {
        let name = Self::parse(&text)?;
        if name.0 == text {
            Ok(name)
        } else {
            Err(UserNameError)
        }
    }
}

impl From<UserName> for String {
    fn from(name: UserName) -> Self {
        name.0
    }
}
