//! A folder that opens nothing outside itself.
//!
//! Every component of a path is opened from the folder before it, links are not followed, and only
//! regular files are given: neither a link that is there nor one that somebody puts there while we
//! look leads out.

use crate::file_id::{FileId, is_called};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

/// Why something below a folder is not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The system does not let us.
    #[error("the system refused it")]
    Io(#[source] io::Error),
    /// It is a link, or stands behind one.
    #[error("it is a link, or stands behind one")]
    Link,
    /// It is a folder, a device, or something else that is no file.
    #[error("it is not a regular file")]
    NotAFile,
    /// There is nothing of this name.
    #[error("it is not there")]
    NotThere,
    /// The path is absolute or has `..` in it.
    #[error("its path leads out of the folder")]
    Outside,
}

impl From<Errno> for OpenError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::LOOP => Self::Link,
            Errno::NOENT => Self::NotThere,
            other => Self::Io(other.into()),
        }
    }
}

/// A folder, held open.
#[derive(Debug)]
pub struct Folder {
    handle: OwnedFd,
    path: PathBuf,
}

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// Without waiting for the other end of a pipe, and without becoming anybody's terminal.
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

impl Folder {
    /// Opens the folder at `path`, where links are followed: whoever named it meant it.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn open(path: &Path) -> io::Result<Self> {
        let handle = rustix::fs::open(path, FOLDER, Mode::empty())?;
        Ok(Self {
            handle,
            path: path.to_owned(),
        })
    }

    /// Where it is, as it was named.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The regular file at `relative`.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn file(&self, relative: &Path) -> Result<File, OpenError> {
        let name = relative.file_name().ok_or(OpenError::Outside)?;
        let parent = self.below(relative.parent().unwrap_or(Path::new("")))?;
        open_file(parent.as_fd(&self.handle), name)
    }

    /// The file that a DICOMDIR in this folder calls `id`, and where it is. Where there is none of
    /// exactly that name, one that differs in case or in the marks of ISO 9660 is taken.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn find(&self, id: &FileId) -> Result<(PathBuf, File), OpenError> {
        let mut path = PathBuf::new();
        let mut parent = Below::Itself;
        let Some((last, folders)) = id.components().split_last() else {
            return Err(OpenError::NotThere);
        };
        for wanted in folders {
            let here = parent.as_fd(&self.handle);
            let (name, below) = exactly_or_nearly(here, wanted, open_folder)?;
            path.push(name);
            parent = Below::Handle(below);
        }
        let here = parent.as_fd(&self.handle);
        let (name, file) = exactly_or_nearly(here, last, open_file)?;
        path.push(name);
        Ok((path, file))
    }

    /// What is in the folder at `relative`, in no order.
    pub(crate) fn names(&self, relative: &Path) -> Result<Names, OpenError> {
        let folder = self.below(relative)?;
        // A handle of its own, since reading moves it.
        let own = rustix::fs::openat(folder.as_fd(&self.handle), ".", FOLDER, Mode::empty())?;
        Ok(Names {
            entries: Dir::read_from(&own)?,
            folder: own,
        })
    }

    fn below(&self, relative: &Path) -> Result<Below, OpenError> {
        let mut below = Below::Itself;
        for component in relative.components() {
            let Component::Normal(name) = component else {
                return Err(OpenError::Outside);
            };
            below = Below::Handle(open_folder(below.as_fd(&self.handle), name)?);
        }
        Ok(below)
    }
}

/// A folder at or below another.
enum Below {
    Handle(OwnedFd),
    Itself,
}

impl Below {
    fn as_fd<'a>(&'a self, itself: &'a OwnedFd) -> BorrowedFd<'a> {
        match self {
            Self::Handle(handle) => handle.as_fd(),
            Self::Itself => itself.as_fd(),
        }
    }
}

fn open_folder(parent: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, OpenError> {
    let flags = FOLDER.union(OFlags::NOFOLLOW);
    let opened = rustix::fs::openat(parent, name, flags, Mode::empty());
    opened.map_err(|errno| {
        // Of a link, only that it is no folder is told.
        if errno == Errno::NOTDIR && is_link(parent, name) {
            return OpenError::Link;
        }
        OpenError::from(errno)
    })
}

fn is_link(parent: BorrowedFd<'_>, name: &OsStr) -> bool {
    kind(parent, name).is_ok_and(FileType::is_symlink)
}

fn kind(parent: BorrowedFd<'_>, name: &OsStr) -> Result<FileType, Errno> {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode))
}

fn open_file(parent: BorrowedFd<'_>, name: &OsStr) -> Result<File, OpenError> {
    let file = File::from(rustix::fs::openat(parent, name, FILE, Mode::empty())?);
    let meta = file.metadata().map_err(OpenError::Io)?;
    if meta.is_file() {
        Ok(file)
    } else {
        Err(OpenError::NotAFile)
    }
}

/// Opens what is called `wanted`, exactly or nearly.
fn exactly_or_nearly<T>(
    parent: BorrowedFd<'_>,
    wanted: &str,
    open: impl Fn(BorrowedFd<'_>, &OsStr) -> Result<T, OpenError>,
) -> Result<(OsString, T), OpenError> {
    match open(parent, OsStr::new(wanted)) {
        Err(OpenError::NotThere) => {}
        opened => return Ok((wanted.into(), opened?)),
    }
    let own = rustix::fs::openat(parent, ".", FOLDER, Mode::empty())?;
    for entry in Dir::read_from(&own)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if is_called(name, wanted) {
            let name = OsString::from_vec(name.to_owned());
            let opened = open(parent, &name)?;
            return Ok((name, opened));
        }
    }
    Err(OpenError::NotThere)
}

/// What is in a folder.
pub(crate) struct Names {
    entries: Dir,
    folder: OwnedFd,
}

/// A file or folder by its name, or something that is neither.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    File(OsString),
    Folder(OsString),
    Link(OsString),
    Other,
}

