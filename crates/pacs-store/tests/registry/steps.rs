//! Performed procedure steps.

use crate::examinations::{new_for, save};
use crate::rig::{Rig, code, now};
use pacs_core::examination::Status;
use pacs_core::mpps::{ProcedureStep, StepState};
use pacs_core::role::{Agent, Licence, duty::ImageStore};
use pacs_core::tag::{Tag, Vr, tags, vr_of};
use pacs_core::{AeTitle, Attributes, ExaminationId, SopInstanceUid, StudyUid, Value};
use pacs_store::records::Kind;
use pacs_store::registry::examinations::{KeptImages, Reader};
use pacs_store::registry::steps::PerformedStep;
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
    begun_as(id, "2.25.77", "CT", "Жээнбеков^Үсөн")
}

/// A step that begins for an examination, in this study, of this kind and patient.
pub(crate) fn begun_as(id: &str, study: &str, modality: &str, name: &str) -> ProcedureStep {
    let scheduled = texts(&[
        (tags::STUDY_INSTANCE_UID, study),
        (tags::ACCESSION_NUMBER, id),
    ]);
    let mut attributes = texts(&[
        (tags::MODALITY, modality),
        (tags::PATIENT_NAME, name),
        (tags::PERFORMED_STATION_AE_TITLE, "NATHOS_CT1"),
        (tags::PERFORMED_PROCEDURE_STEP_START_DATE, "20261126"),
        (tags::PERFORMED_PROCEDURE_STEP_START_TIME, "090500"),
        (tags::PERFORMED_PROCEDURE_STEP_STATUS, "IN PROGRESS"),
        (tags::PERFORMED_PROCEDURE_STEP_ID, "1"),
    ]);
    let tag = tags::SCHEDULED_STEP_ATTRIBUTES_SEQUENCE;
    attributes.insert(tag, Vr::SQ, Value::Items(vec![scheduled]));
    // Bytes that did not follow their character set, and an attribute that PS3.6 does not name.
    let location = Value::Suspect("К\u{fffd}б".into());
    attributes.insert(tags::PERFORMED_LOCATION, Vr::SH, location);
    attributes.insert_text(Tag(0x0009, 0x1001), Vr::LO, "private");
    ProcedureStep::create(attributes).unwrap()
}

fn ended(step: &ProcedureStep, status: &str) -> ProcedureStep {
    ended_with(step, status, None, &[])
}

/// How a step ends: with a reason of CID 9301, and with these images of series 2.25.78.
pub(crate) fn ended_with(
    step: &ProcedureStep,
    status: &str,
    reason: Option<&str>,
    images: &[String],
) -> ProcedureStep {
    let mut end = texts(&[
        (tags::PERFORMED_PROCEDURE_STEP_STATUS, status),
        (tags::PERFORMED_PROCEDURE_STEP_END_DATE, "20261126"),
        (tags::PERFORMED_PROCEDURE_STEP_END_TIME, "091500"),
    ]);
    let mut series = texts(&[
        (tags::SERIES_INSTANCE_UID, "2.25.78"),
        (tags::PROTOCOL_NAME, "chest"),
    ]);
    let ct = "1.2.840.10008.5.1.4.1.1.2";
    let image = |uid: &String| {
        texts(&[
            (tags::REFERENCED_SOP_CLASS_UID, ct),
            (tags::REFERENCED_SOP_INSTANCE_UID, uid),
        ])
    };
    let images = Value::Items(images.iter().map(image).collect());
    series.insert(tags::REFERENCED_IMAGE_SEQUENCE, Vr::SQ, images);
    let tag = tags::PERFORMED_SERIES_SEQUENCE;
    end.insert(tag, Vr::SQ, Value::Items(vec![series]));
    if let Some(code) = reason {
        let code = texts(&[
            (tags::CODE_VALUE, code),
            (tags::CODING_SCHEME_DESIGNATOR, "DCM"),
        ]);
        let tag = tags::PERFORMED_PROCEDURE_STEP_DISCONTINUATION_REASON_CODE_SEQUENCE;
        end.insert(tag, Vr::SQ, Value::Items(vec![code]));
    }
    step.set(&end).unwrap().0
}

fn step(uid: &str, organisation: &str) -> PerformedStep {
    step_of(uid, organisation, ID)
}

pub(crate) fn step_of(uid: &str, organisation: &str, id: &str) -> PerformedStep {
    PerformedStep {
        sop_instance: SopInstanceUid::parse(uid).unwrap(),
        organisation: code(organisation),
        ae_title: AeTitle::parse("NATHOS_CT1").unwrap(),
        begun_at: now(),
        changed_at: now(),
        step: begun(id),
    }
}

