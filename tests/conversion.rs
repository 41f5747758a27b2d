//! Peers that take one transfer syntax alone: they get everything that can be converted to it, or
//! encoded for it without loss, and the rest is failed sub-operations, named one by one. What needs
//! no conversion stays as it was sent.

#[path = "conversion/peers.rs"]
mod peers;

use std::collections::{BTreeMap, BTreeSet};

use pacs_tests::corpus::{self, Expected, Sample};
use pacs_tests::samples::{self, Slice};
use pacs_tests::server::{Options, RemoteAe, Server};
use pacs_tests::wire::sink::Takes;
use pacs_tests::wire::{Context, Keys, Received, Sink, digest, identifier::tag, uid};
use pacs_tests::workspace;

const CT: &str = uid::CT_IMAGE_STORAGE;

/// What the server does not convert from: video.
const VIDEO: [&str; 2] = ["1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.102"];

/// Twenty-seven frames of JPEG XL, which take too long here; `interop_rendered.rs` compares
/// three.
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
