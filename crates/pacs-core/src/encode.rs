//! Writes attributes as a data set: query identifiers, query answers, command sets.
//!
//! Stored instances never pass here: they leave as they came. Text is written in UTF-8, unless
//! another [`Repertoire`] is asked for, and Specific Character Set (0008,0005) is the writer's own
//! affair: there where a value needs it, absent where all is ASCII, whatever the attributes say.
//! Sequences and items have defined lengths, values an even one.
//!
//! PS3.5 7 (data set), 6.2 (padding), A.1 to A.5 (transfer syntaxes).

mod command;
mod number;

pub use command::CommandWriter;

use crate::attributes::{Attribute, Attributes, Value};
use crate::limits::ITEM_DEPTH_MAX;
use crate::scan::{Encoding, is_charset_text};
use crate::tag::{Tag, Vr, tags};
use crate::uid::TransferSyntaxUid;
use std::io::Write as _;

/// How the elements of a data set are laid out in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layout {
    /// Explicit VR Big Endian (retired).
    ExplicitBig,
    /// Explicit VR Little Endian, and every transfer syntax with encapsulated pixel data.
    ExplicitLittle,
    /// Implicit VR Little Endian, and every command set.
    ImplicitLittle,
}

/// The characters that text is written in (PS3.3 C.12.1.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Repertoire {
    /// ISO-IR 6 alone: no byte has its highest bit set.
    Ascii,
    /// `ISO_IR 144`, ISO 8859-5.
    Cyrillic,
    /// `ISO_IR 192`.
    #[default]
    Utf8,
}

/// Why attributes cannot be written. Values are never shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// Sequences stand deeper in one another than [`ITEM_DEPTH_MAX`].
    #[error("sequences are nested deeper than {ITEM_DEPTH_MAX}")]
    Depth,
    /// The value is longer than its VR's length field can say.
    #[error("value of {tag} is too long for its VR")]
    TooLong {
        /// Of which attribute.
        tag: Tag,
    },
    /// The text is no number where the VR is binary, the VR holds no text at all, or the repertoire
    /// lacks a character of it.
    #[error("value of {tag} cannot be written as its VR")]
    Value {
        /// Of which attribute.
        tag: Tag,
    },
}

/// Writes `attributes` as a data set in `transfer_syntax`.
///
/// # Errors
/// [`EncodeError`], naming the attribute.
pub fn write_data_set(
    attributes: &Attributes,
    transfer_syntax: &TransferSyntaxUid,
) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::new();
    write_data_set_into(&mut out, attributes, transfer_syntax)?;
    Ok(out)
}

/// As [`write_data_set`], behind what `out` already holds. After an error `out` is as it was.
///
/// # Errors
/// [`EncodeError`], naming the attribute.
pub fn write_data_set_into(
    out: &mut Vec<u8>,
    attributes: &Attributes,
    transfer_syntax: &TransferSyntaxUid,
) -> Result<(), EncodeError> {
    write_data_set_in(out, attributes, transfer_syntax, Repertoire::Utf8)
}

/// As [`write_data_set_into`], in the characters of `repertoire`.
///
/// # Errors
/// [`EncodeError`], naming the attribute; [`EncodeError::Value`] also where the repertoire lacks a
/// character.
pub fn write_data_set_in(
    out: &mut Vec<u8>,
    attributes: &Attributes,
    transfer_syntax: &TransferSyntaxUid,
    repertoire: Repertoire,
) -> Result<(), EncodeError> {
    if Encoding::of(transfer_syntax) == Encoding::Deflated {
        let mut plain = Vec::new();
        let mut writer = Writer::new(&mut plain, Layout::ExplicitLittle);
        writer.repertoire = repertoire;
        writer.data_set(attributes)?;
        return deflate(&plain, out);
    }
    let start = out.len();
    let mut writer = Writer::new(out, Layout::of(transfer_syntax));
    writer.repertoire = repertoire;
    let written = writer.data_set(attributes);
    if written.is_err() {
        out.truncate(start);
    }
    written
}

fn deflate(plain: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = out.len();
    let mut encoder = flate2::write::DeflateEncoder::new(out, flate2::Compression::default());
    // Writing to memory does not fail; if it ever did, the data set could not be written.
    let failed = |_| EncodeError::TooLong {
        tag: tags::SPECIFIC_CHARACTER_SET,
    };
    encoder.write_all(plain).map_err(failed)?;
    let out = encoder.finish().map_err(failed)?;
    if out.len().wrapping_sub(start) % 2 == 1 {
        out.push(0);
    }
    Ok(())
}

impl Layout {
    /// The layout of data sets in `transfer_syntax`, once inflated where it is a deflated one.
    #[must_use]
    pub fn of(transfer_syntax: &TransferSyntaxUid) -> Self {
        Encoding::of(transfer_syntax).layout()
    }
}

