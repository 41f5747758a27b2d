//! Reading tasks as workitems of a worklist (PS3.18 11): what the host program answers with, which
//! knows examinations and who reads them. Here requests are read, and answers written.
//!
//! A workitem is a view of an examination that waits to be read, is being read or was read: it is
//! made and ended by what happens to the examination. None is created from outside.

mod changing;
mod inputs;
mod payload;
mod refused;
mod retrieve;
mod search;
#[cfg(test)]
mod tests;

pub(crate) use changing::{change_state, request_cancellation, update};
pub(crate) use refused::{create, subscribe};
pub(crate) use retrieve::retrieve;
pub(crate) use search::search;

use crate::error::Failure;
use async_trait::async_trait;
use axum::response::{IntoResponse, Response};
use pacs_core::access::{Claim, Find};
use pacs_core::uid::{ClaimUid, WorkitemUid};
use pacs_core::workitem::{Outcome, State, StateError, Task, Wish, Workitem};
use pacs_core::worklist::WorklistSubject;
use pacs_core::{AeTitle, OrganisationCode, Permit};

/// What was found of the worklist.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Worklist {
    /// Workitems, those that are to be done first in front.
    pub workitems: Vec<Workitem>,
    /// There may be more: no more were looked at.
    pub is_cut: bool,
}

/// What is looked for in the worklist. All else that a search asks is matched to what is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Workitems in these states.
    pub states: Vec<State>,
    /// Of this examination or patient alone; `None`: of any.
    pub subject: Option<WorklistSubject>,
    /// In the list of this organisation; `None`: in all.
    pub organisation: Option<OrganisationCode>,
}

/// Why nothing is told of a workitem, or nothing is done with it. Exhaustive on purpose: each has a
/// status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Too many do something with it at once.
    #[error("too many do something with the workitem at once")]
    Busy,
    /// It failed, and whoever looks after the server was told.
    #[error("it could not be done")]
    Failed,
    /// The disk is full: nothing was done.
    #[error("the disk is full")]
    Full,
    /// It was there, and what became of it is kept no longer.
    #[error("the workitem is kept no longer")]
    Gone,
    /// Whoever asks sees it, and may not do that.
    #[error("not permitted")]
    NotPermitted,
    /// No image of it can be had.
    #[error("no image of the workitem can be had now")]
    NotReady,
    /// What it is does not allow it.
    #[error(transparent)]
    State(#[from] StateError),
    /// There is no such workitem, or not for whoever asks.
    #[error("there is no such workitem")]
    Unknown,
}

/// What an update of a workitem says of work that is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// How far it is, in percent; `None`: that is not said.
    pub percent: Option<u8>,
}

/// Has reading tasks.
///
/// What somebody sees of them is for it to decide, by the caller of the permit; whoever takes one
/// is known by the caller and by the Transaction UID together. It records what is done, and who is
/// told of whom.
#[async_trait]
pub trait Workitems: std::fmt::Debug + Send + Sync + 'static {
    /// The title by which DICOM peers retrieve what is to be read.
    fn title(&self) -> &AeTitle;

    /// Of what is wanted, the workitems that the caller sees.
    ///
    /// # Errors
    /// [`Refusal`].
    async fn worklist(&self, permit: &Permit<Find>, wanted: &Wanted) -> Result<Worklist, Refusal>;

    /// One workitem.
    ///
    /// # Errors
    /// [`Refusal`].
    async fn workitem(&self, permit: &Permit<Find>, task: Task) -> Result<Workitem, Refusal>;

    /// Has the state of a workitem changed (PS3.18 11.7), durably.
    ///
    /// # Errors
    /// [`Refusal`]; nothing has changed then, but of [`Refusal::Failed`] that is not known.
    async fn change(
        &self,
        permit: &Permit<Claim>,
        task: Task,
        (wish, claim): (Wish, &ClaimUid),
    ) -> Result<Outcome, Refusal>;

    /// Takes note that whoever has a workitem in work goes on with it (PS3.18 11.6), durably.
    ///
    /// # Errors
    /// As [`Self::change`].
    async fn go_on(
        &self,
        permit: &Permit<Claim>,
        task: Task,
        (claim, progress): (&ClaimUid, Progress),
    ) -> Result<(), Refusal>;

    /// What a request to cancel a workitem comes to, of somebody who does not have it (PS3.18
    /// 11.8).
    ///
    /// # Errors
    /// [`Refusal`].
    async fn request_cancellation(
        &self,
        permit: &Permit<Claim>,
        task: Task,
    ) -> Result<Outcome, Refusal>;
}

/// What it is that a path names.
const WORKITEM: &str = "workitem";

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Busy => Self::Unavailable {
                detail: "too many do something with the workitem at once",
            },
            Refusal::Failed => Self::Internal,
            Refusal::Full => Self::Unavailable {
                detail: "the disk is full",
            },
            Refusal::Gone => Self::Gone { what: WORKITEM },
            Refusal::NotPermitted => Self::Forbidden,
            // Table 11.7.3-1: a Transaction UID that is not theirs is a fault of the request.
            Refusal::State(StateError::NotOwner | StateError::NeverScheduledAgain) => {
                Self::bad_request(refusal.to_string())
            }
            Refusal::NotReady
            | Refusal::State(
                StateError::AlreadyInProgress
                | StateError::NoReport
                | StateError::NotInProgress
                | StateError::Over
                | StateError::Unreachable
                | StateError::Waits,
            ) => Self::Conflict {
                detail: refusal.to_string(),
            },
            Refusal::Unknown => Self::NotFound { what: WORKITEM },
        }
    }
}

/// The task that a path names.
fn task_of(path: &str) -> Result<Task, Failure> {
    let uid = WorkitemUid::parse(path);
    let uid = uid.map_err(|_| Failure::bad_request("the path names no workitem: it is no UID"))?;
    // A UID that we never made is of no workitem.
    Task::of_uid(&uid).ok_or(Failure::NotFound { what: WORKITEM })
}

/// A refusal with the warning that PS3.18 has for it.
fn refused(failure: Failure, warning: &str) -> Response {
    let mut response = failure.into_response();
    crate::qido::warn(&mut response, warning);
    response
}
