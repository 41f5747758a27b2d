//! Frames that are native already, and only stand in fragments (PS3.5 A.4.11).

use pacs_core::convert::{PixelError, PixelForm};

/// A frame, and how much of it was given.
#[derive(Debug)]
pub(crate) struct Frame {
    bytes: Vec<u8>,
    given: usize,
}

/// The bytes of a native frame, without the padding that may follow.
pub(crate) fn whole(form: &PixelForm, mut bytes: Vec<u8>) -> Result<Vec<u8>, PixelError> {
    let length = usize::try_from(form.frame_bits().div_ceil(8)).unwrap_or(usize::MAX);
    if bytes.len() < length {
        let what = "a frame is cut";
        return Err(PixelError::Damaged { what });
    }
    bytes.truncate(length);
    Ok(bytes)
}

impl Frame {
    pub(crate) fn new(form: &PixelForm, bytes: Vec<u8>) -> Result<Self, PixelError> {
        let bytes = whole(form, bytes)?;
        Ok(Self { bytes, given: 0 })
    }

    pub(crate) fn read(&mut self, out: &mut Vec<u8>, bytes_max: usize) -> bool {
        let rest = self.bytes.get(self.given..).unwrap_or_default();
        // Whole samples, of up to eight bytes.
        let most = (bytes_max.max(8) | 7) & !7;
        let piece = rest.get(..most).unwrap_or(rest);
        out.extend_from_slice(piece);
        self.given = self.given.saturating_add(piece.len());
        !piece.is_empty()
    }

    pub(crate) fn bytes_held(&self) -> usize {
        self.bytes.capacity()
    }
}
