//! Repair: what is damaged in the packs of an archive is written again, from a backup or from
//! another copy of the data directory.
//!
//! A pack never changes: where bytes of it do, the right ones are those that stood there. They are
//! written in their place, and nowhere else, so that no index, no backup and no position in the
//! log has to learn of it. Only what proves itself is written: an entry of the copy has the check
//! of its place and the digest of its data, and takes the place of one that has not. A crash in
//! the middle leaves damage, as before. Data sets can also come from anywhere in the copy, by
//! their digest.
//!
//! What is erased in the archive stays so, whatever a copy of an earlier day has: its entry is
//! written without what it held.
//!
//! The archive may be in use meanwhile: nobody writes before the end of the log, and a reader of
//! damaged bytes refuses them.

use crate::backup::{BackupError, failed};
use crate::disk::{Disk, DiskFile, OpenHow};
use crate::erased::{ErasedStudies, mark_for, place_of};
use crate::error::Place;
use crate::index::{Digest, LogPosition};
use crate::limits::BACKUP_DAMAGE_COUNT_MAX;
use crate::pack::destroy;
use crate::pack::entry::{EntryHead, Kind};
use crate::pack::examine::{Step, Walk, is_filled};
use crate::pack::mark::Mark;
use crate::pack::name::{DIRECTORY, PackName};
use crate::pack::read;
use crate::rebuild::Progress;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

/// Bytes written at once.
const CHUNK_BYTES: u64 = 1 << 20;

/// What was found damaged, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RepairReport {
    /// Entries that were looked at.
    pub entries_count: u64,
    /// Places that were damaged: entries, and packs that were not there.
    pub damaged_count: u64,
    /// How many of them are as they were.
    pub repaired_count: u64,
    /// Where there is still damage: pack and offset, up to `BACKUP_DAMAGE_COUNT_MAX` of them.
    pub unrepaired: Vec<(u64, u64)>,
}

impl RepairReport {
    /// Whether no damage is left.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.damaged_count == self.repaired_count
    }
}

/// Reads every pack of the data directory `archive` up to `end`, and writes again what is damaged,
/// from `copy`: the folder of a backup, or another data directory.
///
/// # Errors
/// [`BackupError::Disk`]; what was repaired is.
pub fn repair(
    archive: &dyn Disk,
    end: LogPosition,
    copy: &dyn Disk,
    progress: impl FnMut(Progress),
) -> Result<RepairReport, BackupError> {
    let mut repair = Repair {
        archive,
        copy,
        report: RepairReport::default(),
        bytes: 0,
        end,
        erased: None,
        larges: BTreeMap::new(),
        wanted: HashMap::new(),
        tell: progress,
    };
    for number in 1..=end.pack {
        let stop = if number == end.pack {
            end.offset
        } else {
            u64::MAX
        };
        repair.pack(PackName::Log(number), stop, None)?;
    }
    for (number, named) in std::mem::take(&mut repair.larges) {
        repair.pack(PackName::Large(number), u64::MAX, Some(named))?;
    }
    repair.search()?;
    Ok(repair.report)
}

/// A large pack that the log names: its digest, and where it is named.
type Named = (Digest, LogPosition);

/// A data set that has to be found.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    name: PackName,
    /// Where it is in the order of things.
    at: LogPosition,
    /// Of the entry.
    entry_offset: u64,
    offset: u64,
    length: u64,
}

struct Repair<'a, T> {
    archive: &'a dyn Disk,
    copy: &'a dyn Disk,
    report: RepairReport,
    bytes: u64,
    /// The log ends here.
    end: LogPosition,
    /// What the log says was erased, once that was asked.
    erased: Option<ErasedStudies>,
    /// Large packs that the log names.
    larges: BTreeMap<u64, Named>,
    /// Data sets whose heads are whole, and that the copy does not have in their place.
    wanted: HashMap<Digest, Vec<Wanted>>,
    tell: T,
}

/// A pack that is being repaired.
struct Pair {
    name: PackName,
    /// Of a large pack: where the log names it.
    named_at: Option<LogPosition>,
    file: Arc<dyn DiskFile>,
    /// The same pack in the copy, if it has it and is one of the same log.
    other: Option<Arc<dyn DiskFile>>,
    /// Whether it is appended to, behind what is looked at.
    is_open: bool,
    is_changed: bool,
}

