//! How frames are decoded: in this process, or by workers.

use crate::codec::{Codec, native, rle};
use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::limits::ImageLimits;
use crate::worker::WorkerPool;
use pacs_core::TransferSyntaxUid;
use pacs_core::convert::{Photometric, PixelDecoder, PixelEncoder, PixelError, PixelForm};
use std::sync::Arc;

/// Decoders of pixel data. A clone uses the same workers.
///
/// [`Decoders::in_process`] decodes where it is called: right for data that is trusted, and for
/// tests. A hostile frame can then take memory and time that only [`ImageLimits`] bound, and a
/// fault of OpenJPEG is one of the process. A server uses [`Decoders::with_workers`].
#[derive(Debug, Clone)]
pub struct Decoders {
    limits: ImageLimits,
    workers: Option<Arc<WorkerPool>>,
}

impl Decoders {
    /// Decodes in this process.
    #[must_use]
    pub const fn in_process(limits: ImageLimits) -> Self {
        Self {
            limits,
            workers: None,
        }
    }

    /// Decodes in the processes of `workers`. RLE and frames that are native already are taken
    /// apart here: that is safe code which holds no more than the encoded frame.
    #[must_use]
    pub const fn with_workers(limits: ImageLimits, workers: Arc<WorkerPool>) -> Self {
        Self {
            limits,
            workers: Some(workers),
        }
    }

    /// A decoder for the converter of pacs-core; `None` where pixel data in `transfer_syntax` is
    /// not decoded. Its calls may block for as long as a worker may take.
    #[must_use]
    pub fn decoder(&self, transfer_syntax: &TransferSyntaxUid) -> Option<Box<dyn PixelDecoder>> {
        let codec = Codec::of(transfer_syntax)?;
        Some(Box::new(Decoder::new(codec, self.clone())))
    }

    /// An encoder for the converter of pacs-core; `None` where nothing is encoded for
    /// `transfer_syntax`. Its calls may block for as long as a worker may take.
    #[must_use]
    pub fn encoder(&self, transfer_syntax: &TransferSyntaxUid) -> Option<Box<dyn PixelEncoder>> {
        Codec::encoder_of(transfer_syntax)?;
        Some(Box::new(Encoder::new(transfer_syntax, self.clone())))
    }

    /// Decodes one encoded frame (see [`crate::FrameMap`]) to its native form, which
    /// [`native_form`] describes: [`PixelForm::frame_bits`] bits, little endian, without padding
    /// but that of the last byte. Blocks; `form` is what the data set says.
    ///
    /// # Errors
    /// [`PixelError`]; [`PixelError::Unsupported`] also where there is no decoder.
    pub fn decode_frame(
        &self,
        transfer_syntax: &TransferSyntaxUid,
        form: &PixelForm,
        encoded: Vec<u8>,
    ) -> Result<Vec<u8>, PixelError> {
        let what = "a transfer syntax without a decoder";
        let codec = Codec::of(transfer_syntax).ok_or(PixelError::Unsupported { what })?;
        let mut form = *form;
        // What the code stream is of stays known: it says how colour is coded.
        form.is_subsampled &= codec.native_photometric(form.photometric).is_none();
        self.check(codec, &form)?;
        let limit_bytes = self.limits.encoded_frame_bytes_max;
        if u64::try_from(encoded.len()).unwrap_or(u64::MAX) > limit_bytes {
            let what = "an encoded frame";
            return Err(PixelError::TooLarge { what, limit_bytes });
        }
        self.decode(codec, &form, encoded)
    }

    /// Encodes one native frame for a transfer syntax of [`crate::ENCODED`]: lossless, which is
    /// proved by decoding it again. `form` is that of the native frame. Blocks.
    ///
    /// # Errors
    /// [`PixelError`]; [`PixelError::Unsupported`] where there is no encoder, or not for this form.
    pub fn encode_frame(
        &self,
        transfer_syntax: &TransferSyntaxUid,
        form: &PixelForm,
        native: &[u8],
    ) -> Result<Vec<u8>, PixelError> {
        let codec = encoder_of(transfer_syntax)?;
        codec.check_encoded(form)?;
        let limit_bytes = self.limits.native_frame_bytes_max;
        if u64::try_from(native.len()).unwrap_or(u64::MAX) > limit_bytes {
            let what = "a native frame";
            return Err(PixelError::TooLarge { what, limit_bytes });
        }
        match &self.workers {
            Some(workers) if !codec.is_streamed() => workers.encode(codec, form, native),
            _ => codec.encode(form, native),
        }
    }

