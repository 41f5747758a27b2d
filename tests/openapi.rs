//! The `OpenAPI` document against the server: what is in it is there, what is not in it is not, and
//! schemathesis finds no answer that it does not describe.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use pacs_tests::corpus::{self, Expected};
use pacs_tests::peers::{run, schemathesis};
use pacs_tests::pictures::{INSTANCE, OTHER, identity, small_image};
use pacs_tests::samples::{Slice, long, text};
use pacs_tests::server::Server;
use pacs_tests::stow::ask;
use pacs_tests::web::get;
use pacs_tests::web_server::{filled, store};
use pacs_tests::wire::uid;
use pacs_tests::workspace;
use serde_json::{Value, json};

const METHODS: [&str; 6] = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];

/// What schemathesis looks at. Not whether good input is taken: what the type of a body does not
/// say, the instance in it has to.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance,unsupported_method";

fn document(server: &Server) -> Value {
    let reply = get(server.http(), "/api/openapi.json", &[]);
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    reply.json()
}

/// The paths of the document, each with its methods.
fn operations(document: &Value) -> Vec<(String, BTreeSet<String>)> {
    let paths = document["paths"].as_object().expect("paths");
    let methods = |item: &Value| -> BTreeSet<String> {
        let item = item.as_object().expect("a path item");
        item.keys().map(|method| method.to_uppercase()).collect()
    };
    paths
        .iter()
        .map(|(path, item)| (path.clone(), methods(item)))
        .collect()
}

/// Where a path of the document leads to `slice`, its first frame and its pixel data; to no
/// workitem, and to no transaction.
fn filled_in(path: &str, slice: &Slice) -> String {
    let path = path
        .replace("{study}", &slice.study)
        .replace("{series}", &slice.series)
        .replace("{instance}", &slice.instance)
        .replace("{frames}", "1")
        .replace("{path}", "7FE00010")
        .replace("{transaction}", "2.25.1")
        .replace("{workitem}", "2.25.1");
    format!("/dicomweb{path}")
}

#[test]
fn every_operation_of_the_document_is_there_and_no_other() {
    let server = filled(1);
    let document = document(&server);
    assert_eq!(document["servers"][0]["url"], "/dicomweb");
    let slice = Slice::new(1, 1);
    let operations = operations(&document);
    assert!(operations.len() >= 15);
    for (path, methods) in &operations {
        let path = filled_in(path, &slice);
        for method in METHODS.into_iter().filter(|method| *method != "DELETE") {
            let answer = ask(server.http(), method, &path, &[], &[]);
            // A resource that holds nothing says so in a document.
            let is_no_route = answer.status == 404 && !answer.head.contains("problem+json");
            let is_there = answer.status != 405 && !is_no_route;
            assert_eq!(
                is_there,
                methods.contains(method),
                "{method} {path}: {}",
                answer.status
            );
        }
        // What would be hidden is asked for as something that is not there.
        let elsewhere = path.replace(&slice.study, "1.2.9");
        let answer = ask(server.http(), "DELETE", &elsewhere, &[], &[]);
        let is_there = answer.status == 404 && answer.head.contains("problem+json");
        assert_eq!(
            is_there,
            methods.contains("DELETE"),
            "{path}: {}",
            answer.status
        );
    }
}

#[test]
fn the_capabilities_name_the_same_operations() {
    let server = filled(1);
    let reply = get(server.http(), "/dicomweb/", &[]);
    assert_eq!(reply.status, 200);
    let text = String::from_utf8(reply.body).expect("UTF-8");
    let mut count = 0;
    for (path, methods) in operations(&document(&server)) {
        let resource = format!("<resource path=\"{}\">", path.trim_start_matches('/'));
        let (_, rest) = text.split_once(&resource).expect("a resource");
        let (inner, _) = rest.split_once("</resource>").expect("its end");
        for method in &methods {
            assert!(
                inner.contains(&format!("<method name=\"{method}\"")),
                "{method} {path}"
            );
        }
        count += methods.len();
    }
    assert_eq!(text.matches("<method ").count(), count);
}

#[test]
fn the_pages_of_the_server_are_described_as_they_are() {
    let server = filled(1);
    let document = get(server.http(), "/openapi.json", &[]).json();
    let described = operations(&document);
    assert!(described.len() >= 6);
    for (path, methods) in &described {
        assert_eq!(methods.iter().collect::<Vec<_>>(), ["GET"], "{path}");
        let reply = get(server.http(), path, &[]);
        let kind = reply.header("content-type").unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default();
        let responses = &document["paths"][path]["get"]["responses"];
        let content = &responses[reply.status.to_string()]["content"];
        assert!(content[kind].is_object(), "{path}: {} {kind}", reply.status);
        assert_eq!(ask(server.http(), "POST", path, &[], &[]).status, 405);
    }
    let pages = String::from_utf8(get(server.http(), "/", &[]).body).expect("UTF-8");
    for document in ["/api/openapi.json", "/api/v1/openapi.json", "/openapi.json"] {
        assert!(pages.contains(document), "{pages}");
        let reply = get(server.http(), document, &[]);
        assert_eq!(reply.json()["openapi"], "3.1.0", "{document}");
    }
}

