//! Limits that are far away in the server, set near: what then happens to whoever passes them, over
//! the wire. The services are those of the server, in this process.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what a test's own functions do is the test"
)]

use bytes::Bytes;
use pacs_core::access::{PermitAll, Right, Store, permit};
use pacs_core::encode::write_data_set;
use pacs_core::tag::{Tag, Vr, tags};
use pacs_core::{
    AeTitle, Attributes, Caller, Permit, SopClassUid, SopInstanceUid, TransferSyntaxUid,
};
use pacs_net::sop_class::{EXPLICIT_VR_LITTLE_ENDIAN, STUDY_ROOT_FIND};
use pacs_net::{Acceptor, Requestor, RequestorError};
use pacs_store::disk::OsDisk;
use pacs_store::egress::NoOverlays;
use pacs_store::index::redb::{RedbIndex, RedbOptions};
use pacs_store::records::redb::RedbRecords;
use pacs_store::{Announced, Archive, ArchiveOptions, DataDirectory, StoreLimits};
use pacs_web::{Web, WebLimits};
use reference_server::access::Access;
use reference_server::accounts::{AccountRules, Accounts};
use reference_server::clock::World;
use reference_server::config::{Config, Options};
use reference_server::decoding::decoders;
use reference_server::draining::{Drain, drain};
use reference_server::recorder::Recorder;
use reference_server::recorder::alerts::Alerts;
use reference_server::scp::person::People;
use reference_server::scp::{ConversionCounters, Services};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;

const CALLER: Caller = Caller::System { task: "test" };

const SECONDARY_CAPTURE: &str = "1.2.840.10008.5.1.4.1.1.7";

/// How long is waited for what has to happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// An archive, and its services on two ports.
struct Near {
    archive: Archive,
    dicom: SocketAddr,
    http: SocketAddr,
    _kept: (TempDir, Drain),
}

fn may<R: Right>() -> Permit<R> {
    permit(&PermitAll, CALLER).unwrap()
}

fn title(text: &str) -> AeTitle {
    AeTitle::parse(text).unwrap()
}

fn syntax() -> TransferSyntaxUid {
    TransferSyntaxUid::parse(EXPLICIT_VR_LITTLE_ENDIAN).unwrap()
}

fn study(number: u32) -> String {
    format!("2.25.{}", 1_000 + number)
}

/// The services of DICOM.
fn acceptor(archive: &Archive) -> Acceptor {
    let access = Arc::new(Access::new(&Config::load(&Options::default()).unwrap()));
    let recorder = Recorder::start(
        &archive.registry(),
        access.directory(),
        Alerts::new(archive.registry().audit_trail()),
    )
    .unwrap();
    let trail = archive.registry().audit_trail();
    let accounts = Accounts::new(trail, AccountRules::default(), World::real()).unwrap();
    let people = People::new(accounts, archive.registry());
    let counters = ConversionCounters::new(&prometheus::Registry::new()).unwrap();
    let services = Services::new(
        archive.clone(),
        Arc::clone(&access),
        title("PACS"),
        (counters, decoders().unwrap()),
        (Arc::new(NoOverlays), recorder, people),
    );
    let door = services.door();
    let acceptor = Acceptor::builder(title("PACS")).query(Arc::new(services));
    acceptor.policy(Arc::new(door)).build().unwrap()
}

impl Near {
    async fn open(index: RedbOptions, store: StoreLimits, web: WebLimits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = Arc::new(OsDisk::open(folder.path()).unwrap());
        let directory = DataDirectory::open(disk).unwrap();
        let index = Arc::new(RedbIndex::open(&directory, &index).unwrap());
        let options = ArchiveOptions {
            records: Arc::new(RedbRecords::open(&directory).unwrap()),
            limits: store,
            ..ArchiveOptions::new(directory, index)
        };
        let archive = Archive::open(options).await.unwrap();
        let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dicom = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (drain, draining) = drain();
        let near = Self {
            archive: archive.clone(),
            dicom: dicom.local_addr().unwrap(),
            http: http.local_addr().unwrap(),
            _kept: (folder, drain),
        };
        let acceptor = acceptor(&archive);
        tokio::spawn(async move { acceptor.serve(dicom, std::future::pending()).await });
        let routes = pacs_web::routes(Web::new(archive, pacs_web::Options::open_to_all(web)));
        tokio::spawn(reference_server::http::serve(http, routes, draining));
        near
    }

    /// Stores the one instance of a study.
    async fn store(&self, number: u32, name: &str) {
        let data_set = data_set(number, name);
        let announced = Announced {
            sop_class: SopClassUid::parse(SECONDARY_CAPTURE).unwrap(),
            sop_instance: SopInstanceUid::parse(&format!("{}.1.1", study(number))).unwrap(),
            transfer_syntax: syntax(),
        };
        let provenance = self.archive.provenance(&CALLER);
        let deposit = self.archive.deposit(&may::<Store>(), announced, provenance);
        let mut deposit = deposit.unwrap();
        deposit.write(data_set.into()).await.unwrap();
        deposit.seal().await.unwrap();
    }

