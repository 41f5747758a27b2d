//! A disk that crashes, and keeps no more than it promised.
//!
//! It holds two images: what a running program sees, and what would be there after a loss of power.
//! Bytes reach the second with a sync of their file, names with a sync of their directory. At a
//! crash a chance that follows from the seed also lets through some of what was not synced: single
//! sectors of 512 bytes of any write, in any combination, and the first few of the changes of
//! names, in their order. That is as bad as a real disk can be, and worse than most are.
//!
//! Every change of the disk is an operation; [`CrashDisk::crash_at`] names the one at which the
//! power goes. From then on everything fails, until [`CrashDisk::restarted`] gives the disk that
//! the next process finds.

use pacs_store::disk::{Disk, DiskFile, OpenHow};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a disk loses or keeps as one.
const SECTOR_BYTES: usize = 512;

/// A data directory in memory. Clones are the same one.
#[derive(Clone)]
pub struct CrashDisk {
    state: Arc<Mutex<State>>,
    is_locked: Arc<AtomicBool>,
}

struct State {
    chance: Chance,
    files: Vec<File>,
    /// Names as a program sees them.
    names: BTreeMap<String, usize>,
    /// Names as they are after a crash, but for `unsynced`.
    durable_names: BTreeMap<String, usize>,
    unsynced: Vec<NameChange>,
    operations_count: u64,
    crash_at: Option<u64>,
    has_crashed: bool,
    ignores_syncs: bool,
}

#[derive(Default, Clone)]
struct File {
    live: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Write>,
}

#[derive(Clone)]
enum Write {
    Bytes { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Clone)]
enum NameChange {
    Create { name: String, file: usize },
    Remove { name: String },
    Rename { from: String, to: String },
}

/// Numbers that follow from a seed (splitmix64).
#[derive(Debug, Clone)]
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap_or(0)
    }
}

impl CrashDisk {
    /// An empty disk.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with(State {
            chance: Chance(seed),
            files: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            unsynced: Vec::new(),
            operations_count: 0,
            crash_at: None,
            has_crashed: false,
            ignores_syncs: false,
        })
    }

    fn with(state: State) -> Self {
        Self {
            state: Arc::new(Mutex::new(state)),
            is_locked: Arc::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on a sync does nothing and says it did: what a store that forgets to sync would
    /// find.
    pub fn ignore_syncs(&self) {
        self.state().ignores_syncs = true;
    }

    /// Lets the power go at the operation with this number, counted from 1 on this disk.
    pub fn crash_at(&self, operation: u64) {
        self.state().crash_at = Some(operation);
    }

    /// Lets the power go now.
    pub fn crash(&self) {
        self.state().has_crashed = true;
    }

    /// Whether the power is gone.
    #[must_use]
    pub fn has_crashed(&self) -> bool {
        self.state().has_crashed
    }

    /// Operations so far.
    #[must_use]
    pub fn operations_count(&self) -> u64 {
        self.state().operations_count
    }

    /// The disk as the next process finds it. This one is left as it is: who holds it finds no
    /// power.
    #[must_use]
    pub fn restarted(&self) -> Self {
        let mut state = self.state();
        state.has_crashed = true;
        let State {
            chance,
            files,
            durable_names,
            unsynced,
            ignores_syncs,
            ..
        } = &mut *state;
        let mut names = durable_names.clone();
        // Nothing, all, or something between.
        let kept = match chance.below(3) {
            0 => 0,
            1 => unsynced.len(),
            _ => chance.below(unsynced.len() + 1),
        };
        for change in unsynced.iter().take(kept) {
            change.apply(&mut names);
        }
        let files = files.iter().map(|file| file.after_crash(chance)).collect();
        Self::with(State {
            chance: Chance(chance.next()),
            files,
            durable_names: names.clone(),
            names,
            unsynced: Vec::new(),
            operations_count: 0,
            crash_at: None,
            has_crashed: false,
            ignores_syncs: *ignores_syncs,
        })
    }

    /// The names of all files, as a program sees them.
    #[must_use]
    pub fn file_names(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    /// Does one operation, or loses power at it.
    fn operate<T>(&self, work: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state();
        state.powered()?;
        state.operations_count += 1;
        let done = work(&mut state);
        if state.crash_at == Some(state.operations_count) {
            // It was under way: as far as it is not synced it may be there or not.
            state.has_crashed = true;
            return Err(no_power());
        }
        done
    }

    fn look<T>(&self, work: impl FnOnce(&State) -> io::Result<T>) -> io::Result<T> {
        let state = self.state();
        state.powered()?;
        work(&state)
    }

    /// As [`Self::operate`], for syncs: at a crash one that was under way has done nothing.
    fn sync(&self, work: impl FnOnce(&mut State)) -> io::Result<()> {
        self.operate(|state| {
            if !state.ignores_syncs && state.crash_at != Some(state.operations_count) {
                work(state);
            }
            Ok(())
        })
    }
}

fn no_power() -> io::Error {
    io::Error::other("the disk has crashed")
}

impl State {
    fn powered(&self) -> io::Result<()> {
        if self.has_crashed {
            Err(no_power())
        } else {
            Ok(())
        }
    }

    fn add_file(&mut self) -> usize {
        self.files.push(File::default());
        self.files.len() - 1
    }

    fn change_names(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.unsynced.push(change);
    }

    fn file(&self, file: usize) -> io::Result<&File> {
        self.files
            .get(file)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn write(&mut self, file: usize, write: Write) -> io::Result<()> {
        let file = self.files.get_mut(file).ok_or(io::ErrorKind::NotFound)?;
        write.apply(&mut file.live);
        file.unsynced.push(write);
        Ok(())
    }
}

impl File {
    fn sync(&mut self) {
        for write in std::mem::take(&mut self.unsynced) {
            write.apply(&mut self.durable);
        }
    }

    fn after_crash(&self, chance: &mut Chance) -> Self {
        let mut image = self.durable.clone();
        let style = chance.below(4);
        for write in &self.unsynced {
            match style {
                0 => {}
                1 => write.apply(&mut image),
                _ => write.apply_some(&mut image, chance),
            }
        }
        Self {
            live: image.clone(),
            durable: image,
            unsynced: Vec::new(),
        }
    }
}

impl Write {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Self::Bytes { offset, bytes } => put(image, *offset, bytes),
            Self::Length(length) => image.resize(*length, 0),
        }
    }

    fn apply_some(&self, image: &mut Vec<u8>, chance: &mut Chance) {
        match self {
            Self::Bytes { offset, bytes } => {
                let mut rest = bytes.as_slice();
                let mut at = *offset;
                while !rest.is_empty() {
                    let to_boundary = SECTOR_BYTES - at % SECTOR_BYTES;
                    let (sector, after) = rest.split_at(to_boundary.min(rest.len()));
                    if chance.below(2) == 0 {
                        put(image, at, sector);
                    }
                    at += sector.len();
                    rest = after;
                }
            }
            Self::Length(_) => {
                if chance.below(2) == 0 {
                    self.apply(image);
                }
            }
        }
    }
}

fn put(image: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    if let Some(place) = image.get_mut(offset..end) {
        place.copy_from_slice(bytes);
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Create { name, file } => {
                names.insert(name.clone(), *file);
            }
            Self::Remove { name } => {
                names.remove(name);
            }
            Self::Rename { from, to } => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
        }
    }

    fn is_in(&self, directory: &str) -> bool {
        let name = match self {
            Self::Create { name, .. } | Self::Remove { name } => name,
            Self::Rename { to, .. } => to,
        };
        parent_of(name) == directory
    }
}

