//! RLE Lossless (PS3.5 annex G): each byte of a sample has a segment of its own, the most
//! significant first, and each segment is runs of literal and repeated bytes.
//!
//! All segments that make a sample are decoded side by side, so that no more than the encoded frame
//! is held. A segment that ends early, an offset outside the frame or in the wrong order, or
//! another number of segments than the attributes ask for is refused; what follows a whole segment
//! is padding.

pub(super) mod encode;

use pacs_core::convert::{PixelError, PixelForm};

/// Bytes of the header: the number of segments, and fifteen offsets.
const HEADER_BYTES: usize = 64;

/// Most segments that a header has room for.
const SEGMENTS_MAX: usize = 15;

/// Bytes that are decoded at a time: what a frame is said to be is not to be allocated before its
/// bytes are there.
const BLOCK_BYTES: usize = 256 << 10;

const fn damaged(what: &'static str) -> PixelError {
    PixelError::Damaged { what }
}

/// Whether pixel data of this form can be in RLE.
pub(crate) fn check(form: &PixelForm) -> Result<(), PixelError> {
    let unsupported = |what| Err(PixelError::Unsupported { what });
    if form.is_subsampled {
        return unsupported("subsampled chrominance in RLE");
    }
    match form.bits_allocated {
        1 if form.samples_per_pixel == 1 => {}
        8 | 16 | 32 | 64 => {}
        _ => return unsupported("Bits Allocated that RLE is not for"),
    }
    if sample_bytes(form).saturating_mul(samples(form)) > SEGMENTS_MAX {
        return unsupported("more segments than RLE has room for");
    }
    Ok(())
}

fn samples(form: &PixelForm) -> usize {
    usize::from(form.samples_per_pixel)
}

fn sample_bytes(form: &PixelForm) -> usize {
    usize::from(form.bits_allocated.div_ceil(8))
}

/// A segment, and how far it is decoded.
#[derive(Debug, Clone, Copy)]
struct Segment {
    position: usize,
    end: usize,
    run: Run,
}

/// What is left of a run.
#[derive(Debug, Clone, Copy)]
enum Run {
    Literal { left: usize },
    Repeated { byte: u8, left: usize },
}

/// One plane of pixels: bytes that are decoded side by side.
#[derive(Debug)]
struct Plane {
    segments: Vec<Segment>,
    /// Bytes of each sample; the segments of one sample stand one after the other.
    sample_bytes: usize,
    pixels_left: usize,
}

/// A frame that is being decoded.
#[derive(Debug)]
pub(crate) struct Frame {
    encoded: Vec<u8>,
    /// In reverse: the last is the next.
    planes: Vec<Plane>,
}

impl Frame {
    pub(crate) fn new(form: &PixelForm, encoded: Vec<u8>) -> Result<Self, PixelError> {
        let sample_bytes = sample_bytes(form);
        let segments = segments(&encoded, sample_bytes.saturating_mul(samples(form)))?;
        let pixels = u64::from(form.rows).saturating_mul(u64::from(form.columns));
        let pixels = usize::try_from(pixels).map_err(|_| damaged("a frame is too large"))?;
        // Single bits are packed: a byte is what a pixel is elsewhere.
        let pixels = if form.bits_allocated == 1 {
            pixels.div_ceil(8)
        } else {
            pixels
        };
        let in_plane = if form.is_planar {
            sample_bytes
        } else {
            segments.len()
        };
        let planes = segments
            .chunks(in_plane.max(1))
            .rev()
            .map(|segments| Plane {
                segments: segments.to_vec(),
                sample_bytes,
                pixels_left: pixels,
            });
        Ok(Self {
            planes: planes.collect(),
            encoded,
        })
    }

    pub(crate) fn read(&mut self, out: &mut Vec<u8>, bytes_max: usize) -> Result<bool, PixelError> {
        while let Some(plane) = self.planes.last_mut() {
            if plane.pixels_left == 0 {
                drop(self.planes.pop());
                continue;
            }
            plane.read(&self.encoded, out, bytes_max)?;
            return Ok(true);
        }
        Ok(false)
    }

    pub(crate) fn bytes_held(&self) -> usize {
        self.encoded.capacity()
    }
}

/// Reads the header: where each of `count` segments is.
fn segments(encoded: &[u8], count: usize) -> Result<Vec<Segment>, PixelError> {
    let header: &[u8; HEADER_BYTES] = encoded
        .first_chunk()
        .ok_or(damaged("an RLE header is cut"))?;
    let mut numbers = header
        .as_chunks::<4>()
        .0
        .iter()
        .map(|bytes| usize::try_from(u32::from_le_bytes(*bytes)).unwrap_or(usize::MAX));
    if numbers.next() != Some(count) {
        return Err(damaged("another number of RLE segments than of bytes"));
    }
    let offsets: Vec<usize> = numbers.take(count).collect();
    let ends = offsets.iter().skip(1).copied().chain([encoded.len()]);
    let mut before = HEADER_BYTES;
    let mut segments = Vec::with_capacity(offsets.len());
    for (position, end) in offsets.iter().copied().zip(ends) {
        if position < before || position > end || end > encoded.len() {
            return Err(damaged("an RLE segment is not where it can be"));
        }
        before = position;
        segments.push(Segment {
            position,
            end,
            run: Run::Literal { left: 0 },
        });
    }
    Ok(segments)
}

