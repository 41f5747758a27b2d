//! Examinations, and studies in the queue, of which all images are rejected: what they become, and
//! what they are again when the images are back (T16, T17).

use crate::corrections::series;
use crate::examinations::{act, new_for, reason, save};
use crate::follower::{Centre, instance_of, sent};
use crate::matching::{correcting, kept, person, study, waiting};
use crate::rejections::{keeper, rand8, rejections};
use crate::rig::{now, user};
use pacs_core::examination::Event;
use pacs_core::examination::Status;
use pacs_core::examination::progress::Completion;
use pacs_core::examination::reconcile::QueueReason;
use pacs_core::rejection::Title;
use pacs_core::role::{Agent, Role};
use pacs_core::{ExaminationId, SopInstanceUid};
use pacs_store::index::ChangeNumber;
use pacs_store::registry::Stored;
use pacs_store::registry::rejections::{NewRejection, Part, Rejection};
use pacs_store::rejections::{Meant, Rejections, Wanted};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::watch;

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

/// A study whose second series was split off, of two examinations that are complete.
async fn split_study(centre: &Centre) -> [ExaminationId; 2] {
    let registry = &centre.rig.registry;
    let new = new_for(&centre.rig).await;
    let here = save(registry, &new, 1).await.unwrap().value.id;
    let there = save(registry, &new, 2).await.unwrap().value.id;
    two_series(centre, "1.2.3", &here.to_string()).await;
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
        complete(centre, id).await;
    }
    ids
}

/// Writes down that these instances are rejected, each by its series and number, where so many stay
/// in sight; the archive is not told, as if the process ended there.
async fn order(
    centre: &Centre,
    uid: &str,
    instances: &[(u32, u32)],
    kept_count: u64,
) -> Stored<Rejection> {
    let instance = |(of, number): &(u32, u32)| {
        let instance = SopInstanceUid::parse(&instance_of(uid, *of, *number)).unwrap();
        (instance, series(&format!("{uid}.{of}")))
    };
    let new = NewRejection {
        study: study(uid),
        organisation: None,
        kinds: BTreeSet::new(),
        department: None,
        part: Part::Instances,
        instances: instances.iter().map(instance).collect(),
        title: Title::PatientSafety,
        quality: None,
        reason: reason(),
        note: None,
        random: rand8(),
    };
    let registry = &centre.rig.registry;
    let turn = registry.turn().await;
    let (keeper, kept) = (keeper(), kept(&[(uid, kept_count)]));
    let ordered = registry.order_rejection((&turn, &kept), &keeper, &new, now());
    ordered.await.unwrap()
}

/// Judges all that came once more, as if the matcher had not noted that it had.
async fn judge_all_again(centre: &Centre) {
    let may = crate::follower::may();
    let mut cursor = centre.archive.cursor(&may, "matcher").await.unwrap();
    cursor.advance(ChangeNumber(0)).await.unwrap();
    centre.step().await;
}

