//! Puts what was described and its bulk data in order: a DICOM file (PS3.10 7), in pieces.
//!
//! The data set is Explicit VR Little Endian, or the transfer syntax that the parts with the
//! compressed frames say: each is one fragment then, and a table says where they begin.

use super::{Attribute, Content, Described, DescribedError};
use crate::compose::bulk::{BulkPart, BulkParts};
use pacs_core::scan::file::file_meta;
use pacs_core::tag::tags;
use pacs_core::{SeriesUid, SopClassUid, SopInstanceUid, StudyUid, Tag, TransferSyntaxUid, Vr};
use std::ops::Range;

/// What is composed where nothing is compressed.
const EXPLICIT_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1";

const ITEM: Tag = Tag(0xFFFE, 0xE000);
const ITEM_END: Tag = Tag(0xFFFE, 0xE00D);
const SEQUENCE_END: Tag = Tag(0xFFFE, 0xE0DD);

/// A length that is not said (PS3.5 7.1.1).
const UNDEFINED: u32 = u32::MAX;

/// A piece of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Bulk data: where it is kept.
    Bulk(Range<u64>),
    Bytes(Vec<u8>),
}

/// The file that `described` and its bulk data, among `parts`, make.
///
/// # Errors
/// [`DescribedError`].
pub(crate) fn compose(
    described: &Described,
    parts: &mut BulkParts,
) -> Result<Vec<Piece>, DescribedError> {
    let uid = |tag| described.text(tag).ok_or(DescribedError::Missing { tag });
    let missing = |tag| move |_| DescribedError::Missing { tag };
    let tag = tags::SOP_CLASS_UID;
    let class = SopClassUid::parse_legacy(uid(tag)?).map_err(missing(tag))?;
    let tag = tags::SOP_INSTANCE_UID;
    let instance = SopInstanceUid::parse_legacy(uid(tag)?).map_err(missing(tag))?;
    let tag = tags::STUDY_INSTANCE_UID;
    StudyUid::parse_legacy(uid(tag)?).map_err(missing(tag))?;
    let tag = tags::SERIES_INSTANCE_UID;
    SeriesUid::parse_legacy(uid(tag)?).map_err(missing(tag))?;
    let frames = compressed_frames(described, parts)?;
    let syntax = match &frames {
        Some(frames) => frames.transfer_syntax.clone(),
        None => TransferSyntaxUid::parse(EXPLICIT_LITTLE_ENDIAN)
            .map_err(|_| DescribedError::PixelSyntax)?,
    };
    let mut layout = Layout {
        parts,
        pieces: Vec::new(),
        out: file_meta(&class, &instance, &syntax),
    };
    for attribute in &described.attributes {
        match (&frames, attribute.tag) {
            (Some(frames), tags::PIXEL_DATA) => layout.fragments(frames)?,
            (Some(frames), tags::EXTENDED_OFFSET_TABLE) => {
                layout.table(attribute.tag, &frames.offsets())?;
            }
            (Some(frames), tags::EXTENDED_OFFSET_TABLE_LENGTHS) => {
                let lengths: Vec<u64> = frames.lengths().collect();
                layout.table(attribute.tag, &lengths)?;
            }
            _ => layout.attribute(attribute)?,
        }
    }
    layout.flush();
    Ok(layout.pieces)
}

/// Compressed pixel data.
struct Frames {
    transfer_syntax: TransferSyntaxUid,
    parts: Vec<BulkPart>,
    /// Whether the extended tables say where frames begin; else the basic one does.
    has_extended_table: bool,
    /// One part holds all frames, as of a video.
    is_stream: bool,
}

