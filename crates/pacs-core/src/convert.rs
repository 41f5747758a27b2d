//! Rewrites a data set in another transfer syntax on its way out: between the uncompressed ones,
//! from encapsulated pixel data to native, with the help of a [`PixelDecoder`], and to encapsulated
//! pixel data with that of a [`PixelEncoder`].
//!
//! Stored bytes stay as they are; a peer that takes none of their transfer syntaxes gets this
//! instead. One pass over the scanner's events, in memory that does not grow with the data set:
//! bytes go in by [`Converter::push`], and come out of [`Converter::read`] a piece at a time.
//!
//! Values stay what they are. What changes is what the encoding demands:
//! - byte order, by VR; UN is little endian everywhere (PS3.5 6.2.2);
//! - VRs that the source does not say come from the dictionary, and where that gives a choice from
//!   Pixel Representation, Bits Allocated or Waveform Bits Allocated; UN where nobody knows, and
//!   where a value is too long for the length field of its VR (PS3.5 6.2.2);
//! - sequences and items have undefined lengths, values an even one;
//! - group lengths and (0008,0001) are left out: they would be wrong (PS3.5 7.2).
//!
//! PS3.5 7 and A.1 to A.5.

pub(crate) mod input;
mod level;
pub(crate) mod machinery;
mod pixels;

pub use level::pixel_form;
pub use pixels::{Photometric, PixelDecoder, PixelEncoder, PixelError, PixelForm};

use crate::coerce::CoerceError;
use crate::encode::{EncodeError, Layout};
use crate::limits::ScanLimits;
use crate::scan::{Encoding, ScanError};
use crate::tag::Tag;
use crate::uid::TransferSyntaxUid;
use machinery::Machinery;
use std::sync::Arc;

/// Transfer syntaxes that a data set can be converted to, the best first: VRs are worth keeping,
/// and big endian is for peers that know nothing else.
pub const TARGETS: [&str; 3] = [
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.2",
];

/// Deflated Explicit VR Little Endian.
const DEFLATED: &str = "1.2.840.10008.1.2.1.99";

/// Whether data sets in `transfer_syntax` have native pixel data, so that they are converted
/// without a decoder.
#[must_use]
pub fn is_native(transfer_syntax: &TransferSyntaxUid) -> bool {
    let name = transfer_syntax.as_str();
    name == DEFLATED || TARGETS.contains(&name)
}

/// What a data set in `transfer_syntax` can be converted to, the best first; nothing where its
/// pixel data is encapsulated and `is_decoded` says that there is no decoder.
#[must_use]
pub fn targets(transfer_syntax: &TransferSyntaxUid, is_decoded: bool) -> Vec<TransferSyntaxUid> {
    if !is_native(transfer_syntax) && !is_decoded {
        return Vec::new();
    }
    TARGETS
        .iter()
        .filter(|target| **target != transfer_syntax.as_str())
        .filter_map(|target| TransferSyntaxUid::parse(target).ok())
        .collect()
}

/// Why a data set is not converted. No value is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// It cannot be given other attributes on the way.
    #[error(transparent)]
    Coerce(#[from] CoerceError),
    /// Part of it cannot be read, and would be lost.
    #[error("data set is damaged before offset {offset}")]
    Damaged {
        /// How far it had been read.
        offset: u64,
    },
    /// Fragments where there is no decoder for them.
    #[error("fragments of {tag} cannot be decoded")]
    Fragments {
        /// In which element.
        tag: Tag,
    },
    /// The pixel data cannot be decoded.
    #[error(transparent)]
    Pixels(#[from] PixelError),
    /// The bytes are no data set.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// Something is longer than the transfer syntax can say.
    #[error("value of {tag} is too long for the transfer syntax")]
    TooLong {
        /// Which element.
        tag: Tag,
    },
    /// There is no way from the one transfer syntax to the other.
    #[error("no conversion between these transfer syntaxes")]
    Unsupported,
}

impl From<EncodeError> for ConvertError {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::TooLong { tag } | EncodeError::Value { tag } => Self::TooLong { tag },
            EncodeError::Depth => Self::Unsupported,
        }
    }
}

/// How far [`Converter::read`] has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// All is converted.
    Done,
    /// The piece is full; there may be more.
    Full,
    /// There is more to come when there is more input, or [`Converter::end`] was called.
    NeedsInput,
}

/// Converts one data set. After an error it gives nothing more that is of use.
///
/// `Debug` shows where it stands, and no value.
pub struct Converter {
    work: Machinery,
}

impl std::fmt::Debug for Converter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Converter")
            .field("offset", &self.work.offset())
            .field("bytes_held", &self.bytes_held())
            .finish_non_exhaustive()
    }
}

impl Converter {
    /// For a data set in `from` that is to be in `to`. `decoder` is for the pixel data, where that
    /// is encapsulated.
    ///
    /// # Errors
    /// [`ConvertError::Unsupported`].
    pub fn new(
        from: &TransferSyntaxUid,
        to: &TransferSyntaxUid,
        decoder: Option<Box<dyn PixelDecoder>>,
        limits: &ScanLimits,
    ) -> Result<Self, ConvertError> {
        if !TARGETS.contains(&to.as_str()) || (!is_native(from) && decoder.is_none()) {
            return Err(ConvertError::Unsupported);
        }
        let encoding = Encoding::of(from);
        // Any other encapsulated syntax is not explicit VR little endian.
        if !is_native(from) && encoding != Encoding::ExplicitLittleEndian {
            return Err(ConvertError::Unsupported);
        }
        let decoder = decoder.filter(|_| !is_native(from));
        let work = Machinery::new(encoding, Layout::of(to), decoder, limits);
        Ok(Self { work })
    }

