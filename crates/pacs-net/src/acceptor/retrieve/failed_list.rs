//! The identifier of a final response: Failed SOP Instance UID List (0008,0058), PS3.4 C.4.2.1.4.2.

use crate::sop_class::{
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN,
};
use pacs_core::{SopInstanceUid, TransferSyntaxUid};

/// Longest value of an element with a 16-bit length, even.
const VALUE_BYTES_MAX: usize = 65_534;

/// Encodes as many UIDs as one element holds.
pub(super) fn encode(uids: &[SopInstanceUid], transfer_syntax: &TransferSyntaxUid) -> Vec<u8> {
    let mut value = String::new();
    for uid in uids {
        let longer = value.len().saturating_add(uid.as_str().len());
        if longer.saturating_add(2) > VALUE_BYTES_MAX {
            break;
        }
        if !value.is_empty() {
            value.push('\\');
        }
        value.push_str(uid.as_str());
    }
    if value.len() % 2 == 1 {
        value.push('\0');
    }
    // The value fits 16 bits, by the limit above.
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    let head = match transfer_syntax.as_str() {
        IMPLICIT_VR_LITTLE_ENDIAN => {
            let length = u32::from(length).to_le_bytes();
            [&[0x08, 0x00, 0x58, 0x00][..], &length].concat()
        }
        EXPLICIT_VR_BIG_ENDIAN => [
            &[0x00, 0x08, 0x00, 0x58, b'U', b'I'][..],
            &length.to_be_bytes(),
        ]
        .concat(),
        _ => [
            &[0x08, 0x00, 0x58, 0x00, b'U', b'I'][..],
            &length.to_le_bytes(),
        ]
        .concat(),
    };
    let data_set = [&head[..], value.as_bytes()].concat();
    if transfer_syntax.as_str() == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN {
        stored_blocks(&data_set)
    } else {
        data_set
    }
}

/// A deflate stream (RFC 1951 3.2.4) that does not compress: a list of UIDs is rare and short.
fn stored_blocks(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len().saturating_add(16));
    let mut blocks = bytes.chunks(usize::from(u16::MAX)).peekable();
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.push(u8::from(blocks.peek().is_none()));
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(block);
    }
    if out.len() % 2 == 1 {
        out.push(0);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uids(count: usize) -> Vec<SopInstanceUid> {
        let uid = |at| SopInstanceUid::parse(&format!("1.2.{at}")).unwrap();
        (1..=count).map(uid).collect()
    }

    fn encoded(count: usize, transfer_syntax: &str) -> Vec<u8> {
        let transfer_syntax = TransferSyntaxUid::parse(transfer_syntax).unwrap();
        encode(&uids(count), &transfer_syntax)
    }

    #[test]
    fn each_transfer_syntax_has_its_element() {
        assert_eq!(
            encoded(2, IMPLICIT_VR_LITTLE_ENDIAN),
            b"\x08\0\x58\0\x0c\0\0\x001.2.1\\1.2.2\0"
        );
        assert_eq!(
            encoded(2, "1.2.840.10008.1.2.1"),
            b"\x08\0\x58\0UI\x0c\x001.2.1\\1.2.2\0"
        );
        assert_eq!(
            encoded(2, EXPLICIT_VR_BIG_ENDIAN),
            b"\0\x08\0\x58UI\0\x0c1.2.1\\1.2.2\0"
        );
        assert_eq!(
            encoded(2, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN),
            b"\x01\x14\0\xeb\xff\x08\0\x58\0UI\x0c\x001.2.1\\1.2.2\0\0"
        );
    }

    #[test]
    fn a_long_list_ends_at_a_whole_uid() {
        let bytes = encoded(20_000, "1.2.840.10008.1.2.1");

        assert!(bytes.len() <= 8 + VALUE_BYTES_MAX);
        let text = String::from_utf8(bytes[8..].to_vec()).unwrap();
        let listed: Vec<&str> = text.trim_end_matches('\0').split('\\').collect();
        assert!(listed.len() > 5_000);
        assert_eq!(listed.last().unwrap(), &format!("1.2.{}", listed.len()));
    }
}
