//! Deflated Image Frame Compression (PS3.5 A.4.13): each frame is deflated by itself.

use flate2::read::DeflateDecoder;
use pacs_core::convert::{PixelError, PixelForm};
use std::io::Read as _;

/// Decodes a frame: never more than it is to have.
pub(super) fn decode(form: &PixelForm, encoded: &[u8]) -> Result<Vec<u8>, PixelError> {
    let length = form.frame_bits().div_ceil(8);
    // At once, so that a lack of memory is not taken for damage.
    let mut native = Vec::with_capacity(usize::try_from(length).unwrap_or(usize::MAX));
    let mut inflated = DeflateDecoder::new(encoded).take(length);
    let what = "a deflated frame";
    inflated
        .read_to_end(&mut native)
        .map_err(|_error| PixelError::Damaged { what })?;
    Ok(native)
}
