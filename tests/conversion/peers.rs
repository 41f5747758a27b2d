//! Peers of other makers that take one transfer syntax, or one compression: the pixels are right.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use pacs_tests::corpus::Sample;
use pacs_tests::peers::{Listener, dcmtk, files_below, free_port, has_dcmtk, python, run};
use pacs_tests::server::{RemoteAe, Server};
use pacs_tests::wire::{Context, Keys, SubOperations, digest, identifier::tag, uid};
use pacs_tests::workspace;
use serde_json::{Value, json};

use crate::{TARGETS, archive, by_uid, classes, corpus, is_convertible, must_fail};

/// The pixels of `files` (by SOP Instance UID) are those the manifest has for `samples`.
fn pixels_must_be_right(python: &Path, folder: &Path, samples: &[Sample], fewest: u64) {
    let manifest = workspace::test_data()
        .expect("test data")
        .join("MANIFEST.tsv");
    let manifest = std::fs::read_to_string(manifest).expect("a manifest");
    let mut lines = manifest
        .lines()
        .map(|line| line.split('\t').collect::<Vec<_>>());
    let names = lines.next().expect("names");
    let column = names
        .iter()
        .position(|name| *name == "pixel_sha256")
        .expect("a column");
    let pixels: BTreeMap<&str, &str> = lines.map(|line| (line[0], line[column])).collect();
    let jobs: Vec<String> = samples
        .iter()
        .filter(|sample| is_convertible(sample) && !pixels[sample.name.as_str()].is_empty())
        // pydicom and the standard differ on big endian samples of 32 bits.
        .filter(|sample| !sample.name.contains("rtdose_expb"))
        .map(|sample| {
            json!({
                "name": sample.name,
                "path": folder.join(&sample.sop_instance),
                "sha256": pixels[sample.name.as_str()],
            })
            .to_string()
        })
        .collect();
    let list = folder.with_extension("jobs");
    std::fs::write(&list, jobs.join("\n")).expect("a file");
    let answer = weaker(python, &["pixels", list.to_str().expect("UTF-8")]);
    assert_eq!(answer["wrong"], json!([]));
    assert!(
        answer["compared"].as_u64().expect("a number") >= fewest,
        "{answer}"
    );
}

fn weaker(python: &Path, arguments: &[&str]) -> Value {
    let mut script = Command::new(python);
    script.arg(workspace::root().join("tests/pynetdicom/weaker.py"));
    let said = run(script.args(arguments)).succeeded();
    let mut lines = said.text.lines();
    let last = lines.rfind(|line| line.starts_with('{')).expect("JSON");
    serde_json::from_str(last).expect("JSON")
}

/// A peer that takes `syntax` alone, and keeps what comes in `folder`.
fn listening(python: &Path, port: u16, folder: &Path, syntax: &str) -> Listener {
    let mut script = Command::new(python);
    script
        .arg(workspace::root().join("tests/pynetdicom/weaker.py"))
        .args(["listen", &port.to_string()])
        .arg(folder)
        .arg(syntax);
    Listener::start(&mut script, port)
}

fn moving(server: &Server, studies: &[String], title: &str) -> SubOperations {
    let context = Context::new(uid::STUDY_ROOT_MOVE, uid::IMPLICIT_LITTLE_ENDIAN);
    let mut association = server.associate(vec![context]).expect("associated");
    let keys = Keys::at("STUDY").with(tag::STUDY, &studies.join("\\"));
    let moved = association.move_to(&keys, title).expect("an answer");
    association.release().expect("a release in order");
    moved
}

#[test]
fn pynetdicom_that_takes_one_syntax_gets_the_right_pixels_by_c_move_and_c_get() {
    // It knows the classes of the standard alone.
    let known = |sample: &Sample| sample.sop_class.starts_with("1.2.840.10008.5.1.4.1.1.");
    let (Some(python), Some(samples)) = (python(), corpus(known)) else {
        return;
    };
    let port = free_port();
    let address = ([127, 0, 0, 1], port).into();
    let (server, studies) = archive(&samples, vec![RemoteAe::new("WEAKER", address)]);
    for (at, syntax) in TARGETS.iter().take(2).enumerate() {
        let folder = server.home().join(format!("moved{at}"));
        std::fs::create_dir(&folder).expect("a folder");
        let listener = listening(&python, port, &folder, syntax);
        let moved = moving(&server, &studies, "WEAKER");
        drop(listener);
        assert_eq!(moved.status, 0xB000, "{moved:?}");
        assert_eq!(moved.failed_uids, must_fail(&samples), "{syntax}");
        pixels_must_be_right(&python, &folder, &samples, 100);

        let folder = server.home().join(format!("got{at}"));
        std::fs::create_dir(&folder).expect("a folder");
        let classes: Vec<&str> = classes(&samples).into_iter().collect();
        let answer = weaker(
            &python,
            &[
                "get",
                "127.0.0.1",
                &server.dicom().port().to_string(),
                folder.to_str().expect("UTF-8"),
                syntax,
                &studies.join(","),
                &classes.join(","),
            ],
        );
        assert_eq!(answer["status"], 0xB000, "{answer}");
        assert_eq!(answer["failed"], json!(must_fail(&samples)));
        pixels_must_be_right(&python, &folder, &samples, 100);
    }
}

