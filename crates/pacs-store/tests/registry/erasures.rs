//! Erasing for good: what one proposes and another agrees to, final after a while.

use crate::archived::{may, send};
use crate::examinations::reason;
use crate::rejections::{
    instance, keeper, rejections, rig_with_images, study_of_images, visible, wanted,
};
use crate::rig::{Rig, code, now};
use chrono::TimeDelta;
use pacs_core::audit::Act;
use pacs_core::rejection::Title;
use pacs_core::retention::{RetentionPolicy, RetentionRule};
use pacs_core::role::{Agent, AgentKind, Grant, Grants, Reach, Role};
use pacs_store::Archive;
use pacs_store::registry::erasures::{ErasureState, Ground};
use pacs_store::registry::rejections::RejectionId;
use pacs_store::registry::{Moment, Refusal, RegistryError};
use pacs_store::rejections::{DestroyedStudies, Meant, RejectError};

fn ministry(name: &str) -> Agent {
    let grant = Grant::new(Role::MohAdmin, Reach::National);
    Agent::new(AgentKind::User, name, Grants::single(grant))
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "it is one story, told in order")]
async fn what_is_rejected_is_erased_by_two_people_after_a_while_and_never_comes_back() {
    let (rig, archive, _folder, _id) = rig_with_images().await;
    let rejections = rejections(&archive);
    let study = study_of_images();
    let refused = rejections
        .propose_erasing(&keeper(), &study, &reason(), [1; 8], now())
        .await;
    assert!(
        matches!(refused, Err(RejectError::InSight)),
        "it is kept for ever"
    );
    let rejected = rejections
        .reject(&keeper(), wanted(Meant::Study, Title::Quality), now())
        .await
        .unwrap();

    let refused = rejections
        .propose_erasing(&ministry("m"), &study, &reason(), [1; 8], now())
        .await;
    assert!(
        matches!(refused, Err(RejectError::NotFound)),
        "who agrees proposes nothing"
    );
    let proposed = rejections
        .propose_erasing(&keeper(), &study, &reason(), [1; 8], now())
        .await
        .unwrap();
    assert_eq!(proposed.value.ground, Ground::Rejected);
    let twice = rejections
        .propose_erasing(&keeper(), &study, &reason(), [2; 8], now())
        .await;
    assert!(matches!(
        twice,
        Err(RejectError::Registry(RegistryError::Refused(
            Refusal::Taken { .. }
        )))
    ));
    let id = &proposed.value.id;
    for nobody in [keeper(), ministry("keeper"), Agent::system("test")] {
        let refused = rig
            .registry
            .agree_to_erasure(&nobody, (id, None), now())
            .await;
        assert!(
            matches!(refused, Err(RegistryError::Unlicensed(_))),
            "{nobody:?}"
        );
    }
    let agreed = rig
        .registry
        .agree_to_erasure(&ministry("m"), (id, None), now())
        .await
        .unwrap();
    let ErasureState::Agreed { not_before, .. } = agreed.value.state else {
        panic!("{agreed:?}");
    };
    assert_eq!(not_before, now() + TimeDelta::days(30));

    let early = not_before - TimeDelta::seconds(1);
    assert_eq!(rejections.finish_erasures([3; 8], early).await.unwrap(), 0);
    // As long as it is not final it can be brought back, and then waits.
    let back = (&rejected.value.id, None);
    rejections
        .restore(&keeper(), back, &reason(), now())
        .await
        .unwrap();
    assert_eq!(
        rejections
            .finish_erasures([3; 8], not_before)
            .await
            .unwrap(),
        0
    );
    assert_eq!(visible(&archive).await.1, "3");
    let again = rejections
        .reject(&keeper(), wanted(Meant::Study, Title::Quality), now())
        .await
        .unwrap();
    // Somebody brings it back, and the archive has not been told yet.
    let back = (&again.value.id, None);
    let ordered = rig
        .registry
        .order_restore(&keeper(), back, &reason(), now())
        .await;
    ordered.unwrap();
    let finished = rejections.finish_erasures([3; 8], not_before).await;
    assert_eq!(finished.unwrap(), 0, "it is about to be in sight");
    assert_eq!(rejections.finish().await.unwrap(), 1);
    assert_eq!(visible(&archive).await.1, "3");
    let again = rejections
        .reject(&keeper(), wanted(Meant::Study, Title::Quality), now())
        .await
        .unwrap();
    assert_eq!(
        rejections
            .finish_erasures([3; 8], not_before)
            .await
            .unwrap(),
        1
    );
    assert_eq!(
        rejections
            .finish_erasures([3; 8], not_before)
            .await
            .unwrap(),
        0
    );
    let refused = rejections
        .restore(&keeper(), (&again.value.id, None), &reason(), not_before)
        .await;
    assert!(matches!(
        refused,
        Err(RejectError::Registry(RegistryError::Refused(
            Refusal::TooLate
        )))
    ));
    let tombstone = rig
        .registry
        .erasure_of_study(&study)
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(
        tombstone.value.state,
        ErasureState::Final {
            destroyed_at: None,
            ..
        }
    ));
    destroy(&rig, &archive, not_before).await;
    destroy_again(&rig, &archive, (&again.value.id, not_before)).await;
    let given_up = rig
        .registry
        .give_up_erasure(&keeper(), (id, None), &reason(), not_before)
        .await;
    assert!(matches!(
        given_up,
        Err(RegistryError::Refused(Refusal::TooLate))
    ));
    let told = rig.registry.audit_trail().page(None, 9).await.unwrap();
    assert!(
        told.iter()
            .any(|record| record.event.act == Act::StudyErased)
    );
}

