//! An index against the model: whatever happens, and whatever is asked, both say the same.
//!
//! Histories are short and their values few, so that instances meet in studies, versions conflict
//! and queries find something; the values are those at which folding, grouping and index keys can
//! go wrong.

use crate::log::{Log, MANY};
use crate::samples::{CT_IMAGE, MR_IMAGE, Sample, instance_uid, series_uid, study_uid};
use crate::tenants::{correction, facts, note, reading_sight, sight};
use pacs_core::examination::reconcile::Kind;
use pacs_core::role::sight::{Sight, Studied};
use pacs_core::tag::{tags, vr_of};
use pacs_core::{Attributes, Key, Level, Matching, Query, Tag, Uid, Value, Vr};
use pacs_store::index::memory::MemoryIndex;
use pacs_store::index::{
    Index, IndexError, Location, LogPosition, LogRecord, Match, Notes, Page, PageOfMatches,
    Provenance, Quota, Results, StudyNote, Target,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Runs `cases` histories with queries through the model and through what `make` makes.
///
/// # Panics
/// Where they differ; the message has the smallest history and query that show it.
pub fn agrees_with_the_model<K>(cases: u32, make: impl Fn() -> (Arc<dyn Index>, K)) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let questions = (histories(), notings(), vec(queries(), 1..12), 0..20_usize);
    let outcome = TestRunner::new(config).run(&questions, |(history, notes, queries, limit)| {
        let (index, _keep) = make();
        runtime.block_on(compare(index, history, (notes, queries), limit))
    });
    if let Err(fault) = outcome {
        panic!("{fault}");
    }
}

async fn compare(
    index: Arc<dyn Index>,
    history: Vec<Vec<LogRecord>>,
    (notes, queries): (Vec<Notes>, Vec<Query>),
    limit_count: usize,
) -> Result<(), TestCaseError> {
    let model: Arc<dyn Index> = Arc::new(MemoryIndex::new());
    let (log, expected) = (Log::new(Arc::clone(&index)), Log::new(Arc::clone(&model)));
    for (at, group) in history.into_iter().enumerate() {
        let of_model = expected.add(group.clone()).await;
        prop_assert_eq!(log.add(group).await, of_model);
        if let Some(noted) = notes.get(at) {
            index.note(noted.clone()).await.unwrap();
            model.note(noted.clone()).await.unwrap();
            prop_assert_eq!(index.noted().await.unwrap(), noted.through);
        }
        if at % 3 == 2 {
            index.flush().await.unwrap();
        }
    }
    for (query, sees) in queries.iter().zip(SEES.iter().cycle()) {
        same_answers(&index, &model, (query, *sees), limit_count).await?;
    }
    prop_assert_eq!(log.changes().await, expected.changes().await);
    let versions = |entries: Vec<(u64, _)>| entries.into_iter().map(|(_, e)| e).collect::<Vec<_>>();
    prop_assert_eq!(
        versions(log.entries().await),
        versions(expected.entries().await)
    );
    let doomed = index.doomed(None, MANY).await.unwrap();
    prop_assert_eq!(&doomed, &model.doomed(None, MANY).await.unwrap());
    for study in (1..5).map(study_uid) {
        let mut of_index = index.content_of(&study).await.unwrap();
        let mut of_model = model.content_of(&study).await.unwrap();
        let place = |location: &Location| (location.pack, location.offset);
        of_index.sort_by_key(place);
        of_model.sort_by_key(place);
        prop_assert_eq!(of_index, of_model);
    }
    no_leak(&index, &notes, &log).await?;
    index.clear().await.unwrap();
    // In another order than before: what is noted waits for its study, or finds it there.
    for noted in notes.iter().take(log.groups_count()) {
        index.note(noted.clone()).await.unwrap();
    }
    log.replay(LogPosition::default()).await;
    prop_assert_eq!(index.doomed(None, MANY).await.unwrap(), doomed);
    for (query, sees) in queries.iter().zip(SEES.iter().cycle()) {
        same_answers(&index, &model, (query, *sees), limit_count).await?;
    }
    Ok(())
}

