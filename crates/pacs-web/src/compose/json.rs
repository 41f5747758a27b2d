//! Descriptions in the DICOM JSON model (PS3.18 F.2).

use super::{Attribute, Content, Described, DescribedError, Place, value, vr};
use crate::json::{JsonError, JsonReader, Token, base64};
use pacs_core::limits::ITEM_DEPTH_MAX;
use pacs_core::{Tag, Vr};
use std::borrow::Cow;
use std::ops::Range;

/// Objects and arrays that stand in one another where sequences do, [`ITEM_DEPTH_MAX`] deep: an
/// item, an attribute and its values each; and a name at the end.
const DEPTH_MAX: usize = ITEM_DEPTH_MAX * 3 + 5;

/// Bytes in memory for each attribute or item that is read.
const NODE_BYTES: u64 = 128;

/// A data set that is found.
struct Begun {
    text: Range<usize>,
    /// Attributes, items and values, about.
    nodes: usize,
}

impl From<Begun> for Place {
    fn from(Begun { text, nodes }: Begun) -> Self {
        let number = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let nodes = number(nodes).saturating_mul(NODE_BYTES);
        Self {
            memory_bytes: nodes.saturating_add(number(text.len()).saturating_mul(2)),
            text,
        }
    }
}

/// The data sets of `text`: an array of them, or one alone. The text is JSON to its end then.
///
/// # Errors
/// [`DescribedError::Json`]; [`DescribedError::Model`] where something else than objects stands
/// there; [`DescribedError::TooLarge`] where one has more than `nodes_max` attributes and values,
/// or where there are more than `count_max`.
pub(crate) fn find(
    text: &[u8],
    nodes_max: usize,
    count_max: usize,
) -> Result<Vec<Place>, DescribedError> {
    let skipped_bytes = if text.starts_with(b"\xEF\xBB\xBF") {
        3
    } else {
        0
    };
    let mut reader = JsonReader::new(text, DEPTH_MAX)?;
    let mut places = Vec::new();
    let mut base = 0;
    let mut begun: Option<Begun> = None;
    while let Some(token) = reader.next()? {
        let offset = reader.offset().saturating_add(skipped_bytes);
        if begun.is_none() {
            if token == Token::ObjectBegin {
                // Its brace is one byte.
                let start = offset.saturating_sub(1);
                let text = start..start;
                begun = Some(Begun { text, nodes: 0 });
            } else if token == Token::ArrayBegin && base == 0 {
                base = 1;
            } else if token == Token::ArrayEnd {
                base = 0;
            } else {
                return Err(DescribedError::Model { offset });
            }
            continue;
        }
        let Some(place) = &mut begun else {
            continue;
        };
        place.nodes = place.nodes.saturating_add(1);
        if place.nodes > nodes_max {
            return Err(DescribedError::TooLarge);
        }
        if reader.depth() == base {
            place.text.end = offset;
            if places.len() >= count_max {
                return Err(DescribedError::TooLarge);
            }
            places.extend(begun.take().map(Place::from));
        }
    }
    Ok(places)
}

/// Reads one data set: the text of a [`Place`].
///
/// # Errors
/// [`DescribedError`].
pub(crate) fn read(text: &[u8]) -> Result<Described, DescribedError> {
    let mut reader = JsonReader::new(text, DEPTH_MAX)?;
    match reader.next()? {
        Some(Token::ObjectBegin) => Described::new(data_set(&mut reader, 0)?),
        _ => Err(model(&reader)),
    }
}

const fn model(reader: &JsonReader<'_>) -> DescribedError {
    DescribedError::Model {
        offset: reader.offset(),
    }
}

/// Behind the brace of a data set or item, to its end.
fn data_set(reader: &mut JsonReader<'_>, depth: usize) -> Result<Vec<Attribute>, DescribedError> {
    if depth > ITEM_DEPTH_MAX {
        return Err(DescribedError::Depth);
    }
    let mut attributes = Vec::new();
    loop {
        match reader.next()? {
            Some(Token::ObjectEnd) => return Ok(attributes),
            Some(Token::Name(name)) => {
                let tag = tag_of(&name)?;
                attributes.push(attribute(reader, tag, depth)?);
            }
            _ => return Err(model(reader)),
        }
    }
}

