//! TLS of the server: its files, the listener's side and the dialling side, and how they are made
//! anew on SIGHUP.
//!
//! All files are read before anything is replaced: where one is of no use, everything stays as it
//! was. Associations that stand are not touched.

use crate::config::register::EndpointTls;
use crate::config::{Config, RemoteAe, is_own};
use crate::limits::PEM_BYTES_MAX;
use crate::metrics::Metrics;
use async_trait::async_trait;
use pacs_core::AeTitle;
use pacs_core::audit::StateDigest;
use pacs_net::ByteStream;
use pacs_net::security::Fingerprint;
use pacs_net::tls::{
    Authorities, ClientSettings, Credentials, MinimumVersion, PemError, ServerSettings,
    SettingsError, TlsClient, TlsServer, Trust,
};
use pacs_net::transport::{Connector, TcpConnector};
use pacs_store::registry::audit::AuditError;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

/// Before its certificate expires, the server says so whenever it reads it.
const EXPIRY_WARNING: Duration = Duration::from_secs(30 * 86_400);

/// Mode bits of a key file that nobody but owner and group may have.
const OTHERS: u32 = 0o007;

/// Why the files of TLS are of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsFileError {
    /// The certificate has expired.
    #[error("{path}: the certificate has expired")]
    Expired {
        /// Which file.
        path: String,
    },
    /// A file cannot be read.
    #[error("{path}: cannot be read")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{path} is of no use")]
    Pem {
        /// Which.
        path: String,
        /// Why.
        source: PemError,
    },
    /// The files do not go together.
    #[error("settings of {of}")]
    Settings {
        /// Of the listener, or of which AE.
        of: String,
        /// Why.
        source: SettingsError,
    },
    /// A file is longer than any certificate.
    #[error("{path}: longer than {limit_bytes} bytes")]
    TooLong {
        /// Which.
        path: String,
        /// The limit.
        limit_bytes: u64,
    },
}

/// Reads a PEM file.
///
/// # Errors
/// [`TlsFileError::File`] or [`TlsFileError::TooLong`].
pub fn read_pem(path: &Path) -> Result<Vec<u8>, TlsFileError> {
    let mut text = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(PEM_BYTES_MAX + 1).read_to_end(&mut text));
    read.map_err(|source| TlsFileError::File {
        path: path.display().to_string(),
        source,
    })?;
    if text.len() as u64 > PEM_BYTES_MAX {
        return Err(TlsFileError::TooLong {
            path: path.display().to_string(),
            limit_bytes: PEM_BYTES_MAX,
        });
    }
    Ok(text)
}

fn pem(path: &Path) -> impl FnOnce(PemError) -> TlsFileError {
    let path = path.display().to_string();
    move |source| TlsFileError::Pem { path, source }
}

/// Reads certificates of authorities.
///
/// # Errors
/// [`TlsFileError`]
pub fn authorities(path: &Path) -> Result<Authorities, TlsFileError> {
    Authorities::from_pem(&read_pem(path)?).map_err(pem(path))
}

/// Reads a certificate and its private key.
///
/// # Errors
/// [`TlsFileError`]
pub fn credentials(certificate: &Path, key: &Path) -> Result<Credentials, TlsFileError> {
    let (chain, secret) = (read_pem(certificate)?, read_pem(key)?);
    Credentials::from_pem(&chain, &secret).map_err(|error| {
        let path = if error == PemError::NoKey {
            key
        } else {
            certificate
        };
        pem(path)(error)
    })
}

