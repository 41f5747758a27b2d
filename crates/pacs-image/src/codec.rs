//! The codecs: one module for each, which decodes one frame at a time.
//!
//! A codec is asked whether it is for pixel data of a form, takes an encoded frame, and gives it
//! back in native form, a piece at a time: samples little endian, by pixel or by plane as Planar
//! Configuration has it, without padding. A new one is a module, a variant of [`Codec`] and its
//! arms.

mod native;
mod rle;

use pacs_core::TransferSyntaxUid;
use pacs_core::convert::{PixelError, PixelForm};

/// Which codec a transfer syntax has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    /// Encapsulated Uncompressed Explicit VR Little Endian (PS3.5 A.4.11).
    Native,
    /// RLE Lossless (PS3.5 A.4.2 and annex G).
    Rle,
}

/// One frame on its way.
#[derive(Debug)]
pub(crate) enum Frame {
    Native(native::Frame),
    Rle(rle::Frame),
}

impl Codec {
    pub(crate) fn of(transfer_syntax: &TransferSyntaxUid) -> Option<Self> {
        match transfer_syntax.as_str() {
            "1.2.840.10008.1.2.1.98" => Some(Self::Native),
            "1.2.840.10008.1.2.5" => Some(Self::Rle),
            _ => None,
        }
    }

    /// Whether pixel data of this form can be decoded.
    pub(crate) fn check(self, form: &PixelForm) -> Result<(), PixelError> {
        match self {
            Self::Native => Ok(()),
            Self::Rle => rle::check(form),
        }
    }

    /// Begins to decode a frame.
    pub(crate) fn begin(self, form: &PixelForm, encoded: Vec<u8>) -> Result<Frame, PixelError> {
        match self {
            Self::Native => native::Frame::new(form, encoded).map(Frame::Native),
            Self::Rle => rle::Frame::new(form, encoded).map(Frame::Rle),
        }
    }
}

impl Frame {
    /// Writes more of the frame behind what `out` holds: at least one pixel, and not many more
    /// bytes than `bytes_max`; `false` where there was no more.
    pub(crate) fn read(&mut self, out: &mut Vec<u8>, bytes_max: usize) -> Result<bool, PixelError> {
        match self {
            Self::Native(frame) => Ok(frame.read(out, bytes_max)),
            Self::Rle(frame) => frame.read(out, bytes_max),
        }
    }

    pub(crate) fn bytes_held(&self) -> usize {
        match self {
            Self::Native(frame) => frame.bytes_held(),
            Self::Rle(frame) => frame.bytes_held(),
        }
    }
}
