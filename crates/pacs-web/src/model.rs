//! A stored data set as one object of the DICOM JSON model (PS3.18 annex F) or one document of the
//! Native DICOM Model (PS3.19 A.1), event by event.
//!
//! [`Model`] takes the events of a data set and writes it piece by piece; what it holds does not
//! grow with the data set. Text of any character set becomes UTF-8, and Specific Character Set says
//! so. Values over [`ModelOptions::value_bytes_max`], bytes over
//! [`ModelOptions::inline_bytes_max`] and pixel data are named by a `BulkDataURI`. Group lengths
//! and Data Set Trailing Padding are left out (PS3.19 A.1.5.2); of an element that stands twice the
//! first counts.

mod notation;

use crate::walk::{DataSet, Walk, WalkError};
use notation::Notation;
use pacs_core::charset::CharacterSets;
use pacs_core::scan::values::{is_text, numbers, unpadded};
use pacs_core::scan::{Element, Event, is_charset_text, is_pixel_data};
use pacs_core::tag::{follows_pixel_representation, tags};
use pacs_core::{Tag, Vr};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write as _;

/// What stands in the object itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelOptions {
    /// What each `BulkDataURI` begins with; the path of its element follows, as in `/7FE00010` or
    /// `/54000100/1/54001010` (sequence, item from 1 on, element).
    pub bulk_url: String,
    /// Bytes (OB, OW, UN and the like) that an `InlineBinary` may hold.
    pub inline_bytes_max: u64,
    /// Bytes that any other value may have in the data set.
    pub value_bytes_max: u64,
    /// Fragments of pixel data that are passed over; behind more nothing is described.
    pub fragments_max: usize,
}

/// A data set on its way into the model.
#[derive(Debug)]
pub struct Model<S> {
    walk: Walk<S>,
    writer: Writer,
    has_ended: bool,
}

impl<S: DataSet> Model<S> {
    /// Of what `walk` comes upon, in JSON.
    #[must_use]
    pub fn new(walk: Walk<S>, options: ModelOptions) -> Self {
        Self::written(walk, options, Notation::Json)
    }

    /// The same, in XML.
    #[must_use]
    pub fn in_xml(walk: Walk<S>, options: ModelOptions) -> Self {
        Self::written(walk, options, Notation::Xml)
    }

    const fn written(walk: Walk<S>, options: ModelOptions, notation: Notation) -> Self {
        Self {
            walk,
            writer: Writer::new(options, notation),
            has_ended: false,
        }
    }

    /// Writes on behind what `out` holds, until that is `piece_bytes` or the object is whole;
    /// whether it is. A data set that breaks off gives an object of what is before.
    pub fn write(&mut self, out: &mut Vec<u8>, piece_bytes: usize) -> bool {
        std::mem::swap(&mut self.writer.out, out);
        while !self.has_ended && self.writer.out.len() < piece_bytes {
            let went_on = self.step();
            if let Err(error) = &went_on {
                tracing::warn!(%error, "the end of a stored data set is not described");
            }
            if !matches!(went_on, Ok(true)) {
                self.writer.end();
                self.has_ended = true;
            }
        }
        std::mem::swap(&mut self.writer.out, out);
        self.has_ended
    }

    fn step(&mut self) -> Result<bool, WalkError> {
        let Some(event) = self.walk.step()? else {
            return Ok(false);
        };
        self.writer.begin();
        let Event::Element(element) = &event else {
            return Ok(self.writer.container(&event));
        };
        let bytes = if self.writer.wants(element) {
            Some(self.walk.value(&element.value)?)
        } else {
            None
        };
        self.writer.element(element, bytes.as_deref());
        Ok(true)
    }
}

/// Writes one attribute after the other.
#[derive(Debug)]
struct Writer {
    notation: Notation,
    options: ModelOptions,
    /// What was written and not taken yet.
    out: Vec<u8>,
    /// The data set, and the items that are open.
    levels: Vec<Level>,
    sequences: Vec<OpenSequence>,
    /// Containers that are open and passed over.
    passing_over: usize,
    fragments_count: usize,
    has_begun: bool,
}

#[derive(Debug, Default)]
struct Level {
    charset: Option<CharacterSets>,
    /// Of its Pixel Representation.
    is_signed: Option<bool>,
    has_members: bool,
    last: Option<Tag>,
    /// Where tags are not in order: those that were written since.
    seen: Option<HashSet<Tag>>,
    in_order: Vec<Tag>,
    /// Of private blocks, where the notation says whose they are.
    creators: Vec<(Tag, String)>,
}

#[derive(Debug)]
struct OpenSequence {
    tag: Tag,
    items: u32,
}

/// Characters of a private creator (LO); who has more is named by nothing.
const CREATOR_CHARS_MAX: usize = 64;

/// Private creators of one item that are looked for; those behind them are named by nothing.
const CREATORS_MAX: usize = 256;

impl Level {
    fn note_creator(&mut self, tag: Tag, text: &str) {
        if self.creators.len() < CREATORS_MAX {
            self.creators.push((tag, text.to_owned()));
        }
    }

