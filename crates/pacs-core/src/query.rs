//! A query: a level, and keys with what they must match (PS3.4 C.2.2.2).
//!
//! The same type serves C-FIND, C-MOVE, C-GET and QIDO-RS, on both sides. What it means is
//! [`crate::matching`]. Identifiers from outside pass the scanner and [`QueryLimits`]; keys that
//! the archive cannot match become universal, as PS3.4 C.2.2.1.3 has it, and
//! [`Query::unsupported`] names them.

mod identifier;
mod value;

use crate::attributes::{Attributes, Value};
use crate::encode::{self, EncodeError};
use crate::instance::level_of;
use crate::limits::{ITEM_DEPTH_MAX, QueryLimits};
use crate::tag::{Tag, Vr, tags, vr_of};
use crate::uid::{TransferSyntaxUid, Uid};
pub(crate) use identifier::{Identifier, put};

/// The levels of the query/retrieve information models (PS3.4 C.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// PATIENT
    Patient,
    /// STUDY
    Study,
    /// SERIES
    Series,
    /// IMAGE on the wire.
    Instance,
}

/// The information model a query is asked in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Model {
    /// PS3.4 C.6.1
    PatientRoot,
    /// PS3.4 C.6.2: patient attributes belong to the study.
    StudyRoot,
}

/// How a key matches (PS3.4 C.2.2.2). `Debug` shows kinds and no values.
#[derive(Clone, PartialEq, Eq)]
pub enum Matching {
    /// Any of these: the values of a key, each matched in its own way. UIDs stand in a
    /// [`Self::UidList`].
    AnyOf(Vec<Self>),
    /// From and to, both inclusive; an absent bound is open (C.2.2.2.5).
    Range {
        /// First value that matches.
        from: Option<String>,
        /// Last value that matches.
        to: Option<String>,
    },
    /// Some item matches all of these (C.2.2.2.6).
    Sequence(Vec<Key>),
    /// Equal to this (C.2.2.2.1).
    SingleValue(String),
    /// One of these (C.2.2.2.2).
    UidList(Vec<Uid>),
    /// Anything: a key that is only to be returned (C.2.2.2.3).
    Universal,
    /// With `*` and `?` (C.2.2.2.4).
    WildCard(String),
}

/// One key of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its tag.
    pub tag: Tag,
    /// Its VR.
    pub vr: Vr,
    /// What it must match.
    pub matching: Matching,
}

/// A query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// What is looked for.
    pub level: Level,
    /// In tag order; those that are [`Matching::Universal`] are only returned.
    pub keys: Vec<Key>,
}

/// Why an identifier is not a query. The texts of keys are never shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// Query/Retrieve Level (0008,0052) is absent, unknown, or not of the model.
    #[error("Query/Retrieve Level is missing or not one of this information model")]
    Level,
    /// More keys, values or bytes than [`crate::limits::QueryLimits`] allow.
    #[error("query exceeds {what}")]
    Limit {
        /// Which limit.
        what: &'static str,
    },
    /// A key of a retrieval belongs to a level below its own, so that it asks for less than would
    /// be sent.
    #[error("key {tag} is of a lower level than the retrieval")]
    LowerLevel {
        /// Which.
        tag: Tag,
    },
    /// A unique key is missing, or not a single value (nor a list of UIDs), where there must be
    /// one.
    #[error("unique key {tag} is required here")]
    UniqueKey {
        /// Which.
        tag: Tag,
    },
    /// A value does not follow its VR.
    #[error("value of {tag} cannot be matched")]
    Value {
        /// Which.
        tag: Tag,
    },
    /// The bytes are not a data set.
    #[error("identifier cannot be read")]
    Scan(#[from] crate::scan::ScanError),
}

impl Level {
    /// All, from the top.
    pub const ALL: [Self; 4] = [Self::Patient, Self::Study, Self::Series, Self::Instance];

    /// The value of Query/Retrieve Level (0008,0052).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Patient => "PATIENT",
            Self::Study => "STUDY",
            Self::Series => "SERIES",
            Self::Instance => "IMAGE",
        }
    }

    /// The level that a value of (0008,0052) names.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.trim_matches([' ', '\0']);
        let mut all = Self::ALL.into_iter();
        all.find(|level| level.name().eq_ignore_ascii_case(name))
    }

    /// The attribute that identifies an entity of this level.
    #[must_use]
    pub const fn unique_key(self) -> Tag {
        match self {
            Self::Patient => tags::PATIENT_ID,
            Self::Study => tags::STUDY_INSTANCE_UID,
            Self::Series => tags::SERIES_INSTANCE_UID,
            Self::Instance => tags::SOP_INSTANCE_UID,
        }
    }
}

