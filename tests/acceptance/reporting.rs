//! Reports of the archive itself: number 12, and what its author does with late images of 15.

use pacs_tests::day::images::tag;
use pacs_tests::edges::until;
use pacs_tests::peers::{dcmtk, python, run};
use pacs_tests::portal::{Browser, PASSWORD, etag, refusal, refused};
use pacs_tests::samples::part10;
use pacs_tests::server::PATIENCE;
use pacs_tests::stow::Answer;
use pacs_tests::wire::{Tree, uid};
use pacs_tests::workspace;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::hospital::{Hospital, Shot, read};

/// Basic Text SR Storage.
const REPORT: &str = "1.2.840.10008.5.1.4.1.1.88.11";

/// What is written: description, conclusion, recommendations.
const WORDS: [&str; 3] = [
    "Өпкө таза.\nТүйүн жок.",
    "Патология табылган жок.",
    "Көзөмөлгө алуу.",
];

fn written(conclusion: &str) -> Value {
    json!({
        "language": "ky", "description": WORDS[0], "conclusion": conclusion,
        "recommendations": WORDS[2],
    })
}

/// An examination in its hospital, that somebody has in work.
struct Reading {
    hospital: Hospital,
    expert: Browser,
    /// Somebody of another organisation who reads reports there.
    doctor: Browser,
    path: String,
    shot: Shot,
}

impl Reading {
    fn begin() -> Option<Self> {
        let hospital = Hospital::start()?;
        let expert = hospital.portal.user("reader", &["radiologist@006"]);
        let doctor = hospital.portal.user("doctor", &["radiologist@001"]);
        let id = hospital.order();
        let shot = hospital.made(&id, 2);
        let path = format!("/examinations/{id}");
        let complete = hospital
            .operator
            .post(&format!("{path}/complete"), &Value::Null);
        assert_eq!(complete.status, 200, "{}", complete.json());
        let claimed = expert.post(&format!("{path}/claim"), &Value::Null);
        assert_eq!(claimed.status, 200, "{}", claimed.json());
        Some(Self {
            hospital,
            expert,
            doctor,
            path,
            shot,
        })
    }

    fn report(&self) -> String {
        format!("{}/report", self.path)
    }

    /// Keeps a draft; how it was.
    fn draft(&self, words: &Value) -> Answer {
        let path = format!("{}/draft", self.report());
        let shown = read(&self.expert, &self.report());
        match shown["draft"]["etag"].as_str() {
            Some(etag) => self.expert.put(&path, etag, words),
            None => self.expert.send("PUT", &path, &[], words),
        }
    }

    fn sign(&self, draft: &str, proof: &str) -> Answer {
        let said = json!({"is_identity_confirmed": true, "proof": proof});
        let based = [("If-Match", draft)];
        let path = format!("{}/sign", self.report());
        self.expert.send("POST", &path, &based, &said)
    }

    /// Writes and signs; the version.
    fn signed(&self, conclusion: &str) -> Value {
        let draft = self.draft(&written(conclusion));
        assert_eq!(draft.status, 200, "{}", draft.json());
        let signed = self.sign(&etag(&draft), PASSWORD);
        assert_eq!(signed.status, 201, "{}", signed.json());
        signed.json()
    }

    fn send(&self) -> Answer {
        let to = json!({"organisations": ["001"], "reason": "лечится там"});
        self.expert.post(&format!("{}/send", self.report()), &to)
    }

    fn status(&self) -> Value {
        read(&self.expert, &self.path)["status"].clone()
    }

    /// The document of a version, as the workstation gets it.
    fn document(&self, version: &Value) -> Vec<u8> {
        let document = &version["document"];
        assert_eq!(document["study"], json!(self.shot.study));
        let instance = document["instance"].as_str().expect("a UID").to_owned();
        until(PATIENCE, "the document of the report", || {
            let mut given = self.hospital.workstation().get(&self.shot.study);
            given.remove(&instance)
        })
    }
}

/// The document as a file in a folder.
fn file_of(folder: &Path, document: &[u8]) -> PathBuf {
    let tree = Tree::read(document).expect("a data set");
    let instance = tree.text_of(0x0008_0018);
    let path = folder.join(format!("{instance}.dcm"));
    let file = part10((REPORT, &instance), uid::EXPLICIT_LITTLE_ENDIAN, document);
    std::fs::write(&path, file).expect("a file");
    path
}

