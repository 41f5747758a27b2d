//! Orthanc as a whole archive beside ours: it stores to us, moves from us, and takes our moves.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use pacs_tests::corpus::Parts;
use pacs_tests::peers::{Listener, free_port, orthanc, run};
use pacs_tests::samples::{Slice, digests_sent, write_study};
use pacs_tests::server::{Options, RemoteAe, Server};
use pacs_tests::web::Reply;
use pacs_tests::wire::{Context, Keys, digest, identifier::tag, uid};
use pacs_tests::workspace;
use serde_json::{Value, json};

/// An Orthanc with an empty archive of its own.
struct Orthanc {
    // Dropped before its folder.
    _process: Listener,
    dicom: u16,
    http: SocketAddr,
    home: tempfile::TempDir,
}

impl Orthanc {
    /// Starts one that knows our server, titled `PACS`, at `our_port`; `None` when not installed.
    fn start(dicom: u16, our_port: u16) -> Option<Self> {
        Self::start_with(dicom, our_port, false)
    }

    /// As [`Self::start`]; whether it compresses what it stores.
    fn start_with(dicom: u16, our_port: u16, compresses: bool) -> Option<Self> {
        let program = orthanc()?;
        let home = workspace::temporary_folder();
        let http = free_port();
        let storage = home.path().join("db");
        let config = json!({
            "Name": "peer", "StorageDirectory": storage, "IndexDirectory": storage,
            "DicomAet": "ORTHANC", "DicomPort": dicom, "HttpPort": http,
            "DicomCheckCalledAet": false, "RemoteAccessAllowed": false,
            "StorageCompression": compresses,
            "AuthenticationEnabled": false, "DicomAlwaysAllowStore": true,
            "DicomAlwaysAllowFind": true, "DicomAlwaysAllowMove": true, "Plugins": [],
            "DicomModalities": { "ours": ["PACS", "127.0.0.1", our_port] },
        });
        let file = home.path().join("orthanc.json");
        std::fs::write(&file, config.to_string()).expect("a file");
        let mut command = Command::new(program);
        command.arg(&file).env("TCP_NODELAY", "1");
        let mut process = Listener::start(&mut command, http);
        process.wait_until_open(dicom);
        let http = process.address();
        Some(Self {
            _process: process,
            dicom,
            http,
            home,
        })
    }

    /// The AE by which our server knows it.
    fn remote(&self) -> RemoteAe {
        RemoteAe::new("ORTHANC", ([127, 0, 0, 1], self.dicom).into())
    }

    /// One request to its REST interface; JSON out.
    fn rest(&self, method: &str, path: &str, body: &[u8]) -> Value {
        let answer = self.bytes(method, path, body);
        serde_json::from_slice(&answer).unwrap_or_else(|error| {
            panic!("{path}: {error}: {}", String::from_utf8_lossy(&answer));
        })
    }

    /// One request to its REST interface.
    fn bytes(&self, method: &str, path: &str, body: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.http).expect("Orthanc's HTTP port is open");
        stream
            .set_read_timeout(Some(Duration::from_secs(120)))
            .expect("a timeout");
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nContent-Length: {}\r\n\r\n",
            self.http,
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("a request");
        stream.write_all(body).expect("a request");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        let reply = Reply::of(&answer);
        assert_eq!(reply.status, 200, "{method} {path}");
        reply.body
    }

    /// The digests of the data sets that it holds, sorted.
    fn digests(&self) -> Vec<String> {
        let all = self.rest("GET", "/instances", b"");
        let all = all.as_array().expect("a list").iter();
        let files = all.map(|id| {
            let path = format!("/instances/{}/file", id.as_str().expect("a name"));
            self.bytes("GET", &path, b"")
        });
        let mut digests: Vec<String> = files
            .map(|file| digest(&file[Parts::of(&file).data_set_offset..]))
            .collect();
        digests.sort();
        digests
    }

    fn instance_count(&self) -> usize {
        self.rest("GET", "/instances", b"")
            .as_array()
            .expect("a list")
            .len()
    }
}

/// The digests of everything our server gives back of study 1, sorted.
fn digests_held(server: &Server) -> Vec<String> {
    let mut association = server
        .associate(vec![
            Context::new(uid::STUDY_ROOT_GET, uid::IMPLICIT_LITTLE_ENDIAN),
            Context::receiving(uid::CT_IMAGE_STORAGE, uid::EXPLICIT_LITTLE_ENDIAN),
        ])
        .expect("an association");
    let keys = Keys::at("STUDY").with(tag::STUDY, &Slice::new(1, 1).study);
    let (_, received) = association.get(&keys).expect("C-GET is answered");
    association.release().expect("a release in order");
    let mut digests: Vec<String> = received.into_iter().map(|back| back.digest).collect();
    digests.sort();
    digests
}

