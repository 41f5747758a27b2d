//! Replays the corpora of the fuzz targets, so that what was found once stays found.

use crate::checks;
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
fn the_pdu_corpus_holds() {
    replay("pdu", checks::pdu);
}

#[test]
fn the_association_corpus_holds() {
    replay("association", checks::association);
}

#[test]
fn the_command_set_corpus_holds() {
    replay("command_set", checks::command_set);
}
