//! DICOMDIR: the directory of a file-set (PS3.10 8, PS3.3 Annex F), read and written.

mod keys;
mod kind;
mod read;
mod write;

pub use keys::Keys;
pub use read::{Directory, DirectoryError, Reference, read};
pub use write::{DirectoryWriter, Member, WriteError};
