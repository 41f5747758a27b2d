//! Finds frames among the fragments of stored pixel data.

use super::{FrameMapError, ITEM_HEADER_BYTES, Places, ReadAt, damaged};
use crate::codec::Codec;
use crate::limits::ImageLimits;
use std::ops::Range;

/// Bytes that are read at a time: small fragments are then seen without a read for each.
const WINDOW_BYTES: usize = 4096;

/// Bytes of a fragment that are looked at with its header, to see whether a code stream begins.
const START_BYTES: usize = 4;

/// An offset and a number of bytes for each frame.
type Spans = Vec<(u64, u64)>;

/// Fragments, one after the other.
pub(super) struct Walk<'a, R> {
    source: &'a R,
    limits: &'a ImageLimits,
    position: u64,
    window: Vec<u8>,
    window_at: u64,
}

/// A fragment: where its header stands, the bytes of its content, and the first of them.
struct Fragment {
    offset: u64,
    length_bytes: u64,
    start: Vec<u8>,
}

impl Fragment {
    const fn end(&self) -> u64 {
        self.offset
            .saturating_add(ITEM_HEADER_BYTES)
            .saturating_add(self.length_bytes)
    }
}

impl<'a, R: ReadAt> Walk<'a, R> {
    /// From the offset table on, which stands at `position`.
    pub(super) const fn new(source: &'a R, position: u64, limits: &'a ImageLimits) -> Self {
        Self {
            source,
            limits,
            position,
            window: Vec::new(),
            window_at: 0,
        }
    }

    /// Where each frame is.
    pub(super) fn frames(
        mut self,
        codec: Option<Codec>,
        frames: u32,
        extended: Option<&(Range<u64>, Range<u64>)>,
    ) -> Result<Places, FrameMapError<R::Error>> {
        let table = self.next()?.ok_or(damaged("no offset table"))?;
        let first = table.end();
        let count = usize::try_from(frames).unwrap_or(usize::MAX);
        if let Some((offsets, lengths)) = extended
            && let Some(places) = self.extended(offsets, lengths, first, count)?
        {
            return Ok(Places::Extended(places));
        }
        if count > 1
            && let Some(places) = self.basic(&table, first, count)?
        {
            return Ok(Places::Fragments(places));
        }
        self.position = first;
        self.by_fragments(codec, count).map(Places::Fragments)
    }