impl Names {
    /// Size and time of change of a file in this folder.
    pub(crate) fn stat(&self, name: &OsStr) -> Result<Stat, OpenError> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let stat = rustix::fs::statat(&self.folder, name, flags)?;
        // The system itself says it without a sign, the C library with one.
        #[allow(
            clippy::useless_conversion,
            clippy::unnecessary_fallible_conversions,
            reason = "its type is another where the calls go through the C library"
        )]
        let modified_ns = u64::try_from(stat.st_mtime_nsec).unwrap_or(0);
        Ok(Stat {
            size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
            modified_s: stat.st_mtime,
            modified_ns,
        })
    }
}

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) size_bytes: u64,
    pub(crate) modified_s: i64,
    pub(crate) modified_ns: u64,
}

impl Stat {
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        let meta = file.metadata()?;
        Ok(Self {
            size_bytes: meta.len(),
            modified_s: meta.mtime(),
            modified_ns: u64::try_from(meta.mtime_nsec()).unwrap_or(0),
        })
    }
}

impl Named {
    pub(crate) fn name(&self) -> &OsStr {
        match self {
            Self::File(name) | Self::Folder(name) | Self::Link(name) => name,
            Self::Other => OsStr::new(""),
        }
    }
}

impl Iterator for Names {
    type Item = io::Result<Named>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let entry = match self.entries.next()? {
                Ok(entry) => entry,
                Err(errno) => return Some(Err(errno.into())),
            };
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let mut file_type = entry.file_type();
            if file_type == FileType::Unknown {
                file_type = match kind(self.folder.as_fd(), name) {
                    Ok(file_type) => file_type,
                    Err(errno) => return Some(Err(errno.into())),
                };
            }
            let name = name.to_owned();
            return Some(Ok(if file_type.is_file() {
                Named::File(name)
            } else if file_type.is_dir() {
                Named::Folder(name)
            } else if file_type.is_symlink() {
                Named::Link(name)
            } else {
                Named::Other
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn files_below_are_opened_and_nothing_behind_a_link_is() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("root");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/b/file"), b"inside").unwrap();
        std::fs::create_dir(home.path().join("outside")).unwrap();
        std::fs::write(home.path().join("outside/secret"), b"outside").unwrap();
        symlink(home.path().join("outside"), root.join("a/out")).unwrap();
        symlink("../../outside/secret", root.join("a/secret")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, root.join("pipe"), Mode::RUSR).unwrap();
        let folder = Folder::open(&root).unwrap();

        let inside = io::read_to_string(folder.file(Path::new("a/b/file")).unwrap());

        assert_eq!(inside.unwrap(), "inside");
        let refused = |path: &str| folder.file(Path::new(path)).unwrap_err();
        assert!(matches!(refused("a/out/secret"), OpenError::Link));
        assert!(matches!(refused("a/secret"), OpenError::Link));
        assert!(matches!(refused("../outside/secret"), OpenError::Outside));
        assert!(matches!(refused("/etc/passwd"), OpenError::Outside));
        assert!(matches!(refused("a/b/.."), OpenError::Outside));
        assert!(matches!(refused("a/b"), OpenError::NotAFile));
        assert!(matches!(refused("pipe"), OpenError::NotAFile));
        assert!(matches!(refused("a/none"), OpenError::NotThere));
    }

    #[test]
    fn a_file_id_is_found_in_any_case_and_with_the_marks_of_iso_9660() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join("images/ser1")).unwrap();
        std::fs::write(home.path().join("images/ser1/im0001.;1"), b"it").unwrap();
        let folder = Folder::open(home.path()).unwrap();

        let (path, _) = folder
            .find(&FileId::parse(b"IMAGES\\SER1\\IM0001").unwrap())
            .unwrap();

        assert_eq!(path, Path::new("images/ser1/im0001.;1"));
        let other = folder.find(&FileId::parse(b"IMAGES\\SER1\\IM0002").unwrap());
        assert!(matches!(other, Err(OpenError::NotThere)));
    }
}
