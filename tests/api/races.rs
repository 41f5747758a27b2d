//! Many do the same at the same moment: one wins, the rest are told clearly that they were too
//! late, and what was made is there once, also after the server was killed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Barrier;

use pacs_tests::portal::{Browser, Portal, etag, refusal, refused};
use pacs_tests::samples::Slice;
use pacs_tests::server::Server;
use pacs_tests::stow::{self, Answer};
use pacs_tests::web::get;
use pacs_tests::web_server::open_server;
use pacs_tests::wire::identifier::tag;
use pacs_tests::wire::{Association, Context, Keys, Proposal, uid};
use serde_json::{Value, json};

use crate::examinations::{form, goes_from_hand_to_hand, ids, images_come, saved};
use crate::patients::{patient, registered};

/// How many do it.
const MANY: usize = 100;

/// Does it on so many threads, which begin together; what came of each.
fn at_once<T: Send>(count: usize, act: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(count);
    std::thread::scope(|scope| {
        let begin = |at: usize| {
            let (barrier, act) = (&barrier, &act);
            scope.spawn(move || {
                barrier.wait();
                act(at)
            })
        };
        let running: Vec<_> = (0..count).map(begin).collect();
        let ended = running.into_iter();
        ended.map(|thread| thread.join().expect("an end")).collect()
    })
}

/// One was done, and the others were refused as it says.
fn one_wins(answers: &[Answer], rest: (u16, &str)) -> Answer {
    let mut won = answers.iter().filter(|answer| answer.status < 300);
    let winner = won.next().expect("a winner").clone();
    assert_eq!(won.count(), 0, "one alone wins");
    let lost = answers.iter().filter(|answer| answer.status >= 300);
    for answer in lost {
        assert_eq!(refusal(answer), refused(rest.0, rest.1));
    }
    winner
}

/// What the archive has of the patient of a slice: answers at the level of patients, of studies
/// and of series, and the instances of the study.
fn kept(server: &Server, slice: &Slice) -> (usize, usize, usize, BTreeSet<String>) {
    let model = uid::PATIENT_ROOT_FIND;
    let contexts = vec![Context::new(model, uid::IMPLICIT_LITTLE_ENDIAN)];
    let mut association = server.associate(contexts).expect("an association");
    let keys = Keys::at("PATIENT").with(tag::PATIENT_ID, &slice.patient_id);
    let (patients, status) = association.find(model, &keys).expect("answers");
    assert_eq!(status, 0);
    association.release().expect("a release in order");
    let of = |level: &str| {
        let path = format!(
            "/dicomweb/{level}?PatientID={}&limit=2000",
            slice.patient_id
        );
        let reply = get(server.http(), &path, &[]);
        assert_eq!(reply.status, 200, "{path}");
        reply.json().as_array().expect("a list").clone()
    };
    let instances = of("instances").into_iter();
    let instances = instances.map(|one| {
        let uid = one["00080018"]["Value"][0].as_str();
        uid.expect("a UID").to_owned()
    });
    (
        patients.len(),
        of("studies").len(),
        of("series").len(),
        instances.collect(),
    )
}

#[test]
fn a_thousand_first_sends_of_one_patient_make_one_patient_one_study_and_all_instances() {
    const SENDERS: usize = 20;
    const EACH: usize = 25;
    let mut server = open_server();
    let slice = |at: usize| Slice {
        side: 8,
        ..Slice::new(1, u32::try_from(at).expect("a number"))
    };
    let (class, syntax) = (uid::CT_IMAGE_STORAGE, uid::EXPLICIT_LITTLE_ENDIAN);
    let (dicom, http) = (server.dicom(), server.http());

    // Half of them by C-STORE, half by STOW-RS; none is sent twice.
    at_once(2 * SENDERS, |sender| {
        let own = (sender * EACH..(sender + 1) * EACH).map(|at| slice(at + 1));
        if sender < SENDERS {
            let proposal = Proposal::new(vec![Context::new(class, syntax)]);
            let mut association = Association::connect(dicom, &proposal).expect("an association");
            for slice in own {
                let stored = association.store(class, &slice.instance, syntax, &slice.data_set());
                assert_eq!(stored.expect("an answer"), 0);
            }
            association.release().expect("a release in order");
        } else {
            for slice in own {
                let answer = stow::store(http, "/dicomweb/studies", &[slice.file()]);
                assert_eq!(answer.status, 200);
                assert_eq!(answer.stored(), [slice.instance]);
            }
        }
    });

    let sent = (1..=2 * SENDERS * EACH).map(|at| slice(at).instance);
    let sent: BTreeSet<String> = sent.collect();
    assert_eq!(sent.len(), 1_000);
    let expected = (1, 1, 1, sent);
    assert_eq!(kept(&server, &slice(1)), expected);
    server.kill();
    server.restart();
    assert_eq!(kept(&server, &slice(1)), expected, "also after a kill");
}

