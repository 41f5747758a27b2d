//! What is noted of studies stands in place of what was received, and decides who sees them.

use crate::log::{Log, MANY};
use crate::samples::{Sample, query, single, study_uid, wildcard};
use crate::tenants::{correction, facts, note, sight};
use pacs_core::tag::tags;
use pacs_core::{Level, Matching, Query};
use pacs_store::index::{Index, Notes, Page, Provenance, Quota, StudyNote};
use std::sync::Arc;

fn named(pattern: &str) -> Query {
    query(Level::Study, [(tags::PATIENT_NAME, wildcard(pattern))])
}

fn of_patient(serial: u32, family: &str) -> StudyNote {
    StudyNote {
        correction: correction(serial, family),
        facts: None,
    }
}

/// How many results `asked` has for a device of this organisation.
async fn seen(index: &Arc<dyn Index>, of: Option<&str>, asked: &Query) -> usize {
    let quota = Quota::of(MANY).seen_by(&sight(of));
    index.search(asked, &quota).await.unwrap().len()
}

/// It is found by every key that it has now, and by none that it had.
pub async fn a_noted_study_is_found_by_what_is_noted_alone(index: Arc<dyn Index>) {
    let log = Log::new(Arc::clone(&index));
    log.add(vec![
        Sample::new(1, 1, 1).record(),
        Sample::new(2, 1, 1).record(),
    ])
    .await;

    let noted = note(1, of_patient(7, "Сыдыков"), 5);
    index.note(noted).await.unwrap();

    assert_eq!(index.noted().await.unwrap(), 5);
    assert_eq!(log.search(&named("Сыдыков*")).await.len(), 1);
    assert_eq!(log.search(&named("*дыков*")).await.len(), 1);
    assert_eq!(log.search(&named("Асанова*")).await.len(), 1);
    for (tag, was, is) in [
        (tags::PATIENT_ID, "P1", "P0000000076"),
        (tags::ACCESSION_NUMBER, "A1", "250060004329"),
    ] {
        let by = |text: &str| query(Level::Study, [(tag, single(text))]);
        assert_eq!(log.search(&by(was)).await.len(), 0, "{tag}");
        let found = log.search(&by(is)).await;
        assert_eq!(found.len(), 1, "{tag}");
        assert_eq!(found[0].attributes.text(tag), Some(is));
    }
    let series = query(
        Level::Series,
        [
            (tags::STUDY_INSTANCE_UID, single(study_uid(1).as_str())),
            (tags::INSTITUTION_NAME, single("Hospital")),
            (tags::REQUEST_ATTRIBUTES_SEQUENCE, Matching::Universal),
        ],
    );
    let found = log.search(&series).await;
    let request = &found[0].attributes.items(tags::REQUEST_ATTRIBUTES_SEQUENCE)[0];
    let id = request.text(tags::REQUESTED_PROCEDURE_ID);
    assert_eq!(id, Some("250060004329"));
    // More of it comes later, and says again what is wrong.
    log.add(vec![Sample::new(1, 1, 2).record()]).await;
    assert_eq!(log.search(&named("Сыдыков*")).await.len(), 1);
}

/// The matcher may be quicker than an index that is made anew.
pub async fn a_note_waits_for_its_study(index: Arc<dyn Index>) {
    let log = Log::new(Arc::clone(&index));
    let noted = note(1, of_patient(7, "Сыдыков"), 1);
    index.note(noted).await.unwrap();

    log.add(vec![Sample::new(1, 1, 1).record()]).await;

    assert_eq!(log.search(&named("Сыдыков*")).await.len(), 1);
    assert_eq!(log.search(&named("Асанова*")).await.len(), 0);
}

/// Somebody said that the study is not of the examination after all.
pub async fn a_note_that_is_taken_back_leaves_what_was_received(index: Arc<dyn Index>) {
    let log = Log::new(Arc::clone(&index));
    log.add(vec![Sample::new(1, 1, 1).record()]).await;
    let before = log.search(&named("*")).await;
    for (number, name) in (1..).zip(["Сыдыков", "Другой"]) {
        let noted = note(1, of_patient(7, name), number);
        index.note(noted).await.unwrap();
    }

    index.note(note(1, StudyNote::default(), 3)).await.unwrap();

    assert_eq!(log.search(&named("Асанова*")).await, before);
    assert_eq!(log.search(&named("Другой*")).await.len(), 0);
    assert_eq!(index.noted().await.unwrap(), 3);
}

