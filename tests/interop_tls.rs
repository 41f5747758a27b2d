//! Foreign peers over TLS, in both directions, with and without client certificates: DCMTK, and
//! pynetdicom over Python's ssl.

use std::path::{Path, PathBuf};
use std::process::Command;

use pacs_tests::certificates::{Certificate, Hospital, Wanted, ae};
use pacs_tests::corpus::digests_below;
use pacs_tests::peers::{
    self, Listener, Said, dcmtk, files_below, free_port, has_dcmtk, peer_py, run,
};
use pacs_tests::samples::{Slice, digests_sent, write_study};
use pacs_tests::server::Server;
use pacs_tests::wire::uid;
use pacs_tests::workspace;
use serde_json::Value;

/// How DCMTK is to speak TLS: with a certificate of its own or without, trusting `authority`.
fn dcmtk_tls(own: Option<&Certificate>, authority: &str) -> Vec<String> {
    let mut options = match own {
        // DCMTK wants the key first.
        Some(own) => {
            let [certificate, key] = own.files();
            vec!["+tls".to_owned(), key.to_owned(), certificate.to_owned()]
        }
        None => vec!["+tla".to_owned()],
    };
    options.extend(["+cf".to_owned(), authority.to_owned()]);
    options
}

/// A DCMTK command against the TLS port of `server`.
fn to_server(command: &str, server: &Server, tls: &[String], options: &[&str]) -> Command {
    let mut dcmtk = dcmtk(command);
    dcmtk.args(["-aec", "PACS"]).args(tls).args(options);
    let address = server.dicom_tls();
    dcmtk
        .arg(address.ip().to_string())
        .arg(address.port().to_string());
    dcmtk
}

const STUDY_LEVEL: [&str; 3] = ["-S", "-k", "QueryRetrieveLevel=STUDY"];

fn study() -> String {
    format!("StudyInstanceUID={}", Slice::new(1, 1).study)
}

/// The study by a DCMTK command that knows no TLS, over the plain port of `server`.
fn over_plain(command: &str, server: &Server, options: &[&str]) -> Said {
    let study = study();
    let mut dcmtk = dcmtk(command);
    dcmtk.args(["-aec", "PACS"]).args(STUDY_LEVEL);
    dcmtk.args(["-k", &study]).args(options);
    let address = server.dicom();
    dcmtk.arg(address.ip().to_string());
    run(dcmtk.arg(address.port().to_string()))
}

/// Echo, store and find by DCMTK over TLS; what the server holds then is what was sent.
fn dcmtk_does_everything(server: &Server, tls: &[String]) {
    let sent = write_study(&server.home().join("sent"), 1, 5);
    let received = workspace::temporary_folder();
    let folder = received.path().to_str().expect("UTF-8");
    let study = study();

    let _ = run(&mut to_server("echoscu", server, tls, &[])).succeeded();
    let mut storescu = to_server("storescu", server, tls, &[]);
    let _ = run(storescu.args(sent)).succeeded();
    let by_study = [&STUDY_LEVEL[..], &["-k", &study]].concat();
    let findscu = [&by_study[..], &["-k", "PatientID"]].concat();
    let found = run(&mut to_server("findscu", server, tls, &findscu)).succeeded();
    let _ = over_plain("getscu", server, &["+B", "-od", folder]).succeeded();

    assert!(found.text.contains("TEST00001"), "{}", found.text);
    assert_eq!(digests_below(received.path()), digests_sent(1, 5));
}

#[test]
fn dcmtk_echoes_stores_and_finds_anonymously() {
    if !has_dcmtk() {
        return;
    }
    let hospital = Hospital::new();
    let server = hospital.start("off", "");

    dcmtk_does_everything(&server, &dcmtk_tls(None, hospital.trusted.file()));
}

#[test]
fn dcmtk_echoes_stores_and_finds_with_a_client_certificate() {
    if !has_dcmtk() {
        return;
    }
    let hospital = Hospital::new();
    let own = hospital.trusted.make(&Wanted::new("dcmtk"));
    let server = hospital.start("required", "");

    dcmtk_does_everything(&server, &dcmtk_tls(Some(&own), hospital.trusted.file()));

    assert!(server.log().contains("CN=dcmtk"), "{}", server.log());
}

