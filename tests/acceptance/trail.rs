//! The audit trail: every act of the specification (its section 13), done at a running server, is a
//! record of the API and the same record at a repository elsewhere, as a message of PS3.15 A.5.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use pacs_tests::certificates::{self, Wanted};
use pacs_tests::day::images::with_uid;
use pacs_tests::day::plan::Kind;
use pacs_tests::demonstration::Demonstration;
use pacs_tests::edges::clock::Clock;
use pacs_tests::edges::disk_full::SmallDisk;
use pacs_tests::edges::until;
use pacs_tests::forged_media::{program, with_preamble};
use pacs_tests::peers::{answers, dicomweb_python, python, run};
use pacs_tests::portal::{Browser, CT_OF_006, PASSWORD, Portal, etag};
use pacs_tests::repository::{Ending, Repository, number, once, xml};
use pacs_tests::samples::{Random, Slice, write_study};
use pacs_tests::server::{Options, PATIENCE, Server};
use pacs_tests::signed_in::{self, CHEAP_PASSWORDS};
use pacs_tests::stow::{RELATED, ask, related};
use pacs_tests::wire::{Association, Context, Proposal, uid};
use pacs_tests::workspace;
use pacs_tests::xroad::{KNOWN_PIN, SecurityServer};
use serde_json::{Value, json};

use crate::hospital::{Hospital, Shot, decided, read, registered, typed};
use crate::rows::{NODE, ORDER, PATIENT, Place, QUERY, ROWS, Row, SETTING, STUDY, USER};
use crate::steps::{begins, ends, picked, told};

/// A title that is bound to an address which nobody here has.
const FAR: &str = "FAR_CT1";

/// How often somebody calls themselves so.
const KNOCKS: u64 = 40;

/// The key of RFC 8410 10.3, and the public one that belongs to it.
const SIGNING_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
    -----END PRIVATE KEY-----\n";
const SIGNED_BY: &str = "-----BEGIN PUBLIC KEY-----\n\
    MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
    -----END PUBLIC KEY-----\n";

fn rows(place: Place) -> impl Iterator<Item = &'static Row> {
    ROWS.iter().filter(move |row| row.1 == place)
}

/// What a record says that a row asks for.
fn is_of(row: &Row, event: &Value) -> bool {
    let (act, _, _, outcome, (kind, name), object) = row;
    let outcome_name = match *outcome {
        "0" => "success",
        "8" => "serious_failure",
        _ => "major_failure",
    };
    let member = match *object {
        STUDY => "studies",
        NODE => "node",
        PATIENT => "patient",
        ORDER => "examination",
        USER => "user",
        SETTING => "setting",
        QUERY => "query",
        _ => "",
    };
    let is_said = event["actor"]["name"].as_str().unwrap_or_default() == *name;
    event["act"] == *act
        && event["outcome"] == outcome_name
        && event["actor"]["kind"] == *kind
        && is_said
        && (member.is_empty() || !event["object"][member].is_null())
}

/// What a message has to say of the record of a row.
fn compare(row: &Row, event: &Value, said: &Value) {
    let (act, _, (code, kind, action), outcome, (_, name), object) = row;
    assert_eq!(said["error"], Value::Null, "{act}: {said}");
    assert_eq!(said["event"], format!("{code}/DCM"), "{act}");
    assert_eq!(said["action"], action.to_string(), "{act}");
    assert_eq!(said["outcome"], *outcome, "{act}");
    let mut types = vec![format!("{act}/99PACS")];
    if !kind.is_empty() {
        types.insert(0, format!("{kind}/DCM"));
    }
    assert_eq!(said["types"], json!(types), "{act}");
    let who = said["who"].as_array().expect("participants");
    let asked = who.iter().find(|one| one["requestor"] == true);
    let asked = asked.expect("who asked");
    assert_eq!(asked["name"], *name, "{act}");
    assert_eq!(asked["from"], event["from"], "{act}");
    let objects = said["objects"].as_object().expect("objects");
    // The order number of a study stands with the study (PS3.15 A.5.1.2).
    let is_there = object.is_empty() || objects.contains_key(*object);
    let is_with_study = *object == ORDER && objects.contains_key(STUDY);
    assert!(is_there || is_with_study, "{act}: {said}");
}

