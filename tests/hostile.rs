//! Hostile content at every door: paths, lengths, depth, bombs (T2, T3, T4 and T7).
//!
//! T2 to T9 are the numbers of the threat table in SECURITY.md. After every attack the server must
//! live, in bounded memory, and serve the next association; `hostile_wire.rs` has the peers that
//! break the protocol.

#[path = "hostile/bombs.rs"]
mod bombs;

use std::net::SocketAddr;
use std::process::Command;

use pacs_tests::peers::{files_below, run};
use pacs_tests::samples::{self, Slice};
use pacs_tests::server::{GROWTH_BYTES_MAX, Options, Server, idle_bytes, unharmed};
use pacs_tests::wire::command::{element, field};
use pacs_tests::wire::pdu;
use pacs_tests::wire::{
    Association, Command as CommandSet, Context, Keys, Proposal, WireError, identifier, uid,
};

fn store_context(server: &Server, syntax: &str) -> Association {
    let context = Context::new(uid::CT_IMAGE_STORAGE, syntax);
    server.associate(vec![context]).expect("an association")
}

/// Names that must never become a path, and what a strict UID is not.
const EVIL_NAMES: [&str; 14] = [
    "..",
    ".",
    "../../escaped",
    "/tmp/pacs-escaped",
    "C:\\escaped",
    "a\\..\\escaped",
    "1.2.3/../../escaped",
    "1.2.3\0escaped",
    "................................................................",
    "1.2.\u{0443}.3",
    "1.2.3.",
    "CON",
    "1.2.3;escaped",
    "%2e%2e%2fescaped",
];

#[test]
fn t2_nothing_on_the_wire_becomes_a_path() {
    let mut server = Server::start(Options::default());
    let idle = idle_bytes(&server);
    let before = files_outside(&server);

    for (number, name) in (1..).zip(EVIL_NAMES) {
        for place in 0..3 {
            let mut slice = Slice::new(1, number);
            match place {
                0 => slice.instance = name.to_owned(),
                1 => slice.series = name.to_owned(),
                _ => slice.study = name.to_owned(),
            }
            let mut association = store_context(&server, uid::EXPLICIT_LITTLE_ENDIAN);
            // Odd UIDs of an old device may be kept or refused; the answer is a status or an end.
            let (class, syntax) = (uid::CT_IMAGE_STORAGE, uid::EXPLICIT_LITTLE_ENDIAN);
            association
                .store(class, &slice.instance, syntax, &slice.data_set())
                .err();
        }
        for title in [(name, "PACS"), ("TESTS", name)] {
            let mut proposal = Proposal::new(vec![Context::new(
                uid::VERIFICATION,
                uid::IMPLICIT_LITTLE_ENDIAN,
            )]);
            (proposal.calling, proposal.called) = (ascii(title.0), ascii(title.1));
            Association::connect(server.dicom(), &proposal).err();
        }
        let (status, _) = server.get(&format!("/{}", name.replace(['\0', ' '], "%00")));
        assert!((400..500).contains(&status), "GET {name}: {status}");
    }

    unharmed(&mut server, idle, GROWTH_BYTES_MAX, "evil names");
    assert_eq!(
        files_outside(&server),
        before,
        "a file outside the data folder appeared"
    );
    assert!(!std::path::Path::new("/tmp/pacs-escaped").exists());
    server.stop();
    for file in files_below(&server.data()) {
        let path = file
            .strip_prefix(server.data())
            .expect("below")
            .to_str()
            .expect("UTF-8");
        let plain = path
            .chars()
            .all(|it| it.is_ascii_alphanumeric() || "-_./".contains(it));
        assert!(plain && !path.contains("escaped"), "{path}");
        if std::fs::read(&file).is_ok_and(|bytes| bytes.get(257..262) == Some(b"ustar")) {
            let names = run(Command::new("tar").arg("-tf").arg(&file))
                .succeeded()
                .text;
            for name in names.lines() {
                let inside = !name.starts_with('/') && !name.split('/').any(|part| part == "..");
                assert!(inside && !name.contains("escaped"), "{name}");
            }
        }
    }
}

/// An AE title field holds 16 bytes; what is not ASCII cannot stand in one.
fn ascii(name: &str) -> String {
    name.chars().filter(char::is_ascii).collect()
}

/// Every file of the server's home that is not in its data folder.
fn files_outside(server: &Server) -> Vec<std::path::PathBuf> {
    let mut files = files_below(server.home());
    files.retain(|file| !file.starts_with(server.data()));
    files
}

/// Heads whose lengths lie about what follows.
fn lying_heads() -> Vec<(&'static str, Vec<u8>)> {
    let mut heads = Vec::new();
    for (name, vr, length) in [
        ("a value of 4 GiB", "OB", 0xFFFF_FFFE_u32),
        ("a sequence of 4 GiB", "SQ", 0xFFFF_FFFE),
        ("an unknown value of 2 GiB", "UN", 0x7FFF_FFFF),
        ("a text of 1 GiB", "UT", 0x4000_0000),
        ("pixels of 4 GiB", "OW", 0xFFFF_FFF0),
    ] {
        let mut head = Slice::new(3, 1).head();
        let mut element = vec![0x42, 0x00, 0x11, 0x00];
        element.extend_from_slice(vr.as_bytes());
        element.extend_from_slice(&[0, 0]);
        element.extend_from_slice(&length.to_le_bytes());
        element.extend_from_slice(&[0x41; 64]);
        heads.push((name, element.clone()));
        head.extend_from_slice(&element);
        heads.push((name, head));
    }
    let mut items = Slice::new(3, 2).head();
    items.extend_from_slice(b"\x40\x00\x30\xA7SQ\0\0\xFF\xFF\xFF\xFF");
    for _ in 0..200_000 {
        items.extend_from_slice(b"\xFE\xFF\x00\xE0\0\0\0\0");
    }
    heads.push(("200,000 empty items", items));
    let mut elements = Slice::new(3, 3).head();
    for number in 0..=0xFFFE_u16 {
        elements.extend_from_slice(&[0x43, 0x00]);
        elements.extend_from_slice(&number.to_le_bytes());
        elements.extend_from_slice(b"LO\0\0");
    }
    heads.push(("65,535 empty elements", elements));
    heads
}

