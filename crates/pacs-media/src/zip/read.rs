//! Reads a ZIP archive: its central directory entry by entry, and any entry on its own.

use super::{ZipError, signature};
use crate::inflating::{Bounded, Inflating};
use crate::limits::MediaLimits;
use flate2::Crc;
use flate2::bufread::DeflateDecoder;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::sync::Arc;

/// Bytes of the fixed part of an entry of the central directory.
const CENTRAL_BYTES: usize = 46;

/// Bytes of the fixed part of a local header.
const LOCAL_BYTES: usize = 30;

/// Bytes of the end of the central directory without its comment.
const END_BYTES: usize = 22;

/// Bytes of the ZIP64 end of the central directory, as far as it is read, and of its locator.
const END_64_BYTES: usize = 56;
const LOCATOR_BYTES: usize = 20;

/// Bytes of an entry that are read at once.
const SECTION_BYTES: usize = 256 << 10;

/// Longest comment of an archive.
const COMMENT_BYTES_MAX: usize = 0xFFFF;

/// In place of a number that stands in the ZIP64 extra field.
const IN_EXTRA: u32 = 0xFFFF_FFFF;

/// Id of that field.
const EXTRA_64: u16 = 1;

/// Bit 0 of the general purpose flags.
const ENCRYPTED: u16 = 1;

const STORED: u16 = 0;
const DEFLATED: u16 = 8;

/// The type of a file in the mode that Unix archives give it, and that of a link.
const MODE_TYPE: u32 = 0o170_000;
const MODE_LINK: u32 = 0o120_000;

/// Bytes that can be read at any place, by many at once.
pub trait ReadAt: Send + Sync {
    /// Reads some bytes at `offset`; none at the end.
    ///
    /// # Errors
    /// Those of the operating system.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// How many there are.
    ///
    /// # Errors
    /// Those of the operating system.
    fn length(&self) -> io::Result<u64>;
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buffer, offset)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        let mut rest = self.get(at..).unwrap_or_default();
        rest.read(buffer)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

/// A ZIP archive.
#[derive(Debug)]
pub struct ZipArchive<F> {
    file: Arc<F>,
    length: u64,
    directory: Section64,
    /// Bytes that stand before the archive, as in one that unpacks itself.
    before: u64,
}

/// A range of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Section64 {
    start: u64,
    end: u64,
}

/// A file in an archive, as its directory has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the directory.
    pub number: u64,
    /// Its name, never to be used as a path.
    pub name: Vec<u8>,
    /// Bytes of it in the archive.
    pub compressed_bytes: u64,
    /// Bytes that it says it becomes; not to be believed.
    pub declared_bytes: u64,
    crc: u32,
    flags: u16,
    method: u16,
    offset: u64,
    mode: u32,
}

impl Entry {
    /// Its name, for people.
    #[must_use]
    pub fn name_shown(&self) -> String {
        String::from_utf8_lossy(&self.name).into_owned()
    }

    /// Whether it is a folder.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        self.name.ends_with(b"/") || self.name.ends_with(b"\\")
    }

    /// Whether it is something that is read at all.
    ///
    /// # Errors
    /// [`ZipError`], why not.
    pub fn check(&self) -> Result<(), ZipError> {
        if self.flags & ENCRYPTED != 0 {
            return Err(ZipError::Encrypted);
        }
        if !matches!(self.method, STORED | DEFLATED) {
            let method = self.method;
            return Err(ZipError::Compression { method });
        }
        if self.mode & MODE_TYPE == MODE_LINK {
            return Err(ZipError::Link);
        }
        // Windows archivers write backslashes.
        let mut parts = self.name.split(|byte| matches!(byte, b'/' | b'\\'));
        let has_drive = self.name.get(1) == Some(&b':');
        let is_absolute = self.name.first().is_some_and(|byte| b"/\\".contains(byte));
        let is_odd = self.name.is_empty() || self.name.contains(&0);
        if has_drive || is_absolute || is_odd || parts.any(|part| part == b"..") {
            return Err(ZipError::Name);
        }
        Ok(())
    }
}