/// All records, by number, as somebody reads them.
fn trail(auditor: &Browser) -> BTreeMap<u64, Value> {
    let mut all = BTreeMap::new();
    let mut path = "/audit?limit=200".to_owned();
    loop {
        let part = read(auditor, &path);
        for record in part["items"].as_array().expect("items") {
            let number = record["number"].as_u64().expect("a number");
            all.insert(number, record["event"].clone());
        }
        let Some(next) = part["next"].as_str() else {
            return all;
        };
        path = format!("/audit?limit=200&cursor={next}");
    }
}

/// Compares the rows of a place with records, and with what an independent reader says of the
/// messages of those.
fn hold(place: Place, trail: &BTreeMap<u64, Value>, messages: &BTreeMap<u64, String>) {
    let Some(python) = python() else {
        return;
    };
    let found = rows(place).map(|row| {
        let is_it = |(_, event): &(&u64, &Value)| is_of(row, event);
        let record = trail.iter().find(is_it);
        let (number, event) = record.unwrap_or_else(|| {
            let alike = trail.values().filter(|event| event["act"] == row.0);
            panic!("no record as {row:?}: {:#?}", alike.collect::<Vec<_>>())
        });
        (row, *number, event)
    });
    let found: Vec<(&Row, u64, &Value)> = found.collect();
    let texts = found.iter().map(|(_, number, _)| messages[number].clone());
    let mut script = Command::new(python);
    script.arg(workspace::root().join("tests/audit/read.py"));
    let said = answers(&mut script, &texts.collect::<Vec<_>>());
    assert_eq!(said.len(), found.len());
    for ((row, _, event), said) in found.iter().zip(&said) {
        compare(row, event, &serde_json::from_str(said).expect("JSON"));
    }
}

/// The messages that a repository has, by the number of their record.
fn messages_of(repository: &Repository) -> BTreeMap<u64, String> {
    let messages = repository.messages();
    let once = once(&messages).into_iter();
    once.map(|message| (number(message), xml(message).to_owned()))
        .collect()
}

/// The same of an archive, as `pacs` writes them.
fn messages_in(data: &std::path::Path) -> (BTreeMap<u64, Value>, BTreeMap<u64, String>) {
    let list = |more: &[&str]| {
        let mut pacs = Command::new(workspace::binary("pacs"));
        pacs.args(["--json", "audit", "list", "--count", "10000"]);
        let said = run(pacs.args(more).arg("--data").arg(data)).succeeded();
        let lines = said.text.lines().filter_map(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            Some((line["number"].as_u64()?, line))
        });
        lines.collect::<BTreeMap<u64, Value>>()
    };
    let events = list(&[]).into_iter();
    let messages = list(&["--message"]).into_iter();
    (
        events
            .map(|(at, mut line)| (at, line["event"].take()))
            .collect(),
        messages
            .map(|(at, line)| (at, line["message"].as_str().unwrap_or_default().to_owned()))
            .collect(),
    )
}

#[test]
fn every_act_that_there_is_has_a_row() {
    // pacs-core writes each act of the code there first, and is held to it by a test of its own.
    let text = include_str!("../audit/events.jsonl");
    let events = text.lines().map(|line| {
        let event: Value = serde_json::from_str(line).expect("JSON");
        event["act"].as_str().expect("an act").to_owned()
    });
    let acts: BTreeSet<String> = events.collect();
    let rows: BTreeSet<String> = ROWS.iter().map(|row| row.0.to_owned()).collect();

    assert_eq!(acts, rows);
    assert_eq!(rows.len(), ROWS.len(), "each once");
}

/// Everybody who does something.
struct People {
    admin: Browser,
    keeper: Browser,
    ministry: Browser,
    expert: Browser,
    auditor: Browser,
    reader: Browser,
}

impl People {
    fn of(portal: &Portal) -> Self {
        Self {
            admin: portal.user("admin", &["org_admin@006"]),
            keeper: portal.user("keeper", &["archive_admin@national"]),
            ministry: portal.user("ministry", &["moh_admin@national"]),
            expert: portal.user("expert", &["expert@001"]),
            auditor: portal.user("auditor", &["auditor@national"]),
            reader: portal.user("reader", &["expert@006"]),
        }
    }
}

