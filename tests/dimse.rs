//! Services seen from a raw peer: negotiation, duplicates, cancel, relational queries, failures.

use std::collections::BTreeSet;

use pacs_tests::samples::{Slice, part10, text};
use pacs_tests::server::{Options, RemoteAe, Server};
use pacs_tests::wire::command::{element, field};
use pacs_tests::wire::identifier::tag;
use pacs_tests::wire::sink::Takes;
use pacs_tests::wire::{
    Association, Command, Context, Keys, Proposal, Sink, SubOperations, digest, pdu, uid,
};

const CT: &str = uid::CT_IMAGE_STORAGE;
const EXPLICIT: &str = uid::EXPLICIT_LITTLE_ENDIAN;
const SYNTAXES: &str = include_str!("../crates/pacs-core/testdata/transfer-syntaxes.tsv");

fn store(server: &Server, slice: &Slice) -> u16 {
    store_data(server, &slice.instance, &slice.data_set())
}

fn store_data(server: &Server, instance: &str, data_set: &[u8]) -> u16 {
    let mut association = server
        .associate(vec![Context::new(CT, EXPLICIT)])
        .expect("associated");
    let status = association
        .store(CT, instance, EXPLICIT, data_set)
        .expect("a status");
    association.release().expect("a release in order");
    status
}

fn querying(server: &Server) -> Association {
    let implicit = uid::IMPLICIT_LITTLE_ENDIAN;
    server
        .associate(vec![
            Context::new(uid::STUDY_ROOT_FIND, implicit),
            Context::new(uid::PATIENT_ROOT_FIND, implicit),
            Context::new(uid::STUDY_ROOT_MOVE, implicit),
            Context::new(uid::STUDY_ROOT_GET, implicit),
            Context::receiving(CT, EXPLICIT),
        ])
        .expect("an association")
}

fn study_keys(slice: &Slice) -> Keys {
    Keys::at("STUDY").with(tag::STUDY, &slice.study)
}

/// What the server gives back of the study of `slice`.
fn get(server: &Server, slice: &Slice) -> (SubOperations, Vec<String>) {
    let mut association = querying(server);
    let (ended, received) = association
        .get(&study_keys(slice))
        .expect("C-GET is answered");
    association.release().expect("a release in order");
    (
        ended,
        received
            .into_iter()
            .map(|instance| instance.digest)
            .collect(),
    )
}

#[test]
fn every_transfer_syntax_of_the_standard_is_accepted_for_storage() {
    let server = Server::start(Options::default());
    let syntaxes: Vec<&str> = SYNTAXES
        .lines()
        .skip(1)
        .filter_map(|line| line.split('\t').next())
        .collect();
    assert!(syntaxes.len() > 60, "{syntaxes:?}");
    let contexts = syntaxes.iter().map(|syntax| Context::new(CT, syntax));
    let contexts = contexts.collect();

    let association = server.associate(contexts).expect("an association");

    for syntax in syntaxes {
        assert!(
            association.context(CT, syntax).is_some(),
            "{syntax} is not accepted"
        );
    }
}

#[test]
fn unknown_and_private_classes_are_kept() {
    let server = Server::start(Options::default());
    let private = "1.3.6.1.4.1.99999.1.2.3";
    let slice = Slice::new(1, 1);
    let mut data_set = Vec::new();
    text(&mut data_set, 0x0008_0016, "UI", private);
    text(&mut data_set, 0x0008_0018, "UI", &slice.instance);
    text(&mut data_set, 0x0010_0020, "LO", "PRIVATE1");
    text(&mut data_set, 0x0020_000D, "UI", &slice.study);
    text(&mut data_set, 0x0020_000E, "UI", &slice.series);

    let mut association = server
        .associate(vec![Context::new(private, EXPLICIT)])
        .expect("an association");
    let status = association.store(private, &slice.instance, EXPLICIT, &data_set);
    assert_eq!(status.expect("a status"), 0);

    let mut association = server
        .associate(vec![
            Context::new(uid::STUDY_ROOT_GET, uid::IMPLICIT_LITTLE_ENDIAN),
            Context::receiving(private, EXPLICIT),
        ])
        .expect("an association");
    let (ended, received) = association.get(&study_keys(&slice)).expect("an answer");
    assert_eq!((ended.status, received.len()), (0, 1));
    assert_eq!(received[0].digest, digest(&data_set));
}

