//! What rustls says, in the words of [`TlsError`].

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enums of rustls are long and grow; what need not be told apart is one word here"
)]

use crate::security::TlsError;
use rustls::{
    AlertDescription, CertificateError, Error, InvalidMessage, OtherError, PeerIncompatible,
};
use std::io;
use std::sync::Arc;

/// What a hand-shake or a stream of tokio-rustls has failed with.
pub(super) fn of_stream(error: &io::Error) -> TlsError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    inner.map_or_else(|| TlsError::Transport(error.kind()), of)
}

fn of(error: &Error) -> TlsError {
    match error {
        Error::AlertReceived(alert) => TlsError::Alert { what: said(*alert) },
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => TlsError::NotTls,
        Error::InvalidMessage(_) => TlsError::Protocol {
            what: "a message cannot be read",
        },
        Error::NoCertificatesPresented => TlsError::NoCertificate,
        Error::PeerIncompatible(why) => TlsError::Incompatible { what: lacking(why) },
        Error::PeerMisbehaved(_) => TlsError::Protocol {
            what: "the peer misbehaved",
        },
        Error::DecryptError => TlsError::Protocol {
            what: "a record cannot be decrypted",
        },
        _ => TlsError::Protocol {
            what: "the hand-shake cannot go on",
        },
    }
}

fn of_certificate(error: &CertificateError) -> TlsError {
    let unusable = |what| TlsError::Certificate { what };
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsError::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            TlsError::NotYetValid
        }
        CertificateError::UnknownIssuer => TlsError::UnknownAuthority,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            TlsError::WrongName
        }
        CertificateError::BadEncoding => unusable("it cannot be read"),
        CertificateError::BadSignature => unusable("a signature is wrong"),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            unusable("it is not for this purpose (extended key usage)")
        }
        CertificateError::Other(OtherError(inner)) => {
            inner.downcast_ref().copied().unwrap_or(unusable("other"))
        }
        CertificateError::UnhandledCriticalExtension => {
            unusable("it has a critical extension that is not known")
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            unusable("its signature algorithm is not supported")
        }
        _ => unusable("it was refused"),
    }
}

/// As an error of our own verifiers, so that [`of`] finds it again.
pub(super) fn refusal(error: TlsError) -> Error {
    Error::InvalidCertificate(match error {
        TlsError::Expired => CertificateError::Expired,
        TlsError::NotYetValid => CertificateError::NotValidYet,
        error => CertificateError::Other(OtherError(Arc::new(error))),
    })
}

fn said(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::AccessDenied => "access denied",
        AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
            "our certificate is not accepted"
        }
        AlertDescription::CertificateExpired => "our certificate has expired",
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
            "a certificate of ours is required"
        }
        AlertDescription::CertificateRevoked => "our certificate is revoked",
        AlertDescription::DecryptError => "our signature does not verify",
        AlertDescription::HandshakeFailure => {
            "hand-shake failure (no common cipher suite, or a certificate of ours is required)"
        }
        AlertDescription::InsufficientSecurity => "insufficient security",
        AlertDescription::ProtocolVersion => "no common protocol version",
        AlertDescription::UnknownCA => "our certificate is from an authority it does not trust",
        AlertDescription::UnrecognisedName => "it is not called by this name",
        AlertDescription::UnsupportedCertificate => "our certificate is of an unsupported kind",
        _ => "fatal alert",
    }
}

fn lacking(why: &PeerIncompatible) -> &'static str {
    match why {
        PeerIncompatible::NoCipherSuitesInCommon => "cipher suite",
        PeerIncompatible::NoKxGroupsInCommon
        | PeerIncompatible::NamedGroupsExtensionRequired
        | PeerIncompatible::NoEcPointFormatsInCommon => "key exchange group",
        PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon
        | PeerIncompatible::SignatureAlgorithmsExtensionRequired => "signature scheme",
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled
        | PeerIncompatible::Tls13RequiredForQuic => "protocol version",
        _ => "feature",
    }
}