fn compressed_frames(
    described: &Described,
    parts: &mut BulkParts,
) -> Result<Option<Frames>, DescribedError> {
    let tag = tags::PIXEL_DATA;
    let Some(Content::Bulk(name)) = described.get(tag).map(|found| &found.content) else {
        let declared = described.transfer_syntax.as_deref();
        let is_inline = described.get(tag).is_some();
        // What is compressed comes as bulk data.
        return if is_inline && declared.is_some_and(|uid| !is_native(uid)) {
            Err(DescribedError::PixelSyntax)
        } else {
            Ok(None)
        };
    };
    let declared = described.transfer_syntax.as_deref();
    let Some(transfer_syntax) = parts.transfer_syntax(name, declared)? else {
        return Ok(None);
    };
    let has_extended_table = described.get(tags::EXTENDED_OFFSET_TABLE).is_some();
    let frames = Frames {
        is_stream: is_video(transfer_syntax.as_str()),
        transfer_syntax,
        parts: parts.take(tag, name)?,
        has_extended_table,
    };
    let count = described.text(tags::NUMBER_OF_FRAMES);
    let count = count.map_or(Some(1), |text| text.parse::<u64>().ok());
    let count = count.ok_or(DescribedError::Value {
        tag: tags::NUMBER_OF_FRAMES,
    })?;
    let found = frames.parts.len();
    if !frames.is_stream && u64::try_from(found) != Ok(count) {
        return Err(DescribedError::Frames {
            parts: found,
            frames: count,
        });
    }
    Ok(Some(frames))
}

/// Whether pixel data in this transfer syntax is one value, which is little endian here.
pub(crate) fn is_native(transfer_syntax: &str) -> bool {
    matches!(
        transfer_syntax,
        "1.2.840.10008.1.2" | EXPLICIT_LITTLE_ENDIAN
    )
}

/// Whether frames of it are not to be told apart (PS3.5 A.4.5 to A.4.9).
fn is_video(transfer_syntax: &str) -> bool {
    let rest = transfer_syntax.strip_prefix("1.2.840.10008.1.2.4.10");
    rest.is_some_and(|rest| rest.len() == 1 || rest.contains('.'))
}

impl Frames {
    fn lengths(&self) -> impl Iterator<Item = u64> {
        self.parts.iter().map(BulkPart::length_bytes)
    }

    /// Where each frame's item begins, counted from the first.
    fn offsets(&self) -> Vec<u64> {
        let mut at = 0_u64;
        let mut offsets = Vec::with_capacity(self.parts.len());
        for length in self.lengths() {
            offsets.push(at);
            at = at
                .saturating_add(length.next_multiple_of(2))
                .saturating_add(8);
        }
        offsets
    }

    /// The basic offset table; none where the extended one says it, nobody can, or it would not
    /// hold the numbers.
    fn basic_table(&self) -> Vec<u32> {
        if self.has_extended_table || self.is_stream {
            return Vec::new();
        }
        let offsets = self.offsets().into_iter().map(u32::try_from);
        offsets.collect::<Result<_, _>>().unwrap_or_default()
    }
}

struct Layout<'p> {
    parts: &'p mut BulkParts,
    pieces: Vec<Piece>,
    out: Vec<u8>,
}