/// Who asks: devices of an organisation or of none, and readers of some kinds of images, or
/// of some departments.
const SEES: [fn() -> Sight; 8] = [
    || sight(Some("001")),
    || reading_sight("006", &["mr"], &[]),
    || sight(Some("006")),
    || reading_sight("001", &["ct"], &[]),
    || sight(None),
    || reading_sight("001", &["ct", "mr"], &[]),
    || reading_sight("001", &[], &["RAD"]),
    || reading_sight("001", &["ct"], &["ER", "RAD"]),
];

async fn same_answers(
    index: &Arc<dyn Index>,
    model: &Arc<dyn Index>,
    (query, sees): (&Query, fn() -> Sight),
    limit_count: usize,
) -> Result<(), TestCaseError> {
    for sight in [Sight::Everything, sees()] {
        let quota = Quota::of(limit_count).seen_by(&sight);
        same_to(index, model, query, quota).await?;
    }
    Ok(())
}

/// Whatever is asked for, nobody gets anything of a study that is none of theirs.
async fn no_leak(index: &Arc<dyn Index>, notes: &[Notes], log: &Log) -> Result<(), TestCaseError> {
    let mut known = BTreeMap::new();
    for noted in notes.iter().take(log.groups_count()) {
        for (study, note) in &noted.of_studies {
            known.insert(study.clone(), note.facts.clone());
        }
    }
    let mut senders = BTreeMap::new();
    for (_, stored) in log.entries().await {
        let study = stored.instance.study.clone();
        senders.entry(study).or_insert(stored.provenance.calling);
    }
    let everything = Query::new(Level::Series).returning(tags::MODALITY);
    let mut kinds: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for series in &index.search(&everything, &Quota::of(10_000)).await.unwrap() {
        let study = series.attributes.text(tags::STUDY_INSTANCE_UID);
        let modality = series.attributes.text(tags::MODALITY);
        let of_study = kinds.entry(study.unwrap().to_owned()).or_default();
        of_study.extend(modality.and_then(Kind::of_modality));
    }
    for sight in SEES.map(|sees| sees()) {
        let quota = Quota::of(10_000).seen_by(&sight);
        for level in [Level::Patient, Level::Instance] {
            let all = Query {
                level,
                keys: Vec::new(),
            };
            for stored in &index.select(&all, &quota).await.unwrap() {
                let study = &stored.instance.study;
                let studied = match known.get(study) {
                    Some(Some(facts)) => Studied::Known(facts, &kinds[study.as_str()]),
                    Some(None) | None => Studied::Unknown(&senders[study], &kinds[study.as_str()]),
                };
                prop_assert!(sight.sees(studied), "{:?} of {}", level, study);
            }
        }
    }
    Ok(())
}

async fn same_to(
    index: &Arc<dyn Index>,
    model: &Arc<dyn Index>,
    query: &Query,
    quota: Quota,
) -> Result<(), TestCaseError> {
    // `Debug` hides values, and with them what a failure is about.
    let words = format!("{:?} {}", query.level, keys_in_words(&query.keys));
    let found = told(index.search(query, &quota).await)?;
    let expected = told(model.search(query, &quota).await)?;
    prop_assert!(found == expected, "search {}", words);
    if found.is_some() {
        for (offset, count_max) in [(0, 2), (1, 3), (4, 100)] {
            let page = Page {
                after: None,
                offset,
                count_max,
            };
            let found = index.search_page(query, &page, &quota).await.unwrap();
            let expected = model.search_page(query, &page, &quota).await.unwrap();
            let parts = |page: PageOfMatches| (page.matches.into_vec(), page.has_more);
            let found = found.map(parts);
            prop_assert!(found == expected.map(parts), "page {}", words);
            let last = found.as_ref().and_then(|(matches, _)| matches.last());
            let Some(last) = last else { continue };
            let next = Page {
                after: Some(names(last, query.level)),
                offset: 0,
                count_max,
            };
            let found = index.search_page(query, &next, &quota).await.unwrap();
            let expected = model.search_page(query, &next, &quota).await.unwrap();
            prop_assert!(
                found.map(parts) == expected.map(parts),
                "next page {}",
                words
            );
        }
    }
    let found = told(index.select(query, &quota).await)?;
    let expected = told(model.select(query, &quota).await)?;
    prop_assert!(found == expected, "select {}", words);
    Ok(())
}

