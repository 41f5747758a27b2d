//! Native pixel data on its way into fragments: gathered into frames, each encoded and written as
//! one fragment, with a table of their offsets before them (PS3.5 A.4).
//!
//! What a table says is known only once the last frame is encoded. Of one frame it is known all the
//! same; of more, the table is empty unless an earlier pass told the lengths. Offsets that have no
//! room in four bytes stand in the Extended Offset Table (PS3.3 C.7.6.3.1.8).

use crate::convert::input::length;
use crate::convert::{ConvertError, PixelEncoder, PixelError, PixelForm};
use crate::encode::{Layout, Writer};
use crate::tag::{Vr, tags};
use std::sync::Arc;

/// Bytes before a fragment: its item tag and length.
const ITEM_HEADER_BYTES: u64 = 8;

/// An encoder, and what is on its way through it.
pub(super) struct Encapsulation {
    encoder: Box<dyn PixelEncoder>,
    /// Lengths of the encoded frames, where an earlier pass told them.
    known: Option<Arc<[u64]>>,
    /// Lengths of the frames that were encoded.
    lengths: Vec<u64>,
    /// Pixel data that has begun and not ended.
    current: Option<Current>,
    /// Native bytes that are not encoded.
    gathered: Vec<u8>,
    /// What is to be written, and how much of it was.
    pending: Vec<u8>,
    written: usize,
}

#[derive(Debug, Clone, Copy)]
struct Current {
    frame_bytes: usize,
    frames: u32,
    has_ended: bool,
}

impl Encapsulation {
    pub(super) fn new(encoder: Box<dyn PixelEncoder>, known: Option<Arc<[u64]>>) -> Self {
        Self {
            encoder,
            known,
            lengths: Vec::new(),
            current: None,
            gathered: Vec::new(),
            pending: Vec::new(),
            written: 0,
        }
    }

    /// Whether native frames by plane become frames by pixel.
    pub(super) fn is_by_pixel(&self) -> bool {
        self.encoder.is_by_pixel()
    }

    pub(super) fn lengths(&self) -> &[u64] {
        &self.lengths
    }

    pub(super) fn bytes_held(&self) -> u64 {
        let bytes = self.gathered.capacity();
        let bytes = bytes.saturating_add(self.pending.capacity());
        length(bytes.saturating_add(self.lengths.capacity().saturating_mul(8)))
    }

    /// Where native bytes are to go, and how many are missing to a frame; `None` where no pixel
    /// data is under way.
    pub(super) fn gathering(&mut self) -> Option<(&mut Vec<u8>, usize)> {
        let current = self.current.filter(|current| !current.has_ended)?;
        let missing = current.frame_bytes.saturating_sub(self.gathered.len());
        Some((&mut self.gathered, missing))
    }

    /// Pixel data of this native form begins.
    pub(super) fn begin(&mut self, form: &PixelForm) -> Result<(), ConvertError> {
        self.encoder.begin(form)?;
        let bits = form.frame_bits();
        if bits & 7 != 0 && form.frames > 1 {
            let what = "frames that end within a byte";
            return Err(PixelError::Unsupported { what }.into());
        }
        let frame_bytes = usize::try_from(bits.div_ceil(8)).unwrap_or(usize::MAX);
        if frame_bytes == 0 || form.frames == 0 {
            let what = "no pixels";
            return Err(PixelError::Unsupported { what }.into());
        }
        let table = match &self.known {
            Some(known) if length(known.len()) == u64::from(form.frames) => OffsetTable::of(known),
            Some(_) => return Err(changed().into()),
            None if form.frames == 1 => OffsetTable::Basic(vec![0]),
            None => OffsetTable::Basic(Vec::new()),
        };
        table.write(&mut self.pending)?;
        self.current = Some(Current {
            frame_bytes,
            frames: form.frames,
            has_ended: false,
        });
        Ok(())
    }

    /// There are no more native bytes.
    pub(super) fn end(&mut self) {
        if let Some(current) = &mut self.current {
            current.has_ended = true;
        }
    }

    /// Writes what is ready, or encodes the next frame; whether there was anything to do.
    pub(super) fn advance(&mut self, out: &mut Vec<u8>, room: usize) -> Result<bool, ConvertError> {
        let rest = self.pending.get(self.written..).unwrap_or_default();
        if !rest.is_empty() {
            let count = rest.len().min(room);
            out.extend_from_slice(rest.get(..count).unwrap_or_default());
            self.written = self.written.saturating_add(count);
            return Ok(true);
        }
        if self.written > 0 {
            // A frame may be long, and need not be held while the next is gathered.
            self.pending = Vec::new();
            self.written = 0;
        }
        let Some(current) = self.current else {
            return Ok(false);
        };
        let is_complete = length(self.lengths.len()) == u64::from(current.frames);
        if !is_complete && self.gathered.len() >= current.frame_bytes {
            let rest = self.gathered.split_off(current.frame_bytes);
            let native = std::mem::replace(&mut self.gathered, rest);
            let encoded = self.encoder.encode(native)?;
            self.fragment(&encoded)?;
            return Ok(true);
        }
        if is_complete && self.gathered.iter().any(|byte| *byte != 0) {
            let what = "more frames than Number of Frames";
            return Err(PixelError::Damaged { what }.into());
        }
        if is_complete {
            // Padding of the native value.
            self.gathered = Vec::new();
        }
        if !current.has_ended {
            return Ok(false);
        }
        if !is_complete {
            let what = "fewer frames than Number of Frames";
            return Err(PixelError::Damaged { what }.into());
        }
        self.current = None;
        Writer::new(&mut self.pending, Layout::ExplicitLittle).end_sequence();
        Ok(true)
    }

