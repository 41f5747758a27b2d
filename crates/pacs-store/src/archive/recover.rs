//! At opening: the index is brought up to the log, and what a crash left behind is removed.
//!
//! A crash in the middle of this is like one before it: entries are applied in order and never
//! twice, the tail is cut only where nothing behind it was ever durable, and files go only when the
//! log does not name them.

use crate::disk::{DiskFile, OpenHow};
use crate::error::OpenError;
use crate::fail_point::FailPoints;
use crate::index::{DurableContent, Index, IndexError, LogPosition, LogRecord};
use crate::limits::StoreLimits;
use crate::pack::name::{DIRECTORY, PackName};
use crate::pack::prepare::{self, LogPack};
use crate::pack::read::{self, EntryError, PackFiles};
use std::io;
use std::sync::Arc;
use tokio::runtime::Handle;

/// Records after which a long replay is made durable in the index.
const FLUSH_COUNT: u64 = 50_000;

/// Where the log ends, and what was found on the way.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) pack: Arc<LogPack>,
    pub(crate) tail: u64,
    /// Number for the next large pack.
    pub(crate) large_next: u64,
    pub(crate) replayed_count: u64,
    pub(crate) damaged_count: u64,
}

/// Applies records to an index, group by group.
pub(crate) struct Applier<'a> {
    index: &'a dyn Index,
    runtime: &'a Handle,
    group: Vec<LogRecord>,
    group_count_max: usize,
    pub(crate) applied_count: u64,
}

impl<'a> Applier<'a> {
    pub(crate) fn new(index: &'a dyn Index, runtime: &'a Handle, limits: &StoreLimits) -> Self {
        Self {
            index,
            runtime,
            group: Vec::new(),
            group_count_max: limits.replay_count_max,
            applied_count: 0,
        }
    }

    /// Takes the record of an entry that ends at `end`.
    pub(crate) fn take(&mut self, record: LogRecord, end: LogPosition) -> Result<(), IndexError> {
        self.group.push(record);
        if self.group.len() >= self.group_count_max {
            self.apply(end)?;
        }
        Ok(())
    }

    /// Applies what has been taken.
    pub(crate) fn apply(&mut self, end: LogPosition) -> Result<(), IndexError> {
        if self.group.is_empty() {
            return Ok(());
        }
        let group = std::mem::take(&mut self.group);
        let flushed = self.applied_count / FLUSH_COUNT;
        self.applied_count = self.applied_count.saturating_add(group.len() as u64);
        self.runtime.block_on(async {
            let staged = self.index.stage(group, end).await?;
            staged.commit(DurableContent::synced_up_to(end)).await?;
            if self.applied_count / FLUSH_COUNT > flushed {
                self.index.flush().await?;
            }
            Ok(())
        })
    }
}

struct Recovery<'a> {
    files: &'a PackFiles,
    limits: &'a StoreLimits,
    applier: Applier<'a>,
    damaged_count: u64,
}

/// Recovers. Blocks; to be called on a thread that may.
pub(crate) fn recover(
    files: &PackFiles,
    index: &dyn Index,
    runtime: &Handle,
    limits: &StoreLimits,
    fail_points: &FailPoints,
) -> Result<Recovered, OpenError> {
    let disk = files.disk();
    disk.create_directory(DIRECTORY)
        .and_then(|()| disk.sync_directory(""))
        .and_then(|()| disk.sync_directory(DIRECTORY))
        .map_err(OpenError::disk("make the directory of the packs"))?;
    fail_points.reach("recovery-begun");
    let names = files.list().map_err(OpenError::disk("list packs"))?;
    let from = runtime.block_on(index.durable_position())?;
    let mut recovery = Recovery {
        files,
        limits,
        applier: Applier::new(index, runtime, limits),
        damaged_count: 0,
    };
    let (mut number, mut tail) = recovery.replay(&names, from)?;
    fail_points.reach("recovery-applied");
    if tail >= limits.pack_bytes {
        seal(files, number, tail).map_err(OpenError::disk("seal a pack"))?;
        (number, tail) = (number.saturating_add(1), 0);
    }
    let pack = open_tail(files, number, tail).map_err(OpenError::disk("cut the log"))?;
    fail_points.reach("recovery-cut");
    sweep(files, number).map_err(OpenError::disk("remove what a crash left"))?;
    fail_points.reach("recovery-swept");
    let replayed_count = recovery.applier.applied_count;
    if replayed_count > 0 {
        runtime.block_on(index.flush())?;
    }
    fail_points.reach("recovery-flushed");
    let large_next = names.iter().map(|name| match name {
        PackName::Large(number) | PackName::Part(number) => number.saturating_add(1),
        PackName::Log(_) => 1,
    });
    Ok(Recovered {
        pack,
        tail,
        large_next: large_next.max().unwrap_or(1),
        replayed_count,
        damaged_count: recovery.damaged_count,
    })
}

