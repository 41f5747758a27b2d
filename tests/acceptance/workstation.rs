//! People at workstations, which show their passcodes: pynetdicom searches and retrieves for them.
//! Number 13 over DIMSE.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use pacs_tests::day::images::Header;
use pacs_tests::edges::clock::Clock;
use pacs_tests::edges::until;
use pacs_tests::peers::{peer_py, python, run};
use pacs_tests::portal::{Browser, PASSWORD};
use pacs_tests::server::PATIENCE;
use pacs_tests::workspace;
use serde_json::{Value, json};

use crate::hospital::{
    Hospital, Shot, WORKSTATION_OF_001, WORKSTATION_OF_006, decided, ordered, read, registered,
    typed,
};
use crate::people::break_glass;

/// C-FIND, C-MOVE and C-GET of Study Root.
const CLASSES: [&str; 3] = [
    "1.2.840.10008.5.1.4.1.2.2.1",
    "1.2.840.10008.5.1.4.1.2.2.2",
    "1.2.840.10008.5.1.4.1.2.2.3",
];

/// Rejected for good by the service user, no reason given (PS3.8 Table 9-21).
const REJECTED: [u64; 3] = [1, 1, 1];

/// Rejected for a while, by the service provider: temporary congestion.
const TOLD_TO_WAIT: [u64; 3] = [2, 3, 1];

/// A workstation with somebody at it.
#[derive(Clone)]
struct Workstation {
    python: PathBuf,
    server: SocketAddr,
    title: &'static str,
    user: String,
    passcode: String,
}

