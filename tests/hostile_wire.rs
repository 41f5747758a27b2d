//! Hostile peers on the wire: silence, floods, broken PDUs, broken rules (T8 and T9).
//!
//! As in `hostile.rs`: after every attack the server must live, in bounded memory, and serve the
//! next association.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use pacs_tests::certificates::{Hospital, ae};
use pacs_tests::keepalive;
use pacs_tests::samples::{self, Slice};
use pacs_tests::server::{GROWTH_BYTES_MAX, Options, PATIENCE, Server, idle_bytes, unharmed};
use pacs_tests::web_server::store_slice;
use pacs_tests::wire::command::{element, field};
use pacs_tests::wire::pdu::{self, kind};
use pacs_tests::wire::{
    Association, Command as CommandSet, Context, Keys, Proposal, WireError, identifier, uid,
};

fn store_context(server: &Server, syntax: &str) -> Association {
    let context = Context::new(uid::CT_IMAGE_STORAGE, syntax);
    server.associate(vec![context]).expect("an association")
}

/// Connections that say nothing, and some that begin a PDU and stop.
const SILENT_CONNECTIONS: usize = 300;

#[test]
fn t8_silent_and_slow_connections_are_closed_while_others_are_served() {
    let mut server = Server::start(Options::default());
    let idle = idle_bytes(&server);
    let begin = pdu::associate_rq(&Proposal::new(vec![Context::new(
        uid::VERIFICATION,
        uid::IMPLICIT_LITTLE_ENDIAN,
    )]));
    let mut silent = Vec::new();
    for index in 0..SILENT_CONNECTIONS {
        let mut stream = TcpStream::connect(server.dicom()).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        // The server may refuse what is too much at once; then the end comes early.
        stream.write_all(&begin[..index % 7]).ok();
        silent.push(stream);
    }
    let http: Vec<TcpStream> = (0..100)
        .map(|index| {
            let mut stream = TcpStream::connect(server.http()).expect("a connection");
            stream
                .write_all(&b"GET /healthz HTTP/1.1\r\nHos"[..index % 26])
                .ok();
            stream
        })
        .collect();

    assert_eq!(server.echo().expect("others are served"), 0);
    assert_eq!(server.get("/healthz").0, 200);
    for stream in &mut silent {
        // An A-ABORT may come first; the end must come.
        let mut rest = Vec::new();
        let end = stream.read_to_end(&mut rest);
        assert!(
            end.is_ok() || is_reset(&end),
            "a silent connection is kept: {end:?}"
        );
        assert!(
            rest.len() <= 10,
            "a silent connection was answered: {rest:?}"
        );
    }
    drop(http);
    unharmed(&mut server, idle, GROWTH_BYTES_MAX, "silence");
}

fn is_reset<T>(result: &std::io::Result<T>) -> bool {
    result
        .as_ref()
        .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
}

#[test]
fn t8_the_kernel_asks_peers_that_fall_silent_whether_they_are_there() {
    let hospital = Hospital::new();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let there = silent.local_addr().expect("an address");
    let secured = TcpListener::bind("127.0.0.1:0").expect("a port");
    let there_secured = secured.local_addr().expect("an address");
    let aes = ae("PLAIN", there, "") + &ae("SECURED", there_secured, "tls = true\n");
    let server = hospital.start("off", &aes);

    for listener in [server.dicom(), server.dicom_tls(), server.http()] {
        let stream = TcpStream::connect(listener).expect("a connection");
        let from = stream.local_addr().expect("an address");
        keepalive::wait_for(Some(listener), from);
    }
    let slice = Slice::new(1, 1);
    store_slice(&server, &slice);
    let keys = Keys::at("STUDY").with(identifier::tag::STUDY, &slice.study);
    for (destination, listener) in [("PLAIN", &silent), ("SECURED", &secured)] {
        let moving = Context::new(uid::STUDY_ROOT_MOVE, uid::IMPLICIT_LITTLE_ENDIAN);
        let mut asking = server.associate(vec![moving]).expect("an association");
        std::thread::scope(|scope| {
            let moved = scope.spawn(|| asking.move_to(&keys, destination));
            let (opened, _) = listener.accept().expect("the server comes");
            keepalive::wait_for(None, listener.local_addr().expect("an address"));
            drop(opened);
            let moved = moved.join().expect("no panic").expect("an answer");
            assert_ne!(moved.status, 0, "{destination}: {moved:?}");
        });
    }
}

