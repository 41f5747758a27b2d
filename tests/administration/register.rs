//! The citizen register over the API, with a security server of our own behind it that fails in
//! every way in which such servers do.

use super::{etag, make, post, put, read, start};
use pacs_tests::edges::until;
use pacs_tests::samples::Slice;
use pacs_tests::server::{PATIENCE, Server};
use pacs_tests::signed_in::{Browser, code};
use pacs_tests::wire::{Context, uid};
use pacs_tests::xroad::{
    Behaviour, HASTY, KNOWN_FOREIGNER, KNOWN_PASSPORT, KNOWN_PIN, PATIENT, SecurityServer,
};
use serde_json::{Value, json};

/// Nobody has it.
const UNKNOWN_PIN: &str = "21502190099901";

pub(crate) fn ask(browser: &Browser, server: &Server, pin: &str) -> Value {
    let answer = post(browser, server, "/register", &json!({"pin": pin}));
    assert_eq!(answer.status, 200, "{:?}", answer.json());
    answer.json()
}

pub(crate) fn operator(server: &Server, name: &str) -> Browser {
    Browser::of_new_user(server, name, &["operator@006"])
}

#[test]
fn whoever_is_found_fills_the_form_and_is_in_the_audit_trail() {
    let behind = SecurityServer::start();
    let server = start(&behind.soap_settings());
    let browser = operator(&server, "operator");

    let found = ask(&browser, &server, "2 0101 1990 99907");

    assert_eq!(found["outcome"], "found", "{found}");
    assert_eq!(found["person"]["family"], "Жээнбеков");
    assert_eq!(found["person"]["given"], "Үсөн");
    assert_eq!(found["person"]["birth_date"], "1990-01-01");
    assert_eq!(found["person"]["sex"], "M");
    assert_eq!(
        (&found["is_kept"], &found["warnings"]),
        (&json!(false), &json!([]))
    );
    assert!(!found.to_string().contains("CANARY"), "{found}");
    let request = behind.requests().pop().expect("a request");
    for part in [
        "<xro:userId>006.operator</xro:userId>",
        "<xro:issue>patient-search</xro:issue>",
        "<iden:memberCode>70000099</iden:memberCode>",
        "<iden:serviceCode>zagsDataByPin</iden:serviceCode>",
    ] {
        assert!(request.contains(part), "{part}: {request}");
    }
    let again = ask(&browser, &server, KNOWN_PIN);
    assert_eq!(again["is_kept"], true);
    assert_eq!(again["message_id"], found["message_id"]);
    assert_eq!(behind.requests().len(), 1);
    let another = operator(&server, "another");
    assert_eq!(ask(&another, &server, KNOWN_PIN)["is_kept"], false);
    assert_eq!(ask(&browser, &server, UNKNOWN_PIN)["outcome"], "not_found");

    let auditor = Browser::of_new_user(&server, "auditor", &["auditor@national"]);
    let trail = auditor.get(&server, "/audit").to_string();
    let id = found["message_id"].as_str().expect("an id");
    assert!(trail.contains("register_asked") && trail.contains(id));
    assert!(trail.contains("2•••••••••9907") && !trail.contains(KNOWN_PIN));
    assert!(!server.log().contains(KNOWN_PIN) && !server.log().contains("CANARY"));
    let refused = post(&auditor, &server, "/register", &json!({"pin": KNOWN_PIN}));
    assert_eq!(code(&refused), "NOT_PERMITTED");
    let wrong = post(
        &browser,
        &server,
        "/register",
        &json!({"pin": "30101199099905"}),
    );
    assert_eq!(
        (code(&wrong), &wrong.json()["pin"]),
        ("PIN".into(), &json!("PIN_SEX_DIGIT"))
    );
    assert!(read(&browser, &server, "/register/mismatches").json()["items"] == json!([]));
}

/// Questions by no way that the register knows: nothing is asked.
fn wrong_questions_are_refused(browser: &Browser, server: &Server, name: &Value) {
    for (body, what) in [
        (json!({}), "question"),
        (json!({"name": name}), "birth_date"),
        (
            json!({"name": {"family": "Жээнбеков", "given": ""}, "birth_date": "1990-01-01"}),
            "name",
        ),
        (json!({"document": KNOWN_PASSPORT}), "pin"),
        (
            json!({"pin": KNOWN_PIN, "document": KNOWN_FOREIGNER}),
            "document",
        ),
        (
            json!({"pin": KNOWN_PIN, "birth_date": "1990-01-01"}),
            "question",
        ),
    ] {
        let refused = post(browser, server, "/register", &body);
        let problem = refused.json();
        assert_eq!(
            (code(&refused), &problem["what"]),
            ("MALFORMED".into(), &json!(what))
        );
    }
}

