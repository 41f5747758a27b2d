//! TLS for peers of ours that listen: the certificate that they show, and whose they ask for.

use crate::certificates::{Authority, Certificate};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use std::io::{self, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long a client may say nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection over TLS.
pub type Secured = StreamOwned<ServerConnection, TcpStream>;

/// On which terms connections are accepted.
#[derive(Clone, Debug)]
pub struct Terms(Arc<ServerConfig>);

impl Terms {
    /// Shows `own`; clients must show a certificate that `clients` vouches for, where it is given.
    ///
    /// # Panics
    /// When the files are none.
    #[must_use]
    pub fn new(own: &Certificate, clients: Option<&Authority>) -> Self {
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions();
        let builder = builder.expect("versions");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                let of_them = certificates(Path::new(authority.file()));
                roots.add_parsable_certificates(of_them);
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().expect("an authority"))
            }
        };
        let key = PrivateKeyDer::from_pem_file(&own.key).expect("a key");
        let config = builder.with_single_cert(certificates(&own.file), key);
        Self(Arc::new(config.expect("a key of the certificate")))
    }

    /// Shakes hands.
    ///
    /// # Errors
    /// Why that failed.
    pub fn accept(&self, mut tcp: TcpStream) -> io::Result<Secured> {
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_nodelay(true)?;
        let mut connection =
            ServerConnection::new(Arc::clone(&self.0)).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            if let Err(error) = connection.complete_io(&mut tcp) {
                // The client learns why.
                connection.write_tls(&mut tcp).ok();
                tcp.flush().ok();
                return Err(error);
            }
        }
        Ok(StreamOwned::new(connection, tcp))
    }
}

fn certificates(file: &Path) -> Vec<CertificateDer<'static>> {
    let read = CertificateDer::pem_file_iter(file).expect("a file");
    read.map(|one| one.expect("a certificate")).collect()
}
