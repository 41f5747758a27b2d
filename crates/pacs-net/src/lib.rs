//! DICOM associations and DIMSE services.
//!
//! From the wire upward: [`pdu`] (what bytes say), [`association`] (PS3.8, sans-IO), [`dimse`]
//! (PS3.7, sans-IO), [`service`] (what an application provides), [`acceptor`] and [`requestor`]
//! (the two sides of an association, over any byte stream of tokio), [`security`] (what is known of
//! whoever is at the other end). Every bound stands in [`limits`]. The feature `tls` adds `tls`.
//!
//! The machines have no I/O, no clock and no tasks: bytes and times are arguments.

// Hostile bytes come in here. Tests compute as they like.
#![cfg_attr(
    not(test),
    warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

pub mod acceptor;
pub mod association;
pub mod dimse;
pub mod error;
pub mod implementation;
pub mod limits;
mod link;
pub mod negotiation;
pub mod observer;
pub mod pdu;
mod receiving;
mod reporting;
pub mod requestor;
pub mod security;
mod sending;
pub mod service;
pub mod sop_class;
pub mod status;
mod strangers;
#[cfg(feature = "tls")]
pub mod tls;
pub mod transport;

pub use acceptor::{Acceptor, AcceptorBuilder, ConfigError};
pub use error::{Fault, Misuse};
pub use limits::NetLimits;
pub use link::{ByteStream, Ending};
pub use requestor::{Requestor, RequestorBuilder, RequestorError};