impl<T: FnMut(Progress)> Repair<'_, T> {
    fn pack(&mut self, name: PackName, stop: u64, named: Option<Named>) -> Result<(), BackupError> {
        let read_failed = failed(Place::Archive, "read a pack");
        let (digest, named_at) = named.unzip();
        let Some(file) = self.file((name, named_at), stop)? else {
            return Ok(());
        };
        let mut pair = Pair {
            name,
            named_at,
            file: Arc::clone(&file),
            other: None,
            is_open: stop < u64::MAX,
            is_changed: false,
        };
        let mut is_asked = false;
        let mut walk = Walk::new(&*file, name, 0, stop);
        let mut came_to = 0;
        while let Some(step) = walk.step().map_err(&read_failed)? {
            let (from, to, head) = match step {
                Step::Entry(head) => {
                    self.entry(name, &*file, &head);
                    came_to = head.end;
                    if read::is_whole(&*file, &head) && is_filled(&*file, &head) {
                        continue;
                    }
                    (head.offset, head.end, Some(head))
                }
                Step::Damage { from, to } => (from, to, None),
            };
            if !is_asked {
                is_asked = true;
                pair.other = self.counterpart(name, &*file, stop, digest)?;
            }
            came_to = self.place(&mut pair, from, to, head)?;
        }
        // A pack that lost its end does not say so itself.
        let end = match name {
            PackName::Log(number) if stop == u64::MAX => {
                self.end_of(number).map_err(&read_failed)?
            }
            PackName::Log(_) | PackName::Large(_) | PackName::Part(_) => 0,
        };
        if end > came_to {
            if !is_asked {
                pair.other = self.counterpart(name, &*file, stop, digest)?;
            }
            self.place(&mut pair, came_to, end, None)?;
        }
        if pair.is_changed {
            let sync = pair.file.sync_data();
            sync.map_err(failed(Place::Archive, "write a pack"))?;
        }
        Ok(())
    }

    fn entry(&mut self, name: PackName, file: &dyn DiskFile, head: &EntryHead) {
        self.report.entries_count = self.report.entries_count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(head.data_bytes);
        if let (PackName::Log(_), Some((number, digest))) = (name, read::large_named(file, head)) {
            self.larges.insert(number, (digest, place_of(name, head)));
        }
        (self.tell)(Progress {
            entries_count: self.report.entries_count,
            bytes: self.bytes,
            damaged_count: self.report.damaged_count,
        });
    }

    /// The pack; from the copy, if it is gone.
    fn file(
        &mut self,
        (name, named_at): (PackName, Option<LogPosition>),
        stop: u64,
    ) -> Result<Option<Arc<dyn DiskFile>>, BackupError> {
        let open_failed = failed(Place::Archive, "open a pack");
        match self.archive.open(&name.path(), OpenHow::ReadWrite) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other.map(Some).map_err(&open_failed),
        }
        self.report.damaged_count = self.report.damaged_count.saturating_add(1);
        let source = match self.copy.open(&name.path(), OpenHow::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.leave(name, 0);
                return Ok(None);
            }
            other => other.map_err(failed(Place::Backup, "open a pack"))?,
        };
        self.know_erased()?;
        let write = || {
            let new = format!("{}.new", name.path());
            let file = crate::backup::create(self.archive, &new)?;
            let to = source.length_bytes()?.min(stop);
            copy_range(&*source, &*file, 0, to)?;
            self.blot_out(&*file, (name, named_at), to)?;
            file.sync_data()?;
            self.archive.rename(&new, &name.path())?;
            self.archive.sync_directory(DIRECTORY)
        };
        write().map_err(failed(Place::Archive, "write a pack"))?;
        self.report.repaired_count = self.report.repaired_count.saturating_add(1);
        let file = self.archive.open(&name.path(), OpenHow::ReadWrite);
        file.map(Some).map_err(&open_failed)
    }

    /// Asks the log what was erased, unless that was asked: what is written again of that is
    /// written without what it held.
    fn know_erased(&mut self) -> Result<(), BackupError> {
        if self.erased.is_none() {
            let erased = ErasedStudies::read(self.archive, self.end);
            self.erased = Some(erased.map_err(failed(Place::Archive, "read a pack"))?);
        }
        Ok(())
    }

    /// The mark for an entry of the copy that came at this place of the log, if it is erased.
    fn mark_for(
        &self,
        (name, at): (PackName, LogPosition),
        file: &dyn DiskFile,
        head: &EntryHead,
    ) -> Option<Mark> {
        let erased = self.erased.as_ref();
        mark_for(name, file, head, |study| {
            erased.is_some_and(|erased| erased.covers(study, at))
        })
    }

    /// Takes what is erased out of a pack that was copied whole.
    fn blot_out(
        &self,
        file: &dyn DiskFile,
        (name, named_at): (PackName, Option<LogPosition>),
        to: u64,
    ) -> io::Result<()> {
        let mut walk = Walk::new(file, name, 0, to);
        while let Some(step) = walk.step()? {
            if let Step::Entry(head) = step {
                let at = named_at.unwrap_or(place_of(name, &head));
                if let Some(mark) = self.mark_for((name, at), file, &head) {
                    destroy::blot_out(file, &head, &mark)?;
                }
            }
        }
        Ok(())
    }

    /// Writes an entry of the copy in its place; of what is erased, all but what it held.
    fn write(&self, pair: &Pair, other: &dyn DiskFile, good: &EntryHead) -> io::Result<()> {
        let file = &*pair.file;
        let at = pair.named_at.unwrap_or(place_of(pair.name, good));
        let Some(mark) = self.mark_for((pair.name, at), other, good) else {
            return copy_range(other, file, good.offset, good.end);
        };
        let data_end = good.data_offset.saturating_add(good.data_bytes);
        copy_range(other, file, good.offset, good.data_offset)?;
        destroy::blot_out(file, good, &mark)?;
        copy_range(other, file, data_end, good.end)
    }

    /// Where the next pack says that this one ended.
    fn end_of(&self, number: u64) -> io::Result<u64> {
        let next = PackName::Log(number.saturating_add(1));
        let file = match self.archive.open(&next.path(), OpenHow::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            other => other?,
        };
        let head = read::head_at(&*file, next, 0)?;
        Ok(head.and_then(|head| head.label.previous_end).unwrap_or(0))
    }

    /// The same pack of the copy, unless it is another one of that name.
    fn counterpart(
        &self,
        name: PackName,
        file: &dyn DiskFile,
        stop: u64,
        digest: Option<Digest>,
    ) -> Result<Option<Arc<dyn DiskFile>>, BackupError> {
        let other = match self.copy.open(&name.path(), OpenHow::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(failed(Place::Backup, "open a pack"))?,
        };
        let read_failed = failed(Place::Archive, "read a pack");
        let is_same = match digest {
            Some(digest) => read::head_at(&*other, name, 0)
                .map_err(&read_failed)?
                .is_some_and(|head| head.label.digest == digest),
            None => agrees(file, &*other, name, stop).map_err(&read_failed)?,
        };
        if !is_same {
            tracing::warn!(?name, "the copy has another pack of this name");
        }
        Ok(is_same.then_some(other))
    }

    /// Repairs what stands from `from` to `to`: an entry with this head, or no entry. Where that
    /// ends.
    fn place(
        &mut self,
        pair: &mut Pair,
        from: u64,
        to: u64,
        head: Option<EntryHead>,
    ) -> Result<u64, BackupError> {
        let name = pair.name;
        let read_failed = failed(Place::Archive, "read a pack");
        self.report.damaged_count = self.report.damaged_count.saturating_add(1);
        // Where the file ends too early, all that the copy has is missing.
        let is_short = to >= pair.file.length_bytes().map_err(&read_failed)?;
        let limit = if is_short && head.is_none() && !pair.is_open {
            u64::MAX
        } else {
            to
        };
        let mut to = to;
        self.know_erased()?;
        if let Some(other) = pair.other.clone() {
            let mut walk = Walk::new(&*other, name, from, limit);
            loop {
                let step = walk.step();
                let Some(step) = step.map_err(failed(Place::Backup, "read a pack"))? else {
                    break;
                };
                let Step::Entry(good) = step else {
                    continue;
                };
                let fits =
                    good.end <= limit && head.as_ref().is_none_or(|head| head.is_same(&good));
                if fits && read::is_whole(&*other, &good) && is_filled(&*other, &good) {
                    self.write(pair, &*other, &good)
                        .map_err(failed(Place::Archive, "write a pack"))?;
                    pair.is_changed = true;
                    to = to.max(good.end);
                    if let Some(named) = read::large_named(&*other, &good) {
                        let at = place_of(name, &good);
                        self.larges.insert(named.0, (named.1, at));
                    }
                }
            }
        }
        if is_sound(&*pair.file, name, from, to).map_err(&read_failed)? {
            tracing::info!(pack = name.location(), offset = from, "damage is repaired");
            self.report.repaired_count = self.report.repaired_count.saturating_add(1);
            return Ok(to);
        }
        match head {
            Some(head) if head.label.kind == Kind::Instance => {
                let at = pair.named_at.unwrap_or(place_of(name, &head));
                let wanted = Wanted {
                    name,
                    at,
                    entry_offset: from,
                    offset: head.data_offset,
                    length: head.data_bytes,
                };
                self.wanted
                    .entry(head.label.digest)
                    .or_default()
                    .push(wanted);
            }
            Some(_) | None => self.leave(name, from),
        }
        Ok(to)
    }

    fn leave(&mut self, name: PackName, offset: u64) {
        let pack = name.location();
        tracing::error!(pack, offset, "damage is not repaired");
        if self.report.unrepaired.len() < BACKUP_DAMAGE_COUNT_MAX {
            self.report.unrepaired.push((pack, offset));
        }
    }

    /// Looks for data sets by their digests, anywhere in the copy.
    fn search(&mut self) -> Result<(), BackupError> {
        if self.wanted.is_empty() {
            return Ok(());
        }
        let read_failed = failed(Place::Backup, "read a pack");
        let files = self.copy.list(DIRECTORY).map_err(&read_failed)?;
        for name in files.iter().filter_map(|file| PackName::parse(file)) {
            let file = self.copy.open(&name.path(), OpenHow::Read);
            let file = file.map_err(&read_failed)?;
            let mut walk = Walk::new(&*file, name, 0, u64::MAX);
            while let Some(step) = walk.step().map_err(&read_failed)? {
                let Step::Entry(head) = step else {
                    continue;
                };
                let is_wanted = self.wanted.contains_key(&head.label.digest);
                if is_wanted && read::is_whole(&*file, &head) {
                    let places = self.wanted.remove(&head.label.digest);
                    self.fill_in((name, &*file), &head, &places.unwrap_or_default())?;
                }
            }
        }
        for wanted in std::mem::take(&mut self.wanted).into_values().flatten() {
            self.leave(wanted.name, wanted.entry_offset);
        }
        Ok(())
    }

    fn fill_in(
        &mut self,
        (name, source): (PackName, &dyn DiskFile),
        head: &EntryHead,
        places: &[Wanted],
    ) -> Result<(), BackupError> {
        for wanted in places {
            let mark = self.mark_for((name, wanted.at), source, head);
            let write = || {
                let file = self.archive.open(&wanted.name.path(), OpenHow::ReadWrite)?;
                if let Some(mark) = &mark {
                    let head = read::head_at(&*file, wanted.name, wanted.entry_offset)?;
                    let head = head.ok_or(io::ErrorKind::InvalidData)?;
                    destroy::blot_out(&*file, &head, mark)?;
                    file.sync_data()?;
                    return Ok(true);
                }
                copy_from(
                    source,
                    head.data_offset,
                    &*file,
                    wanted.offset,
                    wanted.length,
                )?;
                file.sync_data()?;
                let found = read::digest_of(&*file, wanted.offset, wanted.length)?;
                Ok(found == Some(head.label.digest))
            };
            if write().map_err(failed(Place::Archive, "write a pack"))? {
                self.report.repaired_count = self.report.repaired_count.saturating_add(1);
            } else {
                self.leave(wanted.name, wanted.entry_offset);
            }
        }
        Ok(())
    }
}

