//! Reads a sequence that is all in memory, as far as it is compared: its texts and numbers.

use crate::attributes::{Attributes, Value};
use crate::charset::{CharacterSets, Undeclared};
use crate::limits::ScanLimits;
use crate::scan::values::{is_text, numbers, unpadded};
use crate::scan::{Element, Encoding, Event, ScanError, Scanner};
use crate::tag::{Tag, tags};

/// A sequence as it stands in a data set.
pub(super) struct Sequence {
    pub(super) items: Vec<Attributes>,
    /// Whether a text in it does not follow its character set.
    pub(super) is_suspect: bool,
}

struct Reader {
    charset: CharacterSets,
    undeclared: Option<Undeclared>,
    /// Items that are open, with their character sets.
    items: Vec<(Attributes, CharacterSets)>,
    /// Sequences that are open.
    sequences: Vec<(Tag, Vec<Attributes>)>,
    read: Sequence,
}

/// Reads `element`, the bytes of one element that is a sequence.
pub(super) fn read(
    element: &[u8],
    encoding: Encoding,
    charset: CharacterSets,
    undeclared: Option<Undeclared>,
    limits: &ScanLimits,
) -> Result<Sequence, ScanError> {
    let mut scanner = Scanner::new(element, encoding, limits);
    let mut reader = Reader {
        charset,
        undeclared,
        items: Vec::new(),
        sequences: Vec::new(),
        read: Sequence {
            items: Vec::new(),
            is_suspect: false,
        },
    };
    while let Some(event) = scanner.next() {
        match event? {
            Event::Element(element) => {
                let value = scanner.bytes(&element.value);
                reader.element(&element, value);
            }
            Event::SequenceBegin(element) => reader.sequences.push((element.tag, Vec::new())),
            Event::SequenceEnd { .. } => reader.sequence_ends(),
            Event::ItemBegin { .. } => {
                let charset = reader.charset();
                reader.items.push((Attributes::new(), charset));
            }
            Event::ItemEnd { .. } => {
                let item = reader.items.pop();
                if let (Some((item, _)), Some((_, items))) = (item, reader.sequences.last_mut()) {
                    items.push(item);
                }
            }
            Event::Fragment { .. }
            | Event::FragmentsBegin(_)
            | Event::FragmentsEnd { .. }
            | Event::Trailing { .. } => {}
        }
    }
    Ok(reader.read)
}

impl Reader {
    fn charset(&self) -> CharacterSets {
        self.items.last().map_or(self.charset, |(_, set)| *set)
    }

    fn element(&mut self, element: &Element, value: &[u8]) {
        let (tag, vr, undeclared) = (element.tag, element.vr, self.undeclared);
        let Some((item, charset)) = self.items.last_mut() else {
            return;
        };
        if tag == tags::SPECIFIC_CHARACTER_SET {
            *charset = CharacterSets::decode_term_list(value);
            return;
        }
        if is_text(vr) {
            let decoded = charset.decode_as(vr, value, undeclared);
            let text = unpadded(vr, &decoded.text).into_owned();
            self.read.is_suspect |= decoded.is_suspect;
            item.insert_text(tag, vr, text);
        } else if let Some(text) = numbers(vr, value, element.big_endian) {
            item.insert_text(tag, vr, text);
        }
    }

    fn sequence_ends(&mut self) {
        let Some((tag, items)) = self.sequences.pop() else {
            return;
        };
        match self.items.last_mut() {
            Some((item, _)) => item.insert(tag, crate::Vr::SQ, Value::Items(items)),
            None => self.read.items = items,
        }
    }
}
