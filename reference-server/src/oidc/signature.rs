//! Signatures of ID tokens, verified by the provider of cryptography that TLS has: the one module
//! outside of pacs-net that names it.
//!
//! RFC 7518 3.1 and RFC 8037: RS256, PS256, ES256 and `EdDSA` with Ed25519. There is no HMAC and no
//! `none`, so that no key of a provider can be taken for a secret. A key knows of which kind it is,
//! and verifies nothing by an algorithm of another.

use super::base64;
use aws_lc_rs::digest::{Digest, SHA256, SHA512, digest};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    RsaPublicKeyComponents, UnparsedPublicKey,
};

/// Bytes of a coordinate of P-256, and of a key of Ed25519.
const COORDINATE_BYTES: usize = 32;

/// An algorithm that ID tokens may be signed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    EdDsa,
    Es256,
    Ps256,
    Rs256,
}

impl Algorithm {
    /// The one of this name (RFC 7518 3.1, RFC 8037 3.1, RFC 9864 2.2).
    pub(super) fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "EdDSA" | "Ed25519" => Self::EdDsa,
            "ES256" => Self::Es256,
            "PS256" => Self::Ps256,
            "RS256" => Self::Rs256,
            _ => return None,
        })
    }

    /// The left half of the digest of an access token, as `at_hash` has it (OpenID Connect Core
    /// 1.0, 3.1.3.6).
    pub(super) fn half_digest(self, text: &str) -> String {
        let whole: Digest = match self {
            Self::EdDsa => digest(&SHA512, text.as_bytes()),
            Self::Es256 | Self::Ps256 | Self::Rs256 => digest(&SHA256, text.as_bytes()),
        };
        let (half, _) = whole.as_ref().split_at(whole.as_ref().len() / 2);
        base64::encode(half)
    }
}

/// SHA-256 in base64url: the challenge of a verifier (RFC 7636 4.2).
pub(super) fn challenge(verifier: &str) -> String {
    base64::encode(digest(&SHA256, verifier.as_bytes()).as_ref())
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PublicKey {
    Ed25519(Vec<u8>),
    /// An uncompressed point.
    P256(Vec<u8>),
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
}

impl PublicKey {
    /// A key of Ed25519 (RFC 8037 2).
    pub(super) fn ed25519(x: &str) -> Option<Self> {
        let key = base64::decode(x)?;
        (key.len() == COORDINATE_BYTES).then_some(Self::Ed25519(key))
    }

    /// A point of P-256 (RFC 7518 6.2.1).
    pub(super) fn p256(x: &str, y: &str) -> Option<Self> {
        let (x, y) = (base64::decode(x)?, base64::decode(y)?);
        let is_whole = x.len() == COORDINATE_BYTES && y.len() == COORDINATE_BYTES;
        is_whole.then(|| Self::P256([&[4], &*x, &*y].concat()))
    }

    /// A key of RSA (RFC 7518 6.3.1). Whether it is long enough is seen where it verifies.
    pub(super) fn rsa(modulus: &str, exponent: &str) -> Option<Self> {
        let number = |text| {
            let bytes = base64::decode(text)?;
            // Some have a zero before, as signed numbers do.
            let begins = bytes.iter().position(|byte| *byte != 0)?;
            bytes.get(begins..).map(<[u8]>::to_vec)
        };
        Some(Self::Rsa {
            modulus: number(modulus)?,
            exponent: number(exponent)?,
        })
    }

    /// Whether it is a key for `algorithm`.
    pub(super) const fn is_for(&self, algorithm: Algorithm) -> bool {
        matches!(
            (self, algorithm),
            (Self::Ed25519(_), Algorithm::EdDsa)
                | (Self::P256(_), Algorithm::Es256)
                | (Self::Rsa { .. }, Algorithm::Ps256 | Algorithm::Rs256)
        )
    }

    /// Whether `signature` is one of `message` by this key.
    pub(super) fn has_signed(
        &self,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        let verified = match (self, algorithm) {
            (Self::Ed25519(key), Algorithm::EdDsa) => {
                UnparsedPublicKey::new(&ED25519, key).verify(message, signature)
            }
            (Self::P256(key), Algorithm::Es256) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key).verify(message, signature)
            }
            (Self::Rsa { modulus, exponent }, Algorithm::Rs256) => {
                let (n, e) = (modulus, exponent);
                let key = RsaPublicKeyComponents { n, e };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            (Self::Rsa { modulus, exponent }, Algorithm::Ps256) => {
                let (n, e) = (modulus, exponent);
                let key = RsaPublicKeyComponents { n, e };
                key.verify(&RSA_PSS_2048_8192_SHA256, message, signature)
            }
            _ => return false,
        };
        verified.is_ok()
    }
}
