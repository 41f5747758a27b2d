//! Where DICOM files come from and go to, when it is not the network: folders, DICOMDIR file-sets,
//! ZIP archives, an Orthanc storage folder; and back into a file-set or a ZIP.
//!
//! What is read is not trusted. A [`folder::Folder`] opens nothing outside itself, whatever a
//! DICOMDIR, a link or a race says; no name that comes from a ZIP becomes a path; what inflates is
//! counted and bounded ([`limits::MediaLimits`]). Memory does not grow with the number of files.
//!
//! - [`sources::Sources`]: everything that could be an instance at or below some paths.
//! - [`inspect()`]: what a file is, from its beginning.
//! - [`dicomdir`]: reads and writes the directory of a file-set (PS3.10 8, PS3.3 F).
//! - [`zip`]: reads and writes ZIP archives.
//!
//! It blocks; whoever is asynchronous calls it where blocking is allowed.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub mod content;
pub mod dicomdir;
pub mod file_id;
pub mod folder;
pub mod inflating;
pub mod inspect;
pub mod limits;
mod orthanc;
pub mod refusal;
pub mod sources;
mod walk;
pub mod zip;

pub use content::{Content, Found, Identity};
pub use inspect::{Inspected, inspect};
pub use limits::MediaLimits;
pub use refusal::{Refusal, Refused};
pub use sources::Sources;
