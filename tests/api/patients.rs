//! Finding, registering, correcting and merging patients.

use pacs_tests::portal::{Browser, Portal, etag, refusal, refused};
use pacs_tests::stow::Answer;
use serde_json::{Value, json};

const PIN: &str = "21502190099901";

pub(crate) fn patient() -> Value {
    json!({
        "name": {"family": "Жээнбеков", "given": "Үсөн", "patronymic": "Өмүрбекович"},
        "pin": PIN,
    })
}

/// Registers somebody; their number.
pub(crate) fn registered(operator: &Browser, body: &Value) -> String {
    let made = operator.make("/patients", body);
    assert_eq!(made.status, 201, "{}", made.json());
    made.json()["number"].as_str().expect("a number").to_owned()
}

fn found(browser: &Browser, text: &str) -> Vec<String> {
    let found = browser.post("/patients/search", &json!({ "text": text }));
    assert_eq!(found.status, 200, "{}", found.json());
    let items = found.json()["items"].clone();
    let items = items.as_array().expect("items").iter();
    let number = |item: &Value| item["number"].as_str().expect("a number").to_owned();
    items.map(number).collect()
}

fn what(answer: &Answer) -> Value {
    answer.json()
}

#[test]
fn a_patient_is_registered_once_and_found_however_the_name_is_spelled() {
    let portal = Portal::start();
    let operator = portal.user("operator", &["operator@006"]);

    assert_eq!(
        refusal(&operator.post("/patients", &patient())),
        refused(400, "KEY_NEEDED")
    );
    let key = [("Idempotency-Key", "form-000001")];
    let made = operator.send("POST", "/patients", &key, &patient());
    assert_eq!(made.status, 201, "{}", made.json());
    let number = made.json()["number"].as_str().expect("a number").to_owned();
    assert!(made.head.contains(&format!(
        "location: /api/v1/patients/{}",
        number.to_lowercase()
    )));
    let again = operator.send("POST", "/patients", &key, &patient());
    assert_eq!((again.status, what(&again)), (201, what(&made)));
    let mut other = patient();
    other["address"] = json!("Ош");
    let reused = operator.send("POST", "/patients", &key, &other);
    assert_eq!(refusal(&reused), refused(422, "KEY_REUSED"));
    let known = operator.make("/patients", &other);
    assert_eq!(
        (known.status, &known.json()["number"]),
        (200, &json!(number))
    );
    assert_eq!(
        known.json()["address"],
        Value::Null,
        "they stay as they are"
    );

    assert_eq!(made.json()["birth_date"], "1900-02-15", "as the PIN says");
    assert_eq!(made.json()["sex"], "M");
    assert_eq!(made.json()["latin"]["family"], "ZHEENBEKOV");
    for text in [
        PIN,
        "2 1502 1900 99901",
        &number.to_lowercase(),
        "жээнбеков",
        "Женбеков",
        "zheenbek",
        "Uson Jeenbekov",
        "омурбекович усон",
        ";'ty,trjd",
    ] {
        assert_eq!(found(&operator, text), [number.as_str()], "{text}");
    }
    assert_eq!(found(&operator, "Осмонова"), Vec::<String>::new());
    let listed = operator.post("/patients/search", &json!({"text": PIN}));
    assert_eq!(listed.json()["items"][0]["pin"], "2•••••••••9901");
    let card = operator.get(&format!("/patients/{number}"));
    assert_eq!(card.json()["pin"], PIN);
    let wrong = operator.post("/patients/search", &json!({"text": "12902190099903"}));
    assert_eq!(refusal(&wrong), refused(422, "PIN_INVALID"));
    assert_eq!(wrong.json()["rule"], "PIN_DATE");
    let unknown = operator.post("/patients/search", &json!({"text": "x", "more": 1}));
    assert_eq!(refusal(&unknown), refused(400, "BAD_BODY"));
}