#[test]
fn people_are_found_by_name_by_passport_and_by_the_document_of_another_country() {
    let behind = SecurityServer::start();
    let server = start(&behind.all_soap_settings());
    let browser = operator(&server, "operator");
    let asked = |body: Value| {
        let answer = post(&browser, &server, "/register", &body);
        assert_eq!(answer.status, 200, "{}", answer.json());
        answer.json()
    };
    let name = json!({"family": " Жээнбеков ", "given": "Үсөн"});

    let named = asked(json!({"name": name, "birth_date": "1990-01-01"}));
    assert_eq!(named["pins"], json!([KNOWN_PIN, UNKNOWN_PIN]), "{named}");
    assert_eq!(named["person"], Value::Null);
    let nobody = asked(json!({"name": name, "birth_date": "1991-01-01"}));
    assert_eq!(
        (&nobody["outcome"], &nobody["pins"]),
        (&json!("not_found"), &json!([]))
    );

    let passport = asked(json!({"pin": KNOWN_PIN, "document": KNOWN_PASSPORT}));
    assert_eq!(passport["person"]["family"], "Жээнбеков", "{passport}");
    assert_eq!(passport["person"]["document"]["is_void"], true);
    assert_eq!(passport["person"]["document"]["issued_on"], "2019-05-06");
    let other = asked(json!({"pin": KNOWN_PIN, "document": "KGZ-ID7654321"}));
    assert_eq!(other["outcome"], "not_found");

    // As it is typed: with look-alikes and a space.
    let foreigner = asked(json!({"document": "uzb-АВ 7654321"}));
    assert_eq!(foreigner["outcome"], "found", "{foreigner}");
    assert_eq!(foreigner["person"]["family"], "Каримова");
    assert_eq!(foreigner["person"]["pin"], Value::Null);
    assert_eq!(
        (&foreigner["warnings"], &foreigner["patient"]),
        (&json!([]), &Value::Null)
    );
    let registered = json!({
        "name": {"family": "Каримова", "given": "Нигора"}, "birth_date": "1980-02-03",
        "documents": [KNOWN_FOREIGNER],
    });
    let made = make(&browser, &server, "/patients", &registered);
    assert_eq!(made.status, 201, "{}", made.json());
    assert_eq!(made.json()["identity"], "verified", "{}", made.json());
    let again = asked(json!({"document": KNOWN_FOREIGNER}));
    assert_eq!(again["patient"], made.json()["number"]);
    assert_eq!(again["is_kept"], true);

    wrong_questions_are_refused(&browser, &server, &name);
    let auditor = Browser::of_new_user(&server, "auditor", &["auditor@national"]);
    let trail = auditor.get(&server, "/audit").to_string();
    for asked in [
        "register pins",
        "register passport KG-PIN",
        "register foreigner KG-DOC",
    ] {
        assert!(trail.contains(asked), "{asked}: {trail}");
    }
    for canary in ["1234567", "7654321", KNOWN_PIN] {
        assert!(
            !trail.contains(canary) && !server.log().contains(canary),
            "{canary}"
        );
    }
    assert!(!server.log().contains("Жээнбеков") && !server.log().contains("Каримова"));
}

