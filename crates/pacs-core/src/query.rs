//! A query: a level, and keys with what they must match (PS3.4 C.2.2.2).
//!
//! The same type serves C-FIND, C-MOVE, C-GET and QIDO-RS. What it means is [`crate::matching`].

use crate::tag::{Tag, Vr};
use crate::uid::Uid;

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
    /// Any of these: the values of a key, each matched in its own way. UIDs stand in a [`Self::UidList`].
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
    /// A unique key of a level above is missing where the query is hierarchical.
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
