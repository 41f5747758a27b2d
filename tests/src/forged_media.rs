//! Media that are not what they say: ZIP archives and DICOMDIRs with a trick in them, deflated data
//! sets that do not end, preambles that are programs.

use flate2::{Compress, Compression, Crc, FlushCompress};

use std::path::Path;

use base64ct::{Base64, Encoding as _};
use serde_json::Value;

use crate::drill;
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
    let stream = bursting(&Slice::new(1, 1).file(), megabytes);
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

/// A deflated stream (RFC 1951) of `beginning` and then `megabytes` of zeros: a thousandth of that.
fn bursting(beginning: &[u8], megabytes: usize) -> Vec<u8> {
    let mut compress = Compress::new(Compression::best(), false);
    let mut stream = Vec::new();
    let mut deflate = |bytes: &[u8], flush| {
        let mut part = Vec::with_capacity(bytes.len() + 1024);
        compress
            .compress_vec(bytes, &mut part, flush)
            .expect("it deflates");
        part
    };
    stream.extend(deflate(beginning, FlushCompress::Full));
    // After a full flush a block stands for itself and can be said again.
    let zeros = deflate(&vec![0; 1 << 20], FlushCompress::Full);
    stream.extend(zeros.repeat(megabytes));
    stream.extend(deflate(&[], FlushCompress::Finish));
    stream
}

/// Where a deflated data set bursts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Burst {
    /// Before the UID of its study, so that its head cannot be read without it.
    BeforeStudy,
    /// In its pixel data.
    InPixelData,
}

/// The data set of `slice`, deflated, with an element in it that inflates to a gibibyte.
///
/// # Panics
/// When it does not deflate.
#[must_use]
pub fn deflate_bomb(slice: &Slice, burst: Burst) -> Vec<u8> {
    let mut head = Vec::new();
    match burst {
        Burst::BeforeStudy => {
            samples::text(&mut head, 0x0008_0016, "UI", uid::CT_IMAGE_STORAGE);
            samples::text(&mut head, 0x0008_0018, "UI", &slice.instance);
            head.extend_from_slice(b"\x09\x00\x01\x10OB\0\0\0\0\0\x40");
        }
        Burst::InPixelData => {
            // It says how large its picture is, and so may be asked for one.
            let mut whole = slice.data_set();
            whole.truncate(whole.len() - usize::from(slice.side).pow(2) * 2 - 12);
            head.extend(whole);
            head.extend_from_slice(b"\xE0\x7F\x10\x00OW\0\0\0\0\0\x40");
        }
    }
    bursting(&head, 1024)
}

/// What programs begin with (PS3.10 7.5), and what they are called. A TIFF behind a program makes
/// no TIFF of it.
pub const PROGRAMS: [(&str, &[u8]); 11] = [
    ("PE", b"MZ\x90\0"),
    ("PE", b"MZII*\0"),
    ("PE", b"MZ\x90\0MM\0*"),
    ("ELF", b"\x7fELF\x02\x01\x01"),
    ("Mach-O", b"\xfe\xed\xfa\xce"),
    ("Mach-O", b"\xfe\xed\xfa\xcf"),
    ("Mach-O", b"\xce\xfa\xed\xfe"),
    ("Mach-O", b"\xcf\xfa\xed\xfe"),
    ("Mach-O", b"\xca\xfe\xba\xbe"),
    ("script", b"#!/bin/sh\n"),
    ("unknown", b"\0\0anything"),
];

/// A preamble that begins so, and has something in its last byte too.
#[must_use]
pub fn program(magic: &[u8]) -> [u8; 128] {
    let mut preamble = [0; 128];
    preamble[..magic.len()].copy_from_slice(magic);
    preamble[127] = 0x7F;
    preamble
}

/// `file` with another preamble.
#[must_use]
pub fn with_preamble(file: &[u8], preamble: &[u8; 128]) -> Vec<u8> {
    [preamble, &file[128..]].concat()
}

/// A record of the audit trail that tells of a program in a preamble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldOfProgram(Value);

impl ToldOfProgram {
    /// It tells that `actor` (kind and name) brought this one.
    ///
    /// # Panics
    /// When it does not.
    pub fn is_of(&self, name: &str, preamble: &[u8; 128], actor: (&str, &str)) {
        let event = &self.0;
        let reason = format!("{name} in preamble: {}", Base64::encode_string(preamble));
        assert_eq!(event["reason"], reason);
        assert_eq!(event["outcome"], "serious_failure");
        assert_eq!(event["actor"]["kind"], actor.0);
        assert_eq!(event["actor"]["name"].as_str().unwrap_or_default(), actor.1);
        let digest = |key: &str| event["change"][key].as_str().map(str::len);
        assert_eq!((digest("before"), digest("after")), (Some(64), Some(64)));
        assert_ne!(event["change"]["before"], event["change"]["after"]);
    }
}

/// What the audit trail of the archive in `data` tells of programs in preambles, by the SOP
/// Instance UID of each.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn said_of_programs(data: &Path) -> Vec<(String, ToldOfProgram)> {
    let data = data.to_str().expect("UTF-8");
    let words = ["--json", "audit", "list", "--count", "1000", "--data", data];
    let said = drill::done(&words);
    let records = said.lines().map(|line| {
        let mut line: Value = serde_json::from_str(line).expect("JSON");
        line["event"].take()
    });
    let alarms = records.filter(|event| event["act"] == "preamble_replaced");
    alarms
        .map(|event| {
            let instance = event["object"]["studies"][0]["instances"][0].as_str();
            (
                instance.unwrap_or_default().to_owned(),
                ToldOfProgram(event),
            )
        })
        .collect()
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
