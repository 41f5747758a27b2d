//! What administrators, auditors and operators do over the API: devices, organisations, users, the
//! audit trail, figures; and the citizen register, with a security server of X-Road behind it.

#[path = "administration/demo.rs"]
mod demo;
#[path = "administration/register.rs"]
mod register;
#[path = "administration/register_tls.rs"]
mod register_tls;

use pacs_tests::server::{Options, Server};
use pacs_tests::signed_in::{Browser, CHEAP_PASSWORDS, PASSWORD, code, header, pacs};
use pacs_tests::stow::Answer;
use serde_json::{Value, json};

/// A server with two organisations.
fn start(settings: &str) -> Server {
    let server = Server::start(Options {
        config: format!("{CHEAP_PASSWORDS}{settings}"),
        ..Options::default()
    });
    let organisation = |code: &str, key: &str, prefix: &str| {
        json!({
            "code": code, "key": key, "name_ru": key, "name_ky": key, "name_en": key,
            "city_ru": "", "city_ky": "", "region_ru": "", "address_ru": "",
            "ae_prefix": prefix, "dicom_institution_name": key,
            "dicom_institution_name_ascii": key, "timezone": "Asia/Bishkek",
        })
    };
    let list = json!({"organisations": [
        organisation("001", "first", "FIRST"),
        organisation("006", "sixth", "SIXTH"),
    ]});
    let file = server.home().join("organisations.json");
    std::fs::write(&file, list.to_string()).expect("the home is writable");
    let path = file.to_str().expect("a path");
    let _imported = pacs(&server, &["organisations", "import", path]).succeeded();
    server
}

fn post(browser: &Browser, server: &Server, path: &str, body: &Value) -> Answer {
    browser.send(server, "POST", &format!("/api/v1{path}"), &[], body)
}

/// Makes something once.
fn make(browser: &Browser, server: &Server, path: &str, body: &Value) -> Answer {
    let key = [("Idempotency-Key", "made-once")];
    browser.send(server, "POST", &format!("/api/v1{path}"), &key, body)
}

fn put(browser: &Browser, server: &Server, path: &str, etag: &str, body: &Value) -> Answer {
    let fields = [("If-Match", etag)];
    browser.send(server, "PUT", &format!("/api/v1{path}"), &fields, body)
}

/// The state that an answer shows.
fn etag(answer: &Answer) -> String {
    header(answer, "etag").expect("a state")
}

fn read(browser: &Browser, server: &Server, path: &str) -> Answer {
    browser.send(server, "GET", &format!("/api/v1{path}"), &[], &Value::Null)
}

#[test]
fn devices_are_looked_after_by_the_administrator_of_their_organisation_alone() {
    let server = start("");
    let own = Browser::of_new_user(&server, "own", &["org_admin@006"]);
    let other = Browser::of_new_user(&server, "other", &["org_admin@001"]);
    let ministry = Browser::of_new_user(&server, "ministry", &["moh_admin@national"]);
    let operator = Browser::of_new_user(&server, "operator", &["operator@006"]);
    let new = json!({"ae_title": "SIXTH_CT1", "organisation": "006", "modality": "CT"});

    let made = post(&own, &server, "/devices", &new);
    assert_eq!(made.status, 201, "{:?}", made.json());
    assert_eq!(made.json()["profile"]["charset"], "ASCII");
    let first = etag(&made);
    assert_eq!(code(&post(&own, &server, "/devices", &new)), "TAKEN");
    assert_eq!(
        code(&post(&other, &server, "/devices", &new)),
        "NOT_PERMITTED"
    );
    assert_eq!(
        code(&post(&operator, &server, "/devices", &new)),
        "NOT_PERMITTED"
    );

    let path = "/devices/SIXTH_CT1";
    assert_eq!(read(&own, &server, path).status, 200);
    assert_eq!(code(&read(&other, &server, path)), "NOT_FOUND");
    assert_eq!(code(&read(&operator, &server, path)), "NOT_PERMITTED");
    assert_eq!(
        own.get(&server, "/devices")["items"][0]["etag"],
        json!(first)
    );
    assert_eq!(other.get(&server, "/devices")["items"], json!([]));
    let all = ministry.get(&server, "/devices?organisation=006");
    assert_eq!(all["items"].as_array().expect("a list").len(), 1);

    let mut changed = made.json();
    changed["name"] = json!("КТ, первый этаж");
    changed["profile"]["charset"] = json!("UTF8");
    let blind = own.send(&server, "PUT", &format!("/api/v1{path}"), &[], &changed);
    assert_eq!(code(&blind), "IF_MATCH_NEEDED");
    let answer = put(&own, &server, path, &first, &changed);
    assert_eq!(answer.status, 200, "{:?}", answer.json());
    assert_eq!(code(&put(&own, &server, path, &first, &changed)), "STALE");
    let second = etag(&answer);
    changed["organisation"] = json!("001");
    let moved = put(&own, &server, path, &second, &changed);
    assert_eq!(code(&moved), "NOT_PERMITTED", "not theirs to give away");
    changed["ae_title"] = json!("SIXTH_CT2");
    let renamed = put(&ministry, &server, path, &second, &changed);
    assert_eq!(code(&renamed), "MALFORMED");
    changed["ae_title"] = json!("SIXTH_CT1");
    let moved = put(&ministry, &server, path, &second, &changed);
    assert_eq!(moved.status, 200, "{:?}", moved.json());
    assert_eq!(code(&read(&own, &server, path)), "NOT_FOUND");
    let third = etag(&moved);
    let fields = [("If-Match", &*third)];
    let remove = |browser: &Browser| {
        browser.send(
            &server,
            "DELETE",
            &format!("/api/v1{path}"),
            &fields,
            &Value::Null,
        )
    };
    assert_eq!(code(&remove(&own)), "NOT_FOUND");
    assert_eq!(remove(&other).status, 204);
    assert_eq!(code(&read(&other, &server, path)), "NOT_FOUND");
    let unknown = json!({"ae_title": "SIXTH_MR1", "organisation": "006", "colour": "red"});
    assert_eq!(code(&post(&own, &server, "/devices", &unknown)), "BAD_BODY");
    let nowhere = json!({"ae_title": "X", "organisation": "009"});
    assert_eq!(
        code(&post(&ministry, &server, "/devices", &nowhere)),
        "NOT_FOUND"
    );
}

