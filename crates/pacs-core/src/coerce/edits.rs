//! Edits: what is changed in a data set while it is rewritten. Root elements are inserted, replaced
//! and left out, text becomes UTF-8, and Original Attributes get one more item.

use super::CoerceError;
use crate::charset::{CharacterSets, Undeclared};
use crate::encode::{EncodeError, Layout, Writer};
use crate::limits::CoerceLimits;
use crate::scan::{Element, Event, is_charset_text};
use crate::tag::{Tag, Vr, tags};
use std::collections::VecDeque;

/// What becomes of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handling {
    /// It is left out.
    Drop,
    /// It stays as it is.
    Keep,
    /// Its value decides: see [`Edits::recode`].
    Recode,
}

/// What becomes of a value.
pub(crate) enum Recoded {
    Drop,
    Keep,
    Text(String),
}

/// The data set or an item that is open.
#[derive(Clone, Copy)]
struct Scope {
    charset: CharacterSets,
    /// It keeps a character set of its own, and its text.
    is_own: bool,
    has_text: bool,
}

/// What the new item of Original Attributes says, encoded.
pub(super) struct Record {
    /// Previous values, as elements.
    pub(super) modified: Vec<u8>,
    /// Those that cannot be written so, as items.
    pub(super) nonconforming: Vec<u8>,
    /// Who changed them, when and why, as elements.
    pub(super) provenance: Vec<u8>,
}

/// What [`Edits`] are made of.
pub(super) struct Parts {
    pub(super) layout: Layout,
    /// New root elements, encoded, in order of tags; nothing where one is only left out.
    pub(super) due: VecDeque<(Tag, Vec<u8>)>,
    /// Tags that may stand in one place only.
    pub(super) watched: Vec<Tag>,
    pub(super) record: Record,
    pub(super) charset: CharacterSets,
    pub(super) undeclared: Option<Undeclared>,
    pub(super) limits: CoerceLimits,
}

pub(crate) struct Edits {
    parts: Parts,
    /// Tags whose old elements are left out.
    replaced: Vec<Tag>,
    /// The highest root tag that was met.
    highest: Option<Tag>,
    scopes: Vec<Scope>,
    /// Containers that are open and left out.
    dropped: usize,
    in_original: bool,
    is_recorded: bool,
    guessed: u64,
}

impl Edits {
    pub(super) fn new(parts: Parts) -> Self {
        let root = Scope {
            charset: parts.charset,
            is_own: false,
            has_text: false,
        };
        Self {
            replaced: parts.due.iter().map(|(tag, _)| *tag).collect(),
            parts,
            highest: None,
            scopes: vec![root],
            dropped: 0,
            in_original: false,
            is_recorded: false,
            guessed: 0,
        }
    }

    /// Texts whose character set had to be guessed, or that stayed as they were because it could
    /// not be.
    pub(crate) const fn guessed(&self) -> u64 {
        self.guessed
    }

    /// Whether what comes belongs to a container that is left out.
    pub(crate) const fn is_dropping(&self) -> bool {
        self.dropped > 0
    }

    /// Follows what is left out.
    pub(crate) fn passed_over(&mut self, event: &Event) {
        match event {
            Event::SequenceBegin(_) | Event::FragmentsBegin(_) => {
                self.dropped = self.dropped.saturating_add(1);
            }
            Event::SequenceEnd { .. } | Event::FragmentsEnd { .. } => {
                self.dropped = self.dropped.saturating_sub(1);
            }
            Event::Element(_)
            | Event::Fragment { .. }
            | Event::ItemBegin { .. }
            | Event::ItemEnd { .. }
            | Event::Trailing { .. } => {}
        }
    }

    /// An element with a value of its own: what is due before it is written behind `out`.
    pub(crate) fn element(
        &mut self,
        element: &Element,
        is_root: bool,
        out: &mut Vec<u8>,
    ) -> Result<Handling, CoerceError> {
        let tag = element.tag;
        if is_root {
            self.arrive(tag, out)?;
            if self.replaced.contains(&tag) {
                return Ok(Handling::Drop);
            }
            if tag == tags::ORIGINAL_ATTRIBUTES_SEQUENCE {
                return self.no_original_attributes(element, out);
            }
        }
        let limit_bytes = self.parts.limits.text_bytes_max;
        let in_original = self.in_original;
        let Some(scope) = self.scopes.last_mut().filter(|scope| !scope.is_own) else {
            return Ok(Handling::Keep);
        };
        if tag == tags::SPECIFIC_CHARACTER_SET {
            if is_root {
                return Ok(Handling::Keep);
            }
            if in_original {
                scope.is_own = true;
                return Ok(Handling::Keep);
            }
            if scope.has_text {
                return Err(CoerceError::Order { tag });
            }
        } else if is_charset_text(element.vr) {
            scope.has_text = true;
        } else {
            return Ok(Handling::Keep);
        }
        if element.length() > u64::try_from(limit_bytes).unwrap_or(u64::MAX) {
            return Err(CoerceError::TextTooLong { tag, limit_bytes });
        }
        Ok(Handling::Recode)
    }

    /// Original Attributes that are no sequence: nothing may be lost of them.
    fn no_original_attributes(
        &mut self,
        element: &Element,
        out: &mut Vec<u8>,
    ) -> Result<Handling, CoerceError> {
        if element.length() > 0 {
            return Err(CoerceError::Unreadable { tag: element.tag });
        }
        self.write_original_attributes(out);
        Ok(Handling::Drop)
    }

