//! A data set as a client describes it, in whichever model: what the readers of JSON and XML give.
//!
//! Values are decoded, and not checked against their VR: whoever makes a data set of them does
//! that.

use pacs_core::{Tag, Vr};
use std::collections::BTreeMap;
use std::collections::btree_map::{Entry, IntoValues, Values};

/// Attributes in order of their tags, each tag once. `Debug` shows no values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Described(BTreeMap<Tag, DescribedAttribute>);

/// One attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedAttribute {
    /// Its tag.
    pub tag: Tag,
    /// Its VR: as it is given, or else as the dictionary has it.
    pub vr: Vr,
    /// Its value.
    pub value: DescribedValue,
}

/// The value of an attribute.
#[derive(Clone, PartialEq, Eq)]
pub enum DescribedValue {
    /// Stands elsewhere, under this URI. Nothing is ever fetched from there.
    Bulk(String),
    /// Bytes, in little endian words.
    Inline(Vec<u8>),
    /// Items of a sequence.
    Items(Vec<Described>),
    /// Text, empty where there is no value. Several values stand between backslashes, the groups
    /// of a name between equals signs; numbers of binary VRs stand in decimal.
    Text(String),
}

/// Shows no values.
impl std::fmt::Debug for DescribedValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bulk(_) => f.write_str("Bulk"),
            Self::Inline(bytes) => write!(f, "Inline({} bytes)", bytes.len()),
            Self::Items(items) => f.debug_tuple("Items").field(items).finish(),
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
        }
    }
}

impl Described {
    /// Nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds an attribute; whether its tag is new. Where it is not, nothing changes.
    pub fn insert(&mut self, attribute: DescribedAttribute) -> bool {
        match self.0.entry(attribute.tag) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(attribute);
                true
            }
        }
    }

    /// The attribute under `tag`.
    #[must_use]
    pub fn get(&self, tag: Tag) -> Option<&DescribedAttribute> {
        self.0.get(&tag)
    }

    /// The text under `tag`.
    #[must_use]
    pub fn text(&self, tag: Tag) -> Option<&str> {
        match &self.get(tag)?.value {
            DescribedValue::Text(text) => Some(text),
            DescribedValue::Bulk(_) | DescribedValue::Inline(_) | DescribedValue::Items(_) => None,
        }
    }

    /// In order of tags.
    pub fn iter(&self) -> Values<'_, Tag, DescribedAttribute> {
        self.0.values()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> IntoIterator for &'a Described {
    type Item = &'a DescribedAttribute;
    type IntoIter = Values<'a, Tag, DescribedAttribute>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Described {
    type Item = DescribedAttribute;
    type IntoIter = IntoValues<Tag, DescribedAttribute>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_values()
    }
}
