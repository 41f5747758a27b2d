//! What stands in the 128 bytes before a DICOM file (PS3.10 7.1), which can make it a program.
//!
//! It is never stored: files leave this archive with a preamble of zeros, whatever they came with.
//! One that is neither empty nor that of a TIFF file is worth an alarm.

use pacs_store::Digester;

/// Bytes of a preamble.
const PREAMBLE_BYTES: usize = 128;

/// Beginnings of what PS3.10 7.1 has in mind: TIFF in both byte orders, and the big one.
const TIFF: [&[u8]; 4] = [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"];

/// Beginnings of programs.
const PROGRAMS: [(&[u8], &str); 7] = [
    (b"MZ", "PE"),
    (b"\x7fELF", "ELF"),
    (b"\xfe\xed\xfa", "Mach-O"),
    (b"\xcf\xfa\xed\xfe", "Mach-O"),
    (b"\xce\xfa\xed\xfe", "Mach-O"),
    (b"\xca\xfe\xba\xbe", "Mach-O"),
    (b"#!", "script"),
];

/// What `file` begins with, where that is worth an alarm.
pub(super) fn suspicion(file: &[u8]) -> Option<&'static str> {
    let (preamble, rest) = file.split_at_checked(PREAMBLE_BYTES)?;
    let is_harmless = preamble.iter().all(|byte| *byte == 0)
        || TIFF.iter().any(|magic| preamble.starts_with(magic));
    if !rest.starts_with(b"DICM") || is_harmless {
        return None;
    }
    let program = PROGRAMS
        .iter()
        .find(|(magic, _)| preamble.starts_with(magic));
    Some(program.map_or("unknown", |(_, name)| name))
}

/// Tells of the preamble of `file` in the log, without its bytes: they may be anything.
pub(super) fn alarm(file: &[u8], caller: &pacs_core::Caller) {
    let Some(kind) = suspicion(file) else {
        return;
    };
    let mut digester = Digester::new();
    digester.update(file.get(..PREAMBLE_BYTES).unwrap_or_default());
    tracing::error!(
        alarm = "preamble",
        kind,
        preamble_digest = ?digester.finish(),
        ?caller,
        "a file came with something else than zeros or TIFF in its preamble; zeros are kept"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_from_empty_preambles_and_tiff() {
        for (magic, kind) in [
            (b"MZ\x90".as_slice(), Some("PE")),
            (b"\x7fELF", Some("ELF")),
            (b"\xcf\xfa\xed\xfe", Some("Mach-O")),
            (b"#!/bin/sh", Some("script")),
            (b"x", Some("unknown")),
            (b"", None),
            (b"II*\0", None),
            (b"MM\0*", None),
            (b"II+\0", None),
        ] {
            let mut file = magic.to_vec();
            file.resize(PREAMBLE_BYTES, 0);
            file.extend_from_slice(b"DICM");
            assert_eq!(suspicion(&file), kind, "{magic:?}");
        }
        assert_eq!(suspicion(b"MZ"), None, "no file");
        assert_eq!(
            suspicion(&[b'M'; 200]),
            None,
            "a bare data set has no preamble"
        );
    }
}
