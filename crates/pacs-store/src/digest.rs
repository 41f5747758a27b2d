//! The digest that every stored data set is known by.
//!
//! BLAKE3, 256 bits: as strong as SHA-256 for what it has to do here, and a data set costs less
//! than half the time, on the way in, on every verified read and in every verification
//! (docs/decisions/0004).

use std::fmt;

/// BLAKE3 of a data set, 256 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(blake3::hash(bytes).into())
    }

    /// From 64 hexadecimal digits, of either case.
    #[must_use]
    pub fn parse_hex(text: &str) -> Option<Self> {
        blake3::Hash::from_hex(text)
            .ok()
            .map(|hash| Self(hash.into()))
    }
}

impl fmt::Debug for Digest {
    /// 64 lower-case hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

/// Makes a [`Digest`] of bytes that come one after the other.
#[derive(Debug, Clone, Default)]
pub struct Digester(blake3::Hasher);

impl Digester {
    /// Of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Of all that was taken.
    #[must_use]
    pub fn finish(&self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_that_of_the_published_test_vector_however_the_bytes_come() {
        // BLAKE3 test vectors: the input counts 0, 1, ... 250, 0, 1, ...
        let input: Vec<u8> = (0..=250_u8).cycle().take(31_744).collect();
        let expected = "62b6960e1a44bcc1eb1a611a8d6235b6b4b78f32e7abc4fb4c6cdcce94895c47";

        let mut digester = Digester::new();
        for piece in input.chunks(1_000) {
            digester.update(piece);
        }

        assert_eq!(format!("{:?}", digester.finish()), expected);
        assert_eq!(Digest::of(&input), digester.finish());
        assert_eq!(Digest::parse_hex(expected), Some(Digest::of(&input)));
        assert_eq!(Digest::parse_hex("62b6"), None);
    }
}
