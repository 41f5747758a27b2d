//! Peers that take one transfer syntax alone: they get everything that can be converted to it, or
//! encoded for it without loss, and the rest is failed sub-operations, named one by one. What needs
//! no conversion stays as it was sent.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use pacs_tests::corpus::{self, Expected, Sample};
use pacs_tests::peers::{Listener, dcmtk, files_below, free_port, has_dcmtk, python, run};
use pacs_tests::samples::{self, Slice};
use pacs_tests::server::{Options, RemoteAe, Server};
use pacs_tests::wire::sink::Takes;
use pacs_tests::wire::{
    Context, Keys, Received, Sink, SubOperations, digest, identifier::tag, uid,
};
use pacs_tests::workspace;
use serde_json::{Value, json};

const CT: &str = uid::CT_IMAGE_STORAGE;

/// What the server does not convert from: video.
const VIDEO: [&str; 2] = ["1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.102"];

/// Twenty-seven frames of JPEG XL, which take too long here; the tests of pacs-image have them.
const LEFT_OUT: &str = "ts/will-jxl.dcm";

const TARGETS: [&str; 3] = [
    uid::EXPLICIT_LITTLE_ENDIAN,
    uid::IMPLICIT_LITTLE_ENDIAN,
    uid::EXPLICIT_BIG_ENDIAN,
];

fn is_convertible(sample: &Sample) -> bool {
    !VIDEO.contains(&sample.transfer_syntax.as_str())
}

/// Every valid file of the test data that is `wanted`, each SOP Instance UID once.
fn corpus(wanted: impl Fn(&Sample) -> bool) -> Option<Vec<Sample>> {
    let folder = workspace::test_data()?;
    let mut seen = BTreeSet::new();
    let mut samples = corpus::load(&folder);
    samples.retain(|sample| {
        sample.expected == Expected::Valid
            && sample.name != LEFT_OUT
            && wanted(sample)
            && seen.insert(sample.sop_instance.clone())
    });
    Some(samples)
}

fn store(server: &Server, sample: &Sample) {
    let context = Context::new(&sample.sop_class, &sample.transfer_syntax);
    let mut association = server.associate(vec![context]).expect("associated");
    let status = association.store(
        &sample.sop_class,
        &sample.sop_instance,
        &sample.transfer_syntax,
        &sample.data_set,
    );
    assert_eq!(status.expect("a status"), 0, "{}", sample.name);
    association.release().expect("a release in order");
}

/// A server that holds `samples`, and all its studies.
fn archive(samples: &[Sample], remote: Vec<RemoteAe>) -> (Server, Vec<String>) {
    let server = Server::start(Options {
        remote,
        ..Options::default()
    });
    samples.iter().for_each(|sample| store(&server, sample));
    let context = Context::new(uid::STUDY_ROOT_FIND, uid::IMPLICIT_LITTLE_ENDIAN);
    let mut association = server.associate(vec![context]).expect("associated");
    let keys = Keys::at("STUDY").with(tag::STUDY, "");
    let (answers, status) = association
        .find(uid::STUDY_ROOT_FIND, &keys)
        .expect("found");
    assert_eq!(status, 0);
    association.release().expect("a release in order");
    let studies: BTreeSet<String> = answers.iter().map(|a| a.text(tag::STUDY)).collect();
    (server, studies.into_iter().collect())
}

fn classes(samples: &[Sample]) -> BTreeSet<&str> {
    samples.iter().map(|s| s.sop_class.as_str()).collect()
}

fn must_fail(samples: &[Sample]) -> Vec<String> {
    let failing = samples.iter().filter(|sample| !is_convertible(sample));
    let mut failing: Vec<String> = failing.map(|s| s.sop_instance.clone()).collect();
    failing.sort();
    failing
}

