//! The folder of derived data: one file for each thing, checked when it is read, and never more of
//! them than there is room for.
//!
//! A file is written beside its place and moved there, without a sync: one that a crash tore is
//! found by its digest, removed and made again. So is any other that is not as it was written.

use super::{DerivedCounts, DerivedLimits, Key};
use bytes::Bytes;
use pacs_store::Digest;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// How a file begins: what it is, and the version of its form.
const MAGIC: &[u8; 8] = b"pacsdrv1";

/// Magic, key, length of the body, digest of the body.
const HEADER_BYTES: usize = 8 + 32 + 8 + 32;

/// What a file takes of a disk beside its bytes, on average.
const SLACK_BYTES: u64 = 4 << 10;

/// Where files are written before they are moved.
const NEW: &str = "new";

/// Order of uses of this run: behind every time that a file can have from before, in nanoseconds.
const THIS_RUN: u64 = 1 << 63;

/// As many bytes of a digest as tell files apart; the whole digest stands in the file.
type Name = [u8; 16];

/// A folder of derived data. Everything blocks.
#[derive(Debug)]
pub(super) struct Folder {
    directory: PathBuf,
    limits: DerivedLimits,
    known: Mutex<Known>,
    next: AtomicU64,
    /// Whether the log knows that nothing can be kept.
    is_refusing: AtomicBool,
    evictions: AtomicU64,
    damaged: AtomicU64,
    not_kept: AtomicU64,
}

/// The files that are known of: all, once they are counted.
#[derive(Debug, Default)]
struct Known {
    entries: BTreeMap<Name, Entry>,
    /// By use, the one that was used longest ago first.
    by_use: BTreeSet<(u64, Name)>,
    bytes: u64,
    uses: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    bytes: u64,
    used: u64,
}

impl Known {
    fn insert(&mut self, name: Name, entry: Entry) {
        self.remove(&name);
        self.entries.insert(name, entry);
        self.by_use.insert((entry.used, name));
        self.bytes = self.bytes.saturating_add(entry.bytes);
    }

    fn remove(&mut self, name: &Name) -> Option<Entry> {
        let entry = self.entries.remove(name)?;
        self.by_use.remove(&(entry.used, *name));
        self.bytes = self.bytes.saturating_sub(entry.bytes);
        Some(entry)
    }

    /// Notes a use; whether it is the first of this run.
    fn touch(&mut self, name: Name, bytes: u64) -> bool {
        let before = self.entries.get(&name).map(|entry| entry.used);
        self.uses = self.uses.saturating_add(1);
        let used = THIS_RUN.saturating_add(self.uses);
        self.insert(name, Entry { bytes, used });
        before.is_none_or(|before| before < THIS_RUN)
    }

    /// Takes out of the list what was used longest ago, of `bytes` together if there is so much.
    fn oldest(&mut self, bytes: u64) -> Vec<Name> {
        let left_bytes = self.bytes.saturating_sub(bytes);
        let mut oldest = Vec::new();
        while self.bytes > left_bytes {
            let Some((_, name)) = self.by_use.first().copied() else {
                break;
            };
            self.remove(&name);
            oldest.push(name);
        }
        oldest
    }

    /// Takes out of the list what there is no room for.
    fn surplus(&mut self, limits: &DerivedLimits) -> Vec<Name> {
        let mut surplus = Vec::new();
        while self.bytes > limits.bytes_max || self.entries.len() > limits.entries_max {
            let Some((_, oldest)) = self.by_use.first().copied() else {
                break;
            };
            self.remove(&oldest);
            surplus.push(oldest);
        }
        surplus
    }
}

impl Folder {
    /// Makes the folder if it is not there, and removes what an earlier run did not finish.
    pub(super) fn open(directory: PathBuf, limits: &DerivedLimits) -> io::Result<Self> {
        let new = directory.join(NEW);
        // What is in it is of patients.
        let mut private = DirBuilder::new();
        private.recursive(true).mode(0o700).create(&new)?;
        for left in fs::read_dir(&new)? {
            fs::remove_file(left?.path())?;
        }
        Ok(Self {
            directory,
            limits: *limits,
            known: Mutex::default(),
            next: AtomicU64::new(0),
            is_refusing: AtomicBool::new(false),
            evictions: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
            not_kept: AtomicU64::new(0),
        })
    }

