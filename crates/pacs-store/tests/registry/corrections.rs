//! What people put right of whose images are whose, and take back again.

use crate::examinations::{new_for, order, reason, save};
use crate::matching::{correcting, header, judge, kept, matcher, person, study, waiting};
use crate::rig::{Rig, code, now, user};
use pacs_core::ExaminationId;
use pacs_core::audit::Act;
use pacs_core::examination::Status;
use pacs_core::examination::reconcile::QueueReason;
use pacs_core::role::{Agent, AgentKind, Grant, Grants, Reach, Role};
use pacs_core::tag::tags;
use pacs_core::uid::SeriesUid;
use pacs_store::registry::examinations::{
    CorrectionKind, Examination, KeptImages, MatchState, NewExamination, Reader, StudyMatch,
};
use pacs_store::registry::{Refusal, RegistryError};
use std::collections::{BTreeMap, BTreeSet};

async fn read(rig: &Rig, id: ExaminationId) -> Examination {
    let system = Agent::system("test");
    let reader = Reader::new(&system);
    let found = rig.registry.examination(&reader, id, now()).await;
    found.unwrap().value
}

async fn found(rig: &Rig, uid: &str) -> StudyMatch {
    let found = rig.registry.study_match(&matcher(), &study(uid)).await;
    found.unwrap().value
}

/// A study that names an examination, or none, and came.
async fn came(rig: &Rig, uid: &str, id: Option<ExaminationId>) {
    let digits = id.map(|id| id.to_string()).unwrap_or_default();
    let named = header(uid, "006", &[(tags::ACCESSION_NUMBER, &digits)]);
    judge(rig, named, "006", true).await.unwrap();
}

pub(crate) fn series(text: &str) -> SeriesUid {
    SeriesUid::parse(text).unwrap()
}

/// Two series of a study, with three images and two.
fn two_series(uid: &str) -> KeptImages {
    let mut kept = KeptImages::new();
    let first = (series(&format!("{uid}.1")), 3);
    let second = (series(&format!("{uid}.2")), 2);
    kept.insert(study(uid), BTreeMap::from([first, second]));
    kept
}

#[tokio::test]
async fn series_of_a_study_go_to_another_examination_and_come_back() {
    for rig in [Rig::new().await, Rig::on_disk().await] {
        let new = new_for(&rig).await;
        let here = save(&rig.registry, &new, 1).await.unwrap().value.id;
        let there = save(&rig.registry, &new, 2).await.unwrap().value.id;
        came(&rig, "1.2.3", Some(here)).await;
        let (licence, why) = (person(), reason());
        let kept = two_series("1.2.3");
        let how = |random| correcting(&licence, &kept, &why, random);
        let second = BTreeSet::from([series("1.2.3.2")]);
        let registry = &rig.registry;
        let uid = study("1.2.3");

        for wrong in [
            BTreeSet::new(),
            BTreeSet::from([series("1.2.3.1"), series("1.2.3.2")]),
            BTreeSet::from([series("1.2.3.9")]),
        ] {
            let refused = registry.split_study(&how(1), &uid, &wrong, there).await;
            let unfit = Refusal::Unfit { what: "series" };
            assert!(matches!(refused, Err(RegistryError::Refused(why)) if why == unfit));
        }
        let split = registry.split_study(&how(1), &uid, &second, there).await;
        let split = split.unwrap().value;
        assert_eq!(split.examination(), Some(here));
        assert_eq!(split.examination_of(&series("1.2.3.1")), Some(here));
        assert_eq!(split.examination_of(&series("1.2.3.2")), Some(there));
        for id in [here, there] {
            let of_it = read(&rig, id).await;
            assert_eq!(of_it.studies, std::slice::from_ref(&uid));
            assert_eq!(of_it.status(), Status::InProgress);
        }
        // What comes of a series goes where the series went.
        let other = header(
            "1.2.3",
            "006",
            &[(tags::ACCESSION_NUMBER, &here.to_string())],
        );
        judge(&rig, other, "006", true).await.unwrap();
        assert_eq!(found(&rig, "1.2.3").await.parts, split.parts);

        let back = registry.undo_correction(&how(2), &uid).await.unwrap().value;
        assert_eq!(back.parts, []);
        assert_eq!(back.examination_of(&series("1.2.3.2")), Some(here));
        let emptied = read(&rig, there).await;
        assert_eq!(
            (emptied.status(), emptied.studies),
            (Status::Scheduled, vec![])
        );
        let corrections = registry.corrections_of(&licence, &uid).await.unwrap();
        assert_eq!(corrections[0].kind, CorrectionKind::Split);
        assert_eq!(corrections[0].undone.as_ref().unwrap().by, "op");
        let again = registry.undo_correction(&how(3), &uid).await;
        assert!(matches!(again, Err(RegistryError::NotFound { .. })));
    }
}