impl<F: ReadAt> ZipArchive<F> {
    /// Finds the directory of an archive, and checks that its entries do not share bytes.
    ///
    /// # Errors
    /// [`ZipError`].
    pub fn open(file: F, limits: &MediaLimits) -> Result<Self, ZipError> {
        let length = file.length().map_err(ZipError::Io)?;
        let end = End::find(&file, length)?;
        let directory_end = end.directory_end;
        let start = directory_end
            .checked_sub(end.directory_bytes)
            .ok_or(malformed("the directory is longer than the file"))?;
        let before = start
            .checked_sub(end.directory_offset)
            .ok_or(malformed("the directory is not where it should be"))?;
        let archive = Self {
            file: Arc::new(file),
            length,
            directory: Section64 {
                start,
                end: directory_end,
            },
            before,
        };
        archive.check_overlap(limits)?;
        Ok(archive)
    }

    fn check_overlap(&self, limits: &MediaLimits) -> Result<(), ZipError> {
        let mut ranges = Vec::new();
        for entry in self.entries(limits) {
            let entry = entry?;
            let head = LOCAL_BYTES as u64;
            let end = entry.offset.saturating_add(head);
            let end = end.saturating_add(entry.compressed_bytes);
            if end > self.directory.start {
                return Err(malformed("an entry ends behind the directory's beginning"));
            }
            ranges.push((entry.offset, end));
        }
        ranges.sort_unstable();
        let mut last = 0;
        for (start, end) in ranges {
            if start < last {
                return Err(ZipError::Overlap);
            }
            last = end;
        }
        Ok(())
    }

    /// Its entries, one after the other; after an error there are no more.
    pub fn entries(&self, limits: &MediaLimits) -> Entries<F> {
        let section = Section {
            file: Arc::clone(&self.file),
            position: self.directory.start,
            end: self.directory.end,
        };
        Entries {
            directory: BufReader::new(section),
            rest_bytes: self.directory.end.saturating_sub(self.directory.start),
            before: self.before,
            number: 0,
            entries_max: limits.zip_entries_max,
            name_bytes_max: limits.zip_name_bytes_max,
        }
    }

    /// The bytes of `entry`, inflated and counted.
    ///
    /// # Errors
    /// [`ZipError`]. What is found while reading comes as an [`io::Error`] that holds one.
    pub fn read(&self, entry: &Entry, limits: &MediaLimits) -> Result<EntryReader<F>, ZipError> {
        entry.check()?;
        let mut head = [0; LOCAL_BYTES];
        read_exact_at(&*self.file, &mut head, entry.offset)?;
        let mut fields = Fields(&head);
        if fields.array() != signature::LOCAL {
            return Err(malformed("an entry has no local header"));
        }
        let [a, b, c, d] = head.last_chunk::<4>().copied().unwrap_or_default();
        let (name, extra) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
        let start = entry
            .offset
            .saturating_add(LOCAL_BYTES as u64)
            .saturating_add(u64::from(name))
            .saturating_add(u64::from(extra));
        let end = start.saturating_add(entry.compressed_bytes);
        if end > self.length {
            return Err(malformed("an entry is longer than the file"));
        }
        let section = BufReader::with_capacity(
            SECTION_BYTES,
            Section {
                file: Arc::clone(&self.file),
                position: start,
                end,
            },
        );
        let stream = if entry.method == STORED {
            Stream::Stored(section)
        } else {
            Stream::Deflated(DeflateDecoder::new(section))
        };
        Ok(EntryReader {
            inner: Bounded::new(stream, limits),
            crc: Crc::new(),
            expected: entry.crc,
        })
    }
}

/// The entries of an archive.
#[derive(Debug)]
pub struct Entries<F> {
    directory: BufReader<Section<F>>,
    rest_bytes: u64,
    before: u64,
    number: u64,
    entries_max: usize,
    name_bytes_max: usize,
}

