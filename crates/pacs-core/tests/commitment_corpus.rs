//! The corpus of the fuzz target `commitment`, replayed.

#![expect(clippy::expect_used, reason = "what must hold is told by a panic")]

#[path = "commitment_corpus/checks.rs"]
mod checks;

use std::path::Path;

#[test]
fn the_corpus_of_the_fuzzer_is_refused_or_read_and_written_again() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/commitment");
    let (mut requests, mut reports, mut refused) = (0, 0, 0);
    for entry in std::fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        let read = checks::commitment(&std::fs::read(path).unwrap());
        requests += usize::from(read.is_request);
        reports += usize::from(read.is_report);
        refused += usize::from(read == checks::Read::default());
    }
    let counts = (requests, reports, refused);
    assert!(requests >= 5 && reports >= 8 && refused >= 5, "{counts:?}");
}