impl Model {
    /// Its levels, from the top.
    #[must_use]
    pub fn levels(self) -> &'static [Level] {
        match self {
            Self::PatientRoot => &Level::ALL,
            Self::StudyRoot => &[Level::Study, Level::Series, Level::Instance],
        }
    }
}

/// What an index computes for the entities of a level, in tag order; levels below show it too.
pub const COMPUTED: &[(Tag, Level)] = &[
    (tags::MODALITIES_IN_STUDY, Level::Study),
    (tags::SOP_CLASSES_IN_STUDY, Level::Study),
    (tags::NUMBER_OF_PATIENT_RELATED_STUDIES, Level::Patient),
    (tags::NUMBER_OF_PATIENT_RELATED_SERIES, Level::Patient),
    (tags::NUMBER_OF_PATIENT_RELATED_INSTANCES, Level::Patient),
    (tags::NUMBER_OF_STUDY_RELATED_SERIES, Level::Study),
    (tags::NUMBER_OF_STUDY_RELATED_INSTANCES, Level::Study),
    (tags::NUMBER_OF_SERIES_RELATED_INSTANCES, Level::Series),
];

/// Attributes that say something of the archive or of the identifier: answered, never matched.
const NEVER_MATCHED: [Tag; 7] = [
    tags::SPECIFIC_CHARACTER_SET,
    tags::QUERY_RETRIEVE_LEVEL,
    tags::RETRIEVE_AE_TITLE,
    tags::INSTANCE_AVAILABILITY,
    tags::TIMEZONE_OFFSET_FROM_UTC,
    tags::STORAGE_MEDIA_FILE_SET_ID,
    tags::STORAGE_MEDIA_FILE_SET_UID,
];

/// Whether entities of `level` have the attribute.
fn is_supported(tag: Tag, level: Level) -> bool {
    let computed = COMPUTED.iter().find(|entry| entry.0 == tag);
    let of = level_of(tag).or(computed.map(|entry| entry.1));
    of.is_some_and(|of| of <= level)
}

impl Key {
    /// A key with its VR from the dictionary; several values stand between backslashes.
    ///
    /// # Errors [`QueryError::Value`], [`QueryError::Limit`]: as [`Matching::of_text`] under the
    /// default limits.
    pub fn new(tag: Tag, text: &str) -> Result<Self, QueryError> {
        let vr = vr_of(tag);
        let matching = Matching::of_text(tag, vr, text, &QueryLimits::default())?;
        Ok(Self { tag, vr, matching })
    }

    /// A key that is only to be returned.
    #[must_use]
    pub fn universal(tag: Tag) -> Self {
        Self {
            tag,
            vr: vr_of(tag),
            matching: Matching::Universal,
        }
    }
}

impl Query {
    /// A query that matches everything of `level`.
    #[must_use]
    pub const fn new(level: Level) -> Self {
        Self {
            level,
            keys: Vec::new(),
        }
    }

    /// Adds a key, replacing one of the same tag.
    #[must_use]
    pub fn with(mut self, key: Key) -> Self {
        put(&mut self.keys, key);
        self
    }

    /// Adds a key to match; wild cards, ranges and lists as DICOM writes them.
    ///
    /// # Errors
    /// As [`Key::new`].
    pub fn key(self, tag: Tag, text: &str) -> Result<Self, QueryError> {
        Ok(self.with(Key::new(tag, text)?))
    }

    /// Adds a key that is only to be returned. A key of the same tag that matches stays.
    #[must_use]
    pub fn returning(mut self, tag: Tag) -> Self {
        if let Err(at) = self.keys.binary_search_by_key(&tag, |key| key.tag) {
            self.keys.insert(at, Key::universal(tag));
        }
        self
    }

    /// Reads the identifier of a C-FIND request.
    ///
    /// Unless `relational`, the unique key of every level above must be a single value (a list of
    /// UIDs is taken too).
    ///
    /// # Errors
    /// [`QueryError`], naming the key.
    pub fn from_identifier(
        bytes: &[u8],
        transfer_syntax: &TransferSyntaxUid,
        model: Model,
        relational: bool,
        limits: &QueryLimits,
    ) -> Result<Self, QueryError> {
        let identifier = Identifier::read(bytes, transfer_syntax, limits)?;
        let level = level_in(&identifier, model)?;
        let mut query = Self {
            level,
            keys: identifier.keys,
        };
        for key in &mut query.keys {
            if !is_supported(key.tag, level) || NEVER_MATCHED.contains(&key.tag) {
                key.matching = Matching::Universal;
            }
        }
        if !relational {
            let above = model.levels().iter().filter(|above| **above < level);
            above.copied().try_for_each(|above| query.require(above))?;
        }
        Ok(query)
    }

