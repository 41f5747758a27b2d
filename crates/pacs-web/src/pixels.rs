//! Where pixel data is, and its frames (PS3.5 8 and A.4): found with positioned reads, so that the
//! first frame and the thousandth cost the same.
//!
//! Frames of encapsulated pixel data are found by the extended offset table, by the basic one, or
//! fragment by fragment: one frame is all fragments; as many fragments as frames are one each.

use crate::walk::{DataSet, Walk, WalkError};
use pacs_core::scan::{Element, Event, ScanError, is_pixel_data};
use pacs_core::tag::tags;
use pacs_core::{Tag, Vr};
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

/// Why a frame is not given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error(transparent)]
    Walk(#[from] WalkError),
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

/// Bytes of a data set that make one frame, and whether they begin in the middle of a byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Shared by all who ask for the frame.
    pub(crate) ranges: Arc<[Range<u64>]>,
    /// Bits to be left out at the beginning; frames of single bits follow each other without a gap.
    pub(crate) shift_bits: u32,
    /// Bits of the frame, where it is not of whole bytes.
    pub(crate) bits: Option<u64>,
}

/// Frame `number`, from 1 on, of a native value.
pub(crate) fn native_frame(
    description: &Description,
    value: &Range<u64>,
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
    let start = value.start.saturating_add(from / 8);
    let end = value.start.saturating_add(to.div_ceil(8)).min(value.end);
    let range = start..end;
    Ok(Frame {
        ranges: Arc::new([range]),
        shift_bits: u32::try_from(from % 8).unwrap_or(0),
        bits: (bits % 8 != 0).then_some(bits),
    })
}

/// Where the frames of encapsulated pixel data are.
#[derive(Debug)]
pub(crate) enum FrameTable {
    /// Where each begins, as far as the items begin.
    Offsets {
        first: u64,
        offsets: Vec<u64>,
        lengths: Option<Vec<u64>>,
    },
    /// The fragments of each.
    Fragments(Vec<Arc<[Range<u64>]>>),
}

/// Bounds of finding frames.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TableLimits {
    pub(crate) fragments_max: usize,
    pub(crate) offset_table_bytes_max: u64,
}

impl FrameTable {
    /// Bytes of memory that it takes, about.
    pub(crate) fn bytes(&self) -> usize {
        let of_range = size_of::<Range<u64>>();
        match self {
            Self::Offsets {
                offsets, lengths, ..
            } => {
                let lengths = lengths.as_ref().map_or(0, Vec::len);
                offsets.len().saturating_add(lengths).saturating_mul(8)
            }
            // Each is an allocation of its own, with its counts.
            Self::Fragments(frames) => frames
                .iter()
                .map(|ranges| ranges.len().saturating_add(4).saturating_mul(of_range))
                .fold(0, usize::saturating_add),
        }
    }

    /// Finds the frames of pixel data whose first item stands at `items`.
    pub(crate) fn find<S: DataSet>(
        source: &S,
        description: &Description,
        items: u64,
        limits: TableLimits,
    ) -> Result<Self, FrameError> {
        let (_, table) = item_at(source, items)?.ok_or(FrameError::NoPixelData)?;
        let first = table.end;
        if let Some(found) = Self::extended(source, description, first, limits)? {
            return Ok(found);
        }
        if let Some(found) = Self::basic(source, description, &table, limits)? {
            return Ok(found);
        }
        let fragments = fragments(source, first, u64::MAX, limits.fragments_max)?;
        let count = u64::try_from(fragments.len()).unwrap_or(u64::MAX);
        if fragments.is_empty() {
            Err(FrameError::NoPixelData)
        } else if description.frames == 1 {
            Ok(Self::Fragments(vec![fragments.into()]))
        } else if count == description.frames {
            let each = fragments.into_iter().map(|fragment| Arc::from([fragment]));
            Ok(Self::Fragments(each.collect()))
        } else {
            Err(FrameError::NotTold)
        }
    }