fn parent_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(parent, _)| parent)
}

impl Disk for CrashDisk {
    fn open(&self, name: &str, how: OpenHow) -> io::Result<Arc<dyn DiskFile>> {
        let known = self.look(|state| Ok(state.names.get(name).copied()))?;
        let file = match (how, known) {
            (OpenHow::CreateNew, Some(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            (OpenHow::CreateNew, None) => self.operate(|state| {
                let file = state.add_file();
                let name = name.to_owned();
                state.change_names(NameChange::Create { name, file });
                Ok(file)
            })?,
            (OpenHow::Read | OpenHow::ReadWrite, None) => {
                return Err(io::ErrorKind::NotFound.into());
            }
            (OpenHow::Read | OpenHow::ReadWrite, Some(file)) => file,
        };
        Ok(Arc::new(CrashFile {
            disk: self.clone(),
            file,
        }))
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        self.look(|state| {
            let inside = state
                .names
                .keys()
                .filter(|name| parent_of(name) == directory);
            let last = |name: &String| name.rsplit('/').next().unwrap_or_default().to_owned();
            Ok(inside.map(last).collect())
        })
    }

    /// Directories come with their files here: a file is lost with its name, not with its
    /// directory's.
    fn create_directory(&self, _directory: &str) -> io::Result<()> {
        self.operate(|_| Ok(()))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.operate(|state| {
            if !state.names.contains_key(from) {
                return Err(io::ErrorKind::NotFound.into());
            }
            let (from, to) = (from.to_owned(), to.to_owned());
            state.change_names(NameChange::Rename { from, to });
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.operate(|state| {
            if !state.names.contains_key(name) {
                return Err(io::ErrorKind::NotFound.into());
            }
            let name = name.to_owned();
            state.change_names(NameChange::Remove { name });
            Ok(())
        })
    }

    fn sync_directory(&self, directory: &str) -> io::Result<()> {
        self.sync(|state| {
            let (synced, unsynced) = std::mem::take(&mut state.unsynced)
                .into_iter()
                .partition(|change: &NameChange| change.is_in(directory));
            state.unsynced = unsynced;
            for change in synced {
                change.apply(&mut state.durable_names);
            }
        })
    }

    fn lock(&self) -> io::Result<Box<dyn fmt::Debug + Send + Sync>> {
        self.look(|_| Ok(()))?;
        if self.is_locked.swap(true, Ordering::AcqRel) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Lock(Arc::clone(&self.is_locked))))
    }
}

#[derive(Debug)]
struct Lock(Arc<AtomicBool>);

impl Drop for Lock {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// An open file.
struct CrashFile {
    disk: CrashDisk,
    file: usize,
}

fn in_memory(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput.into())
}

impl DiskFile for CrashFile {
    fn length_bytes(&self) -> io::Result<u64> {
        let length = |state: &State| Ok(state.file(self.file)?.live.len() as u64);
        self.disk.look(length)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let offset = in_memory(offset)?;
        self.disk.look(|state| {
            let rest = state
                .file(self.file)?
                .live
                .get(offset..)
                .unwrap_or_default();
            let count = rest.len().min(buffer.len());
            for (to, from) in buffer.iter_mut().zip(rest) {
                *to = *from;
            }
            Ok(count)
        })
    }

    fn write_vectored_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let offset = in_memory(offset)?;
        let bytes = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let write = Write::Bytes { offset, bytes };
        self.disk.operate(|state| state.write(self.file, write))
    }

    fn set_length(&self, length_bytes: u64) -> io::Result<()> {
        let write = Write::Length(in_memory(length_bytes)?);
        self.disk.operate(|state| state.write(self.file, write))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.sync(|state| {
            if let Some(file) = state.files.get_mut(self.file) {
                file.sync();
            }
        })
    }
}

impl fmt::Debug for CrashDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CrashDisk")
    }
}

