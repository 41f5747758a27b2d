//! Query identifiers: whatever the bytes, they are refused or become a query that can be held
//! against entities and written again. The first byte chooses encoding, model and hierarchy.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pacs_core::limits::QueryLimits;
use pacs_core::matching::Matcher;
use pacs_core::{Attributes, Query, TransferSyntaxUid};

const SYNTAXES: [&str; 4] = [
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
];

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else {
        return;
    };
    let syntax = TransferSyntaxUid::parse(SYNTAXES[usize::from(choice & 3)]).expect("a UID");
    let model = if choice & 4 == 0 {
        pacs_core::query::Model::StudyRoot
    } else {
        pacs_core::query::Model::PatientRoot
    };
    let relational = choice & 8 != 0;
    let limits = QueryLimits::default();
    let _ = Query::for_retrieve(bytes, &syntax, model, relational, &limits);
    let Ok(query) = Query::from_identifier(bytes, &syntax, model, relational, &limits) else {
        return;
    };
    let matcher = Matcher::new(&query);
    assert!(matcher.keys().is_empty() || !matcher.matches(&Attributes::new()));
    let Ok(written) = query.to_identifier(&syntax) else {
        return;
    };
    let read = Query::from_identifier(&written, &syntax, model, relational, &limits);
    let again = read.expect("what was written is a query");
    // The VR of an element that is explicit in an implicit data set is lost, and what it says with
    // it.
    assert_eq!(again.level, query.level);
    assert!(
        again
            .keys
            .iter()
            .map(|key| key.tag)
            .eq(query.keys.iter().map(|key| key.tag))
    );
});
