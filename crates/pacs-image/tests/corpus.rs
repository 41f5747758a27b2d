//! The corpora of the fuzz targets `convert` and `rle`, replayed.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test says so by a panic, and the file on standard output"
)]

#[path = "corpus/checks.rs"]
mod checks;

use std::path::Path;

/// For how many inputs of the corpus of `target` the check said yes.
fn replay(target: &str, check: fn(&[u8]) -> bool) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let entries = std::fs::read_dir(folder.join(target)).unwrap();
    let holds = |path: &Path| {
        println!("{}", path.display());
        check(&std::fs::read(path).unwrap())
    };
    entries
        .filter(|entry| holds(&entry.as_ref().unwrap().path()))
        .count()
}

#[test]
fn what_was_converted_does_not_change_when_it_is_converted_again() {
    let converted = replay("convert", checks::converted);

    assert!(converted >= 18, "{converted}");
}

#[test]
fn no_more_pixels_come_out_than_the_attributes_say() {
    let decoded = replay("rle", checks::rle);

    assert!(decoded >= 4, "{decoded}");
}
