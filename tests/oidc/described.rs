//! The paths of the provider against the `OpenAPI` document: schemathesis finds no answer that it
//! does not describe.

use std::process::Command;

use pacs_tests::peers::{run, schemathesis};
use pacs_tests::provider::Terrain;
use pacs_tests::signed_in::Browser;
use serde_json::Value;

use crate::{API, Rig};

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance,unsupported_method";

#[test]
fn schemathesis_finds_no_answer_of_signing_in_by_a_provider_that_is_not_described() {
    let Some(tool) = schemathesis() else {
        return;
    };
    let rig = Rig::new(Terrain::default());
    let document = format!("http://{}{API}/openapi.json", rig.server.http());
    let home = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(&tool);
    command
        .current_dir(home.path())
        .args(["run", &document, "--generation-deterministic"])
        // Not what is longer than any URL may be: that is answered before there is a route.
        .args(["--phases", "coverage"])
        .args(["--no-color", "--continue-on-failure", "--warnings", "off"])
        .args(["--suppress-health-check", "all", "--checks", CHECKS])
        .args([
            "--include-operation-id-regex",
            "rovider|waysToSignIn|inkUser",
        ])
        .args(["--header", "Cookie: __Host-pacs_sign_in=x"]);

    let said = run(&mut command);

    assert!(said.success, "{}", said.text);
    assert!(said.text.contains("No issues found"), "{}", said.text);
    let browser = Browser::of_new_user(&rig.server, "own", &["org_admin@006"]);
    let path = format!("{API}/session");
    let who = browser.send(&rig.server, "GET", &path, &[], &Value::Null);
    assert_eq!(who.status, 200, "it serves on");
}
