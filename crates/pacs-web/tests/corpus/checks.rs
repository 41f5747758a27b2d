//! What must hold of any input: for the fuzz targets `multipart`, `accept`, `json_reader`,
//! `native_model`, `compose` and `qido`, and for their corpora.

use bytes::Bytes;
use pacs_core::limits::ScanLimits;
use pacs_core::matching::Matcher;
use pacs_core::scan::{Encoding, Event, Scanner, file};
use pacs_core::{Attributes, Level, Value};
use pacs_web::accept::{Accept, Offer, describe};
use pacs_web::compose::{file_of_xml, files_of_json};
use pacs_web::described::{Described, DescribedValue};
use pacs_web::json::{JsonError, JsonReader, Token};
use pacs_web::limits::{ModelLimits, MultipartLimits};
use pacs_web::media_type::MediaType;
use pacs_web::model::{Model, ModelOptions};
use pacs_web::multipart::{MultipartError, Next, PartReader};
use pacs_web::qido::search_of_query;
use pacs_web::walk::Walk;
use pacs_web::{WebLimits, xml};

const LIMITS: MultipartLimits = MultipartLimits {
    head_bytes_max: 64,
    head_fields_max: 4,
    parts_max: 16,
    preamble_bytes_max: 64,
};

fn read(body: &[u8], piece_bytes: usize) -> (Vec<Vec<u8>>, Result<(), MultipartError>) {
    let kind = MediaType::parse("multipart/related; boundary=b").unwrap();
    let mut reader = PartReader::new(&kind, LIMITS).unwrap();
    let mut pieces = body.chunks(piece_bytes.max(1));
    let mut whole = Vec::new();
    let mut open = Vec::new();
    loop {
        match reader.advance() {
            Ok(Next::Part(_)) => open.clear(),
            Ok(Next::Data(bytes)) => open.extend_from_slice(&bytes),
            Ok(Next::PartEnd) => whole.push(std::mem::take(&mut open)),
            Ok(Next::End) => return (whole, Ok(())),
            Ok(Next::NeedsChunk) => match pieces.next() {
                Some(piece) => reader.push(Bytes::copy_from_slice(piece)),
                None => return (whole, reader.finish()),
            },
            Err(error) => return (whole, Err(error)),
        }
    }
}

/// A body is read the same however it is cut, within the limits, and never more comes of it than
/// it holds. The first byte says how it is cut.
pub(crate) fn multipart(input: &[u8]) {
    let Some((cut, body)) = input.split_first() else {
        return;
    };
    let at_once = read(body, body.len());
    assert_eq!(read(body, usize::from(*cut)), at_once);
    assert_eq!(read(body, 1), at_once);
    let bytes: usize = at_once.0.iter().map(Vec::len).sum();
    assert!(bytes <= body.len() && at_once.0.len() <= LIMITS.parts_max);
}

/// What is chosen is one of the offers; the order of the server decides among equals alone, never
/// what is possible at all. The query parameter follows the first end of a line.
pub(crate) fn accept(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (header, query) = text.split_once('\n').unwrap_or((&text, ""));
    let offers = [
        Offer::multipart("application/dicom").in_syntax("1.2.840.10008.1.2.1", true),
        Offer::multipart("application/dicom").in_syntax("1.2.840.10008.1.2.4.50", false),
        Offer::single("application/dicom+json"),
        Offer::single("image/jpeg"),
    ];
    let Ok(accept) = Accept::parse([header], [query]) else {
        return;
    };
    let chosen = accept.choose(&offers);
    assert!(chosen.is_none_or(|chosen| offers.contains(chosen)));
    let mut reversed = offers.clone();
    reversed.reverse();
    assert_eq!(accept.choose(&reversed).is_some(), chosen.is_some());
    assert!(!describe(&offers).is_empty());
}

/// What a client describes makes no file, or one that is read to its end without loss, its elements
/// in order, and is described in JSON again. The first byte chooses how it is described.
pub(crate) fn composed(input: &[u8]) {
    let Some((choice, text)) = input.split_first() else {
        return;
    };
    let files = |text: &[u8]| {
        if choice & 1 == 0 {
            let limits = WebLimits {
                metadata_nodes_max: 10_000,
                ..WebLimits::default()
            };
            files_of_json(text, &limits).unwrap_or_default()
        } else {
            vec![file_of_xml(text, &ModelLimits::default())]
        }
    };
    let made = files(text);
    assert_eq!(made, files(text));
    for file in made.into_iter().flatten() {
        let form = file::read(&file).unwrap();
        let data_set = &file[form.data_set];
        let encoding = Encoding::ExplicitLittleEndian;
        let mut scanner = Scanner::new(data_set, encoding, &ScanLimits::default());
        let mut last = None;
        while let Some(event) = scanner.next() {
            let (Event::Element(element)
            | Event::SequenceBegin(element)
            | Event::FragmentsBegin(element)) = event.unwrap()
            else {
                continue;
            };
            if scanner.depth() == 0 {
                assert!(last.replace(element.tag) < Some(element.tag));
            }
        }
        let walk = Walk::new(data_set, encoding, 0, &ScanLimits::default());
        let options = ModelOptions {
            bulk_url: String::new(),
            inline_bytes_max: 1 << 20,
            value_bytes_max: 1 << 20,
            fragments_max: 8,
        };
        let mut json = Vec::new();
        assert!(Model::new(walk, options).write(&mut json, usize::MAX));
        let described: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert!(described.is_object());
    }
}