/// Associates again and again, as whom `calling` says, until it is refused.
fn until_refused(server: &Server, calling: impl Fn(usize) -> String) -> Vec<Association> {
    let mut held = Vec::new();
    let rejection = loop {
        assert!(held.len() < 600, "there is no limit");
        let context = Context::new(uid::VERIFICATION, uid::IMPLICIT_LITTLE_ENDIAN);
        let mut proposal = Proposal::new(vec![context]);
        proposal.calling = calling(held.len());
        match Association::connect(server.dicom(), &proposal) {
            Ok(association) => held.push(association),
            Err(error) => break error,
        }
    };
    // PS3.8 9.3.4: transient, service provider (presentation), local limit exceeded.
    let expected = matches!(
        rejection,
        WireError::Rejected {
            result: 2,
            source: 3,
            reason: 2
        }
    );
    assert!(expected, "{rejection}");
    held
}

#[test]
fn t8_associations_over_the_limit_are_rejected_as_transient() {
    let mut server = Server::start(Options::default());
    let elsewhere = Server::start(Options {
        config: "[dicom.limits]\nassociations_per_address = 600\n".to_owned(),
        ..Options::default()
    });

    let of_one_title = until_refused(&server, |_| "PEER".to_owned());
    let of_one_address = until_refused(&server, |at| format!("PEER{at}"));
    let of_all = until_refused(&elsewhere, |at| format!("PEER{at}"));

    assert_eq!(of_one_title.len(), 20);
    assert_eq!(of_one_address.len(), 50 - of_one_title.len());
    assert_eq!(of_all.len(), 500);
    for association in of_one_title.into_iter().chain(of_one_address).chain(of_all) {
        association.release().expect("the others live on");
    }
    let idle = server.resident_bytes();
    unharmed(&mut server, idle, GROWTH_BYTES_MAX, "too many associations");
}

#[test]
fn t8_an_association_is_idle_for_as_long_as_is_said_of_its_ae() {
    let ae = "[[dicom.ae]]\ntitle = \"PATIENT\"\naddress = \"127.0.0.1:1\"\n\
              allow = [\"echo\"]\nidle_seconds = 600\n";
    let server = Server::start(Options {
        config: format!("[dicom]\nidle_seconds = 2\n{ae}"),
        ..Options::default()
    });
    let as_one = |calling: &str| {
        let context = Context::new(uid::VERIFICATION, uid::IMPLICIT_LITTLE_ENDIAN);
        let mut proposal = Proposal::new(vec![context]);
        proposal.calling = calling.to_owned();
        Association::connect(server.dicom(), &proposal).expect("an association")
    };
    let (mut patient, mut other) = (as_one("PATIENT"), as_one("OTHER"));

    let stream = other.stream();
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut rest = Vec::new();
    let end = stream.read_to_end(&mut rest);

    assert!(end.is_ok() || is_reset(&end), "{end:?}");
    assert_eq!(rest.first(), Some(&7), "an A-ABORT comes first: {rest:?}");
    assert_eq!(patient.echo().expect("it lives on"), 0);
}

#[test]
fn t8_two_thousand_aborted_associations_leave_no_memory_behind() {
    let mut server = Server::start(Options::default());
    let cycle =
        |count: usize| {
            for _ in 0..count {
                let mut association = store_context(&server, uid::EXPLICIT_LITTLE_ENDIAN);
                let request = CommandSet::request(field::STORE, uid::CT_IMAGE_STORAGE, 1, true)
                    .text(element::AFFECTED_INSTANCE, "1.2.3", '\0');
                association
                    .send(1, &request, None)
                    .expect("the server reads");
                let part = pdu::p_data(1, 0, &[0x41; 4096]);
                pdu::send(association.stream(), &part).expect("the server reads");
                // The connection is dropped in the middle of a data set.
            }
        };
    cycle(200);
    let idle = idle_bytes(&server);

    cycle(2_000);

    unharmed(&mut server, idle, 16 << 20, "2,000 broken associations");
    assert_eq!(stored_count(&server), 0);
}

