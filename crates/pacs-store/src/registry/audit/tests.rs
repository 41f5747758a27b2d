//! What is appended is found again, and whatever is done to a trail is noticed.

use super::*;
use crate::records::memory::MemoryRecords;
use pacs_core::Phi;
use pacs_core::audit::{Act, Actor, ActorKind};
use pacs_core::patient::PatientNumber;
use proptest::prelude::*;

const THING: Kind = Kind::new("thing");

fn patient(serial: u32) -> PatientKey {
    PatientKey::Known(PatientNumber::from_serial(serial).unwrap())
}

/// The event with this number: of patient 1 or 2 in turn, and every third of nobody.
fn event(number: u32) -> AuditEvent {
    let at = "2026-11-26T09:30:00+06:00".parse().unwrap();
    let mut event = AuditEvent::new(Act::PatientRead, at, Actor::new(ActorKind::User, "a"));
    event.correlation = Some(format!("request {number}"));
    event.object.patient = (!number.is_multiple_of(3)).then(|| Phi::new(patient(number % 3)));
    event
}

async fn trail_of(count: u32) -> (AuditTrail, Arc<dyn Records>) {
    let records: Arc<dyn Records> = Arc::new(MemoryRecords::new());
    let trail = AuditTrail::new(Arc::clone(&records));
    for number in 1..=count {
        trail.commit(Vec::new(), &event(number)).await.unwrap();
    }
    (trail, records)
}

fn numbers(records: &[AuditRecord]) -> Vec<u64> {
    records.iter().map(|record| record.number).collect()
}

async fn verified(records: &Arc<dyn Records>, noted: Option<Anchor>) -> Verified {
    let trail = AuditTrail::new(Arc::clone(records));
    trail.verify(noted, |_| {}).await.unwrap()
}

async fn problem(records: &Arc<dyn Records>) -> Option<AuditProblem> {
    verified(records, None).await.problem
}

#[tokio::test]
async fn what_is_appended_is_read_back_newest_first_in_pages() {
    let (trail, records) = trail_of(8).await;

    let all = trail.page(None, 99).await.unwrap();
    assert_eq!(numbers(&all), [8, 7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(all[0].event, event(8));
    assert_eq!(numbers(&trail.page(Some(4), 2).await.unwrap()), [3, 2]);
    assert_eq!(numbers(&trail.page(Some(2), 9).await.unwrap()), [1]);
    assert_eq!(numbers(&trail.page(Some(1), 9).await.unwrap()), [0; 0]);
    for (patients, before, count_max, expected) in [
        (&[1][..], None, 9, &[7, 4, 1][..]),
        (&[1], Some(7), 1, &[4]),
        (&[9], None, 9, &[]),
        (&[1, 2, 1], None, 9, &[8, 7, 5, 4, 2, 1]),
        (&[2, 9, 1], None, 3, &[8, 7, 5]),
        (&[2, 9, 1], Some(5), 3, &[4, 2, 1]),
        (&[], None, 9, &[]),
    ] {
        let patients: Vec<_> = patients.iter().copied().map(patient).collect();
        let found = trail.of_patients(&patients, before, count_max).await;
        assert_eq!(
            numbers(&found.unwrap()),
            expected,
            "{patients:?} {before:?}"
        );
    }
    let found = verified(&records, None).await;
    assert_eq!((found.records_count, found.problem), (8, None));
    assert_eq!(found.anchor, trail.anchor().await.unwrap());
}

#[tokio::test]
async fn an_empty_trail_is_whole() {
    let (trail, records) = trail_of(0).await;
    let found = verified(&records, None).await;
    assert_eq!(
        (found.records_count, found.problem, found.anchor),
        (0, None, None)
    );
    assert_eq!(trail.page(None, 9).await.unwrap(), []);
}

/// The change and its record are one.
#[tokio::test]
async fn a_change_that_is_refused_leaves_no_record_and_a_change_that_is_made_has_one() {
    let (trail, records) = trail_of(1).await;
    let make = |expected| vec![Change::put(THING, "k", b"1".to_vec(), expected)];

    let revisions = trail.commit(make(None), &event(2)).await.unwrap();
    let refused = trail.commit(make(None), &event(3)).await;

    let current = records.get(THING, "k").await.unwrap().unwrap().revision;
    assert_eq!(revisions, [current]);
    let Err(AuditError::Records(RecordsError::Changed { at: 0, current: at })) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(at, Some(current));
    let all = trail.page(None, 9).await.unwrap();
    assert_eq!(numbers(&all), [2, 1]);
    trail.commit(make(Some(current)), &event(4)).await.unwrap();
    assert_eq!(problem(&records).await, None);
}

/// Several trails over one store are what several processes over one database will be.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_append_at_once_nobody_is_lost() {
    let (_, records) = trail_of(0).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..64_u32 {
        let trail = AuditTrail::new(Arc::clone(&records));
        tasks.spawn(async move {
            while let Err(error) = trail.commit(Vec::new(), &event(number)).await {
                assert!(matches!(error, AuditError::Busy), "{error:?}");
            }
        });
    }
    tasks.join_all().await;

    let found = verified(&records, None).await;
    assert_eq!((found.records_count, found.problem), (64, None));
}

#[tokio::test]
async fn several_events_of_one_change_stand_behind_one_another() {
    let (trail, records) = trail_of(1).await;
    trail
        .commit_all(Vec::new(), &[event(2), event(3)])
        .await
        .unwrap();
    trail.commit_all(Vec::new(), &[]).await.unwrap();
    trail.commit(Vec::new(), &event(4)).await.unwrap();
    assert_eq!(numbers(&trail.page(None, 9).await.unwrap()), [4, 3, 2, 1]);
    assert_eq!(problem(&records).await, None);
}

/// What stands on disk can be compared without this program.
#[tokio::test]
async fn a_record_is_a_line_of_json_that_ends_in_its_digest() {
    let (trail, records) = trail_of(2).await;
    let value = records
        .get(RECORD, &key_of(2))
        .await
        .unwrap()
        .unwrap()
        .value;
    let text = String::from_utf8(value).unwrap();
    let (body, _) = text.split_once(",\"digest\"").unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        json["digest"],
        blake3::hash(body.as_bytes()).to_hex().as_str()
    );
    assert_eq!(json["event"]["act"], "patient_read");
    let first = trail.page(Some(2), 1).await.unwrap();
    assert_eq!(json["previous"], first[0].digest.to_string());
}