#[test]
fn dcmtk_without_a_certificate_that_is_trusted_gets_no_connection_where_one_is_required() {
    if !has_dcmtk() {
        return;
    }
    let hospital = Hospital::new();
    let unknown = hospital.stranger.make(&Wanted::new("unknown"));
    let expired = hospital.trusted.make(&Wanted {
        year: 2002,
        ..Wanted::new("expired")
    });
    let server = hospital.start("required", "");

    for own in [None, Some(&unknown), Some(&expired)] {
        let tls = dcmtk_tls(own, hospital.trusted.file());
        let said = run(&mut to_server("echoscu", &server, &tls, &[]));

        assert!(!said.success, "{own:?}: {}", said.text);
    }
    for reason in ["shown no certificate", "not trusted", "has expired"] {
        server.wait_for_log(reason);
    }
    let (_, metrics) = server.get("/metrics");
    assert!(
        metrics.contains("pacs_tls_handshakes_failed_total{reason=\"expired\"} 1"),
        "{metrics}"
    );
}

#[test]
fn dcmtk_that_does_not_trust_our_authority_does_not_connect() {
    if !has_dcmtk() {
        return;
    }
    let hospital = Hospital::new();
    let server = hospital.start("off", "");

    let tls = dcmtk_tls(None, hospital.stranger.file());
    let said = run(&mut to_server("echoscu", &server, &tls, &[]));

    assert!(!said.success, "{}", said.text);
}

/// A storescp with TLS that writes to `folder`; it demands a certificate from us.
fn storescp(hospital: &Hospital, own: &Certificate, folder: &Path) -> Listener {
    let port = free_port();
    let mut storescp = dcmtk("storescp");
    storescp
        .args(dcmtk_tls(Some(own), hospital.trusted.file()))
        .args(["+B", "-od"])
        .arg(folder)
        .arg(port.to_string());
    Listener::start(&mut storescp, port)
}

#[test]
fn movescu_has_every_slice_sent_over_tls_to_a_storescp_that_demands_our_certificate() {
    if !has_dcmtk() {
        return;
    }
    let hospital = Hospital::new();
    let own = hospital.trusted.make(&Wanted::new("dcmtk"));
    let received = workspace::temporary_folder();
    let storescp = storescp(&hospital, &own, received.path());
    let table = ae("DCMTK", storescp.address(), "tls = true");
    let server = hospital.start("required", &table);
    let tls = dcmtk_tls(Some(&own), hospital.trusted.file());
    let sent = write_study(&server.home().join("sent"), 1, 5);
    let mut storescu = to_server("storescu", &server, &tls, &[]);
    let _ = run(storescu.args(sent)).succeeded();

    let said = over_plain("movescu", &server, &["-aem", "DCMTK"]).succeeded();

    assert!(!said.text.contains("Failed"), "{}", said.text);
    assert_eq!(digests_below(received.path()), digests_sent(1, 5));
}

#[test]
fn nothing_is_sent_to_a_storescp_whose_certificate_is_not_the_one_of_the_table() {
    if !has_dcmtk() {
        return;
    }
    let hospital = Hospital::new();
    let own = hospital.trusted.make(&Wanted::new("dcmtk"));
    let received = workspace::temporary_folder();
    let storescp = storescp(&hospital, &own, received.path());
    // One by another authority, one for another name, one that is not pinned.
    let tables = [
        format!("tls = true\ntls_ca = \"{}\"", hospital.stranger.file()),
        "tls = true\ntls_name = \"dcmtk.example\"".to_owned(),
        format!("tls = true\ncertificate_sha256 = [\"{}\"]", "0a".repeat(32)),
    ];
    for table in tables {
        let server = hospital.start("optional", &ae("DCMTK", storescp.address(), &table));
        let tls = dcmtk_tls(None, hospital.trusted.file());
        let sent = write_study(&server.home().join("sent"), 1, 2);
        let mut storescu = to_server("storescu", &server, &tls, &[]);
        let _ = run(storescu.args(sent)).succeeded();

        let said = over_plain("movescu", &server, &["-d", "-aem", "DCMTK"]);

        assert!(said.text.contains("0xa702"), "{table}: {}", said.text);
        assert!(files_below(received.path()).is_empty(), "{table}");
    }
}

/// Our tool against `peer`.
fn pacs(words: &[&str], peer: &Listener, options: &[&str]) -> Said {
    let peer = format!("DCMTK@{}", peer.address());
    let mut pacs = Command::new(workspace::binary("pacs"));
    run(pacs.args(words).arg(peer).arg("--tls").args(options))
}

