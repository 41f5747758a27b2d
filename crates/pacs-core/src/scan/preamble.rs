//! What stands in the 128 bytes before a DICOM file (PS3.10 7.1), which can make it a program.
//!
//! It is never stored: files leave an archive with a preamble of zeros, whatever they came with.
//! One that is neither empty nor that of a TIFF file is worth an alarm, at every door where files
//! come in (PS3.10 7.5, the security considerations of the preamble).

use super::file::PREAMBLE_BYTES;
use std::fmt;

/// Beginnings of what PS3.10 7.1 has in mind: TIFF in both byte orders, and the big one.
const TIFF: [&[u8]; 4] = [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"];

/// Beginnings of programs.
const PROGRAMS: [(&[u8], &str); 8] = [
    (b"MZ", "PE"),
    (b"\x7fELF", "ELF"),
    (b"\xfe\xed\xfa\xce", "Mach-O"),
    (b"\xfe\xed\xfa\xcf", "Mach-O"),
    (b"\xce\xfa\xed\xfe", "Mach-O"),
    (b"\xcf\xfa\xed\xfe", "Mach-O"),
    (b"\xca\xfe\xba\xbe", "Mach-O"),
    (b"#!", "script"),
];

/// A preamble that is neither empty nor that of a TIFF file. `Debug` shows none of its bytes: they
/// may be anything.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SuspectPreamble {
    kind: &'static str,
    bytes: [u8; PREAMBLE_BYTES],
}

impl SuspectPreamble {
    /// The preamble of `file`, of which the first 132 bytes are enough, where it is worth an alarm.
    /// A TIFF begins with its magic: one that stands behind that of a program makes no TIFF of it.
    #[must_use]
    pub fn of(file: &[u8]) -> Option<Self> {
        let (bytes, rest) = file.split_first_chunk::<PREAMBLE_BYTES>()?;
        let is_harmless = bytes.iter().all(|byte| *byte == 0)
            || TIFF.iter().any(|magic| bytes.starts_with(magic));
        if !rest.starts_with(b"DICM") || is_harmless {
            return None;
        }
        let program = PROGRAMS.iter().find(|(magic, _)| bytes.starts_with(magic));
        Some(Self {
            kind: program.map_or("unknown", |(_, name)| name),
            bytes: *bytes,
        })
    }

    /// What it makes of the file: `PE`, `ELF`, `Mach-O`, `script`, or `unknown`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        self.kind
    }

    /// The bytes that zeros take the place of.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; PREAMBLE_BYTES] {
        &self.bytes
    }
}

impl fmt::Debug for SuspectPreamble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SuspectPreamble")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(magic: &[u8]) -> Vec<u8> {
        let mut file = magic.to_vec();
        file.resize(PREAMBLE_BYTES, 0);
        file.extend_from_slice(b"DICM");
        file
    }

    #[test]
    fn programs_are_told_from_empty_preambles_and_tiff() {
        for (magic, kind) in [
            (b"MZ\x90".as_slice(), Some("PE")),
            (b"MZII*\0", Some("PE")),
            (b"MZ\x90\0MM\0*", Some("PE")),
            (b"\x7fELF", Some("ELF")),
            (b"\xfe\xed\xfa\xce", Some("Mach-O")),
            (b"\xfe\xed\xfa\xcf", Some("Mach-O")),
            (b"\xce\xfa\xed\xfe", Some("Mach-O")),
            (b"\xcf\xfa\xed\xfe", Some("Mach-O")),
            (b"\xca\xfe\xba\xbe", Some("Mach-O")),
            (b"#!/bin/sh", Some("script")),
            (b"x", Some("unknown")),
            (b"\0\0\0\0II*\0", Some("unknown")),
            (b"", None),
            (b"II*\0", None),
            (b"MM\0*", None),
            (b"II+\0", None),
            (b"MM\0+", None),
        ] {
            let suspect = SuspectPreamble::of(&file(magic));
            assert_eq!(suspect.map(|it| it.kind()), kind, "{magic:?}");
        }
        assert_eq!(SuspectPreamble::of(b"MZ"), None, "no file");
        let bare = [b'M'; 200];
        assert_eq!(SuspectPreamble::of(&bare), None, "it has no preamble");
    }

    #[test]
    fn its_bytes_are_kept_and_not_shown() {
        let suspect = SuspectPreamble::of(&file(b"#!CANARY")).unwrap();

        assert!(suspect.bytes().starts_with(b"#!CANARY\0"));
        let shown = format!("{suspect:?}");
        assert!(shown.contains("script") && !shown.contains("CANARY") && !shown.contains("67"));
    }
}
