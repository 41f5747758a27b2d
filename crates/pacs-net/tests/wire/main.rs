//! Whole associations: driver against driver over a pipe, and against foreign peers over TCP.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    unreachable_pub,
    reason = "functions that tests share are tests, too"
)]

mod archive;
mod checks;
mod commitment;
mod corpus;
mod crowd;
mod dcmtk;
mod hostile;
mod memory;
mod moves;
mod policy;
mod pynetdicom;
mod raw;
mod services;
mod steps;
mod tool;
