//! STOW-RS of metadata with bulk data (PS3.18 10.5.1): every file of the test data goes from one
//! server to another so, and what is odd, wrong or hostile gets its verdict.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use pacs_tests::corpus::{self, Sample};
use pacs_tests::described::{
    self, Bulk, DESCRIBED, DESCRIBED_XML, body, body_in_xml, fetch, fetch_xml,
};
use pacs_tests::peers::{answers, dicomweb_python, run};
use pacs_tests::samples::Slice;
use pacs_tests::server::Server;
use pacs_tests::stow::{BOUNDARY, Request, ask};
use pacs_tests::web::get;
use pacs_tests::web_server::{open_server, store};
use pacs_tests::workspace;
use serde_json::{Value, json};

const STUDIES: &str = "/dicomweb/studies";
const CANNOT_UNDERSTAND: u64 = 0xC000;
const OTHER_STUDY: u64 = 0xA901;

/// What pydicom finds unequal in pairs of files.
fn differences(python: &Path, pairs: &[(String, String)]) -> Vec<Vec<String>> {
    let mut script = Command::new(python);
    script.arg(workspace::root().join("tests/dicomweb/equal.py"));
    let lines = pairs.iter().map(|(a, b)| format!("{a}\t{b}"));
    let found = answers(&mut script, &lines.collect::<Vec<_>>());
    let read = |line: &String| serde_json::from_str(line).expect("a list");
    found.iter().map(read).collect()
}

/// Differences that there may be: the end of a file's name, what the difference holds, and why.
const MAY_DIFFER: &[(&str, &str, &str)] = &[
    ("odd/mislabelled_cp1251_as_iso144.dcm", ") LO [", GUESSED),
    ("odd/mislabelled_cp1251_as_iso144.dcm", ") PN [", GUESSED),
    ("odd/mislabelled_cp1251_no_charset.dcm", ") LO [", GUESSED),
    ("odd/mislabelled_cp1251_no_charset.dcm", ") PN [", GUESSED),
    ("odd/utf8_bytes_declared_latin1.dcm", ") LO [", GUESSED),
    ("odd/utf8_bytes_declared_latin1.dcm", ") PN [", GUESSED),
    ("odd/utf8_bytes_no_charset.dcm", ") LO [", GUESSED),
    ("odd/utf8_bytes_no_charset.dcm", ") PN [", GUESSED),
    ("odd/trailing-garbage.dcm", "only in the first", GARBAGE),
    ("ts/us_h264_102.dcm", "cannot be told apart", VIDEO),
    ("ts/us_mpeg2_100.dcm", "cannot be told apart", VIDEO),
];

const GUESSED: &str =
    "text is in another set than declared: we guess, pydicom takes it as declared";

const GARBAGE: &str = "metadata has nothing of what stands behind a data set";

const VIDEO: &str = "a video has no frames to be told apart, and is not given as bulk data yet";

/// The place in [`MAY_DIFFER`] of what explains this difference.
fn explained(file: &str, difference: &str) -> Option<usize> {
    let mut known = MAY_DIFFER.iter();
    known.position(|(name, of, _)| file == *name && difference.contains(of))
}

/// Files that are kept, of all in the manifest: fewer are none of this test data.
const KEPT_MIN: usize = 370;

/// Whether names differ in nothing but empty components at their end, which XML does not hold.
fn is_end_of_name(difference: &str) -> bool {
    let names = difference.split_once(") PN ").map(|(_, names)| names);
    let Some((one, other)) = names.and_then(|names| names.split_once(" and ")) else {
        return false;
    };
    let bare = |text: &str| {
        let mut text = text.to_owned();
        while text.contains("^'") {
            text = text.replace("^'", "'");
        }
        text.replace("['']", "b''")
    };
    bare(one) == bare(other)
}

/// In which model an instance is described.
#[derive(Clone, Copy, PartialEq)]
enum How {
    Json,
    Xml,
}

/// Fetches an instance from `from`, stores it in `to` as metadata with bulk data, and says where
/// `to` has it.
fn carry(from: &Server, to: &Server, sample: &Sample, how: How) -> Result<String, String> {
    let fetched = fetch(from, &sample.sop_instance);
    let (path, metadata, bulk) = fetched.map_err(|error| format!("{}: {error}", sample.name))?;
    let answer = match how {
        How::Json => described::store(to, STUDIES, &metadata, &bulk),
        How::Xml => described::store_xml(to, STUDIES, &[&fetch_xml(from, &path)], &bulk),
    };
    let is_stored = answer.status == 200 && answer.stored() == [sample.sop_instance.as_str()];
    is_stored.then_some(path).ok_or_else(|| {
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        format!(
            "{}: {}\n{}\n{body}",
            sample.name, answer.status, answer.head
        )
    })
}

