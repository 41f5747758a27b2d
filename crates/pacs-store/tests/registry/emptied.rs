//! Examinations, and studies in the queue, of which all images are rejected: what they become, and
//! what they are again when the images are back (T16, T17).

use crate::corrections::series;
use crate::examinations::{act, new_for, reason, save};
use crate::follower::{Centre, instance_of, sent};
use crate::matching::{correcting, person, study, waiting};
use crate::rejections::{keeper, rand8, rejections};
use crate::rig::{now, user};
use pacs_core::examination::Event;
use pacs_core::examination::Status;
use pacs_core::examination::progress::Completion;
use pacs_core::examination::reconcile::QueueReason;
use pacs_core::rejection::Title;
use pacs_core::role::{Agent, Role};
use pacs_core::{ExaminationId, SopInstanceUid};
use pacs_store::registry::Stored;
use pacs_store::registry::rejections::Rejection;
use pacs_store::rejections::{Meant, Rejections, Wanted};
use std::collections::BTreeSet;

/// A study of two series: two images of the first, one of the second.
async fn two_series(centre: &Centre, uid: &str, accession: &str) {
    for (series, number) in [(1, 1), (1, 2), (2, 1)] {
        let slice = sent(uid, number, accession);
        let slice = crate::follower::Sent { series, ..slice };
        centre.send(slice).await;
    }
    centre.step().await;
}

async fn reject(
    rejections: &Rejections,
    agent: &Agent,
    (uid, meant): (&str, Meant),
    title: Title,
) -> Stored<Rejection> {
    let wanted = Wanted {
        study: study(uid),
        meant,
        title,
        quality: None,
        reason: reason(),
        note: None,
        random: rand8(),
    };
    rejections.reject(agent, wanted, now()).await.unwrap()
}

async fn restore(rejections: &Rejections, rejection: &Stored<Rejection>) {
    let id = (&rejection.value.id, None);
    let restored = rejections.restore(&keeper(), id, &reason(), now()).await;
    restored.unwrap();
}

async fn complete(centre: &Centre, id: ExaminationId) {
    let event = Event::Complete {
        by: Completion::Declared,
        images_kept: 1,
    };
    let radiographer = user("rg", Role::Radiographer, "006");
    act(&centre.rig.registry, &radiographer, id, event)
        .await
        .unwrap();
}

async fn statuses<const N: usize>(centre: &Centre, ids: [ExaminationId; N]) -> [Status; N] {
    let mut statuses = [Status::Registered; N];
    for (status, id) in statuses.iter_mut().zip(ids) {
        *status = centre.read(id).await.status();
    }
    statuses
}

