//! The corpora of the fuzz targets `multipart`, `accept`, `json_reader`, `native_model`, `compose`
//! and `qido`, replayed; the same checks hold of inputs made here.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test says so by a panic, and the file on standard output"
)]

#[path = "corpus/checks.rs"]
mod checks;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use std::path::Path;

fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let mut count = 0;
    for file in std::fs::read_dir(folder.join(target)).unwrap() {
        let path = file.unwrap().path();
        println!("{}", path.display());
        check(&std::fs::read(path).unwrap());
        count += 1;
    }
    assert!(count > 0, "the corpus of {target} is empty");
}

#[test]
fn the_multipart_corpus_holds() {
    replay("multipart", checks::multipart);
}

#[test]
fn the_accept_corpus_holds() {
    replay("accept", checks::accept);
}

#[test]
fn the_json_reader_corpus_holds() {
    replay("json_reader", checks::json_reader);
}

#[test]
fn the_native_model_corpus_holds() {
    replay("native_model", checks::native_model);
}

#[test]
fn the_compose_corpus_holds() {
    replay("compose", checks::composed);
}

#[test]
fn the_qido_corpus_holds() {
    replay("qido", checks::qido);
}

proptest! {
    #[test]
    fn any_query_of_what_queries_are_made_of_holds(
        level in 0..3_u8,
        parts in vec(select(&WORDS[..]), 0..24),
    ) {
        let query: String = parts.concat();
        checks::qido(&[&[level], query.as_bytes()].concat());
    }

    #[test]
    fn any_document_of_what_documents_are_made_of_holds(
        parts in vec(select(&MARKUP[..]), 0..24),
    ) {
        let inner: String = parts.concat();
        checks::native_model(inner.as_bytes());
        checks::native_model(
            format!("<NativeDicomModel>{inner}</DicomAttribute></NativeDicomModel>").as_bytes(),
        );
    }

    #[test]
    fn any_description_of_what_descriptions_are_made_of_holds(
        parts in vec(select(&DESCRIBED[..]), 0..12),
    ) {
        let uids = UIDS.join(",");
        let all = parts.join(",");
        checks::composed(format!("0[{{{uids},{all}}}]").as_bytes());
        checks::composed(format!("0{{{uids},\"00400275\":{{\"vr\":\"SQ\",\"Value\":[{{{all}}}]}}}}")
            .as_bytes());
    }

    #[test]
    fn any_json_of_what_it_is_made_of_holds(parts in vec(select(&JSON[..]), 0..24)) {
        let inner: String = parts.concat();
        checks::json_reader(inner.as_bytes());
        checks::json_reader(format!("[{inner}0]").as_bytes());
    }

    #[test]
    fn any_accept_of_what_they_are_made_of_holds(parts in vec(select(&RANGES[..]), 0..12)) {
        checks::accept(parts.concat().as_bytes());
    }
}

const WORDS: [&str; 24] = [
    "PatientName",
    "00100020",
    "StudyDate",
    "StudyInstanceUID",
    "includefield",
    "limit",
    "offset",
    "fuzzymatching",
    "cursor",
    "RequestAttributesSequence",
    ".",
    "=",
    "&",
    "&",
    "=",
    "%5E",
    "%",
    "*",
    "1.2.3",
    "20260101-",
    "all",
    ",",
    "true",
    "%5C",
];

const MARKUP: [&str; 20] = [
    "<DicomAttribute tag=\"00100010\" vr=\"PN\">",
    "<DicomAttribute tag=\"00080005\">",
    "<DicomAttribute tag=\"00090001\" vr=\"LO\" privateCreator=\"A\">",
    "<DicomAttribute tag=\"00400275\" vr=\"SQ\">",
    "</DicomAttribute>",
    "</DicomAttribute>",
    "<Item>",
    "</Item>",
    "<Value>",
    "</Value>",
    "<Value/>",
    "<PersonName>",
    "</PersonName>",
    "<Alphabetic><FamilyName>",
    "</FamilyName></Alphabetic>",
    "text",
    "&amp;",
    "&#13;",
    "<InlineBinary>AP8=</InlineBinary>",
    "<!-- -->",
];

const JSON: [&str; 22] = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    ",",
    " ",
    "\"00100010\":{\"vr\":\"PN\",\"Value\":[",
    "]}",
    "\"a\"",
    "\"\\u0416\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ud83d\"",
    "\"\n\"",
    "-0.50e+2",
    "1e999",
    "01",
    "true",
    "null",
    "\u{FEFF}",
    "\\",
];

const RANGES: [&str; 14] = [
    "application/dicom",
    "application/dicom+json",
    "multipart/related",
    "image/*",
    "*/*",
    ";",
    ",",
    "type=",
    "\"application/dicom\"",
    "q=0.5",
    "q=",
    "transfer-syntax=",
    "*",
    "\n",
];

/// Without these there is no instance.
const UIDS: [&str; 4] = [
    r#""00080016":{"vr":"UI","Value":["1.2.840.10008.5.1.4.1.1.7"]}"#,
    r#""00080018":{"vr":"UI","Value":["1.2.3.4"]}"#,
    r#""0020000D":{"vr":"UI","Value":["1.2.3"]}"#,
    r#""0020000E":{"vr":"UI","Value":["1.2.3.5"]}"#,
];

const DESCRIBED: [&str; 16] = [
    r#""00080005":{"vr":"CS","Value":["ISO_IR 100"]}"#,
    r#""00100010":{"vr":"PN","Value":[{"Alphabetic":"Yamada^Tarou","Ideographic":"山田"}]}"#,
    r#""00100010":{"Value":[{"Alphabetic":"A"},null,{}]}"#,
    r#""00100020":{"vr":"LO"}"#,
    r#""00100030":{"vr":"DA","Value":["20260101",""]}"#,
    r#""00101030":{"vr":"DS","Value":[1.5,"2",-0]}"#,
    r#""00200013":{"vr":"IS","Value":[1e2]}"#,
    r#""00280010":{"vr":"US","Value":[65535,"7"]}"#,
    r#""00280011":{"vr":"US","Value":[65536]}"#,
    r#""00281201":{"vr":"OW","InlineBinary":"AAEC"}"#,
    r#""00400275":{"vr":"SQ","Value":[{"00080100":{"vr":"SH","Value":["é"]}},{}]}"#,
    r#""00090010":{"vr":"LO","Value":["PACS"]}"#,
    r#""00091001":{"vr":"UN","InlineBinary":"AA=="}"#,
    r#""7FE00010":{"vr":"OW","BulkDataURI":"http://localhost/pixels"}"#,
    r#""7FE00010":{"vr":"OB","InlineBinary":"AAE="}"#,
    r#""0040A160":{"vr":"UT","Value":["a\nb\\c"]}"#,
];
