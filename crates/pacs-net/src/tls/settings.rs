//! What both sides of TLS are set to.

use super::certificate::PemError;
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

static FROM_TLS12: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
static FROM_TLS13: &[&SupportedProtocolVersion] = &[&TLS13];

/// The oldest version that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MinimumVersion {
    /// TLS 1.2, which PS3.15 B.12 demands.
    #[default]
    Tls12,
    /// TLS 1.3 alone.
    Tls13,
}

impl MinimumVersion {
    pub(super) fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::Tls12 => FROM_TLS12,
            Self::Tls13 => FROM_TLS13,
        }
    }
}

/// Why settings make no TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The private key is not that of the certificate.
    #[error("the private key is not that of the certificate")]
    KeyMismatch,
    /// The private key, or the certificate, is of a kind that is not supported.
    #[error("the private key or the certificate is of a kind that is not supported")]
    KeyUnsupported,
    /// Clients are to show certificates, and none could be accepted.
    #[error("client certificates are asked for, and neither an authority nor a fingerprint is set")]
    NoClientPossible,
    /// A PEM text.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// What the peer is called is no name.
    #[error("the name of the peer is neither a host name nor an IP address")]
    PeerName,
    /// The parts do not fit together: a fault of this crate.
    #[error("the settings do not fit together")]
    Provider,
}

impl From<rustls::Error> for SettingsError {
    fn from(error: rustls::Error) -> Self {
        if let rustls::Error::InconsistentKeys(_) = error {
            Self::KeyMismatch
        } else if let rustls::Error::InvalidCertificate(_) | rustls::Error::General(_) = error {
            Self::KeyUnsupported
        } else {
            Self::Provider
        }
    }
}
