//! Storage commitment with foreign peers: pynetdicom and dcmjs-dimse as users of ours, on the same
//! association and on another; our tool with pynetdicom as provider, and with our own server.

use std::path::Path;
use std::process::Command;

use pacs_tests::peers::{Listener, free_port, node, peer_py, python, run};
use pacs_tests::samples::{Slice, write_study};
use pacs_tests::server::{Options, RemoteAe, Server};
use pacs_tests::workspace;
use serde_json::Value;

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";

fn pynetdicom(python: &Path, arguments: &[&str]) -> Value {
    run(peer_py(python).args(arguments)).succeeded().json()
}

fn dcmjs(modules: &Path, arguments: &[&str]) -> Value {
    let script = workspace::root().join("tests/dcmjs/peer.cjs");
    let mut command = Command::new("node");
    command
        .env("NODE_PATH", modules)
        .arg(script)
        .args(arguments);
    run(&mut command).succeeded().json()
}

/// A server that holds three slices of study 1 and knows `title` at `port`.
fn server_with_three(title: &str, port: u16) -> Server {
    let server = Server::start(Options {
        remote: vec![RemoteAe::new(title, ([127, 0, 0, 1], port).into())],
        ..Options::default()
    });
    let sent = server.home().join("sent");
    assert_eq!(write_study(&sent, 1, 3).len(), 3);
    let mut store = Command::new(workspace::binary("pacs"));
    store.arg("store").arg(server.dicom().to_string()).arg(sent);
    assert!(run(&mut store).success);
    server
}

/// The three slices, and one that nobody has.
fn references() -> Vec<String> {
    let known = (1..=3).map(|number| format!("{CT}={}", Slice::new(1, number).instance));
    known.chain([format!("{CT}=2.25.404")]).collect()
}

fn assert_three_committed_and_one_not(answer: &Value) {
    assert_eq!(answer["status"], 0, "{answer}");
    let reports = answer["reports"].as_array().expect("reports");
    assert_eq!(reports.len(), 1, "{answer}");
    let report = &reports[0];
    assert_eq!(report["event_type"], 2, "{answer}");
    assert_eq!(report["transaction"], "2.25.1", "{answer}");
    let committed = report["committed"].as_array().expect("a list");
    assert_eq!(committed.len(), 3, "{answer}");
    assert_eq!(report["failed"]["2.25.404"], 0x0112, "{answer}");
}

/// Asks with `peer` on the same association and on another.
fn ask_both_ways(title: &str, peer: impl Fn(&[&str]) -> Value) {
    let own_port = free_port();
    let server = server_with_three(title, own_port);
    let port = server.dicom().port().to_string();
    let own_port = own_port.to_string();
    let references = references();
    let references: Vec<&str> = references.iter().map(String::as_str).collect();

    let here = ["commit_here", "127.0.0.1", &port, "2.25.1"];
    let here = peer(&[&here[..], &references].concat());
    assert_three_committed_and_one_not(&here);

    let elsewhere = ["commit_elsewhere", "127.0.0.1", &port, &own_port, "2.25.1"];
    let elsewhere = peer(&[&elsewhere[..], &references].concat());
    assert_three_committed_and_one_not(&elsewhere);
    if let Some(roles) = elsewhere["roles"].as_array() {
        let expected = serde_json::json!([["1.2.840.10008.1.20.1", false, true]]);
        assert_eq!(Value::from(roles.clone()), expected);
    }
    server.wait_for_log("a storage commitment report was taken");
}

#[test]
fn pynetdicom_is_told_on_the_same_association_and_on_another() {
    let Some(python) = python() else { return };

    ask_both_ways("PYNETDICOM", |arguments| pynetdicom(&python, arguments));
}

#[test]
fn dcmjs_dimse_is_told_on_the_same_association_and_on_another() {
    let Some(modules) = node() else { return };

    ask_both_ways("DCMJS", |arguments| dcmjs(&modules, arguments));
}

