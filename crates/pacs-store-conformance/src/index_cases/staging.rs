//! Groups: what is visible when, what a dropped one leaves, how far the index has come.

use crate::log::{Log, MANY, apply, position, try_apply};
use crate::samples::{Sample, digest_of, hide, instance_uid, query, restore, study_uid};
use pacs_core::Level;
use pacs_core::tag::tags;
use pacs_store::index::{
    Applied, ChangeNumber, DurableContent, Index, IndexError, LogPosition, Quota, Target,
};
use std::sync::Arc;

/// Nothing in, nothing out, at every door.
pub async fn an_empty_index_answers_with_nothing(index: Arc<dyn Index>) {
    for level in [Level::Patient, Level::Study, Level::Series, Level::Instance] {
        let all = query(level, []);
        assert!(
            index
                .search(&all, &Quota::of(MANY))
                .await
                .unwrap()
                .is_empty()
        );
        assert!(
            index
                .select(&all, &Quota::of(MANY))
                .await
                .unwrap()
                .is_empty()
        );
    }
    assert_eq!(index.changes(ChangeNumber(0), MANY).await.unwrap(), []);
    assert_eq!(index.entries(0, MANY).await.unwrap(), []);
    let start = LogPosition::default();
    assert_eq!(index.durable_position().await.unwrap(), start);
    index.flush().await.unwrap();
    assert_eq!(index.durable_position().await.unwrap(), start);
}

/// Content that is not yet durable must not be seen.
pub async fn a_staged_group_is_invisible_until_it_is_committed(index: Arc<dyn Index>) {
    let log = Log::new(Arc::clone(&index));
    log.add(vec![Sample::new(1, 1, 1).record()]).await;
    let group = vec![Sample::new(1, 1, 2).record(), Sample::new(2, 1, 1).record()];
    let end = position(2);

    let staged = index.stage(group, end).await.unwrap();

    let uid = instance_uid(2, 1, 1);
    let digest = digest_of(uid.as_str(), 0);
    assert_eq!(log.select(&query(Level::Patient, [])).await.len(), 1);
    assert_eq!(log.changes().await.len(), 1);
    assert_eq!(log.entries().await.len(), 1);
    assert!(!index.knows(&uid, &digest).await.unwrap());

    let proof = DurableContent::synced_up_to(end);
    let applied = staged.commit(proof).unwrap();

    let new = |number| Applied::New {
        change: ChangeNumber(number),
    };
    assert_eq!(applied, [new(2), new(3)]);
    assert_eq!(log.select(&query(Level::Patient, [])).await.len(), 3);
    assert_eq!(log.changes().await.len(), 3);
    assert_eq!(log.entries().await.len(), 3);
    assert!(index.knows(&uid, &digest).await.unwrap());
}

/// What is dropped has never been: its numbers are given to the next.
pub async fn a_dropped_group_leaves_nothing(index: Arc<dyn Index>) {
    let log = Log::new(Arc::clone(&index));
    log.add(vec![Sample::new(1, 1, 1).record()]).await;
    let studies = query(
        Level::Study,
        [(
            tags::NUMBER_OF_STUDY_RELATED_INSTANCES,
            pacs_core::Matching::Universal,
        )],
    );
    let before = (
        log.search(&studies).await,
        log.changes().await,
        log.entries().await,
    );

    let group = vec![
        Sample::new(1, 1, 2).record(),
        Sample::new(2, 1, 1).record(),
        hide(Target::Study(study_uid(1))),
    ];
    drop(index.stage(group, position(2)).await.unwrap());

    let after = (
        log.search(&studies).await,
        log.changes().await,
        log.entries().await,
    );
    assert_eq!(before, after);
    let next = log.add(vec![Sample::new(2, 1, 1).record()]).await;
    let change = ChangeNumber(2);
    assert_eq!(next, [Applied::New { change }]);
    assert_eq!(log.search(&studies).await.len(), 2);
}

/// Who sent it has been answered: whoever asks must find it, even before it is shown.
pub async fn a_promised_group_is_seen_by_whoever_reads_after_the_promise(index: Arc<dyn Index>) {
    for count in 1..=20 {
        let end = position(count as usize);
        let group = vec![Sample::new(1, 1, count).record()];
        let staged = index.stage(group, end).await.unwrap();
        let (applied, promised) = staged.promise(DurableContent::synced_up_to(end)).unwrap();
        let change = ChangeNumber(u64::from(count));
        assert_eq!(applied, [Applied::New { change }]);

        let (asked, asking) = std::sync::mpsc::channel();
        let reading = Arc::clone(&index);
        let reader = std::thread::spawn(move || {
            let uid = instance_uid(1, 1, count);
            let digest = digest_of(uid.as_str(), 0);
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            asked.send(()).unwrap();
            runtime.block_on(async {
                let committed = reading.committed().await.unwrap();
                (
                    committed.change,
                    reading.knows(&uid, &digest).await.unwrap(),
                )
            })
        });
        asking.recv().unwrap();
        promised.show().unwrap();

        assert_eq!(reader.join().unwrap(), (change, true));
    }
}