#[test]
fn organisations_are_seen_by_everybody_and_changed_by_the_ministry() {
    let server = start("");
    let ministry = Browser::of_new_user(&server, "ministry", &["moh_admin@national"]);
    let own = Browser::of_new_user(&server, "own", &["org_admin@006"]);

    let listed = own.get(&server, "/organisations");
    let codes: Vec<&Value> = listed["items"].as_array().expect("a list").iter().collect();
    assert_eq!(
        (&codes[0]["code"], &codes[1]["code"]),
        (&json!("001"), &json!("006"))
    );
    let answer = read(&own, &server, "/organisations/006");
    let mut changed = answer.json();
    changed["address_ru"] = json!("ул. Примерная, 1");
    let path = "/organisations/006";
    let refused = put(&own, &server, path, &etag(&answer), &changed);
    assert_eq!(code(&refused), "NOT_PERMITTED");
    let done = put(&ministry, &server, path, &etag(&answer), &changed);
    assert_eq!(done.status, 200, "{:?}", done.json());
    assert_eq!(own.get(&server, path)["address_ru"], "ул. Примерная, 1");
    assert_eq!(
        code(&put(&ministry, &server, path, &etag(&answer), &changed)),
        "STALE"
    );

    changed["code"] = json!("007");
    assert_eq!(
        code(&post(&ministry, &server, "/organisations", &changed)),
        "TAKEN"
    );
    changed["ae_prefix"] = json!("SEVEN");
    let made = post(&ministry, &server, "/organisations", &changed);
    assert_eq!(made.status, 201, "{:?}", made.json());
    assert_eq!(
        code(&post(&ministry, &server, "/organisations", &changed)),
        "TAKEN"
    );
    assert_eq!(
        code(&post(&own, &server, "/organisations", &changed)),
        "NOT_PERMITTED"
    );
    assert_eq!(
        code(&read(&own, &server, "/organisations/008")),
        "NOT_FOUND"
    );
    assert_eq!(code(&read(&own, &server, "/organisations/x")), "NOT_FOUND");
    changed["ae_prefix"] = json!("too long and small");
    let unfit = put(
        &ministry,
        &server,
        "/organisations/007",
        &etag(&made),
        &changed,
    );
    assert_eq!(code(&unfit), "MALFORMED");
}

fn grant(role: &str, organisation: &str) -> Value {
    if organisation == "national" {
        json!({"role": role, "reach": "national"})
    } else {
        json!({"role": role, "reach": {"organisation": organisation}})
    }
}