#[test]
fn the_same_instance_again_is_success_and_is_kept_once() {
    let server = Server::start(Options::default());
    let slice = Slice::new(1, 1);

    assert_eq!(store(&server, &slice), 0);
    assert_eq!(store(&server, &slice), 0);

    let (ended, received) = get(&server, &slice);
    assert_eq!((ended.status, received.len()), (0, 1));
}

#[test]
fn other_content_under_the_same_uid_overwrites_nothing() {
    let server = Server::start(Options::default());
    let slice = Slice::new(1, 1);
    let other = Slice {
        seed: 99,
        ..slice.clone()
    };

    assert_eq!(store(&server, &slice), 0);
    let second = store(&server, &other);

    // Kept as a version: success or a warning, never a failure that the peer would repeat.
    assert!(
        second == 0 || (0xB000..=0xBFFF).contains(&second),
        "{second:04X}"
    );
    let (ended, received) = get(&server, &slice);
    assert_eq!((ended.status, received.len()), (0, 1));
    assert_eq!(received[0], digest(&slice.data_set()));
}

#[test]
fn a_data_set_that_is_not_what_its_command_announced_is_refused() {
    let server = Server::start(Options::default());
    let slice = Slice::new(1, 1);

    let status = store_data(&server, "2.25.123456789", &slice.data_set());

    assert!((0xA900..=0xA9FF).contains(&status), "{status:04X}");
    assert_eq!(get(&server, &slice).1.len(), 0);
}

#[test]
fn a_data_set_that_breaks_off_leaves_nothing() {
    let server = Server::start(Options::default());
    let slice = Slice::new(1, 1);
    let mut association = server
        .associate(vec![Context::new(CT, EXPLICIT)])
        .expect("associated");
    let request = Command::request(field::STORE, CT, 1, true).text(
        element::AFFECTED_INSTANCE,
        &slice.instance,
        '\0',
    );
    association
        .send(1, &request, None)
        .expect("the server reads");
    let half = pdu::p_data(1, 0, &slice.data_set()[..4000]);
    pdu::send(association.stream(), &half).expect("the server reads");
    drop(association);

    assert_eq!(store(&server, &Slice::new(2, 1)), 0);
    assert_eq!(get(&server, &slice).1.len(), 0);
    assert_eq!(store(&server, &slice), 0);
}

#[test]
fn kyrgyz_names_are_found_whatever_letters_the_query_has() {
    let server = Server::start(Options::default());
    let mut slice = Slice::new(1, 1);
    slice.patient_name = "Ёлкина^Өмүрбүбү".to_owned();
    assert_eq!(store(&server, &slice), 0);
    let mut other = Slice::new(2, 1);
    other.patient_name = "Иванов^Пётр".to_owned();
    assert_eq!(store(&server, &other), 0);

    let mut association = querying(&server);
    for (name, count) in [
        ("елкина^омурбубу", 1),
        ("ЁЛКИНА^ӨМҮРБҮБҮ", 1),
        ("*лкин*", 1),
        ("?лкина*", 1),
        ("иванов*", 1),
        ("*", 2),
        ("петров*", 0),
    ] {
        // The query says its own character set.
        let keys = Keys::at("STUDY")
            .with(0x0008_0005, "ISO_IR 192")
            .with(tag::PATIENT_NAME, name)
            .with(tag::STUDY, "");
        let (answers, status) = association
            .find(uid::STUDY_ROOT_FIND, &keys)
            .expect("an answer");
        assert_eq!((answers.len(), status), (count, 0), "{name}");
    }
}

#[test]
fn a_query_without_its_level_or_with_a_wrong_one_fails_with_a_status() {
    let server = Server::start(Options::default());
    let mut association = querying(&server);

    for keys in [
        Keys::default().with(tag::STUDY, ""),
        Keys::at("GALAXY").with(tag::STUDY, ""),
    ] {
        let (answers, status) = association
            .find(uid::STUDY_ROOT_FIND, &keys)
            .expect("an answer");
        let failed = (0xA900..=0xA9FF).contains(&status) || (0xC000..=0xCFFF).contains(&status);
        assert!(answers.is_empty() && failed, "{status:04X}");
    }
    association.release().expect("the association lives on");
}