/// What a page names its last result by.
fn names(result: &Match, level: Level) -> Vec<String> {
    let tags = match level {
        Level::Patient => &[tags::PATIENT_ID][..],
        Level::Study => &[tags::STUDY_INSTANCE_UID],
        Level::Series => &[tags::STUDY_INSTANCE_UID, tags::SERIES_INSTANCE_UID],
        Level::Instance => &[
            tags::STUDY_INSTANCE_UID,
            tags::SERIES_INSTANCE_UID,
            tags::SOP_INSTANCE_UID,
        ],
    };
    let text = |tag: &Tag| result.attributes.text(*tag).unwrap_or_default().to_owned();
    tags.iter().map(text).collect()
}

/// What was found, or nothing where that was too much.
fn told<T>(outcome: Result<Results<T>, IndexError>) -> Result<Option<Vec<T>>, TestCaseError> {
    match outcome {
        Ok(found) => Ok(Some(found.into_vec())),
        Err(IndexError::TooMany { .. }) => Ok(None),
        Err(error) => Err(TestCaseError::fail(error.to_string())),
    }
}

fn keys_in_words(keys: &[Key]) -> String {
    let word = |matching: &Matching| match matching {
        Matching::SingleValue(text) => format!("= {text:?}"),
        Matching::WildCard(text) => format!("like {text:?}"),
        Matching::Range { from, to } => format!("{from:?} to {to:?}"),
        Matching::UidList(uids) => format!("in {uids:?}"),
        other @ (Matching::AnyOf(_) | Matching::Sequence(_) | Matching::Universal) => {
            format!("{other:?}")
        }
    };
    let words = keys
        .iter()
        .map(|key| format!("{} {} {}", key.tag, key.vr.to_string(), word(&key.matching)));
    words.collect::<Vec<_>>().join(", ")
}

const NAMES: &[&str] = &[
    "",
    "Асанова^Айгүл",
    "АСАНОВ^Азиз^^",
    "асанова^айгуль",
    "Өмүрова^Ёлка",
    "Omurov^Aziz=Өмүров^Азиз",
    "Үсөнов^Чыңгыз\\Усонов^Чингиз",
    "O'Neil^A ",
    "Жээнбеков",
    "Jeenbekov^^Jr",
    "Асан*ова",
];
const IDS: &[&str] = &["", "P1", "p1", "P2", " P1 ", "P1\\P2", "P12", "2\u{0}1"];
const TEXTS: &[&str] = &["", "A1", "a1", "A1 ", "КТ головы", "A\\B", "A"];
const DATES: &[&str] = &[
    "",
    "20251231",
    "20260101",
    "20260102",
    "2026.01.02",
    "no date",
    "20260102\\20260203",
];
const MODALITIES: &[&str] = &["", "CT", "MR", "CT\\PR", " MR"];

/// Attributes that samples have or lack, and queries ask for.
const VALUES: &[(Tag, &[&str])] = &[
    (tags::PATIENT_NAME, NAMES),
    (tags::PATIENT_ID, IDS),
    (tags::ISSUER_OF_PATIENT_ID, &["", "A", "B"]),
    (tags::PATIENT_BIRTH_DATE, &["", "19800101", "19810101"]),
    (tags::STUDY_DATE, DATES),
    (tags::ACCESSION_NUMBER, TEXTS),
    (tags::STUDY_DESCRIPTION, TEXTS),
    (tags::MODALITY, MODALITIES),
    (tags::SERIES_DESCRIPTION, TEXTS),
    (tags::SERIES_NUMBER, &["1", "01", "2", ""]),
    (tags::INSTANCE_NUMBER, &["1", "2", "3"]),
    (tags::CONTENT_DATE, DATES),
];

