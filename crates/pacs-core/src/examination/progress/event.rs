//! What happens to examinations, with the facts that guards ask for.

use crate::role::Role;
use std::fmt;

/// Longest reason, in characters.
const REASON_CHARS_MAX: usize = 1000;

/// Who does something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Actor {
    /// The system itself: a timer, a policy, an acknowledgement.
    System,
    /// Somebody in a role at the examination's organisation.
    User(Role),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("the system"),
            Self::User(role) => write!(f, "the role {role:?}"),
        }
    }
}

/// Why somebody does what is not ordinary. `Debug` does not show it: it may speak of the patient.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reason(Box<str>);

/// Why a text is no [`Reason`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReasonError {
    /// Nothing but spaces.
    #[error("a reason is needed")]
    Empty,
    /// More than a thousand characters.
    #[error("a reason has at most {REASON_CHARS_MAX} characters")]
    TooLong,
}

impl Reason {
    /// Takes a text with something in it, without outer spaces.
    ///
    /// # Errors
    /// [`ReasonError`]: nothing, or too much.
    pub fn parse(text: &str) -> Result<Self, ReasonError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(ReasonError::Empty);
        }
        if text.chars().nth(REASON_CHARS_MAX).is_some() {
            return Err(ReasonError::TooLong);
        }
        Ok(Self(text.into()))
    }

    /// The text, for the record and the people concerned; never for a log.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[patient data]")
    }
}

impl TryFrom<String> for Reason {
    type Error = ReasonError;

    fn try_from(text: String) -> Result<Self, ReasonError> {
        Self::parse(&text)
    }
}

impl From<Reason> for String {
    fn from(reason: Reason) -> Self {
        reason.0.into()
    }
}

/// What a form lacks or has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// A patient is chosen.
    pub has_patient: bool,
    /// Body part and kind of image are set.
    pub has_body_part_and_kind: bool,
    /// The weight is set, or the kind of image (not CT, not MR) does not need it.
    pub has_weight_if_needed: bool,
    /// Whether the patient has an open examination of the same kind and body part of the last 24 h.
    pub duplicate: Duplicate,
}

/// Whether another open examination looks like this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duplicate {
    /// One does, and somebody said that both are meant.
    Confirmed,
    /// None does.
    No,
    /// One does.
    Yes,
}

/// How it is known that all images are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completion {
    /// Somebody says so («Завершить съёмку»).
    Declared,
    /// The device said so in an MPPS, and named its instances.
    Mpps {
        /// Instances that it named and the centre does not have.
        missing: u64,
    },
    /// Nothing came for the quiet time of the modality.
    QuietTime {
        /// The device began a step (MPPS) and has not said how it ended: it may only pause.
        has_open_step: bool,
    },
}

/// Why images are rejected (titles of IOCM rejection notes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// (113001, DCM): the images are of no use.
    Quality,
    /// (113037, DCM): they endanger the patient.
    PatientSafety,
    /// (113038, DCM): they were made under another order.
    WorklistEntry,
}

/// What becomes of a signed report when images of its examination go elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportFate {
    /// It goes with the images; its author agrees.
    MovesAlong,
    /// There is none, or nothing was agreed.
    Nothing,
    /// It speaks of the images that stay; its author agrees.
    Stays,
    /// It is withdrawn.
    Withdrawn,
}

/// What a report has that is to be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportCheck {
    /// The description is not empty.
    pub has_description: bool,
    /// The conclusion is not empty.
    pub has_conclusion: bool,
    /// The author confirmed patient and ID.
    pub is_identity_confirmed: bool,
    /// Whoever signs has the examination in work.
    pub holds_lock: bool,
    /// The author saw the images that came late, or none did.
    pub has_seen_late_images: bool,
    /// No flag says that images may be another patient's.
    pub is_resolved: bool,
    /// The signature verifies.
    pub is_signature_valid: bool,
}