#[tokio::test]
async fn each_examination_of_a_split_study_is_rejected_with_its_own_images_and_restored_with_them()
{
    use Status::{ImagesReceived, InProgress, Rejected};
    let centre = Centre::new().await;
    let registry = &centre.rig.registry;
    let new = new_for(&centre.rig).await;
    let here = save(registry, &new, 1).await.unwrap().value.id;
    let there = save(registry, &new, 2).await.unwrap().value.id;
    two_series(&centre, "1.2.3", &here.to_string()).await;
    let (licence, why) = (person(), reason());
    let find = crate::follower::may();
    let kept = centre.archive.kept_images(&find, [study("1.2.3")]);
    let kept = kept.await.unwrap();
    let how = correcting(&licence, &kept, &why, 1);
    let second = BTreeSet::from([series("1.2.3.2")]);
    let uid = study("1.2.3");
    let split = registry.split_study(&how, &uid, &second, there);
    split.await.unwrap();
    let ids = [here, there];
    for id in ids {
        complete(&centre, id).await;
    }
    let rejections = rejections(&centre.archive);
    let radiologist = user("rl", Role::Radiologist, "006");
    let rejected = async |meant| {
        let what = ("1.2.3", meant);
        reject(&rejections, &radiologist, what, Title::PatientSafety).await
    };
    assert_eq!(statuses(&centre, ids).await, [ImagesReceived; 2]);

    // Of each its own, though images of the other are in sight.
    let of_there = rejected(Meant::Series(series("1.2.3.2"))).await;
    assert_eq!(statuses(&centre, ids).await, [ImagesReceived, Rejected]);
    restore(&rejections, &of_there).await;
    assert_eq!(statuses(&centre, ids).await, [ImagesReceived; 2]);
    let of_here = rejected(Meant::Series(series("1.2.3.1"))).await;
    assert_eq!(statuses(&centre, ids).await, [Rejected, ImagesReceived]);
    let of_there = rejected(Meant::Study).await;
    assert_eq!(statuses(&centre, ids).await, [Rejected; 2]);
    restore(&rejections, &of_there).await;
    assert_eq!(statuses(&centre, ids).await, [Rejected, ImagesReceived]);
    restore(&rejections, &of_here).await;
    assert_eq!(statuses(&centre, ids).await, [ImagesReceived; 2]);

    // Both at once, in two goes: it is the last image that counts.
    let first = SopInstanceUid::parse(&instance_of("1.2.3", 1, 1)).unwrap();
    let one = rejected(Meant::Instances(vec![first])).await;
    assert_eq!(statuses(&centre, ids).await, [ImagesReceived; 2]);
    let rest = rejected(Meant::Study).await;
    assert_eq!(statuses(&centre, ids).await, [Rejected; 2]);
    assert_eq!(rest.value.instances_count, 2);
    restore(&rejections, &one).await;
    assert_eq!(statuses(&centre, ids).await, [ImagesReceived, Rejected]);
    restore(&rejections, &rest).await;
    assert_eq!(statuses(&centre, ids).await, [ImagesReceived; 2]);

    // Made anew under the same order: it goes on with the new images.
    rejected(Meant::Study).await;
    centre.pass(60);
    centre.send(sent("1.2.3", 9, &here.to_string())).await;
    centre.step().await;
    assert_eq!(statuses(&centre, ids).await, [InProgress, Rejected]);
}

#[tokio::test]
async fn what_waits_for_a_person_waits_for_nobody_while_all_of_it_is_rejected() {
    let centre = Centre::new().await;
    let rig = &centre.rig;
    let id = centre.order().await.id.to_string();
    two_series(&centre, "1.2.3", "").await;
    two_series(&centre, "1.2.4", &id).await;
    assert_eq!(waiting(rig, "006").await, ["1.2.3"]);
    let rejections = rejections(&centre.archive);
    let keeper = keeper();

    let part = ("1.2.3", Meant::Series(series("1.2.3.1")));
    let part = reject(&rejections, &keeper, part, Title::Quality).await;
    assert_eq!(waiting(rig, "006").await, ["1.2.3"], "something is left");
    let rest = ("1.2.3", Meant::Study);
    let rest = reject(&rejections, &keeper, rest, Title::PatientSafety).await;
    assert_eq!(waiting(rig, "006").await, [""; 0]);
    assert!(centre.found("1.2.3").await.unwrap().is_out_of_sight);
    // Nothing brings it there but an image.
    centre.step().await;
    centre
        .matcher
        .judge_again(&pacs_store::registry::Stirred::all())
        .await
        .unwrap();
    assert_eq!(waiting(rig, "006").await, [""; 0]);
    restore(&rejections, &rest).await;
    assert_eq!(waiting(rig, "006").await, ["1.2.3"]);
    restore(&rejections, &part).await;
    centre.step().await;
    assert_eq!(waiting(rig, "006").await, ["1.2.3"]);
    assert_eq!(centre.waits_for("1.2.3").await, [QueueReason::NoId]);
    // So does one that comes.
    reject(
        &rejections,
        &keeper,
        ("1.2.3", Meant::Study),
        Title::Quality,
    )
    .await;
    centre.step().await;
    assert_eq!(waiting(rig, "006").await, [""; 0]);
    centre.send(sent("1.2.3", 9, "")).await;
    centre.step().await;
    assert_eq!(waiting(rig, "006").await, ["1.2.3"]);

    // What was made under another order is there for somebody to look at, in sight or not.
    let all = ("1.2.4", Meant::Study);
    let wrong = reject(&rejections, &keeper, all, Title::WorklistEntry).await;
    assert_eq!(waiting(rig, "006").await, ["1.2.3", "1.2.4"]);
    assert_eq!(centre.waits_for("1.2.4").await, [QueueReason::Unbound]);
    restore(&rejections, &wrong).await;
    assert_eq!(centre.waits_for("1.2.4").await, [QueueReason::Unbound]);
}
