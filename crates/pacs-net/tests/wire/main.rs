//! Whole associations: driver against driver over a pipe, and against foreign peers over TCP.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "functions that tests share are tests, too"
)]

mod archive;
mod dcmtk;
mod pynetdicom;
mod services;
mod tool;