    /// Reads the identifier of a C-MOVE or C-GET request: its unique keys alone, other attributes
    /// are ignored.
    ///
    /// The unique key of the level must be a single value or a list of UIDs; so must, unless
    /// `relational`, those of the levels above.
    ///
    /// # Errors
    /// [`QueryError`], naming the key.
    pub fn for_retrieve(
        bytes: &[u8],
        transfer_syntax: &TransferSyntaxUid,
        model: Model,
        relational: bool,
        limits: &QueryLimits,
    ) -> Result<Self, QueryError> {
        let identifier = Identifier::read(bytes, transfer_syntax, limits)?;
        let level = level_in(&identifier, model)?;
        let mut query = Self {
            level,
            keys: identifier.keys,
        };
        query.keys.retain(|key| {
            let mut levels = Level::ALL.iter();
            let is_unique = levels.any(|level| level.unique_key() == key.tag);
            is_unique && key.matching != Matching::Universal
        });
        if let Some(below) = Level::ALL.iter().find(|below| {
            **below > level && query.keys.iter().any(|key| key.tag == below.unique_key())
        }) {
            let tag = below.unique_key();
            return Err(QueryError::LowerLevel { tag });
        }
        for key in &query.keys {
            key.check_single()?;
        }
        query.require(level)?;
        if !relational {
            let above = model.levels().iter().filter(|above| **above < level);
            above.copied().try_for_each(|above| query.require(above))?;
        }
        Ok(query)
    }

    fn require(&self, level: Level) -> Result<(), QueryError> {
        let tag = level.unique_key();
        match self.keys.iter().find(|key| key.tag == tag) {
            Some(key) => key.check_single(),
            None => Err(QueryError::UniqueKey { tag }),
        }
    }

    /// The keys that entities of this level do not have: neither matched nor returned (status
    /// FF01H).
    pub fn unsupported(&self) -> impl Iterator<Item = Tag> {
        let tags = self.keys.iter().map(|key| key.tag);
        tags.filter(|tag| !is_supported(*tag, self.level) && !NEVER_MATCHED.contains(tag))
    }

    /// The identifier that asks this, level included.
    ///
    /// # Errors
    /// [`EncodeError`] where the text of a key cannot be written as its VR.
    pub fn to_identifier(
        &self,
        transfer_syntax: &TransferSyntaxUid,
    ) -> Result<Vec<u8>, EncodeError> {
        let mut attributes = keys_as_attributes(&self.keys, 0)?;
        attributes.insert_text(tags::QUERY_RETRIEVE_LEVEL, Vr::CS, self.level.name());
        encode::write_data_set(&attributes, transfer_syntax)
    }
}

impl Key {
    fn check_single(&self) -> Result<(), QueryError> {
        if matches!(
            self.matching,
            Matching::SingleValue(_) | Matching::UidList(_)
        ) {
            Ok(())
        } else {
            Err(QueryError::UniqueKey { tag: self.tag })
        }
    }
}

fn level_in(identifier: &Identifier, model: Model) -> Result<Level, QueryError> {
    let level = identifier.level.as_deref().and_then(Level::from_name);
    level
        .filter(|level| model.levels().contains(level))
        .ok_or(QueryError::Level)
}

pub(crate) fn keys_as_attributes(keys: &[Key], depth: usize) -> Result<Attributes, EncodeError> {
    if depth > ITEM_DEPTH_MAX {
        return Err(EncodeError::Depth);
    }
    let mut attributes = Attributes::new();
    for key in keys {
        let value = if let Matching::Sequence(keys) = &key.matching {
            let item = keys_as_attributes(keys, depth.saturating_add(1))?;
            Value::Items(vec![item])
        } else if key.vr == Vr::SQ {
            Value::Items(Vec::new())
        } else {
            Value::Text(key.matching.to_text().into())
        };
        attributes.insert(key.tag, key.vr, value);
    }
    Ok(attributes)
}

impl std::fmt::Debug for Matching {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AnyOf(alternatives) => f.debug_tuple("AnyOf").field(alternatives).finish(),
            Self::Range { .. } => f.write_str("Range"),
            Self::Sequence(keys) => f.debug_tuple("Sequence").field(keys).finish(),
            Self::SingleValue(_) => f.write_str("SingleValue"),
            Self::UidList(uids) => f.debug_tuple("UidList").field(&uids.len()).finish(),
            Self::Universal => f.write_str("Universal"),
            Self::WildCard(_) => f.write_str("WildCard"),
        }
    }
}
