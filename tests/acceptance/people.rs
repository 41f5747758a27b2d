//! The register, who sees what, vectors, and who reads: numbers 11, 13, 14 and 16.

use std::collections::BTreeMap;
use std::sync::Barrier;

use pacs_tests::day::images::{Header, tag};
use pacs_tests::edges::clock::Clock;
use pacs_tests::edges::until;
use pacs_tests::portal::{Browser, PASSWORD, etag, refusal, refused};
use pacs_tests::server::PATIENCE;
use pacs_tests::stow::{Answer, ask};
use pacs_tests::wire::Tree;
use pacs_tests::wire::tree::Node;
use pacs_tests::workspace;
use pacs_tests::xroad::{Behaviour, KNOWN_PIN, SecurityServer};
use serde_json::{Value, json};

use crate::hospital::{
    Hospital, NAME, PIN, Shot, WORKSTATION_OF_001, decided, ordered, put_right, read, registered,
    typed,
};

/// The given name that is typed is not the one that the register has.
#[test]
fn a11_while_the_register_is_down_the_order_goes_on_and_what_it_says_later_is_a_task() {
    assert_eq!(PIN, KNOWN_PIN);
    let behind = SecurityServer::start();
    behind.behave(Behaviour::Drops);
    let pause = "pause_seconds = 1\n";
    let settings = behind.soap_settings();
    let settings = settings.replace(pause, &format!("{pause}recheck_seconds = 1\n"));
    let Some(hospital) = Hospital::with(&[], &settings) else {
        return;
    };
    let card = format!("/patients/{}", hospital.patient);
    let asked = hospital.operator.post("/register", &json!({ "pin": PIN }));
    assert_eq!(asked.json()["outcome"], "unavailable", "{}", asked.json());
    assert_eq!(read(&hospital.operator, &card)["identity"], "declared");

    let id = hospital.order();
    let entry = hospital.entry(&id);
    assert_eq!(entry.text_of(tag::PATIENT_ID), hospital.patient);
    let shot = hospital.made(&id, 2);
    let before = hospital.given(&shot);
    assert!(!behind.requests().is_empty());
    let mismatches = || read(&hospital.operator, "/register/mismatches");
    assert_eq!(mismatches()["items"], json!([]));

    behind.behave(Behaviour::Right);
    let task = until(PATIENCE, "the task", || {
        let tasks = mismatches();
        let task = tasks["items"].as_array()?.first()?.clone();
        Some(task)
    });
    assert!(task.to_string().contains(&hospital.patient), "{task}");
    assert_eq!(read(&hospital.operator, &card)["identity"], "mismatch");
    // Nothing else became of it: a person decides.
    assert_eq!(hospital.examination(&id)["status"], "in_progress");
    assert_eq!(read(&hospital.operator, &card)["name"]["given"], "Чыңгыз");
    let given = hospital.workstation().get(&shot.study);
    assert_eq!(but_when_it_changed(&given), but_when_it_changed(&before));
}

/// What images say, but for when the patient was looked at last.
fn but_when_it_changed(given: &BTreeMap<String, Vec<u8>>) -> Vec<(u32, Node)> {
    let all = given.values().flat_map(|bytes| {
        let tree = Tree::read(bytes).expect("a data set");
        let elements = tree.elements();
        let rest = elements.filter(|(at, _)| *at != tag::ORIGINAL);
        let rest = rest.map(|(at, node)| (at, node.clone()));
        rest.collect::<Vec<_>>()
    });
    all.collect()
}

/// What somebody sees of a study and of its examination: statuses of the API, of WADO-RS and of
/// WADO-RS metadata, and how many studies QIDO-RS finds.
fn seen(hospital: &Hospital, who: &Browser, (id, shot): (&str, &Shot)) -> ([u16; 3], usize) {
    let http = hospital.portal.server.http();
    let web = |path: &str, accept: &str| -> Answer {
        let fields = [("Cookie", &*who.cookie), ("Accept", accept)];
        ask(http, "GET", &format!("/dicomweb/{path}"), &fields, &[])
    };
    let files = "multipart/related; type=\"application/dicom\"";
    let study = format!("studies/{}", shot.study);
    let json = "application/dicom+json";
    let found = web(&format!("studies?0020000D={}", shot.study), json);
    let count = match found.status {
        200 => found.json().as_array().map_or(0, Vec::len),
        status => {
            assert_eq!(status, 204, "QIDO-RS");
            0
        }
    };
    let statuses = [
        who.get(&format!("/examinations/{id}")).status,
        web(&study, files).status,
        web(&format!("{study}/metadata"), json).status,
    ];
    (statuses, count)
}

