//! Where pixel data is, and its frames (PS3.5 8 and A.4): found with positioned reads, so that the
//! first frame and the thousandth cost the same.
//!
//! Frames of encapsulated pixel data are found by [`FrameMap`], for whoever wants them.

use crate::model::word_bytes;
use crate::walk::{DataSet, Walk, WalkError};
use pacs_core::scan::{Element, Event, ScanError, is_pixel_data};
use pacs_core::tag::tags;
use pacs_core::{Tag, TransferSyntaxUid, Vr};
use pacs_image::{FrameMap, FrameMapError, ImageLimits, PixelDataPlace, ReadAt};
use pacs_store::ReadError;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// The tag of a fragment.
const ITEM: Tag = Tag(0xFFFE, 0xE000);

/// Bytes before a fragment: its item tag and length.
const ITEM_HEADER_BYTES: u64 = 8;

/// The attributes that say how pixel data is to be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Description {
    pub(crate) rows: u64,
    pub(crate) columns: u64,
    pub(crate) samples: u64,
    pub(crate) bits_allocated: u64,
    pub(crate) frames: u64,
    /// Extended Offset Table (7FE0,0001) and Extended Offset Table Lengths (7FE0,0002).
    offsets: Option<Range<u64>>,
    lengths: Option<Range<u64>>,
}

/// Pixel data, found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pixels {
    /// Fragments; where the first item, the basic offset table, stands.
    Encapsulated { items: u64 },
    /// One value.
    Native {
        value: Range<u64>,
        vr: Vr,
        big_endian: bool,
    },
}

impl Pixels {
    /// Bytes of the words that are to be turned to little endian; 1: none are.
    pub(crate) fn word(&self) -> usize {
        match self {
            Self::Native { vr, big_endian, .. } if *big_endian => word_bytes(*vr),
            Self::Native { .. } | Self::Encapsulated { .. } => 1,
        }
    }
}

/// Why a frame is not given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error(transparent)]
    Walk(#[from] WalkError),
    #[error(transparent)]
    Map(#[from] FrameMapError<ReadError>),
    #[error("there is no such frame")]
    NoSuchFrame,
    #[error("the instance has no pixel data")]
    NoPixelData,
    #[error("the frames cannot be told apart")]
    NotTold,
    #[error("at most {fragments_max} fragments at once: ask for fewer frames")]
    TooMany { fragments_max: usize },
}

/// Walks through the head of a data set, up to its pixel data.
pub(crate) fn describe<S: DataSet>(
    walk: &mut Walk<S>,
) -> Result<(Description, Pixels), FrameError> {
    let mut description = Description {
        samples: 1,
        frames: 1,
        ..Description::default()
    };
    let mut depth: usize = 0;
    while let Some(event) = walk.step()? {
        match event {
            Event::Element(element) if depth == 0 && is_pixel_data(element.tag) => {
                let pixels = Pixels::Native {
                    value: element.value.clone(),
                    vr: element.vr,
                    big_endian: element.big_endian,
                };
                return Ok((description, pixels));
            }
            Event::FragmentsBegin(element) if depth == 0 && is_pixel_data(element.tag) => {
                let items = element.value.start;
                return Ok((description, Pixels::Encapsulated { items }));
            }
            Event::Element(element) if depth == 0 => note(walk, &element, &mut description)?,
            Event::SequenceBegin(_) | Event::FragmentsBegin(_) => depth = depth.saturating_add(1),
            Event::SequenceEnd { .. } | Event::FragmentsEnd { .. } => {
                depth = depth.saturating_sub(1);
            }
            Event::Element(_)
            | Event::Fragment { .. }
            | Event::ItemBegin { .. }
            | Event::ItemEnd { .. }
            | Event::Trailing { .. } => {}
        }
    }
    Err(FrameError::NoPixelData)
}

fn note<S: DataSet>(
    walk: &Walk<S>,
    element: &Element,
    description: &mut Description,
) -> Result<(), WalkError> {
    match element.tag {
        tags::EXTENDED_OFFSET_TABLE => description.offsets = Some(element.value.clone()),
        tags::EXTENDED_OFFSET_TABLE_LENGTHS => description.lengths = Some(element.value.clone()),
        _ => {}
    }
    let field = match element.tag {
        tags::ROWS => &mut description.rows,
        tags::COLUMNS => &mut description.columns,
        tags::SAMPLES_PER_PIXEL => &mut description.samples,
        tags::BITS_ALLOCATED => &mut description.bits_allocated,
        tags::NUMBER_OF_FRAMES => &mut description.frames,
        _ => return Ok(()),
    };
    if element.length() > 16 {
        return Ok(());
    }
    let bytes = walk.value(&element.value)?;
    let number = match bytes.as_ref() {
        [a, b] if element.vr == Vr::US && element.big_endian => {
            Some(u64::from(u16::from_be_bytes([*a, *b])))
        }
        [a, b] if element.vr == Vr::US => Some(u64::from(u16::from_le_bytes([*a, *b]))),
        text => {
            let text = std::str::from_utf8(text).unwrap_or_default();
            text.trim_matches([' ', '\0', '+']).parse().ok()
        }
    };
    if let Some(number) = number.filter(|number| *number > 0) {
        *field = number;
    }
    Ok(())
}

/// Bytes of a data set that make one frame: whole words, where it is in big endian ones, of which
/// some bits may be no part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Shared by all who ask for the frame.
    pub(crate) ranges: Arc<[Range<u64>]>,
    /// Bits to be left out at the beginning; frames of single bits follow each other without a gap.
    pub(crate) shift_bits: u32,
    /// Bits of the frame, where that is not all of the bytes.
    pub(crate) bits: Option<u64>,
}

