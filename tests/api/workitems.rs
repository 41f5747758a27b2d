//! Reading tasks over DICOMweb and over the portal: two doors to one lock.

use std::collections::BTreeSet;
use std::process::Command;

use pacs_tests::peers::{dicomweb_python, node, run};
use pacs_tests::portal::{Browser, Portal, refusal, refused};
use pacs_tests::stow::{Answer, ask};
use pacs_tests::workspace;
use serde_json::{Value, json};

use crate::examinations::{form, images_come, saved};
use crate::patients::{patient, registered};

/// Sends a data set, or nothing, to DICOMweb, with the session of `browser`.
fn send(portal: &Portal, browser: &Browser, method: &str, path: &str, body: &Value) -> Answer {
    let kind = ("Content-Type", "application/dicom+json");
    let mut fields = vec![
        ("Cookie", &*browser.cookie),
        ("X-CSRF-Token", &*browser.token),
    ];
    let mut text = String::new();
    if !body.is_null() {
        fields.push(kind);
        text = body.to_string();
    }
    let path = format!("/dicomweb/workitems{path}");
    let http = portal.server.http();
    ask(http, method, &path, &fields, text.as_bytes())
}

pub(crate) fn get(portal: &Portal, browser: &Browser, path: &str) -> Answer {
    send(portal, browser, "GET", path, &Value::Null)
}

pub(crate) fn wish(state: &str, claim: &str) -> Value {
    json!({
        "00081195": {"vr": "UI", "Value": [claim]},
        "00741000": {"vr": "CS", "Value": [state]},
    })
}

pub(crate) fn put(portal: &Portal, browser: &Browser, workitem: &str, wish: &Value) -> u16 {
    let path = format!("/{workitem}/state");
    send(portal, browser, "PUT", &path, wish).status
}

/// UIDs and states of the workitems that somebody finds.
pub(crate) fn found(portal: &Portal, browser: &Browser, query: &str) -> Vec<(String, String)> {
    let answer = get(portal, browser, &format!("?{query}"));
    if answer.status == 204 {
        return Vec::new();
    }
    assert_eq!(answer.status, 200, "{}", answer.head);
    let text = |of: &Value, tag: &str| of[tag]["Value"][0].as_str().expect("a text").to_owned();
    let found = answer.json();
    let found = found.as_array().expect("an array").iter();
    found
        .map(|one| (text(one, "00080018"), text(one, "00741000")))
        .collect()
}

/// An examination whose images are there, and who registered it.
pub(crate) struct Waiting {
    pub(crate) portal: Portal,
    pub(crate) operator: Browser,
    pub(crate) number: String,
    pub(crate) id: String,
}

pub(crate) fn waiting() -> Waiting {
    let portal = Portal::start();
    let operator = portal.user("operator", &["operator@006"]);
    let number = registered(&operator, &patient());
    let id = saved(&operator, &form(&number));
    images_come(&portal, &operator, &id, &number);
    let expert = portal.user("early", &["expert@006"]);
    assert_eq!(found(&portal, &expert, ""), [], "it is not complete");
    let complete = operator.post(&format!("/examinations/{id}/complete"), &Value::Null);
    assert_eq!(complete.status, 200, "{}", complete.json());
    Waiting {
        portal,
        operator,
        number,
        id,
    }
}

#[test]
fn a_foreign_client_reads_takes_and_gives_up_a_task() {
    let Some(python) = dicomweb_python() else {
        return;
    };
    let Waiting { portal, id, .. } = waiting();
    let expert = portal.user("expert", &["expert@006"]);
    let mut script = Command::new(python);
    script
        .arg(workspace::root().join("tests/dicomweb/workitems.py"))
        .arg(format!("http://{}/dicomweb", portal.server.http()))
        .args([&expert.cookie, &expert.token, &id]);
    let said = run(&mut script).succeeded();
    let last = said.text.lines().rfind(|line| line.starts_with('{'));
    let said: Value = serde_json::from_str(last.expect("a line of JSON")).expect("JSON");
    let name = "Жээнбеков^Үсөн^Өмүрбекович";
    let inconsistent =
        "299 pacs \"The submitted request is inconsistent with the state of the UPS Instance.\"";
    let expected = json!({
        "name": name,
        "missing": [],
        "listed": [name, "SCHEDULED"],
        "code": "Interpretation",
        "xml": ["IN PROGRESS"],
        "claimed": [200, ""],
        "taken": [409, inconsistent],
        "not_ours": [400, "299 pacs \"The Transaction UID is incorrect.\""],
        "early": [409, inconsistent],
        "said": [200, ""],
        "in_work": ["IN PROGRESS", 40.0, "expert", "Б. Осмонова"],
        "is_secret": true,
        "instances": [id],
        "given_up": [200, ""],
        "again": [
            200,
            "299 pacs \"The UPS is already in the requested state of CANCELED.\"",
        ],
        "next": [[true, "SCHEDULED"]],
    });
    assert_eq!(said, expected);
}

