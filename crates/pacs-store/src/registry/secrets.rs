//! What an archive keeps to itself: random keys by which it knows again what it gave out. They are
//! made once, and are as secret as the data directory is.

use super::document::Document;
use super::{Registry, RegistryError};
use crate::records::Kind;
use crate::registry::document::encode;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A key of 256 bits. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// Bytes.
    secret: [u8; 32],
}

impl Secret {
    /// For a purpose, which `context` names: keys of two purposes have nothing to do with one
    /// another.
    #[must_use]
    pub fn key(&self, context: &str) -> [u8; 32] {
        blake3::derive_key(context, &self.secret)
    }
}

impl From<[u8; 32]> for Secret {
    fn from(secret: [u8; 32]) -> Self {
        Self { secret }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").finish_non_exhaustive()
    }
}

impl Document for Secret {
    const KIND: Kind = Kind::new("secret");
    const NAME: &'static str = "secret";
}

impl Registry {
    /// The secret that is called `name`; from now on `fresh`, where there was none.
    ///
    /// # Errors
    /// [`RegistryError::Damaged`], [`RegistryError::Backend`].
    pub async fn secret(&self, name: &str, fresh: &Secret) -> Result<Secret, RegistryError> {
        if let Some(known) = self.find::<Secret>(name).await? {
            return Ok(known.value);
        }
        let put = self.records().put(Secret::KIND, name, encode(fresh)?, None);
        match put.await.map_err(RegistryError::from) {
            Ok(_) => Ok(fresh.clone()),
            // Somebody made one in between.
            Err(RegistryError::Changed) => Ok(self.read::<Secret>(name).await?.value),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::memory::MemoryRecords;
    use std::sync::Arc;

    #[tokio::test]
    async fn a_secret_is_made_once_and_shown_to_nobody() {
        let registry = Registry::new(Arc::new(MemoryRecords::new()));
        let (first, second) = (Secret::from([171; 32]), Secret::from([205; 32]));
        let made = registry.secret("a", &first).await.unwrap();
        assert_eq!(made, first);
        assert_eq!(registry.secret("a", &second).await.unwrap(), first);
        assert_eq!(registry.secret("b", &second).await.unwrap(), second);
        assert_ne!(first.key("one purpose"), first.key("another"));
        assert_ne!(first.key("one purpose"), second.key("one purpose"));
        assert_eq!(format!("{first:?}"), "Secret { .. }");
    }
}
