//! Finds frames among fragments as they come (PS3.5 A.4): by the basic offset table where it has an
//! entry for each frame; else a frame begins with every fragment that begins as the code streams of
//! the codec do, or with every fragment where they have no such beginning; and where there is one
//! frame, it is all fragments.

use crate::codec::Codec;
use crate::limits::ImageLimits;
use pacs_core::convert::PixelError;

/// Bytes before each fragment: its item tag and length.
const ITEM_HEADER_BYTES: u64 = 8;

/// Gathers fragments into encoded frames.
#[derive(Debug)]
pub(crate) struct Frames {
    codec: Codec,
    frames: u32,
    limits: ImageLimits,
    /// Whether the fragment under way is the offset table.
    in_table: bool,
    table: Vec<u8>,
    /// Where each frame begins; empty where the table says nothing of use.
    offsets: Vec<u32>,
    /// Where the next fragment begins, from the first on.
    position: u64,
    /// Frames that have begun.
    begun: u32,
    frame: Vec<u8>,
    /// The first bytes of a fragment of which it is not known yet whether a frame begins with it,
    /// and how many are needed for that.
    undecided: Option<(Vec<u8>, usize)>,
}

/// First bytes that tell whether a code stream begins.
const START_BYTES: u64 = 4;

impl Frames {
    pub(crate) const fn new(codec: Codec, frames: u32, limits: ImageLimits) -> Self {
        Self {
            codec,
            frames,
            limits,
            in_table: false,
            table: Vec::new(),
            offsets: Vec::new(),
            position: 0,
            begun: 0,
            frame: Vec::new(),
            undecided: None,
        }
    }

    /// A fragment of `length_bytes` begins, the first being the offset table. Gives the frame that
    /// ended before it.
    pub(crate) fn fragment(
        &mut self,
        length_bytes: u64,
        is_first: bool,
    ) -> Result<Option<Vec<u8>>, PixelError> {
        self.in_table = is_first;
        if is_first {
            return self.check_table(length_bytes).map(|()| None);
        }
        if self.position == 0 {
            self.offsets = self.read_table();
        }
        let before = match self.begins_frame() {
            Some(true) => self.begin_frame()?,
            Some(false) => None,
            None => {
                let needed = usize::try_from(length_bytes.min(START_BYTES)).unwrap_or(0);
                self.undecided = (needed > 0).then(|| (Vec::new(), needed));
                None
            }
        };
        let here = u64::try_from(self.frame.len()).unwrap_or(u64::MAX);
        let limit_bytes = self.limits.encoded_frame_bytes_max;
        if here.saturating_add(length_bytes) > limit_bytes {
            let what = "an encoded frame";
            return Err(PixelError::TooLarge { what, limit_bytes });
        }
        self.position = self
            .position
            .saturating_add(ITEM_HEADER_BYTES)
            .saturating_add(length_bytes);
        Ok(before)
    }

