//! Reports that stand, and those of other systems: numbers 12 and 15.

use pacs_tests::day::images::{Header, tag};
use pacs_tests::day::plan::Kind;
use pacs_tests::day::typing::now;
use pacs_tests::demonstration::Demonstration;
use pacs_tests::edges::until;
use pacs_tests::peers::{dcmtk, run};
use pacs_tests::portal::{refusal, refused};
use pacs_tests::samples::part10;
use pacs_tests::server::PATIENCE;
use pacs_tests::wire::{Tree, uid};
use pacs_tests::workspace;
use serde_json::{Value, json};

use crate::hospital::{Ae, Hospital, decided, read, series, typed};

/// Basic Text SR Storage.
const REPORT: &str = "1.2.840.10008.5.1.4.1.1.88.11";

fn code(value: &str, scheme: &str, meaning: &str) -> Tree {
    Tree::default()
        .text(0x0008_0100, "SH", value)
        .text(0x0008_0102, "SH", scheme)
        .text(0x0008_0104, "LO", meaning)
}

/// A content item (PS3.3 C.17.3.2) of a relationship, a type and a concept.
fn item(relationship: &str, kind: &str, concept: Tree) -> Tree {
    Tree::default()
        .text(0x0040_A010, "CS", relationship)
        .text(0x0040_A040, "CS", kind)
        .items(0x0040_A043, vec![concept])
}

fn section(heading: Tree, concept: Tree, words: &str) -> Tree {
    let text = item("CONTAINS", "TEXT", concept).bytes(0x0040_A160, "UT", even(words));
    item("CONTAINS", "CONTAINER", heading)
        .text(0x0040_A050, "CS", "SEPARATE")
        .items(0x0040_A730, vec![text])
}

fn even(words: &str) -> Vec<u8> {
    let mut bytes = words.as_bytes().to_vec();
    bytes.resize(bytes.len().next_multiple_of(2), b' ');
    bytes
}

/// The paragraphs of the report, in Kyrgyz.
const WORDS: [&str; 3] = [
    "Өпкө таза, түйүн жок.",
    "Патология табылган жок.",
    "Көзөмөлгө алуу.",
];

/// Its content: the language and the observer that are mandatory in TID 2000, and sections whose
/// headings have codes of DCM that are retired (PS3.16 annex D).
fn content() -> Vec<Tree> {
    let language = item(
        "HAS CONCEPT MOD",
        "CODE",
        code("121049", "DCM", "Language of Content"),
    )
    .items(0x0040_A168, vec![code("ky", "RFC5646", "Kyrgyz")]);
    let observer = item(
        "HAS OBS CONTEXT",
        "CODE",
        code("121005", "DCM", "Observer Type"),
    )
    .items(0x0040_A168, vec![code("121006", "DCM", "Person")]);
    let name = item(
        "HAS OBS CONTEXT",
        "PNAME",
        code("121008", "DCM", "Person Observer Name"),
    )
    .text(0x0040_A123, "PN", "Осмонова^Бүбүсара");
    let [findings, impression, advice] = WORDS;
    let sections = [
        section(
            code("121070", "DCM", "Findings"),
            code("121071", "DCM", "Finding"),
            findings,
        ),
        section(
            code("121072", "DCM", "Impressions"),
            code("121073", "DCM", "Impression"),
            impression,
        ),
        section(
            code("121074", "DCM", "Recommendations"),
            code("121075", "DCM", "Recommendation"),
            advice,
        ),
    ];
    let content = [language, observer, name].into_iter().chain(sections);
    content.collect()
}

/// A report as an older reading station writes it, on TID 2000.
fn report_of(study: &str, id: &str) -> Tree {
    let template = Tree::default()
        .text(0x0008_0105, "CS", "DCMR")
        .text(0x0040_DB00, "CS", "2000");
    let (date, time) = now();
    Tree::default()
        .text(0x0008_0005, "CS", "ISO_IR 192")
        .text(0x0008_0016, "UI", REPORT)
        .text(0x0008_0018, "UI", &format!("{study}.12.1"))
        .text(0x0008_0020, "DA", &date)
        .text(0x0008_0023, "DA", &date)
        .text(0x0008_0030, "TM", &time)
        .text(0x0008_0033, "TM", &time)
        .text(tag::ACCESSION, "SH", id)
        .text(0x0008_0060, "CS", "SR")
        .text(0x0008_0070, "LO", "Maker of stations")
        .text(0x0008_0090, "PN", "")
        .items(0x0008_1111, vec![])
        .text(tag::NAME, "PN", "ZHEENBEKOV^CHYNGYZ")
        .text(tag::PATIENT_ID, "LO", "4711")
        .text(0x0010_0030, "DA", "19900101")
        .text(0x0010_0040, "CS", "M")
        .text(tag::STUDY, "UI", study)
        .text(0x0020_000E, "UI", &format!("{study}.12"))
        .text(0x0020_0010, "SH", "1")
        .text(0x0020_0011, "IS", "9001")
        .text(0x0020_0013, "IS", "1")
        .text(0x0040_A040, "CS", "CONTAINER")
        .items(
            0x0040_A043,
            vec![code("18748-4", "LN", "Diagnostic Imaging Report")],
        )
        .text(0x0040_A050, "CS", "SEPARATE")
        .items(0x0040_A372, vec![])
        .text(0x0040_A491, "CS", "COMPLETE")
        .text(0x0040_A493, "CS", "UNVERIFIED")
        .items(0x0040_A504, vec![template])
        .items(0x0040_A730, content())
}

