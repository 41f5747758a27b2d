//! The registry, over both backends of records.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "what cannot be made fails the test"
)]

mod announcements;
mod archived;
mod consents;
mod corrections;
mod devices;
mod emptied;
mod erasures;
mod examinations;
mod follower;
mod matching;
mod mistaken;
mod notes;
mod organisations;
mod patients;
mod progress;
mod reading;
mod rejections;
mod reports;
mod requests;
mod restricted;
mod rig;
mod steps;
mod turning;