/// Writes one element after the other behind what the buffer already holds.
///
/// Elements come in the order they are given: ascending tags are the caller's duty. Nothing is
/// checked against the dictionary.
#[derive(Debug)]
pub struct Writer<'b> {
    out: &'b mut Vec<u8>,
    layout: Layout,
    repertoire: Repertoire,
}

/// Where a length stands that is known only later.
struct Pending {
    at: usize,
    tag: Tag,
}

impl<'b> Writer<'b> {
    /// Writes to the end of `out`.
    pub const fn new(out: &'b mut Vec<u8>, layout: Layout) -> Self {
        Self {
            out,
            layout,
            repertoire: Repertoire::Utf8,
        }
    }

    /// A value of text as it stands, with the padding of its VR (NUL for UI, else a space).
    ///
    /// # Errors
    /// [`EncodeError::TooLong`].
    pub fn text(&mut self, tag: Tag, vr: Vr, text: &str) -> Result<(), EncodeError> {
        let padding = if matches!(vr, Vr::UI | Vr::UN | Vr::OB) {
            0
        } else {
            b' '
        };
        self.padded(tag, vr, text.as_bytes(), padding)
    }

    /// A value of bytes that are already in this layout, NUL at the end where their number is odd.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`].
    pub fn bytes(&mut self, tag: Tag, vr: Vr, bytes: &[u8]) -> Result<(), EncodeError> {
        self.padded(tag, vr, bytes, 0)
    }

    /// A text that is encoded already, a space at the end where its length is odd.
    pub(crate) fn encoded_text(
        &mut self,
        tag: Tag,
        vr: Vr,
        bytes: &[u8],
    ) -> Result<(), EncodeError> {
        self.padded(tag, vr, bytes, b' ')
    }

    /// One unsigned 16 bit number, VR US.
    pub fn us(&mut self, tag: Tag, value: u16) {
        self.short_header(tag, Vr::US, 2);
        self.put_u16(value);
    }

    /// One unsigned 32 bit number, VR UL.
    pub fn ul(&mut self, tag: Tag, value: u32) {
        self.short_header(tag, Vr::UL, 4);
        self.put_u32(value);
    }

    /// An attribute, its items included. (0008,0005) is written as it stands: see
    /// [`Self::data_set`].
    ///
    /// # Errors
    /// [`EncodeError`], naming the attribute.
    pub fn attribute(&mut self, attribute: &Attribute) -> Result<(), EncodeError> {
        self.attribute_at(attribute, 0)
    }

    /// All of a data set, with the Specific Character Set that its values need.
    ///
    /// # Errors
    /// [`EncodeError`], naming the attribute.
    pub fn data_set(&mut self, attributes: &Attributes) -> Result<(), EncodeError> {
        let mut due = !is_ascii(attributes, 0)?;
        for attribute in attributes {
            if attribute.tag == tags::SPECIFIC_CHARACTER_SET {
                continue;
            }
            if due && attribute.tag > tags::SPECIFIC_CHARACTER_SET {
                self.character_set()?;
                due = false;
            }
            self.attribute_at(attribute, 0)?;
        }
        if due { self.character_set() } else { Ok(()) }
    }

    fn character_set(&mut self) -> Result<(), EncodeError> {
        let term = match self.repertoire {
            // What is not ASCII is about to be refused where it stands.
            Repertoire::Ascii => return Ok(()),
            Repertoire::Cyrillic => "ISO_IR 144",
            Repertoire::Utf8 => "ISO_IR 192",
        };
        self.text(tags::SPECIFIC_CHARACTER_SET, Vr::CS, term)
    }

    /// A text in the repertoire of this writer.
    fn charset_text(&mut self, tag: Tag, vr: Vr, text: &str) -> Result<(), EncodeError> {
        if self.repertoire == Repertoire::Utf8 || text.is_ascii() {
            return self.text(tag, vr, text);
        }
        if self.repertoire == Repertoire::Ascii || !is_charset_text(vr) {
            return Err(EncodeError::Value { tag });
        }
        match encoding_rs::ISO_8859_5.encode(text) {
            (bytes, _, false) => self.padded(tag, vr, &bytes, b' '),
            (_, _, true) => Err(EncodeError::Value { tag }),
        }
    }

