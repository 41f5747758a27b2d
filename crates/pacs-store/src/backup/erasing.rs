//! Erasing in a backup what the archive erased.
//!
//! The packs of a backup change then, and the manifest has digests of what they were. So a file
//! names them first, durably; then they are changed; then the manifest is written anew, and the
//! file goes. As long as it is there, the digests of these packs prove nothing, and their entries
//! do.

use super::copy::Copy;
use super::manifest::Part;
use super::{BackupError, CopyProgress, create, digest_of_part, failed};
use crate::disk::{Disk, OpenHow};
use crate::erased::{mark_for, place_of};
use crate::error::Place;
use crate::index::LogPosition;
use crate::limits::BACKUP_MANIFEST_BYTES_MAX;
use crate::pack::destroy;
use crate::pack::examine::{Step, Walk};
use crate::pack::name::PackName;
use crate::pack::read;
use pacs_core::StudyUid;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// Name of the file.
pub(super) const ERASING: &str = "ERASING";

/// Packs in which something is being erased.
#[derive(Debug, Default)]
pub(super) struct Erasing(BTreeSet<PackName>);

impl Erasing {
    /// Those of a folder; none where nothing was interrupted.
    pub(super) fn read(disk: &dyn Disk) -> Result<Self, BackupError> {
        let read_failed = failed(Place::Backup, "read what is being erased");
        let file = match disk.open(ERASING, OpenHow::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            other => other.map_err(&read_failed)?,
        };
        let length = file.length_bytes().map_err(&read_failed)?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let text = file.read_vec(0, length.min(BACKUP_MANIFEST_BYTES_MAX));
        let text = text.map_err(&read_failed)?;
        // Of a line that a crash tore nothing was changed yet.
        let text = String::from_utf8_lossy(&text);
        let names = text.lines().filter_map(|line| line.strip_prefix("packs/"));
        Ok(Self(names.filter_map(PackName::parse).collect()))
    }

    /// Whether the file of this name is among them.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|known| known.path() == name)
    }

    fn write(&self, disk: &dyn Disk) -> io::Result<()> {
        let lines = self.0.iter().map(|name| name.path() + "\n");
        let file = create(disk, ERASING)?;
        file.write_at(lines.collect::<String>().as_bytes(), 0)?;
        file.sync_data()?;
        disk.sync_directory("")
    }

    /// The manifest has the right digests again. Where the file stays, it is in nobody's way.
    pub(super) fn end(disk: &dyn Disk) {
        disk.remove(ERASING)
            .and_then(|()| disk.sync_directory(""))
            .ok();
    }
}

/// What the archive erased.
#[derive(Debug, Default)]
pub(super) struct Erasures {
    of_studies: BTreeMap<StudyUid, Vec<Erasure>>,
}

#[derive(Debug)]
struct Erasure {
    /// Which packs had something of it; `None`: any.
    packs: Option<BTreeSet<u64>>,
    at: LogPosition,
}

impl Erasures {
    /// A study was erased at this place of the log.
    pub(super) fn note(&mut self, study: StudyUid, packs: Option<Vec<u64>>, at: LogPosition) {
        let packs = packs.map(|packs| packs.into_iter().collect());
        let of_study = self.of_studies.entry(study).or_default();
        of_study.push(Erasure { packs, at });
    }

    /// Whether something of a pack may be erased.
    fn touch(&self, name: PackName) -> bool {
        let mut all = self.of_studies.values().flatten();
        all.any(|erasure| erasure.names(name).unwrap_or(true))
    }

    /// Whether what stands at this place of a pack is erased where it is of this study.
    fn cover(&self, study: &StudyUid, name: PackName, at: LogPosition) -> bool {
        let of_study = self.of_studies.get(study).into_iter().flatten();
        of_study.into_iter().any(|erasure| match name {
            PackName::Log(_) => at < erasure.at,
            // A large pack that was named had its place in the log before.
            PackName::Large(_) | PackName::Part(_) => erasure.names(name) == Some(true),
        })
    }
}

impl Erasure {
    fn names(&self, name: PackName) -> Option<bool> {
        let packs = self.packs.as_ref()?;
        Some(packs.contains(&name.location()))
    }
}

impl<T: FnMut(CopyProgress)> Copy<'_, T> {
    /// Erases in the backup what the archive has erased since the last one.
    pub(super) fn erase(&mut self) -> Result<(), BackupError> {
        let mut names = Erasing(std::mem::take(&mut self.torn.0));
        let touched = self.parts.keys().filter(|name| self.erasures.touch(**name));
        names.0.extend(touched.copied());
        if names.0.is_empty() {
            return Ok(());
        }
        let write_failed = failed(Place::Backup, "say what is being erased");
        names.write(self.backup).map_err(write_failed)?;
        for name in names.0 {
            if let Some(part) = self.parts.get(&name).cloned() {
                let part = self.erase_in(name, part)?;
                self.parts.insert(name, part);
            }
        }
        Ok(())
    }

    /// Erases in a pack, and gives what the manifest is to say of it.
    fn erase_in(&self, name: PackName, part: Part) -> Result<Part, BackupError> {
        let failed = failed(Place::Backup, "erase in a pack");
        let erase = || -> io::Result<Option<String>> {
            let source = match self.archive.open(&name.path(), OpenHow::Read) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                other => Some(other?),
            };
            let file = self.backup.open(&name.path(), OpenHow::ReadWrite)?;
            let mut erased = Vec::new();
            let mut walk = Walk::new(&*file, name, 0, part.bytes);
            while let Some(step) = walk.step()? {
                let Step::Entry(head) = step else {
                    continue;
                };
                // What the archive has destroyed is no more; what it will destroy is named.
                let in_archive = match &source {
                    Some(source) => read::head_at(&**source, name, head.offset)?,
                    None => None,
                };
                let in_archive = in_archive.filter(|other| other.is_same(&head));
                let is_erased =
                    |study: &StudyUid| self.erasures.cover(study, name, place_of(name, &head));
                let known = head.mark.clone().or_else(|| in_archive?.mark);
                let mark = match known {
                    Some(mark) => Some(*mark),
                    None => mark_for(name, &*file, &head, is_erased),
                };
                erased.extend(mark.map(|mark| (head, mark)));
            }
            destroy::blot_out_all(&*file, &erased)?;
            digest_of_part(&*file, 0, part.bytes)
        };
        let blake3 = erase()
            .map_err(failed)?
            .ok_or_else(|| BackupError::Copy { file: name.path() })?;
        Ok(Part { blake3, ..part })
    }
}