    /// Reads numbers of `N` bytes.
    fn numbers<const N: usize>(
        &self,
        range: Range<u64>,
    ) -> Result<Vec<[u8; N]>, FrameMapError<R::Error>> {
        let length = range.end.saturating_sub(range.start);
        let limit = self.limits.offset_table_bytes_max;
        if length > limit {
            let what = "an offset table";
            return Err(FrameMapError::TooLarge { what, limit });
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let bytes = self.source.read_at(range.start, length);
        let bytes = bytes.map_err(FrameMapError::Read)?;
        if bytes.len() < length {
            return Err(damaged("an offset table is cut"));
        }
        Ok(bytes.as_chunks::<N>().0.to_vec())
    }

    /// By the extended offset table, if it has an entry for each frame.
    fn extended(
        &self,
        offsets: &Range<u64>,
        lengths: &Range<u64>,
        first: u64,
        count: usize,
    ) -> Result<Option<Spans>, FrameMapError<R::Error>> {
        let offsets = self.numbers::<8>(offsets.clone())?;
        let lengths = self.numbers::<8>(lengths.clone())?;
        if offsets.len() != count || lengths.len() != count {
            return Ok(None);
        }
        // A frame is one fragment (PS3.3 C.7.6.3.1.8).
        let places = offsets.iter().zip(&lengths).map(|(offset, length)| {
            let offset = first.checked_add(u64::from_le_bytes(*offset))?;
            let length = u64::from_le_bytes(*length);
            let whole = length
                .checked_next_multiple_of(2)?
                .checked_add(ITEM_HEADER_BYTES)?;
            let is_bounded = whole <= self.limits.encoded_frame_bytes_max;
            is_bounded.then_some((offset, length))
        });
        Ok(places.collect())
    }

    /// By the basic offset table, if it has an entry for each frame.
    fn basic(
        &mut self,
        table: &Fragment,
        first: u64,
        count: usize,
    ) -> Result<Option<Spans>, FrameMapError<R::Error>> {
        let begin = table.offset.saturating_add(ITEM_HEADER_BYTES);
        if table.length_bytes != u64::try_from(count).unwrap_or(u64::MAX).saturating_mul(4) {
            return Ok(None);
        }
        let offsets = self.numbers::<4>(begin..table.end())?;
        let offsets: Vec<u32> = offsets.into_iter().map(u32::from_le_bytes).collect();
        let is_ascending = offsets.is_sorted_by(|before, after| before < after);
        if !is_ascending || offsets.first() != Some(&0) {
            return Ok(None);
        }
        let absolute = |offset: u32| first.saturating_add(u64::from(offset));
        let begins = offsets.iter().copied().map(absolute);
        // The last ends where the fragments do.
        self.position = offsets.last().copied().map_or(first, absolute);
        let mut end = self.position;
        while let Some(fragment) = self.next()? {
            end = fragment.end();
        }
        let ends = begins.clone().skip(1).chain([end]);
        let places: Spans = begins
            .zip(ends)
            .map(|(begin, end)| (begin, end.saturating_sub(begin)))
            .collect();
        self.bounded(&places)?;
        Ok(Some(places))
    }

    /// By the fragments themselves.
    fn by_fragments(
        &mut self,
        codec: Option<Codec>,
        count: usize,
    ) -> Result<Spans, FrameMapError<R::Error>> {
        let mut fragments = Vec::new();
        while let Some(fragment) = self.next()? {
            let limit = u64::from(self.limits.fragments_max);
            if u64::try_from(fragments.len()).unwrap_or(u64::MAX) >= limit {
                let what = "fragments";
                return Err(FrameMapError::TooLarge { what, limit });
            }
            let begins = codec.and_then(|codec| codec.begins_frame(&fragment.start));
            let length = fragment.end().saturating_sub(fragment.offset);
            fragments.push((fragment.offset, length, begins.unwrap_or(true)));
        }
        if fragments.is_empty() {
            return Err(FrameMapError::NoFragments);
        }
        let is_one_each = fragments.len() == count;
        let mut places: Spans = Vec::new();
        for (offset, length, begins) in fragments {
            match places.last_mut() {
                Some((_, whole)) if count == 1 || !(begins || is_one_each) => {
                    *whole = whole.saturating_add(length);
                }
                _ => places.push((offset, length)),
            }
        }
        if places.len() != count {
            return Err(damaged("fragments that cannot be told apart"));
        }
        self.bounded(&places)?;
        Ok(places)
    }

    fn bounded(&self, places: &[(u64, u64)]) -> Result<(), FrameMapError<R::Error>> {
        let limit = self.limits.encoded_frame_bytes_max;
        if places.iter().any(|(_, length)| *length > limit) {
            let what = "an encoded frame";
            return Err(FrameMapError::TooLarge { what, limit });
        }
        Ok(())
    }

    /// The next fragment; `None` at the delimiter, or where the data set ends behind a whole one.
    fn next(&mut self) -> Result<Option<Fragment>, FrameMapError<R::Error>> {
        let header_bytes = usize::try_from(ITEM_HEADER_BYTES).unwrap_or(8);
        let wanted = header_bytes.saturating_add(START_BYTES);
        let within = self.position.checked_sub(self.window_at);
        let within = within.and_then(|at| usize::try_from(at).ok());
        // A window that is shorter ends with the data set.
        let is_last = (1..WINDOW_BYTES).contains(&self.window.len());
        let wanted = if is_last { header_bytes } else { wanted };
        let within = within.filter(|at| at.saturating_add(wanted) <= self.window.len());
        let at = match within {
            Some(at) => at,
            None => {
                let read = self.source.read_at(self.position, WINDOW_BYTES);
                self.window = read.map_err(FrameMapError::Read)?;
                self.window_at = self.position;
                0
            }
        };
        let here = self.window.get(at..).unwrap_or_default();
        if here.is_empty() && self.is_end()? {
            return Ok(None);
        }
        let (header, content) = here
            .split_first_chunk::<8>()
            .ok_or(damaged("fragments without an end"))?;
        let [tag @ .., a, b, c, d] = *header;
        let length_bytes = u64::from(u32::from_le_bytes([a, b, c, d]));
        match tag {
            [0xFE, 0xFF, 0xDD, 0xE0] => return Ok(None),
            [0xFE, 0xFF, 0x00, 0xE0] if length_bytes < u64::from(super::UNDEFINED) => {}
            _ => return Err(damaged("something else than a fragment")),
        }
        let start_bytes = usize::try_from(length_bytes).map_or(START_BYTES, |n| n.min(START_BYTES));
        let fragment = Fragment {
            offset: self.position,
            length_bytes,
            start: content.get(..start_bytes).unwrap_or(content).to_vec(),
        };
        self.position = fragment.end();
        Ok(Some(fragment))
    }

    /// Whether the data set, of which nothing is left, ends just here and not before.
    fn is_end(&self) -> Result<bool, FrameMapError<R::Error>> {
        let Some(before) = self.position.checked_sub(1) else {
            return Ok(false);
        };
        let last = self.source.read_at(before, 1);
        Ok(!last.map_err(FrameMapError::Read)?.is_empty())
    }
}