/// What was answered must not look as if it had never come.
pub async fn a_promise_that_is_not_kept_is_not_taken_for_an_empty_index(index: Arc<dyn Index>) {
    let group = vec![Sample::new(1, 1, 1).record()];
    let staged = index.stage(group, position(1)).await.unwrap();
    let proof = DurableContent::synced_up_to(position(1));
    let (_, promised) = staged.promise(proof).unwrap();

    drop(promised);

    let uid = instance_uid(1, 1, 1);
    let known = index.knows(&uid, &digest_of(uid.as_str(), 0)).await;
    assert!(matches!(known, Ok(true) | Err(IndexError::Backend { .. })));
    let all = index
        .search(&query(Level::Study, []), &Quota::of(MANY))
        .await;
    assert!(all.map_or(true, |found| !found.is_empty()));
}

/// The index never names content that is not durable.
pub async fn a_commit_without_proof_of_its_content_is_refused(index: Arc<dyn Index>) {
    let log = Log::new(Arc::clone(&index));
    let group = vec![Sample::new(1, 1, 1).record()];
    let staged = index.stage(group, position(1)).await.unwrap();
    let short = LogPosition {
        offset: position(1).offset - 1,
        ..position(1)
    };

    let outcome = staged.commit(DurableContent::synced_up_to(short));

    assert!(matches!(outcome, Err(IndexError::Premature)));
    assert_eq!(log.entries().await, []);
    let later = log.add(vec![Sample::new(1, 1, 1).record()]).await;
    let change = ChangeNumber(1);
    assert_eq!(later, [Applied::New { change }]);
}

/// A replay begins there, so that it must never be beyond what was committed.
pub async fn the_durable_position_is_that_of_the_last_flush_or_later(index: Arc<dyn Index>) {
    for count in 1..=5 {
        let group = vec![Sample::new(1, 1, count).record()];
        apply(index.as_ref(), group, position(count as usize)).await;
        let durable = index.durable_position().await.unwrap();
        assert!(durable <= position(count as usize));
        if count % 2 == 0 {
            index.flush().await.unwrap();
            let durable = index.durable_position().await.unwrap();
            assert_eq!(durable, position(count as usize));
        }
    }
    // An empty group only says that the log is longer.
    apply(index.as_ref(), Vec::new(), position(9)).await;
    index.flush().await.unwrap();
    assert_eq!(index.durable_position().await.unwrap(), position(9));
}

/// The rebuild: the index is worth no more than the log.
pub async fn nothing_is_left_after_a_clear_and_a_replay_gives_it_back(index: Arc<dyn Index>) {
    let log = Log::new(Arc::clone(&index));
    let conflict = Sample::new(1, 1, 1).with_content(3);
    log.add(vec![
        Sample::new(1, 1, 1).record(),
        Sample::new(1, 1, 2).record(),
        Sample::new(1, 2, 1).record(),
    ])
    .await;
    log.add(vec![conflict.record(), Sample::new(2, 1, 1).record()])
        .await;
    log.add(vec![hide(Target::Study(study_uid(1)))]).await;
    log.add(vec![restore(Target::Instance(instance_uid(1, 1, 2)))])
        .await;
    let before = everything(&log).await;

    index.clear().await.unwrap();

    an_empty_index_answers_with_nothing(Arc::clone(&index)).await;
    log.replay(LogPosition::default()).await;
    assert_eq!(everything(&log).await, before);
    index.flush().await.unwrap();
    assert_eq!(index.durable_position().await.unwrap(), log.end());
    let proof = try_apply(index.as_ref(), Vec::new(), position(20)).await;
    assert_eq!(proof.unwrap(), []);
}

async fn everything(log: &Log) -> String {
    let mut all = String::new();
    for level in [Level::Patient, Level::Study, Level::Series, Level::Instance] {
        let asked = query(
            level,
            [
                tags::PATIENT_NAME,
                tags::MODALITIES_IN_STUDY,
                tags::NUMBER_OF_PATIENT_RELATED_INSTANCES,
                tags::NUMBER_OF_STUDY_RELATED_SERIES,
                tags::NUMBER_OF_SERIES_RELATED_INSTANCES,
            ]
            .map(|tag| (tag, pacs_core::Matching::Universal)),
        );
        for found in log.search(&asked).await {
            for attribute in &found.attributes {
                let text = found.attributes.text(attribute.tag).unwrap_or_default();
                all += &format!("{} {text}\n", attribute.tag);
            }
        }
    }
    all += &format!("{:?}\n{:?}", log.changes().await, log.entries().await);
    all
}