#[test]
fn every_file_comes_through_as_metadata_with_bulk_data() {
    comes_through(How::Json);
}

#[test]
fn every_file_comes_through_as_metadata_in_xml() {
    comes_through(How::Xml);
}

/// Whatever does not come through, or not as it was, is explained one by one.
fn comes_through(how: How) {
    let (Some(python), Some(folder)) = (dicomweb_python(), workspace::test_data()) else {
        return;
    };
    let home = tempfile::tempdir().expect("a folder");
    let (mut faults, mut pairs, mut names) = (Vec::new(), Vec::new(), Vec::new());
    let (mut explanations, mut left_out) = (BTreeSet::new(), 0);
    for samples in corpus::rounds(&folder) {
        let (first, second) = (open_server(), open_server());
        for sample in samples {
            let (class, instance) = (&sample.sop_class, &sample.sop_instance);
            let syntax = &sample.transfer_syntax;
            let status = store(&first, class, instance, syntax, &sample.data_set);
            assert_eq!(status, 0, "{}", sample.name);
            match carry(&first, &second, &sample, how) {
                Ok(path) => {
                    let accept = ("Accept", "application/dicom; transfer-syntax=*");
                    let back = get(second.http(), &path, &[accept]);
                    assert_eq!(back.status, 200, "{}", sample.name);
                    let file = home.path().join(pairs.len().to_string());
                    std::fs::write(&file, &back.body).expect("room");
                    let original = folder.join(&sample.name).display().to_string();
                    pairs.push((original, file.display().to_string()));
                    names.push(sample.name);
                }
                Err(fault) => match explained(&sample.name, &fault) {
                    Some(explanation) => {
                        explanations.insert(explanation);
                        left_out += 1;
                    }
                    None => faults.push(fault),
                },
            }
        }
    }
    for (name, found) in names.iter().zip(differences(&python, &pairs)) {
        for difference in found {
            let is_lost = how == How::Xml && is_end_of_name(&difference);
            match explained(name, &difference) {
                Some(explanation) => drop(explanations.insert(explanation)),
                None if is_lost => {}
                None => faults.push(format!("{name}: {difference}")),
            }
        }
    }
    let count = faults.len();
    assert!(faults.is_empty(), "{count} faults:\n{}", faults.join("\n"));
    assert!(pairs.len() + left_out >= KEPT_MIN, "{}", pairs.len());
    let unused = (0..MAY_DIFFER.len()).filter(|at| !explanations.contains(at));
    let unused: Vec<_> = unused.map(|at| MAY_DIFFER[at]).collect();
    assert!(unused.is_empty(), "explain nothing any more: {unused:?}");
}

fn instance(number: u32) -> Value {
    json!({
        "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.7"]},
        "00080018": {"vr": "UI", "Value": [format!("1.2.826.0.1.4.{number}")]},
        "0020000D": {"vr": "UI", "Value": ["1.2.826.0.1.2"]},
        "0020000E": {"vr": "UI", "Value": ["1.2.826.0.1.3"]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Усөнов^Бакыт"}]},
    })
}

fn with(mut instance: Value, tag: &str, attribute: Value) -> Value {
    instance[tag] = attribute;
    instance
}

fn uid(number: u32) -> String {
    format!("1.2.826.0.1.4.{number}")
}

