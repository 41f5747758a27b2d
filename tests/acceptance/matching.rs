//! Images meet their examination, or wait: numbers 1 to 5.

use std::path::Path;
use std::process::Command;

use pacs_tests::corpus::digests_below;
use pacs_tests::day::images::{Header, Image, tag};
use pacs_tests::day::plan::Kind;
use pacs_tests::demonstration::Demonstration;
use pacs_tests::peers::run;
use pacs_tests::portal::{Browser, CT_OF_001, refusal, refused};
use pacs_tests::wire::Tree;
use pacs_tests::workspace;
use serde_json::{Value, json};

use crate::hospital::{
    Ae, Hospital, LATIN_NAME, NAME, Shot, WORKSTATION_OF_001, decided, digests, ordered, put_right,
    read, registered, series, typed,
};

/// What was typed of the image is said no more, what the registry knows is, and what was typed is
/// kept beside it; the rest is as it was made (section 7.3).
fn says(image: &Image, given: &[u8], (id, patient): (&str, &str)) {
    let sent = Tree::read(&image.data_set).expect("a data set");
    let given = Tree::read(given).expect("a data set");
    for (tag, value) in [
        (tag::PATIENT_ID, patient),
        (0x0010_0021, "KGPACS"),
        (tag::NAME, NAME),
        (0x0010_1001, LATIN_NAME),
        (0x0010_0030, "19900101"),
        (tag::ACCESSION, id),
        (0x0020_0010, id),
    ] {
        assert_eq!(given.text_of(tag), value, "{tag:08X}");
    }
    assert_eq!(given.items_of(tag::REQUEST)[0].text_of(0x0040_1001), id);
    // UIDs, the time, the device, pixels.
    for tag in [
        0x0008_0018,
        tag::STUDY,
        0x0020_000E,
        0x0008_0020,
        0x0008_0030,
        0x0008_0070,
        tag::PIXELS,
    ] {
        assert_eq!(given.get(tag), sent.get(tag), "{tag:08X}");
    }
    let [original] = given.items_of(tag::ORIGINAL) else {
        panic!("one item of Original Attributes");
    };
    assert_eq!(original.text_of(0x0400_0563), "KGPACS");
    assert_eq!(original.text_of(0x0400_0565), "COERCE");
    let before = &original.items_of(tag::MODIFIED)[0];
    for tag in [tag::PATIENT_ID, tag::NAME, tag::ACCESSION] {
        if sent.text_of(tag) != given.text_of(tag) {
            assert_eq!(before.text_of(tag), sent.text_of(tag), "{tag:08X}");
        }
    }
}

/// The digests of what is stored, of an archive whose server has ended.
fn stored(data: &Path, study: &str) -> Vec<String> {
    let folder = workspace::temporary_folder();
    let out = folder.path().join("exported");
    let mut pacs = Command::new(workspace::binary("pacs"));
    pacs.args(["export", "--as-stored", "-k"]);
    pacs.arg(format!("StudyInstanceUID={study}"));
    pacs.arg("--data").arg(data).arg("--out").arg(&out);
    let _ = run(&mut pacs).succeeded();
    digests_below(&out.join("DICOM"))
}

#[test]
fn a01_an_id_that_is_typed_brings_images_of_a_foreign_study_uid_to_their_examination() {
    let Some(mut hospital) = Hospital::start() else {
        return;
    };
    let id = hospital.order();
    let shot = Shot::of(&typed(&id), 3);

    hospital.console().send(&shot.images);

    let known = decided(&hospital.operator, &shot.study, "bound", &[]);
    assert_eq!(known["rule"]["name"], "ACCESSION_NUMBER");
    assert_eq!(known["examination"], json!(id));
    let shown = hospital.examination(&id);
    assert_eq!(shown["status"], "in_progress");
    assert_eq!(shown["studies"], json!([shot.study]));
    assert_ne!(shown["planned_study"], json!(shot.study));
    let given = hospital.given(&shot);
    for image in &shot.images {
        says(image, &given[&image.instance], (&id, &hospital.patient));
    }
    hospital.finds(&format!("AccessionNumber={id}"));
    // What is stored is what was sent.
    assert!(hospital.portal.server.stop().success());
    let mut sent: Vec<String> = shot.digests().into_values().collect();
    sent.sort();
    assert_eq!(stored(&hospital.portal.server.data(), &shot.study), sent);
}

