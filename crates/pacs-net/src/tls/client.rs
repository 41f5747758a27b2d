//! The connecting side: whom we trust to be the peer, and the certificate that we show.

use super::certificate::{self, Authorities, Credentials};
use super::failure;
use super::provider;
use super::settings::{MinimumVersion, SettingsError};
use super::stream::{ReadAhead, SecureStream};
use crate::limits::NetLimits;
use crate::link::ByteStream;
use crate::security::{Fingerprint, TlsError};
use crate::transport::{self, Connector};
use async_trait::async_trait;
use pacs_core::AeTitle;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, Resumption, WebPkiServerVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, TlsStream};

/// How the certificate of a peer is judged. In each case the peer must hold its private key.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Any certificate will do: encrypted, but with whomever it may be.
    Anyone,
    /// One of these vouches for it, it is within its dates, and it names the peer.
    Authorities(Authorities),
    /// It is one of these, and within its dates.
    Pinned(BTreeSet<Fingerprint>),
}

/// What the connecting side is set to.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// How the certificate of a peer is judged.
    pub trust: Trust,
    /// What we show when asked.
    pub credentials: Option<Credentials>,
    /// What the peer is called; `None`: by the host of its address.
    pub name: Option<String>,
    /// The oldest version that is spoken.
    pub minimum: MinimumVersion,
}

/// Opens TLS connections.
#[derive(Debug, Clone)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
    handshake_duration_max: Duration,
    needs_close_notify: bool,
}

impl TlsClient {
    /// With these settings.
    ///
    /// # Errors
    /// [`SettingsError`]
    pub fn new(settings: &ClientSettings) -> Result<Self, SettingsError> {
        let provider = provider();
        let verifier: Arc<dyn ServerCertVerifier> = match &settings.trust {
            Trust::Authorities(authorities) => {
                let roots = Arc::clone(&authorities.0);
                WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
                    .build()
                    .map_err(|_no_roots| SettingsError::Provider)?
            }
            Trust::Anyone => Arc::new(ServerVerifier::new(&provider, None)),
            Trust::Pinned(pinned) => Arc::new(ServerVerifier::new(&provider, Some(pinned))),
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(settings.minimum.versions())?
            // Its name says what a verifier of one's own may do wrong, not what this one does.
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &settings.credentials {
            None => builder.with_no_client_auth(),
            Some(Credentials { chain, key, .. }) => {
                builder.with_client_auth_cert(chain.clone(), key.clone_key())?
            }
        };
        config.resumption = Resumption::disabled();
        let name = settings.name.clone().map(server_name).transpose()?;
        Ok(Self {
            config: Arc::new(config),
            name,
            handshake_duration_max: NetLimits::default().handshake_duration_max,
            needs_close_notify: false,
        })
    }

    /// Wait for the hand-shake once TCP stands. Default: that of [`NetLimits::default`].
    #[must_use]
    pub const fn handshake_duration_max(mut self, duration: Duration) -> Self {
        self.handshake_duration_max = duration;
        self
    }

    /// Whether a peer that leaves without a `close_notify`, so that nobody knows whether it was cut
    /// (RFC 8446 6.1), is an error to whoever reads. Default: it is the end.
    #[must_use]
    pub const fn needing_close_notify(mut self, needs_close_notify: bool) -> Self {
        self.needs_close_notify = needs_close_notify;
        self
    }

    /// Opens a connection to `address` (`host:port`), whatever is then spoken over it. The caller
    /// bounds the wait for TCP.
    ///
    /// # Errors
    /// Why none came about; a [`TlsError`] inside shows as such.
    pub async fn open(&self, address: &str) -> io::Result<Box<dyn ByteStream>> {
        let stream = transport::open(address).await?;
        Ok(Box::new(self.shake_hands(stream, address).await?))
    }

    async fn shake_hands(
        &self,
        stream: TcpStream,
        address: &str,
    ) -> Result<SecureStream, TlsError> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => {
                server_name(host(address).to_owned()).map_err(|_not_a_name| TlsError::WrongName)?
            }
        };
        let shaking =
            TlsConnector::from(Arc::clone(&self.config)).connect(name, ReadAhead::new(stream));
        match timeout(self.handshake_duration_max, shaking).await {
            Err(_elapsed) => Err(TlsError::TimedOut),
            Ok(Err(error)) => Err(failure::of_stream(&error)),
            Ok(Ok(stream)) => Ok(SecureStream::new(TlsStream::Client(stream))
                .needing_close_notify(self.needs_close_notify)),
        }
    }
}

fn server_name(text: String) -> Result<ServerName<'static>, SettingsError> {
    ServerName::try_from(text).map_err(|_not_a_name| SettingsError::PeerName)
}

/// The host of `host:port`, of an IPv6 address without its brackets.
fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    inner.unwrap_or(host)
}

#[async_trait]
impl Connector for TlsClient {
    async fn connect(
        &self,
        address: &str,
        _called_ae_title: &AeTitle,
    ) -> io::Result<Box<dyn ByteStream>> {
        self.open(address).await
    }
}

/// Accepts what is pinned, or anything.
#[derive(Debug)]
struct ServerVerifier {
    pinned: Option<BTreeSet<Fingerprint>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerVerifier {
    fn new(
        provider: &rustls::crypto::CryptoProvider,
        pinned: Option<&BTreeSet<Fingerprint>>,
    ) -> Self {
        Self {
            pinned: pinned.cloned(),
            algorithms: provider.signature_verification_algorithms,
        }
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(pinned) = &self.pinned {
            if !pinned.contains(&certificate::fingerprint(end_entity)) {
                return Err(failure::refusal(TlsError::NotPinned));
            }
            certificate::check_dates(end_entity, now).map_err(failure::refusal)?;
        }
        Ok(ServerCertVerified::assertion())
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
