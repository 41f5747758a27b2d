//! Of which studies others are to be told, and what.

use crate::examinations::reason;
use crate::rejections::{instance, keeper, rejections, rig_with_images, study_of_images, wanted};
use crate::rig::now;
use pacs_core::AeTitle;
use pacs_core::rejection::Title;
use pacs_store::registry::Registry;
use pacs_store::rejections::{Meant, Rejections};
use std::collections::{BTreeMap, BTreeSet};

fn title(text: &str) -> AeTitle {
    AeTitle::parse(text).unwrap()
}

/// What two AEs are owed more, once it is dealt out.
async fn dealt(registry: &Registry) -> Option<Vec<usize>> {
    let to = BTreeSet::from([title("HIS A"), title("HIS B")]);
    let dealt = registry.deal_announcements(&to).await.unwrap();
    dealt.map(|dealt| dealt.into_values().collect())
}

/// Whether each image of the study is to be had, by the end of its UID.
async fn states(rejections: &Rejections) -> Option<Vec<(String, &'static str)>> {
    let all = rejections.availability(&study_of_images()).await.unwrap();
    let state = |of: pacs_store::rejections::InstanceAvailability| {
        let uid = of.reference.sop_instance;
        let end = uid.as_str().rsplit('.').next().unwrap_or_default();
        (end.to_owned(), of.availability.code())
    };
    let mut states: Vec<_> = all?.into_iter().map(state).collect();
    states.sort();
    Some(states)
}

fn state(of: [&'static str; 3]) -> Option<Vec<(String, &'static str)>> {
    let all = ["1", "2", "3"].map(str::to_owned).into_iter().zip(of);
    Some(all.collect())
}

#[tokio::test]
async fn a_study_is_owed_once_to_each_however_often_it_changes_and_told_as_it_is_then() {
    let (rig, archive, _folder, _id) = rig_with_images().await;
    let (registry, rejections) = (&rig.registry, rejections(&archive));
    let (keeper, reason) = (keeper(), reason());
    let (on, off) = ("ONLINE", "UNAVAILABLE");

    // Its images were received.
    assert_eq!(dealt(registry).await, Some(vec![1, 1]));
    assert_eq!(dealt(registry).await, None);
    assert_eq!(states(&rejections).await, state([on, on, on]));
    let a = title("HIS A");
    let owed = registry.owed_announcements(&a, None, 10).await.unwrap();
    assert_eq!(owed.len(), 1);
    assert_eq!(owed[0].value.study, study_of_images());

    let some = wanted(Meant::Instances(vec![instance(2)]), Title::Quality);
    let first = rejections.reject(&keeper, some, now()).await.unwrap();
    assert_eq!(states(&rejections).await, state([on, off, on]));
    assert_eq!(dealt(registry).await, Some(vec![0, 0]));
    let rest = wanted(Meant::Study, Title::Quality);
    let _second = rejections.reject(&keeper, rest, now()).await.unwrap();
    assert_eq!(states(&rejections).await, state([off, off, off]));
    assert_eq!(dealt(registry).await, Some(vec![0, 0]));

    // It changed since somebody began to tell of it.
    assert!(!registry.settle_announcement(&owed[0]).await.unwrap());
    let again = registry.owed_announcements(&a, None, 10).await.unwrap();
    assert!(registry.settle_announcement(&again[0]).await.unwrap());
    let counts = registry.owed_announcement_counts().await.unwrap();
    assert_eq!(counts, BTreeMap::from([(title("HIS B"), 1)]));
    let after = study_of_images();
    let b = title("HIS B");
    let page = registry.owed_announcements(&b, Some(&after), 10);
    assert!(page.await.unwrap().is_empty());

    let id = (&first.value.id, None);
    let restored = rejections.restore(&keeper, id, &reason, now());
    let _restored = restored.await.unwrap();
    assert_eq!(states(&rejections).await, state([off, on, off]));
    assert_eq!(dealt(registry).await, Some(vec![1, 0]));
}

#[tokio::test]
async fn while_images_are_turned_nobody_is_told_and_then_they_are() {
    let (rig, archive, _folder, _id) = rig_with_images().await;
    let (registry, rejections) = (&rig.registry, rejections(&archive));
    let (keeper, reason) = (keeper(), reason());
    let some = wanted(Meant::Instances(vec![instance(2)]), Title::Quality);
    let rejected = rejections.reject(&keeper, some, now()).await.unwrap();
    let _dealt = dealt(registry).await;

    let id = (&rejected.value.id, None);
    let ordered = registry.order_restore(&keeper, id, &reason, now());
    let _ordered = ordered.await.unwrap();
    assert_eq!(states(&rejections).await, None);
    // What a crash left undone is done.
    assert_eq!(rejections.finish().await.unwrap(), 1);

    assert!(dealt(registry).await.is_some());
    assert_eq!(states(&rejections).await, state(["ONLINE"; 3]));
}