#[test]
fn an_administrator_makes_users_of_their_organisation_and_nobody_more_powerful() {
    let server = start("");
    let own = Browser::of_new_user(&server, "own", &["org_admin@006"]);
    let ministry = Browser::of_new_user(&server, "ministry", &["moh_admin@national"]);
    let new = |name: &str, grants: Value| {
        let display_name = "Учётная запись";
        json!({"name": name, "display_name": display_name, "grants": grants})
    };

    let made = post(
        &own,
        &server,
        "/users",
        &new("reader", json!([grant("radiologist", "006")])),
    );
    assert_eq!(made.status, 201, "{:?}", made.json());
    let first = made.json()["first_password"]
        .as_str()
        .expect("a password")
        .to_owned();
    let reader = Browser::sign_in(&server, "reader", &first);
    assert_eq!(
        code(&read(&reader, &server, "/organisations")),
        "PASSWORD_MUST_CHANGE"
    );
    let reader = reader.with_password(&server, &first);
    assert_eq!(read(&reader, &server, "/organisations").status, 200);

    for (name, grants, refused) in [
        ("a", json!([grant("operator", "001")]), "ROLE_NOT_YOURS"),
        ("b", json!([grant("expert", "national")]), "ROLE_NOT_YOURS"),
        ("c", json!([grant("moh_admin", "006")]), "ROLE_NOT_YOURS"),
        ("d", json!([grant("auditor", "006")]), "ROLE_NOT_YOURS"),
        (
            "e",
            json!([grant("archive_admin", "006")]),
            "ROLE_NOT_YOURS",
        ),
        // Nobody but the ministry would see them any more.
        ("n", json!([]), "ROLE_NOT_YOURS"),
        ("f", json!([grant("device", "006")]), "ROLES_CONTRADICT"),
        ("reader", json!([grant("operator", "006")]), "TAKEN"),
    ] {
        let answer = post(&own, &server, "/users", &new(name, grants));
        assert_eq!(code(&answer), refused, "{name}");
    }
    let both = json!([grant("auditor", "national"), grant("operator", "006")]);
    let answer = post(&ministry, &server, "/users", &new("g", both));
    assert_eq!(code(&answer), "ROLES_CONTRADICT");
}

#[test]
fn an_administrator_sees_their_people_and_changes_neither_themselves_nor_what_others_gave() {
    let server = start("");
    let own = Browser::of_new_user(&server, "own", &["org_admin@006"]);
    let other = Browser::of_new_user(&server, "other", &["org_admin@001"]);
    let ministry = Browser::of_new_user(&server, "ministry", &["moh_admin@national"]);
    let reader = Browser::of_new_user(&server, "reader", &["radiologist@006"]);

    let names = |browser: &Browser| -> Vec<String> {
        let listed = browser.get(&server, "/users");
        let users = listed["items"].as_array().expect("a list").iter();
        users
            .map(|user| user["name"].as_str().expect("a name").to_owned())
            .collect()
    };
    assert_eq!(names(&own), ["own", "reader"]);
    assert_eq!(names(&other), ["other"]);
    assert_eq!(names(&ministry), ["ministry", "other", "own", "reader"]);
    assert_eq!(code(&read(&other, &server, "/users/reader")), "NOT_FOUND");
    assert_eq!(code(&read(&reader, &server, "/users")), "NOT_PERMITTED");

    let own_account = read(&own, &server, "/users/own");
    let more = json!({
        "display_name": "own", "is_doctor": true,
        "grants": [grant("org_admin", "006"), grant("radiologist", "006")],
    });
    let refused = put(&own, &server, "/users/own", &etag(&own_account), &more);
    assert_eq!(code(&refused), "OWN_ACCOUNT");

    let shown = read(&ministry, &server, "/users/reader");
    let none = json!({ "display_name": "reader", "is_doctor": true, "grants": [] });
    let refused = put(&own, &server, "/users/reader", &etag(&shown), &none);
    assert_eq!(code(&refused), "ROLE_NOT_YOURS");
    let wider = json!({
        "display_name": "reader", "is_doctor": true,
        "grants": [grant("radiologist", "006"), grant("radiologist", "001")],
    });
    let done = put(&ministry, &server, "/users/reader", &etag(&shown), &wider);
    assert_eq!(done.status, 200, "{:?}", done.json());
    let narrow = json!({
        "display_name": "reader", "is_doctor": true, "grants": [grant("radiologist", "006")],
    });
    let refused = put(&own, &server, "/users/reader", &etag(&done), &narrow);
    assert_eq!(
        code(&refused),
        "ROLE_NOT_YOURS",
        "what another gave is not theirs to take"
    );
}

