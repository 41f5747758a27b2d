//! What is kept of an examination.

use super::super::document::Document;
use super::super::patients::PersonName;
use super::super::{Moment, Refusal};
use super::listing::first_second;
use super::{BETWEEN, Readings, newest_first};
use crate::limits::{
    EXAMINATION_BODY_PARTS_MAX, EXAMINATION_COMPLAINTS_CHARS_MAX, EXAMINATION_HISTORY_CHARS_MAX,
    EXAMINATION_TEXT_CHARS_MAX,
};
use crate::records::Kind as Family;
use chrono::NaiveDateTime;
use pacs_core::examination::reconcile::Kind;
use pacs_core::examination::{BodyPart, Progress, Reason, Side, Status, StepId};
use pacs_core::patient::PatientKey;
use pacs_core::role::Work;
use pacs_core::uid::StudyUid;
use pacs_core::worklist::Pregnancy;
use pacs_core::{AeTitle, DepartmentCode, ExaminationId, OrganisationCode, Role};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// Examinations of a scope, newest first.
pub(super) const LIST: Family = Family::new("examination-list");
/// Examinations of a scope that somebody has to do something with, the most urgent first, and of
/// these the oldest.
pub(super) const QUEUE: Family = Family::new("examination-queue");
/// Examinations of a patient, newest first.
pub(super) const OF_PATIENT: Family = Family::new("examination-of-patient");
/// A planned Study Instance UID points to its examination.
pub(super) const PLANNED: Family = Family::new("examination-planned");
/// Examinations that devices may ask for, by organisation and planned time.
pub(super) const WORKLIST: Family = Family::new("examination-worklist");

/// Lightest and heaviest patient, in tenths of a kilogram.
const WEIGHT_TENTHS: std::ops::RangeInclusive<u16> = 3..=3_500;

/// How soon it is to be done (PS3.3 C.4.11, Requested Procedure Priority).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// «Срочно».
    High,
    /// «Планово».
    #[default]
    Routine,
    /// «Экстренно».
    Stat,
}

impl Priority {
    /// The defined term.
    #[must_use]
    pub const fn term(self) -> &'static str {
        match self {
            Self::High => "HIGH",
            Self::Routine => "ROUTINE",
            Self::Stat => "STAT",
        }
    }
}

/// A body part, and which side of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BodyRegion {
    /// Which.
    pub part: BodyPart,
    /// Which side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side: Option<Side>,
}

/// What the form says. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The kind of images; X-ray pictures are one kind, whatever the device calls them.
    pub kind: Kind,
    /// What is imaged.
    pub regions: Vec<BodyRegion>,
    /// When it is planned, at the place of the archive.
    pub scheduled_at: NaiveDateTime,
    /// How soon.
    #[serde(default)]
    pub priority: Priority,
    /// The device it is planned for; `None`: any of the organisation that makes such images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub station: Option<AeTitle>,
    /// The patient's weight, in tenths of a kilogram.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_tenths_kg: Option<u16>,
    /// The patient's size, in centimetres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_cm: Option<u16>,
    /// «Жалобы».
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub complaints: String,
    /// «Анамнез».
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub anamnesis: String,
    /// Contrast agent that is asked for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub contrast: String,
    /// Allergies.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub allergies: String,
    /// Pregnancy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pregnancy: Option<Pregnancy>,
    /// Who sent the patient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub referring_physician: Option<PersonName>,
    /// The department that sent the patient, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub department: String,
    /// Where at the performing organisation it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub performing_department: Option<DepartmentCode>,
    /// Where at the ordering organisation it was ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordering_department: Option<DepartmentCode>,
    /// The ward where the patient lies.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ward: String,
    /// The number of the hospital card (Admission ID).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub card_number: String,
    /// The number that the hospital's own system gave to the order.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub placer_number: String,
}