#[test]
fn instances_of_one_request_have_their_own_verdicts() {
    let server = open_server();
    let pixels = |name: &str| json!({"vr": "OW", "BulkDataURI": name});
    let far = "http://127.0.0.1:9/somewhere/else";
    let all = json!([
        with(instance(1), "7FE00010", pixels("one")),
        with(instance(2), "7FE00010", pixels(far)),
        with(instance(3), "7FE00010", pixels("one")),
        with(
            instance(4),
            "00280010",
            json!({"vr": "US", "Value": [70_000]})
        ),
        with(
            instance(5),
            "0020000D",
            json!({"vr": "UI", "Value": ["1.2.826.0.1.9"]})
        ),
        with(instance(6), "0020000E", json!({"vr": "UI"})),
        instance(7),
    ]);
    let path = format!("{STUDIES}/1.2.826.0.1.2");

    let answer = described::store(
        &server,
        &path,
        &all.to_string(),
        &[Bulk::plain("one", &[7; 9])],
    );

    assert_eq!(answer.status, 202, "{}", answer.head);
    let stored: BTreeSet<String> = answer.stored().into_iter().collect();
    assert_eq!(stored, BTreeSet::from([uid(1), uid(7)]));
    let failed: BTreeSet<(String, u64)> = answer.failed().into_iter().collect();
    let mut expected: BTreeSet<(String, u64)> = BTreeSet::new();
    for number in [2, 3, 6] {
        expected.insert((uid(number), CANNOT_UNDERSTAND));
    }
    expected.insert((uid(5), OTHER_STUDY));
    assert_eq!(failed, expected);
    assert_eq!(
        answer.other_failures(),
        [CANNOT_UNDERSTAND],
        "the value that is none"
    );
    for told in [
        "instance 2: bulk data of (7fe0,0010) is not among the parts of the request",
        "instance 3: bulk data of (7fe0,0010) serves another attribute already",
        "instance 4: the value of (0028,0010) is none of its vr",
        "instance 6: (0020,000e) is missing or no uid",
    ] {
        assert!(answer.head.contains(told), "{told}: {}", answer.head);
    }

    let (_, metadata, bulk) = fetch(&server, &uid(1)).expect("all of it");
    let metadata: Value = serde_json::from_str(&metadata).expect("JSON");
    assert_eq!(metadata[0]["00100010"], instance(1)["00100010"]);
    assert_eq!(metadata[0]["00080005"]["Value"][0], "ISO_IR 192");
    assert_eq!(bulk[0].bytes, [7, 7, 7, 7, 7, 7, 7, 7, 7, 0]);
}

#[test]
fn dicomweb_client_stores_files() {
    let Some(python) = dicomweb_python() else {
        return;
    };
    let server = open_server();
    let home = tempfile::tempdir().expect("a folder");
    let file = home.path().join("slice.dcm");
    let slice = Slice::new(1, 1);
    std::fs::write(&file, slice.file()).expect("room");
    let mut script = Command::new(python);
    script
        .arg(workspace::root().join("tests/dicomweb/peer.py"))
        .arg("store")
        .arg(format!("http://{}/dicomweb", server.http()))
        .arg(&file);

    let said = run(&mut script).succeeded().json();

    let instance = slice.instance;
    let expected = json!({
        "stored": [instance, instance], "failed": [false, false], "instance": instance,
    });
    assert_eq!(said, expected);
}

#[test]
fn metadata_alone_needs_no_parts() {
    let server = open_server();
    let kind = [("Content-Type", "application/dicom+json")];
    let report = instance(1).to_string();

    let answer = ask(server.http(), "POST", STUDIES, &kind, report.as_bytes());

    assert_eq!((answer.status, answer.stored()), (200, vec![uid(1)]));
}

#[test]
fn a_request_that_is_wrong_as_a_whole_is_refused_with_its_reason() {
    let mut server = open_server();
    let good = instance(1).to_string();
    let deep = format!("[{}", "[".repeat(100_000));
    let bulk_first = body("", &[Bulk::plain("a", b"a")]);
    let bulk_first = String::from_utf8_lossy(&bulk_first).replacen(
        "Content-Type: application/dicom+json",
        "Content-Type: text/plain",
        1,
    );
    let long_name = body(&good, &[Bulk::plain(&"x".repeat(3_000), b"a")]);
    for (body, detail) in [
        (body("{", &[]), "no JSON at byte 1"),
        (body("[{}] x", &[]), "no JSON"),
        (body("[1]", &[]), "not of the model"),
        (body(&deep, &[]), "not of the model"),
        (body(&good.replace('[', "[\u{1}"), &[]), "no JSON"),
        (body("[]", &[]), "no instance"),
        (bulk_first.into_bytes(), "metadata has to come first"),
        (long_name, "too long"),
    ] {
        let kind = [("Content-Type", DESCRIBED)];
        let answer = ask(server.http(), "POST", STUDIES, &kind, &body);
        assert_eq!(answer.status, 400, "{detail}: {}", answer.head);
        let told = answer.json()["detail"].as_str().expect("a text").to_owned();
        assert!(told.contains(detail), "{detail}: {told}");
    }
    let nested = "{\"00081140\":{\"vr\":\"SQ\",\"Value\":[".repeat(50_000);
    let answer = described::store(&server, STUDIES, &nested, &[]);
    assert_eq!(answer.status, 400);
    let many = format!(
        "[{{\"00081140\":{{\"Value\":[{}{{}}]}}}}]",
        "{},".repeat(1_100_000)
    );
    let answer = described::store(&server, STUDIES, &many, &[]);
    assert_eq!(answer.status, 413, "{}", answer.head);
    assert!(server.is_alive());
}