    /// A sequence or encapsulated pixel data: whether it is kept. What is due before it is written
    /// behind `out`.
    pub(crate) fn container(
        &mut self,
        element: &Element,
        is_root: bool,
        out: &mut Vec<u8>,
    ) -> Result<bool, CoerceError> {
        let tag = element.tag;
        if is_root {
            self.arrive(tag, out)?;
            if self.replaced.contains(&tag) {
                self.dropped = 1;
                return Ok(false);
            }
            self.in_original = tag == tags::ORIGINAL_ATTRIBUTES_SEQUENCE;
        }
        Ok(true)
    }

    /// A sequence ends; its delimiter follows.
    pub(crate) fn sequence_ends(&mut self, is_root: bool, out: &mut Vec<u8>) {
        if is_root && self.in_original {
            self.in_original = false;
            self.write_item(out);
        }
    }

    pub(crate) fn item_begins(&mut self) {
        if let Some(scope) = self.scopes.last().copied() {
            self.scopes.push(Scope {
                has_text: false,
                ..scope
            });
        }
    }

    pub(crate) fn item_ends(&mut self) {
        if self.scopes.len() > 1 {
            let _ = self.scopes.pop();
        }
    }

    /// What a value of [`Handling::Recode`] becomes.
    pub(crate) fn recode(
        &mut self,
        element: &Element,
        value: &[u8],
        is_root: bool,
    ) -> Result<Recoded, EncodeError> {
        let Some(scope) = self.scopes.last_mut() else {
            return Ok(Recoded::Keep);
        };
        if element.tag == tags::SPECIFIC_CHARACTER_SET {
            scope.charset = CharacterSets::decode_term_list(value);
            return Ok(Recoded::Drop);
        }
        let undeclared = self.parts.undeclared;
        let decoded = scope.charset.decode_as(element.vr, value, undeclared);
        self.guessed = self.guessed.saturating_add(u64::from(decoded.is_suspect));
        // What nobody can be sure of in a private element is its creator's affair.
        let is_private = element.tag.group() & 1 == 1;
        if decoded.text.as_bytes() == value || (decoded.is_suspect && is_private) {
            return Ok(Recoded::Keep);
        }
        let text = decoded.text.trim_end_matches([' ', '\0']).to_owned();
        if decoded.is_suspect && is_root && !self.is_recorded {
            let kept = self.parts.record.nonconforming.len();
            if kept.saturating_add(value.len()) <= self.parts.limits.text_bytes_max {
                let items = &mut self.parts.record.nonconforming;
                write_nonconforming(items, self.parts.layout, element.tag, value)?;
            }
        }
        Ok(Recoded::Text(text))
    }

    /// Writes what is due at the end of all.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        self.write_due(None, out);
    }

    /// A root element or container comes: what has its place before it is written.
    fn arrive(&mut self, tag: Tag, out: &mut Vec<u8>) -> Result<(), CoerceError> {
        if self.highest.is_some_and(|highest| tag <= highest) {
            return if self.parts.watched.contains(&tag) {
                Err(CoerceError::Order { tag })
            } else {
                Ok(())
            };
        }
        self.highest = Some(tag);
        self.write_due(Some(tag), out);
        Ok(())
    }

    fn write_due(&mut self, until: Option<Tag>, out: &mut Vec<u8>) {
        let due = &mut self.parts.due;
        while let Some((tag, bytes)) = due.front()
            && until.is_none_or(|until| *tag <= until)
        {
            out.extend_from_slice(bytes);
            due.pop_front();
        }
        if until.is_none_or(|until| until > tags::ORIGINAL_ATTRIBUTES_SEQUENCE) {
            self.write_original_attributes(out);
        }
    }

    /// The sequence with the new item alone, unless that is written.
    fn write_original_attributes(&mut self, out: &mut Vec<u8>) {
        if self.is_recorded {
            return;
        }
        let layout = self.parts.layout;
        Writer::new(out, layout).begin_sequence(tags::ORIGINAL_ATTRIBUTES_SEQUENCE);
        self.write_item(out);
        Writer::new(out, layout).end_sequence();
    }

    fn write_item(&mut self, out: &mut Vec<u8>) {
        if self.is_recorded {
            return;
        }
        self.is_recorded = true;
        let layout = self.parts.layout;
        let record = &self.parts.record;
        let mut writer = Writer::new(out, layout);
        writer.begin_item();
        writer.begin_sequence(tags::MODIFIED_ATTRIBUTES_SEQUENCE);
        writer.begin_item();
        writer.elements(&record.modified);
        writer.end_item();
        writer.end_sequence();
        if !record.nonconforming.is_empty() {
            writer.begin_sequence(tags::NONCONFORMING_MODIFIED_ATTRIBUTES_SEQUENCE);
            writer.elements(&record.nonconforming);
            writer.end_sequence();
        }
        writer.elements(&record.provenance);
        writer.end_item();
    }
}

/// An item of Nonconforming Modified Attributes: the bytes of a root element, whatever they are
/// (PS3.3 C.12.1 and table 10-20).
pub(super) fn write_nonconforming(
    items: &mut Vec<u8>,
    layout: Layout,
    tag: Tag,
    value: &[u8],
) -> Result<(), EncodeError> {
    let mut selector = crate::Attributes::new();
    let name = format!("{:04X}{:04X}", tag.group(), tag.element());
    selector.insert_text(tags::SELECTOR_ATTRIBUTE, Vr::AT, name);
    // The one value, or all of them.
    let number = if value.contains(&b'\\') { "0" } else { "1" };
    selector.insert_text(tags::SELECTOR_VALUE_NUMBER, Vr::US, number);
    let mut writer = Writer::new(items, layout);
    writer.begin_item();
    for attribute in &selector {
        writer.attribute(attribute)?;
    }
    writer.bytes(tags::NONCONFORMING_DATA_ELEMENT_VALUE, Vr::OB, value)?;
    writer.end_item();
    Ok(())
}