#[test]
fn a_relational_query_finds_images_without_the_keys_above_them() {
    let server = Server::start(Options::default());
    for number in 1..=3 {
        assert_eq!(store(&server, &Slice::new(1, number)), 0);
    }
    let context = Context::new(uid::STUDY_ROOT_FIND, uid::IMPLICIT_LITTLE_ENDIAN);
    let proposal = Proposal::new(vec![context]).relational(uid::STUDY_ROOT_FIND);
    let mut association = Association::connect(server.dicom(), &proposal).expect("an association");

    let keys = Keys::at("IMAGE")
        .with(tag::PATIENT_ID, "TEST00001")
        .with(tag::SOP_INSTANCE, "")
        .with(tag::STUDY, "");
    let (answers, status) = association
        .find(uid::STUDY_ROOT_FIND, &keys)
        .expect("an answer");

    assert_eq!((answers.len(), status), (3, 0));
    assert_eq!(answers[0].text(tag::STUDY), Slice::new(1, 1).study);
}

/// An association that retrieves, relationally in the models that are named.
fn retrieving(server: &Server, relational: &[&str]) -> Association {
    let implicit = uid::IMPLICIT_LITTLE_ENDIAN;
    let contexts = vec![
        Context::new(uid::STUDY_ROOT_MOVE, implicit),
        Context::new(uid::STUDY_ROOT_GET, implicit),
        Context::receiving(CT, EXPLICIT),
    ];
    let proposal = Proposal::new(contexts);
    let proposal = relational
        .iter()
        .fold(proposal, |proposal, class| proposal.relational(class));
    Association::connect(server.dicom(), &proposal).expect("an association")
}

#[test]
fn a_retrieval_without_the_keys_above_its_level_is_answered_where_it_was_negotiated() {
    let sink = Sink::start(Takes::Everything);
    let server = Server::start(Options {
        remote: vec![RemoteAe::new("SINK", sink.address())],
        ..Options::default()
    });
    for (study, number) in [(1, 1), (1, 2), (1, 3), (2, 1)] {
        assert_eq!(store(&server, &Slice::new(study, number)), 0);
    }
    let (slice, other) = (Slice::new(1, 2), Slice::new(2, 1));
    let two = format!("{}\\{}", slice.instance, other.instance);
    let image = Keys::at("IMAGE").with(tag::SOP_INSTANCE, &slice.instance);
    let images = Keys::at("IMAGE").with(tag::SOP_INSTANCE, &two);
    let series = Keys::at("SERIES").with(tag::SERIES, &slice.series);
    let wanted = [(&image, 1), (&images, 2), (&series, 3)];

    let both = [uid::STUDY_ROOT_GET, uid::STUDY_ROOT_MOVE];
    let mut association = retrieving(&server, &both);
    for (keys, count) in wanted {
        let (got, received) = association.get(keys).expect("C-GET is answered");
        assert_eq!((got.status, got.completed), (0, count), "{keys:?} {got:?}");
        assert_eq!(received.len(), usize::from(count));
        let moved = association
            .move_to(keys, "SINK")
            .expect("C-MOVE is answered");
        assert_eq!(
            (moved.status, moved.completed),
            (0, count),
            "{keys:?} {moved:?}"
        );
        assert_eq!(sink.take().len(), usize::from(count));
    }
    association.release().expect("the association lives on");

    // Each class for itself: what was not negotiated needs the keys above (PS3.4 C.4.2.2.1).
    let mut neither = retrieving(&server, &[]);
    let mut get_alone = retrieving(&server, &both[..1]);
    let mut move_alone = retrieving(&server, &both[1..]);
    for (keys, count) in wanted {
        for association in [&mut neither, &mut move_alone] {
            let (got, received) = association.get(keys).expect("C-GET is answered");
            assert_eq!((got.status, got.completed), (0xA900, 0), "{keys:?} {got:?}");
            assert!(received.is_empty());
        }
        for association in [&mut neither, &mut get_alone] {
            let moved = association
                .move_to(keys, "SINK")
                .expect("C-MOVE is answered");
            assert_eq!(
                (moved.status, moved.completed),
                (0xA900, 0),
                "{keys:?} {moved:?}"
            );
        }
        assert!(sink.take().is_empty());
        let (got, _) = get_alone.get(keys).expect("C-GET is answered");
        let moved = move_alone
            .move_to(keys, "SINK")
            .expect("C-MOVE is answered");
        assert_eq!((got.status, got.completed), (0, count), "{got:?}");
        assert_eq!((moved.status, moved.completed), (0, count), "{moved:?}");
        assert_eq!(sink.take().len(), usize::from(count));
    }
    let whole = Keys::instance(&slice.study, &slice.series, &slice.instance);
    let (got, _) = neither.get(&whole).expect("C-GET is answered");
    assert_eq!((got.status, got.completed), (0, 1));
}

