//! What happens to content that arrives: new, the same, another version; whose attributes count.

use crate::log::Log;
use crate::samples::{
    MR_IMAGE, Sample, digest_of, instance_uid, query, series_uid, single, study_uid, uids,
};
use pacs_core::tag::tags;
use pacs_core::{Level, Matching};
use pacs_store::index::{Applied, ChangeKind, ChangeNumber, Index};
use std::sync::Arc;

/// Content that is known is told by its digest, and leaves everything as it is.
pub async fn equal_content_again_changes_nothing(index: Arc<dyn Index>) {
    let log = Log::new(index);
    let sample = Sample::new(1, 1, 1);
    let first = log.add(vec![sample.record()]).await;
    let change = ChangeNumber(1);
    assert_eq!(first, [Applied::New { change }]);
    let entries = log.entries().await;

    let again = sample.clone().with(tags::PATIENT_NAME, "Other^Name");
    let second = log.add(vec![again.record()]).await;

    assert_eq!(second, [Applied::Same]);
    assert_eq!(log.entries().await, entries);
    assert_eq!(log.changes().await.len(), 1);
    let asked = query(Level::Study, [(tags::PATIENT_NAME, Matching::Universal)]);
    let found = log.search(&asked).await;
    assert_eq!(
        found[0].attributes.text(tags::PATIENT_NAME),
        Some("Асанова^Айгүл")
    );
}

/// The first version stays what is found and given back.
pub async fn other_content_is_kept_and_the_first_is_served(index: Arc<dyn Index>) {
    let log = Log::new(index);
    let first = Sample::new(1, 1, 1);
    let second = first
        .clone()
        .with_content(7)
        .with(tags::INSTANCE_NUMBER, "99");
    log.add(vec![first.record()]).await;

    let applied = log.add(vec![second.record()]).await;

    let change = ChangeNumber(2);
    assert_eq!(applied, [Applied::Conflict { change, version: 2 }]);
    let served = log.select(&query(Level::Study, [])).await;
    assert_eq!(served.len(), 1);
    assert_eq!(served[0].digest, first.stored().digest);
    let entries = log.entries().await;
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[1].1.digest, second.stored().digest);
    assert_eq!(entries[1].1.location, second.stored().location);
    let numbered = query(Level::Instance, [(tags::INSTANCE_NUMBER, single("99"))]);
    assert_eq!(log.search(&numbered).await, []);
}

/// Every other content is a version of its own.
pub async fn conflicts_are_numbered_from_two(index: Arc<dyn Index>) {
    let log = Log::new(index);
    let sample = Sample::new(1, 1, 1);
    log.add(vec![sample.record()]).await;

    let mut applied = Vec::new();
    for content in 1..=3 {
        let version = sample.clone().with_content(content);
        applied.extend(log.add(vec![version.record()]).await);
    }

    let conflict = |change, version| Applied::Conflict {
        change: ChangeNumber(change),
        version,
    };
    assert_eq!(applied, [conflict(2, 2), conflict(3, 3), conflict(4, 4)]);
}

/// A version that is not served is known as well: its peer may send it again.
pub async fn content_of_every_version_is_known(index: Arc<dyn Index>) {
    let log = Log::new(index);
    let first = Sample::new(1, 1, 1);
    let second = first.clone().with_content(1);
    log.add(vec![first.record(), second.record()]).await;

    let again = log.add(vec![second.record(), first.record()]).await;

    assert_eq!(again, [Applied::Same, Applied::Same]);
    let uid = instance_uid(1, 1, 1);
    for (content, known) in [(0, true), (1, true), (2, false)] {
        let digest = digest_of(uid.as_str(), content);
        assert_eq!(log.index.knows(&uid, &digest).await.unwrap(), known);
    }
    let other = instance_uid(1, 1, 2);
    let digest = digest_of(uid.as_str(), 0);
    assert!(!log.index.knows(&other, &digest).await.unwrap());
}

/// Two senders of one group can send the same instance.
pub async fn one_group_may_bring_an_instance_twice(index: Arc<dyn Index>) {
    let log = Log::new(index);
    let sample = Sample::new(1, 1, 1);
    let other = sample.clone().with_content(1);

    let applied = log
        .add(vec![
            sample.record(),
            sample.record(),
            other.record(),
            other.record(),
        ])
        .await;

    let expected = [
        Applied::New {
            change: ChangeNumber(1),
        },
        Applied::Same,
        Applied::Conflict {
            change: ChangeNumber(2),
            version: 2,
        },
        Applied::Same,
    ];
    assert_eq!(applied, expected);
    assert_eq!(log.entries().await.len(), 2);
    assert_eq!(log.select(&query(Level::Patient, [])).await.len(), 1);
}

