//! The corpus of the fuzz target `head`, replayed: the first byte chooses encoding and size of
//! fragments.

use pacs_core::limits::ScanLimits;
use pacs_core::scan::{Encoding, HeadReader, Scanner, file, gate};
use pacs_core::{Instance, TransferSyntaxUid};
use std::path::Path;

const SYNTAXES: [&str; 4] = [
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
];

#[test]
fn the_corpus_of_the_fuzzer_does_no_harm_and_fragments_change_nothing() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/head");
    let limits = ScanLimits::default();
    let mut replayed = 0;
    let mut instances = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        let input = std::fs::read(&path).unwrap();
        let Some((choice, bytes)) = input.split_first() else {
            continue;
        };
        let syntax = TransferSyntaxUid::parse(SYNTAXES[usize::from(choice & 3)]).unwrap();
        let encoding = Encoding::of(&syntax);
        let whole = Instance::parse(bytes, &syntax, &limits).ok();
        let mut reader = HeadReader::new(&syntax, &limits);
        let pushed = bytes
            .chunks(usize::from(choice >> 2) + 1)
            .try_for_each(|fragment| reader.push(fragment).map(drop));
        let parts = pushed.ok().and_then(|()| reader.finish().ok());
        assert_eq!(whole, parts, "{}", path.display());
        assert!(Scanner::new(bytes, encoding, &limits).count() <= bytes.len());
        let _ = gate::check(bytes, encoding, &limits).is_ok();
        let _ = file::read(bytes).is_ok();
        replayed += 1;
        instances += usize::from(whole.is_some());
    }
    assert!(replayed >= 16 && instances >= 12, "{replayed}, {instances}");
}
