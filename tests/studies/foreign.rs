//! The same with DCMTK as console and workstation: what it sends, deletes and gets back.

use std::path::Path;

use pacs_tests::corpus::digests_below;
use pacs_tests::peers::{Listener, dcmtk, files_below, free_port, has_dcmtk, run};
use pacs_tests::samples::{Slice, digests_sent, part10, write_study};
use pacs_tests::server::{RemoteAe, Server};
use pacs_tests::signed_in::pacs;
use pacs_tests::workspace;
use serde_json::json;

use crate::{KEY_OBJECTS, Person, SYNTAX, counts, eventually, note, send_slices, start};

/// The images of study 1, as the console gets them by C-GET; their digests.
fn gotten(server: &Server) -> Vec<String> {
    let slice = Slice::new(1, 1);
    let received = workspace::temporary_folder();
    let mut getscu = dcmtk("getscu");
    getscu.args(["-aet", "NATHOS_CT1", "-aec", "PACS", "-S", "+B", "-od"]);
    getscu.arg(received.path());
    for key in [
        "QueryRetrieveLevel=SERIES".to_owned(),
        format!("StudyInstanceUID={}", slice.study),
        format!("SeriesInstanceUID={}", slice.series),
    ] {
        getscu.args(["-k", &key]);
    }
    getscu.arg("127.0.0.1");
    let _ = run(getscu.arg(server.dicom().port().to_string())).succeeded();
    digests_below(received.path())
}

#[test]
fn dcmtk_as_a_console_rejects_nothing_and_gets_every_byte_that_is_brought_back() {
    if !has_dcmtk() {
        return;
    }
    let server = start(Vec::new());
    let folder = server.home().join("sent");
    let mut files = write_study(&folder, 1, 3);
    let slice = Slice::new(1, 1);
    let about = format!("{}.77.1", slice.study);
    let file = folder.join("note.dcm");
    let text = part10((KEY_OBJECTS, &about), SYNTAX, &note(&slice, &about));
    std::fs::write(&file, text).expect("a file");
    files.push(file);
    let mut storescu = dcmtk("storescu");
    storescu.args(["-aet", "NATHOS_CT1", "-aec", "PACS", "127.0.0.1"]);
    storescu.arg(server.dicom().port().to_string());
    let _ = run(storescu.args(files)).succeeded();

    server.wait_for_log("a rejection note came");
    assert_eq!(counts(&server, &slice.study), [4, 4], "images and note");
    assert_eq!(gotten(&server), digests_sent(1, 3));
    let audit = pacs(&server, &["--json", "audit", "list"]).succeeded();
    assert!(audit.text.contains("IGNORED"), "{}", audit.text);

    let keeper = Person::new(&server, "keeper", "archive_admin@national");
    let radiologist = Person::new(&server, "r.reader", "radiologist@006");
    let path = format!("/api/v1/studies/{}", slice.study);
    eventually("the study of the organisation", || {
        (keeper.get(&server, &path)["organisation"] == "006").then_some(())
    });
    let wanted = json!({
        "series": slice.series, "title": "worklist_entry", "reason": "выбран другой пациент"
    });
    let rejected = radiologist.post(&server, &format!("{path}/rejections"), &wanted, 201);
    assert_eq!(rejected["instances_count"], 3);
    assert_eq!(counts(&server, &slice.study), [1, 1], "the note");
    assert_eq!(gotten(&server), Vec::<String>::new());

    let id = rejected["id"].as_str().expect("an id");
    let restoration = format!("/api/v1/rejections/{id}/restoration");
    keeper.post(&server, &restoration, &json!({"reason": "верно"}), 200);
    assert_eq!(counts(&server, &slice.study), [4, 4]);
    assert_eq!(gotten(&server), digests_sent(1, 3));
}

/// Has study 1 sent to the workstation, and waits for the receipt.
fn send_back(server: &Server, person: &Person, count: u64) {
    let path = format!("/api/v1/studies/{}/sendings", Slice::new(1, 1).study);
    let to = json!({"destination": "NATHOS_WS1"});
    let sending = person.post(server, &path, &to, 202);
    let id = sending["id"].as_str().expect("an id").to_owned();
    let receipt = eventually("the receipt", || {
        let shown = person.get(server, &format!("/api/v1/sendings/{id}"));
        (shown["state"] == "done").then_some(shown)
    });
    assert_eq!(receipt["taken_count"], count, "{receipt}");
}

fn delete_all(folder: &Path) {
    for file in files_below(folder) {
        std::fs::remove_file(file).expect("deleted");
    }
}

#[test]
fn what_is_deleted_on_a_workstation_of_dcmtk_stays_here_and_is_sent_back_by_those_who_work_there() {
    if !has_dcmtk() {
        return;
    }
    let received = workspace::temporary_folder();
    let port = free_port();
    let mut storescp = dcmtk("storescp");
    storescp.args(["-aet", "NATHOS_WS1", "+B", "-od"]);
    storescp.arg(received.path());
    let storescp = Listener::start(storescp.arg(port.to_string()), port);
    let server = start(vec![RemoteAe::new("NATHOS_WS1", storescp.address())]);
    let slices = send_slices(&server, 3);
    let study = &slices[0].study;
    let radiographer = Person::new(&server, "r.grapher", "radiographer@006");
    eventually("the study of the organisation", || {
        let path = format!("/api/v1/studies/{study}");
        let shown = radiographer.ask(&server, "GET", &path, &json!(null));
        (shown.status == 200).then_some(())
    });

    send_back(&server, &radiographer, 3);
    assert_eq!(digests_below(received.path()), digests_sent(1, 3));
    delete_all(received.path());
    assert_eq!(counts(&server, study), [3, 3], "nothing tells us of it");
    // The console sends what it has once more: nothing is there twice.
    send_slices(&server, 2);
    assert_eq!(counts(&server, study), [3, 3]);
    send_back(&server, &radiographer, 3);
    assert_eq!(digests_below(received.path()), digests_sent(1, 3));
}
