//! Making a backup, or going on with one.

use super::erasing::{ERASING, Erasing, Erasures};
use super::manifest::{MANIFEST_NEW, Manifest, Part};
use super::{
    BackupError, CHUNK_BYTES, CopyProgress, Document, create, digest_of_part, each_chunk, failed,
    hex,
};
use crate::digest::Digester;
use crate::directory::{FORMAT_VERSION, version};
use crate::disk::{Disk, DiskFile, OpenHow};
use crate::erased::place_of;
use crate::error::Place;
use crate::index::{Committed, LogPosition};
use crate::limits::BACKUP_DAMAGE_COUNT_MAX;
use crate::pack::entry::Kind;
use crate::pack::examine::{Step, Walk};
use crate::pack::name::{DIRECTORY, PackName};
use crate::pack::prepare::END_BYTES;
use crate::pack::read;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::io;
use std::sync::Arc;

/// Name of the file that is locked.
const LOCK: &str = "LOCK";

/// Bytes of documents that are gathered before they are written.
const DOCUMENTS_BYTES: usize = 1 << 20;

/// What a backup copied, and what it is now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BackupReport {
    /// The archive is copied up to here.
    pub committed: Committed,
    /// Bytes that were copied this time.
    pub copied_bytes: u64,
    /// Bytes of everything that belongs to the backup.
    pub total_bytes: u64,
    /// Files that belong to the backup.
    pub files_count: u64,
    /// Entries and packs of the archive that were to be copied and are damaged or missing there.
    pub damaged_count: u64,
    /// The first of them: pack and offset, up to `BACKUP_DAMAGE_COUNT_MAX`.
    pub damaged: Vec<(u64, u64)>,
}

/// A folder for the backup of one archive, locked.
#[derive(Debug)]
pub struct Backup {
    disk: Arc<dyn Disk>,
    _lock: Box<dyn Debug + Send + Sync>,
    old: Option<Manifest>,
    documents: Documents,
}

/// The file of the records, as it is written.
#[derive(Debug)]
struct Documents {
    file: Arc<dyn DiskFile>,
    sequence: u64,
    waiting: Vec<u8>,
    length: u64,
    hasher: Digester,
}

impl Documents {
    fn write(&mut self) -> io::Result<()> {
        self.file.write_at(&self.waiting, self.length)?;
        self.hasher.update(&self.waiting);
        self.length = self.length.saturating_add(self.waiting.len() as u64);
        self.waiting.clear();
        Ok(())
    }

    fn end(mut self) -> io::Result<(u64, Part)> {
        self.write()?;
        self.file.sync_data()?;
        let part = Part {
            bytes: self.length,
            blake3: hex(&self.hasher),
        };
        Ok((self.sequence, part))
    }
}

impl Backup {
    /// Opens a folder to make a backup in it: an empty one, or one with a backup of this archive.
    ///
    /// # Errors
    /// [`BackupError`], especially [`BackupError::NotEmpty`] and [`BackupError::Locked`].
    pub fn open(disk: Arc<dyn Disk>) -> Result<Self, BackupError> {
        let folder_failed = failed(Place::Backup, "open the folder");
        let lock = disk.lock().map_err(|source| {
            if source.kind() == io::ErrorKind::WouldBlock {
                return BackupError::Locked {
                    place: Place::Backup,
                };
            }
            folder_failed(source)
        })?;
        let old = Manifest::read(&*disk)?;
        if old.is_none() {
            refuse_strangers(&*disk)?;
        }
        disk.create_directory(DIRECTORY)
            .and_then(|()| disk.sync_directory(""))
            .map_err(&folder_failed)?;
        let sequence = old.as_ref().map_or(1, |old| old.sequence.saturating_add(1));
        let file = create(&*disk, &Manifest::records_name(sequence)).map_err(&folder_failed)?;
        Ok(Self {
            disk,
            _lock: lock,
            old,
            documents: Documents {
                file,
                sequence,
                waiting: Vec::new(),
                length: 0,
                hasher: Digester::new(),
            },
        })
    }

    /// Copies a document of the records.
    ///
    /// # Errors
    /// [`BackupError`].
    pub fn document(&mut self, document: &Document) -> Result<(), BackupError> {
        let copy_failed = failed(Place::Backup, "write the records");
        let waiting = &mut self.documents.waiting;
        serde_json::to_writer(&mut *waiting, document).map_err(|e| copy_failed(e.into()))?;
        waiting.push(b'\n');
        if waiting.len() >= DOCUMENTS_BYTES {
            self.documents.write().map_err(copy_failed)?;
        }
        Ok(())
    }

