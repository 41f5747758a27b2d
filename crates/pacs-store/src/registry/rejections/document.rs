//! What is kept of a rejection.

use super::super::Moment;
use super::super::RegistryError;
use super::super::document::Document;
use super::{OF_STUDY, OPEN, REFUSING, damaged};
use crate::records::Kind;
use pacs_core::examination::Reason;
use pacs_core::patient::PatientKey;
use pacs_core::rejection::{Quality, Title};
use pacs_core::uid::{SeriesUid, StudyUid};
use pacs_core::{ExaminationId, OrganisationCode, SopInstanceUid};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// Rejections of an organisation, newest first.
pub(super) const OF_ORGANISATION: Kind = Kind::new("rejection-of-organisation");

/// The ID of a rejection: when it was ordered, and what tells it apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RejectionId(Box<str>);

impl RejectionId {
    /// One of this moment.
    #[must_use]
    pub fn new(at: Moment, random: [u8; 8]) -> Self {
        let unix_ms = u64::try_from(at.timestamp_millis()).unwrap_or(0);
        let random = u64::from_be_bytes(random);
        Self(format!("{unix_ms:012x}{random:016x}").into())
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`]: there is none of such an ID.
    pub fn parse(text: &str) -> Result<Self, RegistryError> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 28 && text.bytes().all(is_digit) {
            return Ok(Self(text.into()));
        }
        Err(RegistryError::NotFound {
            what: Rejection::NAME,
        })
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As a part of keys by which the newest comes first.
    pub(in super::super) fn newest_first(&self) -> String {
        let turned = self.0.bytes().map(|byte| {
            let value = char::from(byte).to_digit(16).unwrap_or(0);
            char::from_digit(15_u32.saturating_sub(value), 16).unwrap_or('0')
        });
        turned.collect()
    }
}

impl fmt::Display for RejectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<RejectionId> for String {
    fn from(id: RejectionId) -> Self {
        id.0.into()
    }
}

impl TryFrom<String> for RejectionId {
    type Error = RegistryError;

    fn try_from(text: String) -> Result<Self, RegistryError> {
        Self::parse(&text).map_err(|_| damaged::<Rejection>())
    }
}

/// What of a study.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Some of its instances.
    Instances,
    /// A series of it, as it was at that moment.
    Series(SeriesUid),
    /// All of it, as it was at that moment.
    Study,
}

/// Who brought something back, when and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turned {
    /// Who.
    pub by: String,
    /// When.
    pub at: Moment,
    /// Why.
    pub reason: Reason,
}

/// Where a rejection stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectionState {
    /// The archive hides its instances.
    Applied,
    /// It is written down; the archive is about to be told.
    Ordered,
    /// It was undone, and the archive shows its instances, but for those that another one hides.
    Restored(Turned),
    /// It is undone; the archive is about to be told.
    Restoring(Turned),
}

/// Instances that were rejected together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// Its ID.
    pub id: RejectionId,
    /// Of which study.
    pub study: StudyUid,
    /// Whose the study was; `None`: nobody knew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organisation: Option<OrganisationCode>,
    /// The examination that it was of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub examination: Option<ExaminationId>,
    /// The patient of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<PatientKey>,
    /// What of it was meant.
    pub part: Part,
    /// How many instances that were.
    pub instances_count: u64,
    /// Why.
    pub title: Title,
    /// What is wrong with them, where that is it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<Quality>,
    /// Why, in words.
    pub reason: Reason,
    /// Who.
    pub by: String,
    /// When.
    pub at: Moment,
    /// The note of a device that was followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<SopInstanceUid>,
    /// Where it stands.
    pub state: RejectionState,
}

impl Document for Rejection {
    const KIND: Kind = Kind::new("rejection");
    const NAME: &'static str = "rejection";
}

/// Some of the instances of a rejection, and the series that these are of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Chunk {
    pub(super) instances: Vec<SopInstanceUid>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) series: BTreeSet<SeriesUid>,
}

impl Document for Chunk {
    const KIND: Kind = Kind::new("rejection-instances");
    const NAME: &'static str = "instances of a rejection";
}

impl Chunk {
    pub(super) fn of(instances: &[(SopInstanceUid, SeriesUid)]) -> Self {
        let (instances, series) = instances.iter().cloned().unzip();
        Self { instances, series }
    }

    pub(super) fn key(id: &RejectionId, number: usize) -> String {
        format!("{id}/{number:06}")
    }
}

/// An organisation in keys.
pub(super) fn scope(organisation: Option<OrganisationCode>) -> String {
    organisation.map_or_else(|| "none".to_owned(), |code| code.to_string())
}

/// The keys by which a rejection is found.
pub(super) fn keys_of(rejection: &Rejection) -> BTreeSet<(Kind, String)> {
    let id = &rejection.id;
    let place = format!("{}/{}", scope(rejection.organisation), id.newest_first());
    let mut keys = BTreeSet::from([
        (OF_STUDY, format!("{}/{id}", rejection.study.as_str())),
        (OF_ORGANISATION, place),
    ]);
    if matches!(
        rejection.state,
        RejectionState::Ordered | RejectionState::Restoring(_)
    ) {
        keys.insert((OPEN, id.as_str().to_owned()));
    }
    if rejection.is_refusing() {
        keys.insert((REFUSING, id.as_str().to_owned()));
    }
    keys
}
