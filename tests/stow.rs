//! STOW-RS as its clients and its attackers see it: verdicts and statuses, cut and odd requests,
//! preambles that are programs (SECURITY.md T5, T6), and a server that dies in the middle.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use pacs_tests::edges::until;
use pacs_tests::forged_media::{PROGRAMS, program, said_of_programs, with_preamble};
use pacs_tests::huge::{self, Huge};
use pacs_tests::samples::Slice;
use pacs_tests::server::{Options, Server};
use pacs_tests::stow::{self, Answer, BOUNDARY, RELATED, Request, ask, end, part_head, related};
use pacs_tests::wire::{Context, Keys, identifier::tag, uid};

const STUDIES: &str = "/dicomweb/studies";

/// Failure reasons of PS3.18 table I.2-2.
const CANNOT_UNDERSTAND: u64 = 0xC000;
const OTHER_STUDY: u64 = 0xA901;

fn start() -> Server {
    Server::start(Options {
        arguments: vec!["--open-loopback".to_owned()],
        ..Options::default()
    })
}

fn slices(study: u32, count: u32) -> Vec<Slice> {
    (1..=count)
        .map(|number| Slice::new(study, number))
        .collect()
}

fn files(slices: &[Slice]) -> Vec<Vec<u8>> {
    slices.iter().map(Slice::file).collect()
}

fn names(slices: &[Slice]) -> Vec<String> {
    slices.iter().map(|slice| slice.instance.clone()).collect()
}

/// The instances of a study that C-FIND finds.
fn found(server: &Server, study: u32) -> BTreeSet<String> {
    let slice = Slice::new(study, 1);
    let context = Context::new(uid::STUDY_ROOT_FIND, uid::IMPLICIT_LITTLE_ENDIAN);
    let mut association = server.associate(vec![context]).expect("an association");
    let keys = Keys::at("IMAGE")
        .with(tag::STUDY, &slice.study)
        .with(tag::SERIES, &slice.series)
        .with(tag::SOP_INSTANCE, "");
    let found = association.find(uid::STUDY_ROOT_FIND, &keys);
    let (answers, status) = found.expect("an answer");
    assert_eq!(status, 0);
    association.release().expect("a release in order");
    answers
        .iter()
        .map(|answer| answer.text(tag::SOP_INSTANCE))
        .collect()
}

fn all(slices: &[Slice]) -> BTreeSet<String> {
    names(slices).into_iter().collect()
}

#[test]
fn a_study_is_stored_and_each_instance_has_its_verdict() {
    let server = start();
    let study = slices(1, 5);

    let answer = stow::store(server.http(), STUDIES, &files(&study));

    assert_eq!(answer.status, 200, "{}", answer.head);
    assert!(answer.head.contains("content-type: application/dicom+json"));
    assert_eq!(answer.stored(), names(&study), "in the order of the parts");
    let url = format!("http://{}{STUDIES}/{}", server.http(), study[0].study);
    assert_eq!(answer.json()["00081190"]["Value"][0], url);
    assert_eq!(found(&server, 1), all(&study));

    // Sending again is harmless, and other content is kept beside the first, as by C-STORE.
    let again = stow::store(server.http(), STUDIES, &files(&study));
    assert_eq!((again.status, again.stored().len()), (200, 5));
    let mut other = study[0].clone();
    other.seed += 1;
    let other = stow::store(server.http(), STUDIES, &[other.file()]);
    assert_eq!(other.status, 200);
    server.wait_for_log("other content came under a known SOP Instance UID");
    assert_eq!(found(&server, 1).len(), 5);
}

#[test]
fn instances_of_another_study_than_the_path_names_fail_alone() {
    let server = start();
    let (one, two) = (Slice::new(1, 1), Slice::new(2, 1));
    let path = format!("{STUDIES}/{}", one.study);

    let both = stow::store(server.http(), &path, &[one.file(), two.file()]);
    let none = stow::store(server.http(), &path, &[two.file()]);

    assert_eq!(both.status, 202);
    assert_eq!(both.stored(), [one.instance.as_str()]);
    assert_eq!(both.failed(), [(two.instance.clone(), OTHER_STUDY)]);
    assert_eq!(none.status, 409);
    assert_eq!(none.failed(), [(two.instance, OTHER_STUDY)]);
    assert_eq!(found(&server, 2), BTreeSet::new());
    let no_uid = stow::store(server.http(), &format!("{STUDIES}/..%2f.."), &[one.file()]);
    assert_eq!(no_uid.status, 400);
}