/// Later instances that tell another story do not change the study.
pub async fn a_study_has_the_attributes_of_its_first_instance(index: Arc<dyn Index>) {
    let log = Log::new(index);
    let first = Sample::new(1, 1, 1).with(tags::STUDY_DESCRIPTION, "first");
    let later = Sample::new(1, 2, 1)
        .with(tags::STUDY_DESCRIPTION, "later")
        .with(tags::PATIENT_NAME, "Later^Name")
        .with(tags::STUDY_DATE, "20270101");
    log.add(vec![first.record()]).await;
    log.add(vec![later.record()]).await;

    for (tag, of_first, of_later) in [
        (tags::STUDY_DESCRIPTION, "first", "later"),
        (tags::PATIENT_NAME, "Асанова^Айгүл", "Later^Name"),
        (tags::STUDY_DATE, "20260314", "20270101"),
    ] {
        let found = log
            .search(&query(Level::Study, [(tag, single(of_first))]))
            .await;
        assert_eq!(found.len(), 1, "{tag}");
        assert_eq!(found[0].attributes.text(tag), Some(of_first));
        let none = log
            .search(&query(Level::Study, [(tag, single(of_later))]))
            .await;
        assert_eq!(none, [], "{tag}");
    }
}

/// As with studies; and the first stays the first when it is hidden.
pub async fn a_series_has_the_attributes_of_its_first_instance(index: Arc<dyn Index>) {
    let log = Log::new(index);
    let first = Sample::new(1, 1, 1).with(tags::SERIES_DESCRIPTION, "first");
    let later = Sample::new(1, 1, 2).with(tags::SERIES_DESCRIPTION, "later");
    log.add(vec![first.record(), later.record()]).await;
    let asked = query(
        Level::Series,
        [(tags::SERIES_DESCRIPTION, Matching::Universal)],
    );
    let before = log.search(&asked).await;

    let target = pacs_store::index::Target::Instance(instance_uid(1, 1, 1));
    log.add(vec![crate::samples::hide(target)]).await;

    assert_eq!(before.len(), 1);
    assert_eq!(
        before[0].attributes.text(tags::SERIES_DESCRIPTION),
        Some("first")
    );
    assert_eq!(log.search(&asked).await, before);
}

/// Devices have been seen to give two studies the same series.
pub async fn a_series_uid_in_two_studies_is_two_series(index: Arc<dyn Index>) {
    let log = Log::new(index);
    let here = Sample::new(1, 1, 1).with(tags::SERIES_DESCRIPTION, "here");
    let there = Sample::new(2, 1, 1)
        .in_series_of(1, 1)
        .with(tags::SERIES_DESCRIPTION, "there");
    log.add(vec![here.record(), there.record()]).await;
    let series = series_uid(1, 1);
    let of_uid = || (tags::SERIES_INSTANCE_UID, uids([series.as_str()]));

    let both = log.search(&query(Level::Series, [of_uid()])).await;
    let study = (tags::STUDY_INSTANCE_UID, uids([study_uid(2).as_str()]));
    let one = log.select(&query(Level::Series, [of_uid(), study])).await;

    assert_eq!(both.len(), 2);
    assert_eq!(one.len(), 1);
    assert_eq!(one[0].instance.instance, instance_uid(2, 1, 1));
    let target = pacs_store::index::Target::Series(series);
    let hidden = log.add(vec![crate::samples::hide(target)]).await;
    assert_eq!(hidden, [Applied::Moved { instances_count: 2 }]);
}

/// A version that is not served is nowhere to be seen, but its study knows it as received.
pub async fn a_conflict_in_another_study_does_not_show_there(index: Arc<dyn Index>) {
    let log = Log::new(index);
    let first = Sample::new(1, 1, 1);
    let elsewhere = first
        .clone()
        .with_content(1)
        .moved_to(2, 1)
        .of_class(MR_IMAGE, "MR")
        .with(tags::STUDY_DESCRIPTION, "of the version");
    log.add(vec![first.record()]).await;
    log.add(vec![elsewhere.record()]).await;

    assert_eq!(log.search(&query(Level::Study, [])).await.len(), 1);
    let change = log.changes().await.pop().unwrap();
    assert_eq!(change.kind, ChangeKind::Conflicted);
    assert_eq!(
        (change.study, change.series),
        (study_uid(2), series_uid(2, 1))
    );

    let new = Sample::new(2, 2, 1).with(tags::STUDY_DESCRIPTION, "of the new one");
    log.add(vec![new.record()]).await;
    let asked = [
        (tags::STUDY_INSTANCE_UID, single(study_uid(2).as_str())),
        (tags::STUDY_DESCRIPTION, Matching::Universal),
        (tags::MODALITIES_IN_STUDY, Matching::Universal),
        (tags::NUMBER_OF_STUDY_RELATED_SERIES, Matching::Universal),
    ];
    let found = log.search(&query(Level::Study, asked)).await;
    let attributes = &found[0].attributes;
    assert_eq!(
        attributes.text(tags::STUDY_DESCRIPTION),
        Some("of the version")
    );
    assert_eq!(attributes.text(tags::MODALITIES_IN_STUDY), Some("CT"));
    assert_eq!(
        attributes.text(tags::NUMBER_OF_STUDY_RELATED_SERIES),
        Some("1")
    );
}
