//! A gzip file (RFC 1952) of one member, put together of deflated documents that were made before,
//! of literal bytes, and of text that is deflated now.
//!
//! Members could be joined as they are; but browsers take the first for the whole. So the blocks of
//! all (RFC 1951 3.2.3) stand in one member, each document ending at a byte, and the CRC-32 of the
//! whole is that of the parts, combined.

use super::series::Document;
use crc32fast::Hasher;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use std::io::{self, Write as _};

/// Magic, deflate, no flags, no time, nothing extra, an unknown system.
const HEADER: [u8; 10] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255];

/// A file under way.
#[derive(Debug, Default)]
pub(super) struct Gzip {
    crc: Hasher,
}

impl Gzip {
    /// With what it begins.
    pub(super) fn header() -> Vec<u8> {
        HEADER.to_vec()
    }

    /// One byte as it is, in a stored block; the last one ends the deflated data.
    fn stored(&mut self, byte: u8, is_last: bool) -> [u8; 6] {
        self.crc.update(&[byte]);
        [u8::from(is_last), 1, 0, 0xFE, 0xFF, byte]
    }

    /// One byte as it is.
    pub(super) fn literal(&mut self, byte: u8) -> Vec<u8> {
        self.stored(byte, false).to_vec()
    }

    /// A document: its deflated bytes are to follow.
    pub(super) fn join(&mut self, document: &Document) {
        let theirs = Hasher::new_with_initial_len(document.crc, document.length_bytes);
        self.crc.combine(&theirs);
    }

    /// Text, deflated by `deflate` up to a byte.
    pub(super) fn deflate(
        &mut self,
        deflate: &mut DeflateEncoder<Vec<u8>>,
        text: &[u8],
    ) -> io::Result<Vec<u8>> {
        self.crc.update(text);
        deflate.write_all(text)?;
        deflate.flush()?;
        Ok(std::mem::take(deflate.get_mut()))
    }

    /// What deflates text of one document.
    pub(super) fn deflater() -> DeflateEncoder<Vec<u8>> {
        DeflateEncoder::new(Vec::new(), Compression::fast())
    }

    /// The last byte, and the end of the file; `length_bytes` are those of all text with it.
    pub(super) fn end(mut self, byte: u8, length_bytes: u64) -> Vec<u8> {
        let mut end = self.stored(byte, true).to_vec();
        end.extend_from_slice(&self.crc.finalize().to_le_bytes());
        // Modulo 2^32, as the format has it.
        let [a, b, c, d, ..] = length_bytes.to_le_bytes();
        end.extend_from_slice(&[a, b, c, d]);
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use flate2::read::GzDecoder;
    use std::io::Read as _;

    fn document(text: &[u8]) -> Document {
        let mut deflate = DeflateEncoder::new(Vec::new(), Compression::default());
        deflate.write_all(text).unwrap();
        deflate.flush().unwrap();
        Document {
            crc: crc32fast::hash(text),
            length_bytes: text.len() as u64,
            deflated: Bytes::from(deflate.get_ref().clone()),
        }
    }

    #[test]
    fn joined_documents_are_one_member_with_the_right_check_sum() {
        let texts = [
            &b"a long text, a long text, a long text"[..],
            b"",
            b"another",
        ];
        let mut gzip = Gzip::default();
        let (mut file, mut plain) = (Gzip::header(), Vec::new());
        for text in texts {
            file.extend(gzip.literal(b','));
            plain.push(b',');
            let document = document(text);
            gzip.join(&document);
            file.extend_from_slice(&document.deflated);
            plain.extend_from_slice(text);
        }
        let mut deflate = Gzip::deflater();
        for text in [&b"made now"[..], b"made now, made now"] {
            file.extend(gzip.deflate(&mut deflate, text).unwrap());
            plain.extend_from_slice(text);
        }
        plain.push(b']');
        file.extend(gzip.end(b']', plain.len() as u64));

        // This decoder takes one member and compares the check sum.
        let mut inflated = Vec::new();
        GzDecoder::new(&*file).read_to_end(&mut inflated).unwrap();
        assert_eq!(inflated, plain);
    }
}