/// What foreign programs say of the documents: they are read, follow their IOD and the template.
fn assert_documents(documents: &[Vec<u8>]) -> Vec<String> {
    let folder = workspace::temporary_folder();
    let files: Vec<PathBuf> = documents
        .iter()
        .map(|document| file_of(folder.path(), document))
        .collect();
    let mut all = Vec::new();
    for file in &files {
        let said = run(dcmtk("dsrdump").args(["+U8", "+Pc", "+Pl"]).arg(file)).succeeded();
        let faults: Vec<&str> = said
            .text
            .lines()
            .filter(|line| line.starts_with("E:"))
            .collect();
        assert!(faults.is_empty(), "{faults:?}");
        all.push(said.text);
        let said = run(Command::new("dciodvfy").arg(file)).text;
        assert!(said.contains("BasicTextSR"), "{said}");
        let errors: Vec<&str> = said
            .lines()
            .filter(|line| line.starts_with("Error"))
            .collect();
        assert!(errors.is_empty(), "{errors:?}");
    }
    if let Some(python) = python() {
        let script = workspace::root().join("tests/reports/tid2000.py");
        let said = run(Command::new(python).arg(script).args(&files)).succeeded();
        let wrong: Vec<&str> = said
            .text
            .lines()
            .filter(|line| !line.starts_with("ok "))
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!(said.text.lines().count(), files.len());
    }
    all
}

