//! Whose images these are: the headers of a study, held against the orders that could be meant
//! (IHE Radiology, Patient Information Reconciliation).
//!
//! [`verdict`] is one pure function. It binds images by itself only where an ID or a planned UID
//! says so and the patient does not contradict; that a patient is known is enough only where a
//! [`MatchingPolicy`] says so, and likeness of names is never more than a suggestion for a person.
//! Storing never waits for it.

mod header;
mod likeness;
mod rules;
#[cfg(test)]
mod tests;

pub use header::{HeaderField, Kind, StudyHeader};
pub use rules::{Difference, differences, objection, verdict};

use super::{ExaminationId, Status};
use crate::OrganisationCode;
use crate::patient::{Identifier, Sex};
use crate::uid::StudyUid;
use chrono::{NaiveDate, NaiveDateTime};

/// Who a patient is, as far as matching asks. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Person {
    /// Every identifier, former ones too.
    pub identifiers: Vec<Identifier>,
    /// Names as PN values, in every script that is known.
    pub names: Vec<String>,
    /// Date of birth.
    pub birth_date: Option<NaiveDate>,
    /// Sex.
    pub sex: Option<Sex>,
}

impl std::fmt::Debug for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[patient data]")
    }
}

/// An order that could be meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its ID.
    pub examination: ExaminationId,
    /// The organisation that performs it.
    pub organisation: OrganisationCode,
    /// The Study Instance UID that the worklist gives out for it.
    pub planned_study: StudyUid,
    /// What kind of images it orders.
    pub kind: Kind,
    /// Where it stands.
    pub status: Status,
    /// Its patient.
    pub person: Person,
    /// When it got its ID, at the place of the archive.
    pub ordered_at: NaiveDateTime,
    /// When it is planned, at the place of the archive.
    pub scheduled_at: NaiveDateTime,
}

impl Candidate {
    /// Whether it still waits for images.
    const fn is_open(&self) -> bool {
        matches!(self.status, Status::Scheduled | Status::InProgress)
    }
}

/// An examination that a study is bound to, and what is known to belong to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// Its order.
    pub order: Candidate,
    /// The header by which the study was bound, and those that whoever bound it saw: what is said
    /// in them nobody has to look at again.
    pub seen: Vec<StudyHeader>,
}

/// How images came here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// From a device of this organisation.
    Device(OrganisationCode),
    /// From media or another archive, brought to this organisation.
    Import(OrganisationCode),
}

impl Origin {
    /// The organisation.
    #[must_use]
    pub const fn organisation(self) -> OrganisationCode {
        match self {
            Self::Device(organisation) | Self::Import(organisation) => organisation,
        }
    }
}

/// A study that is to be judged, with what is known of it.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// The headers of its instances, each different one once, in the order of arrival.
    pub headers: &'a [StudyHeader],
    /// How it came.
    pub origin: Origin,
    /// When its first instance came, at the place of the archive.
    pub received_at: NaiveDateTime,
    /// What it is bound to.
    pub binding: Option<&'a Binding>,
    /// Examinations that a person, or the device (an MPPS discontinued for a wrong worklist entry),
    /// said these images do not belong to: nothing but a person binds them there again.
    pub not_of: &'a [ExaminationId],
    /// The archive keeps another content of one of its instances.
    pub has_other_version: bool,
    /// Devices of several organisations sent its instances, or one that nobody knows.
    pub has_other_senders: bool,
    /// There are more different headers than are looked at.
    pub has_more_headers: bool,
}

/// What organisations may decide about matching.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MatchingPolicy {
    /// Binds a study by itself when the patient is known by a national identifier and exactly one
    /// open order of the kind is near in time (rule M4). Off: that is a suggestion.
    pub binds_by_patient: bool,
}

/// By which rule images met their examination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
pub enum Rule {
    /// M0: other images of the study are there already.
    StudyBound,
    /// M1: the study has the planned UID.
    PlannedStudy,
    /// M2: the Accession Number is the ID.
    AccessionNumber,
    /// M3: the ID stands in another field.
    IdInWrongField(HeaderField),
    /// M4: the patient is known by an identifier, and has one open order.
    Patient,
    /// M5: a name that sounds the same, and the date of birth or the sex.
    NameAlike,
}

/// Why images wait for a person.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
pub enum QueueReason {
    /// Several orders fit.
    Ambiguous,
    /// Twelve digits were typed, one of them wrong or two swapped.
    BadCheckDigit,
    /// The study was made long before the order, so that the number is hardly its ID.
    BeforeOrder,
    /// The patient in the header is not the order's.
    Conflict,
    /// Another instance with this UID is there, with other content.
    DuplicateUidDifferentContent,
    /// Somebody whose name is not known, without an order.
    EmergencyUnregistered,
    /// The order is cancelled.
    IdCancelled,
    /// There is no order with this ID.
    IdNotFound,
    /// The images of one study name several patients.
    MixedPatient,
    /// The order is for another kind of images.
    ModalityMismatch,
    /// There is no ID.
    NoId,
    /// The order is another organisation's, or another organisation's device sent a part of the
    /// study.
    OtherOrg,
    /// They were brought from outside.
    OutsideImport,
    /// A person, or the device, said that they are not of the examination that they name.
    Unbound,
    /// Nobody knows whose device sent them.
    UnknownSender,
}

/// An order that a person may bind the images to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suggestion {
    /// Which.
    pub examination: ExaminationId,
    /// Why it is suggested.
    pub rule: Rule,
    /// How likely it is, of 100; to sort by, not to decide by.
    pub score: u8,
}

/// What becomes of the images of a study.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// They belong to this examination.
    Bound {
        /// Which.
        examination: ExaminationId,
        /// By which rule.
        rule: Rule,
        /// They do, and somebody has to look: the study names several patients or examinations, or
        /// has two contents under one UID.
        flags: Vec<QueueReason>,
    },
    /// A person decides.
    Queued {
        /// Why.
        reason: QueueReason,
        /// Orders of the same organisation that could be meant, best first.
        suggestions: Vec<Suggestion>,
    },
}
