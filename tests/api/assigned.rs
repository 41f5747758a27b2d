//! Who is to read an examination: named, taken, given back, shown, and kept by both doors to a
//! reading; and what a doctor sees of what they ordered.

use pacs_tests::portal::{Browser, Portal, refusal, refused};
use serde_json::{Value, json};

use crate::examinations::{form, ids, saved};
use crate::patients::{patient, registered};
use crate::workitems::{Waiting, found, get, put, waiting, wish};

/// Who is to read it, as the workitem has it (Scheduled Human Performers Sequence).
fn meant_for(portal: &Portal, browser: &Browser, workitem: &str) -> Option<String> {
    let shown = get(portal, browser, &format!("/{workitem}"));
    assert_eq!(shown.status, 200, "{}", shown.head);
    let shown = shown.json();
    let performer = &shown["00404034"]["Value"][0];
    let code = &performer["00404009"]["Value"][0]["00080100"]["Value"][0];
    code.as_str().map(str::to_owned)
}

#[test]
fn what_is_for_one_reader_is_taken_by_nobody_else_through_either_door() {
    let Waiting {
        portal,
        operator,
        number,
        id,
    } = waiting();
    let [first, second] = ["first", "second"].map(|name| portal.user(name, &["expert@006"]));
    let elsewhere = portal.user("elsewhere", &["expert@001"]);
    let path = format!("/examinations/{id}");
    let act = |who: &Browser, what: &str, body: &Value| who.post(&format!("{path}/{what}"), body);
    let to = |name: &str| json!({ "reader": name });

    let named = act(&first, "assign", &to("second"));
    assert_eq!(refusal(&named), refused(403, "NOT_PERMITTED"));
    let unseen = act(&elsewhere, "assign", &to("elsewhere"));
    assert_eq!(refusal(&unseen), refused(404, "NOT_FOUND"));

    let assigned = act(&operator, "assign", &to("first"));
    assert_eq!(assigned.status, 200, "{}", assigned.json());
    assert_eq!(assigned.json()["assigned_to"], "first");
    let listed = operator.get("/examinations").json();
    assert_eq!(listed["items"][0]["assigned_to"], "first", "{listed}");
    assert_eq!(
        ids(&first.get("/examinations?scope=assigned")),
        [id.as_str()]
    );
    assert_eq!(ids(&second.get("/examinations?scope=assigned")), [""; 0]);
    let queue = second.get("/examinations?scope=queue").json();
    assert_eq!(queue["items"][0]["assigned_to"], "first", "it is shown");
    let [(task, state)] = found(&portal, &second, "").try_into().expect("one task");
    assert_eq!(state, "SCHEDULED");
    assert_eq!(meant_for(&portal, &second, &task).as_deref(), Some("first"));

    // Neither door opens to another.
    let claimed = act(&second, "claim", &Value::Null);
    assert_eq!(refusal(&claimed), refused(409, "ASSIGNED"));
    assert_eq!(
        put(&portal, &second, &task, &wish("IN PROGRESS", "2.25.1")),
        403
    );
    let taken = act(&second, "assign", &to("second"));
    assert_eq!(refusal(&taken), refused(403, "NOT_PERMITTED"));
    let away = act(&second, "unassign", &Value::Null);
    assert_eq!(refusal(&away), refused(403, "NOT_PERMITTED"));

    // Given back it is anybody's, and taken by whoever wants it.
    let back = act(&first, "unassign", &Value::Null);
    assert_eq!(back.json()["assigned_to"], Value::Null, "{}", back.json());
    assert_eq!(meant_for(&portal, &second, &task), None);
    let taken = act(&second, "assign", &to("second"));
    assert_eq!(taken.json()["assigned_to"], "second", "{}", taken.json());
    assert_eq!(
        put(&portal, &first, &task, &wish("IN PROGRESS", "2.25.2")),
        403
    );
    assert_eq!(
        put(&portal, &second, &task, &wish("IN PROGRESS", "2.25.3")),
        200
    );
    // What is in work is for whoever has it.
    let in_work = act(&operator, "assign", &to("first"));
    assert_eq!(refusal(&in_work), refused(409, "EXAMINATION_STATUS"));
    let released = act(&second, "release", &Value::Null);
    assert_eq!(released.status, 200, "{}", released.json());
    let again = act(&operator, "assign", &to("first"));
    assert_eq!(again.json()["assigned_to"], "first", "{}", again.json());
    let claimed = act(&first, "claim", &Value::Null);
    assert_eq!(claimed.json()["status"], "under_review");

    is_told(&portal, &operator, (&path, &number));
}

#[test]
fn whoever_says_who_is_to_read_learns_of_no_name_whether_there_is_somebody() {
    let Waiting {
        portal,
        operator,
        id,
        ..
    } = waiting();
    let reader = portal.user("reader", &["expert@006"]);
    let _ = portal.user("second", &["expert@006"]);
    let _ = portal.user("elsewhere", &["expert@001"]);
    let path = format!("/examinations/{id}/assign");
    let of_nobody = ["nobody", "???"];
    let alike = |who: &Browser, names: &[&str], expected: (u16, &str)| {
        let answers = names.iter().chain(&of_nobody);
        let answers = answers.map(|name| who.post(&path, &json!({ "reader": name })));
        let answers: Vec<_> = answers.collect();
        for (name, answer) in names.iter().chain(&of_nobody).zip(&answers) {
            assert_eq!(refusal(answer), refused(expected.0, expected.1), "{name}");
            assert_eq!(answer.json(), answers[0].json(), "{name}");
        }
        answers[0].json()
    };
    let unfit = alike(&operator, &["operator", "elsewhere"], (422, "MALFORMED"));
    assert_eq!(unfit["what"], "reader");
    alike(&reader, &["second", "elsewhere"], (403, "NOT_PERMITTED"));
    let claimed = reader.post(&format!("/examinations/{id}/claim"), &Value::Null);
    assert_eq!(claimed.status, 200, "{}", claimed.json());
    let in_work = (409, "EXAMINATION_STATUS");
    alike(&operator, &["second", "elsewhere"], in_work);
}