#[tokio::test]
async fn studies_of_two_examinations_become_one_examinations_and_are_parted_again() {
    let rig = Rig::new().await;
    let new = new_for(&rig).await;
    let mut ids = Vec::new();
    for number in 1..=2 {
        ids.push(save(&rig.registry, &new, number).await.unwrap().value.id);
    }
    came(&rig, "1.2.3", Some(ids[0])).await;
    came(&rig, "1.2.4", Some(ids[1])).await;
    came(&rig, "1.2.5", None).await;
    let (licence, why) = (person(), reason());
    let kept = kept(&[("1.2.3", 1), ("1.2.4", 1), ("1.2.5", 1)]);
    let how = |random| correcting(&licence, &kept, &why, random);
    let all = [study("1.2.4"), study("1.2.3"), study("1.2.5")];
    let registry = &rig.registry;
    let alone = registry.merge_studies(&how(1), &all[..1], ids[0]).await;
    assert!(matches!(
        alone,
        Err(RegistryError::Refused(Refusal::Unfit { .. }))
    ));

    registry.merge_studies(&how(1), &all, ids[0]).await.unwrap();
    let (one, other) = (read(&rig, ids[0]).await, read(&rig, ids[1]).await);
    assert_eq!(one.studies.len(), 3);
    assert_eq!(
        (other.status(), other.studies.len()),
        (Status::Scheduled, 0)
    );
    assert_eq!(waiting(&rig, "006").await, [""; 0]);

    // One of them is put right once more: the whole cannot be taken back then.
    registry
        .unbind_study(&how(2), &study("1.2.5"))
        .await
        .unwrap();
    let superseded = registry.undo_correction(&how(3), &study("1.2.3")).await;
    let why_not = Refusal::Superseded;
    assert!(matches!(superseded, Err(RegistryError::Refused(why)) if why == why_not));
    registry
        .undo_correction(&how(4), &study("1.2.5"))
        .await
        .unwrap();
    registry
        .undo_correction(&how(5), &study("1.2.3"))
        .await
        .unwrap();
    assert_eq!(read(&rig, ids[0]).await.studies, [study("1.2.3")]);
    assert_eq!(read(&rig, ids[1]).await.studies, [study("1.2.4")]);
    assert_eq!(read(&rig, ids[1]).await.status(), Status::InProgress);
    assert_eq!(waiting(&rig, "006").await, ["1.2.5"]);
}

