//! dicomweb-client (Python) over the real server, and our metadata beside pydicom's.
//!
//! The Python side is in `dicomweb/`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use pacs_tests::corpus::{self, Sample};
use pacs_tests::peers::{answers, dicomweb_python, run};
use pacs_tests::samples::Slice;
use pacs_tests::server::{Options, Server};
use pacs_tests::web_server::{ask, instance_path};
use pacs_tests::wire::{Context, digest, uid};
use pacs_tests::workspace;
use serde_json::Value;

fn open_server() -> Server {
    Server::start(Options {
        arguments: vec!["--open-loopback".to_owned()],
        ..Options::default()
    })
}

fn store(server: &Server, class: &str, instance: &str, syntax: &str, data_set: &[u8]) {
    let context = Context::new(class, syntax);
    let mut association = server.associate(vec![context]).expect("an association");
    let status = association.store(class, instance, syntax, data_set);
    association.release().expect("a release in order");
    assert_eq!(status.expect("an answer"), 0, "{instance}");
}

fn filled(count: u32) -> Server {
    let server = open_server();
    for study in 1..=2 {
        for number in 1..=count {
            let slice = Slice::new(study, number);
            let (class, syntax) = (uid::CT_IMAGE_STORAGE, uid::EXPLICIT_LITTLE_ENDIAN);
            store(&server, class, &slice.instance, syntax, &slice.data_set());
        }
    }
    server
}

/// Runs one command of `peer.py` against `server`.
fn peer(python: &Path, server: &Server, command: &str, argument: &str) -> Value {
    let mut script = Command::new(python);
    script
        .arg(workspace::root().join("tests/dicomweb/peer.py"))
        .arg(command)
        .arg(format!("http://{}/dicomweb", server.http()))
        .arg(argument);
    let said = run(&mut script).succeeded();
    let last = said.text.lines().rfind(|line| line.starts_with('{'));
    serde_json::from_str(last.expect("a line of JSON")).expect("JSON")
}

#[test]
fn dicomweb_client_searches_on_every_way_it_has() {
    let Some(python) = dicomweb_python() else {
        return;
    };
    let server = filled(3);

    let said = peer(&python, &server, "search", "Test^Patient1");

    let expected = serde_json::json!({
        "studies": 1, "by_uid": 1, "series": [1, 1], "instances": [3, 3, 3],
        "pages_are_the_whole": true, "fuzzy": 1, "nothing": 0, "has_age": true,
    });
    assert_eq!(said, expected);
}

#[test]
fn dicomweb_client_retrieves_on_every_way_it_has_and_deletes() {
    let Some(python) = dicomweb_python() else {
        return;
    };
    let server = filled(3);
    let slice = Slice::new(1, 1);
    let length = usize::from(slice.side) * usize::from(slice.side) * 2;
    let pixels = |number| {
        let data_set = Slice::new(1, number).data_set();
        digest(&data_set[data_set.len() - length..])
    };
    let mut expected: Vec<String> = (1..=3).map(pixels).collect();
    expected.sort();

    let said = peer(&python, &server, "retrieve", &slice.study);

    assert_eq!(said["study"], serde_json::json!(expected));
    assert_eq!(said["series"], serde_json::json!(expected));
    assert_eq!(said["iterated"], 3);
    for equal in ["instance_is_equal", "frame_is_equal", "bulk_is_equal"] {
        assert_eq!(said[equal], true, "{equal}: {said}");
    }
    assert_eq!(said["metadata"]["study"], 3);
    assert_eq!(said["metadata"]["series"], 3);
    assert_eq!(said["metadata"]["instance"], said["instance"]);

    assert_eq!(peer(&python, &server, "delete", &slice.study)["left"], 0);
}

/// What pydicom makes of the files.
fn pydicom_models(python: &Path, files: &[String]) -> Vec<Value> {
    let mut script = Command::new(python);
    script.arg(workspace::root().join("tests/dicomweb/json_model.py"));
    let models = answers(&mut script, files);
    let read = |line: &String| serde_json::from_str(line).expect("JSON");
    models.iter().map(read).collect()
}

