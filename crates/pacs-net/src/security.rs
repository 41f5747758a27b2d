//! What secures a transport connection, and what is then known of the peer.
//!
//! The words of it stand here, without any TLS: policies, observers and errors use them whether
//! TLS is built in (feature `tls`) or not. PS3.15 B.12 is the profile.

use crate::link::ByteStream;
use async_trait::async_trait;
use std::fmt;
use std::io;
use std::str::FromStr;
use tokio::net::TcpStream;

/// SHA-256 of a certificate in DER, as `openssl x509 -noout -fingerprint -sha256` shows it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of this digest.
    #[must_use]
    pub const fn new(digest: [u8; 32]) -> Self {
        Self(digest)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            let colon = if at == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no SHA-256 fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256 fingerprint: 64 hexadecimal digits, with or without colons")]
pub struct NotAFingerprint;

impl FromStr for Fingerprint {
    type Err = NotAFingerprint;

    fn from_str(text: &str) -> Result<Self, NotAFingerprint> {
        let digits: Vec<u32> = text
            .chars()
            .filter(|character| *character != ':')
            .map(|character| character.to_digit(16).ok_or(NotAFingerprint))
            .collect::<Result<_, _>>()?;
        let mut digest = [0; 32];
        if digits.len() != 64 {
            return Err(NotAFingerprint);
        }
        for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
            let value = pair.iter().fold(0, |value, digit| value << 4 | digit);
            *byte = u8::try_from(value).map_err(|_too_large| NotAFingerprint)?;
        }
        Ok(Self(digest))
    }
}

/// A certificate whose private key the peer has proved to hold, and that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Its fingerprint.
    pub sha256: Fingerprint,
    /// Its subject in the form of RFC 4514, as in `CN=CT1,O=Hospital`.
    pub subject: String,
}

/// What an association runs over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Channel {
    /// TCP as it is.
    Plain,
    /// TLS.
    Tls {
        /// What the peer has shown of itself, if it was asked to and did.
        certificate: Option<PeerCertificate>,
    },
}

impl Channel {
    /// The certificate of the peer, if there is one.
    #[must_use]
    pub const fn certificate(&self) -> Option<&PeerCertificate> {
        match self {
            Self::Tls { certificate } => certificate.as_ref(),
            Self::Plain => None,
        }
    }
}

/// Why a connection could not be secured. Texts are of this crate, not of the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The peer sent a fatal alert.
    #[error("the peer refuses: {what}")]
    Alert {
        /// What it says.
        what: &'static str,
    },
    /// The certificate of the peer is of no use.
    #[error("the certificate of the peer cannot be used: {what}")]
    Certificate {
        /// Why.
        what: &'static str,
    },
    /// The certificate of the peer is too old.
    #[error("the certificate of the peer has expired")]
    Expired,
    /// Nothing that both sides have.
    #[error("nothing in common with the peer: {what}")]
    Incompatible {
        /// What there is not.
        what: &'static str,
    },
    /// The peer has no certificate, and must have one.
    #[error("the peer has shown no certificate")]
    NoCertificate,
    /// The certificate of the peer is not one of those that are expected.
    #[error("the certificate of the peer is not the one that is pinned")]
    NotPinned,
    /// What came is no TLS.
    #[error("the peer does not speak TLS")]
    NotTls,
    /// The certificate of the peer is too young.
    #[error("the certificate of the peer is not valid yet; compare the clocks")]
    NotYetValid,
    /// The peer broke the protocol, or this side did.
    #[error("the protocol was broken: {what}")]
    Protocol {
        /// How.
        what: &'static str,
    },
    /// The hand-shake was not over in time.
    #[error("the hand-shake did not end in time")]
    TimedOut,
    /// The transport ended before the hand-shake.
    #[error("connection failed during the hand-shake: {0}")]
    Transport(io::ErrorKind),
    /// The certificate of the peer comes from nobody we trust.
    #[error("the certificate of the peer is from an authority that is not trusted")]
    UnknownAuthority,
    /// The certificate of the peer is for somebody else.
    #[error("the certificate of the peer is for another name")]
    WrongName,
}

impl TlsError {
    /// A short name, for labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alert { .. } => "alert",
            Self::Certificate { .. } => "certificate",
            Self::Expired => "expired",
            Self::Incompatible { .. } => "incompatible",
            Self::NoCertificate => "no_certificate",
            Self::NotPinned => "not_pinned",
            Self::NotTls => "not_tls",
            Self::NotYetValid => "not_yet_valid",
            Self::Protocol { .. } => "protocol",
            Self::TimedOut => "timed_out",
            Self::Transport(_) => "transport",
            Self::UnknownAuthority => "unknown_authority",
            Self::WrongName => "wrong_name",
        }
    }

    /// The one inside of an error of a stream or a connector, if there is one.
    #[must_use]
    pub fn within(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref::<Self>().copied()
    }
}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> Self {
        let kind = if let TlsError::Transport(kind) = error {
            kind
        } else {
            io::ErrorKind::InvalidData
        };
        Self::new(kind, error)
    }
}

/// Secures connections that were accepted, before a byte of DICOM is read from them.
#[async_trait]
pub trait Security: fmt::Debug + Send + Sync + 'static {
    /// Shakes hands. The caller bounds the wait.
    ///
    /// # Errors
    /// [`TlsError`]: the connection is of no more use.
    async fn secure(&self, stream: TcpStream) -> Result<(Box<dyn ByteStream>, Channel), TlsError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_reads_what_openssl_writes() {
        let text = ["0A"; 32].join(":");

        let fingerprint: Fingerprint = text.parse().unwrap();

        assert_eq!(fingerprint, Fingerprint::new([10; 32]));
        assert_eq!(fingerprint.to_string(), text);
        assert_eq!("0a".repeat(32).parse(), Ok(fingerprint));
        for wrong in ["", "0A", &"0g".repeat(32), &"0a".repeat(33)] {
            assert_eq!(wrong.parse::<Fingerprint>(), Err(NotAFingerprint));
        }
    }
}
