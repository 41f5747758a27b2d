//! The file that tokens stand in, and how it is changed: whole, durably, one change at a time.

use super::Token;
use crate::limits::{TOKENS_FILE_BYTES_MAX, TOKENS_MAX};
use rustix::fs::{
    AtFlags, FlockOperation, Mode, OFlags, fchown, flock, openat, renameat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The file, as docs/on-disk-format.md has it.
const FILE: &str = "access-tokens.json";

/// Held while it is changed.
const LOCK: &str = "access-tokens.lock";

/// Written, and then renamed.
const NEW: &str = "access-tokens.json.new";

/// Version of the file.
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    tokens: Vec<Token>,
}

/// Why tokens were not read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokensError {
    /// The file is damaged, or of another version.
    #[error("{FILE} cannot be understood")]
    Damaged,
    /// A name that is taken.
    #[error("there is a token of that name; revoke it first")]
    Exists,
    /// It could not be recorded.
    #[error("it could not be recorded, and is not done: {0}")]
    Unrecorded(String),
    /// The disk did not do it.
    #[error("{FILE}: {0}")]
    File(#[from] io::Error),
    /// A name that stands for none.
    #[error("there is no token of that name")]
    Missing,
    /// More than [`TOKENS_MAX`].
    #[error("there are {TOKENS_MAX} tokens already")]
    TooMany,
}

/// What is to be done to the tokens.
#[derive(Debug, Clone)]
pub enum Change {
    /// There is one more.
    Create(Token),
    /// The one of that name is of no use any more.
    Revoke(String),
}

/// What a file was like when it was read. A change is a new file, so that no two are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    length: u64,
    modified_ns: (i64, i64),
}

pub(super) fn path_in(directory: &Path) -> PathBuf {
    directory.join(FILE)
}

/// `None` where there is no file, or it cannot be looked at.
pub(super) fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    Some(Stamp {
        inode: metadata.ino(),
        length: metadata.len(),
        modified_ns: (metadata.mtime(), metadata.mtime_nsec()),
    })
}

/// Reads the tokens; none where there is no file. A link in its place is an error: it may lead to a
/// file that somebody else writes.
pub(super) fn read(path: &Path) -> Result<Vec<Token>, TokensError> {
    let how = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, how, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(Vec::new()),
        opened => File::from(opened.map_err(io::Error::from)?),
    };
    if !file.metadata()?.is_file() {
        return Err(TokensError::Damaged);
    }
    let mut text = Vec::new();
    file.take(TOKENS_FILE_BYTES_MAX).read_to_end(&mut text)?;
    let document: Document = serde_json::from_slice(&text).map_err(|_| TokensError::Damaged)?;
    if document.version != VERSION || document.tokens.len() > TOKENS_MAX {
        return Err(TokensError::Damaged);
    }
    Ok(document.tokens)
}

impl super::Tokens {
    /// All tokens of the data directory `directory`, in the order in which they were made.
    ///
    /// # Errors
    /// [`TokensError`].
    pub fn list(directory: &Path) -> Result<Vec<Token>, TokensError> {
        read(&path_in(directory))
    }

    /// Changes the tokens of the data directory `directory`; durable when it returns. The file
    /// belongs to whoever the directory belongs to, so that the server can read it.
    ///
    /// # Errors
    /// [`TokensError`]; nothing changed then.
    pub fn change(directory: &Path, change: Change) -> Result<(), TokensError> {
        Self::change_recorded(directory, change, || Ok(()))
    }

    /// The same, where `record` is called as soon as it is known that it can be done, and before it
    /// is. What that says went wrong is [`TokensError::Unrecorded`].
    ///
    /// # Errors
    /// [`TokensError`]; nothing changed then.
    pub fn change_recorded(
        directory: &Path,
        change: Change,
        record: impl FnOnce() -> Result<(), String>,
    ) -> Result<(), TokensError> {
        // Root may run this where the server's user does as it likes: everything is looked up in
        // the directory that is open, and no link is followed.
        let open = File::open(directory)?;
        let lock = open_lock(&open)?;
        flock(&lock, FlockOperation::LockExclusive).map_err(io::Error::from)?;
        let mut tokens = read(&path_in(directory))?;
        apply(&mut tokens, change)?;
        record().map_err(TokensError::Unrecorded)?;
        let document = Document {
            version: VERSION,
            tokens,
        };
        let text = serde_json::to_string_pretty(&document).map_err(io::Error::other)?;
        let mut new = create_new(&open)?;
        let (owner, written) = (open.metadata()?, new.metadata()?);
        if (written.uid(), written.gid()) != (owner.uid(), owner.gid()) {
            let (uid, gid) = (Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid()));
            for file in [&new, &lock] {
                check_plain(file)?;
                fchown(file, Some(uid), Some(gid)).map_err(io::Error::from)?;
            }
        }
        new.write_all(text.as_bytes())?;
        new.sync_all()?;
        renameat(&open, NEW, &open, FILE).map_err(io::Error::from)?;
        open.sync_all()?;
        Ok(())
    }
}

/// How both are opened: a link in their place is an error, and a pipe is not waited for.
const HOW: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

/// For the owner alone.
const MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// The lock, whose content is never touched.
fn open_lock(directory: &File) -> io::Result<File> {
    let lock = File::from(openat(directory, LOCK, HOW, MODE)?);
    check_plain(&lock)?;
    Ok(lock)
}

/// The file that becomes the tokens. One that is left of a change that broke off goes first.
fn create_new(directory: &File) -> io::Result<File> {
    match unlinkat(directory, NEW, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let new = openat(directory, NEW, HOW | OFlags::EXCL, MODE)?;
    Ok(File::from(new))
}

/// An error unless `file` is a file, and has no other name elsewhere.
fn check_plain(file: &File) -> io::Result<()> {
    let found = file.metadata()?;
    if found.is_file() && found.nlink() == 1 {
        return Ok(());
    }
    let why = "a link or no file stands where a file of the tokens belongs";
    Err(io::Error::new(io::ErrorKind::InvalidInput, why))
}

fn apply(tokens: &mut Vec<Token>, change: Change) -> Result<(), TokensError> {
    match change {
        Change::Create(token) => {
            if tokens.iter().any(|known| known.name == token.name) {
                return Err(TokensError::Exists);
            }
            if tokens.len() >= TOKENS_MAX {
                return Err(TokensError::TooMany);
            }
            tokens.push(token);
        }
        Change::Revoke(name) => {
            let count = tokens.len();
            tokens.retain(|token| token.name != name);
            if tokens.len() == count {
                return Err(TokensError::Missing);
            }
        }
    }
    Ok(())
}
