//! One key of a query, compiled.

use super::pattern::Pattern;
use super::{ITEM_DEPTH_MAX, Matcher, moment};
use crate::fold;
use crate::query::Matching;
use crate::tag::Vr;
use std::fmt;

/// What a folded value must be. `Debug` shows kinds and no values.
#[derive(Clone)]
pub(super) enum Condition {
    /// Anything, absence included.
    Any,
    /// At least the first, at most the second.
    Between(Option<String>, Option<String>),
    /// Some item must match these keys.
    Item(Matcher),
    /// One of these, sorted.
    OneOf(Vec<String>),
    /// A name whose group in each place matches, where one is asked for.
    Groups(Vec<Self>),
    /// One of these conditions.
    Either(Vec<Self>),
    /// A pattern.
    Like(Pattern),
}

/// What an index can look up in sorted entries ([`fold::entries`]); what it finds is still to be
/// matched.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Lookup<'m> {
    /// An entry at least the first and at most the second; no bound is open.
    Between(Option<&'m str>, Option<&'m str>),
    /// An entry equal to one of these, which are sorted.
    OneOf(&'m [String]),
    /// An entry that begins so.
    Prefix(&'m str),
    /// Nothing: all must be looked at.
    Scan,
}

impl Condition {
    /// A matching that cannot be fulfilled (a range from later to earlier, a date that is none)
    /// becomes a condition that nothing fulfils: [`crate::Query`] refuses such values before.
    pub(super) fn new(vr: Vr, matching: &Matching, depth: usize) -> Self {
        match matching {
            Matching::AnyOf(alternatives) => Self::either(
                alternatives
                    .iter()
                    .map(|one| Self::new(vr, one, depth))
                    .collect(),
            ),
            Matching::Range { from, to } => Self::between(vr, from.as_deref(), to.as_deref()),
            Matching::Sequence(_) if depth >= ITEM_DEPTH_MAX => Self::OneOf(Vec::new()),
            Matching::Sequence(keys) => {
                let matcher = Matcher::of_keys(keys, depth.saturating_add(1));
                if matcher.keys.is_empty() {
                    Self::Any
                } else {
                    Self::Item(matcher)
                }
            }
            Matching::SingleValue(value) => Self::single(vr, value),
            Matching::UidList(uids) => {
                Self::one_of(uids.iter().map(|uid| uid.as_str().to_owned()).collect())
            }
            Matching::Universal => Self::Any,
            Matching::WildCard(pattern) => Self::like(vr, pattern),
        }
    }

    fn one_of(mut values: Vec<String>) -> Self {
        values.sort_unstable();
        values.dedup();
        Self::OneOf(values)
    }

    fn either(conditions: Vec<Self>) -> Self {
        let mut values = Vec::new();
        let mut others = Vec::new();
        for condition in conditions {
            match condition {
                Self::Any => return Self::Any,
                Self::OneOf(more) => values.extend(more),
                other @ (Self::Between(..)
                | Self::Item(_)
                | Self::Groups(_)
                | Self::Either(_)
                | Self::Like(_)) => others.push(other),
            }
        }
        if others.is_empty() {
            return Self::one_of(values);
        }
        if !values.is_empty() {
            others.push(Self::one_of(values));
        }
        Self::Either(others)
    }

    fn single(vr: Vr, value: &str) -> Self {
        if matches!(vr, Vr::DA | Vr::DT | Vr::TM) {
            return match moment::bounds(vr, value) {
                None => Self::OneOf(Vec::new()),
                Some(bounds) if bounds.first == bounds.last => Self::OneOf(vec![bounds.first]),
                Some(bounds) => Self::Between(Some(bounds.first), Some(bounds.last)),
            };
        }
        let key = fold::matching_key(vr, value).into_owned();
        if fold::is_blank(vr, value) {
            Self::Any
        } else if key.is_empty() {
            Self::OneOf(Vec::new())
        } else if vr == Vr::PN && key.contains('=') {
            Self::groups(&key, |group| Self::OneOf(vec![group.to_owned()]))
        } else {
            Self::OneOf(vec![key])
        }
    }

    fn like(vr: Vr, pattern: &str) -> Self {
        let key = fold::matching_key(vr, pattern).into_owned();
        if vr != Vr::PN {
            return if key.chars().all(|c| c == '*') {
                Self::Any
            } else {
                Self::Like(Pattern::new(&key))
            };
        }
        if key.contains('=') {
            Self::groups(&key, Self::like_group)
        } else {
            Self::like_group(&key)
        }
    }

    fn like_group(group: &str) -> Self {
        if group.chars().all(|c| matches!(c, '*' | '^')) {
            Self::Any
        } else if group.contains(['*', '?']) {
            Self::Like(Pattern::of_name(group))
        } else {
            Self::OneOf(vec![group.to_owned()])
        }
    }

    fn groups(key: &str, compile: impl Fn(&str) -> Self) -> Self {
        let groups: Vec<Self> = fold::groups(Vr::PN, key)
            .map(|group| {
                if group.is_empty() {
                    Self::Any
                } else {
                    compile(group)
                }
            })
            .collect();
        if groups.iter().all(|group| matches!(group, Self::Any)) {
            Self::Any
        } else {
            Self::Groups(groups)
        }
    }

    fn between(vr: Vr, from: Option<&str>, to: Option<&str>) -> Self {
        let first = from.map(|from| moment::bounds(vr, from).map(|bounds| bounds.first));
        let last = to.map(|to| moment::bounds(vr, to).map(|bounds| bounds.last));
        match (first, last) {
            (None, None) => Self::Any,
            (Some(None), _) | (_, Some(None)) => Self::OneOf(Vec::new()),
            (Some(Some(first)), Some(Some(last))) if first > last => Self::OneOf(Vec::new()),
            (first, last) => Self::Between(first.flatten(), last.flatten()),
        }
    }

    /// Whether one folded value matches, in any of its component groups where it is a name.
    pub(super) fn matches_value(&self, vr: Vr, value: &str) -> bool {
        match self {
            Self::Either(conditions) => conditions.iter().any(|one| one.matches_value(vr, value)),
            Self::Groups(conditions) => Self::matches_groups(conditions, value),
            Self::Any | Self::Between(..) | Self::Item(_) | Self::Like(_) | Self::OneOf(_) => {
                fold::groups(vr, value).any(|group| !group.is_empty() && self.matches_plain(group))
            }
        }
    }

    fn matches_groups(conditions: &[Self], value: &str) -> bool {
        let mut groups = fold::groups(Vr::PN, value);
        conditions.iter().all(|condition| {
            let group = groups.next().unwrap_or_default();
            matches!(condition, Self::Any) || (!group.is_empty() && condition.matches_plain(group))
        })
    }

    /// Whether a folded value of one component group matches.
    pub(super) fn matches_plain(&self, value: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Between(first, last) => {
                first.as_deref().is_none_or(|first| first <= value)
                    && last.as_deref().is_none_or(|last| value <= last)
            }
            Self::Either(conditions) => conditions.iter().any(|one| one.matches_plain(value)),
            Self::Groups(conditions) => Self::matches_groups(conditions, value),
            Self::Item(_) => false,
            Self::Like(pattern) => pattern.matches(value),
            Self::OneOf(values) => match values.as_slice() {
                [one] => one == value,
                values => values
                    .binary_search_by(|one| one.as_str().cmp(value))
                    .is_ok(),
            },
        }
    }

    pub(super) fn lookup(&self) -> Lookup<'_> {
        match self {
            Self::Any | Self::Either(_) | Self::Item(_) => Lookup::Scan,
            Self::Between(first, last) => Lookup::Between(first.as_deref(), last.as_deref()),
            Self::Groups(conditions) => conditions
                .iter()
                .map(Self::lookup)
                .find(|lookup| *lookup != Lookup::Scan)
                .unwrap_or(Lookup::Scan),
            Self::Like(pattern) => match pattern.prefix() {
                "" => Lookup::Scan,
                prefix => Lookup::Prefix(prefix),
            },
            Self::OneOf(values) => Lookup::OneOf(values),
        }
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("Any"),
            Self::Between(..) => f.write_str("Between"),
            Self::Either(conditions) => f.debug_tuple("Either").field(conditions).finish(),
            Self::Groups(conditions) => f.debug_tuple("Groups").field(conditions).finish(),
            Self::Item(matcher) => f.debug_tuple("Item").field(matcher).finish(),
            Self::Like(_) => f.write_str("Like"),
            Self::OneOf(values) => f.debug_tuple("OneOf").field(&values.len()).finish(),
        }
    }
}

impl fmt::Debug for Lookup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Between(..) => "Between",
            Self::OneOf(_) => "OneOf",
            Self::Prefix(_) => "Prefix",
            Self::Scan => "Scan",
        })
    }
}