/// The content of a report as DCMTK reads it, behind its header.
fn in_words(data_set: &[u8]) -> String {
    let folder = workspace::temporary_folder();
    let path = folder.path().join("report.dcm");
    let tree = Tree::read(data_set).expect("a data set");
    let instance = tree.text_of(0x0008_0018);
    let file = part10((REPORT, &instance), uid::EXPLICIT_LITTLE_ENDIAN, data_set);
    std::fs::write(&path, file).expect("a file");
    let mut dsrdump = dcmtk("dsrdump");
    let said = run(dsrdump.args(["+U8", "+Pc", "+Pl"]).arg(&path)).succeeded();
    let is_fault = |line: &str| line.starts_with("E:");
    assert!(!said.text.lines().any(is_fault), "{}", said.text);
    let at = said.text.find("<CONTAINER").expect("a root");
    // Behind it DCMTK says that it checks no lengths in UTF-8.
    let content = said.text[at..].split("\n\n").next();
    content.unwrap_or_default().to_owned()
}

#[test]
fn a12_a_report_of_another_system_is_kept_with_its_images_and_read_whatever_its_codes() {
    let Some(hospital) = Hospital::start() else {
        return;
    };
    let id = hospital.order();
    let shot = hospital.made(&id, 2);
    let report = report_of(&shot.study, &id);
    let sent = in_words(&report.encode());
    for word in WORDS
        .iter()
        .chain(&["121049", "121008", "Осмонова^Бүбүсара", "121070", "121074"])
    {
        assert!(sent.contains(word), "{word}: {sent}");
    }

    hospital.ae("NATHOS_READ").send_object(REPORT, &report);

    let instance = report.text_of(0x0008_0018);
    let given = until(PATIENCE, "the report of the patient", || {
        let given = hospital.workstation().get(&shot.study).remove(&instance)?;
        let tree = Tree::read(&given).expect("a data set");
        (tree.text_of(tag::PATIENT_ID) == hospital.patient).then_some(given)
    });
    assert_eq!(in_words(&given), sent, "not a word of it changed");
    let tree = Tree::read(&given).expect("a data set");
    assert_eq!(tree.items_of(0x0040_A730), report.items_of(0x0040_A730));
    assert_eq!(tree.text_of(tag::ACCESSION), id);
    decided(&hospital.operator, &shot.study, "bound", &[]);
    let studies = read(&hospital.operator, &format!("/examinations/{id}/studies"));
    assert_eq!(studies["items"][0]["instances_count"], 3, "{studies}");
    // A document of another system is not the signed report of the archive: nothing is sent.
    assert_eq!(hospital.examination(&id)["status"], "in_progress");
}

#[test]
fn a15_images_that_come_after_a_report_was_sent_are_flagged_and_move_nothing_back() {
    if !pacs_tests::peers::has_dcmtk() {
        return;
    }
    let home = workspace::temporary_folder();
    let demonstration = Demonstration::fill(&home.path().join("demo"));
    let radiologist = demonstration.user("radiologist");
    let sent = read(&radiologist, "/examinations?organisation=001&status=sent");
    let sent = sent["items"][0].clone();
    let id = sent["id"].as_str().expect("an ID").to_owned();
    let path = format!("/examinations/{id}");
    let study = read(&radiologist, &path)["studies"][0].clone();
    let study = study.as_str().expect("a study");
    let first = read(&radiologist, &format!("/unmatched/{study}"))["header"].clone();
    let text = |key: &str| first[key].as_str().expect("a text").to_owned();
    let header = Header {
        made_at: (text("study_date"), text("study_time")),
        patient_id: sent["patient"]["number"]
            .as_str()
            .expect("a number")
            .to_owned(),
        name: text("patient_name"),
        charset: Some("ISO_IR 192"),
        birth_date: "20000229".to_owned(),
        sex: "F".to_owned(),
        ..typed(&id)
    };
    let late = series(Kind::Dx, &header, study, 2);

    Ae::new("KRKL_DX1", "KGPACS", demonstration.ready.dicom).send(&late);

    let shown = until(PATIENCE, "the flag", || {
        let shown = read(&radiologist, &path);
        (shown["has_late_images"] == true).then_some(shown)
    });
    assert_eq!(shown["status"], "sent");
    assert_eq!(shown["studies"], json!([study]));
    decided(&radiologist, study, "bound", &[]);
    let flagged = "/examinations?organisation=001&status=sent&flagged=true";
    let flagged = read(&radiologist, flagged);
    assert_eq!(flagged["items"][0]["id"], json!(id), "{flagged}");
    let workstation = Ae::new("KRKL_WS1", "KGPACS", demonstration.ready.dicom);
    let given = workstation.get(study);
    assert_eq!(given.len(), 4, "all of them are given, and the report");
    // No claim goes back behind the report, and the flag is taken away by nobody but its author.
    let claimed = radiologist.post(&format!("{path}/claim"), &Value::Null);
    assert_eq!(refusal(&claimed), refused(409, "EXAMINATION_STATUS"));
    let seen = json!({"reason": "просмотрены, заключение прежнее"});
    let expert = demonstration.user("expert");
    let dismissed = expert.post(&format!("{path}/dismiss-late-images"), &seen);
    assert_eq!(refusal(&dismissed), refused(409, "NOT_AUTHOR"));
    let shown = read(&radiologist, &path);
    assert_eq!(
        (&shown["status"], &shown["has_late_images"]),
        (&json!("sent"), &json!(true))
    );
}