/// The ID with one digit of its number wrong, and with two neighbours swapped.
fn mistyped(id: &str) -> [String; 2] {
    let mut wrong = id.as_bytes().to_vec();
    wrong[7] = b'0' + (wrong[7] - b'0' + 4) % 10;
    let mut swapped = id.as_bytes().to_vec();
    let at = (0..11).find(|at| swapped[*at] != swapped[at + 1]);
    let at = at.expect("digits that differ");
    swapped.swap(at, at + 1);
    [wrong, swapped].map(|digits| String::from_utf8(digits).expect("digits"))
}

#[test]
fn a02_an_id_with_a_wrong_digit_or_two_swapped_binds_nothing_and_loses_nothing() {
    let Some(hospital) = Hospital::start() else {
        return;
    };
    let id = hospital.order();
    let mut waiting = Vec::new();
    for typed_id in mistyped(&id) {
        let shot = Shot::of(&typed(&typed_id), 2);
        // The console is told 0000H of each.
        hospital.console().send(&shot.images);
        let reasons = ["BAD_CHECK_DIGIT"];
        let known = decided(&hospital.operator, &shot.study, "queued", &reasons);
        assert_eq!(known["examination"], Value::Null, "{known}");
        assert_eq!(known["header"]["accession_number"], json!(typed_id));
        let given = hospital.workstation().get(&shot.study);
        assert_eq!(digests(&given), shot.digests(), "as it came");
        waiting.push(shot);
    }
    let shown = hospital.examination(&id);
    assert_eq!(
        (&shown["status"], &shown["studies"]),
        (&json!("scheduled"), &json!([]))
    );
    let queue = read(&hospital.operator, "/unmatched");
    assert_eq!(queue["items"].as_array().map(Vec::len), Some(2), "{queue}");

    let bound = json!({ "examination": id });
    let bound = put_right(&hospital.operator, &waiting[0].study, "bind", &bound);
    assert_eq!(bound.status, 200, "{}", bound.json());
    hospital.given(&waiting[0]);
    let other = hospital.workstation().get(&waiting[1].study);
    assert_eq!(digests(&other), waiting[1].digests(), "it waits still");
}

#[test]
fn a03_an_id_in_patient_id_is_found_there_and_the_number_of_the_patient_takes_its_place() {
    let Some(hospital) = Hospital::start() else {
        return;
    };
    let id = hospital.order();
    let header = Header {
        patient_id: id.clone(),
        accession: String::new(),
        ..typed("")
    };
    let shot = Shot::of(&header, 2);

    hospital.console().send(&shot.images);

    let known = decided(&hospital.operator, &shot.study, "bound", &[]);
    let rule = json!({"name": "ID_IN_WRONG_FIELD", "field": "PATIENT_ID"});
    assert_eq!((&known["rule"], &known["examination"]), (&rule, &json!(id)));
    let given = hospital.given(&shot);
    for image in &shot.images {
        says(image, &given[&image.instance], (&id, &hospital.patient));
    }
}

#[test]
fn a04_the_id_of_another_hospital_binds_nothing_and_tells_its_device_nothing() {
    let Some(hospital) = Hospital::start() else {
        return;
    };
    let foreign = hospital.portal.user("foreign", &["operator@001"]);
    let id = hospital.order();
    let header = Header {
        name: "IVANOV^IVAN".to_owned(),
        birth_date: String::new(),
        ..typed(&id)
    };
    let shot = Shot::of(&header, 2);

    hospital.ae(CT_OF_001).send(&shot.images);

    let known = decided(&foreign, &shot.study, "queued", &["OTHER_ORG"]);
    assert_eq!(known["candidates"], json!([]), "{known}");
    let told = known.to_string();
    for of_patient in ["ZHEENBEKOV", "Жээнбеков", &hospital.patient, "1990"] {
        assert!(!told.contains(of_patient), "{of_patient}: {told}");
    }
    // Neither worklist nor searches nor images show its devices the patient.
    assert_eq!(hospital.ae(CT_OF_001).worklist().len(), 0);
    assert!(hospital.console().worklist().contains_key(&id));
    let workstation = hospital.ae(WORKSTATION_OF_001);
    let found = workstation.studies(&format!("AccessionNumber={id}"));
    let names: Vec<String> = found.iter().map(|found| found.text_of(tag::NAME)).collect();
    assert_eq!(names, ["IVANOV^IVAN"], "what it sent itself");
    let of_patient = format!("PatientID={}", hospital.patient);
    assert_eq!(workstation.studies(&of_patient), []);
    let given = workstation.get(&shot.study);
    assert_eq!(digests(&given), shot.digests(), "as it came");
    // The hospital whose ID it is learns nothing of that patient either.
    assert_eq!(hospital.workstation().get(&shot.study).len(), 0);
    let theirs = hospital.operator.get(&format!("/unmatched/{}", shot.study));
    assert_eq!(refusal(&theirs), refused(404, "NOT_FOUND"));
    let shown = hospital.examination(&id);
    assert_eq!(
        (&shown["status"], &shown["studies"]),
        (&json!("scheduled"), &json!([]))
    );
}

