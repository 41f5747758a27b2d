//! Storage commitment seen from a raw peer: what is asked, what is reported, and over which
//! association, whatever happens in between.

use std::net::SocketAddr;
use std::path::Path;

use pacs_tests::peers::{files_below, free_port};
use pacs_tests::samples::Slice;
use pacs_tests::server::{Options, RemoteAe, Server};
use pacs_tests::wire::command::element;
use pacs_tests::wire::commitment::{Meets, ReportSink, action, action_information};
use pacs_tests::wire::{Association, Context, Proposal, WireError, uid};

const CT: &str = uid::CT_IMAGE_STORAGE;
const NO_SUCH_OBJECT_INSTANCE: u16 = 0x0112;

/// A server that knows the AE `TESTS`, which takes reports at `address`.
fn server_that_reports_to(address: SocketAddr) -> Server {
    Server::start(Options {
        remote: vec![RemoteAe::new("TESTS", address)],
        ..Options::default()
    })
}

fn associate(server: &Server, calling: &str) -> Result<Association, WireError> {
    let proposal = Proposal {
        calling: calling.to_owned(),
        ..Proposal::new(vec![
            Context::new(CT, uid::EXPLICIT_LITTLE_ENDIAN),
            Context::new(uid::STORAGE_COMMITMENT, uid::IMPLICIT_LITTLE_ENDIAN),
        ])
    };
    Association::connect(server.dicom(), &proposal)
}

/// Stores the first `count` slices of study 1 and gives their UIDs.
fn store(association: &mut Association, count: u32) -> Vec<String> {
    let slices = (1..=count).map(|number| Slice::new(1, number));
    let stored = slices.map(|slice| {
        let syntax = uid::EXPLICIT_LITTLE_ENDIAN;
        let status = association.store(CT, &slice.instance, syntax, &slice.data_set());
        assert_eq!(status.expect("a status"), 0);
        slice.instance
    });
    stored.collect()
}

fn references(instances: &[String]) -> Vec<(&str, &str)> {
    instances
        .iter()
        .map(|instance| (CT, instance.as_str()))
        .collect()
}

/// Stores `count` slices, asks for their commitment and releases.
fn ask_and_leave(server: &Server, transaction: &str, count: u32) -> Vec<String> {
    let mut association = associate(server, "TESTS").expect("an association");
    let instances = store(&mut association, count);
    let status = association.commit(transaction, &references(&instances));
    assert_eq!(status.expect("a status"), 0);
    association.release().expect("a release in order");
    instances
}

#[test]
fn each_instance_is_reported_on_the_association_that_asks() {
    let server = Server::start(Options::default());
    // A title that is in no configuration can be told nowhere else.
    let mut association = associate(&server, "ANYBODY").expect("an association");
    let instances = store(&mut association, 3);
    let mut asked = references(&instances);
    asked.push((CT, "2.25.404"));
    asked.push((uid::SECONDARY_CAPTURE, &instances[0]));
    asked.push((uid::VERIFICATION, &instances[0]));
    asked.push((CT, &instances[0]));

    assert_eq!(association.commit("2.25.1", &asked).expect("a status"), 0);
    let report = association.receive_report(0).expect("a report");

    assert_eq!(
        (report.event_type, report.transaction.as_str()),
        (2, "2.25.1")
    );
    assert_eq!(report.retrieve_ae_title, "PACS");
    let committed: Vec<&str> = report.committed.iter().map(|(_, of)| of.as_str()).collect();
    assert_eq!(
        committed, instances,
        "each once, in the order of the request"
    );
    let reasons: Vec<u16> = report.failed.iter().map(|(_, _, reason)| *reason).collect();
    assert_eq!(reasons, [NO_SUCH_OBJECT_INSTANCE, 0x0119, 0x0122]);
    // All is well: type 1. The association goes on.
    assert_eq!(
        association.commit("2.25.2", &asked[..3]).expect("a status"),
        0
    );
    let report = association.receive_report(0).expect("a report");
    assert_eq!((report.event_type, report.committed.len()), (1, 3));
    association.release().expect("a release in order");
    server.wait_for_log("\"transaction\":\"2.25.2\",\"target");
    let (_, metrics) = server.get("/metrics");
    assert!(metrics.contains("pacs_commitment_instances_total{outcome=\"committed\"} 6"));
    assert!(metrics.contains("pacs_commitment_reports_total{outcome=\"delivered\"} 2"));
    assert!(metrics.contains("pacs_commitments_open 0"));
}

