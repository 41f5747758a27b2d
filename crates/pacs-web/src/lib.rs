//! DICOMweb (PS3.18) over an archive, as an axum router that any program can mount.
//!
//! [`router`] gives the routes. Who asks is for the program to say ([`Identify`]), what they may do
//! for the same policy that stands under DIMSE; a handler gets its
//! [`Permit`](pacs_core::Permit) from [`Allowed`] and has no other way to the archive. Bytes of
//! requests are bounded by [`WebLimits`]; stored bytes leave as they are, piece by piece.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub mod accept;
pub mod access;
pub mod error;
pub mod limits;
pub mod media_type;
pub mod multipart;
mod retrieve;
mod service;
mod stow;
mod stream;

pub use access::{Allowed, Identify, OpenToAll, Unidentified};
pub use error::Failure;
pub use limits::WebLimits;
pub use service::{Options, Web, router};
