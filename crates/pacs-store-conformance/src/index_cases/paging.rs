//! Pages of a search: together they are the whole, whatever arrives meanwhile.

use crate::log::{Log, MANY};
use crate::samples::{Sample, instance_uid, query, series_uid, single, study_uid};
use pacs_core::tag::tags;
use pacs_core::{Level, Matching, Query, Tag};
use pacs_store::index::{Index, Match, Page, Quota};
use std::sync::Arc;

const NAMES: [Tag; 3] = [
    tags::STUDY_INSTANCE_UID,
    tags::SERIES_INSTANCE_UID,
    tags::SOP_INSTANCE_UID,
];

/// The UIDs of a result, from the study down.
fn names(result: &Match, level: Level) -> Vec<String> {
    let count = Level::ALL.iter().position(|l| *l == level).unwrap();
    let text = |tag: &Tag| result.attributes.text(*tag).unwrap().to_owned();
    NAMES[..count].iter().map(text).collect()
}

/// Three studies of two series of two instances each.
async fn filled(index: Arc<dyn Index>) -> Log {
    let log = Log::new(index);
    for study in 1..=3 {
        for series in 1..=2 {
            let samples = (1..=2).map(|instance| Sample::new(study, series, instance));
            log.add(samples.map(|sample| sample.record()).collect())
                .await;
        }
    }
    log
}

/// All pages of `count_max`, one after the other.
async fn turned(log: &Log, query: &Query, count_max: usize) -> Vec<Vec<String>> {
    let mut page = Page {
        count_max,
        ..Page::default()
    };
    let mut all = Vec::new();
    loop {
        let found = log
            .index
            .search_page(query, &page, &Quota::of(MANY))
            .await
            .unwrap();
        let found = found.unwrap();
        assert!(found.matches.len() <= count_max);
        all.extend(found.matches.iter().map(|m| names(m, query.level)));
        if !found.has_more {
            return all;
        }
        assert_eq!(
            found.matches.len(),
            count_max,
            "a page before others is full"
        );
        page.after = all.last().cloned();
    }
}

/// The newest study comes first, and what is of one study in the order in which it arrived.
pub async fn pages_of_a_search_are_the_whole_newest_study_first(index: Arc<dyn Index>) {
    let log = filled(index).await;
    let uid = |study: u32| study_uid(study).as_str().to_owned();
    let series = |s: u32, r: u32| vec![uid(s), series_uid(s, r).as_str().to_owned()];
    let mut instances = Vec::new();
    for (study, number) in [(3, 1), (3, 2), (2, 1), (2, 2), (1, 1), (1, 2)] {
        for instance in 1..=2 {
            let mut names = series(study, number);
            names.push(instance_uid(study, number, instance).as_str().to_owned());
            instances.push(names);
        }
    }
    for count_max in [1, 2, 3, 100] {
        let studies = turned(&log, &Query::new(Level::Study), count_max).await;
        assert_eq!(studies, [[uid(3)], [uid(2)], [uid(1)]]);
        let found = turned(&log, &Query::new(Level::Series), count_max).await;
        let expected = [(3, 1), (3, 2), (2, 1), (2, 2), (1, 1), (1, 2)];
        assert_eq!(found, expected.map(|(study, number)| series(study, number)));
        let found = turned(&log, &Query::new(Level::Instance), count_max).await;
        assert_eq!(found, instances);
    }
}

/// Results before and behind a page come in; the pages after it are what they would have been.
pub async fn a_page_after_a_result_is_not_moved_by_what_arrives(index: Arc<dyn Index>) {
    let log = filled(index).await;
    let query = Query::new(Level::Study);
    let after = Page {
        after: Some(vec![study_uid(3).as_str().to_owned()]),
        offset: 0,
        count_max: 1,
    };
    let first = async |page: &Page| {
        let found = log
            .index
            .search_page(&query, page, &Quota::of(MANY))
            .await
            .unwrap();
        found.map(|found| names(&found.matches[0], Level::Study))
    };
    let before = first(&after).await;

    log.add(vec![Sample::new(4, 1, 1).record()]).await;

    assert_eq!(before, Some(vec![study_uid(2).as_str().to_owned()]));
    assert_eq!(first(&after).await, before);
    let unmoved = Page {
        after: None,
        offset: 1,
        count_max: 1,
    };
    assert_eq!(
        first(&unmoved).await,
        Some(vec![study_uid(3).as_str().to_owned()])
    );
}

/// A page after a result that is not there (any more) is not guessed.
pub async fn a_page_after_what_is_not_there_is_none(index: Arc<dyn Index>) {
    let log = filled(index).await;
    let one = [(tags::STUDY_INSTANCE_UID, single(study_uid(1).as_str()))];
    let all = [(tags::STUDY_INSTANCE_UID, Matching::Universal)];
    for (keys, after) in [
        (one, study_uid(2).as_str().to_owned()),
        (all, study_uid(9).as_str().to_owned()),
    ] {
        let page = Page {
            after: Some(vec![after]),
            offset: 0,
            count_max: 5,
        };
        let found = log
            .index
            .search_page(&query(Level::Study, keys), &page, &Quota::of(MANY))
            .await;
        assert!(found.unwrap().is_none());
    }
}
