//! Where the frames of stored pixel data are, so that one of them is one positioned read
//! (PS3.5 8.1.1 and A.4).
//!
//! A head says where pixel data begins ([`PixelDataPlace`]); [`FrameMap::locate`] reads what
//! locates its frames: nothing for native pixel data, the offset table where there is a usable one
//! (basic or extended), else the headers of all fragments. The map can be kept, and is small.

mod walk;

use crate::bits::cut_out;
use crate::codec::Codec;
use crate::limits::ImageLimits;
use pacs_core::TransferSyntaxUid;
use pacs_core::convert::PixelForm;
use pacs_core::limits::ScanLimits;
use pacs_core::scan::{Encoding, Event, ScanError, Scanner};
use pacs_core::tag::{Tag, tags};
use std::ops::Range;
use walk::Walk;

/// Bytes of an item tag and its length.
const ITEM_HEADER_BYTES: u64 = 8;

/// A length that is not given.
const UNDEFINED: u32 = u32::MAX;

/// A stored data set, read at any place.
pub trait ReadAt {
    /// Why it cannot be read.
    type Error;

    /// Reads `length` bytes from `offset` on: fewer only where the data set ends before. May block.
    ///
    /// # Errors
    /// Those of the source.
    fn read_at(&self, offset: u64, length: usize) -> Result<Vec<u8>, Self::Error>;
}

/// A data set that is all in memory.
impl ReadAt for &[u8] {
    type Error = std::convert::Infallible;

    fn read_at(&self, offset: u64, length: usize) -> Result<Vec<u8>, Self::Error> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = self.get(from..).unwrap_or_default();
        Ok(rest.get(..length).unwrap_or(rest).to_vec())
    }
}

/// Why frames are not found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameMapError<E> {
    /// The fragments or tables are not as PS3.5 A.4 has them.
    #[error("frames cannot be found: {what}")]
    Damaged {
        /// What is wrong.
        what: &'static str,
    },
    /// The data set is deflated: it has no places.
    #[error("a deflated data set has to be inflated to find its frames")]
    Deflated,
    /// There are no fragments.
    #[error("there is no fragment of pixel data")]
    NoFragments,
    /// Another than 1 to Number of Frames.
    #[error("there is no such frame")]
    NoSuchFrame,
    /// The source.
    #[error("stored pixel data cannot be read")]
    Read(E),
    /// The head is no data set.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// A limit.
    #[error("{what} over the limit of {limit}")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
}

const fn damaged<E>(what: &'static str) -> FrameMapError<E> {
    FrameMapError::Damaged { what }
}

/// Where the pixel data of a data set is, as its head says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PixelDataPlace {
    /// Which element: Pixel Data, or its floating point kinds.
    pub tag: Tag,
    /// Where its value begins.
    pub offset: u64,
    /// Bytes of its value; `None` where it is fragments.
    pub length_bytes: Option<u64>,
    /// Values of Extended Offset Table and Extended Offset Table Lengths (PS3.3 C.7.6.3.1.8).
    pub extended: Option<(Range<u64>, Range<u64>)>,
    /// Bytes of the words of the value that are in big endian order; 1: none are.
    word_bytes: u8,
    codec: Option<Codec>,
}

impl PixelDataPlace {
    /// Of fragments in `transfer_syntax`, whose first item, the basic offset table, stands at
    /// `offset`: for those who have found it otherwise.
    #[must_use]
    pub fn of_fragments(
        offset: u64,
        extended: Option<(Range<u64>, Range<u64>)>,
        transfer_syntax: &TransferSyntaxUid,
    ) -> Self {
        Self {
            tag: tags::PIXEL_DATA,
            offset,
            length_bytes: None,
            extended,
            word_bytes: 1,
            codec: Codec::of(transfer_syntax),
        }
    }

    /// Of a data set that begins with `head`: everything before the pixel data, and its tag, VR and
    /// length. `None` where there is no pixel data.
    ///
    /// # Errors
    /// [`FrameMapError::Deflated`], [`FrameMapError::Damaged`] and [`FrameMapError::Scan`].
    pub fn of_head(
        head: &[u8],
        transfer_syntax: &TransferSyntaxUid,
        limits: &ScanLimits,
    ) -> Result<Option<Self>, FrameMapError<std::convert::Infallible>> {
        let encoding = Encoding::of(transfer_syntax);
        if encoding == Encoding::Deflated {
            return Err(FrameMapError::Deflated);
        }
        let mut scanner = Scanner::of_head(head, encoding, limits);
        let (mut offsets, mut lengths) = (None, None);
        while let Some(event) = scanner.next() {
            if let Event::Element(element) = event?
                && scanner.depth() == 0
            {
                match element.tag {
                    tags::EXTENDED_OFFSET_TABLE => offsets = Some(element.value),
                    tags::EXTENDED_OFFSET_TABLE_LENGTHS => lengths = Some(element.value),
                    _ => {}
                }
            }
        }
        let at = scanner.head_end().and_then(|end| usize::try_from(end).ok());
        let rest = at.and_then(|at| head.get(at..)).unwrap_or_default();
        let Some((tag, header_bytes, length)) = header(rest, encoding) else {
            return Ok(None);
        };
        if !pacs_core::scan::is_pixel_data(tag) {
            return Ok(None);
        }
        let codec = Codec::of(transfer_syntax);
        let before = head.len().saturating_sub(rest.len());
        let offset = before.saturating_add(header_bytes);
        Ok(Some(Self {
            tag,
            offset: u64::try_from(offset).unwrap_or(u64::MAX),
            length_bytes: (length != UNDEFINED).then_some(u64::from(length)),
            extended: offsets.zip(lengths),
            // Words are turned around in pixels of any size (PS3.5 6.2).
            word_bytes: match rest.get(4..6) {
                Some(b"OW") if encoding == Encoding::ExplicitBigEndian => 2,
                Some(b"OF") if encoding == Encoding::ExplicitBigEndian => 4,
                Some(b"OD") if encoding == Encoding::ExplicitBigEndian => 8,
                _ => 1,
            },
            codec,
        }))
    }
}

