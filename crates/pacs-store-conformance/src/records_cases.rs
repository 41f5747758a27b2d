//! The cases of [`Records`], one function each, and the macro that makes tests of them.

use pacs_store::limits::{
    RECORD_CHANGES_BYTES_MAX, RECORD_CHANGES_COUNT_MAX, RECORD_KEY_BYTES_MAX,
    RECORD_VALUE_BYTES_MAX,
};
use pacs_store::records::{Change, Kind, Record, Records, RecordsError, Revision};
use std::sync::{Arc, Mutex};

/// Emits a module `$name` with one test for each case. `$make` is as with
/// [`crate::index_conformance!`], and gives an `Arc<dyn Records>`.
#[macro_export]
macro_rules! records_conformance {
    ($name:ident, $make:expr) => {
        $crate::emit_cases! { $name, $make, records_cases:
            a_change_based_on_an_old_state_is_refused
            a_document_is_read_back_as_it_was_stored
            a_revision_never_comes_back
            changes_of_several_documents_happen_together
            changes_that_are_too_much_at_once_are_refused_whole
            deleting_needs_the_present_state
            every_document_of_every_kind_is_given_once
            kinds_do_not_see_each_other
            lists_are_in_order_and_can_be_read_in_pieces
            of_writers_at_once_one_wins
            of_writers_of_several_documents_at_once_one_wins_whole
            one_document_that_was_changed_stops_all_changes
            what_cannot_be_a_key_or_value_is_refused
            writers_of_different_documents_do_not_disturb_each_other
        }
    };
}

const A: Kind = Kind::new("a");
const B: Kind = Kind::new("b");

async fn put(records: &dyn Records, key: &str, value: &[u8]) -> Revision {
    let current = records.get(A, key).await.unwrap().map(|r| r.revision);
    records.put(A, key, value.to_vec(), current).await.unwrap()
}

fn changed<T: std::fmt::Debug>(outcome: Result<T, RecordsError>) -> Option<Revision> {
    match outcome {
        Err(RecordsError::Changed { at: 0, current }) => current,
        other => panic!("{other:?} is not a refusal"),
    }
}

/// Any bytes, any text.
pub async fn a_document_is_read_back_as_it_was_stored(records: Arc<dyn Records>) {
    assert_eq!(records.get(A, "ключ").await.unwrap(), None);
    for value in [&b"one"[..], &[0, 255, 10], &[]] {
        let revision = put(records.as_ref(), "ключ", value).await;
        let expected = Record {
            key: "ключ".to_owned(),
            revision,
            value: value.to_vec(),
        };
        assert_eq!(records.get(A, "ключ").await.unwrap(), Some(expected));
    }
}

/// The loser reads again; nothing of its change is left.
pub async fn a_change_based_on_an_old_state_is_refused(records: Arc<dyn Records>) {
    let refused = records.put(A, "k", vec![1], Some(Revision(9))).await;
    assert_eq!(changed(refused), None);
    let first = records.put(A, "k", vec![1], None).await.unwrap();
    assert_eq!(
        changed(records.put(A, "k", vec![2], None).await),
        Some(first)
    );
    let second = records.put(A, "k", vec![3], Some(first)).await.unwrap();
    assert!(second > first);

    let refused = records.put(A, "k", vec![4], Some(first)).await;

    assert_eq!(changed(refused), Some(second));
    assert_eq!(records.get(A, "k").await.unwrap().unwrap().value, [3]);
}

/// A document that was deleted and made anew is another one.
pub async fn a_revision_never_comes_back(records: Arc<dyn Records>) {
    let first = put(records.as_ref(), "k", b"1").await;
    records.delete(A, "k", first).await.unwrap();
    let second = put(records.as_ref(), "k", b"1").await;
    assert_ne!(first, second);
    assert_eq!(changed(records.delete(A, "k", first).await), Some(second));
    let other = records.put(B, "k", vec![1], None).await.unwrap();
    assert!(other != first && other != second);
}

/// As with storing.
pub async fn deleting_needs_the_present_state(records: Arc<dyn Records>) {
    assert_eq!(changed(records.delete(A, "k", Revision(1)).await), None);
    let first = put(records.as_ref(), "k", b"1").await;
    let second = put(records.as_ref(), "k", b"2").await;
    assert_eq!(changed(records.delete(A, "k", first).await), Some(second));
    records.delete(A, "k", second).await.unwrap();
    assert_eq!(records.get(A, "k").await.unwrap(), None);
    assert_eq!(changed(records.delete(A, "k", second).await), None);
}

