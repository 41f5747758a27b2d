//! Reads a data set whole: identifiers that come as answers, attribute lists of N-CREATE and N-SET.
//!
//! Text becomes Unicode and numbers decimal, as the index keeps them; values of bytes are left
//! out. It is for data sets that are small by their nature: instances go through
//! [`crate::scan::head`], which holds no more than it needs.

use crate::attributes::{Attributes, Value};
use crate::charset::CharacterSets;
use crate::limits::{DataSetLimits, ScanLimits};
use crate::scan::values::{is_text, numbers, unpadded};
use crate::scan::{Element, Encoding, Event, ScanError, Scanner, inflate, is_charset_text};
use crate::tag::{Tag, Vr, tags, vr_of};
use crate::uid::TransferSyntaxUid;
use std::borrow::Cow;

/// Why bytes are not a data set, or too much of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// More bytes than [`DataSetLimits::bytes_max`].
    #[error("data set is longer than {limit_bytes} bytes")]
    TooLong {
        /// The limit.
        limit_bytes: usize,
    },
    /// The bytes are not a data set, or are nested too deep, or have too many elements.
    #[error("data set cannot be read")]
    Scan(#[from] ScanError),
}

/// Reads all of a data set that is text, number or sequence. Group lengths and Specific Character
/// Set are left out: they say how it was written, not what.
///
/// # Errors
/// [`DecodeError`].
pub fn read_data_set(
    bytes: &[u8],
    transfer_syntax: &TransferSyntaxUid,
    limits: &DataSetLimits,
) -> Result<Attributes, DecodeError> {
    let limit_bytes = limits.bytes_max;
    if bytes.len() > limit_bytes {
        return Err(DecodeError::TooLong { limit_bytes });
    }
    let scan_limits = ScanLimits {
        depth_max: limits.depth_max,
        elements_max: limits.elements_max,
        head_bytes_max: limit_bytes,
        inflated_bytes_max: u64::try_from(limit_bytes).unwrap_or(u64::MAX),
        ..ScanLimits::default()
    };
    let encoding = Encoding::of(transfer_syntax);
    let data_set = if encoding == Encoding::Deflated {
        Cow::Owned(inflate::inflate(bytes, &scan_limits)?)
    } else {
        Cow::Borrowed(bytes)
    };
    let mut reader = Reader {
        scanner: Scanner::new(&data_set, encoding, &scan_limits),
        current: Open::default(),
        outer: Vec::new(),
        sequences: Vec::new(),
    };
    reader.read()?;
    Ok(reader.current.attributes)
}

/// Attributes of the data set or of an item that is open.
#[derive(Default)]
struct Open {
    attributes: Attributes,
    charset: Option<CharacterSets>,
}

struct Reader<'a> {
    scanner: Scanner<'a>,
    current: Open,
    /// What is around the current item.
    outer: Vec<Open>,
    sequences: Vec<(Tag, Vec<Attributes>)>,
}