#[tokio::test]
async fn each_examination_of_a_split_study_is_rejected_with_its_own_images_and_restored_with_them()
{
    use Status::{ImagesReceived, InProgress, Rejected};
    let centre = Centre::new().await;
    let ids = split_study(&centre).await;
    let here = ids[0];
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

/// Of two rejections that meet in one image the first that is undone brings back the rest alone.
#[tokio::test]
async fn an_examination_comes_back_with_an_image_of_its_own_that_nothing_else_hides() {
    use Status::{ImagesReceived, Rejected};
    let centre = Centre::new().await;
    let ids = split_study(&centre).await;
    let all = order(&centre, "1.2.3", &[(1, 1), (2, 1), (1, 2)], 0).await;
    let second_series = order(&centre, "1.2.3", &[(2, 1)], 0).await;
    let rejections = rejections(&centre.archive);
    assert_eq!(rejections.finish().await.unwrap(), 2);
    assert_eq!(statuses(&centre, ids).await, [Rejected; 2]);

    restore(&rejections, &all).await;
    assert_eq!(statuses(&centre, ids).await, [ImagesReceived, Rejected]);
    restore(&rejections, &second_series).await;
    assert_eq!(statuses(&centre, ids).await, [ImagesReceived; 2]);
}

/// Who rejects and who judges what came do not wait for each other between counting and hiding.
#[tokio::test]
async fn a_study_is_in_the_queue_whenever_something_of_it_is_in_sight_whoever_wrote_last() {
    let centre = Centre::new().await;
    two_series(&centre, "1.2.3", "").await;
    let rejections = rejections(&centre.archive);
    let of_study = [(1, 1), (1, 2), (2, 1)];

    // It is judged between the order and the deed: its images are still there.
    let ordered = order(&centre, "1.2.3", &of_study, 0).await;
    judge_all_again(&centre).await;
    assert_eq!(waiting(&centre.rig, "006").await, ["1.2.3"], "in sight");
    rejections.finish().await.unwrap();
    assert_eq!(waiting(&centre.rig, "006").await, [""; 0]);
    restore(&rejections, &ordered).await;
    assert_eq!(waiting(&centre.rig, "006").await, ["1.2.3"]);

    // Another image came after all was counted, and was judged before that was written down.
    centre.send(sent("1.2.3", 9, "")).await;
    centre.step().await;
    let ordered = order(&centre, "1.2.3", &of_study, 0).await;
    rejections.finish().await.unwrap();
    assert_eq!(waiting(&centre.rig, "006").await, ["1.2.3"]);
    let last = order(&centre, "1.2.3", &[(1, 9)], 0).await;
    rejections.finish().await.unwrap();
    assert_eq!(waiting(&centre.rig, "006").await, [""; 0]);

    // One that comes while some of it is about to come back.
    let back = (&ordered.value.id, None);
    let (registry, keeper, why) = (&centre.rig.registry, keeper(), reason());
    let restoring = registry.order_restore(&keeper, back, &why, now());
    restoring.await.unwrap();
    judge_all_again(&centre).await;
    assert_eq!(waiting(&centre.rig, "006").await, [""; 0], "not there yet");
    rejections.finish().await.unwrap();
    assert_eq!(waiting(&centre.rig, "006").await, ["1.2.3"]);
    restore(&rejections, &last).await;
    assert_eq!(waiting(&centre.rig, "006").await, ["1.2.3"]);
}

/// As in the server, where one task judges while others reject and restore.
#[tokio::test(flavor = "multi_thread")]
async fn rejecting_restoring_and_judging_at_once_leave_the_queue_right() {
    let centre = Arc::new(Centre::new().await);
    let (passed, mut passes) = watch::channel(0_u64);
    let judging = {
        let centre = Arc::clone(&centre);
        tokio::spawn(async move {
            while !passed.is_closed() {
                judge_all_again(&centre).await;
                passed.send_modify(|passes| *passes += 1);
            }
        })
    };
    let (rejections, keeper) = (rejections(&centre.archive), keeper());
    let mut standing = Vec::new();
    for number in 1..=30 {
        centre.send(sent("1.2.3", number, "")).await;
        let all = ("1.2.3", Meant::Study);
        standing.push(reject(&rejections, &keeper, all, Title::Quality).await);
        if number % 3 == 0 {
            restore(&rejections, &standing.swap_remove(0)).await;
        }
        // Once all of what was there has been judged again.
        let from = *passes.borrow();
        passes.wait_for(|passes| *passes >= from + 2).await.unwrap();
        let (find, uid) = (crate::follower::may(), study("1.2.3"));
        let is_in_sight = centre.archive.is_in_sight(&find, &uid);
        let expected = vec!["1.2.3"; usize::from(is_in_sight.await.unwrap())];
        assert_eq!(waiting(&centre.rig, "006").await, expected, "{number}");
    }
    drop(passes);
    judging.await.unwrap();
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
