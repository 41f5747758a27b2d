//! JPEG XL (ISO/IEC 18181), by jxl-oxide: safe Rust, whose allocations are counted. PS3.5 A.4.12.

use super::samples::{Shape, native};
use jxl_oxide::{AllocTracker, JxlImage, JxlThreadPool};
use pacs_core::convert::{PixelError, PixelForm};

/// Memory that one frame may take, for each byte of it, and at least.
const MEMORY_FACTOR: usize = 48;
const MEMORY_BYTES_LEAST: usize = 64 << 20;

const fn damaged(what: &'static str) -> PixelError {
    PixelError::Damaged { what }
}

/// Decodes a frame; colour becomes RGB.
pub(super) fn decode(form: &PixelForm, encoded: &[u8]) -> Result<Vec<u8>, PixelError> {
    if form.is_signed && form.bits_stored < form.bits_allocated {
        let what = "signed samples in JPEG XL";
        return Err(PixelError::Unsupported { what });
    }
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
    let header = image.image_header();
    let shape = Shape {
        rows: image.height(),
        columns: image.width(),
        components: u32::from(form.samples_per_pixel),
        precision: header.metadata.bit_depth.bits_per_sample(),
    };
    shape.check(form)?;
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
