//! The ID token: who somebody is, as the provider has signed it for this archive and this sign-in.
//!
//! OpenID Connect Core 1.0, 3.1.3.7, on RFC 7515 and RFC 7519. What would be optional there and
//! makes a token worth less is refused here: `crit`, another audience besides ours without `azp`,
//! a token that is old or from the future.

use super::base64;
use super::keys::Keys;
use super::signature::Algorithm;
use crate::limits::{OIDC_CLOCK_SKEW_S_MAX, OIDC_TOKEN_AGE_S_MAX, SUBJECT_CHARS_MAX};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Why an ID token is none for this sign-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The digest of the access token is not that of the one beside it.
    #[error("at_hash is of another access token")]
    AccessHash,
    /// It is signed by an algorithm that is not taken: `none` and those with secrets among them.
    #[error("it is signed by an algorithm that is not taken")]
    Algorithm,
    /// It is for others, or for others too without naming us as the party.
    #[error("it is for others")]
    Audience,
    /// Claims are missing, or of another kind.
    #[error("its claims are not those of an ID token")]
    Claims,
    /// It has header parameters that must be understood.
    #[error("its header has what must be understood, and is not")]
    Critical,
    /// It is over.
    #[error("it has expired")]
    Expired,
    /// It is no signed token.
    #[error("it is no signed token")]
    Form,
    /// It was issued long ago, or in the future.
    #[error("it was not issued just now")]
    Issued,
    /// It is of another issuer.
    #[error("it is of another issuer")]
    Issuer,
    /// The provider has no such key, or several.
    #[error("there is no such key")]
    Key,
    /// It is of another sign-in.
    #[error("it is of another sign-in")]
    Nonce,
    /// The signature is not right.
    #[error("its signature is not right")]
    Signature,
    /// Its subject is none.
    #[error("its subject is none")]
    Subject,
}

impl TokenError {
    /// For the audit trail.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::AccessHash => "ID_TOKEN_ACCESS_HASH",
            Self::Algorithm => "ID_TOKEN_ALGORITHM",
            Self::Audience => "ID_TOKEN_AUDIENCE",
            Self::Claims => "ID_TOKEN_CLAIMS",
            Self::Critical => "ID_TOKEN_CRITICAL",
            Self::Expired => "ID_TOKEN_EXPIRED",
            Self::Form => "ID_TOKEN_FORM",
            Self::Issued => "ID_TOKEN_ISSUED",
            Self::Issuer => "ID_TOKEN_ISSUER",
            Self::Key => "ID_TOKEN_KEY",
            Self::Nonce => "ID_TOKEN_NONCE",
            Self::Signature => "ID_TOKEN_SIGNATURE",
            Self::Subject => "ID_TOKEN_SUBJECT",
        }
    }
}

/// What a token must say.
#[derive(Clone, Copy)]
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    /// The access token that came beside it.
    pub(super) access_token: &'a str,
    /// Seconds since 1970.
    pub(super) now: i64,
}

/// Somebody, as a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) subject: String,
    /// When they proved who they are (`auth_time`), in seconds since 1970.
    pub(super) proved_at: Option<i64>,
    /// How they proved it (`acr`).
    pub(super) context: Option<String>,
    /// By what (`amr`, RFC 8176).
    pub(super) methods: Vec<String>,
    /// All claims, for the one that is shown.
    pub(super) claims: Map<String, Value>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: Option<String>,
    kid: Option<String>,
    crit: Option<Value>,
    b64: Option<Value>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    azp: Option<String>,
    exp: i64,
    iat: i64,
    nbf: Option<i64>,
    nonce: Option<String>,
    at_hash: Option<String>,
    auth_time: Option<i64>,
    acr: Option<String>,
    #[serde(default)]
    amr: Vec<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// A token whose header was read, and nothing of which is believed yet.
pub(super) struct Unverified<'a> {
    signed: &'a str,
    payload: &'a str,
    signature: Vec<u8>,
    algorithm: Algorithm,
    key: Option<String>,
}