impl Order {
    /// What of the work of the organisation it is that makes it.
    #[must_use]
    pub const fn made(&self) -> Work<'_> {
        Work::Of {
            kind: Some(&self.kind),
            department: self.performing_department.as_ref(),
        }
    }

    /// What of the work of the organisation it is that ordered it.
    #[must_use]
    pub const fn ordered(&self) -> Work<'_> {
        Work::Of {
            kind: Some(&self.kind),
            department: self.ordering_department.as_ref(),
        }
    }

    /// Whether the kind of images needs the weight, for dose or absorption.
    #[must_use]
    pub const fn needs_weight(&self) -> bool {
        matches!(self.kind, Kind::Ct | Kind::Mr)
    }

    /// Refuses what could not be shown or sent.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        let unfit = |what| Err(Refusal::Unfit { what });
        let is_long = |text: &str, chars_max: usize| text.chars().nth(chars_max).is_some();
        // Lines are ended as in the form; nothing else controls anything.
        let is_odd = |text: &str| text.contains(|c: char| c.is_control() && c != '\n');
        if is_long(&self.complaints, EXAMINATION_COMPLAINTS_CHARS_MAX) || is_odd(&self.complaints) {
            return unfit("complaints");
        }
        if is_long(&self.anamnesis, EXAMINATION_HISTORY_CHARS_MAX) || is_odd(&self.anamnesis) {
            return unfit("anamnesis");
        }
        let texts = [
            &self.contrast,
            &self.allergies,
            &self.department,
            &self.ward,
            &self.card_number,
            &self.placer_number,
        ];
        let is_wrong = |text: &&String| {
            is_long(text, EXAMINATION_TEXT_CHARS_MAX) || text.contains(char::is_control)
        };
        if texts.iter().any(is_wrong) {
            return unfit("text");
        }
        if self.regions.len() > EXAMINATION_BODY_PARTS_MAX {
            return unfit("body parts");
        }
        if self
            .weight_tenths_kg
            .is_some_and(|w| !WEIGHT_TENTHS.contains(&w))
        {
            return unfit("weight");
        }
        if self.size_cm.is_some_and(|size| !(20..=272).contains(&size)) {
            return unfit("size");
        }
        if let Some(physician) = &self.referring_physician {
            physician.check()?;
        }
        if !self.kind.is_fit() {
            return unfit("kind of images");
        }
        Ok(())
    }

    /// Whether it is for the same: the same kind of images of one of the same body parts.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let has = |region: &BodyRegion| other.regions.iter().any(|r| r.part == region.part);
        self.kind == other.kind && self.regions.iter().any(has)
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[patient data]")
    }
}

/// Who has an examination in work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// The user.
    pub by: String,
    /// Since when.
    pub at: Moment,
}

/// An examination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examination {
    /// Its ID.
    pub id: ExaminationId,
    /// Its patient, by the number of the time; whoever went into another is shown as that one.
    pub patient: PatientKey,
    /// The organisation that ordered it.
    pub ordering: OrganisationCode,
    /// The organisation that makes it.
    pub performing: OrganisationCode,
    /// The user who ordered it.
    pub requester: String,
    /// What the form says.
    pub order: Order,
    /// The Study Instance UID that the worklist gives out.
    pub planned_study: StudyUid,
    /// How many Scheduled Procedure Steps it has had.
    pub attempt: u8,
    /// Where it stands.
    pub progress: Progress,
    /// When it got its ID.
    pub created_at: Moment,
    /// When something happened to it last.
    pub changed_at: Moment,
    /// When the device said that it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_at: Option<Moment>,
    /// When its first image came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_image_at: Option<Moment>,
    /// When its last image came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_image_at: Option<Moment>,
    /// When all its images were there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_at: Option<Moment>,
    /// Who has it in work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<Lock>,
    /// The user who is to read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assigned_to: Option<String>,
    /// The pool of readers that it waits in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Only those see it who are named for it.
    #[serde(default)]
    pub is_restricted: bool,
    /// They: users by their names, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub named: Vec<String>,
    /// Studies that are bound to it, in the order in which they were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub studies: Vec<StudyUid>,
    /// Who read it, and who reads it now.
    #[serde(default, skip_serializing_if = "Readings::is_empty")]
    pub(super) readings: Readings,
    /// Rows of events.
    pub(in super::super) events_count: u32,
}

impl Document for Examination {
    const KIND: Family = Family::new("examination");
    const NAME: &'static str = "examination";
}

impl Examination {
    /// Its Scheduled Procedure Step ID.
    #[must_use]
    pub fn step(&self) -> StepId {
        let mut step = StepId::first(self.id);
        for _ in 1..self.attempt {
            step = step.next().unwrap_or(step);
        }
        step
    }