#[test]
fn a12_a_draft_is_not_sent_and_a_signed_report_is_a_document_of_its_study() {
    let Some(reading) = Reading::begin() else {
        return;
    };
    let draft = reading.draft(&written(WORDS[1]));
    assert_eq!(draft.status, 200, "{}", draft.json());
    assert_eq!(refusal(&reading.send()), refused(409, "EXAMINATION_STATUS"));
    // A draft is its writer's alone.
    let colleague = reading
        .hospital
        .portal
        .user("colleague", &["radiologist@006"]);
    let seen = read(&colleague, &reading.report());
    assert_eq!(
        (&seen["draft"], &seen["versions"]),
        (&Value::Null, &json!([]))
    );
    let unseen = reading.doctor.get(&reading.report());
    assert_eq!(refusal(&unseen), refused(404, "NOT_FOUND"));
    let operator = reading.hospital.operator.get(&reading.report());
    assert_eq!(refusal(&operator), refused(403, "NOT_PERMITTED"));
    // Nobody signs for whoever left their desk.
    let wrong = reading.sign(&etag(&draft), "wrong password of somebody");
    assert_eq!(refusal(&wrong).0, 401);
    assert_eq!(reading.status(), "under_review");

    let signed = reading.sign(&etag(&draft), PASSWORD);
    assert_eq!(signed.status, 201, "{}", signed.json());
    let version = signed.json();
    assert_eq!(version["number"], 1);
    assert_eq!(reading.status(), "reported");
    let document = reading.document(&version);
    let said = assert_documents(std::slice::from_ref(&document)).remove(0);
    for word in [
        "Өпкө таза.",
        "Түйүн жок.",
        WORDS[1],
        WORDS[2],
        "121049",
        "121008",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let tree = Tree::read(&document).expect("a data set");
    assert_eq!(tree.text_of(tag::PATIENT_ID), reading.hospital.patient);
    assert_eq!(tree.text_of(tag::STUDY), reading.shot.study);
    assert!(
        tree.items_of(0x0400_0561).is_empty(),
        "nothing is put right on its way out"
    );
    let evidence = tree.items_of(0x0040_A375);
    let series = evidence[0].items_of(0x0008_1115);
    assert_eq!(series[0].items_of(0x0008_1199).len(), 2, "both images");
    // The document of the archive is no image that came late.
    assert_eq!(
        read(&reading.expert, &reading.path)["has_late_images"],
        false
    );
}

#[test]
fn a12_an_amended_report_reaches_its_recipients_as_version_two_with_a_banner() {
    let Some(reading) = Reading::begin() else {
        return;
    };
    let first = reading.signed(WORDS[1]);
    let sent = reading.send();
    assert_eq!(sent.status, 200, "{}", sent.json());
    assert_eq!(reading.status(), "sent");
    let inbox = read(&reading.doctor, "/reports?organisation=001")["items"][0].clone();
    assert_eq!(
        (&inbox["number"], &inbox["is_new"]),
        (&json!(1), &json!(true))
    );
    let seen = read(&reading.doctor, &reading.report());
    assert_eq!(seen["versions"][0]["text"]["conclusion"], json!(WORDS[1]));
    assert_eq!(
        (&seen["banner_key"], &seen["versions"][1]),
        (&Value::Null, &Value::Null)
    );
    let open = |who: &Browser, organisation: &str| {
        let path = format!("{}/acknowledge", reading.report());
        let opened = who.post(&path, &json!({"organisation": organisation}));
        assert_eq!(opened.status, 200, "{}", opened.json());
    };
    open(&reading.doctor, "001");
    assert_eq!(
        reading.status(),
        "sent",
        "it was ordered by another organisation"
    );
    let colleague = reading
        .hospital
        .portal
        .user("colleague", &["radiologist@006"]);
    open(&colleague, "006");
    assert_eq!(reading.status(), "delivered");

    let taken_up = json!({"revision": "amendment", "reason": "опечатка"});
    let path = format!("{}/revise", reading.report());
    assert_eq!(
        refusal(&colleague.post(&path, &taken_up)),
        refused(409, "NOT_AUTHOR")
    );
    let revised = reading.expert.post(&path, &taken_up);
    assert_eq!(revised.status, 200, "{}", revised.json());
    let second = reading.signed("4 мм түйүн");
    assert_eq!(
        (&second["number"], &second["revision"]),
        (&json!(2), &json!("amendment"))
    );
    // Until it is sent, others have what they were sent.
    let seen = read(&reading.doctor, &reading.report());
    assert_eq!(
        (&seen["versions"][0]["number"], &seen["banner_key"]),
        (&json!(1), &Value::Null)
    );
    assert_eq!(reading.send().status, 200);
    let seen = read(&reading.doctor, &reading.report());
    assert_eq!(seen["banner_key"], "report.status.amended");
    assert_eq!(seen["versions"][0]["text"]["conclusion"], "4 мм түйүн");
    assert_eq!(seen["versions"][1]["text"]["conclusion"], json!(WORDS[1]));
    let inbox = read(&reading.doctor, "/reports?organisation=001")["items"][0].clone();
    assert_eq!(
        (&inbox["number"], &inbox["is_new"]),
        (&json!(2), &json!(true))
    );

    let documents = [reading.document(&first), reading.document(&second)];
    assert_documents(&documents);
    let tree = Tree::read(&documents[1]).expect("a data set");
    let predecessor = &tree.items_of(0x0040_A360)[0].items_of(0x0008_1115)[0];
    let predecessor = &predecessor.items_of(0x0008_1199)[0];
    let named = predecessor.text_of(0x0008_1155);
    assert_eq!(json!(named), first["document"]["instance"]);
}

#[test]
fn a15_the_author_of_a_report_says_that_late_images_change_nothing() {
    let Some(reading) = Reading::begin() else {
        return;
    };
    reading.signed(WORDS[1]);
    assert_eq!(reading.send().status, 200);
    let id = reading.path.rsplit('/').next().expect("an ID").to_owned();
    let late = crate::hospital::series(
        pacs_tests::day::plan::Kind::Ct,
        &crate::hospital::typed(&id),
        &reading.shot.study,
        1,
    );
    reading.hospital.console().send(&late);
    until(PATIENCE, "the flag", || {
        (read(&reading.expert, &reading.path)["has_late_images"] == true).then_some(())
    });
    // Its author is told, and of the patient nothing is said; nobody else is.
    let notices = read(&reading.expert, "/notices")["items"].clone();
    assert_eq!(notices[0]["examination"], json!(id));
    assert_eq!(
        (&notices[0]["told"], &notices[0]["event"]),
        (&json!("author"), &json!("receive images"))
    );
    assert_eq!(read(&reading.doctor, "/notices")["items"], json!([]));
    let notice = format!("/notices/{id}/author");
    let based = [("If-Match", notices[0]["etag"].as_str().expect("a state"))];
    let taken = reading.expert.send("DELETE", &notice, &based, &Value::Null);
    assert_eq!(taken.status, 204);
    assert_eq!(read(&reading.expert, "/notices")["items"], json!([]));
    let path = format!("{}/dismiss-late-images", reading.path);
    let seen = json!({"reason": "просмотрены, заключение прежнее"});
    let colleague = reading
        .hospital
        .portal
        .user("colleague", &["radiologist@006"]);
    assert_eq!(
        refusal(&colleague.post(&path, &seen)),
        refused(409, "NOT_AUTHOR")
    );
    let dismissed = reading.expert.post(&path, &seen);
    assert_eq!(dismissed.status, 200, "{}", dismissed.json());
    let shown = read(&reading.expert, &reading.path);
    assert_eq!(
        (&shown["status"], &shown["has_late_images"]),
        (&json!("sent"), &json!(false))
    );
}