/// Tag, bytes of the header, and length of the element that `bytes` begin with.
fn header(bytes: &[u8], encoding: Encoding) -> Option<(Tag, usize, u32)> {
    let head: &[u8; 8] = bytes.first_chunk()?;
    let big = encoding == Encoding::ExplicitBigEndian;
    let [a, b, c, d, e, f, g, h] = *head;
    let short = |two: [u8; 2]| {
        if big {
            u16::from_be_bytes(two)
        } else {
            u16::from_le_bytes(two)
        }
    };
    let long = |four: [u8; 4]| {
        if big {
            u32::from_be_bytes(four)
        } else {
            u32::from_le_bytes(four)
        }
    };
    let tag = Tag(short([a, b]), short([c, d]));
    // Some programs leave VRs out where they must stand, which the scanner reads, too.
    let is_vr = [e, f].iter().all(u8::is_ascii_uppercase);
    if encoding == Encoding::ImplicitLittleEndian || !is_vr {
        return Some((tag, 8, long([e, f, g, h])));
    }
    if !matches!([e, f], [b'O', _] | [b'U', b'N']) {
        return None;
    }
    let length = bytes.get(8..12)?.first_chunk()?;
    Some((tag, 12, long(*length)))
}

/// Where one frame is, and what has to be done with its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLocation {
    /// Where it begins in the data set.
    pub offset: u64,
    /// Bytes to be read.
    pub length_bytes: u64,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Items, whose headers stand between the bytes; `padding_bytes` behind the last are no part
    /// of the frame.
    Fragments { padding_bytes: u8 },
    Native {
        /// Bits before it in what is read.
        skip: u32,
        bits: u64,
        /// Bytes of its words that are stored big endian; 1: none are.
        word_bytes: u8,
    },
}

impl FrameLocation {
    /// Whether the frame is encoded in the data set's transfer syntax; else it is native.
    #[must_use]
    pub const fn is_encoded(&self) -> bool {
        matches!(self.kind, Kind::Fragments { .. })
    }

    /// Bytes at the end of its only fragment that are no part of the frame, as far as an extended
    /// offset table says how long it is (PS3.3 C.7.6.3.1.8).
    #[must_use]
    pub const fn padding_bytes(&self) -> u8 {
        match self.kind {
            Kind::Fragments { padding_bytes } => padding_bytes,
            Kind::Native { .. } => 0,
        }
    }

    /// The frame in the bytes that were read at its place: without the headers of items; native
    /// ones little endian, and beginning with a byte.
    ///
    /// # Errors
    /// [`FrameMapError::Damaged`].
    pub fn frame(
        &self,
        mut bytes: Vec<u8>,
    ) -> Result<Vec<u8>, FrameMapError<std::convert::Infallible>> {
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) < self.length_bytes {
            return Err(damaged("a frame is cut"));
        }
        match self.kind {
            Kind::Fragments { padding_bytes } => {
                let mut frame = joined(bytes)?;
                frame.truncate(frame.len().saturating_sub(padding_bytes.into()));
                Ok(frame)
            }
            Kind::Native {
                skip,
                bits,
                word_bytes,
            } => {
                if word_bytes > 1 {
                    let words = bytes.chunks_exact_mut(word_bytes.into());
                    words.for_each(<[u8]>::reverse);
                }
                if skip == 0 && bits.is_multiple_of(8) {
                    bytes.truncate(usize::try_from(bits >> 3).unwrap_or(usize::MAX));
                    return Ok(bytes);
                }
                Ok(cut_out(&bytes, skip, bits))
            }
        }
    }
}