/// File, tag (or all), and why ours is not pydicom's.
const MAY_DIFFER: &[(&str, &str, &str)] = &[
    ("chrJapMulti.dcm", "/0019", PRIVATE),
    ("chrJapMultiExplicitIR6.dcm", "/0019", PRIVATE),
    ("chrKoreanMulti.dcm", "/0019", PRIVATE),
    ("TOSHIBA_J2K_SIZ0_PixRep1.dcm", "/7005", PRIVATE),
    ("TOSHIBA_J2K_SIZ1_PixRep0.dcm", "/7005", PRIVATE),
    ("modality/rtdose.dcm", "/300C0002", LEFT_OUT),
    ("ts/rtdose_expb.dcm", "/300C0002", LEFT_OUT),
    ("ts/rtdose_rle.dcm", "/300C0002", LEFT_OUT),
    ("odd/bad_sequence.dcm", "", BROKEN),
    ("odd/mislabelled_cp1251_as_iso144.dcm", "", GUESSED),
    ("odd/mislabelled_cp1251_no_charset.dcm", "", GUESSED),
    ("odd/utf8_bytes_declared_latin1.dcm", "", GUESSED),
    ("odd/utf8_bytes_no_charset.dcm", "", GUESSED),
];

const PRIVATE: &str = "pydicom has a dictionary of private attributes that are written as UN";

const LEFT_OUT: &str = "pydicom is asked to leave out what is invalid, and a UID in it is";

const BROKEN: &str = "pydicom reads nothing behind a broken sequence";

const GUESSED: &str = "the bytes are in another set than declared: we guess, pydicom takes them so";

/// The place in [`MAY_DIFFER`] of what explains this difference.
fn explained(file: &str, difference: &str) -> Option<usize> {
    let mut known = MAY_DIFFER.iter();
    known.position(|(name, of, _)| file.ends_with(name) && difference.contains(of))
}

/// Files of which pydicom makes no model, and why.
const UNREAD_BY_PYDICOM: &[(&str, &str)] = &[(
    "odd/nested-60-levels.dcm",
    "its model is deeper than what is read here",
)];

/// Files that are kept, of all in the manifest: fewer are none of this test data.
const KEPT_MIN: usize = 370;

/// Where two objects of the model differ: tag by tag, with the path of what is in sequences.
fn differences(ours: &Value, theirs: &Value, path: &str, out: &mut Vec<String>) {
    let (Some(ours), Some(theirs)) = (ours.as_object(), theirs.as_object()) else {
        out.push(format!("{path}: no object"));
        return;
    };
    let tags: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    for tag in tags {
        // PS3.18 F.2 leaves group lengths and padding out, and says the character set of the JSON.
        if tag.ends_with("0000") || ["FFFCFFFC", "00080005"].contains(&tag.as_str()) {
            continue;
        }
        let path = format!("{path}/{tag}");
        match (ours.get(tag), theirs.get(tag)) {
            (Some(ours), Some(theirs)) => attribute(ours, theirs, &path, out),
            (None, _) => out.push(format!("{path}: only pydicom has it")),
            (_, None) => out.push(format!("{path}: only we have it")),
        }
    }
}

fn attribute(ours: &Value, theirs: &Value, path: &str, out: &mut Vec<String>) {
    if ours["vr"] != theirs["vr"] {
        out.push(format!("{path}: vr {} and {}", ours["vr"], theirs["vr"]));
        return;
    }
    let is_bulk =
        |value: &Value| value.get("BulkDataURI").is_some() || value.get("InlineBinary").is_some();
    if ours.get("BulkDataURI").is_some() || theirs.get("BulkDataURI").is_some() {
        // Who names it and who holds it depends on its length; it is compared where both hold it.
        let is_there = is_bulk(theirs) || theirs.get("Value").is_some();
        if !is_there && ours["vr"] != "UN" {
            out.push(format!("{path}: we have bytes, pydicom nothing"));
        }
        return;
    }
    let binary = |value: &Value| value.get("InlineBinary").cloned().filter(|v| v != "");
    if binary(ours) != binary(theirs) {
        out.push(format!("{path}: bytes {ours} and {theirs}"));
    }
    let (ours, theirs) = (list(ours), list(theirs));
    if ours.len() != theirs.len() {
        out.push(format!("{path}: {ours:?} and {theirs:?}"));
        return;
    }
    for (at, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        if ours.is_object() && !is_name(ours) && !is_name(theirs) {
            differences(ours, theirs, &format!("{path}/{}", at + 1), out);
        } else if !is_equal(ours, theirs) {
            out.push(format!("{path}: {ours} and {theirs}"));
        }
    }
}