fn tag_of(name: &str) -> Result<Tag, DescribedError> {
    let is_hex = name.len() == 8 && name.bytes().all(|b| b.is_ascii_hexdigit());
    let number = u32::from_str_radix(name, 16).ok().filter(|_| is_hex);
    let [g0, g1, e0, e1] = number.ok_or(DescribedError::Tag)?.to_be_bytes();
    Ok(Tag(
        u16::from_be_bytes([g0, g1]),
        u16::from_be_bytes([e0, e1]),
    ))
}

/// What stands in `Value`, whose VR may come behind it.
enum Value<'t> {
    Item(Vec<Attribute>),
    Text(Cow<'t, str>),
}

#[derive(Default)]
struct Members<'t> {
    vr: Option<Cow<'t, str>>,
    values: Option<Vec<Value<'t>>>,
    bulk: Option<Cow<'t, str>>,
    inline: Option<Cow<'t, str>>,
}

fn attribute(
    reader: &mut JsonReader<'_>,
    tag: Tag,
    depth: usize,
) -> Result<Attribute, DescribedError> {
    if reader.next()? != Some(Token::ObjectBegin) {
        return Err(model(reader));
    }
    let mut members = Members::default();
    loop {
        let name = match reader.next()? {
            Some(Token::ObjectEnd) => break,
            Some(Token::Name(name)) => name,
            _ => return Err(model(reader)),
        };
        let is_double = match &*name {
            "vr" => members.vr.replace(string(reader)?).is_some(),
            "Value" => members.values.replace(values(reader, depth)?).is_some(),
            "BulkDataURI" => members.bulk.replace(string(reader)?).is_some(),
            "InlineBinary" => members.inline.replace(inline(reader)?).is_some(),
            // What others add.
            _ => {
                reader.skip()?;
                false
            }
        };
        if is_double {
            return Err(model(reader));
        }
    }
    made(tag, members)
}

fn made(tag: Tag, members: Members<'_>) -> Result<Attribute, DescribedError> {
    let vr = vr(tag, members.vr.as_deref())?;
    let wrong = DescribedError::Value { tag };
    let content = match (members.values, members.bulk, members.inline) {
        (None, None, None) if vr == Vr::SQ => Content::Items(Vec::new()),
        (None, None, None) => Content::Bytes(Box::default()),
        (Some(values), None, None) if vr == Vr::SQ => {
            let item = |value| match value {
                Value::Item(item) => Ok(item),
                // An item without attributes, as some programs write it.
                Value::Text(text) if text.is_empty() => Ok(Vec::new()),
                Value::Text(_) => Err(DescribedError::Value { tag }),
            };
            let items: Result<Vec<_>, _> = values.into_iter().map(item).collect();
            Content::Items(items?)
        }
        (Some(values), None, None) => {
            let text = |value| match value {
                Value::Text(text) => Ok(text),
                // A name without components.
                Value::Item(item) if item.is_empty() && vr == Vr::PN => Ok(Cow::Borrowed("")),
                Value::Item(_) => Err(DescribedError::Value { tag }),
            };
            let values: Result<Vec<_>, _> = values.into_iter().map(text).collect();
            let bytes = value::encode(vr, &values?).ok_or(wrong)?;
            Content::Bytes(bytes.into())
        }
        (None, Some(uri), None) if vr != Vr::SQ => Content::Bulk(uri.into()),
        (None, None, Some(text)) if vr != Vr::SQ => {
            Content::Bytes(base64::read(&text).ok_or(wrong)?.into())
        }
        _ => return Err(wrong),
    };
    Ok(Attribute { tag, vr, content })
}

fn string<'t>(reader: &mut JsonReader<'t>) -> Result<Cow<'t, str>, DescribedError> {
    match reader.next()? {
        Some(Token::String(text)) => Ok(text),
        _ => Err(model(reader)),
    }
}

/// Base64; some programs put it into an array.
fn inline<'t>(reader: &mut JsonReader<'t>) -> Result<Cow<'t, str>, DescribedError> {
    match reader.next()? {
        Some(Token::String(text)) => Ok(text),
        Some(Token::ArrayBegin) => {
            let text = string(reader)?;
            match reader.next()? {
                Some(Token::ArrayEnd) => Ok(text),
                _ => Err(model(reader)),
            }
        }
        _ => Err(model(reader)),
    }
}

