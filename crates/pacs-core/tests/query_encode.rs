//! What the writer writes, dicom-object and our own scanner read back equal.

#![allow(clippy::unwrap_used, reason = "what fails in a test says so")]

use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::{TransferSyntaxIndex as _, TransferSyntaxRegistry};
use pacs_core::encode::write_data_set;
use pacs_core::limits::ScanLimits;
use pacs_core::tag::{Tag, Vr, tags};
use pacs_core::{Attributes, Instance, TransferSyntaxUid, Value};
use proptest::prelude::*;

const SYNTAXES: [&str; 3] = [
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
];

/// Text without leading or trailing spaces, which are padding.
#[expect(clippy::wildcard_enum_match_arm, reason = "the other VRs hold names")]
fn text_of(vr: Vr) -> BoxedStrategy<String> {
    match vr {
        Vr::UI => "1\\.2\\.[1-9]{1,9}".boxed(),
        Vr::DA => "20[0-9]{2}0[1-9]1[0-9]".boxed(),
        Vr::IS => "[1-9][0-9]{0,5}".boxed(),
        Vr::US => (0..=u16::MAX).prop_map(|n| n.to_string()).boxed(),
        Vr::CS => "[A-Z]{1,8}(\\\\[A-Z]{1,8}){0,2}".boxed(),
        _ => "[a-zА-Яёңөү]{1,12}([ ^][a-zА-Яё]{1,8})?".boxed(),
    }
}

fn any_attribute() -> impl Strategy<Value = (Tag, Vr, String)> {
    let attributes = [
        (tags::IMAGE_TYPE, Vr::CS),
        (tags::STUDY_DATE, Vr::DA),
        (tags::ACCESSION_NUMBER, Vr::SH),
        (tags::STUDY_DESCRIPTION, Vr::LO),
        (tags::PATIENT_NAME, Vr::PN),
        (tags::PATIENT_ID, Vr::LO),
        (tags::ADDITIONAL_PATIENT_HISTORY, Vr::LT),
        (tags::SERIES_NUMBER, Vr::IS),
        (tags::ROWS, Vr::US),
    ];
    proptest::sample::select(attributes.to_vec())
        .prop_flat_map(|(tag, vr)| text_of(vr).prop_map(move |text| (tag, vr, text)))
}

fn any_data_set() -> impl Strategy<Value = Attributes> {
    let items = proptest::collection::vec(proptest::collection::vec(any_attribute(), 0..3), 0..3);
    let root = proptest::collection::vec(any_attribute(), 0..9);
    (root, items).prop_map(|(root, items)| {
        let collect = |list: Vec<(Tag, Vr, String)>| {
            let mut attributes = Attributes::new();
            for (tag, vr, text) in list {
                attributes.insert_text(tag, vr, text);
            }
            attributes
        };
        let mut attributes = collect(root);
        for (tag, uid) in [
            (tags::SOP_CLASS_UID, "1.2.840.10008.5.1.4.1.1.2"),
            (tags::SOP_INSTANCE_UID, "1.2.3.4.5"),
            (tags::STUDY_INSTANCE_UID, "1.2.3"),
            (tags::SERIES_INSTANCE_UID, "1.2.3.4"),
        ] {
            attributes.insert_text(tag, Vr::UI, uid);
        }
        let items = Value::Items(items.into_iter().map(collect).collect());
        attributes.insert(tags::REQUEST_ATTRIBUTES_SEQUENCE, Vr::SQ, items);
        attributes
    })
}

/// What dicom-object read, as ours; the character set left out.
fn ours(object: &InMemDicomObject) -> Attributes {
    let mut attributes = Attributes::new();
    for element in object {
        let (tag, vr) = (element.header().tag, element.vr());
        if tag == tags::SPECIFIC_CHARACTER_SET {
            continue;
        }
        let value = match element.items() {
            Some(items) => Value::Items(items.iter().map(ours).collect()),
            None => Value::Text(element.to_str().unwrap().into()),
        };
        attributes.insert(tag, vr, value);
    }
    attributes
}

proptest! {
    #[test]
    fn what_is_written_reads_back_equal(attributes in any_data_set()) {
        for uid in SYNTAXES {
            let syntax = TransferSyntaxUid::parse(uid).unwrap();
            let bytes = write_data_set(&attributes, &syntax).unwrap();

            let ts = TransferSyntaxRegistry.get(uid).unwrap();
            let object = InMemDicomObject::read_dataset_with_ts(bytes.as_slice(), ts).unwrap();
            prop_assert!(ours(&object) == attributes, "dicom-object, {}", uid);

            let mut instance = Instance::parse(&bytes, &syntax, &ScanLimits::default()).unwrap();
            instance.attributes.retain(|a| a.tag != tags::SPECIFIC_CHARACTER_SET);
            prop_assert!(instance.attributes == attributes, "our scanner, {}", uid);
            prop_assert_eq!(bytes.len() % 2, 0);
        }
    }
}
