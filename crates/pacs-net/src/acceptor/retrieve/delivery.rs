//! The other association of C-MOVE: delivers instances to the destination.
//!
//! An association carries as many kinds of instances (SOP class and transfer syntax) as it has
//! contexts; for the others a further one is opened. A destination that cannot be reached, or does
//! not answer, twice in a row is given up.

use super::super::Shared;
use super::tally::SubOutcome;
use crate::dimse::Priority;
use crate::requestor::{Requestor, RequestorError, StoreResponse};
use crate::sending::Prepared;
use crate::service::Destination;
use pacs_core::{AeTitle, SopClassUid, TransferSyntaxUid};
use std::sync::Arc;

/// Failures of the destination in a row after which nothing more is tried.
const FAILURES_MAX: u32 = 2;

type Kind = (SopClassUid, TransferSyntaxUid);

/// Delivers instances to one destination.
pub(super) struct Delivery<'a> {
    shared: &'a Shared,
    destination: Destination,
    kinds: Vec<Kind>,
    originator: (AeTitle, u16),
    priority: Priority,
    open: Option<(Requestor, Vec<Kind>)>,
    failures_count: u32,
    last_error: String,
}

impl<'a> Delivery<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        destination: Destination,
        mut kinds: Vec<Kind>,
        originator: (AeTitle, u16),
        priority: Priority,
    ) -> Self {
        kinds.sort();
        kinds.dedup();
        Self {
            shared,
            destination,
            kinds,
            originator,
            priority,
            open: None,
            failures_count: 0,
            last_error: String::new(),
        }
    }

    const fn is_given_up(&self) -> bool {
        self.failures_count >= FAILURES_MAX
    }

    /// Why nothing more is delivered, if so.
    pub(super) fn refusal(&self) -> Option<SubOutcome> {
        self.is_given_up().then(|| SubOutcome::Failed {
            reason: self.last_error.clone(),
        })
    }

    fn failed(&mut self, error: &RequestorError) {
        self.failures_count = self.failures_count.saturating_add(1);
        self.last_error = format!("{}: {error}", self.destination.ae_title);
    }

    /// Delivers an instance. Failing is an outcome, not an error.
    pub(super) async fn deliver(&mut self, prepared: Prepared) -> SubOutcome {
        let instance = &prepared.instance;
        let kind = (instance.sop_class.clone(), instance.transfer_syntax.clone());
        let transfer_syntax = instance.transfer_syntax.clone();
        let priority = self.priority;
        let requestor = match self.associate(&kind).await {
            Ok(requestor) => requestor,
            Err(reason) => return SubOutcome::Failed { reason },
        };
        let (title, message_id) = (&requestor.1.0, requestor.1.1);
        let storing = requestor
            .0
            .store_prepared(prepared, priority, Some((title, message_id)));
        match storing.await {
            Ok(StoreResponse { status: code, .. }) | Err(RequestorError::Status { code, .. }) => {
                self.failures_count = 0;
                SubOutcome::of(code)
            }
            Err(RequestorError::NoPresentationContext { .. }) => {
                SubOutcome::no_context(&transfer_syntax)
            }
            Err(error) => {
                if !requestor.0.is_established() {
                    self.open = None;
                }
                // That we cannot read an instance is no fault of the destination.
                if !matches!(error, RequestorError::Source(_)) {
                    self.failed(&error);
                }
                SubOutcome::Failed {
                    reason: error.to_string(),
                }
            }
        }
    }

    /// An association on which `kind` was proposed, and who asked for the move.
    async fn associate(
        &mut self,
        kind: &Kind,
    ) -> Result<(&mut Requestor, &(AeTitle, u16)), String> {
        let fits = |open: &(Requestor, Vec<Kind>)| open.1.contains(kind);
        if !self.open.as_ref().is_some_and(fits) {
            self.end().await;
            if self.is_given_up() {
                return Err(self.last_error.clone());
            }
            let group = self.group(kind);
            match connect(self.shared, &self.destination, &group).await {
                Ok(requestor) => self.open = Some((requestor, group)),
                Err(error) => {
                    self.failed(&error);
                    return Err(self.last_error.clone());
                }
            }
        }
        match &mut self.open {
            Some((requestor, _)) => Ok((requestor, &self.originator)),
            None => Err(self.last_error.clone()),
        }
    }

    /// `kind` and those after it, as many as there are contexts.
    fn group(&self, kind: &Kind) -> Vec<Kind> {
        let from = self.kinds.partition_point(|known| known < kind);
        let after = self.kinds.iter().skip(from).filter(|known| *known != kind);
        let contexts_max = self.shared.limits.presentation_contexts_max.min(128);
        std::iter::once(kind)
            .chain(after)
            .take(contexts_max)
            .cloned()
            .collect()
    }

    /// Aborts the association that is open, if one is: its last instance may not be whole.
    pub(super) async fn abort(&mut self) {
        if let Some((requestor, _)) = self.open.take() {
            requestor.abort().await;
        }
    }

    /// Releases the association that is open, if one is.
    pub(super) async fn end(&mut self) {
        if let Some((requestor, _)) = self.open.take()
            && let Err(error) = requestor.release().await
        {
            tracing::debug!(destination = %self.destination.ae_title, %error, "release failed");
        }
    }
}

async fn connect(
    shared: &Shared,
    destination: &Destination,
    group: &[Kind],
) -> Result<Requestor, RequestorError> {
    let calling = shared.ae_title.clone();
    let called = destination.ae_title.clone();
    let mut builder = Requestor::builder(calling, called)
        .connector(Arc::clone(&shared.connector))
        .shared_limits(Arc::clone(&shared.limits));
    for (sop_class, transfer_syntax) in group {
        builder = builder.context(sop_class.as_str(), &[transfer_syntax.as_str()]);
    }
    builder.connect(&destination.address).await
}