    fn extended<S: DataSet>(
        source: &S,
        description: &Description,
        first: u64,
        limits: TableLimits,
    ) -> Result<Option<Self>, FrameError> {
        let (Some(offsets), Some(lengths)) = (&description.offsets, &description.lengths) else {
            return Ok(None);
        };
        let bytes = |range: &Range<u64>| range.end.saturating_sub(range.start);
        let expected = description.frames.saturating_mul(8);
        let is_whole = bytes(offsets) == expected && bytes(lengths) == expected;
        if !is_whole || expected > limits.offset_table_bytes_max {
            return Ok(None);
        }
        let read = |range: &Range<u64>| -> Result<Vec<u64>, FrameError> {
            let bytes = source.read(range).map_err(WalkError::from)?;
            let words = bytes.as_chunks::<8>().0.iter();
            Ok(words.map(|word| u64::from_le_bytes(*word)).collect())
        };
        let (offsets, lengths) = (read(offsets)?, read(lengths)?);
        let is_ascending = offsets.is_sorted_by(|before, after| before < after);
        Ok(
            (is_ascending && offsets.first() == Some(&0)).then_some(Self::Offsets {
                first,
                offsets,
                lengths: Some(lengths),
            }),
        )
    }

    fn basic<S: DataSet>(
        source: &S,
        description: &Description,
        table: &Range<u64>,
        limits: TableLimits,
    ) -> Result<Option<Self>, FrameError> {
        let length = table.end.saturating_sub(table.start);
        let expected = description.frames.saturating_mul(4);
        if length != expected || length > limits.offset_table_bytes_max || description.frames == 1 {
            return Ok(None);
        }
        let bytes = source.read(table).map_err(WalkError::from)?;
        let words = bytes.as_chunks::<4>().0.iter();
        let offsets: Vec<u64> = words
            .map(|word| u64::from(u32::from_le_bytes(*word)))
            .collect();
        let is_ascending = offsets.is_sorted_by(|before, after| before < after);
        Ok(
            (is_ascending && offsets.first() == Some(&0)).then_some(Self::Offsets {
                first: table.end,
                offsets,
                lengths: None,
            }),
        )
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
        let at = number
            .checked_sub(1)
            .and_then(|at| usize::try_from(at).ok());
        let at = at.ok_or(FrameError::NoSuchFrame)?;
        let ranges = match self {
            Self::Fragments(frames) => Arc::clone(frames.get(at).ok_or(FrameError::NoSuchFrame)?),
            Self::Offsets {
                first,
                offsets,
                lengths,
            } => {
                let offset = offsets.get(at).ok_or(FrameError::NoSuchFrame)?;
                let next = offsets.get(at.saturating_add(1));
                let end = next.map_or(u64::MAX, |next| first.saturating_add(*next));
                let from = first.saturating_add(*offset);
                let mut ranges = fragments(source, from, end, limits.fragments_max)?;
                if let (Some(lengths), [only]) = (lengths, ranges.as_mut_slice()) {
                    // Without the padding of an odd length.
                    let length = lengths.get(at).copied().unwrap_or(u64::MAX);
                    only.end = only.end.min(only.start.saturating_add(length));
                }
                ranges.into()
            }
        };
        if ranges.is_empty() {
            return Err(FrameError::NotTold);
        }
        Ok(Frame {
            ranges,
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

/// Bytes of a frame that begins or ends within a byte: shifted to whole bytes, the rest zero.
pub(crate) fn shifted(bytes: &[u8], shift_bits: u32, bits: u64) -> Vec<u8> {
    let length = usize::try_from(bits.div_ceil(8)).unwrap_or(usize::MAX);
    let at = |at: usize| u16::from(bytes.get(at).copied().unwrap_or(0));
    let mut out: Vec<u8> = (0..length.min(bytes.len()))
        .map(|index| {
            // The first pixel is the lowest bit (PS3.5 8.1.1).
            let pair = at(index) | (at(index.saturating_add(1)) << 8);
            let [low, _] = (pair >> shift_bits.min(7)).to_le_bytes();
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