/// An answer is for the one who asked and for the organisation on whose behalf.
#[test]
fn whoever_was_just_answered_registers_somebody_who_is_verified_and_nobody_else_does() {
    let behind = SecurityServer::start();
    let server = start(&behind.soap_settings());
    let both = Browser::of_new_user(&server, "both", &["operator@001", "operator@006"]);
    let asked = |organisation: &str| {
        let body = json!({"pin": KNOWN_PIN, "organisation": organisation});
        let answer = post(&both, &server, "/register", &body);
        assert_eq!(answer.status, 200, "{}", answer.json());
        (answer.json()["is_kept"].clone(), behind.requests().len())
    };
    assert_eq!(asked("006"), (json!(false), 1));
    assert_eq!(asked("006"), (json!(true), 1));
    assert_eq!(
        asked("001"),
        (json!(false), 2),
        "for another one it is asked"
    );
    let heard = behind.requests();
    let users = ["006.both", "001.both"].map(|user| format!("<xro:userId>{user}</xro:userId>"));
    for (request, user) in heard.iter().zip(&users) {
        assert!(request.contains(user), "{user}: {request}");
    }

    let typed = |family: &str| {
        json!({
            "name": {"family": family, "given": "Үсөн"},
            "pin": KNOWN_PIN, "organisation": "006",
        })
    };
    let made = make(&both, &server, "/patients", &typed("Жээнбеков"));
    assert_eq!(made.status, 201, "{}", made.json());
    assert_eq!(made.json()["identity"], "verified", "{}", made.json());
    assert_eq!(made.json()["name"]["patronymic"], "Өмүрбекович");
    let number = made.json()["number"].as_str().expect("a number").to_owned();
    let path = format!("/patients/{number}");
    let another = operator(&server, "another");
    let correct = |browser: &Browser, family: &str| {
        let seen = format!("{path}?organisation=006");
        let seen = etag(&read(browser, &server, &seen));
        let changed = put(browser, &server, &path, &seen, &typed(family));
        assert_eq!(changed.status, 200, "{}", changed.json());
        changed.json()["identity"].clone()
    };
    let unasked = correct(&another, "Жээнбековв");
    assert_eq!(unasked, "declared", "the answer was not theirs");
    assert_eq!(correct(&both, "Асанов"), "mismatch");
    assert_eq!(correct(&both, "Жээнбеков"), "verified");
    assert_eq!(behind.requests().len(), 2);
    let auditor = Browser::of_new_user(&server, "auditor", &["auditor@national"]);
    let trail = auditor.get(&server, "/audit?limit=100").to_string();
    for (reason, count) in [
        ("REGISTRATION ASKED", 2),
        ("REGISTRATION KEPT", 2),
        ("CORRECTION KEPT", 2),
    ] {
        assert_eq!(trail.matches(reason).count(), count, "{reason}: {trail}");
    }
}

#[test]
fn over_rest_the_same_is_found_and_an_answer_to_another_question_is_none() {
    let behind = SecurityServer::start();
    let server = start(&behind.rest_settings());
    let browser = operator(&server, "operator");
    assert_eq!(ask(&browser, &server, KNOWN_PIN)["person"]["given"], "Үсөн");
    let request = behind.requests().pop().expect("a request");
    let line = "GET /r1/central-server/GOV/70000005/zags-service/persons/by-pin/20101199099907 ";
    assert!(request.starts_with(line), "{request}");
    let lower = request.to_lowercase();
    assert!(lower.contains("x-road-client: central-server/gov/70000099/pacs-service\r\n"));
    assert!(
        lower.contains("x-road-userid: 006.operator\r\n"),
        "{request}"
    );
    let other = operator(&server, "other");
    for (behaviour, outcome) in [
        (Behaviour::OtherId, "fault"),
        (Behaviour::OtherPin, "fault"),
        (Behaviour::FaultInside, "fault"),
        (Behaviour::WrongXml, "fault"),
        (Behaviour::Huge, "fault"),
        (Behaviour::Forbidden, "refused"),
    ] {
        behind.behave(behaviour);
        let answer = ask(&other, &server, KNOWN_PIN);
        assert_eq!(answer["outcome"], outcome, "{behaviour:?}: {answer}");
        assert!(answer["person"].is_null());
    }
    behind.behave(Behaviour::Right);
    assert_eq!(ask(&other, &server, UNKNOWN_PIN)["outcome"], "not_found");
}

#[test]
fn whatever_is_wrong_with_an_answer_it_is_told_and_nothing_is_made_of_it() {
    let behind = SecurityServer::start();
    let server = start(&behind.soap_settings());
    let browser = operator(&server, "operator");
    for (behaviour, outcome, fault) in [
        (Behaviour::FaultInside, "fault", json!("Server.Down")),
        (Behaviour::WrongXml, "fault", json!("BAD_XML")),
        (Behaviour::EntityBomb, "fault", json!("BAD_XML")),
        (Behaviour::Huge, "fault", json!("TOO_MUCH")),
        (Behaviour::OtherId, "fault", json!("OTHER_ID")),
        (Behaviour::OtherPin, "fault", json!("OTHER_PIN")),
        (Behaviour::Redirects, "fault", json!("HTTP")),
        (Behaviour::Forbidden, "refused", json!("HTTP")),
        (Behaviour::FaultOutside, "unavailable", Value::Null),
        (Behaviour::Drops, "unavailable", Value::Null),
        (Behaviour::Page, "unavailable", Value::Null),
        (Behaviour::Right, "found", Value::Null),
    ] {
        behind.behave(behaviour);
        let answer = ask(&browser, &server, KNOWN_PIN);
        assert_eq!(answer["outcome"], outcome, "{behaviour:?}: {answer}");
        assert_eq!(answer["fault"], fault, "{behaviour:?}");
        assert_eq!(answer["person"].is_null(), outcome != "found");
    }
    assert!(!server.log().contains("CANARY") && !server.log().contains(KNOWN_PIN));
}