#[test]
fn a_find_that_is_cancelled_at_once_ends_as_cancelled() {
    let server = Server::start(Options::default());
    let mut association = server
        .associate(vec![Context::new(CT, EXPLICIT)])
        .expect("associated");
    for study in 1..=400 {
        let mut slice = Slice::new(study, 1);
        slice.side = 1;
        let status = association.store(CT, &slice.instance, EXPLICIT, &slice.data_set());
        assert_eq!(status.expect("a status"), 0);
    }
    association.release().expect("a release in order");
    let mut association = querying(&server);
    let request = Command::request(field::FIND, uid::STUDY_ROOT_FIND, 7, true);
    let keys = Keys::at("STUDY")
        .with(tag::STUDY, "")
        .with(tag::PATIENT_NAME, "");
    let cancel = Command::default()
        .number(element::COMMAND_FIELD, field::CANCEL)
        .number(element::RESPONDED_TO, 7)
        .number(element::DATA_SET_TYPE, 0x0101);

    // Together in one write, so that the cancellation is there before the matches are out.
    let mut both = pdu::p_data(1, 3, &request.encode());
    both.extend(pdu::p_data(1, 2, &keys.encode()));
    both.extend(pdu::p_data(1, 3, &cancel.encode()));
    pdu::send(association.stream(), &both).expect("the server reads");
    let mut matches = 0;
    let status = loop {
        match association
            .receive()
            .expect("an answer")
            .command
            .get(element::STATUS)
        {
            0xFF00 | 0xFF01 => matches += 1,
            status => break status,
        }
    };

    assert_eq!(status, 0xFE00, "after {matches} matches");
    assert!(matches < 400);
    association.release().expect("the association lives on");
}

#[test]
fn what_the_destination_cannot_take_is_a_failed_sub_operation() {
    let sink = Sink::start(Takes::Only(uid::JPEG_BASELINE));
    let remote = vec![RemoteAe::new("SINK", sink.address())];
    let server = Server::start(Options {
        remote,
        ..Options::default()
    });
    let slice = Slice::new(1, 1);
    assert_eq!(store(&server, &slice), 0);

    let mut association = querying(&server);
    let moved = association
        .move_to(&study_keys(&slice), "SINK")
        .expect("C-MOVE is answered");

    assert_ne!(moved.status, 0, "{moved:?}");
    assert_eq!((moved.completed, moved.failed), (0, 1), "{moved:?}");
    assert!(sink.take().is_empty());
}

#[test]
fn an_instance_that_the_destination_takes_with_a_warning_is_counted_as_one() {
    // PS3.4 B.2.3: coercion of data elements.
    let sink = Sink::start(Takes::WithWarning(0xB000));
    let server = Server::start(Options {
        remote: vec![RemoteAe::new("SINK", sink.address())],
        ..Options::default()
    });
    let slices = [1, 2, 3].map(|number| Slice::new(1, number));
    for slice in &slices {
        assert_eq!(store(&server, slice), 0);
    }

    let mut association = querying(&server);
    let moved = association
        .move_to(&study_keys(&slices[0]), "SINK")
        .expect("C-MOVE is answered");

    let counts = (moved.completed, moved.failed, moved.warning);
    assert_eq!((moved.status, counts), (0xB000, (0, 0, 3)), "{moved:?}");
    assert!(moved.failed_uids.is_empty(), "{moved:?}");
    assert_eq!(sink.take().len(), 3);
}

#[test]
fn what_the_requestor_of_a_get_cannot_take_is_a_failed_sub_operation() {
    let server = Server::start(Options::default());
    let slice = Slice::new(1, 1);
    assert_eq!(store(&server, &slice), 0);
    let mut association = server
        .associate(vec![
            Context::new(uid::STUDY_ROOT_GET, uid::IMPLICIT_LITTLE_ENDIAN),
            Context::receiving(CT, uid::JPEG_BASELINE),
        ])
        .expect("an association");

    let (ended, received) = association
        .get(&study_keys(&slice))
        .expect("C-GET is answered");

    assert_ne!(ended.status, 0, "{ended:?}");
    assert_eq!(
        (ended.completed, ended.failed, received.len()),
        (0, 1, 0),
        "{ended:?}"
    );
}

