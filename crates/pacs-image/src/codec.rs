//! The codecs: one module for each, which decodes one frame at a time.
//!
//! A codec is asked whether it is for pixel data of a form, takes an encoded frame, and gives it
//! back in native form: samples little endian, by pixel or by plane as Planar Configuration has it,
//! without padding. Those that can give it a piece at a time. A new one is a module, a variant of
//! [`Codec`] and its arms.

mod deflated;
mod encode;
mod htj2k;
mod jpeg;
mod jpeg2000;
mod jpeg_ls;
mod jpeg_xl;
pub(crate) mod native;
pub(crate) mod rle;
mod samples;
mod segments;

use pacs_core::TransferSyntaxUid;
use pacs_core::convert::{Photometric, PixelError, PixelForm};

/// Which codec a transfer syntax has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    /// Deflated Image Frame Compression (PS3.5 A.4.13).
    Deflated,
    /// JPEG Baseline and Extended (PS3.5 A.4.1).
    Jpeg,
    /// JPEG 2000 and High-Throughput JPEG 2000 (PS3.5 A.4.4 and A.4.14).
    Jpeg2000,
    /// JPEG Lossless (PS3.5 A.4.1).
    JpegLossless,
    /// JPEG-LS (PS3.5 A.4.3).
    JpegLs,
    /// JPEG XL (PS3.5 A.4.12).
    JpegXl,
    /// Encapsulated Uncompressed Explicit VR Little Endian (PS3.5 A.4.11).
    Native,
    /// RLE Lossless (PS3.5 A.4.2 and annex G).
    Rle,
}

/// All, each at the place that is its number for a worker.
const NUMBERS: [Codec; 8] = [
    Codec::Native,
    Codec::Rle,
    Codec::Jpeg,
    Codec::JpegLossless,
    Codec::JpegLs,
    Codec::Jpeg2000,
    Codec::JpegXl,
    Codec::Deflated,
];

impl Codec {
    pub(crate) fn of(transfer_syntax: &TransferSyntaxUid) -> Option<Self> {
        let short = transfer_syntax
            .as_str()
            .strip_prefix("1.2.840.10008.1.2.")?;
        match short {
            "1.98" => Some(Self::Native),
            "4.50" | "4.51" => Some(Self::Jpeg),
            "4.57" | "4.70" => Some(Self::JpegLossless),
            "4.80" | "4.81" => Some(Self::JpegLs),
            "4.90" | "4.91" | "4.201" | "4.202" | "4.203" => Some(Self::Jpeg2000),
            "4.110" | "4.111" | "4.112" => Some(Self::JpegXl),
            "5" => Some(Self::Rle),
            "8.1" => Some(Self::Deflated),
            _ => None,
        }
    }

    /// Its number for a worker.
    pub(crate) fn number(self) -> u8 {
        let place = NUMBERS.iter().position(|codec| *codec == self);
        place
            .and_then(|at| u8::try_from(at).ok())
            .unwrap_or(u8::MAX)
    }

    /// Which has this number.
    pub(crate) fn numbered(number: u8) -> Option<Self> {
        NUMBERS.get(usize::from(number)).copied()
    }

    /// Whether frames are decoded without a worker where there are workers: in pieces, by code that
    /// holds nothing but the encoded frame.
    pub(crate) const fn is_streamed(self) -> bool {
        matches!(self, Self::Native | Self::Rle)
    }

    /// Whether encoded frames begin with a marker, by which they are found among fragments.
    pub(crate) fn begins_frame(self, fragment: &[u8]) -> Option<bool> {
        match self {
            Self::Deflated | Self::Native | Self::Rle => None,
            Self::Jpeg | Self::JpegLossless | Self::JpegLs => {
                Some(fragment.starts_with(&[0xFF, 0xD8, 0xFF]))
            }
            Self::Jpeg2000 => {
                let is_file = fragment.starts_with(&[0, 0, 0, 12]);
                Some(is_file || fragment.starts_with(&[0xFF, 0x4F, 0xFF, 0x51]))
            }
            Self::JpegXl => {
                let is_file = fragment.starts_with(&[0, 0, 0, 12]);
                Some(is_file || fragment.starts_with(&[0xFF, 0x0A]))
            }
        }
    }

    /// The Photometric Interpretation that decoded frames have, where it is another one.
    pub(crate) fn native_photometric(self, photometric: Photometric) -> Option<&'static str> {
        use Photometric::{YbrFull, YbrFull422, YbrIct, YbrPartial420, YbrPartial422, YbrRct};
        let is_colour = match self {
            Self::Jpeg | Self::JpegXl => matches!(
                photometric,
                YbrFull | YbrFull422 | YbrIct | YbrRct | YbrPartial420 | YbrPartial422
            ),
            Self::Jpeg2000 => matches!(photometric, YbrIct | YbrRct),
            Self::Deflated | Self::JpegLossless | Self::JpegLs | Self::Native | Self::Rle => false,
        };
        is_colour.then_some("RGB")
    }

    /// Whether pixel data of this form can be decoded.
    pub(crate) fn check(self, form: &PixelForm) -> Result<(), PixelError> {
        match self {
            Self::Native | Self::Deflated => Ok(()),
            Self::Rle => rle::check(form),
            Self::Jpeg | Self::JpegLossless | Self::JpegLs | Self::Jpeg2000 | Self::JpegXl => {
                let unsupported = |what| Err(PixelError::Unsupported { what });
                if !matches!(form.bits_allocated, 1 | 8 | 16 | 32) {
                    return unsupported("Bits Allocated that the codec is not for");
                }
                if form.is_subsampled {
                    return unsupported("subsampled chrominance in a lossless code stream");
                }
                Ok(())
            }
        }
    }

    /// Compares the code stream of a frame with the attributes: size, components and bits.
    pub(crate) fn inspect(self, form: &PixelForm, encoded: &[u8]) -> Result<(), PixelError> {
        let shape = match self {
            // They have no header.
            Self::Deflated | Self::Native | Self::Rle => return Ok(()),
            Self::Jpeg | Self::JpegLossless => jpeg::shape(encoded)?,
            Self::JpegLs => jpeg_ls::shape(encoded)?,
            Self::Jpeg2000 => jpeg2000::shape(encoded)?,
            Self::JpegXl => jpeg_xl::shape(encoded)?,
        };
        shape.check(form)
    }

    /// Decodes a whole frame.
    pub(crate) fn decode(self, form: &PixelForm, encoded: Vec<u8>) -> Result<Vec<u8>, PixelError> {
        self.check(form)?;
        self.inspect(form, &encoded)?;
        let decoded = match self {
            Self::Native => encoded,
            Self::Rle => {
                let mut frame = rle::Frame::new(form, encoded)?;
                let mut out = Vec::new();
                while frame.read(&mut out, usize::MAX)? {}
                out
            }
            Self::Jpeg | Self::JpegLossless => jpeg::decode(form, &encoded)?,
            Self::JpegLs => jpeg_ls::decode(form, &encoded)?,
            Self::Jpeg2000 => jpeg2000::decode(form, &encoded)?,
            Self::JpegXl => jpeg_xl::decode(form, &encoded)?,
            Self::Deflated => deflated::decode(form, &encoded)?,
        };
        native::whole(form, decoded)
    }
}