    /// A frame is to be written as one fragment.
    fn fragment(&mut self, encoded: &[u8]) -> Result<(), ConvertError> {
        let bytes = length(encoded.len());
        let known = self
            .known
            .as_ref()
            .map(|known| known.get(self.lengths.len()));
        if known.is_some_and(|known| known != Some(&bytes)) {
            return Err(changed().into());
        }
        self.lengths.push(bytes);
        let too_long = |_| ConvertError::TooLong {
            tag: tags::PIXEL_DATA,
        };
        let padded = u32::try_from(bytes.saturating_add(bytes & 1)).map_err(too_long)?;
        let header = usize::try_from(ITEM_HEADER_BYTES).unwrap_or(0);
        let room = encoded.len().saturating_add(header).saturating_add(1);
        self.pending.reserve_exact(room);
        Writer::new(&mut self.pending, Layout::ExplicitLittle).begin_fragment(padded);
        self.pending.extend_from_slice(encoded);
        if bytes & 1 == 1 {
            self.pending.push(0);
        }
        Ok(())
    }
}

/// An encoder that gives something else than at the first time cannot be told of in a table.
const fn changed() -> PixelError {
    PixelError::Worker {
        what: "encoded a frame to another length than before",
    }
}

/// Where frames begin, each in one fragment, from the first fragment on.
#[derive(Debug, PartialEq, Eq)]
enum OffsetTable {
    /// In the first item (PS3.5 A.4); nothing: the table is empty.
    Basic(Vec<u32>),
    /// In attributes of their own, with the lengths of the frames.
    Extended {
        offsets: Vec<u64>,
        lengths: Vec<u64>,
    },
}

impl OffsetTable {
    /// Of frames with these lengths.
    fn of(lengths: &[u64]) -> Self {
        let mut next = 0_u64;
        let offsets: Vec<u64> = lengths
            .iter()
            .map(|bytes| {
                let offset = next;
                let padded = bytes.saturating_add(bytes & 1);
                next = next
                    .saturating_add(ITEM_HEADER_BYTES)
                    .saturating_add(padded);
                offset
            })
            .collect();
        let short = offsets.iter().map(|offset| u32::try_from(*offset));
        match short.collect::<Result<Vec<u32>, _>>() {
            Ok(short) => Self::Basic(short),
            Err(_) => Self::Extended {
                offsets,
                lengths: lengths.to_vec(),
            },
        }
    }

    /// Writes what stands before the first fragment.
    fn write(&self, out: &mut Vec<u8>) -> Result<(), ConvertError> {
        let mut writer = Writer::new(out, Layout::ExplicitLittle);
        let eight = |numbers: &[u64]| -> Vec<u8> {
            let bytes = numbers.iter().map(|number| number.to_le_bytes());
            bytes.collect::<Vec<_>>().concat()
        };
        let basic: Vec<u8> = match self {
            Self::Basic(offsets) => {
                let bytes = offsets.iter().map(|offset| offset.to_le_bytes());
                bytes.collect::<Vec<_>>().concat()
            }
            Self::Extended { offsets, lengths } => {
                writer.bytes(tags::EXTENDED_OFFSET_TABLE, Vr::OV, &eight(offsets))?;
                writer.bytes(tags::EXTENDED_OFFSET_TABLE_LENGTHS, Vr::OV, &eight(lengths))?;
                Vec::new()
            }
        };
        let tag = tags::PIXEL_DATA;
        writer.begin_fragments(tag, Vr::OB);
        let bytes = u32::try_from(basic.len()).map_err(|_| ConvertError::TooLong { tag })?;
        writer.begin_fragment(bytes);
        out.extend_from_slice(&basic);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_count_items_and_padding() {
        let table = OffsetTable::of(&[3, 4, 1]);
        assert_eq!(table, OffsetTable::Basic(vec![0, 12, 24]));
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        let expected = b"\xE0\x7F\x10\0OB\0\0\xFF\xFF\xFF\xFF\
            \xFE\xFF\0\xE0\x0C\0\0\0\0\0\0\0\x0C\0\0\0\x18\0\0\0";
        assert_eq!(out, expected);
    }

    #[test]
    fn offsets_beyond_four_bytes_stand_in_the_extended_table() {
        let (long, odd) = (u64::from(u32::MAX) - 15, 7);
        assert!(matches!(
            OffsetTable::of(&[long, odd]),
            OffsetTable::Basic(offsets) if offsets.len() == 2
        ));
        let lengths = [long, odd, 2];
        let table = OffsetTable::of(&lengths);
        let second = (1_u64 << 32) - 8;
        let offsets = vec![0, second, second + 16];
        assert_eq!(
            table,
            OffsetTable::Extended {
                offsets,
                lengths: lengths.to_vec()
            }
        );
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        assert_eq!(&out[..12], b"\xE0\x7F\x01\0OV\0\0\x18\0\0\0");
        assert_eq!(&out[36..48], b"\xE0\x7F\x02\0OV\0\0\x18\0\0\0");
        // The basic table is there, and empty.
        let expected = b"\xE0\x7F\x10\0OB\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\0\0\0\0";
        assert_eq!(&out[72..], expected);
    }
}