/// Whose studies are one patient's follows what is noted.
pub async fn notes_make_studies_one_patients(index: Arc<dyn Index>) {
    let log = Log::new(Arc::clone(&index));
    log.add((1..=3).map(|n| Sample::new(n, 1, 1).record()).collect())
        .await;
    let patients = query(
        Level::Patient,
        [(tags::NUMBER_OF_PATIENT_RELATED_STUDIES, Matching::Universal)],
    );
    assert_eq!(log.search(&patients).await.len(), 3);

    let of_studies = [1, 3].map(|n| (study_uid(n), of_patient(7, "Сыдыков")));
    let of_studies = of_studies.into();
    index
        .note(Notes {
            of_studies,
            through: 1,
        })
        .await
        .unwrap();

    let found = log.search(&patients).await;
    let count = found[0]
        .attributes
        .text(tags::NUMBER_OF_PATIENT_RELATED_STUDIES);
    assert_eq!((found.len(), count), (2, Some("2")));
}

/// Everything is noted again then.
pub async fn clearing_forgets_what_was_noted(index: Arc<dyn Index>) {
    let log = Log::new(Arc::clone(&index));
    log.add(vec![Sample::new(1, 1, 1).record()]).await;
    let noted = note(1, of_patient(7, "Сыдыков"), 5);
    index.note(noted).await.unwrap();

    index.clear().await.unwrap();
    log.replay(Default::default()).await;

    assert_eq!(index.noted().await.unwrap(), 0);
    assert_eq!(log.search(&named("Асанова*")).await.len(), 1);
}

/// Of its own and of those who treat the patient; what has just come is seen where it came from.
pub async fn an_organisation_finds_what_it_sees_and_nothing_else(index: Arc<dyn Index>) {
    let log = Log::new(Arc::clone(&index));
    let from = |title: &str| Provenance {
        received_unix_ms: 1,
        calling: title.to_owned(),
        address: None,
    };
    let sample = |n| Sample::new(n, 1, 1).with(tags::PATIENT_ID, "P");
    log.add(vec![
        sample(1).record(),
        sample(2).record(),
        sample(3).record(),
        sample(4).sent_by(from("CT2")).record(),
        sample(5).sent_by(from("STRANGER")).record(),
    ])
    .await;
    for (study, performing) in [(1, "001"), (2, "006")] {
        let known = StudyNote {
            facts: Some(facts(7, performing, None)),
            ..StudyNote::default()
        };
        index.note(note(study, known, study.into())).await.unwrap();
    }

    let all = query(Level::Study, []);
    assert_eq!(log.search(&all).await.len(), 5);
    // 1 by what is noted, 3 by its sender; 2, and 4 by its sender; 5 is of nobody.
    assert_eq!(seen(&index, Some("001"), &all).await, 2);
    assert_eq!(seen(&index, Some("006"), &all).await, 2);
    assert_eq!(seen(&index, Some("011"), &all).await, 0);
    assert_eq!(seen(&index, None, &all).await, 0);
    let quota = Quota::of(MANY).seen_by(&sight(Some("006")));
    for level in [Level::Patient, Level::Study, Level::Series, Level::Instance] {
        let selected = index.select(&query(level, []), &quota).await.unwrap();
        let mut studies: Vec<_> = selected.iter().map(|s| s.instance.study.clone()).collect();
        studies.sort();
        assert_eq!(studies, [study_uid(2), study_uid(4)], "{level:?}");
    }
    let named = [(tags::STUDY_INSTANCE_UID, single(study_uid(1).as_str()))];
    assert_eq!(
        seen(&index, Some("006"), &query(Level::Study, named)).await,
        0
    );
    // Nor is it counted among what there is of the patient.
    let counted = [(tags::NUMBER_OF_PATIENT_RELATED_STUDIES, single("2"))];
    assert_eq!(
        seen(&index, Some("006"), &query(Level::Patient, counted)).await,
        1
    );
    let page = Page {
        count_max: 1,
        ..Page::default()
    };
    let page = index
        .search_page(&all, &page, &quota)
        .await
        .unwrap()
        .unwrap();
    assert!(page.has_more);
    assert_eq!(
        page.matches[0].attributes.text(tags::STUDY_INSTANCE_UID),
        Some(study_uid(4).as_str())
    );
}