impl Workstation {
    /// The workstation of this title, once somebody has typed their passcode there.
    fn of(hospital: &Hospital, python: &Path, (title, who): (&'static str, &Browser)) -> Self {
        let given = who.post("/session/passcode", &Value::Null);
        assert_eq!(given.status, 201, "{}", given.json());
        let given = given.json();
        let text = |name: &str| given[name].as_str().expect("a text").to_owned();
        Self {
            python: python.to_owned(),
            server: hospital.portal.server.dicom(),
            title,
            user: text("user"),
            passcode: text("passcode"),
        }
    }

    fn ask(&self, command: &str, arguments: &[&str]) -> Value {
        let mut asks = peer_py(&self.python);
        asks.env("AE_TITLE", self.title)
            .env("DICOM_USER", &self.user)
            .env("DICOM_PASSCODE", &self.passcode);
        asks.arg(command).arg(self.server.ip().to_string());
        asks.arg(self.server.port().to_string()).args(arguments);
        run(&mut asks).succeeded().json()
    }

    /// All studies that there are for whoever is there.
    fn studies(&self) -> BTreeSet<String> {
        let found = self.ask("find", &["STUDY", "StudyInstanceUID="]);
        assert_eq!(found["status"], 0, "{found}");
        let matches = found["matches"].as_array().expect("matches").iter();
        let uid = |study: &Value| study["StudyInstanceUID"].as_str().map(str::to_owned);
        matches.map(|study| uid(study).expect("a UID")).collect()
    }

    /// How many images of a study they get.
    fn count(&self, study: &str) -> usize {
        let got = self.ask("get", &[study]);
        assert_eq!(got["status"], 0, "{got}");
        got["received"].as_array().expect("images").len()
    }

    /// What so many requests for an association are told.
    fn knock(&self, times: usize) -> Vec<Value> {
        let told = self.ask("knock", &[&times.to_string()]);
        told["told"].as_array().expect("answers").clone()
    }

    /// Whether name and passcode are nobody's.
    fn is_rejected(&self) -> bool {
        self.knock(1) == [json!(REJECTED)]
    }

    /// The same after many guesses, of which the last may still be counted against the network.
    fn is_turned_away(&self) -> bool {
        let told = self.knock(1);
        told == [json!(REJECTED)] || told == [json!(TOLD_TO_WAIT)]
    }
}

/// Records of `act` by `who`, with the device they were at.
fn recorded(auditor: &Browser, act: &str, who: &str, device: &str) -> Vec<Value> {
    let trail = read(auditor, "/audit?limit=200");
    let items = trail["items"].as_array().expect("records").iter();
    let is_it = |item: &&Value| {
        let event = &item["event"];
        event["act"] == act && event["actor"]["name"] == who && event["object"]["node"] == device
    };
    items.filter(is_it).cloned().collect()
}

/// What the console makes for the order of a second patient.
fn made_of_second(hospital: &Hospital) -> Shot {
    let second = json!({"name": {"family": "Осмонова", "given": "Айгүл"},
        "birth_date": "1980-05-01", "sex": "F"});
    let second = registered(&hospital.operator, &second);
    let header = Header {
        name: "OSMONOVA^AIGUL".to_owned(),
        birth_date: "19800501".to_owned(),
        sex: "F".to_owned(),
        ..typed(&ordered(&hospital.operator, &second))
    };
    let shot = Shot::of(&header, 1);
    hospital.console().send(&shot.images);
    decided(&hospital.operator, &shot.study, "bound", &[]);
    shot
}

#[test]
fn a13_at_a_workstation_an_emergency_opens_one_patient_to_one_person_for_the_hour() {
    let home = workspace::temporary_folder();
    let (Some(clock), Some(python)) = (Clock::start(home.path()), python()) else {
        return;
    };
    let Some(mut hospital) = Hospital::start() else {
        return;
    };
    hospital.go_by(&clock);
    let expert = hospital.portal.user("expert", &["expert@001"]);
    let colleague = hospital.portal.user("colleague", &["expert@001"]);
    let auditor = hospital.portal.user("auditor", &["auditor@national"]);
    let shot = hospital.made(&hospital.order(), 2);
    hospital.given(&shot);
    let hidden = made_of_second(&hospital);
    let [there, other] = [&expert, &colleague]
        .map(|who| Workstation::of(&hospital, &python, (WORKSTATION_OF_001, who)));
    let sees_nothing = |workstation: &Workstation| {
        let counts = [&shot, &hidden].map(|shot| workstation.count(&shot.study));
        assert_eq!((workstation.studies(), counts), (BTreeSet::new(), [0, 0]));
    };
    let sees_the_patient = || {
        assert_eq!(there.studies(), BTreeSet::from([shot.study.clone()]));
        let counts = [&shot, &hidden].map(|shot| there.count(&shot.study));
        assert_eq!(counts, [2, 0]);
    };
    sees_nothing(&there);

    let opened = break_glass(&expert, &hospital.patient, PASSWORD);
    assert_eq!(opened.status, 201, "{}", opened.json());
    sees_the_patient();
    sees_nothing(&other);
    // The workstation sees what it saw, without them.
    let alone = hospital.ae(WORKSTATION_OF_001);
    assert_eq!(alone.count(&shot.study), 0);
    assert!(alone.get(&shot.study).is_empty());
    for act in ["transfer_begun", "images_sent"] {
        let told = until(PATIENCE, act, || {
            recorded(&auditor, act, "expert", WORKSTATION_OF_001).pop()
        });
        let event = &told["event"];
        assert_eq!(event["actor"]["kind"], "user", "{told}");
        assert_eq!(event["purpose"], "emergency", "{told}");
        assert_eq!(event["object"]["patient"], *hospital.patient, "{told}");
    }
    let searched = recorded(&auditor, "queried", "expert", WORKSTATION_OF_001);
    assert!(!searched.is_empty());

    for passed in ["+25m", "+50m"] {
        clock.set(passed);
        sees_the_patient();
    }
    clock.set("+61m");
    sees_nothing(&there);
    // Another one ends before its hour, by whoever opened it.
    let opened = break_glass(&expert, &hospital.patient, PASSWORD);
    assert_eq!(opened.status, 201, "{}", opened.json());
    sees_the_patient();
    let closed = expert.send("DELETE", "/session/break-glass", &[], &Value::Null);
    assert_eq!(closed.status, 204);
    sees_nothing(&there);
}

/// A workstation that may not search.
const AES: &str = "[[dicom.ae]]\ntitle = \"NATHOS_WS2\"\naddress = \"127.0.0.1:1\"\n\
                   allow = [\"echo\", \"store\"]\n";

#[test]
fn a_passcode_is_good_for_one_session_and_for_what_the_workstation_may() {
    let Some(python) = python() else { return };
    let Some(hospital) = Hospital::with(&[], AES) else {
        return;
    };
    let id = hospital.order();
    let shot = hospital.made(&id, 2);
    hospital.given(&shot);
    let reader = hospital.portal.user("reader", &["radiologist@006"]);
    let auditor = hospital.portal.user("auditor", &["auditor@national"]);
    let there = Workstation::of(&hospital, &python, (WORKSTATION_OF_006, &reader));
    assert_eq!(there.knock(1), [json!(CLASSES)]);
    assert_eq!(there.studies(), BTreeSet::from([shot.study.clone()]));
    assert_eq!(there.count(&shot.study), 2);
    // At another one they may do what that may.
    let title = "NATHOS_WS2";
    let may_not = Workstation {
        title,
        ..there.clone()
    };
    assert_eq!(may_not.knock(1), [json!([])]);
    // The tool is known by it, too.
    found_by_tool(&hospital, &there, &shot);

    let near = there.passcode.replace(['2', '3'], "4") + "4";
    let passcode = near.chars().skip(1).collect();
    let guesses = Workstation {
        passcode,
        ..there.clone()
    };
    assert!(guesses.is_rejected());
    let told = guesses.knock(20);
    let last = told.last().expect("an answer");
    assert_eq!((&told[0], last), (&json!(REJECTED), &json!(TOLD_TO_WAIT)));
    assert_eq!(there.count(&shot.study), 2, "nobody is kept out by it");
    until(PATIENCE, "the record of guesses", || {
        let trail = read(&auditor, "/audit?limit=200").to_string();
        trail.contains("WRONG_PASSCODE").then_some(())
    });
    let known = recorded(&auditor, "signed_in", "reader", WORKSTATION_OF_006);
    assert!(known[0].to_string().contains("BY_PASSCODE"), "{known:?}");

    assert_eq!(
        reader.send("DELETE", "/session", &[], &Value::Null).status,
        204
    );
    assert!(there.is_turned_away());
    let again = hospital.portal.again("reader");
    assert!(there.is_turned_away(), "a session of its own");
    let there = Workstation::of(&hospital, &python, (WORKSTATION_OF_006, &again));
    assert_eq!(there.count(&shot.study), 2);
    let log = hospital.portal.server.log();
    let bare = there.passcode.replace('-', "");
    assert!(!log.contains(&there.passcode) && !log.contains(&bare));
}

/// `pacs find` as the person at a workstation.
fn found_by_tool(hospital: &Hospital, there: &Workstation, shot: &Shot) {
    let folder = workspace::temporary_folder();
    let file = folder.path().join("passcode");
    let peer = format!("PACS@{}", hospital.portal.server.dicom());
    let find = |passcode: &str| {
        std::fs::write(&file, passcode).expect("a file");
        let mut find = Command::new(workspace::binary("pacs"));
        find.args([
            "find",
            &peer,
            "--ae-title",
            there.title,
            "--user",
            &there.user,
        ]);
        run(find.arg("--passcode-file").arg(&file))
    };
    let found = find(&format!("{}\n", there.passcode)).succeeded();
    assert!(found.text.contains(&shot.study), "{}", found.text);
    let refused = find("0000-0000");
    assert!(
        !refused.success && refused.text.contains("association"),
        "{}",
        refused.text
    );
}