    /// C-FIND at the level of studies, by these keys: how many are found, and the status.
    async fn c_find(&self, keys: &[(Tag, Vr, &str)]) -> (usize, u16) {
        let mut identifier = Attributes::new();
        identifier.insert_text(tags::QUERY_RETRIEVE_LEVEL, Vr::CS, "STUDY");
        identifier.insert_text(tags::STUDY_INSTANCE_UID, Vr::UI, "");
        for (tag, vr, value) in keys {
            identifier.insert_text(*tag, *vr, *value);
        }
        let identifier = write_data_set(&identifier, &syntax()).unwrap();
        let requestor = Requestor::builder(title("ANYBODY"), title("PACS"))
            .context(STUDY_ROOT_FIND, &[EXPLICIT_VR_LITTLE_ENDIAN]);
        let mut requestor = requestor.connect(&self.dicom.to_string()).await.unwrap();
        let found = requestor.find(STUDY_ROOT_FIND, Bytes::from(identifier));
        let mut found = found.await.unwrap();
        let mut count = 0;
        let status = loop {
            match found.next().await {
                Ok(Some(_)) => count += 1,
                Ok(None) => break 0,
                Err(RequestorError::Status { code, .. }) => break code,
                Err(error) => panic!("{error}"),
            }
        };
        requestor.release().await.unwrap();
        (count, status)
    }

    /// What is said to `sent`, until the server hangs up.
    async fn said(&self, sent: Vec<u8>) -> String {
        let http = self.http;
        let asking = tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(http).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(&sent).unwrap();
            let mut said = Vec::new();
            stream.read_to_end(&mut said).unwrap();
            String::from_utf8(said).unwrap()
        });
        asking.await.unwrap()
    }

    async fn get(&self, path: &str) -> String {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.http
        );
        self.said(request.into()).await
    }
}

fn data_set(number: u32, name: &str) -> Vec<u8> {
    let uid = study(number);
    let mut attributes = Attributes::new();
    let mut say = |tag, vr, text: &str| attributes.insert_text(tag, vr, text);
    say(tags::SOP_CLASS_UID, Vr::UI, SECONDARY_CAPTURE);
    say(tags::SOP_INSTANCE_UID, Vr::UI, &format!("{uid}.1.1"));
    say(tags::PATIENT_NAME, Vr::PN, name);
    say(tags::PATIENT_ID, Vr::LO, &format!("{name}{number}"));
    say(tags::STUDY_INSTANCE_UID, Vr::UI, &uid);
    say(tags::SERIES_INSTANCE_UID, Vr::UI, &format!("{uid}.1"));
    write_data_set(&attributes, &syntax()).unwrap()
}

/// PS3.4 Table C.4-1: out of resources.
const OUT_OF_RESOURCES: u16 = 0xA700;

#[tokio::test(flavor = "multi_thread")]
async fn t15_a_search_that_looks_at_too_much_is_refused_over_either_protocol() {
    let rows = RedbOptions {
        rows_max: 20,
        ..RedbOptions::default()
    };
    let near = Near::open(rows, StoreLimits::default(), WebLimits::default()).await;
    let letters = "a".repeat(60);
    // Eight that are passed over count as one.
    for number in 1..=240 {
        near.store(number, &letters).await;
    }
    let pattern = format!("{}*b", "*a".repeat(31));

    // Many names are read at once.
    let answered = near.c_find(&[(tags::PATIENT_NAME, Vr::PN, &pattern)]).await;
    assert_eq!(answered, (0, 0));
    let refused = near.c_find(&[(tags::PATIENT_ID, Vr::LO, &pattern)]).await;
    assert_eq!(refused, (0, OUT_OF_RESOURCES));
    for query in ["PatientID=", "fuzzymatching=true&PatientName="] {
        let refused = near.get(&format!("/studies?{query}{pattern}")).await;
        assert!(refused.starts_with("HTTP/1.1 413"), "{query}: {refused}");
        assert!(refused.contains("look at too much"), "{query}: {refused}");
    }

    // Whoever says which one gets it.
    let uid = study(40);
    for key in [
        (tags::STUDY_INSTANCE_UID, Vr::UI, &*uid),
        (tags::PATIENT_ID, Vr::LO, &format!("{letters}40")),
    ] {
        assert_eq!(near.c_find(&[key]).await, (1, 0));
    }
    let named = near.get(&format!("/studies?StudyInstanceUID={uid}")).await;
    assert!(named.starts_with("HTTP/1.1 200"), "{named}");
}

