//! Packs: the content, and the log of the index.
//!
//! A pack is a POSIX (pax) tar of DICOM Part 10 files; docs/on-disk-format.md draws every byte. Log
//! packs are appended to by one thread and read by anyone; a large pack holds one instance that was
//! streamed.

pub(crate) mod ahead;
pub(crate) mod around;
pub(crate) mod destroy;
pub(crate) mod entry;
pub(crate) mod examine;
pub(crate) mod large;
pub(crate) mod log;
pub(crate) mod mark;
pub(crate) mod name;
pub(crate) mod part10;
pub(crate) mod prepare;
pub(crate) mod read;
pub(crate) mod tar;