#[test]
fn a_cut_request_keeps_the_instances_whose_bulk_data_has_come() {
    let server = open_server();
    let pixels = |name: &str| json!({"vr": "OW", "BulkDataURI": name});
    let all = json!([
        with(instance(1), "7FE00010", pixels("one")),
        with(instance(2), "7FE00010", pixels("two")),
    ]);
    let bulk = [
        Bulk::plain("one", &[1; 5_000]),
        Bulk::plain("two", &[2; 5_000]),
    ];
    let mut body = body(&all.to_string(), &bulk);
    body.truncate(body.len() - 3_000);

    let answer = ask(
        server.http(),
        "POST",
        STUDIES,
        &[("Content-Type", DESCRIBED)],
        &body,
    );

    assert_eq!(answer.status, 202);
    assert_eq!(answer.stored(), [uid(1)]);
    assert_eq!(answer.failed(), [(uid(2), CANNOT_UNDERSTAND)]);
}

#[test]
fn large_bulk_data_streams_through_in_bounded_memory_and_leaves_nothing_behind() {
    let mut server = open_server();
    let warm = instance(9).to_string();
    assert_eq!(described::store(&server, STUDIES, &warm, &[]).status, 200);
    let idle = server.resident_bytes();
    let all = with(
        instance(1),
        "7FE00010",
        json!({"vr": "OW", "BulkDataURI": "pixels"}),
    );
    let fields = [
        ("Content-Type", DESCRIBED),
        ("Transfer-Encoding", "chunked"),
    ];
    let mut request = Request::begin(server.http(), "POST", STUDIES, &fields).expect("begun");
    let whole = body(&all.to_string(), &[Bulk::plain("pixels", &[])]);
    let end = format!("\r\n--{BOUNDARY}--\r\n");
    request
        .chunk(&whole[..whole.len() - end.len()])
        .expect("it is taken");
    let piece = vec![5; 1 << 20];
    for _ in 0..256 {
        request.chunk(&piece).expect("it is taken");
    }
    request.chunk(end.as_bytes()).expect("it is taken");
    request.chunk(&[]).expect("it is taken");

    let answer = request.answer().expect("an answer");

    assert_eq!((answer.status, answer.stored()), (200, vec![uid(1)]));
    let grown = server.peak_resident_bytes().saturating_sub(idle);
    assert!(grown < 128 << 20, "memory grew by {} MiB", grown >> 20);
    let path = format!(
        "{STUDIES}/1.2.826.0.1.2/series/1.2.826.0.1.3/instances/{}",
        uid(1)
    );
    let range = [
        ("Range", "bytes=268435450-"),
        ("Accept", "application/octet-stream"),
    ];
    let back = get(server.http(), &format!("{path}/bulkdata/7FE00010"), &range);
    assert_eq!((back.status, back.body), (206, vec![5; 6]));
    assert!(server.is_alive());
}

/// A document of the instance `number`, with `more` of its attributes.
fn document(number: u32, more: &str) -> String {
    let of = |tag: &str, value: &str| {
        format!(
            "<DicomAttribute tag=\"{tag}\" vr=\"UI\"><Value number=\"1\">{value}</Value>\
             </DicomAttribute>"
        )
    };
    let class = of("00080016", "1.2.840.10008.5.1.4.1.1.7");
    let instance = of("00080018", &uid(number));
    let (study, series) = (
        of("0020000D", "1.2.826.0.1.2"),
        of("0020000E", "1.2.826.0.1.3"),
    );
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<NativeDicomModel \
         xmlns=\"http://dicom.nema.org/PS3.19/models/NativeDICOM\">{class}{instance}{study}\
         {series}{more}</NativeDicomModel>"
    )
}

fn attribute(tag: &str, vr: &str, content: &str) -> String {
    format!("<DicomAttribute tag=\"{tag}\" vr=\"{vr}\">{content}</DicomAttribute>")
}

