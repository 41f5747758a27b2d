//! Steps and commitment, told and asked by pynetdicom: numbers 7 and 8.

use std::collections::BTreeSet;
use std::path::Path;

use pacs_tests::day::images::{Header, tag};
use pacs_tests::flip::damage;
use pacs_tests::peers::{peer_py, python, run};
use pacs_tests::portal::{CT_OF_006, refusal, refused};
use pacs_tests::proxy::{Proxy, Weather};
use pacs_tests::signed_in::pacs;
use pacs_tests::wire::{Tree, uid};
use serde_json::{Value, json};

use crate::hospital::{
    Hospital, Shot, decided, ordered, put_right, read, registered, taken, typed,
};

/// The status of an N-SET that comes too late, and its Error ID (PS3.4 F.7.2.2.2).
const NO_LONGER: (u64, u64) = (0x0110, 0xA710);

/// What the server answered the console to `operations` about steps, as status and Error ID.
pub(crate) fn told(python: &Path, hospital: &Hospital, operations: &Value) -> Vec<(u64, u64)> {
    let port = hospital.portal.server.dicom().port().to_string();
    let mut tell = peer_py(python);
    tell.args(["tell_steps", "127.0.0.1", &port, CT_OF_006]);
    let said = run(tell.arg(operations.to_string())).succeeded().json();
    let answers = said["answers"].as_array().expect("answers").iter();
    let number = |answer: &Value, key: &str| answer[key].as_u64().unwrap_or_default();
    let answers = answers.map(|answer| (number(answer, "status"), number(answer, "error_id")));
    answers.collect()
}

/// A step that begins, of an entry of the worklist.
pub(crate) fn begins(step: &str, entry: &Tree) -> Value {
    let id = entry.text_of(tag::ACCESSION);
    json!(["create", step, {
        "PatientID": entry.text_of(tag::PATIENT_ID),
        "PatientName": entry.text_of(tag::NAME),
        "PatientBirthDate": entry.text_of(0x0010_0030),
        "PatientSex": entry.text_of(0x0010_0040),
        "scheduled": {
            "StudyInstanceUID": entry.text_of(tag::STUDY),
            "AccessionNumber": id,
            "RequestedProcedureID": id,
            "ScheduledProcedureStepID": entry.items_of(0x0040_0100)[0].text_of(0x0040_0009),
        },
    }])
}

/// The end of a step with its images; broken off, where there is a reason.
pub(crate) fn ends(step: &str, shot: &Shot, reason: Option<&str>) -> Value {
    let status = if reason.is_some() {
        "DISCONTINUED"
    } else {
        "COMPLETED"
    };
    let mut end = json!({
        "PerformedProcedureStepStatus": status,
        "PerformedProcedureStepEndDate": "20261126",
        "PerformedProcedureStepEndTime": "091500",
        "series": shot.instances(),
    });
    if let Some(reason) = reason {
        end["reason"] = json!(reason);
    }
    json!(["set", step, end])
}

/// What the console makes of an entry of its worklist.
pub(crate) fn picked(entry: &Tree) -> Shot {
    let header = Header {
        patient_id: entry.text_of(tag::PATIENT_ID),
        name: entry.text_of(tag::NAME),
        birth_date: entry.text_of(0x0010_0030),
        sex: entry.text_of(0x0010_0040),
        ..typed(&entry.text_of(tag::ACCESSION))
    };
    Shot::planned(&header, &entry.text_of(tag::STUDY), 2)
}

#[test]
fn a07_a_step_that_ended_changes_no_more_and_a_wrong_entry_takes_its_images_back() {
    let (Some(hospital), Some(python)) = (Hospital::start(), python()) else {
        return;
    };
    let id = hospital.order();
    let entry = hospital.entry(&id);
    let shot = picked(&entry);
    let (begun, ended) = (begins("2.25.71", &entry), ends("2.25.71", &shot, None));

    assert_eq!(told(&python, &hospital, &json!([begun])), [(0, 0)]);
    hospital.stands(&id, "in_progress");
    assert!(!hospital.console().worklist().contains_key(&id), "it began");
    hospital.console().send(&shot.images);
    assert_eq!(told(&python, &hospital, &json!([ended])), [(0, 0)]);
    hospital.stands(&id, "images_received");
    let late = json!(["set", "2.25.71", {"PerformedProcedureStepDescription": "late"}]);
    let again = told(&python, &hospital, &json!([ended, late]));
    assert_eq!(again, [NO_LONGER, NO_LONGER]);
    assert_eq!(hospital.examination(&id)["status"], "images_received");

    // The entry of another patient was taken, which the console notices.
    let second = json!({"name": {"family": "Осмонова", "given": "Айгүл"},
        "birth_date": "1980-05-01", "sex": "F"});
    let second = registered(&hospital.operator, &second);
    let other = ordered(&hospital.operator, &second);
    let entry = hospital.entry(&other);
    let wrong = picked(&entry);
    let (begun, ended) = (
        begins("2.25.72", &entry),
        ends("2.25.72", &wrong, Some("110514")),
    );
    assert_eq!(told(&python, &hospital, &json!([begun])), [(0, 0)]);
    hospital.console().send(&wrong.images);
    decided(&hospital.operator, &wrong.study, "bound", &[]);
    assert_eq!(
        told(&python, &hospital, &json!([ended, ended])),
        [(0, 0), NO_LONGER]
    );

    let known = decided(&hospital.operator, &wrong.study, "queued", &["UNBOUND"]);
    assert_eq!(
        known["not_of"],
        json!([other]),
        "no rule binds it there again"
    );
    let shown = hospital.examination(&other);
    assert_eq!(
        (&shown["status"], &shown["studies"]),
        (&json!("scheduled"), &json!([]))
    );
    assert_ne!(shown["planned_study"], json!(wrong.study));
    assert!(
        hospital.console().worklist().contains_key(&other),
        "to be made again"
    );
    // Whose they are a person says.
    let meant = hospital.order();
    let bound = json!({ "examination": meant });
    let bound = put_right(&hospital.operator, &wrong.study, "bind", &bound);
    assert_eq!(bound.status, 200, "{}", bound.json());
    assert_eq!(
        hospital.examination(&meant)["studies"],
        json!([wrong.study])
    );
}

