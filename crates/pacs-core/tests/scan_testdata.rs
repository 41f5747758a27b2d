//! Every file of the test data through the head reader, at once and in fragments.

#![expect(
    clippy::cast_possible_truncation,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "what a test's own functions do is the test"
)]

#[path = "scan_support/testdata.rs"]
mod testdata;

use pacs_core::instance::InstanceError;
use pacs_core::limits::ScanLimits;
use pacs_core::scan::{Encoding, Event, HeadReader, HeadState, Scanner, file, inflate};
use pacs_core::{Instance, TransferSyntaxUid};
use testdata::{Entry, entries};

/// A stray byte stands before the first element: no door takes such a file.
const NO_FILE: &str = "odd/no_meta.dcm";

fn is_instance(entry: &Entry) -> bool {
    matches!(entry.expected.as_str(), "valid" | "odd-accept") && !entry.note.contains("DICOMDIR")
}

fn parse(bytes: &[u8]) -> Option<Result<Instance, InstanceError>> {
    let form = file::read(bytes).ok()?;
    let data_set = bytes.get(form.data_set.clone())?;
    Some(Instance::parse(
        data_set,
        &form.transfer_syntax,
        &ScanLimits::default(),
    ))
}

#[test]
fn every_storable_file_gives_an_instance() {
    let mut failed = Vec::new();
    for entry in entries().iter().filter(|entry| is_instance(entry)) {
        match parse(&entry.bytes()) {
            Some(Ok(instance)) => {
                if instance.instance.as_str() != entry.sop_instance_uid {
                    failed.push(format!("{}: {}", entry.name, instance.instance));
                }
            }
            other => failed.push(format!("{}: {other:?}", entry.name)),
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn a_file_without_identity_is_refused_for_that() {
    for entry in entries().iter().filter(|e| e.expected == "incomplete") {
        let answer = parse(&entry.bytes());
        if entry.name == NO_FILE {
            assert!(answer.is_none());
            continue;
        }
        assert!(
            matches!(answer, Some(Err(InstanceError::Missing { .. }))),
            "{}: {answer:?}",
            entry.name
        );
    }
}

#[test]
fn a_malformed_file_does_no_harm() {
    for entry in entries().iter().filter(|e| e.expected == "malformed") {
        let bytes = entry.bytes();
        drop(parse(&bytes));
        let Ok(form) = file::read(&bytes) else {
            continue;
        };
        let encoding = Encoding::of(&form.transfer_syntax);
        let limits = ScanLimits::default();
        let events = Scanner::new(&bytes[form.data_set], encoding, &limits).count();
        assert!(events <= bytes.len(), "{}", entry.name);
    }
}

#[test]
fn fragments_of_any_size_give_what_the_whole_gives() {
    for entry in entries() {
        let bytes = entry.bytes();
        let Ok(form) = file::read(&bytes) else {
            continue;
        };
        let data_set = &bytes[form.data_set.clone()];
        let whole = Instance::parse(data_set, &form.transfer_syntax, &ScanLimits::default());
        for size in [1, 7, 4096] {
            // One byte at a time through a long file shows nothing that its head does not.
            let end = data_set.len().min(size * 20_000);
            if whole.as_ref().is_ok_and(|i| i.head_bytes as usize >= end) && end < data_set.len() {
                continue;
            }
            let cut = &data_set[..end];
            let expected = Instance::parse(cut, &form.transfer_syntax, &ScanLimits::default());
            let given = in_fragments(cut, size, &form.transfer_syntax);
            match (expected, given) {
                (Ok(expected), Ok(given)) => assert_eq!(expected, given, "{}", entry.name),
                (Err(_), Err(_)) => {}
                (expected, given) => panic!("{}: {expected:?} but {given:?}", entry.name),
            }
        }
    }
}

fn in_fragments(
    data_set: &[u8],
    size: usize,
    transfer_syntax: &TransferSyntaxUid,
) -> Result<Instance, InstanceError> {
    let mut reader = HeadReader::new(transfer_syntax, &ScanLimits::default());
    for fragment in data_set.chunks(size) {
        if reader.push(fragment)? == HeadState::Complete {
            assert_eq!(
                reader.bytes_held(),
                0,
                "pixel data is nobody's business here"
            );
        }
    }
    reader.finish()
}

#[test]
fn every_storable_file_is_read_to_its_end() {
    let limits = ScanLimits::default();
    for entry in entries().iter().filter(|entry| is_instance(entry)) {
        let bytes = entry.bytes();
        let form = file::read(&bytes).unwrap();
        let mut data_set = bytes[form.data_set].to_vec();
        let encoding = Encoding::of(&form.transfer_syntax);
        if encoding == Encoding::Deflated {
            data_set = inflate::inflate(&data_set, &limits).unwrap();
        }
        let mut scanner = Scanner::new(&data_set, encoding, &limits);
        for event in scanner.by_ref() {
            match event {
                Ok(Event::FragmentsEnd { closed, .. }) => assert!(closed, "{}", entry.name),
                Ok(_) => {}
                Err(error) => panic!("{}: {error}", entry.name),
            }
        }
    }
}
