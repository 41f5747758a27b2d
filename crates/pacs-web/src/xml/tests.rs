//! Documents written and read.

use super::*;
use crate::described::{Described, DescribedAttribute, DescribedValue};
use crate::limits::ModelLimits;
use pacs_core::tag::tags;
use pacs_core::{Attributes, Tag, Value, Vr};

const HEAD: &str = "<NativeDicomModel xmlns=\"http://dicom.nema.org/PS3.19/models/NativeDICOM\">";

fn read_text(text: &str) -> Result<Described, XmlError> {
    read(text.as_bytes(), &ModelLimits::default())
}

/// Reads a document of these attributes.
fn read_of(attributes: &str) -> Result<Described, XmlError> {
    read_text(&format!("{HEAD}{attributes}</NativeDicomModel>"))
}

/// One attribute that holds this.
fn value_of(vr: &str, content: &str) -> Result<DescribedValue, XmlError> {
    let attribute =
        format!("<DicomAttribute tag=\"00091001\" vr=\"{vr}\">{content}</DicomAttribute>");
    let described = read_of(&attribute)?;
    Ok(described.get(Tag(0x0009, 0x1001)).unwrap().value.clone())
}

fn text(text: &str) -> DescribedValue {
    DescribedValue::Text(text.to_owned())
}

#[test]
fn what_is_written_is_read_again() {
    let hard = "\u{9}a<b>&c\"d'\r\n\u{10FFFF}ң\r";
    let mut item = Attributes::new();
    item.insert_text(tags::CODE_VALUE, Vr::SH, "1\\\\3");
    let mut attributes = Attributes::new();
    attributes.insert_text(tags::SPECIFIC_CHARACTER_SET, Vr::CS, "ISO_IR 100");
    attributes.insert_text(
        tags::PATIENT_NAME,
        Vr::PN,
        "A^B^^Dr^Jr=Ц^Ч=x\\=only\\\\^given",
    );
    attributes.insert_text(tags::PATIENT_COMMENTS, Vr::LT, hard);
    attributes.insert_text(tags::PATIENT_ID, Vr::LO, "");
    attributes.insert_text(tags::IMAGE_COMMENTS, Vr::LT, "one\\value");
    let sequence = tags::REQUEST_ATTRIBUTES_SEQUENCE;
    attributes.insert(
        sequence,
        Vr::SQ,
        Value::Items(vec![item, Attributes::new()]),
    );
    let mut out = Vec::new();
    write_attributes(&mut out, &attributes);

    let described = read(&out, &ModelLimits::default()).unwrap();

    assert_eq!(
        described.text(tags::SPECIFIC_CHARACTER_SET),
        Some("ISO_IR 192")
    );
    for tag in [
        tags::PATIENT_NAME,
        tags::PATIENT_COMMENTS,
        tags::PATIENT_ID,
        tags::IMAGE_COMMENTS,
    ] {
        assert_eq!(described.text(tag), attributes.text(tag), "{tag}");
    }
    let Some(DescribedValue::Items(items)) = described.get(sequence).map(|a| &a.value) else {
        panic!("no items");
    };
    assert_eq!(items.len(), 2);
    assert_eq!(items[0].text(tags::CODE_VALUE), Some("1\\\\3"));
    assert!(items[1].is_empty());
    assert_eq!(described.len(), attributes.len());
}

#[test]
fn what_xml_cannot_hold_is_replaced() {
    let mut attributes = Attributes::new();
    attributes.insert_text(tags::PATIENT_COMMENTS, Vr::LT, "a\0b\u{1B}c\u{FFFE}d");
    let mut out = Vec::new();
    write_attributes(&mut out, &attributes);
    let described = read(&out, &ModelLimits::default()).unwrap();
    let replaced = Some("a\u{FFFD}b\u{FFFD}c\u{FFFD}d");
    assert_eq!(described.text(tags::PATIENT_COMMENTS), replaced);
}