fn values<'t>(reader: &mut JsonReader<'t>, depth: usize) -> Result<Vec<Value<'t>>, DescribedError> {
    if reader.next()? != Some(Token::ArrayBegin) {
        return Err(model(reader));
    }
    let mut values = Vec::new();
    loop {
        values.push(match reader.next()? {
            Some(Token::ArrayEnd) => return Ok(values),
            Some(Token::Null) => Value::Text(Cow::Borrowed("")),
            Some(Token::Number(text)) => Value::Text(Cow::Borrowed(text)),
            Some(Token::String(text)) => Value::Text(text),
            Some(Token::ObjectBegin) => object(reader, depth)?,
            _ => return Err(model(reader)),
        });
    }
}

/// An item, or a name by its component groups (F.2.2).
fn object<'t>(reader: &mut JsonReader<'t>, depth: usize) -> Result<Value<'t>, DescribedError> {
    let mut groups: [Cow<'t, str>; 3] = Default::default();
    let mut ahead = reader.clone();
    let is_name = matches!(
        ahead.next()?,
        Some(Token::Name(name)) if group_of(&name).is_some()
    );
    if !is_name {
        return data_set(reader, depth.saturating_add(1)).map(Value::Item);
    }
    loop {
        match reader.next()? {
            Some(Token::ObjectEnd) => break,
            Some(Token::Name(name)) => {
                let at = group_of(&name).ok_or_else(|| model(reader))?;
                let text = match reader.next()? {
                    Some(Token::String(text)) => text,
                    Some(Token::Null) => Cow::Borrowed(""),
                    _ => return Err(model(reader)),
                };
                if let Some(group) = groups.get_mut(at) {
                    *group = text;
                }
            }
            _ => return Err(model(reader)),
        }
    }
    let text = groups.join("=");
    Ok(Value::Text(text.trim_end_matches('=').to_owned().into()))
}

fn group_of(name: &str) -> Option<usize> {
    ["Alphabetic", "Ideographic", "Phonetic"]
        .iter()
        .position(|known| *known == name)
}

