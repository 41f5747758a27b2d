//! Signs the end of the audit trail: at the start, and with each new day. Whoever has the data
//! directory can make another trail of it, but not sign that: the key is elsewhere, and the
//! signatures are records, which go to a repository elsewhere too.
//!
//! Ed25519 (RFC 8032) over a line that names the day, the number of the last record and its digest,
//! which is of all before it.

use crate::limits::ANCHOR_LOOK_EVERY;
use crate::place;
use crate::tls::{TlsFileError, read_pem};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64ct::{Base64, Encoding as _};
use chrono::{DateTime, FixedOffset, NaiveDate};
use pacs_core::audit::{Act, Actor, AuditEvent};
use pacs_store::registry::audit::{Anchor, AuditError, AuditTrail};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use std::path::{Path, PathBuf};

/// A public key of Ed25519 in a certificate or a PEM file begins so (RFC 8410 4).
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// Records that are read at once.
const PAGE_COUNT: usize = 256;

/// Why nothing is signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SigningError {
    /// The trail cannot be read or written.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The file of the key cannot be read.
    #[error(transparent)]
    File(#[from] TlsFileError),
    /// It holds something else.
    #[error("{path} has no private key of Ed25519 in PKCS #8 (PEM)")]
    Key {
        /// Which file.
        path: String,
    },
}

/// Texts that hold no public keys of Ed25519 (PEM).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no public key of Ed25519 (PEM), or something else with it")]
pub struct PublicKeysError;

/// Signs the trail of one archive.
#[derive(Debug)]
pub struct Signer {
    trail: AuditTrail,
    path: PathBuf,
}

impl Signer {
    /// With the key in the file at `path`, which is read for each signature.
    ///
    /// # Errors
    /// [`SigningError`]
    pub fn open(trail: AuditTrail, path: &Path) -> Result<Self, SigningError> {
        read_key(path)?;
        Ok(Self {
            trail,
            path: path.to_owned(),
        })
    }

    /// Signs until the task is dropped.
    pub async fn follow(self) {
        let mut signed: Option<NaiveDate> = None;
        loop {
            let now = place::now();
            if signed != Some(now.date_naive()) {
                match self.sign(now).await {
                    Ok(()) => signed = Some(now.date_naive()),
                    Err(error) => {
                        let error = crate::tool::failure::chain(&error);
                        tracing::error!(
                            alarm = "audit_not_signed",
                            error,
                            "the audit trail could not be signed: it is tried again"
                        );
                    }
                }
            }
            tokio::time::sleep(ANCHOR_LOOK_EVERY).await;
        }
    }

    /// Signs the trail as it is, and has a record say so.
    ///
    /// # Errors
    /// [`SigningError`]
    async fn sign(&self, now: DateTime<FixedOffset>) -> Result<(), SigningError> {
        let Some(anchor) = self.trail.anchor().await? else {
            return Ok(());
        };
        let key = read_key(&self.path)?;
        let signature = key.sign(line(now, anchor).as_bytes());
        let mut event = AuditEvent::new(Act::TrailSigned, now, Actor::system("pacs-server"));
        event.object.setting = Some(anchor.to_string());
        event.reason = Some(format!(
            "ED25519 {} {}",
            name_of(key.public_key().as_ref()),
            Base64::encode_string(signature.as_ref())
        ));
        self.trail.commit(Vec::new(), &event).await?;
        Ok(())
    }
}

fn read_key(path: &Path) -> Result<Ed25519KeyPair, SigningError> {
    let text = read_pem(path)?;
    let key = PrivatePkcs8KeyDer::from_pem_slice(&text).ok();
    // OpenSSL leaves the public key out.
    let key = key.and_then(|der| {
        let der = der.secret_pkcs8_der();
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok()
    });
    key.ok_or_else(|| SigningError::Key {
        path: path.display().to_string(),
    })
}

/// What is signed.
fn line(at: DateTime<FixedOffset>, anchor: Anchor) -> String {
    format!("pacs audit trail\n{}\n{anchor}\n", at.date_naive())
}

/// What a key is called.
fn name_of(public: &[u8]) -> String {
    let name = blake3::hash(public).to_hex();
    name.as_str().chars().take(16).collect()
}

/// Keys whose signatures count.
#[derive(Debug, Clone)]
pub struct PublicKeys(Vec<Vec<u8>>);

impl PublicKeys {
    /// One key or several, as PEM (`PUBLIC KEY`): that of today and those before it.
    ///
    /// # Errors
    /// [`PublicKeysError`]
    pub fn from_pem(text: &[u8]) -> Result<Self, PublicKeysError> {
        let mut keys = Vec::new();
        for key in SubjectPublicKeyInfoDer::pem_slice_iter(text) {
            let key = key.map_err(|_| PublicKeysError)?;
            let key = key.as_ref().strip_prefix(SPKI_PREFIX.as_slice());
            let key = key.filter(|key| key.len() == 32);
            keys.push(key.ok_or(PublicKeysError)?.to_vec());
        }
        if keys.is_empty() {
            return Err(PublicKeysError);
        }
        Ok(Self(keys))
    }