/// pynetdicom as a provider that reports as `how` says, to `peer_port`.
fn provider(python: &Path, how: &str, peer_port: u16) -> Listener {
    let port = free_port();
    let mut provide = peer_py(python);
    provide
        .arg("provide_commitment")
        .args([&port.to_string(), how, &peer_port.to_string()]);
    Listener::start(&mut provide, port)
}

fn pacs_commit(arguments: &[&str]) -> (Option<i32>, Vec<Value>, String) {
    let mut pacs = Command::new(workspace::binary("pacs"));
    let output = pacs.arg("commit").arg("--json").args(arguments).output();
    let output = output.expect("pacs runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), lines.collect(), errors)
}

fn of_kind<'v>(lines: &'v [Value], kind: &str) -> Vec<&'v Value> {
    lines.iter().filter(|line| line["kind"] == kind).collect()
}

#[test]
fn our_tool_takes_the_report_of_pynetdicom_on_either_association() {
    let Some(python) = python() else { return };
    let own_port = free_port();
    let (good, bad) = (format!("{CT}=2.25.7"), format!("{CT}=2.25.404"));
    for how in ["here", "elsewhere"] {
        let provider = provider(&python, how, own_port);
        let peer = format!("PYNETDICOM@{}", provider.address());
        let listen = format!("127.0.0.1:{own_port}");
        let mut arguments = vec![peer.as_str(), "--instance", &good];
        if how == "elsewhere" {
            arguments.extend(["--listen", &listen]);
        }

        let (code, lines, errors) = pacs_commit(&arguments);
        assert_eq!(code, Some(0), "{how}: {errors}");
        assert_eq!(of_kind(&lines, "summary")[0]["committed"], 1);

        arguments.extend(["--instance", &bad]);
        let (code, lines, errors) = pacs_commit(&arguments);
        assert_eq!(code, Some(4), "{how}: {errors}");
        let results = of_kind(&lines, "result");
        let outcomes: Vec<_> = results.iter().map(|of| &of["committed"]).collect();
        assert_eq!(outcomes, [true, false], "{lines:?}");
        assert_eq!(results[1]["reason"], "0112");
    }
}

#[test]
fn our_tool_says_that_no_report_came() {
    let Some(python) = python() else { return };
    let provider = provider(&python, "never", 9);
    let peer = format!("PYNETDICOM@{}", provider.address());
    let instance = format!("{CT}=2.25.7");

    let (code, lines, errors) = pacs_commit(&[&peer, "--instance", &instance, "--wait", "1"]);

    assert_eq!(code, Some(3), "{errors}");
    let error = of_kind(&lines, "error")[0].to_string();
    assert!(error.contains("report"), "{error}");
    let results = of_kind(&lines, "result");
    assert_eq!(results[0]["committed"], false);
}

#[test]
fn our_tool_asks_our_server_for_files_and_is_told_on_either_association() {
    let own_port = free_port();
    let server = server_with_three("PACS_TOOL", own_port);
    let sent = server.home().join("sent");
    let sent = sent.to_str().expect("UTF-8");
    let peer = format!("PACS@{}", server.dicom());

    let (code, lines, errors) = pacs_commit(&[&peer, sent]);
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(of_kind(&lines, "result").len(), 3);
    assert_eq!(of_kind(&lines, "summary")[0]["committed"], 3);

    // Nothing is waited for on the association that asks: the report comes to the listener.
    let listen = format!("127.0.0.1:{own_port}");
    let (code, lines, errors) = pacs_commit(&[&peer, sent, "--listen", &listen, "--leave"]);
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(of_kind(&lines, "summary")[0]["committed"], 3);
    server.wait_for_log("a storage commitment report was taken");

    let not_there = write_study(&server.home().join("kept"), 2, 1);
    let not_there = not_there[0].to_str().expect("UTF-8");
    let (code, lines, _) = pacs_commit(&[&peer, sent, not_there]);
    assert_eq!(code, Some(4));
    assert_eq!(of_kind(&lines, "summary")[0]["failed"], 1);
}
