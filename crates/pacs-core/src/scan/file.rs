//! The DICOM file format around a data set (PS3.10 section 7): read leniently, written strictly.

use super::header::{self, UNDEFINED};
use super::{Encoding, Syntax};
use crate::tag::{Tag, Vr, tags};
use crate::uid::{SopClassUid, SopInstanceUid, TransferSyntaxUid};
use std::ops::Range;

/// Our Implementation Class UID (PS3.7 D.3.3.2), in files and in associations.
pub const IMPLEMENTATION_CLASS_UID: &str = "2.25.227626678469020308564764896298787180108";

/// Our Implementation Version Name (PS3.7 D.3.3.2.3), at most 16 characters.
pub const IMPLEMENTATION_VERSION_NAME: &str = "PACS_0.1";

/// Bytes before the prefix `DICM`.
pub const PREAMBLE_BYTES: usize = 128;

/// Elements of the File Meta Information that are read; honest files have about a dozen.
const META_ELEMENTS_MAX: usize = 256;

/// Transfer syntaxes that bare data sets are taken to be in.
const IMPLICIT_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2";
const EXPLICIT_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1";
const EXPLICIT_BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

/// Where the parts of a file are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileForm {
    /// The data set.
    pub data_set: Range<usize>,
    /// The transfer syntax it is in, as declared or as guessed.
    pub transfer_syntax: TransferSyntaxUid,
    /// Whether the file declares it.
    pub is_declared: bool,
    /// Media Storage SOP Class UID (0002,0002), where there is a usable one.
    pub sop_class: Option<SopClassUid>,
    /// Media Storage SOP Instance UID (0002,0003), where there is a usable one.
    pub sop_instance: Option<SopInstanceUid>,
}

/// Why bytes are not a DICOM file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// Neither the file format nor anything that could be a data set.
    #[error("not a DICOM file")]
    NotDicom,
    /// The File Meta Information ends in the middle.
    #[error("File Meta Information is cut or broken")]
    Meta,
}

/// Finds the parts of a file: of all its bytes, or of its beginning as long as that holds the File
/// Meta Information and the first element. Without preamble or File Meta Information the encoding
/// is guessed.
///
/// # Errors
/// [`FileError`].
pub fn read(bytes: &[u8]) -> Result<FileForm, FileError> {
    let after_preamble = bytes.get(PREAMBLE_BYTES..).unwrap_or(&[]);
    if let Some(rest) = after_preamble.strip_prefix(b"DICM")
        // A bare data set may have these letters there, in a text.
        && (rest.starts_with(&[2, 0]) || guess(bytes, false).is_none())
    {
        return read_meta(bytes, PREAMBLE_BYTES.saturating_add(4));
    }
    if bytes.starts_with(b"DICM") {
        return read_meta(bytes, 4);
    }
    read_meta(bytes, 0)
}

/// Reads group 2, if it is there, from `start` on.
fn read_meta(bytes: &[u8], start: usize) -> Result<FileForm, FileError> {
    let mut form = FileForm {
        data_set: start..bytes.len(),
        transfer_syntax: known(IMPLICIT_LITTLE_ENDIAN)?,
        is_declared: false,
        sop_class: None,
        sop_instance: None,
    };
    // Group 2 is explicit VR little endian; an implicit one is met in the wild.
    let syntax = meta_syntax(bytes.get(start..).unwrap_or(&[]));
    for _ in 0..META_ELEMENTS_MAX {
        let at = form.data_set.start;
        let rest = bytes.get(at..).unwrap_or(&[]);
        if rest.first_chunk::<2>() != Some(&[2, 0]) {
            break;
        }
        let room = u64::try_from(rest.len()).unwrap_or(u64::MAX);
        let element = header::read(rest, syntax, room).ok_or(FileError::Meta)?;
        let value_at = at.saturating_add(usize::from(element.size));
        let length = usize::try_from(element.length).unwrap_or(usize::MAX);
        let value = bytes
            .get(value_at..)
            .and_then(|rest| rest.get(..length))
            .filter(|_| element.length != UNDEFINED)
            .ok_or(FileError::Meta)?;
        note(&mut form, element.tag, value);
        form.data_set.start = value_at.saturating_add(length);
    }
    // Less than an element's header is no data set.
    if form.data_set.len() < 8 {
        return Err(if form.data_set.start == 0 {
            FileError::NotDicom
        } else {
            FileError::Meta
        });
    }
    if !form.is_declared {
        let bare = bytes.get(form.data_set.clone()).unwrap_or(&[]);
        form.transfer_syntax = guess(bare, start > 0).ok_or(FileError::NotDicom)?;
    }
    Ok(form)
}

