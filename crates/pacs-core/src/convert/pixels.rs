//! What a decoder of pixel data is: the converter gives it fragments and takes native frames.

/// What a data set says of the form of its pixel data (PS3.3 C.7.6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PixelForm {
    /// Rows (0028,0010).
    pub rows: u16,
    /// Columns (0028,0011).
    pub columns: u16,
    /// Samples per Pixel (0028,0002).
    pub samples_per_pixel: u16,
    /// Bits Allocated (0028,0100).
    pub bits_allocated: u16,
    /// Whether native frames have one plane for each sample: Planar Configuration (0028,0006).
    pub is_planar: bool,
    /// Whether chrominance has fewer samples than luminance (4:2:2 or 4:2:0).
    pub is_subsampled: bool,
    /// Number of Frames (0028,0008); 1 where there is none.
    pub frames: u32,
}

impl PixelForm {
    /// Bits of one frame without padding.
    #[must_use]
    pub fn frame_bits(&self) -> u64 {
        [self.columns, self.samples_per_pixel, self.bits_allocated]
            .into_iter()
            .fold(u64::from(self.rows), |product, factor| {
                product.saturating_mul(u64::from(factor))
            })
    }

    /// Bytes of all frames, native, without padding at the end: frames of single bits follow one
    /// another without gaps (PS3.5 8.1.1).
    #[must_use]
    pub fn native_bytes(&self) -> u64 {
        let bits = self.frame_bits().saturating_mul(u64::from(self.frames));
        bits.div_ceil(8)
    }
}

/// Why pixel data is not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PixelError {
    /// The frames are not what the attributes or the codec say.
    #[error("pixel data is damaged: {what}")]
    Damaged {
        /// What is wrong.
        what: &'static str,
    },
    /// A limit.
    #[error("{what} is over {limit_bytes} bytes")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit_bytes: u64,
    },
    /// Attributes that the codec is not for.
    #[error("pixel data has {what}")]
    Unsupported {
        /// Which.
        what: &'static str,
    },
}

/// Decodes the encapsulated pixel data of one data set (PS3.5 A.4) to native frames, little endian.
///
/// The converter calls `begin`, then for each fragment `fragment` and `push` with all of its bytes,
/// and `end`. After each of these calls it empties the decoder by `read`. Pixel data nested in a
/// sequence begins anew.
pub trait PixelDecoder: Send {
    /// Pixel data of this form begins; `Ok` is that it can be decoded.
    ///
    /// # Errors
    /// [`PixelError::Unsupported`] or [`PixelError::TooLarge`].
    fn begin(&mut self, form: &PixelForm) -> Result<(), PixelError>;

    /// A fragment of `length_bytes` begins; the first is the offset table.
    ///
    /// # Errors
    /// [`PixelError`].
    fn fragment(&mut self, length_bytes: u64) -> Result<(), PixelError>;

    /// The next bytes of the fragment.
    ///
    /// # Errors
    /// [`PixelError`].
    fn push(&mut self, bytes: &[u8]) -> Result<(), PixelError>;

    /// There are no more fragments.
    ///
    /// # Errors
    /// [`PixelError`].
    fn end(&mut self) -> Result<(), PixelError>;

    /// Writes native bytes behind what `out` holds: `bytes_max` or some more, whole samples unless
    /// they are single bits. Nothing is written when nothing is ready.
    ///
    /// # Errors
    /// [`PixelError`].
    fn read(&mut self, out: &mut Vec<u8>, bytes_max: usize) -> Result<(), PixelError>;

    /// Bytes that it holds at the moment.
    fn bytes_held(&self) -> u64;
}