#[test]
fn another_library_reads_a_task_and_writes_a_claim() {
    let Some(modules) = node() else {
        return;
    };
    let Waiting { portal, id, .. } = waiting();
    let expert = portal.user("expert", &["expert@006"]);
    let [(workitem, _)] = found(&portal, &expert, "").try_into().expect("one task");
    let shown = get(&portal, &expert, &format!("/{workitem}"));
    let folder = workspace::temporary_folder();
    let file = folder.path().join("workitem.json");
    std::fs::write(&file, &shown.body).expect("a file");
    let mut script = Command::new("node");
    script
        .arg(workspace::root().join("tests/dcmjs/workitem.cjs"))
        .arg(file)
        .arg("2.25.11")
        .env("NODE_PATH", modules);
    let said = run(&mut script).succeeded();
    let last = said.text.lines().rfind(|line| line.starts_with('{'));
    let mut said: Value = serde_json::from_str(last.expect("a line of JSON")).expect("JSON");
    let claim = said["claim"].take();
    let expected = json!({
        "state": "SCHEDULED",
        "name": "Жээнбеков^Үсөн^Өмүрбекович",
        "accession": id,
        "priority": "LOW",
        "instances": 1,
        "retrieveFrom": "PACS",
        "claim": null,
    });
    assert_eq!(said, expected);
    assert_eq!(put(&portal, &expert, &workitem, &claim), 200, "{claim}");
}

#[test]
fn of_a_hundred_claims_over_both_doors_one_wins() {
    let Waiting { portal, id, .. } = waiting();
    let experts: Vec<Browser> = (0..5)
        .map(|number| portal.user(&format!("expert{number}"), &["expert@006"]))
        .collect();
    let tasks = found(&portal, &experts[0], "ProcedureStepState=SCHEDULED");
    let [(workitem, _)] = tasks.as_slice() else {
        panic!("one task: {tasks:?}");
    };
    let claim = format!("/examinations/{id}/claim");
    let answers: Vec<(usize, bool, u16)> = std::thread::scope(|scope| {
        let claims: Vec<_> = (0..100_usize)
            .map(|at| {
                let (who, is_portal) = (at % 5, at % 2 == 0);
                let (expert, claim, portal) = (&experts[who], &claim, &portal);
                scope.spawn(move || {
                    let status = if is_portal {
                        expert.post(claim, &Value::Null).status
                    } else {
                        let wish = wish("IN PROGRESS", &format!("2.25.{}", at + 1));
                        put(portal, expert, workitem, &wish)
                    };
                    (who, is_portal, status)
                })
            })
            .collect();
        let joined = claims
            .into_iter()
            .map(|claim| claim.join().expect("an answer"));
        joined.collect()
    });
    let won = answers.iter().filter(|(_, _, status)| *status == 200);
    let winners: BTreeSet<usize> = won.clone().map(|(who, _, _)| *who).collect();
    assert_eq!(winners.len(), 1, "{answers:?}");
    let over_dicomweb = won.filter(|(_, is_portal, _)| !is_portal).count();
    assert!(over_dicomweb <= 1, "a UID is claimed once: {answers:?}");
    for (_, _, status) in &answers {
        assert!([200, 409].contains(status), "{answers:?}");
    }
    // Both doors tell who has it.
    let winner = winners.first().expect("a winner");
    let standing = experts[*winner].get(&format!("/examinations/{id}"));
    let by = standing.json()["lock"]["by"].clone();
    assert_eq!(by, json!(format!("expert{winner}")));
    let shown = get(&portal, &experts[0], &format!("/{workitem}")).json();
    assert_eq!(shown["00741000"]["Value"][0], "IN PROGRESS");
    let performer = &shown["00741216"]["Value"][0]["00404035"]["Value"][0];
    assert_eq!(
        performer["00404009"]["Value"][0]["00080100"]["Value"][0],
        by
    );
}

