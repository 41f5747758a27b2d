//! Notes of devices that say what is to be rejected: proposals.

use crate::archived::{deposit, may};
use crate::examinations::reason;
use crate::rejections::{STUDY, instance, rig_with_images, told, visible};
use crate::rig::{code, now, user};
use chrono::Offset as _;
use pacs_core::Vr;
use pacs_core::attributes::{Attributes, Value};
use pacs_core::audit::{Act, Outcome};
use pacs_core::encode::write_data_set;
use pacs_core::rejection::{Asked, SOP_CLASS, Title};
use pacs_core::role::Role;
use pacs_core::tag::tags;
use pacs_core::uid::TransferSyntaxUid;
use pacs_store::limits::MatcherLimits;
use pacs_store::registry::rejections::NoteState;
use pacs_store::registry::{Refusal, RegistryError};
use pacs_store::rejection_notes::NoteFollower;

fn code_of(value: &str) -> Value {
    let mut item = Attributes::default();
    item.insert_text(tags::CODE_VALUE, Vr::SH, value);
    item.insert_text(tags::CODING_SCHEME_DESIGNATOR, Vr::SH, "DCM");
    Value::Items(vec![item])
}

/// A Key Object Selection with a title, of the first instance of the study.
fn key_objects(title: &str, uid: &str) -> Vec<u8> {
    let mut of_instance = Attributes::default();
    of_instance.insert_text(tags::REFERENCED_SOP_INSTANCE_UID, Vr::UI, "1.2.3.1.1");
    let mut of_series = Attributes::default();
    of_series.insert_text(tags::SERIES_INSTANCE_UID, Vr::UI, "1.2.3.1");
    let named = Value::Items(vec![of_instance]);
    of_series.insert(tags::REFERENCED_SOP_SEQUENCE, Vr::SQ, named);
    let mut of_study = Attributes::default();
    of_study.insert_text(tags::STUDY_INSTANCE_UID, Vr::UI, STUDY);
    let named = Value::Items(vec![of_series]);
    of_study.insert(tags::REFERENCED_SERIES_SEQUENCE, Vr::SQ, named);
    let mut document = Attributes::default();
    document.insert_text(tags::SOP_CLASS_UID, Vr::UI, SOP_CLASS);
    document.insert_text(tags::SOP_INSTANCE_UID, Vr::UI, uid);
    document.insert_text(tags::MODALITY, Vr::CS, "KO");
    document.insert_text(tags::STUDY_INSTANCE_UID, Vr::UI, STUDY);
    document.insert_text(tags::SERIES_INSTANCE_UID, Vr::UI, "1.2.3.7");
    document.insert(tags::CONCEPT_NAME_CODE_SEQUENCE, Vr::SQ, code_of(title));
    let evidence = tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE;
    document.insert(evidence, Vr::SQ, Value::Items(vec![of_study]));
    let syntax = TransferSyntaxUid::parse("1.2.840.10008.1.2.1").unwrap();
    write_data_set(&document, &syntax).unwrap()
}

#[tokio::test]
async fn a_note_of_a_device_is_a_proposal_and_rejects_nothing() {
    let (rig, archive, _folder, _id) = rig_with_images().await;
    let permits = (may(), may(), may());
    let limits = MatcherLimits::default();
    let follower = NoteFollower::new(&archive, permits, now().offset().fix(), limits);
    let mut cursor = follower.cursor().await.unwrap();
    for (title, uid) in [("113001", "1.2.3.7.1"), ("113000", "1.2.3.7.2")] {
        let bytes = key_objects(title, uid);
        let receipt = deposit(&archive, "NATHOS_CT1", (SOP_CLASS, uid), bytes).await;
        assert_eq!(receipt.unwrap().outcome, pacs_store::Outcome::New);
    }
    assert_eq!(follower.step(&mut cursor).await.unwrap(), Some(1));
    assert_eq!(follower.step(&mut cursor).await.unwrap(), None);

    assert_eq!(
        visible(&archive).await.1,
        "5",
        "three images, two documents"
    );
    let ignored = (Act::ImagesRejected, Outcome::MinorFailure, "IGNORED".into());
    assert_eq!(told(&rig, 1).await, [ignored]);
    let radiographer = user("rg", Role::Radiographer, "006");
    let listed = rig
        .registry
        .waiting_notes(&radiographer, Some(code("006")), None, 9, now())
        .await
        .unwrap();
    let [note] = listed.notes.as_slice() else {
        panic!("{listed:?}");
    };
    assert_eq!(note.value.asked, Asked::Reject(Title::Quality));
    assert_eq!(note.value.sender, "NATHOS_CT1");
    assert_eq!(note.value.rejected[0].instances, [instance(1)]);
    let elsewhere = user("rg", Role::Radiographer, "001");
    let hidden = rig.registry.note(&elsewhere, &note.value.instance).await;
    assert!(matches!(hidden, Err(RegistryError::NotFound { .. })));

    // It is judged again after a crash, and stands once.
    cursor
        .advance(pacs_store::index::ChangeNumber(0))
        .await
        .unwrap();
    assert_eq!(follower.step(&mut cursor).await.unwrap(), Some(0));

    let dismissed = rig
        .registry
        .dismiss_note(
            &radiographer,
            (&note.value.instance, Some(note.revision)),
            reason(),
            now(),
        )
        .await
        .unwrap();
    assert!(matches!(dismissed.value.state, NoteState::Dismissed(_)));
    let listed = rig
        .registry
        .waiting_notes(&radiographer, Some(code("006")), None, 9, now())
        .await;
    assert_eq!(listed.unwrap().notes, []);
    assert_eq!(visible(&archive).await.1, "5");

    // Somebody thinks better of it: it waits again, once.
    let at = (&note.value.instance, Some(dismissed.revision));
    let reopened = rig.registry.reopen_note(&radiographer, at, now()).await;
    assert_eq!(reopened.unwrap().value.state, NoteState::Waiting);
    let at = (&note.value.instance, None);
    let again = rig.registry.reopen_note(&radiographer, at, now()).await;
    let is_late = matches!(again, Err(RegistryError::Refused(Refusal::TooLate)));
    assert!(is_late, "{again:?}");
    let listed = rig
        .registry
        .waiting_notes(&radiographer, Some(code("006")), None, 9, now())
        .await;
    assert_eq!(listed.unwrap().notes.len(), 1);
}