/// Patients, orders and what is asked.
fn patients_and_orders(hospital: &Hospital, people: &People) {
    let operator = &hospital.operator;
    let asked = operator.post("/register", &json!({"pin": KNOWN_PIN}));
    assert_eq!(asked.status, 200, "{}", asked.json());
    let found = operator.post("/patients/search", &json!({"text": "Жээнбеков"}));
    assert_eq!(found.status, 200);
    let second = json!({"name": {"family": "Осмонова"}, "birth_date": "1980-05-01"});
    let second = registered(operator, &second);
    let path = format!("/patients/{second}");
    let seen = operator.get(&path);
    let next = json!({
        "name": {"family": "Осмонова"}, "birth_date": "1980-05-01",
        "telephone": "+996 555 000000", "reason": "пациент сообщил",
    });
    let changed = operator.put(&path, &etag(&seen), &next);
    assert_eq!(changed.status, 200, "{}", changed.json());
    let third = json!({"name": {"family": "Усонова"}, "birth_date": "1981-05-01"});
    let third = registered(operator, &third);
    let other = etag(&people.admin.get(&format!("/patients/{third}")));
    let into = json!({"other": third, "other_etag": other, "reason": "одно лицо"});
    let seen = etag(&people.admin.get(&path));
    let merge = format!("{path}/merge");
    let based = [("If-Match", &*seen)];
    let merged = people.admin.send("POST", &merge, &based, &into);
    assert_eq!(merged.status, 200, "{}", merged.json());
    let gone = hospital.order();
    let cancel = format!("/examinations/{gone}/cancel");
    let cancelled = operator.post(&cancel, &json!({"reason": "не пришёл"}));
    assert_eq!(cancelled.status, 200, "{}", cancelled.json());
}

/// Images come, are looked at, sent, hidden, brought back and read.
fn images(hospital: &Hospital, people: &People, pythons: [&std::path::Path; 2]) -> Shot {
    let [python, dicomweb] = pythons;
    let id = hospital.order();
    let entry = hospital
        .console()
        .worklist()
        .remove(&id)
        .expect("the entry");
    let shot = picked(&entry);
    let (begun, ended) = (begins("2.25.71", &entry), ends("2.25.71", &shot, None));
    assert_eq!(told(python, hospital, &json!([begun])), [(0, 0)]);
    hospital.console().send(&shot.images);
    assert_eq!(told(python, hospital, &json!([ended])), [(0, 0)]);
    hospital.stands(&id, "images_received");
    decided(&hospital.operator, &shot.study, "bound", &[]);
    hospital.given(&shot);
    let portal = &hospital.portal;
    let mut script = Command::new(dicomweb);
    script
        .arg(workspace::root().join("tests/dicomweb/workitems.py"))
        .arg(format!("http://{}/dicomweb", portal.server.http()))
        .args([&people.reader.cookie, &people.reader.token, &id]);
    let _ = run(&mut script).succeeded();
    let path = format!("/dicomweb/studies/{}/metadata", shot.study);
    let fields = [
        ("Cookie", &*hospital.operator.cookie),
        ("Accept", "application/dicom+json"),
    ];
    let seen = ask(portal.server.http(), "GET", &path, &fields, &[]);
    assert_eq!(seen.status, 200);

    // Other content under a UID that is known, of a study of its own.
    let own = Shot::of(&typed("0"), 1);
    let first = &own.images[0];
    let place = (&*own.study, &*first.series, 1);
    let other = with_uid(
        &mut Random::new(18),
        Kind::Ct,
        &typed("1"),
        place,
        first.instance.clone(),
    );
    hospital.console().send(&own.images);
    hospital.console().send(std::slice::from_ref(&other));
    let all = json!({"title": "quality", "quality": "motion_blur", "reason": "пустые"});
    let rejections = format!("/studies/{}/rejections", own.study);
    let reject = || {
        let rejected = people.keeper.make(&rejections, &all);
        assert_eq!(rejected.status, 201, "{}", rejected.json());
        rejected.json()["id"].as_str().expect("an ID").to_owned()
    };
    let restoration = format!("/rejections/{}/restoration", reject());
    let back = people
        .keeper
        .make(&restoration, &json!({"reason": "верно"}));
    assert_eq!(back.status, 200, "{}", back.json());
    reject();
    own
}

/// Two people agree to erase a study.
fn erase(people: &People, study: &str) {
    let reason = json!({"reason": "истёк срок"});
    let proposed = people
        .keeper
        .make(&format!("/studies/{study}/erasure"), &reason);
    assert_eq!(proposed.status, 201, "{}", proposed.json());
    let id = proposed.json()["id"].as_str().expect("an ID").to_owned();
    let agreement = format!("/erasures/{id}/agreement");
    let agreed = people.ministry.make(&agreement, &Value::Null);
    assert_eq!(agreed.status, 200, "{}", agreed.json());
}

