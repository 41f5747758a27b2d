//! Taking images out of sight and bringing them back, over the API; what devices can do about it,
//! which is nothing; and sending studies back to them.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use pacs_tests::crash::CRASH_AT;
use pacs_tests::edges::clock::Clock;
use pacs_tests::peers::{free_port, run};
use pacs_tests::samples::{KEY_OBJECTS, Slice, rejection_note};
use pacs_tests::server::{Options, RemoteAe, Server};
use pacs_tests::signed_in::{Browser, pacs};
use pacs_tests::stow::{Answer, RELATED, ask, related};
use pacs_tests::wire::{Association, Context, Proposal, uid};
use pacs_tests::workspace;
use serde_json::{Value, json};

const SYNTAX: &str = uid::EXPLICIT_LITTLE_ENDIAN;

/// Passwords that cost little, and the tool as an AE that sees everything.
const CONFIG: &str = r#"
[accounts]
password_memory_mib = 19
password_passes = 2

[[dicom.ae]]
title = "PACS_TOOL"
address = "127.0.0.1:11999"
allow = ["echo", "find"]
sees = "everything"
"#;

/// Tells requests apart.
static NEXT: AtomicU32 = AtomicU32::new(1);

/// How long is waited for what the server does in the background.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that knows the organisations, with passwords that cost little.
fn start(remote: Vec<RemoteAe>) -> Server {
    start_with(Options {
        remote,
        ..Options::default()
    })
}

fn start_with(options: Options) -> Server {
    let server = Server::start(Options {
        arguments: vec!["--open-loopback".to_owned()],
        config: CONFIG.to_owned(),
        ..options
    });
    let file = workspace::root().join("reference-server/organisations.json");
    let file = file.to_str().expect("UTF-8");
    let _imported = pacs(&server, &["organisations", "import", file]).succeeded();
    server
}

/// Somebody who is signed in.
struct Person(Browser);

impl Person {
    fn new(server: &Server, name: &str, role: &str) -> Self {
        Self(Browser::of_new_user(server, name, &[role]))
    }