/// Why TLS was not made anew; everything is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// A file is of no use.
    #[error(transparent)]
    Files(#[from] TlsFileError),
    /// It could not be recorded.
    #[error("it could not be recorded, and is not done")]
    Unrecorded(#[from] AuditError),
}

/// What the files came to.
struct Loaded {
    own: Option<Credentials>,
    server: Option<ServerSettings>,
    clients: BTreeMap<AeTitle, TlsClient>,
}

/// Settings, and what tells them and their certificates from others.
#[derive(Debug)]
struct Current {
    config: Config,
    digest: StateDigest,
}

/// TLS of one server.
#[derive(Debug)]
pub struct Tls {
    /// What it was last read from.
    current: Mutex<Current>,
    server: Option<Arc<TlsServer>>,
    dialler: Arc<Dialler>,
    metrics: Arc<Metrics>,
}

impl Tls {
    /// Reads the files that `config` names.
    ///
    /// # Errors
    /// [`TlsFileError`]
    pub fn open(config: &Config, metrics: &Arc<Metrics>) -> Result<Self, TlsFileError> {
        let loaded = load(config)?;
        let server = loaded
            .server
            .map(|settings| TlsServer::new(&settings).map_err(of_listener))
            .transpose()?;
        let tls = Self {
            current: Mutex::new(Current {
                config: config.clone(),
                digest: digest_of(config)?,
            }),
            server: server.map(Arc::new),
            dialler: Arc::new(Dialler::default()),
            metrics: Arc::clone(metrics),
        };
        tls.dialler.replace(loaded.clients);
        tls.tell(config, loaded.own.as_ref());
        Ok(tls)
    }

    /// What tells the settings and certificates that were read last from others.
    pub(crate) fn digest(&self) -> StateDigest {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.digest
    }

    /// The listener's side, if there is a listener.
    #[must_use]
    pub fn server(&self) -> Option<Arc<TlsServer>> {
        self.server.clone()
    }

    /// The dialling side: by TLS to those AEs that are to be dialled so, else by TCP.
    #[must_use]
    pub fn dialler(&self) -> Arc<Dialler> {
        Arc::clone(&self.dialler)
    }

    /// Reads the files that `config` names, for connections to come. Where one is of no use,
    /// everything stays as it was. The listener stays where it is. Before anything is replaced,
    /// `record` is told what tells the new settings from others.
    ///
    /// # Errors
    /// [`ReloadError`]
    pub fn reload(
        &self,
        mut config: Config,
        record: impl FnOnce(StateDigest) -> Result<(), AuditError>,
    ) -> Result<(), ReloadError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if self.server.is_some() && config.tls.own.is_none() {
            // It goes on with what it has until the restart that closes it.
            config.tls = current.config.tls.clone();
        }
        config.tls.address = current.config.tls.address;
        let loaded = load(&config)?;
        // An expired certificate that is there at start must do; it replaces no other.
        if let (Some(own), Some((path, _))) = (&loaded.own, &config.tls.own)
            && own.not_after() <= SystemTime::now()
        {
            let path = path.display().to_string();
            return Err(TlsFileError::Expired { path }.into());
        }
        let digest = digest_of(&config)?;
        record(digest)?;
        if let (Some(server), Some(settings)) = (&self.server, &loaded.server) {
            server.replace(settings).map_err(of_listener)?;
        }
        self.dialler.replace(loaded.clients);
        self.tell(&config, loaded.own.as_ref());
        *current = Current { config, digest };
        Ok(())
    }

    /// Says which certificate is shown, and whether it will do for long.
    fn tell(&self, config: &Config, own: Option<&Credentials>) {
        let (Some(own), Some((_, key))) = (own, &config.tls.own) else {
            return;
        };
        let certificate = own.certificate();
        let (subject, sha256) = (&certificate.subject, certificate.sha256);
        tracing::info!(%subject, %sha256, "own certificate");
        let not_after = own.not_after();
        let since_1970 = not_after.duration_since(SystemTime::UNIX_EPOCH);
        self.metrics
            .certificate_expires(since_1970.unwrap_or_default());
        match not_after.duration_since(SystemTime::now()) {
            Err(_past) => tracing::error!("own certificate has expired"),
            Ok(left) if left < EXPIRY_WARNING => {
                tracing::warn!(
                    days = left.as_secs() / 86_400,
                    "own certificate expires soon"
                );
            }
            Ok(_) => {}
        }
        let is_open = key
            .metadata()
            .is_ok_and(|of| of.permissions().mode() & OTHERS != 0);
        if is_open {
            tracing::warn!(file = %key.display(), "others may read or change the private key");
        }
    }
}

fn of_listener(source: SettingsError) -> TlsFileError {
    TlsFileError::Settings {
        of: "dicom.tls".to_owned(),
        source,
    }
}

/// Of the settings of TLS, and of the certificates that they name. Which key goes with our own
/// certificate follows from that.
fn digest_of(config: &Config) -> Result<StateDigest, TlsFileError> {
    let mut hasher = blake3::Hasher::new();
    let mut add = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    add(format!("{:?}", config.tls).as_bytes());
    let own = config.tls.own.as_ref().map(|(certificate, _)| certificate);
    let all = [own, config.tls.client_ca.as_ref(), config.tls.ca.as_ref()];
    let of_aes = config.remote_aes.values().map(|ae| ae.tls_ca.as_ref());
    for path in all.into_iter().chain(of_aes).flatten() {
        add(&read_pem(path)?);
    }
    Ok(StateDigest(hasher.finalize().into()))
}

fn load(config: &Config) -> Result<Loaded, TlsFileError> {
    let own = config.tls.own.as_ref();
    let own = own.map(|(certificate, key)| credentials(certificate, key));
    let own = own.transpose()?;
    let client_ca = config
        .tls
        .client_ca
        .as_deref()
        .map(authorities)
        .transpose()?;
    let aes = &config.remote_aes;
    let server = match (&config.tls.address, &own) {
        (Some(_), Some(own)) => Some(ServerSettings {
            credentials: own.clone(),
            clients: config.tls.clients,
            authorities: client_ca,
            pinned: pins(aes.values()),
            minimum: config.tls.minimum,
        }),
        _ => None,
    };
    let mut clients = BTreeMap::new();
    for (title, ae) in aes.iter().filter(|(_, ae)| ae.tls) {
        let client = client(config, ae, own.clone())?;
        clients.insert(title.clone(), client);
    }
    Ok(Loaded {
        own,
        server,
        clients,
    })
}