impl fmt::Debug for CrashFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CrashFile({})", self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(disk: &CrashDisk, name: &str, bytes: &[u8]) -> Arc<dyn DiskFile> {
        let file = disk.open(name, OpenHow::CreateNew).unwrap();
        file.write_at(bytes, 0).unwrap();
        file
    }

    fn content(disk: &CrashDisk, name: &str) -> Option<Vec<u8>> {
        let file = disk.open(name, OpenHow::Read).ok()?;
        let length = usize::try_from(file.length_bytes().unwrap()).unwrap();
        Some(file.read_vec(0, length).unwrap())
    }

    #[test]
    fn what_was_synced_with_its_name_is_always_there() {
        for seed in 0..200 {
            let disk = CrashDisk::new(seed);
            let file = written(&disk, "a/x", b"kept");
            file.sync_data().unwrap();
            disk.sync_directory("a").unwrap();
            file.write_at(b"more", 4).unwrap();

            let disk = disk.restarted();

            assert!(content(&disk, "a/x").unwrap().starts_with(b"kept"));
        }
    }

    #[test]
    fn what_was_not_synced_is_there_in_every_combination() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..2_000 {
            let disk = CrashDisk::new(seed);
            let file = written(&disk, "x", &[0; 1_536]);
            file.sync_data().unwrap();
            disk.sync_directory("").unwrap();
            file.write_at(&[1; 1_536], 0).unwrap();

            let content = content(&disk.restarted(), "x").unwrap();
            seen.insert([content[0], content[512], content[1_024]]);
            assert_eq!(content[0], content[511]);
        }
        assert_eq!(seen.len(), 8);
    }

    #[test]
    fn a_name_is_there_only_after_its_directory_was_synced() {
        let mut lost_count = 0;
        for seed in 0..200 {
            let disk = CrashDisk::new(seed);
            written(&disk, "a/old", b"1").sync_data().unwrap();
            disk.sync_directory("a").unwrap();
            disk.rename("a/old", "a/new").unwrap();
            // Another directory's sync does nothing for this one.
            disk.sync_directory("").unwrap();

            let names = disk.restarted().file_names();
            assert_eq!(names.len(), 1);
            lost_count += usize::from(names == ["a/old"]);
        }
        assert!((50..190).contains(&lost_count));
    }

    #[test]
    fn nothing_works_from_the_named_operation_on() {
        let disk = CrashDisk::new(1);
        disk.crash_at(2);
        let file = disk.open("x", OpenHow::CreateNew).unwrap();

        assert!(file.write_at(b"1", 0).is_err());
        assert!(file.sync_data().is_err());
        assert!(file.length_bytes().is_err());
        assert!(disk.open("y", OpenHow::CreateNew).is_err());
        assert!(disk.has_crashed());
    }

    #[test]
    fn a_disk_that_ignores_syncs_loses_what_was_synced() {
        let lost = (0..100).filter(|seed| {
            let disk = CrashDisk::new(*seed);
            disk.ignore_syncs();
            let file = written(&disk, "x", b"1");
            file.sync_data().unwrap();
            disk.sync_directory("").unwrap();
            content(&disk.restarted(), "x").is_none_or(|bytes| bytes != b"1")
        });
        assert!(lost.count() > 30);
    }
}
