//! What changed that the archive's own work rests on: whose images are whose, and how far
//! examinations are. It is kept in memory alone; whoever works begins with all of it.

use super::Registry;
use pacs_core::OrganisationCode;
use pacs_core::audit::{Act, AuditEvent};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

/// What has to be looked at again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stirred {
    /// Whatever waits, whosever it is: a patient, a device or an organisation was changed.
    pub everything: bool,
    /// What waits at these organisations: their orders were changed.
    pub organisations: BTreeSet<OrganisationCode>,
    /// How far examinations are: a step or the images of one were changed.
    pub progress: bool,
}

impl Stirred {
    /// All there is.
    #[must_use]
    pub fn all() -> Self {
        Self {
            everything: true,
            progress: true,
            ..Self::default()
        }
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Both.
    pub fn add(&mut self, other: Self) {
        self.everything |= other.everything;
        self.progress |= other.progress;
        self.organisations.extend(other.organisations);
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "of acts those that matter here are named"
    )]
    fn of(event: &AuditEvent) -> Self {
        let mut stirred = Self::default();
        match event.act {
            Act::OrderCancelled | Act::OrderChanged | Act::OrderCreated => {
                let id = event.object.examination;
                stirred.organisations.extend(id.map(|id| id.organisation()));
            }
            Act::HardwareConfigured
            | Act::NetworkConfigured
            | Act::PatientChanged
            | Act::PatientMerged
            | Act::SoftwareConfigured => stirred.everything = true,
            Act::ImagesChanged
            | Act::ImagesRejected
            | Act::ImagesRestored
            | Act::StepBegun
            | Act::StepChanged => stirred.progress = true,
            _ => {}
        }
        stirred
    }
}

/// Gathers it until somebody takes it.
#[derive(Debug, Default)]
pub(super) struct Stirring {
    stirred: Mutex<Stirred>,
    notify: Notify,
}

impl Stirring {
    pub(super) fn note(&self, event: &AuditEvent) {
        let stirred = Stirred::of(event);
        if stirred.is_empty() {
            return;
        }
        let mut all = self.stirred.lock().unwrap_or_else(PoisonError::into_inner);
        all.add(stirred);
        drop(all);
        self.notify.notify_one();
    }

    fn take(&self) -> Stirred {
        let mut all = self.stirred.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *all)
    }
}

impl Registry {
    /// Returns what was changed since it was asked last, as soon as there is something: for the one
    /// task that looks at it again. What is given when the call is cancelled is not lost.
    pub async fn stirred(&self) -> Stirred {
        let stirring = &self.inner.stirring;
        loop {
            let stirred = stirring.take();
            if !stirred.is_empty() {
                return stirred;
            }
            stirring.notify.notified().await;
        }
    }
}
