//! The registry, over both backends of records.

#![expect(clippy::unwrap_used, reason = "what cannot be made fails the test")]

mod devices;
mod organisations;
mod rig;
