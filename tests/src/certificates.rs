//! Certificates of the tests, made when they run: authorities, and what they vouch for.

use std::path::{Path, PathBuf};

use crate::server::{Options, Server};
use crate::workspace;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    date_time_ymd,
};

/// An authority whose certificate stands in a file.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
    file: PathBuf,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

/// A certificate and its private key, as files.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate.
    pub file: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Its SHA-256 fingerprint, as openssl writes it.
    pub sha256: String,
}

/// What a certificate says.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Common name of its subject.
    pub name: String,
    /// The host it is for.
    pub host: String,
    /// The last year in which it is valid.
    pub year: i32,
}

impl Wanted {
    /// For `name` at the address of these tests, and valid for long.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            host: "127.0.0.1".to_owned(),
            year: 2999,
        }
    }
}

impl Authority {
    /// Makes one, with its file in `folder`.
    ///
    /// # Panics
    /// When the folder cannot be written.
    #[must_use]
    pub fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = subject(name);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let file = folder.join(format!("{name}.pem"));
        std::fs::write(&file, issuer.pem()).expect("a file");
        Self {
            issuer,
            folder: folder.to_owned(),
            file,
        }
    }

    /// The file of its certificate.
    #[must_use]
    pub fn file(&self) -> &str {
        self.file.to_str().expect("UTF-8")
    }

    /// Makes a certificate in files called after its name.
    ///
    /// # Panics
    /// When the folder cannot be written.
    #[must_use]
    pub fn make(&self, wanted: &Wanted) -> Certificate {
        let mut params = CertificateParams::new(vec![wanted.host.clone()]).expect("a host");
        params.distinguished_name = subject(&wanted.name);
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(wanted.year, 12, 31);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let at = |ending: &str| self.folder.join(format!("{}.{ending}", wanted.name));
        let made = Certificate {
            file: at("crt"),
            key: at("key"),
            sha256: fingerprint(certificate.der()),
        };
        std::fs::write(&made.file, certificate.pem()).expect("a file");
        std::fs::write(&made.key, key.serialize_pem()).expect("a file");
        made
    }
}

impl Certificate {
    /// The file of the certificate, then that of its key.
    #[must_use]
    pub fn files(&self) -> [&str; 2] {
        [&self.file, &self.key].map(|path| path.to_str().expect("UTF-8"))
    }
}

fn subject(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

fn fingerprint(der: &[u8]) -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(der);
    let bytes: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}

/// Two authorities and a certificate for the archive, in a folder of their own.
#[derive(Debug)]
pub struct Hospital {
    folder: tempfile::TempDir,
    /// The one that the archive trusts.
    pub trusted: Authority,
    /// One that it does not.
    pub stranger: Authority,
    /// That of the archive, by the trusted one.
    pub archive: Certificate,
}

impl Hospital {
    /// Makes them.
    #[must_use]
    pub fn new() -> Self {
        let folder = workspace::temporary_folder();
        let trusted = Authority::new(folder.path(), "trusted");
        Self {
            stranger: Authority::new(folder.path(), "stranger"),
            archive: trusted.make(&Wanted::new("archive")),
            trusted,
            folder,
        }
    }

    /// The folder of all files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The section `[dicom.tls]` of an archive here that asks clients for certificates as
    /// `clients` says, then `more`: other keys of the section, and AEs.
    #[must_use]
    pub fn config(&self, clients: &str, more: &str) -> String {
        let [certificate, key] = self.archive.files();
        let ca = self.trusted.file();
        format!(
            "[dicom.tls]\naddress = \"127.0.0.1:0\"\ncertificate = \"{certificate}\"\n\
             key = \"{key}\"\nclient_ca = \"{ca}\"\nca = \"{ca}\"\n\
             clients = \"{clients}\"\n{more}\n"
        )
    }

    /// An archive with that configuration.
    #[must_use]
    pub fn start(&self, clients: &str, more: &str) -> Server {
        Server::start(Options {
            config: self.config(clients, more),
            ..Options::default()
        })
    }
}

impl Default for Hospital {
    fn default() -> Self {
        Self::new()
    }
}

/// An AE that may do everything, with `more` keys.
#[must_use]
pub fn ae(title: &str, address: std::net::SocketAddr, more: &str) -> String {
    format!(
        "[[dicom.ae]]\ntitle = \"{title}\"\naddress = \"{address}\"\n\
         allow = [\"echo\", \"store\", \"find\", \"move\", \"get\", \"commit\"]\n\
         move_to = [\"{title}\"]\n{more}\n"
    )
}
