//! The heads of all test files, as pydicom reads them. Each difference that may be is listed with
//! its reason.
#![expect(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "what a test's own functions do is the test"
)]

#[path = "scan_support/python.rs"]
mod python;
#[path = "scan_support/testdata.rs"]
mod testdata;

use pacs_core::attributes::{Attributes, Value};
use pacs_core::instance::INDEXED;
use pacs_core::limits::ScanLimits;
use pacs_core::scan::file;
use pacs_core::{Instance, Vr};
use python::{has_pydicom, python};
use serde_json::Value as Json;
use std::io::Write;
use std::process::{Command, Stdio};
use testdata::entries;

/// File, tag (or all), and why we read something else than pydicom.
const MAY_DIFFER: &[(&str, &str, &str)] = &[
    ("odd/mislabelled_cp1251_as_iso144.dcm", "00081030", GUESSED),
    ("odd/mislabelled_cp1251_as_iso144.dcm", "00100010", GUESSED),
    ("odd/mislabelled_cp1251_no_charset.dcm", "00081030", GUESSED),
    ("odd/mislabelled_cp1251_no_charset.dcm", "00100010", GUESSED),
    ("odd/utf8_bytes_declared_latin1.dcm", "00081030", GUESSED),
    ("odd/utf8_bytes_declared_latin1.dcm", "00100010", GUESSED),
    ("odd/utf8_bytes_no_charset.dcm", "00081030", GUESSED),
    ("odd/utf8_bytes_no_charset.dcm", "00100010", GUESSED),
];

const GUESSED: &str =
    "the bytes are in another set than declared: we guess and mark, pydicom takes them as declared";

/// What pydicom reads of `files`, in their order.
fn pydicom_reads(files: &[String]) -> Vec<Json> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pydicom_heads.py");
    let tags: Vec<String> = INDEXED
        .iter()
        .map(|(tag, _)| format!("{:04X}{:04X}", tag.group(), tag.element()))
        .collect();
    let mut child = Command::new(python())
        .args([script, &tags.join(",")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let names = files.join("\n");
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(names.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Differences between what we and pydicom read, as `path of tags: ours | theirs`.
fn differences(path: &str, ours: &Attributes, theirs: &Json, out: &mut Vec<String>) {
    let theirs = theirs.as_object().unwrap();
    for attribute in ours {
        let key = format!(
            "{:04X}{:04X}",
            attribute.tag.group(),
            attribute.tag.element()
        );
        let here = format!("{path}{key}");
        match (&attribute.value, theirs.get(&key)) {
            (Value::Items(items), Some(Json::Array(others))) if items.len() == others.len() => {
                for (item, other) in items.iter().zip(others) {
                    differences(&format!("{here}/"), item, other, out);
                }
            }
            (Value::Text(text) | Value::Suspect(text), Some(Json::String(other)))
                if same(attribute.vr, text, other) => {}
            (_, other) => out.push(format!("{here}: {} | {other:?}", shown(&attribute.value))),
        }
    }
    for (key, other) in theirs {
        let ours = ours
            .iter()
            .any(|a| format!("{:04X}{:04X}", a.tag.group(), a.tag.element()) == *key);
        if !ours {
            out.push(format!("{path}{key}: absent | {other:?}"));
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Items(items) => format!("{} items", items.len()),
        Value::Suspect(text) => format!("suspect {text:?}"),
        Value::Text(text) => format!("{text:?}"),
    }
}

/// Equal but for padding and the spelling of numbers.
fn same(vr: Vr, ours: &str, theirs: &str) -> bool {
    let normal = |text: &str| -> String {
        text.split('\\')
            .map(|value| value.trim_matches([' ', '\0']))
            .collect::<Vec<_>>()
            .join("\\")
    };
    let (ours, theirs) = (normal(ours), normal(theirs));
    if ours == theirs {
        return true;
    }
    if vr == Vr::PN {
        // pydicom leaves empty component groups at the end away.
        return ours.trim_end_matches(['=', '^']) == theirs.trim_end_matches(['=', '^']);
    }
    let numbers = |text: &str| -> Option<Vec<f64>> {
        text.split('\\').map(|value| value.parse().ok()).collect()
    };
    matches!(vr, Vr::DS | Vr::FD | Vr::FL | Vr::IS)
        && numbers(&ours).is_some()
        && numbers(&ours) == numbers(&theirs)
}

#[test]
fn heads_are_what_pydicom_reads() {
    if entries().is_empty() || !has_pydicom() {
        return;
    }
    let entries: Vec<_> = entries()
        .iter()
        .filter(|entry| matches!(entry.expected.as_str(), "valid" | "odd-accept"))
        .filter(|entry| !entry.note.contains("DICOMDIR"))
        .collect();
    let files: Vec<String> = entries
        .iter()
        .map(|entry| entry.path().to_str().unwrap().to_owned())
        .collect();
    let readings = pydicom_reads(&files);
    assert_eq!(readings.len(), files.len());
    let mut wrong = Vec::new();
    let mut compared = 0;
    for (entry, reading) in entries.iter().zip(&readings) {
        let bytes = entry.bytes();
        let form = file::read(&bytes).unwrap();
        let data_set = &bytes[form.data_set];
        let ours = Instance::parse(data_set, &form.transfer_syntax, &ScanLimits::default())
            .unwrap_or_else(|error| panic!("{}: {error}", entry.name));
        let mut found = Vec::new();
        match reading.get("attributes") {
            Some(theirs) => differences("", &ours.attributes, theirs, &mut found),
            None => found.push(format!("all: pydicom {}", reading["error"])),
        }
        compared += 1;
        wrong.extend(found.into_iter().filter_map(|difference| {
            let may = MAY_DIFFER
                .iter()
                .any(|(name, tag, _)| *name == entry.name && difference.starts_with(tag));
            (!may).then(|| format!("{}: {difference}", entry.name))
        }));
    }
    assert!(compared > 280, "only {compared} files compared");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
