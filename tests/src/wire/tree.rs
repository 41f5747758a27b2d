//! Data sets with sequences, in Explicit VR Little Endian (PS3.5 7.1.2 and 7.5): written and read.

use std::collections::BTreeMap;

/// A data set, by tag.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    elements: BTreeMap<u32, Node>,
}

/// What an element holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A value, and its VR.
    Value(String, Vec<u8>),
    /// Items.
    Items(Vec<Tree>),
}

/// VRs whose length has four bytes.
const LONG: [&str; 13] = [
    "OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV",
];

const ITEM: u32 = 0xFFFE_E000;
const ITEM_END: u32 = 0xFFFE_E00D;
const SEQUENCE_END: u32 = 0xFFFE_E0DD;
const UNDEFINED: u32 = u32::MAX;

impl Tree {
    /// With a text, padded to even length.
    #[must_use]
    pub fn text(self, tag: u32, vr: &str, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        if bytes.len() % 2 == 1 {
            bytes.push(if vr == "UI" { 0 } else { b' ' });
        }
        self.bytes(tag, vr, bytes)
    }

    /// With a US.
    #[must_use]
    pub fn number(self, tag: u32, value: u16) -> Self {
        self.bytes(tag, "US", value.to_le_bytes().to_vec())
    }

    /// With any value.
    #[must_use]
    pub fn bytes(mut self, tag: u32, vr: &str, value: Vec<u8>) -> Self {
        self.elements.insert(tag, Node::Value(vr.to_owned(), value));
        self
    }

    /// With a sequence.
    #[must_use]
    pub fn items(mut self, tag: u32, items: Vec<Self>) -> Self {
        self.elements.insert(tag, Node::Items(items));
        self
    }

    /// Its elements, in the order of their tags.
    pub fn elements(&self) -> impl Iterator<Item = (u32, &Node)> {
        self.elements.iter().map(|(tag, node)| (*tag, node))
    }

    /// What an element holds.
    #[must_use]
    pub fn get(&self, tag: u32) -> Option<&Node> {
        self.elements.get(&tag)
    }

    /// A text without its padding; empty where there is none.
    #[must_use]
    pub fn text_of(&self, tag: u32) -> String {
        match self.get(tag) {
            Some(Node::Value(_, bytes)) => String::from_utf8_lossy(bytes)
                .trim_end_matches(['\0', ' '])
                .to_owned(),
            _ => String::new(),
        }
    }

    /// The items of a sequence; none where there is none.
    #[must_use]
    pub fn items_of(&self, tag: u32) -> &[Self] {
        match self.get(tag) {
            Some(Node::Items(items)) => items,
            _ => &[],
        }
    }

    /// The data set as it travels: sequences and items with their lengths.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (tag, node) in self.elements() {
            match node {
                Node::Value(vr, bytes) => {
                    head(&mut out, tag, vr, bytes.len());
                    out.extend_from_slice(bytes);
                }
                Node::Items(items) => {
                    let mut inner = Vec::new();
                    for item in items {
                        let item = item.encode();
                        bare_head(&mut inner, ITEM, item.len());
                        inner.extend_from_slice(&item);
                    }
                    head(&mut out, tag, "SQ", inner.len());
                    out.extend_from_slice(&inner);
                }
            }
        }
        out
    }

    /// Reads a data set; `None` where it is none.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let tree = read_elements(&mut rest, false)?;
        rest.is_empty().then_some(tree)
    }
}

fn bare_head(out: &mut Vec<u8>, tag: u32, length: usize) {
    let [a, b, c, d] = tag.to_be_bytes();
    out.extend_from_slice(&[b, a, d, c]);
    out.extend_from_slice(&u32::try_from(length).expect("short").to_le_bytes());
}

