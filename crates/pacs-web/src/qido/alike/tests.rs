//! Names that are alike, over an archive: whole pages, pages that end early, and the way on.

use super::*;
use crate::limits::WebLimits;
use crate::qido::page::page;
use crate::qido::search_of_query;
use crate::testing::{Service, may};

/// Three studies of two instances each of everybody.
async fn filled(limits: WebLimits, names: &[&str]) -> Service {
    let service = Service::open(limits).await;
    let mut studies = 1..;
    for name in names {
        for _ in 0..3 {
            let study = studies.next().unwrap();
            for number in 1..=2 {
                service.store(study, number, name).await;
            }
        }
    }
    service
}

/// All pages of a search: what is on each, by its last UID, and whether it ended early.
async fn pages(service: &Service, level: Level, query: &str) -> Vec<(Vec<String>, bool)> {
    let mut pages = Vec::new();
    let mut rest = String::new();
    loop {
        let query = format!("{query}{rest}");
        let request = search_of_query(level, Some(&query), service.web.limits()).unwrap();
        let found = page(&service.web, &may(), &request).await.unwrap();
        let uid = |result: &Match| Cursor::after(&result.attributes, level).unwrap().to_text();
        let uids = found.page.matches.iter().map(uid);
        let uids = uids.map(|uids| uids.split('/').next_back().unwrap().to_owned());
        pages.push((uids.collect(), found.is_cut));
        let Some(next) = found.next else {
            assert!(!found.page.has_more);
            return pages;
        };
        rest = format!("&cursor={}&offset={}", next.to_text(), found.offset);
    }
}

fn all(pages: Vec<(Vec<String>, bool)>) -> Vec<String> {
    pages.into_iter().flat_map(|(uids, _)| uids).collect()
}

const BOTH: [&str; 2] = ["Жээнбеков^Өмүрбек", "Asanov^Bakyt"];

#[tokio::test]
async fn the_results_of_those_who_are_alike_are_found_at_each_level_and_none_twice() {
    let service = filled(WebLimits::default(), &BOTH).await;
    let query = "PatientName=jeenbekov&fuzzymatching=true";
    let studies = ["2.25.3", "2.25.2", "2.25.1"];
    assert_eq!(all(pages(&service, Level::Study, query).await), studies);
    let instances: Vec<String> = studies
        .iter()
        .flat_map(|study| [format!("{study}.1.1"), format!("{study}.1.2")])
        .collect();
    for limit in [1, 2, 3, 4, 100] {
        let query = format!("{query}&limit={limit}");
        let found = pages(&service, Level::Instance, &query).await;
        assert!(
            found
                .iter()
                .all(|(uids, is_cut)| uids.len() <= limit && !is_cut)
        );
        assert_eq!(all(found), instances, "{limit}");
        let series = all(pages(&service, Level::Series, &query).await);
        assert_eq!(series, studies.map(|study| format!("{study}.1")), "{limit}");
    }
    let query = format!("{query}&offset=3&limit=2");
    assert_eq!(
        all(pages(&service, Level::Instance, &query).await),
        instances[3..]
    );
    let one = "PatientName=jeenbekov&fuzzymatching=true&SOPInstanceUID=2.25.2.1.2";
    assert_eq!(
        all(pages(&service, Level::Instance, one).await),
        ["2.25.2.1.2"]
    );
    let other = "PatientName=asanov&fuzzymatching=true&SOPInstanceUID=2.25.2.1.2";
    assert_eq!(all(pages(&service, Level::Instance, other).await), [""; 0]);
}

#[tokio::test]
async fn a_page_looks_at_so_much_and_the_next_one_goes_on_until_all_is_found() {
    for looked_at_max in 1..12 {
        let limits = WebLimits {
            looked_at_max,
            ..WebLimits::default()
        };
        let service = filled(limits, &BOTH).await;
        let query = "PatientName=omurbek+zheenbekov&fuzzymatching=true";
        for level in [Level::Study, Level::Series, Level::Instance] {
            let found = pages(&service, level, query).await;
            let is_cut = found.iter().any(|(_, is_cut)| *is_cut);
            assert!(is_cut || looked_at_max > 8, "{level:?} {looked_at_max}");
            let count = if level == Level::Instance { 6 } else { 3 };
            let mut all = all(found);
            assert_eq!(all.len(), count, "{level:?} {looked_at_max}");
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), count);

            let left_out = pages(&service, level, &format!("{query}&offset=2")).await;
            let left_out: usize = left_out.iter().map(|(uids, _)| uids.len()).sum();
            assert_eq!(
                left_out,
                count.saturating_sub(2),
                "{level:?} {looked_at_max}"
            );
        }
    }
}

#[tokio::test]
async fn one_client_looks_for_no_more_than_its_share_at_once() {
    let service = Service::open(WebLimits::default()).await;
    let caller = may::<Find>().caller().clone();
    let places = (0..service.web.limits().alike_of_client_max)
        .map(|_| service.web.place_to_look(&caller).unwrap());
    let places: Vec<_> = places.collect();
    let query = "PatientName=a&fuzzymatching=true";
    let request = search_of_query(Level::Study, Some(query), service.web.limits()).unwrap();

    let refused = page(&service.web, &may(), &request).await;

    assert!(matches!(refused, Err(Failure::Unavailable { .. })));
    drop(places);
    assert!(page(&service.web, &may(), &request).await.is_ok());
}