/// The same key of two kinds is two documents.
pub async fn kinds_do_not_see_each_other(records: Arc<dyn Records>) {
    let of_a = records.put(A, "k", vec![1], None).await.unwrap();
    records.put(B, "k", vec![2], None).await.unwrap();
    records
        .put(Kind::new("ab"), "k", vec![3], None)
        .await
        .unwrap();

    assert_eq!(records.get(B, "k").await.unwrap().unwrap().value, [2]);
    assert_eq!(records.list(A, "", None, 9).await.unwrap().len(), 1);
    records.delete(A, "k", of_a).await.unwrap();
    assert_eq!(records.list(A, "", None, 9).await.unwrap(), []);
    assert_eq!(records.list(B, "", None, 9).await.unwrap().len(), 1);
}

/// In the order of the keys' bytes.
pub async fn lists_are_in_order_and_can_be_read_in_pieces(records: Arc<dyn Records>) {
    for key in ["ю", "b", "ab", "a", "abc", "я", "a b"] {
        put(records.as_ref(), key, key.as_bytes()).await;
    }
    let list = async |prefix: &str, after: Option<&str>, count_max| {
        let found = records.list(A, prefix, after, count_max).await.unwrap();
        found.into_iter().map(|r| r.key).collect::<Vec<_>>()
    };
    let all = ["a", "a b", "ab", "abc", "b", "ю", "я"];

    assert_eq!(list("", None, 99).await, all);
    assert_eq!(list("ab", None, 99).await, ["ab", "abc"]);
    assert_eq!(list("ab", Some("a"), 99).await, ["ab", "abc"]);
    assert_eq!(list("ab", Some("ab"), 99).await, ["abc"]);
    assert_eq!(list("ab", Some("b"), 99).await, [""; 0]);
    assert_eq!(list("x", None, 99).await, [""; 0]);
    assert_eq!(list("", None, 0).await, [""; 0]);
    // `after` need not be there.
    assert_eq!(list("", Some("abb"), 2).await, ["abc", "b"]);
    let mut pieces: Vec<String> = Vec::new();
    loop {
        let piece = list("", pieces.last().map(String::as_str), 2).await;
        if piece.is_empty() {
            break;
        }
        pieces.extend(piece);
    }
    assert_eq!(pieces, all);
}

/// Sixteen want to take the same step.
pub async fn of_writers_at_once_one_wins(records: Arc<dyn Records>) {
    let first = put(records.as_ref(), "k", b"0").await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..16 {
        let records = Arc::clone(&records);
        writers.spawn(async move { records.put(A, "k", vec![writer], Some(first)).await });
    }
    let outcomes = writers.join_all().await;
    let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(won, 1);
    let winner = outcomes.into_iter().find_map(Result::ok).unwrap();
    assert_eq!(records.get(A, "k").await.unwrap().unwrap().revision, winner);
}

/// Putting, deleting and keeping, of several kinds; each has a state of its own.
pub async fn changes_of_several_documents_happen_together(records: Arc<dyn Records>) {
    let kept = records.put(A, "kept", vec![1], None).await.unwrap();
    let gone = records.put(A, "gone", vec![2], None).await.unwrap();
    let old = records.put(B, "k", vec![3], None).await.unwrap();

    let revisions = records
        .apply(vec![
            Change::put(A, "new", vec![4], None),
            Change::keep(A, "kept", kept),
            Change::delete(A, "gone", gone),
            Change::put(B, "k", vec![5], Some(old)),
        ])
        .await
        .unwrap();

    let [new, still, was, changed] = revisions[..] else {
        panic!("{revisions:?}");
    };
    assert_eq!((still, was), (kept, gone));
    assert!(new > old && changed > old && new != changed);
    for (kind, key, expected) in [
        (A, "new", Some((new, vec![4]))),
        (A, "kept", Some((kept, vec![1]))),
        (A, "gone", None),
        (B, "k", Some((changed, vec![5]))),
    ] {
        let found = records.get(kind, key).await.unwrap();
        assert_eq!(found.map(|r| (r.revision, r.value)), expected, "{key}");
    }
    assert_eq!(records.apply(vec![]).await.unwrap(), []);
}