    /// Copies what came since the last backup, up to `committed`, reads it back, and puts a new
    /// manifest in the place of the old one. `archive` is the data directory; it may be in use.
    ///
    /// # Errors
    /// [`BackupError`]; the backup that was there is as it was.
    pub fn copy(
        self,
        archive: &dyn Disk,
        committed: Committed,
        made_unix_ms: u64,
        progress: impl FnMut(CopyProgress),
    ) -> Result<BackupReport, BackupError> {
        let position = committed.position;
        let old = self.old.as_ref();
        let came_to = old.map_or(LogPosition::default(), |old| old.committed.position);
        if came_to > position {
            return Err(BackupError::Ahead {
                backup: came_to,
                archive: position,
            });
        }
        let mut copy = Copy {
            archive,
            backup: &*self.disk,
            parts: old.map_or_else(BTreeMap::new, |old| old.packs.clone()),
            named: BTreeSet::new(),
            erasures: Erasures::default(),
            torn: Erasing::read(&*self.disk)?,
            progress: CopyProgress::default(),
            tell: progress,
            report: BackupReport {
                committed,
                ..BackupReport::default()
            },
        };
        copy.plan(came_to, position)?;
        for number in came_to.pack.max(1)..=position.pack {
            copy.log_pack(number, position)?;
        }
        copy.large_packs()?;
        copy.erase()?;
        let data_format = version(archive).map_err(failed(Place::Archive, "read FORMAT"))?;
        let backup_failed = failed(Place::Backup, "make the copy durable");
        let (parts, mut report) = (copy.parts, copy.report);
        let (sequence, records) = self.documents.end().map_err(&backup_failed)?;
        self.disk
            .sync_directory(DIRECTORY)
            .and_then(|()| self.disk.sync_directory(""))
            .map_err(&backup_failed)?;
        let manifest = Manifest {
            sequence,
            data_format: data_format.unwrap_or(FORMAT_VERSION),
            made_unix_ms,
            committed,
            records,
            packs: parts,
        };
        manifest.write(&*self.disk)?;
        Erasing::end(&*self.disk);
        if let Some(old) = old {
            // What is left of it says nothing any more.
            self.disk.remove(&Manifest::records_name(old.sequence)).ok();
        }
        report.total_bytes = manifest.bytes();
        report.files_count = manifest.files().count() as u64;
        Ok(report)
    }
}

/// A folder without manifest has nothing in it, or what a first backup that was interrupted left.
fn refuse_strangers(disk: &dyn Disk) -> Result<(), BackupError> {
    let list_failed = failed(Place::Backup, "open the folder");
    let records = Manifest::records_name(1);
    let files = disk.list("").map_err(&list_failed)?;
    let stranger = files
        .into_iter()
        .find(|name| ![LOCK, MANIFEST_NEW, ERASING, &records].contains(&name.as_str()));
    let packs = match disk.list(DIRECTORY) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other.map_err(&list_failed)?,
    };
    let is_ours = |name: &String| {
        matches!(
            PackName::parse(name),
            Some(PackName::Log(_) | PackName::Large(_))
        )
    };
    let stranger = stranger.or_else(|| packs.into_iter().find(|name| !is_ours(name)));
    match stranger {
        Some(found) => Err(BackupError::NotEmpty {
            place: Place::Backup,
            found,
        }),
        None => Ok(()),
    }
}

/// A copy that is under way.
pub(super) struct Copy<'a, T> {
    pub(super) archive: &'a dyn Disk,
    pub(super) backup: &'a dyn Disk,
    /// What the manifest will say.
    pub(super) parts: BTreeMap<PackName, Part>,
    /// Large packs that the log names in what is copied.
    named: BTreeSet<u64>,
    /// What was erased in what is copied.
    pub(super) erasures: Erasures,
    /// Packs of the backup in which a run that was interrupted erased something.
    pub(super) torn: Erasing,
    progress: CopyProgress,
    tell: T,
    report: BackupReport,
}

