//! Writes a ZIP archive, entry by entry, to something that can seek.
//!
//! Lengths are filled in behind each entry, so that readers without the directory find them too;
//! entries of which it is not known that they stay below 4 GiB carry the ZIP64 field.

use super::signature;
use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};
use std::io::{self, Seek, SeekFrom, Write};

/// Version needed to extract: 2.0, or 4.5 with ZIP64 (4.4.3).
const VERSION: u16 = 20;
const VERSION_64: u16 = 45;

/// Made on Unix, by the same version.
const MADE_BY: u16 = 3 << 8 | VERSION_64;

/// A regular file, readable by all.
const MODE: u32 = 0o100_644 << 16;

/// Bit 11 of the flags: the name is UTF-8.
const UTF_8: u16 = 1 << 11;

/// 1980-01-01, the first day there is (4.4.6).
const DATE: u16 = 1 << 5 | 1;

/// In place of a number that stands in the ZIP64 field.
const IN_EXTRA: u32 = 0xFFFF_FFFF;
const COUNT_IN_64: u16 = 0xFFFF;

/// Below this a file surely fits into 32 bits: deflating can make it longer by a few bytes in each
/// block.
const SMALL_BYTES: u64 = 0xF000_0000;

/// Bytes of the ZIP64 field of a local header.
const EXTRA_BYTES: u16 = 20;

/// Where the checksum stands in a local header.
const CRC_OFFSET: u64 = 14;

/// Writes an archive. One that is dropped without [`ZipWriter::finish`] is not whole.
pub struct ZipWriter<W: Write + Seek> {
    out: Option<Out<W>>,
    /// Where the next byte goes.
    position: u64,
    entries: Vec<Written>,
    open: Option<Open>,
}

impl<W: Write + Seek> std::fmt::Debug for ZipWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.entries.len();
        f.debug_struct("ZipWriter")
            .field("entries", &count)
            .finish_non_exhaustive()
    }
}

enum Out<W: Write> {
    Deflated(DeflateEncoder<Counted<W>>),
    Plain(Counted<W>),
}

