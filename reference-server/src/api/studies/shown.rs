//! Studies, rejections, notes and sendings as the API shows them.

use crate::api::conditional::etag;
use pacs_core::examination::reconcile::QueueReason;
use pacs_core::rejection::{Asked, Quality, Rejected, Title};
use pacs_core::tag::tags;
use pacs_core::uid::StudyUid;
use pacs_core::{Attributes, SopInstanceUid, Tag};
use pacs_store::registry::rejections::{
    Belonging, NoteState, Part, Rejection, RejectionId, RejectionState, StoredNote, Turned,
};
use pacs_store::registry::sendings::{NotTaken, Sending, SendingState};
use pacs_store::registry::{Moment, Stored};
use serde::Serialize;

fn text(attributes: &Attributes, tag: Tag) -> Option<String> {
    let text = attributes.text(tag).map(str::trim)?;
    (!text.is_empty()).then(|| text.to_owned())
}

fn count(attributes: &Attributes, tag: Tag) -> u64 {
    let text = text(attributes, tag).unwrap_or_default();
    text.parse().unwrap_or(0)
}

/// A study in a list.
#[derive(Serialize)]
pub(super) struct StudyListed {
    uid: String,
    organisation: Option<String>,
    examination: Option<String>,
    date: Option<String>,
    time: Option<String>,
    description: Option<String>,
    modalities: Vec<String>,
    series_count: u64,
    instances_count: u64,
}

impl StudyListed {
    pub(super) fn new(study: &StudyUid, belonging: &Belonging, found: &Attributes) -> Self {
        let modalities = text(found, tags::MODALITIES_IN_STUDY).unwrap_or_default();
        let modalities = modalities
            .split('\\')
            .filter(|modality| !modality.is_empty());
        Self {
            uid: study.as_str().to_owned(),
            organisation: belonging.organisation.map(|code| code.to_string()),
            examination: belonging.examination.as_ref().map(|(id, _)| id.to_string()),
            date: text(found, tags::STUDY_DATE),
            time: text(found, tags::STUDY_TIME),
            description: text(found, tags::STUDY_DESCRIPTION),
            modalities: modalities.map(str::to_owned).collect(),
            series_count: count(found, tags::NUMBER_OF_STUDY_RELATED_SERIES),
            instances_count: count(found, tags::NUMBER_OF_STUDY_RELATED_INSTANCES),
        }
    }
}

/// A study, whole.
#[derive(Serialize)]
pub(super) struct Study {
    #[serde(flatten)]
    pub(super) study: StudyListed,
    pub(super) series: Vec<SeriesShown>,
    /// What somebody has to look at.
    pub(super) flags: Vec<QueueReason>,
    pub(super) rejections: Vec<RejectionShown>,
    pub(super) sendings: Vec<SendingShown>,
}

/// A series.
#[derive(Serialize)]
pub(super) struct SeriesShown {
    uid: String,
    modality: Option<String>,
    number: Option<String>,
    description: Option<String>,
    instances_count: u64,
}

impl SeriesShown {
    pub(super) fn new(found: &Attributes) -> Self {
        Self {
            uid: text(found, tags::SERIES_INSTANCE_UID).unwrap_or_default(),
            modality: text(found, tags::MODALITY),
            number: text(found, tags::SERIES_NUMBER),
            description: text(found, tags::SERIES_DESCRIPTION),
            instances_count: count(found, tags::NUMBER_OF_SERIES_RELATED_INSTANCES),
        }
    }
}

/// Who undid something, when and why.
#[derive(Serialize)]
pub(super) struct TurnedShown {
    by: String,
    at: Moment,
    reason: String,
}

impl From<&Turned> for TurnedShown {
    fn from(turned: &Turned) -> Self {
        Self {
            by: turned.by.clone(),
            at: turned.at,
            reason: turned.reason.reveal().to_owned(),
        }
    }
}

/// A rejection.
#[derive(Serialize)]
pub(super) struct RejectionShown {
    id: String,
    etag: String,
    study: String,
    series: Option<String>,
    part: &'static str,
    organisation: Option<String>,
    examination: Option<String>,
    instances_count: u64,
    title: Title,
    quality: Option<Quality>,
    reason: String,
    by: String,
    at: Moment,
    note: Option<String>,
    state: &'static str,
    restored: Option<TurnedShown>,
}

