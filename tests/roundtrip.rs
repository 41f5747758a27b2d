//! Bytes in equal bytes out: every storable file of the test data, in every transfer syntax.
//!
//! The data sets travel exactly as they are in the files. Those the manifest calls valid or odd
//! must come back equal through C-GET and C-MOVE; those without an identity UID must be refused
//! with a failure; malformed ones may be refused or kept as sent, and must do no harm.

use std::collections::{BTreeMap, BTreeSet};

use pacs_tests::corpus::{self, Expected, Sample};
use pacs_tests::server::{Options, RemoteAe, Server};
use pacs_tests::stow;
use pacs_tests::wire::sink::Takes;
use pacs_tests::wire::{
    Association, Context, Keys, Received, Sink, WireError, digest, identifier::tag, uid,
};
use pacs_tests::workspace;

/// Where an instance stands, and the digest of what was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    study: String,
    series: String,
}

/// Files that share a SOP Instance UID exclude one another, so each round has each UID once.
fn rounds(samples: Vec<Sample>) -> Vec<Vec<Sample>> {
    let mut rounds: Vec<Vec<Sample>> = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for sample in samples {
        let round = seen.entry(sample.sop_instance.clone()).or_default();
        if rounds.len() == *round {
            rounds.push(Vec::new());
        }
        rounds[*round].push(sample);
        *round += 1;
    }
    rounds
}

/// Stores `sample` on an association of its own.
fn store(server: &Server, sample: &Sample) -> Result<u16, WireError> {
    let context = Context::new(&sample.sop_class, &sample.transfer_syntax);
    let mut association = server.associate(vec![context])?;
    let status = association.store(
        &sample.sop_class,
        &sample.sop_instance,
        &sample.transfer_syntax,
        &sample.data_set,
    )?;
    association.release()?;
    Ok(status)
}

fn load(wanted: &[Expected]) -> Option<Vec<Sample>> {
    let folder = workspace::test_data()?;
    let mut samples = corpus::load(&folder);
    samples.retain(|sample| wanted.contains(&sample.expected));
    Some(samples)
}

fn finding(server: &Server) -> Association {
    let context = Context::new(uid::STUDY_ROOT_FIND, uid::IMPLICIT_LITTLE_ENDIAN);
    server
        .associate(vec![context])
        .expect("an association to find with")
}

fn values(association: &mut Association, keys: &Keys, wanted: u32) -> BTreeSet<String> {
    let keys = keys.clone().with(wanted, "");
    let (answers, status) = association
        .find(uid::STUDY_ROOT_FIND, &keys)
        .expect("an answer");
    assert_eq!(status, 0, "C-FIND");
    answers.iter().map(|answer| answer.text(wanted)).collect()
}

/// Walks studies, series and instances by C-FIND: the place of each SOP Instance UID.
fn walk(server: &Server) -> BTreeMap<String, Place> {
    let mut association = finding(server);
    let mut places = BTreeMap::new();
    for study in values(&mut association, &Keys::at("STUDY"), tag::STUDY) {
        let in_study = Keys::at("SERIES").with(tag::STUDY, &study);
        for series in values(&mut association, &in_study, tag::SERIES) {
            let in_series = Keys::at("IMAGE")
                .with(tag::STUDY, &study)
                .with(tag::SERIES, &series);
            for instance in values(&mut association, &in_series, tag::SOP_INSTANCE) {
                let place = Place {
                    study: study.clone(),
                    series: series.clone(),
                };
                places.insert(instance, place);
            }
        }
    }
    association.release().expect("a release in order");
    places
}

/// The samples by study, so that one C-GET needs few presentation contexts.
fn by_study<'a>(
    samples: &'a [Sample],
    places: &BTreeMap<String, Place>,
) -> BTreeMap<String, Vec<&'a Sample>> {
    let mut studies: BTreeMap<String, Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        let place = places.get(&sample.sop_instance);
        let place = place.unwrap_or_else(|| panic!("C-FIND does not find {}", sample.name));
        studies.entry(place.study.clone()).or_default().push(sample);
    }
    studies
}