#[test]
fn orthanc_echoes_stores_finds_and_moves_back() {
    let dicom = free_port();
    let address: SocketAddr = ([127, 0, 0, 1], dicom).into();
    if orthanc().is_none() {
        return;
    }
    let remote = vec![RemoteAe::new("ORTHANC", address)];
    let server = Server::start(Options {
        remote,
        ..Options::default()
    });
    let orthanc = Orthanc::start(dicom, server.dicom().port()).expect("installed");
    for number in 1..=5 {
        let _ = orthanc.rest("POST", "/instances", &Slice::new(1, number).file());
    }
    let all = orthanc.rest("GET", "/instances", b"");

    let _ = orthanc.rest("POST", "/modalities/ours/echo", b"{}");
    let _ = orthanc.rest("POST", "/modalities/ours/store", all.to_string().as_bytes());
    assert_eq!(digests_held(&server), digests_sent(1, 5));

    let study = &orthanc.rest("GET", "/studies", b"")[0];
    let path = format!("/studies/{}", study.as_str().expect("an identifier"));
    let _ = orthanc.rest("DELETE", &path, b"");
    assert_eq!(orthanc.instance_count(), 0);
    let query = json!({ "Level": "Study", "Query": { "PatientID": "TEST00001" } });
    let query = orthanc.rest(
        "POST",
        "/modalities/ours/query",
        query.to_string().as_bytes(),
    );
    let path = query["Path"].as_str().expect("a path");
    let answers = orthanc.rest("GET", &format!("{path}/answers"), b"");
    assert_eq!(answers.as_array().expect("a list").len(), 1);
    let _ = orthanc.rest("POST", &format!("{path}/retrieve"), b"ORTHANC");
    assert_eq!(orthanc.digests(), digests_sent(1, 5));
}

#[test]
fn our_tool_and_our_server_send_to_orthanc_and_it_answers_our_queries() {
    let Some(orthanc) = Orthanc::start(free_port(), 1) else {
        return;
    };
    let server = Server::start(Options {
        remote: vec![orthanc.remote()],
        ..Options::default()
    });
    let sent = server.home().join("sent");
    assert_eq!(write_study(&sent, 1, 4).len(), 4);
    let pacs = |words: &[&str], peer: String, options: &[&str]| {
        let mut pacs = Command::new(workspace::binary("pacs"));
        run(pacs.args(words).arg(peer).args(options))
            .succeeded()
            .text
    };
    let ours = || format!("PACS@{}", server.dicom());
    let theirs = || format!("ORTHANC@127.0.0.1:{}", orthanc.dicom);
    let sent = sent.to_str().expect("UTF-8");
    let study = format!("StudyInstanceUID={}", Slice::new(1, 1).study);

    let _ = pacs(&["store"], ours(), &[sent]);
    let _ = pacs(&["move"], ours(), &["-k", &study, "--to", "ORTHANC"]);

    assert_eq!(orthanc.digests(), digests_sent(1, 4));
    let found = pacs(&["find"], theirs(), &["-k", "PatientID=TEST00001"]);
    assert!(found.contains("TEST00001"), "{found}");
}

/// Orthanc keeps the beginnings of compressed instances in files of their own, which look like
/// instances without pixels.
#[test]
fn the_storage_of_an_orthanc_is_imported_whole_compressed_or_not() {
    for compresses in [false, true] {
        let Some(orthanc) = Orthanc::start_with(free_port(), free_port(), compresses) else {
            return;
        };
        let sent = orthanc.home.path().join("sent");
        for file in write_study(&sent, 1, 5) {
            let content = std::fs::read(file).expect("a file");
            let _ = orthanc.rest("POST", "/instances", &content);
        }
        let mut server = Server::start(Options::default());
        server.stop();
        let data = server.data();
        let storage = orthanc.home.path().join("db");

        let said = run(Command::new(workspace::binary("pacs"))
            .arg("import")
            .arg(&storage)
            .arg("--data")
            .arg(&data)
            .arg("--json"));

        let summary: Value = said
            .text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .find(|line: &Value| line["kind"] == "summary")
            .unwrap_or_else(|| panic!("{}", said.text));
        assert_eq!(summary["imported"], 5, "{}", said.text);
        assert_eq!(summary["conflicts"], 0, "{}", said.text);
        server.restart();
        assert_eq!(digests_held(&server), digests_sent(1, 5));
    }
}
