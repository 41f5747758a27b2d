//! The next instance of a retrieval, read while the one before it is sent.

use super::tally::SubOutcome;
use crate::sending::{Prepared, prepare};
use crate::service::{OutgoingInstance, SubOperations};
use pacs_core::SopInstanceUid;

/// The next sub-operation.
pub(super) enum Upcoming {
    /// It failed before anything was read.
    Failed(SopInstanceUid, SubOutcome),
    /// Its instance can be sent.
    Ready(SopInstanceUid, Prepared),
}

/// The next sub-operation. Its instance is read unless `refusal` has a reason not to.
pub(super) async fn next_upcoming(
    found: &mut dyn SubOperations,
    refusal: impl FnOnce(&OutgoingInstance) -> Option<SubOutcome>,
) -> Option<Upcoming> {
    let instance = found.next().await?;
    let uid = instance.sop_instance.clone();
    Some(match refusal(&instance) {
        Some(outcome) => Upcoming::Failed(uid, outcome),
        None => Upcoming::Ready(uid, prepare(instance).await),
    })
}
