//! The test data: its manifest, and each file split into what travels in a C-STORE.
//!
//! The data set is taken as the bytes of the file, whatever they are: nothing is decoded beyond
//! File Meta Information (PS3.10 7.1), and nothing is encoded again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::peers::files_below;
use crate::wire::{digest, uid};

/// What the manifest expects of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Stored and given back unchanged.
    Valid,
    /// Odd, and stored and given back unchanged all the same.
    OddAccept,
    /// Lacks an identity UID: refused with a clear status.
    Incomplete,
    /// Refused, or kept as sent.
    Malformed,
}

/// One file, ready to be sent.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The path below the folder of the test data; the name used in messages.
    pub name: String,
    /// What the manifest expects.
    pub expected: Expected,
    /// The SOP Class UID to announce; empty when the file has none.
    pub sop_class: String,
    /// The SOP Instance UID to announce; empty when the file has none.
    pub sop_instance: String,
    /// The transfer syntax of `data_set`.
    pub transfer_syntax: String,
    /// The data set, byte for byte as in the file.
    pub data_set: Vec<u8>,
}

/// Every storable file of the manifest below `folder`. DICOMDIRs are left out: they are files of
/// a medium, not instances.
///
/// # Panics
/// When the manifest or a file cannot be read.
#[must_use]
pub fn load(folder: &Path) -> Vec<Sample> {
    let manifest = std::fs::read_to_string(folder.join("MANIFEST.tsv")).expect("a manifest");
    manifest
        .lines()
        .skip(1)
        .filter_map(|line| sample(folder, line))
        .collect()
}

/// Every file below `folder` that is to be kept, in rounds: each has a SOP Instance UID once, as a
/// server does.
///
/// # Panics
/// When the manifest or a file cannot be read.
#[must_use]
pub fn rounds(folder: &Path) -> Vec<Vec<Sample>> {
    let mut rounds: Vec<Vec<Sample>> = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for sample in load(folder) {
        if !matches!(sample.expected, Expected::Valid | Expected::OddAccept) {
            continue;
        }
        let round = seen.entry(sample.sop_instance.clone()).or_default();
        if rounds.len() == *round {
            rounds.push(Vec::new());
        }
        rounds[*round].push(sample);
        *round += 1;
    }
    rounds
}

fn sample(folder: &Path, line: &str) -> Option<Sample> {
    let columns: Vec<&str> = line.split('\t').collect();
    let expected = match columns[3] {
        "valid" => Expected::Valid,
        "odd-accept" => Expected::OddAccept,
        "incomplete" => Expected::Incomplete,
        "malformed" => Expected::Malformed,
        _ => return None,
    };
    let path: PathBuf = folder.join(columns[0]);
    if path.file_name()?.to_str()?.starts_with("DICOMDIR") {
        return None;
    }
    let file = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let parts = Parts::of(&file);
    Some(Sample {
        name: columns[0].to_owned(),
        expected,
        sop_class: first_of(columns[6], parts.sop_class),
        sop_instance: first_of(columns[15], parts.sop_instance),
        transfer_syntax: first_of(&parts.transfer_syntax, columns[7].to_owned()),
        data_set: file[parts.data_set_offset..].to_vec(),
    })
}

fn first_of(preferred: &str, otherwise: String) -> String {
    if preferred.is_empty() {
        otherwise
    } else {
        preferred.to_owned()
    }
}

/// A Part 10 file taken apart, as far as it is one.
#[derive(Debug, Default)]
pub struct Parts {
    /// (0002,0002), or empty.
    pub sop_class: String,
    /// (0002,0003), or empty.
    pub sop_instance: String,
    /// (0002,0010), or what the first bytes of a bare data set show.
    pub transfer_syntax: String,
    /// Where the data set begins.
    pub data_set_offset: usize,
}

impl Parts {
    /// Reads preamble and File Meta Information of `file`; without them all of it is data set.
    #[must_use]
    pub fn of(file: &[u8]) -> Self {
        let has_preamble = file.get(128..132) == Some(b"DICM");
        let mut at = if has_preamble { 132 } else { 0 };
        let mut parts = Self::default();
        while let Some((element, value, next)) = meta_element(file, at) {
            let text = || {
                String::from_utf8_lossy(value)
                    .trim_end_matches(['\0', ' '])
                    .to_owned()
            };
            match element {
                0x0002 => parts.sop_class = text(),
                0x0003 => parts.sop_instance = text(),
                0x0010 => parts.transfer_syntax = text(),
                _ => {}
            }
            at = next;
        }
        parts.data_set_offset = at;
        if parts.transfer_syntax.is_empty() {
            parts.transfer_syntax = guessed_syntax(&file[at..]).to_owned();
        }
        parts
    }
}

/// The element number, value and end of the group 0002 element at `at` (Explicit VR LE).
fn meta_element(file: &[u8], at: usize) -> Option<(u16, &[u8], usize)> {
    let head = file.get(at..at + 8)?;
    if head[..2] != [2, 0] || !head[4].is_ascii_uppercase() {
        return None;
    }
    let element = u16::from_le_bytes([head[2], head[3]]);
    let (start, length) = if matches!(&head[4..6], b"OB" | b"OW" | b"UN" | b"SQ" | b"UT") {
        let long = file.get(at + 8..at + 12)?;
        (at + 12, u32::from_le_bytes(long.try_into().ok()?) as usize)
    } else {
        (at + 8, usize::from(u16::from_le_bytes([head[6], head[7]])))
    };
    let value = file.get(start..start.checked_add(length)?)?;
    Some((element, value, start + length))
}

fn guessed_syntax(data_set: &[u8]) -> &'static str {
    match data_set.get(..6) {
        Some([0, group, _, _, vr, _]) if *group != 0 && vr.is_ascii_uppercase() => {
            uid::EXPLICIT_BIG_ENDIAN
        }
        Some([_, _, _, _, vr, second])
            if vr.is_ascii_uppercase() && second.is_ascii_uppercase() =>
        {
            uid::EXPLICIT_LITTLE_ENDIAN
        }
        _ => uid::IMPLICIT_LITTLE_ENDIAN,
    }
}

/// The digests of the data sets of all files below `folder`, sorted.
///
/// # Panics
/// When one cannot be read.
#[must_use]
pub fn digests_below(folder: &Path) -> Vec<String> {
    let mut digests: Vec<String> = files_below(folder)
        .iter()
        .map(|path| std::fs::read(path).expect("a file"))
        .map(|file| digest(&file[Parts::of(&file).data_set_offset..]))
        .collect();
    digests.sort();
    digests
}