#[test]
fn of_a_thousand_registrations_of_one_person_one_makes_the_patient() {
    const THREADS: usize = 50;
    let mut portal = Portal::start();
    let operators = [
        portal.user("operator", &["operator@006"]),
        portal.user("elsewhere", &["operator@001"]),
    ];

    let answers = at_once(THREADS, |thread| -> Vec<Answer> {
        let operator = &operators[thread % 2];
        let each = 1_000 / THREADS;
        (0..each)
            .map(|_| operator.make("/patients", &patient()))
            .collect()
    });

    let answers: Vec<Answer> = answers.into_iter().flatten().collect();
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    let mut numbers = BTreeSet::new();
    for answer in &answers {
        *statuses.entry(answer.status).or_default() += 1;
        numbers.insert(answer.json()["number"].to_string());
    }
    assert_eq!(statuses, BTreeMap::from([(200, 999), (201, 1)]));
    assert_eq!(numbers.len(), 1, "{numbers:?}");
    portal.server.kill();
    portal.server.restart();
    let operator = operators[0].at(portal.server.http());
    let found = operator.post("/patients/search", &json!({"text": "Жээнбеков"}));
    let items = found.json()["items"].clone();
    assert_eq!(items.as_array().map(Vec::len), Some(1), "{items}");
}

/// Whether an ID ends with its check digit (Damm 2004): written down once more, so that a mistake
/// of the archive is none of the test.
fn has_check_digit(id: &str) -> bool {
    const TABLE: [&[u8; 10]; 10] = [
        b"0317598642",
        b"7092154863",
        b"4206871359",
        b"1750983426",
        b"6123045978",
        b"3674209581",
        b"5869720134",
        b"8945362017",
        b"9438617205",
        b"2581436790",
    ];
    let end = id.bytes().fold(0, |state, digit| {
        usize::from(TABLE[state][usize::from(digit - b'0')] - b'0')
    });
    end == 0
}