    /// For a data set in `from` whose frames `encoder` is to encode. `decoder` is for pixel data
    /// that is encapsulated already. A data set without pixel data is given in explicit VR little
    /// endian, as all encapsulated transfer syntaxes are.
    ///
    /// Of more than one frame the offset table is empty, unless `lengths` has those of the encoded
    /// frames: [`Self::frame_lengths`] of an earlier pass.
    ///
    /// # Errors
    /// [`ConvertError::Unsupported`].
    pub fn encoding(
        from: &TransferSyntaxUid,
        decoder: Option<Box<dyn PixelDecoder>>,
        encoder: Box<dyn PixelEncoder>,
        lengths: Option<Arc<[u64]>>,
        limits: &ScanLimits,
    ) -> Result<Self, ConvertError> {
        let encoding = Encoding::of(from);
        let is_convertible =
            is_native(from) || (decoder.is_some() && encoding == Encoding::ExplicitLittleEndian);
        if !is_convertible {
            return Err(ConvertError::Unsupported);
        }
        let decoder = decoder.filter(|_| !is_native(from));
        let mut work = Machinery::new(encoding, Layout::ExplicitLittle, decoder, limits);
        work.encapsulate(encoding, encoder, lengths, limits);
        Ok(Self { work })
    }

    /// Bytes of each frame that was encoded so far, in order and without padding.
    #[must_use]
    pub fn frame_lengths(&self) -> &[u64] {
        self.work.frame_lengths()
    }

    /// Says how long the data set is as it is stored, where that is known beforehand: what does not
    /// fit it is then found out earlier.
    #[must_use]
    pub fn with_length(mut self, length_bytes: u64) -> Self {
        self.work.set_length(length_bytes);
        self
    }

    /// Takes the next bytes of the data set: at the beginning, and when [`Self::read`] needs them.
    pub fn push(&mut self, bytes: Vec<u8>) {
        self.work.push(bytes);
    }

    /// Says that there are no more bytes.
    pub fn end(&mut self) {
        self.work.end();
    }

    /// Writes converted bytes behind what `out` holds, until that has `bytes_max` or some more.
    ///
    /// # Errors
    /// [`ConvertError`].
    pub fn read(&mut self, out: &mut Vec<u8>, bytes_max: usize) -> Result<Progress, ConvertError> {
        self.work.read(out, bytes_max)
    }

    /// Bytes that it holds at the moment: what was pushed and not used up, and frames that are
    /// being decoded.
    #[must_use]
    pub fn bytes_held(&self) -> u64 {
        self.work.bytes_held()
    }
}

/// What data sets go through on their way out, piece by piece.
pub trait Rewrite: Send {
    /// Takes the next bytes of the data set: at the beginning, and when [`Self::read`] needs them.
    fn push(&mut self, bytes: Vec<u8>);

    /// Says that there are no more bytes.
    fn end(&mut self);

    /// Writes bytes behind what `out` holds, until that has `bytes_max` or some more.
    ///
    /// # Errors
    /// [`ConvertError`].
    fn read(&mut self, out: &mut Vec<u8>, bytes_max: usize) -> Result<Progress, ConvertError>;

    /// Bytes that it holds at the moment.
    fn bytes_held(&self) -> u64;

    /// Bytes of each frame that was encoded so far, in order and without padding.
    fn frame_lengths(&self) -> &[u64];
}

macro_rules! rewrites {
    ($($kind:ty),*) => {$(
        impl Rewrite for $kind {
            fn push(&mut self, bytes: Vec<u8>) {
                <$kind>::push(self, bytes);
            }

            fn end(&mut self) {
                <$kind>::end(self);
            }

            fn read(
                &mut self,
                out: &mut Vec<u8>,
                bytes_max: usize,
            ) -> Result<Progress, ConvertError> {
                <$kind>::read(self, out, bytes_max)
            }

            fn bytes_held(&self) -> u64 {
                <$kind>::bytes_held(self)
            }

            fn frame_lengths(&self) -> &[u64] {
                <$kind>::frame_lengths(self)
            }
        }
    )*};
}

rewrites!(Converter, crate::coerce::Coercer);

/// Converts a data set that is all in memory.
///
/// # Errors
/// [`ConvertError`].
pub fn convert(
    data_set: &[u8],
    from: &TransferSyntaxUid,
    to: &TransferSyntaxUid,
    decoder: Option<Box<dyn PixelDecoder>>,
    limits: &ScanLimits,
) -> Result<Vec<u8>, ConvertError> {
    let mut converter = Converter::new(from, to, decoder, limits)?;
    converter.push(data_set.to_vec());
    converter.end();
    let mut out = Vec::new();
    let _done = converter.read(&mut out, usize::MAX)?;
    Ok(out)
}
