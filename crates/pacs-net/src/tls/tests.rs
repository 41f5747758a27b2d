//! TLS between our own requestor and acceptor, with certificates made here.

use super::*;
use crate::negotiation::Services;
use crate::pdu::{AssociateRequest, RejectReason, Rejection};
use crate::requestor::{Requestor, RequestorError};
use crate::security::{Fingerprint, PeerCertificate, TlsError};
use crate::service::{Admission, AssociationPolicy, Peer};
use crate::sop_class::{IMPLICIT_VR_LITTLE_ENDIAN, VERIFICATION};
use crate::{Acceptor, NetLimits};
use async_trait::async_trait;
use pacs_core::AeTitle;
use rcgen::{CertificateParams, CertifiedIssuer, DnType, KeyPair, date_time_ymd};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// An authority that makes certificates.
struct Maker(CertifiedIssuer<'static, KeyPair>);

impl Maker {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn authorities(&self) -> Authorities {
        Authorities::from_pem(self.0.pem().as_bytes()).unwrap()
    }

    /// For `subject`, reached as `host`, valid until the end of `year`.
    fn make(&self, subject: &str, host: &str, year: i32) -> Credentials {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, subject);
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(year, 12, 31);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Credentials::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
    }
}

fn title(text: &str) -> AeTitle {
    AeTitle::parse(text).unwrap()
}

/// Notes what peers have shown; lets in whom it is told to.
#[derive(Debug, Default)]
struct Doorman {
    seen: Mutex<Vec<Option<PeerCertificate>>>,
}

#[async_trait]
impl AssociationPolicy for Doorman {
    async fn decide(
        &self,
        _request: &AssociateRequest,
        peer: &Peer,
    ) -> Result<Admission, Rejection> {
        let shown = peer.channel.certificate().cloned();
        self.seen.lock().unwrap().push(shown);
        if peer.calling_ae_title.as_str() == "STRANGER" {
            return Err(Rejection::permanent(
                RejectReason::CallingAeTitleNotRecognized,
            ));
        }
        Ok(Admission::to(Services::ALL))
    }
}

/// A server of TLS, until it is dropped.
struct Running {
    address: SocketAddr,
    tls: Arc<TlsServer>,
    doorman: Arc<Doorman>,
    _stop: oneshot::Sender<()>,
}

fn settings(credentials: Credentials) -> ServerSettings {
    ServerSettings {
        credentials,
        clients: ClientAuthentication::Off,
        authorities: None,
        pinned: BTreeSet::new(),
        minimum: MinimumVersion::Tls12,
    }
}

async fn serve(settings: &ServerSettings, limits: NetLimits) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tls = Arc::new(TlsServer::new(settings).unwrap());
    let doorman = Arc::new(Doorman::default());
    let acceptor = Acceptor::builder(title("PACS"))
        .policy(Arc::clone(&doorman) as _)
        .limits(limits)
        .build()
        .unwrap();
    let (stop, stopped) = oneshot::channel();
    let security = Arc::clone(&tls);
    tokio::spawn(async move {
        let until = async { drop(stopped.await) };
        acceptor.serve_secured(listener, security, until).await;
    });
    Running {
        address,
        tls,
        doorman,
        _stop: stop,
    }
}

fn client(trust: Trust) -> ClientSettings {
    ClientSettings {
        trust,
        credentials: None,
        name: None,
        minimum: MinimumVersion::Tls12,
    }
}

async fn associate(
    address: SocketAddr,
    client: &ClientSettings,
    calling: &str,
) -> Result<Requestor, RequestorError> {
    let connector = TlsClient::new(client).unwrap();
    Requestor::builder(title(calling), title("PACS"))
        .connector(Arc::new(connector))
        .context(VERIFICATION, &[IMPLICIT_VR_LITTLE_ENDIAN])
        .connect(&address.to_string())
        .await
}

