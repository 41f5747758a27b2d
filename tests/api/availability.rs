//! Who is told which instances are to be had (PS3.4 Annex R): pynetdicom as the system of a
//! hospital.

use pacs_tests::edges::until;
use pacs_tests::notified::Notified;
use pacs_tests::peers::{free_port, peer_py, python, run};
use pacs_tests::portal::{Browser, CT_OF_006, Portal};
use pacs_tests::samples::Slice;
use pacs_tests::server::PATIENCE;
use pacs_tests::wire::uid;
use serde_json::{Value, json};

use crate::examinations::{form, images_come, saved};
use crate::patients::{patient, registered};

/// AEs that are told, each at a port of this machine.
fn notified(aes: &[(&str, u16)]) -> String {
    let ae = |(title, port): &(&str, u16)| {
        format!(
            "[[dicom.ae]]\ntitle = \"{title}\"\naddress = \"127.0.0.1:{port}\"\nnotify = true\n"
        )
    };
    aes.iter().map(ae).collect()
}

/// A hospital, and its examination of one image that has begun.
fn begun(config: &str) -> (Portal, Browser, String) {
    let device = json!({
        "ae_title": CT_OF_006, "organisation": "006", "modality": "CT", "mpps": true,
    });
    let portal = Portal::with(&[device], config);
    let operator = portal.user("operator", &["operator@006"]);
    let number = registered(&operator, &patient());
    let id = saved(&operator, &form(&number));
    images_come(&portal, &operator, &id, &number);
    (portal, operator, id)
}

/// The operator says that all images are there.
fn complete(operator: &Browser, id: &str) {
    let complete = operator.post(&format!("/examinations/{id}/complete"), &Value::Null);
    assert_eq!(complete.status, 200, "{}", complete.json());
}

/// Waits until the metrics have each of these lines.
fn measured(portal: &Portal, lines: &[&str]) {
    until(PATIENCE, &format!("{lines:?}"), || {
        let (_, metrics) = portal.server.get("/metrics");
        let has = |line: &&str| metrics.lines().any(|one| one == *line);
        lines.iter().all(has).then_some(())
    });
}

#[test]
fn an_ae_that_was_away_is_told_over_a_kill_and_one_of_elsewhere_is_told_nothing() {
    let Some(python) = python() else { return };
    let (own_port, other_port) = (free_port(), free_port());
    let config = notified(&[("NATHOS_HIS", own_port), ("KRKL_HIS", other_port)]);
    let (mut portal, operator, id) = begun(&config);
    let other = Notified::start(&python, other_port, &[]);
    let slice = Slice::new(1, 1);
    let step = json!([["create", "2.25.71", {"scheduled": {
        "StudyInstanceUID": slice.study, "AccessionNumber": id,
        "RequestedProcedureID": id, "ScheduledProcedureStepID": format!("{id}-01"),
    }}]]);
    let mut tell = peer_py(&python);
    let port = portal.server.dicom().port().to_string();
    tell.args([
        "tell_steps",
        "127.0.0.1",
        &port,
        CT_OF_006,
        &step.to_string(),
    ]);
    let told = run(&mut tell).succeeded().json();
    assert_eq!(told["answers"][0]["status"], 0, "{told}");

    complete(&operator, &id);
    let failed = "an AE could not be told which instances are to be had";
    portal.server.wait_for_log(failed);
    portal.server.kill();
    portal.server.restart();
    let own = Notified::start(&python, own_port, &[]);

    let told = own.wait_for(&slice.study, &[(&slice.instance, "ONLINE")]);
    let of_it = json!(["ONLINE", "PACS", uid::CT_IMAGE_STORAGE, slice.series]);
    assert_eq!(told["instances"][&slice.instance], of_it);
    assert_eq!(
        told["steps"],
        json!([["1.2.840.10008.3.1.2.3.3", "2.25.71", 0]])
    );
    let attributes = [
        "ReferencedPerformedProcedureStepSequence",
        "ReferencedSeriesSequence",
        "StudyInstanceUID",
    ];
    assert_eq!(told["attributes"], json!(attributes), "and no others");
    let delivered = r#"pacs_notifications_total{outcome="delivered"} 1"#;
    measured(&portal, &[delivered, "pacs_notifications_owed 0"]);
    assert_eq!(other.told(), [json!(null); 0], "it does not see the study");
}

#[test]
fn who_cannot_take_it_now_is_told_again_and_who_refuses_it_is_not() {
    let Some(python) = python() else { return };
    let port = free_port();
    let (portal, operator, id) = begun(&notified(&[("NATHOS_HIS", port)]));
    let own = Notified::start(&python, port, &["0213", "0000", "0124"]);
    let slice = Slice::new(1, 1);

    complete(&operator, &id);

    let delivered = r#"pacs_notifications_total{outcome="delivered"} 1"#;
    let retried = r#"pacs_notifications_total{outcome="retried"} 1"#;
    measured(&portal, &[delivered, retried, "pacs_notifications_owed 0"]);
    let told = own.told();
    assert_eq!(told.len(), 2);
    assert_eq!(told[0]["instances"], told[1]["instances"]);
    assert_ne!(told[0]["uid"], told[1]["uid"]);

    let radiologist = portal.user("radiologist", &["radiologist@006"]);
    let wanted = json!({"title": "quality", "quality": "motion_blur", "reason": "смазано"});
    let path = format!("/studies/{}/rejections", slice.study);
    let rejected = radiologist.make(&path, &wanted);
    assert_eq!(rejected.status, 201, "{}", rejected.json());

    let _told = own.wait_for(&slice.study, &[(&slice.instance, "UNAVAILABLE")]);
    let refused = r#"pacs_notifications_total{outcome="refused"} 1"#;
    measured(&portal, &[delivered, refused, "pacs_notifications_owed 0"]);
}
