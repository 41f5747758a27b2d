//! How rows are written: numbers as varints, text with its length before it, attributes one after
//! another.
//!
//! A reader of damaged bytes gets [`IndexError::Damaged`]: every length is checked against what is
//! there, and nothing is reserved on the word of a length.

use crate::index::IndexError;
use pacs_core::limits::ITEM_DEPTH_MAX;
use pacs_core::{Attributes, Tag, Value, Vr};

/// Bytes being written.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.0.push(number.to_le_bytes()[0]);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.raw(text.as_bytes());
    }

    /// Writes `attributes` to the end of the row or item.
    pub(super) fn attributes(&mut self, attributes: &Attributes) -> Result<(), IndexError> {
        self.attributes_at(attributes, 0)
    }

    fn attributes_at(&mut self, attributes: &Attributes, depth: usize) -> Result<(), IndexError> {
        if depth > ITEM_DEPTH_MAX {
            return Err(IndexError::Damaged {
                what: "nesting of sequences",
            });
        }
        for attribute in attributes {
            self.raw(&attribute.tag.group().to_be_bytes());
            self.raw(&attribute.tag.element().to_be_bytes());
            self.raw(&attribute.vr.to_bytes());
            match &attribute.value {
                Value::Text(text) => self.value(TEXT, text.as_bytes()),
                Value::Suspect(text) => self.value(SUSPECT, text.as_bytes()),
                Value::Items(items) => {
                    let mut inner = Self::default();
                    for item in items {
                        let mut one = Self::default();
                        one.attributes_at(item, depth + 1)?;
                        inner.number(one.0.len() as u64);
                        inner.raw(&one.0);
                    }
                    self.value(ITEMS, &inner.0);
                }
            }
        }
        Ok(())
    }

    fn value(&mut self, kind: u64, bytes: &[u8]) {
        self.number((bytes.len() as u64) << 2 | kind);
        self.raw(bytes);
    }
}

const TEXT: u64 = 0;
const SUSPECT: u64 = 1;
const ITEMS: u64 = 2;

/// Bytes being read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// `what` names the kind of row in errors.
    pub(super) const fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    pub(super) const fn rest(self) -> &'a [u8] {
        self.rest
    }

    pub(super) const fn damaged(&self) -> IndexError {
        IndexError::Damaged { what: self.what }
    }

    pub(super) fn raw(&mut self, count: usize) -> Result<&'a [u8], IndexError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or_else(|| self.damaged())?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], IndexError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk()
            .ok_or_else(|| self.damaged())?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, IndexError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    pub(super) fn number(&mut self) -> Result<u64, IndexError> {
        // Nearly all are short.
        if let Some((byte @ 0..0x80, rest)) = self.rest.split_first() {
            self.rest = rest;
            return Ok(u64::from(*byte));
        }
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(self.damaged())
    }

    pub(super) fn number_u32(&mut self) -> Result<u32, IndexError> {
        u32::try_from(self.number()?).map_err(|_| self.damaged())
    }

    fn length(&mut self) -> Result<usize, IndexError> {
        usize::try_from(self.number()?).map_err(|_| self.damaged())
    }

    /// Bytes with their length before them.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], IndexError> {
        let length = self.length()?;
        self.raw(length)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, IndexError> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|_| self.damaged())
    }

    /// Reads attributes to the end, those for which `wanted` is true.
    pub(super) fn attributes(
        self,
        into: &mut Attributes,
        wanted: impl Fn(Tag) -> bool,
    ) -> Result<(), IndexError> {
        self.attributes_at(into, &wanted, 0)
    }

    /// The text under `tag` among attributes that go to the end, without reading the others.
    pub(super) fn find(mut self, tag: Tag) -> Result<Stored<'a>, IndexError> {
        while !self.rest.is_empty() {
            let [g1, g2, e1, e2, _, _] = self.array()?;
            let head = self.number()?;
            let length = usize::try_from(head >> 2).map_err(|_| self.damaged())?;
            let bytes = self.raw(length)?;
            let here = Tag(u16::from_be_bytes([g1, g2]), u16::from_be_bytes([e1, e2]));
            if here > tag {
                break;
            }
            if here == tag {
                return match head & 3 {
                    TEXT | SUSPECT => std::str::from_utf8(bytes)
                        .map(Stored::Text)
                        .map_err(|_| self.damaged()),
                    _ => Ok(Stored::Items),
                };
            }
        }
        Ok(Stored::Nothing)
    }

    fn attributes_at(
        mut self,
        into: &mut Attributes,
        wanted: &dyn Fn(Tag) -> bool,
        depth: usize,
    ) -> Result<(), IndexError> {
        while !self.rest.is_empty() {
            let [g1, g2, e1, e2, v1, v2] = self.array()?;
            let head = self.number()?;
            let length = usize::try_from(head >> 2).map_err(|_| self.damaged())?;
            let bytes = self.raw(length)?;
            let tag = Tag(u16::from_be_bytes([g1, g2]), u16::from_be_bytes([e1, e2]));
            if !wanted(tag) {
                continue;
            }
            let vr = vr_from([v1, v2]).ok_or_else(|| self.damaged())?;
            let text = || std::str::from_utf8(bytes).map_err(|_| self.damaged());
            let value = match head & 3 {
                TEXT => Value::Text(text()?.into()),
                SUSPECT => Value::Suspect(text()?.into()),
                ITEMS => Value::Items(Self::new(bytes, self.what).items(depth)?),
                _ => return Err(self.damaged()),
            };
            into.insert(tag, vr, value);
        }
        Ok(())
    }

    fn items(mut self, depth: usize) -> Result<Vec<Attributes>, IndexError> {
        if depth >= ITEM_DEPTH_MAX {
            return Err(self.damaged());
        }
        let mut items = Vec::new();
        while !self.rest.is_empty() {
            let bytes = self.bytes()?;
            let mut item = Attributes::new();
            Self::new(bytes, self.what).attributes_at(&mut item, &|_| true, depth + 1)?;
            items.push(item);
        }
        Ok(items)
    }
}

