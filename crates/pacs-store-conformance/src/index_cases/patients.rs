//! Which studies are one patient's, and what a patient is shown with.

use crate::log::Log;
use crate::samples::{Sample, hide, query, restore, single, study_uid};
use pacs_core::tag::tags;
use pacs_core::{Level, Matching, Query};
use pacs_store::index::{Index, Target};
use std::sync::Arc;

fn patients() -> Query {
    query(
        Level::Patient,
        [
            tags::PATIENT_ID,
            tags::PATIENT_NAME,
            tags::NUMBER_OF_PATIENT_RELATED_STUDIES,
            tags::NUMBER_OF_PATIENT_RELATED_SERIES,
            tags::NUMBER_OF_PATIENT_RELATED_INSTANCES,
        ]
        .map(|tag| (tag, Matching::Universal)),
    )
}

/// Patient ID, studies, series and instances of each patient.
async fn summary(log: &Log) -> Vec<String> {
    let mut lines = Vec::new();
    for found in log.search(&patients()).await {
        let text = |tag| found.attributes.text(tag).unwrap_or_default();
        lines.push(format!(
            "{} {} {} {}",
            text(tags::PATIENT_ID),
            text(tags::NUMBER_OF_PATIENT_RELATED_STUDIES),
            text(tags::NUMBER_OF_PATIENT_RELATED_SERIES),
            text(tags::NUMBER_OF_PATIENT_RELATED_INSTANCES),
        ));
    }
    lines
}

/// The ID alone is not enough where two hospitals give them out.
pub async fn studies_of_one_id_and_issuer_are_one_patient(index: Arc<dyn Index>) {
    let log = Log::new(index);
    let sample = |study, id: &str, issuer: &str| {
        let sample = Sample::new(study, 1, 1).with(tags::PATIENT_ID, id);
        sample.with(tags::ISSUER_OF_PATIENT_ID, issuer).record()
    };
    log.add(vec![
        sample(1, "7", "BISHKEK"),
        sample(2, "7", "OSH"),
        sample(3, "7", "BISHKEK"),
        sample(4, "7 ", "BISHKEK"),
        Sample::new(5, 1, 1).with(tags::PATIENT_ID, "7").record(),
        Sample::new(4, 2, 1).with(tags::PATIENT_ID, "8").record(),
    ])
    .await;

    assert_eq!(summary(&log).await, ["7 3 4 4", "7 1 1 1", "7 1 1 1"]);
    let of_id = query(Level::Patient, [(tags::PATIENT_ID, single("7"))]);
    assert_eq!(log.search(&of_id).await.len(), 3);
    assert_eq!(log.select(&of_id).await.len(), 6);
    let eight = query(Level::Patient, [(tags::PATIENT_ID, single("8"))]);
    assert_eq!(log.search(&eight).await, []);
}

/// Emergency cases come without an ID.
pub async fn a_patient_without_id_is_known_by_name_and_birth_date(index: Arc<dyn Index>) {
    let log = Log::new(index);
    let sample = |study, name: &str, birth_date: &str| {
        Sample::new(study, 1, 1)
            .with(tags::PATIENT_ID, "")
            .with(tags::PATIENT_NAME, name)
            .with(tags::PATIENT_BIRTH_DATE, birth_date)
    };
    log.add(vec![
        sample(1, "Unknown^A", "19800101").record(),
        sample(2, "Unknown^A", "19810101").record(),
        sample(3, "Unknown^A", "19800101")
            .without(tags::PATIENT_ID)
            .record(),
        sample(4, "Unknown^B", "19800101").record(),
        sample(5, "Unknown^A", "19800101")
            .with(tags::PATIENT_ID, "Unknown^A")
            .record(),
    ])
    .await;

    assert_eq!(
        summary(&log).await,
        [" 2 2 2", " 1 1 1", " 1 1 1", "Unknown^A 1 1 1"]
    );
}

/// Also when that first study is hidden.
pub async fn a_patients_attributes_are_those_of_its_first_study(index: Arc<dyn Index>) {
    let log = Log::new(index);
    let sample = |study, name| {
        let sample = Sample::new(study, 1, 1).with(tags::PATIENT_ID, "7");
        sample.with(tags::PATIENT_NAME, name).record()
    };
    log.add(vec![sample(1, "Maiden^Name"), sample(2, "Married^Name")])
        .await;
    let name = async || {
        let found = log.search(&patients()).await;
        assert_eq!(found.len(), 1);
        let name = found[0].attributes.text(tags::PATIENT_NAME);
        name.unwrap().to_owned()
    };
    assert_eq!(name().await, "Maiden^Name");

    log.add(vec![hide(Target::Study(study_uid(1)))]).await;

    assert_eq!(name().await, "Maiden^Name");
    let by_later = query(
        Level::Patient,
        [(tags::PATIENT_NAME, single("Married^Name"))],
    );
    assert_eq!(log.search(&by_later).await, []);
    // The study itself keeps the name it came with.
    let study = query(Level::Study, [(tags::PATIENT_NAME, single("Married^Name"))]);
    assert_eq!(log.search(&study).await.len(), 1);
}

/// A patient without a visible instance is none.
pub async fn a_patient_shows_while_one_of_its_studies_does(index: Arc<dyn Index>) {
    let log = Log::new(index);
    for study in 1..=2 {
        let sample = Sample::new(study, 1, 1).with(tags::PATIENT_ID, "7");
        log.add(vec![sample.record()]).await;
    }
    log.add(vec![hide(Target::Study(study_uid(1)))]).await;
    assert_eq!(summary(&log).await, ["7 1 1 1"]);
    log.add(vec![hide(Target::Study(study_uid(2)))]).await;
    assert_eq!(summary(&log).await, Vec::<String>::new());
    log.add(vec![restore(Target::Study(study_uid(1)))]).await;
    assert_eq!(summary(&log).await, ["7 1 1 1"]);
}