fn stored_count(server: &Server) -> usize {
    let context = Context::new(uid::STUDY_ROOT_FIND, uid::IMPLICIT_LITTLE_ENDIAN);
    let mut association = server.associate(vec![context]).expect("an association");
    let keys = Keys::at("STUDY").with(identifier::tag::STUDY, "");
    association
        .find(uid::STUDY_ROOT_FIND, &keys)
        .expect("an answer")
        .0
        .len()
}

/// PDUs that cannot come first on a connection.
fn bad_first_pdus() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        (
            "TLS",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(8),
        ),
        ("P-DATA first", pdu::p_data(1, 3, &[0; 64])),
        ("A-RELEASE-RQ first", pdu::frame(kind::RELEASE_RQ, &[0; 4])),
        ("A-RELEASE-RP first", pdu::frame(kind::RELEASE_RP, &[0; 4])),
        (
            "A-ASSOCIATE-AC first",
            pdu::frame(kind::ASSOCIATE_AC, &[0; 68]),
        ),
        (
            "A-ASSOCIATE-RJ first",
            pdu::frame(kind::ASSOCIATE_RJ, &[0, 1, 1, 1]),
        ),
        ("A-ABORT first", pdu::frame(kind::ABORT, &[0; 4])),
        ("an unknown PDU type", pdu::frame(0x42, &[0; 32])),
        (
            "a request of 4 GiB",
            b"\x01\0\xFF\xFF\xFF\xFF\0\x01".to_vec(),
        ),
        (
            "a request of 1 MiB",
            pdu::frame(kind::ASSOCIATE_RQ, &vec![0; 1 << 20]),
        ),
        ("an empty request", pdu::frame(kind::ASSOCIATE_RQ, &[])),
        (
            "a request of 67 bytes",
            pdu::frame(kind::ASSOCIATE_RQ, &[0; 67]),
        ),
    ]
}

/// A good A-ASSOCIATE-RQ for Verification.
fn good_request() -> Vec<u8> {
    let context = Context::new(uid::VERIFICATION, uid::IMPLICIT_LITTLE_ENDIAN);
    pdu::associate_rq(&Proposal::new(vec![context]))
}

/// A good request with the byte at `at` changed.
fn request_with(at: usize, byte: u8) -> Vec<u8> {
    let mut request = good_request();
    request[at] = byte;
    request
}

/// A good request with `items` in place of all that follows the application context.
fn request_of(items: &[u8]) -> Vec<u8> {
    let mut request = good_request();
    request.splice(
        74 + 4 + uid::APPLICATION_CONTEXT.len()..,
        items.iter().copied(),
    );
    let length = u32::try_from(request.len() - 6)
        .expect("short")
        .to_be_bytes();
    request[2..6].copy_from_slice(&length);
    request
}

/// Association requests that break a rule of PS3.8 9.3.2.
fn bad_requests() -> Vec<(&'static str, Vec<u8>)> {
    let context = |value: &[u8]| pdu::item(0x20, value);
    let torn_length = pdu::item(0x50, &pdu::item(0x51, &[1, 2]));
    vec![
        ("protocol version 0", request_with(7, 0)),
        ("another application context", request_with(80, b'9')),
        ("an item longer than the request", request_with(76, 0xFF)),
        ("no user information", request_of(&[])),
        (
            "an even context identifier",
            request_of(&context(b"\x02\0\0\0")),
        ),
        (
            "a context of no syntax",
            request_of(&context(b"\x01\0\0\0")),
        ),
        ("a context of one byte", request_of(&context(b"\x01"))),
        (
            "200 contexts of one identifier",
            request_of(&context(b"\x01\0\0\0").repeat(200)),
        ),
        ("a torn item", request_of(b"\x50\0\x10")),
        ("a maximum length of two bytes", request_of(&torn_length)),
    ]
}

