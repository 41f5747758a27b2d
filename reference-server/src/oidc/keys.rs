//! The keys of a provider (RFC 7517): those by which ID tokens can be signed.
//!
//! What is not understood is left out, not refused: a provider has keys for other purposes, and may
//! have some of kinds that are newer than this.

use super::signature::{Algorithm, PublicKey};
use crate::limits::OIDC_KEYS_MAX;
use serde::Deserialize;
use serde_json::Value;

/// Keys, as they were read last.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Keys(Vec<Key>);

#[derive(Debug, PartialEq, Eq)]
struct Key {
    id: Option<String>,
    algorithm: Option<Algorithm>,
    key: PublicKey,
}

/// Why there is no key for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoKey {
    /// There are several, and nothing says which.
    Ambiguous,
    /// There is none; perhaps it is newer than these.
    Unknown,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

/// What stands in a key; the rest is for others.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    used_for: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl Keys {
    /// Reads them; `None` where it is no set of keys.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let document: Document = serde_json::from_slice(text).ok()?;
        let keys = document.keys.into_iter().take(OIDC_KEYS_MAX);
        let keys = keys.filter_map(|key| key_of(serde_json::from_value(key).ok()?));
        Some(Self(keys.collect()))
    }

    /// The one that a token names by `id` and `algorithm`.
    pub(super) fn get(&self, id: Option<&str>, algorithm: Algorithm) -> Result<&PublicKey, NoKey> {
        let is_it = |key: &&Key| {
            let is_named = id.is_none() || key.id.as_deref() == id;
            let is_meant = key.algorithm.is_none_or(|meant| meant == algorithm);
            is_named && is_meant && key.key.is_for(algorithm)
        };
        let mut found = self.0.iter().filter(is_it);
        match (found.next(), found.next()) {
            (Some(key), None) => Ok(&key.key),
            (None, _) => Err(NoKey::Unknown),
            (Some(_), Some(_)) => Err(NoKey::Ambiguous),
        }
    }
}

fn key_of(jwk: Jwk) -> Option<Key> {
    let is_for_others = jwk.used_for.is_some_and(|used_for| used_for != "sig")
        || jwk
            .key_ops
            .is_some_and(|ops| !ops.iter().any(|op| op == "verify"));
    let algorithm = match jwk.alg.as_deref() {
        None => None,
        Some(name) => Some(Algorithm::of_name(name)?),
    };
    if is_for_others {
        return None;
    }
    let key = match (&*jwk.kty, jwk.crv.as_deref()) {
        ("EC", Some("P-256")) => PublicKey::p256(&jwk.x?, &jwk.y?)?,
        ("OKP", Some("Ed25519")) => PublicKey::ed25519(&jwk.x?)?,
        ("RSA", _) => PublicKey::rsa(&jwk.n?, &jwk.e?)?,
        _ => return None,
    };
    Some(Key {
        id: jwk.kid,
        algorithm,
        key,
    })
}