#[test]
fn a_claim_outlives_the_server_and_is_given_back_at_either_door() {
    let Waiting { mut portal, id, .. } = waiting();
    let expert = portal.user("expert", &["expert@006"]);
    let other = portal.user("other", &["radiologist@006"]);
    let [(first, _)] = found(&portal, &expert, "").try_into().expect("one task");
    assert_eq!(
        put(&portal, &expert, &first, &wish("IN PROGRESS", "2.25.11")),
        200
    );
    portal.server.kill();
    portal.server.restart();
    let (expert, other) = (
        expert.at(portal.server.http()),
        other.at(portal.server.http()),
    );
    let path = format!("/examinations/{id}");
    let claimed = other.post(&format!("{path}/claim"), &Value::Null);
    assert_eq!(refusal(&claimed), refused(409, "CLAIMED"));
    // Whoever learns the UID is somebody else still.
    assert_eq!(
        put(&portal, &other, &first, &wish("CANCELED", "2.25.11")),
        400
    );
    assert_eq!(
        put(&portal, &expert, &first, &wish("CANCELED", "2.25.12")),
        400
    );
    assert_eq!(
        put(&portal, &expert, &first, &wish("CANCELED", "2.25.11")),
        200
    );
    let standing = expert.get(&path).json();
    assert_eq!(
        (&standing["lock"], &standing["status"]),
        (&Value::Null, &json!("images_received"))
    );

    // The other way round: taken over DICOMweb, given back in the portal.
    let [(second, state)] = found(&portal, &expert, "").try_into().expect("one task");
    assert!(second != first && state == "SCHEDULED");
    assert_eq!(
        put(&portal, &expert, &second, &wish("IN PROGRESS", "2.25.13")),
        200
    );
    let released = expert.post(&format!("{path}/release"), &Value::Null);
    assert_eq!(released.status, 200, "{}", released.json());
    let shown = get(&portal, &expert, &format!("/{second}")).json();
    assert_eq!(shown["00741000"]["Value"][0], "CANCELED");
    // And taken in the portal: no UID is the right one.
    let third = found(&portal, &expert, "ProcedureStepState=SCHEDULED");
    let claimed = expert.post(&format!("{path}/claim"), &Value::Null);
    assert_eq!(claimed.status, 200, "{}", claimed.json());
    let [(third, _)] = third.try_into().expect("one task");
    assert_eq!(
        put(&portal, &expert, &third, &wish("CANCELED", "2.25.13")),
        400
    );
    assert_eq!(
        put(&portal, &expert, &third, &wish("IN PROGRESS", "2.25.14")),
        409
    );
}

#[test]
fn nobody_of_another_organisation_sees_a_task_and_only_readers_take_one() {
    let Waiting {
        portal,
        operator,
        number,
        id,
    } = waiting();
    let expert = portal.user("expert", &["expert@006"]);
    let [(workitem, _)] = found(&portal, &expert, "").try_into().expect("one task");
    let begin = wish("IN PROGRESS", "2.25.11");
    let path = format!("/{workitem}");
    for role in ["expert@001", "radiologist@001", "operator@001"] {
        let foreign = portal.user(&role.replace('@', "."), &[role]);
        assert_eq!(found(&portal, &foreign, ""), [], "{role}");
        assert_eq!(get(&portal, &foreign, &path).status, 404, "{role}");
        let taken = put(&portal, &foreign, &workitem, &begin);
        let expected = if role.starts_with("operator") {
            403
        } else {
            404
        };
        assert_eq!(taken, expected, "{role}");
    }
    // Those who make images see what waits, and take nothing.
    assert_eq!(found(&portal, &operator, "").len(), 1);
    assert_eq!(put(&portal, &operator, &workitem, &begin), 403);
    let admin = portal.user("admin", &["org_admin@006"]);
    assert_eq!(get(&portal, &admin, "").status, 403);
    // A page of another site has the cookie, and not the token.
    let mut other_site = expert.clone();
    other_site.token = "0".repeat(64);
    assert_eq!(put(&portal, &other_site, &workitem, &begin), 401);

    // What the service does not do it says.
    let made = send(&portal, &expert, "POST", "", &json!({}));
    assert_eq!(made.status, 405, "{}", made.head);
    assert!(made.head.contains("allow: get, head"), "{}", made.head);
    let subscriber = format!("/{workitem}/subscribers/VIEWER");
    let subscribed = send(&portal, &expert, "POST", &subscriber, &Value::Null);
    assert_eq!(subscribed.status, 501, "{}", subscribed.head);
    let canceled = send(
        &portal,
        &expert,
        "POST",
        &format!("{path}/cancelrequest"),
        &Value::Null,
    );
    assert_eq!(canceled.status, 409, "{}", canceled.head);

    // Who was told of whom is in the trail.
    assert_eq!(get(&portal, &expert, &path).status, 200);
    assert_eq!(put(&portal, &expert, &workitem, &begin), 200);
    let auditor = portal.user("auditor", &["auditor@national"]);
    let trail = auditor.get(&format!("/audit?patient={number}&limit=200"));
    assert_eq!(trail.status, 200, "{}", trail.json());
    let trail = trail.json()["items"].clone();
    let records = trail.as_array().expect("records").iter();
    let theirs = records.map(Value::to_string).filter(|record| {
        record.contains("\"expert\"") && record.contains(&id) && !record.contains("2.25.11")
    });
    assert_eq!(theirs.count(), 2, "read and taken: {trail}");
}