#[test]
fn our_tool_sends_over_tls_to_a_storescp_and_says_what_is_wrong_with_its_certificate() {
    if !has_dcmtk() {
        return;
    }
    let hospital = Hospital::new();
    let [trusted, stranger] = [hospital.trusted.file(), hospital.stranger.file()];
    let peer = hospital.trusted.make(&Wanted::new("dcmtk"));
    let expired = hospital.trusted.make(&Wanted {
        year: 2002,
        ..Wanted::new("expired")
    });
    let own = hospital.trusted.make(&Wanted::new("tool"));
    let [certificate, key] = own.files();
    let own = ["--tls-cert", certificate, "--tls-key", key];
    let received = workspace::temporary_folder();
    let sent = write_study(&hospital.folder().join("sent"), 1, 3);
    let sent = sent[0].parent().and_then(Path::to_str).expect("a folder");
    let storescp_of = |of: &Certificate| storescp(&hospital, of, received.path());
    let right = storescp_of(&peer);

    let with_ca = [&own[..], &["--tls-ca", trusted]].concat();
    let with_pin = [&own[..], &["--tls-sha256", &peer.sha256]].concat();
    let _ = pacs(&["echo"], &right, &with_ca).succeeded();
    let _ = pacs(&["echo"], &right, &with_pin).succeeded();
    let stored = [&with_ca[..], &[sent]].concat();
    let _ = pacs(&["store"], &right, &stored).succeeded();

    assert_eq!(digests_below(received.path()), digests_sent(1, 3));
    let fails = |peer: &Listener, options: &[&str], reason: &str| {
        let said = pacs(&["echo"], peer, options);
        assert!(said.text.contains("TLS: "), "{}", said.text);
        assert!(said.text.contains(reason), "{reason}: {}", said.text);
    };
    let not_trusted = [&own[..], &["--tls-ca", stranger]].concat();
    fails(&right, &not_trusted, "not trusted");
    let other_name = [&with_ca[..], &["--tls-name", "other.example"]].concat();
    fails(&right, &other_name, "another name");
    let other_pin = "0a".repeat(32);
    let other_pin = [&own[..], &["--tls-sha256", &other_pin]].concat();
    fails(&right, &other_pin, "not the one that is pinned");
    fails(&right, &["--tls-ca", trusted], "the peer refuses");
    fails(&storescp_of(&expired), &with_ca, "has expired");
}

/// `peer.py` with TLS, one version of it only.
struct Pynetdicom {
    python: PathBuf,
    authority: String,
    own: Option<Certificate>,
    version: &'static str,
}

impl Pynetdicom {
    fn script(&self, words: &[&str]) -> Command {
        let mut script = peer_py(&self.python);
        script
            .args(words)
            .env("TLS_CA", &self.authority)
            .env("TLS_VERSION", self.version);
        if let Some(own) = &self.own {
            script.env("TLS_CERT", &own.file).env("TLS_KEY", &own.key);
        }
        script
    }

    fn run(&self, command: &str, server: &Server, arguments: &[&str]) -> Said {
        let address = server.dicom_tls();
        let mut script = self.script(&[command]);
        script
            .arg(address.ip().to_string())
            .arg(address.port().to_string());
        run(script.args(arguments))
    }

    fn answer(&self, command: &str, server: &Server, arguments: &[&str]) -> Value {
        self.run(command, server, arguments).succeeded().json()
    }
}

#[test]
fn pynetdicom_stores_and_moves_to_itself_in_either_version_with_and_without_certificates() {
    let Some(python) = peers::python() else {
        return;
    };
    let hospital = Hospital::new();
    let own = hospital.trusted.make(&Wanted::new("pynetdicom"));
    let files: Vec<PathBuf> = write_study(&hospital.folder().join("sent"), 1, 4);
    let files: Vec<&str> = files.iter().filter_map(|file| file.to_str()).collect();
    for version in ["1.2", "1.3"] {
        let port = free_port();
        let bound = format!("tls = true\ncertificate_sha256 = [\"{}\"]", own.sha256);
        let address = ([127, 0, 0, 1], port).into();
        let table = ae("PYNETDICOM", address, &bound);
        let server = hospital.start("required", &table);
        let peer = Pynetdicom {
            python: python.clone(),
            authority: hospital.trusted.file().to_owned(),
            own: Some(own.clone()),
            version,
        };

        assert_eq!(peer.answer("echo", &server, &[])["released"], true);
        let stored = peer.answer("store", &server, &files);
        let (study, port) = (Slice::new(1, 1).study, port.to_string());
        let moved = peer.answer("move", &server, &[&study, &port]);

        assert_eq!(stored["statuses"], serde_json::json!([0, 0, 0, 0]));
        assert_eq!(moved["completed"], 4, "{version}: {moved}");
        let anonymous = Pynetdicom { own: None, ..peer };
        let refused = anonymous.run("echo", &server, &[]);
        assert!(!refused.success, "{version}: {}", refused.text);
        let open = hospital.start("off", "");
        assert_eq!(anonymous.answer("echo", &open, &[])["status"], 0);
    }
}