fn meta_syntax(bytes: &[u8]) -> Syntax {
    let written = bytes
        .get(4..6)
        .and_then(|vr| vr.first_chunk::<2>().copied());
    if written.and_then(Vr::from_binary).is_some() {
        Syntax::EXPLICIT_LITTLE
    } else {
        Syntax::IMPLICIT_LITTLE
    }
}

fn note(form: &mut FileForm, tag: Tag, value: &[u8]) {
    let text = std::str::from_utf8(value).unwrap_or_default();
    if tag == tags::TRANSFER_SYNTAX_UID {
        if let Ok(uid) = TransferSyntaxUid::parse_legacy(text) {
            form.transfer_syntax = uid;
            form.is_declared = true;
        }
    } else if tag == tags::MEDIA_STORAGE_SOP_CLASS_UID {
        form.sop_class = SopClassUid::parse_legacy(text).ok();
    } else if tag == tags::MEDIA_STORAGE_SOP_INSTANCE_UID {
        form.sop_instance = SopInstanceUid::parse_legacy(text).ok();
    }
}

fn known(uid: &str) -> Result<TransferSyntaxUid, FileError> {
    TransferSyntaxUid::parse(uid).map_err(|_| FileError::NotDicom)
}

/// The encoding of a data set that nothing declares, by its first element: a low group in one of
/// the byte orders, and a VR where an explicit one has it. Where `is_file` says that no more than
/// the transfer syntax is missing, private groups may begin it too.
fn guess(bytes: &[u8], is_file: bool) -> Option<TransferSyntaxUid> {
    let [g0, g1, e0, e1, v0, v1, l0, l1] = *bytes.first_chunk::<8>()?;
    let explicit = Vr::from_binary([v0, v1]).is_some();
    let plausible =
        |tag: Tag| matches!(tag.group(), 0x0001..=0x00FF) && (is_file || tag.group() & 1 == 0);
    let little = Syntax::EXPLICIT_LITTLE.tag([g0, g1, e0, e1]);
    let big = Encoding::ExplicitBigEndian.syntax().tag([g0, g1, e0, e1]);
    let length = u32::from_le_bytes([v0, v1, l0, l1]);
    let fits = length == UNDEFINED
        || usize::try_from(length).is_ok_and(|length| length <= bytes.len().saturating_sub(8));
    let uid = if plausible(big) && explicit && big.group() != 0 && !plausible(little) {
        EXPLICIT_BIG_ENDIAN
    } else if !plausible(little) {
        return None;
    } else if explicit {
        EXPLICIT_LITTLE_ENDIAN
    } else if fits {
        IMPLICIT_LITTLE_ENDIAN
    } else {
        return None;
    };
    TransferSyntaxUid::parse(uid).ok()
}

/// Our preamble and File Meta Information (PS3.10 7.1) for a data set that follows as it is.
#[must_use]
pub fn file_meta(
    sop_class: &SopClassUid,
    sop_instance: &SopInstanceUid,
    transfer_syntax: &TransferSyntaxUid,
) -> Vec<u8> {
    let uids = [
        (tags::MEDIA_STORAGE_SOP_CLASS_UID, sop_class.as_str()),
        (tags::MEDIA_STORAGE_SOP_INSTANCE_UID, sop_instance.as_str()),
        (tags::TRANSFER_SYNTAX_UID, transfer_syntax.as_str()),
        (tags::IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_CLASS_UID),
    ];
    let mut out = Vec::with_capacity(512);
    out.resize(PREAMBLE_BYTES, 0);
    out.extend_from_slice(b"DICM");
    // (0002,0000), set when the length is known, and File Meta Information Version 00\01.
    out.extend_from_slice(b"\x02\0\0\0UL\x04\0\0\0\0\0");
    let from = out.len();
    out.extend_from_slice(b"\x02\0\x01\0OB\0\0\x02\0\0\0\0\x01");
    for (tag, uid) in uids {
        write_short(&mut out, tag, *b"UI", uid, 0);
    }
    let name = IMPLEMENTATION_VERSION_NAME;
    write_short(
        &mut out,
        tags::IMPLEMENTATION_VERSION_NAME,
        *b"SH",
        name,
        b' ',
    );
    let length = u32::try_from(out.len().saturating_sub(from)).unwrap_or(0);
    if let Some(place) = from.checked_sub(4).and_then(|at| out.get_mut(at..from)) {
        place.copy_from_slice(&length.to_le_bytes());
    }
    out
}

fn write_short(out: &mut Vec<u8>, tag: Tag, vr: [u8; 2], text: &str, padding: u8) {
    let odd = text.len() & 1;
    // UIDs and the version name are at most 64 bytes.
    let length = u16::try_from(text.len().saturating_add(odd)).unwrap_or(0);
    out.extend_from_slice(&tag.group().to_le_bytes());
    out.extend_from_slice(&tag.element().to_le_bytes());
    out.extend_from_slice(&vr);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    if odd == 1 {
        out.push(padding);
    }
}
