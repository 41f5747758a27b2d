//! Gathers from events what the index keeps of an instance.

use super::element::{Element, Event};
use super::values::{is_text, numbers, unpadded};
use crate::attributes::{Attributes, Value};
use crate::charset::CharacterSets;
use crate::instance::INDEXED;
use crate::limits::ScanLimits;
use crate::tag::{Tag, Vr, tags, vr_of};
use std::sync::LazyLock;

/// The VRs that the dictionary gives [`INDEXED`], in the same order.
static INDEXED_VRS: LazyLock<Vec<Vr>> =
    LazyLock::new(|| INDEXED.iter().map(|entry| vr_of(entry.0)).collect());

/// The tags of [`INDEXED`] as numbers, quicker to compare.
static INDEXED_NUMBERS: LazyLock<Vec<u32>> =
    LazyLock::new(|| INDEXED.iter().map(|entry| number(entry.0)).collect());

#[inline]
fn number(tag: Tag) -> u32 {
    u32::from(tag.group()) << 16 | u32::from(tag.element())
}

/// A sequence that is kept and still open.
#[derive(Debug)]
struct OpenSequence {
    tag: Tag,
    items: Vec<Attributes>,
}

/// An item that is kept and still open, with what was going on around it.
#[derive(Debug)]
struct OpenItem {
    outer: Attributes,
    outer_charset: CharacterSets,
}

/// What was gathered so far.
#[derive(Debug)]
pub(crate) struct Collector {
    limits: ScanLimits,
    /// Attributes of the innermost open item that is kept, or of the data set.
    current: Attributes,
    charset: CharacterSets,
    sequences: Vec<OpenSequence>,
    items: Vec<OpenItem>,
    /// Containers that are open and not kept.
    passing_over: usize,
    /// Where in [`INDEXED`] the next root element is expected.
    cursor: usize,
    /// The root tag that was looked up last, and its VR.
    found: (Tag, Option<Vr>),
    bytes_kept: usize,
    /// Root texts beyond ASCII that came before any character set.
    early: Vec<(Tag, Vr, Vec<u8>)>,
    has_charset: bool,
}

impl Collector {
    pub(crate) fn new(limits: ScanLimits) -> Self {
        Self {
            limits,
            current: Attributes::with_capacity(48),
            charset: CharacterSets::DEFAULT,
            sequences: Vec::new(),
            items: Vec::new(),
            passing_over: 0,
            cursor: 0,
            found: (Tag(0, 0), None),
            bytes_kept: 0,
            early: Vec::new(),
            has_charset: false,
        }
    }

    /// The attributes of the data set. What is still open is left out.
    pub(crate) fn finish(mut self) -> Attributes {
        if let Some(outermost) = self.items.into_iter().next() {
            self.current = outermost.outer;
        }
        self.current
    }

    /// How many bytes of the value of `element` are needed; `None` where none is.
    pub(crate) fn wants(&mut self, element: &Element) -> Option<u64> {
        let kept = self.vr_kept(element)?;
        let readable = is_text(kept) || numbers(kept, &[], false).is_some();
        // A few bytes more than what is kept, so that the cut finds a whole character.
        let most = u64::try_from(self.limits.text_bytes_max.saturating_add(8)).unwrap_or(u64::MAX);
        readable.then(|| element.length().min(most))
    }

    /// Whether an element under `tag` would be kept.
    #[inline]
    pub(crate) fn wants_tag(&mut self, tag: Tag) -> bool {
        self.passing_over == 0 && (!self.items.is_empty() || self.indexed_vr(tag).is_some())
    }

    /// The VR in which an element is kept, if it is.
    fn vr_kept(&mut self, element: &Element) -> Option<Vr> {
        if self.passing_over > 0 {
            return None;
        }
        if !self.items.is_empty() {
            return Some(element.vr);
        }
        let dictionary = self.indexed_vr(element.tag)?;
        Some(if is_text(element.vr) && is_text(dictionary) {
            dictionary
        } else {
            element.vr
        })
    }

    /// The dictionary's VR of a root element that the index keeps.
    #[inline]
    fn indexed_vr(&mut self, tag: Tag) -> Option<Vr> {
        if self.found.0 != tag {
            self.found = (tag, self.find(tag));
        }
        self.found.1
    }

    /// Looks `tag` up, going on from where the last one was: they come in order.
    fn find(&mut self, tag: Tag) -> Option<Vr> {
        let number = number(tag);
        if tag < self.found.0 {
            self.cursor = INDEXED_NUMBERS.partition_point(|n| *n < number);
        }
        let ahead = INDEXED_NUMBERS.get(self.cursor..)?;
        let passed = ahead.iter().take_while(|n| **n < number).count();
        self.cursor = self.cursor.saturating_add(passed);
        if ahead.get(passed) == Some(&number) {
            INDEXED_VRS.get(self.cursor).copied()
        } else {
            None
        }
    }

