//! The corpora of the fuzz targets `multipart` and `accept`, replayed.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test says so by a panic, and the file on standard output"
)]

#[path = "corpus/checks.rs"]
mod checks;

use std::path::Path;

fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let mut count = 0;
    for file in std::fs::read_dir(folder.join(target)).unwrap() {
        let path = file.unwrap().path();
        println!("{}", path.display());
        check(&std::fs::read(path).unwrap());
        count += 1;
    }
    assert!(count > 0, "the corpus of {target} is empty");
}

#[test]
fn the_multipart_corpus_holds() {
    replay("multipart", checks::multipart);
}

#[test]
fn the_accept_corpus_holds() {
    replay("accept", checks::accept);
}
