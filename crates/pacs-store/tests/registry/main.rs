//! The registry, over both backends of records.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "what cannot be made fails the test"
)]

mod corrections;
mod devices;
mod examinations;
mod follower;
mod matching;
mod organisations;
mod patients;
mod progress;
mod requests;
mod rig;
mod steps;