#[test]
fn each_document_of_a_request_in_xml_is_an_instance_with_its_own_verdict() {
    let server = open_server();
    let pixels = |name: &str| attribute("7FE00010", "OW", &format!("<BulkData uri=\"{name}\"/>"));
    let name = "<PersonName number=\"1\"><Alphabetic><FamilyName>Усөнов</FamilyName>\
                <GivenName>Бакыт</GivenName></Alphabetic></PersonName>";
    let named = attribute("00100010", "PN", name);
    let documents = [
        document(1, &format!("{named}{}", pixels("a?x=1&amp;y=2"))),
        document(2, &pixels("file:///etc/passwd")),
        document(3, &attribute("00280010", "US", "<Value>70000</Value>")),
        document(4, &attribute("00100020", "LO", "").repeat(2)),
        document(5, ""),
    ];
    let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
    let bulk = [Bulk::plain("a?x=1&y=2", &[7; 9])];

    let answer = described::store_xml(&server, STUDIES, &documents, &bulk);

    assert_eq!(answer.status, 202, "{}", answer.head);
    let stored: BTreeSet<String> = answer.stored().into_iter().collect();
    assert_eq!(stored, BTreeSet::from([uid(1), uid(5)]));
    assert_eq!(answer.failed(), [(uid(2), CANNOT_UNDERSTAND)]);
    assert_eq!(answer.other_failures(), [CANNOT_UNDERSTAND; 2]);
    let (_, metadata, bulk) = fetch(&server, &uid(1)).expect("all of it");
    let metadata: Value = serde_json::from_str(&metadata).expect("JSON");
    assert_eq!(metadata[0]["00100010"], instance(1)["00100010"]);
    assert_eq!(metadata[0]["00080005"]["Value"][0], "ISO_IR 192");
    assert_eq!(bulk[0].bytes, [7, 7, 7, 7, 7, 7, 7, 7, 7, 0]);

    let kind = [("Content-Type", "application/dicom+xml")];
    let alone = document(6, "");
    let answer = ask(server.http(), "POST", STUDIES, &kind, alone.as_bytes());
    assert_eq!((answer.status, answer.stored()), (200, vec![uid(6)]));
}

#[test]
fn hostile_xml_is_refused_as_a_whole_and_nothing_is_stored_or_fetched() {
    let mut server = open_server();
    let laughs = "<!DOCTYPE a [<!ENTITY l \"ha\"><!ENTITY m \"&l;&l;&l;&l;&l;&l;&l;&l;\">]>";
    let outside = "<!DOCTYPE a [<!ENTITY l SYSTEM \"file:///etc/passwd\">]>";
    let behind = |head: &str| document(1, "").replacen('\n', head, 1);
    let lone = attribute("00100020", "LO", "<Value>&l;</Value>");
    let open = document(1, "").replace("</NativeDicomModel>", "");
    for (hostile, detail) in [
        (behind(laughs), "DOCTYPE"),
        (behind(outside), "DOCTYPE"),
        (document(1, &lone), "refers to an entity"),
        (open, "not well-formed"),
        (document(1, "<DicomAttribute"), "not well-formed"),
        (document(1, "\u{1}"), "not well-formed"),
        (
            document(1, "").replace("UTF-8", "UTF-16"),
            "not well-formed",
        ),
        (String::new(), "not well-formed"),
        ("<x".repeat(100_000), "not well-formed"),
    ] {
        let good = document(2, "");
        let answer = described::store_xml(&server, STUDIES, &[&good, &hostile], &[]);
        assert_eq!(answer.status, 400, "{detail}: {}", answer.head);
        let told = answer.json()["detail"].as_str().expect("a text").to_owned();
        assert!(told.contains(detail), "{detail}: {told}");
    }
    let mut binary = body_in_xml(&[&document(1, "")], &[]);
    let at = binary
        .iter()
        .position(|byte| *byte == b'<')
        .expect("a document");
    binary[at + 50] = 0xFF;
    let kind = [("Content-Type", DESCRIBED_XML)];
    let answer = ask(server.http(), "POST", STUDIES, &kind, &binary);
    assert_eq!(answer.status, 400, "{}", answer.head);
    let deep = "<DicomAttribute tag=\"00081140\" vr=\"SQ\"><Item>".repeat(50_000);
    let answer = described::store_xml(&server, STUDIES, &[&document(1, &deep)], &[]);
    assert_eq!(answer.status, 413, "{}", answer.head);
    let many = attribute("00281201", "US", &"<Value/>".repeat(2_000_001));
    for many in [many, "<x ".repeat(2_000_000)] {
        let answer = described::store_xml(&server, STUDIES, &[&document(1, &many)], &[]);
        assert_eq!(answer.status, 413, "{}", answer.head);
    }
    let found = get(server.http(), "/dicomweb/instances", &[]);
    assert_eq!(found.status, 204, "nothing of a refused request is kept");
    assert!(server.is_alive());
}
