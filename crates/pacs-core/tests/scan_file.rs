//! The DICOM file format: what we write others read, and what others write we read.
#![expect(
    clippy::unwrap_used,
    reason = "what a test's own functions do is the test"
)]

use dicom_object::{FileMetaTable, OpenFileOptions};
use pacs_core::scan::file::{self, FileError, file_meta};
use pacs_core::{SopClassUid, SopInstanceUid, TransferSyntaxUid};

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const EXPLICIT: &str = "1.2.840.10008.1.2.1";

/// Patient ID, explicit VR little endian.
const DATA_SET: &[u8] = b"\x10\0\x20\0LO\x04\0ID01";

fn ours(instance: &str) -> Vec<u8> {
    file_meta(
        &SopClassUid::parse(CT).unwrap(),
        &SopInstanceUid::parse_legacy(instance).unwrap(),
        &TransferSyntaxUid::parse(EXPLICIT).unwrap(),
    )
}

#[test]
fn our_file_meta_information_is_what_dicom_object_reads() {
    for instance in ["1.2.3", "1.2.34", &"1".repeat(64)] {
        let mut bytes = ours(instance);
        assert!(bytes[..128].iter().all(|&b| b == 0));
        let meta = FileMetaTable::from_reader(&bytes[128..]).unwrap();
        let unpadded = |text: &str| text.trim_end_matches('\0').to_owned();
        assert_eq!(unpadded(&meta.media_storage_sop_class_uid), CT);
        assert_eq!(unpadded(&meta.media_storage_sop_instance_uid), instance);
        assert_eq!(unpadded(&meta.transfer_syntax), EXPLICIT);
        assert_eq!(
            unpadded(&meta.implementation_class_uid),
            file::IMPLEMENTATION_CLASS_UID
        );
        assert_eq!(meta.information_version, [0, 1]);
        assert_eq!(
            usize::try_from(meta.information_group_length).unwrap(),
            bytes.len() - 132 - 12
        );
        bytes.extend_from_slice(DATA_SET);
        let object = OpenFileOptions::new().from_reader(&bytes[..]).unwrap();
        assert_eq!(object.iter().count(), 1);
    }
}

#[test]
fn our_file_is_read_back() {
    let mut bytes = ours("1.2.3");
    let start = bytes.len();
    bytes.extend_from_slice(DATA_SET);
    let form = file::read(&bytes).unwrap();
    assert_eq!(form.data_set, start..bytes.len());
    assert_eq!(form.transfer_syntax.as_str(), EXPLICIT);
    assert!(form.is_declared);
    assert_eq!(form.sop_class.unwrap().as_str(), CT);
    assert_eq!(form.sop_instance.unwrap().as_str(), "1.2.3");
}

#[test]
fn a_file_without_preamble_is_read() {
    let mut bytes = ours("1.2.3");
    bytes.extend_from_slice(DATA_SET);
    for skip in [128, 132] {
        let form = file::read(&bytes[skip..]).unwrap();
        assert!(form.is_declared);
        assert_eq!(&bytes[skip..][form.data_set], DATA_SET);
    }
}

#[test]
fn the_encoding_of_a_bare_data_set_is_guessed() {
    for (bytes, uid) in [
        (DATA_SET, EXPLICIT),
        (b"\x08\0\x16\0\x04\0\0\x001.2\0", "1.2.840.10008.1.2"),
        (b"\0\x08\0\x16UI\0\x041.2\0", "1.2.840.10008.1.2.2"),
    ] {
        let form = file::read(bytes).unwrap();
        assert_eq!(form.transfer_syntax.as_str(), uid);
        assert!(!form.is_declared);
        assert_eq!(form.data_set, 0..bytes.len());
    }
}

#[test]
fn what_is_no_file_is_refused() {
    for bytes in [
        &b""[..],
        b"DICM",
        b"some text or other",
        &[0; 200],
        &[0xFF; 200],
    ] {
        assert!(file::read(bytes).is_err());
    }
    let bytes = ours("1.2.3");
    for end in 133..bytes.len() {
        assert!(file::read(&bytes[..end]).is_err(), "{end}");
    }
    let mut huge = bytes;
    // (0002,0002) claims more than there is.
    huge[132 + 12 + 14 + 6..][..2].copy_from_slice(&[0xFF, 0xFF]);
    assert_eq!(file::read(&huge), Err(FileError::Meta));
}