/// The contents of items, one after the other.
fn joined(bytes: Vec<u8>) -> Result<Vec<u8>, FrameMapError<std::convert::Infallible>> {
    let mut rest = &*bytes;
    let mut frame = Vec::with_capacity(bytes.len());
    while let Some((header, after)) = rest.split_first_chunk::<8>() {
        let [0xFE, 0xFF, 0x00, 0xE0, length @ ..] = header else {
            break;
        };
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let content = after.get(..length).ok_or(damaged("a fragment is cut"))?;
        frame.extend_from_slice(content);
        rest = after.get(length..).unwrap_or_default();
    }
    // What an offset table counts is whole items; the delimiter may follow the last of them.
    if frame.is_empty() || !(rest.is_empty() || rest.starts_with(&[0xFE, 0xFF, 0xDD, 0xE0])) {
        return Err(damaged("an offset that is not that of a fragment"));
    }
    Ok(frame)
}

/// Where all frames of one data set are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameMap {
    places: Places,
    frames: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Places {
    /// By an extended offset table: offset of the only item of each, and the bytes of the frame in
    /// it.
    Extended(Vec<(u64, u64)>),
    /// Offset and bytes of each, with the headers of its items.
    Fragments(Vec<(u64, u64)>),
    Native {
        offset: u64,
        length_bytes: u64,
        frame_bits: u64,
        word_bytes: u8,
    },
}

impl FrameMap {
    /// Finds the frames of the pixel data at `place`. May block.
    ///
    /// # Errors
    /// [`FrameMapError`].
    pub fn locate<R: ReadAt>(
        source: &R,
        place: &PixelDataPlace,
        form: &PixelForm,
        limits: &ImageLimits,
    ) -> Result<Self, FrameMapError<R::Error>> {
        let Some(length_bytes) = place.length_bytes else {
            return Self::among_fragments(source, place, form.frames, limits);
        };
        let frame_bits = form.frame_bits();
        if frame_bits == 0 || form.native_bytes() > length_bytes {
            return Err(damaged("pixel data is shorter than its frames"));
        }
        Ok(Self {
            places: Places::Native {
                offset: place.offset,
                length_bytes,
                frame_bits,
                word_bytes: place.word_bytes,
            },
            frames: form.frames,
        })
    }

    /// Finds so many frames among the fragments at `place`, whatever they are of. May block.
    ///
    /// # Errors
    /// [`FrameMapError`].
    pub fn among_fragments<R: ReadAt>(
        source: &R,
        place: &PixelDataPlace,
        frames: u32,
        limits: &ImageLimits,
    ) -> Result<Self, FrameMapError<R::Error>> {
        let (what, limit) = ("Number of Frames", limits.frames_max);
        if frames > limit {
            let limit = u64::from(limit);
            return Err(FrameMapError::TooLarge { what, limit });
        }
        let walk = Walk::new(source, place.offset, limits);
        let places = walk.frames(place.codec, frames, place.extended.as_ref())?;
        Ok(Self { places, frames })
    }

    /// Bytes of memory that it takes, about.
    #[must_use]
    pub const fn memory_bytes(&self) -> usize {
        let places = match &self.places {
            Places::Extended(places) | Places::Fragments(places) => places.capacity(),
            Places::Native { .. } => 0,
        };
        size_of::<Self>().saturating_add(places.saturating_mul(size_of::<(u64, u64)>()))
    }

    /// How many frames there are.
    #[must_use]
    pub const fn frames(&self) -> u32 {
        self.frames
    }

    /// Where frame `number` is; the first is 1.
    #[must_use]
    pub fn frame(&self, number: u32) -> Option<FrameLocation> {
        let index = number.checked_sub(1).filter(|index| *index < self.frames)?;
        match &self.places {
            Places::Extended(places) => {
                let (offset, bytes) = *places.get(usize::try_from(index).ok()?)?;
                // Fragments have even lengths (PS3.5 A.4).
                let length_bytes = bytes.checked_next_multiple_of(2)?;
                let padding_bytes = u8::from(length_bytes != bytes);
                Some(FrameLocation {
                    offset,
                    length_bytes: length_bytes.checked_add(ITEM_HEADER_BYTES)?,
                    kind: Kind::Fragments { padding_bytes },
                })
            }
            Places::Fragments(places) => {
                let (offset, length_bytes) = *places.get(usize::try_from(index).ok()?)?;
                let kind = Kind::Fragments { padding_bytes: 0 };
                Some(FrameLocation {
                    offset,
                    length_bytes,
                    kind,
                })
            }
            Places::Native {
                offset,
                length_bytes,
                frame_bits,
                word_bytes,
            } => {
                let first = frame_bits.checked_mul(u64::from(index))?;
                let end = first.checked_add(*frame_bits)?.div_ceil(8);
                // Words that are turned around are read whole.
                let unit = u64::from(*word_bytes);
                let begin = (first >> 3).checked_div(unit)?.checked_mul(unit)?;
                let end = end.checked_next_multiple_of(unit)?;
                let skip = first.checked_sub(begin.checked_mul(8)?)?;
                if end > *length_bytes {
                    return None;
                }
                Some(FrameLocation {
                    offset: offset.checked_add(begin)?,
                    length_bytes: end.checked_sub(begin)?,
                    kind: Kind::Native {
                        skip: u32::try_from(skip).ok()?,
                        bits: *frame_bits,
                        word_bytes: *word_bytes,
                    },
                })
            }
        }
    }
}

#[cfg(test)]
mod tests;