const NOTHING: ([u16; 3], usize) = ([404, 404, 404], 0);

const EVERYTHING: ([u16; 3], usize) = ([200, 200, 200], 1);

/// Opens a patient in an emergency.
pub(crate) fn break_glass(who: &Browser, patient: &str, proof: &str) -> Answer {
    let body = json!({
        "patient": patient, "reason": "unconscious", "proof": proof,
        "explanation": "доставлен без сознания, нужны прежние снимки",
    });
    who.post("/session/break-glass", &body)
}

/// What is shown is refused to whoever may look alone; of what is not, nobody hears that it is
/// there.
fn acts_are_refused(who: &Browser, (shown, hidden): (&str, &str)) {
    let reader = json!({"reader": "expert"});
    for (act, body) in [("release", &Value::Null), ("assign", &reader)] {
        let of = |id: &str| who.post(&format!("/examinations/{id}/{act}"), body);
        assert_eq!(refusal(&of(shown)), refused(403, "NOT_PERMITTED"), "{act}");
        assert_eq!(refusal(&of(hidden)), refused(404, "NOT_FOUND"), "{act}");
    }
}

#[test]
fn a13_who_is_not_to_see_sees_nothing_and_an_emergency_opens_one_patient_for_an_hour() {
    let home = workspace::temporary_folder();
    let Some(clock) = Clock::start(home.path()) else {
        return;
    };
    let Some(mut hospital) = Hospital::start() else {
        return;
    };
    hospital.go_by(&clock);
    let expert = hospital.portal.user("expert", &["expert@001"]);
    let auditor = hospital.portal.user("auditor", &["auditor@national"]);
    let second = json!({"name": {"family": "Осмонова"}, "birth_date": "1980-05-01"});
    let second = registered(&hospital.operator, &second);
    let id = hospital.order();
    let shot = hospital.made(&id, 2);
    hospital.given(&shot);
    let other = ordered(&hospital.operator, &second);
    let theirs = hospital.ae(WORKSTATION_OF_001);
    let found = || theirs.count(&shot.study);
    let sees = |who: &Browser| seen(&hospital, who, (&id, &shot));

    assert_eq!((sees(&expert), found()), (NOTHING, 0));
    let queue = read(&expert, "/examinations?scope=queue");
    assert_eq!(queue["items"], json!([]), "nor are they asked to read it");
    let wrong = break_glass(&expert, &hospital.patient, "wrong");
    assert_eq!(refusal(&wrong), refused(401, "WRONG_CREDENTIALS"));
    assert_eq!(sees(&expert), NOTHING);

    let opened = break_glass(&expert, &hospital.patient, PASSWORD);
    assert_eq!(opened.status, 201, "{}", opened.json());
    until(PATIENCE, "the study of the patient", || {
        (sees(&expert) == EVERYTHING).then_some(())
    });
    // One patient, to be read, by one person: no device is let in with them.
    let of_other = expert.get(&format!("/examinations/{other}"));
    assert_eq!(refusal(&of_other), refused(404, "NOT_FOUND"));
    let claimed = expert.post(&format!("/examinations/{id}/claim"), &Value::Null);
    assert_eq!(refusal(&claimed), refused(403, "NOT_PERMITTED"));
    let away = json!({"title": "quality", "reason": "смазано"});
    let away = expert.make(&format!("/studies/{}/rejections", shot.study), &away);
    assert_eq!(refusal(&away), refused(403, "NOT_PERMITTED"));
    acts_are_refused(&expert, (&id, &other));
    assert_eq!(found(), 0);
    let to_review = read(&auditor, "/break-glass");
    assert_eq!(
        to_review["items"][0]["id"],
        opened.json()["id"],
        "{to_review}"
    );
    let trail = || {
        let path = format!("/audit?patient={}&limit=200", hospital.patient);
        read(&auditor, &path).to_string()
    };
    assert!(trail().contains("break_glass_started"), "{}", trail());

    // It is over by itself, whatever is open in the browser.
    clock.set("+25m");
    assert_eq!(sees(&expert), EVERYTHING);
    clock.set("+50m");
    assert_eq!(sees(&expert), EVERYTHING);
    clock.set("+61m");
    assert_eq!((sees(&expert), found()), (NOTHING, 0));
    assert_eq!(read(&expert, "/session/break-glass")["items"], json!([]));
    hospital.portal.server.kill();
    hospital.portal.server.restart();
    let auditor = hospital.portal.again("auditor");
    until(PATIENCE, "the record of its end", || {
        let path = format!("/audit?patient={}&limit=200", hospital.patient);
        let trail = read(&auditor, &path).to_string();
        (trail.contains("break_glass_stopped") && trail.contains("EXPIRED")).then_some(())
    });
    let expert = hospital.portal.again("expert");
    assert_eq!(seen(&hospital, &expert, (&id, &shot)), NOTHING);
}