#[test]
fn a_pynetdicom_that_speaks_an_older_version_than_is_set_does_not_connect() {
    let Some(python) = peers::python() else {
        return;
    };
    let hospital = Hospital::new();
    let server = hospital.start("off", "minimum_version = \"1.3\"");
    let peer = |version| Pynetdicom {
        python: python.clone(),
        authority: hospital.trusted.file().to_owned(),
        own: None,
        version,
    };

    assert_eq!(peer("1.3").answer("echo", &server, &[])["status"], 0);
    assert!(!peer("1.2").run("echo", &server, &[]).success);
    server.wait_for_log("protocol version");
}

#[test]
fn our_tool_sends_over_tls_to_a_pynetdicom_provider() {
    let Some(python) = peers::python() else {
        return;
    };
    let hospital = Hospital::new();
    let own = hospital.trusted.make(&Wanted::new("tool"));
    let [certificate, key] = own.files();
    let sent = hospital.folder().join("sent");
    assert_eq!(write_study(&sent, 1, 3).len(), 3);
    for version in ["1.2", "1.3"] {
        let peer = Pynetdicom {
            python: python.clone(),
            authority: hospital.trusted.file().to_owned(),
            own: Some(hospital.trusted.make(&Wanted::new("pynetdicom"))),
            version,
        };
        let received = workspace::temporary_folder();
        let port = free_port();
        let mut listen = peer.script(&["listen", &port.to_string()]);
        let listener = Listener::start(listen.arg(received.path()), port);
        let tls = ["--tls-ca", hospital.trusted.file()];
        let own = ["--tls-cert", certificate, "--tls-key", key];
        let options = [&tls[..], &own, &[sent.to_str().expect("UTF-8")]].concat();

        let _ = pacs(&["store"], &listener, &options).succeeded();

        assert_eq!(files_below(received.path()).len(), 3, "{version}");
        let refused = pacs(&["echo"], &listener, &tls);
        assert!(
            refused.text.contains("TLS: the peer refuses"),
            "{}",
            refused.text
        );
    }
}

/// Three slices in `server`, and pynetdicom as `PYNETDICOM` with a certificate of its own.
fn pynetdicom_with(python: PathBuf, hospital: &Hospital, version: &'static str) -> Pynetdicom {
    Pynetdicom {
        python,
        authority: hospital.trusted.file().to_owned(),
        own: Some(hospital.trusted.make(&Wanted::new("pynetdicom"))),
        version,
    }
}

/// The first three slices of study 1 as files, and as `peer.py` names them.
fn three_slices(hospital: &Hospital) -> (Vec<String>, Vec<String>) {
    let files = write_study(&hospital.folder().join("sent"), 1, 3);
    let files = files
        .iter()
        .map(|file| file.to_str().expect("UTF-8").to_owned());
    let instances = (1..=3).map(|number| Slice::new(1, number).instance);
    let references = instances.map(|instance| format!("{}={instance}", uid::CT_IMAGE_STORAGE));
    (files.collect(), references.collect())
}

fn words<'a>(first: &[&'a str], rest: &'a [String]) -> Vec<&'a str> {
    let rest = rest.iter().map(String::as_str);
    first.iter().copied().chain(rest).collect()
}

