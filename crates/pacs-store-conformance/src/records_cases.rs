//! The cases of [`Records`], one function each, and the macro that makes tests of them.

use pacs_store::limits::{RECORD_KEY_BYTES_MAX, RECORD_VALUE_BYTES_MAX};
use pacs_store::records::{Kind, Record, Records, RecordsError, Revision};
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
            deleting_needs_the_present_state
            every_document_of_every_kind_is_given_once
            kinds_do_not_see_each_other
            lists_are_in_order_and_can_be_read_in_pieces
            of_writers_at_once_one_wins
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
        Err(RecordsError::Changed { current }) => current,
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
        assert_eq!(cases_count, 10);
    }
}
