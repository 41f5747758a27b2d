//! The tables, and the keys of the one that finds things.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | name | format version, counters and log position |
//! | `entities` | study number, series number (both big endian) | a series' row; a study's at 0 |
//! | `instances` | study number, series number, arrival | an instance's row |
//! | `sops` | SOP Instance UID; also NUL and version if not served | study, series, arrival |
//! | `arrivals` | change number by which it arrived | study, series |
//! | `moves` | change number of a hide, restore or erasure | kind, study, series, arrival |
//! | `keys` | kind, text, NUL, study number (and series number) | nothing |
//! | `names` | (study number - 1) / 32 | folded names of those studies, one after another |
//! | `notes` | Study Instance UID | what is known of the study beside what was received |
//! | `facts` | study number | what decides who sees it, where that is known |
//! | `received` | study number | its attributes as they were received, where others were noted |
//! | `copies` | study, series, arrival, and where its content stands once more | length |
//! | `doomed` | where content stands that is erased | length, study, series, arrival |
//!
//! An instance's number is the change by which it arrived, so that most of the change sequence
//! costs nothing. What is erased keeps its rows under a number of a study that nothing finds any
//! more, without attributes: the change sequence tells of it.

use super::codec::{Reader, Writer};
use super::fault::Fault;
use crate::index::{IndexError, LogPosition};
use pacs_core::matching::Lookup;
use pacs_core::tag::tags;
use pacs_core::{Attributes, Tag, fold, tag::vr_of};
use redb::{ReadableTable, TableDefinition};
use std::collections::BTreeSet;
use std::ops::Range;

pub(super) type Bytes = &'static [u8];

pub(super) const META: TableDefinition<'_, &str, Bytes> = TableDefinition::new("meta");
pub(super) const ENTITIES: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("entities");
pub(super) const INSTANCES: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("instances");
pub(super) const SOPS: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("sops");
pub(super) const ARRIVALS: TableDefinition<'_, u64, Bytes> = TableDefinition::new("arrivals");
pub(super) const MOVES: TableDefinition<'_, u64, Bytes> = TableDefinition::new("moves");
pub(super) const KEYS: TableDefinition<'_, Bytes, ()> = TableDefinition::new("keys");
pub(super) const NAMES: TableDefinition<'_, u64, Bytes> = TableDefinition::new("names");

pub(super) const NOTES: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("notes");
pub(super) const FACTS: TableDefinition<'_, u64, Bytes> = TableDefinition::new("facts");
pub(super) const RECEIVED: TableDefinition<'_, u64, Bytes> = TableDefinition::new("received");
pub(super) const COPIES: TableDefinition<'_, Bytes, u64> = TableDefinition::new("copies");
pub(super) const DOOMED: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("doomed");

/// How many names stand in one row of `names`.
pub(super) const NAMES_PER_ROW: u64 = 32;

/// Version of all this; another one is refused, and the index made anew from the packs.
pub(super) const FORMAT_VERSION: u32 = 1;

/// How far everything has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// The last one given.
    pub(super) change: u64,
    /// The last one given.
    pub(super) study: u64,
    pub(super) position: LogPosition,
}

impl Counters {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.number(u64::from(FORMAT_VERSION));
        writer.number(self.change);
        writer.number(self.study);
        writer.number(self.position.pack);
        writer.number(self.position.offset);
        writer.into_bytes()
    }

    pub(super) fn decode(row: &[u8]) -> Result<Self, IndexError> {
        let mut reader = Reader::new(row, "state of the index");
        if reader.number()? != u64::from(FORMAT_VERSION) {
            return Err(IndexError::Damaged {
                what: "format version",
            });
        }
        Ok(Self {
            change: reader.number()?,
            study: reader.number()?,
            position: LogPosition {
                pack: reader.number()?,
                offset: reader.number()?,
            },
        })
    }
}

/// What a key in `keys` is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind(u8);

impl Kind {
    pub(super) const PATIENT: Self = Self(b'P');
    pub(super) const SERIES_UID: Self = Self(b'S');
    pub(super) const STUDY_UID: Self = Self(b'U');

    /// The kind that finds studies by `tag`.
    pub(super) fn of(tag: Tag) -> Option<Self> {
        let known = BY_ATTRIBUTE.iter().find(|(_, known)| *known == tag);
        known.map(|(kind, _)| *kind)
    }
}

/// What finds studies, what selects best first.
pub(super) const BY_ATTRIBUTE: [(Kind, Tag); 5] = [
    (Kind::STUDY_UID, tags::STUDY_INSTANCE_UID),
    (Kind(b'I'), tags::PATIENT_ID),
    (Kind(b'A'), tags::ACCESSION_NUMBER),
    (Kind(b'N'), tags::PATIENT_NAME),
    (Kind(b'D'), tags::STUDY_DATE),
];

/// Bytes of text in a key; what begins alike beyond them is told apart by the matcher.
const TEXT_BYTES: usize = 200;

fn cut(text: &[u8]) -> &[u8] {
    text.get(..TEXT_BYTES).unwrap_or(text)
}

/// A key for a study.
pub(super) fn study_key(kind: Kind, text: &[u8], study: u64) -> Vec<u8> {
    let mut key = stem(kind, text);
    key.push(0);
    key.extend_from_slice(&study.to_be_bytes());
    key
}

/// A key for a series.
pub(super) fn series_key(uid: &str, study: u64, series: u32) -> Vec<u8> {
    let mut key = study_key(Kind::SERIES_UID, uid.as_bytes(), study);
    key.extend_from_slice(&series.to_be_bytes());
    key
}

