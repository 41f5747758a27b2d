//! pynetdicom as requestor and as provider: role selection, user identity, C-CANCEL, and its apps.
//!
//! The Python side is `pynetdicom/peer.py`; each command ends with one line of JSON.

use std::path::Path;
use std::process::Command;

use pacs_tests::corpus::digests_below;
use pacs_tests::peers::{self, Listener, free_port, peer_py, python, run};
use pacs_tests::samples::{Slice, digests_sent, write_study};
use pacs_tests::server::{Options, RemoteAe, Server};
use pacs_tests::workspace;
use serde_json::Value;

/// Runs one command of `peer.py` against `server`.
fn peer(python: &Path, server: &Server, command: &str, arguments: &[&str]) -> Value {
    let mut script = peer_py(python);
    script
        .arg(command)
        .arg(server.dicom().ip().to_string())
        .arg(server.dicom().port().to_string());
    run(script.args(arguments)).succeeded().json()
}

/// Stores `count` slices of `study` with `peer.py`.
fn store(python: &Path, server: &Server, study: u32, count: u32) {
    let files = write_study(&server.home().join("sent"), study, count);
    let files: Vec<&str> = files
        .iter()
        .map(|file| file.to_str().expect("UTF-8"))
        .collect();
    let answer = peer(python, server, "store", &files);
    let statuses = answer["statuses"].as_array().expect("statuses");
    assert!(statuses.iter().all(|status| status == 0), "{answer}");
    assert_eq!(statuses.len(), count as usize);
}

fn digests_received(answer: &Value) -> Vec<String> {
    let received = answer["received"].as_array().expect("digests").iter();
    let mut digests: Vec<String> = received
        .map(|digest| digest.as_str().expect("text").to_owned())
        .collect();
    digests.sort();
    digests
}

#[test]
fn echo_is_answered_and_the_association_released() {
    let Some(python) = python() else { return };
    let server = Server::start(Options::default());

    let answer = peer(&python, &server, "echo", &[]);

    assert_eq!(answer["status"], 0);
    assert_eq!(answer["released"], true);
}

#[test]
fn user_identity_and_an_asynchronous_window_are_negotiated_politely() {
    let Some(python) = python() else { return };
    let server = Server::start(Options::default());

    let answer = peer(&python, &server, "identity", &[]);

    assert_eq!(answer["status"], 0);
    // The window may be answered with 1 operation each way or left out; more was not offered.
    let windows = answer["windows"].as_array().expect("a list");
    assert!(
        windows
            .iter()
            .all(|window| *window == serde_json::json!([1, 1])),
        "{answer}"
    );
}

#[test]
fn a_name_and_a_token_are_taken_as_claims_a_passcode_is_none_and_none_is_ever_logged() {
    let Some(python) = python() else { return };
    let server = Server::start(Options {
        environment: vec![("PACS_LOG".to_owned(), "trace".to_owned())],
        ..Options::default()
    });

    // User name alone, Kerberos, SAML and JSON web token (PS3.7 D.3.3.7).
    for kind in ["1", "3", "4", "5"] {
        let answer = peer(&python, &server, "identity", &[kind]);

        assert_eq!(answer["status"], 0, "{answer}");
        let answered = answer["answered"].as_array().expect("a list");
        let says_yes = answered
            .iter()
            .any(|item| item == "UserIdentityNegotiation");
        assert!(!says_yes, "nobody has verified it: {answer}");
    }
    let mut knock = peer_py(&python);
    let address = server.dicom();
    knock.args([
        "knock",
        &address.ip().to_string(),
        &address.port().to_string(),
    ]);
    knock
        .env("DICOM_USER", "somebody")
        .env("DICOM_PASSCODE", "secret");
    let told = run(&mut knock).succeeded().json();
    // Rejected for good, by the service user, no reason given (PS3.8 Table 9-21).
    assert_eq!(told["told"], serde_json::json!([[1, 1, 1]]));
    assert!(server.log().contains("association accepted"));
    assert!(!server.log().contains("secret"), "{}", server.log());
}