/// Somebody who can write the whole directory makes a trail that is whole: a note elsewhere tells.
#[tokio::test]
async fn a_trail_that_was_made_anew_is_not_the_one_that_was_noted() {
    let (trail, records) = trail_of(5).await;
    let noted = trail.anchor().await.unwrap().unwrap();
    let text = noted.to_string();
    assert_eq!(text.parse(), Ok(noted));
    assert!("0:00".parse::<Anchor>().is_err() && "5".parse::<Anchor>().is_err());
    assert_eq!(verified(&records, Some(noted)).await.problem, None);

    let other: Arc<dyn Records> = Arc::new(MemoryRecords::new());
    let forged = AuditTrail::new(Arc::clone(&other));
    for number in [1, 2, 3, 4] {
        forged.commit(Vec::new(), &event(number)).await.unwrap();
    }
    let found = verified(&other, Some(noted)).await.problem;
    assert_eq!(found, Some(AuditProblem::Missing { number: 5 }));
    forged.commit(Vec::new(), &event(6)).await.unwrap();
    let found = verified(&other, Some(noted)).await.problem;
    assert_eq!(found, Some(AuditProblem::NotNoted { number: 5 }));
}

/// What is done to a trail.
#[derive(Debug, Clone, Copy)]
enum Harm {
    /// A byte of a record is another one.
    Byte { of: u32, at: usize, flip: u8 },
    /// A byte of the head is another one.
    HeadByte { at: usize, flip: u8 },
    /// The last ones go, from this one on.
    Cut { from: u32 },
    /// Two change places.
    Swap { one: u32, other: u32 },
    /// One goes.
    Remove { of: u32 },
    /// One is replaced by another that is whole.
    Replace { of: u32 },
    /// One is taken from the list of its patient.
    Unlist { of: u32 },
    /// The head goes.
    Behead,
}

async fn change(records: &Arc<dyn Records>, kind: Kind, key: &str, to: Option<Vec<u8>>) {
    let found = records.get(kind, key).await.unwrap().unwrap();
    match to {
        Some(value) => {
            let put = records.put(kind, key, value, Some(found.revision));
            put.await.unwrap();
        }
        None => records.delete(kind, key, found.revision).await.unwrap(),
    }
}

async fn value(records: &Arc<dyn Records>, kind: Kind, key: &str) -> Vec<u8> {
    records.get(kind, key).await.unwrap().unwrap().value
}

fn flipped(mut value: Vec<u8>, at: usize, flip: u8) -> Vec<u8> {
    let at = at % value.len();
    value[at] ^= flip.max(1);
    value
}

