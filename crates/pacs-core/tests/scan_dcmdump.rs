//! The root elements of all test files, as DCMTK's dcmdump lists them: tags and lengths.
#![expect(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "what a test's own functions do is the test"
)]

#[path = "scan_support/testdata.rs"]
mod testdata;

use pacs_core::limits::ScanLimits;
use pacs_core::scan::{Encoding, Event, Scanner, file, inflate};
use std::process::{Command, Stdio};
use testdata::{Entry, entries, is_required};

/// Files that DCMTK lists otherwise, and why.
const MAY_DIFFER: &[(&str, &str)] = &[];

fn has_dcmdump() -> bool {
    let here = Command::new("dcmdump")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    assert!(here || !is_required(), "dcmdump is required and absent");
    if !here {
        eprintln!("SKIPPED: no dcmdump");
    }
    here
}

/// Tag and length of each root element, the length only where the value is no sequence.
fn dumped(entry: &Entry) -> Option<Vec<(String, Option<u64>)>> {
    let output = Command::new("dcmdump")
        .args(["-q", "-Un"])
        .arg(entry.path())
        .stderr(Stdio::null())
        .output()
        .unwrap();
    if !output.status.success() {
        return None;
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut in_data_set = false;
    let mut out = Vec::new();
    for line in text.lines() {
        if line.starts_with("# Dicom-Data-Set") {
            in_data_set = true;
        }
        let is_element = line.starts_with('(') && line.get(11..12) == Some(" ");
        if !in_data_set || !is_element || line.starts_with("(fffe") {
            continue;
        }
        let tag = line[1..10].to_owned();
        let rest = line.rsplit_once('#').map(|(_, rest)| rest.trim_start());
        let length = rest.and_then(|rest| rest.split(',').next()?.trim().parse().ok());
        let vr = &line[12..14];
        let is_sequence = vr == "SQ" || vr == "pi" || line.contains("PixelSequence");
        out.push((tag, length.filter(|_| !is_sequence)));
    }
    Some(out)
}

fn scanned(entry: &Entry) -> Vec<(String, Option<u64>)> {
    let bytes = entry.bytes();
    let form = file::read(&bytes).unwrap();
    let limits = ScanLimits::default();
    let mut data_set = bytes[form.data_set].to_vec();
    let encoding = Encoding::of(&form.transfer_syntax);
    if encoding == Encoding::Deflated {
        data_set = inflate::inflate(&data_set, &limits).unwrap();
    }
    let mut depth = 0;
    let mut out = Vec::new();
    for event in Scanner::new(&data_set, encoding, &limits) {
        let event = event.unwrap_or_else(|error| panic!("{}: {error}", entry.name));
        let (element, length) = match event {
            Event::Element(element) => {
                let length = element.length();
                (element, Some(length))
            }
            Event::FragmentsBegin(element) => (element, None),
            Event::SequenceBegin(element) => {
                depth += 1;
                if depth > 1 {
                    continue;
                }
                let tag = element.tag;
                out.push((format!("{:04x},{:04x}", tag.group(), tag.element()), None));
                continue;
            }
            Event::SequenceEnd { .. } => {
                depth -= 1;
                continue;
            }
            Event::Fragment { .. }
            | Event::FragmentsEnd { .. }
            | Event::ItemBegin { .. }
            | Event::ItemEnd { .. }
            | Event::Trailing { .. } => continue,
        };
        // Group lengths are left out by DCMTK's reader or computed anew.
        if depth == 0 && element.tag.element() != 0 {
            let tag = element.tag;
            out.push((format!("{:04x},{:04x}", tag.group(), tag.element()), length));
        }
    }
    out
}

#[test]
fn root_elements_are_those_that_dcmdump_lists() {
    if entries().is_empty() || !has_dcmdump() {
        return;
    }
    let mut compared = 0;
    let mut wrong = Vec::new();
    for entry in entries() {
        let usable = matches!(entry.expected.as_str(), "valid" | "odd-accept");
        let excused = MAY_DIFFER.iter().any(|(name, _)| *name == entry.name);
        if !usable || excused {
            continue;
        }
        let Some(mut theirs) = dumped(entry) else {
            continue;
        };
        theirs.retain(|(tag, _)| !tag.ends_with(",0000"));
        let mut ours = scanned(entry);
        // DCMTK sorts, and keeps the last of a tag.
        ours.reverse();
        ours.sort_by(|a, b| a.0.cmp(&b.0));
        ours.dedup_by(|a, b| a.0 == b.0);
        compared += 1;
        for at in 0..ours.len().max(theirs.len()) {
            let (a, b) = (ours.get(at), theirs.get(at));
            let same = match (a, b) {
                (Some((tag, length)), Some((other_tag, other))) => {
                    // DCMTK makes odd lengths even.
                    let even = |n: &Option<u64>| n.map(|n| n.next_multiple_of(2));
                    tag == other_tag
                        && (length.is_none() || other.is_none() || even(length) == even(other))
                }
                _ => false,
            };
            if !same {
                wrong.push(format!("{}: {a:?} | {b:?}", entry.name));
                break;
            }
        }
    }
    assert!(compared > 250, "only {compared} files compared");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
