//! Series of a study that a person said are of somebody else.

use crate::people::agent;
use crate::site::{Sent, Site, may, now};
use pacs_core::ExaminationId;
use pacs_core::examination::Reason;
use pacs_core::patient::PatientKey;
use pacs_core::role::{Agent, Role, duty::Reconcile};
use pacs_core::uid::{SeriesUid, StudyUid};
use pacs_store::registry::examinations::{Correcting, Reader};
use serde_json::Value;
use std::collections::BTreeSet;

const STUDY: &str = "2.25.4712";

/// One of two series of a study, as the console names its patient for both.
const fn sent(accession: &str, number: u32) -> Sent<'_> {
    Sent {
        modality: "CT",
        sender: "NATHOS_CT1",
        study: STUDY,
        number,
        accession,
        patient: ("ASANOV^USON", ""),
    }
}

/// The second series is of this examination.
async fn split(site: &Site, id: ExaminationId) {
    let study = StudyUid::parse(STUDY).unwrap();
    let kept = site.archive.kept_images(&may(), [study.clone()]).await;
    let (kept, reason) = (kept.unwrap(), Reason::parse("another patient").unwrap());
    let operator = agent("op", Role::Operator, "006");
    let licence = operator
        .licence::<Reconcile>(crate::people::code("006"))
        .unwrap();
    let how = Correcting {
        licence: &licence,
        kept: &kept,
        expected: None,
        reason: &reason,
        random: [7; 16],
        at: now(),
    };
    let series = SeriesUid::parse(&format!("{STUDY}.2")).unwrap();
    let series = BTreeSet::from([series]);
    let done = site.registry.split_study(&how, &study, &series, id).await;
    done.unwrap();
    site.settle().await;
}

async fn metadata(site: &Site, path: &str) -> Vec<Value> {
    let path = format!("/dicomweb/studies/{STUDY}{path}/metadata");
    let said = site.http("GET", &path, &[]).await.json();
    said.as_array().unwrap().clone()
}

/// The names that the metadata of something says, each once.
async fn names(site: &Site, path: &str) -> BTreeSet<String> {
    let all = metadata(site, path).await;
    let name = |one: &Value| one["00100010"]["Value"][0]["Alphabetic"].clone();
    all.iter()
        .map(|one| name(one).as_str().unwrap().to_owned())
        .collect()
}

/// The weight that the images of a series say.
async fn weight(site: &Site, series: u32) -> Option<f64> {
    let all = metadata(site, &format!("/series/{STUDY}.{series}")).await;
    all[0]["00101030"]["Value"][0].as_f64()
}

async fn order(site: &Site, family: &str) -> (PatientKey, ExaminationId) {
    let patient = site.patient(family).await;
    (patient, site.order(patient, ("op", "006"), "006").await)
}

#[tokio::test(flavor = "multi_thread")]
async fn series_that_were_split_off_say_the_patient_of_their_examination() {
    let site = Site::open("[http]\nopen_loopback = true\n").await;
    let (_, of_first) = order(&site, "Асанов").await;
    let (_, of_second) = order(&site, "Сыдыков").await;
    let digits = of_first.to_string();
    site.send(&sent(&digits, 1)).await;
    site.send(&sent(&digits, 100)).await;
    assert!(site.matched(STUDY).await);
    let (first, second) = (
        "Асанов^Үсөн^Өмүрбекович".to_owned(),
        "Сыдыков^Үсөн^Өмүрбекович".to_owned(),
    );
    assert_eq!(names(&site, "").await, BTreeSet::from([first.clone()]));
    let tag = site
        .http("GET", &format!("/dicomweb/studies/{STUDY}/metadata"), &[])
        .await;
    let tag = tag.header("etag").unwrap().to_owned();

    split(&site, of_second).await;

    assert_eq!(
        names(&site, &format!("/series/{STUDY}.1")).await,
        BTreeSet::from([first.clone()])
    );
    assert_eq!(
        names(&site, &format!("/series/{STUDY}.2")).await,
        BTreeSet::from([second.clone()])
    );
    assert_eq!(names(&site, "").await, BTreeSet::from([first, second]));
    let again = site
        .http("GET", &format!("/dicomweb/studies/{STUDY}/metadata"), &[])
        .await;
    assert_ne!(again.header("etag").unwrap(), tag);
    site.close().await;
}

/// Weight, complaints and history are of the order: images say those of the examination that they
/// are of now, and the form of one that lost its images is as it was.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_typed_stays_with_its_examination_and_images_say_that_of_theirs() {
    let site = Site::open("[http]\nopen_loopback = true\n").await;
    let patient = site.patient("Асанов").await;
    let first = site.order(patient, ("op", "006"), "006").await;
    let other = site.patient("Сыдыков").await;
    let second = site.order_of(other, ("op", "006"), "006", 512).await;
    let digits = first.to_string();
    site.send(&sent(&digits, 1)).await;
    site.send(&sent(&digits, 100)).await;
    assert!(site.matched(STUDY).await);
    let forms = async || {
        let mut forms = Vec::new();
        for id in [first, second] {
            let system = Agent::system("test");
            let reader = Reader::new(&system);
            let found = site.registry.examination(&reader, id, now()).await;
            let order = found.unwrap().value.order;
            forms.push((order.weight_tenths_kg, order.complaints, order.anamnesis));
        }
        forms
    };
    let typed = forms().await;
    assert_eq!(
        (weight(&site, 1).await, weight(&site, 2).await),
        (Some(70.5), Some(70.5))
    );

    split(&site, second).await;
    assert_eq!(
        (weight(&site, 1).await, weight(&site, 2).await),
        (Some(70.5), Some(51.2))
    );
    assert_eq!(forms().await, typed);

    let study = StudyUid::parse(STUDY).unwrap();
    let kept = site
        .archive
        .kept_images(&may(), [study.clone()])
        .await
        .unwrap();
    let reason = Reason::parse("nobody's").unwrap();
    let operator = agent("op", Role::Operator, "006");
    let licence = operator.licence::<Reconcile>(crate::people::code("006"));
    let licence = licence.unwrap();
    let how = Correcting {
        licence: &licence,
        kept: &kept,
        expected: None,
        reason: &reason,
        random: [8; 16],
        at: now(),
    };
    site.registry.unbind_study(&how, &study).await.unwrap();
    site.settle().await;
    assert_eq!(
        (weight(&site, 1).await, weight(&site, 2).await),
        (None, Some(51.2))
    );
    assert_eq!(
        forms().await,
        typed,
        "it waits for its images, and says the same"
    );
    site.close().await;
}