/// Does it to a trail of `count` records, and gives what may be said of it.
async fn harm(records: &Arc<dyn Records>, count: u32, harm: Harm) -> Vec<AuditProblem> {
    let key = |number: u32| key_of(number.into());
    let missing = |number: u32| AuditProblem::Missing {
        number: number.into(),
    };
    match harm {
        Harm::Byte { of, at, flip } => {
            let wrong = flipped(value(records, RECORD, &key(of)).await, at, flip);
            change(records, RECORD, &key(of), Some(wrong)).await;
            vec![AuditProblem::Altered { number: of.into() }]
        }
        Harm::HeadByte { at, flip } => {
            let wrong = flipped(value(records, HEAD, HEAD_KEY).await, at, flip);
            change(records, HEAD, HEAD_KEY, Some(wrong)).await;
            // A head that names a later record is what a trail that is cut has.
            vec![AuditProblem::Head, missing(count + 1)]
        }
        Harm::Cut { from } => {
            for number in from..=count {
                change(records, RECORD, &key(number), None).await;
            }
            vec![missing(from)]
        }
        Harm::Swap { one, other } => {
            let first = value(records, RECORD, &key(one)).await;
            let second = value(records, RECORD, &key(other)).await;
            change(records, RECORD, &key(one), Some(second)).await;
            change(records, RECORD, &key(other), Some(first)).await;
            let number = one.min(other).into();
            vec![AuditProblem::Altered { number }]
        }
        Harm::Remove { of } => {
            change(records, RECORD, &key(of), None).await;
            vec![missing(of)]
        }
        Harm::Replace { of } => {
            let old = records.get(RECORD, &key(of)).await.unwrap().unwrap();
            let previous = read_record(&old).unwrap().previous;
            // Of the same patient, who is not to know.
            let (forged, _) = write_record(of.into(), previous, &event(of + 3)).unwrap();
            change(records, RECORD, &key(of), Some(forged)).await;
            let number = of.into();
            vec![if of == count {
                AuditProblem::Head
            } else {
                AuditProblem::Replaced { number }
            }]
        }
        Harm::Unlist { of } => {
            let pointer = pointer_key(patient(of % 3), of.into());
            change(records, OF_PATIENT, &pointer, None).await;
            vec![AuditProblem::Unlisted { number: of.into() }]
        }
        Harm::Behead => {
            change(records, HEAD, HEAD_KEY, None).await;
            vec![AuditProblem::Head]
        }
    }
}

fn harms(count: u32) -> impl Strategy<Value = Harm> {
    let of = 1..=count;
    prop_oneof![
        6 => (of.clone(), any::<usize>(), any::<u8>())
            .prop_map(|(of, at, flip)| Harm::Byte { of, at, flip }),
        3 => (any::<usize>(), any::<u8>()).prop_map(|(at, flip)| Harm::HeadByte { at, flip }),
        1 => of.clone().prop_map(|from| Harm::Cut { from }),
        2 => (of.clone(), 1..count).prop_map(move |(one, step)| {
            let other = (one - 1 + step) % count + 1;
            Harm::Swap { one, other }
        }),
        1 => of.clone().prop_map(|of| Harm::Remove { of }),
        1 => of.clone().prop_map(|of| Harm::Replace { of }),
        1 => of.prop_map(|of| Harm::Unlist { of: if of.is_multiple_of(3) { 1 } else { of } }),
        1 => Just(Harm::Behead),
    ]
}

proptest! {
    #[test]
    fn whatever_is_done_to_a_trail_is_noticed_and_the_first_bad_record_named(
        (count, done) in (2..9_u32).prop_flat_map(|count| (Just(count), harms(count)))
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (may_be, found) = runtime.block_on(async {
            let (_, records) = trail_of(count).await;
            let may_be = harm(&records, count, done).await;
            (may_be, problem(&records).await)
        });
        prop_assert!(
            found.is_some_and(|found| may_be.contains(&found)),
            "{found:?} instead of {may_be:?}"
        );
    }
}

/// A trail longer than a page, where the page's last and first records matter.
#[tokio::test]
async fn a_long_trail_is_read_in_pages_and_others_may_append_meanwhile() {
    let count = u32::try_from(crate::limits::AUDIT_VERIFY_PAGE_COUNT * 2 + 5).unwrap();
    let (trail, records) = trail_of(count).await;
    let mut told = Vec::new();
    let found = trail
        .verify(None, |behind| told.push(behind))
        .await
        .unwrap();
    assert_eq!((found.records_count, found.problem), (count.into(), None));
    assert_eq!(told, [64, 128, 133]);

    for number in [64, 65, 128] {
        let (_, records) = trail_of(count).await;
        change(&records, RECORD, &key_of(number), None).await;
        assert_eq!(
            problem(&records).await,
            Some(AuditProblem::Missing { number })
        );
    }
    let last = u64::from(count);
    change(&records, RECORD, &key_of(last), None).await;
    assert_eq!(
        problem(&records).await,
        Some(AuditProblem::Missing { number: last })
    );
}
