//! What may happen to an examination: a pure state machine.
//!
//! [`Progress::apply`] takes what happened, with the facts its guards ask for, and who did it. It
//! gives the new progress and the [`Effect`]s that the same transaction owes, or says why not.
//! Delivery by recipient, the report's own status and where images are kept are other facts, not
//! states.
//!
//! ```text
//! Registered ─Save─► Scheduled ─Start─► InProgress ─Complete─► ImagesReceived
//!                      │  ▲                 │                     │        ▲
//!                    Cancel└─Reschedule─┐ Discontinue            Claim  Release, Return
//!                      ▼                │    ▼                     ▼        │
//!                   Cancelled           Discontinued ─Start─►    UnderReview
//!                                                                  │        ▲
//! InProgress, ImagesReceived, UnderReview ─Reject─► Rejected      Sign    Revise
//!                                                                  ▼        │
//!                                             Reported ─Send─► Sent ─► Delivered
//! ```

mod event;
mod rules;
#[cfg(test)]
mod tests;

pub use event::{
    Actor, Completion, Duplicate, Event, Form, Reason, ReasonError, Rejection, ReportCheck,
    ReportFate, Revision,
};

use std::fmt;

/// Where an examination stands.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// Withdrawn before there were images; its ID is never given again.
    Cancelled,
    /// The organisation has the report.
    Delivered,
    /// Broken off at the device.
    Discontinued,
    /// All images expected are at the centre.
    ImagesReceived,
    /// The device has begun.
    InProgress,
    /// A draft of the form, without an ID.
    Registered,
    /// All its images are rejected.
    Rejected,
    /// The report is signed.
    Reported,
    /// It has an ID and stands in the worklist.
    Scheduled,
    /// The report is on its way to the organisation.
    Sent,
    /// Somebody is writing the report.
    UnderReview,
}

impl Status {
    /// The key of its name in the glossary of the portal.
    #[must_use]
    pub const fn message_key(self) -> &'static str {
        match self {
            Self::Cancelled => "exam.status.cancelled",
            Self::Delivered => "exam.status.delivered",
            Self::Discontinued => "exam.status.discontinued",
            Self::ImagesReceived => "exam.status.images_received",
            Self::InProgress => "exam.status.in_progress",
            Self::Registered => "exam.status.registered",
            Self::Rejected => "exam.status.rejected",
            Self::Reported => "exam.status.reported",
            Self::Scheduled => "exam.status.scheduled",
            Self::Sent => "exam.status.sent",
            Self::UnderReview => "exam.status.under_review",
        }
    }

    /// Whether a signed report stands that no other has replaced.
    const fn has_signed_report(self) -> bool {
        matches!(self, Self::Reported | Self::Sent | Self::Delivered)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancelled => "cancelled",
            Self::Delivered => "delivered",
            Self::Discontinued => "discontinued",
            Self::ImagesReceived => "complete with images",
            Self::InProgress => "in progress",
            Self::Registered => "a draft",
            Self::Rejected => "rejected",
            Self::Reported => "reported",
            Self::Scheduled => "scheduled",
            Self::Sent => "sent",
            Self::UnderReview => "under review",
        })
    }
}

/// How far an examination has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Progress {
    status: Status,
    /// Where a restored examination returns to.
    rejected_from: Option<Status>,
    /// A signed report is being added to or corrected; it stands until the new one is signed.
    revision: Option<Revision>,
    /// Where an examination returns to whose revision is given up.
    revised_from: Option<Status>,
    late_images: bool,
    incomplete: bool,
    expired: bool,
}

/// What an event owes the rest of the system, in the transaction that stores the new progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// Give the examination ID.
    AssignId,
    /// Give a planned Study Instance UID: a new one, since images may be under the former one; for
    /// an examination made from images, that of the images.
    AssignPlannedStudy,
    /// Put the report into the outbox.
    Deliver,
    /// Take the report to the examination that the images go to, and tell who has it.
    MoveReport,
    /// Lock the report for whoever claimed it.
    Lock,
    /// Tell the subscribers that images are to be had (IHE RAD-49).
    NotifyAvailable,
    /// Tell the author of the report.
    NotifyAuthor,
    /// Tell the operator.
    NotifyOperator,
    /// Tell the subscribers that images are no longer to be had.
    NotifyUnavailable,
    /// Give the next Scheduled Procedure Step ID.
    AssignStep,
    /// Put the worklist item out, or bring it up to date.
    PublishWorklistItem,
    /// Put the examination before those who read.
    QueueForReading,
    /// Take the worklist item away.
    RemoveWorklistItem,
    /// Mark the worklist item STARTED.
    StartWorklistItem,
    /// Store the report's SR and PDF.
    StoreReport,
    /// Release the lock of the report.
    Unlock,
    /// Mark the report withdrawn, and tell everybody who has it.
    WithdrawReport,
}

/// Why an event does not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransitionError {
    /// Not this actor.
    #[error("{actor} may not {event} an examination")]
    Actor {
        /// Who.
        actor: Actor,
        /// What.
        event: &'static str,
    },
    /// Something is missing or in the way.
    #[error(transparent)]
    Guard(#[from] Guard),
    /// Not in this status.
    #[error("an examination that is {status} does not permit: {event}")]
    Status {
        /// Where it stands.
        status: Status,
        /// What.
        event: &'static str,
    },
}