impl<'a> Unverified<'a> {
    /// Reads the header of a token in the compact form (RFC 7515 7.1).
    pub(super) fn read(token: &'a str) -> Result<Self, TokenError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Form)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenError::Form)?;
        let header = base64::decode(header).ok_or(TokenError::Form)?;
        let header: Header = serde_json::from_slice(&header).map_err(|_| TokenError::Form)?;
        if header.crit.is_some() || header.b64.is_some() {
            return Err(TokenError::Critical);
        }
        let is_token = |kind: &String| kind.eq_ignore_ascii_case("JWT");
        if !header.typ.as_ref().is_none_or(is_token) {
            return Err(TokenError::Form);
        }
        Ok(Self {
            signed,
            payload,
            signature: base64::decode(signature).ok_or(TokenError::Form)?,
            algorithm: Algorithm::of_name(&header.alg).ok_or(TokenError::Algorithm)?,
            key: header.kid,
        })
    }

    /// Whether one of `keys` has signed it: else a newer one may have, under the same name or
    /// another.
    pub(super) fn is_signed_by(&self, keys: &Keys) -> bool {
        self.signed_by(keys).is_ok()
    }

    fn signed_by(&self, keys: &Keys) -> Result<(), TokenError> {
        let key = keys.get(self.key.as_deref(), self.algorithm);
        let key = key.map_err(|_| TokenError::Key)?;
        if key.has_signed(self.algorithm, self.signed.as_bytes(), &self.signature) {
            Ok(())
        } else {
            Err(TokenError::Signature)
        }
    }

    /// Verifies it, first of all its signature.
    pub(super) fn verify(
        self,
        keys: &Keys,
        expected: &Expected<'_>,
    ) -> Result<Subject, TokenError> {
        self.signed_by(keys)?;
        let payload = base64::decode(self.payload).ok_or(TokenError::Form)?;
        let all: Map<String, Value> =
            serde_json::from_slice(&payload).map_err(|_| TokenError::Claims)?;
        let claims = serde_json::from_value(Value::Object(all.clone()));
        let claims: Claims = claims.map_err(|_| TokenError::Claims)?;
        of_us(&claims, expected)?;
        of_now(&claims, expected.now)?;
        if claims.nonce.as_deref() != Some(expected.nonce) {
            return Err(TokenError::Nonce);
        }
        if let Some(hash) = &claims.at_hash
            && *hash != self.algorithm.half_digest(expected.access_token)
        {
            return Err(TokenError::AccessHash);
        }
        if !is_subject(&claims.sub) {
            return Err(TokenError::Subject);
        }
        Ok(Subject {
            subject: claims.sub,
            proved_at: claims.auth_time,
            context: claims.acr,
            methods: claims.amr,
            claims: all,
        })
    }
}

/// Whether this can be a subject (OpenID Connect Core 1.0, 2).
pub(crate) fn is_subject(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii() && !byte.is_ascii_control();
    !text.trim().is_empty() && text.len() <= SUBJECT_CHARS_MAX && text.bytes().all(is_plain)
}

fn of_us(claims: &Claims, expected: &Expected<'_>) -> Result<(), TokenError> {
    if claims.iss != expected.issuer {
        return Err(TokenError::Issuer);
    }
    let is_us = |text: &str| text == expected.client_id;
    let (is_for_us, is_for_others) = match &claims.aud {
        Audience::One(aud) => (is_us(aud), false),
        Audience::Several(all) => (all.iter().any(|aud| is_us(aud)), all.len() > 1),
    };
    let is_our_party = match &claims.azp {
        Some(azp) => is_us(azp),
        None => !is_for_others,
    };
    if is_for_us && is_our_party {
        Ok(())
    } else {
        Err(TokenError::Audience)
    }
}

fn of_now(claims: &Claims, now: i64) -> Result<(), TokenError> {
    let latest = now.saturating_add(OIDC_CLOCK_SKEW_S_MAX);
    let earliest = now.saturating_sub(OIDC_CLOCK_SKEW_S_MAX);
    if claims.exp <= earliest {
        return Err(TokenError::Expired);
    }
    let mut begun = [Some(claims.iat), claims.nbf, claims.auth_time]
        .into_iter()
        .flatten();
    let is_of_the_future = begun.any(|at| at > latest);
    if is_of_the_future || claims.iat < earliest.saturating_sub(OIDC_TOKEN_AGE_S_MAX) {
        return Err(TokenError::Issued);
    }
    Ok(())
}