/// Wherever in the list it is and whatever is to be done with it; the first is named.
pub async fn one_document_that_was_changed_stops_all_changes(records: Arc<dyn Records>) {
    let first = records.put(A, "k", vec![1], None).await.unwrap();
    let present = records.put(A, "k", vec![2], Some(first)).await.unwrap();
    let other = records.put(B, "k", vec![3], None).await.unwrap();
    let good = |key| Change::put(A, key, vec![9], None);
    let delete = || Change::delete(B, "k", other);

    for (changes, at, current) in [
        (
            vec![
                good("x"),
                delete(),
                Change::put(A, "k", vec![9], Some(first)),
            ],
            2,
            Some(present),
        ),
        (
            vec![
                good("x"),
                Change::put(A, "k", vec![9], None),
                Change::keep(A, "-", first),
            ],
            1,
            Some(present),
        ),
        (
            vec![Change::keep(A, "k", first), delete()],
            0,
            Some(present),
        ),
        (
            vec![delete(), good("x"), Change::delete(A, "k", first)],
            2,
            Some(present),
        ),
        (vec![good("x"), Change::keep(A, "-", first)], 1, None),
        (vec![good("x"), Change::delete(A, "-", first)], 1, None),
    ] {
        let refused = records.apply(changes).await;
        let Err(RecordsError::Changed {
            at: told,
            current: now,
        }) = refused
        else {
            panic!("{refused:?} is not a refusal");
        };
        assert_eq!((told, now), (at, current));
    }

    assert_eq!(records.list(A, "", None, 9).await.unwrap().len(), 1);
    let found = records.get(A, "k").await.unwrap().unwrap();
    assert_eq!((found.revision, found.value), (present, vec![2]));
    let found = records.get(B, "k").await.unwrap().unwrap();
    assert_eq!(found.revision, other);
}

