//! Everything that could be an instance, at or below some paths.
//!
//! - A folder: every file below it. ZIP archives (by their name) are opened; what a DICOMDIR names
//!   and is not there is told.
//! - A ZIP archive: every entry. Archives within it are not opened.
//! - A DICOMDIR: the files that it names, below its own folder and nowhere else.
//! - Any other file: itself.

use crate::content::{Content, Found, Identity, Place};
use crate::dicomdir::{self, Directory, DirectoryError, Reference};
use crate::file_id::is_called;
use crate::folder::{Folder, OpenError, Stat};
use crate::inspect::DIRECTORY_CLASS;
use crate::limits::MediaLimits;
use crate::refusal::{Refusal, Refused};
use crate::walk::Walk;
use crate::zip::{Entries, Entry, ZipArchive, ZipError, is_zip};
use pacs_core::SopClassUid;
use pacs_core::instance::InstanceError;
use pacs_core::scan::file;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of a file that tell whether it is a DICOMDIR.
const SNIFFED_BYTES: u64 = 16 << 10;

/// What is found at or below some paths, one after the other, and what is refused.
#[derive(Debug)]
pub struct Sources {
    limits: MediaLimits,
    paths: VecDeque<PathBuf>,
    /// What is being gone through; the last one first.
    open: Vec<Source>,
}

#[derive(Debug)]
enum Source {
    Archive(Archive),
    Directory(FileSet),
    Folder(Arc<Folder>, Walk),
    Single(Box<Found>),
}

#[derive(Debug)]
struct Archive {
    path: PathBuf,
    stat: Stat,
    archive: Arc<ZipArchive<File>>,
    entries: Entries<File>,
}

/// The files that a DICOMDIR names.
#[derive(Debug)]
struct FileSet {
    /// Of the DICOMDIR.
    path: PathBuf,
    folder: Arc<Folder>,
    references: std::vec::IntoIter<Reference>,
    damage: Option<pacs_core::scan::ScanError>,
    /// Whether the files come another way, and only those that are not there are told.
    is_only_checked: bool,
}

impl Sources {
    /// At or below `paths`, in their order.
    #[must_use]
    pub fn new(paths: Vec<PathBuf>, limits: &MediaLimits) -> Self {
        Self {
            limits: *limits,
            paths: paths.into(),
            open: Vec::new(),
        }
    }

    /// Bytes that all of it takes on the medium, as far as can be told without opening files;
    /// stops early where `goes_on` says so.
    #[must_use]
    pub fn measure(
        paths: &[PathBuf],
        limits: &MediaLimits,
        goes_on: impl Fn() -> bool,
    ) -> Option<u64> {
        let mut bytes = 0_u64;
        for path in paths {
            let meta = path.metadata().ok()?;
            if !meta.is_dir() {
                bytes = bytes.saturating_add(meta.len());
                continue;
            }
            let folder = Arc::new(Folder::open(path).ok()?);
            for walked in Walk::new(folder, limits).flatten() {
                bytes = bytes.saturating_add(walked.stat.size_bytes);
                if !goes_on() {
                    return None;
                }
            }
        }
        Some(bytes)
    }

    /// Opens a path that was named.
    fn named(&self, path: &Path) -> Result<Source, Refusal> {
        // Links are followed here: whoever named it meant it.
        let real = path.canonicalize().map_err(Refusal::Read)?;
        if real.is_dir() {
            let folder = Arc::new(Folder::open(&real).map_err(Refusal::Read)?);
            return Ok(Source::Folder(
                Arc::clone(&folder),
                Walk::new(folder, &self.limits),
            ));
        }
        let (Some(parent), Some(name)) = (real.parent(), real.file_name()) else {
            return Err(Refusal::Open(OpenError::NotAFile));
        };
        let folder = Arc::new(Folder::open(parent).map_err(Refusal::Read)?);
        let mut file = folder.file(Path::new(name)).map_err(Refusal::Open)?;
        let mut beginning = Vec::new();
        file.by_ref()
            .take(SNIFFED_BYTES)
            .read_to_end(&mut beginning)
            .map_err(Refusal::Read)?;
        if is_zip(&beginning) {
            return self.archive(real, file);
        }
        if is_directory(&beginning) {
            return self.file_set(&folder, real, &mut file, false);
        }
        let stat = Stat::of(&file).map_err(Refusal::Read)?;
        let name = PathBuf::from(name);
        let mut found = self.file(&folder, name, stat);
        found.is_named = true;
        Ok(Source::Single(Box::new(found)))
    }

