//! Command sets: group 0000, Implicit VR Little Endian, group length first (PS3.7 6.3.1).

use super::{Layout, Writer};
use crate::tag::{Tag, Vr};

/// Bytes of (0000,0000) with its value, which counts what follows it.
const GROUP_LENGTH_BYTES: usize = 12;

/// Writes a command set. The caller gives elements in ascending order of their tags.
#[derive(Debug, Clone)]
pub struct CommandWriter {
    bytes: Vec<u8>,
}

impl CommandWriter {
    /// A command set that holds its group length.
    #[must_use]
    pub fn new() -> Self {
        let mut bytes = Vec::with_capacity(256);
        Writer::new(&mut bytes, Layout::ImplicitLittle).ul(Tag(0, 0), 0);
        Self { bytes }
    }

    /// A UID, padded with NUL.
    pub fn uid(&mut self, tag: Tag, uid: &str) -> &mut Self {
        self.value(tag, Vr::UI, uid)
    }

    /// Text (AE, LO), padded with a space.
    pub fn text(&mut self, tag: Tag, text: &str) -> &mut Self {
        self.value(tag, Vr::LO, text)
    }

    /// An unsigned 16 bit number.
    pub fn us(&mut self, tag: Tag, value: u16) -> &mut Self {
        Writer::new(&mut self.bytes, Layout::ImplicitLittle).us(tag, value);
        self
    }

    /// An unsigned 32 bit number.
    pub fn ul(&mut self, tag: Tag, value: u32) -> &mut Self {
        Writer::new(&mut self.bytes, Layout::ImplicitLittle).ul(tag, value);
        self
    }

    /// Tags, as in Offending Element (0000,0901).
    pub fn at(&mut self, tag: Tag, values: &[Tag]) -> &mut Self {
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| [value.group().to_le_bytes(), value.element().to_le_bytes()])
            .flatten()
            .collect();
        self.bounded(tag, Vr::AT, &bytes, 0)
    }

    /// The command set, its group length filled in.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        let length = self.bytes.len().saturating_sub(GROUP_LENGTH_BYTES);
        // A command set holds a few dozen short values: it never comes near 4 GiB.
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        if let Some(place) = self.bytes.get_mut(8..GROUP_LENGTH_BYTES) {
            place.copy_from_slice(&length.to_le_bytes());
        }
        self.bytes
    }

    fn value(&mut self, tag: Tag, vr: Vr, text: &str) -> &mut Self {
        let padding = if vr == Vr::UI { 0 } else { b' ' };
        self.bounded(tag, vr, text.as_bytes(), padding)
    }

    /// No value of a command set is long; what is longer than a short length can say is cut, so
    /// that no text of ours can break a response.
    fn bounded(&mut self, tag: Tag, vr: Vr, bytes: &[u8], padding: u8) -> &mut Self {
        let even_max = usize::from(u16::MAX).saturating_sub(1);
        let bytes = bytes.get(..even_max).unwrap_or(bytes);
        let length = u16::try_from(bytes.len().next_multiple_of(2)).unwrap_or(u16::MAX);
        Writer::new(&mut self.bytes, Layout::ImplicitLittle).short_header(tag, vr, length);
        self.bytes.extend_from_slice(bytes);
        if bytes.len() % 2 == 1 {
            self.bytes.push(padding);
        }
        self
    }
}

impl Default for CommandWriter {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_length_counts_what_follows_it() {
        let mut command = CommandWriter::new();
        command
            .uid(Tag(0, 0x0002), "1.2.840.10008.1.1")
            .us(Tag(0, 0x0100), 0x8030)
            .us(Tag(0, 0x0800), 0x0101);

        let bytes = command.finish();

        assert_eq!(
            bytes,
            [
                b"\0\0\0\0\x04\0\0\0\x2e\0\0\0".as_slice(),
                b"\0\0\x02\0\x12\0\0\x001.2.840.10008.1.1\0",
                b"\0\0\0\x01\x02\0\0\0\x30\x80",
                b"\0\0\0\x08\x02\0\0\0\x01\x01",
            ]
            .concat()
        );
    }

    #[test]
    fn tags_and_text_have_their_own_forms() {
        let mut command = CommandWriter::new();
        command
            .text(Tag(0, 0x0600), "KRKL_WS")
            .at(Tag(0, 0x0901), &[Tag(0x0010, 0x0020)]);

        let bytes = command.finish();

        let tail = b"\0\0\0\x06\x08\0\0\0KRKL_WS \0\0\x01\x09\x04\0\0\0\x10\0\x20\0";
        assert!(bytes.ends_with(tail));
    }
}