fn stem(kind: Kind, text: &[u8]) -> Vec<u8> {
    let text = cut(text);
    let mut key = Vec::with_capacity(text.len() + 16);
    key.push(kind.0);
    key.extend_from_slice(text);
    key
}

/// The study that a key is for.
pub(super) fn study_of(key: &[u8]) -> Result<u64, IndexError> {
    let number = key.split_last_chunk().map(|(_, number)| *number);
    number.map(u64::from_be_bytes).ok_or(IndexError::Damaged {
        what: "key of a study",
    })
}

/// The series that a key is for.
pub(super) fn series_of(key: &[u8]) -> Result<(u64, u32), IndexError> {
    let damaged = IndexError::Damaged {
        what: "key of a series",
    };
    let (rest, series) = key.split_last_chunk().ok_or(damaged)?;
    Ok((study_of(rest)?, u32::from_be_bytes(*series)))
}

/// All keys of the study `study` but that of its patient.
pub(super) fn keys_of(attributes: &Attributes, uid: &str, study: u64) -> BTreeSet<Vec<u8>> {
    let mut keys = BTreeSet::from([study_key(Kind::STUDY_UID, uid.as_bytes(), study)]);
    for (kind, tag) in BY_ATTRIBUTE {
        if tag == tags::STUDY_INSTANCE_UID {
            continue;
        }
        let text = attributes.text(tag).unwrap_or_default();
        let key = fold::matching_key(vr_of(tag), text);
        for entry in fold::entries(vr_of(tag), &key) {
            keys.insert(study_key(kind, entry.as_bytes(), study));
        }
    }
    keys
}

/// The ranges of `keys` that hold whatever `lookup` can find; `None` where it is no use.
pub(super) fn ranges(kind: Kind, lookup: Lookup<'_>) -> Option<Vec<Range<Vec<u8>>>> {
    match lookup {
        Lookup::OneOf(texts) => Some(
            texts
                .iter()
                .map(|text| exact(kind, text.as_bytes()))
                .collect(),
        ),
        Lookup::Prefix(text) => Some(vec![prefix(stem(kind, text.as_bytes()))]),
        Lookup::Between(first, last) => {
            let start = stem(kind, first.unwrap_or_default().as_bytes());
            let end = match last {
                None => prefix(vec![kind.0]).end,
                Some(last) => prefix(stem(kind, last.as_bytes())).end,
            };
            Some(vec![start..end])
        }
        Lookup::Scan => None,
    }
}

/// Where the keys with exactly this text stand.
pub(super) fn exact(kind: Kind, text: &[u8]) -> Range<Vec<u8>> {
    let mut start = stem(kind, text);
    if cut(text).len() == text.len() {
        start.push(0);
    }
    prefix(start)
}

/// Everything that begins with `start`.
pub(super) fn prefix(start: Vec<u8>) -> Range<Vec<u8>> {
    let mut end = start.clone();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    start..end
}

/// Calls `each` with the keys of `table` that are in `range`.
pub(super) fn each_key(
    table: &impl ReadableTable<Bytes, ()>,
    range: &Range<Vec<u8>>,
    mut each: impl FnMut(&[u8]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    if range.start >= range.end {
        return Ok(());
    }
    for entry in table.range::<&[u8]>(range.start.as_slice()..range.end.as_slice())? {
        each(entry?.0.value())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_range_holds_the_text_and_nothing_that_only_begins_so() {
        let kind = Kind(b'I');
        let range = exact(kind, b"P1");

        assert!(range.contains(&study_key(kind, b"P1", 7)));
        assert!(range.contains(&study_key(kind, b"P1", u64::MAX)));
        assert!(!range.contains(&study_key(kind, b"P12", 0)));
        assert!(!range.contains(&study_key(kind, b"P", 7)));
        assert!(!range.contains(&study_key(Kind(b'A'), b"P1", 7)));
    }

    #[test]
    fn text_longer_than_a_key_is_found_by_its_beginning() {
        let kind = Kind(b'N');
        let long = "ы".repeat(TEXT_BYTES);
        let longer = format!("{long}э");

        let key = study_key(kind, longer.as_bytes(), 7);

        assert!(exact(kind, longer.as_bytes()).contains(&key));
        let found = ranges(kind, Lookup::Prefix(&long)).unwrap();
        assert!(found[0].contains(&key));
        assert_eq!(study_of(&key).unwrap(), 7);
    }

    #[test]
    fn bounds_of_a_range_are_inclusive() {
        let kind = Kind(b'D');
        let between = |first, last| {
            let mut found = ranges(kind, Lookup::Between(first, last)).unwrap();
            found.remove(0)
        };
        let key = study_key(kind, b"20260314", 7);

        for (first, last, is_in) in [
            (Some("20260314"), Some("20260314"), true),
            (None, Some("20260314"), true),
            (Some("20260314"), None, true),
            (None, None, true),
            (Some("20260315"), None, false),
            (None, Some("20260313"), false),
        ] {
            assert_eq!(between(first, last).contains(&key), is_in);
        }
        assert!(!between(None, None).contains(&study_key(Kind(b'E'), b"2", 7)));
    }

    #[test]
    fn another_format_version_is_refused() {
        let counters = Counters {
            change: 3,
            study: 2,
            ..Counters::default()
        };
        let mut row = counters.encode();
        assert_eq!(Counters::decode(&row).unwrap(), counters);
        row[0] += 1;

        let refused = Counters::decode(&row);

        assert!(matches!(
            refused,
            Err(IndexError::Damaged {
                what: "format version"
            })
        ));
    }
}
