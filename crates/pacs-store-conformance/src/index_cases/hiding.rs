//! Hide and restore, at three levels.

use crate::log::Log;
use crate::samples::{Sample, hide, instance_uid, query, restore, series_uid, study_uid};
use pacs_core::tag::tags;
use pacs_core::{Level, Matching};
use pacs_store::index::{Applied, Change, ChangeKind, Index, IndexError, Target, Versions};
use std::sync::Arc;

/// Two studies: two series of two instances, and one of one.
async fn filled(index: Arc<dyn Index>) -> Log {
    let log = Log::new(index);
    let mut group = Vec::new();
    for (study, series, instance) in [(1, 1, 1), (1, 1, 2), (1, 2, 1), (1, 2, 2), (2, 1, 1)] {
        group.push(Sample::new(study, series, instance).record());
    }
    log.add(group).await;
    log
}

/// Visible studies, series and instances.
async fn visible(log: &Log) -> [usize; 3] {
    let mut counts = [0; 3];
    for (count, level) in counts
        .iter_mut()
        .zip([Level::Study, Level::Series, Level::Instance])
    {
        *count = log.search(&query(level, [])).await.len();
    }
    counts
}

fn moved(instances_count: u64) -> [Applied; 1] {
    [Applied::Moved { instances_count }]
}

/// The three targets, and back.
pub async fn hiding_a_series_or_study_hides_all_that_is_in_it(index: Arc<dyn Index>) {
    let log = filled(index).await;
    let instance = Target::Instance(instance_uid(1, 1, 1));
    let series = Target::Series(series_uid(1, 1));
    let study = Target::Study(study_uid(1));

    assert_eq!(log.add(vec![hide(instance)]).await, moved(1));
    assert_eq!(visible(&log).await, [2, 3, 4]);
    assert_eq!(log.add(vec![hide(series.clone())]).await, moved(1));
    assert_eq!(visible(&log).await, [2, 2, 3]);
    assert_eq!(log.add(vec![hide(study.clone())]).await, moved(2));
    assert_eq!(visible(&log).await, [1, 1, 1]);
    assert_eq!(log.add(vec![restore(series)]).await, moved(2));
    assert_eq!(visible(&log).await, [2, 2, 3]);
    assert_eq!(log.add(vec![restore(study)]).await, moved(2));
    assert_eq!(visible(&log).await, [2, 3, 5]);

    let kinds: Vec<ChangeKind> = log.changes().await.iter().map(|c| c.kind).collect();
    let (h, r) = (ChangeKind::Hidden, ChangeKind::Restored);
    assert_eq!(kinds[5..], [h, h, h, h, r, r, r, r]);
}

/// The same UID of a series in another study stays where it is, also when it came before the hide.
pub async fn hiding_within_a_study_leaves_the_same_uids_of_others(index: Arc<dyn Index>) {
    let log = filled(index).await;
    let elsewhere = Sample::new(2, 1, 2).in_series_of(1, 1);
    log.add(vec![elsewhere.record()]).await;
    let within = |study, series| Target::SeriesIn {
        study: study_uid(study),
        series,
    };
    let one = |study, series, instance| Target::InstanceIn {
        study: study_uid(study),
        series,
        instance,
    };
    assert_eq!(visible(&log).await, [2, 4, 6]);

    assert_eq!(
        log.add(vec![hide(within(1, series_uid(1, 1)))]).await,
        moved(2)
    );
    assert_eq!(visible(&log).await, [2, 3, 4]);
    for nothing in [
        within(1, series_uid(2, 1)),
        within(9, series_uid(1, 1)),
        one(1, series_uid(1, 1), instance_uid(2, 1, 2)),
        one(1, series_uid(1, 2), instance_uid(1, 1, 1)),
        one(2, series_uid(1, 1), instance_uid(9, 9, 9)),
    ] {
        assert_eq!(log.add(vec![hide(nothing)]).await, moved(0));
    }
    let target = one(2, series_uid(1, 1), instance_uid(2, 1, 2));
    assert_eq!(log.add(vec![hide(target.clone())]).await, moved(1));
    assert_eq!(visible(&log).await, [2, 2, 3]);
    assert_eq!(log.add(vec![restore(target)]).await, moved(1));
    assert_eq!(
        log.add(vec![restore(within(1, series_uid(1, 1)))]).await,
        moved(2)
    );
    assert_eq!(visible(&log).await, [2, 4, 6]);
}

