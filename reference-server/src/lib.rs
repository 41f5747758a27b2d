//! The assembled archive: the services of pacs-net over the archive of pacs-store, under one
//! policy.

pub mod access;
pub mod accounts;
pub mod admission;
pub mod api;
pub mod clients;
pub mod clock;
pub mod commitment;
pub mod config;
pub mod control;
pub mod cors;
pub mod decoding;
pub mod demo;
pub mod derived;
pub mod direct;
pub mod directory;
pub mod guessing;
pub mod http;
pub mod limits;
pub mod local;
pub mod logging;
mod matcher;
pub mod metrics;
pub mod notes;
pub mod overlays;
mod place;
pub mod register;
pub mod reload;
mod room;
pub mod scp;
pub mod server;
pub mod service;
pub mod tls;
pub mod tokens;
pub mod tool;
pub mod upkeep;
pub mod web;