#[test]
fn whatever_is_given_and_given_again_to_whoever_has_it_is_described() {
    let server = filled(1);
    let document = document(&server);
    let slice = Slice::new(1, 1);
    let mut known = 0;
    for (path, methods) in operations(&document) {
        if !methods.contains("GET") {
            continue;
        }
        let responses = &document["paths"][&path]["get"]["responses"];
        let path = filled_in(&path, &slice);
        let path = path.replace("/wado", &format!("/wado?{}", by_uri(&slice)));
        let reply = get(server.http(), &path, &[]);
        assert!(responses[reply.status.to_string()].is_object(), "{path}");
        let Some(tag) = reply.header("etag") else {
            continue;
        };
        let again = get(server.http(), &path, &[("If-None-Match", tag)]);
        assert_eq!(again.status, 304, "{path}");
        assert!(responses["304"].is_object(), "{path}");
        known += 1;
    }
    // Instances, metadata, pictures and thumbnails at each level, frames, bulk data, WADO-URI.
    assert!(known >= 15, "{known}");
}

fn by_uri(slice: &Slice) -> String {
    let Slice {
        study,
        series,
        instance,
        ..
    } = slice;
    format!("requestType=WADO&studyUID={study}&seriesUID={series}&objectUID={instance}")
}

#[test]
fn schemathesis_finds_no_answer_that_is_not_described() {
    let Some(tool) = schemathesis() else {
        return;
    };
    let server = filled(1);
    store_other_kinds(&server);
    let found = ask(
        server.http(),
        "GET",
        "/dicomweb/instances?limit=200",
        &[],
        &[],
    )
    .json();
    let first = |of: &Value, tag: &str| of[tag]["Value"][0].clone();
    let there = found.as_array().expect("instances").iter().map(|of| {
        let (study, series) = (first(of, "0020000D"), first(of, "0020000E"));
        json!({"study": study, "series": series, "instance": first(of, "00080018")})
    });
    let there = Value::Array(there.collect());
    for document in ["/api/openapi.json", "/openapi.json"] {
        schemathesis_must_be_content(&tool, server.http(), document, &there);
    }
    let health = get(server.http(), "/healthz", &[]);
    assert_eq!(health.status, 200);
}

/// Transfer syntaxes of which an instance is asked for.
const SYNTAXES: [&str; 9] = [
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.5",
];

/// Stores, beside slices, several frames, a document, a report and a presentation state of one
/// study, and the smallest file of the test data in each of [`SYNTAXES`].
fn store_other_kinds(server: &Server) {
    let explicit = uid::EXPLICIT_LITTLE_ENDIAN;
    let frames = small_image(INSTANCE, 3);
    let status = store(server, uid::CT_IMAGE_STORAGE, INSTANCE, explicit, &frames);
    assert_eq!(status, 0, "{INSTANCE}");
    for (number, class) in [
        (2, "1.2.840.10008.5.1.4.1.1.104.1"),
        (3, "1.2.840.10008.5.1.4.1.1.88.11"),
        (4, "1.2.840.10008.5.1.4.1.1.11.1"),
    ] {
        let instance = format!("{OTHER}.{number}");
        let mut data_set = identity(class, &instance, "Test^Picture");
        if number == 2 {
            long(&mut data_set, 0x0042_0011, "OB", b"%PDF-1.4\n%%EOF\n");
            text(&mut data_set, 0x0042_0012, "LO", "application/pdf");
        }
        assert_eq!(
            store(server, class, &instance, explicit, &data_set),
            0,
            "{class}"
        );
    }
    let Some(folder) = workspace::test_data() else {
        return;
    };
    let mut samples = corpus::load(&folder);
    samples.retain(|sample| sample.expected == Expected::Valid);
    samples.sort_by_key(|sample| sample.data_set.len());
    for syntax in SYNTAXES {
        let sample = samples
            .iter()
            .find(|sample| sample.transfer_syntax == syntax);
        let sample = sample.unwrap_or_else(|| panic!("no file in {syntax}"));
        let (class, instance) = (&sample.sop_class, &sample.sop_instance);
        let status = store(server, class, instance, syntax, &sample.data_set);
        assert_eq!(status, 0, "{}", sample.name);
    }
}

/// Cases that are made of each operation: what takes about a minute.
const EXAMPLES: &str = "50";

fn schemathesis_must_be_content(tool: &Path, server: SocketAddr, document: &str, there: &Value) {
    let home = tempfile::tempdir().expect("a folder");
    let document = format!("http://{server}{document}");
    let mut command = Command::new(tool);
    command
        .current_dir(home.path())
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", workspace::root().join("tests/schemathesis"))
        .args(["run", &document, "--generation-deterministic"])
        .env("PACS_INSTANCES", there.to_string())
        .args(["--max-examples", EXAMPLES, "--phases", "coverage,fuzzing"])
        .args(["--no-color", "--continue-on-failure", "--warnings", "off"])
        .args(["--suppress-health-check", "all", "--checks", CHECKS]);

    let said = run(&mut command);

    assert!(said.success, "{}", said.text);
    assert!(said.text.contains("No issues found"), "{}", said.text);
}
