//! The manifest: what belongs to a backup, up to where, with the digest of each file and its own.

use super::erasing::Erasing;
use super::{BackupError, CopyProgress, create, digest_of_part, failed, hex};
use crate::digest::Digester;
use crate::directory::{FORMAT_VERSION, FORMAT_WITHOUT_ERASING};
use crate::disk::{Disk, OpenHow};
use crate::error::Place;
use crate::index::{ChangeNumber, Committed, LogPosition};
use crate::limits::BACKUP_MANIFEST_BYTES_MAX;
use crate::pack::name::PackName;
use std::collections::BTreeMap;
use std::io;

/// Its name.
pub(super) const MANIFEST: &str = "MANIFEST";

/// Its name until it is whole.
pub(super) const MANIFEST_NEW: &str = "MANIFEST.new";

/// Version of the folder; docs/on-disk-format.md describes it.
const BACKUP_FORMAT_VERSION: u32 = 1;

/// One line of it.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Backup(Head),
    File(File),
    End { files_count: u64, blake3: String },
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Head {
    format: u32,
    data_format: u32,
    sequence: u64,
    made_unix_ms: u64,
    position: LogPosition,
    change: ChangeNumber,
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct File {
    name: String,
    bytes: u64,
    blake3: String,
}

/// How much of a file belongs to a backup, and the digest of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) bytes: u64,
    pub(super) blake3: String,
}

/// What belongs to a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Goes up by one with every backup in the folder.
    pub(super) sequence: u64,
    /// Version of the data directory that it is of.
    pub(super) data_format: u32,
    /// When it was made, in milliseconds since 1970-01-01 UTC.
    pub made_unix_ms: u64,
    /// The archive is copied up to here.
    pub committed: Committed,
    pub(super) records: Part,
    pub(super) packs: BTreeMap<PackName, Part>,
}

impl Manifest {
    /// Reads the manifest of a folder; `None` where there is none.
    ///
    /// # Errors
    /// [`BackupError::Manifest`] where it is not whole, [`BackupError::Format`] where it is of
    /// another version, [`BackupError::Disk`].
    pub fn read(disk: &dyn Disk) -> Result<Option<Self>, BackupError> {
        let disk_failed = failed(Place::Backup, "read the manifest");
        let file = match disk.open(MANIFEST, OpenHow::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(&disk_failed)?,
        };
        let length = file.length_bytes().map_err(&disk_failed)?;
        let length = usize::try_from(length).map_err(|_| BackupError::Manifest)?;
        if length > BACKUP_MANIFEST_BYTES_MAX {
            return Err(BackupError::Manifest);
        }
        let text = file.read_vec(0, length).map_err(&disk_failed)?;
        Self::parse(&text).map(Some)
    }

    /// Name of the file with the records.
    pub(super) fn records_name(sequence: u64) -> String {
        format!("records-{sequence:010}.jsonl")
    }

    /// Bytes of everything that belongs to it.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let packs = self.packs.values().map(|part| part.bytes);
        packs.fold(self.records.bytes, u64::saturating_add)
    }

    /// Every file, with its name in the folder.
    pub(super) fn files(&self) -> impl Iterator<Item = (String, &Part)> {
        let records = (Self::records_name(self.sequence), &self.records);
        let packs = self.packs.iter().map(|(name, part)| (name.path(), part));
        std::iter::once(records).chain(packs)
    }

    fn parse(text: &[u8]) -> Result<Self, BackupError> {
        let damaged = || BackupError::Manifest;
        let text = std::str::from_utf8(text).map_err(|_| damaged())?;
        let body = text.strip_suffix('\n').ok_or_else(damaged)?;
        let (body, last) = body.rsplit_once('\n').ok_or_else(damaged)?;
        let Ok(Line::End {
            files_count,
            blake3,
        }) = serde_json::from_str(last)
        else {
            return Err(damaged());
        };
        let (first, files) = body.split_once('\n').ok_or_else(damaged)?;
        let Ok(Line::Backup(head)) = serde_json::from_str(first) else {
            return Err(damaged());
        };
        let is_known = [FORMAT_WITHOUT_ERASING, FORMAT_VERSION].contains(&head.data_format);
        if head.format != BACKUP_FORMAT_VERSION || !is_known {
            return Err(BackupError::Format);
        }
        let mut hasher = Digester::new();
        hasher.update(body.as_bytes());
        hasher.update(b"\n");
        if hex(&hasher) != blake3 {
            return Err(damaged());
        }
        let mut records = None;
        let mut packs = BTreeMap::new();
        for line in files.split('\n') {
            let Ok(Line::File(file)) = serde_json::from_str(line) else {
                return Err(damaged());
            };
            let part = Part {
                bytes: file.bytes,
                blake3: file.blake3,
            };
            // Nothing that stands here becomes a path: names are made again of their numbers.
            if file.name == Self::records_name(head.sequence) {
                records = Some(part);
                continue;
            }
            let name = file.name.strip_prefix("packs/").and_then(PackName::parse);
            match name.ok_or_else(damaged)? {
                PackName::Part(_) => return Err(damaged()),
                name @ (PackName::Log(_) | PackName::Large(_)) => packs.insert(name, part),
            };
        }
        let manifest = Self {
            sequence: head.sequence,
            data_format: head.data_format,
            made_unix_ms: head.made_unix_ms,
            committed: Committed {
                position: head.position,
                change: head.change,
            },
            records: records.ok_or_else(damaged)?,
            packs,
        };
        if manifest.files().count() as u64 != files_count {
            return Err(damaged());
        }
        Ok(manifest)
    }

    fn text(&self) -> String {
        let line = |line: &Line| {
            // Strings and numbers: there is nothing that could not be written.
            serde_json::to_string(line).unwrap_or_default() + "\n"
        };
        let mut text = line(&Line::Backup(Head {
            format: BACKUP_FORMAT_VERSION,
            data_format: self.data_format,
            sequence: self.sequence,
            made_unix_ms: self.made_unix_ms,
            position: self.committed.position,
            change: self.committed.change,
        }));
        let mut files_count = 0;
        for (name, part) in self.files() {
            text += &line(&Line::File(File {
                name,
                bytes: part.bytes,
                blake3: part.blake3.clone(),
            }));
            files_count += 1;
        }
        let mut hasher = Digester::new();
        hasher.update(text.as_bytes());
        let blake3 = hex(&hasher);
        text + &line(&Line::End {
            files_count,
            blake3,
        })
    }

    /// Puts it in the place of the one before, durably.
    pub(super) fn write(&self, disk: &dyn Disk) -> Result<(), BackupError> {
        let write = || {
            let file = create(disk, MANIFEST_NEW)?;
            file.write_at(self.text().as_bytes(), 0)?;
            file.sync_data()?;
            disk.rename(MANIFEST_NEW, MANIFEST)?;
            disk.sync_directory("")
        };
        write().map_err(failed(Place::Backup, "write the manifest"))
    }

    /// Stands for this manifest.
    pub(super) fn digest(&self) -> String {
        let mut hasher = Digester::new();
        hasher.update(self.text().as_bytes());
        hex(&hasher)
    }
}