#[tokio::test]
async fn an_examination_is_made_from_images_and_withdrawn_with_its_making() {
    let rig = Rig::new().await;
    let patient = new_for(&rig).await.patient;
    came(&rig, "1.2.3", None).await;
    let new = NewExamination {
        patient,
        ordering: code("006"),
        performing: code("006"),
        order: order(),
        is_meant_twice: false,
    };
    let (licence, why) = (person(), reason());
    let (one, none) = (kept(&[("1.2.3", 4)]), kept(&[("1.2.3", 0)]));
    let registry = &rig.registry;
    let uid = study("1.2.3");
    let nothing = correcting(&licence, &none, &why, 1);
    let refused = registry.create_from_study(&nothing, &uid, &new).await;
    assert!(matches!(
        refused,
        Err(RegistryError::Refused(Refusal::Transition(_)))
    ));
    let elsewhere = NewExamination {
        performing: code("001"),
        ..new.clone()
    };
    let how = |random| correcting(&licence, &one, &why, random);
    let refused = registry.create_from_study(&how(1), &uid, &elsewhere).await;
    assert!(matches!(
        refused,
        Err(RegistryError::Refused(Refusal::Unfit { .. }))
    ));

    let made = registry
        .create_from_study(&how(1), &uid, &new)
        .await
        .unwrap();
    let id = made.value.examination().unwrap();
    let examination = read(&rig, id).await;
    assert_eq!(examination.status(), Status::ImagesReceived);
    assert_eq!(examination.planned_study, uid);
    assert_eq!(examination.studies, std::slice::from_ref(&uid));
    let again = registry.create_from_study(&how(2), &uid, &new).await;
    let taken = Refusal::Taken { what: "study" };
    assert!(matches!(again, Err(RegistryError::Refused(why)) if why == taken));

    let back = registry.undo_correction(&how(3), &uid).await.unwrap().value;
    assert_eq!(back.waits_for(), [QueueReason::NoId]);
    assert_eq!(read(&rig, id).await.status(), Status::Cancelled);
    let system = Agent::system("test");
    let reader = Reader::new(&system);
    let rows = registry
        .examination_events(&reader, id, now())
        .await
        .unwrap();
    let names: Vec<_> = rows.iter().map(|row| row.event.as_str()).collect();
    assert_eq!(names, ["make from images", "move images away", "cancel"]);
    assert!(
        rows.iter()
            .all(|row| row.reason.is_some() && row.by == "op")
    );
}

#[tokio::test]
async fn what_is_not_of_us_waits_no_longer_until_that_is_taken_back() {
    let rig = Rig::new().await;
    let id = save(&rig.registry, &new_for(&rig).await, 1)
        .await
        .unwrap()
        .value
        .id;
    came(&rig, "1.2.3", None).await;
    let (licence, why) = (person(), reason());
    let kept = kept(&[("1.2.3", 1)]);
    let how = |random| correcting(&licence, &kept, &why, random);
    let uid = study("1.2.3");
    let registry = &rig.registry;
    let rejected = registry.reject_study(&how(1), &uid).await.unwrap().value;
    assert_eq!(rejected.state, MatchState::Rejected);
    assert_eq!(waiting(&rig, "006").await, [""; 0]);
    // Whatever comes after it.
    came(&rig, "1.2.3", Some(id)).await;
    assert_eq!(found(&rig, "1.2.3").await.state, MatchState::Rejected);
    let late = registry
        .postpone_study(&how(2), &uid, now() + chrono::TimeDelta::hours(1))
        .await;
    assert!(late.is_err(), "it does not wait");
    registry.undo_correction(&how(3), &uid).await.unwrap();
    assert_eq!(waiting(&rig, "006").await, ["1.2.3"]);
    registry.bind_study(&how(4), &uid, id).await.unwrap();
    let bound = registry.reject_study(&how(5), &uid).await;
    assert!(matches!(
        bound,
        Err(RegistryError::Refused(Refusal::Taken { .. }))
    ));
}