/// Several at once are one record; those that are elsewhere, unknown or named twice move nothing.
pub async fn hiding_several_instances_moves_those_of_the_study(index: Arc<dyn Index>) {
    let log = filled(index).await;
    let several = |study, instances| Target::InstancesIn {
        study: study_uid(study),
        instances,
    };
    let (first, second) = (instance_uid(1, 1, 1), instance_uid(1, 2, 1));
    let foreign = instance_uid(2, 1, 1);
    let unknown = instance_uid(9, 9, 9);
    let named = vec![first.clone(), second, foreign, unknown, first];

    assert_eq!(
        log.add(vec![hide(several(1, named.clone()))]).await,
        moved(2)
    );
    assert_eq!(
        log.add(vec![hide(several(1, named.clone()))]).await,
        moved(0)
    );
    assert_eq!(
        log.add(vec![hide(several(7, named.clone()))]).await,
        moved(0)
    );
    let kinds: Vec<ChangeKind> = log.changes().await.iter().map(|c| c.kind).collect();
    assert_eq!(kinds[5..], [ChangeKind::Hidden; 2]);
    assert_eq!(log.add(vec![restore(several(1, named))]).await, moved(2));
}

/// Each moved instance is a change; one that does not move is none.
pub async fn hiding_what_is_hidden_or_unknown_moves_nothing(index: Arc<dyn Index>) {
    let log = filled(index).await;
    let target = Target::Series(series_uid(1, 2));
    log.add(vec![hide(target.clone())]).await;
    let changes: Vec<Change> = log.changes().await;

    assert_eq!(log.add(vec![hide(target)]).await, moved(0));
    for unknown in [
        Target::Instance(instance_uid(9, 9, 9)),
        Target::Series(series_uid(9, 9)),
        Target::Study(study_uid(9)),
        // A UID that begins like a known one is another UID.
        Target::Study(study_uid(12)),
    ] {
        assert_eq!(log.add(vec![hide(unknown.clone())]).await, moved(0));
        assert_eq!(log.add(vec![restore(unknown)]).await, moved(0));
    }
    let shown = Target::Instance(instance_uid(1, 1, 1));
    assert_eq!(log.add(vec![restore(shown)]).await, moved(0));

    assert_eq!(log.changes().await, changes);
    assert_eq!(visible(&log).await, [2, 2, 3]);
}

/// Every count is of visible entities.
pub async fn counts_follow_what_is_hidden_and_restored(index: Arc<dyn Index>) {
    let log = filled(index).await;
    let counts = [
        tags::NUMBER_OF_STUDY_RELATED_SERIES,
        tags::NUMBER_OF_STUDY_RELATED_INSTANCES,
    ];
    let asked = query(Level::Study, counts.map(|tag| (tag, Matching::Universal)));
    let series = query(
        Level::Series,
        [(
            tags::NUMBER_OF_SERIES_RELATED_INSTANCES,
            Matching::Universal,
        )],
    );
    let steps = [
        (None, ["2", "4", "2"]),
        (
            Some(hide(Target::Instance(instance_uid(1, 1, 2)))),
            ["2", "3", "1"],
        ),
        (
            Some(hide(Target::Series(series_uid(1, 2)))),
            ["1", "1", "1"],
        ),
        (Some(restore(Target::Study(study_uid(1)))), ["2", "4", "2"]),
    ];
    for (record, [series_count, instances_count, in_series_count]) in steps {
        log.add(record.into_iter().collect()).await;
        let study = &log.search(&asked).await[0].attributes;
        assert_eq!(study.text(counts[0]), Some(series_count));
        assert_eq!(study.text(counts[1]), Some(instances_count));
        let first = &log.search(&series).await[0].attributes;
        let tag = tags::NUMBER_OF_SERIES_RELATED_INSTANCES;
        assert_eq!(first.text(tag), Some(in_series_count));
    }
}