#[test]
fn t3_lengths_that_lie_reserve_nothing() {
    let mut server = Server::start(Options::default());
    let idle = idle_bytes(&server);
    let address = server.dicom();

    for (number, (name, data_set)) in (1_u32..).zip(lying_heads()) {
        std::thread::scope(|scope| {
            for peer in 0..16 {
                let data_set = &data_set;
                scope.spawn(move || send_as(address, &format!("PEER{peer}"), number, data_set));
            }
        });
        unharmed(&mut server, idle, 2 * GROWTH_BYTES_MAX, name);
    }
}

/// Sends a data set as the AE `title`; whatever the answer is.
fn send_as(address: SocketAddr, title: &str, number: u32, data_set: &[u8]) {
    let context = Context::new(uid::CT_IMAGE_STORAGE, uid::EXPLICIT_LITTLE_ENDIAN);
    let mut proposal = Proposal::new(vec![context]);
    proposal.calling = title.to_owned();
    if let Ok(mut association) = Association::connect(address, &proposal) {
        let instance = Slice::new(3, number).instance;
        let (class, syntax) = (uid::CT_IMAGE_STORAGE, uid::EXPLICIT_LITTLE_ENDIAN);
        association.store(class, &instance, syntax, data_set).err();
    }
}

#[test]
fn t3_a_command_set_or_an_identifier_over_its_limit_is_not_gathered() {
    let mut server = Server::start(Options::default());
    let idle = idle_bytes(&server);

    let context = Context::new(uid::STUDY_ROOT_FIND, uid::IMPLICIT_LITTLE_ENDIAN);
    let mut association = server
        .associate(vec![context.clone()])
        .expect("an association");
    let long = CommandSet::request(field::FIND, uid::STUDY_ROOT_FIND, 1, true)
        .bytes(element::ERROR_COMMENT, vec![b'x'; 200_000]);
    let bytes = long.encode();
    for (index, fragment) in bytes.chunks(16_000).enumerate() {
        let last = (index + 1) * 16_000 >= bytes.len();
        let control = if last { 3 } else { 1 };
        // The server may hang up at any fragment.
        if pdu::send(association.stream(), &pdu::p_data(1, control, fragment)).is_err() {
            break;
        }
    }
    let answer = association.receive();
    assert!(
        answer.is_err(),
        "a command set of 200,000 bytes was answered: {answer:?}"
    );

    let mut association = server.associate(vec![context]).expect("an association");
    let keys = Keys::at("STUDY").with(identifier::tag::PATIENT_NAME, &"A".repeat(4_000_000));
    match association.find(uid::STUDY_ROOT_FIND, &keys) {
        Ok((answers, status)) => {
            assert!(
                answers.is_empty() && (0xA000..=0xCFFF).contains(&status),
                "{status:04X}"
            );
        }
        Err(error) => {
            assert!(
                matches!(error, WireError::Aborted { .. } | WireError::Closed),
                "{error}"
            );
        }
    }
    unharmed(
        &mut server,
        idle,
        GROWTH_BYTES_MAX,
        "long commands and identifiers",
    );
}

#[test]
fn t4_a_hundred_thousand_nested_sequences_are_refused() {
    let mut server = Server::start(Options::default());
    let idle = idle_bytes(&server);
    let slice = Slice::new(4, 1);
    let mut data_set = slice.head();
    data_set.extend(samples::nested(100_000));

    let mut association = store_context(&server, uid::EXPLICIT_LITTLE_ENDIAN);
    let (class, syntax) = (uid::CT_IMAGE_STORAGE, uid::EXPLICIT_LITTLE_ENDIAN);
    let status = association
        .store(class, &slice.instance, syntax, &data_set)
        .expect("a status");
    assert!((0xA700..=0xCFFF).contains(&status), "{status:04X}");

    let context = Context::new(uid::STUDY_ROOT_FIND, uid::IMPLICIT_LITTLE_ENDIAN);
    let mut association = server.associate(vec![context]).expect("an association");
    let request = CommandSet::request(field::FIND, uid::STUDY_ROOT_FIND, 1, true);
    let mut keys = Keys::at("STUDY").encode();
    for _ in 0..20_000 {
        keys.extend_from_slice(b"\x40\x00\x00\x01\xFF\xFF\xFF\xFF");
        keys.extend_from_slice(b"\xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF");
    }
    association
        .send(1, &request, Some(&keys))
        .expect("the server reads it");
    let answer = association.receive().expect("a status");
    let status = answer.command.get(element::STATUS);
    assert!((0xA000..=0xCFFF).contains(&status), "{status:04X}");
    unharmed(&mut server, idle, GROWTH_BYTES_MAX, "depth");
}
