//! Whether all destinations that are to confirm have confirmed an instance: what the commitment of
//! a gateway waits for.

use super::desk::{Desk, Stands};
use super::ledger::Content;
use super::{ForwardingError, TASK};
use crate::access::SystemMay;
use crate::limits::ForwardingBounds;
use pacs_core::access::{Maintain, permit};
use pacs_core::{Action, Caller, Permit, SopInstanceUid};
use pacs_store::Archive;
use std::sync::Arc;
use tokio::sync::watch;

/// How an instance stands at all destinations that are to confirm it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// All have confirmed every version of it.
    Confirmed,
    /// One does not take it or confirm it, and is not asked again in this run.
    Failed,
    /// It is not known yet.
    Waiting,
}

/// Knows what was confirmed. Clones are the same.
#[derive(Debug, Clone)]
pub struct Confirmations {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    archive: Archive,
    permit: Permit<Maintain>,
    /// Of destinations that are to confirm.
    desks: Vec<Arc<Desk>>,
    /// Goes up when something was confirmed, or failed.
    progress: Arc<watch::Sender<u64>>,
    bounds: ForwardingBounds,
}

impl Confirmations {
    pub(super) fn new(
        archive: &Archive,
        desks: Vec<Arc<Desk>>,
        progress: Arc<watch::Sender<u64>>,
    ) -> Result<Self, ForwardingError> {
        let caller = Caller::System { task: TASK };
        Ok(Self {
            inner: Arc::new(Inner {
                archive: archive.clone(),
                permit: permit(&SystemMay(&[Action::Maintain]), caller)?,
                desks,
                progress,
                bounds: ForwardingBounds::default(),
            }),
        })
    }

    /// How an instance stands; what is not there waits for nothing.
    ///
    /// # Errors
    /// [`ForwardingError`]: it is not known.
    pub(crate) async fn standing(
        &self,
        instance: &SopInstanceUid,
    ) -> Result<Standing, ForwardingError> {
        let Inner {
            archive,
            permit,
            desks,
            bounds,
            progress: _,
        } = &*self.inner;
        let versions = archive.versions(permit, instance).await?;
        // Whatever is known of it now is behind this.
        let last = archive.last_change(permit).await?;
        let mut standing = Standing::Confirmed;
        for stored in &versions.stored {
            let content = Content::of(stored);
            for desk in desks {
                match desk.stands(&content, last, bounds).await? {
                    Stands::Confirmed => {}
                    Stands::Failed => standing = Standing::Failed,
                    Stands::Waiting if standing == Standing::Confirmed => {
                        standing = Standing::Waiting;
                    }
                    Stands::Waiting => {}
                }
            }
        }
        Ok(standing)
    }

    /// What changes when something was confirmed, or failed, at a destination.
    pub(crate) fn progress(&self) -> watch::Receiver<u64> {
        self.inner.progress.subscribe()
    }
}
