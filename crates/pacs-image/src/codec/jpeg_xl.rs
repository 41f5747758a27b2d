//! JPEG XL (ISO/IEC 18181), by jxl-oxide: safe Rust, whose allocations are counted. PS3.5 A.4.12.

use super::samples::{Shape, native};
use jxl_bitstream::{Bitstream, ContainerParser, ParseEvent};
use jxl_oxide::{AllocTracker, ImageHeader, JxlImage, JxlThreadPool};
use jxl_oxide_common::Bundle as _;
use pacs_core::convert::{PixelError, PixelForm};

/// Memory that one frame may take, for each byte of it, and at least.
const MEMORY_FACTOR: usize = 48;
const MEMORY_BYTES_LEAST: usize = 64 << 20;

const fn damaged(what: &'static str) -> PixelError {
    PixelError::Damaged { what }
}

/// Bytes of a code stream that are looked at for its header: extra channels have names.
const HEADER_BYTES_MAX: usize = 64 << 10;

/// The beginning of the code stream, without the boxes of a file around it (ISO/IEC 18181-2).
fn code_stream(encoded: &[u8]) -> Result<Vec<u8>, PixelError> {
    let mut start = Vec::new();
    for event in ContainerParser::new().feed_bytes(encoded) {
        let event = event.map_err(|_error| damaged("boxes of JPEG XL"))?;
        if let ParseEvent::Codestream(bytes) = event {
            let room = HEADER_BYTES_MAX.saturating_sub(start.len());
            start.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        }
        if start.len() >= HEADER_BYTES_MAX {
            break;
        }
    }
    Ok(start)
}

/// What the image header says (ISO/IEC 18181-1 D.2 and D.3), turned as it is shown.
pub(super) fn shape(encoded: &[u8]) -> Result<Shape, PixelError> {
    let start = code_stream(encoded)?;
    let header = ImageHeader::parse(&mut Bitstream::new(&start), ());
    let header = header.map_err(|_error| damaged("no code stream of JPEG XL"))?;
    Ok(Shape {
        rows: header.height_with_orientation(),
        columns: header.width_with_orientation(),
        components: if header.metadata.grayscale() { 1 } else { 3 },
        precision: header.metadata.bit_depth.bits_per_sample(),
    })
}

/// Decodes a frame; colour becomes RGB.
pub(super) fn decode(form: &PixelForm, encoded: &[u8]) -> Result<Vec<u8>, PixelError> {
    if form.is_signed && form.bits_stored < form.bits_allocated {
        let what = "signed samples in JPEG XL";
        return Err(PixelError::Unsupported { what });
    }
    let shape = shape(encoded)?;
    shape.check(form)?;
    let native_bytes = usize::try_from(form.frame_bits().div_ceil(8)).unwrap_or(usize::MAX);
    let memory_bytes = native_bytes
        .saturating_mul(MEMORY_FACTOR)
        .max(MEMORY_BYTES_LEAST);
    let wrong = |_error| damaged("a code stream of JPEG XL");
    let image = JxlImage::builder()
        .pool(JxlThreadPool::none())
        .alloc_tracker(AllocTracker::with_limit(memory_bytes))
        .force_wide_buffers(true)
        .read(encoded)
        .map_err(wrong)?;
    if image.num_loaded_keyframes() != 1 {
        return Err(damaged("another number of images than one in a frame"));
    }
    let render = image.render_frame(0).map_err(wrong)?;
    let buffers = render.image_planar();
    let colours = usize::from(form.samples_per_pixel);
    if !(buffers.len() == colours || buffers.len() == colours.saturating_add(1)) {
        return Err(damaged("a code stream of another number of components"));
    }
    let most = f32::from(u16::MAX >> 16_u32.saturating_sub(shape.precision.clamp(1, 16)));
    if shape.precision > 16 {
        let what = "JPEG XL of more than 16 bits";
        return Err(PixelError::Unsupported { what });
    }
    let planes: Vec<Vec<i32>> = buffers
        .iter()
        .take(colours)
        .map(|buffer| {
            buffer
                .buf()
                .iter()
                .map(|sample| level(*sample, most))
                .collect()
        })
        .collect();
    native(form, &planes)
}

/// A sample from 0 to 1 as a whole number.
#[expect(
    clippy::cast_possible_truncation,
    reason = "it is rounded, and at most 16 bits"
)]
fn level(sample: f32, most: f32) -> i32 {
    (sample * most).round().clamp(0.0, most) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Codec;
    use pacs_core::convert::Photometric;

    /// The header of an image in sRGB of eight bits, as wide as it is high: eight times `eighths`.
    fn header(eighths: u8) -> Vec<u8> {
        // From the lowest bit on: a small size, five bits of its height, three of its ratio, and
        // two that say that all else is as it is by default.
        let bits = 1 | u16::from(eighths.saturating_sub(1)) << 1 | 1 << 6 | 3 << 9;
        let [low, high] = bits.to_le_bytes();
        vec![0xFF, 0x0A, low, high, 0, 0, 0, 0]
    }

    fn form(side: u16, samples_per_pixel: u16) -> PixelForm {
        PixelForm {
            rows: side,
            columns: side,
            samples_per_pixel,
            bits_allocated: 8,
            bits_stored: 8,
            is_signed: false,
            photometric: Photometric::Rgb,
            is_planar: false,
            is_subsampled: false,
            frames: 1,
        }
    }

    #[test]
    fn an_image_of_another_size_than_the_head_has_is_refused_unread() {
        let inspect = |form: PixelForm, encoded: &[u8]| Codec::JpegXl.inspect(&form, encoded);
        let stream = header(2);
        assert_eq!(inspect(form(16, 3), &stream), Ok(()));
        for other in [form(8, 3), form(16, 1)] {
            let refused = inspect(other, &stream);
            assert!(
                matches!(refused, Err(PixelError::Damaged { .. })),
                "{other:?}"
            );
        }
        // The same in the box of a file.
        let mut boxed = b"\0\0\0\x0CJXL \r\n\x87\n".to_vec();
        boxed.extend(b"\0\0\0\x14ftypjxl \0\0\0\0jxl \0\0\0\x10jxlc");
        boxed.extend(&stream);
        assert_eq!(inspect(form(16, 3), &boxed), Ok(()));
        assert!(inspect(form(8, 3), &boxed).is_err());
        for length in 0..4 {
            assert!(inspect(form(16, 3), &stream[..length]).is_err(), "{length}");
        }
    }
}
