//! What stands before a data set in a Part 10 file (PS3.10 7.1).

use pacs_core::scan::file::file_meta;
use pacs_core::{SopClassUid, SopInstanceUid, TransferSyntaxUid};

/// Zeros, then `DICM`.
const PREAMBLE_BYTES: usize = 128;

/// Where File Meta Information Group Length (0002,0000) has its value.
const GROUP_LENGTH_AT: usize = PREAMBLE_BYTES + 4 + 8;

/// Longest preamble and File Meta Information that is read back: ours have some 400 bytes.
pub(crate) const LEAD_BYTES_MAX: usize = 4_096;

/// Preamble and File Meta Information for an instance.
pub(crate) fn lead(
    class: &SopClassUid,
    instance: &SopInstanceUid,
    syntax: &TransferSyntaxUid,
) -> Vec<u8> {
    file_meta(class, instance, syntax)
}

/// How much of `file` stands before the data set; `None` where that is not to be seen.
pub(crate) fn lead_bytes(file: &[u8]) -> Option<usize> {
    let fixed = file.get(PREAMBLE_BYTES..GROUP_LENGTH_AT)?;
    if fixed != b"DICM\x02\x00\x00\x00UL\x04\x00" {
        return None;
    }
    let value = file.get(GROUP_LENGTH_AT..GROUP_LENGTH_AT + 4)?;
    let length = u32::from_le_bytes(value.try_into().ok()?);
    let all = usize::try_from(length)
        .ok()?
        .checked_add(GROUP_LENGTH_AT + 4)?;
    (all <= LEAD_BYTES_MAX).then_some(all)
}
