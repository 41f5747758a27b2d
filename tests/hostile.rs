//! Hostile content at every door: paths, lengths, depth, bombs (T2, T3, T4 and T7).
//!
//! T2 to T9 are the numbers of the threat table in SECURITY.md. After every attack the server must
//! live, in bounded memory, and serve the next association; `hostile_wire.rs` has the peers that
//! break the protocol.

#[path = "hostile/bombs.rs"]
mod bombs;
#[path = "hostile/names.rs"]
mod names;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use pacs_tests::drill::pacs;
use pacs_tests::edges::assault;
use pacs_tests::hostile::{DATA_SETS, deep, lying_heads};
use pacs_tests::peers::{files_below, run};
use pacs_tests::samples::{Slice, part10};
use pacs_tests::server::{GROWTH_BYTES_MAX, Options, Server, idle_bytes, unharmed};
use pacs_tests::stow;
use pacs_tests::web_server::open_server;
use pacs_tests::wire::command::{element, field};
use pacs_tests::wire::pdu;
use pacs_tests::wire::{
    Association, Command as CommandSet, Context, Keys, Proposal, WireError, identifier, uid,
};
use pacs_tests::workspace;

fn store_context(server: &Server, syntax: &str) -> Association {
    let context = Context::new(uid::CT_IMAGE_STORAGE, syntax);
    server.associate(vec![context]).expect("an association")
}

#[test]
fn t3_lengths_that_lie_reserve_nothing() {
    let mut server = open_server();
    let idle = idle_bytes(&server);
    let (dicom, http) = (server.dicom(), server.http());
    let slice = Slice::new(3, 1);

    for (name, data_set) in lying_heads(&slice) {
        let file = file_of(&slice, &data_set);
        std::thread::scope(|scope| {
            for peer in 0..16 {
                let (data_set, slice) = (&data_set, &slice);
                scope.spawn(move || send_as(dicom, &format!("PEER{peer}"), slice, data_set));
            }
        });
        unharmed(&mut server, idle, 2 * GROWTH_BYTES_MAX, name);
        let file = &file;
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(move || {
                    let answer = stow::store(http, "/dicomweb/studies", std::slice::from_ref(file));
                    assert!((200..500).contains(&answer.status), "{}", answer.head);
                });
            }
        });
        unharmed(&mut server, idle, 2 * GROWTH_BYTES_MAX, name);
    }
}

/// Sends a data set of `slice` as the AE `title`; whatever the answer is.
fn send_as(address: SocketAddr, title: &str, slice: &Slice, data_set: &[u8]) {
    let context = Context::new(uid::CT_IMAGE_STORAGE, uid::EXPLICIT_LITTLE_ENDIAN);
    let mut proposal = Proposal::new(vec![context]);
    proposal.calling = title.to_owned();
    if let Ok(mut association) = Association::connect(address, &proposal) {
        let (class, syntax) = (uid::CT_IMAGE_STORAGE, uid::EXPLICIT_LITTLE_ENDIAN);
        let stored = association.store(class, &slice.instance, syntax, data_set);
        stored.err();
    }
}

/// A data set of `slice` as a Part 10 file.
fn file_of(slice: &Slice, data_set: &[u8]) -> Vec<u8> {
    let of = (uid::CT_IMAGE_STORAGE, &slice.instance);
    part10(of, uid::EXPLICIT_LITTLE_ENDIAN, data_set)
}

#[test]
fn t3_t4_files_whose_lengths_lie_or_that_have_no_end_are_imported_or_refused() {
    let home = workspace::temporary_folder();
    let (data, medium) = (home.path().join("data"), home.path().join("medium"));
    std::fs::create_dir(&medium).expect("a folder");
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let slice = Slice::new(3, 1);
    let mut data_sets = lying_heads(&slice);
    data_sets.push(("100,000 levels", deep(&slice, 100_000)));
    let hostile_count = data_sets.len();
    data_sets.push(("a good one", Slice::new(3, 2).data_set()));
    for (number, (_, data_set)) in (0..).zip(&data_sets) {
        let slice = Slice::new(3, if number == hostile_count { 2 } else { 1 });
        let file = medium.join(format!("{number:02}.dcm"));
        std::fs::write(file, file_of(&slice, data_set)).expect("a file");
    }

    // In a process that may have 2 GiB of addresses: what is reserved for 4 GiB ends it.
    let script = "ulimit -v 2097152; exec \"$@\"";
    let mut bash = Command::new("bash");
    bash.args(["-c", script, "limited"]);
    bash.arg(workspace::binary("pacs")).arg("import");
    let said = run(bash.arg("--data").arg(&data).arg(&medium));

    let (code, verified) = pacs(&["verify", "--data", &text(&data)]);
    assert_eq!(code, Some(0), "{verified}");
    let is_over = said.text.contains("imported") && !said.text.contains("panicked");
    assert!(is_over && !said.success, "{}", said.text);
    let out = home.path().join("out");
    let key = ["-k", "PatientID=TEST00003"];
    let words = ["export", "--data", &text(&data), "--out", &text(&out)];
    let (code, exported) = pacs(&[&words[..], &key].concat());
    assert_eq!(code, Some(0), "{exported}");
    let good = &data_sets[hostile_count].1;
    let files = files_below(&out).into_iter();
    let mut files = files.map(|file| std::fs::read(file).expect("a file"));
    assert!(files.any(|file| file.ends_with(good)), "{}", said.text);
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
    let mut server = open_server();
    let idle = idle_bytes(&server);
    let slice = Slice::new(4, 1);
    let data_set = deep(&slice, 100_000);

    let mut association = store_context(&server, uid::EXPLICIT_LITTLE_ENDIAN);
    let (class, syntax) = (uid::CT_IMAGE_STORAGE, uid::EXPLICIT_LITTLE_ENDIAN);
    let status = association
        .store(class, &slice.instance, syntax, &data_set)
        .expect("a status");
    assert!((0xA700..=0xCFFF).contains(&status), "{status:04X}");

    let file = file_of(&slice, &data_set);
    let answer = stow::store(server.http(), "/dicomweb/studies", &[file]);
    assert_eq!(answer.status, 409, "{}", answer.head);
    assert_eq!(answer.failed().len(), 1, "{:?}", answer.json());

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

#[test]
fn t3_hostile_data_sets_from_many_sides_leave_the_server_answering() {
    let assault = assault::begin(8);

    assert_eq!(assault.sent, 8 * DATA_SETS, "{assault:?}");
    assert!(assault.answered > 0, "{assault:?}");
    assert!(
        assault.peak_bytes <= assault::RESIDENT_BYTES_MAX,
        "{assault:?}"
    );
}