/// Computed ones, which queries ask for too.
const COMPUTED: &[(Tag, &[&str])] = &[
    (tags::MODALITIES_IN_STUDY, &["CT", "MR", "PR", "CT\\MR"]),
    (tags::SOP_CLASSES_IN_STUDY, &[CT_IMAGE, MR_IMAGE]),
    (tags::NUMBER_OF_PATIENT_RELATED_STUDIES, &["1", "2"]),
    (tags::NUMBER_OF_PATIENT_RELATED_SERIES, &["1", "2"]),
    (tags::NUMBER_OF_PATIENT_RELATED_INSTANCES, &["1", "3"]),
    (tags::NUMBER_OF_STUDY_RELATED_SERIES, &["1", "2"]),
    (tags::NUMBER_OF_STUDY_RELATED_INSTANCES, &["1", "2", "3"]),
    (tags::NUMBER_OF_SERIES_RELATED_INSTANCES, &["1", "2"]),
    (tags::INSTANCE_AVAILABILITY, &["ONLINE", "OFFLINE"]),
    (tags::RETRIEVE_AE_TITLE, &["PACS"]),
];

fn places() -> impl Strategy<Value = (u32, u32, u32)> {
    (1..5_u32, 1..3_u32, 1..4_u32)
}

fn samples() -> impl Strategy<Value = Sample> {
    let values = vec(
        (select(VALUES), any::<proptest::sample::Index>(), 0..5_u8),
        0..8,
    );
    (places(), 0..3_u8, 0..12_u8, 0..1_u64 << 40, values).prop_map(
        |((study, series, number), content, kind, place, values)| {
            let mut sample = Sample::new(study, series, number)
                // Patients are few.
                .with(tags::PATIENT_ID, ["P1", "P2"][study as usize % 2])
                .with_content(content)
                .at(1, place);
            for ((tag, texts), text, how) in values {
                let text = text.get(texts);
                sample = match how {
                    0 => sample.without(tag),
                    1 => sample.with_value(tag, Value::Suspect((*text).into())),
                    _ => sample.with(tag, text),
                };
            }
            match kind {
                0 => sample.of_class(MR_IMAGE, "MR"),
                1 => sample.in_series_of(study % 4 + 1, series),
                2 => sample.moved_to(study % 4 + 1, series),
                3 => sample.with_value(tags::PROCEDURE_CODE_SEQUENCE, items(&["A1", "B"])),
                4 => sample.with_value(tags::PROCEDURE_CODE_SEQUENCE, items(&[])),
                5 => sample.in_syntax("1.2.840.10008.1.2.4.90"),
                6 => sample.sent_by(Provenance {
                    received_unix_ms: 1_790_000_000_000,
                    calling: "CT2".to_owned(),
                    address: None,
                }),
                _ => sample,
            }
        },
    )
}

/// What is noted after one group and the other.
fn notings() -> impl Strategy<Value = Vec<Notes>> {
    let noting = (1..5_u32, 0..4_u8, 0..4_u8).prop_map(|(study, says, whose)| {
        let correction = match says {
            0 => Default::default(),
            1 => correction(1, "Асанова"),
            2 => correction(2, "Өмүрова"),
            _ => correction(2, "Асанов"),
        };
        let facts = match whose {
            0 => None,
            1 => Some(facts(1, "001", None)),
            2 => Some(facts(2, "006", Some("001"))),
            _ => Some(facts(2, "006", None)),
        };
        note(study, StudyNote { correction, facts }, u64::from(study) + 1)
    });
    vec(noting, 0..6)
}

fn items(codes: &[&str]) -> Value {
    let item = |code: &&str| {
        let mut item = Attributes::new();
        item.insert_text(tags::CODE_VALUE, Vr::SH, *code);
        item
    };
    Value::Items(codes.iter().map(item).collect())
}

fn targets() -> impl Strategy<Value = Target> {
    (places(), 0..3_u8).prop_map(|((study, series, instance), kind)| match kind {
        0 => Target::Instance(instance_uid(study, series, instance)),
        1 => Target::Series(series_uid(study, series)),
        _ => Target::Study(study_uid(study)),
    })
}

fn histories() -> impl Strategy<Value = Vec<Vec<LogRecord>>> {
    let erased = places().prop_map(|(study, ..)| crate::samples::erase(study_uid(study)));
    let record = prop_oneof![
        16 => samples().prop_map(|sample| sample.record()),
        1 => samples().prop_map(|sample| sample.destroyed()),
        1 => erased,
        2 => targets().prop_map(crate::samples::hide),
        2 => targets().prop_map(crate::samples::restore),
    ];
    vec(vec(record, 0..8), 1..6).prop_map(|mut groups| {
        // What is destroyed is of a study that is erased further on.
        let records = groups.iter().flatten();
        let studies = records.filter_map(|record| match record {
            LogRecord::Destroyed(stored) => Some(stored.instance.study.clone()),
            LogRecord::Erase { .. }
            | LogRecord::Hide { .. }
            | LogRecord::Instance(_)
            | LogRecord::Restore { .. } => None,
        });
        groups.push(studies.map(crate::samples::erase).collect());
        groups
    })
}

