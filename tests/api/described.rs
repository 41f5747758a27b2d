//! The `OpenAPI` document of the API against the server: schemathesis finds no answer that it does
//! not describe, whoever asks.

use std::process::Command;

use pacs_tests::peers::{Said, run, schemathesis};
use pacs_tests::portal::{API, Portal};

use crate::examinations::{form, saved};
use crate::patients::{patient, registered};

/// What schemathesis looks at. Not whether good input is taken: much of what is good the schemas
/// cannot say.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance,unsupported_method";

/// What would end its own session, and what costs it a password: asked for by somebody apart, whose
/// session may end by it.
const OF_SESSIONS: &str = "signOut|changePassword|SecondFactor|signIn|setUp|openPatient$";

/// Streams, which do not end for whoever may have them.
const STREAMS: &str = "rogress";

/// Examples of each operation, beside those that cover each way in which its input is wrong.
const EXAMPLES: &str = "4";

/// Has it ask `portal`, by these operations or without them, with these headers.
fn ask_by(portal: &Portal, which: [&str; 2], headers: &[(&str, &str)]) -> Option<Said> {
    let tool = schemathesis()?;
    let document = format!("http://{}{API}/openapi.json", portal.server.http());
    let home = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(&tool);
    command
        .current_dir(home.path())
        .args(["run", &document, "--generation-deterministic"])
        .args(["--max-examples", EXAMPLES, "--phases", "coverage,fuzzing"])
        .args(["--no-color", "--continue-on-failure", "--warnings", "off"])
        .args(["--suppress-health-check", "all", "--checks", CHECKS])
        .args(which);
    for (name, value) in headers {
        command.args(["--header", &format!("{name}: {value}")]);
    }
    let said = run(&mut command);
    let is_fine = said.success && said.text.contains("No issues found");
    assert!(is_fine, "{which:?}: {}", said.text);
    Some(said)
}

/// Sessions, passwords and second factors by somebody whose session ends by it, sooner or later;
/// and the same by nobody, with streams, which end there with a refusal.
#[test]
fn schemathesis_finds_no_answer_that_is_not_described_of_sessions_nor_by_nobody() {
    let mut portal = Portal::start();
    let doctor = portal.user("doctor", &["radiologist@006"]);
    let headers = [
        ("Cookie", &*doctor.cookie),
        ("X-CSRF-Token", &*doctor.token),
    ];
    let of_sessions = ["--include-operation-id-regex", OF_SESSIONS];
    if ask_by(&portal, of_sessions, &headers).is_none() {
        return;
    }
    let by_nobody = format!("{OF_SESSIONS}|{STREAMS}");
    ask_by(&portal, ["--include-operation-id-regex", &by_nobody], &[]);
    assert!(portal.server.is_alive());
}

#[test]
fn schemathesis_finds_no_answer_that_is_not_described_whoever_asks() {
    let mut portal = Portal::start();
    let operator = portal.user("operator", &["operator@006"]);
    let number = registered(&operator, &patient());
    saved(&operator, &form(&number));
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
        let headers = [
            ("Cookie", &*browser.cookie),
            ("X-CSRF-Token", &*browser.token),
        ];
        let others = format!("{OF_SESSIONS}|{STREAMS}");
        let which = ["--exclude-operation-id-regex", &others];
        if ask_by(&portal, which, &headers).is_none() {
            return;
        }
        assert_eq!(
            browser.get("/session").status,
            200,
            "it was signed in all the time"
        );
    }
    assert!(portal.server.is_alive());
}