/// Frame `number`, from 1 on, of a native value in words of so many bytes.
pub(crate) fn native_frame(
    description: &Description,
    (value, word): (&Range<u64>, usize),
    number: u64,
) -> Result<Frame, FrameError> {
    let at = number.checked_sub(1).ok_or(FrameError::NoSuchFrame)?;
    if at >= description.frames {
        return Err(FrameError::NoSuchFrame);
    }
    let length = value.end.saturating_sub(value.start);
    let pixels = description.rows.saturating_mul(description.columns);
    let declared = pixels
        .saturating_mul(description.samples)
        .saturating_mul(description.bits_allocated);
    // With 4:2:2 there are two samples to a pixel, whatever is declared.
    let frames_bits = declared.saturating_mul(description.frames);
    let bits = if frames_bits <= length.saturating_mul(8) {
        declared
    } else {
        length
            .saturating_mul(8)
            .checked_div(description.frames)
            .unwrap_or(0)
    };
    let whole = bits & !7;
    let bits = if description.bits_allocated == 1 {
        bits
    } else {
        whole
    };
    if bits == 0 {
        return Err(FrameError::NoPixelData);
    }
    let from = at.saturating_mul(bits);
    let to = from.saturating_add(bits);
    // Words that are turned around are read whole.
    let unit = u64::try_from(word.max(1)).unwrap_or(1);
    let begin = (from / 8).checked_div(unit).unwrap_or(0);
    let begin = begin.saturating_mul(unit);
    let end = to
        .div_ceil(8)
        .div_ceil(unit)
        .saturating_mul(unit)
        .min(length);
    let is_whole = end.saturating_sub(begin).saturating_mul(8) == bits;
    let range = value.start.saturating_add(begin)..value.start.saturating_add(end);
    let shift_bits = from.saturating_sub(begin.saturating_mul(8));
    Ok(Frame {
        ranges: Arc::new([range]),
        shift_bits: u32::try_from(shift_bits).unwrap_or(0),
        bits: (!is_whole).then_some(bits),
    })
}

/// A data set whose frames are looked for.
pub(crate) struct Source<'s, S>(pub(crate) &'s S);

impl<S: DataSet> ReadAt for Source<'_, S> {
    type Error = ReadError;

    fn read_at(&self, offset: u64, length: usize) -> Result<Vec<u8>, ReadError> {
        let end = offset.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        self.0.read(&(offset..end))
    }
}