impl From<&Stored<Rejection>> for RejectionShown {
    fn from(stored: &Stored<Rejection>) -> Self {
        let of = &stored.value;
        let (state, restored) = match &of.state {
            RejectionState::Applied => ("applied", None),
            RejectionState::Ordered => ("ordered", None),
            RejectionState::Restored(turned) => ("restored", Some(turned)),
            RejectionState::Restoring(turned) => ("restoring", Some(turned)),
        };
        let (part, series) = match &of.part {
            Part::Instances => ("instances", None),
            Part::Series(series) => ("series", Some(series.as_str().to_owned())),
            Part::Study => ("study", None),
        };
        Self {
            id: of.id.to_string(),
            etag: etag(stored.revision),
            study: of.study.as_str().to_owned(),
            series,
            part,
            organisation: of.organisation.map(|code| code.to_string()),
            examination: of.examination.map(|id| id.to_string()),
            instances_count: of.instances_count,
            title: of.title,
            quality: of.quality,
            reason: of.reason.reveal().to_owned(),
            by: of.by.clone(),
            at: of.at,
            note: of.note.as_ref().map(|uid| uid.as_str().to_owned()),
            state,
            restored: restored.map(Into::into),
        }
    }
}

/// An instance of a rejection.
#[derive(Serialize)]
pub(super) struct InstanceShown {
    instance: String,
    /// Where a small picture of it can be had.
    preview: String,
}

impl InstanceShown {
    pub(super) fn new(rejection: &RejectionId, instance: &SopInstanceUid) -> Self {
        let instance = instance.as_str().to_owned();
        let prefix = crate::api::PREFIX;
        Self {
            preview: format!("{prefix}/rejections/{rejection}/instances/{instance}/preview"),
            instance,
        }
    }
}

/// A note of a device.
#[derive(Serialize)]
pub(super) struct NoteShown {
    instance: String,
    etag: String,
    study: String,
    sender: String,
    organisation: Option<String>,
    received_at: Moment,
    asks: &'static str,
    quality: Option<Quality>,
    rejected: Vec<Rejected>,
    left_out_count: u64,
    state: &'static str,
    rejections: Vec<String>,
    dismissed: Option<TurnedShown>,
}

impl From<&Stored<StoredNote>> for NoteShown {
    fn from(stored: &Stored<StoredNote>) -> Self {
        let of = &stored.value;
        let (state, rejections, dismissed) = match &of.state {
            NoteState::Dismissed(turned) => ("dismissed", Vec::new(), Some(turned)),
            NoteState::Followed { rejections, .. } => {
                let ids = rejections.iter().map(ToString::to_string);
                ("followed", ids.collect(), None)
            }
            NoteState::Waiting => ("waiting", Vec::new(), None),
        };
        Self {
            instance: of.instance.as_str().to_owned(),
            etag: etag(stored.revision),
            study: of.study.as_str().to_owned(),
            sender: of.sender.clone(),
            organisation: of.organisation.map(|code| code.to_string()),
            received_at: of.received_at,
            asks: match of.asked {
                Asked::Reject(title) => title.name(),
                Asked::Restore => "restore",
            },
            quality: of.quality,
            rejected: of.rejected.clone(),
            left_out_count: of.left_out_count,
            state,
            rejections,
            dismissed: dismissed.map(Into::into),
        }
    }
}

/// A sending, and its receipt.
#[derive(Serialize)]
pub(super) struct SendingShown {
    id: String,
    etag: String,
    study: String,
    series: Option<String>,
    destination: String,
    by: String,
    at: Moment,
    state: SendingState,
    instances_count: u64,
    taken_count: u64,
    warned_count: u64,
    refused_count: u64,
    refused: Vec<NotTaken>,
    attempts_count: u32,
    failure: Option<String>,
    changed_at: Moment,
}

impl From<&Stored<Sending>> for SendingShown {
    fn from(stored: &Stored<Sending>) -> Self {
        let of = &stored.value;
        Self {
            id: of.id.to_string(),
            etag: etag(stored.revision),
            study: of.study.as_str().to_owned(),
            series: of.series.as_ref().map(|uid| uid.as_str().to_owned()),
            destination: of.destination.as_str().to_owned(),
            by: of.by.clone(),
            at: of.at,
            state: of.state,
            instances_count: of.instances_count,
            taken_count: of.taken_count,
            warned_count: of.warned_count,
            refused_count: of.refused_count,
            refused: of.refused.clone(),
            attempts_count: of.attempts_count,
            failure: of.failure.clone(),
            changed_at: of.changed_at,
        }
    }
}