#[test]
fn t9_a_bad_beginning_is_answered_with_an_end() {
    let mut server = Server::start(Options::default());
    let idle = idle_bytes(&server);

    for (name, bytes) in bad_first_pdus().into_iter().chain(bad_requests()) {
        let mut stream = TcpStream::connect(server.dicom()).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        // The server may hang up before it has all of it.
        stream.write_all(&bytes).ok();
        // Ours ends too, so that a server that waits for the rest sees that it will not come.
        stream.shutdown(std::net::Shutdown::Write).ok();
        let mut answer = Vec::new();
        let end = stream.read_to_end(&mut answer);
        assert!(end.is_ok() || is_reset(&end), "{name}: {end:?}");
        let first = answer.first().copied();
        let refused = matches!(first, None | Some(kind::ABORT | kind::ASSOCIATE_RJ));
        // A provider may also accept a request without a context it could serve.
        let lenient = first == Some(kind::ASSOCIATE_AC) && name.contains("context");
        assert!(refused || lenient, "{name}: {answer:?}");
        unharmed(&mut server, idle, GROWTH_BYTES_MAX, name);
    }
}

/// What is sent on an association that stands, and breaks the rules.
fn bad_continuations() -> Vec<(&'static str, Vec<u8>)> {
    let echo = |context: u8| {
        let request = CommandSet::request(field::ECHO, uid::VERIFICATION, 1, false).encode();
        pdu::p_data(context, 3, &request)
    };
    let pdv = |length: u32, rest: &[u8]| {
        let mut body = length.to_be_bytes().to_vec();
        body.extend_from_slice(rest);
        pdu::frame(kind::P_DATA, &body)
    };
    let store = |with_data: bool| {
        CommandSet::request(field::STORE, uid::CT_IMAGE_STORAGE, 1, with_data)
            .text(element::AFFECTED_INSTANCE, "1.2.3", '\0')
            .encode()
    };
    let twice = [
        pdu::p_data(3, 3, &store(true)),
        pdu::p_data(3, 3, &store(true)),
    ]
    .concat();
    let no_length = CommandSet::default()
        .number(element::COMMAND_FIELD, 0x7777)
        .encode();
    vec![
        (
            "a second A-ASSOCIATE-RQ",
            pdu::associate_rq(&Proposal::new(Vec::new())),
        ),
        (
            "an A-ASSOCIATE-AC",
            pdu::frame(kind::ASSOCIATE_AC, &[0; 68]),
        ),
        ("an A-RELEASE-RP", pdu::frame(kind::RELEASE_RP, &[0; 4])),
        ("an unknown PDU type", pdu::frame(0x99, &[0; 4])),
        ("a PDU of 4 GiB", b"\x04\0\xFF\xFF\xFF\xFF".to_vec()),
        (
            "a PDU over our maximum",
            pdu::frame(kind::P_DATA, &vec![0; 2 << 20]),
        ),
        ("an empty PDU", pdu::frame(kind::P_DATA, &[])),
        ("a PDV of length 0", pdv(0, &[])),
        ("a PDV of length 1", pdv(1, &[1])),
        ("a PDV longer than its PDU", pdv(5_000, &[1, 3, 0, 0])),
        ("a PDV of 4 GiB", pdv(0xFFFF_FFFF, &[1, 3, 0, 0])),
        ("an unknown context", echo(201)),
        ("an even context", echo(2)),
        ("a command for another class", echo(3)),
        ("a data set without a command", pdu::p_data(3, 2, &[0; 32])),
        ("a command where data belong", twice),
        ("an unknown command", pdu::p_data(1, 3, &no_length)),
        ("an empty command set", pdu::p_data(1, 3, &[])),
        ("noise for a command set", pdu::p_data(1, 3, &[0xA5; 200])),
        (
            "a C-STORE without a data set",
            pdu::p_data(3, 3, &store(false)),
        ),
        ("a response nobody asked for", {
            let request = CommandSet::request(field::ECHO, uid::VERIFICATION, 9, false);
            pdu::p_data(1, 3, &CommandSet::response(&request, 0).encode())
        }),
        ("a C-CANCEL of nothing", {
            let cancel = CommandSet::default()
                .number(element::COMMAND_FIELD, field::CANCEL)
                .number(element::RESPONDED_TO, 99)
                .number(element::DATA_SET_TYPE, 0x0101);
            pdu::p_data(1, 3, &cancel.encode())
        }),
    ]
}