/// How a signed report is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Revision {
    /// Something is added («Дополнить»).
    Addendum,
    /// Something is corrected («Исправить»).
    Amendment,
}

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// T13: the organisation has the report.
    Acknowledge {
        /// It has the version that stands, not an older one.
        is_current_version: bool,
    },
    /// T4: the order is withdrawn. The reason is part of the event.
    Cancel {
        /// Images that are bound to it.
        images: u64,
        /// Why.
        reason: Reason,
    },
    /// T9: somebody takes it into work («Взять в работу»).
    Claim {
        /// Somebody else has it in work.
        is_locked: bool,
        /// Whoever claims reads this organisation and this kind of images.
        may_read: bool,
        /// Images that can be had at once.
        images_online: u64,
    },
    /// T6: all images are there.
    Complete {
        /// How that is known.
        by: Completion,
        /// Images at the centre that are not rejected.
        images_kept: u64,
    },
    /// T7: the device, or somebody at it, broke off.
    Discontinue {
        /// Why.
        reason: Reason,
    },
    /// T18: somebody looked at the late images, and the report needs no change.
    DismissLateImages {
        /// Whoever does it is the report's author or a supervisor.
        is_author_or_supervisor: bool,
        /// Why not.
        reason: Reason,
    },
    /// T3: the form is changed.
    Edit {
        /// What it has then.
        form: Form,
        /// Images that are bound to it.
        images: u64,
    },
    /// T20: no image came.
    Expire {
        /// Days since it was scheduled.
        days: u32,
    },
    /// T5 and T18: instances that match it arrived.
    ImagesArrive,
    /// T10: nobody worked at the report for so long that the lock ran out.
    LockExpires,
    /// T6: the device named images that have not come within half an hour.
    MissImages,
    /// T19: images turn out to be another examination's.
    MoveImagesAway {
        /// Images that stay and are not rejected.
        images_left: u64,
        /// What becomes of the report.
        report: ReportFate,
        /// Why.
        reason: Reason,
    },
    /// T16: all its images are rejected.
    Reject {
        /// Images that are not.
        images_kept: u64,
        /// Why, as the note will say.
        rejection: Rejection,
        /// Why, in words.
        reason: Reason,
    },
    /// T10: whoever has it in work gives it back.
    Release {
        /// It is they who have it.
        holds_lock: bool,
    },
    /// T20: an expired one is wanted after all.
    Reopen,
    /// T8, and after a rejection: it is to be made again.
    Reschedule,
    /// T17: the rejected images are brought back.
    Restore {
        /// Why.
        reason: Reason,
    },
    /// T10: it goes back for more images («Вернуть»).
    Return {
        /// It is they who have it in work.
        holds_lock: bool,
        /// What is wanted.
        reason: Reason,
    },
    /// T14: a signed report is taken up again.
    Revise {
        /// How.
        revision: Revision,
        /// Whoever does it is its author or a supervisor.
        is_author_or_supervisor: bool,
        /// Why.
        reason: Reason,
    },
    /// T2: «Сохранить».
    Save(Form),
    /// T12: «Отправить в ОЗ».
    Send {
        /// Organisations that receive the report.
        recipients: usize,
    },
    /// T11 and T15: the report is signed.
    Sign(ReportCheck),
    /// T5: the device tells that it begins (MPPS N-CREATE).
    Start,
    /// The signed report is withdrawn.
    Withdraw {
        /// Whoever does it is its author or a supervisor.
        is_author_or_supervisor: bool,
        /// Somebody else agreed.
        has_second_person: bool,
        /// Why.
        reason: Reason,
    },
}

impl Event {
    /// What it is called in messages.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Acknowledge { .. } => "acknowledge",
            Self::Cancel { .. } => "cancel",
            Self::Claim { .. } => "claim",
            Self::Complete { .. } => "complete",
            Self::Discontinue { .. } => "discontinue",
            Self::DismissLateImages { .. } => "dismiss late images",
            Self::Edit { .. } => "edit",
            Self::Expire { .. } => "expire",
            Self::ImagesArrive => "receive images",
            Self::LockExpires => "unlock",
            Self::MissImages => "miss images",
            Self::MoveImagesAway { .. } => "move images away",
            Self::Reject { .. } => "reject",
            Self::Release { .. } => "release",
            Self::Reopen => "reopen",
            Self::Reschedule => "reschedule",
            Self::Restore { .. } => "restore",
            Self::Return { .. } => "return",
            Self::Revise { .. } => "revise",
            Self::Save(_) => "save",
            Self::Send { .. } => "send",
            Self::Sign(_) => "sign",
            Self::Start => "start",
            Self::Withdraw { .. } => "withdraw the report",
        }
    }
}
