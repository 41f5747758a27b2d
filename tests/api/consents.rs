//! What a patient agreed to opens their examinations to the people of another hospital, at once and
//! until it is withdrawn.

use pacs_tests::day::typing::now;
use pacs_tests::edges::until;
use pacs_tests::portal::{Browser, Portal, refusal, refused};
use pacs_tests::samples::Slice;
use pacs_tests::server::PATIENCE;
use pacs_tests::stow::ask;
use serde_json::{Value, json};

use crate::examinations::{form, ids, images_come, saved};
use crate::patients::{patient, registered};

/// The last day of a year, so many after this one.
fn year_end(years: i32) -> String {
    let year: i32 = now().0[..4].parse().expect("a year");
    format!("{}-12-31", year + years)
}

pub(crate) fn consent(reference: &str) -> Value {
    json!({
        "to": "001", "until": year_end(1), "ground": "agreement",
        "reference": reference, "organisation": "006",
    })
}

/// Waits until DICOMweb answers somebody so who asks for the study: what is found follows the
/// registry a moment later.
fn retrieved(portal: &Portal, who: &Browser, status: u16) {
    let path = format!("/dicomweb/studies/{}/metadata", Slice::new(1, 1).study);
    let cookie = [("Cookie", &*who.cookie)];
    until(PATIENCE, &format!("status {status}"), || {
        let answer = ask(portal.server.http(), "GET", &path, &cookie, &[]);
        (answer.status == status).then_some(())
    });
}

#[test]
fn a_consent_opens_a_patient_to_another_hospital_until_it_is_withdrawn() {
    let portal = Portal::start();
    let operator = portal.user("operator", &["operator@006"]);
    let there = portal.user("there", &["radiologist@001"]);
    let number = registered(&operator, &patient());
    let id = saved(&operator, &form(&number));
    images_come(&portal, &operator, &id, &number);
    let (card, consents) = (
        format!("/examinations/{id}"),
        format!("/patients/{number}/consents"),
    );
    let of_patient = format!("/patients/{number}/examinations");
    assert_eq!(there.get(&card).status, 404);
    assert_eq!(ids(&there.get(&of_patient)), [""; 0]);
    retrieved(&portal, &there, 404);

    let key = [("Idempotency-Key", "a-double-click")];
    let given = operator.send("POST", &consents, &key, &consent("форма 4711"));
    assert_eq!(given.status, 201, "{}", given.json());
    let twice = operator.send("POST", &consents, &key, &consent("форма 4711"));
    assert_eq!((twice.status, twice.json()), (201, given.json()));
    assert_eq!(there.get(&card).status, 200);
    assert_eq!(ids(&there.get(&of_patient)), [&*id]);
    retrieved(&portal, &there, 200);
    let shown = there.get(&consents).json();
    assert_eq!(shown["items"], json!([given.json()]));
    let one = &shown["items"][0];
    assert_eq!(
        (&one["holds"], &one["until"]),
        (&json!(true), &json!(year_end(1)))
    );
    assert_eq!(
        (&one["by"], &one["by_organisation"]),
        (&json!("operator"), &json!("006"))
    );

    let consent_id = one["id"].as_str().expect("an ID");
    let withdrawal = format!("{consents}/{consent_id}/withdrawal");
    let reason = json!({"reason": "передумал"});
    assert_eq!(there.post(&withdrawal, &reason).status, 403);
    let withdrawn = operator.post(&withdrawal, &reason);
    assert_eq!(withdrawn.status, 200, "{}", withdrawn.json());
    assert_eq!(withdrawn.json()["holds"], false);
    assert_eq!(withdrawn.json()["withdrawn"]["by"], "operator");
    assert_eq!(there.get(&card).status, 404);
    retrieved(&portal, &there, 404);
    assert_eq!(operator.post(&withdrawal, &reason).status, 409);
}

#[test]
fn a_consent_says_to_whom_until_when_and_on_which_ground() {
    let portal = Portal::start();
    let operator = portal.user("operator", &["operator@006"]);
    let there = portal.user("there", &["radiologist@001"]);
    let number = registered(&operator, &patient());
    let consents = format!("/patients/{number}/consents");
    let with = |key: &str, value: Value| {
        let mut body = consent("форма 4711");
        body[key] = value;
        operator.make(&consents, &body)
    };

    for (key, value, what) in [
        ("until", json!(year_end(-1)), "term"),
        ("until", json!(year_end(7)), "term"),
        ("reference", json!("  "), "reference"),
    ] {
        let wrong = with(key, value);
        assert_eq!(refusal(&wrong), refused(422, "MALFORMED"));
        assert_eq!(wrong.json()["what"], what);
    }
    assert_eq!(with("ground", json!("nothing")).status, 400);
    assert_eq!(with("to", json!("999")).status, 404);
    assert_eq!(there.make(&consents, &consent("форма 4711")).status, 403);
    assert_eq!(operator.get(&consents).json()["items"], json!([]));
    let never = format!("{consents}/{number}.1/withdrawal");
    let reason = json!({"reason": "передумал"});
    assert_eq!(operator.post(&never, &reason).status, 404);
}
