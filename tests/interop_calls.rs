//! dicomweb-client (Python) over the real server: the calls that `interop_dicomweb.rs` does not
//! make, and how it gets in.
//!
//! The Python side is in `dicomweb/calls.py`.

use std::path::Path;
use std::process::Command;

use pacs_tests::corpus;
use pacs_tests::peers::{dicomweb_python, run};
use pacs_tests::samples::Slice;
use pacs_tests::server::{Options, Server};
use pacs_tests::web_server::{ask, filled, open_server, store, store_slice, study};
use pacs_tests::workspace;
use serde_json::{Value, json};

/// Runs one command of `calls.py` against `server`.
fn call(python: &Path, server: &Server, command: &str, arguments: &[&str]) -> Value {
    let mut script = Command::new(python);
    script
        .arg(workspace::root().join("tests/dicomweb/calls.py"))
        .arg(command)
        .arg(format!("http://{}/dicomweb", server.http()))
        .args(arguments);
    run(&mut script).succeeded().json()
}

/// A server with one file of the test data, and the UID of its study.
fn with_sample(name: &str) -> Option<(Server, String)> {
    let mut samples = corpus::load(&workspace::test_data()?);
    samples.retain(|sample| sample.name == name);
    let sample = samples.pop().expect("it is in the manifest");
    let server = open_server();
    let (class, instance) = (&sample.sop_class, &sample.sop_instance);
    let syntax = &sample.transfer_syntax;
    let status = store(&server, class, instance, syntax, &sample.data_set);
    assert_eq!(status, 0);
    let found = ask(&server, "/studies").json();
    let study = found[0]["0020000D"]["Value"][0].as_str().expect("a UID");
    Some((server, study.to_owned()))
}

#[test]
fn dicomweb_client_iterates_and_turns_pages() {
    let Some(python) = dicomweb_python() else {
        return;
    };
    let server = filled(3);

    let said = call(&python, &server, "whole", &[&study(1)]);

    let expected = json!({"pages": true, "studies": 3, "iterated": true});
    assert_eq!(said, expected);
}

#[test]
fn dicomweb_client_gets_what_is_compressed_as_it_is_and_uncompressed() {
    let Some(python) = dicomweb_python() else {
        return;
    };
    let Some((server, study)) = with_sample("ts/MR_small_RLE.dcm") else {
        return;
    };

    let said = call(&python, &server, "syntaxes", &[&study]);

    let expected = json!({"stored": ["1.2.840.10008.1.2.5"], "native": ["1.2.840.10008.1.2.1"]});
    assert_eq!(said, expected);
}

#[test]
fn dicomweb_client_gets_frames_and_bulk_data_in_part() {
    let Some(python) = dicomweb_python() else {
        return;
    };
    let Some((server, study)) = with_sample("modality/emri_small.dcm") else {
        return;
    };

    let said = call(&python, &server, "parts", &[&study]);

    let expected = json!({
        "count": 10, "frames": true, "typed": true, "iterated": true, "bulk": true,
        "range": true, "iterated_range": true,
    });
    assert_eq!(said, expected);
}

#[test]
fn dicomweb_client_gets_pictures_of_instances_series_and_frames() {
    let Some(python) = dicomweb_python() else {
        return;
    };
    let server = filled(1);

    let said = call(&python, &server, "rendered", &[&study(1)]);

    let expected = json!({"instance": ["jpeg", "png"], "series": "jpeg", "frame": "png"});
    assert_eq!(said, expected);
}

#[test]
fn dicomweb_client_deletes_an_instance_and_a_series() {
    let Some(python) = dicomweb_python() else {
        return;
    };
    let server = filled(2);

    let said = call(&python, &server, "delete", &[&study(1)]);

    assert_eq!(said["left"], json!([2, 1, 0]));
    assert_eq!(
        ask(&server, "/studies").json().as_array().map(Vec::len),
        Some(1)
    );
}

#[test]
fn dicomweb_client_gets_in_by_bearer_token_and_by_basic_authentication() {
    let Some(python) = dicomweb_python() else {
        return;
    };
    let server = Server::start(Options::default());
    store_slice(&server, &Slice::new(1, 1));
    let mut pacs = Command::new(workspace::binary("pacs"));
    pacs.args(["token", "create", "viewer", "--scope", "find,get"]);
    let said = run(pacs.arg("--data").arg(server.data())).succeeded();
    let secret = said.text.lines().find(|line| line.starts_with("pacs_"));
    let secret = secret.expect("a secret");
    let wrong = format!("{}x", &secret[..secret.len() - 1]);

    let said = call(&python, &server, "enter", &["viewer", secret, &wrong]);

    let expected = json!({
        "none": 401, "bearer": [200, 401], "basic": [200, 401], "not_in_scope": 403,
    });
    assert_eq!(said, expected);
}
