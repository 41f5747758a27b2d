//! What decoders and encoders of pixel data are: the converter gives the one fragments and takes
//! native frames, which it gives the other.

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
    /// Bits Stored (0028,0101); Bits Allocated where there is none.
    pub bits_stored: u16,
    /// Whether samples are signed: Pixel Representation (0028,0103).
    pub is_signed: bool,
    /// Photometric Interpretation (0028,0004), as it stands in the data set.
    pub photometric: Photometric,
    /// Whether native frames have one plane for each sample: Planar Configuration (0028,0006).
    pub is_planar: bool,
    /// Whether chrominance has fewer samples than luminance (4:2:2 or 4:2:0).
    pub is_subsampled: bool,
    /// Number of Frames (0028,0008); 1 where there is none.
    pub frames: u32,
}

impl PixelForm {
    /// Bits of one native frame without padding.
    #[must_use]
    pub fn frame_bits(&self) -> u64 {
        let bits = [self.columns, self.samples_per_pixel, self.bits_allocated]
            .into_iter()
            .fold(u64::from(self.rows), |product, factor| {
                product.saturating_mul(u64::from(factor))
            });
        match (self.is_subsampled, self.photometric) {
            (false, _) => bits,
            // A quarter of each chrominance, or half of it (PS3.3 C.7.6.3.1.2).
            (true, Photometric::YbrPartial420) => bits.div_ceil(2),
            (true, _) => bits.saturating_mul(2).div_ceil(3),
        }
    }

    /// Bytes of all frames, native, without padding at the end: frames of single bits follow one
    /// another without gaps (PS3.5 8.1.1).
    #[must_use]
    pub fn native_bytes(&self) -> u64 {
        let bits = self.frame_bits().saturating_mul(u64::from(self.frames));
        bits.div_ceil(8)
    }
}

/// Photometric Interpretation (PS3.3 C.7.6.3.1.2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Photometric {
    /// MONOCHROME1.
    Monochrome1,
    /// MONOCHROME2.
    Monochrome2,
    /// PALETTE COLOR.
    PaletteColor,
    /// RGB.
    Rgb,
    /// `YBR_FULL`.
    YbrFull,
    /// `YBR_FULL_422`.
    YbrFull422,
    /// `YBR_ICT`.
    YbrIct,
    /// `YBR_PARTIAL_420`.
    YbrPartial420,
    /// `YBR_PARTIAL_422`.
    YbrPartial422,
    /// `YBR_RCT`.
    YbrRct,
    /// Any other, or none.
    #[default]
    Other,
}

impl Photometric {
    /// Of the value of the attribute, padded or not.
    #[must_use]
    pub fn of(value: &[u8]) -> Self {
        let text = value.trim_ascii();
        match text.strip_suffix(&[0]).unwrap_or(text) {
            b"MONOCHROME1" => Self::Monochrome1,
            b"MONOCHROME2" => Self::Monochrome2,
            b"PALETTE COLOR" => Self::PaletteColor,
            b"RGB" => Self::Rgb,
            b"YBR_FULL" => Self::YbrFull,
            b"YBR_FULL_422" => Self::YbrFull422,
            b"YBR_ICT" => Self::YbrIct,
            b"YBR_PARTIAL_420" => Self::YbrPartial420,
            b"YBR_PARTIAL_422" => Self::YbrPartial422,
            b"YBR_RCT" => Self::YbrRct,
            _ => Self::Other,
        }
    }

    /// Whether native pixel data has fewer samples of chrominance than of luminance.
    #[must_use]
    pub const fn is_subsampled(self) -> bool {
        matches!(
            self,
            Self::YbrFull422 | Self::YbrPartial420 | Self::YbrPartial422
        )
    }
}

/// Why pixel data is not decoded, or not encoded.
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
    /// The decoder ended, took too long, or there was none free: no fault of the pixel data is
    /// proved by it, and another attempt may do.
    #[error("the decoder {what}")]
    Worker {
        /// What it did.
        what: &'static str,
    },
}

/// Decodes the encapsulated pixel data of one data set (PS3.5 A.4) to native frames, little endian.
///
/// The converter calls `begin`, then for each fragment `fragment` and `push` with all of its bytes,
/// and `end`. After each of these calls it empties the decoder by `read`. Pixel data nested in a
/// sequence begins anew.
pub trait PixelDecoder: Send {
    /// The Photometric Interpretation that the native frames of an image with `photometric` have,
    /// where that is another one: decoders of compressed colour give RGB.
    fn native_photometric(&self, photometric: Photometric) -> Option<&'static str> {
        let _ = photometric;
        None
    }

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

/// Encodes the native frames of one data set for an encapsulated transfer syntax, without loss.
///
/// The converter calls `begin` where the pixel data of the data set begins, and `encode` for each
/// of its frames, in order. Pixel data nested in a sequence stays native.
pub trait PixelEncoder: Send {
    /// Whether encoded frames have the samples of a pixel together, whatever native ones have.
    fn is_by_pixel(&self) -> bool;

    /// Pixel data of this native form begins; `Ok` is that it can be encoded.
    ///
    /// # Errors
    /// [`PixelError::Unsupported`] or [`PixelError::TooLarge`].
    fn begin(&mut self, native: &PixelForm) -> Result<(), PixelError>;

    /// Encodes the next frame, which is little endian and without padding. The same frame always
    /// becomes the same bytes.
    ///
    /// # Errors
    /// [`PixelError`].
    fn encode(&mut self, native: Vec<u8>) -> Result<Vec<u8>, PixelError>;
}