#[test]
fn what_is_no_instance_fails_alone() {
    let server = start();
    let good = Slice::new(1, 1);
    let mut cut = Slice::new(1, 2).file();
    // In the middle of the Study Instance UID, behind the SOP Instance UID.
    let at = cut
        .windows(4)
        .position(|window| window == [0x20, 0, 0x0D, 0]);
    cut.truncate(at.expect("a study") + 12);
    let parts = [good.file(), b"no DICOM at all".to_vec(), Vec::new(), cut];

    let answer = stow::store(server.http(), STUDIES, &parts);

    assert_eq!(answer.status, 202);
    assert_eq!(answer.stored(), [good.instance]);
    assert_eq!(
        answer.failed(),
        [(Slice::new(1, 2).instance, CANNOT_UNDERSTAND)]
    );
    assert_eq!(answer.other_failures(), [CANNOT_UNDERSTAND; 2]);
    let none = stow::store(server.http(), STUDIES, &[b"nothing".to_vec()]);
    assert_eq!(
        (none.status, none.other_failures()),
        (409, vec![CANNOT_UNDERSTAND])
    );
}

#[test]
fn a_single_file_needs_no_parts_and_verdicts_come_in_xml_too() {
    let server = start();
    let slice = Slice::new(1, 1);
    let single = ("Content-Type", "application/dicom");
    let xml = (
        "Accept",
        "application/dicom+xml, application/dicom+json;q=0.5",
    );

    let first = ask(server.http(), "POST", STUDIES, &[single], &slice.file());
    let second = ask(
        server.http(),
        "POST",
        STUDIES,
        &[single, xml],
        &slice.file(),
    );

    assert_eq!(
        (first.status, first.stored()),
        (200, vec![slice.instance.clone()])
    );
    assert_eq!(second.status, 200);
    assert!(second.head.contains("content-type: application/dicom+xml"));
    let text = String::from_utf8(second.body).expect("UTF-8");
    assert!(text.contains(&format!("<Value number=\"1\">{}</Value>", slice.instance)));
}

#[test]
fn requests_that_are_wrong_as_a_whole_are_refused() {
    let server = start();
    let body = related(&files(&slices(1, 1)));
    let kind = |kind| ("Content-Type", kind);
    let twice = format!("{RELATED}; boundary=other");
    let long = format!("multipart/related; boundary={}", "b".repeat(71));
    let json = "multipart/related; type=\"application/dicom+text\"; boundary=x";
    let cases: &[(&[(&str, &str)], u16)] = &[
        (&[], 415),
        (&[kind("text/plain")], 415),
        (&[kind("multipart/form-data; boundary=x")], 415),
        (&[kind(json)], 415),
        (&[kind(RELATED), ("Content-Encoding", "gzip")], 415),
        (&[kind(RELATED), kind("application/dicom")], 400),
        (
            &[kind("multipart/related; type=\"application/dicom\"")],
            400,
        ),
        (&[kind(&twice)], 400),
        (&[kind(&long)], 400),
        (&[kind("multipart/related; boundary=nowhere")], 400),
        (&[kind(RELATED), ("Accept", "image/png")], 406),
        (&[kind(RELATED), ("Accept", "a b")], 400),
    ];
    for (fields, status) in cases {
        let answer = ask(server.http(), "POST", STUDIES, fields, &body);
        assert_eq!(answer.status, *status, "{fields:?}");
    }
    for body in [end(), b"--".to_vec(), Vec::new()] {
        let answer = ask(server.http(), "POST", STUDIES, &[kind(RELATED)], &body);
        assert_eq!(answer.status, 400, "{body:?}");
    }
    let length = ("Content-Length", "999999999999999");
    let begun = Request::begin(server.http(), "POST", STUDIES, &[kind(RELATED), length]);
    let answer = begun.expect("a connection").answer().expect("an answer");
    assert_eq!(answer.status, 413);
    assert_eq!(found(&server, 1), BTreeSet::new());
}

#[test]
fn a_body_may_come_in_any_pieces() {
    let server = start();
    let study = slices(1, 2);
    let fields = [("Content-Type", RELATED), ("Transfer-Encoding", "chunked")];
    let mut request = Request::begin(server.http(), "POST", STUDIES, &fields).expect("begun");
    for (number, piece) in related(&files(&study)).chunks(997).enumerate() {
        if number % 5 == 0 {
            for byte in piece.chunks(1) {
                request.chunk(byte).expect("it is taken");
            }
        } else {
            request.chunk(piece).expect("it is taken");
        }
    }
    request.chunk(&[]).expect("it is taken");

    let answer = request.answer().expect("an answer");

    assert_eq!((answer.status, answer.stored()), (200, names(&study)));
}