/// Where the frames of encapsulated pixel data are.
#[derive(Debug)]
pub(crate) struct FrameTable(FrameMap);

/// Bounds of finding frames.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TableLimits {
    pub(crate) fragments_max: usize,
    pub(crate) offset_table_bytes_max: u64,
}

impl TableLimits {
    /// The same for whoever only finds frames: however long they are, none is held.
    fn of_image(self) -> ImageLimits {
        ImageLimits {
            encoded_frame_bytes_max: u64::MAX,
            offset_table_bytes_max: self.offset_table_bytes_max,
            frames_max: u32::MAX,
            fragments_max: u32::try_from(self.fragments_max).unwrap_or(u32::MAX),
            ..ImageLimits::default()
        }
    }
}

impl FrameTable {
    /// Bytes of memory that it takes, about.
    pub(crate) const fn bytes(&self) -> usize {
        self.0.memory_bytes()
    }

    /// Finds the frames of pixel data in `transfer_syntax` whose first item stands at `items`.
    pub(crate) fn find<S: DataSet>(
        source: &S,
        description: &Description,
        (items, transfer_syntax): (u64, &TransferSyntaxUid),
        limits: TableLimits,
    ) -> Result<Self, FrameError> {
        let extended = description.offsets.clone().zip(description.lengths.clone());
        let place = PixelDataPlace::of_fragments(items, extended, transfer_syntax);
        let frames = u32::try_from(description.frames).unwrap_or(u32::MAX);
        let map = FrameMap::among_fragments(&Source(source), &place, frames, &limits.of_image());
        Ok(Self(map?))
    }

    /// The frames of these numbers, in this order. Each is looked up once; of all together there
    /// are as many fragments as one frame may have, those asked for twice counted twice: each of
    /// them is a read.
    pub(crate) fn frames<S: DataSet>(
        &self,
        source: &S,
        numbers: impl IntoIterator<Item = u64>,
        limits: TableLimits,
    ) -> Result<Vec<Frame>, FrameError> {
        let fragments_max = limits.fragments_max;
        let mut left = fragments_max;
        let mut known: BTreeMap<u64, Frame> = BTreeMap::new();
        let mut frames = Vec::new();
        for number in numbers {
            let frame = match known.get(&number) {
                Some(frame) => frame.clone(),
                None => self.frame(source, number, limits)?,
            };
            let rest = left.checked_sub(frame.ranges.len());
            left = rest.ok_or(FrameError::TooMany { fragments_max })?;
            known.entry(number).or_insert_with(|| frame.clone());
            frames.push(frame);
        }
        Ok(frames)
    }

    /// Frame `number`, from 1 on.
    fn frame<S: DataSet>(
        &self,
        source: &S,
        number: u64,
        limits: TableLimits,
    ) -> Result<Frame, FrameError> {
        let number = u32::try_from(number).map_err(|_| FrameError::NoSuchFrame)?;
        let at = self.0.frame(number).ok_or(FrameError::NoSuchFrame)?;
        let end = at.offset.saturating_add(at.length_bytes);
        let mut ranges = fragments(source, at.offset, end, limits.fragments_max)?;
        if let [only] = ranges.as_mut_slice() {
            only.end = only.end.saturating_sub(at.padding_bytes().into());
        }
        if ranges.is_empty() {
            return Err(FrameError::NotTold);
        }
        Ok(Frame {
            ranges: ranges.into(),
            shift_bits: 0,
            bits: None,
        })
    }
}

/// The tag and the value of the item whose header stands at `at`; `None` at the end of all.
fn item_at<S: DataSet>(source: &S, at: u64) -> Result<Option<(Tag, Range<u64>)>, WalkError> {
    let header = source.read(&(at..at.saturating_add(ITEM_HEADER_BYTES)))?;
    let Some([g0, g1, e0, e1, l0, l1, l2, l3]) = header.first_chunk::<8>().copied() else {
        return Ok(None);
    };
    let tag = Tag(u16::from_le_bytes([g0, g1]), u16::from_le_bytes([e0, e1]));
    let start = at.saturating_add(ITEM_HEADER_BYTES);
    let length = u64::from(u32::from_le_bytes([l0, l1, l2, l3]));
    let end = start.saturating_add(length);
    if tag == ITEM && end > source.length_bytes() {
        return Err(ScanError::Overrun { offset: at }.into());
    }
    Ok(Some((tag, start..end)))
}

