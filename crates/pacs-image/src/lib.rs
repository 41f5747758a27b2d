//! Pixel data: where the frames of encapsulated pixel data are, and how they become native.
//!
//! - [`FrameMap`] says where the frames of stored pixel data are, so that one of them is one
//!   positioned read.
//! - [`Decoders`] decodes and encodes them, in this process or in those of a [`WorkerPool`]; for
//!   the converter of pacs-core it gives decoders and encoders of whole data sets. Behind it each
//!   transfer syntax has a `codec` that decodes one frame at a time.
//! - [`render::render`] makes a picture of a native frame and the [`Head`] of its data set.
//! - A worker is the same program started with [`worker::ARGUMENT`]: see [`worker`].
//!
//! Nothing here is called while an instance is received.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod bits;
mod codec;
mod decoder;
mod decoders;
mod encoder;
mod frame_map;
mod frames;
mod head;
pub mod limits;
pub mod render;
pub mod worker;

pub use decoders::{Decoders, native_form};
pub use frame_map::{FrameLocation, FrameMap, FrameMapError, PixelDataPlace, ReadAt};
pub use head::{DataSet, Head, HeadError};
pub use limits::{ImageLimits, RenderLimits, WorkerLimits};
pub use worker::{WorkerCommand, WorkerPool};

use codec::Codec;
use pacs_core::TransferSyntaxUid;
use pacs_core::convert::{PixelDecoder, PixelForm, is_native};

/// A decoder for pixel data in `transfer_syntax`, in this process; `None` where there is none.
#[must_use]
pub fn decoder(
    transfer_syntax: &TransferSyntaxUid,
    limits: &ImageLimits,
) -> Option<Box<dyn PixelDecoder>> {
    Decoders::in_process(*limits).decoder(transfer_syntax)
}

/// Transfer syntaxes that frames can be encoded for, all lossless, the best for a viewer first:
/// HTJ2K, also with resolutions one after the other, JPEG-LS, RLE.
pub const ENCODED: [&str; 4] = [
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.4.202",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.5",
];

/// Whether native frames of `form` can be encoded for `transfer_syntax`.
#[must_use]
pub fn is_encoded(transfer_syntax: &TransferSyntaxUid, form: &PixelForm) -> bool {
    let codec = Codec::encoder_of(transfer_syntax);
    codec.is_some_and(|codec| codec.check_encoded(form).is_ok())
}

/// What whole instances in `transfer_syntax` can be encoded for, the best for a viewer first:
/// nothing where a lossy compression made their pixels, so that none goes through another one, and
/// where they are not decoded. Whether an instance can be, [`Decoders::check_encoding`] says.
#[must_use]
pub fn encodings(transfer_syntax: &TransferSyntaxUid) -> Vec<TransferSyntaxUid> {
    if !is_native(transfer_syntax) && !is_lossless(transfer_syntax) {
        return Vec::new();
    }
    let others = ENCODED.into_iter();
    let others = others.filter(|name| *name != transfer_syntax.as_str());
    others
        .filter_map(|name| TransferSyntaxUid::parse(name).ok())
        .collect()
}

/// Whether pixel data in this transfer syntax is decoded, and is what was compressed, whoever did.
fn is_lossless(transfer_syntax: &TransferSyntaxUid) -> bool {
    let short = transfer_syntax.as_str().strip_prefix("1.2.840.10008.1.2.");
    let is_lossless = matches!(
        short,
        Some(
            "1.98" | "4.57" | "4.70" | "4.80" | "4.90" | "4.110" | "4.201" | "4.202" | "5" | "8.1"
        )
    );
    is_lossless && is_decoded(transfer_syntax)
}

/// Whether frames in this transfer syntax have the samples of a pixel together, whatever Planar
/// Configuration says (PS3.5 8.2.3, 8.2.4).
fn is_encoded_by_pixel(transfer_syntax: &TransferSyntaxUid) -> bool {
    Codec::encoder_of(transfer_syntax).is_some_and(|codec| codec != Codec::Rle)
}

/// Whether there is a decoder for pixel data in `transfer_syntax`.
#[must_use]
pub fn is_decoded(transfer_syntax: &TransferSyntaxUid) -> bool {
    Codec::of(transfer_syntax).is_some()
}
