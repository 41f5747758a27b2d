//! Why the registry does not do what it is asked.

use super::requests::Outcome;
use crate::records::RecordsError;
use pacs_core::examination::{NumberingError, TransitionError};
use pacs_core::patient::PatientKey;
use pacs_core::role::Unlicensed;

/// Why something was not read or changed, by what can be done about it.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The records failed. Whether a change was made is not known.
    #[error("the registry could not be reached")]
    Backend(#[source] RecordsError),
    /// Too many changed the same at once. Nothing was done; it may be tried again.
    #[error("too many change the same at once")]
    Busy,
    /// Somebody else changed it in the meantime. Nothing was done: read it again.
    #[error("it was changed in the meantime")]
    Changed,
    /// What is stored cannot be read: it is damaged, or a newer program wrote it.
    #[error("{what} cannot be read: it is damaged or of another version")]
    Damaged {
        /// What kind of document.
        what: &'static str,
    },
    /// The disk is full. Nothing was done.
    #[error("disk is full")]
    Full,
    /// It is not there, or not to be seen.
    #[error("there is no such {what}")]
    NotFound {
        /// What kind of document.
        what: &'static str,
    },
    /// A rule forbids it. Nothing was done.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The table of roles forbids it. Nothing was done.
    #[error(transparent)]
    Unlicensed(#[from] Unlicensed),
}

/// Which rule forbids a change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Patients who could be the same person, as somebody has to judge.
    #[error("there is a patient of this date of birth whose name sounds the same")]
    Alike {
        /// They.
        patients: Vec<PatientKey>,
    },
    /// A device said that the images are not of the examination.
    #[error("the device said that the images are not of the examination")]
    Disowned,
    /// All of them are given.
    #[error("there are no more {what}")]
    Exhausted {
        /// What.
        what: &'static str,
    },
    /// The study is held: nothing of it is erased.
    #[error("the study is held")]
    Held,
    /// The patient went into another.
    #[error("the patient went into another")]
    Merged {
        /// That one.
        into: PatientKey,
    },
    /// The patient went into no other.
    #[error("the patient went into no other")]
    NotMerged,
    /// No examination ID is given.
    #[error(transparent)]
    Numbering(NumberingError),
    /// The request was done before, by somebody who asked the same at the same time.
    #[error("the request was done before")]
    Repeated(Outcome),
    /// The identifiers are of several patients.
    #[error("the identifiers are of several patients")]
    SeveralPatients,
    /// It was put right again since.
    #[error("it was put right again since")]
    Superseded,
    /// Another one has this already.
    #[error("another one has this {what}")]
    Taken {
        /// What must be the only one.
        what: &'static str,
    },
    /// The time for it is over.
    #[error("the time for it is over")]
    TooLate,
    /// The rules of examinations forbid it, here and now.
    #[error(transparent)]
    Transition(TransitionError),
    /// A part of it is missing, too long or of the wrong form.
    #[error("{what} is missing, too long or of the wrong form")]
    Unfit {
        /// Which part.
        what: &'static str,
    },
}

impl From<RecordsError> for RegistryError {
    fn from(error: RecordsError) -> Self {
        match error {
            RecordsError::Changed { .. } => Self::Changed,
            RecordsError::Damaged { what } => Self::Damaged { what },
            RecordsError::Full => Self::Full,
            RecordsError::Unfit { what } => Self::Refused(Refusal::Unfit { what }),
            error @ RecordsError::Backend { .. } => Self::Backend(error),
        }
    }
}
