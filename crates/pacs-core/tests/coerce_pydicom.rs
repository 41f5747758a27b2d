//! What coercion makes of the test files, as pydicom reads it: the new values, the record of the
//! previous ones, and everything else as it was.
#![expect(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "what a test's own functions do is the test"
)]

#[path = "coerce_support/overlays.rs"]
#[allow(dead_code, reason = "not every test wants every overlay")]
mod overlays;
#[path = "scan_support/python.rs"]
mod python;
#[path = "scan_support/testdata.rs"]
mod testdata;

use overlays::everything;
use pacs_core::coerce::{Outcome, coerce};
use pacs_core::limits::CoerceLimits;
use pacs_core::scan::file;
use python::{has_pydicom, python};
use serde_json::Value;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use testdata::entries;

/// Larger files say nothing that others do not, and pydicom takes its time over them.
const FILE_BYTES_MAX: usize = 1 << 18;

/// A folder that is gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!("coerce-pydicom-{}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

struct Case {
    name: String,
    line: String,
    outcome: Outcome,
}

/// The test files that are valid, coerced, as files.
fn cases(folder: &Folder) -> Vec<Case> {
    let limits = CoerceLimits::default();
    let valid = entries().iter().filter(|entry| entry.expected == "valid");
    let mut cases = Vec::new();
    for entry in valid {
        let bytes = entry.bytes();
        if bytes.len() > FILE_BYTES_MAX {
            continue;
        }
        let form = file::read(&bytes).unwrap();
        let start = form.data_set.start;
        let data_set = &bytes[form.data_set];
        let coerced = coerce(data_set, &form.transfer_syntax, &everything(), &limits);
        let (out, outcome) = coerced.unwrap_or_else(|error| panic!("{}: {error}", entry.name));
        let path = folder.0.join(entry.name.replace('/', "_"));
        std::fs::write(&path, [&bytes[..start], &*out].concat()).unwrap();
        let tags: Vec<String> = outcome
            .changed
            .iter()
            .map(|tag| format!("{:04X}{:04X}", tag.group(), tag.element()))
            .collect();
        let (original, coerced) = (entry.path(), path);
        let (original, coerced) = (original.display(), coerced.display());
        cases.push(Case {
            name: entry.name.clone(),
            line: format!("{original}\t{coerced}\t{}\n", tags.join(",")),
            outcome,
        });
    }
    cases
}

fn answers(cases: &[Case]) -> Vec<Value> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/coerce_pydicom.py");
    let mut child = Command::new(python())
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let asked: String = cases.iter().map(|case| &*case.line).collect();
    let mut stdin = child.stdin.take().unwrap();
    // Beside reading, or both ends wait for one another once the pipes are full.
    let writer = std::thread::spawn(move || stdin.write_all(asked.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "the script ends in order");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn pydicom_reads_the_new_values_the_previous_ones_and_the_rest_as_it_was() {
    if entries().is_empty() || !has_pydicom() {
        return;
    }
    let folder = Folder::new();
    let cases = cases(&folder);
    let answers = answers(&cases);
    assert_eq!(answers.len(), cases.len());
    let (mut same, mut named) = (0, 0);
    for (case, said) in cases.iter().zip(&answers) {
        let name = &case.name;
        assert_eq!(said["error"], Value::Null, "{name}");
        assert_eq!(said["name"], "Жээнбеков^Үсөн^Өмүрбекович", "{name}");
        assert_eq!(said["patronymic"], "Өмүрбекович", "{name}");
        assert_eq!(said["id"], "P0000005724", "{name}");
        assert_eq!(said["charset"], "ISO_IR 192", "{name}");
        assert_eq!(said["others"][0], "KGZ-ID1234567", "{name}");
        assert_eq!(said["request"], "250060004329", "{name}");
        assert_eq!(said["reason"], "COERCE", "{name}");
        assert_eq!(said["items"], 1, "{name}");
        // Text that does not follow its set is read by pydicom as if it did.
        if case.outcome.guessed_texts == 0 {
            let differing = said["differing"].as_array().unwrap();
            assert!(differing.is_empty(), "{name}: {differing:?}");
            same += 1;
        }
        let nonconforming = said["nonconforming"].as_array().unwrap();
        if !nonconforming.contains(&"00100010".into()) {
            assert_eq!(said["recorded_name"], said["previous_name"], "{name}");
            named += 1;
        }
        let recorded = said["recorded"].as_array().unwrap();
        for tag in &case.outcome.changed {
            let tag = Value::from(format!("{:04X}{:04X}", tag.group(), tag.element()));
            let is_told = recorded.contains(&tag) || nonconforming.contains(&tag);
            assert!(is_told, "{name}: {tag}");
        }
    }
    assert!(
        same >= 150 && named >= 150,
        "{same} and {named} of {}",
        cases.len()
    );
}