#[test]
fn t9_a_broken_rule_ends_one_association_and_nothing_else() {
    let mut server = Server::start(Options::default());
    let idle = idle_bytes(&server);

    for (name, bytes) in bad_continuations() {
        let mut association = server
            .associate(vec![
                Context::new(uid::VERIFICATION, uid::IMPLICIT_LITTLE_ENDIAN),
                Context::new(uid::CT_IMAGE_STORAGE, uid::EXPLICIT_LITTLE_ENDIAN),
            ])
            .expect("an association");
        let stream = association.stream();
        stream.write_all(&bytes).ok();
        stream.shutdown(std::net::Shutdown::Write).ok();
        let mut answer = Vec::new();
        let end = stream.read_to_end(&mut answer);
        assert!(end.is_ok() || is_reset(&end), "{name}: {end:?}");
        // What may be answered with a status is; all else with A-ABORT or the end.
        let first = answer.first().copied();
        let known = matches!(first, None | Some(kind::ABORT | kind::P_DATA));
        assert!(known, "{name}: {answer:?}");
        unharmed(&mut server, idle, GROWTH_BYTES_MAX, name);
    }
    assert_eq!(stored_count(&server), 0);
}

#[test]
fn t9_a_peer_with_a_tiny_maximum_length_is_served_or_rejected() {
    let mut server = Server::start(Options::default());
    let slice = Slice::new(9, 1);
    let mut association = store_context(&server, uid::EXPLICIT_LITTLE_ENDIAN);
    let (class, syntax) = (uid::CT_IMAGE_STORAGE, uid::EXPLICIT_LITTLE_ENDIAN);
    let stored = association.store(class, &slice.instance, syntax, &slice.data_set());
    assert_eq!(stored.expect("a status"), 0);
    let idle = idle_bytes(&server);

    for length in [0, 1, 6, 7, 8, 13, 64, 128, 0xFFFF_FFFF] {
        let find = Context::new(uid::STUDY_ROOT_FIND, uid::IMPLICIT_LITTLE_ENDIAN);
        let mut proposal = Proposal::new(vec![find]);
        proposal.pdu_bytes_max = length;
        match Association::connect(server.dicom(), &proposal) {
            Ok(mut association) => {
                let keys = Keys::at("STUDY").with(identifier::tag::STUDY, "");
                let (answers, status) = association
                    .find(uid::STUDY_ROOT_FIND, &keys)
                    .expect("an answer");
                assert_eq!((answers.len(), status), (1, 0), "maximum length {length}");
            }
            Err(error) => {
                let rejected = matches!(error, WireError::Rejected { .. });
                assert!(rejected && (1..64).contains(&length), "{length}: {error}");
            }
        }
        unharmed(&mut server, idle, GROWTH_BYTES_MAX, "a tiny maximum length");
    }
}

#[test]
fn t9_random_bytes_on_a_standing_association_do_no_harm() {
    let mut server = Server::start(Options::default());
    let idle = idle_bytes(&server);
    let mut random = samples::Random::new(9);

    for _ in 0..300 {
        let mut association = store_context(&server, uid::EXPLICIT_LITTLE_ENDIAN);
        let mut bytes = pdu::p_data(1, 3, &noise(&mut random, 200));
        for _ in 0..=random.below(3) {
            let at = usize::try_from(random.below(bytes.len() as u64)).expect("an index");
            bytes[at] = random.number().to_le_bytes()[0];
        }
        let stream = association.stream();
        stream
            .set_read_timeout(Some(Duration::from_secs(90)))
            .expect("a timeout");
        stream.write_all(&bytes).ok();
        stream.shutdown(std::net::Shutdown::Write).ok();
        let end = stream.read_to_end(&mut Vec::new());
        assert!(end.is_ok() || is_reset(&end), "{end:?}");
    }
    unharmed(&mut server, idle, GROWTH_BYTES_MAX, "random bytes");
}

fn noise(random: &mut samples::Random, length: usize) -> Vec<u8> {
    std::iter::repeat_with(|| random.number().to_le_bytes()[0])
        .take(length)
        .collect()
}