fn must_be_equal(way: &str, samples: &[&Sample], received: &[Received]) {
    for sample in samples {
        let same = |instance: &&Received| instance.sop_instance == sample.sop_instance;
        let back = received.iter().find(same);
        let back = back.unwrap_or_else(|| panic!("{way} does not give back {}", sample.name));
        assert_eq!(
            back.transfer_syntax, sample.transfer_syntax,
            "{way}, {}",
            sample.name
        );
        assert_eq!(
            back.length_bytes,
            sample.data_set.len(),
            "{way}, {}",
            sample.name
        );
        assert_eq!(
            back.digest,
            digest(&sample.data_set),
            "{way}, {}",
            sample.name
        );
        assert_eq!(back.sop_class, sample.sop_class, "{way}, {}", sample.name);
    }
    assert_eq!(
        samples.len(),
        received.len(),
        "{way} gives back something else as well"
    );
}

fn contexts_for(samples: &[&Sample]) -> Vec<Context> {
    let pairs: BTreeSet<(&str, &str)> = samples
        .iter()
        .map(|sample| (sample.sop_class.as_str(), sample.transfer_syntax.as_str()))
        .collect();
    let mut contexts = vec![
        Context::new(uid::STUDY_ROOT_GET, uid::IMPLICIT_LITTLE_ENDIAN),
        Context::new(uid::STUDY_ROOT_MOVE, uid::IMPLICIT_LITTLE_ENDIAN),
    ];
    contexts.extend(
        pairs
            .into_iter()
            .map(|(class, syntax)| Context::receiving(class, syntax)),
    );
    contexts
}

/// How a round of samples gets in.
type Store = fn(&Server, &[Sample]);

fn by_c_store(server: &Server, samples: &[Sample]) {
    for sample in samples {
        let status = store(server, sample);
        assert!(matches!(status, Ok(0)), "{}: {status:04X?}", sample.name);
    }
}

/// In one request, each file as it is.
fn by_stow(server: &Server, samples: &[Sample]) {
    let folder = workspace::test_data().expect("the samples are from there");
    let read = |sample: &Sample| std::fs::read(folder.join(&sample.name)).expect("a file");
    let files: Vec<Vec<u8>> = samples.iter().map(read).collect();

    let answer = stow::store(server.http(), "/dicomweb/studies", &files);

    let stored: BTreeSet<String> = answer.stored().into_iter().collect();
    let missing = samples
        .iter()
        .find(|sample| !stored.contains(&sample.sop_instance));
    let missing = missing.map(|sample| &sample.name);
    assert_eq!((answer.status, missing), (200, None), "{}", answer.json());
}

/// Stores a round of samples and asks for all of it back, both ways.
fn round_trip(samples: &[Sample], store: Store) {
    let sink = Sink::start(Takes::Everything);
    let remote = vec![RemoteAe::new("SINK", sink.address())];
    let server = Server::start(Options {
        remote,
        arguments: vec!["--open-loopback".to_owned()],
        ..Options::default()
    });
    store(&server, samples);

    for (study, samples) in by_study(samples, &walk(&server)) {
        let mut association = server
            .associate(contexts_for(&samples))
            .expect("an association");
        let keys = Keys::at("STUDY").with(tag::STUDY, &study);

        let (got, received) = association.get(&keys).expect("C-GET is answered");
        assert_eq!(
            (got.status, got.failed),
            (0, 0),
            "C-GET of {study}: {got:?}"
        );
        must_be_equal("C-GET", &samples, &received);

        let moved = association
            .move_to(&keys, "SINK")
            .expect("C-MOVE is answered");
        assert_eq!(
            (moved.status, moved.failed),
            (0, 0),
            "C-MOVE of {study}: {moved:?}"
        );
        must_be_equal("C-MOVE", &samples, &sink.take());
        association.release().expect("a release in order");
    }
}

#[test]
fn every_storable_file_comes_back_equal_by_get_and_by_move() {
    let Some(samples) = load(&[Expected::Valid, Expected::OddAccept]) else {
        return;
    };
    assert!(samples.len() > 300, "the manifest lists hundreds of files");

    for round in rounds(samples) {
        round_trip(&round, by_c_store);
    }
}

#[test]
fn every_storable_file_comes_back_equal_after_stow() {
    let Some(samples) = load(&[Expected::Valid, Expected::OddAccept]) else {
        return;
    };

    for round in rounds(samples) {
        round_trip(&round, by_stow);
    }
}

