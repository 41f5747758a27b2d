//! The elements that a data set becomes.

use crate::json::base64;
use pacs_core::tag::keyword_of;
use pacs_core::{Tag, Vr, xml};
use std::io::Write as _;

/// Begins a document.
pub(crate) fn document_begins(out: &mut Vec<u8>) {
    out.extend_from_slice(
        b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<NativeDicomModel \
          xmlns=\"http://dicom.nema.org/PS3.19/models/NativeDICOM\" xml:space=\"preserve\">",
    );
}

/// Ends it.
pub(crate) fn document_ends(out: &mut Vec<u8>) {
    out.extend_from_slice(b"</NativeDicomModel>\n");
}

/// Begins an attribute; of a private one `creator` says whose it is.
pub(crate) fn member_begins(out: &mut Vec<u8>, tag: Tag, vr: Vr, creator: Option<&str>) {
    let element = match creator {
        Some(_) => tag.element() & 0xFF,
        None => tag.element(),
    };
    // Writing to memory does not fail.
    write!(
        out,
        "<DicomAttribute tag=\"{:04X}{element:04X}\" vr=\"",
        tag.group()
    )
    .ok();
    out.extend_from_slice(&vr.to_bytes());
    out.push(b'"');
    if let Some(keyword) = keyword_of(tag) {
        write!(out, " keyword=\"{keyword}\"").ok();
    }
    if let Some(creator) = creator {
        out.extend_from_slice(b" privateCreator=\"");
        xml::write(out, creator);
        out.push(b'"');
    }
    out.push(b'>');
}

/// Begins an item, from 1 on.
pub(crate) fn item_begins(out: &mut Vec<u8>, number: u64) {
    write!(out, "<Item number=\"{number}\">").ok();
}

/// Says where a value stands.
pub(crate) fn bulk(out: &mut Vec<u8>, url: &str) {
    out.extend_from_slice(b"<BulkData uri=\"");
    xml::write(out, url);
    out.extend_from_slice(b"\"/>");
}

/// Writes bytes.
pub(crate) fn inline(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(b"<InlineBinary>");
    base64::write(out, bytes);
    out.extend_from_slice(b"</InlineBinary>");
}