    fn file(&self, folder: &Arc<Folder>, relative: PathBuf, stat: Stat) -> Found {
        let path = folder.path().join(&relative);
        Found {
            identity: Identity::of(&path, stat, None),
            place: Place::file(path),
            size_bytes: stat.size_bytes,
            is_named: false,
            content: Content::File {
                folder: Arc::clone(folder),
                relative,
            },
        }
    }

    fn archive(&self, path: PathBuf, file: File) -> Result<Source, Refusal> {
        let stat = Stat::of(&file).map_err(Refusal::Read)?;
        let archive = Arc::new(ZipArchive::open(file, &self.limits).map_err(Refusal::Zip)?);
        let entries = archive.entries(&self.limits);
        Ok(Source::Archive(Archive {
            path,
            stat,
            archive,
            entries,
        }))
    }

    fn file_set(
        &self,
        folder: &Arc<Folder>,
        path: PathBuf,
        file: &mut File,
        is_only_checked: bool,
    ) -> Result<Source, Refusal> {
        let directory = self.directory(file)?;
        let folder = match path.parent().filter(|parent| *parent != folder.path()) {
            Some(parent) => Arc::new(Folder::open(parent).map_err(Refusal::Read)?),
            None => Arc::clone(folder),
        };
        Ok(Source::Directory(FileSet {
            path,
            folder,
            references: directory.references.into_iter(),
            damage: directory.damage,
            is_only_checked,
        }))
    }

    fn directory(&self, file: &mut File) -> Result<Directory, Refusal> {
        let length = file.metadata().map_err(Refusal::Read)?.len();
        if length > self.limits.dicomdir_bytes_max {
            return Err(Refusal::Dicomdir(DirectoryError::TooLarge));
        }
        let mut bytes = Vec::new();
        let read = io::Seek::rewind(file)
            .and_then(|()| file.by_ref().take(length).read_to_end(&mut bytes));
        read.map_err(Refusal::Read)?;
        dicomdir::read(&bytes, &self.limits).map_err(Refusal::Dicomdir)
    }

    /// What a file below a folder is: one that may be an instance, or one that holds others.
    fn below(&self, folder: &Arc<Folder>, found: Found) -> Result<Below, Refused> {
        let Content::File { relative, .. } = &found.content else {
            return Ok(Below::Found(found));
        };
        let refused = |why| Refused {
            place: found.place.clone(),
            why,
        };
        let name = relative
            .file_name()
            .map(OsStrExt::as_bytes)
            .unwrap_or_default();
        let source = if name.to_ascii_lowercase().ends_with(b".zip") {
            let mut file = folder
                .file(relative)
                .map_err(Refusal::Open)
                .map_err(refused)?;
            let mut beginning = Vec::new();
            let read = file.by_ref().take(4).read_to_end(&mut beginning);
            read.map_err(Refusal::Read).map_err(refused)?;
            if !is_zip(&beginning) {
                return Ok(Below::Found(found));
            }
            self.archive(found.place.path.clone(), file)
        } else if is_called(name, "DICOMDIR") {
            let mut file = folder
                .file(relative)
                .map_err(Refusal::Open)
                .map_err(refused)?;
            self.file_set(folder, found.place.path.clone(), &mut file, true)
        } else {
            return Ok(Below::Found(found));
        };
        source.map(Below::Source).map_err(refused)
    }
}

enum Below {
    Found(Found),
    Source(Source),
}

