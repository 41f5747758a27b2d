//! Names that want to be paths (T2): as UIDs, AE titles, file names and URLs, through every door
//! of the network and of the tool. DICOMDIR and ZIP stand in `media.rs`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use pacs_tests::drill::pacs;
use pacs_tests::hostile::{EVIL_NAMES, IDENTITY, announced, named, named_file};
use pacs_tests::opened;
use pacs_tests::peers::{files_below, run};
use pacs_tests::samples::Slice;
use pacs_tests::server::{GROWTH_BYTES_MAX, Options, Server, idle_bytes, unharmed};
use pacs_tests::stow;
use pacs_tests::web;
use pacs_tests::web_server::open_server;
use pacs_tests::wire::{Context, Giver, Proposal, pdu, uid};
use pacs_tests::workspace;

use super::store_context;

/// What nobody wants to write anywhere but where it belongs.
const HARMLESS_NAMES: [&[u8]; 2] = [b"2.25.1", b"PACS"];

const STUDIES: &str = "/dicomweb/studies";

#[test]
fn t2_nothing_on_the_wire_becomes_a_path() {
    let mut server = open_server();
    let idle = idle_bytes(&server);
    let before = files_outside(&server);

    through_every_door(&server, &EVIL_NAMES);

    unharmed(&mut server, idle, GROWTH_BYTES_MAX, "evil names");
    assert_eq!(
        files_outside(&server),
        before,
        "a file outside the data folder appeared"
    );
    nothing_escaped();
    server.stop();
    names_are_plain(&server.data());
}

#[test]
fn t2_nothing_outside_the_data_folder_is_even_looked_for() {
    if !opened::can_trace() {
        return;
    }
    let harmless = opened_outside(&HARMLESS_NAMES);
    let evil = opened_outside(&EVIL_NAMES);

    let more: Vec<_> = evil.difference(&harmless).collect();
    assert!(more.is_empty(), "opened because of a name: {more:?}");
}

/// What a server opens beside its data folder whom somebody tells these names.
fn opened_outside(names: &[&[u8]]) -> BTreeSet<PathBuf> {
    let folder = workspace::temporary_folder();
    let (list, data) = (folder.path().join("calls"), folder.path().join("data"));
    let data = data.to_str().expect("UTF-8");
    let mut server = Server::start(Options {
        arguments: ["--open-loopback", "--data", data]
            .map(str::to_owned)
            .into(),
        launcher: opened::traced(&list),
        ..Options::default()
    });
    through_every_door(&server, names);
    assert!(server.stop().success(), "it does not stop in order");
    // Both folders have another name each time.
    let homes = [folder.path(), server.home()];
    let all = opened::outside(&list, Path::new(data)).into_iter();
    all.map(|file| {
        let below = homes.iter().find_map(|home| file.strip_prefix(home).ok());
        below.map_or_else(|| file.clone(), |below| Path::new("HOME").join(below))
    })
    .collect()
}

/// C-STORE, STOW-RS, AE titles and URLs.
fn through_every_door(server: &Server, names: &[&[u8]]) {
    for (number, name) in (1..).zip(names) {
        let slice = Slice::new(1, number);
        for tag in IDENTITY {
            let mut association = store_context(server, uid::EXPLICIT_LITTLE_ENDIAN);
            // Odd UIDs of an old device may be kept or refused; the answer is a status or an end.
            let (class, syntax) = (uid::CT_IMAGE_STORAGE, uid::EXPLICIT_LITTLE_ENDIAN);
            let data_set = named(&slice, tag, name);
            let instance = announced(&slice, tag, name);
            association.store(class, instance, syntax, &data_set).err();
        }
        for offset in [CALLED_AT, CALLING_AT] {
            associate_as(server, name, offset);
        }
        stowed(server, &slice, name);
        // What was kept under an odd UID may be there; nothing else is.
        for (root, is_found) in [("/", false), ("/dicomweb/studies/", true)] {
            let path = format!("{root}{}", in_path(name));
            let status = web::get(server.http(), &path, &[]).status;
            let is_known = (400..500).contains(&status) || (is_found && status == 200);
            assert!(is_known || name.is_empty(), "GET {path}: {status}");
        }
    }
}

/// Where the titles stand in an A-ASSOCIATE-RQ (PS3.8 9.3.2).
const CALLED_AT: usize = 10;
const CALLING_AT: usize = 26;

/// Asks for an association with `name` as one of its titles; whatever the answer is.
fn associate_as(server: &Server, name: &[u8], at: usize) {
    let context = Context::new(uid::VERIFICATION, uid::IMPLICIT_LITTLE_ENDIAN);
    let mut request = pdu::associate_rq(&Proposal::new(vec![context]));
    let title = name.iter().chain([b' '; 16].iter()).copied();
    request.splice(at..at + 16, title.take(16));
    let mut stream = std::net::TcpStream::connect(server.dicom()).expect("a connection");
    if pdu::send(&mut stream, &request).is_ok() {
        pdu::read(&mut stream).err();
    }
}

