//! A hospital's gateway: it sends all that comes to the centre and to workstations as it comes, and
//! commits to devices only what the centre has confirmed; whatever is cut or killed in between.

#[path = "forwarding/foreign.rs"]
mod foreign;
#[path = "forwarding/gateway.rs"]
mod gateway;

use pacs_tests::edges::until;
use pacs_tests::line::Line;
use pacs_tests::peers::free_port;
use pacs_tests::samples::{Slice, digests_sent};
use pacs_tests::server::PATIENCE;
use pacs_tests::stow::ask;
use pacs_tests::wire::commitment::{Report, ReportSink};

use gateway::{
    CT, Site, association, centre, commit, counted, digests, references, sent_to, store, stores_of,
};

/// What the report says is safe.
fn safe(report: &Report) -> Vec<String> {
    let committed = report.committed.iter();
    committed.map(|(_, instance)| instance.clone()).collect()
}

#[test]
fn nothing_is_committed_while_the_line_is_cut_and_all_of_it_once_it_is_back() {
    let (gateway_port, sink) = (free_port(), ReportSink::start(0, &[]));
    let centre = centre(gateway_port);
    let line = Line::to(centre.dicom());
    let mut site = Site::start(gateway_port, line.address(), sink.address());
    line.cut();

    let mut device = association(&site.gateway);
    let instances = store(&mut device, 1, 1..=5);
    commit(&mut device, "2.25.1", &instances);
    device.release().expect("a release in order");
    site.gateway.wait_for_log("storage commitment is put off");
    site.gateway.wait_for_log("instances could not be sent on");
    // Killed in between: nothing of it is forgotten.
    site.gateway.kill();
    site.gateway.restart();
    site.gateway.wait_for_log("storage commitment is put off");
    site.gateway.wait_for_log("instances could not be sent on");
    assert_eq!(sink.take(), [], "no report, and so no success");
    assert_eq!(counted(&site.gateway, "pacs_commitments_open"), 1);
    assert!(counted(&site.gateway, "pacs_forward_waiting{to=\"CENTRE\"}") >= 5);
    assert_eq!(stores_of(&centre, "GATEWAY"), 0);
    assert_eq!(site.gateway.get("/readyz").0, 200);

    line.mend();
    let report = sink.next();

    assert_eq!(
        (report.event_type, report.transaction.as_str()),
        (1, "2.25.1")
    );
    assert_eq!(safe(&report), instances);
    assert_eq!(digests(&centre, 1), digests_sent(1, 5), "byte for byte");
    assert_eq!(stores_of(&centre, "GATEWAY"), 5);
    until(PATIENCE, "nothing that waits", || {
        let waiting = counted(&site.gateway, "pacs_forward_waiting{to=\"CENTRE\"}");
        let open = counted(&site.gateway, "pacs_forward_unconfirmed{to=\"CENTRE\"}");
        (waiting + open == 0).then_some(())
    });

    // What is sent again is there once, here and there, and is committed at once.
    let mut device = association(&site.gateway);
    assert_eq!(store(&mut device, 1, 1..=5), instances);
    commit(&mut device, "2.25.2", &instances);
    let report = device.receive_report(0).expect("a report");
    assert_eq!((report.event_type, safe(&report)), (1, instances));
    for server in [&site.gateway, &centre] {
        assert_eq!(digests(server, 1), digests_sent(1, 5));
    }
    assert_eq!(stores_of(&centre, "GATEWAY"), 5);
}

#[test]
fn a_gateway_that_is_killed_while_it_sends_loses_nothing_and_sends_little_twice() {
    const COUNT: u32 = 300;
    let (gateway_port, sink) = (free_port(), ReportSink::start(0, &[]));
    let mut centre = centre(gateway_port);
    let line = Line::to(centre.dicom());
    let mut site = Site::start(gateway_port, line.address(), sink.address());
    line.cut();
    let mut device = association(&site.gateway);
    let instances = store(&mut device, 1, 1..=COUNT);
    commit(&mut device, "2.25.1", &instances);
    device.release().expect("a release in order");

    line.mend();
    let mut kills_count = 0;
    for reached in [20, 140, 260] {
        until(PATIENCE, "some of it at the centre", || {
            (stores_of(&centre, "GATEWAY") >= reached).then_some(())
        });
        site.gateway.kill();
        site.gateway.restart();
        kills_count += 1;
    }
    let report = sink.next();

    assert_eq!(safe(&report).len(), instances.len());
    assert_eq!(digests(&centre, 1), digests_sent(1, COUNT));
    let stores = stores_of(&centre, "GATEWAY");
    let most = u64::from(COUNT) + 100 * kills_count;
    assert!(stores <= most, "a page at most with each kill: {stores}");
    // A restart sends nothing of it again.
    site.gateway.stop();
    site.gateway.restart();
    let mut device = association(&site.gateway);
    commit(&mut device, "2.25.2", &instances);
    let report = device.receive_report(0).expect("a report");
    assert_eq!(safe(&report).len(), instances.len());
    assert_eq!(stores_of(&centre, "GATEWAY"), stores);
    assert!(centre.stop().success());
}