    /// Bytes of the fragment under way. Gives the frame that ended before it, where only now it is
    /// known that it did.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, PixelError> {
        if self.in_table {
            self.table.extend_from_slice(bytes);
            return Ok(None);
        }
        let Some((start, needed)) = &mut self.undecided else {
            self.frame.extend_from_slice(bytes);
            return Ok(None);
        };
        start.extend_from_slice(bytes);
        if start.len() < *needed {
            return Ok(None);
        }
        let start = std::mem::take(start);
        self.undecided = None;
        let begins = self.codec.begins_frame(&start).unwrap_or(true);
        let before = if begins { self.begin_frame()? } else { None };
        self.frame.extend_from_slice(&start);
        Ok(before)
    }

    /// A frame begins; gives the one before it.
    fn begin_frame(&mut self) -> Result<Option<Vec<u8>>, PixelError> {
        self.begun = self.begun.saturating_add(1);
        if self.begun > self.frames {
            let what = "more frames than Number of Frames";
            return Err(PixelError::Damaged { what });
        }
        let before = std::mem::take(&mut self.frame);
        Ok((!before.is_empty()).then_some(before))
    }

    /// The last frame, once there are no more fragments.
    pub(crate) fn end(&mut self) -> Option<Vec<u8>> {
        let last = std::mem::take(&mut self.frame);
        (!last.is_empty()).then_some(last)
    }

    pub(crate) fn bytes_held(&self) -> usize {
        let held = self.table.capacity().saturating_add(self.frame.capacity());
        held.saturating_add(self.offsets.len().saturating_mul(4))
    }

    fn check_table(&self, length_bytes: u64) -> Result<(), PixelError> {
        let limit_bytes = self.limits.offset_table_bytes_max;
        if length_bytes > limit_bytes {
            let what = "an offset table";
            return Err(PixelError::TooLarge { what, limit_bytes });
        }
        Ok(())
    }

    /// The offsets, if there is one for each frame, in order from the first fragment on.
    fn read_table(&mut self) -> Vec<u32> {
        let table = std::mem::take(&mut self.table);
        let offsets: Vec<u32> = table
            .as_chunks::<4>()
            .0
            .iter()
            .map(|bytes| u32::from_le_bytes(*bytes))
            .collect();
        let count = u32::try_from(offsets.len()).unwrap_or(u32::MAX);
        let is_ascending = offsets.is_sorted_by(|before, after| before < after);
        if count == self.frames && is_ascending && offsets.first() == Some(&0) {
            offsets
        } else {
            Vec::new()
        }
    }

    /// Whether a frame begins with the fragment that begins now; `None` where its bytes say it.
    fn begins_frame(&self) -> Option<bool> {
        if self.begun == 0 {
            return Some(true);
        }
        if self.frames == 1 {
            return Some(false);
        }
        if self.offsets.is_empty() {
            return self.codec.begins_frame(&[]).is_none().then_some(true);
        }
        let next = usize::try_from(self.begun).unwrap_or(usize::MAX);
        let next = self.offsets.get(next).copied().map(u64::from);
        // An offset in the middle of a fragment is that of no frame; the frame before it will then
        // not be whole.
        Some(next.is_some_and(|offset| offset <= self.position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The frames that come of `table` and `fragments`.
    fn frames(count: u32, table: &[u32], fragments: &[&[u8]]) -> Result<Vec<Vec<u8>>, PixelError> {
        frames_of(Codec::Rle, count, table, fragments)
    }

    fn frames_of(
        codec: Codec,
        count: u32,
        table: &[u32],
        fragments: &[&[u8]],
    ) -> Result<Vec<Vec<u8>>, PixelError> {
        let mut frames = Frames::new(codec, count, ImageLimits::default());
        let table: Vec<u8> = table.iter().flat_map(|n| n.to_le_bytes()).collect();
        let mut found = Vec::new();
        assert_eq!(frames.fragment(table.len() as u64, true)?, None);
        assert_eq!(frames.push(&table)?, None);
        for fragment in fragments {
            found.extend(frames.fragment(fragment.len() as u64, false)?);
            for byte in *fragment {
                found.extend(frames.push(&[*byte])?);
            }
        }
        found.extend(frames.end());
        Ok(found)
    }

    #[test]
    fn every_fragment_is_a_frame_where_no_table_says_otherwise() {
        let found = frames(2, &[], &[b"ab", b"cd"]).unwrap();
        assert_eq!(found, [b"ab", b"cd"]);
    }

    #[test]
    fn without_a_table_a_frame_begins_where_a_code_stream_does() {
        let fragments: [&[u8]; 5] = [b"\xFF\xD8\xFF1", b"ab", b"", b"cdefg", b"\xFF\xD8\xFF2"];
        let found = frames_of(Codec::Jpeg, 2, &[], &fragments).unwrap();
        assert_eq!(found, [&b"\xFF\xD8\xFF1abcdefg"[..], b"\xFF\xD8\xFF2"]);
        assert!(frames_of(Codec::Jpeg, 2, &[], &[fragments[0]; 3]).is_err());
    }

    #[test]
    fn one_frame_is_all_fragments() {
        let found = frames(1, &[], &[b"ab", b"cd", b"ef"]).unwrap();
        assert_eq!(found, [b"abcdef"]);
    }

    #[test]
    fn the_offset_table_joins_fragments_to_frames() {
        let found = frames(2, &[0, 20], &[b"ab", b"cd", b"efgh"]).unwrap();
        assert_eq!(found, [b"abcd", b"efgh"]);
    }

    #[test]
    fn a_table_that_does_not_fit_the_frames_is_not_used() {
        for table in [&[0, 20, 30][..], &[4, 20], &[0, 0], &[20, 0]] {
            let found = frames(2, table, &[b"ab", b"cd"]).unwrap();
            assert_eq!(found, [b"ab", b"cd"], "{table:?}");
        }
    }

    #[test]
    fn more_fragments_than_frames_are_refused() {
        assert!(matches!(
            frames(2, &[], &[b"ab", b"cd", b"ef"]),
            Err(PixelError::Damaged { .. })
        ));
    }

    #[test]
    fn a_frame_over_the_limit_is_refused_before_its_bytes_are_taken() {
        let limits = ImageLimits {
            encoded_frame_bytes_max: 10,
            offset_table_bytes_max: 8,
            ..ImageLimits::default()
        };
        let mut frames = Frames::new(Codec::Rle, 1, limits);
        assert!(frames.fragment(12, true).is_err());
        assert_eq!(frames.fragment(0, true), Ok(None));
        assert_eq!(frames.fragment(8, false), Ok(None));
        assert_eq!(frames.push(&[0; 8]), Ok(None));
        let error = frames.fragment(4, false).unwrap_err();
        assert_eq!(error.to_string(), "an encoded frame is over 10 bytes");
    }
}
