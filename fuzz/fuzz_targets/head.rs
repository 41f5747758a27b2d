//! The head of an instance, and every other door of the scanner, under random bytes.
//!
//! The first byte chooses the encoding and the size of fragments. Whole and in fragments must give
//! the same; what passes the gate must do dicom-object no harm.
#![no_main]

use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::{TransferSyntaxIndex as _, TransferSyntaxRegistry};
use libfuzzer_sys::fuzz_target;
use pacs_core::instance::InstanceError;
use pacs_core::limits::ScanLimits;
use pacs_core::scan::{Encoding, Event, HeadReader, Scanner, file, gate};
use pacs_core::{Instance, TransferSyntaxUid};

const SYNTAXES: [&str; 4] = [
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
];

fuzz_target!(|input: &[u8]| {
    let Some((&choice, bytes)) = input.split_first() else {
        return;
    };
    let uid = SYNTAXES[usize::from(choice & 3)];
    let size = usize::from(choice >> 2) + 1;
    let syntax = TransferSyntaxUid::parse(uid).expect("a known UID");
    let limits = ScanLimits::default();

    let whole = Instance::parse(bytes, &syntax, &limits);
    let parts = in_fragments(bytes, size, &syntax, &limits);
    match (whole, parts) {
        (Ok(whole), Ok(parts)) => assert_eq!(whole, parts),
        (Err(_), Err(_)) => {}
        (whole, parts) => panic!("whole: {whole:?}, in fragments: {parts:?}"),
    }

    let encoding = Encoding::of(&syntax);
    events_are_nested(bytes, encoding, &limits);
    if gate::check(bytes, encoding, &limits).is_ok() {
        let registered = TransferSyntaxRegistry
            .get(uid)
            .expect("a registered syntax");
        let _ = InMemDicomObject::read_dataset_with_ts(bytes, registered);
    }
    let _ = file::read(bytes);
});

fn in_fragments(
    bytes: &[u8],
    size: usize,
    syntax: &TransferSyntaxUid,
    limits: &ScanLimits,
) -> Result<Instance, InstanceError> {
    let mut reader = HeadReader::new(syntax, limits);
    for fragment in bytes.chunks(size) {
        reader.push(fragment)?;
    }
    reader.finish()
}

/// Ranges lie in the bytes, and what begins ends.
fn events_are_nested(bytes: &[u8], encoding: Encoding, limits: &ScanLimits) {
    let total = bytes.len() as u64;
    let mut open = Vec::new();
    for event in Scanner::new(bytes, encoding, limits) {
        let Ok(event) = event else {
            return;
        };
        match event {
            Event::Element(element) => assert!(element.value.end <= total),
            Event::Fragment { value, .. } => assert!(value.end <= total),
            Event::FragmentsBegin(_) => open.push('f'),
            Event::FragmentsEnd { .. } => assert_eq!(open.pop(), Some('f')),
            Event::ItemBegin { content, .. } => {
                assert!(content <= total);
                open.push('i');
            }
            Event::ItemEnd { .. } => assert_eq!(open.pop(), Some('i')),
            Event::SequenceBegin(element) => {
                assert!(element.value.end <= total);
                open.push('s');
            }
            Event::SequenceEnd { .. } => assert_eq!(open.pop(), Some('s')),
            Event::Trailing { offset } => assert!(offset <= total),
        }
    }
    assert!(open.is_empty());
}