/// What a peer got is what can be converted, all in `target`, and untouched where it was in it.
fn must_be_converted(samples: &[Sample], target: &str, received: &BTreeMap<String, Received>) {
    for sample in samples.iter().filter(|sample| is_convertible(sample)) {
        let got = received.get(&sample.sop_instance);
        let got = got.unwrap_or_else(|| panic!("{} did not come", sample.name));
        assert_eq!(got.transfer_syntax, target, "{}", sample.name);
        let is_same = got.digest == digest(&sample.data_set);
        assert_eq!(is_same, sample.transfer_syntax == target, "{}", sample.name);
    }
    let count = samples
        .iter()
        .filter(|sample| is_convertible(sample))
        .count();
    assert_eq!(received.len(), count);
}

fn by_uid(received: impl IntoIterator<Item = Received>) -> BTreeMap<String, Received> {
    let received = received.into_iter();
    received.map(|r| (r.sop_instance.clone(), r)).collect()
}

#[test]
fn raw_peers_of_one_syntax_get_the_same_by_c_get_and_c_move() {
    let Some(samples) = corpus(|_| true) else {
        return;
    };
    let sinks = TARGETS.map(|target| Sink::start(Takes::Only(target)));
    let titles = ["SINK0", "SINK1", "SINK2"];
    let remote = titles.iter().zip(&sinks);
    let remote = remote.map(|(title, sink)| RemoteAe::new(title, sink.address()));
    let (server, studies) = archive(&samples, remote.collect());
    let keys = Keys::at("STUDY").with(tag::STUDY, &studies.join("\\"));
    let failing = must_fail(&samples);
    let converting = samples.len() - failing.len();
    assert!(failing.len() == 2 && converting > 240, "{converting}");

    for (at, target) in TARGETS.iter().enumerate() {
        let mut contexts = vec![
            Context::new(uid::STUDY_ROOT_GET, uid::IMPLICIT_LITTLE_ENDIAN),
            Context::new(uid::STUDY_ROOT_MOVE, uid::IMPLICIT_LITTLE_ENDIAN),
        ];
        let storage = classes(&samples).into_iter();
        contexts.extend(storage.map(|class| Context::receiving(class, target)));
        let mut association = server.associate(contexts).expect("associated");

        let (got, received) = association.get(&keys).expect("C-GET is answered");
        assert_eq!(got.status, 0xB000, "{target}: {got:?}");
        assert_eq!(usize::from(got.completed), converting, "{got:?}");
        assert_eq!(usize::from(got.failed), failing.len());
        assert_eq!(got.failed_uids, failing);
        assert!(got.comment.starts_with("no context for 1.2.840"), "{got:?}");
        let received = by_uid(received);
        must_be_converted(&samples, target, &received);

        // Big endian is hardly proposed to a destination: everybody takes the default syntax.
        let moved = association.move_to(&keys, titles[at]).expect("an answer");
        let by_move = by_uid(sinks[at].take());
        if *target == uid::EXPLICIT_BIG_ENDIAN {
            // Where it is kept it is proposed, and then good for others of the class.
            let kept = samples.iter().filter(|s| s.transfer_syntax == *target);
            assert!(by_move.len() >= kept.count());
            assert_eq!(usize::from(moved.completed), by_move.len());
            let same = |(uid, got): (&String, &Received)| received.get(uid) == Some(got);
            assert!(by_move.iter().all(same));
            continue;
        }
        assert_eq!(moved.status, 0xB000, "{target}: {moved:?}");
        assert_eq!(moved.failed_uids, failing, "{target}");
        assert!(by_move == received, "C-MOVE gives what C-GET gives");
    }
}

