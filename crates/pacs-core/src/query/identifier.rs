//! Identifiers as they come: bytes become keys, through the scanner alone.

use super::{Key, Matching, QueryError, value};
use crate::charset::CharacterSets;
use crate::limits::{QueryLimits, ScanLimits};
use crate::scan::values::numbers;
use crate::scan::{Element, Encoding, Event, Scanner, inflate, is_charset_text};
use crate::tag::{Tag, Vr, tags, vr_of};
use crate::uid::TransferSyntaxUid;
use std::borrow::Cow;

/// What an identifier holds: every key as it stands, and the level it names.
pub(crate) struct Identifier {
    /// In tag order, each tag once; without group lengths, character set and level.
    pub(crate) keys: Vec<Key>,
    /// The text of (0008,0052), if it is there.
    pub(super) level: Option<String>,
}

impl Identifier {
    /// Reads an identifier within `limits`.
    pub(crate) fn read(
        bytes: &[u8],
        transfer_syntax: &TransferSyntaxUid,
        limits: &QueryLimits,
    ) -> Result<Self, QueryError> {
        let too_long = QueryError::Limit { what: "length" };
        if bytes.len() > limits.identifier_bytes_max {
            return Err(too_long);
        }
        let scan_limits = ScanLimits {
            depth_max: limits.depth_max,
            elements_max: limits.keys_max,
            head_bytes_max: limits.identifier_bytes_max,
            inflated_bytes_max: u64::try_from(limits.identifier_bytes_max).unwrap_or(u64::MAX),
            ..ScanLimits::default()
        };
        let encoding = Encoding::of(transfer_syntax);
        let data_set = if encoding == Encoding::Deflated {
            Cow::Owned(inflate::inflate(bytes, &scan_limits)?)
        } else {
            Cow::Borrowed(bytes)
        };
        let mut reader = Reader::new(Scanner::new(&data_set, encoding, &scan_limits), limits);
        reader.read()?;
        Ok(Self {
            level: reader.level,
            keys: reader.current.keys,
        })
    }
}

/// Keys of the data set or of an item that is open.
#[derive(Default)]
struct Open {
    keys: Vec<Key>,
    charset: Option<CharacterSets>,
}

/// A sequence that is open.
struct OpenSequence {
    tag: Tag,
    items_count: usize,
    keys: Vec<Key>,
}

struct Reader<'a> {
    scanner: Scanner<'a>,
    limits: &'a QueryLimits,
    current: Open,
    /// What is around the current item.
    outer: Vec<Open>,
    sequences: Vec<OpenSequence>,
    level: Option<String>,
}

impl<'a> Reader<'a> {
    const fn new(scanner: Scanner<'a>, limits: &'a QueryLimits) -> Self {
        Self {
            scanner,
            limits,
            current: Open {
                keys: Vec::new(),
                charset: None,
            },
            outer: Vec::new(),
            sequences: Vec::new(),
            level: None,
        }
    }

    fn read(&mut self) -> Result<(), QueryError> {
        while let Some(event) = self.scanner.next() {
            match event? {
                Event::Element(element) => self.element(&element)?,
                Event::FragmentsBegin(element) => {
                    self.put(element.tag, element.vr, Matching::Universal)
                }
                Event::Fragment { .. } | Event::FragmentsEnd { .. } | Event::Trailing { .. } => {}
                Event::ItemBegin { .. } => self.item_begins()?,
                Event::ItemEnd { .. } => self.item_ends(),
                Event::SequenceBegin(element) => self.sequences.push(OpenSequence {
                    tag: element.tag,
                    items_count: 0,
                    keys: Vec::new(),
                }),
                Event::SequenceEnd { .. } => self.sequence_ends(),
            }
        }
        Ok(())
    }