/// A hide is about what is known at that moment.
pub async fn a_hidden_study_that_gets_more_shows_only_that(index: Arc<dyn Index>) {
    let log = filled(index).await;
    log.add(vec![hide(Target::Study(study_uid(1)))]).await;

    log.add(vec![Sample::new(1, 2, 3).record()]).await;

    assert_eq!(visible(&log).await, [2, 2, 2]);
    let uids: Vec<_> = log
        .select(&query(Level::Study, []))
        .await
        .into_iter()
        .map(|s| s.instance.instance)
        .collect();
    assert_eq!(uids, [instance_uid(1, 2, 3), instance_uid(2, 1, 1)]);
}

/// Who put it into the trash meant it; whether a new sending brings it back is not the index's to
/// say.
pub async fn the_same_content_does_not_bring_back_what_is_hidden(index: Arc<dyn Index>) {
    let log = filled(index).await;
    let sample = Sample::new(2, 1, 1);
    log.add(vec![hide(Target::Study(study_uid(2)))]).await;

    let same = log.add(vec![sample.record()]).await;
    let other = log.add(vec![sample.with_content(1).record()]).await;

    assert_eq!(same, [Applied::Same]);
    assert!(matches!(other[..], [Applied::Conflict { version: 2, .. }]));
    assert_eq!(visible(&log).await, [1, 2, 4]);
    let back = log.add(vec![restore(Target::Study(study_uid(2)))]).await;
    assert_eq!(back, moved(1));
    assert_eq!(visible(&log).await, [2, 3, 5]);
}

/// Records of a group apply in order.
pub async fn a_group_may_hide_what_it_brings(index: Arc<dyn Index>) {
    let log = filled(index).await;
    let applied = log
        .add(vec![
            Sample::new(3, 1, 1).record(),
            Sample::new(3, 1, 2).record(),
            hide(Target::Series(series_uid(3, 1))),
            Sample::new(3, 1, 3).record(),
            restore(Target::Instance(instance_uid(3, 1, 2))),
        ])
        .await;

    assert_eq!(applied[2], Applied::Moved { instances_count: 2 });
    assert_eq!(applied[4], Applied::Moved { instances_count: 1 });
    assert_eq!(visible(&log).await, [3, 4, 7]);
}

/// Who asks whether an instance is safe must learn of every version, and of the trash.
pub async fn versions_of_an_instance_are_told_hidden_or_not(index: Arc<dyn Index>) {
    let log = filled(index).await;
    let other = Sample::new(1, 1, 2)
        .with_content(1)
        .in_syntax("1.2.840.10008.1.2.4.90");
    let elsewhere = Sample::new(2, 1, 1).with_content(1);
    log.add(vec![other.record(), elsewhere.record()]).await;
    let versions = async |study, series, instance| {
        let uid = instance_uid(study, series, instance);
        log.index.versions(&uid, 2).await.unwrap()
    };

    let two = versions(1, 1, 2).await;
    assert!(!two.is_hidden);
    let told: Vec<_> = two.stored.iter().map(|s| (s.digest, s.location)).collect();
    let expected = [Sample::new(1, 1, 2), other].map(|sample| sample.stored());
    assert_eq!(told, expected.clone().map(|s| (s.digest, s.location)));
    let syntaxes = two.stored.iter().map(|s| &s.instance.transfer_syntax);
    assert!(syntaxes.eq(expected.iter().map(|s| &s.instance.transfer_syntax)));
    assert_eq!(versions(1, 2, 1).await.stored.len(), 1);
    assert_eq!(versions(9, 9, 9).await, Versions::default());

    log.add(vec![hide(Target::Instance(instance_uid(1, 1, 2)))])
        .await;
    let hidden = versions(1, 1, 2).await;
    assert!(hidden.is_hidden);
    assert_eq!(hidden.stored, two.stored);
    assert!(!versions(1, 1, 1).await.is_hidden);
    log.add(vec![restore(Target::Instance(instance_uid(1, 1, 2)))])
        .await;
    assert!(!versions(1, 1, 2).await.is_hidden);
    let refused = log.index.versions(&instance_uid(1, 1, 2), 1).await;
    assert!(matches!(
        refused,
        Err(IndexError::TooMany { limit_count: 1 })
    ));
}
