//! Decoded attributes: what the index keeps of an instance and what a query returns.

use crate::tag::{Tag, Vr};
pub use smol_str::SmolStr;
use std::fmt;

/// The value of an attribute, decoded to Unicode.
#[derive(Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Value {
    /// Items of a sequence.
    Items(Vec<Attributes>),
    /// Text whose bytes do not follow the declared character set. What could be read is kept.
    Suspect(SmolStr),
    /// Text; several values stand between backslashes. Numbers of binary VRs stand in decimal.
    Text(SmolStr),
}

/// One attribute.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Attribute {
    /// Its tag.
    pub tag: Tag,
    /// Its VR, never UN where the dictionary knows better.
    pub vr: Vr,
    /// Its value.
    pub value: Value,
}

/// Attributes in order of their tags, each tag at most once. `Debug` shows tags and no values.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Attributes(Vec<Attribute>);

impl Attributes {
    /// No attributes.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// No attributes, with room for some.
    #[must_use]
    pub fn with_capacity(attributes: usize) -> Self {
        Self(Vec::with_capacity(attributes))
    }

    /// Sets an attribute, replacing what stood under its tag.
    pub fn insert(&mut self, tag: Tag, vr: Vr, value: Value) {
        let attribute = Attribute { tag, vr, value };
        // Data sets are in tag order, so that the end is nearly always the place.
        if self.0.last().is_none_or(|last| last.tag < tag) {
            self.0.push(attribute);
            return;
        }
        match self.0.binary_search_by_key(&tag, |a| a.tag) {
            Ok(at) => {
                if let Some(old) = self.0.get_mut(at) {
                    *old = attribute;
                }
            }
            Err(at) => self.0.insert(at, attribute),
        }
    }

    /// Sets a text attribute.
    pub fn insert_text(&mut self, tag: Tag, vr: Vr, text: impl Into<SmolStr>) {
        self.insert(tag, vr, Value::Text(text.into()));
    }

    /// The attribute under `tag`.
    #[must_use]
    pub fn get(&self, tag: Tag) -> Option<&Attribute> {
        let at = self.0.binary_search_by_key(&tag, |a| a.tag).ok()?;
        self.0.get(at)
    }

    /// The text under `tag`, all values of it; `None` where it is absent or a sequence.
    #[must_use]
    pub fn text(&self, tag: Tag) -> Option<&str> {
        match &self.get(tag)?.value {
            Value::Suspect(text) | Value::Text(text) => Some(text),
            Value::Items(_) => None,
        }
    }

    /// The items of the sequence under `tag`; none where it is absent or no sequence.
    #[must_use]
    pub fn items(&self, tag: Tag) -> &[Self] {
        match self.get(tag).map(|a| &a.value) {
            Some(Value::Items(items)) => items,
            _ => &[],
        }
    }

    /// In order of tags.
    pub fn iter(&self) -> std::slice::Iter<'_, Attribute> {
        self.0.iter()
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

    /// Adds the attributes of `other`, which win where both have a tag.
    pub fn extend(&mut self, other: &Self) {
        for attribute in other {
            self.insert(attribute.tag, attribute.vr, attribute.value.clone());
        }
    }

    /// Adds those attributes of `other` whose tags are not there yet.
    pub fn fill_from(&mut self, other: &Self) {
        let mut at = 0;
        for attribute in other {
            // Both are in order, so that the next is never before the last.
            let rest = self.0.get(at..).unwrap_or_default();
            let before = rest.iter().take_while(|own| own.tag < attribute.tag);
            at = at.saturating_add(before.count());
            if self.0.get(at).is_none_or(|own| own.tag != attribute.tag) {
                self.0.insert(at, attribute.clone());
            }
        }
    }

    /// Keeps only attributes for which `keep` is true.
    pub fn retain(&mut self, mut keep: impl FnMut(&Attribute) -> bool) {
        self.0.retain(|attribute| keep(attribute));
    }
}

impl<'a> IntoIterator for &'a Attributes {
    type Item = &'a Attribute;
    type IntoIter = std::slice::Iter<'a, Attribute>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Items(items) => f.debug_tuple("Items").field(items).finish(),
            Self::Suspect(_) => f.write_str("Suspect([patient data])"),
            Self::Text(_) => f.write_str("Text([patient data])"),
        }
    }
}

impl fmt::Debug for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:?}", self.tag, self.vr.to_string(), self.value)
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}

// A compact form: tag as one number, VR as two letters.
#[derive(serde::Serialize, serde::Deserialize)]
struct Compact<V>(u32, [u8; 2], V);

impl serde::Serialize for Attributes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|a| {
            let number = (u32::from(a.tag.group()) << 16) | u32::from(a.tag.element());
            Compact(number, a.vr.to_bytes(), &a.value)
        }))
    }
}

impl<'de> serde::Deserialize<'de> for Attributes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let compact: Vec<Compact<Value>> = serde::Deserialize::deserialize(deserializer)?;
        let mut attributes = Self(Vec::with_capacity(compact.len()));
        for Compact(number, vr, value) in compact {
            let [g1, g2, e1, e2] = number.to_be_bytes();
            let tag = Tag(u16::from_be_bytes([g1, g2]), u16::from_be_bytes([e1, e2]));
            attributes.insert(tag, Vr::from_binary(vr).unwrap_or(Vr::UN), value);
        }
        Ok(attributes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tag::tags;

    #[test]
    fn attributes_stay_in_tag_order_and_the_last_of_a_tag_wins() {
        let mut attributes = Attributes::new();
        attributes.insert_text(tags::PATIENT_ID, Vr::LO, "P1");
        attributes.insert_text(tags::STUDY_DATE, Vr::DA, "20260101");
        attributes.insert_text(tags::PATIENT_ID, Vr::LO, "P2");

        let tags: Vec<Tag> = attributes.iter().map(|a| a.tag).collect();

        assert_eq!(tags, [tags::STUDY_DATE, tags::PATIENT_ID]);
        assert_eq!(attributes.text(tags::PATIENT_ID), Some("P2"));
    }

    #[test]
    fn filling_replaces_nothing() {
        let mut attributes = Attributes::new();
        attributes.insert_text(tags::PATIENT_ID, Vr::LO, "P1");
        let mut blank = Attributes::new();
        blank.insert_text(tags::STUDY_DATE, Vr::DA, "");
        blank.insert_text(tags::PATIENT_ID, Vr::LO, "");

        attributes.fill_from(&blank);

        assert_eq!(attributes.text(tags::PATIENT_ID), Some("P1"));
        assert_eq!(attributes.text(tags::STUDY_DATE), Some(""));
    }

    #[test]
    fn debug_shows_no_value() {
        let mut inner = Attributes::new();
        inner.insert_text(tags::PATIENT_NAME, Vr::PN, "CANARY");
        let mut attributes = Attributes::new();
        attributes.insert(
            tags::OTHER_PATIENT_I_DS_SEQUENCE,
            Vr::SQ,
            Value::Items(vec![inner]),
        );

        assert!(!format!("{attributes:?}").contains("CANARY"));
    }
}