/// Who said it, in the events of the examination and in the trail.
fn is_told(portal: &Portal, operator: &Browser, (path, number): (&str, &str)) {
    let events = operator.get(&format!("{path}/events")).json();
    let events = events["items"].as_array().expect("events").iter();
    let told = events
        .filter(|event| ["assign", "unassign"].contains(&event["event"].as_str().unwrap_or("")));
    let told: Vec<_> = told.map(|event| (&event["event"], &event["by"])).collect();
    let expected = [
        ("assign", "operator"),
        ("unassign", "first"),
        ("assign", "second"),
        ("assign", "operator"),
    ];
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for (told, expected) in told.iter().zip(expected) {
        assert_eq!((told.0, told.1), (&json!(expected.0), &json!(expected.1)));
    }
    let auditor = portal.user("auditor", &["auditor@national"]);
    let trail = auditor.get(&format!("/audit?patient={number}&limit=100"));
    let trail = trail.json().to_string();
    assert!(trail.contains("ASSIGN first") && trail.contains("UNASSIGN first"));
}

/// Nobody has to say that it is for nobody first: it would wait until somebody thinks of that.
#[test]
fn whoever_does_not_come_any_more_keeps_nobody_from_reading() {
    let Waiting {
        portal,
        operator,
        id,
        ..
    } = waiting();
    let second = portal.user("second", &["expert@006"]);
    let _ = portal.user("first", &["expert@006"]);
    let path = format!("/examinations/{id}");
    let act = |who: &Browser, what: &str, body: &Value| who.post(&format!("{path}/{what}"), body);
    let to = |name: &str| json!({ "reader": name });
    let claim = || act(&second, "claim", &Value::Null);
    let for_another = refused(409, "ASSIGNED");
    let released = || {
        let released = act(&second, "release", &Value::Null);
        assert_eq!(released.status, 200, "{}", released.json());
    };
    let assigned = act(&operator, "assign", &to("first"));
    assert_eq!(assigned.status, 200, "{}", assigned.json());
    assert_eq!(refusal(&claim()), for_another);

    let _ = portal.pacs(&["users", "disable", "first"]);
    let claimed = claim();
    assert_eq!(
        claimed.json()["status"],
        "under_review",
        "{}",
        claimed.json()
    );
    released();
    // Back at work it is theirs again.
    let _ = portal.pacs(&["users", "enable", "first"]);
    assert_eq!(refusal(&claim()), for_another);

    let roles = |roles: &[&str]| {
        let roles = roles.iter().flat_map(|role| ["--role", *role]);
        let words: Vec<&str> = ["users", "roles", "first"]
            .into_iter()
            .chain(roles)
            .collect();
        let _ = portal.pacs(&words);
    };
    roles(&["expert@001", "operator@006"]);
    let [(task, _)] = found(&portal, &second, "").try_into().expect("one task");
    let taken = wish("IN PROGRESS", "2.25.4");
    assert_eq!(
        put(&portal, &second, &task, &taken),
        200,
        "by the other door"
    );
    released();
    let taken = act(&second, "assign", &to("second"));
    assert_eq!(taken.json()["assigned_to"], "second", "{}", taken.json());
    roles(&["expert@006"]);
    let first = portal.again("first");
    let claimed = act(&first, "claim", &Value::Null);
    assert_eq!(refusal(&claimed), for_another, "it is another's now");
}

/// Section 12: image.view and report.view of a referrer reach what they ordered themselves.
#[test]
fn a_referring_doctor_sees_what_they_ordered_and_nothing_else() {
    let portal = Portal::start();
    let operator = portal.user("operator", &["operator@006"]);
    let number = registered(&operator, &patient());
    let [own, other] = ["own", "other"].map(|name| portal.user(name, &["referrer@006"]));
    let ordered = saved(&own, &form(&number));
    let second = json!({"name": {"family": "Осмонова"}, "birth_date": "1980-05-01"});
    let second = registered(&operator, &second);
    let of_operator = saved(&operator, &form(&second));

    for scope in ["ordering", "performing"] {
        let list = |who: &Browser| ids(&who.get(&format!("/examinations?scope={scope}")));
        assert_eq!(list(&own), [ordered.as_str()], "{scope}");
        assert_eq!(list(&other), [""; 0], "{scope}");
    }
    let read = |who: &Browser, id: &str| who.get(&format!("/examinations/{id}")).status;
    assert_eq!(read(&own, &ordered), 200);
    assert_eq!(read(&other, &ordered), 404);
    assert_eq!(read(&own, &of_operator), 404);
    let of_patient =
        |who: &Browser, number: &str| ids(&who.get(&format!("/patients/{number}/examinations")));
    assert_eq!(of_patient(&own, &number), [ordered.as_str()]);
    assert_eq!(of_patient(&other, &number), [""; 0]);
    assert_eq!(of_patient(&own, &second), [""; 0]);
    let mine = own.get("/examinations?scope=ordering").json();
    assert_eq!(
        mine["items"][0]["patient"]["number"],
        json!(number),
        "{mine}"
    );
    // What they ordered they do not read, and name no reader of it.
    let assign = json!({"reader": "own"});
    let assign = own.post(&format!("/examinations/{ordered}/assign"), &assign);
    assert_eq!(refusal(&assign), refused(403, "NOT_PERMITTED"));
}