/// STOW-RS with the name as each UID, as the name and the place of each part, and as the study.
fn stowed(server: &Server, slice: &Slice, name: &[u8]) {
    let mut body = Vec::new();
    for tag in IDENTITY {
        body.extend_from_slice(format!("\r\n--{}\r\n", stow::BOUNDARY).as_bytes());
        body.extend_from_slice(b"Content-Type: application/dicom\r\nContent-Location: ");
        body.extend_from_slice(&in_header(name));
        body.extend_from_slice(b"\r\nContent-Disposition: attachment; filename=\"");
        body.extend_from_slice(&in_header(name));
        body.extend_from_slice(b"\"\r\n\r\n");
        body.extend_from_slice(&named_file(slice, tag, name));
    }
    body.extend_from_slice(&stow::end());
    let kind = [("Content-Type", stow::RELATED)];
    for path in [
        STUDIES.to_owned(),
        format!("{STUDIES}/{}", in_path(name)),
        format!("{STUDIES}/{}", slice.study),
    ] {
        let answer = stow::ask(server.http(), "POST", &path, &kind, &body);
        let is_known = (200..500).contains(&answer.status);
        assert!(is_known, "POST {path}: {}", answer.head);
        // Whatever the response repeats of the names, it can be read.
        if answer.head.contains("application/dicom+json") {
            let _ = answer.json();
        }
    }
}

/// A name as a segment of a URL: what may not stand there is encoded.
fn in_path(name: &[u8]) -> String {
    let mut path = String::new();
    for byte in name {
        match byte {
            b'!'..=b'~' => path.push(char::from(*byte)),
            byte => write!(path, "%{byte:02x}").expect("a string grows"),
        }
    }
    path
}

/// A name as it can stand in a header of a part: a NUL cannot.
fn in_header(name: &[u8]) -> Vec<u8> {
    name.iter().copied().filter(|byte| *byte != 0).collect()
}

#[test]
fn t2_nothing_in_a_file_that_is_imported_becomes_a_path() {
    let home = workspace::temporary_folder();
    let (data, medium) = (home.path().join("data"), home.path().join("medium"));
    std::fs::create_dir(&medium).expect("a folder");
    for (number, name) in (1..).zip(EVIL_NAMES) {
        for (place, tag) in IDENTITY.into_iter().enumerate() {
            let file = named_file(&Slice::new(1, number), tag, name);
            std::fs::write(medium.join(format!("{number}-{place}.dcm")), file).expect("a file");
        }
    }
    let before = files_below(&medium);
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();

    let (code, said) = pacs(&["import", "--data", &text(&data), &text(&medium)]);

    assert!(matches!(code, Some(0 | 4)), "{code:?}: {said}");
    names_are_plain(&data);
    let (code, said) = pacs(&["verify", "--data", &text(&data)]);
    assert_eq!(code, Some(0), "{said}");
    // What was taken is given again, under names of our own.
    let out = home.path().join("out");
    let of_all = ["-k", "PatientID=TEST00001"];
    let words = ["export", "--data", &text(&data), "--out", &text(&out)];
    let (code, said) = pacs(&[&words[..], &of_all].concat());
    assert_eq!(code, Some(0), "{said}");
    names_are_plain(&out);
    let mut beside = files_below(home.path());
    beside.retain(|file| !file.starts_with(&data) && !file.starts_with(&out));
    assert_eq!(beside, before, "a file elsewhere appeared");
    nothing_escaped();
}

#[test]
fn t2_what_a_hostile_archive_gives_is_written_nowhere_but_in_its_folder() {
    let home = workspace::temporary_folder();
    let good = Slice::new(2, 1);
    for (number, name) in (1..).zip(EVIL_NAMES) {
        let slice = Slice::new(1, number);
        let evil = (name.to_vec(), named(&slice, IDENTITY[0], name));
        let honest = (good.instance.clone().into_bytes(), good.data_set());
        let giver = Giver::start(vec![evil, honest]);
        let out = home.path().join(format!("{number}/a/b"));
        let out_text = out.to_str().expect("UTF-8");
        let peer = format!("GIVER@{}", giver.address());
        let study = format!("StudyInstanceUID={}", slice.study);

        let (code, said) = pacs(&["get", &peer, "-k", &study, "--out", out_text]);

        assert!(matches!(code, Some(0 | 4)), "{code:?}: {said}");
        let names = files_below(&out);
        for file in &names {
            assert_eq!(file.parent(), Some(out.as_path()), "{}", file.display());
            // Of the peer's there are digits and dots at most.
            let stem = file.file_stem().and_then(|stem| stem.to_str());
            let is_ours = |stem: &str| {
                let is_uid = stem.chars().all(|it| it.is_ascii_digit() || it == '.');
                is_uid || stem.starts_with("instance-")
            };
            assert!(stem.is_some_and(is_ours), "{}", file.display());
        }
        let is_good = |file: &PathBuf| file.ends_with(format!("{}.dcm", good.instance));
        assert!(names.iter().any(is_good), "{names:?}: {said}");
        names_are_plain(&out);
    }
    let mut elsewhere = files_below(home.path());
    elsewhere.retain(|file| !file.parent().is_some_and(|folder| folder.ends_with("a/b")));
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    nothing_escaped();
}

/// No file below `folder`, and none in an archive of tar there, has a name that somebody else made.
fn names_are_plain(folder: &Path) {
    for file in files_below(folder) {
        let path = file.strip_prefix(folder).expect("below");
        let path = path.to_str().expect("UTF-8");
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

/// What a name leads to that is a path from the root.
fn nothing_escaped() {
    assert!(!Path::new("/tmp/pacs-escaped").exists());
}

/// Every file of the server's home that is not in its data folder.
fn files_outside(server: &Server) -> Vec<PathBuf> {
    let mut files = files_below(server.home());
    files.retain(|file| !file.starts_with(server.data()));
    files
}
