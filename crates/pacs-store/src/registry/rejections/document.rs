//! What is kept of a rejection.

use super::super::Moment;
use super::super::RegistryError;
use super::super::document::Document;
use super::{OF_STUDY, OPEN, REFUSING, damaged};
use crate::records::Kind;
use pacs_core::examination::Reason;
use pacs_core::examination::reconcile::Kind as ImageKind;
use pacs_core::patient::PatientKey;
use pacs_core::rejection::{Images, Quality, Title};
use pacs_core::uid::{SeriesUid, StudyUid};
use pacs_core::{DepartmentCode, ExaminationId, OrganisationCode, SopInstanceUid};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
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
    /// The kinds of its images then; of none, nobody knew them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub kinds: BTreeSet<ImageKind>,
    /// The department where they were made; `None`: nobody knew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub department: Option<DepartmentCode>,
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

impl Rejection {
    /// Its images, as far as it matters who judges them.
    #[must_use]
    pub const fn images(&self) -> Images<'_> {
        Images::new(self.organisation, &self.kinds, self.department.as_ref())
    }
}

/// Some of the instances of a rejection, and the series that these are of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Chunk {
    /// Series by series, where `counts` are there.
    pub(super) instances: Vec<SopInstanceUid>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    series: BTreeSet<SeriesUid>,
    /// How many of `instances` are of each of `series`; none where nobody wrote that down yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    counts: Vec<usize>,
}

impl Document for Chunk {
    const KIND: Kind = Kind::new("rejection-instances");
    const NAME: &'static str = "instances of a rejection";
}

impl Chunk {
    pub(super) fn of(instances: &[(SopInstanceUid, SeriesUid)]) -> Self {
        let mut by_series = BTreeMap::<_, Vec<_>>::new();
        for (instance, series) in instances {
            let of_series = by_series.entry(series.clone()).or_default();
            of_series.push(instance.clone());
        }
        Self {
            counts: by_series.values().map(Vec::len).collect(),
            series: by_series.keys().cloned().collect(),
            instances: by_series.into_values().flatten().collect(),
        }
    }

    pub(super) fn key(id: &RejectionId, number: usize) -> String {
        format!("{id}/{number:06}")
    }

    /// Its instances, each with its series, where that is known of each; else none.
    pub(super) fn with_series(&self) -> Vec<(&SopInstanceUid, &SeriesUid)> {
        let all = self.instances.iter();
        if let (true, 1, Some(only)) = (
            self.counts.is_empty(),
            self.series.len(),
            self.series.first(),
        ) {
            return all.map(|instance| (instance, only)).collect();
        }
        let series = self.series.iter().zip(&self.counts);
        let series = series.flat_map(|(of, count)| std::iter::repeat_n(of, *count));
        all.zip(series).collect()
    }

    /// The series of its instances that are `meant`, where that is known of each, else of all;
    /// `None`: nobody wrote them down.
    pub(super) fn series_of(
        &self,
        meant: impl Fn(&SopInstanceUid) -> bool,
    ) -> Option<BTreeSet<SeriesUid>> {
        let mut of_them = BTreeSet::new();
        if self.counts.is_empty() {
            if self.instances.iter().any(meant) {
                return (!self.series.is_empty()).then(|| self.series.clone());
            }
            return Some(of_them);
        }
        let mut rest = self.instances.iter();
        for (series, count) in self.series.iter().zip(&self.counts) {
            let of_series = rest.by_ref().take(*count);
            if of_series.filter(|instance| meant(instance)).count() > 0 {
                of_them.insert(series.clone());
            }
        }
        Some(of_them)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(text: &str) -> SopInstanceUid {
        SopInstanceUid::parse(text).unwrap()
    }

    fn series<const N: usize>(texts: [&str; N]) -> BTreeSet<SeriesUid> {
        texts.map(|text| SeriesUid::parse(text).unwrap()).into()
    }

    #[test]
    fn the_series_of_some_instances_are_known_as_far_as_they_were_written_down() {
        let of = |uid: &str, of: &str| (instance(uid), SeriesUid::parse(of).unwrap());
        let mixed = [of("1.2.1", "1.2"), of("1.1.1", "1.1"), of("1.2.2", "1.2")];
        let chunk = Chunk::of(&mixed);
        let meant = |chunk: &Chunk, uids: &[&str]| {
            let uids: Vec<_> = uids.iter().map(|uid| instance(uid)).collect();
            chunk.series_of(|uid| uids.contains(uid))
        };
        assert_eq!(meant(&chunk, &["1.2.1"]), Some(series(["1.2"])));
        assert_eq!(meant(&chunk, &["1.2.2"]), Some(series(["1.2"])));
        assert_eq!(meant(&chunk, &["1.1.1"]), Some(series(["1.1"])));
        let both = Some(series(["1.1", "1.2"]));
        assert_eq!(meant(&chunk, &["1.1.1", "1.2.2"]), both);
        assert_eq!(meant(&chunk, &[]), Some(series([])));

        // As rejections of before have it.
        let text = r#"{"instances": ["1.2.1", "1.1.1"], "series": ["1.1", "1.2"]}"#;
        let older: Chunk = serde_json::from_str(text).unwrap();
        assert_eq!(meant(&older, &["1.1.1"]), both);
        assert_eq!(meant(&older, &[]), Some(series([])));
        assert_eq!(older.with_series(), []);
        let known = chunk.with_series().into_iter();
        let known: Vec<_> = known
            .map(|(of, series)| (of.as_str(), series.as_str()))
            .collect();
        assert_eq!(
            known,
            [("1.1.1", "1.1"), ("1.2.1", "1.2"), ("1.2.2", "1.2")]
        );
        let text = r#"{"instances": ["1.2.1", "1.2.2"], "series": ["1.2"]}"#;
        let of_one: Chunk = serde_json::from_str(text).unwrap();
        assert_eq!(of_one.with_series().len(), 2);
        let oldest: Chunk = serde_json::from_str(r#"{"instances": ["1.1.1"]}"#).unwrap();
        assert_eq!(meant(&oldest, &["1.1.1"]), None);
    }
}
