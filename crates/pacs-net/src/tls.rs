//! TLS 1.2 and 1.3 by rustls: the one module that names it (feature `tls`).
//!
//! PS3.15 B.12, BCP 195 (RFC 8996, RFC 9325): no version below 1.2, only ECDHE with AEAD. Sessions
//! are not resumed and no early data are taken: every association is authenticated afresh, so that
//! a certificate that is withdrawn is of no more use from then on.

mod certificate;
mod client;
mod failure;
mod server;
mod settings;
mod stream;

pub use certificate::{Authorities, Credentials, PemError};
pub use client::{ClientSettings, TlsClient, Trust};
pub use server::{ClientAuthentication, ServerSettings, TlsServer};
pub use settings::{MinimumVersion, SettingsError};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use std::sync::Arc;

/// The cipher suites of BCP 195 that rustls has, in the order of RFC 9325 4.2: a key of 128 bits is
/// not known to be weaker in practice, and costs a quarter less for each byte of an image.
fn provider() -> Arc<CryptoProvider> {
    use aws_lc_rs::cipher_suite as suite;
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            suite::TLS13_AES_128_GCM_SHA256,
            suite::TLS13_AES_256_GCM_SHA384,
            suite::TLS13_CHACHA20_POLY1305_SHA256,
            suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        ],
        ..aws_lc_rs::default_provider()
    })
}

#[cfg(test)]
mod tests;
