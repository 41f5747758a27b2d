//! The texts that the manifest spells out, character by character.
#![expect(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "what a test's own functions do is the test"
)]

#[path = "scan_support/testdata.rs"]
mod testdata;

use pacs_core::attributes::Value;
use pacs_core::limits::ScanLimits;
use pacs_core::scan::file;
use pacs_core::tag::{Tag, tags};
use pacs_core::{Instance, Vr};
use testdata::{Entry, entries};

fn instance(entry: &Entry) -> Instance {
    let bytes = entry.bytes();
    let form = file::read(&bytes).unwrap();
    Instance::parse(
        &bytes[form.data_set],
        &form.transfer_syntax,
        &ScanLimits::default(),
    )
    .unwrap_or_else(|error| panic!("{}: {error}", entry.name))
}

/// What stands in quotation marks after a keyword in the manifest's note.
fn expected<'a>(entry: &'a Entry, keyword: &str) -> Option<&'a str> {
    let (_, rest) = entry.note.split_once(&format!("{keyword} = '"))?;
    Some(rest.split_once('\'')?.0)
}

/// Files that say in their note that the declared set is not that of the bytes.
fn is_mislabelled(entry: &Entry) -> bool {
    entry.note.contains("bytes are") || entry.name.ends_with("unknown_charset_term.dcm")
}

#[test]
fn texts_of_the_manifest_are_read_and_only_mislabelled_ones_are_marked() {
    let mut compared = 0;
    for entry in entries() {
        for (keyword, tag, vr) in [
            ("Patient Name", tags::PATIENT_NAME, Vr::PN),
            ("Study Description", tags::STUDY_DESCRIPTION, Vr::LO),
        ] {
            let Some(expected) = expected(entry, keyword) else {
                continue;
            };
            let value = if is_mislabelled(entry) {
                Value::Suspect(expected.into())
            } else {
                Value::Text(expected.into())
            };
            let instance = instance(entry);
            let read = instance.attributes.get(tag).unwrap();
            let suspect = matches!(read.value, Value::Suspect(_));
            let text = instance.attributes.text(tag);
            assert_eq!(read.vr, vr);
            assert_eq!(
                read.value, value,
                "{}: {text:?}, suspect: {suspect}",
                entry.name
            );
            compared += 1;
        }
    }
    assert!(entries().is_empty() || compared >= 38, "{compared}");
}

#[test]
fn names_of_the_pydicom_samples_are_read() {
    let check = |name: &str, tag: Tag, expected: &str| {
        let Some(entry) = entries().iter().find(|entry| entry.name == name) else {
            assert!(entries().is_empty(), "{name} is not there");
            return;
        };
        let instance = instance(entry);
        let attribute = instance.attributes.get(tag).unwrap();
        assert_eq!(attribute.value, Value::Text(expected.into()), "{name}");
    };
    let name = tags::PATIENT_NAME;
    check("charset/chrArab.dcm", name, "قباني^لنزار");
    check("charset/chrFren.dcm", name, "Buc^Jérôme");
    check("charset/chrGerm.dcm", name, "Äneas^Rüdiger");
    check("charset/chrGreek.dcm", name, "Διονυσιος");
    check(
        "charset/chrH31.dcm",
        name,
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
    );
    check(
        "charset/chrH32.dcm",
        name,
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    );
    check("charset/chrHbrw.dcm", name, "שרון^דבורה");
    check("charset/chrI2.dcm", name, "Hong^Gildong=洪^吉洞=홍^길동");
    check("charset/chrRuss.dcm", name, "Люкceмбypг");
    check("charset/chrX1.dcm", name, "Wang^XiaoDong=王^小東=");
    check("charset/chrX2.dcm", name, "Wang^XiaoDong=王^小东=");
}
