//! At opening: the index is brought up to the log, and what a crash left behind is removed.
//!
//! A crash in the middle of this is like one before it: entries are applied in order and never
//! twice, the tail is cut only where nothing proves that what is behind it was ever durable, and
//! not without a copy, and files go only when neither the log nor the index names them.

mod tail;

use super::Opened;
use crate::disk::{DiskFile, OpenHow};
use crate::error::OpenError;
use crate::fail_point::FailPoints;
use crate::index::{
    DurableContent, Index, IndexError, LogPosition, LogRecord, Quota, StoredInstance,
};
use crate::limits::StoreLimits;
use crate::pack::large;
use crate::pack::name::{DIRECTORY, PackName};
use crate::pack::prepare::{self, LogPack};
use crate::pack::read::{self, EntryError, PackFiles};
use pacs_core::query::Matching;
use pacs_core::tag::tags;
use pacs_core::{Key, Level, Query, Vr};
use std::io;
use std::sync::Arc;
use tail::Behind;
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
    /// For whoever opened the archive.
    pub(crate) opened: Opened,
}

/// Where the log ends.
#[derive(Debug, Clone, Copy)]
struct LogEnd {
    pack: u64,
    tail: u64,
    /// What stands before this in the pack was synced by whoever wrote it.
    proven: u64,
}

/// Applies records to an index, group by group.
pub(crate) struct Applier<'a> {
    index: &'a dyn Index,
    runtime: &'a Handle,
    group: Vec<LogRecord>,
    group_count_max: usize,
    pub(crate) applied_count: u64,
    flushed_count: u64,
}

impl<'a> Applier<'a> {
    pub(crate) fn new(index: &'a dyn Index, runtime: &'a Handle, limits: &StoreLimits) -> Self {
        Self {
            index,
            runtime,
            group: Vec::new(),
            group_count_max: limits.replay_count_max,
            applied_count: 0,
            flushed_count: 0,
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
        self.applied_count = self.applied_count.saturating_add(group.len() as u64);
        self.runtime.block_on(async {
            let staged = self.index.stage(group, end).await?;
            staged.commit(DurableContent::synced_up_to(end))?;
            Ok(())
        })
    }

    /// Whether the index has `stored`, and not in another place. It does not tell the place of what
    /// is hidden, or of a version that is not served: then the answer is yes.
    fn has(&self, stored: &StoredInstance) -> Result<bool, IndexError> {
        let uid = &stored.instance.instance;
        let query = Query {
            level: Level::Instance,
            keys: vec![Key {
                tag: tags::SOP_INSTANCE_UID,
                vr: Vr::UI,
                matching: Matching::SingleValue(uid.as_str().to_owned()),
            }],
        };
        self.runtime.block_on(async {
            if !self.index.knows(uid, &stored.digest).await? {
                return Ok(false);
            }
            let shown = self.index.select(&query, &Quota::of(1)).await?;
            Ok(!shown.iter().any(|shown| {
                shown.digest == stored.digest && shown.location.pack != stored.location.pack
            }))
        })
    }

    /// Whether the index has this content of `stored`, hidden or not, wherever that is.
    fn knows(&self, stored: &StoredInstance) -> Result<bool, IndexError> {
        let uid = &stored.instance.instance;
        self.runtime.block_on(self.index.knows(uid, &stored.digest))
    }

    /// Makes the index durable, if much was applied since it was last. To be called where all that
    /// was applied is known to be durable in the packs.
    pub(crate) fn flush_if_long(&mut self) -> Result<(), IndexError> {
        if self.applied_count.saturating_sub(self.flushed_count) < FLUSH_COUNT {
            return Ok(());
        }
        self.flushed_count = self.applied_count;
        self.runtime.block_on(self.index.flush())
    }
}

struct Recovery<'a> {
    files: &'a PackFiles,
    limits: &'a StoreLimits,
    applier: Applier<'a>,
    damaged_count: u64,
    set_aside_count: u64,
}

/// Recovers. Blocks; to be called on a thread that may.
pub(crate) fn recover(
    files: &PackFiles,
    (index, is_index_old): (&dyn Index, bool),
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
        set_aside_count: 0,
    };
    let end = recovery.replay(&names, from)?;
    fail_points.reach("recovery-applied");
    let (pack, tail) = recovery.end_log(end)?;
    fail_points.reach("recovery-cut");
    recovery.sweep(pack.number)?;
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
        opened: Opened {
            replayed_count,
            damaged_count: recovery.damaged_count,
            set_aside_count: recovery.set_aside_count,
            is_index_old,
        },
    })
}

