//! What the tool may be told about TLS.

use super::failure::{Failure, chain};
use crate::tls::{TlsFileError, authorities, credentials, read_pem};
use clap::Args;
use pacs_net::security::Fingerprint;
use pacs_net::tls::{Authorities, ClientSettings, MinimumVersion, TlsClient, Trust};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where systems keep the authorities they trust: Debian, then Fedora.
const SYSTEM_BUNDLES: [&str; 2] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
];

/// TLS to a peer.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "TLS")]
pub struct TlsArgs {
    /// Connect by TLS
    #[arg(long)]
    pub tls: bool,
    /// PEM file with the authorities that may vouch for the peer [default: those of the system]
    #[arg(long, value_name = "FILE", requires = "tls")]
    pub tls_ca: Option<PathBuf>,
    /// SHA-256 fingerprint of the peer's certificate, whoever made it
    #[arg(
        long,
        value_name = "FINGERPRINT",
        requires = "tls",
        conflicts_with = "tls_ca"
    )]
    pub tls_sha256: Vec<Fingerprint>,
    /// Name that the peer's certificate must have [default: HOST of the peer]
    #[arg(long, value_name = "NAME", requires = "tls")]
    pub tls_name: Option<String>,
    /// PEM file with our own certificate, for a peer that asks for one
    #[arg(long, value_name = "FILE", requires = "tls", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// PEM file with the private key of our own certificate
    #[arg(long, value_name = "FILE", requires = "tls", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Take any certificate: encrypted, but with whomever it may be
    #[arg(long, requires = "tls", conflicts_with_all = ["tls_ca", "tls_sha256", "tls_name"])]
    pub tls_insecure: bool,
}

impl TlsArgs {
    /// What opens connections, where TLS is wanted.
    pub(super) fn connector(&self) -> Result<Option<Arc<TlsClient>>, Failure> {
        if !self.tls {
            return Ok(None);
        }
        let wrong = |error: &dyn Error| Failure::CommandLine(format!("TLS: {}", chain(error)));
        let own = self.tls_cert.as_deref().zip(self.tls_key.as_deref());
        let own = own.map(|(certificate, key)| credentials(certificate, key));
        let settings = ClientSettings {
            trust: self.trust()?,
            credentials: own.transpose().map_err(|error| wrong(&error))?,
            name: self.tls_name.clone(),
            minimum: MinimumVersion::Tls12,
        };
        let client = TlsClient::new(&settings).map_err(|error| wrong(&error))?;
        Ok(Some(Arc::new(client)))
    }

    fn trust(&self) -> Result<Trust, Failure> {
        if self.tls_insecure {
            return Ok(Trust::Anyone);
        }
        if !self.tls_sha256.is_empty() {
            return Ok(Trust::Pinned(self.tls_sha256.iter().copied().collect()));
        }
        let wrong = |error: TlsFileError| Failure::CommandLine(format!("TLS: {}", chain(&error)));
        if let Some(path) = &self.tls_ca {
            return Ok(Trust::Authorities(authorities(path).map_err(wrong)?));
        }
        let bundle = SYSTEM_BUNDLES.into_iter().map(Path::new);
        let Some(path) = bundle.into_iter().find(|path| path.is_file()) else {
            let what = "TLS: this system has no list of authorities; --tls-ca FILE or --tls-sha256";
            return Err(Failure::CommandLine(what.to_owned()));
        };
        let text = read_pem(path).map_err(wrong)?;
        let bundle = Authorities::from_bundle(&text);
        Ok(Trust::Authorities(bundle.map_err(|error| {
            let text = format!("TLS: {}: {}", path.display(), chain(&error));
            Failure::CommandLine(text)
        })?))
    }
}
