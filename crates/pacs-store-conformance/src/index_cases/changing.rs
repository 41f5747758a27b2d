//! The change sequence and the list of everything.

use crate::log::{Log, MANY};
use crate::samples::{Sample, hide, instance_uid, query, restore, series_uid, study_uid};
use pacs_core::Level;
use pacs_core::tag::tags;
use pacs_store::index::{ChangeKind, ChangeNumber, Committed, Index, Provenance, Target};
use std::sync::Arc;

async fn eventful(index: Arc<dyn Index>) -> Log {
    let log = Log::new(index);
    let conflict = Sample::new(1, 1, 1).with_content(1);
    log.add(vec![
        Sample::new(1, 1, 1).record(),
        Sample::new(1, 1, 2).record(),
        Sample::new(1, 1, 2).record(),
        conflict.record(),
    ])
    .await;
    log.add(vec![
        hide(Target::Series(series_uid(1, 1))),
        Sample::new(2, 1, 1).record(),
        restore(Target::Instance(instance_uid(1, 1, 2))),
    ])
    .await;
    log
}

/// Whoever follows can tell that nothing is missing.
pub async fn changes_have_no_gaps_and_say_what_happened(index: Arc<dyn Index>) {
    let log = eventful(index).await;

    let changes = log.changes().await;

    let told: Vec<_> = changes
        .iter()
        .map(|c| (c.number.0, c.kind, c.instance.clone()))
        .collect();
    let (one, two) = (instance_uid(1, 1, 1), instance_uid(1, 1, 2));
    assert_eq!(
        told,
        [
            (1, ChangeKind::Received, one.clone()),
            (2, ChangeKind::Received, two.clone()),
            (3, ChangeKind::Conflicted, one.clone()),
            (4, ChangeKind::Hidden, one),
            (5, ChangeKind::Hidden, two.clone()),
            (6, ChangeKind::Received, instance_uid(2, 1, 1)),
            (7, ChangeKind::Restored, two),
        ]
    );
    assert_eq!(changes[5].study, study_uid(2));
    assert_eq!(changes[5].series, series_uid(2, 1));
    assert_eq!(changes[6].series, series_uid(1, 1));
}

/// Pieces of any size, put together, are the whole.
pub async fn changes_can_be_read_in_pieces(index: Arc<dyn Index>) {
    let log = eventful(index).await;
    let whole = log.changes().await;
    for size in 1..=8 {
        let mut pieces = Vec::new();
        loop {
            let after = ChangeNumber(pieces.len() as u64);
            let piece = log.index.changes(after, size).await.unwrap();
            assert!(piece.len() <= size);
            if piece.is_empty() {
                break;
            }
            pieces.extend(piece);
        }
        assert_eq!(pieces, whole, "in pieces of {size}");
    }
    let beyond = log.index.changes(ChangeNumber(99), MANY).await.unwrap();
    assert_eq!(beyond, []);
    assert_eq!(log.index.changes(ChangeNumber(0), 0).await.unwrap(), []);
}

/// Verification must see all of it: hidden, served or not.
pub async fn entries_give_every_version_in_order_of_arrival(index: Arc<dyn Index>) {
    let log = eventful(index).await;
    let odd = Sample::new(3, 1, 1)
        .sent_by(Provenance {
            received_unix_ms: 5,
            calling: "ÜÑÏ CODE".to_owned(),
            address: Some(std::net::Ipv6Addr::LOCALHOST.into()),
        })
        .in_syntax("1.2.840.10008.1.2.4.90")
        .without(tags::INSTANCE_NUMBER);
    let second = Sample::new(3, 1, 2).sent_by(Provenance {
        received_unix_ms: u64::MAX,
        calling: String::new(),
        address: None,
    });
    log.add(vec![odd.record(), second.record()]).await;

    let entries = log.entries().await;

    let expected = [
        Sample::new(1, 1, 1),
        Sample::new(1, 1, 2),
        Sample::new(1, 1, 1).with_content(1),
        Sample::new(2, 1, 1),
        odd,
        second,
    ];
    assert_eq!(entries.len(), expected.len());
    for ((_, entry), sample) in entries.iter().zip(expected) {
        let stored = sample.stored();
        assert_eq!(entry.digest, stored.digest);
        assert_eq!(entry.location, stored.location);
        assert_eq!(entry.provenance, stored.provenance);
        assert_eq!(entry.instance.instance, stored.instance.instance);
        assert_eq!(entry.instance.series, stored.instance.series);
        assert_eq!(entry.instance.study, stored.instance.study);
        assert_eq!(entry.instance.sop_class, stored.instance.sop_class);
        assert_eq!(
            entry.instance.transfer_syntax,
            stored.instance.transfer_syntax
        );
        assert_eq!(entry.instance.head_bytes, stored.instance.head_bytes);
    }
    let mut paged = Vec::new();
    let mut after = 0;
    loop {
        let page = log.index.entries(after, 2).await.unwrap();
        let Some((last, _)) = page.last() else { break };
        assert!(*last > after);
        after = *last;
        paged.extend(page);
    }
    assert_eq!(paged, entries);
    assert_eq!(log.select(&query(Level::Study, [])).await.len(), 4);
}

/// A backup is made of the log up to there and has this change last.
pub async fn the_last_change_and_the_end_of_the_log_are_told_together(index: Arc<dyn Index>) {
    assert_eq!(index.committed().await.unwrap(), Committed::default());

    let log = eventful(index).await;
    let staged = log.index.stage(vec![], crate::log::position(9)).await;
    drop(staged.unwrap());

    let expected = Committed {
        position: log.end(),
        change: ChangeNumber(7),
    };
    assert_eq!(log.index.committed().await.unwrap(), expected);
    log.index.check().await.unwrap();
    log.index.clear().await.unwrap();
    assert_eq!(log.index.committed().await.unwrap(), Committed::default());
}