#[test]
fn a_context_with_several_syntaxes_gets_what_any_of_them_can_carry() {
    let server = Server::start(Options::default());
    let slice = Slice::new(1, 1);
    let context = Context::new(CT, uid::EXPLICIT_LITTLE_ENDIAN);
    let mut association = server.associate(vec![context]).expect("associated");
    let syntax = uid::EXPLICIT_LITTLE_ENDIAN;
    let status = association.store(CT, &slice.instance, syntax, &slice.data_set());
    assert_eq!(status.expect("a status"), 0);
    association.release().expect("a release in order");
    let keys = Keys::at("STUDY").with(tag::STUDY, &slice.study);

    for (proposed, chosen) in [
        (
            &[uid::RLE_LOSSLESS, uid::IMPLICIT_LITTLE_ENDIAN][..],
            uid::IMPLICIT_LITTLE_ENDIAN,
        ),
        (&[uid::DEFLATED_LITTLE_ENDIAN, syntax], syntax),
        (&[uid::IMPLICIT_LITTLE_ENDIAN, syntax], syntax),
        (
            &[uid::EXPLICIT_BIG_ENDIAN, syntax],
            uid::EXPLICIT_BIG_ENDIAN,
        ),
    ] {
        let mut storage = Context::receiving(CT, proposed[0]);
        storage.transfer_syntaxes = proposed.iter().map(ToString::to_string).collect();
        let get = Context::new(uid::STUDY_ROOT_GET, uid::IMPLICIT_LITTLE_ENDIAN);
        let mut association = server.associate(vec![get, storage]).expect("associated");
        let (got, received) = association.get(&keys).expect("an answer");
        assert_eq!((got.status, got.completed), (0, 1), "{proposed:?}: {got:?}");
        assert_eq!(received[0].transfer_syntax, chosen, "{proposed:?}");
        association.release().expect("a release in order");
    }
}

