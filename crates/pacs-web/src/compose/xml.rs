//! Descriptions in the Native DICOM Model (PS3.19 A.1): one document, one data set.

use super::{Attribute, Content, Described, DescribedError, Place, value};
use crate::described::{Described as Document, DescribedAttribute, DescribedValue};
use crate::limits::ModelLimits;
use crate::xml;
use pacs_core::scan::values::is_text;
use pacs_core::{Tag, Vr};
use std::borrow::Cow;

/// Bytes in memory for an attribute, an item or whatever else is read; the first one of an item
/// comes with a node of a tree.
const NODE_BYTES: u64 = 384;

/// Bytes in memory for a value beside those of its text.
const VALUE_BYTES: u64 = 96;

/// Where the data set of the document `text` stands: everywhere. The text is not read, only what
/// reading it takes is estimated, from above.
pub(crate) fn place(text: &[u8]) -> Place {
    let mut memory_bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
    memory_bytes = memory_bytes.saturating_mul(2);
    for (at, byte) in text.iter().enumerate() {
        if *byte != b'<' {
            continue;
        }
        let markup = text.get(at.saturating_add(1)..).unwrap_or_default();
        let bytes = match markup {
            [b'/', ..] => 0,
            [b'V', b'a', b'l', b'u', b'e', ..] => VALUE_BYTES,
            _ => NODE_BYTES,
        };
        memory_bytes = memory_bytes.saturating_add(bytes);
    }
    Place {
        text: 0..text.len(),
        memory_bytes,
    }
}

/// Whether `text` is XML to its end and within `limits`. What is no data set in it is found when it
/// is read, and is of its instance alone.
///
/// # Errors
/// [`DescribedError::Xml`], [`DescribedError::TooLarge`].
pub(crate) fn check(text: &[u8], limits: &ModelLimits) -> Result<(), DescribedError> {
    match xml::read(text, limits) {
        Err(error) if error.is_too_much() => Err(DescribedError::TooLarge),
        Err(error) if error.is_no_xml() => Err(error.into()),
        Err(_) | Ok(_) => Ok(()),
    }
}

/// Reads one data set.
///
/// # Errors
/// [`DescribedError`].
pub(crate) fn read(text: &[u8], limits: &ModelLimits) -> Result<Described, DescribedError> {
    Described::new(attributes(xml::read(text, limits)?)?)
}

/// Those of a data set or item; these stand in one another as deep as the reader lets them.
fn attributes(document: Document) -> Result<Vec<Attribute>, DescribedError> {
    document.into_iter().map(attribute).collect()
}

fn attribute(attribute: DescribedAttribute) -> Result<Attribute, DescribedError> {
    let DescribedAttribute { tag, mut vr, value } = attribute;
    let content = match value {
        DescribedValue::Bulk(uri) => Content::Bulk(uri.into()),
        DescribedValue::Inline(bytes) => Content::Bytes(bytes.into()),
        DescribedValue::Items(items) => {
            let items: Result<Vec<_>, _> = items.into_iter().map(attributes).collect();
            Content::Items(items?)
        }
        DescribedValue::Text(text) => {
            if vr == Vr::UN && is_private_creator(tag) {
                vr = Vr::LO;
            }
            let bytes = bytes(vr, text).ok_or(DescribedError::Value { tag })?;
            Content::Bytes(bytes.into())
        }
    };
    Ok(Attribute { tag, vr, content })
}

fn is_private_creator(tag: Tag) -> bool {
    tag.group() % 2 == 1 && (0x0010..=0x00FF).contains(&tag.element())
}