#[test]
fn a_restricted_examination_is_there_for_those_alone_who_are_named_whatever_ties_the_others() {
    let Some(hospital) = Hospital::start() else {
        return;
    };
    let id = hospital.order();
    let shot = hospital.made(&id, 2);
    hospital.given(&shot);
    let [named, other] = ["named", "other"];
    let [named, other] =
        [named, other].map(|name| hospital.portal.user(name, &["radiologist@006"]));
    let expert = hospital.portal.user("expert", &["expert@001"]);
    let auditor = hospital.portal.user("auditor", &["auditor@national"]);
    let sees = |who: &Browser| seen(&hospital, who, (&id, &shot));
    let path = format!("/examinations/{id}");
    assert_eq!((sees(&named), sees(&other)), (EVERYTHING, EVERYTHING));
    let restriction = json!({"named": ["named"], "reason": "сотрудник больницы"});
    let by_expert = expert.post(&format!("{path}/restrict"), &restriction);
    assert_eq!(refusal(&by_expert), refused(403, "NOT_PERMITTED"));

    let done = hospital
        .operator
        .post(&format!("{path}/restrict"), &restriction);
    assert_eq!(done.status, 200, "{}", done.json());
    assert_eq!(done.json()["named"], json!(["named", "operator"]));
    until(PATIENCE, "that others see it no more", || {
        (sees(&other) == NOTHING && hospital.workstation().count(&shot.study) == 0).then_some(())
    });
    assert_eq!(
        (sees(&named), sees(&hospital.operator)),
        (EVERYTHING, EVERYTHING)
    );
    let listed = |who: &Browser| {
        let path = format!("/patients/{}/examinations", hospital.patient);
        let lists = [path.as_str(), "/examinations"].map(|path| read(who, path).to_string());
        lists.map(|list| list.contains(&id))
    };
    assert_eq!((listed(&named), listed(&other)), ([true; 2], [false; 2]));
    for (act, body) in [
        ("claim", &Value::Null),
        ("cancel", &json!({"reason": "повторно"})),
        ("complete", &Value::Null),
        ("unrestrict", &json!({"reason": "повторно"})),
    ] {
        let tried = other.post(&format!("{path}/{act}"), body);
        assert_eq!(refusal(&tried), refused(404, "NOT_FOUND"), "{act}");
    }
    let opened = break_glass(&expert, &hospital.patient, PASSWORD);
    assert_eq!(opened.status, 201, "{}", opened.json());
    assert_eq!(sees(&expert), NOTHING, "nor in an emergency");
    let trail = read(&auditor, "/audit?limit=200").to_string();
    assert!(trail.contains("RESTRICT named operator"), "{trail}");

    let why = json!({"reason": "пациент согласен"});
    let lifted = named.post(&format!("{path}/unrestrict"), &why);
    assert_eq!(lifted.status, 200, "{}", lifted.json());
    until(PATIENCE, "that others see it again", || {
        (sees(&other) == EVERYTHING).then_some(())
    });
}

#[test]
fn images_that_could_be_of_a_restricted_examination_tell_others_nothing_of_it() {
    let Some(hospital) = Hospital::start() else {
        return;
    };
    let id = hospital.order();
    let header = Header {
        patient_id: hospital.patient.clone(),
        ..typed("")
    };
    let shot = Shot::of(&header, 2);
    hospital.console().send(&shot.images);
    decided(&hospital.operator, &shot.study, "queued", &["NO_ID"]);
    let other = hospital.portal.user("other", &["operator@006"]);
    let path = format!("/unmatched/{}", shot.study);
    let meant = |who: &Browser| read(who, &path)["candidates"][0]["examination"].clone();
    assert_eq!(
        (meant(&hospital.operator), meant(&other)),
        (json!(id), json!(id))
    );

    let restriction = json!({"named": [], "reason": "сотрудник больницы"});
    let path = format!("/examinations/{id}/restrict");
    assert_eq!(hospital.operator.post(&path, &restriction).status, 200);

    assert_eq!(
        (meant(&hospital.operator), meant(&other)),
        (json!(id), Value::Null)
    );
    let tried = put_right(
        &other,
        &shot.study,
        "bind",
        &json!({"examination": id, "retyped": id}),
    );
    assert_eq!(refusal(&tried), refused(404, "NOT_FOUND"));
}

