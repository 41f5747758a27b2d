//! Pixel data: where the frames of encapsulated pixel data are, and how they become native.
//!
//! [`decoder`] gives what the converter of pacs-core asks for ([`PixelDecoder`]). Behind it,
//! `frames` finds frames among fragments, and each transfer syntax has a `codec` that decodes one
//! frame at a time. Every codec here is safe code of our own with bounded memory and runs in the
//! process; those that are not will have a process of their own.
//!
//! Nothing here is called while an instance is received.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod bits;
mod codec;
mod decoder;
mod frames;
pub mod limits;

pub use limits::ImageLimits;

use codec::Codec;
use decoder::Decoder;
use pacs_core::TransferSyntaxUid;
use pacs_core::convert::PixelDecoder;

/// A decoder for pixel data in `transfer_syntax`; `None` where there is none.
#[must_use]
pub fn decoder(
    transfer_syntax: &TransferSyntaxUid,
    limits: &ImageLimits,
) -> Option<Box<dyn PixelDecoder>> {
    let codec = Codec::of(transfer_syntax)?;
    Some(Box::new(Decoder::new(codec, limits)))
}

/// Whether there is a decoder for pixel data in `transfer_syntax`.
#[must_use]
pub fn is_decoded(transfer_syntax: &TransferSyntaxUid) -> bool {
    Codec::of(transfer_syntax).is_some()
}