async fn echo(address: SocketAddr, client: &ClientSettings) -> Result<(), RequestorError> {
    let mut association = associate(address, client, "TEST").await?;
    association.echo().await?;
    association.release().await
}

#[tokio::test]
async fn both_versions_echo_and_the_peer_is_known_by_its_certificate() {
    let maker = Maker::new("Test authority");
    for minimum in [MinimumVersion::Tls12, MinimumVersion::Tls13] {
        let server = ServerSettings {
            clients: ClientAuthentication::Required,
            authorities: Some(maker.authorities()),
            minimum,
            ..settings(maker.make("Archive", "127.0.0.1", 2999))
        };
        let server = serve(&server, NetLimits::default()).await;
        let own = maker.make("CT 1", "ct1", 2999);
        let client = ClientSettings {
            credentials: Some(own.clone()),
            ..client(Trust::Authorities(maker.authorities()))
        };

        echo(server.address, &client).await.unwrap();

        let seen = server.doorman.seen.lock().unwrap();
        assert_eq!(*seen, [Some(own.certificate().clone())]);
        assert_eq!(own.certificate().subject, "CN=CT 1");
    }
}

#[tokio::test]
async fn a_rejection_comes_through_the_encryption() {
    let maker = Maker::new("Test authority");
    let server = settings(maker.make("Archive", "127.0.0.1", 2999));
    let server = serve(&server, NetLimits::default()).await;

    let rejected = associate(server.address, &client(Trust::Anyone), "STRANGER").await;

    assert!(matches!(rejected, Err(RequestorError::Rejected(_))));
    assert_eq!(*server.doorman.seen.lock().unwrap(), [None]);
}