    /// Whether one of them has made what `event` says of the end of the trail; of which record.
    fn anchor_of(&self, event: &AuditEvent) -> Option<Anchor> {
        let anchor: Anchor = event.object.setting.as_deref()?.parse().ok()?;
        let mut words = event.reason.as_deref()?.split(' ');
        let (scheme, name, signature) = (words.next()?, words.next()?, words.next()?);
        let signature = Base64::decode_vec(signature).ok()?;
        let key = self.0.iter().find(|key| name_of(key) == name)?;
        let signed = line(event.at, anchor);
        let key = UnparsedPublicKey::new(&ED25519, key);
        let is_right = scheme == "ED25519" && words.next().is_none();
        let is_right = is_right && key.verify(signed.as_bytes(), &signature).is_ok();
        is_right.then_some(anchor)
    }
}

/// What became of the signatures of a trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Signatures that are right.
    pub count: u64,
    /// The day of the last one.
    pub last: Option<NaiveDate>,
    /// The first thing that is wrong.
    pub problem: Option<String>,
}

/// Looks at every signature in a trail whose digests are right: that one of `keys` has made it, of
/// the record that is there. Where nothing is signed, that is wrong.
///
/// # Errors
/// [`AuditError`] where the trail cannot be read.
pub async fn verify(trail: &AuditTrail, keys: &PublicKeys) -> Result<Signed, AuditError> {
    let mut signed = Signed {
        count: 0,
        last: None,
        problem: None,
    };
    let mut after = 0;
    loop {
        let page = trail.after(after, PAGE_COUNT).await?;
        let Some(last) = page.last() else { break };
        after = last.number;
        let is_it = |act: Act| act == Act::TrailSigned;
        for record in page.iter().filter(|record| is_it(record.event.act)) {
            let anchor = keys.anchor_of(&record.event);
            let anchor = anchor.filter(|anchor| anchor.number < record.number);
            let there = match anchor {
                Some(anchor) => trail.after(anchor.number.saturating_sub(1), 1).await?,
                None => Vec::new(),
            };
            let found = there.first().map(|there| Anchor {
                number: there.number,
                digest: there.digest,
            });
            if anchor.is_none() || anchor != found {
                let number = record.number;
                signed.problem = Some(format!("record {number}: its signature is not right"));
                return Ok(signed);
            }
            signed.count = signed.count.saturating_add(1);
            signed.last = Some(record.event.at.date_naive());
        }
    }
    if signed.count == 0 {
        signed.problem = Some("nothing is signed".to_owned());
    }
    Ok(signed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pacs_store::records::memory::MemoryRecords;
    use std::sync::Arc;

    /// A key as OpenSSL writes it (RFC 8410 10.3), and the public one that belongs to it.
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
        -----END PRIVATE KEY-----\n";
    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
        -----END PUBLIC KEY-----\n";

    async fn acted(trail: &AuditTrail, task: &str) {
        let event = AuditEvent::new(Act::ApplicationStarted, place::now(), Actor::system(task));
        trail.commit(Vec::new(), &event).await.unwrap();
    }

    #[tokio::test]
    async fn a_signed_trail_is_told_from_one_that_was_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        std::fs::write(&path, KEY).unwrap();
        let keys = PublicKeys::from_pem(PUBLIC.as_bytes()).unwrap();
        let trail = AuditTrail::new(Arc::new(MemoryRecords::default()));
        acted(&trail, "first").await;
        let unsigned = verify(&trail, &keys).await.unwrap();
        assert_eq!(unsigned.problem.as_deref(), Some("nothing is signed"));
        let signer = Signer::open(trail.clone(), &path).unwrap();
        signer.sign(place::now()).await.unwrap();
        acted(&trail, "second").await;
        signer.sign(place::now()).await.unwrap();

        let found = verify(&trail, &keys).await.unwrap();

        assert_eq!((found.count, found.problem), (2, None));
        assert_eq!(found.last, Some(place::now().date_naive()));
        // The same signatures in a trail that tells something else.
        let forged = AuditTrail::new(Arc::new(MemoryRecords::default()));
        acted(&forged, "other").await;
        let records = trail.after(1, 100).await.unwrap();
        for record in &records {
            forged.commit(Vec::new(), &record.event).await.unwrap();
        }
        let found = verify(&forged, &keys).await.unwrap();
        let problem = Some("record 2: its signature is not right".to_owned());
        assert_eq!((found.count, found.problem), (0, problem));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let trail = AuditTrail::new(Arc::new(MemoryRecords::default()));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        for text in [
            "",
            PUBLIC,
            "-----BEGIN PRIVATE KEY-----\nMC4=\n-----END PRIVATE KEY-----\n",
        ] {
            std::fs::write(&path, text).unwrap();
            assert!(Signer::open(trail.clone(), &path).is_err(), "{text}");
            let is_public = text == PUBLIC;
            assert_eq!(PublicKeys::from_pem(text.as_bytes()).is_ok(), is_public);
        }
    }
}
