//! Performed procedure steps of consoles that take their work from the list.

use super::*;

/// The attributes of a step of `id` that begins.
fn begun(id: ExaminationId) -> Attributes {
    let texts = |values: &[(Tag, &str)]| {
        let mut attributes = Attributes::new();
        for (tag, text) in values {
            attributes.insert_text(*tag, vr_of(*tag), *text);
        }
        attributes
    };
    let scheduled = texts(&[
        (tags::STUDY_INSTANCE_UID, "2.25.77"),
        (tags::ACCESSION_NUMBER, &id.to_string()),
    ]);
    let mut begun = texts(&[
        (tags::MODALITY, "CT"),
        (tags::PERFORMED_STATION_AE_TITLE, "NATHOS_CT1"),
        (tags::PERFORMED_PROCEDURE_STEP_START_DATE, "20261126"),
        (tags::PERFORMED_PROCEDURE_STEP_START_TIME, "090500"),
        (tags::PERFORMED_PROCEDURE_STEP_STATUS, "IN PROGRESS"),
        (tags::PERFORMED_PROCEDURE_STEP_ID, "1"),
    ]);
    let tag = tags::SCHEDULED_STEP_ATTRIBUTES_SEQUENCE;
    begun.insert(tag, Vr::SQ, Value::Items(vec![scheduled]));
    begun
}

fn ended(status: &str) -> Attributes {
    let mut ended = Attributes::new();
    for (tag, text) in [
        (tags::PERFORMED_PROCEDURE_STEP_STATUS, status),
        (tags::PERFORMED_PROCEDURE_STEP_END_DATE, "20261126"),
        (tags::PERFORMED_PROCEDURE_STEP_END_TIME, "091500"),
    ] {
        ended.insert_text(tag, vr_of(tag), text);
    }
    let mut series = Attributes::new();
    series.insert_text(tags::SERIES_INSTANCE_UID, Vr::UI, "2.25.78");
    series.insert_text(tags::PROTOCOL_NAME, Vr::LO, "chest");
    let tag = tags::PERFORMED_SERIES_SEQUENCE;
    ended.insert(tag, Vr::SQ, Value::Items(vec![series]));
    ended
}

#[tokio::test]
async fn an_examination_follows_the_steps_of_the_devices_of_its_hospital() {
    let centre = Centre::open(None).await;
    let keeps = |keep_until| DeviceProfile {
        keep_until,
        ..DeviceProfile::default()
    };
    for (name, organisation, keep_until) in [
        ("NATHOS_CT1", "006", KeepUntil::Started),
        ("NATHOS_CT2", "006", KeepUntil::Completed),
        ("NATHOS_CT3", "006", KeepUntil::Hours(8)),
        ("KRKL_CT1", "001", KeepUntil::Started),
    ] {
        centre.device(name, organisation, keeps(keep_until)).await;
    }
    let id = centre.order("006", 1, soon()).await[0];
    let encoded = |attributes: &Attributes| write_data_set(attributes, &syntax()).unwrap();
    let step = |text: &str| SopInstanceUid::parse(text).unwrap();

    // Another hospital's device names it: its step is kept, and the examination goes on waiting.
    let mut foreign = centre.associate("KRKL_CT1").await;
    let ninth = step("2.25.9");
    let made = foreign.create_step(Some(&ninth), encoded(&begun(id)).into());
    made.await.unwrap();
    assert_eq!(centre.status(id).await, Status::Scheduled);
    assert_eq!(centre.listed("NATHOS_CT1").await, ["SCHEDULED"]);

    let mut console = centre.associate("NATHOS_CT1").await;
    let made = console.create_step(None, encoded(&begun(id)).into()).await;
    let uid = made.unwrap().sop_instance.unwrap();
    assert_eq!(centre.status(id).await, Status::InProgress);
    assert!(centre.listed("NATHOS_CT1").await.is_empty());
    assert_eq!(centre.listed("NATHOS_CT2").await, ["STARTED"]);

    // It is complete, and its images have not come.
    let told = console.set_step(&uid, encoded(&ended("COMPLETED")).into());
    assert_eq!(told.await.unwrap().status, 0);
    assert_eq!(centre.status(id).await, Status::InProgress);
    assert!(centre.listed("NATHOS_CT2").await.is_empty());
    assert_eq!(centre.listed("NATHOS_CT3").await, ["STARTED"]);
    let again = console.set_step(&uid, encoded(&ended("COMPLETED")).into());
    let again = again.await.unwrap_err().to_string();
    let why = "status 0110H: Performed Procedure Step Object may no longer be updated";
    assert_eq!(again, why);

    // A second step is broken off: what was completed stays so.
    let made = console.create_step(None, encoded(&begun(id)).into()).await;
    let uid = made.unwrap().sop_instance.unwrap();
    let told = console.set_step(&uid, encoded(&ended("DISCONTINUED")).into());
    told.await.unwrap();
    assert_eq!(centre.status(id).await, Status::InProgress);
    let steps = centre.archive.registry().steps_of_examination(id).await;
    assert_eq!(steps.unwrap().len(), 2);
    centre.archive.close().await;
}