#[tokio::test]
async fn a_certificate_of_the_server_is_judged_by_authority_date_name_and_pin() {
    let (maker, other) = (Maker::new("Test authority"), Maker::new("Other authority"));
    let trust = Trust::Authorities(maker.authorities());
    let right = maker.make("Archive", "127.0.0.1", 2999);
    let pins = |of: &Credentials| Trust::Pinned([of.certificate().sha256].into());
    let expired = maker.make("Archive", "127.0.0.1", 2002);
    let cases = [
        (right.clone(), trust.clone(), None),
        (right.clone(), pins(&right), None),
        (
            other.make("Archive", "127.0.0.1", 2999),
            trust.clone(),
            Some(TlsError::UnknownAuthority),
        ),
        (expired.clone(), trust.clone(), Some(TlsError::Expired)),
        (expired.clone(), pins(&expired), Some(TlsError::Expired)),
        (
            maker.make("Archive", "10.0.0.1", 2999),
            trust,
            Some(TlsError::WrongName),
        ),
        (
            maker.make("Archive", "127.0.0.1", 2999),
            pins(&right),
            Some(TlsError::NotPinned),
        ),
        (other.make("Archive", "x", 2002), Trust::Anyone, None),
    ];
    for (credentials, trust, expected) in cases {
        let server = serve(&settings(credentials), NetLimits::default()).await;

        let found = echo(server.address, &client(trust.clone())).await;

        match (found, expected) {
            (Ok(()), None) => {}
            (Err(RequestorError::Tls(found)), Some(expected)) => assert_eq!(found, expected),
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    }
}

#[tokio::test]
async fn a_name_that_is_set_counts_instead_of_the_address() {
    let maker = Maker::new("Test authority");
    let server = settings(maker.make("Archive", "archive.example", 2999));
    let server = serve(&server, NetLimits::default()).await;
    let client = ClientSettings {
        name: Some("archive.example".into()),
        ..client(Trust::Authorities(maker.authorities()))
    };

    echo(server.address, &client).await.unwrap();
}

#[tokio::test]
async fn clients_are_judged_by_authority_date_and_pin_in_both_versions() {
    let (maker, other) = (Maker::new("Test authority"), Maker::new("Other authority"));
    let self_made = other.make("WS1", "ws1", 2999);
    let expired_pin = other.make("WS2", "ws2", 2002);
    let server = ServerSettings {
        clients: ClientAuthentication::Required,
        authorities: Some(maker.authorities()),
        pinned: [&self_made, &expired_pin]
            .map(|credentials| credentials.certificate().sha256)
            .into(),
        ..settings(maker.make("Archive", "127.0.0.1", 2999))
    };
    let optional = ServerSettings {
        clients: ClientAuthentication::Optional,
        ..server.clone()
    };
    let cases = [
        (Some(maker.make("CT1", "ct1", 2999)), true, true),
        (Some(self_made), true, true),
        (Some(expired_pin), false, false),
        (Some(maker.make("CT1", "ct1", 2002)), false, false),
        (Some(other.make("CT1", "ct1", 2999)), false, false),
        (None, false, true),
    ];
    for minimum in [MinimumVersion::Tls12, MinimumVersion::Tls13] {
        let with = |settings: &ServerSettings| ServerSettings {
            minimum,
            ..settings.clone()
        };
        let server = serve(&with(&server), NetLimits::default()).await;
        let optional = serve(&with(&optional), NetLimits::default()).await;
        for (credentials, if_required, if_optional) in cases.clone() {
            let client = ClientSettings {
                credentials,
                ..client(Trust::Anyone)
            };
            for (server, expected) in [(&server, if_required), (&optional, if_optional)] {
                let echoed = echo(server.address, &client).await;

                let is_tls = matches!(echoed, Err(RequestorError::Tls(TlsError::Alert { .. })));
                assert_eq!(
                    (echoed.is_ok(), is_tls),
                    (expected, !expected),
                    "{echoed:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn settings_are_replaced_while_associations_stand() {
    let maker = Maker::new("Test authority");
    let first = maker.make("Archive", "127.0.0.1", 2999);
    let second = maker.make("Archive", "127.0.0.1", 2999);
    let pinned = |of: &Credentials| client(Trust::Pinned([of.certificate().sha256].into()));
    let server = serve(&settings(first.clone()), NetLimits::default()).await;
    let mut standing = associate(server.address, &pinned(&first), "TEST")
        .await
        .unwrap();

    server.tls.replace(&settings(second.clone())).unwrap();

    standing.echo().await.unwrap();
    standing.release().await.unwrap();
    echo(server.address, &pinned(&second)).await.unwrap();
    let old = echo(server.address, &pinned(&first)).await;
    assert!(matches!(old, Err(RequestorError::Tls(TlsError::NotPinned))));
}

#[tokio::test]
async fn what_does_not_fit_together_is_refused_before_it_serves() {
    let maker = Maker::new("Test authority");
    let (one, other) = (maker.make("A", "a", 2999), maker.make("B", "b", 2999));
    let mut mixed = one.clone();
    mixed.key = Arc::clone(&other.key);
    let tls = TlsServer::new(&settings(one.clone())).unwrap();

    assert_eq!(
        tls.replace(&settings(mixed)),
        Err(SettingsError::KeyMismatch)
    );
    let nobody = ServerSettings {
        clients: ClientAuthentication::Required,
        ..settings(one)
    };
    let refused = TlsServer::new(&nobody).unwrap_err();
    assert_eq!(refused, SettingsError::NoClientPossible);
}

#[test]
fn pem_that_is_not_what_is_wanted_is_named() {
    let maker = Maker::new("Test authority");
    let certificate = maker.0.pem();
    let key = maker.0.key().serialize_pem();
    let read = |chain: &str, key: &str| Credentials::from_pem(chain.as_bytes(), key.as_bytes());

    assert!(read(&certificate, &key).is_ok());
    assert_eq!(read("", &key).unwrap_err(), PemError::NoCertificate);
    assert_eq!(read(&key, &key).unwrap_err(), PemError::NoCertificate);
    let no_key = read(&certificate, &certificate).unwrap_err();
    assert_eq!(no_key, PemError::NoKey);
    let half = &certificate[..certificate.len() / 2];
    assert!(read(half, &key).is_err());
    let shown = format!("{:?}", read(&certificate, &key).unwrap());
    assert!(!shown.contains("key"), "{shown}");
}

#[tokio::test]
async fn silent_and_plain_connections_to_the_tls_port_are_closed() {
    let maker = Maker::new("Test authority");
    let limits = NetLimits {
        handshake_duration_max: Duration::from_millis(200),
        ..NetLimits::default()
    };
    let server = serve(&settings(maker.make("A", "a", 2999)), limits).await;

    for sent in [
        &b""[..],
        b"\x16",
        b"\x01\x00\x00\x00\x00\x20PACS",
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(sent).await.unwrap();

        let mut answer = Vec::new();
        // It may be reset, where something was sent that nobody has read.
        let _closed = stream.read_to_end(&mut answer).await;

        assert!(answer.len() <= 7, "at most an alert: {answer:?}");
    }
    assert!(server.doorman.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_named_as_such() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = Acceptor::builder(title("PACS")).build().unwrap();
    let serving =
        tokio::spawn(async move { acceptor.serve(listener, std::future::pending()).await });

    let refused = echo(address, &client(Trust::Anyone)).await;

    assert!(matches!(
        refused,
        Err(RequestorError::Tls(TlsError::NotTls))
    ));
    serving.abort();
}

#[test]
fn only_suites_of_bcp_195_are_offered() {
    for suite in provider().cipher_suites.clone() {
        let name = format!("{:?}", suite.suite());
        let has_aead = name.contains("_GCM_") || name.contains("POLY1305");
        let has_forward_secrecy = name.starts_with("TLS13_") || name.contains("_ECDHE_");
        assert!(has_aead && has_forward_secrecy, "{name}");
    }
}

#[test]
fn the_conformance_statement_names_the_suites_and_the_key_exchanges_in_their_order() {
    let statement = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/conformance-statement.md"
    );
    let statement = std::fs::read_to_string(statement).unwrap();
    let row = |of: &str| {
        let begin = format!("| {of} | ");
        let mut rows = statement.lines();
        let row = rows.find(|row| row.starts_with(&begin) && row.contains("TLS_"));
        row.unwrap().trim_start_matches(&begin).replace(" |", "")
    };
    let provider = provider();
    let suites = provider.cipher_suites.iter();
    let names: Vec<String> = suites.map(|it| format!("{:?}", it.suite())).collect();
    let of = |is_13: bool| {
        let names = names.iter();
        let names = names.filter(|name| name.starts_with("TLS13_") == is_13);
        let names: Vec<String> = names.map(|name| name.replace("TLS13_", "TLS_")).collect();
        names.join(", ")
    };
    assert_eq!((row("1.3"), row("1.2")), (of(true), of(false)));

    let groups = provider.kx_groups.iter();
    let groups: Vec<String> = groups.map(|it| format!("{:?}", it.name())).collect();
    let told = [
        ("X25519", "X25519"),
        ("P-256", "secp256r1"),
        ("P-384", "secp384r1"),
        ("X25519 with ML-KEM-768", "X25519MLKEM768"),
    ];
    let exchanges: Vec<&str> = told.iter().map(|(name, _)| *name).collect();
    let line = format!("Key exchange: {}. ", exchanges.join(", "));
    assert!(statement.contains(&line), "{line}");
    assert_eq!(groups, told.map(|(_, group)| group));
}

#[test]
fn a_fingerprint_is_that_of_the_der() {
    let maker = Maker::new("Test authority");
    let of = maker.make("A", "a", 2999);
    let [own] = &of.chain[..] else { panic!() };
    assert_eq!(certificate::fingerprint(own), of.certificate().sha256);
    assert_ne!(of.certificate().sha256, Fingerprint::new([0; 32]));
}