impl Recovery<'_> {
    /// Replays the log from `from` on; gives its last pack and where that ends.
    fn replay(&mut self, names: &[PackName], from: LogPosition) -> Result<LogEnd, OpenError> {
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
        let mut end = LogEnd {
            pack: from.pack.max(1),
            tail: 0,
            proven: 0,
        };
        let mut expected = end.pack;
        for (at, number) in logs.iter().enumerate() {
            for missing in expected..*number {
                tracing::error!(pack = missing, "a pack of the log is missing");
                self.damaged_count = self.damaged_count.saturating_add(1);
            }
            expected = number.saturating_add(1);
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
            let failed = OpenError::disk("read a pack");
            if !read::has_come_to(&*file, name, offset).map_err(&failed)? {
                return Err(if read::is_amid(&*file, name, offset).map_err(&failed)? {
                    OpenError::IndexForeign { index: from }
                } else {
                    OpenError::IndexAhead { index: from }
                });
            }
            if self.is_foreign(name, &*file, offset)? {
                return Err(OpenError::IndexForeign { index: from });
            }
            let later = logs.get(at.saturating_add(1)..).unwrap_or(&[]);
            let has_later = self
                .any_entry(later)
                .map_err(OpenError::disk("read a pack"))?;
            end = self.replay_pack(name, &*file, offset, has_later)?;
            if !has_later {
                break;
            }
            let is_short = read::is_short(self.files.disk(), *number);
            if is_short.map_err(OpenError::disk("read a pack"))? {
                self.note_damage(name, end.tail);
            }
            self.applier.flush_if_long()?;
        }
        Ok(end)
    }

    /// Whether the index does not know the instance whose entry ends at `offset`, though it says
    /// that it has come so far. What stands there and is none, or is damaged, says nothing.
    fn is_foreign(
        &self,
        name: PackName,
        file: &dyn DiskFile,
        offset: u64,
    ) -> Result<bool, OpenError> {
        if offset == 0 {
            return Ok(false);
        }
        let Ok(Some(head)) = read::entry_before(file, name, offset) else {
            return Ok(false);
        };
        if !read::is_whole(file, &head) {
            return Ok(false);
        }
        match read::record_of(self.files, name, file, &head, &self.limits.scan) {
            Ok(Some(LogRecord::Instance(stored))) => Ok(!self.applier.knows(&stored)?),
            Ok(_) | Err(_) => Ok(false),
        }
    }

    /// Whether one of these packs has an entry, so that everything before it was durable.
    fn any_entry(&self, numbers: &[u64]) -> io::Result<bool> {
        for number in numbers {
            // Not through the cache of open packs: if it is empty it goes away, and another comes
            // under its name, which readers must not miss.
            let name = PackName::Log(*number);
            let file = self.files.disk().open(&name.path(), OpenHow::Read)?;
            if read::next_head(&*file, name, 0)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Makes what the log ends with durable, and ends it there: gives the pack to append to.
    fn end_log(&mut self, end: LogEnd) -> Result<(Arc<LogPack>, u64), OpenError> {
        let LogEnd {
            pack: number,
            tail,
            proven,
        } = end;
        let disk = self.files.disk();
        let name = PackName::Log(number);
        let next = number.saturating_add(1);
        let cut = OpenError::disk("cut the log");
        let open = |number, tail| tail::open(self.files, number, tail).map_err(&cut);
        let file = match disk.open(&name.path(), OpenHow::ReadWrite) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((open(number, tail)?, tail));
            }
            other => other.map_err(&cut)?,
        };
        tail::write_again(&*file, proven, tail)
            .map_err(OpenError::disk("write the end of the log again"))?;
        match tail::behind(&*file, name, tail).map_err(OpenError::disk("read a pack"))? {
            Behind::Nothing => {}
            Behind::Torn(end) => {
                tracing::warn!(
                    pack = number,
                    offset = tail,
                    "what a crash tore is cut off the log and set aside"
                );
                self.set_aside_count = self.set_aside_count.saturating_add(1);
                tail::set_aside(disk, number, &*file, tail, end)
                    .map_err(OpenError::disk("set aside the end of the log"))?;
            }
            Behind::Unreadable => {
                // It may be readable another time: nothing is cut, and the log goes on elsewhere.
                self.note_damage(name, tail);
                return Ok((open(next, 0)?, 0));
            }
        }
        if tail < self.limits.pack_bytes {
            return Ok((open(number, tail)?, tail));
        }
        seal(&*file, tail).map_err(OpenError::disk("seal a pack"))?;
        Ok((open(next, 0)?, 0))
    }

    /// Removes log packs after the last one, which are empty, and streamed instances that neither
    /// the log nor the index names.
    fn sweep(&self, last: u64) -> Result<(), OpenError> {
        let failed = OpenError::disk("remove what a crash left");
        let disk = self.files.disk();
        let mut removed = false;
        for name in self.files.list().map_err(&failed)? {
            match name {
                PackName::Large(_) => continue,
                PackName::Log(number) if number <= last => continue,
                PackName::Log(_) => {}
                PackName::Part(number) => {
                    if self.is_known(name)? {
                        // It had its name, and the disk lost that again.
                        large::keep(disk, number).map_err(&failed)?;
                        continue;
                    }
                }
            }
            disk.remove(&name.path()).map_err(&failed)?;
            removed = true;
        }
        if removed {
            disk.sync_directory(DIRECTORY).map_err(&failed)?;
        }
        Ok(())
    }

    /// Whether the index names a large pack, and what it holds is whole.
    fn is_known(&self, name: PackName) -> Result<bool, OpenError> {
        let failed = OpenError::disk("read a large pack");
        let file = self.files.disk().open(&name.path(), OpenHow::Read);
        let file = file.map_err(&failed)?;
        let Some(head) = read::head_at(&*file, name, 0).map_err(&failed)? else {
            return Ok(false);
        };
        let record = read::record_of(self.files, name, &*file, &head, &self.limits.scan);
        let stored = match record {
            // What an index says of it that the log told it is nobody's to remove.
            Ok(Some(LogRecord::Destroyed(_))) => return Ok(true),
            Ok(Some(LogRecord::Instance(stored))) => stored,
            Ok(_) | Err(_) => return Ok(false),
        };
        Ok(self.applier.has(&stored)? && read::is_whole(&*file, &head))
    }

    /// Applies the entries of a pack from `offset` on; gives where they end.
    fn replay_pack(
        &mut self,
        name: PackName,
        file: &dyn DiskFile,
        offset: u64,
        has_later: bool,
    ) -> Result<LogEnd, OpenError> {
        let disk = OpenError::disk("read a pack");
        let mut at = offset;
        let mut proven = offset;
        loop {
            let head = read::head_at(file, name, at).map_err(&disk)?;
            let mut beyond = at;
            if let Some(head) = head {
                if read::is_whole(file, &head) {
                    at = head.end;
                    proven = proven.max(head.label.durable_offset);
                    match read::whole_record_of(self.files, name, file, &head, &self.limits.scan) {
                        Ok(Some(record)) => self.applier.take(record, position(name, at))?,
                        Ok(None) => {}
                        // Whole, and yet of no use, now: no reason to cut it off.
                        Err(EntryError::Damaged) => self.note_damage(name, head.offset),
                        Err(EntryError::Disk(error)) => return Err(disk(error)),
                    }
                    continue;
                }
                beyond = head.end;
            }
            match durable_after(file, name, at, beyond, has_later).map_err(&disk)? {
                Some(next) => {
                    self.note_damage(name, at);
                    at = next;
                }
                None => break,
            }
        }
        self.applier.apply(position(name, at))?;
        Ok(LogEnd {
            pack: name.location(),
            tail: at,
            proven,
        })
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
    name: PackName,
    at: u64,
    beyond: u64,
    has_later: bool,
) -> io::Result<Option<u64>> {
    let Some(first) = read::next_head(file, name, beyond)? else {
        return Ok(None);
    };
    let offset = first.offset;
    let mut entry = Some(first);
    while let Some(head) = entry {
        if has_later || head.label.durable_offset > at {
            return Ok(Some(offset));
        }
        entry = read::next_head(file, name, head.end.max(head.offset.saturating_add(1)))?;
    }
    Ok(None)
}

/// Ends a pack that is full, unless it is ended.
fn seal(file: &dyn DiskFile, tail: u64) -> io::Result<()> {
    if file.length_bytes()? == tail.saturating_add(prepare::END_BYTES)
        && read::is_zero_from(file, tail)?
    {
        return Ok(());
    }
    prepare::seal(file, tail)
}
