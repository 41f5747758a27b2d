//! A storage folder of Orthanc: files named by a UUID in folders of its first and second two
//! digits, `ab/cd/abcd....`; what is in them only Orthanc's database says. Compressed ones are a
//! zlib stream behind its inflated length (8 bytes, little endian).
//!
//! Beside instances Orthanc keeps JSON and the beginnings of instances up to their pixel data;
//! [`crate::inspect`] tells them apart.

use crate::content::Reader;
use crate::inflating::Bounded;
use crate::limits::MediaLimits;
use flate2::read::ZlibDecoder;
use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// Bytes of the length before a compressed stream.
const LENGTH_BYTES: u64 = 8;

/// Whether a path is one where Orthanc keeps a file.
pub(crate) fn is_stored_at(path: &Path) -> bool {
    let mut names = path
        .iter()
        .rev()
        .map(|name| name.to_str().unwrap_or_default());
    let (Some(uuid), Some(second), Some(first)) = (names.next(), names.next(), names.next()) else {
        return false;
    };
    let is_uuid = uuid.len() == 36
        && uuid.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    is_uuid && uuid.get(..2) == Some(first) && uuid.get(2..4) == Some(second)
}

/// The content of a file of the storage, inflated if it is compressed.
pub(crate) fn open(mut file: File, limits: &MediaLimits) -> io::Result<(Reader, u64)> {
    let length = file.metadata()?.len();
    let mut beginning = Vec::new();
    file.by_ref()
        .take(LENGTH_BYTES + 2)
        .read_to_end(&mut beginning)?;
    let inflated = inflated_length(&beginning);
    let Some(inflated) = inflated.filter(|bytes| *bytes <= limits.inflated_bytes_max) else {
        file.seek(SeekFrom::Start(0))?;
        return Ok((Box::new(file), length));
    };
    file.seek(SeekFrom::Start(LENGTH_BYTES))?;
    let stream = ZlibDecoder::new(BufReader::new(file));
    let reader = Bounded::new(stream, limits);
    Ok((Box::new(reader), inflated))
}

/// The length that stands before a zlib stream (RFC 1950 2.2), if one does.
fn inflated_length(beginning: &[u8]) -> Option<u64> {
    let [a, b, c, d, e, f, g, h, method, flags] = *beginning.first_chunk::<10>()?;
    let is_zlib = method & 0x0F == 8
        && method >> 4 <= 7
        && flags & 0x20 == 0
        && u16::from_be_bytes([method, flags]).is_multiple_of(31);
    is_zlib.then(|| u64::from_le_bytes([a, b, c, d, e, f, g, h]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storage_path_is_a_uuid_in_folders_of_its_own_digits() {
        let uuid = "abcd1234-0000-4000-8000-0123456789ab";
        assert!(is_stored_at(Path::new(&format!("db-v6/ab/cd/{uuid}"))));
        assert!(!is_stored_at(Path::new(&format!("ab/ce/{uuid}"))));
        assert!(!is_stored_at(Path::new(uuid)));
        assert!(!is_stored_at(Path::new(
            "ab/cd/abcd1234-0000-4000-8000-0123456789ag"
        )));
    }
}
