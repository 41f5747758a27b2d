//! Writes data sets in any encoding, on its own terms: the scanner is held against what it writes.

use pacs_core::tag::{Tag, Vr};

/// One element and what it holds.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    /// A value as it stands, in little endian.
    Leaf(Tag, Vr, Vec<u8>),
    /// Numbers of two bytes.
    Shorts(Tag, Vec<u16>),
    /// Items; whether the sequence's and the items' lengths are defined.
    Sequence(Tag, Vec<Vec<Self>>, bool, bool),
    /// Fragments of encapsulated pixel data.
    Fragments(Tag, Vec<Vec<u8>>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    BigEndian,
    Explicit,
    Implicit,
}

impl Form {
    pub(crate) const fn uid(self) -> &'static str {
        match self {
            Self::BigEndian => "1.2.840.10008.1.2.2",
            Self::Explicit => "1.2.840.10008.1.2.1",
            Self::Implicit => "1.2.840.10008.1.2",
        }
    }

    fn u16(self, n: u16) -> [u8; 2] {
        if self == Self::BigEndian {
            n.to_be_bytes()
        } else {
            n.to_le_bytes()
        }
    }

    pub(crate) fn u32(self, n: u32) -> [u8; 4] {
        if self == Self::BigEndian {
            n.to_be_bytes()
        } else {
            n.to_le_bytes()
        }
    }

    pub(crate) fn tag(self, tag: Tag) -> Vec<u8> {
        [self.u16(tag.group()), self.u16(tag.element())].concat()
    }

    pub(crate) fn header(self, tag: Tag, vr: Vr, length: u32) -> Vec<u8> {
        let mut out = self.tag(tag);
        if self == Self::Implicit {
            out.extend(self.u32(length));
            return out;
        }
        out.extend(vr.to_bytes());
        let long = matches!(
            vr,
            Vr::OB | Vr::OV | Vr::OW | Vr::SQ | Vr::UC | Vr::UN | Vr::UR | Vr::UT
        );
        if long {
            out.extend([0, 0]);
            out.extend(self.u32(length));
        } else {
            out.extend(self.u16(u16::try_from(length).unwrap()));
        }
        out
    }

    pub(crate) fn item(self, element: u16, length: u32) -> Vec<u8> {
        let mut out = self.tag(Tag(0xFFFE, element));
        out.extend(self.u32(length));
        out
    }
}

pub(crate) const UNDEFINED: u32 = u32::MAX;

pub(crate) fn write(form: Form, nodes: &[Node]) -> Vec<u8> {
    nodes
        .iter()
        .flat_map(|node| write_node(form, node))
        .collect()
}

fn write_node(form: Form, node: &Node) -> Vec<u8> {
    match node {
        Node::Leaf(tag, vr, bytes) => {
            let mut out = form.header(*tag, *vr, length(bytes));
            out.extend(bytes);
            out
        }
        Node::Shorts(tag, numbers) => {
            let bytes: Vec<u8> = numbers.iter().flat_map(|n| form.u16(*n)).collect();
            let mut out = form.header(*tag, Vr::US, length(&bytes));
            out.extend(bytes);
            out
        }
        Node::Sequence(tag, items, defined, items_defined) => {
            let content: Vec<u8> = items
                .iter()
                .flat_map(|item| write_item(form, item, *items_defined))
                .collect();
            let mut out = if *defined {
                form.header(*tag, Vr::SQ, length(&content))
            } else {
                form.header(*tag, Vr::SQ, UNDEFINED)
            };
            out.extend(content);
            if !defined {
                out.extend(form.item(0xE0DD, 0));
            }
            out
        }
        Node::Fragments(tag, fragments) => {
            let mut out = form.header(*tag, Vr::OB, UNDEFINED);
            for fragment in fragments {
                out.extend(form.item(0xE000, length(fragment)));
                out.extend(fragment);
            }
            out.extend(form.item(0xE0DD, 0));
            out
        }
    }
}

fn write_item(form: Form, item: &[Node], defined: bool) -> Vec<u8> {
    let content = write(form, item);
    let mut out = form.item(0xE000, if defined { length(&content) } else { UNDEFINED });
    out.extend(content);
    if !defined {
        out.extend(form.item(0xE00D, 0));
    }
    out
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap()
}