/// The number that the card shows, and the one that went into it and stands in older papers.
#[test]
fn an_emergency_opens_a_person_by_any_number_that_they_have() {
    let Some(hospital) = Hospital::start() else {
        return;
    };
    let id = hospital.order();
    let shot = hospital.made(&id, 2);
    hospital.given(&shot);
    let stays = json!({"name": {"family": "Осмонова"}, "birth_date": "1980-05-01"});
    let stays = registered(&hospital.operator, &stays);
    let admin = hospital.portal.user("admin", &["org_admin@006"]);
    let tag = |number: &str| etag(&admin.get(&format!("/patients/{number}")));
    let (into, gone) = (tag(&stays), tag(&hospital.patient));
    let merge = json!({
        "other": hospital.patient, "other_etag": gone, "reason": "один человек, две карты",
    });
    let path = format!("/patients/{stays}/merge");
    let merged = admin.send("POST", &path, &[("If-Match", &into)], &merge);
    assert_eq!(merged.status, 200, "{}", merged.json());

    for (name, number) in [("first", &stays), ("second", &hospital.patient)] {
        let expert = hospital.portal.user(name, &["expert@001"]);
        assert_eq!(seen(&hospital, &expert, (&id, &shot)), NOTHING);
        let opened = break_glass(&expert, number, PASSWORD);
        assert_eq!(opened.status, 201, "{}", opened.json());
        until(PATIENCE, "the study of the person", || {
            (seen(&hospital, &expert, (&id, &shot)) == EVERYTHING).then_some(())
        });
        let claimed = expert.post(&format!("/examinations/{id}/claim"), &Value::Null);
        assert_eq!(refusal(&claimed), refused(403, "NOT_PERMITTED"));
    }
}

/// PINs and what is wrong with them (section 1.1).
const PINS: [(&str, &str); 6] = [
    ("12902190099903", "PIN_DATE"),
    ("23002199099904", "PIN_DATE"),
    ("30101199099905", "PIN_SEX_DIGIT"),
    ("2010119909990", "PIN_FORMAT"),
    ("00101201510001", "PIN_LEGAL_ENTITY"),
    ("20101209999906", "PIN_FUTURE"),
];

/// Names and their Latin form (section 14.4).
const NAMES: [(&str, &str); 5] = [
    ("Жээнбеков^Үсөн^Өмүрбекович", "ZHEENBEKOV^USON^OMURBEKOVICH"),
    ("Айгүл", "AIGUL"),
    ("Щербакова^Юлия^Ильинична", "SHCHERBAKOVA^IULIIA^ILINICHNA"),
    ("Асан уулу^Чыңгыз", "ASAN UULU^CHYNGYZ"),
    ("Объедков", "OBIEEDKOV"),
];

/// Spellings of one name (section 14.5).
const ALIKE: [&[&str]; 8] = [
    &[
        "Жээнбеков",
        "Zheenbekov",
        "Jeenbekov",
        "ЖЕЕНБЕКОВ",
        "Женбеков",
    ],
    &["Үсөн", "Усон", "Uson", "Üsön"],
    &["Чыңгыз", "Чынгыз", "Chyngyz", "Chingiz", "Чингиз"],
    &["Фёдор", "Федор", "Fedor"],
    &["Юлия", "Iuliia", "Yulia", "Yuliya"],
    &["Айгүл", "Айгуль", "Aigul", "Aygul"],
    &["Дөң-Арык", "Dong-Aryk", "Дон Арык"],
    &["Объедков", "Obiedkov"],
];

