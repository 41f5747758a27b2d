//! Every bound on what pixel data can make us hold.

/// Bounds of the decoders. Over any of them decoding ends with
/// [`pacs_core::convert::PixelError::TooLarge`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageLimits {
    /// Bytes of one encoded frame, which is held while it is decoded. The largest real ones,
    /// mammograms and scanned films, have some ten million.
    pub encoded_frame_bytes_max: u64,
    /// Bytes of an offset table (PS3.5 A.4): four for each frame.
    pub offset_table_bytes_max: u64,
}

impl Default for ImageLimits {
    fn default() -> Self {
        Self {
            encoded_frame_bytes_max: 64 << 20,
            offset_table_bytes_max: 4 << 20,
        }
    }
}