#[test]
fn a_register_that_says_nothing_is_waited_for_as_long_as_the_settings_say() {
    let behind = SecurityServer::start();
    let server = start(&behind.soap_settings().replace(PATIENT, HASTY));
    let browser = operator(&server, "operator");
    behind.behave(Behaviour::Silent);
    let answer = ask(&browser, &server, KNOWN_PIN);
    assert_eq!(answer["outcome"], "timed_out", "{answer}");
    assert!(answer["fault"].is_null() && answer["person"].is_null());
}

#[test]
fn a_register_that_is_down_is_left_in_peace_while_images_arrive() {
    let behind = SecurityServer::start();
    let settings = behind
        .soap_settings()
        .replace("pause_seconds = 1", "pause_seconds = 3600");
    let server = start(&settings);
    let browser = operator(&server, "operator");
    behind.behave(Behaviour::Drops);
    for _ in 0..5 {
        assert_eq!(ask(&browser, &server, KNOWN_PIN)["outcome"], "unavailable");
    }
    let asked = behind.requests().len();

    let answer = ask(&browser, &server, KNOWN_PIN);

    assert_eq!(answer["outcome"], "unavailable");
    assert_eq!(answer["message_id"], Value::Null, "nothing was sent");
    assert_eq!(behind.requests().len(), asked);
    server.wait_for_log("it is left in peace");
    assert_eq!(server.echo().expect("an answer"), 0);
}

/// The register hangs for as long as the images come: nothing but its answer ends the question.
#[test]
fn a_register_that_hangs_keeps_no_image_of_the_patient_waiting() {
    let behind = SecurityServer::start();
    let server = start(&behind.soap_settings());
    let browser = operator(&server, "operator");
    behind.behave(Behaviour::Silent);

    std::thread::scope(|scope| {
        let asking = scope.spawn(|| ask(&browser, &server, KNOWN_PIN));
        let is_asked = || (!behind.requests().is_empty()).then_some(());
        until(PATIENCE, "the question", is_asked);
        let mut association = server.associate(contexts()).expect("an association");
        for number in 1..=20 {
            let slice = Slice {
                patient_id: KNOWN_PIN.to_owned(),
                ..Slice::new(1, number)
            };
            let (class, syntax) = (uid::CT_IMAGE_STORAGE, uid::EXPLICIT_LITTLE_ENDIAN);
            let data_set = slice.data_set();
            let stored = association.store(class, &slice.instance, syntax, &data_set);
            assert_eq!(stored.expect("an answer"), 0, "C-STORE {number}");
        }
        association.release().expect("a release in order");
        assert!(!asking.is_finished(), "the register hangs");
        behind.hang_up();
        let answer = asking.join().expect("an answer");
        assert_eq!(answer["outcome"], "unavailable", "{answer}");
    });
}

fn contexts() -> Vec<Context> {
    let syntax = uid::EXPLICIT_LITTLE_ENDIAN;
    vec![Context::new(uid::CT_IMAGE_STORAGE, syntax)]
}

#[test]
fn without_a_register_the_form_is_filled_by_hand() {
    let server = start("");
    let browser = operator(&server, "operator");
    assert_eq!(ask(&browser, &server, KNOWN_PIN)["outcome"], "unavailable");
    let broken = post(
        &browser,
        &server,
        "/register",
        &json!({"pin": KNOWN_PIN, "x": 1}),
    );
    assert_eq!(code(&broken), "BAD_BODY");
}

#[test]
fn a_table_of_the_hospital_is_a_register_too() {
    let home = tempfile::TempDir::new().expect("a folder");
    let file = home.path().join("people.csv");
    let table = format!(
        "pin;surname;name;dateOfBirth;pinBlocked\n{KNOWN_PIN};Жээнбеков;Үсөн;02.01.1990;1\n"
    );
    std::fs::write(&file, table).expect("writable");
    let settings = format!(
        "[register]\nkind = \"file\"\nfile = {:?}\n",
        file.display().to_string()
    );
    let server = start(&settings);
    let browser = operator(&server, "operator");
    let found = ask(&browser, &server, KNOWN_PIN);
    assert_eq!(found["person"]["birth_date"], "1990-01-02");
    assert_eq!(found["needs_reason"], true);
    assert_eq!(
        found["warnings"],
        json!(["PIN_BLOCKED", "PIN_REGISTER_MISMATCH"])
    );
}