#[test]
fn a_single_instance_comes_back_by_the_unique_keys_of_every_level() {
    let Some(samples) = load(&[Expected::Valid]) else {
        return;
    };
    let sample = samples
        .iter()
        .find(|sample| sample.name == "modality/CT_small.dcm");
    let sample = sample.expect("CT_small.dcm is in the test data");
    let server = Server::start(Options::default());
    assert_eq!(store(&server, sample).expect("an answer"), 0);
    let place = walk(&server)
        .remove(&sample.sop_instance)
        .expect("it is found");

    let keys = Keys::instance(&place.study, &place.series, &sample.sop_instance);
    let mut association = server
        .associate(contexts_for(&[sample]))
        .expect("an association");
    let (ended, received) = association.get(&keys).expect("C-GET is answered");

    assert_eq!((ended.status, ended.completed), (0, 1));
    must_be_equal("C-GET", &[sample], &received);
}

#[test]
fn what_lacks_an_identity_is_refused_with_a_failure_and_leaves_nothing() {
    let Some(samples) = load(&[Expected::Incomplete]) else {
        return;
    };
    assert!(!samples.is_empty(), "the manifest lists incomplete files");
    let server = Server::start(Options::default());

    for sample in &samples {
        // A command set must name a class and an instance, whatever the data set lacks.
        let announced = Sample {
            sop_class: named(&sample.sop_class, uid::SECONDARY_CAPTURE),
            sop_instance: named(&sample.sop_instance, "2.25.202611250002"),
            ..sample.clone()
        };
        let status = store(&server, &announced).expect("the association lives on");
        let is_failure = matches!(status, 0xA700..=0xA7FF | 0xA900..=0xA9FF | 0xC000..=0xCFFF);
        assert!(is_failure, "{}: {status:04X}", sample.name);
    }

    assert_eq!(walk(&server), BTreeMap::new());
}

fn named(uid: &str, otherwise: &str) -> String {
    if uid.is_empty() {
        otherwise.to_owned()
    } else {
        uid.to_owned()
    }
}

/// What the server may take of memory over what it has when idle, whatever is sent to it one
/// association at a time.
const GROWTH_BYTES_MAX: u64 = 128 * 1024 * 1024;

#[test]
fn malformed_files_are_refused_or_kept_as_sent_and_the_server_lives_on() {
    let Some(samples) = load(&[Expected::Malformed]) else {
        return;
    };
    assert!(samples.len() > 100, "the manifest lists malformed files");
    let mut server = Server::start(Options::default());
    assert_eq!(server.echo().expect("an answer"), 0);
    let idle = server.resident_bytes();

    let mut accepted: Vec<Sample> = Vec::new();
    for sample in &samples {
        let announced = Sample {
            sop_class: named(&sample.sop_class, uid::SECONDARY_CAPTURE),
            sop_instance: named(&sample.sop_instance, "2.25.202611250003"),
            ..sample.clone()
        };
        // Any answer will do, an abort too, but the next association must be served.
        let answer = store(&server, &announced);
        assert!(
            server.is_alive(),
            "{} ended the server ({answer:?})",
            sample.name
        );
        let echo = server.echo();
        assert!(
            matches!(echo, Ok(0)),
            "after {}: {echo:?} ({answer:?})",
            sample.name
        );
        if matches!(answer, Ok(0)) {
            accepted.push(announced);
        }
    }

    kept_as_sent(&server, &accepted);
    let grown = server.peak_resident_bytes().saturating_sub(idle);
    assert!(
        grown <= GROWTH_BYTES_MAX,
        "memory grew by {} MiB",
        grown >> 20
    );
}

/// What was accepted is found, and comes back as it was sent: where several files share a SOP
/// Instance UID, as one of them.
fn kept_as_sent(server: &Server, accepted: &[Sample]) {
    let mut sent: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for sample in accepted {
        let digests = sent.entry(&sample.sop_instance).or_default();
        digests.insert(digest(&sample.data_set));
    }
    let places = walk(server);
    for sample in accepted {
        let place = places.get(&sample.sop_instance);
        let place = place.unwrap_or_else(|| panic!("{} is kept and not found", sample.name));
        let keys = Keys::instance(&place.study, &place.series, &sample.sop_instance);
        let of_this_uid: Vec<&Sample> = accepted
            .iter()
            .filter(|other| other.sop_instance == sample.sop_instance)
            .collect();
        let mut association = server
            .associate(contexts_for(&of_this_uid))
            .expect("associated");
        let (ended, received) = association.get(&keys).expect("C-GET is answered");
        assert_eq!(
            (ended.status, ended.completed),
            (0, 1),
            "{}: {ended:?}",
            sample.name
        );
        assert!(
            sent[sample.sop_instance.as_str()].contains(&received[0].digest),
            "{}",
            sample.name
        );
        association.release().expect("a release in order");
    }
}