#[test]
fn what_it_stores_it_finds_at_patient_study_series_and_image_level() {
    let Some(python) = python() else { return };
    let server = Server::start(Options::default());
    store(&python, &server, 1, 3);
    store(&python, &server, 2, 1);

    let find = |level: &str, keys: &[&str]| {
        let mut arguments = vec![level];
        arguments.extend(keys);
        let answer = peer(&python, &server, "find", &arguments);
        assert_eq!(answer["status"], 0, "{answer}");
        answer["matches"].as_array().expect("matches").clone()
    };

    let study = Slice::new(1, 1).study;
    let by_study = format!("StudyInstanceUID={study}");
    let patients = find("PATIENT", &["PatientID=", "PatientName=test^patient*"]);
    assert_eq!(patients.len(), 2);
    let studies = find(
        "STUDY",
        &[
            "PatientID=TEST00001",
            "StudyInstanceUID=",
            "ModalitiesInStudy=",
        ],
    );
    assert_eq!(studies[0]["StudyInstanceUID"], study.as_str());
    let series = find("SERIES", &[&by_study, "SeriesInstanceUID=", "Modality="]);
    assert_eq!(series[0]["Modality"], "CT");
    let by_series = format!("SeriesInstanceUID={}", Slice::new(1, 1).series);
    assert_eq!(
        find("IMAGE", &[&by_study, &by_series, "SOPInstanceUID="]).len(),
        3
    );
}

#[test]
fn a_list_of_uids_finds_each_of_them() {
    let Some(python) = python() else { return };
    let server = Server::start(Options::default());
    for study in 1..=3 {
        store(&python, &server, study, 1);
    }
    let list = format!(
        "StudyInstanceUID={}\\{}",
        Slice::new(1, 1).study,
        Slice::new(3, 1).study
    );

    let answer = peer(&python, &server, "find", &["STUDY", &list]);

    assert_eq!(answer["matches"].as_array().expect("matches").len(), 2);
}

#[test]
fn a_find_that_is_cancelled_ends_and_the_association_lives_on() {
    let Some(python) = python() else { return };
    let server = Server::start(Options::default());
    for study in 1..=20 {
        store(&python, &server, study, 1);
    }

    let answer = peer(&python, &server, "cancel_find", &[]);

    // PS3.4 C.4.1.3.2: it may have been complete before the C-CANCEL arrived.
    assert!(
        answer["status"] == 0xFE00 || answer["status"] == 0,
        "{answer}"
    );
    assert_eq!(answer["alive"], true);
}

#[test]
fn get_with_role_selection_brings_every_slice_as_it_was_sent() {
    let Some(python) = python() else { return };
    let server = Server::start(Options::default());
    store(&python, &server, 1, 5);

    let answer = peer(&python, &server, "get", &[&Slice::new(1, 1).study]);

    assert_eq!(answer["status"], 0, "{answer}");
    assert_eq!(answer["completed"], 5);
    assert_eq!(digests_received(&answer), digests_sent(1, 5));
}

#[test]
fn get_without_role_selection_fails_with_the_reason() {
    let Some(python) = python() else { return };
    let server = Server::start(Options::default());
    store(&python, &server, 1, 2);

    let answer = peer(
        &python,
        &server,
        "get_without_role",
        &[&Slice::new(1, 1).study],
    );

    assert_ne!(answer["status"], 0, "{answer}");
    assert_eq!(answer["failed"], 2, "{answer}");
}

#[test]
fn a_get_that_is_cancelled_stops_and_tells_what_remains() {
    let Some(python) = python() else { return };
    let server = Server::start(Options::default());
    store(&python, &server, 1, 40);

    let answer = peer(&python, &server, "cancel_get", &[&Slice::new(1, 1).study]);

    assert_eq!(answer["status"], 0xFE00, "{answer}");
    assert!(
        answer["remaining"].as_u64().expect("a number") > 0,
        "{answer}"
    );
    assert_eq!(answer["alive"], true);
}

fn server_that_knows_pynetdicom(port: u16) -> Server {
    let address = ([127, 0, 0, 1], port).into();
    let remote = vec![RemoteAe::new("PYNETDICOM", address)];
    Server::start(Options {
        remote,
        ..Options::default()
    })
}

