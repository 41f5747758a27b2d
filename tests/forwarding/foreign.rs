//! Centres that are not ours: pynetdicom and Orthanc, each with a report over an association of its
//! own.

use std::path::Path;
use std::process::Command;

use pacs_tests::edges::until;
use pacs_tests::line::Line;
use pacs_tests::peers::{Listener, files_below, free_port, orthanc, peer_py, python};
use pacs_tests::samples::{Slice, digests_sent};
use pacs_tests::server::PATIENCE;
use pacs_tests::wire::commitment::ReportSink;
use pacs_tests::wire::{digest, uid};
use pacs_tests::workspace;
use serde_json::json;

use crate::gateway::{CT, Site, association, commit, counted, store};
use crate::safe;

/// The digests that the archive of pynetdicom has written, sorted: one each time it was sent.
fn kept(folder: &Path) -> Vec<String> {
    let files = files_below(folder).into_iter();
    let text = files.map(|file| std::fs::read_to_string(file).expect("a digest"));
    let lines = text.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>());
    let mut digests: Vec<String> = lines.collect();
    digests.sort();
    digests
}

#[test]
fn pynetdicom_as_the_centre_confirms_and_what_it_refuses_holds_nothing_up() {
    let Some(python) = python() else { return };
    let (gateway_port, port, sink) = (free_port(), free_port(), ReportSink::start(0, &[]));
    let folder = workspace::temporary_folder();
    let mut provide = peer_py(&python);
    provide.args([
        "provide_archive",
        &port.to_string(),
        &gateway_port.to_string(),
    ]);
    provide.arg(folder.path()).arg("C123");
    let archive = Listener::start(&mut provide, port);
    let line = Line::to(archive.address());
    let site = Site::start(gateway_port, line.address(), sink.address());
    let refused = Slice {
        instance: format!("{}.404", Slice::new(1, 9).series),
        ..Slice::new(1, 9)
    };

    let mut device = association(&site.gateway);
    let mut instances = store(&mut device, 1, 1..=2);
    let syntax = uid::EXPLICIT_LITTLE_ENDIAN;
    let status = device.store(CT, &refused.instance, syntax, &refused.data_set());
    assert_eq!(status.expect("a status"), 0);
    instances.push(refused.instance.clone());
    instances.extend(store(&mut device, 1, 3..=4));
    commit(&mut device, "2.25.1", &instances);
    let report = device.receive_report(0).expect("a report");

    assert_eq!((report.event_type, safe(&report).len()), (2, 4));
    let failed = [(CT.to_owned(), refused.instance, 0x0110)];
    assert_eq!(report.failed, failed, "the centre has it not");
    assert_eq!(kept(folder.path()), digests_sent(1, 4));
    let failed = "pacs_forward_failed{to=\"CENTRE\"}";
    assert_eq!(counted(&site.gateway, failed), 1);
    site.gateway
        .wait_for_log("ALARM: an instance could not be sent on");
    assert!(!site.gateway.log().contains("Test^Patient"));
}

#[test]
fn orthanc_as_the_centre_confirms_what_it_was_sent() {
    let Some(program) = orthanc() else { return };
    let (gateway_port, sink) = (free_port(), ReportSink::start(0, &[]));
    let (dicom, http, home) = (free_port(), free_port(), workspace::temporary_folder());
    let storage = home.path().join("db");
    let config = json!({
        "Name": "centre", "StorageDirectory": storage, "IndexDirectory": storage,
        "DicomAet": "CENTRE", "DicomPort": dicom, "HttpPort": http,
        "RemoteAccessAllowed": false, "AuthenticationEnabled": false,
        "DicomAlwaysAllowStore": true, "Plugins": [],
        "DicomModalities": { "gateway": ["GATEWAY", "127.0.0.1", gateway_port] },
    });
    let file = home.path().join("orthanc.json");
    std::fs::write(&file, config.to_string()).expect("a file");
    let mut command = Command::new(program);
    command.arg(&file).env("TCP_NODELAY", "1");
    let mut orthanc = Listener::start(&mut command, http);
    orthanc.wait_until_open(dicom);
    let site = Site::start(gateway_port, ([127, 0, 0, 1], dicom).into(), sink.address());

    let mut device = association(&site.gateway);
    let instances = store(&mut device, 1, 1..=5);
    commit(&mut device, "2.25.1", &instances);
    device.release().expect("a release in order");
    let report = sink.next();

    assert_eq!((report.event_type, safe(&report)), (1, instances));
    let pixels = |number| {
        let data_set = Slice::new(1, number).data_set();
        digest(&data_set[data_set.len() - 256..])
    };
    // It writes files anew: the pixels are those that were sent.
    until(PATIENCE, "all of it in the storage", || {
        let files = files_below(&storage).into_iter();
        let read = files.filter_map(|file| std::fs::read(file).ok());
        let ends = read.filter_map(|file| Some(digest(file.get(file.len().checked_sub(256)?..)?)));
        let ends: Vec<String> = ends.collect();
        (1..=5)
            .all(|number| ends.contains(&pixels(number)))
            .then_some(())
    });
    drop(orthanc);
}