    fn element(&mut self, element: &Element) -> Result<(), QueryError> {
        let tag = element.tag;
        if tag.element() == 0 {
            return Ok(());
        }
        let bytes = self.scanner.bytes(&element.value);
        if tag == tags::SPECIFIC_CHARACTER_SET {
            self.current.charset = Some(CharacterSets::decode_term_list(bytes));
            return Ok(());
        }
        if tag == tags::QUERY_RETRIEVE_LEVEL && self.outer.is_empty() {
            let level = String::from_utf8_lossy(bytes.get(..64).unwrap_or(bytes));
            self.level = Some(level.trim_matches([' ', '\0']).to_owned());
            return Ok(());
        }
        let vr = vr_of_key(element);
        let matching = if bytes.is_empty() || value::is_bulk(vr) {
            Matching::Universal
        } else if vr == Vr::SQ {
            // No items where the dictionary has a sequence.
            return Err(QueryError::Value { tag });
        } else {
            let text = self.text(element, bytes);
            Matching::of_text(tag, vr, &text, self.limits)?
        };
        self.put(tag, vr, matching);
        Ok(())
    }

    fn text(&self, element: &Element, bytes: &'a [u8]) -> Cow<'a, str> {
        if let Some(numbers) = numbers(element.vr, bytes, element.big_endian) {
            return Cow::Owned(numbers);
        }
        let charset = if is_charset_text(element.vr) || element.vr == Vr::UN {
            self.charset()
        } else {
            CharacterSets::DEFAULT
        };
        charset.decode(element.vr, bytes).text
    }

    /// The character set of the item, or of the nearest around it that names one.
    fn charset(&self) -> CharacterSets {
        let around = self.outer.iter().rev().map(|open| open.charset);
        std::iter::once(self.current.charset)
            .chain(around)
            .flatten()
            .next()
            .unwrap_or(CharacterSets::DEFAULT)
    }

    fn put(&mut self, tag: Tag, vr: Vr, matching: Matching) {
        // Group lengths, character sets and the level are no keys, whatever VR they came with.
        let is_level = tag == tags::QUERY_RETRIEVE_LEVEL && self.outer.is_empty();
        if tag.element() == 0 || tag == tags::SPECIFIC_CHARACTER_SET || is_level {
            return;
        }
        put(&mut self.current.keys, Key { tag, vr, matching });
    }

    fn item_begins(&mut self) -> Result<(), QueryError> {
        if let Some(sequence) = self.sequences.last_mut() {
            sequence.items_count = sequence.items_count.saturating_add(1);
            if sequence.items_count > 1 {
                // PS3.4 C.2.2.2.6: a sequence key has one item.
                return Err(QueryError::Value { tag: sequence.tag });
            }
        }
        self.outer.push(std::mem::take(&mut self.current));
        Ok(())
    }

    fn item_ends(&mut self) {
        let Some(outer) = self.outer.pop() else {
            return;
        };
        let item = std::mem::replace(&mut self.current, outer);
        if let Some(sequence) = self.sequences.last_mut() {
            sequence.keys = item.keys;
        }
    }

    fn sequence_ends(&mut self) {
        if let Some(sequence) = self.sequences.pop() {
            let matching = if sequence.keys.is_empty() {
                Matching::Universal
            } else {
                Matching::Sequence(sequence.keys)
            };
            self.put(sequence.tag, Vr::SQ, matching);
        }
    }
}

/// Puts a key in its place; the last of a tag wins.
pub(crate) fn put(keys: &mut Vec<Key>, key: Key) {
    match keys.binary_search_by_key(&key.tag, |key| key.tag) {
        Ok(at) => {
            if let Some(old) = keys.get_mut(at) {
                *old = key;
            }
        }
        Err(at) => keys.insert(at, key),
    }
}

/// The VR that says how a key matches: the dictionary's where it knows the tag, since clients write
/// UN or worse; the written one elsewhere.
fn vr_of_key(element: &Element) -> Vr {
    let known = vr_of(element.tag);
    if known == Vr::UN { element.vr } else { known }
}