/// Reads everything that belongs to the backup in a folder; gives the names of the files that are
/// not as they were copied, or not there.
///
/// # Errors
/// [`BackupError::NoBackup`]; else as [`Manifest::read`].
pub fn check(
    disk: &dyn Disk,
    mut progress: impl FnMut(CopyProgress),
) -> Result<Vec<String>, BackupError> {
    let manifest = Manifest::read(disk)?.ok_or(BackupError::NoBackup)?;
    let mut told = CopyProgress {
        bytes: 0,
        total_bytes: manifest.bytes(),
    };
    let mut damaged = Vec::new();
    let torn = Erasing::read(disk)?;
    for (name, part) in manifest.files() {
        let found = disk
            .open(&name, OpenHow::Read)
            .and_then(|file| digest_of_part(&*file, 0, part.bytes));
        let is_sound = match found {
            Ok(Some(blake3)) => blake3 == part.blake3 || torn.has(&name),
            Ok(None) | Err(_) => false,
        };
        if !is_sound {
            damaged.push(name);
        }
        told.bytes = told.bytes.saturating_add(part.bytes);
        progress(told);
    }
    Ok(damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let part = |bytes| Part {
            bytes,
            blake3: "ab".repeat(32),
        };
        Manifest {
            sequence: 7,
            data_format: FORMAT_VERSION,
            made_unix_ms: 1_795_000_000_000,
            committed: Committed {
                position: LogPosition {
                    pack: 2,
                    offset: 1_024,
                },
                change: ChangeNumber(9),
            },
            records: part(3),
            packs: [
                (PackName::Log(1), part(4)),
                (PackName::Log(2), part(1_024)),
                (PackName::Large(5), part(6)),
            ]
            .into(),
        }
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        let manifest = manifest();

        assert_eq!(
            Manifest::parse(manifest.text().as_bytes()).unwrap(),
            manifest
        );
        assert_eq!(manifest.bytes(), 3 + 4 + 1_024 + 6);
    }

    #[test]
    fn a_manifest_with_one_bit_changed_or_a_line_missing_is_refused() {
        let text = manifest().text();
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] ^= 1 << (at % 7);
            assert!(Manifest::parse(&changed).is_err(), "byte {at}");
        }
        for at in 0..text.lines().count() {
            let lines = text.lines().enumerate().filter(|(n, _)| *n != at);
            let less: String = lines.map(|(_, line)| format!("{line}\n")).collect();
            assert!(Manifest::parse(less.as_bytes()).is_err(), "line {at}");
        }
    }

    #[test]
    fn names_that_lead_out_of_the_folder_are_refused() {
        for name in ["../x", "packs/../../x", "/etc/x", "packs/log-1.tar"] {
            let mut text = manifest().text().replace("packs/log-0000000001.tar", name);
            let end = text[..text.len() - 1].rfind('\n').unwrap() + 1;
            text.truncate(end);
            let mut hasher = Digester::new();
            hasher.update(text.as_bytes());
            let blake3 = hex(&hasher);
            let last = Line::End {
                files_count: 4,
                blake3,
            };
            text += &(serde_json::to_string(&last).unwrap() + "\n");

            assert!(matches!(
                Manifest::parse(text.as_bytes()),
                Err(BackupError::Manifest)
            ));
        }
    }
}