#[test]
fn commitment_is_asked_for_over_tls_and_reported_there_and_over_an_association_by_tls() {
    let Some(python) = peers::python() else {
        return;
    };
    let hospital = Hospital::new();
    let (files, references) = three_slices(&hospital);
    for version in ["1.2", "1.3"] {
        let peer = pynetdicom_with(python.clone(), &hospital, version);
        let pin = peer.own.as_ref().map(|own| own.sha256.as_str());
        let pin = pin.expect("a certificate");
        let port = free_port();
        let bound = format!("tls = true\ncertificate_sha256 = [\"{pin}\"]");
        let table = ae("PYNETDICOM", ([127, 0, 0, 1], port).into(), &bound);
        let server = hospital.start("required", &table);
        let _ = peer.answer("store", &server, &words(&[], &files));
        let port = port.to_string();

        let here = peer.answer("commit_here", &server, &words(&["2.25.1"], &references));
        let elsewhere = words(&[&port, "2.25.2"], &references);
        let elsewhere = peer.answer("commit_elsewhere", &server, &elsewhere);

        for (told, transaction) in [(&here, "2.25.1"), (&elsewhere, "2.25.2")] {
            let report = &told["reports"][0];
            assert_eq!(report["transaction"], transaction, "{version}: {told}");
            let committed = report["committed"].as_array().map(Vec::len);
            assert_eq!(committed, Some(3), "{version}: {told}");
        }
        assert_eq!(elsewhere["roles"][0][2], true, "{elsewhere}");
    }
}

#[test]
fn a_report_is_not_brought_to_whoever_has_another_certificate_than_the_table_says() {
    let Some(python) = peers::python() else {
        return;
    };
    let hospital = Hospital::new();
    let (files, references) = three_slices(&hospital);
    let peer = pynetdicom_with(python, &hospital, "1.3");
    let port = free_port();
    let other = "tls = true\ntls_name = \"console.example\"";
    let table = ae("PYNETDICOM", ([127, 0, 0, 1], port).into(), other);
    let server = hospital.start("required", &table);
    let _ = peer.answer("store", &server, &words(&[], &files));
    let to = server.dicom_tls();
    let (host, to, own) = (to.ip().to_string(), to.port().to_string(), port.to_string());
    let asking = words(
        &["commit_elsewhere", &host, &to, &own, "2.25.1"],
        &references,
    );

    let waiting = Listener::start(&mut peer.script(&asking), port);
    server.wait_for_log("storage commitment reports could not be brought");

    let log = server.log();
    assert!(log.contains("another name"), "{log}");
    let (_, metrics) = server.get("/metrics");
    assert!(metrics.contains("pacs_commitments_open 1"), "{metrics}");
    drop(waiting);
}

#[test]
fn our_tool_finds_gets_and_moves_over_tls_from_a_pynetdicom_provider() {
    let Some(python) = peers::python() else {
        return;
    };
    let hospital = Hospital::new();
    let (files, _) = three_slices(&hospital);
    let own = hospital.trusted.make(&Wanted::new("tool"));
    let [certificate, key] = own.files();
    let tls = [
        "--tls-ca",
        hospital.trusted.file(),
        "--tls-cert",
        certificate,
        "--tls-key",
        key,
    ];
    for version in ["1.2", "1.3"] {
        let peer = pynetdicom_with(python.clone(), &hospital, version);
        let sink = hospital.start("required", "");
        let to = sink.dicom_tls().port().to_string();
        let port = free_port();
        let provide = ["provide_retrieval", &port.to_string(), &to].map(str::to_owned);
        let provide = [&provide[..], &files].concat();
        let provider = Listener::start(&mut peer.script(&words(&[], &provide)), port);
        let received = workspace::temporary_folder();
        let study = study();
        let of_study = [&tls[..], &["-k", &study]].concat();

        let asked = [&of_study[..], &["-k", "PatientID"]].concat();
        let found = pacs(&["find"], &provider, &asked).succeeded();
        let out = received.path().to_str().expect("UTF-8");
        let got = [&of_study[..], &["--out", out]].concat();
        let _ = pacs(&["get"], &provider, &got).succeeded();
        let moved = [&of_study[..], &["--to", "PACS"]].concat();
        let _ = pacs(&["move"], &provider, &moved).succeeded();

        assert!(
            found.text.contains("TEST00001"),
            "{version}: {}",
            found.text
        );
        assert_eq!(
            digests_below(received.path()),
            digests_sent(1, 3),
            "{version}"
        );
        let arrived = workspace::temporary_folder();
        let folder = arrived.path().to_str().expect("UTF-8");
        let there = format!("PACS@{}", sink.dicom());
        let mut get = Command::new(workspace::binary("pacs"));
        get.args(["get", &there, "-k", &study, "--out", folder]);
        let _ = run(&mut get).succeeded();
        assert_eq!(
            digests_below(arrived.path()),
            digests_sent(1, 3),
            "{version}"
        );
    }
}
