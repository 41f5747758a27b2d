//! The rig itself, held against DCMTK's dcmqrscp: what tests the server must not be wrong.

use std::path::Path;

use pacs_tests::peers::{Listener, dcmtk, free_port, has_dcmtk};
use pacs_tests::samples::Slice;
use pacs_tests::wire::identifier::tag;
use pacs_tests::wire::sink::Takes;
use pacs_tests::wire::{Association, Context, Keys, Proposal, Received, Sink, digest, uid};
use pacs_tests::workspace;

const CT: &str = uid::CT_IMAGE_STORAGE;
const EXPLICIT: &str = uid::EXPLICIT_LITTLE_ENDIAN;

fn dcmqrscp(home: &Path, sink_port: u16) -> Listener {
    let port = free_port();
    let storage = home.join("db");
    std::fs::create_dir_all(&storage).expect("a folder");
    let config = home.join("dcmqrscp.cfg");
    let text = format!(
        "NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n\
         HostTable BEGIN\nsink = (SINK, localhost, {sink_port})\nHostTable END\n\
         VendorTable BEGIN\nVendorTable END\n\
         AETable BEGIN\nQRSCP {} RW (200, 1024mb) ANY\nAETable END\n",
        storage.display()
    );
    std::fs::write(&config, text).expect("a file");
    Listener::start(dcmtk("dcmqrscp").arg("-c").arg(&config), port)
}

fn digests(received: &[Received]) -> Vec<String> {
    let mut digests: Vec<String> = received
        .iter()
        .map(|instance| instance.digest.clone())
        .collect();
    digests.sort();
    digests
}

#[test]
fn the_raw_peer_stores_finds_gets_and_moves_with_dcmqrscp() {
    if !has_dcmtk() {
        return;
    }
    let home = workspace::temporary_folder();
    let sink = Sink::start(Takes::Everything);
    let peer = dcmqrscp(home.path(), sink.address().port());
    let implicit = uid::IMPLICIT_LITTLE_ENDIAN;
    let mut proposal = Proposal::new(vec![
        Context::new(uid::VERIFICATION, implicit),
        Context::receiving(CT, EXPLICIT),
        Context::new(CT, EXPLICIT),
        Context::new(uid::STUDY_ROOT_FIND, implicit),
        Context::new(uid::STUDY_ROOT_GET, implicit),
        Context::new(uid::STUDY_ROOT_MOVE, implicit),
    ]);
    proposal.called = "QRSCP".to_owned();
    let mut storing = proposal.clone();
    storing.contexts.remove(1);
    let slices: Vec<Slice> = (1..=3).map(|number| Slice::new(1, number)).collect();

    let mut association = Association::connect(peer.address(), &storing).expect("associated");
    assert_eq!(association.echo().expect("an answer"), 0);
    for slice in &slices {
        let status = association.store(CT, &slice.instance, EXPLICIT, &slice.data_set());
        assert_eq!(status.expect("a status"), 0);
    }
    association.release().expect("a release in order");
    proposal.contexts.remove(2);
    let mut association = Association::connect(peer.address(), &proposal).expect("associated");
    let keys = Keys::at("STUDY").with(tag::STUDY, &slices[0].study);
    let wide = keys.clone().with(tag::PATIENT_ID, "");
    let (answers, found) = association
        .find(uid::STUDY_ROOT_FIND, &wide)
        .expect("an answer");
    let (got, received) = association.get(&keys).expect("an answer");
    let moved = association.move_to(&keys, "SINK").expect("an answer");
    association.release().expect("a release in order");

    let mut sent: Vec<String> = slices
        .iter()
        .map(|slice| digest(&slice.data_set()))
        .collect();
    sent.sort();
    assert_eq!((answers.len(), found), (1, 0));
    assert_eq!(answers[0].text(tag::PATIENT_ID), "TEST00001");
    assert_eq!((got.status, got.completed), (0, 3));
    assert_eq!(digests(&received), sent);
    assert_eq!((moved.status, moved.completed), (0, 3));
    assert_eq!(digests(&sink.take()), sent);
}

#[test]
fn the_samples_are_what_dcmdump_reads() {
    if !has_dcmtk() {
        return;
    }
    let home = workspace::temporary_folder();
    let file = home.path().join("slice.dcm");
    std::fs::write(&file, Slice::new(1, 1).file()).expect("a file");

    let said = pacs_tests::peers::run(dcmtk("dcmdump").arg(&file)).succeeded();

    assert!(said.text.contains("Test^Patient1"), "{}", said.text);
    assert!(
        !said.text.contains("W:") && !said.text.contains("E:"),
        "{}",
        said.text
    );
}
