//! The `OpenAPI` document against the server: what is in it is there, what is not in it is not, and
//! schemathesis finds no answer that it does not describe.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use pacs_tests::peers::{run, schemathesis};
use pacs_tests::samples::Slice;
use pacs_tests::server::Server;
use pacs_tests::stow::ask;
use pacs_tests::web::get;
use pacs_tests::web_server::filled;
use pacs_tests::workspace;
use serde_json::Value;

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

#[test]
fn every_operation_of_the_document_is_there_and_no_other() {
    let server = filled(1);
    let document = document(&server);
    assert_eq!(document["servers"][0]["url"], "/dicomweb");
    let slice = Slice::new(1, 1);
    let operations = operations(&document);
    assert!(operations.len() >= 15);
    for (path, methods) in &operations {
        let path = path
            .replace("{study}", &slice.study)
            .replace("{series}", &slice.series)
            .replace("{instance}", &slice.instance)
            .replace("{frames}", "1")
            .replace("{path}", "7FE00010")
            .replace("{transaction}", "2.25.1")
            .replace("{workitem}", "2.25.1");
        let path = format!("/dicomweb{path}");
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
        let path = path
            .replace("{study}", &slice.study)
            .replace("{series}", &slice.series)
            .replace("{instance}", &slice.instance)
            .replace("{frames}", "1")
            .replace("{path}", "7FE00010")
            .replace("{transaction}", "2.25.1")
            .replace("{workitem}", "2.25.1")
            .replace("/wado", &format!("/wado?{}", by_uri(&slice)));
        let path = format!("/dicomweb{path}");
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
    for document in ["/api/openapi.json", "/openapi.json"] {
        schemathesis_must_be_content(&tool, server.http(), document);
    }
    let health = get(server.http(), "/healthz", &[]);
    assert_eq!(health.status, 200);
}

fn schemathesis_must_be_content(tool: &Path, server: SocketAddr, document: &str) {
    let home = tempfile::tempdir().expect("a folder");
    let document = format!("http://{server}{document}");
    let mut command = Command::new(tool);
    command
        .current_dir(home.path())
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", workspace::root().join("tests/schemathesis"))
        .args(["run", &document, "--generation-deterministic"])
        .args(["--max-examples", "4", "--phases", "coverage,fuzzing"])
        .args(["--no-color", "--continue-on-failure", "--warnings", "off"])
        .args(["--suppress-health-check", "all", "--checks", CHECKS]);

    let said = run(&mut command);

    assert!(said.success, "{}", said.text);
    assert!(said.text.contains("No issues found"), "{}", said.text);
}