impl<T: FnMut(CopyProgress)> Copy<'_, T> {
    /// Adds up what there is to copy.
    fn plan(&mut self, from: LogPosition, to: LogPosition) -> Result<(), BackupError> {
        let list_failed = failed(Place::Archive, "list the packs");
        let files = self.archive.list(DIRECTORY).map_err(&list_failed)?;
        for name in files.iter().filter_map(|file| PackName::parse(file)) {
            let wanted = match name {
                PackName::Log(number) => (from.pack..=to.pack).contains(&number),
                PackName::Large(_) => !self.parts.contains_key(&name),
                PackName::Part(_) => false,
            };
            if !wanted {
                continue;
            }
            let file = self.archive.open(&name.path(), OpenHow::Read);
            let length = file.and_then(|file| file.length_bytes());
            let end = match name {
                PackName::Log(number) if number == to.pack => to.offset,
                PackName::Log(_) | PackName::Large(_) | PackName::Part(_) => {
                    length.map_err(&list_failed)?
                }
            };
            let have = self.parts.get(&name).map_or(0, |part| part.bytes);
            self.progress.total_bytes = self
                .progress
                .total_bytes
                .saturating_add(end.saturating_sub(have));
        }
        Ok(())
    }

    fn damaged(&mut self, name: PackName, offset: u64) {
        let pack = name.location();
        tracing::error!(pack, offset, "what is copied is damaged in the archive");
        self.report.damaged_count = self.report.damaged_count.saturating_add(1);
        if self.report.damaged.len() < BACKUP_DAMAGE_COUNT_MAX {
            self.report.damaged.push((pack, offset));
        }
    }

    /// Copies what is new of a log pack.
    fn log_pack(&mut self, number: u64, position: LogPosition) -> Result<(), BackupError> {
        let name = PackName::Log(number);
        let read_failed = failed(Place::Archive, "read a pack");
        let have = self.parts.get(&name).cloned();
        let source = match self.archive.open(&name.path(), OpenHow::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.damaged(name, 0);
                return Ok(());
            }
            other => other.map_err(&read_failed)?,
        };
        let is_last = number == position.pack;
        let to = if is_last {
            position.offset
        } else {
            self.sealed_end(number, &*source).map_err(&read_failed)?
        };
        let from = have.as_ref().map_or(0, |part| part.bytes);
        if to < from && is_last {
            return Err(BackupError::OtherArchive { pack: number });
        }
        let to = to.max(from);
        let hasher = match &have {
            Some(part) => self.continue_from(name, &*source, part)?,
            None => Digester::new(),
        };
        let copied = self.copy_part(name, &*source, from, to, hasher)?;
        self.parts.insert(name, copied);
        let stop = if is_last { to } else { u64::MAX };
        self.look_through(name, from, stop)
    }

    /// Where a pack ends that is not appended to any more; zeros ahead may still be behind that.
    fn sealed_end(&self, number: u64, source: &dyn DiskFile) -> io::Result<u64> {
        let length = source.length_bytes()?;
        let next = PackName::Log(number.saturating_add(1));
        let said = match self.archive.open(&next.path(), OpenHow::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            other => read::head_at(&*other?, next, 0)?.and_then(|head| head.label.previous_end),
        };
        Ok(said.map_or(length, |end| length.min(end.saturating_add(END_BYTES))))
    }

    /// The digest of what is there already, to go on from. It must be the beginning of what the
    /// archive has.
    fn continue_from(
        &self,
        name: PackName,
        source: &dyn DiskFile,
        part: &Part,
    ) -> Result<Digester, BackupError> {
        let is_torn = self.torn.has(&name.path());
        let hash = |file: &dyn DiskFile, is_torn: bool| -> io::Result<Option<Digester>> {
            let mut hasher = Digester::new();
            let is_there = each_chunk(file, 0, part.bytes, |_, chunk| {
                hasher.update(chunk);
                Ok(())
            })?;
            let is_same = is_there && (is_torn || hex(&hasher) == part.blake3);
            Ok(is_same.then_some(hasher))
        };
        if let Ok(Some(hasher)) = hash(source, false) {
            return Ok(hasher);
        }
        // Damaged in the archive since, or erased there, or another archive. The entries can tell.
        let other = BackupError::OtherArchive {
            pack: name.location(),
        };
        let read_failed = failed(Place::Backup, "read a pack");
        let file = self.backup.open(&name.path(), OpenHow::Read);
        let file = file.map_err(&read_failed)?;
        let Some(hasher) = hash(&*file, is_torn).map_err(&read_failed)? else {
            return Err(other);
        };
        let same = is_same_log(source, &*file, name, part.bytes);
        match same.map_err(failed(Place::Archive, "read a pack"))? {
            None => Err(other),
            Some(is_whole) => {
                if !is_whole {
                    let pack = name.location();
                    tracing::error!(pack, "a pack was damaged since it was copied");
                }
                Ok(hasher)
            }
        }
    }

    /// Copies a part of a file, behind what is there of it, and reads it back.
    fn copy_part(
        &mut self,
        name: PackName,
        source: &dyn DiskFile,
        from: u64,
        to: u64,
        mut hasher: Digester,
    ) -> Result<Part, BackupError> {
        let write_failed = failed(Place::Backup, "write a pack");
        let path = name.path();
        let file = match self.backup.open(&path, OpenHow::ReadWrite) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.backup.open(&path, OpenHow::CreateNew)
            }
            other => other,
        };
        let file = file.map_err(&write_failed)?;
        let is_there = file.length_bytes().map_err(&write_failed)?;
        if is_there < from {
            return Err(BackupError::Copy { file: path });
        }
        let mut new = Digester::new();
        let (mut chunk, mut there) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
        let mut at = from;
        while at < to {
            let length = usize::try_from(to - at).map_or(CHUNK_BYTES, |rest| rest.min(CHUNK_BYTES));
            let chunk = chunk.get_mut(..length).unwrap_or(&mut []);
            let there = there.get_mut(..length).unwrap_or(&mut []);
            chunk.fill(0);
            // What cannot be read is damage to a few entries, and no reason to copy nothing.
            read::read_readable(source, chunk, at)
                .map_err(failed(Place::Archive, "read a pack"))?;
            // What a run that was interrupted left is not written again.
            let found = file.read_up_to(there, at).unwrap_or(0);
            if found < length || there != chunk {
                file.write_at(chunk, at).map_err(&write_failed)?;
            }
            hasher.update(&*chunk);
            new.update(&*chunk);
            at = at.saturating_add(length as u64);
            self.report.copied_bytes = self.report.copied_bytes.saturating_add(length as u64);
            self.progress.bytes = self.progress.bytes.saturating_add(length as u64);
            (self.tell)(self.progress);
        }
        if is_there > to {
            file.set_length(to).map_err(&write_failed)?;
        }
        file.sync_data().map_err(&write_failed)?;
        file.forget(from, to - from);
        let read_back = digest_of_part(&*file, from, to);
        if read_back.map_err(failed(Place::Backup, "read a pack"))? != Some(hex(&new)) {
            return Err(BackupError::Copy { file: path });
        }
        Ok(Part {
            bytes: to,
            blake3: hex(&hasher),
        })
    }

    /// Looks through the entries of a copy: for what is damaged, and for large packs.
    fn look_through(&mut self, name: PackName, from: u64, stop: u64) -> Result<(), BackupError> {
        let read_failed = failed(Place::Backup, "read a pack");
        let file = self.backup.open(&name.path(), OpenHow::Read);
        let file = file.map_err(&read_failed)?;
        let mut walk = Walk::new(&*file, name, from, stop);
        while let Some(step) = walk.step().map_err(&read_failed)? {
            let head = match step {
                Step::Damage { from, .. } => {
                    self.damaged(name, from);
                    self.name_all()?;
                    continue;
                }
                Step::Entry(head) => head,
            };
            if !read::is_whole(&*file, &head) {
                self.damaged(name, head.offset);
                if head.label.kind != Kind::Instance {
                    self.name_all()?;
                }
            } else if let Some((study, packs)) = read::erased(&*file, &head) {
                self.erasures.note(study, packs, place_of(name, &head));
            } else if head.label.kind == Kind::Large {
                let named = read::large_named(&*file, &head);
                self.named.extend(named.map(|(number, _)| number));
            }
        }
        Ok(())
    }

    /// An entry that cannot be read may have named a large pack: all of them are taken then.
    fn name_all(&mut self) -> Result<(), BackupError> {
        let files = self.archive.list(DIRECTORY);
        let files = files.map_err(failed(Place::Archive, "list the packs"))?;
        self.named
            .extend(files.iter().filter_map(|file| match PackName::parse(file) {
                Some(PackName::Large(number)) => Some(number),
                Some(PackName::Log(_) | PackName::Part(_)) | None => None,
            }));
        Ok(())
    }

    fn large_packs(&mut self) -> Result<(), BackupError> {
        let read_failed = failed(Place::Archive, "read a pack");
        for number in std::mem::take(&mut self.named) {
            let name = PackName::Large(number);
            if self.parts.contains_key(&name) {
                continue;
            }
            let source = match self.archive.open(&name.path(), OpenHow::Read) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.damaged(name, 0);
                    continue;
                }
                other => other.map_err(&read_failed)?,
            };
            let to = source.length_bytes().map_err(&read_failed)?;
            let copied = self.copy_part(name, &*source, 0, to, Digester::new())?;
            self.parts.insert(name, copied);
            self.look_through(name, 0, u64::MAX)?;
        }
        Ok(())
    }
}

/// Whether two copies of a pack, one or both of them damaged, are of the same log: every entry that
/// is whole in the first is in the second, in its place, and there is one. `None` where they are
/// not; else whether all of the first is whole.
fn is_same_log(
    one: &dyn DiskFile,
    other: &dyn DiskFile,
    name: PackName,
    to: u64,
) -> io::Result<Option<bool>> {
    let (mut is_any, mut is_whole) = (false, true);
    let mut walk = Walk::new(one, name, 0, to);
    while let Some(step) = walk.step()? {
        let head = match step {
            Step::Entry(head) if read::is_whole(one, &head) => head,
            Step::Damage { .. } | Step::Entry(_) => {
                is_whole = false;
                continue;
            }
        };
        let found = read::head_at(other, name, head.offset)?;
        if !found.is_some_and(|found| found.is_same(&head)) {
            return Ok(None);
        }
        is_any = true;
    }
    Ok(is_any.then_some(is_whole))
}