impl Plane {
    /// Decodes pixels: `bytes_max` bytes of them, or a few more to make them whole, and not more
    /// than a block.
    fn read(
        &mut self,
        encoded: &[u8],
        out: &mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<(), PixelError> {
        let stride = self.segments.len().max(1);
        let pixels = bytes_max
            .min(BLOCK_BYTES)
            .div_ceil(stride)
            .clamp(1, self.pixels_left.max(1));
        let from = out.len();
        out.resize(from.saturating_add(pixels.saturating_mul(stride)), 0);
        let block = out.get_mut(from..).unwrap_or_default();
        let sample_bytes = self.sample_bytes.max(1);
        for (at, segment) in self.segments.iter_mut().enumerate() {
            // The most significant byte comes first here, and last in the sample.
            let sample = at.checked_div(sample_bytes).unwrap_or(0);
            let byte = at.checked_rem(sample_bytes).unwrap_or(0);
            let place = sample
                .saturating_mul(sample_bytes)
                .saturating_add(sample_bytes.saturating_sub(byte).saturating_sub(1));
            if stride == 1 {
                segment.fill(encoded, block)?;
            } else {
                segment.scatter(encoded, block, place, stride)?;
            }
        }
        self.pixels_left = self.pixels_left.saturating_sub(pixels);
        Ok(())
    }
}

impl Segment {
    /// Goes to the next run, unless there is something left of this one.
    fn next_run(&mut self, encoded: &[u8]) -> Result<(), PixelError> {
        while let Run::Literal { left: 0 } | Run::Repeated { left: 0, .. } = self.run {
            let control = self.byte(encoded)?;
            self.run = match control {
                0..=127 => Run::Literal {
                    left: usize::from(control).saturating_add(1),
                },
                // Does nothing (PS3.5 G.3.2).
                128 => Run::Literal { left: 0 },
                129..=255 => Run::Repeated {
                    byte: self.byte(encoded)?,
                    left: 257_usize.saturating_sub(usize::from(control)),
                },
            };
        }
        Ok(())
    }

    fn byte(&mut self, encoded: &[u8]) -> Result<u8, PixelError> {
        let byte = encoded
            .get(self.position)
            .filter(|_| self.position < self.end)
            .ok_or(damaged("an RLE segment ends before the frame"))?;
        self.position = self.position.saturating_add(1);
        Ok(*byte)
    }

    /// The next `count` bytes at most, all literal or all the same.
    fn take<'a>(&mut self, encoded: &'a [u8], count: usize) -> Result<Taken<'a>, PixelError> {
        self.next_run(encoded)?;
        match &mut self.run {
            Run::Literal { left } => {
                let count = count.min(*left);
                let end = self.position.saturating_add(count);
                let bytes = encoded
                    .get(self.position..end)
                    .filter(|_| end <= self.end)
                    .ok_or(damaged("an RLE segment ends before the frame"))?;
                *left = left.saturating_sub(count);
                self.position = end;
                Ok(Taken::Literal(bytes))
            }
            Run::Repeated { byte, left } => {
                let count = count.min(*left);
                *left = left.saturating_sub(count);
                Ok(Taken::Repeated(*byte, count))
            }
        }
    }

    /// Fills `block` with the next bytes.
    fn fill(&mut self, encoded: &[u8], mut block: &mut [u8]) -> Result<(), PixelError> {
        while !block.is_empty() {
            let taken = self.take(encoded, block.len())?;
            let Some((place, rest)) = block.split_at_mut_checked(taken.len()) else {
                return Ok(());
            };
            match taken {
                Taken::Literal(bytes) => place.copy_from_slice(bytes),
                Taken::Repeated(byte, _) => place.fill(byte),
            }
            block = rest;
        }
        Ok(())
    }

    /// Puts the next bytes into every `stride`th place of `block`, from `place` on.
    fn scatter(
        &mut self,
        encoded: &[u8],
        block: &mut [u8],
        place: usize,
        stride: usize,
    ) -> Result<(), PixelError> {
        let mut places = block
            .get_mut(place..)
            .unwrap_or_default()
            .iter_mut()
            .step_by(stride.max(1));
        while places.len() > 0 {
            match self.take(encoded, places.len())? {
                Taken::Literal(bytes) => bytes
                    .iter()
                    .zip(places.by_ref())
                    .for_each(|(byte, place)| *place = *byte),
                Taken::Repeated(byte, count) => {
                    places.by_ref().take(count).for_each(|place| *place = byte);
                }
            }
        }
        Ok(())
    }
}

/// Bytes of a run.
enum Taken<'a> {
    Literal(&'a [u8]),
    Repeated(u8, usize),
}

impl Taken<'_> {
    const fn len(&self) -> usize {
        match self {
            Self::Literal(bytes) => bytes.len(),
            Self::Repeated(_, count) => *count,
        }
    }
}

#[cfg(test)]
mod tests;