#[test]
fn who_sounds_the_same_is_told_of_and_who_has_no_pin_is_registered_too() {
    let portal = Portal::start();
    let operator = portal.user("operator", &["operator@006"]);
    let number = registered(&operator, &patient());
    let mut alike = patient();
    alike["pin"] = Value::Null;
    alike["birth_date"] = json!("1900-02-15");
    alike["name"]["family"] = json!("Жеенбеков");
    let warned = operator.make("/patients", &alike);
    assert_eq!(refusal(&warned), refused(409, "PATIENTS_ALIKE"));
    assert_eq!(warned.json()["patients"], json!([number]));
    alike["is_another"] = json!(true);
    let second = registered(&operator, &alike);
    assert_ne!(second, number);
    let foreigner = json!({
        "name": {"family": "Karimov"}, "documents": ["uzb-ав 1234567"], "citizenship": "UZB",
    });
    let foreigner = registered(&operator, &foreigner);
    assert_eq!(found(&operator, "UZB-AB1234567"), [foreigner]);
    let unknown = operator.make("/patients/unidentified", &json!({"sex": "M"}));
    assert_eq!(unknown.status, 201);
    assert_eq!(unknown.json()["name"]["family"], "НЕИЗВЕСТНЫЙ");
}

#[test]
fn nobody_overwrites_a_patient_unseen_and_what_was_said_before_is_kept() {
    let portal = Portal::start();
    let here = portal.user("here", &["operator@006"]);
    let there = portal.user("there", &["operator@001"]);
    let mut body = patient();
    body["cards"] = json!([{"organisation": "006", "number": "17"}]);
    let number = registered(&here, &body);
    let path = format!("/patients/{number}");
    let first = etag(&here.get(&path));
    let mut next = patient();
    next["telephone"] = json!("+996 555 000000");
    next["reason"] = json!("пациент сообщил");

    assert_eq!(
        refusal(&here.send("PUT", &path, &[], &next)),
        refused(428, "IF_MATCH_NEEDED")
    );
    assert_eq!(
        refusal(&here.put(&path, "*", &next)),
        refused(428, "IF_MATCH_NEEDED")
    );
    assert_eq!(
        refusal(&here.put(&path, "\"1\"", &next)),
        refused(412, "STALE")
    );
    // Another hospital corrects them too; it neither sees nor loses the number of a card here.
    let seen = there.get(&path);
    assert_eq!(seen.json()["cards"], json!([]));
    let changed = there.put(&path, &first, &next);
    assert_eq!(changed.status, 200, "{}", changed.json());
    assert_ne!(etag(&changed), first);
    assert_eq!(
        refusal(&here.put(&path, &first, &next)),
        refused(412, "STALE")
    );
    let now = here.get(&path);
    assert_eq!(
        now.json()["cards"],
        json!([{"organisation": "006", "number": "17"}])
    );
    assert_eq!(now.json()["telephone"], "+996 555 000000");
    let theirs = json!([{"organisation": "006", "number": "18"}]);
    let mut stolen = next.clone();
    stolen["cards"] = theirs;
    let stolen = there.put(&path, &etag(&now), &stolen);
    assert_eq!(refusal(&stolen), refused(403, "NOT_PERMITTED"));

    let mut other_pin = next.clone();
    other_pin["pin"] = json!("20101199099907");
    let asked = here.put(&path, &etag(&now), &other_pin);
    assert_eq!(refusal(&asked), refused(422, "PIN_CHANGE_NEEDED"));
    other_pin["pin_change"] = json!("reassigned");
    other_pin["birth_date"] = json!("1900-02-15");
    let changed = here.put(&path, &etag(&now), &other_pin);
    assert_eq!(changed.status, 200, "{}", changed.json());
    assert_eq!(changed.json()["former_pins"], json!(["2•••••••••9901"]));
    assert_eq!(changed.json()["warnings"], json!(["PIN_REGISTER_MISMATCH"]));
    assert_eq!(
        found(&here, PIN),
        [number.as_str()],
        "also by the former one"
    );
    has_history(&here, &path);
}