    fn attribute_at(&mut self, attribute: &Attribute, depth: usize) -> Result<(), EncodeError> {
        let Attribute { tag, vr, ref value } = *attribute;
        match value {
            Value::Items(items) => self.sequence(tag, items, depth),
            Value::Suspect(text) | Value::Text(text) => self.value(tag, vr, text),
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "every VR that is neither bytes, items nor numbers is text"
    )]
    fn value(&mut self, tag: Tag, vr: Vr, text: &str) -> Result<(), EncodeError> {
        use Vr::{AT, FD, FL, OB, OD, OF, OL, OV, OW, SL, SQ, SS, SV, UL, US, UV};
        if text.is_empty() {
            return self.header(tag, vr, 0);
        }
        match vr {
            OB | OD | OF | OL | OV | OW | SQ => Err(EncodeError::Value { tag }),
            AT | FD | FL | SL | SS | SV | UL | US | UV => self.numbers(tag, vr, text),
            _ => self.charset_text(tag, vr, text),
        }
    }

    fn numbers(&mut self, tag: Tag, vr: Vr, text: &str) -> Result<(), EncodeError> {
        let pending = self.open(tag, vr);
        let big = self.layout == Layout::ExplicitBig;
        for one in text.split('\\') {
            number::put(self.out, vr, one.trim_matches([' ', '\0']), big)
                .ok_or(EncodeError::Value { tag })?;
        }
        self.close(&pending, vr)
    }

    fn sequence(
        &mut self,
        tag: Tag,
        items: &[Attributes],
        depth: usize,
    ) -> Result<(), EncodeError> {
        if depth >= ITEM_DEPTH_MAX {
            return Err(EncodeError::Depth);
        }
        let sequence = self.open(tag, Vr::SQ);
        for item in items {
            self.put_tag(Tag(0xfffe, 0xe000));
            self.put_u32(0);
            let pending = self.pending(tag);
            for attribute in item {
                // The character set of the data set holds for its items.
                if attribute.tag != tags::SPECIFIC_CHARACTER_SET {
                    self.attribute_at(attribute, depth.saturating_add(1))?;
                }
            }
            self.close(&pending, Vr::SQ)?;
        }
        self.close(&sequence, Vr::SQ)
    }

    fn padded(&mut self, tag: Tag, vr: Vr, bytes: &[u8], padding: u8) -> Result<(), EncodeError> {
        let odd = bytes.len() % 2 == 1;
        self.header(tag, vr, bytes.len().saturating_add(usize::from(odd)))?;
        self.out.extend_from_slice(bytes);
        if odd {
            self.out.push(padding);
        }
        Ok(())
    }

    /// The header of a value of `length` bytes.
    pub(crate) fn header(&mut self, tag: Tag, vr: Vr, length: usize) -> Result<(), EncodeError> {
        let short = u16::try_from(length);
        if self.layout == Layout::ImplicitLittle || !has_long_form(vr) {
            if let Ok(length) = short {
                self.short_header(tag, vr, length);
                return Ok(());
            }
            if self.layout != Layout::ImplicitLittle {
                return Err(EncodeError::TooLong { tag });
            }
        }
        // FFFFFFFFH would mean an undefined length.
        let length = u32::try_from(length)
            .ok()
            .filter(|length| *length != u32::MAX)
            .ok_or(EncodeError::TooLong { tag })?;
        self.put_tag(tag);
        if self.layout != Layout::ImplicitLittle {
            self.out.extend_from_slice(&vr.to_bytes());
            self.out.extend_from_slice(&[0, 0]);
        }
        self.put_u32(length);
        Ok(())
    }

    fn short_header(&mut self, tag: Tag, vr: Vr, length: u16) {
        let (group, element) = (tag.group(), tag.element());
        // One append for each element: answers are written by the hundred thousand.
        let little = |bytes: [u8; 4]| {
            let ([g0, g1], [e0, e1]) = (group.to_le_bytes(), element.to_le_bytes());
            let [b0, b1, b2, b3] = bytes;
            [g0, g1, e0, e1, b0, b1, b2, b3]
        };
        let [v0, v1] = vr.to_bytes();
        self.out.extend_from_slice(&match self.layout {
            Layout::ImplicitLittle => little(u32::from(length).to_le_bytes()),
            Layout::ExplicitLittle => {
                let [l0, l1] = length.to_le_bytes();
                little([v0, v1, l0, l1])
            }
            Layout::ExplicitBig => {
                let ([g0, g1], [e0, e1]) = (group.to_be_bytes(), element.to_be_bytes());
                let [l0, l1] = length.to_be_bytes();
                [g0, g1, e0, e1, v0, v1, l0, l1]
            }
        });
    }

    /// Begins a value whose length [`Self::close`] fills in.
    fn open(&mut self, tag: Tag, vr: Vr) -> Pending {
        if self.layout == Layout::ImplicitLittle || !has_long_form(vr) {
            self.short_header(tag, vr, 0);
        } else {
            self.put_tag(tag);
            self.out.extend_from_slice(&vr.to_bytes());
            self.out.extend_from_slice(&[0; 6]);
        }
        self.pending(tag)
    }