#[test]
fn whoever_has_left_is_told_over_an_association_with_reversed_roles() {
    let sink = ReportSink::start(0, &[]);
    let server = server_that_reports_to(sink.address());

    let instances = ask_and_leave(&server, "2.25.1", 3);
    let report = sink.next();

    assert_eq!(
        (report.event_type, report.transaction.as_str()),
        (1, "2.25.1")
    );
    assert_eq!(report.committed.len(), instances.len());
    assert_eq!(report.roles, Some((0, 1)), "we are the provider");
}

#[test]
fn a_report_that_is_owed_survives_a_kill() {
    for waits in [false, true] {
        let port = free_port();
        let mut server = server_that_reports_to(([127, 0, 0, 1], port).into());
        ask_and_leave(&server, "2.25.1", 3);
        if waits {
            server.wait_for_log("storage commitment reports could not be brought");
            let (_, health) = server.get("/healthz");
            assert!(health.contains("\"commitments_open\":1"), "{health}");
        }
        server.kill();

        let sink = ReportSink::start(port, &[]);
        server.restart();
        let report = sink.next();

        assert_eq!(
            (report.event_type, report.transaction.as_str()),
            (1, "2.25.1")
        );
        assert_eq!(report.committed.len(), 3);
        // Once it is taken it is not brought again.
        server.wait_for_log("a storage commitment report was taken");
        server.stop();
        server.restart();
        assert_eq!(server.echo().expect("an answer"), 0);
        assert_eq!(sink.take(), []);
    }
}

#[test]
fn a_report_is_brought_again_until_it_is_taken() {
    let hard = [Meets::Reject, Meets::HangUp, Meets::Answer(0x0110)];
    for difficulty in hard {
        let sink = ReportSink::start(0, &[difficulty]);
        let server = server_that_reports_to(sink.address());

        ask_and_leave(&server, "2.25.1", 1);
        server.wait_for_log("storage commitment reports could not be brought");

        if matches!(difficulty, Meets::Answer(_)) {
            assert_eq!(sink.next().transaction, "2.25.1");
        }
        assert_eq!(sink.next().transaction, "2.25.1");
        server.wait_for_log("a storage commitment report was taken");
    }
}

#[test]
fn a_device_that_shows_up_again_is_told_at_once() {
    let port = free_port();
    let server = server_that_reports_to(([127, 0, 0, 1], port).into());
    ask_and_leave(&server, "2.25.1", 1);
    server.wait_for_log("\"again_in_s\":10");

    let sink = ReportSink::start(port, &[]);
    let mut association = associate(&server, "TESTS").expect("an association");
    let asked = Slice::new(1, 1).instance;
    let status = association.commit("2.25.2", &[(CT, &asked)]);
    assert_eq!(status.expect("a status"), 0);

    assert_eq!(sink.next().transaction, "2.25.1");
    // The new one comes where it was asked.
    assert_eq!(
        association.receive_report(0).expect("a report").transaction,
        "2.25.2"
    );
    // Asked once more, it is answered once more.
    let status = association.commit("2.25.2", &[(CT, &asked)]);
    assert_eq!(status.expect("a status"), 0);
    assert_eq!(
        association.receive_report(0).expect("a report").event_type,
        1
    );
}

/// Changes one byte of pixel data of `slice` in the packs below `data`.
fn damage(data: &Path, slice: &Slice) {
    let data_set = slice.data_set();
    for pack in files_below(&data.join("packs")) {
        let mut bytes = std::fs::read(&pack).expect("a pack");
        let at = bytes.windows(data_set.len()).position(|of| of == data_set);
        if let Some(at) = at {
            bytes[at + data_set.len() - 1000] ^= 0x10;
            std::fs::write(&pack, bytes).expect("a pack");
            return;
        }
    }
    panic!("the slice is in no pack");
}

