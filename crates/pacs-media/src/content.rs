//! What was found on a medium: where it stands, what tells it from others, and its bytes.

use crate::folder::{Folder, Stat};
use crate::limits::MediaLimits;
use crate::orthanc;
use crate::refusal::Refusal;
use crate::zip::{Entry, ZipArchive};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where something stands: a file, or an entry of a ZIP archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// The name of the entry.
    pub entry: Option<String>,
}

impl Place {
    /// A file.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            entry: None,
        }
    }
}

/// On one line, whatever a name holds: control characters are escaped.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.path.to_string_lossy().into_owned();
        if let Some(entry) = &self.entry {
            text.push('!');
            text.push_str(entry);
        }
        for character in text.chars() {
            if character.is_control() {
                write!(f, "{}", character.escape_default())?;
            } else {
                write!(f, "{character}")?;
            }
        }
        Ok(())
    }
}

/// What tells one state of one file from every other: its path, size and time of change, and the
/// entry. Half a BLAKE3 digest, which tells nothing of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity(pub [u8; 16]);

impl Identity {
    pub(crate) fn of(path: &Path, stat: Stat, entry: Option<(u64, &[u8])>) -> Self {
        let mut hasher = blake3::Hasher::new();
        let path = path.as_os_str().as_bytes();
        hasher.update(&(path.len() as u64).to_le_bytes());
        hasher.update(path);
        hasher.update(&stat.size_bytes.to_le_bytes());
        hasher.update(&stat.modified_s.to_le_bytes());
        hasher.update(&stat.modified_ns.to_le_bytes());
        if let Some((number, name)) = entry {
            hasher.update(&number.to_le_bytes());
            hasher.update(name);
        }
        let digest = hasher.finalize();
        let half = digest.as_bytes().first_chunk::<16>();
        Self(half.copied().unwrap_or_default())
    }
}

/// Something that may be an instance.
#[derive(Debug, Clone)]
pub struct Found {
    /// Where it stands.
    pub place: Place,
    /// What tells it from others.
    pub identity: Identity,
    /// Bytes it takes on the medium.
    pub size_bytes: u64,
    /// Whether it was named itself, and not come upon below a folder or in an archive.
    pub is_named: bool,
    /// Its bytes.
    pub content: Content,
}

/// Where bytes come from; nothing is held open but the folder or the archive.
#[derive(Debug, Clone)]
pub enum Content {
    /// An entry of a ZIP archive.
    Entry {
        /// Of which.
        archive: Arc<ZipArchive<File>>,
        /// Which.
        entry: Entry,
    },
    /// A file.
    File {
        /// Below which folder.
        folder: Arc<Folder>,
        /// Where there.
        relative: PathBuf,
    },
}

/// Bytes that are being read.
pub type Reader = Box<dyn Read + Send>;

impl Content {
    /// Opens it anew, from its beginning; what is compressed comes out inflated, within `limits`.
    /// The second is the length in bytes as far as it is known before it is read.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn open(&self, limits: &MediaLimits) -> Result<(Reader, u64), Refusal> {
        match self {
            Self::Entry { archive, entry } => {
                let reader = archive.read(entry, limits).map_err(Refusal::Zip)?;
                Ok((Box::new(reader), entry.declared_bytes))
            }
            Self::File { folder, relative } => {
                let file = folder.file(relative).map_err(Refusal::Open)?;
                if self.is_of_orthanc() {
                    return orthanc::open(file, limits).map_err(Refusal::Read);
                }
                let length = file.metadata().map_err(Refusal::Read)?.len();
                Ok((Box::new(file), length))
            }
        }
    }

    /// Whether it has the name and the folders of a file of an Orthanc storage.
    pub(crate) fn is_of_orthanc(&self) -> bool {
        match self {
            Self::File { folder, relative } => orthanc::is_stored_at(&folder.path().join(relative)),
            Self::Entry { .. } => false,
        }
    }
}