impl Reader<'_> {
    fn read(&mut self) -> Result<(), ScanError> {
        while let Some(event) = self.scanner.next() {
            match event? {
                Event::Element(element) => self.element(&element),
                Event::SequenceBegin(element) => self.sequences.push((element.tag, Vec::new())),
                Event::SequenceEnd { .. } => {
                    if let Some((tag, items)) = self.sequences.pop() {
                        self.put(tag, Vr::SQ, Value::Items(items));
                    }
                }
                Event::ItemBegin { .. } => self.outer.push(std::mem::take(&mut self.current)),
                Event::ItemEnd { .. } => self.item_ends(),
                Event::Fragment { .. }
                | Event::FragmentsBegin(_)
                | Event::FragmentsEnd { .. }
                | Event::Trailing { .. } => {}
            }
        }
        Ok(())
    }

    fn item_ends(&mut self) {
        if let Some(outer) = self.outer.pop() {
            let item = std::mem::replace(&mut self.current, outer);
            if let Some((_, items)) = self.sequences.last_mut() {
                items.push(item.attributes);
            }
        }
    }

    fn element(&mut self, element: &Element) {
        let bytes = self.scanner.bytes(&element.value);
        if element.tag == tags::SPECIFIC_CHARACTER_SET {
            self.current.charset = Some(CharacterSets::decode_term_list(bytes));
            return;
        }
        let known = vr_of(element.tag);
        let is_unnamed = element.vr == Vr::UN;
        let vr = if is_unnamed || (is_text(known) && is_text(element.vr)) {
            known
        } else {
            element.vr
        };
        let value = if let Some(numbers) = numbers(vr, bytes, element.big_endian) {
            Value::Text(numbers.into())
        } else if is_text(vr) {
            self.text(vr, bytes)
        } else if vr == Vr::SQ && bytes.is_empty() {
            Value::Items(Vec::new())
        } else {
            return;
        };
        self.put(element.tag, vr, value);
    }

    fn text(&self, vr: Vr, bytes: &[u8]) -> Value {
        let charset = if is_charset_text(vr) {
            self.charset()
        } else {
            CharacterSets::DEFAULT
        };
        let decoded = charset.decode(vr, bytes);
        let text = unpadded(vr, &decoded.text).into();
        if decoded.is_suspect {
            Value::Suspect(text)
        } else {
            Value::Text(text)
        }
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

    fn put(&mut self, tag: Tag, vr: Vr, value: Value) {
        if tag.element() != 0 {
            self.current.attributes.insert(tag, vr, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::{Repertoire, write_data_set_in};
    use proptest::prelude::*;

    const SYNTAXES: [&str; 4] = [
        "1.2.840.10008.1.2",
        "1.2.840.10008.1.2.1",
        "1.2.840.10008.1.2.2",
        "1.2.840.10008.1.2.1.99",
    ];

    fn sample() -> Attributes {
        let mut item = Attributes::new();
        item.insert_text(tags::CODE_MEANING, Vr::LO, "грудная клетка");
        let mut attributes = Attributes::new();
        attributes.insert_text(tags::PATIENT_NAME, Vr::PN, "Жанибеков^Асан");
        attributes.insert_text(tags::PREGNANCY_STATUS, Vr::US, "4");
        let items = vec![item, Attributes::new()];
        attributes.insert(
            tags::SCHEDULED_PROTOCOL_CODE_SEQUENCE,
            Vr::SQ,
            Value::Items(items),
        );
        attributes.insert(
            tags::REFERENCED_STUDY_SEQUENCE,
            Vr::SQ,
            Value::Items(Vec::new()),
        );
        attributes
    }

    #[test]
    fn what_is_written_is_read_back_in_every_encoding_and_repertoire() {
        for name in SYNTAXES {
            let syntax = TransferSyntaxUid::parse(name).unwrap();
            for repertoire in [Repertoire::Cyrillic, Repertoire::Utf8] {
                let mut bytes = Vec::new();
                write_data_set_in(&mut bytes, &sample(), &syntax, repertoire).unwrap();
                let read = read_data_set(&bytes, &syntax, &DataSetLimits::default()).unwrap();
                assert_eq!(read, sample(), "{name} {repertoire:?}");
            }
        }
    }

    #[test]
    fn what_a_repertoire_lacks_is_refused_by_its_tag() {
        let syntax = TransferSyntaxUid::parse(SYNTAXES[1]).unwrap();
        let mut bytes = Vec::new();
        let tag = tags::SCHEDULED_PROTOCOL_CODE_SEQUENCE;
        let refused = write_data_set_in(&mut bytes, &sample(), &syntax, Repertoire::Ascii);
        assert!(refused.is_err() && bytes.is_empty());
        let mut kyrgyz = Attributes::new();
        kyrgyz.insert_text(tags::PATIENT_NAME, Vr::PN, "Үсөн");
        kyrgyz.insert(tag, Vr::SQ, Value::Items(Vec::new()));
        let refused = write_data_set_in(&mut bytes, &kyrgyz, &syntax, Repertoire::Cyrillic);
        let tag = tags::PATIENT_NAME;
        assert_eq!(refused, Err(crate::encode::EncodeError::Value { tag }));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for name in SYNTAXES {
                let syntax = TransferSyntaxUid::parse(name).unwrap();
                read_data_set(&bytes, &syntax, &DataSetLimits::default()).ok();
            }
        }
    }
}