    const fn pending(&self, tag: Tag) -> Pending {
        Pending {
            at: self.out.len(),
            tag,
        }
    }

    fn close(&mut self, pending: &Pending, vr: Vr) -> Result<(), EncodeError> {
        let Pending { at, tag } = *pending;
        let too_long = EncodeError::TooLong { tag };
        let length = self.out.len().saturating_sub(at);
        let big = self.layout == Layout::ExplicitBig;
        if self.layout != Layout::ImplicitLittle && !has_long_form(vr) {
            let length = u16::try_from(length).map_err(|_| too_long)?;
            let bytes = if big {
                length.to_be_bytes()
            } else {
                length.to_le_bytes()
            };
            self.patch(at, &bytes);
        } else {
            let length = u32::try_from(length).map_err(|_| too_long)?;
            let bytes = if big {
                length.to_be_bytes()
            } else {
                length.to_le_bytes()
            };
            self.patch(at, &bytes);
        }
        Ok(())
    }

    fn patch(&mut self, end: usize, bytes: &[u8]) {
        let begin = end.saturating_sub(bytes.len());
        if let Some(place) = self.out.get_mut(begin..end) {
            place.copy_from_slice(bytes);
        }
    }

    /// A sequence without length: items follow, and [`Self::end_sequence`].
    pub(crate) fn begin_sequence(&mut self, tag: Tag) {
        self.begin_undefined(tag, Vr::SQ);
    }

    /// Encapsulated pixel data: fragments follow, and [`Self::end_sequence`] (PS3.5 A.4).
    pub(crate) fn begin_fragments(&mut self, tag: Tag, vr: Vr) {
        self.begin_undefined(tag, vr);
    }

    fn begin_undefined(&mut self, tag: Tag, vr: Vr) {
        self.put_tag(tag);
        if self.layout != Layout::ImplicitLittle {
            self.out.extend_from_slice(&vr.to_bytes());
            self.out.extend_from_slice(&[0, 0]);
        }
        self.put_u32(u32::MAX);
    }

    /// A fragment of so many bytes, which follow.
    pub(crate) fn begin_fragment(&mut self, length: u32) {
        self.put_tag(Tag(0xFFFE, 0xE000));
        self.put_u32(length);
    }

    /// An item without length: elements follow, and [`Self::end_item`].
    pub(crate) fn begin_item(&mut self) {
        self.begin_fragment(u32::MAX);
    }

    /// Elements that are encoded already, in this layout.
    pub(crate) fn elements(&mut self, encoded: &[u8]) {
        self.out.extend_from_slice(encoded);
    }

    /// The delimiter of an item without length.
    pub(crate) fn end_item(&mut self) {
        self.put_tag(Tag(0xFFFE, 0xE00D));
        self.put_u32(0);
    }

    /// The delimiter of a sequence without length.
    pub(crate) fn end_sequence(&mut self) {
        self.put_tag(Tag(0xFFFE, 0xE0DD));
        self.put_u32(0);
    }

    fn put_tag(&mut self, tag: Tag) {
        self.put_u16(tag.group());
        self.put_u16(tag.element());
    }

    fn put_u16(&mut self, value: u16) {
        self.out.extend_from_slice(&match self.layout {
            Layout::ExplicitBig => value.to_be_bytes(),
            Layout::ExplicitLittle | Layout::ImplicitLittle => value.to_le_bytes(),
        });
    }

    fn put_u32(&mut self, value: u32) {
        self.out.extend_from_slice(&match self.layout {
            Layout::ExplicitBig => value.to_be_bytes(),
            Layout::ExplicitLittle | Layout::ImplicitLittle => value.to_le_bytes(),
        });
    }
}

/// Whether a VR has two reserved bytes and a length of 32 bits in the explicit forms (PS3.5 7.1.2).
pub(crate) const fn has_long_form(vr: Vr) -> bool {
    use Vr::{OB, OD, OF, OL, OV, OW, SQ, SV, UC, UN, UR, UT, UV};
    matches!(
        vr,
        OB | OD | OF | OL | OV | OW | SQ | SV | UC | UN | UR | UT | UV
    )
}

fn is_ascii(attributes: &Attributes, depth: usize) -> Result<bool, EncodeError> {
    if depth > ITEM_DEPTH_MAX {
        return Err(EncodeError::Depth);
    }
    for attribute in attributes {
        let ascii = match &attribute.value {
            Value::Suspect(text) | Value::Text(text) => text.is_ascii(),
            Value::Items(items) => {
                let mut all = true;
                for item in items {
                    all = all && is_ascii(item, depth.saturating_add(1))?;
                }
                all
            }
        };
        if !ascii {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests;