#[tokio::test]
async fn a_correction_is_refused_to_whoever_saw_an_older_state_or_may_not() {
    let rig = Rig::new().await;
    let id = save(&rig.registry, &new_for(&rig).await, 1)
        .await
        .unwrap()
        .value
        .id;
    came(&rig, "1.2.3", None).await;
    let (licence, why) = (person(), reason());
    let one = kept(&[("1.2.3", 1)]);
    let uid = study("1.2.3");
    let registry = &rig.registry;
    let seen = registry.study_match(&licence, &uid).await.unwrap().revision;
    let mut how = correcting(&licence, &one, &why, 1);
    let until = now() + chrono::TimeDelta::hours(1);
    registry.postpone_study(&how, &uid, until).await.unwrap();
    how.expected = Some(seen);
    how.random = [2; 16];
    let stale = registry.bind_study(&how, &uid, id).await;
    assert!(matches!(stale, Err(RegistryError::Changed)), "{stale:?}");
    // What was not counted cannot be judged.
    let unknown = KeptImages::new();
    let uncounted = correcting(&licence, &unknown, &why, 3);
    let refused = registry.bind_study(&uncounted, &uid, id).await;
    assert!(
        matches!(refused, Err(RegistryError::Changed)),
        "{refused:?}"
    );
    for role in [
        Role::Expert,
        Role::Referrer,
        Role::MohAdmin,
        Role::Auditor,
        Role::Device,
    ] {
        let nobody =
            user("n", role, "006").licence::<pacs_core::role::duty::Reconcile>(code("006"));
        assert!(nobody.is_err(), "{role:?}");
    }
    let elsewhere = user("e", Role::Operator, "001")
        .licence(code("001"))
        .unwrap();
    let how = correcting(&elsewhere, &one, &why, 4);
    let hidden = registry.reject_study(&how, &uid).await;
    assert!(matches!(hidden, Err(RegistryError::NotFound { .. })));
}

#[tokio::test]
async fn an_archive_administrator_binds_what_came_from_nobody_and_the_trail_tells_of_it() {
    let rig = Rig::new().await;
    let id = save(&rig.registry, &new_for(&rig).await, 1)
        .await
        .unwrap()
        .value
        .id;
    came(&rig, "1.2.3", None).await;
    let grant = Grant::new(Role::ArchiveAdmin, Reach::National);
    let admin = Agent::new(AgentKind::User, "admin", Grants::single(grant));
    let (licence, why) = (admin.national_licence().unwrap(), reason());
    let one = kept(&[("1.2.3", 1)]);
    let uid = study("1.2.3");
    let how = correcting(&licence, &one, &why, 1);
    rig.registry.bind_study(&how, &uid, id).await.unwrap();
    let how = correcting(&licence, &one, &why, 2);
    rig.registry.unbind_study(&how, &uid).await.unwrap();
    let rows = rig.registry.audit_trail().page(None, 100).await.unwrap();
    let last = rows.first().unwrap();
    assert_eq!(last.event.act, Act::ImagesChanged);
    assert_eq!(last.event.object.examination, Some(id));
    assert_eq!(last.event.object.studies[0].study, uid);
    assert_eq!(last.event.actor.name, "admin");
}

#[tokio::test]
async fn images_leave_no_report_that_stands_and_come_late_to_one() {
    let rig = Rig::new().await;
    let new = new_for(&rig).await;
    let id = save(&rig.registry, &new, 1).await.unwrap().value.id;
    let other = save(&rig.registry, &new, 2).await.unwrap().value.id;
    came(&rig, "1.2.3", Some(id)).await;
    came(&rig, "1.2.4", Some(other)).await;
    crate::matching::report(&rig, id).await;
    let (licence, why) = (person(), reason());
    let all = kept(&[("1.2.3", 1), ("1.2.4", 1)]);
    let how = |random| correcting(&licence, &all, &why, random);
    let registry = &rig.registry;
    let both = [study("1.2.3"), study("1.2.4")];
    let second = BTreeSet::from([series("1.2.3.2")]);
    let two = two_series("1.2.3");
    let mut split_from = two.clone();
    split_from.insert(study("1.2.4"), BTreeMap::from([(series("1.2.4.1"), 1)]));
    let splitting = correcting(&licence, &split_from, &why, 2);
    for refused in [
        registry.unbind_study(&how(1), &both[0]).await,
        registry.merge_studies(&how(1), &both, other).await,
        registry
            .split_study(&splitting, &both[0], &second, other)
            .await,
    ] {
        let is_refused = matches!(refused, Err(RegistryError::Refused(Refusal::Transition(_))));
        assert!(is_refused, "{refused:?}");
    }
    assert_eq!(read(&rig, id).await.status(), Status::Reported);
    // To it they may come, and whoever signed is told.
    registry.merge_studies(&how(3), &both, id).await.unwrap();
    let late = read(&rig, id).await;
    assert_eq!(late.status(), Status::Reported);
    assert!(late.progress.has_late_images());
}
