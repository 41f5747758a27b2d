//! ZIP archives (APPNOTE 6.3): read without trust, and written.
//!
//! Sizes that an archive declares are not believed: what comes out is counted. Names never become
//! paths. Only stored and deflated entries are read, and no archive within an archive.

mod read;
mod write;

pub use read::{Entries, Entry, EntryReader, ReadAt, ZipArchive};
pub use write::ZipWriter;

/// Why a ZIP archive, or an entry of it, is not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ZipError {
    /// It becomes more bytes than an honest file would.
    #[error("it inflates too far")]
    Bomb,
    /// Its content does not have the checksum it was written with.
    #[error("its checksum is wrong")]
    Checksum,
    /// It is compressed in a way that is not known here.
    #[error("it is compressed in an unknown way ({method})")]
    Compression {
        /// The number of the way.
        method: u16,
    },
    /// It is encrypted.
    #[error("it is encrypted")]
    Encrypted,
    /// It is another archive, and archives within archives are not opened.
    #[error("it is an archive within an archive")]
    Inner,
    /// It cannot be read.
    #[error("it cannot be read")]
    Io(#[source] std::io::Error),
    /// It is a link.
    #[error("it is a link")]
    Link,
    /// The structures of the archive contradict one another, or end early.
    #[error("it is broken: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// Its name leads out of the folder that it would be unpacked into.
    #[error("its name leads out of the archive")]
    Name,
    /// Entries share bytes, as only a bomb needs them to.
    #[error("entries overlap")]
    Overlap,
    /// It has more entries than are read.
    #[error("it has more than {limit} entries")]
    TooMany {
        /// The limit.
        limit: usize,
    },
}

/// The signatures of the structures.
mod signature {
    pub(super) const CENTRAL: [u8; 4] = *b"PK\x01\x02";
    pub(super) const END: [u8; 4] = *b"PK\x05\x06";
    pub(super) const END_64: [u8; 4] = *b"PK\x06\x06";
    pub(super) const END_64_LOCATOR: [u8; 4] = *b"PK\x06\x07";
    pub(super) const LOCAL: [u8; 4] = *b"PK\x03\x04";
}

/// Whether a file that begins so is a ZIP archive.
#[must_use]
pub fn is_zip(beginning: &[u8]) -> bool {
    beginning.starts_with(&signature::LOCAL) || beginning.starts_with(&signature::END)
}
