//! What was done already, so that work that was interrupted goes on where it stopped.
//!
//! A journal is a text file: a line that says whose it is, then one line of 32 hexadecimal digits
//! for each file that is done. It holds no names. It goes once nothing is left to do.

use crate::limits::JOURNAL_ENTRIES_MAX;
use pacs_media::Identity;
use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Longest line of a journal that is read.
const LINE_BYTES_MAX: u64 = 4_096;

/// A journal that is being read and written.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    known: HashSet<[u8; 16]>,
}

impl Journal {
    /// Opens the journal at `path`, as it was left by the same work; one of other work, or any if
    /// `is_new`, begins anew.
    pub(super) fn open(path: &Path, work: &str, is_new: bool) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let head = format!("pacs journal 1 {work}\n");
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        let known = if is_new { None } else { read(&file, &head)? };
        let known = match known {
            Some(known) => {
                // A line that was cut does not count, and must not spoil the next.
                file.write_all(b"\n")?;
                known
            }
            None => {
                file.set_len(0)?;
                file.write_all(head.as_bytes())?;
                HashSet::new()
            }
        };
        Ok(Self {
            path: path.to_owned(),
            file,
            known,
        })
    }

    /// Files that were done before.
    pub(super) fn count(&self) -> usize {
        self.known.len()
    }

    /// What was done before.
    pub(super) fn take_known(&mut self) -> HashSet<[u8; 16]> {
        std::mem::take(&mut self.known)
    }

    /// Notes that a file is done.
    pub(super) fn add(&mut self, identity: Identity) -> io::Result<()> {
        let mut line = String::with_capacity(33);
        for byte in identity.0 {
            line.push_str(&format!("{byte:02x}"));
        }
        line.push('\n');
        self.file.write_all(line.as_bytes())
    }

    /// Takes the journal away: nothing is left to do.
    pub(super) fn end(self) -> io::Result<()> {
        std::fs::remove_file(self.path)
    }
}

/// The entries of a journal with this head; `None` where it has another.
fn read(file: &File, head: &str) -> io::Result<Option<HashSet<[u8; 16]>>> {
    let mut reader = BufReader::new(file);
    let mut line = String::new();
    reader.by_ref().take(LINE_BYTES_MAX).read_line(&mut line)?;
    if line != head {
        return Ok(None);
    }
    let mut known = HashSet::new();
    loop {
        line.clear();
        if reader.by_ref().take(LINE_BYTES_MAX).read_line(&mut line)? == 0 {
            return Ok(Some(known));
        }
        if let Some(identity) = identity(line.trim_end_matches('\n'))
            && known.len() < JOURNAL_ENTRIES_MAX
        {
            known.insert(identity);
        }
    }
}

fn identity(line: &str) -> Option<[u8; 16]> {
    if line.len() != 32 || !line.is_ascii() {
        return None;
    }
    u128::from_str_radix(line, 16).ok().map(u128::to_be_bytes)
}

/// Where the journals of this user are, if that can be told.
pub(super) fn folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let state = set("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(set("HOME")?).join(".local/state")))?;
    state.is_absolute().then(|| state.join("pacs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_remembers_what_was_done_even_behind_a_cut_line() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("state/journal");
        let (one, two) = (Identity([1; 16]), Identity([0xAB; 16]));
        let mut journal = Journal::open(&path, "store A", false).unwrap();
        journal.add(one).unwrap();
        journal.file.write_all(b"0102").unwrap();
        drop(journal);
        let mut journal = Journal::open(&path, "store A", false).unwrap();
        journal.add(two).unwrap();
        drop(journal);

        let same = Journal::open(&path, "store A", false).unwrap().take_known();
        let other = Journal::open(&path, "store B", false).unwrap();

        assert_eq!(same, HashSet::from([one.0, two.0]));
        assert_eq!(other.count(), 0);
        other.end().unwrap();
        assert!(!path.exists());
    }
}
