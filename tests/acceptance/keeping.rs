//! Nothing that devices do takes anything away: numbers 9, 10 and 18.

use pacs_tests::day::images::{tag, with_uid};
use pacs_tests::day::plan::Kind;
use pacs_tests::edges::until;
use pacs_tests::notified::Notified;
use pacs_tests::peers::{Listener, dcmtk, files_below, free_port, python};
use pacs_tests::portal::Browser;
use pacs_tests::samples::{KEY_OBJECTS, Random, rejection_note};
use pacs_tests::server::PATIENCE;
use pacs_tests::wire::Tree;
use pacs_tests::workspace;
use serde_json::json;

use crate::hospital::{
    Hospital, Shot, WORKSTATION_OF_006, decided, digests, read, received, typed,
};

#[test]
fn a09_a_console_rejects_nothing_and_what_those_who_may_reject_comes_back_as_it_was() {
    let Some(python) = python() else { return };
    let port = free_port();
    let config = format!(
        "[[dicom.ae]]\ntitle = \"NATHOS_HIS\"\naddress = \"127.0.0.1:{port}\"\nnotify = true\n"
    );
    let Some(hospital) = Hospital::with(&[], &config) else {
        return;
    };
    let notified = Notified::start(&python, port, &[]);
    let user = |name: &str, role: &str| hospital.portal.user(name, &[role]);
    let (keeper, auditor) = (
        user("keeper", "archive_admin@national"),
        user("auditor", "auditor@national"),
    );
    let radiologist = user("radiologist", "radiologist@006");
    let id = hospital.order();
    let shot = hospital.made(&id, 3);
    let before = hospital.given(&shot);
    let place = (&*shot.study, &*shot.images[0].series);
    let about = format!("{}.77.1", shot.study);
    let note = rejection_note(&about, place, &shot.instances())
        .text(tag::NAME, "PN", "ZHEENBEKOV^CHYNGYZ")
        .text(tag::PATIENT_ID, "LO", "4711")
        .text(tag::ACCESSION, "SH", &id);

    hospital.console().send_object(KEY_OBJECTS, &note);

    hospital.portal.server.wait_for_log("a rejection note came");
    decided(&hospital.operator, &shot.study, "bound", &[]);
    let workstation = hospital.workstation();
    assert_eq!(workstation.count(&shot.study), 4, "images and note");
    let images = || {
        let mut given = workstation.get(&shot.study);
        given.retain(|instance, _| *instance != about);
        given
    };
    assert_eq!(images(), before);
    until(PATIENCE, "the record", || {
        let trail = read(&auditor, "/audit?limit=200").to_string();
        trail.contains("IGNORED").then_some(())
    });

    let wanted = json!({
        "series": place.1, "title": "quality", "quality": "motion_blur", "reason": "смазано",
    });
    let path = format!("/studies/{}/rejections", shot.study);
    assert_eq!(hospital.operator.make(&path, &wanted).status, 403);
    let rejected = radiologist.make(&path, &wanted);
    assert_eq!(rejected.status, 201, "{}", rejected.json());
    assert_eq!(rejected.json()["instances_count"], 3);
    assert_eq!(images().len(), 0);
    assert_eq!(workstation.count(&shot.study), 1, "the note");
    let mut states = vec![(&*about, "ONLINE")];
    states.extend(shot.instances().into_iter().map(|uid| (uid, "UNAVAILABLE")));
    let _told = notified.wait_for(&shot.study, &states);
    let rejection = rejected.json()["id"].as_str().expect("an ID").to_owned();
    let restoration = format!("/rejections/{rejection}/restoration");
    let restored = |who: &Browser| who.make(&restoration, &json!({"reason": "верно"})).status;
    assert_eq!(restored(&radiologist), 403);
    assert_eq!(restored(&keeper), 200);
    let states: Vec<_> = states.iter().map(|(uid, _)| (*uid, "ONLINE")).collect();
    let _told = notified.wait_for(&shot.study, &states);
    assert_eq!(images(), before);
    assert_eq!(workstation.count(&shot.study), 4);
    assert_eq!(hospital.examination(&id)["status"], "in_progress");
}