#[test]
fn move_brings_every_slice_as_it_was_sent() {
    let Some(python) = python() else { return };
    let port = free_port();
    let server = server_that_knows_pynetdicom(port);
    store(&python, &server, 1, 5);

    let arguments = [Slice::new(1, 1).study, port.to_string()];
    let answer = peer(&python, &server, "move", &[&arguments[0], &arguments[1]]);

    assert_eq!(answer["status"], 0, "{answer}");
    assert_eq!(answer["completed"], 5);
    assert_eq!(digests_received(&answer), digests_sent(1, 5));
}

#[test]
fn a_move_that_is_cancelled_stops() {
    let Some(python) = python() else { return };
    let port = free_port();
    let server = server_that_knows_pynetdicom(port);
    store(&python, &server, 1, 60);

    let arguments = [Slice::new(1, 1).study, port.to_string()];
    let answer = peer(
        &python,
        &server,
        "cancel_move",
        &[&arguments[0], &arguments[1]],
    );

    assert_eq!(answer["status"], 0xFE00, "{answer}");
    assert!(digests_received(&answer).len() < 60, "{answer}");
    assert_eq!(answer["alive"], true);
}

#[test]
fn our_tool_sends_to_a_pynetdicom_provider() {
    let Some(python) = python() else { return };
    let folder = workspace::temporary_folder();
    let sent = folder.path().join("sent");
    let received = folder.path().join("received");
    std::fs::create_dir_all(&received).expect("a folder");
    assert_eq!(write_study(&sent, 1, 5).len(), 5);
    let port = free_port();
    let mut listen = Command::new(&python);
    listen
        .arg(workspace::root().join("tests/pynetdicom/peer.py"))
        .arg("listen");
    let listener = Listener::start(listen.arg(port.to_string()).arg(&received), port);
    let address = format!("PYNETDICOM@{}", listener.address());

    let pacs = || Command::new(workspace::binary("pacs"));
    let _ = run(pacs().arg("echo").arg(&address)).succeeded();
    let _ = run(pacs().arg("store").arg(&address).arg(&sent)).succeeded();

    let mut digests: Vec<String> = peers::files_below(&received)
        .iter()
        .map(|file| std::fs::read_to_string(file).expect("a digest"))
        .collect();
    digests.sort();
    assert_eq!(digests, digests_sent(1, 5));
}

/// pynetdicom looks at nobody's passcode where its application does not, and says nothing of it.
#[test]
fn our_tool_leaves_a_peer_that_does_not_say_that_it_knows_the_user() {
    let Some(python) = python() else { return };
    let folder = workspace::temporary_folder();
    let passcode = folder.path().join("passcode");
    std::fs::write(&passcode, "canary\n").expect("a file");
    let port = free_port();
    let mut listen = peer_py(&python);
    listen.arg("listen").arg(port.to_string());
    let listener = Listener::start(listen.arg(folder.path()), port);
    let echo = |user: &[&str], file: &Path| {
        let mut echo = Command::new(workspace::binary("pacs"));
        echo.args(["echo", &format!("PYNETDICOM@{}", listener.address())]);
        run(echo.args(user).arg("--passcode-file").arg(file))
    };

    let left = echo(&["--user", "reader"], &passcode);
    assert!(
        !left.success && left.text.contains("knows the user"),
        "{}",
        left.text
    );
    let no_file = echo(&["--user", "reader"], &folder.path().join("none"));
    assert!(no_file.text.contains("--passcode-file"), "{}", no_file.text);
    let no_user = echo(&[], &passcode);
    assert!(no_user.text.contains("--user"), "{}", no_user.text);
    for said in [left, no_file, no_user] {
        assert!(
            !said.success && !said.text.contains("canary"),
            "{}",
            said.text
        );
    }
}

/// An app of pynetdicom.
fn app(python: &Path, name: &str) -> Command {
    let mut app = Command::new(python);
    app.args(["-m", "pynetdicom", name]);
    app
}

/// An app of pynetdicom that asks `server`; what it said.
fn asks(python: &Path, server: &Server, name: &str, options: &[&str]) -> String {
    let mut app = app(python, name);
    app.arg(server.dicom().ip().to_string());
    app.arg(server.dicom().port().to_string());
    run(app.args(["-aec", "PACS"]).args(options))
        .succeeded()
        .text
}