/// A bound holds exactly, and what is refused leaves nothing.
pub async fn changes_that_are_too_much_at_once_are_refused_whole(records: Arc<dyn Records>) {
    let put = |key: String, bytes| Change::put(A, key, vec![0; bytes], None);
    let many = |count: usize| (0..count).map(|n| put(format!("{n:04}"), 0)).collect();
    let heavy = |spare: usize| -> Vec<Change> {
        let mut left = RECORD_CHANGES_BYTES_MAX + spare;
        let mut changes = Vec::new();
        while left > 0 {
            let bytes = left.min(RECORD_VALUE_BYTES_MAX);
            changes.push(put(format!("{:04}", changes.len()), bytes - 4));
            left -= bytes;
        }
        changes
    };
    let twice = |kind| vec![put("k".to_owned(), 1), Change::put(kind, "k", vec![], None)];
    let too_much: [Vec<Change>; 5] = [
        many(RECORD_CHANGES_COUNT_MAX + 1),
        heavy(5),
        twice(A),
        vec![put("k".to_owned(), 1), Change::keep(A, "k", Revision(1))],
        vec![put("k".to_owned(), 1), put("a\0b".to_owned(), 1)],
    ];
    for changes in too_much {
        let refused = records.apply(changes).await;
        assert!(
            matches!(refused, Err(RecordsError::Unfit { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(records.list(A, "", None, 9).await.unwrap(), []);

    records.apply(twice(B)).await.unwrap();
    records.apply(many(RECORD_CHANGES_COUNT_MAX)).await.unwrap();
    let all = records.list(A, "", None, 9_999).await.unwrap();
    assert_eq!(all.len(), RECORD_CHANGES_COUNT_MAX + 1);
    let revisions = all.iter().map(|record| record.revision);
    let different: std::collections::BTreeSet<_> = revisions.collect();
    assert_eq!(different.len(), all.len());
    let deletions = all.iter().filter(|record| record.key != "k");
    let deletions = deletions.map(|r| Change::delete(A, &*r.key, r.revision));
    records.apply(deletions.collect()).await.unwrap();
    records.apply(heavy(0)).await.unwrap();
}

/// Sixteen want to change the same two documents, in either order: no mixture.
pub async fn of_writers_of_several_documents_at_once_one_wins_whole(records: Arc<dyn Records>) {
    let a = records.put(A, "k", vec![99], None).await.unwrap();
    let b = records.put(B, "k", vec![99], None).await.unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..16 {
        let records = Arc::clone(&records);
        let mut changes = vec![
            Change::put(A, "k", vec![writer], Some(a)),
            Change::put(B, "k", vec![writer], Some(b)),
        ];
        if writer % 2 == 0 {
            changes.reverse();
        }
        writers.spawn(async move { records.apply(changes).await });
    }
    let outcomes = writers.join_all().await;
    assert_eq!(outcomes.iter().filter(|o| o.is_ok()).count(), 1);
    let of_a = records.get(A, "k").await.unwrap().unwrap();
    let of_b = records.get(B, "k").await.unwrap().unwrap();
    assert_eq!(of_a.value, of_b.value);
    assert_ne!(of_a.value, [99]);
}

/// For a backup: kinds that nobody names are among them.
pub async fn every_document_of_every_kind_is_given_once(records: Arc<dyn Records>) {
    let first = put(records.as_ref(), "x", &[0, 255]).await;
    let gone = put(records.as_ref(), "gone", b"").await;
    let second = records.put(B, "x", vec![2], None).await.unwrap();
    records.delete(A, "gone", gone).await.unwrap();
    let given = Arc::new(Mutex::new(Vec::new()));

    let all = Arc::clone(&given);
    let take = move |kind: &str, record: Record| {
        all.lock().unwrap().push((kind.to_owned(), record));
        true
    };
    records.each(Box::new(take)).await.unwrap();
    let calls_count = Arc::new(Mutex::new(0));
    let calls = Arc::clone(&calls_count);
    let take_one = move |_: &str, _| {
        *calls.lock().unwrap() += 1;
        false
    };
    records.each(Box::new(take_one)).await.unwrap();

    let record = |revision, value: &[u8]| Record {
        key: "x".to_owned(),
        revision,
        value: value.to_vec(),
    };
    let expected = [
        ("a".to_owned(), record(first, &[0, 255])),
        ("b".to_owned(), record(second, &[2])),
    ];
    assert_eq!(*given.lock().unwrap(), expected);
    assert_eq!(*calls_count.lock().unwrap(), 1);
    records.check().await.unwrap();
}

/// Bounds are the same everywhere.
pub async fn what_cannot_be_a_key_or_value_is_refused(records: Arc<dyn Records>) {
    let long = "k".repeat(RECORD_KEY_BYTES_MAX);
    let large = vec![0; RECORD_VALUE_BYTES_MAX];
    records.put(A, &long, large.clone(), None).await.unwrap();
    assert_eq!(records.get(A, &long).await.unwrap().unwrap().value, large);

    let longer = format!("{long}k");
    let larger = vec![0; RECORD_VALUE_BYTES_MAX + 1];
    for (key, value) in [
        (longer.as_str(), vec![]),
        ("a\0b", vec![]),
        ("", vec![]),
        ("k", larger),
    ] {
        let refused = records.put(A, key, value, None).await;
        assert!(matches!(refused, Err(RecordsError::Unfit { .. })));
    }
    assert_eq!(records.list(A, "", None, 9).await.unwrap().len(), 1);
}

/// Sixteen at once, each with documents of its own.
pub async fn writers_of_different_documents_do_not_disturb_each_other(records: Arc<dyn Records>) {
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..16 {
        let records = Arc::clone(&records);
        writers.spawn(async move {
            for number in 0..20 {
                let key = format!("{writer}-{number}");
                records.put(A, &key, vec![writer], None).await.unwrap();
            }
        });
    }
    writers.join_all().await;
    assert_eq!(records.list(A, "", None, 999).await.unwrap().len(), 320);
}

#[cfg(test)]
mod tests {
    /// A case that is not in the macro would be run by nobody.
    #[test]
    fn every_case_is_in_the_macro() {
        let file = include_str!("records_cases.rs");
        let list = file.split("const A").next().unwrap();
        let mut cases_count = 0;
        for line in file.lines() {
            if let Some(rest) = line.strip_prefix("pub async fn ") {
                let name = rest.split('(').next().unwrap();
                assert!(list.contains(&format!(" {name}\n")), "{name}");
                cases_count += 1;
            }
        }
        assert_eq!(cases_count, 14);
    }
}