/// The values; where there is nothing but nothing, none.
fn list(attribute: &Value) -> Vec<Value> {
    let values = attribute["Value"].as_array().cloned().unwrap_or_default();
    if values.iter().all(is_nothing) && values.len() < 2 && attribute["vr"] != "SQ" {
        return Vec::new();
    }
    values
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Object(groups) => groups.values().all(|group| group == ""),
        _ => false,
    }
}

fn is_name(value: &Value) -> bool {
    let groups = ["Alphabetic", "Ideographic", "Phonetic"];
    let is_group = |group: &String| groups.contains(&group.as_str());
    value
        .as_object()
        .is_some_and(|object| !object.is_empty() && object.keys().all(is_group))
}

fn is_equal(ours: &Value, theirs: &Value) -> bool {
    if is_nothing(ours) && is_nothing(theirs) {
        return true;
    }
    let number = |value: &Value| match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    if let (Some(ours), Some(theirs)) = (number(ours), number(theirs)) {
        // pydicom widens FL to double, and shows what that adds.
        let (narrow, other) = (ours as f32, theirs as f32);
        return ours.to_bits() == theirs.to_bits() || narrow.to_bits() == other.to_bits();
    }
    match (ours, theirs) {
        (Value::String(ours), Value::String(theirs)) => ours.trim() == theirs.trim(),
        (Value::Object(_), Value::Object(_)) => ["Alphabetic", "Ideographic", "Phonetic"]
            .iter()
            .all(|group| {
                let text = |value: &Value| value[*group].as_str().unwrap_or("").trim().to_owned();
                text(ours) == text(theirs)
            }),
        _ => ours == theirs,
    }
}

#[test]
fn metadata_of_every_file_is_what_pydicom_makes_of_it() {
    let (Some(python), Some(folder)) = (dicomweb_python(), workspace::test_data()) else {
        return;
    };
    let (mut faults, mut unread) = (Vec::new(), BTreeSet::new());
    let (mut explanations, mut count) = (BTreeSet::new(), 0);
    for samples in corpus::rounds(&folder) {
        let path = |sample: &Sample| folder.join(&sample.name).display().to_string();
        let files: Vec<String> = samples.iter().map(path).collect();
        let models = pydicom_models(&python, &files);
        assert_eq!(models.len(), samples.len());
        let server = open_server();
        for (sample, theirs) in samples.iter().zip(&models) {
            let (class, instance) = (&sample.sop_class, &sample.sop_instance);
            let syntax = &sample.transfer_syntax;
            store(&server, class, instance, syntax, &sample.data_set);
            count += 1;
            if theirs.is_null() {
                unread.insert(sample.name.clone());
                continue;
            }
            let mut found = Vec::new();
            differences(&metadata_of(&server, instance), theirs, "", &mut found);
            for difference in found {
                match explained(&sample.name, &difference) {
                    Some(explanation) => drop(explanations.insert(explanation)),
                    None => faults.push(format!("{}: {difference}", sample.name)),
                }
            }
        }
    }
    let faults_count = faults.len();
    let all = faults.join("\n");
    assert!(faults.is_empty(), "{faults_count} differences:\n{all}");
    assert!(count >= KEPT_MIN, "{count}");
    let known = UNREAD_BY_PYDICOM.iter().map(|(name, _)| (*name).to_owned());
    assert_eq!(unread, known.collect());
    let unused = (0..MAY_DIFFER.len()).filter(|at| !explanations.contains(at));
    let unused: Vec<_> = unused.map(|at| MAY_DIFFER[at]).collect();
    assert!(unused.is_empty(), "explain nothing any more: {unused:?}");
}

/// What the server says of an instance.
fn metadata_of(server: &Server, instance: &str) -> Value {
    let path = instance_path(server, instance).expect("it is there");
    ask(server, &format!("{path}/metadata")).json()[0].clone()
}
