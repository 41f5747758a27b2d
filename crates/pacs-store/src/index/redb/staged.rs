//! A group on its way into the index: staged, promised to readers, shown.

use super::Inner;
use super::group::Finished;
use crate::index::{Applied, DurableContent, IndexError, Promised, Staged};
use redb::WriteTransaction;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::OwnedMutexGuard;

/// A group in an open transaction. Dropping it takes everything back.
pub(super) struct StagedInRedb {
    pub(super) applied: Vec<Applied>,
    pub(super) group: StagedGroup,
}

/// What is to be committed of it.
pub(super) struct StagedGroup {
    pub(super) inner: Arc<Inner>,
    pub(super) transaction: WriteTransaction,
    pub(super) finished: Finished,
    /// Nobody else writes before this is done.
    pub(super) turn: OwnedMutexGuard<()>,
}

impl Staged for StagedInRedb {
    fn promise(
        self: Box<Self>,
        content: DurableContent,
    ) -> Result<(Vec<Applied>, Box<dyn Promised>), IndexError> {
        let Self { applied, group } = *self;
        content.covers(group.finished.counters.position)?;
        group.inner.gate.close();
        Ok((applied, Box::new(PromisedInRedb { group: Some(group) })))
    }
}

/// A group that readers wait for.
struct PromisedInRedb {
    /// Taken when it is shown.
    group: Option<StagedGroup>,
}

impl Promised for PromisedInRedb {
    fn show(mut self: Box<Self>) -> Result<(), IndexError> {
        let Some(group) = self.group.take() else {
            return Ok(());
        };
        let StagedGroup {
            inner,
            transaction,
            finished,
            turn,
        } = group;
        // Opens the gate also where this panics.
        let opening = Opening(&inner);
        inner.commit("commit", transaction, Some(finished.changed))?;
        let mut progress = inner.progress();
        progress.committed = finished.counters;
        progress.is_ahead = true;
        drop(progress);
        opening.open();
        drop(turn);
        Ok(())
    }
}

impl Drop for PromisedInRedb {
    fn drop(&mut self) {
        if let Some(group) = &self.group {
            drop(Opening(&group.inner));
        }
    }
}

/// Lets readers in when it is dropped. The promise is broken then, unless [`Self::open`] was
/// called: what was answered is not to be seen, and so nothing is.
struct Opening<'i>(&'i Inner);

impl Opening<'_> {
    fn open(self) {
        self.0.gate.open();
        std::mem::forget(self);
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.0.has_failed.store(true, Ordering::Release);
        self.0.is_broken.store(true, Ordering::Release);
        self.0.gate.open();
    }
}
