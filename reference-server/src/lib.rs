//! The assembled archive.
