//! Encoders: native frames into frames of a lossless transfer syntax.
//!
//! Whatever an encoder makes is decoded again before it is given, for HTJ2K by the library of
//! somebody else, and compared: what is not lossless to the bit is not given at all.

use super::samples::extend_sign;
use super::{Codec, htj2k, jpeg_ls, rle};
use pacs_core::TransferSyntaxUid;
use pacs_core::convert::{PixelError, PixelForm};

/// Rows and columns of code blocks, as they are tried.
const BLOCKS: [u32; 3] = [64, 32, 16];

const fn unsupported(what: &'static str) -> PixelError {
    PixelError::Unsupported { what }
}

impl Codec {
    /// The codec that encodes for this transfer syntax.
    pub(crate) fn encoder_of(transfer_syntax: &TransferSyntaxUid) -> Option<Self> {
        match transfer_syntax
            .as_str()
            .strip_prefix("1.2.840.10008.1.2.")?
        {
            "4.201" | "4.202" => Some(Self::Jpeg2000),
            "4.80" => Some(Self::JpegLs),
            "5" => Some(Self::Rle),
            _ => None,
        }
    }

    /// Whether native frames of this form can be encoded.
    pub(crate) fn check_encoded(self, form: &PixelForm) -> Result<(), PixelError> {
        let (bits, samples) = (form.bits_allocated, form.samples_per_pixel);
        if form.is_subsampled {
            return Err(unsupported("subsampled chrominance"));
        }
        match self {
            Self::Rle => rle::check(form),
            Self::Jpeg2000 | Self::JpegLs
                if matches!(bits, 8 | 16) && matches!(samples, 1 | 3 | 4) =>
            {
                Ok(())
            }
            Self::Jpeg2000 | Self::JpegLs => {
                Err(unsupported("Bits Allocated that the encoder is not for"))
            }
            Self::Deflated | Self::Jpeg | Self::JpegLossless | Self::JpegXl | Self::Native => {
                Err(unsupported("a transfer syntax without an encoder"))
            }
        }
    }

    /// Encodes a native frame, and proves that it can be decoded to the same bits.
    pub(crate) fn encode(self, form: &PixelForm, native: &[u8]) -> Result<Vec<u8>, PixelError> {
        self.check_encoded(form)?;
        let length = usize::try_from(form.frame_bits().div_ceil(8)).unwrap_or(usize::MAX);
        if native.len() != length || native.is_empty() {
            let what = "a native frame of another size";
            return Err(PixelError::Damaged { what });
        }
        let encoded = match self {
            Self::Rle => rle::encode::encode(form, native)?,
            Self::JpegLs => {
                // What the sign means the decoder knows from the attributes.
                let precision = precision(form, native).max(2);
                let unsigned = PixelForm {
                    is_signed: false,
                    ..*form
                };
                let mut planes = planes(&unsigned, native);
                let mask = (1_i32 << precision).saturating_sub(1);
                for sample in planes.iter_mut().flatten() {
                    *sample &= mask;
                }
                jpeg_ls::encode::encode(form, precision, &planes)?
            }
            Self::Jpeg2000 => return self.encode_htj2k(form, native),
            Self::Deflated | Self::Jpeg | Self::JpegLossless | Self::JpegXl | Self::Native => {
                return Err(unsupported("a transfer syntax without an encoder"));
            }
        };
        self.proved(form, native, encoded)
    }

    /// In code blocks as large as may be: of incompressible ones the encoder makes a wrong stream.
    fn encode_htj2k(self, form: &PixelForm, native: &[u8]) -> Result<Vec<u8>, PixelError> {
        let (precision, planes) = (precision(form, native), planes(form, native));
        let mut made = Err(unsupported("no code blocks"));
        for block in BLOCKS {
            made = htj2k::encode(form, precision, &planes, block)
                .and_then(|encoded| self.proved(form, native, encoded));
            if made.is_ok() {
                break;
            }
        }
        made
    }

    /// What was encoded, if it decodes to the same bits.
    fn proved(
        self,
        form: &PixelForm,
        native: &[u8],
        encoded: Vec<u8>,
    ) -> Result<Vec<u8>, PixelError> {
        let again = self.decode(form, encoded.clone());
        if again.as_deref() != Ok(native) {
            return Err(unsupported("a frame that cannot be encoded without loss"));
        }
        Ok(encoded)
    }
}

/// Bits of a sample of a native frame, as they stand there; 8 and 16 of them.
fn values(form: &PixelForm, native: &[u8]) -> Vec<i32> {
    match (form.bits_allocated, form.is_signed) {
        (8, false) => native.iter().map(|byte| i32::from(*byte)).collect(),
        (8, true) => native
            .iter()
            .map(|byte| i32::from(i8::from_le_bytes([*byte])))
            .collect(),
        (_, false) => {
            let words = native.as_chunks::<2>().0.iter();
            words
                .map(|two| i32::from(u16::from_le_bytes(*two)))
                .collect()
        }
        (_, true) => {
            let words = native.as_chunks::<2>().0.iter();
            words
                .map(|two| i32::from(i16::from_le_bytes(*two)))
                .collect()
        }
    }
}

/// The samples of a native frame, by plane.
fn planes(form: &PixelForm, native: &[u8]) -> Vec<Vec<i32>> {
    let values = values(form, native);
    let samples = usize::from(form.samples_per_pixel).max(1);
    if samples == 1 {
        return vec![values];
    }
    if form.is_planar {
        let length = values.len().checked_div(samples).unwrap_or(0).max(1);
        return values.chunks(length).map(<[i32]>::to_vec).collect();
    }
    let of = |sample| values.iter().skip(sample).step_by(samples).copied();
    (0..samples).map(|sample| of(sample).collect()).collect()
}

/// Bits Stored where all samples fit, with the bits above them as the sign has them; else all bits:
/// some devices keep other things there, and they are to come back too.
fn precision(form: &PixelForm, native: &[u8]) -> u32 {
    let (stored, allocated) = (u32::from(form.bits_stored), u32::from(form.bits_allocated));
    if stored == 0 || stored >= allocated {
        return allocated;
    }
    let fits = |value: &i32| {
        if form.is_signed {
            extend_sign(*value, stored) == *value
        } else {
            value.checked_shr(stored) == Some(0)
        }
    };
    if values(form, native).iter().all(fits) {
        stored
    } else {
        allocated
    }
}
