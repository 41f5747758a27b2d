//! DICOMweb (PS3.18) over an archive, as an axum router that any program can mount.
//!
//! [`router`] gives the routes. Who asks is for the program to say ([`Identify`]), what they may do
//! for the same policy that stands under DIMSE; a handler gets its
//! [`Permit`](pacs_core::Permit) from [`Allowed`] and has no other way to the archive. Bytes of
//! requests are bounded by [`WebLimits`]; stored bytes leave as they are, piece by piece.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub mod accept;
pub mod access;
mod bulk;
mod capabilities;
pub mod commitment;
pub mod compose;
mod content;
mod convert;
pub mod derived;
pub mod described;
pub mod error;
mod follow;
mod frames;
pub mod hide;
pub mod json;
pub mod limits;
mod listing;
pub mod media_type;
mod memory;
mod metadata;
pub mod model;
pub mod multipart;
mod observe;
mod openapi;
mod pixels;
mod places;
pub mod qido;
mod query_string;
mod range;
mod recompress;
pub mod record;
mod rendered;
mod resource;
mod retrieve;
mod routes;
mod service;
mod single;
mod stow;
mod stream;
#[cfg(test)]
mod testing;
mod turned;
mod validator;
pub mod walk;
pub mod workitems;
pub mod xml;

pub use access::{Allowed, Identify, OpenToAll, Unidentified};
pub use derived::{Derived, DerivedCounts, DerivedLimits};
pub use error::Failure;
pub use follow::{FollowLimits, make_ready};
pub use limits::WebLimits;
pub use observe::{Observe, Tally};
pub use openapi::openapi;
pub use rendered::preview;
pub use service::{Options, Web, router, routes};