    /// Who has the block of `tag`, where that is one alone in its group.
    fn creator_of(&self, tag: Tag) -> Option<&str> {
        if tag.group().is_multiple_of(2) {
            return None;
        }
        let of_group = self
            .creators
            .iter()
            .filter(|(of, _)| of.group() == tag.group());
        let block = tag.element() >> 8;
        let mut same = of_group.clone().filter(|(of, _)| of.element() == block);
        let (_, name) = same.next()?;
        let is_alone = of_group.filter(|(_, other)| other == name).count() == 1;
        is_alone.then_some(name)
    }

    /// Whether `tag` comes for the first time.
    fn is_new(&mut self, tag: Tag) -> bool {
        if let Some(seen) = &mut self.seen {
            return seen.insert(tag);
        }
        if self.last.is_none_or(|last| last < tag) {
            self.last = Some(tag);
            self.in_order.push(tag);
            return true;
        }
        let mut seen: HashSet<Tag> = std::mem::take(&mut self.in_order).into_iter().collect();
        let is_new = seen.insert(tag);
        self.seen = Some(seen);
        is_new
    }
}

impl Writer {
    const fn new(options: ModelOptions, notation: Notation) -> Self {
        Self {
            notation,
            options,
            out: Vec::new(),
            levels: Vec::new(),
            sequences: Vec::new(),
            passing_over: 0,
            fragments_count: 0,
            has_begun: false,
        }
    }

    fn begin(&mut self) {
        if !std::mem::replace(&mut self.has_begun, true) {
            self.open_level();
        }
    }

    fn open_level(&mut self) {
        let items = self.sequences.last().map(|sequence| sequence.items);
        self.notation.object_begins(&mut self.out, items);
        self.levels.push(Level::default());
    }

    fn close_level(&mut self) {
        self.levels.pop();
        self.notation
            .object_ends(&mut self.out, self.levels.is_empty());
    }

    /// Closes what is open, the innermost first.
    fn end(&mut self) {
        self.begin();
        while !self.levels.is_empty() {
            if self.sequences.len() >= self.levels.len() {
                self.passing_over = 0;
                self.sequence_ends();
            } else {
                self.close_level();
            }
        }
    }

    /// Whether the value of `element` is to be written, so that its bytes are needed.
    fn wants(&self, element: &Element) -> bool {
        let is_pixels = self.levels.len() == 1 && is_pixel_data(element.tag);
        let is_value = is_text(element.vr) || is_binary_number(element.vr);
        let bytes_max = if is_value {
            self.options.value_bytes_max
        } else {
            self.options.inline_bytes_max
        };
        self.passing_over == 0 && !is_pixels && element.length() <= bytes_max
    }

    /// Begins a member, unless it is one that the model does not have.
    fn begin_member(&mut self, tag: Tag, vr: Vr) -> bool {
        if self.passing_over > 0 || tag.element() == 0 || tag == tags::DATA_SET_TRAILING_PADDING {
            return false;
        }
        let Some(level) = self.levels.last_mut() else {
            return false;
        };
        if !level.is_new(tag) {
            return false;
        }
        let is_first = !std::mem::replace(&mut level.has_members, true);
        let creator = level.creator_of(tag);
        self.notation
            .member_begins(&mut self.out, (tag, vr), creator, is_first);
        true
    }

    fn element(&mut self, element: &Element, bytes: Option<&[u8]>) {
        let vr = self.vr_of(element);
        if !self.begin_member(element.tag, vr) {
            return;
        }
        match bytes {
            Some(bytes) => self.value(element, vr, bytes),
            None if element.length() == 0 => {}
            None => self.bulk(element.tag),
        }
        self.notation.member_ends(&mut self.out);
    }

    fn bulk(&mut self, tag: Tag) {
        let mut url = self.options.bulk_url.clone();
        for sequence in &self.sequences {
            // Writing to memory does not fail.
            write!(url, "/{}/{}", hex(sequence.tag), sequence.items).ok();
        }
        write!(url, "/{}", hex(tag)).ok();
        self.notation.bulk(&mut self.out, &url);
    }

    /// Its VR; where that is not written and the dictionary gives a choice, as the nearest Pixel
    /// Representation has it.
    fn vr_of(&self, element: &Element) -> Vr {
        let is_written = element.written_vr.is_some_and(|vr| vr != Vr::UN);
        if is_written || element.vr != Vr::US || !follows_pixel_representation(element.tag) {
            return element.vr;
        }
        let mut levels = self.levels.iter().rev();
        let is_signed = levels.find_map(|level| level.is_signed);
        if is_signed == Some(true) {
            Vr::SS
        } else {
            Vr::US
        }
    }