fn pins<'a>(aes: impl Iterator<Item = &'a RemoteAe>) -> BTreeSet<Fingerprint> {
    aes.flat_map(|ae| ae.certificate_sha256.iter().copied())
        .collect()
}

fn client(
    config: &Config,
    ae: &RemoteAe,
    credentials: Option<Credentials>,
) -> Result<TlsClient, TlsFileError> {
    let ca: Option<&PathBuf> = ae.tls_ca.as_ref().or(config.tls.ca.as_ref());
    let trust = match ca {
        // A fingerprint says more than an authority does.
        _ if !ae.certificate_sha256.is_empty() => Trust::Pinned(ae.certificate_sha256.clone()),
        Some(ca) => Trust::Authorities(authorities(ca)?),
        // The configuration does not pass without either.
        None => Trust::Pinned(BTreeSet::new()),
    };
    let settings = ClientSettings {
        trust,
        credentials,
        name: Some(ae.tls_name.as_ref().unwrap_or(&ae.host).clone()),
        minimum: config.tls.minimum,
    };
    TlsClient::new(&settings).map_err(|source| TlsFileError::Settings {
        of: format!("dicom.ae {}", ae.title),
        source,
    })
}

/// What connects to a server of the settings that is no AE; `of` says in errors which.
///
/// # Errors
/// [`TlsFileError`] where its certificates are of no use.
pub(crate) fn outgoing(of: &str, config: &EndpointTls) -> Result<TlsClient, TlsFileError> {
    let trust = match &config.ca {
        // A fingerprint says more than an authority does.
        _ if !config.certificate_sha256.is_empty() => {
            Trust::Pinned(config.certificate_sha256.clone())
        }
        Some(ca) => Trust::Authorities(authorities(ca)?),
        // The settings do not pass without either.
        None => Trust::Pinned(BTreeSet::new()),
    };
    let own = config.own.as_ref();
    let own = own.map(|(certificate, key)| credentials(certificate, key));
    let settings = ClientSettings {
        trust,
        credentials: own.transpose()?,
        name: config.name.clone(),
        minimum: MinimumVersion::Tls12,
    };
    TlsClient::new(&settings).map_err(|source| TlsFileError::Settings {
        of: of.to_owned(),
        source,
    })
}

/// Opens connections to remote AEs, each as the AE table has it. Connections to listeners of this
/// server itself are refused.
#[derive(Debug, Default)]
pub struct Dialler {
    clients: RwLock<BTreeMap<AeTitle, TlsClient>>,
    listeners: RwLock<Vec<SocketAddr>>,
}

impl Dialler {
    fn replace(&self, clients: BTreeMap<AeTitle, TlsClient>) {
        *self.clients.write().unwrap_or_else(PoisonError::into_inner) = clients;
    }

    /// Says where this server listens, once it does.
    pub fn listens_at(&self, listeners: Vec<SocketAddr>) {
        *self
            .listeners
            .write()
            .unwrap_or_else(PoisonError::into_inner) = listeners;
    }

    fn is_own(&self, address: &str) -> bool {
        let listeners = self
            .listeners
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let address = address.parse::<SocketAddr>();
        address.is_ok_and(|address| is_own(address, listeners.iter().copied()))
    }
}

#[async_trait]
impl Connector for Dialler {
    async fn connect(
        &self,
        address: &str,
        called_ae_title: &AeTitle,
    ) -> io::Result<Box<dyn ByteStream>> {
        if self.is_own(address) {
            tracing::warn!(called = %called_ae_title, address, "this server does not call itself");
            let what = "the destination is a listener of this server itself";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
        }
        let client = {
            let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
            clients.get(called_ae_title).cloned()
        };
        match client {
            Some(client) => client.connect(address, called_ae_title).await,
            None => TcpConnector.connect(address, called_ae_title).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_server_does_not_call_itself_in_any_form_of_its_address() {
        let own = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = own.local_addr().unwrap().port();
        let dialler = Dialler::default();
        dialler.listens_at(vec![own.local_addr().unwrap()]);
        let title = AeTitle::parse("A").unwrap();

        for host in ["127.0.0.1", "127.1.2.3", "0.0.0.0", "[::ffff:127.0.0.1]"] {
            let refused = dialler.connect(&format!("{host}:{port}"), &title).await;

            let kind = refused.map(|_| ()).unwrap_err().kind();
            assert_eq!(kind, io::ErrorKind::PermissionDenied, "{host}");
        }
        let there = other.local_addr().unwrap().to_string();
        assert!(dialler.connect(&there, &title).await.is_ok());
    }
}
