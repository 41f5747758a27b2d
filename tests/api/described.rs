//! The `OpenAPI` document of the API against the server: schemathesis finds no answer that it does
//! not describe, whoever asks.

use std::process::Command;

use pacs_tests::peers::{run, schemathesis};
use pacs_tests::portal::{API, Portal};

use crate::examinations::{form, saved};
use crate::patients::{patient, registered};

/// What schemathesis looks at. Not whether good input is taken: much of what is good the schemas
/// cannot say.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance,unsupported_method";

/// What it leaves alone: what would end its own session, what costs it a password, and streams,
/// which do not end.
const LEFT_ALONE: &str = "signOut|changePassword|SecondFactor|signIn|setUp|rogress|openPatient$";

#[test]
fn schemathesis_finds_no_answer_that_is_not_described_whoever_asks() {
    let Some(tool) = schemathesis() else {
        return;
    };
    let mut portal = Portal::start();
    let operator = portal.user("operator", &["operator@006"]);
    let number = registered(&operator, &patient());
    saved(&operator, &form(&number));
    let document = format!("http://{}{API}/openapi.json", portal.server.http());
    // Three sets of roles that are all of them: each may be held by one person.
    for roles in [
        &[
            "operator@006",
            "radiographer@006",
            "radiologist@006",
            "expert@006",
            "org_admin@006",
        ][..],
        &[
            "archive_admin@national",
            "moh_admin@national",
            "referrer@006",
        ],
        &["auditor@national"],
    ] {
        let name = format!("asks.{}", roles[0].split('@').next().expect("a role"));
        let browser = portal.user(&name.replace('_', "."), roles);
        let home = tempfile::tempdir().expect("a folder");
        let mut command = Command::new(&tool);
        command
            .current_dir(home.path())
            .args(["run", &document, "--generation-deterministic"])
            .args(["--max-examples", "2", "--phases", "coverage,fuzzing"])
            .args(["--no-color", "--continue-on-failure", "--warnings", "off"])
            .args(["--suppress-health-check", "all", "--checks", CHECKS])
            .args(["--exclude-operation-id-regex", LEFT_ALONE])
            .args(["--header", &format!("Cookie: {}", browser.cookie)])
            .args(["--header", &format!("X-CSRF-Token: {}", browser.token)]);

        let said = run(&mut command);

        assert!(said.success, "{roles:?}: {}", said.text);
        assert!(
            said.text.contains("No issues found"),
            "{roles:?}: {}",
            said.text
        );
        assert_eq!(
            browser.get("/session").status,
            200,
            "it was signed in all the time"
        );
    }
    assert!(portal.server.is_alive());
}
