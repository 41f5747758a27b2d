//! Erasing studies.

use crate::log::{Log, MANY};
use crate::samples::{
    Sample, digest_of, erase, hide, instance_uid, query, series_uid, single, study_uid,
};
use pacs_core::Level;
use pacs_core::tag::tags;
use pacs_store::index::{Applied, ChangeKind, Index, Target};
use std::sync::Arc;

fn moved(instances_count: u64) -> [Applied; 1] {
    [Applied::Moved { instances_count }]
}

/// The UIDs of the visible instances.
async fn visible(log: &Log) -> Vec<String> {
    let found = log.select(&query(Level::Instance, [])).await;
    let uids = found.iter().map(|stored| &stored.instance.instance);
    uids.map(|uid| uid.as_str().to_owned()).collect()
}

/// Nothing finds it, by whatever it was found; it counts nowhere, and the change sequence tells.
pub async fn an_erased_study_is_no_more_and_what_comes_of_it_is_new(index: Arc<dyn Index>) {
    let log = Log::new(index);
    let of_patient = |sample: Sample| sample.with(tags::PATIENT_ID, "P7");
    let again = of_patient(Sample::new(1, 1, 1)).with(tags::PATIENT_NAME, "Other");
    log.add(vec![
        of_patient(Sample::new(1, 1, 1)).record(),
        of_patient(Sample::new(1, 2, 1)).record(),
        Sample::new(1, 1, 1).with_content(1).record(),
        of_patient(Sample::new(2, 1, 1)).record(),
        hide(Target::Series(series_uid(1, 2))),
    ])
    .await;

    assert_eq!(log.add(vec![erase(study_uid(1))]).await, moved(3));

    assert_eq!(visible(&log).await, [instance_uid(2, 1, 1).as_str()]);
    for (tag, text) in [
        (tags::STUDY_INSTANCE_UID, study_uid(1).as_str()),
        (tags::ACCESSION_NUMBER, "A1"),
        (tags::SERIES_INSTANCE_UID, series_uid(1, 1).as_str()),
        (tags::SOP_INSTANCE_UID, instance_uid(1, 1, 1).as_str()),
    ] {
        let asked = query(Level::Instance, [(tag, single(text))]);
        assert!(log.search(&asked).await.is_empty(), "{tag}");
    }
    let count = (tags::NUMBER_OF_PATIENT_RELATED_STUDIES, single("1"));
    assert_eq!(log.search(&query(Level::Patient, [count])).await.len(), 1);
    let (uid, index) = (instance_uid(1, 1, 1), &log.index);
    for content in [0, 1] {
        let digest = digest_of(uid.as_str(), content);
        assert!(!index.knows(&uid, &digest).await.unwrap());
    }
    assert!(index.versions(&uid, MANY).await.unwrap().stored.is_empty());
    assert_eq!(log.entries().await.len(), 1);
    assert_eq!(log.add(vec![erase(study_uid(1))]).await, moved(0));
    assert_eq!(log.add(vec![erase(study_uid(9))]).await, moved(0));

    // The very same content, too.
    let came = log.add(vec![again.record()]).await;
    assert!(matches!(came[..], [Applied::New { .. }]), "{came:?}");
    let named = query(Level::Study, [(tags::PATIENT_NAME, single("Other"))]);
    assert_eq!(log.search(&named).await.len(), 1);
    let kinds: Vec<ChangeKind> = log.changes().await.iter().map(|c| c.kind).collect();
    let (r, e) = (ChangeKind::Received, ChangeKind::Erased);
    let before = [r, r, ChangeKind::Conflicted, r, ChangeKind::Hidden];
    assert_eq!(kinds, [&before[..], &[e, e, e, r]].concat());
}