#[test]
fn a14_pins_ids_and_names_are_what_the_vectors_say() {
    let Some(hospital) = Hospital::start() else {
        return;
    };
    let operator = &hospital.operator;
    for (pin, rule) in PINS {
        let answer = operator.post("/register", &json!({ "pin": pin }));
        assert_eq!(refusal(&answer), refused(422, "PIN"), "{pin}");
        assert_eq!(answer.json()["pin"], rule, "{pin}");
    }
    for (pin, born, sex) in [
        ("21502190099901", "1900-02-15", "M"),
        ("12902200099902", "2000-02-29", "F"),
        ("2 0101 1990 99907", "1990-01-01", "M"),
    ] {
        let body = json!({"name": {"family": "Примеров"}, "pin": pin, "is_another": true});
        let made = operator.make("/patients", &body).json();
        assert_eq!(
            (&made["birth_date"], &made["sex"]),
            (&json!(born), &json!(sex))
        );
    }
    for (at, (name, latin)) in NAMES.iter().enumerate() {
        let part = |number: usize| name.split('^').nth(number).unwrap_or_default();
        let body = json!({
            "name": {"family": part(0), "given": part(1), "patronymic": part(2)},
            "birth_date": format!("1970-01-{:02}", at + 1),
        });
        let number = registered(operator, &body);
        let id = ordered(operator, &number);
        let entry = hospital.entry(&id);
        assert_eq!(entry.text_of(tag::NAME), *latin, "at a console of ASCII");
    }
    for (at, spellings) in ALIKE.iter().enumerate() {
        let body = json!({
            "name": {"family": spellings[0]}, "birth_date": format!("1975-02-{:02}", at + 1),
        });
        let number = registered(operator, &body);
        for text in *spellings {
            let found = operator.post("/patients/search", &json!({ "text": text }));
            let found = found.json()["items"].to_string();
            assert!(found.contains(&number), "{text}: {found}");
        }
    }
    ids_have_their_check_digit(operator);
}

/// Section 4.1: an ID of nobody is not there; one that is mistyped is no ID.
fn ids_have_their_check_digit(operator: &Browser) {
    let shown = |id: &str| operator.get(&format!("/examinations/{id}"));
    for id in [
        "250010000013",
        "250060004329",
        "250051234565",
        "260119999994",
    ] {
        assert_eq!(refusal(&shown(id)), refused(404, "NOT_FOUND"), "{id}");
    }
    let id = *b"250060004329";
    let swaps = (0..11).filter(|at| id[*at] != id[at + 1]).map(|at| {
        let mut swapped = id;
        swapped.swap(at, at + 1);
        swapped
    });
    let digits = (0..12).flat_map(|at| {
        (b'0'..=b'9')
            .filter(move |digit| *digit != id[at])
            .map(move |digit| {
                let mut wrong = id;
                wrong[at] = digit;
                wrong
            })
    });
    for wrong in swaps.chain(digits) {
        let wrong = String::from_utf8(wrong.to_vec()).expect("digits");
        let answer = shown(&wrong);
        assert_eq!(refusal(&answer), refused(422, "EXAMINATION_ID"), "{wrong}");
        assert_eq!(answer.json()["rule"], "CHECK_DIGIT", "{wrong}");
    }
}

#[test]
fn a16_of_two_experts_who_claim_at_once_one_has_it_and_the_other_is_told_so() {
    let Some(hospital) = Hospital::start() else {
        return;
    };
    let names = ["first", "second"];
    let experts = names.map(|name| hospital.portal.user(name, &["expert@006"]));
    for _ in 0..4 {
        let id = hospital.order();
        let shot = hospital.made(&id, 1);
        let path = format!("/examinations/{id}");
        let complete = hospital
            .operator
            .post(&format!("{path}/complete"), &Value::Null);
        assert_eq!(complete.status, 200, "{}", complete.json());

        let barrier = Barrier::new(2);
        let claim = |expert: &Browser| {
            barrier.wait();
            expert.post(&format!("{path}/claim"), &Value::Null)
        };
        let [first, second] = std::thread::scope(|scope| {
            let claiming = experts
                .each_ref()
                .map(|expert| scope.spawn(|| claim(expert)));
            claiming.map(|one| one.join().expect("an answer"))
        });

        let winner = usize::from(first.status != 200);
        let (won, lost) = if winner == 0 {
            (first, second)
        } else {
            (second, first)
        };
        assert_eq!(won.json()["status"], "under_review", "{}", won.json());
        assert_eq!(refusal(&lost), refused(409, "CLAIMED"));
        assert_eq!(lost.json()["by"], names[winner]);
        assert_eq!(hospital.examination(&id)["lock"]["by"], names[winner]);
        // Whoever has it reads the images under the right name.
        until(PATIENCE, "the images of whoever reads", || {
            let seen = seen(&hospital, &experts[winner], (&id, &shot));
            (seen == EVERYTHING).then_some(())
        });
        let given = hospital.given(&shot);
        let given = Tree::read(&given[&shot.images[0].instance]).expect("a data set");
        assert_eq!(given.text_of(tag::NAME), NAME);
    }
}
