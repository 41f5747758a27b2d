//! The rig of the black-box tests: it starts the real server, speaks to it, and starts its peers.
//!
//! Nothing here uses a crate of the archive: [`wire`] is a small DICOM implementation of its own,
//! so that a mistake shared by both ends cannot hide. Everything blocks; a test that waits does
//! so on an event with a deadline, never on a sleep.

pub mod certificates;
pub mod corpus;
pub mod crash;
pub mod day;
pub mod demonstration;
pub mod described;
pub mod drill;
pub mod edges;
pub mod flip;
pub mod forged_media;
pub mod hostile;
pub mod huge;
pub mod indexes;
pub mod keepalive;
pub mod line;
pub mod notified;
pub mod opened;
pub mod peers;
pub mod pictures;
pub mod portal;
mod ports;
pub mod power;
pub mod provider;
pub mod proxy;
pub mod repository;
pub mod samples;
pub mod server;
pub mod signed_in;
pub mod stow;
pub mod tls_listener;
pub mod web;
pub mod web_server;
pub mod wire;
pub mod workspace;
pub mod xroad;