    /// Whether frames of this native form can be encoded, as many as there are.
    ///
    /// # Errors
    /// [`PixelError::Unsupported`] or [`PixelError::TooLarge`].
    pub fn check_encoding(
        &self,
        transfer_syntax: &TransferSyntaxUid,
        form: &PixelForm,
    ) -> Result<(), PixelError> {
        encoder_of(transfer_syntax)?.check_encoded(form)?;
        let limit_bytes = self.limits.native_frame_bytes_max;
        if form.frame_bits().div_ceil(8) > limit_bytes {
            let what = "a native frame";
            return Err(PixelError::TooLarge { what, limit_bytes });
        }
        if form.bits_allocated == 1 {
            // Programs do not agree on what single bits are in RLE.
            let what = "single bits";
            return Err(PixelError::Unsupported { what });
        }
        // A table of their offsets has four bytes for each.
        let limit_bytes = self.limits.offset_table_bytes_max;
        if u64::from(form.frames).saturating_mul(4) > limit_bytes {
            let what = "an offset table";
            return Err(PixelError::TooLarge { what, limit_bytes });
        }
        Ok(())
    }

    pub(crate) const fn limits(&self) -> &ImageLimits {
        &self.limits
    }

    /// Whether frames of this native form can be decoded.
    pub(crate) fn check(&self, codec: Codec, form: &PixelForm) -> Result<(), PixelError> {
        let what = "no pixels";
        if form.frame_bits() == 0 || form.frames == 0 {
            return Err(PixelError::Unsupported { what });
        }
        let limit_bytes = self.limits.native_frame_bytes_max;
        if !codec.is_streamed() && form.frame_bits().div_ceil(8) > limit_bytes {
            let what = "a native frame";
            return Err(PixelError::TooLarge { what, limit_bytes });
        }
        codec.check(form)
    }

    fn decode(
        &self,
        codec: Codec,
        form: &PixelForm,
        encoded: Vec<u8>,
    ) -> Result<Vec<u8>, PixelError> {
        match &self.workers {
            Some(workers) if !codec.is_streamed() => {
                codec.inspect(form, &encoded)?;
                workers.decode(codec, form, &encoded)
            }
            _ => codec.decode(form, encoded),
        }
    }

    /// Begins to decode a frame.
    pub(crate) fn begin(
        &self,
        codec: Codec,
        form: &PixelForm,
        encoded: Vec<u8>,
    ) -> Result<Frame, PixelError> {
        match codec {
            Codec::Rle => rle::Frame::new(form, encoded).map(Frame::Rle),
            Codec::Native => native::Frame::new(form, encoded).map(Frame::Native),
            Codec::Deflated
            | Codec::Jpeg
            | Codec::Jpeg2000
            | Codec::JpegLossless
            | Codec::JpegLs
            | Codec::JpegXl => {
                let decoded = self.decode(codec, form, encoded)?;
                native::Frame::new(form, decoded).map(Frame::Native)
            }
        }
    }
}

fn encoder_of(transfer_syntax: &TransferSyntaxUid) -> Result<Codec, PixelError> {
    let what = "a transfer syntax without an encoder";
    Codec::encoder_of(transfer_syntax).ok_or(PixelError::Unsupported { what })
}

/// What [`Decoders::decode_frame`] makes of pixel data of `form`: colour of JPEG, JPEG XL and,
/// where its components were transformed, JPEG 2000 becomes RGB (PS3.5 8.2.1 and 8.2.4). All else
/// stays.
#[must_use]
pub fn native_form(transfer_syntax: &TransferSyntaxUid, form: &PixelForm) -> PixelForm {
    let mut native = *form;
    let codec = Codec::of(transfer_syntax);
    if codec.is_some_and(|codec| codec.native_photometric(form.photometric).is_some()) {
        native.is_subsampled = false;
        native.photometric = Photometric::Rgb;
    }
    native
}

/// One frame on its way.
#[derive(Debug)]
pub(crate) enum Frame {
    Native(native::Frame),
    Rle(rle::Frame),
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