/// What another study has of the instance was never served: it is now.
pub async fn an_erased_version_makes_way_for_that_of_another_study(index: Arc<dyn Index>) {
    let log = Log::new(index);
    let first = Sample::new(1, 1, 1);
    let moved_to = |content| first.clone().with_content(content).moved_to(2, 1);
    log.add(vec![
        first.record(),
        first.clone().with_content(1).record(),
        moved_to(2).record(),
        moved_to(3).record(),
    ])
    .await;
    assert_eq!(log.add(vec![erase(study_uid(1))]).await, moved(2));

    let found = log.select(&query(Level::Instance, [])).await;
    let digests: Vec<_> = found.iter().map(|stored| stored.digest).collect();
    let uid = instance_uid(1, 1, 1);
    assert_eq!(digests, [digest_of(uid.as_str(), 2)]);
    let changes = log.changes().await;
    assert_eq!(changes.last().unwrap().kind, ChangeKind::Restored);
    assert_eq!(changes.last().unwrap().study, study_uid(2));
    assert_eq!(changes[2].kind, ChangeKind::Conflicted);
    let versions = log.index.versions(&uid, MANY).await.unwrap();
    assert_eq!(versions.stored.len(), 2);
    let next = log.add(vec![moved_to(4).record()]).await;
    assert!(
        matches!(next[..], [Applied::Conflict { version: 3, .. }]),
        "{next:?}"
    );
}

/// So that the change sequence is the same when it is made again from what is left.
pub async fn content_that_is_destroyed_takes_its_place_and_is_not_known(index: Arc<dyn Index>) {
    let log = Log::new(index);
    let (gone, other) = (Sample::new(1, 1, 1), Sample::new(1, 1, 1).with_content(1));
    let applied = log.add(vec![gone.destroyed(), gone.destroyed()]).await;
    assert!(
        matches!(applied[..], [Applied::New { .. }, Applied::Same]),
        "{applied:?}"
    );
    let later = other.moved_to(2, 1);
    let conflict = log.add(vec![later.record()]).await;
    assert!(
        matches!(conflict[..], [Applied::Conflict { version: 2, .. }]),
        "{conflict:?}"
    );

    assert_eq!(visible(&log).await, [""; 0]);
    let uid = instance_uid(1, 1, 1);
    let digest = digest_of(uid.as_str(), 0);
    assert!(!log.index.knows(&uid, &digest).await.unwrap());
    assert_eq!(log.entries().await.len(), 1);
    let hidden = log.add(vec![hide(Target::Study(study_uid(1)))]).await;
    assert_eq!(hidden, moved(1));
    // Were the record of the erasure lost, what is sent again is kept.
    let again = log.add(vec![gone.record()]).await;
    assert!(
        matches!(again[..], [Applied::Conflict { version: 3, .. }]),
        "{again:?}"
    );
    assert!(log.index.knows(&uid, &digest).await.unwrap());

    assert_eq!(log.add(vec![erase(study_uid(1))]).await, moved(2));
    assert_eq!(visible(&log).await, [uid.as_str()]);
}

/// Every place where it stands, until somebody says that it is destroyed; and again where the index
/// is made anew.
pub async fn what_is_erased_is_doomed_until_it_is_destroyed(index: Arc<dyn Index>) {
    let log = Log::new(index);
    let one = Sample::new(1, 1, 1).at(1, 500);
    log.add(vec![
        one.record(),
        // Sent again when it was damaged.
        one.clone().at(3, 100).record(),
        Sample::new(1, 1, 2).at(2, 100).record(),
        Sample::new(2, 1, 1).at(2, 900).record(),
    ])
    .await;
    let index = &log.index;
    assert_eq!(index.content_of(&study_uid(1)).await.unwrap().len(), 3);
    assert_eq!(index.doomed(None, MANY).await.unwrap(), []);

    log.add(vec![erase(study_uid(1))]).await;

    let doomed = index.doomed(None, MANY).await.unwrap();
    let places: Vec<_> = doomed.iter().map(|doomed| doomed.place()).collect();
    assert_eq!(places, [(1, 500), (2, 100), (3, 100)]);
    assert_eq!(doomed[2].instance, instance_uid(1, 1, 1));
    assert_eq!(doomed[2].series, series_uid(1, 1));
    assert_eq!(doomed[2].study, study_uid(1));
    assert_eq!(doomed[2].location.length_bytes, 9_000);
    let rest = index.doomed(Some((1, 500)), 1).await.unwrap();
    assert_eq!(rest, doomed[1..2]);
    assert!(index.content_of(&study_uid(1)).await.unwrap().is_empty());

    index.destroyed(&[(1, 500), (3, 100)]).await.unwrap();
    index.flush().await.unwrap();
    assert_eq!(index.doomed(None, MANY).await.unwrap(), doomed[1..2]);
    let end = log.end();
    index.clear().await.unwrap();
    log.replay(Default::default()).await;
    assert_eq!(index.committed().await.unwrap().position, end);
    assert_eq!(index.doomed(None, MANY).await.unwrap(), doomed);
}
