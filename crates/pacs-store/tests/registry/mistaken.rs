//! Images of somebody else, a second time, and of what a person decided before: each of them comes
//! before somebody.

use crate::examinations::{new_for, order, save};
use crate::follower::{Centre, RIGHT, Sent, instance_of, licence, may, sent};
use crate::matching::{correcting, header, judge, kept, person, study};
use crate::rig::{Rig, code, now};
use pacs_core::ExaminationId;
use pacs_core::examination::reconcile::{QueueReason, Rule};
use pacs_core::examination::{Reason, Status};
use pacs_store::records::Kind;
use pacs_store::registry::Stirred;
use pacs_store::registry::examinations::{
    Correcting, KeptImages, MatchState, NewExamination, Reader,
};

const OTHER: &str = "IVANOV^IVAN";

fn nameless<'a>(study: &'a str, number: u32, accession: &'a str) -> Sent<'a> {
    Sent {
        name: "",
        ..sent(study, number, accession)
    }
}

fn named<'a>(study: &'a str, number: u32, name: &'a str) -> Sent<'a> {
    Sent {
        name,
        ..sent(study, number, "")
    }
}

/// What somebody puts right who saw the study.
async fn kept_of(centre: &Centre, studies: &[&str]) -> KeptImages {
    let studies = studies.iter().map(|uid| study(uid));
    let kept = centre.archive.kept_images(&may(), studies).await;
    kept.unwrap()
}

fn why() -> Reason {
    Reason::parse("a reason").unwrap()
}

#[tokio::test]
async fn behind_a_nameless_first_image_another_patient_is_flagged() {
    let centre = Centre::new().await;
    let digits = centre.order().await.id.to_string();
    centre.send(nameless("1.2.3", 1, &digits)).await;
    centre.step().await;
    centre.send(named("1.2.3", 2, RIGHT)).await;
    centre.step().await;
    assert_eq!(centre.waits_for("1.2.3").await, []);
    centre.send(named("1.2.3", 3, OTHER)).await;
    centre.step().await;
    assert_eq!(centre.waits_for("1.2.3").await, [QueueReason::MixedPatient]);
}

#[tokio::test]
async fn a_study_with_more_headers_than_are_remembered_is_flagged() {
    let centre = Centre::new().await;
    let digits = centre.order().await.id.to_string();
    centre.send(nameless("1.2.3", 1, &digits)).await;
    centre.step().await;
    for number in 2..=33 {
        let modality = format!("Z{number}");
        let other = Sent {
            modality: &modality,
            ..nameless("1.2.3", number, "")
        };
        centre.send(other).await;
        if number == 32 {
            centre.step().await;
            assert_eq!(centre.waits_for("1.2.3").await, []);
        }
    }
    centre.step().await;
    assert_eq!(centre.waits_for("1.2.3").await, [QueueReason::MixedPatient]);
}

#[tokio::test]
async fn what_is_sent_again_as_another_patients_study_comes_before_somebody() {
    let centre = Centre::new().await;
    let id = centre.order().await.id;
    let digits = id.to_string();
    centre.send(sent("1.2.3", 1, &digits)).await;
    centre.step().await;
    // The console was told another patient, and keeps the UIDs of the images.
    let uid = instance_of("1.2.3", 1, 1);
    centre.send_as(named("1.2.9", 1, OTHER), &uid).await;
    assert_eq!(centre.step().await.changes_count, 1);
    let twice = QueueReason::DuplicateUidDifferentContent;
    assert_eq!(centre.waits_for("1.2.3").await, [twice]);
    assert_eq!(centre.waits_for("1.2.9").await, [twice]);
    let found = centre.found("1.2.9").await.unwrap();
    assert_eq!(found.organisation, Some(code("006")));
    // Looking again changes nothing.
    let judged = centre.matcher.judge_again(&Stirred::all()).await;
    assert_eq!(judged.unwrap(), 2);
    assert_eq!(centre.waits_for("1.2.9").await, [twice]);
    assert_eq!(centre.found("1.2.3").await.unwrap().examination(), Some(id));
}

#[tokio::test]
async fn one_document_that_cannot_be_read_keeps_no_other_study_from_its_examination() {
    let centre = Centre::new().await;
    let damaged = centre.order().await.id;
    let new = new_for(&centre.rig).await;
    let other = save(&centre.rig.registry, &new, 2).await.unwrap().value.id;
    centre
        .send(nameless("1.2.3", 1, &damaged.to_string()))
        .await;
    centre.step().await;

    let (records, kind) = (&centre.rig.records, Kind::new("examination"));
    let key = damaged.to_string();
    let whole = records.get(kind, &key).await.unwrap().unwrap();
    let torn = b"{".to_vec();
    let torn = records.put(kind, &key, torn, Some(whole.revision)).await;
    centre.send(named("1.2.3", 2, OTHER)).await;
    centre.send(sent("1.2.4", 1, &other.to_string())).await;
    assert_eq!(centre.step().await.changes_count, 2);
    let found = centre.found("1.2.4").await.unwrap();
    assert_eq!(found.examination(), Some(other));
    assert_eq!(centre.step().await.changes_count, 0, "it has gone on");

    // What was passed over is looked at when that can be read.
    let mended = records.put(kind, &key, whole.value, Some(torn.unwrap()));
    mended.await.unwrap();
    assert_eq!(centre.waits_for("1.2.3").await, []);
    let judged = centre.matcher.judge_again(&Stirred::default()).await;
    judged.unwrap();
    assert_eq!(centre.waits_for("1.2.3").await, [QueueReason::MixedPatient]);
}

