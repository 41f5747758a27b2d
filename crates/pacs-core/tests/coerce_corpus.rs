//! The corpus of the fuzz target `coerce`, replayed.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "what must hold is told by a panic"
)]

#[path = "coerce_corpus/checks.rs"]
mod checks;

use std::path::Path;

#[test]
fn the_corpus_of_the_fuzzer_is_refused_or_coerced_for_good() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/coerce");
    let (mut coerced, mut refused) = (0, 0);
    for entry in std::fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        if checks::coerced(&std::fs::read(path).unwrap()) {
            coerced += 1;
        } else {
            refused += 1;
        }
    }
    assert!(coerced >= 10 && refused >= 3, "{coerced}, {refused}");
}