/// Whether there are whole entries from `from` to `to`, one after the other, and nothing else.
fn is_sound(file: &dyn DiskFile, name: PackName, from: u64, to: u64) -> io::Result<bool> {
    let mut walk = Walk::new(file, name, from, to);
    while let Some(step) = walk.step()? {
        match step {
            Step::Entry(head) if read::is_whole(file, &head) && is_filled(file, &head) => {}
            Step::Entry(_) => return Ok(false),
            // The end of a pack may be zeros.
            Step::Damage { from, to } => return read::is_zero(file, from, to),
        }
    }
    Ok(true)
}

/// Whether two copies of a pack are of one log: what is an entry in the first, and is one in the
/// second in the same place, is the same. Where the first has none, nothing speaks against it.
fn agrees(one: &dyn DiskFile, other: &dyn DiskFile, name: PackName, to: u64) -> io::Result<bool> {
    let mut walk = Walk::new(one, name, 0, to);
    while let Some(step) = walk.step()? {
        if let Step::Entry(head) = step
            && let Some(found) = read::head_at(other, name, head.offset)?
            && !found.is_same(&head)
        {
            return Ok(false);
        }
    }
    Ok(true)
}

fn copy_range(from: &dyn DiskFile, to: &dyn DiskFile, start: u64, end: u64) -> io::Result<()> {
    copy_from(from, start, to, start, end.saturating_sub(start))
}

fn copy_from(
    from: &dyn DiskFile,
    from_offset: u64,
    to: &dyn DiskFile,
    to_offset: u64,
    length: u64,
) -> io::Result<()> {
    let mut done = 0;
    while done < length {
        let count = (length - done).min(CHUNK_BYTES);
        let count_bytes = usize::try_from(count).unwrap_or(0);
        let mut chunk = vec![0; count_bytes];
        // Padding behind the last data set of a file may be missing.
        from.read_up_to(&mut chunk, from_offset.saturating_add(done))?;
        to.write_at(&chunk, to_offset.saturating_add(done))?;
        done = done.saturating_add(count);
    }
    Ok(())
}
