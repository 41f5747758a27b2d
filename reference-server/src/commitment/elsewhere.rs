//! What other archives have to confirm before we commit: the part of a hospital's gateway.

use super::{Shared, now_unix_ms};
use crate::forwarding::{Confirmations, Standing};
use pacs_core::SopInstanceUid;
use pacs_core::commitment::FailureReason;
use std::future::pending;
use tokio::sync::watch;
use tokio::time::sleep;

/// Instances of one request that wait and are looked at: the others are when these are confirmed.
const WAITING_ENOUGH: usize = 500;

/// What other archives say of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Elsewhere {
    /// It is safe there, or nobody has to say so.
    Confirmed,
    /// It is not.
    Fails(FailureReason),
    /// They have not said so yet.
    Waits,
}

impl Elsewhere {
    /// Why it is not committed for that.
    pub(super) const fn failure(self) -> Option<FailureReason> {
        match self {
            Self::Fails(reason) => Some(reason),
            Self::Confirmed | Self::Waits => None,
        }
    }
}

impl Shared {
    /// What other archives say of the instances that were asked about then. What they have not
    /// confirmed in all the time there is fails: it can be asked about again.
    pub(super) async fn elsewhere<'a>(
        &self,
        instances: impl Iterator<Item = &'a SopInstanceUid> + Send,
        accepted_unix_ms: u64,
    ) -> Vec<Elsewhere> {
        let Some(confirmations) = &self.parts.confirmations else {
            return Vec::new();
        };
        let age_ms = u128::from(now_unix_ms().saturating_sub(accepted_unix_ms));
        let is_over = age_ms >= self.parts.bounds.put_off_for.as_millis();
        let mut all = Vec::new();
        let mut waiting_count = 0_usize;
        for instance in instances {
            if waiting_count >= WAITING_ENOUGH {
                break;
            }
            all.push(match confirmations.standing(instance).await {
                Ok(Standing::Confirmed) => Elsewhere::Confirmed,
                Ok(Standing::Failed) => Elsewhere::Fails(FailureReason::PROCESSING_FAILURE),
                Ok(Standing::Waiting) if is_over => {
                    Elsewhere::Fails(FailureReason::RESOURCE_LIMITATION)
                }
                Ok(Standing::Waiting) => Elsewhere::Waits,
                Err(error) => {
                    let error = crate::tool::failure::chain(&error);
                    tracing::error!(error, "whether an instance is confirmed cannot be read");
                    Elsewhere::Fails(FailureReason::PROCESSING_FAILURE)
                }
            });
            waiting_count += usize::from(all.last() == Some(&Elsewhere::Waits));
        }
        all
    }

    /// What changes when another archive has confirmed something.
    pub(super) fn progress_elsewhere(&self) -> Option<watch::Receiver<u64>> {
        let confirmations = self.parts.confirmations.as_ref();
        confirmations.map(Confirmations::progress)
    }

    /// Returns when that has changed, or it is time to look.
    pub(super) async fn changed_elsewhere(&self, progress: &mut Option<watch::Receiver<u64>>) {
        let changed = async {
            if let Some(progress) = progress
                && progress.changed().await.is_ok()
            {
                return;
            }
            // There is nothing that could change.
            pending::<()>().await;
        };
        tokio::select! {
            () = changed => {}
            () = sleep(self.parts.bounds.put_off_looked_every) => {}
        }
    }
}