/// What `text` is in a data set, its values between backslashes.
fn bytes(vr: Vr, text: String) -> Option<Vec<u8>> {
    if text.is_empty() || is_text(vr) {
        return Some(text.into_bytes());
    }
    let values: Vec<Cow<'_, str>> = text.split('\\').map(Cow::Borrowed).collect();
    value::encode(vr, &values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::{items_of, json, text_of};
    use pacs_core::limits::ITEM_DEPTH_MAX;
    use pacs_core::tag::tags;
    use proptest::prelude::*;

    fn document(attributes: &str) -> String {
        format!("<NativeDicomModel>{attributes}</NativeDicomModel>")
    }

    fn of(tag: &str, vr: &str, content: &str) -> String {
        format!("<DicomAttribute tag=\"{tag}\" vr=\"{vr}\">{content}</DicomAttribute>")
    }

    fn read_of(attributes: &str) -> Result<Described, DescribedError> {
        read(document(attributes).as_bytes(), &ModelLimits::default())
    }

    #[test]
    fn a_document_becomes_the_same_as_json_of_the_same_data_set() {
        let name = "<PersonName number=\"1\"><Alphabetic><FamilyName>Yamada</FamilyName>\
                    <GivenName>Tarou</GivenName></Alphabetic><Ideographic><FamilyName>山田\
                    </FamilyName></Ideographic></PersonName>";
        let item = of(
            "00400007",
            "LO",
            "<Value number=\"1\">b</Value><Value>a</Value>",
        );
        let attributes = [
            of(
                "00020010",
                "UI",
                "<Value number=\"1\">1.2.840.10008.1.2.4.50</Value>",
            ),
            of("00080000", "UL", "<Value number=\"1\">12</Value>"),
            of("00080005", "CS", "<Value number=\"1\">ISO_IR 100</Value>"),
            of("00100010", "PN", name),
            of("00102160", "SH", ""),
            of(
                "00181310",
                "US",
                "<Value number=\"1\">1</Value><Value>65535</Value>",
            ),
            of("00281201", "OW", "<InlineBinary>AAEC</InlineBinary>"),
            of("00281101", "AT", "<Value number=\"1\">00181063</Value>"),
            of(
                "00400275",
                "SQ",
                &format!("<Item number=\"1\">{item}</Item><Item number=\"2\"/>"),
            ),
            of("7FE00010", "OW", "<BulkData uri=\"pixels\"/>"),
        ];
        let json = json::read(
            r#"{
            "00020010": {"vr": "UI", "Value": ["1.2.840.10008.1.2.4.50"]},
            "00080005": {"vr": "CS", "Value": ["ISO_IR 100"]},
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Yamada^Tarou",
                         "Ideographic": "山田"}]},
            "00102160": {"vr": "SH"},
            "00181310": {"vr": "US", "Value": [1, 65535]},
            "00281201": {"vr": "OW", "InlineBinary": "AAEC"},
            "00281101": {"vr": "AT", "Value": ["00181063"]},
            "00400275": {"vr": "SQ", "Value": [{"00400007": {"vr": "LO", "Value": ["b", "a"]}},
                         {}]},
            "7FE00010": {"vr": "OW", "BulkDataURI": "pixels"}
        }"#
            .as_bytes(),
        );

        let described = read_of(&attributes.concat()).unwrap();

        assert_eq!(described, json.unwrap());
        let syntax = described.transfer_syntax.as_deref();
        assert_eq!(syntax, Some("1.2.840.10008.1.2.4.50"));
        let items = items_of(&described.attributes, Tag(0x0040, 0x0275));
        assert_eq!(text_of(&items[0], Tag(0x0040, 0x0007)), Some("b\\a"));
    }

    #[test]
    fn what_is_no_value_of_the_vr_fails_its_instance_alone() {
        let tag = Tag(0x0028, 0x0010);
        for (vr, content) in [("US", "<Value>70000</Value>"), ("OW", "<Value>1</Value>")] {
            let attributes = of("00280010", vr, content);
            let wrong = read_of(&attributes).unwrap_err();
            assert_eq!(wrong, DescribedError::Value { tag }, "{vr}");
            let text = document(&attributes);
            assert_eq!(check(text.as_bytes(), &ModelLimits::default()), Ok(()));
        }
        let twice = of("00100020", "LO", "").repeat(2);
        assert!(matches!(read_of(&twice), Err(DescribedError::Xml(_))));
        let text = document(&twice);
        assert_eq!(check(text.as_bytes(), &ModelLimits::default()), Ok(()));
    }

    #[test]
    fn a_private_creator_without_vr_is_text() {
        let creator = "<DicomAttribute tag=\"00090010\"><Value>ACME</Value></DicomAttribute>";
        let described = read_of(creator).unwrap();
        assert_eq!(described.get(Tag(0x0009, 0x0010)).unwrap().vr, Vr::LO);
        let unknown = "<DicomAttribute tag=\"00091001\"><Value>1</Value></DicomAttribute>";
        assert!(read_of(unknown).is_err());
    }

    #[test]
    fn what_is_no_xml_or_too_much_is_refused_before_it_is_composed() {
        let limits = ModelLimits::default();
        for text in [
            "",
            "<",
            "<NativeDicomModel>",
            "<!DOCTYPE a><NativeDicomModel/>",
            "\u{1}",
        ] {
            let wrong = check(text.as_bytes(), &limits).unwrap_err();
            assert!(matches!(wrong, DescribedError::Xml(_)), "{text}");
        }
        let entity = document(&of("00100020", "LO", "<Value>&a;</Value>"));
        assert!(check(entity.as_bytes(), &limits).is_err());
        let nested = |depth: usize| {
            let open = "<DicomAttribute tag=\"00081140\" vr=\"SQ\"><Item>".repeat(depth);
            document(&format!(
                "{open}{}",
                "</Item></DicomAttribute>".repeat(depth)
            ))
        };
        let deepest = nested(ITEM_DEPTH_MAX);
        assert!(read(deepest.as_bytes(), &limits).is_ok());
        for depth in [ITEM_DEPTH_MAX + 1, 50_000] {
            let refused = check(nested(depth).as_bytes(), &limits);
            assert_eq!(refused, Err(DescribedError::TooLarge));
        }
    }

    #[test]
    fn memory_is_estimated_from_above() {
        let values = document(&of("00281201", "US", &"<Value>1</Value>".repeat(1_000)));
        let items = "<Item><DicomAttribute tag=\"00080005\" vr=\"CS\"/></Item>".repeat(1_000);
        let items = document(&of("00081140", "SQ", &items));
        assert!(place(values.as_bytes()).memory_bytes > 1_000 * 96);
        assert!(place(items.as_bytes()).memory_bytes > 1_000 * 2 * 384);
        assert_eq!(place(items.as_bytes()).text, 0..items.len());
        assert_eq!(read_of("").unwrap().get(tags::PIXEL_DATA), None);
    }

    proptest! {
        #[test]
        fn any_document_is_read_or_refused(text in "[<>/=\"&;# 0-9a-eIVl]{0,200}") {
            read_of(&text).ok();
        }
    }
}