/// An RLE image whose pixel data is not what it says.
fn broken_rle(number: u32) -> (Slice, Vec<u8>) {
    let slice = Slice::new(7, number);
    let mut data_set = slice.data_set();
    let pixels = data_set.len() - 12 - usize::from(slice.side).pow(2) * 2;
    data_set.truncate(pixels);
    data_set.extend_from_slice(&[
        0xE0, 0x7F, 0x10, 0, b'O', b'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF,
    ]);
    data_set.extend_from_slice(&[0xFE, 0xFF, 0, 0xE0, 0, 0, 0, 0]);
    data_set.extend_from_slice(&[0xFE, 0xFF, 0, 0xE0, 64, 0, 0, 0]);
    data_set.extend_from_slice(&[0; 64]);
    data_set.extend_from_slice(&[0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    (slice, data_set)
}

#[test]
fn what_cannot_be_decoded_fails_alone_and_says_why() {
    let sink = Sink::start(Takes::Only(uid::IMPLICIT_LITTLE_ENDIAN));
    let server = Server::start(Options {
        remote: vec![RemoteAe::new("SINK", sink.address())],
        ..Options::default()
    });
    let rle = uid::RLE_LOSSLESS;
    let contexts = vec![
        Context::new(CT, uid::EXPLICIT_LITTLE_ENDIAN),
        Context::new(CT, rle),
    ];
    let mut association = server.associate(contexts).expect("associated");
    let (broken, broken_bytes) = broken_rle(1);
    let status = association.store(CT, &broken.instance, rle, &broken_bytes);
    assert_eq!(status.expect("a status"), 0);
    let good = Slice::new(7, 2);
    let syntax = uid::EXPLICIT_LITTLE_ENDIAN;
    let status = association.store(CT, &good.instance, syntax, &good.data_set());
    assert_eq!(status.expect("a status"), 0);
    association.release().expect("a release in order");

    let keys = Keys::at("STUDY").with(tag::STUDY, &good.study);
    let mut association = server
        .associate(vec![
            Context::new(uid::STUDY_ROOT_GET, uid::IMPLICIT_LITTLE_ENDIAN),
            Context::new(uid::STUDY_ROOT_MOVE, uid::IMPLICIT_LITTLE_ENDIAN),
            Context::receiving(CT, uid::IMPLICIT_LITTLE_ENDIAN),
        ])
        .expect("associated");
    let (got, received) = association.get(&keys).expect("an answer");
    let moved = association.move_to(&keys, "SINK").expect("an answer");
    for ended in [&got, &moved] {
        assert_eq!(
            (ended.status, ended.completed, ended.failed),
            (0xB000, 1, 1)
        );
        assert_eq!(ended.failed_uids, [broken.instance.as_str()]);
        assert!(
            ended.comment.starts_with("pixel data is damaged"),
            "{ended:?}"
        );
    }
    assert_eq!(received[0].sop_instance, good.instance);
    assert_eq!(sink.take()[0].sop_instance, good.instance);

    // Where nothing can be given the retrieval has failed.
    let alone = Keys::instance(&broken.study, &broken.series, &broken.instance);
    let (got, _) = association.get(&alone).expect("an answer");
    assert_eq!((got.status, got.failed), (0xA702, 1));
    assert_eq!(got.failed_uids, [broken.instance.as_str()]);
    association.release().expect("the association lives on");
    let (_, metrics) = server.get("/metrics");
    for line in [
        "pacs_conversions_total{outcome=\"converted\"} 2".to_owned(),
        "pacs_conversions_total{outcome=\"refused\"} 3".to_owned(),
        format!(
            "pacs_conversion_bytes_total {}",
            2 * received[0].length_bytes
        ),
    ] {
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }

    // And who takes it as it is gets it as it is.
    let contexts = vec![
        Context::new(uid::STUDY_ROOT_GET, uid::IMPLICIT_LITTLE_ENDIAN),
        Context::receiving(CT, rle),
    ];
    let mut association = server.associate(contexts).expect("associated");
    let (_, received) = association.get(&alone).expect("an answer");
    assert_eq!(received[0].digest, digest(&broken_bytes));
}

/// More than is held while it is converted, so that it is converted twice, and streamed.
#[test]
fn a_large_instance_is_converted_in_bounded_memory() {
    let server = Server::start(Options::default());
    let slice = Slice::new(1, 1);
    let mut data_set = slice.data_set();
    let pixels = data_set.len() - 12 - usize::from(slice.side).pow(2) * 2;
    data_set.truncate(pixels);
    samples::long(&mut data_set, 0x7FE0_0010, "OW", &vec![7; 200 << 20]);
    let syntax = uid::EXPLICIT_LITTLE_ENDIAN;
    let context = Context::new(CT, syntax);
    let mut association = server.associate(vec![context]).expect("associated");
    let status = association.store(CT, &slice.instance, syntax, &data_set);
    assert_eq!(status.expect("a status"), 0);
    association.release().expect("a release in order");
    let before = server.peak_resident_bytes();

    let mut association = server
        .associate(vec![
            Context::new(uid::STUDY_ROOT_GET, uid::IMPLICIT_LITTLE_ENDIAN),
            Context::receiving(CT, uid::IMPLICIT_LITTLE_ENDIAN),
        ])
        .expect("associated");
    let keys = Keys::at("STUDY").with(tag::STUDY, &slice.study);
    let mut tail = Vec::new();
    let got = association.get_each(&keys, |_, bytes| {
        tail = bytes[bytes.len() - (200 << 20) - 8..][..12].to_vec();
    });

    assert_eq!(got.expect("an answer").status, 0);
    let length = (200_u32 << 20).to_le_bytes();
    let wanted = [&[0xE0, 0x7F, 0x10, 0][..], &length, &[7; 4]].concat();
    assert_eq!(tail, wanted);
    let grown = server.peak_resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more");
}

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
        let mut listening = Command::new(&python);
        listening
            .arg(workspace::root().join("tests/pynetdicom/weaker.py"))
            .args(["listen", &port.to_string()])
            .arg(&folder)
            .arg(syntax);
        let listener = Listener::start(&mut listening, port);
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
        let mut listening = Command::new(&python);
        listening
            .arg(workspace::root().join("tests/pynetdicom/weaker.py"))
            .args(["listen", &port.to_string()])
            .arg(&folder)
            .arg(syntax);
        let listener = Listener::start(&mut listening, port);
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