/// What is sent again before its bytes are destroyed waits for somebody who rejects it.
async fn destroy(rig: &Rig, archive: &Archive, at: Moment) {
    let (rejections, study) = (rejections(archive), study_of_images());
    send(archive, "NATHOS_CT1", study.as_str(), 9, "", "").await;
    let waits = DestroyedStudies {
        done_count: 0,
        waiting_count: 1,
    };
    assert_eq!(rejections.destroy_erased(at).await.unwrap(), waits);
    assert_eq!(visible(archive).await.1, "1");
    let again = wanted(Meant::Study, Title::Quality);
    rejections.reject(&keeper(), again, at).await.unwrap();

    let done = DestroyedStudies {
        done_count: 1,
        waiting_count: 0,
    };
    assert_eq!(rejections.destroy_erased(at).await.unwrap(), done);

    let nothing = DestroyedStudies::default();
    assert_eq!(rejections.destroy_erased(at).await.unwrap(), nothing);
    for number in [1, 2, 3, 9] {
        let kept = archive.kept_instance(&may(), &instance(number)).await;
        assert_eq!(kept.unwrap(), None, "{number}");
    }
    let tombstone = rig.registry.erasure_of_study(&study).await.unwrap();
    let state = tombstone.unwrap().value.state;
    assert!(
        matches!(&state, ErasureState::Final { destroyed_at, .. } if *destroyed_at == Some(at)),
        "{state:?}"
    );
}

