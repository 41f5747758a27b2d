//! The tokens by which clients of DICOMweb are known: a name, what they may do, and until when.
//!
//! They stand in a file of the data directory that `pacs token` writes and the server reads again
//! whenever it was changed, so that a revocation holds from the next request on. Of the secret it
//! has the BLAKE3 hash alone: 256 random bits need no slow one. A file that cannot be read is as
//! good as none: nobody gets in.
//!
//! docs/decisions/0012-tokens-in-a-file.md.

mod file;

pub use file::{Change, TokensError};

use crate::limits::TOKEN_NAME_CHARS_MAX;
use pacs_core::{Action, OrganisationCode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// What every secret begins with, so that one is known for what it is where it should not be.
const SECRET_PREFIX: &str = "pacs_";

/// What the holder of a token is, and may do. `Debug` shows the hash of the secret, which is no
/// secret itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Its name; no two tokens have the same.
    pub name: String,
    /// BLAKE3 of the secret, in 64 hexadecimal digits.
    pub secret_blake3: String,
    /// What its holder may do.
    pub scope: BTreeSet<Action>,
    /// Of which studies, in an archive that knows organisations; `None`: of none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sees: Option<TokenSight>,
    /// When it was made, in seconds since 1970-01-01 UTC.
    pub created_unix_s: u64,
    /// From when on it is of no use.
    pub expires_unix_s: u64,
}

/// What the holder of a token sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenSight {
    /// Every study.
    Everything,
    /// What this organisation makes.
    Organisation(OrganisationCode),
}

impl Token {
    /// Whether it is of no use any more.
    #[must_use]
    pub const fn is_expired(&self, now_unix_s: u64) -> bool {
        self.expires_unix_s <= now_unix_s
    }
}

/// Whether `name` can be that of a token: it stands in logs, and before the colon of HTTP Basic.
#[must_use]
pub fn is_name(name: &str) -> bool {
    (1..=TOKEN_NAME_CHARS_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte))
}

/// A new secret.
///
/// # Errors
/// Where the system has no randomness.
pub fn new_secret() -> Result<String, getrandom::Error> {
    let mut random = [0_u8; 32];
    getrandom::fill(&mut random)?;
    let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{SECRET_PREFIX}{digits}"))
}

/// What is kept of a secret.
#[must_use]
pub fn hash_of(secret: &str) -> String {
    blake3::hash(secret.as_bytes()).to_hex().to_string()
}

/// The tokens of a data directory.
#[derive(Debug)]
pub struct Tokens {
    path: PathBuf,
    read: Mutex<Read>,
}

/// What was read of the file, and what it was like then.
#[derive(Debug, Default)]
struct Read {
    stamp: Option<file::Stamp>,
    tokens: Arc<Vec<Token>>,
}

impl Tokens {
    /// Those of the data directory `directory`.
    #[must_use]
    pub fn of(directory: &Path) -> Self {
        Self {
            path: file::path_in(directory),
            read: Mutex::default(),
        }
    }

    /// The token that `secret` proves, under the `name` that comes with it, if one does. Whether it
    /// has expired is for the caller to see.
    #[must_use]
    pub fn find(&self, name: Option<&str>, secret: &str) -> Option<Token> {
        let hash = blake3::hash(secret.as_bytes());
        let tokens = self.current();
        let mut found = None;
        // To the end, and each comparison in constant time: how long it takes says nothing.
        for token in tokens.iter() {
            let known = blake3::Hash::from_hex(&token.secret_blake3);
            if known.is_ok_and(|known| known == hash) {
                found = Some(token);
            }
        }
        found
            .filter(|token| name.is_none_or(|name| name == token.name))
            .cloned()
    }

    /// Whether the holder of the token `name` may do `action` now.
    #[must_use]
    pub fn permits(&self, name: &str, action: Action) -> bool {
        let now = now_unix_s();
        let tokens = self.current();
        let token = tokens.iter().find(|token| token.name == name);
        token.is_some_and(|token| !token.is_expired(now) && token.scope.contains(&action))
    }

    /// What the holder of the token `name` sees.
    #[must_use]
    pub fn sight(&self, name: &str) -> Option<TokenSight> {
        let tokens = self.current();
        let token = tokens.iter().find(|token| token.name == name);
        token.and_then(|token| token.sees)
    }

    fn current(&self) -> Arc<Vec<Token>> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = file::stamp(&self.path);
        if stamp != read.stamp {
            let tokens = match file::read(&self.path) {
                Ok(tokens) => tokens,
                Err(error) => {
                    tracing::error!(%error, "tokens cannot be read: no client gets in by one");
                    Vec::new()
                }
            };
            *read = Read {
                stamp,
                tokens: Arc::new(tokens),
            };
        }
        Arc::clone(&read.tokens)
    }
}

/// The time, in seconds since 1970-01-01 UTC.
#[must_use]
pub fn now_unix_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