/// What was said of a patient who was changed twice is still there.
fn has_history(here: &Browser, path: &str) {
    let history = here.get(&format!("{path}/history?limit=2"));
    let items = history.json()["items"].clone();
    let word = |at: usize| items[at]["what"].clone();
    assert_eq!((word(0), word(1)), (json!("registered"), json!("changed")));
    assert_eq!(items[1]["by"], "there");
    assert_eq!(items[1]["reason"], "пациент сообщил");
    assert_eq!(items[1]["before"]["telephone"], Value::Null);
    let next = history.json()["next"].as_str().expect("more").to_owned();
    let rest = here.get(&format!("{path}/history?limit=2&cursor={next}"));
    assert_eq!(rest.json()["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(rest.json()["next"], Value::Null);
    let elsewhere = here.get(&format!("/examinations?cursor={next}"));
    assert_eq!(refusal(&elsewhere), refused(422, "BAD_CURSOR"));
}

#[test]
fn two_patients_become_one_and_two_again_by_those_who_may() {
    let portal = Portal::start();
    let operator = portal.user("operator", &["operator@006"]);
    let admin = portal.user("admin", &["org_admin@006"]);
    let survivor = registered(&operator, &patient());
    let unknown = operator.make("/patients/unidentified", &json!({}));
    let loser = unknown.json()["number"]
        .as_str()
        .expect("a number")
        .to_owned();
    let path = format!("/patients/{survivor}");
    let (tag, why) = (etag(&unknown), "один человек");
    let merge = |other: &str| json!({"other": other, "other_etag": tag, "reason": why});
    let seen = etag(&admin.get(&path));
    let into = |browser: &Browser, etag: &str| {
        let path = format!("{path}/merge");
        browser.send("POST", &path, &[("If-Match", etag)], &merge(&loser))
    };

    assert_eq!(
        refusal(&into(&operator, &seen)),
        refused(403, "NOT_PERMITTED")
    );
    assert_eq!(refusal(&into(&admin, "\"1\"")), refused(412, "STALE"));
    let merged = into(&admin, &seen);
    assert_eq!(merged.status, 200, "{}", merged.json());
    assert_eq!(merged.json()["aliases"], json!([loser]));
    let shown = operator.get(&format!("/patients/{loser}"));
    assert_eq!(shown.json()["number"], json!(survivor));
    let body = json!({"name": {"family": "Другой"}, "birth_date": "1990-01-01"});
    let gone = operator.put(&format!("/patients/{loser}"), &etag(&shown), &body);
    assert_eq!(refusal(&gone), refused(409, "MERGED"));
    assert_eq!(gone.json()["into"], json!(survivor));

    let undo = format!("/patients/{loser}/unmerge");
    let undone = admin.post(&undo, &json!({"reason": "ошибка"}));
    assert_eq!(undone.status, 200, "{}", undone.json());
    assert_eq!(undone.json()["aliases"], json!([]));
    let again = admin.post(&undo, &json!({"reason": "ошибка"}));
    assert_eq!(refusal(&again), refused(409, "NOT_MERGED"));
    let shown = operator.get(&format!("/patients/{loser}"));
    assert_eq!(shown.json()["number"], json!(loser));
}

#[test]
fn each_role_does_with_patients_what_the_table_says() {
    let portal = Portal::start();
    let operator = portal.user("operator", &["operator@006"]);
    let number = registered(&operator, &patient());
    // Search, card, register, history: whether each is done.
    for (role, may) in [
        ("radiographer@001", [true, true, true, true]),
        ("radiologist@001", [true, true, false, true]),
        ("expert@national", [true, true, false, true]),
        ("referrer@006", [false, false, false, false]),
        ("org_admin@006", [false, true, true, false]),
        ("archive_admin@national", [false, true, false, false]),
        ("moh_admin@national", [false, false, false, false]),
        ("auditor@national", [false, false, false, false]),
    ] {
        let name = role.split('@').next().expect("a role").replace('_', ".");
        let browser = portal.user(&name, &[role]);
        let answers = [
            browser.post("/patients/search", &json!({"text": "Жээнбеков"})),
            browser.get(&format!("/patients/{number}")),
            browser.make("/patients", &patient()),
            browser.get(&format!("/patients/{number}/history")),
        ];
        for (answer, may) in answers.iter().zip(may) {
            let expected = if may { 200 } else { 403 };
            assert_eq!(answer.status, expected, "{role}: {}", answer.json());
        }
    }
    let nobody = pacs_tests::web::get(portal.server.http(), "/api/v1/patients/P0000000017", &[]);
    assert_eq!(nobody.status, 401);
    let cards = operator.send("GET", "/patients/P1", &[], &Value::Null);
    assert_eq!(refusal(&cards), refused(422, "BAD_PATIENT_NUMBER"));
    let elsewhere = operator.get(&format!("/patients/{number}?organisation=001"));
    assert_eq!(refusal(&elsewhere), refused(403, "NOT_PERMITTED"));
}