#[test]
fn a_thousand_forms_saved_at_once_get_a_thousand_ids() {
    const THREADS: usize = 25;
    assert!(has_check_digit("250060004329") && !has_check_digit("250060004239"));
    let mut portal = Portal::start();
    let operator = portal.user("operator", &["operator@006"]);
    let number = registered(&operator, &patient());
    let mut form = form(&number);
    form["is_meant_twice"] = json!(true);

    let all = at_once(THREADS, |_| -> Vec<String> {
        let each = 0..1_000 / THREADS;
        each.map(|_| saved(&operator, &form)).collect()
    });

    let all: Vec<String> = all.into_iter().flatten().collect();
    assert_eq!(all.len(), 1_000);
    let unique: BTreeSet<String> = all.into_iter().collect();
    assert_eq!(unique.len(), 1_000);
    assert!(unique.iter().all(|id| has_check_digit(id)));
    let sequences: BTreeSet<&str> = unique.iter().map(|id| &id[5..11]).collect();
    assert_eq!(sequences.first().copied(), Some("000001"));
    assert_eq!(sequences.last().copied(), Some("001000"));
    portal.server.kill();
    portal.server.restart();
    let operator = operator.at(portal.server.http());
    let (mut listed, mut next) = (BTreeSet::new(), String::new());
    loop {
        let part = operator.get(&format!("/examinations?limit=200{next}"));
        listed.extend(ids(&part));
        match part.json()["next"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(listed, unique, "also after a kill");
}

/// As many experts of organisation 006.
fn experts(portal: &Portal, count: usize) -> Vec<Browser> {
    const THREADS: usize = 4;
    let made = at_once(THREADS, |thread| -> Vec<(usize, Browser)> {
        let own = (thread..count).step_by(THREADS);
        own.map(|at| (at, portal.user(&format!("expert{at}"), &["expert@006"])))
            .collect()
    });
    let made: BTreeMap<usize, Browser> = made.into_iter().flatten().collect();
    made.into_values().collect()
}

#[test]
fn of_a_hundred_claims_one_wins_and_the_rest_learn_who_has_it() {
    let portal = Portal::start();
    let operator = portal.user("operator", &["operator@006"]);
    let number = registered(&operator, &patient());
    let id = saved(&operator, &form(&number));
    let path = format!("/examinations/{id}");
    images_come(&portal, &operator, &id, &number);
    let complete = operator.post(&format!("{path}/complete"), &Value::Null);
    assert_eq!(complete.status, 200, "{}", complete.json());
    let experts = experts(&portal, MANY);
    let foreign = portal.user("foreign", &["expert@001"]);
    let claim = format!("{path}/claim");
    assert_eq!(
        refusal(&foreign.post(&claim, &Value::Null)),
        refused(404, "NOT_FOUND")
    );
    let not_theirs = operator.post(&claim, &Value::Null);
    assert_eq!(refusal(&not_theirs), refused(403, "NOT_PERMITTED"));
    let queue = |of: &Browser| ids(&of.get("/examinations?scope=queue"));
    assert_eq!(queue(&experts[0]), [id.as_str()]);
    assert_eq!(queue(&foreign), Vec::<String>::new());

    let answers = at_once(MANY, |at| experts[at].post(&claim, &Value::Null));

    one_wins(&answers, (409, "CLAIMED"));
    let winner = answers.iter().position(|answer| answer.status == 200);
    let winner = winner.expect("a winner");
    for lost in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(lost.json()["by"], json!(format!("expert{winner}")));
    }
    let twice = experts[winner].post(&claim, &Value::Null);
    assert_eq!(twice.status, 200, "whoever presses twice has it");
    let events = operator.get(&format!("{path}/events")).json()["items"].clone();
    let events = events.as_array().expect("a list").iter();
    let claims = events.filter(|event| event["event"] == "claim");
    assert_eq!(claims.count(), 1, "it happened once");
    goes_from_hand_to_hand(&experts, winner, &path);
}

#[test]
fn of_a_hundred_saves_of_what_all_have_seen_one_wins() {
    let mut portal = Portal::start();
    let operator = portal.user("operator", &["operator@006"]);
    let number = registered(&operator, &patient());
    let id = saved(&operator, &form(&number));
    let path = format!("/examinations/{id}");
    let card = format!("/patients/{number}");
    let (seen, of_card) = (etag(&operator.get(&path)), etag(&operator.get(&card)));
    let mut next = form(&number);
    next.as_object_mut().expect("an object").remove("patient");
    next["is_meant_twice"] = json!(true);
    let said = |at: usize| {
        let mut said = next.clone();
        said["complaints"] = json!(format!("боль {at}"));
        said
    };
    let corrected = |at: usize| {
        let mut said = patient();
        said["telephone"] = json!(format!("+996 312 {at:06}"));
        said
    };

    let forms = at_once(MANY, |at| operator.put(&path, &seen, &said(at)));
    let cards = at_once(MANY, |at| operator.put(&card, &of_card, &corrected(at)));

    let form = one_wins(&forms, (412, "STALE"));
    let of_patient = one_wins(&cards, (412, "STALE"));
    portal.server.kill();
    portal.server.restart();
    let operator = operator.at(portal.server.http());
    let kept = operator.get(&path).json()["form"]["complaints"].clone();
    assert_eq!(kept, form.json()["form"]["complaints"]);
    let kept = operator.get(&card).json()["telephone"].clone();
    assert_eq!(kept, of_patient.json()["telephone"]);
    let history = operator.get(&format!("{card}/history"));
    let entries = history.json()["items"].as_array().map(Vec::len);
    assert_eq!(entries, Some(2), "it was changed once");
}

#[test]
fn of_a_hundred_merges_of_the_same_two_one_wins() {
    let mut portal = Portal::start();
    let operator = portal.user("operator", &["operator@006"]);
    let admins = [
        portal.user("admin", &["org_admin@006"]),
        portal.user("elsewhere", &["org_admin@001"]),
    ];
    let first = registered(&operator, &patient());
    let other = json!({"name": {"family": "Осмонова"}, "birth_date": "1980-05-01"});
    let second = registered(&operator, &other);
    let card = |number: &str| operator.get(&format!("/patients/{number}"));
    let tags = [etag(&card(&first)), etag(&card(&second))];
    let merge = |at: usize| {
        // Some have the one go into the other, some the other into the one.
        let (into, gone) = if at % 4 < 2 {
            ((&first, &tags[0]), (&second, &tags[1]))
        } else {
            ((&second, &tags[1]), (&first, &tags[0]))
        };
        let body = json!({"other": gone.0, "other_etag": gone.1, "reason": "один человек"});
        let path = format!("/patients/{}/merge", into.0);
        admins[at % 2].send("POST", &path, &[("If-Match", into.1)], &body)
    };

    let answers = at_once(MANY, merge);

    let survivor = one_wins(&answers, (412, "STALE")).json()["number"].clone();
    portal.server.kill();
    portal.server.restart();
    let operator = operator.at(portal.server.http());
    for number in [&first, &second] {
        let shown = operator.get(&format!("/patients/{number}"));
        assert_eq!(shown.json()["number"], survivor, "both are one");
    }
}
