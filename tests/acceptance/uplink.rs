//! A hospital's gateway and its uplink to the centre: the other half of number 8.

use pacs_tests::edges::until;
use pacs_tests::line::Line;
use pacs_tests::peers::{Listener, dcmtk, free_port, peer_py, python, run};
use pacs_tests::portal::{CT_OF_001, CT_OF_006};
use pacs_tests::server::{Options, PATIENCE, Server};
use pacs_tests::wire::uid;
use pacs_tests::workspace;
use serde_json::{Value, json};

use crate::hospital::{Ae, Hospital, Shot, WORKSTATION_OF_006, decided, device, read, typed};
use crate::steps::safe;

/// The gateway of organisation 006.
const GATEWAY_OF_006: &str = "NATHOS_GW";

/// A gateway that listens on `port`, sends all that comes to the centre behind `uplink`, and knows
/// its console at `console`.
fn gateway(port: u16, uplink: &Line, console: u16) -> Server {
    let centre = uplink.address();
    let config = format!(
        "[[dicom.ae]]\ntitle = \"PACS\"\naddress = \"{centre}\"\nsees = \"everything\"\n\
         [[dicom.ae]]\ntitle = \"{CT_OF_006}\"\naddress = \"127.0.0.1:{console}\"\n\
         allow = [\"echo\", \"store\", \"commit\"]\n\
         [[forward]]\nto = \"PACS\"\nconfirm = true\n"
    );
    let dicom = format!("127.0.0.1:{port}");
    let arguments = ["--ae-title", GATEWAY_OF_006, "--dicom", &dicom];
    Server::start(Options {
        config,
        arguments: arguments.map(str::to_owned).into(),
        ..Options::default()
    })
}

/// How often each image stands in the packs of a server, byte for byte.
fn kept(server: &Server, shot: &Shot) -> Vec<usize> {
    let packs = server.packs();
    let images = shot.images.iter().map(|image| {
        let all = packs
            .iter()
            .flat_map(|pack| pack.windows(image.data_set.len()));
        all.filter(|bytes| *bytes == image.data_set).count()
    });
    images.collect()
}

#[test]
fn a08_a_gateway_commits_nothing_while_its_uplink_is_cut_and_then_what_the_centre_has() {
    let by_hand = [device(GATEWAY_OF_006, "006", "CT", &json!({}))];
    let (Some(hospital), Some(python)) = (Hospital::with(&by_hand, ""), python()) else {
        return;
    };
    let uplink = Line::to(hospital.portal.server.dicom());
    let (port, console_port) = (free_port(), free_port());
    let mut gateway = gateway(port, &uplink, console_port);
    let at = gateway.dicom();
    let console = || Ae::new(CT_OF_006, GATEWAY_OF_006, at);
    let id = hospital.order();
    let shot = Shot::of(&typed(&id), 6);
    uplink.cut();

    // The console sends, twice, and asks whether it may delete.
    console().send(&shot.images);
    console().send(&shot.images);
    let mut ask = peer_py(&python);
    ask.env("AE_TITLE", CT_OF_006);
    let (port, console_port) = (port.to_string(), console_port.to_string());
    ask.args(["commit_elsewhere", "127.0.0.1", &port, &console_port]);
    ask.arg("2.25.86");
    let references = shot.instances().into_iter();
    ask.args(references.map(|instance| format!("{}={instance}", uid::CT_IMAGE_STORAGE)));
    let asked = std::thread::spawn(move || run(&mut ask).succeeded().json());
    gateway.wait_for_log("storage commitment is put off");
    gateway.wait_for_log("instances could not be sent on");
    gateway.kill();
    gateway.restart();
    gateway.wait_for_log("storage commitment is put off");
    assert!(!asked.is_finished(), "nobody has said that it is safe");
    assert_eq!(hospital.workstation().count(&shot.study), 0);

    uplink.mend();
    let said: Value = asked.join().expect("a report");

    let [report] = said["reports"].as_array().expect("reports").as_slice() else {
        panic!("one report: {said}");
    };
    assert_eq!(report["event_type"], 1, "{said}");
    let all = shot.digests().into_keys().collect();
    assert_eq!(safe(report), all);
    // By then the centre has it, and knows whose it is.
    decided(&hospital.operator, &shot.study, "bound", &[]);
    assert_eq!(hospital.examination(&id)["studies"], json!([shot.study]));
    assert_eq!(hospital.workstation().count(&shot.study), 6);
    assert_eq!(hospital.given(&shot).len(), 6);
    console().send(&shot.images);
    for server in [&gateway, &hospital.portal.server] {
        assert_eq!(kept(server, &shot), [1; 6], "once, as the console sent it");
    }
}

#[test]
fn a08_a_workstation_is_sent_what_its_own_hospital_makes_while_it_is_made() {
    let port = free_port();
    let config = format!(
        "[[dicom.ae]]\ntitle = \"{WORKSTATION_OF_006}\"\naddress = \"127.0.0.1:{port}\"\n\
         [[forward]]\nto = \"{WORKSTATION_OF_006}\"\n"
    );
    let Some(hospital) = Hospital::with(&[], &config) else {
        return;
    };
    let disk = workspace::temporary_folder();
    let mut storescp = dcmtk("storescp");
    storescp.args(["-aet", WORKSTATION_OF_006, "+B", "-od"]);
    storescp.arg(disk.path());
    let _storescp = Listener::start(storescp.arg(port.to_string()), port);
    let (own, other) = (
        Shot::of(&typed(&hospital.order()), 2),
        Shot::of(&typed("999"), 2),
    );

    hospital.ae(CT_OF_001).send(&other.images);
    for (count, image) in (1..).zip(&own.images) {
        hospital.console().send(std::slice::from_ref(image));
        until(PATIENCE, "the image at the workstation", || {
            let files = std::fs::read_dir(disk.path()).expect("a folder");
            (files.count() == count).then_some(())
        });
    }

    let auditor = hospital.portal.user("auditor", &["auditor@national"]);
    let told = |act: &str| {
        let trail = read(&auditor, "/audit?limit=200");
        let records = trail["items"].as_array().expect("records").clone();
        let mut of_act = records.into_iter().filter(|record| {
            record["event"]["act"] == act && record["event"]["actor"]["name"] == "forwarding"
        });
        of_act.next()
    };
    let begun = until(PATIENCE, "the record", || told("transfer_begun"));
    assert_eq!(begun["event"]["object"]["node"], WORKSTATION_OF_006);
    let study = &begun["event"]["object"]["studies"][0]["study"];
    assert_eq!(*study, json!(own.study), "{begun}");
    // It goes on until the workstation is quiet for a while.
    let sent = until(PATIENCE, "the other record", || told("images_sent"));
    let study = &sent["event"]["object"]["studies"][0];
    assert_eq!(study["instances_count"], 2, "{sent}");
}
