//! What must hold of coercion, whatever the bytes: used by the fuzz target `coerce`, and by the
//! replay of its corpus.

#[path = "../coerce_support/overlays.rs"]
#[expect(dead_code, reason = "bytes are compared, not times")]
mod overlays;

use overlays::{everything, patient_only};
use pacs_core::charset::Undeclared;
use pacs_core::coerce::{Coercer, Outcome, Overlay};
use pacs_core::convert::{ConvertError, Progress};
use pacs_core::limits::{CoerceLimits, ScanLimits};
use pacs_core::{Instance, TransferSyntaxUid};
use std::sync::Arc;

const SYNTAXES: [&str; 8] = [
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.113619.5.2",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
];

/// Bytes that are looked at: a short deflated stream may stand for many.
const OUT_BYTES_MAX: usize = 16 << 20;

/// The first byte chooses the syntax, the overlay, the guess and the size of pieces. Whole and in
/// pieces must give the same; what was coerced says all of it, and then changes no more. Whether it
/// was.
pub(crate) fn coerced(input: &[u8]) -> bool {
    let Some((&choice, bytes)) = input.split_first() else {
        return false;
    };
    let syntax = SYNTAXES[usize::from(choice & 7)];
    let syntax = TransferSyntaxUid::parse(syntax).expect("a UID");
    let overlay = if choice & 8 == 0 {
        everything()
    } else {
        patient_only()
    };
    let undeclared = (choice & 16 != 0).then_some(Undeclared::Windows1251);
    let size = usize::from(choice >> 5) * 7 + 1;
    let run = |bytes: &[u8], input, output| {
        let overlay = Arc::clone(&overlay);
        coerce(bytes, &syntax, overlay, undeclared, (input, output))
    };
    let whole = run(bytes, bytes.len().max(1), 1 << 20);
    let pieces = run(bytes, size, size);
    assert_eq!(whole.is_ok(), pieces.is_ok(), "{whole:?}, {pieces:?}");
    let (Ok((whole, outcome)), Ok((pieces, same))) = (whole, pieces) else {
        return false;
    };
    assert!(
        whole == pieces && outcome == same,
        "in pieces it is another"
    );
    if whole.len() >= OUT_BYTES_MAX {
        return true;
    }
    if outcome == Outcome::default() {
        assert!(whole == bytes, "nothing changed, but the bytes did");
    }
    let (again, outcome) = run(&whole, whole.len().max(1), 1 << 20).expect("a data set");
    assert!(
        again == whole && outcome == Outcome::default(),
        "it changes again"
    );
    let parse = |bytes: &[u8]| Instance::parse(bytes, &syntax, &ScanLimits::default());
    if let Ok(before) = parse(bytes) {
        let after = parse(&whole).expect("its UIDs are there");
        assert!(
            (
                &before.study,
                &before.series,
                &before.instance,
                &before.sop_class
            ) == (
                &after.study,
                &after.series,
                &after.instance,
                &after.sop_class
            ),
            "a UID changed"
        );
    }
    true
}

fn coerce(
    bytes: &[u8],
    syntax: &TransferSyntaxUid,
    overlay: Arc<Overlay>,
    undeclared: Option<Undeclared>,
    (input, output): (usize, usize),
) -> Result<(Vec<u8>, Outcome), ConvertError> {
    let limits = CoerceLimits::default();
    let coercer = Coercer::new(syntax, syntax, None, overlay, &limits)?;
    let mut coercer = coercer.with_undeclared(undeclared);
    let mut rest = bytes.chunks(input);
    let mut out = Vec::new();
    while out.len() < OUT_BYTES_MAX {
        let bytes_max = out.len() + output;
        match coercer.read(&mut out, bytes_max)? {
            Progress::Done => break,
            Progress::Full => {}
            Progress::NeedsInput => match rest.next() {
                Some(chunk) => coercer.push(chunk.to_vec()),
                None => coercer.end(),
            },
        }
    }
    out.truncate(OUT_BYTES_MAX);
    Ok((out, coercer.outcome()))
}