#[test]
fn every_kind_of_value_is_read() {
    for (vr, content, value) in [
        ("LO", "", text("")),
        ("LO", "<Value/>", text("")),
        (
            "LO",
            "<Value number=\"1\">a</Value>\n<Value>b</Value>",
            text("a\\b"),
        ),
        (
            "LO",
            "<Value number='1'/><Value number='2'>b</Value>",
            text("\\b"),
        ),
        ("UT", "<Value>a\\b</Value>", text("a\\b")),
        (
            "LO",
            "<Value>&lt;&#x416;&#1046;<![CDATA[<&]]>&amp;</Value>",
            text("<ЖЖ<&&"),
        ),
        ("LO", "<Value>a<!-- b -->c<?d e?></Value>", text("ac")),
        ("LO", "<Value>a\r\nb\rc</Value>", text("a\nb\nc")),
        (
            "OB",
            "<InlineBinary>AP8=</InlineBinary>",
            DescribedValue::Inline(vec![0, 255]),
        ),
        (
            "OW",
            "<BulkData uri=\"http://x/&amp;y\"/>",
            DescribedValue::Bulk("http://x/&y".to_owned()),
        ),
        (
            "OW",
            "<BulkData uuid=\"1-2\"></BulkData>",
            DescribedValue::Bulk("1-2".to_owned()),
        ),
        (
            "PN",
            "<PersonName number=\"1\"><Ideographic><GivenName>G</GivenName></Ideographic>\
             <Alphabetic><FamilyName>F</FamilyName></Alphabetic></PersonName>",
            text("F=^G"),
        ),
        ("SQ", "", DescribedValue::Items(Vec::new())),
        (
            "SQ",
            "<Item number=\"1\"/>",
            DescribedValue::Items(vec![Described::new()]),
        ),
    ] {
        assert_eq!(value_of(vr, content), Ok(value), "{vr} {content}");
    }
}

#[test]
fn a_private_attribute_without_block_gets_that_of_its_creator() {
    let attribute = |tag: &str, creator: &str, value: &str| {
        format!(
            "<DicomAttribute tag=\"{tag}\" vr=\"LO\" {creator}><Value>{value}</Value>\
             </DicomAttribute>"
        )
    };
    let described = read_of(
        &[
            attribute("00090011", "", "ONE"),
            attribute("00090001", "privateCreator=\"ONE\"", "a"),
            attribute("00090010", "privateCreator=\"TWO\"", "b"),
            attribute("00091202", "privateCreator=\"THREE\"", "c"),
        ]
        .concat(),
    )
    .unwrap();
    for (element, value) in [
        (0x0011, "ONE"),
        (0x1101, "a"),
        (0x0010, "TWO"),
        (0x1010, "b"),
        (0x1202, "c"),
    ] {
        assert_eq!(
            described.text(Tag(0x0009, element)),
            Some(value),
            "{element:04X}"
        );
    }
}