#[tokio::test(flavor = "multi_thread")]
async fn t15_who_asks_for_everything_gets_no_more_than_there_may_be_at_once() {
    let results = StoreLimits {
        results_count_max: 10,
        ..StoreLimits::default()
    };
    let pages = WebLimits {
        results_max: 8,
        studies_unasked_max: 5,
        ..WebLimits::default()
    };
    let near = Near::open(RedbOptions::default(), results, pages).await;
    for number in 1..=10 {
        near.store(number, "Test^Everything").await;
    }
    assert_eq!(near.c_find(&[]).await, (10, 0));

    near.store(11, "Test^Everything").await;

    assert_eq!(near.c_find(&[]).await, (0, OUT_OF_RESOURCES));
    for (query, count) in [("", 5), ("?limit=1000000", 8)] {
        let page = near.get(&format!("/studies{query}")).await;
        assert!(page.starts_with("HTTP/1.1 200"), "{query}: {page}");
        let results = page.matches("\"00201206\"").count();
        assert_eq!(results, count, "{query}: {page}");
        assert!(page.contains("\r\nwarning: 299 "), "{query}: {page}");
        assert!(page.contains("\r\nlink: <"), "{query}: {page}");
    }
}

/// Bounds of a body that a test can pass.
fn impatient() -> WebLimits {
    WebLimits {
        arriving_bytes_per_second_min: 1 << 20,
        arriving_grace: Duration::from_millis(500),
        ..WebLimits::default()
    }
}

const RELATED: &str = "multipart/related; type=\"application/dicom\"; boundary=b";

/// The head of a request that stores, of which more is to come.
fn begun(kind: &str) -> Vec<u8> {
    let head = format!(
        "POST /studies HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n\
         Content-Length: 1000000\r\n\r\n"
    );
    head.into_bytes()
}

/// A part with a file (PS3.10 7.1) and the boundary behind it.
fn part(number: u32) -> Vec<u8> {
    let mut meta = Attributes::new();
    let instance = format!("{}.1.1", study(number));
    meta.insert_text(Tag(0x0002, 0x0002), Vr::UI, SECONDARY_CAPTURE);
    meta.insert_text(Tag(0x0002, 0x0003), Vr::UI, instance.as_str());
    meta.insert_text(Tag(0x0002, 0x0010), Vr::UI, EXPLICIT_VR_LITTLE_ENDIAN);
    let meta = write_data_set(&meta, &syntax()).unwrap();
    let length = u32::try_from(meta.len()).unwrap().to_le_bytes();
    let length = [b"\x02\0\0\0UL\x04\0", &length[..]].concat();
    let data_set = data_set(number, "Test^Slow");
    let head = b"--b\r\nContent-Type: application/dicom\r\n\r\n";
    let file = [&[0; 128][..], b"DICM", &length, &meta, &data_set].concat();
    [&head[..], &file, b"\r\n--b\r\n"].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn t5_a_body_that_falls_silent_is_given_up_and_what_was_complete_is_kept() {
    let (index, store) = (RedbOptions::default(), StoreLimits::default());
    let near = Near::open(index, store, impatient()).await;
    let instance = format!("{}.1.1", study(1));
    for (kind, rest, stored) in [
        (RELATED, b"--b\r\nContent".to_vec(), 0),
        ("application/dicom", vec![0; 100], 0),
        ("application/dicom+json", b"[{".to_vec(), 0),
        ("application/dicom+xml", b"<?xml".to_vec(), 0),
        (RELATED, part(1), 1),
    ] {
        let said = near.said([begun(kind), rest].concat()).await;

        assert!(said.starts_with("HTTP/1.1 408 "), "{kind}: {said}");
        let told = said.matches(&format!("[\"{instance}\"]")).count();
        assert_eq!(told, stored, "{kind}: {said}");
    }
    let kept = near.c_find(&[(tags::PATIENT_NAME, Vr::PN, "Test^Slow")]);
    assert_eq!(kept.await, (1, 0));
}

/// Sends a byte whenever nothing was said for a while; what is said in the end.
fn drip(http: SocketAddr, head: &[u8]) -> String {
    let pause = Duration::from_millis(50);
    let mut stream = TcpStream::connect(http).unwrap();
    stream.set_read_timeout(Some(pause)).unwrap();
    stream.write_all(head).unwrap();
    let (mut said, mut piece) = (Vec::new(), [0; 1 << 10]);
    for _ in 0..PATIENCE.as_millis() / pause.as_millis() {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => said.extend_from_slice(&piece[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                // It may have been given up just now: then the answer is there already.
                stream.write_all(b"x").ok();
            }
            Err(_) => break,
        }
    }
    String::from_utf8(said).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn t22_a_body_that_comes_byte_by_byte_is_given_up() {
    let (index, store) = (RedbOptions::default(), StoreLimits::default());
    let near = Near::open(index, store, impatient()).await;
    let http = near.http;
    for kind in [RELATED, "application/dicom", "application/dicom+json"] {
        let dripping = tokio::task::spawn_blocking(move || drip(http, &begun(kind)));

        let said = dripping.await.unwrap();

        assert!(said.starts_with("HTTP/1.1 408 "), "{kind}: {said}");
    }
}