/// Somebody opens a patient in an emergency, and somebody judges that.
fn emergency(hospital: &Hospital, people: &People) {
    let body = json!({
        "patient": hospital.patient, "reason": "unconscious", "proof": PASSWORD,
        "explanation": "доставлен без сознания, нужны прежние снимки",
    });
    let opened = people.expert.post("/session/break-glass", &body);
    assert_eq!(opened.status, 201, "{}", opened.json());
    let id = opened.json()["id"].as_str().expect("an ID").to_owned();
    let closed = people
        .expert
        .send("DELETE", "/session/break-glass", &[], &Value::Null);
    assert_eq!(closed.status, 204);
    let review = json!({"verdict": "justified", "explanation": "подтверждено приёмным отделением"});
    let path = format!("/break-glass/{id}/review");
    let reviewed = people.auditor.send("PUT", &path, &[], &review);
    assert_eq!(reviewed.status, 200, "{}", reviewed.json());
}

/// What those do who look after the archive, and who knocks from elsewhere.
fn administration(hospital: &mut Hospital, people: &People) {
    let portal = &mut hospital.portal;
    let path = format!("/devices/{CT_OF_006}");
    let seen = people.ministry.get(&path);
    let mut device = seen.json();
    device["name"] = json!("КТ, первый этаж");
    let changed = people.ministry.put(&path, &etag(&seen), &device);
    assert_eq!(changed.status, 200, "{}", changed.json());
    let rules = json!({"rules": [{"modality": "CT", "keep_days": 9_000}], "waiting_days": 30});
    let kept = people.ministry.put("/retention", "\"0\"", &rules);
    assert_eq!(kept.status, 200, "{}", kept.json());
    let passer = portal.user("passer", &["operator@006"]);
    let out = passer.send("DELETE", "/session", &[], &Value::Null);
    assert_eq!(out.status, 204);
    portal.pacs(&["users", "roles", "passer", "--role", "radiographer@006"]);
    let said = portal.pacs(&[
        "token",
        "create",
        "gate",
        "--scope",
        "store",
        "--organisation",
        "006",
    ]);
    let secret = said.lines().find(|line| line.starts_with("pacs_"));
    let bearer = format!("Bearer {}", secret.expect("a secret"));
    let file = with_preamble(&Slice::new(71, 1).file(), &program(b"MZ\x90\0"));
    let fields = [("Authorization", &*bearer), ("Content-Type", RELATED)];
    let body = related(&[file]);
    let kept = ask(
        portal.server.http(),
        "POST",
        "/dicomweb/studies",
        &fields,
        &body,
    );
    assert_eq!(kept.status, 200);
    for _ in 0..KNOCKS {
        let proposal = Proposal {
            calling: FAR.to_owned(),
            ..Proposal::new(vec![Context::new(
                uid::VERIFICATION,
                uid::IMPLICIT_LITTLE_ENDIAN,
            )])
        };
        assert!(Association::connect(portal.server.dicom(), &proposal).is_err());
    }
}

fn far(more: &str) -> String {
    format!(
        "[[dicom.ae]]\ntitle = \"{FAR}\"\naddress = \"192.0.2.1:104\"\nallow = [\"echo\"{more}]\n"
    )
}

/// What is done while the server is stopped: import, and export of two patients.
fn beside(portal: &Portal) {
    let folder = workspace::temporary_folder();
    let _ = write_study(folder.path(), 72, 2);
    let from = folder.path().to_str().expect("UTF-8").to_owned();
    portal.pacs(&["import", &from]);
    let out = workspace::temporary_folder();
    let out = out.path().join("medium");
    portal.pacs(&[
        "export",
        "-k",
        "StudyInstanceUID=*",
        "--out",
        out.to_str().expect("UTF-8"),
    ]);
}