struct Counted<W> {
    inner: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.bytes = self.bytes.saturating_add(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

struct Open {
    entry: Written,
    crc: Crc,
    length: u64,
}

struct Written {
    name: String,
    is_deflated: bool,
    is_large: bool,
    crc: u32,
    compressed_bytes: u64,
    bytes: u64,
    offset: u64,
}

impl<W: Write + Seek> ZipWriter<W> {
    /// Begins an archive where `out` stands.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(mut out: W) -> io::Result<Self> {
        let position = out.stream_position()?;
        Ok(Self {
            out: Some(Out::Plain(Counted {
                inner: out,
                bytes: 0,
            })),
            position,
            entries: Vec::new(),
            open: None,
        })
    }

    /// Begins the file `name` (with `/` between folders); one that is open ends. `bytes_max` is
    /// what it will not be longer than, if that is known.
    ///
    /// # Errors
    /// Those of what is written to.
    pub fn begin(&mut self, name: &str, deflate: bool, bytes_max: Option<u64>) -> io::Result<()> {
        self.end()?;
        let length = u16::try_from(name.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let is_small = |bytes: u64| bytes < SMALL_BYTES;
        let entry = Written {
            name: name.to_owned(),
            is_deflated: deflate,
            is_large: !bytes_max.is_some_and(is_small),
            crc: 0,
            compressed_bytes: 0,
            bytes: 0,
            offset: self.position,
        };
        let mut head = Vec::with_capacity(64);
        head.extend_from_slice(&signature::LOCAL);
        entry.common(&mut head, 0, 0);
        let extra = if entry.is_large { EXTRA_BYTES } else { 0 };
        head.extend_from_slice(&length.to_le_bytes());
        head.extend_from_slice(&extra.to_le_bytes());
        head.extend_from_slice(name.as_bytes());
        if entry.is_large {
            extra_64(&mut head, &[0, 0]);
        }
        let mut out = self.plain()?;
        out.inner.write_all(&head)?;
        self.position = self.position.saturating_add(head.len() as u64);
        out.bytes = 0;
        self.out = Some(if deflate {
            Out::Deflated(DeflateEncoder::new(out, Compression::fast()))
        } else {
            Out::Plain(out)
        });
        self.open = Some(Open {
            entry,
            crc: Crc::new(),
            length: 0,
        });
        Ok(())
    }

    /// Ends the open file, if there is one.
    ///
    /// # Errors
    /// Those of what is written to.
    pub fn end(&mut self) -> io::Result<()> {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        let mut out = match self.out.take() {
            Some(Out::Deflated(encoder)) => encoder.finish()?,
            Some(Out::Plain(out)) => out,
            None => return Err(io::ErrorKind::BrokenPipe.into()),
        };
        let mut entry = open.entry;
        entry.crc = open.crc.sum();
        entry.bytes = open.length;
        entry.compressed_bytes = out.bytes;
        self.position = self.position.saturating_add(out.bytes);
        let is_too_long = entry.bytes.max(entry.compressed_bytes) >= u64::from(IN_EXTRA);
        if is_too_long && !entry.is_large {
            return Err(io::Error::other("a file is longer than it was announced"));
        }
        // What was left open at the beginning.
        let mut sizes = entry.crc.to_le_bytes().to_vec();
        if entry.is_large {
            // Behind the fixed part, the name, and the head of the field.
            let at = entry.offset.saturating_add(30 + 4);
            let at = at.saturating_add(entry.name.len() as u64);
            out.inner.seek(SeekFrom::Start(at))?;
            out.inner.write_all(&entry.bytes.to_le_bytes())?;
            out.inner.write_all(&entry.compressed_bytes.to_le_bytes())?;
            sizes.extend_from_slice(&[0xFF; 8]);
        } else {
            sizes.extend_from_slice(&narrow(entry.compressed_bytes).to_le_bytes());
            sizes.extend_from_slice(&narrow(entry.bytes).to_le_bytes());
        }
        let at = entry.offset.saturating_add(CRC_OFFSET);
        out.inner.seek(SeekFrom::Start(at))?;
        out.inner.write_all(&sizes)?;
        out.inner.seek(SeekFrom::Start(self.position))?;
        self.out = Some(Out::Plain(out));
        self.entries.push(entry);
        Ok(())
    }

    /// Forgets the open file, if there is one: the next takes its place.
    ///
    /// # Errors
    /// Those of what is written to.
    pub fn abandon(&mut self) -> io::Result<()> {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        let mut out = match self.out.take() {
            Some(Out::Deflated(encoder)) => encoder.finish()?,
            Some(Out::Plain(out)) => out,
            None => return Err(io::ErrorKind::BrokenPipe.into()),
        };
        self.position = open.entry.offset;
        out.inner.seek(SeekFrom::Start(self.position))?;
        self.out = Some(Out::Plain(out));
        Ok(())
    }

    /// Writes the directory, and gives back what was written to, standing at the end: where files
    /// were abandoned, something may stand behind that.
    ///
    /// # Errors
    /// Those of what is written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.end()?;
        let mut out = self.plain()?.inner;
        let start = self.position;
        for entry in &self.entries {
            let record = entry.central();
            out.write_all(&record)?;
            self.position = self.position.saturating_add(record.len() as u64);
        }
        let bytes = self.position.saturating_sub(start);
        out.write_all(&end(start, bytes, self.entries.len() as u64))?;
        out.flush()?;
        Ok(out)
    }

    fn plain(&mut self) -> io::Result<Counted<W>> {
        match self.out.take() {
            Some(Out::Plain(out)) => Ok(out),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

/// Writes to the open file.
impl<W: Write + Seek> Write for ZipWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (Some(open), Some(out)) = (&mut self.open, &mut self.out) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let count = match out {
            Out::Deflated(encoder) => encoder.write(bytes)?,
            Out::Plain(out) => out.write(bytes)?,
        };
        open.crc.update(bytes.get(..count).unwrap_or_default());
        open.length = open.length.saturating_add(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Written {
    /// What local header and directory have in common, from the version to the lengths.
    fn common(&self, out: &mut Vec<u8>, compressed: u32, bytes: u32) {
        let version = if self.is_large { VERSION_64 } else { VERSION };
        let method: u16 = if self.is_deflated { 8 } else { 0 };
        for number in [version, UTF_8, method, 0, DATE] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.crc.to_le_bytes());
        out.extend_from_slice(&compressed.to_le_bytes());
        out.extend_from_slice(&bytes.to_le_bytes());
    }

    fn central(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        out.extend_from_slice(&signature::CENTRAL);
        out.extend_from_slice(&MADE_BY.to_le_bytes());
        let (compressed, bytes) = (narrow(self.compressed_bytes), narrow(self.bytes));
        self.common(&mut out, compressed, bytes);
        let offset = narrow(self.offset);
        let numbers = [
            (bytes, self.bytes),
            (compressed, self.compressed_bytes),
            (offset, self.offset),
        ];
        let wide: Vec<u64> = numbers
            .iter()
            .filter(|(narrow, _)| *narrow == IN_EXTRA)
            .map(|(_, wide)| *wide)
            .collect();
        let mut extra = Vec::new();
        if !wide.is_empty() {
            extra_64(&mut extra, &wide);
        }
        // Lengths of names were checked; an extra field is short.
        let length = |length: usize| u16::try_from(length).unwrap_or(0).to_le_bytes();
        out.extend_from_slice(&length(self.name.len()));
        out.extend_from_slice(&length(extra.len()));
        // Comment, disk, internal attributes.
        out.extend_from_slice(&[0; 6]);
        out.extend_from_slice(&MODE.to_le_bytes());
        out.extend_from_slice(&offset.to_le_bytes());
        out.extend_from_slice(self.name.as_bytes());
        out.extend_from_slice(&extra);
        out
    }
}

/// A number as 32 bits, or what says that it stands elsewhere.
fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(IN_EXTRA)
}

fn extra_64(out: &mut Vec<u8>, numbers: &[u64]) {
    let bytes = u16::try_from(numbers.len().saturating_mul(8)).unwrap_or(0);
    out.extend_from_slice(&1_u16.to_le_bytes());
    out.extend_from_slice(&bytes.to_le_bytes());
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

/// The end of the directory that begins at `start`, with its ZIP64 form where that is needed.
fn end(start: u64, bytes: u64, count: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let short_count = u16::try_from(count).unwrap_or(COUNT_IN_64);
    let is_large =
        short_count == COUNT_IN_64 || narrow(start) == IN_EXTRA || narrow(bytes) == IN_EXTRA;
    if is_large {
        let at = start.saturating_add(bytes);
        out.extend_from_slice(&signature::END_64);
        out.extend_from_slice(&44_u64.to_le_bytes());
        out.extend_from_slice(&MADE_BY.to_le_bytes());
        out.extend_from_slice(&VERSION_64.to_le_bytes());
        out.extend_from_slice(&[0; 8]);
        for number in [count, count, bytes, start] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&signature::END_64_LOCATOR);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&at.to_le_bytes());
        out.extend_from_slice(&1_u32.to_le_bytes());
    }
    out.extend_from_slice(&signature::END);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&short_count.to_le_bytes());
    out.extend_from_slice(&short_count.to_le_bytes());
    out.extend_from_slice(&narrow(bytes).to_le_bytes());
    out.extend_from_slice(&narrow(start).to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    out
}