#[test]
fn clients_over_the_web_are_told_to_wait_until_the_centre_has_it() {
    let (gateway_port, sink) = (free_port(), ReportSink::start(0, &[]));
    let centre = centre(gateway_port);
    let line = Line::to(centre.dicom());
    let site = Site::start(gateway_port, line.address(), sink.address());
    line.cut();
    let mut device = association(&site.gateway);
    let instances = store(&mut device, 1, 1..=2);
    let path = "/dicomweb/commitment-requests/2.25.7";
    let sequence = instances.iter().map(|instance| {
        serde_json::json!({
            "00081150": {"vr": "UI", "Value": [CT]},
            "00081155": {"vr": "UI", "Value": [instance]},
        })
    });
    let sequence: Vec<_> = sequence.collect();
    let body = serde_json::json!([{"00081199": {"vr": "SQ", "Value": sequence}}]).to_string();
    let headers = [("Content-Type", "application/dicom+json")];

    let http = site.gateway.http();
    let asked = ask(http, "POST", path, &headers, body.as_bytes());
    assert_eq!(asked.status, 202, "{:?}", asked.try_json());
    assert_eq!(ask(http, "GET", path, &[], &[]).status, 202);
    line.mend();
    let answer = until(PATIENCE, "the answer", || {
        let answer = ask(http, "GET", path, &[], &[]);
        (answer.status == 200).then_some(answer)
    });

    let said = answer.json().to_string();
    assert!(instances.iter().all(|of| said.contains(of)), "{said}");
    assert!(!said.contains("00081198"), "nothing fails: {said}");
    assert_eq!(digests(&centre, 1), digests_sent(1, 2));
}

#[test]
fn what_came_from_the_centre_is_not_sent_back_and_new_destinations_get_what_they_are_for() {
    let (gateway_port, sink) = (free_port(), ReportSink::start(0, &[]));
    let centre = centre(gateway_port);
    let mut site = Site::without(gateway_port, centre.dicom(), sink.address());
    let mut device = association(&site.gateway);
    let old = store(&mut device, 1, 1..=2);
    let mut from_centre = gateway::calling("CENTRE", &site.gateway);
    let _theirs = store(&mut from_centre, 2, 1..=2);
    let disk = free_port();
    let workstation = gateway::Workstation::start(disk);
    let Some(workstation) = workstation else {
        return;
    };
    site.gateway.stop();

    // The centre gets what is there already, a workstation what comes from now on.
    let more = format!("{}{}", sent_to("CENTRE", true), sent_to("WS1", false));
    let more = format!("{more}{}", gateway::ae("WS1", workstation.address()));
    site.rewrite(&more);
    site.gateway.restart();
    let mut device = association(&site.gateway);
    let new = store(&mut device, 3, 1..=1);
    commit(&mut device, "2.25.1", &[old, new].concat());
    let report = device.receive_report(0).expect("a report");

    assert_eq!((report.event_type, safe(&report).len()), (1, 3));
    assert_eq!(digests(&centre, 1), digests_sent(1, 2));
    assert_eq!(digests(&centre, 2), Vec::<String>::new());
    assert_eq!(digests(&centre, 3), digests_sent(3, 1));
    until(PATIENCE, "what is new at the workstation", || {
        (workstation.digests() == digests_sent(3, 1)).then_some(())
    });
    let skipped = "pacs_forwarded_instances_total{outcome=\"skipped\",to=\"CENTRE\"}";
    assert_eq!(counted(&site.gateway, skipped), 2);
}

#[test]
fn a_workstation_gets_each_frame_while_the_scan_goes_on() {
    let Some(workstation) = gateway::Workstation::start(free_port()) else {
        return;
    };
    let (gateway_port, sink) = (free_port(), ReportSink::start(0, &[]));
    let mut site = Site::without(gateway_port, workstation.address(), sink.address());
    let more = gateway::ae("WS1", workstation.address());
    site.rewrite(&format!("{}{more}", sent_to("WS1", false)));
    site.gateway.stop();
    site.gateway.restart();

    let mut device = association(&site.gateway);
    for number in 1..=4 {
        let _one = store(&mut device, 1, number..=number);
        // The study goes on: its association stands.
        until(PATIENCE, "the frame at the workstation", || {
            (workstation.digests() == digests_sent(1, number)).then_some(())
        });
    }
    // No archive has to confirm it: it is committed as ever.
    let instances: Vec<String> = (1..=4).map(|n| Slice::new(1, n).instance).collect();
    let status = device.commit("2.25.1", &references(&instances));
    assert_eq!(status.expect("a status"), 0);
    let report = device.receive_report(0).expect("a report");
    assert_eq!((report.event_type, safe(&report)), (1, instances));
}