impl Layout<'_> {
    fn flush(&mut self) {
        if !self.out.is_empty() {
            self.pieces
                .push(Piece::Bytes(std::mem::take(&mut self.out)));
        }
    }

    fn attribute(&mut self, attribute: &Attribute) -> Result<(), DescribedError> {
        let Attribute { tag, vr, content } = attribute;
        match content {
            Content::Bytes(bytes) => {
                let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                self.header(*tag, *vr, length)?;
                self.out.extend_from_slice(bytes);
                self.pad(*vr, length);
            }
            Content::Bulk(name) => {
                let [part] = self
                    .parts
                    .take(*tag, name)?
                    .try_into()
                    .map_err(|_| DescribedError::BulkSeveral { tag: *tag })?;
                let part: BulkPart = part;
                let length = part.length_bytes();
                self.header(*tag, *vr, length)?;
                self.bulk(part.range);
                self.pad(*vr, length);
            }
            Content::Items(items) => self.sequence(*tag, items)?,
        }
        Ok(())
    }

    fn bulk(&mut self, range: Range<u64>) {
        self.flush();
        self.pieces.push(Piece::Bulk(range));
    }

    fn pad(&mut self, vr: Vr, length: u64) {
        if length % 2 == 1 {
            let is_text = pacs_core::scan::values::is_text(vr) && vr != Vr::UI;
            self.out.push(if is_text { b' ' } else { 0 });
        }
    }

    fn sequence(&mut self, tag: Tag, items: &[Vec<Attribute>]) -> Result<(), DescribedError> {
        self.put_tag(tag);
        self.out.extend_from_slice(b"SQ\0\0");
        if items.is_empty() {
            self.put_u32(0);
            return Ok(());
        }
        self.put_u32(UNDEFINED);
        for item in items {
            self.put_tag(ITEM);
            if item.is_empty() {
                self.put_u32(0);
                continue;
            }
            self.put_u32(UNDEFINED);
            for attribute in item {
                self.attribute(attribute)?;
            }
            self.put_tag(ITEM_END);
            self.put_u32(0);
        }
        self.put_tag(SEQUENCE_END);
        self.put_u32(0);
        Ok(())
    }

    /// PS3.5 A.4.
    fn fragments(&mut self, frames: &Frames) -> Result<(), DescribedError> {
        let tag = tags::PIXEL_DATA;
        self.put_tag(tag);
        self.out.extend_from_slice(b"OB\0\0");
        self.put_u32(UNDEFINED);
        let table = frames.basic_table();
        self.item(
            tag,
            u64::try_from(table.len().saturating_mul(4)).unwrap_or(u64::MAX),
        )?;
        for offset in table {
            self.put_u32(offset);
        }
        for part in &frames.parts {
            let length = part.length_bytes();
            self.item(tag, length.next_multiple_of(2))?;
            self.bulk(part.range.clone());
            if length % 2 == 1 {
                self.out.push(0);
            }
        }
        self.put_tag(SEQUENCE_END);
        self.put_u32(0);
        Ok(())
    }

    fn item(&mut self, of: Tag, length: u64) -> Result<(), DescribedError> {
        let length = u32::try_from(length)
            .ok()
            .filter(|length| *length != UNDEFINED);
        let length = length.ok_or(DescribedError::TooLong { tag: of })?;
        self.put_tag(ITEM);
        self.put_u32(length);
        Ok(())
    }

    fn table(&mut self, tag: Tag, numbers: &[u64]) -> Result<(), DescribedError> {
        let length = numbers.len().saturating_mul(8);
        self.header(tag, Vr::OV, u64::try_from(length).unwrap_or(u64::MAX))?;
        for number in numbers {
            self.out.extend(number.to_le_bytes());
        }
        Ok(())
    }

    /// The header of a value of `length` bytes before it is padded.
    fn header(&mut self, tag: Tag, vr: Vr, length: u64) -> Result<(), DescribedError> {
        let length = length.next_multiple_of(2);
        self.put_tag(tag);
        let short = u16::try_from(length).ok().filter(|_| !has_long_form(vr));
        if let Some(length) = short {
            self.out.extend_from_slice(&vr.to_bytes());
            self.out.extend_from_slice(&length.to_le_bytes());
            return Ok(());
        }
        // A value that is too long for its VR is of unknown VR (PS3.5 6.2.2).
        let vr = if has_long_form(vr) { vr } else { Vr::UN };
        self.out.extend_from_slice(&vr.to_bytes());
        self.out.extend_from_slice(&[0, 0]);
        let length = u32::try_from(length)
            .ok()
            .filter(|length| *length != UNDEFINED);
        self.put_u32(length.ok_or(DescribedError::TooLong { tag })?);
        Ok(())
    }

    fn put_tag(&mut self, tag: Tag) {
        self.out.extend_from_slice(&tag.group().to_le_bytes());
        self.out.extend_from_slice(&tag.element().to_le_bytes());
    }

    fn put_u32(&mut self, number: u32) {
        self.out.extend_from_slice(&number.to_le_bytes());
    }
}

/// PS3.5 7.1.2.
const fn has_long_form(vr: Vr) -> bool {
    use Vr::{OB, OD, OF, OL, OV, OW, SQ, SV, UC, UN, UR, UT, UV};
    matches!(
        vr,
        OB | OD | OF | OL | OV | OW | SQ | SV | UC | UN | UR | UT | UV
    )
}

#[cfg(test)]
mod tests;