    fn value(&mut self, element: &Element, vr: Vr, bytes: &[u8]) {
        if element.tag == tags::PIXEL_REPRESENTATION
            && let Some(level) = self.levels.last_mut()
        {
            level.is_signed = Some(bytes.contains(&1));
        }
        if element.tag == tags::SPECIFIC_CHARACTER_SET {
            let charset = CharacterSets::decode_term_list(bytes);
            if let Some(level) = self.levels.last_mut() {
                level.charset = Some(charset);
            }
            if !bytes.is_empty() {
                self.notation.values(&mut self.out, vr, "ISO_IR 192");
            }
            return;
        }
        if let Some(numbers) = numbers(vr, bytes, element.big_endian) {
            self.notation.values(&mut self.out, vr, &numbers);
        } else if is_text(vr) {
            let charset = if is_charset_text(vr) {
                self.charset()
            } else {
                CharacterSets::DEFAULT
            };
            let text = charset.decode(vr, bytes).text;
            let text = unpadded(vr, &text);
            self.notation.values(&mut self.out, vr, &text);
            self.note_creator(element.tag, &text);
        } else if !bytes.is_empty() {
            let bytes = little_endian(element, bytes);
            self.notation.inline(&mut self.out, &bytes);
        }
    }

    /// Remembers whose a private block is.
    fn note_creator(&mut self, tag: Tag, text: &str) {
        let is_creator = tag.group() % 2 == 1 && (0x10..=0xFF).contains(&tag.element());
        let is_named = !text.is_empty() && text.chars().count() <= CREATOR_CHARS_MAX;
        if self.notation.names_creators()
            && is_creator
            && is_named
            && let Some(level) = self.levels.last_mut()
        {
            level.note_creator(tag, text);
        }
    }

    /// The character set of the item, or of the nearest around it that names one.
    fn charset(&self) -> CharacterSets {
        let mut levels = self.levels.iter().rev();
        levels
            .find_map(|level| level.charset)
            .unwrap_or(CharacterSets::DEFAULT)
    }

    /// Follows what is no element; whether more is to be looked at.
    fn container(&mut self, event: &Event) -> bool {
        match event {
            Event::Fragment { .. } => {
                self.fragments_count = self.fragments_count.saturating_add(1);
                return self.fragments_count <= self.options.fragments_max;
            }
            Event::FragmentsBegin(element) => {
                // PS3.5 A.4: encapsulated pixel data is OB, whatever the dictionary says first.
                let vr = element.written_vr.unwrap_or(Vr::OB);
                if self.begin_member(element.tag, vr) {
                    self.bulk(element.tag);
                    self.notation.member_ends(&mut self.out);
                }
            }
            Event::SequenceBegin(element) => {
                if self.begin_member(element.tag, Vr::SQ) {
                    self.sequences.push(OpenSequence {
                        tag: element.tag,
                        items: 0,
                    });
                } else {
                    self.passing_over = self.passing_over.saturating_add(1);
                }
            }
            Event::ItemBegin { .. } => self.item_begins(),
            Event::ItemEnd { .. } => {
                if self.passing_over == 0 && self.levels.len() > 1 {
                    self.close_level();
                }
            }
            Event::SequenceEnd { .. } => self.sequence_ends(),
            Event::Element(_) | Event::FragmentsEnd { .. } | Event::Trailing { .. } => {}
        }
        true
    }

    fn item_begins(&mut self) {
        if self.passing_over > 0 {
            return;
        }
        let Some(sequence) = self.sequences.last_mut() else {
            return;
        };
        sequence.items = sequence.items.saturating_add(1);
        self.open_level();
    }

    fn sequence_ends(&mut self) {
        if self.passing_over > 0 {
            self.passing_over = self.passing_over.saturating_sub(1);
            return;
        }
        if let Some(sequence) = self.sequences.pop() {
            if sequence.items > 0 {
                self.notation.items_end(&mut self.out);
            }
            self.notation.member_ends(&mut self.out);
        }
    }
}

fn hex(tag: Tag) -> String {
    format!("{:04X}{:04X}", tag.group(), tag.element())
}

const fn is_binary_number(vr: Vr) -> bool {
    use Vr::{AT, FD, FL, SL, SS, SV, UL, US, UV};
    matches!(vr, AT | FD | FL | SL | SS | SV | UL | US | UV)
}

/// Bytes of words as little endian ones, which `InlineBinary` holds (F.2.7).
fn little_endian<'b>(element: &Element, bytes: &'b [u8]) -> Cow<'b, [u8]> {
    let word = word_bytes(element.vr);
    if !element.big_endian || word == 1 {
        return Cow::Borrowed(bytes);
    }
    let mut turned = bytes.to_vec();
    for word in turned.chunks_exact_mut(word) {
        word.reverse();
    }
    Cow::Owned(turned)
}

/// Bytes of one word of a VR of bytes.
pub(crate) const fn word_bytes(vr: Vr) -> usize {
    if matches!(vr, Vr::OW) {
        2
    } else if matches!(vr, Vr::OF | Vr::OL) {
        4
    } else if matches!(vr, Vr::OD | Vr::OV) {
        8
    } else {
        1
    }
}

#[cfg(test)]
mod tests;