/// Sends a body that ends in the middle of the third of three files.
fn send_cut(server: SocketAddr, study: &[Slice]) -> Request {
    let fields = [("Content-Type", RELATED), ("Transfer-Encoding", "chunked")];
    let mut request = Request::begin(server, "POST", STUDIES, &fields).expect("begun");
    let body = related(&files(study));
    request
        .chunk(&body[..body.len() - 2_000])
        .expect("it is taken");
    request
}

#[test]
fn a_transfer_that_breaks_off_keeps_what_was_complete() {
    let mut server = start();
    let study = slices(1, 3);

    send_cut(server.http(), &study).break_off();

    let patience = Duration::from_secs(20);
    until(patience, "what was complete", || {
        (found(&server, 1) == all(&study[..2])).then_some(())
    });
    assert!(server.is_alive());
}

#[test]
fn a_body_without_its_last_boundary_keeps_what_was_complete_and_says_so() {
    let server = start();
    let study = slices(1, 3);
    let mut request = send_cut(server.http(), &study);
    request.chunk(&[]).expect("it is taken");

    let answer = request.answer().expect("an answer");

    assert_eq!(answer.status, 202);
    assert_eq!(answer.stored(), names(&study[..2]));
    let third = study[2].instance.clone();
    assert_eq!(answer.failed(), [(third, CANNOT_UNDERSTAND)]);
    assert!(answer.head.contains("warning: 299"), "{}", answer.head);
    assert_eq!(found(&server, 1), all(&study[..2]));
}

#[test]
fn hostile_multipart_is_refused_in_bounded_memory() {
    let mut server = start();
    let slice = Slice::new(1, 1);
    let long_head = format!("--{BOUNDARY}\r\nX: {}\r\n\r\n", "y".repeat(20_000));
    let many_fields = format!("--{BOUNDARY}\r\n{}\r\n", "X: y\r\n".repeat(33));
    let within = [
        part_head(),
        slice.file(),
        format!("\r\n--{BOUNDARY}x\r\n").into(),
    ]
    .concat();
    for body in [long_head.into_bytes(), many_fields.into_bytes(), within] {
        let kind = [("Content-Type", RELATED)];
        let answer = ask(server.http(), "POST", STUDIES, &kind, &body);
        assert_eq!(
            answer.status,
            400,
            "{}",
            String::from_utf8_lossy(&body[..60])
        );
    }
    assert_eq!(
        found(&server, 1),
        BTreeSet::new(),
        "no part is cut at a boundary that is none"
    );

    let many_parts = [part_head().repeat(10_001), end()].concat();
    let kind = [("Content-Type", RELATED)];
    let answer = ask(server.http(), "POST", STUDIES, &kind, &many_parts);
    assert_eq!(answer.status, 400);

    let idle = server.resident_bytes();
    let length = (1_u64 << 30).to_string();
    let fields = [
        ("Content-Type", RELATED),
        ("Content-Length", length.as_str()),
    ];
    let mut preamble = Request::begin(server.http(), "POST", STUDIES, &fields).expect("begun");
    let piece = vec![b'x'; 1 << 20];
    let taken = (0..1_024)
        .take_while(|_| preamble.send(&piece).is_ok())
        .count();
    assert!(taken < 64, "{taken} MiB of preamble were taken");
    let grown = server.peak_resident_bytes().saturating_sub(idle);
    assert!(grown < 32 << 20, "memory grew by {} MiB", grown >> 20);
    assert!(server.is_alive());
}