/// What is sent again after its bytes were destroyed is a study like any other, and what was
/// destroyed stays so.
async fn destroy_again(rig: &Rig, archive: &Archive, (old, at): (&RejectionId, Moment)) {
    let (rejections, study) = (rejections(archive), study_of_images());
    let propose = async |random, at| {
        rejections
            .propose_erasing(&keeper(), &study, &reason(), [random; 8], at)
            .await
    };
    let is_gone = async |at| {
        let back = rejections
            .restore(&keeper(), (old, None), &reason(), at)
            .await;
        matches!(
            back,
            Err(RejectError::Registry(RegistryError::Refused(
                Refusal::TooLate
            )))
        )
    };
    let later = at + TimeDelta::hours(1);
    let nothing = propose(20, later).await;
    assert!(matches!(nothing, Err(RejectError::NotFound)), "{nothing:?}");
    send(archive, "NATHOS_CT1", study.as_str(), 7, "", "").await;
    let in_sight = propose(21, later).await;
    assert!(
        matches!(in_sight, Err(RejectError::InSight)),
        "{in_sight:?}"
    );
    let wanted = || wanted(Meant::Study, Title::Quality);
    let rejected = rejections.reject(&keeper(), wanted(), later).await.unwrap();
    let first = propose(22, later).await.unwrap().value;
    let given_up = rig
        .registry
        .give_up_erasure(&keeper(), (&first.id, None), &reason(), later)
        .await;
    given_up.unwrap();
    assert!(is_gone(later).await);
    let back = (&rejected.value.id, None);
    let back = rejections.restore(&keeper(), back, &reason(), later).await;
    back.unwrap();
    assert_eq!(visible(archive).await.1, "1");
    rejections.reject(&keeper(), wanted(), later).await.unwrap();

    let second = propose(23, later).await.unwrap().value;
    let agreed = rig
        .registry
        .agree_to_erasure(&ministry("m"), (&second.id, None), later)
        .await;
    agreed.unwrap();
    let end = later + TimeDelta::days(30);
    assert_eq!(rejections.finish_erasures([3; 8], end).await.unwrap(), 1);
    let done = DestroyedStudies {
        done_count: 1,
        waiting_count: 0,
    };
    assert_eq!(rejections.destroy_erased(end).await.unwrap(), done);
    let kept = archive.kept_instance(&may(), &instance(7)).await;
    assert_eq!(kept.unwrap(), None);
    assert!(is_gone(end).await);
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "it is one story, told in order")]
async fn a_study_whose_term_is_over_goes_out_of_sight_with_its_erasure() {
    let (rig, archive, _folder, _id) = rig_with_images().await;
    let rejections = rejections(&archive);
    let study = study_of_images();
    let licence = ministry("m").national_licence().unwrap();
    let policy = RetentionPolicy {
        rules: vec![RetentionRule {
            organisation: Some(code("006")),
            modality: Some("CT".to_owned()),
            age: None,
            keep_days: 10,
        }],
        waiting_days: 7,
    };
    let set = rig
        .registry
        .set_retention(&licence, &policy, None, now())
        .await;
    let revision = set.unwrap();
    let stale = rig
        .registry
        .set_retention(&licence, &policy, None, now())
        .await;
    assert!(matches!(stale, Err(RegistryError::Changed)));
    assert_eq!(
        rig.registry.retention().await.unwrap(),
        (policy.clone(), Some(revision))
    );

    let early = rejections
        .propose_erasing(&keeper(), &study, &reason(), [1; 8], now())
        .await;
    assert!(early.is_err());
    let later = now() + TimeDelta::days(10);
    let due = async |at| rejections.propose_due(&reason(), [9; 8], at).await.unwrap();
    assert_eq!(due(now()).await, 0, "its term is not over");
    rejections
        .hold(&keeper(), &study, &reason(), [8; 8], later)
        .await
        .unwrap();
    assert_eq!(due(later).await, 0, "it is held");
    rig.registry
        .lift_hold(&ministry("m"), (&study, None), &reason(), later)
        .await
        .unwrap();
    assert_eq!(due(later).await, 1);
    assert_eq!(due(later).await, 0, "it is proposed");
    let open = rig.registry.open_erasures(&ministry("m")).await.unwrap();
    assert_eq!((open.len(), open[0].value.ground), (1, Ground::TermOver));
    assert_eq!(visible(&archive).await.1, "3", "nobody agreed");
    let (id, why) = (&open[0].value.id, reason());
    let given_up = rig
        .registry
        .give_up_erasure(&keeper(), (id, None), &why, later)
        .await;
    given_up.unwrap();
    let proposed = rejections
        .propose_erasing(&keeper(), &study, &reason(), [1; 8], later)
        .await
        .unwrap();
    assert_eq!(proposed.value.ground, Ground::TermOver);
    let id = &proposed.value.id;
    let given_up = rig
        .registry
        .give_up_erasure(
            &ministry("m"),
            (id, Some(proposed.revision)),
            &reason(),
            later,
        )
        .await;
    given_up.unwrap();
    let proposed = rejections
        .propose_erasing(&keeper(), &study, &reason(), [2; 8], later)
        .await
        .unwrap();
    let id = &proposed.value.id;
    rig.registry
        .agree_to_erasure(&ministry("m"), (id, None), later)
        .await
        .unwrap();
    assert_eq!(visible(&archive).await.1, "3", "nothing happens before");

    let due = later + TimeDelta::days(7);
    // What the ministry wants to keep meanwhile is kept.
    let longer = RetentionPolicy::default();
    let longer = rig
        .registry
        .set_retention(&licence, &longer, Some(revision), later);
    let revision = longer.await.unwrap();
    assert_eq!(rejections.finish_erasures([3; 8], due).await.unwrap(), 0);
    assert_eq!(visible(&archive).await.1, "3");
    let shorter = rig
        .registry
        .set_retention(&licence, &policy, Some(revision), later);
    shorter.await.unwrap();
    assert_eq!(rejections.finish_erasures([3; 8], due).await.unwrap(), 1);

    assert_eq!(visible(&archive).await.1, "");
    let of_study = rig.registry.rejections_of_study(&study).await.unwrap();
    assert_eq!(of_study[0].value.title, Title::RetentionExpired);
}