impl<F: ReadAt> Entries<F> {
    fn read(&mut self) -> Result<Entry, ZipError> {
        let mut head = [0; CENTRAL_BYTES];
        self.take(&mut head)?;
        let mut fields = Fields(&head);
        if fields.array() != signature::CENTRAL {
            return Err(malformed("the directory holds something else than entries"));
        }
        let _versions = fields.u32();
        let (flags, method) = (fields.u16(), fields.u16());
        let _time = fields.u32();
        let crc = fields.u32();
        let (compressed, declared) = (fields.u32(), fields.u32());
        let (name, extra, comment) = (fields.u16(), fields.u16(), fields.u16());
        let _disk_and_kind = fields.u32();
        let mode = fields.u32() >> 16;
        let offset = fields.u32();
        if usize::from(name) > self.name_bytes_max {
            return Err(malformed("a name is too long"));
        }
        let name = self.take_vec(name)?;
        let extra = self.take_vec(extra)?;
        let _comment = self.take_vec(comment)?;
        let mut large = extra_64(&extra);
        let mut wide = |number: u32| {
            if number == IN_EXTRA {
                large
                    .next_u64()
                    .ok_or(malformed("a ZIP64 field is missing"))
            } else {
                Ok(u64::from(number))
            }
        };
        // In this order, each only where it does not fit (4.5.3).
        let (declared_bytes, compressed_bytes) = (wide(declared)?, wide(compressed)?);
        let offset = wide(offset)?.saturating_add(self.before);
        Ok(Entry {
            number: self.number,
            name,
            compressed_bytes,
            declared_bytes,
            crc,
            flags,
            method,
            offset,
            mode,
        })
    }

    fn take(&mut self, buffer: &mut [u8]) -> Result<(), ZipError> {
        let rest = self.rest_bytes.checked_sub(buffer.len() as u64);
        self.rest_bytes = rest.ok_or(malformed("the directory ends in the middle"))?;
        self.directory.read_exact(buffer).map_err(ZipError::Io)
    }

    fn take_vec(&mut self, length: u16) -> Result<Vec<u8>, ZipError> {
        let mut bytes = vec![0; usize::from(length)];
        self.take(&mut bytes)?;
        Ok(bytes)
    }
}

impl<F: ReadAt> Iterator for Entries<F> {
    type Item = Result<Entry, ZipError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest_bytes == 0 {
            return None;
        }
        let entry = if usize::try_from(self.number).is_ok_and(|count| count < self.entries_max) {
            self.read()
        } else {
            let limit = self.entries_max;
            Err(ZipError::TooMany { limit })
        };
        self.number = self.number.saturating_add(1);
        if entry.is_err() {
            self.rest_bytes = 0;
        }
        Some(entry)
    }
}

/// Where the central directory is.
struct End {
    directory_end: u64,
    directory_bytes: u64,
    directory_offset: u64,
}

impl End {
    fn find(file: &impl ReadAt, length: u64) -> Result<Self, ZipError> {
        let most = (END_BYTES + COMMENT_BYTES_MAX) as u64;
        let start = length.saturating_sub(most);
        let tail_bytes = usize::try_from(length.saturating_sub(start)).unwrap_or(0);
        let mut tail = vec![0; tail_bytes];
        read_exact_at(file, &mut tail, start)?;
        let is_end = |window: &&[u8]| {
            let comment = window.get(END_BYTES - 2..END_BYTES);
            let comment = comment.and_then(|bytes| bytes.first_chunk::<2>().copied());
            let comment = usize::from(u16::from_le_bytes(comment.unwrap_or_default()));
            window.starts_with(&signature::END) && window.len() == END_BYTES + comment
        };
        let ends = (0..tail.len()).rev().filter_map(|at| tail.get(at..));
        let end = ends
            .clone()
            .find(is_end)
            .ok_or(malformed("it has no end of the directory"))?;
        let at = length.saturating_sub(end.len() as u64);
        let mut fields = Fields(end.get(4..).unwrap_or_default());
        let (disk, disk_of_directory) = (fields.u16(), fields.u16());
        let (_count_here, _count) = (fields.u16(), fields.u16());
        let (bytes, offset) = (fields.u32(), fields.u32());
        if let Some(end) = Self::find_64(file, at)? {
            return Ok(end);
        }
        if disk != 0 || disk_of_directory != 0 {
            return Err(malformed("it is spread over several files"));
        }
        Ok(Self {
            directory_end: at,
            directory_bytes: u64::from(bytes),
            directory_offset: u64::from(offset),
        })
    }

