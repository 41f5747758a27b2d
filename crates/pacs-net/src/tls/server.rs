//! The accepting side: a certificate of our own, and which certificates of clients are accepted.

use super::certificate::{self, Authorities, Credentials};
use super::failure;
use super::provider;
use super::settings::{MinimumVersion, SettingsError};
use super::stream::{ReadAhead, SecureStream};
use crate::link::ByteStream;
use crate::security::{Channel, Fingerprint, Security, TlsError};
use async_trait::async_trait;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ServerConfig, WebPkiClientVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme};
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsStream};

/// Whether clients have to show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// They are not asked.
    Off,
    /// They are asked; who shows one must show one that is accepted.
    Optional,
    /// Without one that is accepted there is no connection.
    Required,
}

/// What the accepting side is set to.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// What we show.
    pub credentials: Credentials,
    /// Whether clients have to show a certificate.
    pub clients: ClientAuthentication,
    /// Who may vouch for the certificates of clients.
    pub authorities: Option<Authorities>,
    /// Certificates of clients that are accepted whoever made them, within their dates.
    pub pinned: BTreeSet<Fingerprint>,
    /// The oldest version that is spoken.
    pub minimum: MinimumVersion,
}

impl ServerSettings {
    fn config(&self) -> Result<Arc<ServerConfig>, SettingsError> {
        let provider = provider();
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(self.minimum.versions())?;
        let builder = match self.clients {
            ClientAuthentication::Off => builder.with_no_client_auth(),
            ClientAuthentication::Optional | ClientAuthentication::Required => {
                builder.with_client_cert_verifier(Arc::new(self.verifier()?))
            }
        };
        let Credentials { chain, key, .. } = &self.credentials;
        let mut config = builder.with_single_cert(chain.clone(), key.clone_key())?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    fn verifier(&self) -> Result<ClientVerifier, SettingsError> {
        let provider = provider();
        let by_authorities = self.authorities.as_ref().map(|authorities| {
            let roots = Arc::clone(&authorities.0);
            WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider))
                .build()
                .map_err(|_no_roots| SettingsError::NoClientPossible)
        });
        let by_authorities = by_authorities.transpose()?;
        if by_authorities.is_none() && self.pinned.is_empty() {
            return Err(SettingsError::NoClientPossible);
        }
        Ok(ClientVerifier {
            by_authorities,
            pinned: self.pinned.clone(),
            is_mandatory: self.clients == ClientAuthentication::Required,
            algorithms: provider.signature_verification_algorithms,
        })
    }
}

/// Accepts the certificates that are pinned, and those that an authority vouches for.
#[derive(Debug)]
struct ClientVerifier {
    by_authorities: Option<Arc<dyn ClientCertVerifier>>,
    pinned: BTreeSet<Fingerprint>,
    is_mandatory: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    /// None: a client that has one certificate is to show it, whoever made it.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if self.pinned.contains(&certificate::fingerprint(end_entity)) {
            certificate::check_dates(end_entity, now).map_err(failure::refusal)?;
            return Ok(ClientCertVerified::assertion());
        }
        match &self.by_authorities {
            Some(verifier) => verifier.verify_client_cert(end_entity, intermediates, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The accepting side of TLS. Its settings can be replaced while it serves; connections that stand
/// go on as they are.
#[derive(Debug)]
pub struct TlsServer(RwLock<Arc<ServerConfig>>);

impl TlsServer {
    /// With these settings.
    ///
    /// # Errors
    /// [`SettingsError`]
    pub fn new(settings: &ServerSettings) -> Result<Self, SettingsError> {
        Ok(Self(RwLock::new(settings.config()?)))
    }

    /// From the next connection on. Where the new settings are of no use, the old ones stay.
    ///
    /// # Errors
    /// [`SettingsError`]
    pub fn replace(&self, settings: &ServerSettings) -> Result<(), SettingsError> {
        let config = settings.config()?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Security for TlsServer {
    async fn secure(&self, stream: TcpStream) -> Result<(Box<dyn ByteStream>, Channel), TlsError> {
        let stream = TlsAcceptor::from(self.config())
            .accept(ReadAhead::new(stream))
            .await
            .map_err(|error| failure::of_stream(&error))?;
        let shown = stream.get_ref().1.peer_certificates();
        let certificate = shown
            .and_then(<[_]>::first)
            .map(certificate::peer)
            .transpose()?;
        let stream = SecureStream::new(TlsStream::Server(stream));
        Ok((Box::new(stream), Channel::Tls { certificate }))
    }
}