/// Lossless and uncompressed images of every kind: signed, of 8, 12 and 16 bits, in colour by pixel
/// and by plane, of several frames; and one that is lossy, of which nothing is encoded anew.
const TO_ENCODE: [&str; 13] = [
    "ts/CT1_RLE",
    "ts/CT1_J2KR",
    "ts/MR1_JLSL",
    "ts/MR_small_bigendian.dcm",
    "ts/US1_RLE",
    "ts/US1_J2KR.dcm",
    "ts/SC_rgb_rle_16bit.dcm",
    "ts/SC_rgb_small_odd_big_endian.dcm",
    "ts/emri_small_RLE.dcm",
    "ts/image_dfl.dcm",
    "ts/SC_rgb_jpeg_gdcm.dcm",
    "ts/jpeg-ls-Palette.dcm",
    LOSSY,
];

const LOSSY: &str = "ts/CT1_J2KI";

/// HTJ2K, JPEG-LS, RLE.
const ENCODED: [&str; 3] = [
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.4.80",
    uid::RLE_LOSSLESS,
];

#[test]
fn peers_that_take_one_compression_get_the_right_pixels_without_loss() {
    let (Some(python), Some(samples)) = (
        python(),
        corpus(|sample| TO_ENCODE.contains(&sample.name.as_str())),
    ) else {
        return;
    };
    let (lossy, samples): (Vec<_>, Vec<_>) = samples.into_iter().partition(|s| s.name == LOSSY);
    assert!(samples.len() >= 8 && lossy.len() == 1, "{}", samples.len());
    let failing = [lossy[0].sop_instance.as_str()];
    let all = [samples.clone(), lossy.clone()].concat();
    let port = free_port();
    let address = ([127, 0, 0, 1], port).into();
    let (server, studies) = archive(&all, vec![RemoteAe::new("WEAKER", address)]);
    for (at, syntax) in ENCODED.iter().enumerate() {
        let folder = server.home().join(format!("moved{at}"));
        std::fs::create_dir(&folder).expect("a folder");
        let listener = listening(&python, port, &folder, syntax);
        let moved = moving(&server, &studies, "WEAKER");
        drop(listener);
        assert_eq!((moved.status, moved.failed), (0xB000, 1), "{moved:?}");
        assert_eq!(moved.failed_uids, failing, "{syntax}");
        assert!(moved.comment.starts_with("no context"), "{moved:?}");
        let count = u64::try_from(samples.len()).expect("few");
        pixels_must_be_right(&python, &folder, &samples, count - 2);

        let mut contexts = vec![Context::new(
            uid::STUDY_ROOT_GET,
            uid::IMPLICIT_LITTLE_ENDIAN,
        )];
        let storage = classes(&samples).into_iter();
        contexts.extend(storage.map(|class| Context::receiving(class, syntax)));
        let mut association = server.associate(contexts).expect("associated");
        let keys = Keys::at("STUDY").with(tag::STUDY, &studies.join("\\"));
        let (got, received) = association.get(&keys).expect("C-GET is answered");
        assert_eq!(got.failed_uids, failing, "{got:?}");
        // The same bytes, and untouched where they were in it.
        for received in by_uid(received).values() {
            let file = folder.join(&received.sop_instance);
            let moved = std::fs::read(file).expect("a file");
            let parts = corpus::Parts::of(&moved);
            assert_eq!(parts.transfer_syntax, *syntax);
            assert_eq!(received.digest, digest(&moved[parts.data_set_offset..]));
            let sample = samples
                .iter()
                .find(|sample| sample.sop_instance == received.sop_instance)
                .expect("one that was stored");
            let is_same = received.digest == digest(&sample.data_set);
            assert_eq!(
                is_same,
                sample.transfer_syntax == *syntax,
                "{}",
                sample.name
            );
        }
    }
}