/// What [`Reader::find`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored<'a> {
    Items,
    Nothing,
    Text(&'a str),
}

/// As `Vr::from_binary`, without its way through text: this is read for every attribute of every
/// result.
fn vr_from(letters: [u8; 2]) -> Option<Vr> {
    match &letters {
        b"CS" => Some(Vr::CS),
        b"DA" => Some(Vr::DA),
        b"IS" => Some(Vr::IS),
        b"LO" => Some(Vr::LO),
        b"PN" => Some(Vr::PN),
        b"SH" => Some(Vr::SH),
        b"TM" => Some(Vr::TM),
        b"US" => Some(Vr::US),
        _ => Vr::from_binary(letters),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pacs_core::tag::tags;

    fn nested() -> Attributes {
        let mut inner = Attributes::new();
        inner.insert_text(tags::CODE_VALUE, Vr::SH, "T-1");
        inner.insert(tags::CODE_MEANING, Vr::LO, Value::Suspect("Ж?".into()));
        let mut attributes = Attributes::new();
        attributes.insert_text(tags::PATIENT_NAME, Vr::PN, "Өмүров^Азиз");
        attributes.insert_text(tags::PATIENT_ID, Vr::LO, "");
        let items = vec![inner, Attributes::new()];
        attributes.insert(tags::PROCEDURE_CODE_SEQUENCE, Vr::SQ, Value::Items(items));
        attributes
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut writer = Writer::default();
        for number in [0, 127, 128, u64::from(u32::MAX), u64::MAX] {
            writer.number(number);
        }
        writer.text("Ү");
        writer.attributes(&nested()).unwrap();
        let bytes = writer.into_bytes();

        let mut reader = Reader::new(&bytes, "row");
        for number in [0, 127, 128, u64::from(u32::MAX), u64::MAX] {
            assert_eq!(reader.number().unwrap(), number);
        }
        assert_eq!(reader.text().unwrap(), "Ү");
        let mut attributes = Attributes::new();
        reader.attributes(&mut attributes, |_| true).unwrap();
        assert_eq!(attributes, nested());
    }

    #[test]
    fn only_what_is_wanted_is_read() {
        let mut writer = Writer::default();
        writer.attributes(&nested()).unwrap();
        let bytes = writer.into_bytes();

        let mut attributes = Attributes::new();
        Reader::new(&bytes, "row")
            .attributes(&mut attributes, |tag| tag == tags::PATIENT_ID)
            .unwrap();

        assert_eq!(attributes.len(), 1);
        assert_eq!(attributes.text(tags::PATIENT_ID), Some(""));
    }

    #[test]
    fn one_attribute_is_found_without_reading_the_others() {
        let mut writer = Writer::default();
        writer.attributes(&nested()).unwrap();
        let bytes = writer.into_bytes();
        let find = |tag| Reader::new(&bytes, "row").find(tag).unwrap();

        assert_eq!(find(tags::PATIENT_NAME), Stored::Text("Өмүров^Азиз"));
        assert_eq!(find(tags::PATIENT_ID), Stored::Text(""));
        assert_eq!(find(tags::PROCEDURE_CODE_SEQUENCE), Stored::Items);
        for absent in [tags::STUDY_DATE, tags::PATIENT_SEX, tags::PIXEL_DATA] {
            assert_eq!(find(absent), Stored::Nothing);
        }
        assert!(
            Reader::new(&bytes[..9], "row")
                .find(tags::PIXEL_DATA)
                .is_err()
        );
    }

    /// A bad disk gives an error and no panic, whatever byte it changes.
    #[test]
    fn damaged_bytes_are_an_error_or_other_attributes_and_never_a_panic() {
        let mut writer = Writer::default();
        writer.attributes(&nested()).unwrap();
        let bytes = writer.into_bytes();
        let read = |bytes: &[u8]| {
            let mut attributes = Attributes::new();
            Reader::new(bytes, "row")
                .attributes(&mut attributes, |_| true)
                .map(|()| attributes)
        };
        let mut errors_count = 0;
        for at in 0..bytes.len() {
            for change in [1, 0x10, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= change;
                errors_count += usize::from(read(&damaged).is_err());
            }
            errors_count += usize::from(read(&bytes[..at]).is_err());
        }
        assert!(errors_count > bytes.len());
    }

    #[test]
    fn nesting_beyond_the_limit_is_refused_in_both_directions() {
        let mut attributes = Attributes::new();
        let mut bytes: Vec<u8> = Vec::new();
        for _ in 0..=ITEM_DEPTH_MAX + 1 {
            let mut outer = Attributes::new();
            let items = Value::Items(vec![attributes]);
            outer.insert(tags::PROCEDURE_CODE_SEQUENCE, Vr::SQ, items);
            attributes = outer;
            let mut item = Writer::default();
            item.number(bytes.len() as u64);
            item.raw(&bytes);
            let mut writer = Writer::default();
            writer.raw(&[0, 8, 16, 50]);
            writer.raw(b"SQ");
            writer.value(ITEMS, &item.into_bytes());
            bytes = writer.into_bytes();
        }
        assert!(Writer::default().attributes(&attributes).is_err());
        let mut into = Attributes::new();
        let read = Reader::new(&bytes, "row").attributes(&mut into, |_| true);
        assert!(read.is_err());
    }
}