    pub(super) fn counts(&self) -> DerivedCounts {
        let known = self.known();
        DerivedCounts {
            evictions: self.evictions.load(Ordering::Relaxed),
            damaged: self.damaged.load(Ordering::Relaxed),
            not_kept: self.not_kept.load(Ordering::Relaxed),
            bytes: known.bytes,
            entries: u64::try_from(known.entries.len()).unwrap_or(u64::MAX),
            ..DerivedCounts::default()
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what earlier runs kept, and removes what there is no room for. Files of other names
    /// than ours stay and count for nothing.
    pub(super) fn count(&self) {
        for shard in 0..=u8::MAX {
            let Ok(files) = fs::read_dir(self.directory.join(hex(&[shard]))) else {
                continue;
            };
            let found = files.filter_map(|file| {
                let file = file.ok()?;
                let name = name_of(file.file_name().to_str()?)?;
                let about = file.metadata().ok().filter(fs::Metadata::is_file)?;
                (name.first() == Some(&shard)).then_some((name, about))
            });
            for (name, about) in found {
                let entry = Entry {
                    bytes: about.len().saturating_add(SLACK_BYTES),
                    used: nanoseconds(about.modified().unwrap_or(UNIX_EPOCH)),
                };
                let mut known = self.known();
                // What was used meanwhile is known better.
                if !known.entries.contains_key(&name) {
                    known.insert(name, entry);
                }
                let surplus = known.surplus(&self.limits);
                drop(known);
                self.evict(&surplus);
            }
        }
    }

    /// The body of the file of `key`, if there is one and it is whole.
    pub(super) fn read(&self, key: &Key) -> Option<Bytes> {
        let name = name(key);
        let path = self.path(&name);
        let read = File::open(&path).and_then(|mut file| {
            let bytes = self.read_whole(&mut file)?;
            Ok((file, bytes))
        });
        let (file, bytes) = match read {
            Ok(read) => read,
            Err(error) => {
                if error.kind() == ErrorKind::NotFound {
                    self.known().remove(&name);
                }
                return None;
            }
        };
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let Some(body) = body(key, bytes) else {
            self.damaged.fetch_add(1, Ordering::Relaxed);
            tracing::warn!("a file of derived data is damaged and will be made again");
            self.known().remove(&name);
            fs::remove_file(path).ok();
            return None;
        };
        let is_first_use = {
            let bytes = length.saturating_add(SLACK_BYTES);
            self.known().touch(name, bytes)
        };
        if is_first_use {
            // So that the next run knows too; if not, it goes a little earlier.
            file.set_modified(SystemTime::now()).ok();
        }
        Some(body)
    }

    /// All of a file, or the little more that shows that it is too long.
    fn read_whole(&self, file: &mut File) -> io::Result<Vec<u8>> {
        let header = u64::try_from(HEADER_BYTES).unwrap_or(u64::MAX);
        let most = self.limits.entry_bytes_max.saturating_add(header);
        let length = file.metadata()?.len().min(most).saturating_add(1);
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        file.take(length).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Keeps `body` as the thing of `key`, if there is room.
    pub(super) fn keep(&self, key: &Key, body: &[u8]) {
        let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
        if length > self.limits.entry_bytes_max {
            self.not_kept.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if let Err(error) = self.write(key, body) {
            self.not_kept.fetch_add(1, Ordering::Relaxed);
            if !self.is_refusing.swap(true, Ordering::Relaxed) {
                tracing::warn!(kind = ?error.kind(), "derived data cannot be kept now");
            }
            return;
        }
        self.is_refusing.store(false, Ordering::Relaxed);
        let bytes = length
            .saturating_add(u64::try_from(HEADER_BYTES).unwrap_or(u64::MAX))
            .saturating_add(SLACK_BYTES);
        let surplus = {
            let mut known = self.known();
            known.touch(name(key), bytes);
            known.surplus(&self.limits)
        };
        self.evict(&surplus);
    }

    /// How many bytes the disk is short of what is to stay free.
    fn missing_bytes(&self) -> io::Result<u64> {
        let disk = rustix::fs::statvfs(&self.directory)?;
        let free_bytes = disk.f_bavail.saturating_mul(disk.f_frsize);
        Ok(self.limits.free_bytes_min.saturating_sub(free_bytes))
    }

    /// Where the disk runs low, gives back what it is short of; what was used longest ago first.
    pub(super) fn give_way(&self) -> io::Result<()> {
        let missing_bytes = self.missing_bytes()?;
        if missing_bytes == 0 {
            return Ok(());
        }
        let oldest = self.known().oldest(missing_bytes);
        if !oldest.is_empty() {
            let count = oldest.len();
            tracing::info!(count, "the disk runs low: derived data makes room");
        }
        self.evict(&oldest);
        Ok(())
    }

    /// Removes all that is kept, also what an earlier run kept and nobody has counted yet.
    pub(super) fn clear(&self) -> io::Result<()> {
        for shard in 0..=u8::MAX {
            let files = match fs::read_dir(self.directory.join(hex(&[shard]))) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                other => other?,
            };
            for file in files {
                let file = file?;
                let Some(name) = file.file_name().to_str().and_then(name_of) else {
                    continue;
                };
                self.known().remove(&name);
                match fs::remove_file(file.path()) {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn write(&self, key: &Key, body: &[u8]) -> io::Result<()> {
        self.give_way()?;
        if self.missing_bytes()? > 0 {
            return Err(ErrorKind::StorageFull.into());
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let new = self.directory.join(NEW).join(number.to_string());
        let written = self.write_to(&new, key, body);
        if written.is_err() {
            fs::remove_file(&new).ok();
        }
        written
    }

    fn write_to(&self, new: &Path, key: &Key, body: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(new)?;
        file.write_all(&header(key, body))?;
        file.write_all(body)?;
        drop(file);
        let place = self.path(&name(key));
        match fs::rename(new, &place) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if let Some(shard) = place.parent() {
                    DirBuilder::new()
                        .mode(0o700)
                        .recursive(true)
                        .create(shard)?;
                }
                fs::rename(new, &place)
            }
            other => other,
        }
    }

    fn evict(&self, surplus: &[Name]) {
        for name in surplus {
            self.evictions.fetch_add(1, Ordering::Relaxed);
            // What is gone already was to go.
            fs::remove_file(self.path(name)).ok();
        }
    }

    fn path(&self, name: &Name) -> PathBuf {
        let [shard, ..] = name;
        self.directory.join(hex(&[*shard])).join(hex(name))
    }
}

fn header(key: &Key, body: &[u8]) -> Vec<u8> {
    let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
    let Digest(digest) = Digest::of(body);
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&key.digest);
    header.extend_from_slice(&length.to_le_bytes());
    header.extend_from_slice(&digest);
    header
}

/// What stands behind the header of a file, if that is as it was written.
fn body(key: &Key, file: Vec<u8>) -> Option<Bytes> {
    let file = Bytes::from(file);
    if file.len() < HEADER_BYTES {
        return None;
    }
    let body = file.slice(HEADER_BYTES..);
    let is_whole = file.starts_with(&header(key, &body));
    is_whole.then_some(body)
}

fn name(key: &Key) -> Name {
    let mut name = [0; 16];
    for (byte, of_digest) in name.iter_mut().zip(&key.digest) {
        *byte = *of_digest;
    }
    name
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The name that is written so, if it is one.
fn name_of(text: &str) -> Option<Name> {
    let digits = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let number = u128::from_str_radix(text, 16).ok().filter(|_| digits)?;
    Some(number.to_be_bytes())
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let nanoseconds = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
    nanoseconds.min(THIS_RUN.saturating_sub(1))
}
