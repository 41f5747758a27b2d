//! The suite that every storage backend passes, and a disk that crashes.
//!
//! A backend's test file calls [`index_conformance!`] or `records_conformance!` with how to make a
//! fresh one; the macro emits one test for each case. [`property`] holds an index against the model
//! with random content and random queries. To be used in tests: everything here panics where a
//! promise is broken.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "this is a test suite: a panic is how it reports"
)]

pub mod archive_cases;
pub mod crash_disk;
pub mod index_cases;
pub mod log;
pub mod property;
pub mod records_cases;
pub mod samples;
pub mod tenants;

#[doc(hidden)]
pub use tokio;