impl Iterator for Sources {
    type Item = Result<Found, Refused>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(source) = self.open.last_mut() else {
                let path = self.paths.pop_front()?;
                match self.named(&path) {
                    Ok(source) => self.open.push(source),
                    Err(why) => {
                        let place = Place::file(path);
                        return Some(Err(Refused { place, why }));
                    }
                }
                continue;
            };
            let next = match source {
                Source::Archive(archive) => archive.next().map(|found| found.map(Below::Found)),
                Source::Directory(file_set) => file_set.next().map(|found| found.map(Below::Found)),
                Source::Folder(folder, walk) => {
                    let folder = Arc::clone(folder);
                    let walked = walk.next();
                    walked.map(|walked| match walked {
                        Ok(walked) => {
                            let found = self.file(&folder, walked.path, walked.stat);
                            self.below(&folder, found)
                        }
                        Err((path, why)) => Err(Refused {
                            place: Place::file(folder.path().join(path)),
                            why,
                        }),
                    })
                }
                Source::Single(found) => {
                    let found = found.as_ref().clone();
                    self.open.pop();
                    return Some(Ok(found));
                }
            };
            match next {
                Some(Ok(Below::Found(found))) => return Some(Ok(found)),
                Some(Ok(Below::Source(source))) => self.open.push(source),
                Some(Err(refused)) => return Some(Err(refused)),
                None => {
                    self.open.pop();
                }
            }
        }
    }
}

impl Archive {
    fn next(&mut self) -> Option<Result<Found, Refused>> {
        loop {
            let entry = match self.entries.next()? {
                Ok(entry) if entry.is_folder() => continue,
                Ok(entry) => entry,
                Err(error) => {
                    let place = Place::file(&self.path);
                    let why = Refusal::Zip(error);
                    return Some(Err(Refused { place, why }));
                }
            };
            let place = Place {
                path: self.path.clone(),
                entry: Some(entry.name_shown()),
            };
            let is_inner = entry.name.to_ascii_lowercase().ends_with(b".zip");
            let checked = match entry.check() {
                Ok(()) if is_inner => Err(ZipError::Inner),
                checked => checked,
            };
            if let Err(error) = checked {
                let why = Refusal::Zip(error);
                return Some(Err(Refused { place, why }));
            }
            return Some(Ok(self.found(place, entry)));
        }
    }

    fn found(&self, place: Place, entry: Entry) -> Found {
        Found {
            identity: Identity::of(&self.path, self.stat, Some((entry.number, &entry.name))),
            place,
            size_bytes: entry.compressed_bytes,
            is_named: false,
            content: Content::Entry {
                archive: Arc::clone(&self.archive),
                entry,
            },
        }
    }
}

impl FileSet {
    fn next(&mut self) -> Option<Result<Found, Refused>> {
        loop {
            let Some(reference) = self.references.next() else {
                // What it named before it was damaged has come; now the damage is told.
                let error = self.damage.take()?;
                let why = Refusal::NotAnInstance(InstanceError::Scan(error));
                let place = Place::file(&self.path);
                return Some(Err(Refused { place, why }));
            };
            let file_id = match reference.file_id {
                Ok(file_id) => file_id,
                Err(error) => {
                    let place = Place::file(&self.path);
                    let why = Refusal::FileId(error);
                    return Some(Err(Refused { place, why }));
                }
            };
            let named = self.folder.path().join(file_id.to_string());
            let opened = self.folder.find(&file_id);
            let stat = opened.and_then(|(path, file)| {
                let stat = Stat::of(&file).map_err(OpenError::Io)?;
                Ok((path, stat))
            });
            match stat {
                Ok(_) if self.is_only_checked => {}
                Ok((relative, stat)) => return Some(Ok(self.found(relative, stat))),
                Err(error) => {
                    let place = Place::file(named);
                    let why = if matches!(error, OpenError::NotThere) {
                        Refusal::Missing
                    } else {
                        Refusal::Open(error)
                    };
                    return Some(Err(Refused { place, why }));
                }
            }
        }
    }

    fn found(&self, relative: PathBuf, stat: Stat) -> Found {
        let path = self.folder.path().join(&relative);
        Found {
            identity: Identity::of(&path, stat, None),
            place: Place::file(path),
            size_bytes: stat.size_bytes,
            is_named: false,
            content: Content::File {
                folder: Arc::clone(&self.folder),
                relative,
            },
        }
    }
}

/// Whether a file that begins so is a DICOMDIR.
fn is_directory(beginning: &[u8]) -> bool {
    let class = file::read(beginning).ok().and_then(|form| form.sop_class);
    class.as_ref().map(SopClassUid::as_str) == Some(DIRECTORY_CLASS)
}
