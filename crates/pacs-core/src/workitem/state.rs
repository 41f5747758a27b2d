//! What may become of a Unified Procedure Step (PS3.4 CC.1.1): a pure state machine.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Procedure Step State (0074,1000).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It was given up, or came to nothing.
    Canceled,
    /// It is done.
    Completed,
    /// Somebody has it in work.
    InProgress,
    /// It waits.
    Scheduled,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 4] = [
        Self::Canceled,
        Self::Completed,
        Self::InProgress,
        Self::Scheduled,
    ];

    /// The enumerated value.
    #[must_use]
    pub const fn term(self) -> &'static str {
        match self {
            Self::Canceled => "CANCELED",
            Self::Completed => "COMPLETED",
            Self::InProgress => "IN PROGRESS",
            Self::Scheduled => "SCHEDULED",
        }
    }

    /// The state of an enumerated value. PS3.18 11.7.1.4 has `CANCELLED` where PS3.4 has
    /// `CANCELED`; both are read.
    #[must_use]
    pub fn of_term(term: &str) -> Option<Self> {
        let term = term.trim();
        if term == "CANCELLED" {
            return Some(Self::Canceled);
        }
        Self::ALL.into_iter().find(|state| state.term() == term)
    }

    /// Whether nothing becomes of it any more.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Canceled | Self::Completed)
    }

    /// What a wish to change the state comes to (Table CC.1.1-2). `is_owner` is whether the correct
    /// Transaction UID came with it.
    ///
    /// A claim brings a UID of its own, so that of a step that is in work it is told that somebody
    /// has it, rather than that this UID is not theirs. Whoever has it and claims it once more,
    /// with the same UID, is told that it is so, for the answer to the first claim may have been
    /// lost; the table has C302H there.
    ///
    /// # Errors
    /// [`StateError`]; the step stays what it is.
    pub const fn change(self, wish: Wish, is_owner: bool) -> Result<Outcome, StateError> {
        match (self, wish) {
            (Self::Scheduled, Wish::Begin) => Ok(Outcome::Changes),
            (Self::InProgress, Wish::Begin) if is_owner => Ok(Outcome::IsSo),
            (Self::InProgress, Wish::Begin) => Err(StateError::AlreadyInProgress),
            (Self::Canceled | Self::Completed, Wish::Begin) => Err(StateError::Over),
            (Self::Scheduled, Wish::Cancel | Wish::Complete) => Err(StateError::NotInProgress),
            (_, Wish::Cancel | Wish::Complete) if !is_owner => Err(StateError::NotOwner),
            (Self::InProgress, Wish::Cancel | Wish::Complete) => Ok(Outcome::Changes),
            (Self::Canceled, Wish::Cancel) | (Self::Completed, Wish::Complete) => Ok(Outcome::IsSo),
            (Self::Completed, Wish::Cancel) | (Self::Canceled, Wish::Complete) => {
                Err(StateError::Over)
            }
        }
    }

    /// What the request of somebody who does not have it, to cancel it, comes to (Table CC.1.1-2,
    /// CC.2.2). Whoever reads decides what is read: nothing that waits is taken from them, and
    /// nobody is asked who has it in work.
    ///
    /// # Errors
    /// [`StateError`].
    pub const fn request_cancellation(self) -> Result<Outcome, StateError> {
        match self {
            Self::Canceled => Ok(Outcome::IsSo),
            Self::Completed => Err(StateError::Over),
            Self::InProgress => Err(StateError::Unreachable),
            Self::Scheduled => Err(StateError::Waits),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.term())
    }
}

/// The state that is wished for. `SCHEDULED` is none: no step becomes that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// `IN PROGRESS`: whoever wishes takes it into work.
    Begin,
    /// `CANCELED`: whoever has it gives it up.
    Cancel,
    /// `COMPLETED`: whoever has it is done.
    Complete,
}

impl TryFrom<State> for Wish {
    type Error = StateError;

    fn try_from(state: State) -> Result<Self, StateError> {
        match state {
            State::Canceled => Ok(Self::Cancel),
            State::Completed => Ok(Self::Complete),
            State::InProgress => Ok(Self::Begin),
            State::Scheduled => Err(StateError::NeverScheduledAgain),
        }
    }
}

/// What a wish comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The state changes.
    Changes,
    /// It is as it was wished for already (B304H, B306H; of a claim, no status has it).
    IsSo,
}

/// Why a step stays what it is, each with its status of DIMSE (PS3.4 Tables CC.2.1-2 and CC.2.2-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// C302H.
    #[error("somebody has the workitem in work")]
    AlreadyInProgress,
    /// C304H.
    #[error("the workitem is completed by its signed report, and there is none yet")]
    NoReport,
    /// C303H.
    #[error("no workitem becomes SCHEDULED")]
    NeverScheduledAgain,
    /// C310H.
    #[error("nobody has the workitem in work")]
    NotInProgress,
    /// C301H.
    #[error("this is not the Transaction UID of whoever has the workitem in work")]
    NotOwner,
    /// C300H, C311H.
    #[error("the workitem is COMPLETED or CANCELED")]
    Over,
    /// C312H.
    #[error("whoever has the workitem in work is not reached from here")]
    Unreachable,
    /// C314H.
    #[error("what waits to be read is read")]
    Waits,
}
