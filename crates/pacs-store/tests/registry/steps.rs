//! Performed procedure steps.

use crate::examinations::{new_for, save};
use crate::rig::{Rig, code, now};
use pacs_core::examination::Status;
use pacs_core::mpps::{ProcedureStep, StepState};
use pacs_core::role::{Agent, Licence, duty::ImageStore};
use pacs_core::tag::{Tag, Vr, tags, vr_of};
use pacs_core::{AeTitle, Attributes, ExaminationId, SopInstanceUid, StudyUid, Value};
use pacs_store::records::Kind;
use pacs_store::registry::examinations::Reader;
use pacs_store::registry::steps::{Arrived, PerformedStep};
use pacs_store::registry::{Refusal, RegistryError};

const ID: &str = "250060004329";

fn texts(values: &[(Tag, &str)]) -> Attributes {
    let mut attributes = Attributes::new();
    for (tag, text) in values {
        attributes.insert_text(*tag, vr_of(*tag), *text);
    }
    attributes
}

fn begun(id: &str) -> ProcedureStep {
    let scheduled = texts(&[
        (tags::STUDY_INSTANCE_UID, "2.25.77"),
        (tags::ACCESSION_NUMBER, id),
    ]);
    let mut attributes = texts(&[
        (tags::MODALITY, "CT"),
        (tags::PATIENT_NAME, "Жээнбеков^Үсөн"),
        (tags::PERFORMED_STATION_AE_TITLE, "NATHOS_CT1"),
        (tags::PERFORMED_PROCEDURE_STEP_START_DATE, "20261126"),
        (tags::PERFORMED_PROCEDURE_STEP_START_TIME, "090500"),
        (tags::PERFORMED_PROCEDURE_STEP_STATUS, "IN PROGRESS"),
        (tags::PERFORMED_PROCEDURE_STEP_ID, "1"),
    ]);
    let tag = tags::SCHEDULED_STEP_ATTRIBUTES_SEQUENCE;
    attributes.insert(tag, Vr::SQ, Value::Items(vec![scheduled]));
    // Bytes that did not follow their character set, and an attribute that PS3.6 does not name.
    let location = Value::Suspect("К\u{fffd}б".to_owned());
    attributes.insert(tags::PERFORMED_LOCATION, Vr::SH, location);
    attributes.insert_text(Tag(0x0009, 0x1001), Vr::LO, "private");
    ProcedureStep::create(attributes).unwrap()
}

fn ended(step: &ProcedureStep, status: &str) -> ProcedureStep {
    let mut end = texts(&[
        (tags::PERFORMED_PROCEDURE_STEP_STATUS, status),
        (tags::PERFORMED_PROCEDURE_STEP_END_DATE, "20261126"),
        (tags::PERFORMED_PROCEDURE_STEP_END_TIME, "091500"),
    ]);
    let series = texts(&[
        (tags::SERIES_INSTANCE_UID, "2.25.78"),
        (tags::PROTOCOL_NAME, "chest"),
    ]);
    let tag = tags::PERFORMED_SERIES_SEQUENCE;
    end.insert(tag, Vr::SQ, Value::Items(vec![series]));
    step.set(&end).unwrap().0
}

fn step(uid: &str, organisation: &str) -> PerformedStep {
    step_of(uid, organisation, ID)
}

fn step_of(uid: &str, organisation: &str, id: &str) -> PerformedStep {
    PerformedStep {
        sop_instance: SopInstanceUid::parse(uid).unwrap(),
        organisation: code(organisation),
        ae_title: AeTitle::parse("NATHOS_CT1").unwrap(),
        begun_at: now(),
        changed_at: now(),
        step: begun(id),
    }
}

fn device(organisation: &str) -> Licence<ImageStore> {
    let title = AeTitle::parse("NATHOS_CT1").unwrap();
    Agent::device(&title, code(organisation))
        .licence(code(organisation))
        .unwrap()
}