fn queries() -> impl Strategy<Value = Query> {
    let levels = [Level::Patient, Level::Study, Level::Series, Level::Instance];
    (select(levels.to_vec()), vec(keys(), 0..4)).prop_map(|(level, mut keys)| {
        keys.sort_by_key(|key| key.tag);
        keys.dedup_by_key(|key| key.tag);
        Query { level, keys }
    })
}

fn keys() -> impl Strategy<Value = Key> {
    prop_oneof![
        6 => valued_keys(VALUES),
        2 => valued_keys(COMPUTED),
        3 => uid_keys(),
        1 => sequence_keys(),
    ]
}

fn valued_keys(values: &'static [(Tag, &'static [&'static str])]) -> impl Strategy<Value = Key> {
    let one = any::<proptest::sample::Index>;
    (select(values), one(), one(), one(), 0..12_u8).prop_map(
        |((tag, texts), first, second, cut, how)| {
            let (text, other) = (*first.get(texts), *second.get(texts));
            let matching = match how {
                0 | 1 => Matching::Universal,
                2..=4 => Matching::SingleValue(text.to_owned()),
                5..=8 => Matching::WildCard(pattern(text, cut, how)),
                9 => Matching::AnyOf(vec![
                    Matching::SingleValue(text.to_owned()),
                    Matching::WildCard(pattern(other, cut, 5)),
                ]),
                _ => range(text, other),
            };
            // A peer may send a key with a VR of its own.
            let vr = if how == 4 { Vr::LO } else { vr_of(tag) };
            Key { tag, vr, matching }
        },
    )
}

/// `text` with wild cards: at the end, around a part, in one place, or in the middle.
fn pattern(text: &str, cut: proptest::sample::Index, how: u8) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let at = cut.index(chars.len() + 1);
    match how {
        5 => {
            chars.truncate(at);
            chars.push('*');
        }
        6 => {
            chars.drain(..at);
            chars.insert(0, '*');
            chars.truncate(4);
            chars.push('*');
        }
        7 => {
            if let Some(c) = chars.get_mut(at) {
                *c = '?';
            }
        }
        _ => chars.insert(at, '*'),
    }
    chars.into_iter().collect()
}

fn range(from: &str, to: &str) -> Matching {
    let bound = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Matching::Range {
        from: bound(from),
        to: bound(to),
    }
}

fn uid_keys() -> impl Strategy<Value = Key> {
    (vec(places(), 1..4), 0..3_u8, any::<bool>()).prop_map(|(places, kind, is_list)| {
        let uid = |(study, series, instance): (u32, u32, u32)| match kind {
            0 => study_uid(study).uid().clone(),
            1 => series_uid(study, series).uid().clone(),
            _ => instance_uid(study, series, instance).uid().clone(),
        };
        let tag = match kind {
            0 => tags::STUDY_INSTANCE_UID,
            1 => tags::SERIES_INSTANCE_UID,
            _ => tags::SOP_INSTANCE_UID,
        };
        let uids: Vec<Uid> = places.into_iter().map(uid).collect();
        let matching = match uids.as_slice() {
            [one, ..] if !is_list => Matching::SingleValue(one.as_str().to_owned()),
            _ => Matching::UidList(uids),
        };
        Key {
            tag,
            vr: Vr::UI,
            matching,
        }
    })
}

fn sequence_keys() -> impl Strategy<Value = Key> {
    select(&["A1", "B", "C"][..]).prop_map(|code| Key {
        tag: tags::PROCEDURE_CODE_SEQUENCE,
        vr: Vr::SQ,
        matching: Matching::Sequence(vec![Key {
            tag: tags::CODE_VALUE,
            vr: Vr::SH,
            matching: Matching::SingleValue(code.to_owned()),
        }]),
    })
}
