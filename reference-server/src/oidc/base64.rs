//! Base64 of JWS (RFC 7515 2): the alphabet of URLs, without padding, and canonical.

use base64ct::{Base64, Base64UrlUnpadded, Encoding as _};

pub(super) fn encode(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    Base64UrlUnpadded::decode_vec(text).ok()
}

/// The padded form of HTTP Basic (RFC 7617 2).
pub(super) fn encode_padded(text: &str) -> String {
    Base64::encode_string(text.as_bytes())
}
