//! All that a data set says, element by element, whatever its encoding: texts decoded, numbers in
//! decimal, everything else as bytes.

use pacs_core::charset::CharacterSets;
use pacs_core::limits::ScanLimits;
use pacs_core::scan::inflate::inflate;
use pacs_core::scan::values::{is_text, numbers, unpadded};
use pacs_core::scan::{
    Element, Encoding, Event, ScanError, Scanner, is_charset_text, is_pixel_data,
};
use pacs_core::tag::{Tag, Vr, tags};

/// Where something stands: tags, and the numbers of items in between.
pub(crate) type Path = Vec<(Tag, usize)>;

/// What stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    Bytes(Vec<u8>),
    Items(usize),
    /// And whether it follows its character set.
    Text(String, bool),
}

/// An item that is open: its sequence, its number, its character set.
struct Open {
    tag: Tag,
    items: usize,
    outer: CharacterSets,
}

/// In the order of the data set. Group lengths, item delimiters and character sets are left out:
/// they are how things are said, not what.
pub(crate) fn contents(
    data_set: &[u8],
    encoding: Encoding,
) -> Result<Vec<(Path, Content)>, ScanError> {
    let limits = ScanLimits::default();
    let inflated;
    let bytes = if encoding == Encoding::Deflated {
        inflated = inflate(data_set, &limits)?;
        &inflated
    } else {
        data_set
    };
    let mut scanner = Scanner::new(bytes, encoding, &limits);
    let mut all: Vec<(Path, Content)> = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let mut charset = CharacterSets::DEFAULT;
    while let Some(event) = scanner.next() {
        let path = |open: &[Open], tag: Tag| -> Path {
            let around = open.iter().map(|open| (open.tag, open.items));
            around.chain([(tag, 0)]).collect()
        };
        match event? {
            Event::Element(element) => {
                let value = scanner.bytes(&element.value);
                if element.tag == tags::SPECIFIC_CHARACTER_SET {
                    charset = CharacterSets::decode_term_list(value);
                } else if element.tag.element() != 0 && element.tag != Tag(8, 1) {
                    let path = path(&open, element.tag);
                    all.push((path, content(&element, value, charset)));
                }
            }
            Event::SequenceBegin(element) | Event::FragmentsBegin(element) => {
                all.push((path(&open, element.tag), Content::Items(0)));
                open.push(Open {
                    tag: element.tag,
                    items: 0,
                    outer: charset,
                });
            }
            Event::Fragment { value, .. } => {
                let bytes = scanner.bytes(&value).to_vec();
                all.push((path(&open, Tag(0xFFFE, 0xE000)), Content::Bytes(bytes)));
            }
            Event::ItemBegin { .. } => {
                let open = open.last_mut().unwrap();
                open.items += 1;
                open.outer = charset;
            }
            Event::ItemEnd { .. } => charset = open.last().unwrap().outer,
            Event::SequenceEnd { .. } | Event::FragmentsEnd { .. } => {
                let ended = open.pop().unwrap();
                all.push((path(&open, ended.tag), Content::Items(ended.items)));
            }
            Event::Trailing { .. } => {}
        }
    }
    Ok(all)
}

fn content(element: &Element, value: &[u8], charset: CharacterSets) -> Content {
    if is_text(element.vr) {
        let decoded = charset.decode(element.vr, value);
        // No character set holds for other VRs; and nobody guesses what private elements mean.
        let is_raw = if is_charset_text(element.vr) {
            let is_private = element.tag.group() % 2 == 1;
            decoded.is_suspect && is_private && decoded.text.as_bytes() != value
        } else {
            !value.is_ascii()
        };
        if is_raw {
            return Content::Bytes(value.to_vec());
        }
        let text = unpadded(element.vr, &decoded.text).into_owned();
        return Content::Text(text, decoded.is_suspect);
    }
    match numbers(element.vr, value, element.big_endian) {
        Some(text) if !is_pixel_data(element.tag) => Content::Text(text, false),
        _ => Content::Bytes(padded(element.vr, value)),
    }
}

fn padded(vr: Vr, value: &[u8]) -> Vec<u8> {
    let mut value = value.to_vec();
    if value.len() % 2 == 1 && !is_text(vr) {
        value.push(0);
    }
    value
}