#[tokio::test]
async fn a_step_is_kept_changed_and_found_by_what_it_names() {
    for rig in [Rig::new().await, Rig::on_disk().await] {
        let (registry, licence) = (&rig.registry, device("006"));
        let first = step("2.25.1", "006");
        registry.begin_step(&licence, &first).await.unwrap();
        let kept = registry.step(&licence, &first.sop_instance).await.unwrap();
        assert_eq!(kept.value, first);

        let told = texts(&[
            (tags::PERFORMED_PROCEDURE_STEP_END_DATE, "20261126"),
            (tags::PERFORMED_PROCEDURE_STEP_DESCRIPTION, "chest"),
        ]);
        let (next, _) = kept.value.step.set(&told).unwrap();
        let next = PerformedStep {
            step: next,
            ..kept.value.clone()
        };
        registry
            .change_step(&licence, &kept, &next, Arrived::default())
            .await
            .unwrap();
        let late = registry
            .change_step(&licence, &kept, &next, Arrived::default())
            .await;
        assert!(matches!(late, Err(RegistryError::Changed)), "{late:?}");

        let study = StudyUid::parse("2.25.77").unwrap();
        let examination = ExaminationId::parse(ID).unwrap();
        for found in [
            registry.steps_of_study(&study).await.unwrap(),
            registry.steps_of_examination(examination).await.unwrap(),
        ] {
            let found: Vec<_> = found.into_iter().map(|stored| stored.value).collect();
            assert_eq!(found, std::slice::from_ref(&next));
        }
        let other = StudyUid::parse("2.25.7").unwrap();
        assert!(registry.steps_of_study(&other).await.unwrap().is_empty());
        assert_eq!(next.step.state(), StepState::InProgress);
    }
}

#[tokio::test]
async fn a_step_is_no_other_organisations_and_there_is_one_of_a_uid() {
    let rig = Rig::new().await;
    let (registry, licence) = (&rig.registry, device("006"));
    let first = step("2.25.1", "006");
    registry.begin_step(&licence, &first).await.unwrap();

    let elsewhere = device("001");
    let uid = &first.sop_instance;
    let unseen = registry.step(&elsewhere, uid).await;
    assert!(
        matches!(unseen, Err(RegistryError::NotFound { .. })),
        "{unseen:?}"
    );
    let kept = registry.step(&licence, uid).await.unwrap();
    let taken = registry
        .change_step(&elsewhere, &kept, &first, Arrived::default())
        .await;
    assert!(matches!(taken, Err(RegistryError::Unlicensed(_))));
    let foreign = registry.begin_step(&elsewhere, &first).await;
    assert!(matches!(foreign, Err(RegistryError::Unlicensed(_))));
    for again in [
        registry.begin_step(&licence, &first).await,
        registry
            .begin_step(&elsewhere, &step("2.25.1", "001"))
            .await,
    ] {
        assert!(
            matches!(
                again,
                Err(RegistryError::Refused(Refusal::Taken { what: "UID" }))
            ),
            "{again:?}"
        );
    }
}

#[tokio::test]
async fn a_backup_of_a_step_is_readable_and_a_damaged_one_is_told() {
    let rig = Rig::new().await;
    let (registry, licence) = (&rig.registry, device("006"));
    let first = step("2.25.1", "006");
    registry.begin_step(&licence, &first).await.unwrap();
    let kind = Kind::new("step");

    let record = rig.records.get(kind, "2.25.1").await.unwrap().unwrap();
    let document: serde_json::Value = serde_json::from_slice(&record.value).unwrap();
    assert_eq!(document["version"], 1);
    assert_eq!(document["step"]["00400252"], "IN PROGRESS");
    assert_eq!(document["step"]["00400270"][0]["00080050"], ID);

    let text = String::from_utf8(record.value).unwrap();
    for (part, damage) in [
        ("IN PROGRESS", "UNDERWAY"),
        ("00400252", "0040"),
        ("\"version\":1", "\"version\":2"),
    ] {
        let damaged = text.replace(part, damage).into_bytes();
        let current = rig.records.get(kind, "2.25.1").await.unwrap().unwrap();
        let put = rig
            .records
            .put(kind, "2.25.1", damaged, Some(current.revision));
        put.await.unwrap();
        let read = registry.step(&licence, &first.sop_instance).await;
        assert!(
            matches!(read, Err(RegistryError::Damaged { .. })),
            "{damage}: {read:?}"
        );
    }
}