    /// The ZIP64 end, whose locator stands before the ordinary end at `end_at`.
    fn find_64(file: &impl ReadAt, end_at: u64) -> Result<Option<Self>, ZipError> {
        let Some(locator_at) = end_at.checked_sub(LOCATOR_BYTES as u64) else {
            return Ok(None);
        };
        let mut locator = [0; LOCATOR_BYTES];
        read_exact_at(file, &mut locator, locator_at)?;
        let mut fields = Fields(&locator);
        if fields.array() != signature::END_64_LOCATOR {
            return Ok(None);
        }
        let _disk = fields.u32();
        let declared_at = fields.u64();
        // Where something stands before the archive, it stands that much later.
        let directly_before = locator_at.checked_sub(END_64_BYTES as u64);
        for at in [Some(declared_at), directly_before].into_iter().flatten() {
            let mut end = [0; END_64_BYTES];
            if at > locator_at.saturating_sub(END_64_BYTES as u64)
                || read_exact_at(file, &mut end, at).is_err()
            {
                continue;
            }
            let mut fields = Fields(&end);
            if fields.array() != signature::END_64 {
                continue;
            }
            let (_size, _versions, _disks) = (fields.u64(), fields.u32(), fields.u64());
            let (_count_here, _count) = (fields.u64(), fields.u64());
            return Ok(Some(Self {
                directory_end: at,
                directory_bytes: fields.u64(),
                directory_offset: fields.u64(),
            }));
        }
        Err(malformed("its ZIP64 end is missing"))
    }
}

/// Numbers, one after the other; zeros behind the end.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> [u8; N] {
        let Some((array, rest)) = self.0.split_first_chunk::<N>() else {
            self.0 = &[];
            return [0; N];
        };
        self.0 = rest;
        *array
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    fn next_u64(&mut self) -> Option<u64> {
        (self.0.len() >= 8).then(|| self.u64())
    }
}

/// The content of the ZIP64 extra field; empty where there is none.
fn extra_64(extra: &[u8]) -> Fields<'_> {
    let mut rest = extra;
    while let Some(([a, b, c, d], after)) = rest.split_first_chunk::<4>() {
        let length = usize::from(u16::from_le_bytes([*c, *d]));
        let content = after.get(..length).unwrap_or(after);
        if u16::from_le_bytes([*a, *b]) == EXTRA_64 {
            return Fields(content);
        }
        rest = after.get(length..).unwrap_or_default();
    }
    Fields(&[])
}

const fn malformed(what: &'static str) -> ZipError {
    ZipError::Malformed { what }
}

fn read_exact_at(file: &impl ReadAt, buffer: &mut [u8], offset: u64) -> Result<(), ZipError> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let at = offset.saturating_add(done as u64);
        match file.read_at(rest, at) {
            Ok(0) => return Err(malformed("it ends early")),
            Ok(count) => done = done.saturating_add(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(ZipError::Io(error)),
        }
    }
    Ok(())
}

/// A range of a file, read from its beginning.
#[derive(Debug)]
struct Section<F> {
    file: Arc<F>,
    position: u64,
    end: u64,
}

impl<F: ReadAt> Read for Section<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = self.end.saturating_sub(self.position);
        let most = usize::try_from(rest)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let buffer = buffer.get_mut(..most).unwrap_or_default();
        let count = self.file.read_at(buffer, self.position)?;
        self.position = self.position.saturating_add(count as u64);
        Ok(count)
    }
}

impl<F: ReadAt> Inflating for Stream<F> {
    fn bytes_in(&self) -> u64 {
        match self {
            Self::Deflated(stream) => stream.total_in(),
            Self::Stored(_) => u64::MAX,
        }
    }
}

/// The content of an entry, as it is read.
#[derive(Debug)]
pub struct EntryReader<F> {
    inner: Bounded<Stream<F>>,
    crc: Crc,
    expected: u32,
}

#[derive(Debug)]
enum Stream<F> {
    Deflated(DeflateDecoder<BufReader<Section<F>>>),
    Stored(BufReader<Section<F>>),
}

impl<F: ReadAt> Read for Stream<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Deflated(stream) => stream.read(buffer),
            Self::Stored(stream) => stream.read(buffer),
        }
    }
}

impl<F: ReadAt> Read for EntryReader<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = self.inner.read(buffer)?;
        self.crc.update(buffer.get(..count).unwrap_or_default());
        if count == 0 && self.crc.sum() != self.expected {
            return Err(io::Error::other(ZipError::Checksum));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