/// An examination that was made of study 1.2.3, and has study 1.2.4 besides.
async fn made_of_two(rig: &Rig) -> ExaminationId {
    let patient = new_for(rig).await.patient;
    for uid in ["1.2.3", "1.2.4"] {
        judge(rig, header(uid, "006", &[]), "006", true)
            .await
            .unwrap();
    }
    let new = NewExamination {
        patient,
        ordering: code("006"),
        performing: code("006"),
        order: order(),
        is_meant_twice: false,
    };
    let (licence, why) = (person(), why());
    let all = kept(&[("1.2.3", 4), ("1.2.4", 1)]);
    let registry = &rig.registry;
    let how = correcting(&licence, &all, &why, 1);
    let uid = study("1.2.3");
    let made = registry.create_from_study(&how, &uid, &new).await.unwrap();
    let id = made.value.examination().unwrap();
    let how = correcting(&licence, &all, &why, 2);
    registry
        .bind_study(&how, &study("1.2.4"), id)
        .await
        .unwrap();
    id
}

#[tokio::test]
async fn an_examination_is_not_withdrawn_while_a_study_of_it_is_hidden() {
    let rig = Rig::new().await;
    let id = made_of_two(&rig).await;
    let (licence, why) = (person(), why());
    let hidden = kept(&[("1.2.3", 4), ("1.2.4", 0)]);
    let how = correcting(&licence, &hidden, &why, 3);
    let registry = &rig.registry;
    registry
        .undo_correction(&how, &study("1.2.3"))
        .await
        .unwrap();
    let system = pacs_core::role::Agent::system("test");
    let left = registry.examination(&Reader::new(&system), id, now()).await;
    let left = left.unwrap().value;
    assert_eq!(left.status(), Status::Scheduled);
    assert_eq!(left.studies, [study("1.2.4")]);
    // More of that study comes to it.
    judge(&rig, header("1.2.4", "006", &[]), "006", true)
        .await
        .unwrap();
}

#[tokio::test]
async fn images_whose_examination_was_taken_back_are_not_bound_to_it_by_their_uid() {
    let rig = Rig::new().await;
    let id = made_of_two(&rig).await;
    let (licence, why) = (person(), why());
    let all = kept(&[("1.2.3", 4), ("1.2.4", 1)]);
    let how = correcting(&licence, &all, &why, 3);
    let registry = &rig.registry;
    let back = registry.undo_correction(&how, &study("1.2.3")).await;
    assert_eq!(back.unwrap().value.not_of, [id]);
    let (_, again) = judge(&rig, header("1.2.3", "006", &[]), "006", true)
        .await
        .unwrap();
    assert_eq!(again.value.examination(), None);
    assert_eq!(again.value.waits_for(), [QueueReason::NoId]);
}

#[tokio::test]
async fn what_was_seen_since_a_correction_is_in_question_after_it_was_taken_back() {
    let centre = Centre::new().await;
    let id = centre.order().await.id;
    let (national, why) = (licence(), why());
    let registry = &centre.rig.registry;
    centre.send(nameless("1.2.3", 1, "")).await;
    centre.step().await;
    let kept = kept_of(&centre, &["1.2.3"]).await;
    let how = |random| correcting(&national, &kept, &why, random);
    let uid = study("1.2.3");
    registry.bind_study(&how(1), &uid, id).await.unwrap();
    // Another content under the same UID.
    let other = Sent {
        born: "19810203",
        ..nameless("1.2.3", 1, "")
    };
    centre.send(other).await;
    centre.step().await;
    let twice = QueueReason::DuplicateUidDifferentContent;
    assert_eq!(centre.waits_for("1.2.3").await, [twice]);
    registry.undo_correction(&how(2), &uid).await.unwrap();
    assert_eq!(centre.waits_for("1.2.3").await, [twice]);
    // No rule takes it for settled.
    centre.send(nameless("1.2.3", 2, &id.to_string())).await;
    centre.step().await;
    assert_eq!(centre.found("1.2.3").await.unwrap().examination(), None);
}

#[tokio::test]
async fn images_of_a_patient_in_a_rejected_study_come_before_somebody() {
    let centre = Centre::new().await;
    let id = centre.order().await.id;
    let digits = id.to_string();
    centre.send(named("1.2.3", 1, "TEST^PHANTOM")).await;
    centre.step().await;
    let (national, why) = (licence(), why());
    let kept = kept_of(&centre, &["1.2.3"]).await;
    let how: Correcting<'_> = correcting(&national, &kept, &why, 1);
    let registry = &centre.rig.registry;
    registry.reject_study(&how, &study("1.2.3")).await.unwrap();
    centre.send(named("1.2.3", 2, "TEST^PHANTOM")).await;
    centre.step().await;
    assert_eq!(centre.state("1.2.3").await, Some(MatchState::Rejected));
    centre.send(sent("1.2.3", 3, &digits)).await;
    centre.step().await;
    assert_eq!(centre.waits_for("1.2.3").await, [QueueReason::MixedPatient]);

    // Where the first of them name nobody, the examination is suggested, and no more.
    centre.send(nameless("1.2.4", 1, "")).await;
    centre.step().await;
    let kept = kept_of(&centre, &["1.2.4"]).await;
    let how = correcting(&national, &kept, &why, 2);
    registry.reject_study(&how, &study("1.2.4")).await.unwrap();
    centre.send(sent("1.2.4", 2, &digits)).await;
    centre.step().await;
    let Some(MatchState::Queued { suggestions, .. }) = centre.state("1.2.4").await else {
        panic!("it waits");
    };
    let suggested: Vec<_> = suggestions
        .iter()
        .map(|one| (one.examination, one.rule))
        .collect();
    assert_eq!(suggested, [(id, Rule::AccessionNumber)]);
}
