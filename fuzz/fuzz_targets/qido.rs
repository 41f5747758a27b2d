//! The query of a search over the web: whatever it says, it is refused or becomes a query that can
//! be held against entities. The first byte chooses the level.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pacs_core::matching::Matcher;
use pacs_core::{Attributes, Level};
use pacs_web::WebLimits;
use pacs_web::qido::search_of_query;

const LEVELS: [Level; 3] = [Level::Study, Level::Series, Level::Instance];

fuzz_target!(|input: &[u8]| {
    let Some((level, query)) = input.split_first() else {
        return;
    };
    let Ok(query) = std::str::from_utf8(query) else {
        return;
    };
    let level = LEVELS[usize::from(*level) % LEVELS.len()];
    let limits = WebLimits::default();
    let Ok(request) = search_of_query(level, Some(query), &limits) else {
        return;
    };
    assert!(request.limit <= limits.results_max);
    assert_eq!(request.query.level, level);
    assert!(request.query.keys.is_sorted_by_key(|key| key.tag));
    let matcher = Matcher::new(&request.query);
    assert!(matcher.keys().is_empty() || !matcher.matches(&Attributes::new()));
});