fn head(out: &mut Vec<u8>, tag: u32, vr: &str, length: usize) {
    let [a, b, c, d] = tag.to_be_bytes();
    out.extend_from_slice(&[b, a, d, c]);
    out.extend_from_slice(vr.as_bytes());
    if LONG.contains(&vr) {
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&u32::try_from(length).expect("short").to_le_bytes());
    } else {
        out.extend_from_slice(&u16::try_from(length).expect("short").to_le_bytes());
    }
}

fn take<'b>(rest: &mut &'b [u8], length: usize) -> Option<&'b [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn tag(rest: &mut &[u8]) -> Option<u32> {
    let bytes: [u8; 4] = take(rest, 4)?.try_into().ok()?;
    let [b, a, d, c] = bytes;
    Some(u32::from_be_bytes([a, b, c, d]))
}

fn long(rest: &mut &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(take(rest, 4)?.try_into().ok()?))
}

/// Elements up to the end of the bytes, or of an item of undefined length.
fn read_elements(rest: &mut &[u8], is_delimited: bool) -> Option<Tree> {
    let mut tree = Tree::default();
    while !rest.is_empty() {
        let tag = tag(rest)?;
        if tag == ITEM_END && is_delimited {
            long(rest)?;
            return Some(tree);
        }
        let vr = String::from_utf8(take(rest, 2)?.to_vec()).ok()?;
        let length = if LONG.contains(&vr.as_str()) {
            take(rest, 2)?;
            long(rest)?
        } else {
            let short: [u8; 2] = take(rest, 2)?.try_into().ok()?;
            u32::from(u16::from_le_bytes(short))
        };
        let node = match (vr.as_str(), length) {
            ("SQ", UNDEFINED) => Node::Items(read_items(rest, true)?),
            ("SQ", length) => {
                let mut inner = take(rest, length as usize)?;
                Node::Items(read_items(&mut inner, false)?)
            }
            (_, length) => Node::Value(vr, take(rest, length as usize)?.to_vec()),
        };
        tree.elements.insert(tag, node);
    }
    (!is_delimited).then_some(tree)
}

fn read_items(rest: &mut &[u8], is_delimited: bool) -> Option<Vec<Tree>> {
    let mut items = Vec::new();
    while !rest.is_empty() {
        let tag = tag(rest)?;
        let length = long(rest)?;
        match (tag, length) {
            (SEQUENCE_END, _) if is_delimited => return Some(items),
            (ITEM, UNDEFINED) => items.push(read_elements(rest, true)?),
            (ITEM, length) => {
                let mut inner = take(rest, length as usize)?;
                items.push(read_elements(&mut inner, false)?);
            }
            _ => return None,
        }
    }
    (!is_delimited).then_some(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_set_with_sequences_survives_its_own_encoding() {
        let inner = Tree::default().text(0x0008_0050, "SH", "A1");
        let outer = Tree::default()
            .text(0x0010_0010, "PN", "Test^Patient")
            .items(0x0040_0275, vec![inner.clone(), Tree::default()])
            .bytes(0x7FE0_0010, "OW", vec![1, 2, 3, 4]);

        assert_eq!(Tree::read(&outer.encode()), Some(outer));
    }

    #[test]
    fn lengths_may_be_undefined() {
        let mut bytes = Vec::new();
        head(&mut bytes, 0x0040_0275, "SQ", 0);
        let at = bytes.len() - 4;
        bytes[at..].copy_from_slice(&UNDEFINED.to_le_bytes());
        bare_head(&mut bytes, ITEM, 0);
        let at = bytes.len() - 4;
        bytes[at..].copy_from_slice(&UNDEFINED.to_le_bytes());
        bytes.extend(Tree::default().text(0x0008_0050, "SH", "A1").encode());
        bare_head(&mut bytes, ITEM_END, 0);
        bare_head(&mut bytes, SEQUENCE_END, 0);

        let read = Tree::read(&bytes).expect("a data set");

        assert_eq!(read.items_of(0x0040_0275)[0].text_of(0x0008_0050), "A1");
        assert_eq!(Tree::read(&bytes[..bytes.len() - 1]), None);
    }
}