/// Images of common classes, in syntaxes that are converted, and one video, which is not.
const FEW: [&str; 12] = [
    "ts/CT1_RLE",
    "ts/MR1_RLE",
    "ts/US1_RLE",
    "ts/SC_rgb_rle_16bit.dcm",
    "ts/MR_small_bigendian.dcm",
    "ts/image_dfl.dcm",
    "ts/ExplVR_BigEnd.dcm",
    "ts/emri_small_RLE.dcm",
    "ts/JPEG2000.dcm",
    "ts/MR1_JLSL",
    "ts/SC_rgb_dcmtk_+eb+cy+np.dcm",
    "ts/us_mpeg2_100.dcm",
];

fn few() -> Option<Vec<Sample>> {
    let samples = corpus(|sample| FEW.contains(&sample.name.as_str()))?;
    let convertible = samples.iter().filter(|s| is_convertible(s)).count();
    assert!(convertible >= 6 && convertible < samples.len());
    Some(samples)
}

/// DCMTK reads each file, and finds it in the transfer syntax it asked for.
fn dcmtk_must_read(folder: &Path, count: usize, syntax: &str) {
    let files = files_below(folder);
    assert_eq!(files.len(), count);
    for file in files {
        let said = run(dcmtk("dcmdump").args(["-q", "+P", "0002,0010"]).arg(&file)).succeeded();
        assert!(said.text.contains(syntax), "{}", said.text);
        let said = run(dcmtk("dcmftest").arg(&file)).succeeded();
        assert!(said.text.starts_with("yes"), "{}", said.text);
        // All of it, pixel data too.
        let all = run(dcmtk("dcmdump").arg(&file)).succeeded();
        assert!(!all.text.contains("E:"), "{}", all.text);
    }
}

/// It proposes all uncompressed syntaxes in one context for each class, whatever it is told.
#[test]
fn getscu_gets_what_can_be_converted() {
    let (true, Some(samples)) = (has_dcmtk(), few()) else {
        return;
    };
    let (server, studies) = archive(&samples, Vec::new());
    let count = samples.iter().filter(|s| is_convertible(s)).count();
    let folder = server.home().join("got");
    std::fs::create_dir(&folder).expect("a folder");
    let studies = format!("StudyInstanceUID={}", studies.join("\\"));
    let mut getscu = dcmtk("getscu");
    getscu.args(["-v", "-S", "+B", "-aec", "PACS", "-k"]);
    getscu.args(["QueryRetrieveLevel=STUDY", "-k", &studies, "-od"]);
    getscu.arg(&folder).arg("127.0.0.1");
    let said = run(getscu.arg(server.dicom().port().to_string()));

    let failed = samples.len() - count;
    let failed = format!("Number of Failed Suboperations    : {failed}");
    assert!(said.text.contains(&failed), "{}", said.text);
    dcmtk_must_read(&folder, count, "LittleEndianExplicit");
}

#[test]
fn storescp_that_takes_one_syntax_gets_what_can_be_converted_by_movescu() {
    let (true, Some(samples)) = (has_dcmtk(), few()) else {
        return;
    };
    let port = free_port();
    let address = ([127, 0, 0, 1], port).into();
    let (server, studies) = archive(&samples, vec![RemoteAe::new("STORESCP", address)]);
    let count = samples.iter().filter(|s| is_convertible(s)).count();
    let folder = server.home().join("taken");
    std::fs::create_dir(&folder).expect("a folder");
    let mut storescp = dcmtk("storescp");
    storescp
        .args(["+xi", "-aet", "STORESCP", "-od"])
        .arg(&folder);
    let _listener = Listener::start(storescp.arg(port.to_string()), port);

    let studies = format!("StudyInstanceUID={}", studies.join("\\"));
    let mut movescu = dcmtk("movescu");
    movescu.args(["-v", "-S", "-aec", "PACS", "-aem", "STORESCP", "-k"]);
    movescu.args(["QueryRetrieveLevel=STUDY", "-k", &studies, "127.0.0.1"]);
    let said = run(movescu.arg(server.dicom().port().to_string()));

    assert!(
        said.text
            .contains("Warning: SubOperationsCompleteOneOrMoreFailures"),
        "{}",
        said.text
    );
    dcmtk_must_read(&folder, count, "LittleEndianImplicit");
}