#[test]
fn a_user_who_is_disabled_or_reset_is_signed_out() {
    let server = start("");
    let own = Browser::of_new_user(&server, "own", &["org_admin@006"]);
    let reader = Browser::of_new_user(&server, "reader", &["operator@006"]);
    let shown = read(&own, &server, "/users/reader");

    let path = "/users/reader/disabled";
    let body = json!({"is_disabled": true});
    let done = put(&own, &server, path, &etag(&shown), &body);

    assert_eq!(done.status, 200, "{:?}", done.json());
    assert_eq!(done.json()["is_disabled"], true);
    assert_eq!(
        code(&put(&own, &server, path, &etag(&shown), &body)),
        "STALE"
    );
    assert_eq!(read(&reader, &server, "/organisations").status, 401);
    let back = put(
        &own,
        &server,
        path,
        &etag(&done),
        &json!({"is_disabled": false}),
    );
    assert_eq!(back.status, 200, "{:?}", back.json());
    let reader = Browser::sign_in(&server, "reader", PASSWORD);
    let shown = read(&own, &server, "/users/reader");
    let state = etag(&shown);
    let fields = [("If-Match", &*state)];
    let reset = own.send(
        &server,
        "POST",
        "/api/v1/users/reader/reset",
        &fields,
        &Value::Null,
    );
    assert_eq!(reset.status, 200, "{:?}", reset.json());
    assert_eq!(read(&reader, &server, "/organisations").status, 401);
    let first = reset.json()["first_password"]
        .as_str()
        .expect("a password")
        .to_owned();
    let _again = Browser::sign_in(&server, "reader", &first).with_password(&server, &first);
    let listed = pacs(&server, &["audit", "list"]).succeeded().text;
    for reason in ["DISABLED", "ENABLED", "RESET"] {
        assert!(listed.contains(reason), "{reason}: {listed}");
    }
}

#[test]
fn auditors_read_all_of_the_trail_and_administrators_their_own() {
    let server = start("");
    let auditor = Browser::of_new_user(&server, "auditor", &["auditor@national"]);
    let own = Browser::of_new_user(&server, "own", &["org_admin@006"]);
    let operator = Browser::of_new_user(&server, "operator", &["operator@006"]);

    let first = auditor.get(&server, "/audit?limit=5");
    assert_eq!(first["items"].as_array().expect("a list").len(), 5);
    assert_eq!(first["items"][0]["event"]["act"], "audit_read");
    let cursor = first["next"].as_str().expect("more");
    let second = auditor.get(&server, &format!("/audit?limit=5&cursor={cursor}"));
    let last = first["items"][4]["number"].as_u64().expect("a number");
    assert_eq!(second["items"][0]["number"], last - 1);
    assert_eq!(second["items"][0]["digest"], first["items"][4]["previous"]);
    let none = auditor.get(&server, "/audit?patient=P0000005724");
    assert_eq!(
        none["items"].as_array().expect("a list").len(),
        1,
        "that it was asked"
    );

    let narrow = own.get(&server, "/audit");
    let items = narrow["items"].as_array().expect("a list");
    assert!(!items.is_empty());
    for item in items {
        assert_eq!(item["event"]["actor"]["organisation"], "006", "{item}");
    }
    assert_eq!(code(&read(&operator, &server, "/audit")), "NOT_PERMITTED");
    assert_eq!(
        code(&read(&auditor, &server, "/audit?patient=x")),
        "MALFORMED"
    );
    assert_eq!(
        code(&read(&auditor, &server, "/audit?cursor=00")),
        "BAD_CURSOR"
    );

    let whole = post(&auditor, &server, "/audit/verification", &json!({}));
    assert_eq!(whole.json()["is_whole"], true, "{:?}", whole.json());
    let anchor = whole.json()["anchor"]
        .as_str()
        .expect("an anchor")
        .to_owned();
    let noted = post(
        &auditor,
        &server,
        "/audit/verification",
        &json!({"noted": anchor}),
    );
    assert_eq!(noted.json()["is_whole"], true);
    let forged = format!("1:{}", "0".repeat(64));
    let found = post(
        &auditor,
        &server,
        "/audit/verification",
        &json!({"noted": forged}),
    );
    assert_eq!(found.json()["is_whole"], false);
    let refused = post(&own, &server, "/audit/verification", &json!({}));
    assert_eq!(code(&refused), "NOT_PERMITTED");
}

#[test]
fn figures_are_for_those_of_the_organisation_and_the_ministry() {
    let server = start("");
    let ministry = Browser::of_new_user(&server, "ministry", &["moh_admin@national"]);
    let operator = Browser::of_new_user(&server, "operator", &["operator@006"]);
    let auditor = Browser::of_new_user(&server, "auditor", &["auditor@national"]);

    let all = ministry.get(&server, "/statistics");
    assert_eq!((&all["total"], &all["counts"]), (&json!(0), &json!([])));
    let own = operator.get(&server, "/statistics?from=2026-01-01&until=2026-01-31");
    assert_eq!(own["until"], "2026-01-31");
    let refused = read(&operator, &server, "/statistics?organisation=001");
    assert_eq!(code(&refused), "NOT_PERMITTED");
    assert_eq!(
        code(&read(&auditor, &server, "/statistics")),
        "NOT_PERMITTED"
    );
    for query in [
        "from=2026-02-01&until=2026-01-01",
        "from=2020-01-01&until=2026-01-01",
    ] {
        let refused = read(&operator, &server, &format!("/statistics?{query}"));
        assert_eq!(code(&refused), "MALFORMED", "{query}");
    }
}