    /// Takes the value of an element that is wanted.
    pub(crate) fn take(&mut self, element: &Element, bytes: &[u8]) {
        let Some(vr) = self.vr_kept(element) else {
            return;
        };
        if element.tag == tags::SPECIFIC_CHARACTER_SET {
            self.declare(bytes);
        }
        let value = match numbers(vr, bytes, element.big_endian) {
            Some(text) => Value::Text(text.into()),
            None => {
                let is_cut = u64::try_from(bytes.len()).is_ok_and(|here| here < element.length());
                self.text(vr, bytes, is_cut)
            }
        };
        let value = self.cut(value);
        if !self.may_keep(element.tag, &value) {
            return;
        }
        if !self.has_charset && self.items.is_empty() && !bytes.is_ascii() && is_text(vr) {
            self.early.push((element.tag, vr, bytes.to_vec()));
        }
        self.current.insert(element.tag, vr, value);
    }

    /// A character set; in a data set that is out of order it also holds for what came before it.
    fn declare(&mut self, terms: &[u8]) {
        self.charset = CharacterSets::decode_term_list(terms);
        if !self.items.is_empty() {
            return;
        }
        self.has_charset = true;
        for (tag, vr, bytes) in std::mem::take(&mut self.early) {
            let value = self.text(vr, &bytes, false);
            self.current.insert(tag, vr, self.cut(value));
        }
    }

    fn text(&self, vr: Vr, bytes: &[u8], is_cut: bool) -> Value {
        let mut decoded = self.charset.decode(vr, bytes);
        if is_cut {
            // The cut may have gone through a character of up to four bytes.
            for less in 1..=3 {
                if !decoded.is_suspect {
                    break;
                }
                let end = bytes.len().saturating_sub(less);
                decoded = self.charset.decode(vr, bytes.get(..end).unwrap_or(bytes));
            }
        }
        let text = unpadded(vr, &decoded.text).into();
        if decoded.is_suspect {
            Value::Suspect(text)
        } else {
            Value::Text(text)
        }
    }

    /// Cuts a long text at a character.
    fn cut(&self, mut value: Value) -> Value {
        if let Value::Suspect(text) | Value::Text(text) = &mut value
            && text.len() > self.limits.text_bytes_max
        {
            let mut end = self.limits.text_bytes_max;
            while !text.is_char_boundary(end) {
                end = end.saturating_sub(1);
            }
            *text = text.get(..end).unwrap_or_default().into();
        }
        value
    }

    fn may_keep(&mut self, tag: Tag, value: &Value) -> bool {
        let bytes = match value {
            Value::Suspect(text) | Value::Text(text) => text.len(),
            Value::Items(_) => 0,
        };
        let identifies = matches!(
            tag,
            tags::SOP_CLASS_UID
                | tags::SOP_INSTANCE_UID
                | tags::STUDY_INSTANCE_UID
                | tags::SERIES_INSTANCE_UID
        ) && self.items.is_empty();
        // What an attribute costs beside its text.
        let sum = self.bytes_kept.saturating_add(bytes).saturating_add(16);
        if sum > self.limits.indexed_bytes_max {
            return identifies;
        }
        self.bytes_kept = sum;
        true
    }

    /// Follows the containers. Elements come through [`Self::wants`] and [`Self::take`].
    pub(crate) fn on(&mut self, event: &Event) {
        match event {
            Event::Element(_) | Event::Fragment { .. } | Event::Trailing { .. } => {}
            Event::FragmentsBegin(_) => self.passing_over = self.passing_over.saturating_add(1),
            Event::FragmentsEnd { .. } => self.passing_over = self.passing_over.saturating_sub(1),
            Event::ItemBegin { .. } => self.item_begins(),
            Event::ItemEnd { .. } => self.item_ends(),
            Event::SequenceBegin(element) => self.sequence_begins(element),
            Event::SequenceEnd { .. } => self.sequence_ends(),
        }
    }

    fn sequence_begins(&mut self, element: &Element) {
        if self.vr_kept(element).is_none() {
            self.passing_over = self.passing_over.saturating_add(1);
            return;
        }
        self.sequences.push(OpenSequence {
            tag: element.tag,
            items: Vec::new(),
        });
    }

    fn item_begins(&mut self) {
        let full = self
            .sequences
            .last()
            .is_none_or(|sequence| sequence.items.len() >= self.limits.indexed_items_max);
        if self.passing_over > 0 || full {
            self.passing_over = self.passing_over.saturating_add(1);
            return;
        }
        self.items.push(OpenItem {
            outer: std::mem::take(&mut self.current),
            outer_charset: self.charset,
        });
    }

    fn item_ends(&mut self) {
        if self.passing_over > 0 {
            self.passing_over = self.passing_over.saturating_sub(1);
            return;
        }
        if let Some(open) = self.items.pop() {
            let item = std::mem::replace(&mut self.current, open.outer);
            self.charset = open.outer_charset;
            if let Some(sequence) = self.sequences.last_mut() {
                sequence.items.push(item);
            }
        }
    }

    fn sequence_ends(&mut self) {
        if self.passing_over > 0 {
            self.passing_over = self.passing_over.saturating_sub(1);
            return;
        }
        if let Some(sequence) = self.sequences.pop() {
            let value = Value::Items(sequence.items);
            if self.may_keep(sequence.tag, &value) {
                self.current.insert(sequence.tag, Vr::SQ, value);
            }
        }
    }
}