/// The fragments whose headers stand from `from` up to `end`.
fn fragments<S: DataSet>(
    source: &S,
    from: u64,
    end: u64,
    fragments_max: usize,
) -> Result<Vec<Range<u64>>, FrameError> {
    let mut found = Vec::new();
    let mut at = from;
    while at < end {
        let Some((tag, value)) = item_at(source, at)? else {
            break;
        };
        if tag != ITEM {
            break;
        }
        if found.len() >= fragments_max {
            return Err(FrameError::NotTold);
        }
        at = value.end;
        found.push(value);
    }
    Ok(found)
}

/// Where an element stands in a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// Its value is fragments; where the first item stands.
    Fragments { items: u64 },
    /// Its value.
    Value(Element),
}

/// The element at the end of `path`: an element, or a sequence, an item from 1 on, and so on.
pub(crate) fn find<S: DataSet>(
    walk: &mut Walk<S>,
    sequences: &[(Tag, u32)],
    last: Tag,
) -> Result<Option<Found>, WalkError> {
    // The sequence that is open at each depth, and the item in it.
    let mut open: Vec<(Tag, u32)> = Vec::new();
    while let Some(event) = walk.step()? {
        let is_here = open == sequences;
        match event {
            Event::Element(element) if is_here && element.tag == last => {
                return Ok(Some(Found::Value(element)));
            }
            Event::FragmentsBegin(element) if is_here && element.tag == last => {
                let items = element.value.start;
                return Ok(Some(Found::Fragments { items }));
            }
            Event::Element(element) if is_here && open.is_empty() && element.tag > last => {
                // Tags ascend, and what does not is found by nobody.
                return Ok(None);
            }
            Event::SequenceBegin(element) => open.push((element.tag, 0)),
            Event::ItemBegin { .. } => {
                if let Some((_, item)) = open.last_mut() {
                    *item = item.saturating_add(1);
                }
            }
            Event::SequenceEnd { .. } => {
                open.pop();
            }
            Event::FragmentsBegin(_) | Event::FragmentsEnd { .. } | Event::Fragment { .. } => {}
            Event::Element(_) | Event::ItemEnd { .. } | Event::Trailing { .. } => {}
        }
    }
    Ok(None)
}

/// Bytes of a frame that does not begin or end where they do: shifted to whole bytes, the rest
/// zero.
pub(crate) fn shifted(bytes: &[u8], shift_bits: u32, bits: u64) -> Vec<u8> {
    let skipped = usize::try_from(shift_bits / 8).unwrap_or(usize::MAX);
    let bytes = bytes.get(skipped..).unwrap_or_default();
    let length = usize::try_from(bits.div_ceil(8)).unwrap_or(usize::MAX);
    let at = |at: usize| u16::from(bytes.get(at).copied().unwrap_or(0));
    let mut out: Vec<u8> = (0..length.min(bytes.len()))
        .map(|index| {
            // The first pixel is the lowest bit (PS3.5 8.1.1).
            let pair = at(index) | (at(index.saturating_add(1)) << 8);
            let [low, _] = (pair >> (shift_bits % 8)).to_le_bytes();
            low
        })
        .collect();
    let rest = u32::try_from(bits % 8).unwrap_or(0);
    if rest > 0
        && let Some(last) = out.last_mut()
    {
        *last &= u8::MAX >> (8_u32.saturating_sub(rest)).min(7);
    }
    out
}

#[cfg(test)]
fn walk_of(bytes: &[u8], encoding: pacs_core::scan::Encoding) -> Walk<&[u8]> {
    Walk::new(
        bytes,
        encoding,
        0,
        &pacs_core::limits::ScanLimits::default(),
    )
}

#[cfg(test)]
mod tests;