/// Has the study sent to the workstation, and waits for the receipt.
fn send_back(who: &Browser, shot: &Shot) {
    let path = format!("/studies/{}/sendings", shot.study);
    let to = json!({"destination": WORKSTATION_OF_006});
    let sending = who.make(&path, &to);
    assert_eq!(sending.status, 202, "{}", sending.json());
    let id = sending.json()["id"].as_str().expect("an ID").to_owned();
    let receipt = until(PATIENCE, "the receipt", || {
        let shown = read(who, &format!("/sendings/{id}"));
        (shown["state"] == "done").then_some(shown)
    });
    assert_eq!(receipt["taken_count"], shot.images.len(), "{receipt}");
}

#[test]
fn a10_what_is_deleted_on_a_workstation_stays_here_and_is_sent_back() {
    let port = free_port();
    let config = format!(
        "[[dicom.ae]]\ntitle = \"{WORKSTATION_OF_006}\"\naddress = \"127.0.0.1:{port}\"\n\
         allow = [\"echo\", \"find\", \"get\"]\n"
    );
    let Some(hospital) = Hospital::with(&[], &config) else {
        return;
    };
    let disk = workspace::temporary_folder();
    let mut storescp = dcmtk("storescp");
    storescp.args(["-aet", WORKSTATION_OF_006, "+B", "-od"]);
    storescp.arg(disk.path());
    let _storescp = Listener::start(storescp.arg(port.to_string()), port);
    let radiographer = hospital.portal.user("radiographer", &["radiographer@006"]);
    let shot = hospital.made(&hospital.order(), 3);
    let here = hospital.given(&shot);
    let count = || {
        let kept = read(&radiographer, &format!("/studies/{}", shot.study));
        (
            hospital.workstation().count(&shot.study),
            kept["instances_count"].clone(),
        )
    };

    send_back(&radiographer, &shot);
    assert_eq!(received(disk.path()), here);
    for file in files_below(disk.path()) {
        std::fs::remove_file(file).expect("deleted");
    }
    assert_eq!(count(), (3, json!(3)), "nothing tells us of it");
    // The console sends what it still has once more: nothing is there twice.
    hospital.console().send(&shot.images[..2]);
    assert_eq!(count(), (3, json!(3)));
    assert_eq!(hospital.workstation().get(&shot.study), here);
    send_back(&radiographer, &shot);
    assert_eq!(received(disk.path()), here);
}

#[test]
fn a18_of_two_images_under_one_uid_the_first_is_given_and_the_second_waits() {
    let Some(mut hospital) = Hospital::start() else {
        return;
    };
    let id = hospital.order();
    let shot = hospital.made(&id, 2);
    let before = hospital.given(&shot);
    let first = &shot.images[0];
    let place = (&*shot.study, &*first.series, 1);
    let uid = first.instance.clone();
    let other = with_uid(&mut Random::new(18), Kind::Ct, &typed(&id), place, uid);
    let pixels = |bytes: &[u8]| Tree::read(bytes).and_then(|tree| tree.get(tag::PIXELS).cloned());
    assert_ne!(pixels(&other.data_set), pixels(&first.data_set));

    // The console is told 0000H.
    hospital.console().send(std::slice::from_ref(&other));

    let reasons = ["DUPLICATE_UID_DIFFERENT_CONTENT"];
    decided(&hospital.operator, &shot.study, "bound", &reasons);
    // With something to look at, images are given as they came: those that came first.
    let given = hospital.workstation().get(&shot.study);
    assert_eq!(digests(&given), shot.digests());
    assert_eq!(hospital.workstation().count(&shot.study), 2);
    assert_eq!(hospital.examination(&id)["studies"], json!([shot.study]));
    // The same once more is the same, and neither is lost.
    hospital.console().send(&[other.clone(), first.clone()]);
    hospital.portal.server.kill();
    hospital.portal.server.restart();
    let given = hospital.workstation().get(&shot.study);
    assert_eq!(digests(&given), shot.digests());
    assert_eq!(before.len(), given.len());
    let packs = files_below(&hospital.portal.server.data().join("packs"));
    let packs: Vec<Vec<u8>> = packs
        .iter()
        .map(|pack| std::fs::read(pack).expect("a pack"))
        .collect();
    for kept in [first, &other] {
        let is_kept = |pack: &Vec<u8>| {
            pack.windows(kept.data_set.len())
                .any(|bytes| bytes == kept.data_set)
        };
        assert!(packs.iter().any(is_kept), "both are kept");
    }
}