#[test]
fn a05_images_that_contradict_their_patient_wait_and_none_leave_a_signed_report() {
    let Some(hospital) = Hospital::start() else {
        return;
    };
    let second = json!({"name": {"family": "Осмонова", "given": "Айгүл"},
        "birth_date": "1980-05-01", "sex": "F"});
    let second = registered(&hospital.operator, &second);
    let (meant, chosen) = (ordered(&hospital.operator, &second), hospital.order());
    let header = Header {
        patient_id: second,
        name: "OSMONOVA^AIGUL".to_owned(),
        birth_date: "19800501".to_owned(),
        sex: "F".to_owned(),
        ..typed(&chosen)
    };
    let shot = Shot::of(&header, 2);

    hospital.console().send(&shot.images);

    let known = decided(&hospital.operator, &shot.study, "queued", &["CONFLICT"]);
    assert_eq!(known["examination"], Value::Null, "{known}");
    for id in [&chosen, &meant] {
        assert_eq!(hospital.examination(id)["studies"], json!([]));
    }
    let given = hospital.workstation().get(&shot.study);
    assert_eq!(
        digests(&given),
        shot.digests(),
        "nobody else's name is on it"
    );
    let bound = json!({ "examination": meant });
    let bound = put_right(&hospital.operator, &shot.study, "bind", &bound);
    assert_eq!(bound.status, 200, "{}", bound.json());
    hospital.stands(&meant, "in_progress");
    hospital.stands(&chosen, "scheduled");

    stays_with_its_report();
}

/// The only examination of a status in a list.
fn the_only_one(who: &Browser, query: &str) -> Value {
    let list = read(who, &format!("/examinations?{query}"));
    let [one] = list["items"].as_array().expect("items").as_slice() else {
        panic!("{list}");
    };
    let id = one["id"].as_str().expect("an ID");
    read(who, &format!("/examinations/{id}"))
}

/// Of an examination whose report is signed no image is taken away, by nobody who may reconcile,
/// and none of another patient is added unseen.
fn stays_with_its_report() {
    let home = workspace::temporary_folder();
    let demonstration = Demonstration::fill(&home.path().join("demo"));
    let operator = demonstration.user("operator");
    let of_001 = "organisation=001&status";
    let reported = the_only_one(&operator, &format!("{of_001}=reported"));
    let other = the_only_one(&operator, &format!("{of_001}=scheduled&kind=ct"));
    let study = reported["studies"][0].as_str().expect("a study");
    let parts = read(&operator, &format!("/unmatched/{study}"));
    let is_refused = |act: &str, body: &Value| {
        let answer = put_right(&operator, study, act, body);
        assert_eq!(refusal(&answer), refused(409, "REPORT_STANDS"), "{act}");
    };
    is_refused("unbind", &json!({}));
    let away = json!({"title": "patient_safety", "reason": "чужой пациент"});
    let radiologist = demonstration.user("radiologist");
    let away = radiologist.make(&format!("/studies/{study}/rejections"), &away);
    assert_eq!(refusal(&away), refused(409, "REPORT_STANDS"));

    let text = |key: &str| parts["header"][key].as_str().expect("a text").to_owned();
    let header = Header {
        made_at: (text("study_date"), text("study_time")),
        ..typed(reported["id"].as_str().expect("an ID"))
    };
    let late = series(Kind::Mr, &header, study, 1);
    Ae::new("KRKL_MR1", "KGPACS", demonstration.ready.dicom).send(&late);
    decided(&operator, study, "bound", &["MIXED_PATIENT"]);
    let split = json!({"examination": other["id"], "series": [parts["series"][0]["series"]]});
    is_refused("split", &split);
    let path = format!("/examinations/{}", reported["id"].as_str().expect("an ID"));
    let shown = read(&operator, &path);
    assert_eq!(shown["status"], "reported");
    assert_eq!(shown["studies"], json!([study]));
}
