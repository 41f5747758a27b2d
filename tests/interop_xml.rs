//! The Native DICOM Model (PS3.19 A.1) of every file of the test data, beside what DCMTK's
//! `dcm2xml` makes of it; both are read by the XML parser of Python.

use pacs_tests::corpus::{self, Sample};
use pacs_tests::server::Server;
use pacs_tests::web::get;
use pacs_tests::web_server::{instance_path, open_server, store};
use pacs_tests::{peers, workspace};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

const ACCEPT: &str = "multipart/related; type=\"application/dicom+xml\"";

/// For each pair of a file and a document, where they differ.
fn compared(python: &Path, pairs: &[(String, String)]) -> Vec<Value> {
    let mut script = Command::new(python);
    script
        .arg(workspace::root().join("tests/dicomweb/native_model.py"))
        .arg(peers::dcmtk("dcm2xml").get_program());
    let lines = pairs
        .iter()
        .map(|(file, document)| format!("{file}\t{document}"));
    let found = peers::answers(&mut script, &lines.collect::<Vec<_>>());
    let read = |line: &String| serde_json::from_str(line).expect("JSON");
    found.iter().map(read).collect()
}

/// File, what the difference has in it, and why ours is not DCMTK's.
const MAY_DIFFER: &[(&str, &str, &str)] = &[
    ("charset/chrX1.dcm", "/00100010", PHONETIC),
    ("charset/chrX2.dcm", "/00100010", PHONETIC),
    ("modality/waveform_ecg.dcm", "/7001", NO_CREATOR),
    ("odd/bad_sequence.dcm", "not UN", UNKNOWN),
    ("odd/explicitVRwithinUNsequence.dcm", "", UNKNOWN),
    ("odd/mislabelled_cp1251_as_iso144.dcm", "", GUESSED),
    ("odd/utf8_bytes_declared_latin1.dcm", "", GUESSED),
    ("series/dcmqi-MR-ADC-20/", "only", NO_CREATOR),
    ("ts/", "/7FE00010: vr OW, not OB", WRITTEN),
    ("ts/rtdose_rle.dcm", "not UN", UNSAID),
    ("", "GEMS_HELIOS_01: other FL", DENORMAL),
];

const PHONETIC: &str =
    "DCMTK shows the ideographic group of a name that ends there as phonetic too";

const NO_CREATOR: &str = "a private block of nobody keeps its place with us, and loses it in DCMTK";

const UNKNOWN: &str = "what is in a sequence of unknown VR is read by us with the dictionary";

const UNSAID: &str = "standard elements that a file has as UN are read by us with the dictionary";

const WRITTEN: &str =
    "the file has OW, though what is encapsulated is OB: we show what it has, DCMTK puts it right";

const GUESSED: &str = "the bytes are in another set than declared: we guess, DCMTK takes them so";

const DENORMAL: &str = "the shortest decimal of a denormal number and its exact one are far apart";

fn may_differ(file: &str, difference: &str) -> bool {
    let mut known = MAY_DIFFER.iter();
    known.any(|(name, of, _)| file.contains(name) && difference.contains(of))
}

/// The document of a file, which is stored first.
fn model_of(server: &Server, sample: &Sample) -> Vec<u8> {
    let (class, instance) = (&sample.sop_class, &sample.sop_instance);
    let (syntax, data_set) = (&sample.transfer_syntax, &sample.data_set);
    let status = store(server, class, instance, syntax, data_set);
    assert_eq!(status, 0, "{}", sample.name);
    let path = instance_path(server, instance).expect("it is there");
    let path = format!("/dicomweb{path}/metadata");
    let reply = get(server.http(), &path, &[("Accept", ACCEPT)]);
    assert!(reply.is_whole && reply.status == 200, "{}", sample.name);
    reply.parts()[0].body.to_vec()
}

#[test]
fn metadata_of_every_file_is_what_dcmtk_makes_of_it() {
    let (Some(python), Some(folder)) = (peers::dicomweb_python(), workspace::test_data()) else {
        return;
    };
    if !peers::has_dcmtk() {
        return;
    }
    let documents = workspace::temporary_folder();
    let (mut samples, mut pairs): (Vec<Sample>, _) = (Vec::new(), Vec::new());
    // Several files have one UID, and a server has the first of those alone.
    for round in corpus::rounds(&folder) {
        let server = open_server();
        for sample in round {
            let document = documents.path().join(format!("{}.xml", samples.len()));
            std::fs::write(&document, model_of(&server, &sample)).expect("a document");
            let file = folder.join(&sample.name).display().to_string();
            pairs.push((file, document.display().to_string()));
            samples.push(sample);
        }
    }
    let found = compared(&python, &pairs);
    assert_eq!(found.len(), samples.len());
    let mut faults = Vec::new();
    let mut compared_count = 0;
    for (sample, found) in samples.iter().zip(&found) {
        let Some(found) = found.as_array() else {
            continue;
        };
        compared_count += 1;
        let differences = found.iter().filter_map(Value::as_str);
        let faulty = differences.filter(|difference| !may_differ(&sample.name, difference));
        faults.extend(faulty.map(|difference| format!("{}: {difference}", sample.name)));
    }
    let (count, all) = (faults.len(), faults.join("\n"));
    assert!(faults.is_empty(), "{count} differences:\n{all}");
    assert!(compared_count > 340, "{compared_count}");
}