impl From<JsonError> for crate::error::Failure {
    fn from(error: JsonError) -> Self {
        Self::bad_request(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{items_of, text_of};
    use super::*;
    use pacs_core::tag::tags;
    use proptest::prelude::*;

    fn bytes(described: &Described, tag: Tag) -> &[u8] {
        match &described.get(tag).unwrap().content {
            Content::Bytes(bytes) => bytes,
            Content::Bulk(_) | Content::Items(_) => panic!("{tag}"),
        }
    }

    #[test]
    fn a_description_becomes_attributes_in_their_order() {
        let text = r#"{
            "00100010": {"Value": [{"Ideographic": "山田^太郎", "Alphabetic": "Yamada^Tarou"}, {}],
                         "vr": "PN", "keyword": "x", "more": [{"a": [1]}]},
            "00080060": {"vr": "CS", "Value": ["CT"]},
            "00080005": {"vr": "CS", "Value": ["ISO_IR 100"]},
            "00020010": {"vr": "UI", "Value": ["1.2.840.10008.1.2.4.50"]},
            "00080000": {"vr": "UL", "Value": [12]},
            "00280010": {"vr": "US", "Value": [512]},
            "00181310": {"vr": "US", "Value": [1, null, 2]},
            "7FE00010": {"vr": "OW", "BulkDataURI": "pixels"},
            "00281201": {"vr": "OW", "InlineBinary": "AAEC"},
            "00400275": {"vr": "SQ", "Value": [{"00080005": {"vr": "CS", "Value": ["ISO_IR 6"]},
                         "00400007": {"vr": "LO", "Value": ["b", "a"]}}, {}]},
            "00102160": {"vr": "SH"}
        }"#;
        let wrong = read(text.as_bytes()).unwrap_err();
        let tag = Tag(0x0018, 0x1310);
        assert_eq!(
            wrong,
            DescribedError::Value { tag },
            "no number among numbers"
        );
        let text = text.replace("1, null, 2", "1, 2");

        let described = read(text.as_bytes()).unwrap();

        let tags: Vec<Tag> = described.attributes.iter().map(|a| a.tag).collect();
        assert!(tags.is_sorted() && tags.first() == Some(&tags::SPECIFIC_CHARACTER_SET));
        assert_eq!(tags.len(), 9);
        assert_eq!(
            bytes(&described, tags::SPECIFIC_CHARACTER_SET),
            b"ISO_IR 192"
        );
        let name = bytes(&described, tags::PATIENT_NAME);
        assert_eq!(name, "Yamada^Tarou=山田^太郎\\".as_bytes());
        let syntax = described.transfer_syntax.as_deref();
        assert_eq!(syntax, Some("1.2.840.10008.1.2.4.50"));
        assert_eq!(bytes(&described, Tag(0x0028, 0x1201)), [0, 1, 2]);
        let items = items_of(&described.attributes, Tag(0x0040, 0x0275));
        let [one, other] = items else {
            panic!("{items:?}");
        };
        assert_eq!(text_of(one, Tag(0x0040, 0x0007)), Some("b\\a"));
        assert_eq!((one.len(), other.len()), (1, 0));
    }

    #[test]
    fn what_is_not_of_the_model_is_refused() {
        for text in [
            "[]",
            "1",
            "{\"x\":{}}",
            "{\"00100010\":1}",
            "{\"00100010\":{\"vr\":1}}",
            "{\"00100010\":{\"vr\":\"XX\"}}",
            "{\"00100010\":{\"vr\":\"PN\",\"Value\":1}}",
            "{\"00100010\":{\"vr\":\"PN\",\"Value\":[[]]}}",
            "{\"00100010\":{\"vr\":\"PN\",\"Value\":[true]}}",
            "{\"00100010\":{\"vr\":\"PN\",\"Value\":[{\"Alphabetic\":[]}]}}",
            "{\"00100010\":{\"vr\":\"LO\",\"Value\":[{\"00100010\":{\"vr\":\"LO\"}}]}}",
            "{\"00100010\":{\"vr\":\"LO\",\"vr\":\"PN\"}}",
            "{\"00100010\":{\"vr\":\"LO\"},\"00100010\":{\"vr\":\"LO\"}}",
            "{\"00081140\":{\"vr\":\"SQ\",\"Value\":[\"a\"]}}",
            "{\"00081140\":{\"vr\":\"SQ\",\"BulkDataURI\":\"a\"}}",
            "{\"7FE00010\":{\"vr\":\"OW\",\"InlineBinary\":\"*\"}}",
            "{\"7FE00010\":{\"vr\":\"OW\",\"InlineBinary\":\"\",\"BulkDataURI\":\"a\"}}",
            "{\"7FE00010\":{\"vr\":\"OW\",\"Value\":[1]}}",
            "{\"FFFEE000\":{\"vr\":\"UN\"}}",
            "{\"00091001\":{\"Value\":[\"a\"]}}",
        ] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
        // Without a VR the dictionary says it.
        assert!(read(br#"{"00100010":{"Value":["A"]},"00090010":{}}"#).is_ok());
    }

    #[test]
    fn sequences_are_followed_as_deep_as_a_data_set_may_have_them() {
        let nested = |depth: usize| {
            let open = "{\"00081140\":{\"vr\":\"SQ\",\"Value\":[".repeat(depth);
            format!("{open}{{}}{}", "]}}".repeat(depth))
        };
        assert!(read(nested(ITEM_DEPTH_MAX).as_bytes()).is_ok());
        let deeper = nested(ITEM_DEPTH_MAX + 1);
        assert!(read(deeper.as_bytes()).is_err());
        assert!(find(nested(100_000).as_bytes(), 1 << 20, 1).is_err());
    }

    #[test]
    fn data_sets_are_found_in_an_array_or_alone() {
        for (text, found) in [
            ("[]", vec![]),
            ("{}", vec!["{}"]),
            (" [ {\"a\":[{}]} ,{} ] ", vec!["{\"a\":[{}]}", "{}"]),
            ("\u{FEFF}[{}]", vec!["{}"]),
        ] {
            let places = find(text.as_bytes(), 100, 2).unwrap();
            let texts: Vec<&str> = places.iter().map(|p| &text[p.text.clone()]).collect();
            assert_eq!(texts, found, "{text}");
        }
        for text in ["1", "[1]", "[[{}]]", "[{}", "[{}] 1", "[{},{},{}]", ""] {
            assert!(find(text.as_bytes(), 100, 2).is_err(), "{text}");
        }
        let many = format!("{{\"a\":[{}1]}}", "1,".repeat(100));
        assert_eq!(find(many.as_bytes(), 100, 2), Err(DescribedError::TooLarge));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[\\[\\]{}\",:0-9a-eVvrlu ]{0,200}") {
            if let Ok(places) = find(text.as_bytes(), 1_000, 100) {
                for place in places {
                    read(&text.as_bytes()[place.text]).ok();
                }
            }
        }
    }
}
