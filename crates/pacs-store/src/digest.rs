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

    /// 64 lower-case hexadecimal digits.
    pub(crate) fn hex(&self) -> impl AsRef<str> + use<> {
        blake3::Hash::from_bytes(self.0).to_hex()
    }
}

impl fmt::Debug for Digest {
    /// 64 lower-case hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hex().as_ref())
    }
}

/// Bytes digested at a time: so many lanes of the widest processors are full then. What is shorter
/// costs as much, so the pieces of a data set that came in short PDUs would cost twice the time.
const STEP_BYTES: usize = 16 << 10;

/// Makes a [`Digest`] of bytes that come one after the other, in pieces of any length.
#[derive(Debug, Clone, Default)]
pub struct Digester {
    hasher: blake3::Hasher,
    /// What came since the last whole step, shorter than one.
    carry: Vec<u8>,
}

impl Digester {
    /// Of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        if !self.carry.is_empty() {
            let missing = STEP_BYTES.saturating_sub(self.carry.len());
            let (now, later) = rest.split_at(missing.min(rest.len()));
            self.carry.extend_from_slice(now);
            rest = later;
            if self.carry.len() < STEP_BYTES {
                return;
            }
            self.hasher.update(&self.carry);
            self.carry.clear();
        }
        let (steps, rest) = rest.split_at(rest.len() / STEP_BYTES * STEP_BYTES);
        self.hasher.update(steps);
        if !rest.is_empty() {
            self.carry.reserve_exact(STEP_BYTES);
            self.carry.extend_from_slice(rest);
        }
    }

    /// Of all that was taken.
    #[must_use]
    pub fn finish(&self) -> Digest {
        let mut hasher = self.hasher.clone();
        hasher.update(&self.carry);
        Digest(hasher.finalize().into())
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

    #[test]
    fn pieces_of_any_length_around_a_step_give_the_digest_of_the_whole() {
        let input: Vec<u8> = (0..=250_u8).cycle().take(5 * STEP_BYTES + 77).collect();
        for length in [
            1,
            1_000,
            STEP_BYTES - 1,
            STEP_BYTES,
            STEP_BYTES + 1,
            3 * STEP_BYTES,
        ] {
            let mut digester = Digester::new();
            for (number, piece) in input.chunks(length).enumerate() {
                digester.update(piece);
                let taken = input.len().min((number + 1) * length);
                if length > 1 || taken.is_multiple_of(4_093) {
                    assert_eq!(digester.finish(), Digest::of(&input[..taken]), "{length}");
                }
                assert!(digester.carry.len() < STEP_BYTES);
            }
            assert_eq!(digester.finish(), Digest::of(&input), "{length}");
        }
    }
}
