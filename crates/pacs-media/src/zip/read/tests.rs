//! Archives as honest and as hostile people make them.

use super::super::ZipWriter;
use super::*;
use proptest::prelude::*;
use std::io::{Cursor, Write as _};

fn archive(files: &[(&str, &[u8], bool)]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new())).unwrap();
    for (name, content, deflate) in files {
        let bytes_max = (content.len() % 2 == 0).then_some(content.len() as u64);
        writer.begin(name, *deflate, bytes_max).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn read_all(bytes: Vec<u8>, limits: &MediaLimits) -> Result<Vec<(String, Vec<u8>)>, ZipError> {
    let archive = ZipArchive::open(bytes, limits)?;
    let mut files = Vec::new();
    for entry in archive.entries(limits) {
        let entry = entry?;
        let mut content = Vec::new();
        archive
            .read(&entry, limits)?
            .read_to_end(&mut content)
            .map_err(ZipError::Io)?;
        files.push((entry.name_shown(), content));
    }
    Ok(files)
}

/// The error that stands behind one of reading.
fn inner(error: &ZipError) -> &ZipError {
    let ZipError::Io(error) = error else {
        return error;
    };
    let inner = error.get_ref().and_then(|error| error.downcast_ref());
    inner.expect("an error of ours")
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        contents in proptest::collection::vec((any::<Vec<u8>>(), any::<bool>()), 0..8),
        before in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let names: Vec<String> = (0..contents.len()).map(|n| format!("A/{n}")).collect();
        let files: Vec<(&str, &[u8], bool)> = names
            .iter()
            .zip(&contents)
            .map(|(name, (content, deflate))| (name.as_str(), content.as_slice(), *deflate))
            .collect();
        let bytes = [before, archive(&files)].concat();

        let read = read_all(bytes, &MediaLimits::default()).unwrap();

        let written: Vec<(String, Vec<u8>)> = files
            .iter()
            .map(|(name, content, _)| ((*name).to_owned(), content.to_vec()))
            .collect();
        prop_assert_eq!(read, written);
    }

    #[test]
    fn no_bytes_make_it_panic(mut bytes in Just(archive(&[("a", b"aaaa", true)])),
        at in 0_usize..140, value in any::<u8>())
    {
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
        drop(read_all(bytes, &MediaLimits::default()));
    }
}

#[test]
fn a_bomb_is_refused_after_a_bounded_number_of_bytes() {
    let zeros = vec![0; 64 << 20];
    let bytes = archive(&[("bomb", &zeros, true)]);
    let limits = MediaLimits::default();
    let archive = ZipArchive::open(bytes, &limits).unwrap();
    let entry = archive.entries(&limits).next().unwrap().unwrap();

    let mut sink = Vec::new();
    let error = archive
        .read(&entry, &limits)
        .unwrap()
        .read_to_end(&mut sink);

    let error = ZipError::Io(error.unwrap_err());
    assert!(matches!(inner(&error), ZipError::Bomb), "{error:?}");
    assert!(sink.len() as u64 <= limits.inflate_ratio_from_bytes + (1 << 20));
}

#[test]
fn declared_sizes_are_not_believed_and_a_wrong_checksum_is_told() {
    let mut forged = archive(&[("a", b"some content", false)]);
    let directory = forged.len() - END_BYTES - CENTRAL_BYTES - 1;
    forged[directory + 24..directory + 28].copy_from_slice(&u32::MAX.wrapping_sub(1).to_le_bytes());
    let mut damaged = archive(&[("a", b"some content", false)]);
    damaged[LOCAL_BYTES + 4] ^= 1;
    let limits = MediaLimits::default();

    assert_eq!(read_all(forged, &limits).unwrap()[0].1, b"some content");
    let error = read_all(damaged, &limits).unwrap_err();
    assert!(matches!(inner(&error), ZipError::Checksum), "{error:?}");
}

#[test]
fn entries_that_share_bytes_are_refused() {
    let mut bytes = archive(&[("a", b"1234", false), ("b", b"5678", false)]);
    let second = bytes.len() - END_BYTES - CENTRAL_BYTES - 1;
    // Both point at the first one's content.
    bytes[second + 42..second + 46].copy_from_slice(&0_u32.to_le_bytes());

    let error = read_all(bytes, &MediaLimits::default()).unwrap_err();

    assert!(matches!(error, ZipError::Overlap), "{error:?}");
}

#[test]
fn names_that_lead_out_links_and_encrypted_entries_are_refused() {
    let limits = MediaLimits::default();
    let first = |bytes: Vec<u8>| {
        let archive = ZipArchive::open(bytes, &limits).unwrap();
        let entry = archive.entries(&limits).next().unwrap().unwrap();
        entry.check()
    };
    for name in [
        "../a",
        "a/../../b",
        "/etc/passwd",
        "\\\\host\\a",
        "C:\\a",
        "a\0b",
        "a\\..\\b",
    ] {
        let checked = first(archive(&[(name, b"x", false)]));
        assert!(
            matches!(checked, Err(ZipError::Name)),
            "{name}: {checked:?}"
        );
    }
    assert!(first(archive(&[("a/b..c", b"x", false)])).is_ok());
    let directory = |bytes: &[u8]| bytes.len() - END_BYTES - CENTRAL_BYTES - 1;
    let mut link = archive(&[("a", b"/etc/passwd", false)]);
    let at = directory(&link);
    link[at + 40..at + 42].copy_from_slice(&0o120_777_u16.to_le_bytes());
    let mut encrypted = archive(&[("a", b"x", false)]);
    let at = directory(&encrypted);
    encrypted[at + 8] |= 1;
    assert!(matches!(first(link), Err(ZipError::Link)));
    assert!(matches!(first(encrypted), Err(ZipError::Encrypted)));
}

#[test]
fn more_entries_than_allowed_are_refused_before_any_is_read() {
    let limits = MediaLimits {
        zip_entries_max: 1,
        ..MediaLimits::default()
    };

    let error = read_all(archive(&[("a", b"", false), ("b", b"", false)]), &limits).unwrap_err();

    assert!(matches!(error, ZipError::TooMany { limit: 1 }), "{error:?}");
}