#[test]
fn a_move_to_an_unknown_or_unreachable_destination_fails_with_its_own_status() {
    let nobody = ([127, 0, 0, 1], pacs_tests::peers::free_port()).into();
    let remote = vec![RemoteAe::new("DEAF", nobody)];
    let server = Server::start(Options {
        remote,
        ..Options::default()
    });
    let slice = Slice::new(1, 1);
    assert_eq!(store(&server, &slice), 0);
    let mut association = querying(&server);

    let unknown = association
        .move_to(&study_keys(&slice), "NOBODY")
        .expect("an answer");
    let deaf = association
        .move_to(&study_keys(&slice), "DEAF")
        .expect("an answer");

    assert_eq!(unknown.status, 0xA801, "{unknown:?}");
    assert!(deaf.status == 0xA702 || deaf.failed == 1, "{deaf:?}");
    association.release().expect("the association lives on");
}

#[test]
fn a_move_of_nothing_is_success_of_nothing() {
    let sink = Sink::start(Takes::Everything);
    let remote = vec![RemoteAe::new("SINK", sink.address())];
    let server = Server::start(Options {
        remote,
        ..Options::default()
    });

    let mut association = querying(&server);
    let keys = study_keys(&Slice::new(1, 1));
    let moved = association
        .move_to(&keys, "SINK")
        .expect("C-MOVE is answered");

    assert_eq!((moved.status, moved.completed, moved.failed), (0, 0, 0));
}

#[test]
fn a_large_instance_streams_through_in_bounded_memory() {
    let server = Server::start(Options::default());
    let mut slice = Slice::new(1, 1);
    // 128 MiB of pixels, far above the size at which an instance gets a pack of its own.
    slice.side = 8192;
    let data_set = slice.data_set();
    let idle = pacs_tests::server::idle_bytes(&server);

    assert_eq!(store_data(&server, &slice.instance, &data_set), 0);
    let (ended, received) = get(&server, &slice);

    assert_eq!((ended.status, received), (0, vec![digest(&data_set)]));
    let grown = server.peak_resident_bytes().saturating_sub(idle);
    assert!(grown < 64 << 20, "memory grew by {} MiB", grown >> 20);
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let mut server = Server::start(Options::default());
    let slices: Vec<Slice> = (1..=5).map(|number| Slice::new(1, number)).collect();
    for slice in &slices {
        assert_eq!(store(&server, slice), 0);
    }

    server.kill();
    server.restart();

    let (ended, received) = get(&server, &slices[0]);
    let received: BTreeSet<String> = received.into_iter().collect();
    let sent: BTreeSet<String> = slices
        .iter()
        .map(|slice| digest(&slice.data_set()))
        .collect();
    assert_eq!((ended.status, received), (0, sent));
}

#[test]
fn a_file_with_its_meta_information_inside_the_data_set_is_refused_or_kept_as_sent() {
    let server = Server::start(Options::default());
    let slice = Slice::new(1, 1);
    let whole = part10((CT, &slice.instance), EXPLICIT, &slice.data_set());

    let status = store_data(&server, &slice.instance, &whole[132..]);

    let refused = (0xA900..=0xCFFF).contains(&status);
    let kept = status == 0 && get(&server, &slice).1 == [digest(&whole[132..])];
    assert!(refused || kept, "{status:04X}");
}

#[test]
fn a_peer_that_retrieves_and_names_the_default_syntax_first_gets_the_explicit_one() {
    let server = Server::start(Options::default());
    let slice = Slice::new(1, 1);
    assert_eq!(store(&server, &slice), 0);
    let mut both = Context::receiving(CT, uid::IMPLICIT_LITTLE_ENDIAN);
    both.transfer_syntaxes.push(EXPLICIT.to_owned());

    let get = Context::new(uid::STUDY_ROOT_GET, uid::IMPLICIT_LITTLE_ENDIAN);
    let mut association = server.associate(vec![get, both]).expect("an association");
    let (ended, received) = association
        .get(&study_keys(&slice))
        .expect("C-GET is answered");

    assert_eq!((ended.status, ended.completed), (0, 1), "{ended:?}");
    assert_eq!(received[0].digest, digest(&slice.data_set()));
}