/// What the console is told of a request for commitment of its images.
fn committed(python: &Path, hospital: &Hospital, transaction: &str, shot: &Shot) -> Value {
    let port = hospital.portal.server.dicom().port().to_string();
    let mut ask = peer_py(python);
    ask.env("AE_TITLE", CT_OF_006);
    ask.args(["commit_here", "127.0.0.1", &port, transaction]);
    let images = shot.instances().into_iter();
    let references = images.map(|instance| format!("{}={instance}", uid::CT_IMAGE_STORAGE));
    let said = run(ask.args(references)).succeeded().json();
    assert_eq!(said["status"], 0, "{said}");
    let [report] = said["reports"].as_array().expect("reports").as_slice() else {
        panic!("one report: {said}");
    };
    assert_eq!(report["transaction"], transaction);
    report.clone()
}

/// The instances of a report that are safe.
pub(crate) fn safe(report: &Value) -> BTreeSet<String> {
    let safe = report["committed"].as_array().expect("a list").iter();
    safe.map(|uid| uid.as_str().expect("a UID").to_owned())
        .collect()
}

#[test]
fn a08_what_did_not_come_is_not_committed_and_what_is_sent_again_is_there_once() {
    let (Some(mut hospital), Some(python)) = (Hospital::start(), python()) else {
        return;
    };
    let id = hospital.order();
    let shot = Shot::of(&typed(&id), 6);
    let all: BTreeSet<String> = shot.digests().into_keys().collect();

    // The line is cut in the middle.
    let length: usize = shot.images.iter().map(|image| image.data_set.len()).sum();
    let half = Weather::ResetAfter(u64::try_from(length / 2).expect("small"));
    let line = Proxy::start(hospital.portal.server.dicom(), half);
    let said = hospital
        .console()
        .over(line.address())
        .try_send(&shot.images);
    assert!(!said.success && taken(&said) < 6, "{}", said.text);
    let report = committed(&python, &hospital, "2.25.81", &shot);
    assert_eq!(report["event_type"], 2, "{report}");
    let first = safe(&report);
    assert!((taken(&said)..6).contains(&first.len()), "{report}");
    let failed = report["failed"].as_object().expect("failures");
    assert!(failed.values().all(|reason| reason == 0x0112), "{report}");
    let named = first.iter().chain(failed.keys()).cloned();
    assert_eq!(named.collect::<BTreeSet<_>>(), all);

    // The console sends all of it again, twice.
    for transaction in ["2.25.82", "2.25.83"] {
        hospital.console().send(&shot.images);
        let report = committed(&python, &hospital, transaction, &shot);
        assert_eq!(
            (&report["event_type"], safe(&report)),
            (&json!(1), all.clone())
        );
    }
    decided(&hospital.operator, &shot.study, "bound", &[]);
    assert_eq!(hospital.examination(&id)["studies"], json!([shot.study]));
    assert_eq!(hospital.workstation().count(&shot.study), 6);
    let keeper = hospital.portal.user("keeper", &["archive_admin@national"]);
    let kept = read(&keeper, &format!("/studies/{}", shot.study));
    assert_eq!(kept["instances_count"], 6, "{kept}");
    let theirs = hospital.portal.user("foreign", &["operator@001"]);
    let theirs = theirs.get(&format!("/examinations/{id}"));
    assert_eq!(refusal(&theirs), refused(404, "NOT_FOUND"));

    // A bit changes on the disk: no success until it is whole again.
    assert!(hospital.portal.server.stop().success());
    damage(&hospital.portal.server.data(), &shot.images[0].data_set);
    hospital.portal.server.restart();
    let report = committed(&python, &hospital, "2.25.84", &shot);
    let expected = json!({shot.images[0].instance.clone(): 0x0110});
    assert_eq!(
        (&report["event_type"], &report["failed"]),
        (&json!(2), &expected)
    );
    // Sent again it is kept again, and what is given is that from when the index is made anew.
    hospital.console().send(&shot.images[..1]);
    assert!(hospital.portal.server.stop().success());
    let rebuilt = pacs(&hospital.portal.server, &["rebuild"]);
    assert!(rebuilt.text.contains("1 damaged"), "{}", rebuilt.text);
    hospital.portal.server.restart();
    let report = committed(&python, &hospital, "2.25.85", &shot);
    assert_eq!((&report["event_type"], safe(&report)), (&json!(1), all));
    assert_eq!(hospital.workstation().count(&shot.study), 6);
}