    /// Asks for something, under a name of its own.
    fn ask(&self, server: &Server, method: &str, path: &str, body: &Value) -> Answer {
        let key = format!("request-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let key = [("Idempotency-Key", &*key)];
        self.0.send(server, method, path, &key, body)
    }

    fn get(&self, server: &Server, path: &str) -> Value {
        let answer = self.ask(server, "GET", path, &Value::Null);
        assert_eq!(answer.status, 200, "{path}: {:?}", answer.json());
        answer.json()
    }

    fn post(&self, server: &Server, path: &str, body: &Value, status: u16) -> Value {
        let answer = self.ask(server, "POST", path, body);
        assert_eq!(answer.status, status, "{path}: {:?}", answer.json());
        answer.json()
    }
}

/// Asks again until there is something.
fn eventually<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{what} does not come");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What the device `NATHOS_CT1` sends, and what it is told.
fn send(server: &Server, class: &str, instance: &str, data_set: &[u8]) -> u16 {
    let proposal = Proposal {
        calling: "NATHOS_CT1".to_owned(),
        ..Proposal::new(vec![Context::new(class, SYNTAX)])
    };
    let mut association = Association::connect(server.dicom(), &proposal).expect("an association");
    let status = association.store(class, instance, SYNTAX, data_set);
    association.release().expect("a release in order");
    status.expect("an answer")
}

fn send_slices(server: &Server, count: u32) -> Vec<Slice> {
    send_study(server, 1, count)
}

fn send_study(server: &Server, study: u32, count: u32) -> Vec<Slice> {
    let slices = (1..=count).map(|number| Slice::new(study, number));
    let slices: Vec<Slice> = slices.collect();
    for slice in &slices {
        let status = send(
            server,
            uid::CT_IMAGE_STORAGE,
            &slice.instance,
            &slice.data_set(),
        );
        assert_eq!(status, 0);
    }
    slices
}

/// How many instances of the study C-FIND, and QIDO, say that there are.
fn counts(server: &Server, study: &str) -> [u64; 2] {
    let mut pacs = Command::new(workspace::binary("pacs"));
    let peer = format!("PACS@{}", server.dicom());
    let key = format!("StudyInstanceUID={study}");
    let words = ["--json", "find", &peer, "--level", "study", "-k", &key];
    let words = words
        .into_iter()
        .chain(["-k", "NumberOfStudyRelatedInstances"]);
    let said = run(pacs.args(words).stdin(Stdio::null()));
    let by_find = said.text.lines().find_map(|line| {
        let found: Value = serde_json::from_str(line).ok()?;
        let count = &found["attributes"]["NumberOfStudyRelatedInstances"];
        count
            .as_u64()
            .or_else(|| count.as_str()?.trim().parse().ok())
    });
    let path = format!("/dicomweb/studies?0020000D={study}&includefield=00201208");
    let found = ask(server.http(), "GET", &path, &[], &[]);
    let by_qido = if found.status == 204 || found.body.is_empty() {
        None
    } else {
        found.json()[0]["00201208"]["Value"][0].as_u64()
    };
    [by_find.unwrap_or(0), by_qido.unwrap_or(0)]
}

/// A rejection note about a slice: "Rejected for Quality Reasons".
fn note(about: &Slice, instance: &str) -> Vec<u8> {
    let place = (&*about.study, &*about.series);
    rejection_note(instance, place, &[&about.instance])
        .text(0x0010_0010, "PN", &about.patient_name)
        .text(0x0010_0020, "LO", &about.patient_id)
        .encode()
}

#[test]
fn what_is_rejected_is_gone_for_all_and_comes_back_with_its_counts_also_after_a_kill() {
    let mut server = start(Vec::new());
    let slices = send_slices(&server, 3);
    let study = slices[0].study.clone();
    let keeper = Person::new(&server, "keeper", "archive_admin@national");
    let radiologist = Person::new(&server, "r.reader", "radiologist@006");
    let path = format!("/api/v1/studies/{study}");
    let shown = eventually("the study of the organisation", || {
        let shown = keeper.get(&server, &path);
        (shown["organisation"] == "006").then_some(shown)
    });
    assert_eq!(shown["instances_count"], 3);
    assert_eq!(shown["series"].as_array().expect("series").len(), 1);
    let listed = keeper.get(&server, "/api/v1/studies?organisation=006");
    assert_eq!(listed["items"][0]["uid"], study.as_str());

    let wanted = json!({
        "instances": [slices[1].instance], "title": "quality", "quality": "motion_blur",
        "reason": "смазано"
    });
    let to = format!("{path}/rejections");
    // Who is of elsewhere, or is to read other examinations, does not learn that it is there.
    for (name, role) in [("r.other", "radiologist@001"), ("e.other", "expert@006")] {
        let other = Person::new(&server, name, role);
        other.post(&server, &to, &wanted, 404);
        assert_eq!(other.ask(&server, "GET", &path, &Value::Null).status, 404);
        assert_eq!(other.get(&server, "/api/v1/studies")["items"], json!([]));
    }
    let first = radiologist.post(&server, &to, &wanted, 201);
    assert_eq!(
        (&first["state"], &first["by"]),
        (&json!("applied"), &json!("r.reader"))
    );
    assert_eq!(counts(&server, &study), [2, 2]);
    let all = json!({"title": "patient_safety", "reason": "чужой пациент"});
    let second = radiologist.post(&server, &to, &all, 201);
    assert_eq!(second["instances_count"], 2);
    server.kill();
    server.restart();
    assert_eq!(counts(&server, &study), [0, 0]);

    // What endangers the patient is refused when it comes again; the rest stays out of sight.
    let again = |slice: &Slice| {
        let data_set = slice.data_set();
        send(&server, uid::CT_IMAGE_STORAGE, &slice.instance, &data_set)
    };
    assert_eq!(again(&slices[0]), 0x0124);
    assert_eq!(again(&slices[1]), 0);
    assert_eq!(counts(&server, &study), [0, 0]);

    let reason = json!({"reason": "проверено"});
    let id = second["id"].as_str().expect("an id");
    let restoration = format!("/api/v1/rejections/{id}/restoration");
    radiologist.post(&server, &restoration, &reason, 403);
    let stale = keeper.ask(&server, "POST", &restoration, &json!({"reason": " "}));
    assert_eq!(stale.status, 422);
    let restored = keeper.post(&server, &restoration, &reason, 200);
    assert_eq!(restored["restored"]["by"], "keeper");
    assert_eq!(
        counts(&server, &study),
        [2, 2],
        "one of another rejection stays"
    );
    keeper.post(&server, &restoration, &reason, 409);
    let id = first["id"].as_str().expect("an id");
    let restoration = format!("/api/v1/rejections/{id}/restoration");
    radiologist.post(&server, &restoration, &reason, 403);
    keeper.post(&server, &restoration, &reason, 200);
    assert_eq!(counts(&server, &study), [3, 3]);
    assert_eq!(again(&slices[0]), 0);
    let listed = keeper.get(&server, "/api/v1/rejections?organisation=006");
    let states = listed["items"].as_array().expect("items").iter();
    let states: Vec<_> = states.map(|item| item["state"].clone()).collect();
    assert_eq!(states, ["restored", "restored"]);

    let audit = pacs(&server, &["audit", "verify"]);
    assert!(audit.success, "{}", audit.text);
}

#[test]
fn no_device_and_no_program_without_the_scope_takes_anything_out_of_sight() {
    let server = start(Vec::new());
    let slices = send_slices(&server, 2);
    let study = &slices[0].study;
    // Over DIMSE and over the web a note is kept as any instance, and rejects nothing.
    let by_dimse = format!("{study}.77.1");
    assert_eq!(
        send(
            &server,
            KEY_OBJECTS,
            &by_dimse,
            &note(&slices[0], &by_dimse)
        ),
        0
    );
    let by_web = format!("{study}.77.2");
    let file =
        pacs_tests::samples::part10((KEY_OBJECTS, &by_web), SYNTAX, &note(&slices[1], &by_web));
    let kind = [("Content-Type", RELATED)];
    let body = related(&[file]);
    let stored = ask(server.http(), "POST", "/dicomweb/studies", &kind, &body);
    assert_eq!(stored.status, 200);
    server.wait_for_log("a rejection note came");
    assert_eq!(counts(&server, study), [4, 4], "two images, two notes");

    let path = format!("/dicomweb/studies/{study}");
    for scope in ["find", "get", "store", "commit", "find,get,store,commit"] {
        let name = scope.replace(',', "-");
        let said = pacs(
            &server,
            &["token", "create", &name, "--scope", scope, "--everything"],
        )
        .succeeded();
        let secret = said.text.lines().find(|line| line.starts_with("pacs_"));
        let shown = format!("Bearer {}", secret.expect("a secret"));
        let fields = [("Authorization", shown.as_str())];
        let refused = ask(server.http(), "DELETE", &path, &fields, &[]);
        assert_eq!(refused.status, 403, "{scope}");
    }
    assert_eq!(counts(&server, study), [4, 4]);

    let radiographer = Person::new(&server, "r.grapher", "radiographer@006");
    let notes = "/api/v1/rejection-notes";
    let waiting = eventually("the note of the device", || {
        let waiting = radiographer.get(&server, notes);
        waiting["items"]
            .as_array()
            .is_some_and(|items| !items.is_empty())
            .then_some(waiting)
    });
    let [proposed] = waiting["items"].as_array().expect("items").as_slice() else {
        panic!("{waiting}");
    };
    assert_eq!(proposed["sender"], "NATHOS_CT1");
    assert_eq!(proposed["asks"], "quality");
    assert_eq!(
        proposed["rejected"][0]["instances"],
        json!([slices[0].instance])
    );
    // Somebody who may follows it: then, and only then, is it rejected.
    let follow = format!("{notes}/{by_dimse}/rejection");
    let operator = Person::new(&server, "o.perator", "operator@006");
    operator.post(&server, &follow, &json!({"reason": "так"}), 403);
    eventually("the study of the organisation", || {
        let keeper = radiographer.ask(&server, "POST", &follow, &json!({"reason": "так"}));
        (keeper.status == 200).then_some(())
    });
    assert_eq!(counts(&server, study), [3, 3]);
    assert_eq!(radiographer.get(&server, notes)["items"], json!([]));
    let audit = pacs(&server, &["--json", "audit", "list"]).succeeded();
    assert!(audit.text.contains("IGNORED"), "{}", audit.text);
}

#[test]
fn a_program_with_the_scope_deletes_by_a_rejection_that_can_be_undone() {
    let server = start(Vec::new());
    let slices = send_slices(&server, 2);
    let study = &slices[0].study;
    let said = pacs(
        &server,
        &[
            "token",
            "create",
            "tidy",
            "--scope",
            "get,hide",
            "--everything",
        ],
    )
    .succeeded();
    let secret = said.text.lines().find(|line| line.starts_with("pacs_"));
    let shown = format!("Bearer {}", secret.expect("a secret"));
    let fields = [("Authorization", shown.as_str())];
    let path = format!("/dicomweb/studies/{study}");

    assert_eq!(
        ask(server.http(), "DELETE", &path, &fields, &[]).status,
        204
    );

    assert_eq!(counts(&server, study), [0, 0]);
    assert_eq!(
        ask(server.http(), "DELETE", &path, &fields, &[]).status,
        404
    );
    let keeper = Person::new(&server, "keeper", "archive_admin@national");
    let shown = keeper.get(&server, &format!("/api/v1/studies/{study}"));
    let rejection = &shown["rejections"][0];
    assert_eq!(
        (&rejection["by"], &rejection["state"]),
        (&json!("tidy"), &json!("applied"))
    );
    let id = rejection["id"].as_str().expect("an id");
    let restoration = format!("/api/v1/rejections/{id}/restoration");
    keeper.post(&server, &restoration, &json!({"reason": "нужны"}), 200);
    assert_eq!(counts(&server, study), [2, 2]);
}

#[test]
fn a_study_is_sent_back_with_a_receipt_also_where_the_ae_comes_later_and_the_server_is_killed() {
    let port = free_port();
    let address = format!("127.0.0.1:{port}").parse().expect("an address");
    let mut server = start(vec![RemoteAe::new("NATHOS_WS1", address)]);
    let slices = send_slices(&server, 5);
    let study = &slices[0].study;
    let keeper = Person::new(&server, "keeper", "archive_admin@national");
    let to = format!("/api/v1/studies/{study}/sendings");
    let unknown = json!({"destination": "NOBODY"});
    keeper.post(&server, &to, &unknown, 409);
    // Once, however often it is asked for with the same key.
    let wanted = json!({"destination": "NATHOS_WS1"});
    let once = [("Idempotency-Key", "send-it-back")];
    let mut ids = Vec::new();
    for _ in 0..2 {
        let answer = keeper.0.send(&server, "POST", &to, &once, &wanted);
        assert_eq!(answer.status, 202, "{:?}", answer.json());
        ids.push(answer.json()["id"].clone());
    }
    assert_eq!(ids[0], ids[1]);
    let keyless = keeper.0.send(&server, "POST", &to, &[], &wanted);
    assert_eq!(keyless.json()["code"], "KEY_NEEDED");
    let shown = keeper.get(&server, &format!("/api/v1/studies/{study}"));
    let [sending] = shown["sendings"].as_array().expect("sendings").as_slice() else {
        panic!("{shown}");
    };
    assert_eq!(sending["instances_count"], 5);
    let id = sending["id"].as_str().expect("an id").to_owned();
    let path = format!("/api/v1/sendings/{id}");
    let failed = eventually("an attempt that fails", || {
        let shown = keeper.get(&server, &path);
        (shown["attempts_count"] != 0).then_some(shown)
    });
    assert_eq!(failed["state"], "open", "{failed}");
    server.kill();

    let workstation = Server::start(Options {
        arguments: vec![
            "--dicom".to_owned(),
            format!("127.0.0.1:{port}"),
            "--ae-title".to_owned(),
            "NATHOS_WS1".to_owned(),
            "--open-loopback".to_owned(),
        ],
        ..Options::default()
    });
    server.restart();

    let done = eventually("the receipt", || {
        let shown = keeper.get(&server, &path);
        (shown["state"] == "done").then_some(shown)
    });
    assert_eq!(
        (&done["taken_count"], &done["refused_count"]),
        (&json!(5), &json!(0))
    );
    assert_eq!(counts(&workstation, study)[1], 5);
    let operator = Person::new(&server, "o.perator", "operator@006");
    operator.ask(&server, "GET", &path, &Value::Null);
    let refused = operator.ask(&server, "POST", &to, &json!({"destination": "NATHOS_WS1"}));
    assert!([403, 404].contains(&refused.status), "{}", refused.status);
}

#[test]
fn erasing_takes_two_people_and_a_while_and_the_policy_is_for_ever_until_somebody_says_otherwise() {
    let server = start(Vec::new());
    let slices = send_slices(&server, 2);
    let study = &slices[0].study;
    let keeper = Person::new(&server, "keeper", "archive_admin@national");
    let ministry = Person::new(&server, "ministry", "moh_admin@national");
    let proposal = format!("/api/v1/studies/{study}/erasure");
    let reason = json!({"reason": "истёк срок"});
    let refused = keeper.post(&server, &proposal, &reason, 409);
    assert_eq!(
        refused["code"], "IN_SIGHT",
        "it is in sight, and kept for ever"
    );
    let all = json!({"title": "quality", "reason": "пустые"});
    let rejections = format!("/api/v1/studies/{study}/rejections");
    let rejected = keeper.post(&server, &rejections, &all, 201);
    ministry.post(&server, &proposal, &reason, 403);
    let proposed = keeper.post(&server, &proposal, &reason, 201);
    assert_eq!(
        (&proposed["state"], &proposed["ground"]),
        (&json!("proposed"), &json!("rejected"))
    );
    let id = proposed["id"].as_str().expect("an id");
    let agreement = format!("/api/v1/erasures/{id}/agreement");
    keeper.post(&server, &agreement, &Value::Null, 403);
    let agreed = ministry.post(&server, &agreement, &Value::Null, 200);
    assert_eq!(agreed["state"], "agreed");
    assert!(agreed["not_before"].as_str() > agreed["at"].as_str());
    let waiting = ministry.get(&server, "/api/v1/erasures");
    assert_eq!(waiting["items"][0]["id"], id);
    // Until it is final it is only out of sight.
    let id = rejected["id"].as_str().expect("an id");
    let restoration = format!("/api/v1/rejections/{id}/restoration");
    keeper.post(&server, &restoration, &reason, 200);
    assert_eq!(counts(&server, study), [2, 2]);

    let policy = ministry.get(&server, "/api/v1/retention");
    assert_eq!(policy["rules"], json!([]));
    let rules = json!({"rules": [{"modality": "CT", "keep_days": 9_000}], "waiting_days": 30});
    let unseen = ministry.ask(&server, "PUT", "/api/v1/retention", &rules);
    assert_eq!(unseen.status, 428);
    let based = [("If-Match", "\"0\"")];
    let set = || {
        let to = "/api/v1/retention";
        ministry.0.send(&server, "PUT", to, &based, &rules)
    };
    let first = set();
    assert_eq!(first.status, 200, "{:?}", first.json());
    assert_eq!(set().status, 412);
    assert_eq!(
        ministry.get(&server, "/api/v1/retention")["rules"],
        rules["rules"]
    );
}

/// The steps of erasing, as `pacs_store::FailPoints` names them.
const ERASING: [&str; 5] = [
    "erase-begun",
    "erase-marked",
    "erase-zeroed",
    "erase-discarded",
    "erase-told",
];

#[test]
fn what_was_agreed_to_is_erased_when_its_time_has_come_wherever_the_server_dies_of_it() {
    let home = workspace::temporary_folder();
    let Some(clock) = Clock::start(home.path()) else {
        return;
    };
    let environment = clock.environment();
    let mut server = start_with(Options {
        environment: environment
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
        ..Options::default()
    });
    let kept = send_study(&server, 1, 2);
    let erased = [send_study(&server, 2, 2), send_study(&server, 3, 1)].concat();
    let keeper = Person::new(&server, "keeper", "archive_admin@national");
    let ministry = Person::new(&server, "ministry", "moh_admin@national");
    for study in [&erased[0].study, &erased[2].study] {
        let all = json!({"title": "quality", "reason": "пустые"});
        let path = format!("/api/v1/studies/{study}");
        keeper.post(&server, &format!("{path}/rejections"), &all, 201);
        let reason = json!({"reason": "истёк срок"});
        let proposed = keeper.post(&server, &format!("{path}/erasure"), &reason, 201);
        let id = proposed["id"].as_str().expect("an id");
        let agreement = format!("/api/v1/erasures/{id}/agreement");
        ministry.post(&server, &agreement, &Value::Null, 200);
    }
    // Not before its time, also by a server that has just been started.
    clock.set("+29d");
    assert!(server.stop().success());
    server.restart();
    std::thread::sleep(Duration::from_secs(2));
    let packs = server.packs();
    assert!(erased.iter().all(|slice| slice.is_in(&packs)));

    clock.set("+31d");
    assert!(server.stop().success());
    server.set_binary(Some(workspace::server_with_failpoints()));
    for step in ERASING {
        server.set_environment(CRASH_AT, Some(&format!("{step}:1")));
        // It may die before it has said that it is ready.
        if server.try_restart().is_ok() {
            let end = server.wait_at_most(PATIENCE);
            assert!(end.is_some_and(|end| !end.success()), "{step}: {end:?}");
        }
    }
    server.set_environment(CRASH_AT, None);
    server.set_binary(None);
    server.restart();

    eventually("the end of all that is erased", || {
        let packs = server.packs();
        let is_there = |slice: &Slice| slice.is_in(&packs);
        assert!(kept.iter().all(is_there), "what is kept is there");
        let (code, health) = server.get("/healthz");
        assert_eq!(code, 200, "{health}");
        let is_done = health.contains("\"erasures_waiting\":0");
        (is_done && !erased.iter().any(is_there)).then_some(())
    });
    assert_eq!(counts(&server, &kept[0].study), [2, 2]);
    for study in [&erased[0].study, &erased[2].study] {
        assert_eq!(counts(&server, study), [0, 0]);
    }
    let _nothing_is_damaged = pacs(&server, &["verify"]).succeeded();
}