/// Ends a step that was begun.
async fn end(rig: &Rig, uid: &str, status: &str, arrived: Arrived) {
    let (registry, licence) = (&rig.registry, device("006"));
    let uid = SopInstanceUid::parse(uid).unwrap();
    let kept = registry.step(&licence, &uid).await.unwrap();
    let next = PerformedStep {
        step: ended(&kept.value.step, status),
        ..kept.value.clone()
    };
    let changed = registry.change_step(&licence, &kept, &next, arrived);
    changed.await.unwrap();
}

#[tokio::test]
async fn an_examination_is_complete_with_its_last_step_and_all_its_images() {
    let all = Arrived {
        missing_count: 0,
        kept_count: 3,
    };
    let some = Arrived {
        missing_count: 1,
        kept_count: 2,
    };
    let rig = Rig::new().await;
    let new = new_for(&rig).await;
    let (licence, elsewhere) = (device("006"), device("001"));
    for (number, arrived, expected) in [
        (1, all, Status::ImagesReceived),
        (2, some, Status::InProgress),
        (3, Arrived::default(), Status::InProgress),
    ] {
        let id = save(&rig.registry, &new, number).await.unwrap().value.id;
        let text = id.to_string();
        // What another hospital's device says of it is nothing to it.
        let foreign = step_of(&format!("2.25.9.{number}"), "001", &text);
        let begun = rig.registry.begin_step(&elsewhere, &foreign);
        begun.await.unwrap();
        let uids = [1, 2].map(|step| format!("2.25.{number}.{step}"));
        for uid in &uids {
            let begun = step_of(uid, "006", &text);
            rig.registry.begin_step(&licence, &begun).await.unwrap();
        }
        assert_eq!(status(&rig, id).await, Status::InProgress);
        end(&rig, &uids[0], "COMPLETED", all).await;
        // Another step goes on.
        assert_eq!(status(&rig, id).await, Status::InProgress);
        end(&rig, &uids[1], "COMPLETED", arrived).await;
        assert_eq!(status(&rig, id).await, expected, "{arrived:?}");
    }
}

#[tokio::test]
async fn an_examination_is_broken_off_with_its_step_and_another_hospitals_is_not() {
    let rig = Rig::new().await;
    let new = new_for(&rig).await;
    let id = save(&rig.registry, &new, 1).await.unwrap().value.id;
    let text = id.to_string();

    let foreign = step_of("2.25.9", "001", &text);
    let (elsewhere, here) = (device("001"), device("006"));
    let begun = rig.registry.begin_step(&elsewhere, &foreign);
    begun.await.unwrap();
    assert_eq!(status(&rig, id).await, Status::Scheduled);

    let own = step_of("2.25.1", "006", &text);
    let begun = rig.registry.begin_step(&here, &own);
    begun.await.unwrap();
    let second = step_of("2.25.2", "006", &text);
    rig.registry.begin_step(&here, &second).await.unwrap();
    end(&rig, "2.25.1", "DISCONTINUED", Arrived::default()).await;
    // Another step goes on.
    assert_eq!(status(&rig, id).await, Status::InProgress);
    end(&rig, "2.25.2", "DISCONTINUED", Arrived::default()).await;
    assert_eq!(status(&rig, id).await, Status::Discontinued);
    let named = rig.registry.steps_of_examination(id).await.unwrap();
    assert_eq!(named.len(), 3);
}

async fn status(rig: &Rig, id: ExaminationId) -> Status {
    let system = Agent::system("test");
    let reader = Reader::new(&system);
    let found = rig.registry.examination(&reader, id, now()).await;
    found.unwrap().value.status()
}
