//! The next instance of a retrieval, read while the one before it is sent.

use super::tally::SubOutcome;
use crate::sending::{Prepared, prepare};
use crate::service::{OutgoingInstance, SubOperations};
use pacs_core::{SopInstanceUid, TransferSyntaxUid};

/// The next sub-operation.
pub(super) enum Upcoming {
    /// It failed before anything was read.
    Failed(SopInstanceUid, SubOutcome),
    /// Its instance can be sent. It is kept in the transfer syntax that stands beside it.
    Ready(SopInstanceUid, Prepared, TransferSyntaxUid),
}

/// What is to be done with an instance.
pub(super) enum Plan {
    /// Send it as it is kept.
    AsKept,
    /// Send it in this transfer syntax.
    Convert(TransferSyntaxUid),
    /// Nothing: the sub-operation has failed.
    Refuse(SubOutcome),
}

impl Plan {
    /// For a peer that takes the transfer syntaxes which `takes` says, of the class of the
    /// instance. As it is kept is best: nothing needs to be done.
    pub(super) fn of(
        kept: &TransferSyntaxUid,
        conversions: &[TransferSyntaxUid],
        takes: impl Fn(&TransferSyntaxUid) -> bool,
    ) -> Self {
        if takes(kept) {
            return Self::AsKept;
        }
        match conversions.iter().find(|conversion| takes(conversion)) {
            Some(conversion) => Self::Convert(conversion.clone()),
            None => Self::Refuse(SubOutcome::no_context(kept)),
        }
    }

    /// Gets `instance` ready.
    pub(super) async fn carry_out(
        self,
        instance: OutgoingInstance,
    ) -> Result<Prepared, SubOutcome> {
        match self {
            Self::AsKept => Ok(prepare(instance).await),
            Self::Convert(to) => match instance.converted(&to).await {
                Ok(converted) => Ok(prepare(converted).await),
                Err(error) => Err(SubOutcome::not_converted(&error)),
            },
            Self::Refuse(outcome) => Err(outcome),
        }
    }
}

/// The next sub-operation. Its instance is read, and converted, unless `plan` has a reason not to;
/// `plan` is told what the instance can be converted to.
pub(super) async fn next_upcoming(
    found: &mut dyn SubOperations,
    plan: impl FnOnce(&OutgoingInstance, &[TransferSyntaxUid]) -> Plan,
) -> Option<Upcoming> {
    let instance = found.next().await?;
    let uid = instance.sop_instance.clone();
    let kept = instance.transfer_syntax.clone();
    let plan = plan(&instance, &found.conversions(&kept));
    Some(match plan.carry_out(instance).await {
        Ok(prepared) => Upcoming::Ready(uid, prepared, kept),
        Err(outcome) => Upcoming::Failed(uid, outcome),
    })
}
