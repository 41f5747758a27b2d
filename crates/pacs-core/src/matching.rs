//! The reference matcher: what a query means. Every index must agree with it.
//!
//! A query matches an entity if every key matches; a key matches if one of its alternatives matches
//! one of the attribute's values. Values are compared as [`crate::fold::matching_key`] folds them.
//!
//! - An absent or empty attribute matches universal keys alone.
//! - Person names: case and the spellings that `fold` names do not count. A key of one component
//!   group is held against every group of the name; of a key of several, each non-empty group
//!   against the group in its place. Empty components at the end need not be written, in keys and
//!   in names: `IVANOV^IVAN` is `IVANOV^IVAN^^`, and `IVANOV^*` finds `IVANOV`. A key without wild
//!   cards matches no longer name, and one of apostrophes alone none: they do not count.
//! - Other text: case counts, as PS3.4 C.2.2.2.1 demands.
//! - Dates, times, datetimes: by meaning, in any permitted precision; a key of lesser precision
//!   matches all it can mean, `0900-1000` up to 10:00:59.999999. Numbers: by meaning.
//! - What was kept of undecodable text is matched as far as it goes.
//!
//! PS3.4 C.2.2.2. Not here: fuzzy semantic matching and combined date and time matching, which need
//! extended negotiation.

mod condition;
pub(crate) mod moment;
mod pattern;

pub use condition::Lookup;

use crate::attributes::{Attribute, Attributes, Value};
use crate::fold;
use crate::limits::ITEM_DEPTH_MAX;
use crate::query::{Key, Query};
use crate::tag::{Tag, Vr};
use condition::Condition;
use memchr::{memchr, memchr2};

/// Whether an entity with `attributes` matches `query`. For many entities, keep a [`Matcher`].
#[must_use]
pub fn matches(query: &Query, attributes: &Attributes) -> bool {
    Matcher::new(query).matches(attributes)
}

/// The text before the first wild card of a pattern.
#[must_use]
pub fn literal_prefix(pattern: &str) -> &str {
    let end = pattern.find(['*', '?']).unwrap_or(pattern.len());
    pattern.get(..end).unwrap_or_default()
}

/// A query, compiled for being held against many entities. `Debug` shows kinds of keys and no
/// values.
#[derive(Debug, Clone)]
pub struct Matcher {
    keys: Vec<CompiledKey>,
}

/// A key that can fail: universal ones are left out.
#[derive(Debug, Clone)]
pub struct CompiledKey {
    tag: Tag,
    vr: Vr,
    condition: Condition,
}

impl Matcher {
    /// Compiles a query.
    #[must_use]
    pub fn new(query: &Query) -> Self {
        Self::of_keys(&query.keys, 0)
    }

    fn of_keys(keys: &[Key], depth: usize) -> Self {
        let compile = |key: &Key| CompiledKey {
            tag: key.tag,
            vr: key.vr,
            condition: Condition::new(key.vr, &key.matching, depth),
        };
        Self {
            keys: keys
                .iter()
                .map(compile)
                .filter(|key| !matches!(key.condition, Condition::Any))
                .collect(),
        }
    }

    /// Whether an entity with `attributes` matches.
    #[must_use]
    pub fn matches(&self, attributes: &Attributes) -> bool {
        self.keys
            .iter()
            .all(|key| key.matches(attributes.get(key.tag)))
    }

    /// Whether the key of `tag` matches a text of that attribute, folded by [`fold::matching_key`]
    /// with all its values. True where the query has no key for it.
    #[must_use]
    pub fn matches_key(&self, tag: Tag, folded: &str) -> bool {
        let mut keys = self.keys.iter().filter(|key| key.tag == tag);
        keys.all(|key| key.matches_folded(folded))
    }

    /// The keys that can fail, in the order of the query.
    #[must_use]
    pub fn keys(&self) -> &[CompiledKey] {
        &self.keys
    }
}

impl CompiledKey {
    /// Its tag.
    #[must_use]
    pub const fn tag(&self) -> Tag {
        self.tag
    }

    /// Its VR, with which values are folded.
    #[must_use]
    pub const fn vr(&self) -> Vr {
        self.vr
    }

    /// How an index that keeps [`fold::entries`] in order finds what can match.
    #[must_use]
    pub fn lookup(&self) -> Lookup<'_> {
        self.condition.lookup()
    }

    /// Whether a text that [`fold::matching_key`] folded, with all its values, matches.
    #[must_use]
    pub fn matches_folded(&self, folded: &str) -> bool {
        // Nearly all have one value in one component group.
        let marks = if self.vr == Vr::PN {
            memchr2(b'\\', b'=', folded.as_bytes())
        } else {
            memchr(b'\\', folded.as_bytes())
        };
        if marks.is_none() {
            return !folded.is_empty() && self.condition.matches_plain(folded);
        }
        fold::values(self.vr, folded)
            .any(|value| !value.is_empty() && self.condition.matches_value(self.vr, value))
    }

    fn matches(&self, attribute: Option<&Attribute>) -> bool {
        match (attribute.map(|attribute| &attribute.value), &self.condition) {
            (Some(Value::Items(items)), Condition::Item(keys)) => {
                items.iter().any(|item| keys.matches(item))
            }
            (Some(Value::Items(_)), _) | (_, Condition::Item(_)) | (None, _) => false,
            (Some(Value::Suspect(text) | Value::Text(text)), _) => {
                self.matches_folded(&fold::matching_key(self.vr, text))
            }
        }
    }
}

#[cfg(test)]
mod tests;
