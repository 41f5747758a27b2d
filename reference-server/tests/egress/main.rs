//! What leaves the archive: what data sets say, who sees them, and what is recorded of it. The
//! server runs in this process; its peers are our own and foreign ones.
#![expect(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what a test's own functions do is the test"
)]

mod correcting;
mod devices;
mod foreign;
mod people;
mod policy;
mod portal;
mod reading;
mod site;
mod split;
mod table;
mod tenants;
mod trail;
