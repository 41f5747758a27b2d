//! Storage commitment seen from a raw peer: what is asked, what is reported, and over which
//! association, whatever happens in between; and what clients over the web are told.

use std::net::SocketAddr;
use std::process::Command;

use pacs_tests::flip::damage;
use pacs_tests::peers::{free_port, run};
use pacs_tests::samples::Slice;
use pacs_tests::server::{Options, RemoteAe, Server};
use pacs_tests::stow::{Answer, ask};
use pacs_tests::web_server::open_server;
use pacs_tests::wire::command::element;
use pacs_tests::wire::commitment::{Meets, ReportSink, action, action_information};
use pacs_tests::wire::{Association, Context, Proposal, WireError, uid};
use pacs_tests::workspace;
use serde_json::{Value, json};

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

#[test]
fn one_bit_that_has_changed_on_the_disk_is_no_commitment() {
    let mut server = Server::start(Options::default());
    let mut association = associate(&server, "ANYBODY").expect("an association");
    let instances = store(&mut association, 3);
    association.release().expect("a release in order");
    server.stop();
    damage(&server.data(), &Slice::new(1, 2).data_set());
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

/// A request over the web about `references`.
fn asked_in_json(references: &[(&str, &str)]) -> Vec<u8> {
    let uid = |uid: &str| json!({"vr": "UI", "Value": [uid]});
    let item = |(class, instance): &(&str, &str)| {
        let (class, instance) = (uid(class), uid(instance));
        json!({"00081150": class, "00081155": instance})
    };
    let items: Vec<Value> = references.iter().map(item).collect();
    let document = json!({"00081199": {"vr": "SQ", "Value": items}});
    document.to_string().into_bytes()
}

const JSON: (&str, &str) = ("Content-Type", "application/dicom+json");

fn path_of(transaction: &str) -> String {
    format!("/dicomweb/commitment-requests/{transaction}")
}

/// Asks for what came of a request until that is known.
fn result(server: &Server, transaction: &str, fields: &[(&str, &str)]) -> Answer {
    loop {
        let answer = ask(server.http(), "GET", &path_of(transaction), fields, &[]);
        if answer.status != 202 {
            return answer;
        }
        assert!(answer.head.contains("retry-after: 5"), "{}", answer.head);
    }
}

/// Asks over the web, and for the result until it is there.
fn commit_over_the_web(server: &Server, transaction: &str, body: &[u8]) -> Answer {
    let answer = ask(server.http(), "POST", &path_of(transaction), &[JSON], body);
    if answer.status == 202 {
        assert!(answer.body.is_empty());
        return result(server, transaction, &[]);
    }
    answer
}

#[test]
fn over_the_web_each_instance_has_the_same_verdict_as_for_devices() {
    let server = open_server();
    let mut association = associate(&server, "ANYBODY").expect("an association");
    let instances = store(&mut association, 3);
    let mut asked = references(&instances);
    asked.push((CT, "2.25.404"));
    asked.push((uid::SECONDARY_CAPTURE, &instances[0]));
    asked.push((uid::VERIFICATION, &instances[0]));
    asked.push((CT, &instances[0]));

    let answer = commit_over_the_web(&server, "2.25.1", &asked_in_json(&asked));

    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-type: application/dicom+json"));
    assert_eq!(answer.stored(), instances, "each once, in order");
    let failed = [
        ("2.25.404".to_owned(), 0x0112),
        (instances[0].clone(), 0x0119),
        (instances[0].clone(), 0x0122),
    ];
    assert_eq!(answer.failed(), failed);
    // It stays, and is the same; the same request again is the same, too.
    assert_eq!(result(&server, "2.25.1", &[]).body, answer.body);
    let again = commit_over_the_web(&server, "2.25.1", &asked_in_json(&asked));
    assert_eq!(again.body, answer.body);
    let other = commit_over_the_web(&server, "2.25.1", &asked_in_json(&asked[..1]));
    assert_eq!(other.status, 409, "the UID is in use");
    // A device's transactions are its own.
    assert_eq!(association.commit("2.25.1", &asked).expect("a status"), 0);
    let report = association.receive_report(0).expect("a report");
    assert_eq!(report.committed.len(), 3);
    let (_, metrics) = server.get("/metrics");
    assert!(metrics.contains("pacs_commitment_instances_total{outcome=\"committed\"} 6"));
    let counted = "method=\"POST\",resource=\"commitment-requests\",status=\"4xx\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
}

/// A request in XML about `instances` below the study `study`.
fn asked_below(study: &str, series: &str, instances: &[String]) -> String {
    let uid = |tag: &str, uid: &str| {
        format!(
            "<DicomAttribute tag=\"{tag}\" vr=\"UI\"><Value number=\"1\">{uid}</Value>\
             </DicomAttribute>"
        )
    };
    let sequence = |tag: &str, items: &[String]| {
        let numbered = (1..).zip(items);
        let items = numbered.map(|(at, item)| format!("<Item number=\"{at}\">{item}</Item>"));
        let items: String = items.collect();
        format!("<DicomAttribute tag=\"{tag}\" vr=\"SQ\">{items}</DicomAttribute>")
    };
    let instances: Vec<String> = instances.iter().map(|of| uid("00081155", of)).collect();
    let of_class = uid("00081150", CT) + &sequence("0008114A", &instances);
    let of_series = uid("0020000E", series) + &sequence("00081112", &[of_class]);
    let of_study = uid("0020000D", study) + &sequence("00081115", &[of_series]);
    let document = sequence("00081110", &[of_study]);
    format!("<NativeDicomModel>{document}</NativeDicomModel>")
}

#[test]
fn references_below_studies_are_answered_there_and_have_to_be_there() {
    let server = open_server();
    let mut association = associate(&server, "ANYBODY").expect("an association");
    let instances = store(&mut association, 2);
    let slice = Slice::new(1, 1);
    let fields = [("Content-Type", "application/dicom+xml")];
    let answers = [(&*slice.study, "2.25.1"), ("2.25.9", "2.25.2")].map(|(study, transaction)| {
        let body = asked_below(study, &slice.series, &instances);
        let path = path_of(transaction);
        let answer = ask(server.http(), "POST", &path, &fields, body.as_bytes());
        assert!([200, 202].contains(&answer.status), "{}", answer.head);
        result(&server, transaction, &[]).json()
    });

    let instances_of = |answer: &Value, tag: &str| {
        assert_eq!(answer.as_object().map(serde_json::Map::len), Some(1));
        let series = &answer[tag]["Value"][0]["00081115"]["Value"][0];
        let of_class = &series["00081112"]["Value"][0];
        assert_eq!(of_class["00081150"]["Value"][0], CT);
        of_class["0008114A"]["Value"].clone()
    };
    let kept = instances_of(&answers[0], "00081110");
    assert_eq!(kept[1]["00081155"]["Value"][0], instances[1].as_str());
    let lost = instances_of(&answers[1], "0008119B");
    assert_eq!(
        lost[0]["00081197"]["Value"][0],
        u64::from(NO_SUCH_OBJECT_INSTANCE)
    );
    let xml = result(&server, "2.25.1", &[("Accept", "application/dicom+xml")]);
    assert!(xml.head.contains("content-type: application/dicom+xml"));
    let text = String::from_utf8(xml.body).expect("UTF-8");
    assert!(
        text.contains("keyword=\"ReferencedStudySequence\""),
        "{text}"
    );
}

#[test]
fn a_request_over_the_web_survives_a_kill_and_a_changed_bit_fails_it() {
    let mut server = open_server();
    let mut association = associate(&server, "ANYBODY").expect("an association");
    let instances = store(&mut association, 3);
    association.release().expect("a release in order");
    let body = asked_in_json(&references(&instances));
    let before = commit_over_the_web(&server, "2.25.1", &body);
    assert_eq!(before.stored().len(), 3);

    server.kill();
    server.restart();
    assert_eq!(result(&server, "2.25.1", &[]).body, before.body);
    server.stop();
    damage(&server.data(), &Slice::new(1, 2).data_set());
    server.restart();
    let after = result(&server, "2.25.1", &[]);

    // What was checked before is checked again.
    assert_eq!(after.stored().len(), 2);
    assert_eq!(after.failed(), [(instances[1].clone(), 0x0110)]);
}

#[test]
fn a_client_gets_nothing_of_what_another_asked_and_nothing_without_the_scope() {
    let server = Server::start(Options::default());
    let token = |name: &str, scope: &str| {
        let mut pacs = Command::new(workspace::binary("pacs"));
        pacs.args(["token", "create", name, "--scope", scope, "--data"]);
        let said = run(pacs.arg(server.data())).succeeded();
        let secret = said.text.lines().find(|line| line.starts_with("pacs_"));
        format!("Bearer {}", secret.expect("a secret"))
    };
    let (one, other) = (token("one", "commit"), token("other", "commit"));
    let viewer = token("viewer", "find,get");
    let body = asked_in_json(&[(CT, "2.25.7")]);
    let post = |bearer: &str, body: &[u8]| {
        let fields = [JSON, ("Authorization", bearer)];
        ask(server.http(), "POST", &path_of("2.25.1"), &fields, body).status
    };
    assert!([200, 202].contains(&post(&one, &body)));
    let get = |bearer: &str| result(&server, "2.25.1", &[("Authorization", bearer)]);

    assert_eq!(get(&one).failed().len(), 1);
    assert_eq!(get(&other).status, 404);
    assert_eq!((get(&viewer).status, post(&viewer, &body)), (403, 403));
    assert_eq!(result(&server, "2.25.1", &[]).status, 401);
    // The UID of one is free for the other, and both have their own.
    let more = asked_in_json(&[(CT, "2.25.7"), (CT, "2.25.8")]);
    assert!([200, 202].contains(&post(&other, &more)));
    assert_eq!(get(&other).failed().len(), 2);
    assert_eq!(get(&one).failed().len(), 1);
}

#[test]
fn what_is_no_request_over_the_web_is_refused_with_its_status() {
    let server = open_server();
    let good = asked_in_json(&[(CT, "2.25.7")]);
    let many: Vec<String> = (0..10_001).map(|number| format!("2.25.{number}")).collect();
    let many = asked_in_json(&references(&many));
    let long = vec![b' '; 9 << 20];
    let xml = ("Content-Type", "application/dicom+xml");
    let refused = |transaction: &str, kind: (&str, &str), body: &[u8]| {
        ask(server.http(), "POST", &path_of(transaction), &[kind], body).status
    };
    let no_uid = asked_in_json(&[(CT, "../7")]);
    for body in [b"{".as_slice(), b"[]", b"{}", &asked_in_json(&[]), &no_uid] {
        assert_eq!(refused("2.25.1", JSON, body), 400);
    }
    assert_eq!(refused("2.25.1", xml, b"<!DOCTYPE a><a/>"), 400);
    assert_eq!(refused("..%2F1", JSON, &good), 400);
    for body in [many, long] {
        assert_eq!(refused("2.25.1", JSON, &body), 413);
    }
    for kind in [("Content-Type", "text/plain"), ("X-None", "1")] {
        assert_eq!(refused("2.25.1", kind, &good), 415);
    }
    let fields = [JSON, ("Accept", "text/csv")];
    let answer = ask(server.http(), "POST", &path_of("2.25.1"), &fields, &good);
    assert_eq!(answer.status, 406);
    // None of them is kept.
    for transaction in ["2.25.1", "nonsense"] {
        assert_eq!(result(&server, transaction, &[]).status, 404);
    }
}