/// Without what stands elsewhere and what are bytes: attributes have neither.
fn attributes(described: &Described) -> Attributes {
    let mut attributes = Attributes::new();
    for attribute in described {
        let value = match &attribute.value {
            DescribedValue::Bulk(_) | DescribedValue::Inline(_) => continue,
            DescribedValue::Items(items) => {
                Value::Items(items.iter().map(self::attributes).collect())
            }
            DescribedValue::Text(text) => Value::Text(text.into()),
        };
        attributes.insert(attribute.tag, attribute.vr, value);
    }
    attributes
}

fn written(attributes: &Attributes) -> Vec<u8> {
    let mut out = Vec::new();
    xml::write_attributes(&mut out, attributes);
    out
}

/// A document of the Native DICOM Model is read within bounds or refused, and what was read and
/// written again is read as the same.
pub(crate) fn native_model(input: &[u8]) {
    let limits = ModelLimits {
        bytes_max: 1 << 20,
        depth_max: 16,
        elements_max: 10_000,
    };
    let Ok(described) = xml::read(input, &limits) else {
        return;
    };
    let first = attributes(&described);
    let document = written(&first);
    let wide = ModelLimits {
        bytes_max: usize::MAX,
        ..limits
    };
    let again = attributes(&xml::read(&document, &wide).unwrap());
    assert_eq!(again.len(), first.len());
    assert!(written(&again) == document);
}

/// Objects and arrays in one another; `serde_json` follows more.
const JSON_DEPTH_MAX: usize = 16;

/// The value of `text`, written again from its tokens.
fn rewritten(text: &[u8]) -> Result<String, JsonError> {
    let mut reader = JsonReader::new(text, JSON_DEPTH_MAX)?;
    let mut out = String::new();
    while let Some(token) = reader.next()? {
        assert!(reader.offset() <= text.len() && reader.depth() <= JSON_DEPTH_MAX);
        let is_end = matches!(token, Token::ArrayEnd | Token::ObjectEnd);
        if !is_end && !out.is_empty() && !out.ends_with(['[', '{', ':']) {
            out.push(',');
        }
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        match token {
            Token::ArrayBegin => out.push('['),
            Token::ArrayEnd => out.push(']'),
            Token::Bool(value) => out.push_str(&value.to_string()),
            Token::Name(name) => out.push_str(&format!("{}:", quoted(&name))),
            Token::Null => out.push_str("null"),
            Token::Number(number) => out.push_str(number),
            Token::ObjectBegin => out.push('{'),
            Token::ObjectEnd => out.push('}'),
            Token::String(text) => out.push_str(&quoted(&text)),
        }
    }
    Ok(out)
}

/// JSON is read where `serde_json` reads it, says the same there, and is nowhere followed deeper
/// than it may be.
pub(crate) fn json_reader(input: &[u8]) {
    // The reader passes over one byte order mark; `serde_json` over none.
    let unmarked = input.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(input);
    let theirs = serde_json::from_slice::<serde_json::Value>(unmarked);
    match (rewritten(input), theirs) {
        (Ok(ours), Ok(theirs)) => {
            let again: serde_json::Value = serde_json::from_str(&ours).unwrap();
            assert_eq!(again, theirs);
            assert_eq!(rewritten(ours.as_bytes()), Ok(ours));
        }
        // A number beyond a double is one all the same.
        (Ok(_), Err(error)) => assert!(error.to_string().contains("out of range"), "{error}"),
        (Err(error), Ok(_)) => assert!(matches!(error, JsonError::Depth { .. }), "{error}"),
        (Err(_), Err(_)) => {}
    }
}

const LEVELS: [Level; 3] = [Level::Study, Level::Series, Level::Instance];

/// The query of a search over the web, whatever it says, is refused or becomes one that can be held
/// against entities. The first byte chooses the level.
pub(crate) fn qido(input: &[u8]) {
    let Some((level, query)) = input.split_first() else {
        return;
    };
    let Ok(query) = std::str::from_utf8(query) else {
        return;
    };
    let level = LEVELS[usize::from(*level) % LEVELS.len()];
    let limits = WebLimits::default();
    let Ok(request) = search_of_query(level, Some(query), &limits) else {
        return;
    };
    assert!(request.limit <= limits.results_max);
    assert_eq!(request.query.level, level);
    assert!(request.query.keys.is_sorted_by_key(|key| key.tag));
    let matcher = Matcher::new(&request.query);
    assert!(matcher.keys().is_empty() || !matcher.matches(&Attributes::new()));
}