/// What is missing or in the way of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Guard {
    /// Somebody else is to read it.
    #[error("the examination is for another reader")]
    AssignedToAnother,
    /// The form names neither what is imaged nor how.
    #[error("body part and kind of image are missing")]
    BodyPartOrKind,
    /// The report has no conclusion.
    #[error("the report has no conclusion")]
    Conclusion,
    /// The report has no description.
    #[error("the report has no description")]
    Description,
    /// The same patient has an open examination of the same kind, and nobody said that both are
    /// meant.
    #[error("the patient has an open examination of this kind")]
    Duplicate,
    /// There are images.
    #[error("the examination has images")]
    HasImages,
    /// Nobody confirmed that patient and ID are the right ones.
    #[error("patient and examination ID are not confirmed")]
    Identity,
    /// Images came late, and whoever signs has not seen them.
    #[error("images came late and were not seen")]
    LateImages,
    /// Images that the device told of are not there yet.
    #[error("images that the device announced are missing")]
    ImagesMissing,
    /// Somebody else has it in work.
    #[error("somebody else has the examination in work")]
    Locked,
    /// The right to read here, or this kind of images.
    #[error("the examination is not for this reader")]
    MayNotRead,
    /// There is no image.
    #[error("the examination has no image")]
    NoImages,
    /// Whoever does it does not have it in work.
    #[error("the examination is not in work with whoever does this")]
    NotHolder,
    /// The acknowledgement is of a report that was replaced.
    #[error("an older version of the report was acknowledged")]
    OldVersion,
    /// The device has begun a step and not ended it.
    #[error("the device has not ended its step")]
    OpenStep,
    /// A radiographer judges quality alone.
    #[error("a radiographer rejects images for their quality alone")]
    QualityOnly,
    /// Nobody else agreed.
    #[error("a second person has to agree")]
    SecondPerson,
    /// Only the author or a supervisor.
    #[error("only the author or a supervisor changes a report")]
    NotAuthor,
    /// No image can be had at once.
    #[error("no image of the examination is online")]
    NotOnline,
    /// Some images are not rejected.
    #[error("not all images are rejected")]
    NotAllRejected,
    /// The form names no patient.
    #[error("no patient is chosen")]
    Patient,
    /// Nobody is to receive the report.
    #[error("the report has no recipient")]
    Recipient,
    /// A signed report stands, and is neither withdrawn nor moved with its author's consent.
    #[error("a signed report stands")]
    ReportStands,
    /// The signature does not verify.
    #[error("the signature is not valid")]
    Signature,
    /// It has waited less than thirty days.
    #[error("the examination has not waited long enough")]
    TooEarly,
    /// Images may be of another patient.
    #[error("it is not settled whose images these are")]
    Unresolved,
    /// CT and MR need the weight.
    #[error("the weight is missing")]
    Weight,
}

impl Progress {
    /// A draft, as it begins (T1).
    ///
    /// # Errors
    /// [`TransitionError::Actor`] for those who order no examinations.
    pub fn open(actor: Actor) -> Result<Self, TransitionError> {
        rules::permit(actor, &rules::ORDERING, "open")?;
        Ok(Self::at(Status::Registered))
    }

    /// An examination that is made from images whose order nobody entered: it begins with its
    /// images received. `images_kept` are those that are not rejected.
    ///
    /// # Errors
    /// [`TransitionError::Actor`] for those who reconcile nothing; [`Guard::NoImages`].
    pub fn from_images(
        actor: Actor,
        images_kept: u64,
    ) -> Result<(Self, &'static [Effect]), TransitionError> {
        rules::permit(actor, &rules::RECONCILING, "make from images")?;
        if images_kept == 0 {
            return Err(Guard::NoImages.into());
        }
        let effects = &[
            Effect::AssignId,
            Effect::AssignPlannedStudy,
            Effect::NotifyAvailable,
            Effect::QueueForReading,
        ];
        Ok((Self::at(Status::ImagesReceived), effects))
    }

    const fn at(status: Status) -> Self {
        Self {
            status,
            rejected_from: None,
            revision: None,
            revised_from: None,
            late_images: false,
            incomplete: false,
            expired: false,
        }
    }

    /// Where it stands.
    #[must_use]
    pub const fn status(&self) -> Status {
        self.status
    }

    /// Whether a signed report is being added to or corrected.
    #[must_use]
    pub const fn revision(&self) -> Option<Revision> {
        self.revision
    }

    /// Whether a signed report is being revised, and the examination was at `status` before.
    #[must_use]
    pub fn is_revised_from(&self, status: Status) -> bool {
        self.revised_from == Some(status)
    }

    /// Whether images came after the examination was complete, and nobody has dealt with them.
    #[must_use]
    pub const fn has_late_images(&self) -> bool {
        self.late_images
    }

    /// Whether images that the device named have not come.
    #[must_use]
    pub const fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// Whether it waited for its images so long that worklists no longer show it.
    #[must_use]
    pub const fn is_expired(&self) -> bool {
        self.expired
    }

    /// What it becomes when `actor` does `event`, and what that owes.
    ///
    /// # Errors
    /// [`TransitionError`]; nothing has happened then.
    pub fn apply(
        &self,
        event: &Event,
        actor: Actor,
    ) -> Result<(Self, &'static [Effect]), TransitionError> {
        rules::apply(self, event, actor)
    }
}