pub(crate) fn device(organisation: &str) -> Licence<ImageStore> {
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
            .change_step(&licence, &kept, &next, (&KeptImages::new(), [1; 16]))
            .await
            .unwrap();
        let late = registry
            .change_step(&licence, &kept, &next, (&KeptImages::new(), [1; 16]))
            .await;
        assert!(matches!(late, Err(RegistryError::Changed)), "{late:?}");

        let study = StudyUid::parse("2.25.77").unwrap();
        let examination = ExaminationId::parse(ID).unwrap();
        for found in [
            registry.steps_of_study(code("006"), &study).await.unwrap(),
            registry.steps_of_examination(examination).await.unwrap(),
        ] {
            let found: Vec<_> = found.into_iter().map(|stored| stored.value).collect();
            assert_eq!(found, std::slice::from_ref(&next));
        }
        let other = StudyUid::parse("2.25.7").unwrap();
        assert!(
            registry
                .steps_of_study(code("006"), &other)
                .await
                .unwrap()
                .is_empty()
        );
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
        .change_step(&elsewhere, &kept, &first, (&KeptImages::new(), [1; 16]))
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
async fn end(rig: &Rig, uid: &str, status: &str) {
    let (registry, licence) = (&rig.registry, device("006"));
    let uid = SopInstanceUid::parse(uid).unwrap();
    let kept = registry.step(&licence, &uid).await.unwrap();
    let next = PerformedStep {
        step: ended(&kept.value.step, status),
        ..kept.value.clone()
    };
    let images = KeptImages::new();
    let changed = registry.change_step(&licence, &kept, &next, (&images, [1; 16]));
    changed.await.unwrap();
}

/// Begins a step of organisation 006.
async fn begin(rig: &Rig, uid: &str, step: ProcedureStep) {
    let step = PerformedStep {
        step,
        ..step_of(uid, "006", ID)
    };
    let begun = rig.registry.begin_step(&device("006"), &step).await;
    begun.unwrap();
}

#[tokio::test]
async fn an_examination_is_broken_off_with_all_its_steps_and_another_hospitals_is_not() {
    let rig = Rig::new().await;
    let new = new_for(&rig).await;
    let id = save(&rig.registry, &new, 1).await.unwrap().value.id;
    let text = id.to_string();

    let foreign = step_of("2.25.9", "001", &text);
    let elsewhere = device("001");
    let begun_elsewhere = rig.registry.begin_step(&elsewhere, &foreign);
    begun_elsewhere.await.unwrap();
    assert_eq!(status(&rig, id).await, Status::Scheduled);

    begin(&rig, "2.25.1", begun(&text)).await;
    begin(&rig, "2.25.2", begun(&text)).await;
    end(&rig, "2.25.1", "DISCONTINUED").await;
    // Another step goes on.
    assert_eq!(status(&rig, id).await, Status::InProgress);
    end(&rig, "2.25.2", "DISCONTINUED").await;
    assert_eq!(status(&rig, id).await, Status::Discontinued);
    // The device goes on after all.
    begin(&rig, "2.25.3", begun(&text)).await;
    assert_eq!(status(&rig, id).await, Status::InProgress);
    let named = rig.registry.steps_of_examination(id).await.unwrap();
    assert_eq!(named.len(), 3);
}

#[tokio::test]
async fn what_was_completed_is_not_broken_off_by_what_follows_it() {
    let rig = Rig::new().await;
    let new = new_for(&rig).await;
    let id = save(&rig.registry, &new, 1).await.unwrap().value.id;
    let text = id.to_string();
    for (uid, state) in [("2.25.1", "COMPLETED"), ("2.25.2", "DISCONTINUED")] {
        begin(&rig, uid, begun(&text)).await;
        end(&rig, uid, state).await;
        assert_eq!(status(&rig, id).await, Status::InProgress, "{state}");
    }
}

#[tokio::test]
async fn a_step_of_another_patient_or_kind_moves_no_examination() {
    let rig = Rig::new().await;
    let new = new_for(&rig).await;
    let id = save(&rig.registry, &new, 1).await.unwrap().value.id;
    let text = id.to_string();
    let other_kind = begun_as(&text, "2.25.77", "MR", "Жээнбеков^Үсөн");
    begin(&rig, "2.25.1", other_kind).await;
    let other_patient = begun_as(&text, "2.25.77", "CT", "IVANOVA^ANNA");
    begin(&rig, "2.25.2", other_patient).await;
    assert_eq!(status(&rig, id).await, Status::Scheduled);
    begin(&rig, "2.25.3", begun(&text)).await;
    assert_eq!(status(&rig, id).await, Status::InProgress);
    // All are kept.
    let named = rig.registry.steps_of_examination(id).await.unwrap();
    assert_eq!(named.len(), 3);
}

#[tokio::test]
async fn however_many_steps_others_tell_of_none_of_the_own_is_hidden() {
    let rig = Rig::new().await;
    let new = new_for(&rig).await;
    let id = save(&rig.registry, &new, 1).await.unwrap().value.id;
    let text = id.to_string();
    for number in 0..70 {
        let foreign = step_of(&format!("2.25.1{number:03}"), "001", &text);
        let told = rig.registry.begin_step(&device("001"), &foreign).await;
        told.unwrap();
    }
    begin(&rig, "2.25.9", begun(&text)).await;
    let named = rig.registry.steps_of_examination(id).await.unwrap();
    assert_eq!(named.len(), 1);
    let study = StudyUid::parse("2.25.77").unwrap();
    let of_study = rig.registry.steps_of_study(code("006"), &study).await;
    assert_eq!(of_study.unwrap().len(), 1);
}

pub(crate) async fn status(rig: &Rig, id: ExaminationId) -> Status {
    let system = Agent::system("test");
    let reader = Reader::new(&system);
    let found = rig.registry.examination(&reader, id, now()).await;
    found.unwrap().value.status()
}