#[test]
fn one_bit_that_has_changed_on_the_disk_is_no_commitment() {
    let mut server = Server::start(Options::default());
    let mut association = associate(&server, "ANYBODY").expect("an association");
    let instances = store(&mut association, 3);
    association.release().expect("a release in order");
    server.stop();
    damage(&server.data(), &Slice::new(1, 2));
    server.restart();

    let mut association = associate(&server, "ANYBODY").expect("an association");
    let status = association.commit("2.25.1", &references(&instances));
    assert_eq!(status.expect("a status"), 0);
    let report = association.receive_report(0).expect("a report");

    assert_eq!(report.committed.len(), 2);
    let failed = (CT.to_owned(), instances[1].clone(), 0x0110);
    assert_eq!(report.failed, [failed]);
}

#[test]
fn what_is_no_request_is_refused_with_its_status() {
    let server = Server::start(Options::default());
    let mut association = associate(&server, "ANYBODY").expect("an association");
    let good = action_information("2.25.1", &[(CT, "2.25.7")]);
    let many: Vec<String> = (0..10_001).map(|number| format!("2.25.{number}")).collect();
    let many = action_information("2.25.1", &references(&many));
    let nothing = action_information("2.25.1", &[]);
    let no_uid = action_information("../../2", &[(CT, "2.25.7")]);
    let no_instance = action_information("2.25.1", &[(CT, "")]);
    let long = vec![0; 3 << 20];
    let cases = [
        (
            "action type",
            action(2).number(element::ACTION_TYPE, 2),
            Some(&good),
            0x0123,
        ),
        (
            "instance",
            action(3).text(element::REQUESTED_INSTANCE, "1.2", '\0'),
            Some(&good),
            0x0112,
        ),
        (
            "class",
            action(4).text(element::REQUESTED_CLASS, CT, '\0'),
            Some(&good),
            0x0118,
        ),
        (
            "no data",
            action(5).number(element::DATA_SET_TYPE, 0x0101),
            None,
            0x0212,
        ),
        ("no references", action(6), Some(&nothing), 0x0115),
        ("no transaction", action(7), Some(&no_uid), 0x0115),
        ("empty instance", action(8), Some(&no_instance), 0x0115),
        ("too many", action(9), Some(&many), 0x0213),
        ("too long", action(10), Some(&long), 0x0213),
    ];
    for (what, command, data, status) in cases {
        let answered = association.act(&command, data.map(Vec::as_slice));
        assert_eq!(answered.expect("a status"), status, "{what}");
    }

    // None of them is open, and the association lives on.
    let (_, health) = server.get("/healthz");
    assert!(health.contains("\"commitments_open\":0"), "{health}");
    assert_eq!(
        association
            .commit("2.25.1", &[(CT, "2.25.7")])
            .expect("a status"),
        0
    );
    assert_eq!(
        association
            .receive_report(0)
            .expect("a report")
            .failed
            .len(),
        1
    );
}

#[test]
fn whoever_may_not_ask_is_offered_no_context() {
    let config =
        "[[dicom.ae]]\ntitle = \"TESTS\"\naddress = \"127.0.0.1:9\"\nallow = [\"store\"]\n";
    let server = Server::start(Options {
        config: config.to_owned(),
        ..Options::default()
    });
    let mut association = associate(&server, "TESTS").expect("an association");

    let instances = store(&mut association, 1);
    let asked = association.commit("2.25.1", &references(&instances));

    assert!(matches!(asked, Err(WireError::NoContext(_))), "{asked:?}");
}

#[test]
fn whoever_has_left_without_an_address_is_told_nothing_and_the_log_says_so() {
    let server = Server::start(Options::default());
    let mut association = associate(&server, "ANYBODY").expect("an association");
    let status = association.commit("2.25.1", &[(CT, "2.25.7")]);
    assert_eq!(status.expect("a status"), 0);
    association.release().expect("a release in order");

    server.wait_for_log("a storage commitment report has no way back");

    let (_, health) = server.get("/healthz");
    assert!(health.contains("\"commitments_open\":0"), "{health}");
    assert!(
        health.contains("\"commitment_reports_given_up\":0"),
        "{health}"
    );
}
