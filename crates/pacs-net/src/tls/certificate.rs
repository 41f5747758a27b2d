//! Certificates and keys: read from PEM, and what of them is of interest.

use crate::security::{Fingerprint, PeerCertificate, TlsError};
use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

/// Why a text is not the PEM that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PemError {
    /// A certificate in it cannot be read.
    #[error("a certificate in it cannot be read")]
    Certificate,
    /// It holds no certificate.
    #[error("no CERTIFICATE section in it")]
    NoCertificate,
    /// It holds no private key.
    #[error("no PRIVATE KEY section in it that can be read without a password")]
    NoKey,
    /// It is broken.
    #[error("not PEM")]
    NotPem,
}

pub(super) fn fingerprint(certificate: &CertificateDer<'_>) -> Fingerprint {
    Fingerprint::new(Sha256::digest(certificate.as_ref()).into())
}

/// What the certificate of a peer says, once it was accepted.
pub(super) fn peer(certificate: &CertificateDer<'_>) -> Result<PeerCertificate, TlsError> {
    Ok(PeerCertificate {
        sha256: fingerprint(certificate),
        subject: parsed(certificate)?.tbs_certificate.subject.to_string(),
    })
}

/// Whether `certificate` is valid `now`; nothing else of it is looked at.
pub(super) fn check_dates(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), TlsError> {
    let validity = parsed(certificate)?.tbs_certificate.validity;
    let now = Duration::from_secs(now.as_secs());
    if now < validity.not_before.to_unix_duration() {
        return Err(TlsError::NotYetValid);
    }
    if now > validity.not_after.to_unix_duration() {
        return Err(TlsError::Expired);
    }
    Ok(())
}

fn parsed(certificate: &CertificateDer<'_>) -> Result<Certificate, TlsError> {
    Certificate::from_der(certificate.as_ref()).map_err(|_not_der| TlsError::Certificate {
        what: "it cannot be read",
    })
}

/// The certificates of a PEM text, at least one.
fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, pem::Error>>()
        .map_err(|_broken| PemError::NotPem)?;
    if certificates.is_empty() {
        return Err(PemError::NoCertificate);
    }
    Ok(certificates)
}

/// A certificate of our own with its chain and private key. `Debug` shows no key.
#[derive(Clone)]
pub struct Credentials {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: Arc<PrivateKeyDer<'static>>,
    own: PeerCertificate,
    not_after: SystemTime,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("own", &self.own)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads a chain, our own certificate first, and the private key of that (PKCS #8, PKCS #1 or
    /// SEC 1, without a password). Both may stand in one text.
    ///
    /// # Errors
    /// [`PemError`]. Whether the two belong together is seen when they are used.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, PemError> {
        let chain = certificates(chain)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_none| PemError::NoKey)?;
        let own = chain.first().ok_or(PemError::NoCertificate)?;
        let not_after = parsed(own)
            .map_err(|_unreadable| PemError::Certificate)?
            .tbs_certificate
            .validity
            .not_after
            .to_system_time();
        Ok(Self {
            own: peer(own).map_err(|_unreadable| PemError::Certificate)?,
            not_after,
            chain,
            key: Arc::new(key),
        })
    }

    /// Fingerprint and subject of our own certificate.
    #[must_use]
    pub const fn certificate(&self) -> &PeerCertificate {
        &self.own
    }

    /// When our own certificate expires.
    #[must_use]
    pub const fn not_after(&self) -> SystemTime {
        self.not_after
    }
}

/// Authorities that may vouch for peers.
#[derive(Debug, Clone)]
pub struct Authorities(pub(super) Arc<RootCertStore>);

impl Authorities {
    /// Reads the certificates of a PEM text.
    ///
    /// # Errors
    /// [`PemError`]
    pub fn from_pem(text: &[u8]) -> Result<Self, PemError> {
        let mut store = RootCertStore::empty();
        for certificate in certificates(text)? {
            store
                .add(certificate)
                .map_err(|_unusable| PemError::Certificate)?;
        }
        Ok(Self(Arc::new(store)))
    }

    /// Reads a bundle of the system, in which some certificates may be of no use.
    ///
    /// # Errors
    /// [`PemError`], where none is of use.
    pub fn from_bundle(text: &[u8]) -> Result<Self, PemError> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(certificates(text)?);
        if store.is_empty() {
            return Err(PemError::Certificate);
        }
        Ok(Self(Arc::new(store)))
    }
}