#[tokio::test]
async fn what_is_held_is_neither_proposed_nor_agreed_to_nor_erased() {
    let (rig, archive, _folder, _id) = rig_with_images().await;
    let (rejections, study) = (rejections(&archive), study_of_images());
    let hold = async |by: Agent, number| {
        let why = reason();
        let held = rejections.hold(&by, &study, &why, [number; 8], now());
        held.await
    };
    let lift = async |by: Agent| {
        let (study, why) = ((&study, None), reason());
        rig.registry.lift_hold(&by, study, &why, now()).await
    };
    let is_held = |refused: RegistryError| {
        assert!(
            matches!(refused, RegistryError::Refused(Refusal::Held)),
            "{refused:?}"
        );
    };
    let propose = async |number| {
        let (by, why) = (keeper(), reason());
        let proposed = rejections.propose_erasing(&by, &study, &why, [number; 8], now());
        match proposed.await {
            Err(RejectError::Registry(error)) => Err(error),
            other => Ok(other.unwrap()),
        }
    };
    let all = wanted(Meant::Study, Title::Quality);
    rejections.reject(&keeper(), all, now()).await.unwrap();
    let held = hold(keeper(), 1).await.unwrap().value;
    let twice = hold(ministry("m"), 2).await;
    assert!(
        matches!(
            twice,
            Err(RejectError::Registry(RegistryError::Refused(
                Refusal::Taken { .. }
            )))
        ),
        "{twice:?}"
    );

    is_held(propose(3).await.unwrap_err());
    let lifted = lift(keeper()).await;
    assert!(
        matches!(lifted, Err(RegistryError::Unlicensed(_))),
        "{lifted:?}"
    );
    let lifted = lift(ministry("m")).await.unwrap().value;
    assert_eq!((lifted.id, lifted.lifted.is_some()), (held.id, true));
    assert!(lift(ministry("m")).await.is_err(), "there is none");

    let id = propose(4).await.unwrap().value.id;
    hold(ministry("m"), 5).await.unwrap();
    let agree = async || {
        let by = ministry("m");
        let agreed = rig.registry.agree_to_erasure(&by, (&id, None), now());
        agreed.await
    };
    is_held(agree().await.unwrap_err());
    lift(ministry("m")).await.unwrap();
    agree().await.unwrap();

    let due = now() + TimeDelta::days(30);
    hold(keeper(), 6).await.unwrap();
    assert_eq!(rejections.finish_erasures([7; 8], due).await.unwrap(), 0);
    lift(ministry("m")).await.unwrap();
    assert_eq!(rejections.finish_erasures([7; 8], due).await.unwrap(), 1);

    // Up to the last moment.
    hold(keeper(), 8).await.unwrap();
    let waits = rejections.destroy_erased(due).await.unwrap();
    assert_eq!((waits.done_count, waits.waiting_count), (0, 1));
    let kept = archive.kept_instance(&may(), &instance(1)).await;
    assert!(kept.unwrap().is_some());
    lift(ministry("m")).await.unwrap();
    let done = rejections.destroy_erased(due).await.unwrap();
    assert_eq!((done.done_count, done.waiting_count), (1, 0));
}
