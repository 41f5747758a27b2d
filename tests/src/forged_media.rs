//! Media that are not what they say: ZIP archives and DICOMDIRs with a trick in them.

use flate2::{Compress, Compression, Crc, FlushCompress};

use crate::samples::{self, Slice};
use crate::wire::uid;

/// What `zip` makes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trick {
    /// Nothing.
    None,
    /// It says that it is encrypted.
    Encrypted,
    /// It is a symbolic link.
    Link,
    /// Its directory entry points at the first one's content.
    Overlap,
    /// It declares to be a thousand bytes.
    ForgedSize,
}

/// A ZIP archive of stored entries.
///
/// # Panics
/// When one is too long for the format.
#[must_use]
pub fn zip(entries: &[(&str, &[u8], Trick)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut directory = Vec::new();
    for (name, content, trick) in entries {
        let mut crc = Crc::new();
        crc.update(content);
        let offset = if *trick == Trick::Overlap {
            0
        } else {
            out.len()
        };
        let flags = u16::from(*trick == Trick::Encrypted);
        let declared = match trick {
            Trick::ForgedSize => 1000,
            _ => content.len(),
        };
        let common = entry(flags, 0, crc.sum(), (content.len(), declared), name);
        out.extend_from_slice(b"PK\x03\x04");
        out.extend_from_slice(&common);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(content);
        let mode: u32 = match trick {
            Trick::Link => 0o120_777,
            _ => 0o100_644,
        };
        central(&mut directory, &common, mode, offset, name);
    }
    end(&mut out, &directory, entries.len());
    out
}

fn entry(flags: u16, method: u16, crc: u32, sizes: (usize, usize), name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for number in [20, flags, method, 0, 33] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&crc.to_le_bytes());
    for size in [sizes.0, sizes.1] {
        out.extend_from_slice(&u32::try_from(size).expect("small").to_le_bytes());
    }
    let length = u16::try_from(name.len()).expect("short");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&[0, 0]);
    out
}

fn central(directory: &mut Vec<u8>, common: &[u8], mode: u32, offset: usize, name: &str) {
    directory.extend_from_slice(b"PK\x01\x02\x14\x03");
    directory.extend_from_slice(common);
    directory.extend_from_slice(&[0; 6]);
    directory.extend_from_slice(&(mode << 16).to_le_bytes());
    let offset = u32::try_from(offset).expect("small");
    directory.extend_from_slice(&offset.to_le_bytes());
    directory.extend_from_slice(name.as_bytes());
}

fn end(out: &mut Vec<u8>, directory: &[u8], count: usize) {
    let start = u32::try_from(out.len()).expect("small");
    out.extend_from_slice(directory);
    out.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    let count = u16::try_from(count).expect("few").to_le_bytes();
    out.extend_from_slice(&[count, count].concat());
    let length = u32::try_from(directory.len()).expect("small");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&start.to_le_bytes());
    out.extend_from_slice(&[0, 0]);
}

/// An archive whose only entry begins like an instance and goes on with `megabytes` of zeros.
///
/// # Panics
/// When it does not deflate.
#[must_use]
pub fn bomb(megabytes: usize) -> Vec<u8> {
    let mut compress = Compress::new(Compression::best(), false);
    let mut stream = Vec::new();
    let mut deflate = |bytes: &[u8], flush| {
        let mut part = Vec::with_capacity(bytes.len() + 1024);
        compress
            .compress_vec(bytes, &mut part, flush)
            .expect("it deflates");
        part
    };
    stream.extend(deflate(&Slice::new(1, 1).file(), FlushCompress::Full));
    let zeros = deflate(&vec![0; 1 << 20], FlushCompress::Full);
    stream.extend(zeros.repeat(megabytes));
    stream.extend(deflate(&[], FlushCompress::Finish));
    let name = "bomb.dcm";
    let common = entry(0, 8, 0, (stream.len(), stream.len()), name);
    let mut out = b"PK\x03\x04".to_vec();
    out.extend_from_slice(&common);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(&stream);
    let mut directory = Vec::new();
    central(&mut directory, &common, 0o100_644, 0, name);
    end(&mut out, &directory, 1);
    out
}

/// A DICOMDIR that names these files, with wrong offsets between its records.
///
/// # Panics
/// When a name is too long for the format.
#[must_use]
pub fn dicomdir(file_ids: &[&[u8]]) -> Vec<u8> {
    let mut records = Vec::new();
    for file_id in file_ids {
        let mut record = Vec::new();
        samples::short(&mut record, 0x0004_1400, "UL", &7_u32.to_le_bytes());
        samples::short(&mut record, 0x0004_1410, "US", &[0xFF, 0xFF]);
        samples::short(&mut record, 0x0004_1420, "UL", &7_u32.to_le_bytes());
        samples::text(&mut record, 0x0004_1430, "CS", "IMAGE");
        let mut padded = file_id.to_vec();
        padded.resize(padded.len().next_multiple_of(2), b' ');
        samples::short(&mut record, 0x0004_1500, "CS", &padded);
        records.extend_from_slice(&[0xFE, 0xFF, 0x00, 0xE0]);
        let length = u32::try_from(record.len()).expect("short");
        records.extend_from_slice(&length.to_le_bytes());
        records.extend_from_slice(&record);
    }
    let mut data_set = Vec::new();
    samples::text(&mut data_set, 0x0004_1130, "CS", "HOSTILE");
    samples::long(&mut data_set, 0x0004_1220, "SQ", &records);
    let class = "1.2.840.10008.1.3.10";
    samples::part10((class, "2.25.1"), uid::EXPLICIT_LITTLE_ENDIAN, &data_set)
}