#[test]
fn hostile_documents_are_refused() {
    let reference = format!("&#{}65;", "0".repeat(100));
    for content in [
        "<Value>&nbsp;</Value>",
        "<Value>&xxe;</Value>",
        "<Value>&#0;</Value>",
        "<Value>&#8;</Value>",
        "<Value>&#xD800;</Value>",
        "<Value>&#x110000;</Value>",
        "<Value>&#+65;</Value>",
        "<Value>&#;</Value>",
        "<Value>&amp</Value>",
        &format!("<Value>{reference}</Value>"),
        "<Value>\u{1}</Value>",
        "<Value>a\\b</Value>",
        "<Value>a</value>",
        "<Value>a",
        "<Value number=\"2\">a</Value>",
        "<Value number=\"1\">a</Value><Value number=\"1\">b</Value>",
        "<Value number=\"1\" number=\"1\">a</Value>",
        "<Value number=1>a</Value>",
        "<Value><Value/></Value>",
        "<Value/><InlineBinary>AAAA</InlineBinary>",
        "<InlineBinary>AAAA</InlineBinary><Value/>",
        "<InlineBinary>A</InlineBinary>",
        "<BulkData/>",
        "<BulkData uri=\"a\"/><BulkData uri=\"b\"/>",
        "<Item/>",
        "<PersonName/>",
        "text",
        "<Nothing/>",
        "</DicomAttribute>",
    ] {
        assert!(value_of("LO", content).is_err(), "{content}");
    }
    for document in [
        "",
        "text",
        "<NativeDicomModel>",
        "<NativeDicomModel/>more",
        "<NativeDicomModel/><NativeDicomModel/>",
        "<Other/>",
        "<!DOCTYPE NativeDicomModel><NativeDicomModel/>",
        "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><NativeDicomModel/>",
        "<!DOCTYPE x SYSTEM \"file:///etc/passwd\"><NativeDicomModel/>",
        "<?xml version=\"1.0\" encoding=\"UTF-16\"?><NativeDicomModel/>",
        "<?xml version=\"2.0\"?><NativeDicomModel/>",
        "<NativeDicomModel><DicomAttribute/></NativeDicomModel>",
        "<NativeDicomModel><DicomAttribute tag=\"0010001\"/></NativeDicomModel>",
        "<NativeDicomModel><DicomAttribute tag=\"+0100010\"/></NativeDicomModel>",
        "<NativeDicomModel><DicomAttribute tag=\"FFFEE000\"/></NativeDicomModel>",
        "<NativeDicomModel><DicomAttribute tag=\"00100010\" vr=\"XX\"/></NativeDicomModel>",
        "<NativeDicomModel><DicomAttribute tag=\"00100010\"/><DicomAttribute tag=\"00100010\"/>\
         </NativeDicomModel>",
    ] {
        assert!(read_text(document).is_err(), "{document}");
    }
    assert!(
        read(
            b"<NativeDicomModel>\xFF</NativeDicomModel>",
            &ModelLimits::default()
        )
        .is_err()
    );
    assert!(read_text("\u{FEFF}<?xml version='1.0'?>\n<NativeDicomModel/>\n<!-- -->").is_ok());
}

#[test]
fn depth_count_and_length_are_bounded() {
    let sequence = "<DicomAttribute tag=\"00400275\" vr=\"SQ\"><Item>";
    let limits = ModelLimits::default();
    let nested = |depth: usize| {
        let ends = "</Item></DicomAttribute>".repeat(depth);
        read_of(&format!("{}{ends}", sequence.repeat(depth)))
    };
    assert!(nested(limits.depth_max).is_ok());
    assert!(nested(limits.depth_max + 1).is_err());
    assert!(nested(100_000).is_err());
    let few = ModelLimits {
        elements_max: 3,
        bytes_max: 200,
        ..limits
    };
    let values = |count: usize| {
        let values = "<Value/>".repeat(count);
        let attribute = format!("<DicomAttribute tag=\"00080008\">{values}</DicomAttribute>");
        format!("<NativeDicomModel>{attribute}</NativeDicomModel>")
    };
    assert!(read(values(1).as_bytes(), &few).is_ok());
    assert!(read(values(2).as_bytes(), &few).is_err());
    assert!(read(" ".repeat(201).as_bytes(), &few).is_err());
}

#[test]
fn errors_and_debug_show_no_values() {
    let described = read_of(
        "<DicomAttribute tag=\"00100010\"><PersonName><Alphabetic><FamilyName>Secret\
         </FamilyName></Alphabetic></PersonName></DicomAttribute>",
    );
    let described = described.unwrap();
    assert!(!format!("{described:?}").contains("Secret"));
    let attribute = DescribedAttribute {
        tag: tags::PATIENT_NAME,
        vr: Vr::PN,
        value: text("Secret"),
    };
    assert_eq!(described.iter().next(), Some(&attribute));
    let error = value_of("LO", "<Value>Secret\\</Value>").unwrap_err();
    assert!(!format!("{error} {error:?}").contains("Secret"));
}