/// What begins a study level query of the Study Root.
const LEVEL: [&str; 3] = ["-S", "-k", "QueryRetrieveLevel=STUDY"];

#[test]
fn the_apps_of_pynetdicom_echo_store_find_and_get() {
    let Some(python) = python() else { return };
    let server = Server::start(Options::default());
    let sent = server.home().join("sent");
    assert_eq!(write_study(&sent, 1, 3).len(), 3);
    let received = server.home().join("received");
    std::fs::create_dir_all(&received).expect("a folder");
    let study = format!("StudyInstanceUID={}", Slice::new(1, 1).study);
    let sent = sent.to_str().expect("UTF-8");
    let of_study = [&LEVEL[..], &["-k", &study]].concat();
    let out = received.to_str().expect("UTF-8");
    let _ = asks(&python, &server, "echoscu", &[]);
    let _ = asks(&python, &server, "storescu", &[sent, "-r"]);
    let patient = [&of_study[..], &["-k", "PatientID="]].concat();
    let found = asks(&python, &server, "findscu", &patient);
    let into = [&of_study[..], &["-od", out]].concat();
    let _ = asks(&python, &server, "getscu", &into);

    assert!(found.contains("TEST00001"), "{found}");
    assert_eq!(digests_below(&received), digests_sent(1, 3));
}

#[test]
fn movescu_of_pynetdicom_has_every_slice_sent_to_its_storescp() {
    let Some(python) = python() else { return };
    let folder = workspace::temporary_folder();
    let received = folder.path().join("received");
    std::fs::create_dir_all(&received).expect("a folder");
    let port = free_port();
    let mut storescp = app(&python, "storescp");
    storescp.args([&port.to_string(), "-aet", "PYNETDICOM", "-od"]);
    let _storescp = Listener::start(storescp.arg(&received), port);
    let server = server_that_knows_pynetdicom(port);
    store(&python, &server, 1, 4);

    let study = format!("StudyInstanceUID={}", Slice::new(1, 1).study);
    let to = ["-aem", "PYNETDICOM", "-k", &study];
    let _ = asks(&python, &server, "movescu", &[&LEVEL[..], &to].concat());

    assert_eq!(digests_below(&received), digests_sent(1, 4));
}

#[test]
fn our_server_moves_to_a_qrscp_of_pynetdicom_and_our_tool_gets_it_from_there() {
    let Some(python) = python() else { return };
    let port = free_port();
    let server = server_that_knows_pynetdicom(port);
    store(&python, &server, 1, 3);
    let folder = workspace::temporary_folder();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(path("instances")).expect("a folder");
    let config = format!(
        "[DEFAULT]\nae_title: PYNETDICOM\nport: {port}\nmax_pdu: 16382\nacse_timeout: 30\n\
         dimse_timeout: 30\nnetwork_timeout: 60\nbind_address: 127.0.0.1\n\
         log_identifier: False\ninstance_location: {}\ndatabase_location: {}\n",
        path("instances").display(),
        path("index.sqlite").display(),
    );
    std::fs::write(path("qrscp.ini"), config).expect("a file");
    let mut qrscp = app(&python, "qrscp");
    let qrscp = Listener::start(qrscp.arg("-c").arg(path("qrscp.ini")), port);

    let pacs = |words: &[&str], peer: String| {
        let mut pacs = Command::new(workspace::binary("pacs"));
        let (verb, options) = words.split_first().expect("a verb");
        run(pacs.arg(verb).arg(peer).args(options)).succeeded().text
    };
    let theirs = || format!("PYNETDICOM@{}", qrscp.address());
    let study = format!("StudyInstanceUID={}", Slice::new(1, 1).study);
    let ours = format!("PACS@{}", server.dicom());
    let _ = pacs(&["move", "-k", &study, "--to", "PYNETDICOM"], ours);
    let found = pacs(&["find", "-k", "PatientID=TEST00001"], theirs());
    assert!(found.contains("TEST00001"), "{found}");
    let out = path("out");
    let out_text = out.to_str().expect("UTF-8");
    let _ = pacs(&["get", "-k", &study, "--out", out_text], theirs());

    assert_eq!(digests_below(&out), digests_sent(1, 3));
}