impl Recovery<'_> {
    /// Replays the log from `from` on; gives its last pack and where that ends.
    fn replay(&mut self, names: &[PackName], from: LogPosition) -> Result<(u64, u64), OpenError> {
        let logs: Vec<u64> = names
            .iter()
            .filter_map(|name| match name {
                PackName::Log(number) if *number >= from.pack => Some(*number),
                PackName::Log(_) | PackName::Large(_) | PackName::Part(_) => None,
            })
            .collect();
        if from.pack > 0 && logs.first() != Some(&from.pack) {
            return Err(OpenError::IndexAhead { index: from });
        }
        let mut end = (from.pack.max(1), 0);
        for (at, number) in logs.iter().enumerate() {
            let name = PackName::Log(*number);
            let file = self
                .files
                .disk()
                .open(&name.path(), OpenHow::ReadWrite)
                .map_err(OpenError::disk("open a pack"))?;
            // After a kill what is read here may be in memory alone; the index must not come to
            // name it.
            file.sync_data().map_err(OpenError::disk("sync a pack"))?;
            let offset = if *number == from.pack { from.offset } else { 0 };
            if !read::has_come_to(&*file, offset).map_err(OpenError::disk("read a pack"))? {
                return Err(OpenError::IndexAhead { index: from });
            }
            let later = logs.get(at.saturating_add(1)..).unwrap_or(&[]);
            let has_later = self
                .any_entry(later)
                .map_err(OpenError::disk("read a pack"))?;
            let tail = self.replay_pack(name, &*file, offset, has_later)?;
            end = (*number, tail);
            if !has_later {
                break;
            }
        }
        Ok(end)
    }

    /// Whether one of these packs has an entry, so that everything before it was durable.
    fn any_entry(&self, numbers: &[u64]) -> io::Result<bool> {
        for number in numbers {
            // Not through the cache of open packs: if it is empty it goes away, and another comes
            // under its name, which readers must not miss.
            let name = PackName::Log(*number).path();
            let file = self.files.disk().open(&name, OpenHow::Read)?;
            if read::next_head(&*file, 0)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Applies the entries of a pack from `offset` on; gives where they end.
    fn replay_pack(
        &mut self,
        name: PackName,
        file: &dyn DiskFile,
        offset: u64,
        has_later: bool,
    ) -> Result<u64, OpenError> {
        let disk = OpenError::disk("read a pack");
        let mut at = offset;
        loop {
            let head = read::head_at(file, at).map_err(&disk)?;
            let mut beyond = at;
            if let Some(head) = head {
                if read::is_whole(file, &head) {
                    at = head.end;
                    match read::whole_record_of(self.files, name, file, &head, &self.limits.scan) {
                        Ok(record) => self.applier.take(record, position(name, at))?,
                        // Whole, and yet of no use, now: no reason to cut it off.
                        Err(EntryError::Damaged) => self.note_damage(name, head.offset),
                        Err(EntryError::Disk(error)) => return Err(disk(error)),
                    }
                    continue;
                }
                beyond = head.end;
            }
            match durable_after(file, at, beyond, has_later).map_err(&disk)? {
                Some(next) => {
                    self.note_damage(name, at);
                    at = next;
                }
                None => break,
            }
        }
        self.applier.apply(position(name, at))?;
        Ok(at)
    }

    fn note_damage(&mut self, name: PackName, offset: u64) {
        self.damaged_count = self.damaged_count.saturating_add(1);
        tracing::error!(
            pack = name.location(),
            offset,
            "entry of the log is damaged"
        );
    }
}

fn position(name: PackName, offset: u64) -> LogPosition {
    LogPosition {
        pack: name.location(),
        offset,
    }
}

/// The first entry from `beyond` on, if `at` was durable once: if any entry there was written when
/// the log was durable beyond `at`, or a later pack was begun. Otherwise a crash left what is
/// there.
fn durable_after(
    file: &dyn DiskFile,
    at: u64,
    beyond: u64,
    has_later: bool,
) -> io::Result<Option<u64>> {
    let Some(first) = read::next_head(file, beyond)? else {
        return Ok(None);
    };
    let offset = first.offset;
    let mut entry = Some(first);
    while let Some(head) = entry {
        if has_later || head.label.durable_offset > at {
            return Ok(Some(offset));
        }
        entry = read::next_head(file, head.end.max(head.offset.saturating_add(1)))?;
    }
    Ok(None)
}

/// Ends a pack that is full, unless it is ended.
fn seal(files: &PackFiles, number: u64, tail: u64) -> io::Result<()> {
    let name = PackName::Log(number).path();
    let file = files.disk().open(&name, OpenHow::ReadWrite)?;
    if file.length_bytes()? == tail.saturating_add(prepare::END_BYTES)
        && read::is_zero_from(&*file, tail)?
    {
        return Ok(());
    }
    prepare::seal(&*file, tail)
}

/// The last pack, with nothing behind its last entry.
fn open_tail(files: &PackFiles, number: u64, tail: u64) -> io::Result<Arc<LogPack>> {
    let disk = files.disk();
    let file = match disk.open(&PackName::Log(number).path(), OpenHow::ReadWrite) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return prepare::create(disk, number);
        }
        other => other?,
    };
    if file.length_bytes()? != tail {
        file.set_length(tail)?;
        file.sync_data()?;
    }
    Ok(Arc::new(LogPack::new(number, file, tail)))
}

/// Removes log packs after the last one, which are empty, and streamed instances that the log does
/// not name.
fn sweep(files: &PackFiles, last: u64) -> io::Result<()> {
    let mut removed = false;
    for name in files.list()? {
        let is_left_over = match name {
            PackName::Large(_) => false,
            PackName::Log(number) => number > last,
            PackName::Part(_) => true,
        };
        if is_left_over {
            files.disk().remove(&name.path())?;
            removed = true;
        }
    }
    if removed {
        files.disk().sync_directory(DIRECTORY)?;
    }
    Ok(())
}
