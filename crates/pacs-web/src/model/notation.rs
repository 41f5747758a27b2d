//! What stands around and between attributes and their values.

use crate::{json, xml};
use pacs_core::{Tag, Vr};

/// How a data set is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notation {
    Json,
    Xml,
}

impl Notation {
    /// Whether attributes say whose they are.
    pub(super) const fn names_creators(self) -> bool {
        matches!(self, Self::Xml)
    }

    /// Begins the data set, or an item of this number.
    pub(super) fn object_begins(self, out: &mut Vec<u8>, item: Option<u32>) {
        match (self, item) {
            (Self::Json, None) => out.push(b'{'),
            (Self::Json, Some(1)) => out.extend_from_slice(b",\"Value\":[{"),
            (Self::Json, Some(_)) => out.extend_from_slice(b",{"),
            (Self::Xml, None) => xml::document_begins(out),
            (Self::Xml, Some(number)) => xml::item_begins(out, u64::from(number)),
        }
    }

    /// Ends an item, or what `is_outermost`.
    pub(super) fn object_ends(self, out: &mut Vec<u8>, is_outermost: bool) {
        match (self, is_outermost) {
            (Self::Json, _) => out.push(b'}'),
            (Self::Xml, true) => xml::document_ends(out),
            (Self::Xml, false) => out.extend_from_slice(b"</Item>"),
        }
    }

    /// Begins an attribute.
    pub(super) fn member_begins(
        self,
        out: &mut Vec<u8>,
        (tag, vr): (Tag, Vr),
        creator: Option<&str>,
        is_first: bool,
    ) {
        match self {
            Self::Json => json::member_begins(out, tag, vr, is_first),
            Self::Xml => xml::member_begins(out, tag, vr, creator),
        }
    }

    pub(super) fn member_ends(self, out: &mut Vec<u8>) {
        match self {
            Self::Json => out.push(b'}'),
            Self::Xml => out.extend_from_slice(b"</DicomAttribute>"),
        }
    }

    /// Ends the items of a sequence that has some.
    pub(super) fn items_end(self, out: &mut Vec<u8>) {
        if self == Self::Json {
            out.push(b']');
        }
    }

    /// Writes values that stand between backslashes.
    pub(super) fn values(self, out: &mut Vec<u8>, vr: Vr, text: &str) {
        match self {
            Self::Json => json::write_values(out, vr, text),
            Self::Xml => xml::write_values(out, vr, text),
        }
    }

    pub(super) fn inline(self, out: &mut Vec<u8>, bytes: &[u8]) {
        match self {
            Self::Json => json::inline(out, bytes),
            Self::Xml => xml::inline(out, bytes),
        }
    }

    /// Says where a value stands.
    pub(super) fn bulk(self, out: &mut Vec<u8>, url: &str) {
        match self {
            Self::Json => json::bulk(out, url),
            Self::Xml => xml::bulk(out, url),
        }
    }
}