#[test]
fn t6_a_preamble_that_is_a_program_is_not_kept_and_is_on_record() {
    let server = start();
    for (number, (name, magic)) in (1..).zip(PROGRAMS) {
        let slice = Slice::new(1, number);
        let file = with_preamble(&slice.file(), &program(magic));
        let answer = stow::store(server.http(), STUDIES, &[file]);
        assert_eq!(
            (answer.status, answer.stored()),
            (200, vec![slice.instance.clone()])
        );

        let path = format!(
            "{STUDIES}/{}/series/{}/instances/{}",
            slice.study, slice.series, slice.instance
        );
        let accept = ("Accept", "application/dicom; transfer-syntax=*");
        let back = ask(server.http(), "GET", &path, &[accept], &[]);
        assert_eq!(back.status, 200);
        assert_eq!(back.body[..128], [0; 128], "zeros are in its place");
        assert!(back.body.ends_with(&slice.data_set()));
        assert!(back.head.contains("content-type: application/dicom"));
        assert!(back.head.contains("x-content-type-options: nosniff"));
        assert!(back.head.contains("content-disposition: attachment"));

        let said = said_of_programs(&server.data());
        let of_it = said
            .iter()
            .find(|(instance, _)| *instance == slice.instance);
        let (_, told) = of_it.expect("a record");
        told.is_of(name, &program(magic), ("nobody", ""));
        assert_eq!(said.len(), number as usize);
    }
    let log = server.log();
    assert_eq!(
        log.matches("\"alarm\":\"preamble\"").count(),
        PROGRAMS.len()
    );

    // Neither what the preamble is for is told of, nor a file without one; what is no instance is.
    let tiff = with_preamble(&Slice::new(2, 1).file(), &program(b"MM\0*"));
    let empty = Slice::new(2, 2).file();
    let bare = Slice::new(2, 3).data_set();
    let good = stow::store(server.http(), STUDIES, &[tiff, empty, bare]);
    let broken = &with_preamble(&Slice::new(2, 4).file(), &program(b"MZ"))[..300];
    let bad = stow::store(server.http(), STUDIES, &[broken.to_vec()]);
    assert_eq!((good.status, bad.status), (200, 409));
    assert_eq!(said_of_programs(&server.data()).len(), PROGRAMS.len() + 1);
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let mut server = start();
    let address = server.http();
    let (acknowledged, acknowledgements) = std::sync::mpsc::channel();
    let senders: Vec<_> = (0..3_u32)
        .map(|sender| {
            let acknowledged = acknowledged.clone();
            std::thread::spawn(move || {
                for round in 0.. {
                    let batch: Vec<Slice> = (1..=4)
                        .map(|number| Slice::new(1, sender * 100_000 + round * 10 + number))
                        .collect();
                    let Some(answer) = try_store(address, &batch) else {
                        return;
                    };
                    for instance in answer.stored() {
                        acknowledged.send(instance).expect("somebody listens");
                    }
                }
            })
        })
        .collect();
    let mut kept: BTreeSet<String> = acknowledgements.iter().take(60).collect();
    server.kill();
    for sender in senders {
        sender.join().expect("it ends when the server is gone");
    }
    drop(acknowledged);
    kept.extend(acknowledgements);

    server.restart();

    let found = found(&server, 1);
    let lost: Vec<&String> = kept.difference(&found).collect();
    assert!(kept.len() >= 60 && lost.is_empty(), "lost: {lost:?}");
}

/// Stores `batch`, unless the server goes away meanwhile.
fn try_store(server: SocketAddr, batch: &[Slice]) -> Option<Answer> {
    let body = related(&files(batch));
    let length = body.len().to_string();
    let fields = [
        ("Content-Type", RELATED),
        ("Content-Length", length.as_str()),
    ];
    let mut request = Request::begin(server, "POST", STUDIES, &fields).ok()?;
    request.send(&body).ok()?;
    let answer = request.answer().ok()?;
    // A cut answer acknowledges nothing.
    let is_whole = serde_json::from_slice::<serde_json::Value>(&answer.body).is_ok();
    is_whole.then_some(answer)
}

#[test]
fn a_huge_instance_streams_through_in_bounded_memory() {
    let mut server = start();
    let slice = stow::store(server.http(), STUDIES, &[Slice::new(9, 1).file()]);
    assert_eq!(slice.status, 200);
    let idle = server.resident_bytes();
    let huge = Huge::native(1, 1, HUGE_BYTES);
    let fields = [("Content-Type", RELATED), ("Transfer-Encoding", "chunked")];
    let mut request = Request::begin(server.http(), "POST", STUDIES, &fields).expect("begun");
    let empty =
        pacs_tests::samples::part10((uid::CT_IMAGE_STORAGE, huge.instance()), huge.syntax(), &[]);
    request
        .chunk(&[part_head(), empty].concat())
        .expect("it is taken");
    let mut data_set = huge.data_set();
    let mut piece = Vec::new();
    loop {
        data_set.read(1 << 20, &mut piece);
        if piece.is_empty() {
            break;
        }
        request.chunk(&piece).expect("it is taken");
    }
    request.chunk(&end()).expect("it is taken");
    request.chunk(&[]).expect("it is taken");

    let answer = request.answer().expect("an answer");

    assert_eq!(
        (answer.status, answer.stored()),
        (200, vec![huge.instance().to_owned()])
    );
    let contexts = vec![
        Context::new(uid::STUDY_ROOT_GET, uid::IMPLICIT_LITTLE_ENDIAN),
        Context::receiving(uid::CT_IMAGE_STORAGE, huge.syntax()),
    ];
    let mut association = server.associate(contexts).expect("an association");
    assert_eq!(
        huge::get(&mut association, &huge).expect("it comes back equal"),
        0
    );
    let grown = server.peak_resident_bytes().saturating_sub(idle);
    assert!(grown < 128 << 20, "memory grew by {} MiB", grown >> 20);
    assert!(server.is_alive());
}

/// Pixels of a huge instance.
const HUGE_BYTES: u64 = 1 << 28;
