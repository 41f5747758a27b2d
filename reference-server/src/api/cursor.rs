//! Cursors, sealed: where the next part of a list begins, for the one who got it and for the list
//! that it came with.
//!
//! A place in a list is a key, and may be that of an entry that whoever asks does not see: of the
//! last one that was looked at. In plain it would name that entry, and whoever made places up could
//! find out behind which of them something stands. So a place is neither readable nor taken from
//! anybody but the server.
//!
//! It is sealed as RFC 5297 does it, with BLAKE3 in the place of its ciphers: the tag is the keyed
//! digest of whose it is, of which list, and of the place; keyed once more, the tag gives the bytes
//! that hide the place. Nothing random is needed, and the same place has the same cursor.

use crate::clock::{NoRandomness, World};
use crate::tool::failure::chain;
use pacs_store::registry::Registry;
use pacs_store::registry::secrets::Secret;
use std::fmt;
use std::sync::Arc;

/// What the archive calls the secret.
const SECRET: &str = "cursors";

/// What the keys are made for.
const TAG_CONTEXT: &str = "pacs 2026-11 tags of cursors";
const HIDING_CONTEXT: &str = "pacs 2026-11 hiding of cursors";

/// Bytes of a tag: nobody guesses 128 bits.
const TAG_BYTES: usize = 16;

/// Places are as long as a multiple of this, so that their length says nothing.
const BLOCK_BYTES: usize = 32;

/// What seals cursors. Clones are the same.
#[derive(Clone)]
pub(crate) struct Cursors(Arc<Keys>);

struct Keys {
    tag: [u8; 32],
    hiding: [u8; 32],
}

impl fmt::Debug for Cursors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursors").finish_non_exhaustive()
    }
}

impl From<&Secret> for Cursors {
    fn from(secret: &Secret) -> Self {
        Self(Arc::new(Keys {
            tag: secret.key(TAG_CONTEXT),
            hiding: secret.key(HIDING_CONTEXT),
        }))
    }
}

impl Cursors {
    /// By the secret of the archive: cursors outlive a restart. Where it can neither be read nor
    /// kept, as on a full disk, by one of this process.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub(crate) async fn open(registry: &Registry, world: &World) -> Result<Self, NoRandomness> {
        let fresh = Secret::from(world.random()?);
        let kept = registry.secret(SECRET, &fresh).await;
        let secret = kept.unwrap_or_else(|error| {
            let error = chain(&error);
            tracing::warn!(error, "cursors of lists end with this process");
            fresh
        });
        Ok(Self::from(&secret))
    }

    /// The cursor of a place in `list`, for `user`, in hexadecimal digits.
    pub(super) fn seal(&self, user: &str, list: &str, place: &str) -> String {
        let mut bytes = place.as_bytes().to_vec();
        // No key holds a zero.
        let length = bytes.len().max(1).next_multiple_of(BLOCK_BYTES);
        bytes.resize(length, 0);
        let tag = self.tag(user, list, &bytes);
        self.hide(tag, &mut bytes);
        let all = tag.iter().chain(&bytes);
        all.map(|byte| format!("{byte:02x}")).collect()
    }

    /// The place that a cursor says, where `user` got it with `list`.
    pub(super) fn open_sealed(&self, user: &str, list: &str, cursor: &str) -> Option<String> {
        let sealed = bytes_of(cursor)?;
        let (tag, hidden) = sealed.split_first_chunk::<TAG_BYTES>()?;
        let mut bytes = hidden.to_vec();
        self.hide(*tag, &mut bytes);
        // Digests are compared in constant time.
        let expected = blake3::hash(&self.tag(user, list, &bytes));
        if blake3::hash(tag) != expected {
            return None;
        }
        let text = String::from_utf8(bytes).ok()?;
        Some(text.trim_end_matches('\0').to_owned())
    }

    fn tag(&self, user: &str, list: &str, place: &[u8]) -> [u8; TAG_BYTES] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0.tag);
        for part in [user.as_bytes(), list.as_bytes(), place] {
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            hasher.update(&length.to_le_bytes()).update(part);
        }
        let mut tag = [0; TAG_BYTES];
        hasher.finalize_xof().fill(&mut tag);
        tag
    }

    /// Hides bytes, or shows them again.
    fn hide(&self, tag: [u8; TAG_BYTES], bytes: &mut [u8]) {
        let mut hasher = blake3::Hasher::new_keyed(&self.0.hiding);
        hasher.update(&tag);
        let mut mask = vec![0; bytes.len()];
        hasher.finalize_xof().fill(&mut mask);
        for (byte, mask) in bytes.iter_mut().zip(mask) {
            *byte ^= mask;
        }
    }
}

/// The bytes that lower-case hexadecimal digits say.
fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => byte.checked_sub(b'0'),
        b'a'..=b'f' => byte.checked_sub(b'a')?.checked_add(10),
        _ => None,
    };
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    pairs.map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursors() -> Cursors {
        Cursors::from(&Secret::from([7; 32]))
    }

    #[test]
    fn a_cursor_is_good_for_whom_it_was_given_and_the_list_that_it_came_with() {
        let cursors = cursors();
        for place in ["", "a\u{1f}Ж", &"2.25.7".repeat(30)] {
            let cursor = cursors.seal("a", "users", place);
            let open = |user, list| cursors.open_sealed(user, list, &cursor);
            assert_eq!(open("a", "users").as_deref(), Some(place));
            assert_eq!(open("b", "users"), None);
            assert_eq!(open("a", "users of 001"), None);
            // Parts do not run into one another.
            assert_eq!(open("au", "sers"), None);
            let other = Cursors::from(&Secret::from([8; 32]));
            assert_eq!(other.open_sealed("a", "users", &cursor), None);
        }
    }

    #[tokio::test]
    async fn cursors_outlive_the_process() {
        let records = Arc::new(pacs_store::records::memory::MemoryRecords::new());
        let registry = Registry::new(records);
        let open = async || Cursors::open(&registry, &World::real()).await.unwrap();
        let cursor = open().await.seal("a", "users", "b.osmonova");
        let place = open().await.open_sealed("a", "users", &cursor);
        assert_eq!(place.as_deref(), Some("b.osmonova"));
    }

    #[test]
    fn a_cursor_names_nothing_not_even_by_its_length() {
        let cursors = cursors();
        let of = |place| cursors.seal("a", "users", place);
        assert_eq!(of("b.osmonova"), of("b.osmonova"));
        assert_eq!(of("b").len(), of("b.osmonova.of.another").len());
        let name: String = "b.osmonova".bytes().map(|b| format!("{b:02x}")).collect();
        assert!(!of("b.osmonova").contains(&name));
    }

    #[test]
    fn whatever_bit_of_a_cursor_is_changed_it_is_none() {
        let cursors = cursors();
        let cursor = cursors.seal("a", "users", "b.osmonova");
        for at in 0..cursor.len() {
            let mut changed = cursor.clone().into_bytes();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(cursors.open_sealed("a", "users", &changed), None, "{at}");
        }
        for wrong in [
            "",
            "0",
            "zz",
            "é",
            &cursor[..32],
            &cursor[2..],
            &cursor.to_uppercase(),
        ] {
            assert_eq!(cursors.open_sealed("a", "users", wrong), None, "{wrong}");
        }
    }
}