    /// What of the work of the organisation it is that makes it.
    #[must_use]
    pub const fn work(&self) -> Work<'_> {
        self.order.made()
    }

    /// What of the work of the organisation it is that ordered it.
    #[must_use]
    pub const fn ordered_work(&self) -> Work<'_> {
        self.order.ordered()
    }

    /// The same to any other organisation, which has no department of it.
    #[must_use]
    pub const fn work_elsewhere(&self) -> Work<'_> {
        Work::of_kind(&self.order.kind)
    }

    /// What it is to `organisation`: both where that makes what it ordered.
    pub(in super::super) fn works_at(
        &self,
        organisation: OrganisationCode,
    ) -> impl Iterator<Item = Work<'_>> {
        let is_made = self.performing == organisation;
        let is_ordered = self.ordering == organisation;
        let made = is_made.then(|| self.work());
        let ordered = is_ordered.then(|| self.ordered_work());
        let other = (!is_made && !is_ordered).then(|| self.work_elsewhere());
        made.into_iter().chain(ordered).chain(other)
    }

    /// Where it stands.
    #[must_use]
    pub const fn status(&self) -> Status {
        self.progress.status()
    }

    /// Whether devices may still ask for it.
    pub(super) const fn is_in_worklist(&self) -> bool {
        let is_open = matches!(
            self.progress.status(),
            Status::Scheduled | Status::InProgress | Status::ImagesReceived
        );
        is_open && !self.progress.is_expired()
    }

    /// What comes sooner has less.
    pub(super) fn place_in_queue(&self) -> String {
        let urgency = match self.order.priority {
            Priority::Stat => 0,
            Priority::High => 1,
            Priority::Routine => 2,
        };
        let unix_ms = u64::try_from(self.created_at.timestamp_millis()).unwrap_or(0);
        format!("{urgency}{unix_ms:016x}")
    }

    /// The keys by which it is found.
    pub(super) fn keys(&self) -> BTreeSet<(Family, String)> {
        let id = self.id;
        let at = newest_first(self.created_at);
        let status = status_name(self.status());
        let mut scopes = vec![
            format!("performing/{}", self.performing),
            format!("ordering/{}", self.ordering),
        ];
        scopes.extend(self.pool.iter().map(|pool| format!("pool/{pool}")));
        let assigned = self.assigned_to.iter();
        scopes.extend(assigned.map(|user| format!("assigned/{user}")));
        let mut keys = BTreeSet::new();
        for scope in scopes {
            for status in [status, "all"] {
                let key = format!("{scope}{BETWEEN}{status}{BETWEEN}{at}{BETWEEN}{id}");
                keys.insert((LIST, key));
            }
            if is_queued(self.status()) {
                let place = self.place_in_queue();
                let key = format!("{scope}{BETWEEN}{status}{BETWEEN}{place}{BETWEEN}{id}");
                keys.insert((QUEUE, key));
            }
        }
        let patient = super::super::patients::key_of(self.patient);
        keys.insert((OF_PATIENT, format!("{patient}{BETWEEN}{at}{BETWEEN}{id}")));
        keys.insert((PLANNED, self.planned_study.as_str().to_owned()));
        if self.is_in_worklist() {
            let time = first_second(self.order.scheduled_at);
            let key = format!("{}{BETWEEN}{time}{BETWEEN}{id}", self.performing);
            keys.insert((WORKLIST, key));
        }
        keys
    }
}

/// Whether somebody has to do something with examinations of this status.
pub(super) const fn is_queued(status: Status) -> bool {
    matches!(
        status,
        Status::Scheduled
            | Status::InProgress
            | Status::Discontinued
            | Status::ImagesReceived
            | Status::UnderReview
            | Status::Reported
    )
}

/// A status in keys.
pub(super) const fn status_name(status: Status) -> &'static str {
    match status {
        Status::Cancelled => "cancelled",
        Status::Delivered => "delivered",
        Status::Discontinued => "discontinued",
        Status::ImagesReceived => "images_received",
        Status::InProgress => "in_progress",
        Status::Registered => "registered",
        Status::Rejected => "rejected",
        Status::Reported => "reported",
        Status::Scheduled => "scheduled",
        Status::Sent => "sent",
        Status::UnderReview => "under_review",
        _ => "other",
    }
}

/// Something that happened to an examination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExaminationEvent {
    /// Where it stood before; `None`: it was not there.
    pub from: Option<Status>,
    /// Where it stood after.
    pub to: Status,
    /// What happened.
    pub event: String,
    /// Who did it.
    pub by: String,
    /// As what; `None`: the archive itself.
    pub role: Option<Role>,
    /// Why, where a reason was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// When.
    pub at: Moment,
    /// What ties together what belongs to one request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<String>,
}

impl Document for ExaminationEvent {
    const KIND: Family = Family::new("examination-event");
    const NAME: &'static str = "event of an examination";
}