#[test]
fn every_act_is_on_record_and_at_the_repository_as_a_message_of_the_standard() {
    let (Some(python), Some(dicomweb)) = (python(), dicomweb_python()) else {
        return;
    };
    let home = workspace::temporary_folder();
    let Some(clock) = Clock::start(home.path()) else {
        return;
    };
    let keys = certificates::Hospital::new();
    let own = keys.trusted.make(&Wanted::new("repository"));
    let repository = Repository::start(&own, None, Ending::Closes);
    let key = home.path().join("signing.pem");
    std::fs::write(&key, SIGNING_KEY).expect("a file");
    let register = SecurityServer::start();
    let settings = format!(
        "[audit]\nsigning_key = \"{}\"\n{}\n{}\n",
        key.display(),
        repository.settings(&keys, ""),
        register.soap_settings(),
    );
    let Some(mut hospital) = Hospital::with(&[], &format!("{settings}{}", far(""))) else {
        return;
    };
    let people = People::of(&hospital.portal);
    patients_and_orders(&hospital, &people);
    let own = images(&hospital, &people, [&python, &dicomweb]);
    erase(&people, &own.study);
    emergency(&hospital, &people);
    administration(&mut hospital, &people);
    let server = &mut hospital.portal.server;
    server.rewrite_config(format!("{CHEAP_PASSWORDS}{settings}{}", far(", \"store\"")));
    server.hang_up();
    server.wait_for_log("certificates were read again");
    let _ = people
        .auditor
        .get(&format!("/audit?patient={}", hospital.patient));

    assert!(hospital.portal.server.stop().success());
    beside(&hospital.portal);
    clock.set("+31d");
    for (name, value) in clock.environment() {
        hospital.portal.server.set_environment(name, Some(&value));
    }
    hospital.portal.server.restart();
    let auditor = hospital.portal.again("auditor");
    until(PATIENCE, "the end of the study", || {
        let trail = trail(&auditor);
        let mut acts = trail.values().map(|event| &event["act"]);
        acts.any(|act| act == "study_erased").then_some(())
    });
    let trail = trail(&auditor);
    let last = *trail.keys().last().expect("records");
    repository.wait_until(|came| came.iter().any(|message| number(message) >= last));

    hold(Place::Hospital, &trail, &messages_of(&repository));
    few_records_tell_of_all_knocks(&trail);
    let public = home.path().join("public.pem");
    std::fs::write(&public, SIGNED_BY).expect("a file");
    let public = public.to_str().expect("UTF-8");
    let verified = hospital
        .portal
        .pacs(&["audit", "verify", "--signed-by", public]);
    assert!(verified.contains("signatures, the last of"), "{verified}");
}

fn few_records_tell_of_all_knocks(trail: &BTreeMap<u64, Value>) {
    let refused = trail
        .values()
        .filter(|event| event["act"] == "node_refused");
    let times: Vec<u64> = refused
        .map(|event| event["times"].as_u64().unwrap_or(1))
        .collect();
    assert!(times.len() < 20, "{times:?}");
    assert_eq!(times.iter().sum::<u64>(), KNOCKS, "{times:?}");
}

#[test]
fn reports_of_the_demonstration_are_on_record() {
    let home = workspace::temporary_folder();
    let folder = home.path().join("demo");
    let demonstration = Demonstration::fill(&folder);
    let (trail, messages) = messages_in(&folder.join("data"));
    drop(demonstration);

    hold(Place::Demonstration, &trail, &messages);
}

#[test]
fn what_cannot_be_recorded_is_not_done_and_the_trail_tells_for_how_long() {
    let disk = SmallDisk::mount(48);
    let data = disk.path().join("data").display().to_string();
    let server = Server::start(Options {
        config: CHEAP_PASSWORDS.to_owned(),
        arguments: vec!["--data".to_owned(), data.clone()],
        ..Options::default()
    });
    let data = std::path::Path::new(&data);
    let auditor = signed_in::Browser::of_new_user(&server, "auditor", &["auditor@national"]);
    let filler = disk.fill(0);
    // Nobody reads the trail as long as it cannot be told that they did.
    let refused = until(PATIENCE, "a trail that has no room", || {
        let answer = auditor.send(&server, "GET", "/api/v1/audit", &[], &Value::Null);
        (answer.status >= 500).then_some(answer)
    });
    assert_eq!(refused.status, 503, "{}", refused.head);
    assert_eq!(signed_in::code(&refused), "FULL");
    assert!(refused.head.contains("retry-after: "), "{}", refused.head);
    // Nobody signs in either, for nothing could tell that they did; the password is not at fault.
    let name = json!({"user": "auditor", "password": PASSWORD});
    let refused = signed_in::send(&server, "POST", "/api/v1/session", &[], &name);
    assert_eq!(refused.status, 503, "{}", refused.head);
    assert_eq!(signed_in::code(&refused), "FULL");
    server.wait_for_log("audit_recording_stopped");
    std::fs::remove_file(filler).expect("room");
    server.wait_for_log("the audit trail can be written again");

    let (trail, messages) = messages_in(data);
    hold(Place::FullDisk, &trail, &messages);
    let acts: Vec<&Value> = trail.values().map(|event| &event["act"]).collect();
    let at = acts
        .iter()
        .position(|act| *act == "audit_recording_stopped");
    assert_eq!(acts[at.expect("a record") + 1], "audit_recording_started");
}
