//! The other association of C-MOVE: delivers instances to the destination.
//!
//! An association carries as many kinds of instances (SOP class and transfer syntax) as it has
//! contexts; for the others a further one is opened. What the destination takes decides whether an
//! instance goes as it is kept or converted. A destination that cannot be reached, or does
//! not answer, twice in a row is given up.

use super::super::Shared;
use super::kinds::{Kind, Kinds, Proposal};
use super::tally::SubOutcome;
use super::upcoming::Plan;
use crate::dimse::Priority;
use crate::requestor::{Requestor, RequestorError, StoreResponse};
use crate::sending::Prepared;
use crate::service::{Destination, OutgoingInstance};
use pacs_core::{AeTitle, TransferSyntaxUid};
use std::sync::Arc;

/// Failures of the destination in a row after which nothing more is tried.
const FAILURES_MAX: u32 = 2;

/// What the association that is open was proposed for, and what the destination takes on it.
#[derive(Debug)]
struct Agreed {
    kinds: Vec<Kind>,
    takes: Vec<Kind>,
}

impl Agreed {
    /// How an instance of `kind` goes out; `None` where the association is not for it.
    fn plan(&self, kind: &Kind, conversions: &[TransferSyntaxUid]) -> Option<Plan> {
        let takes = |name: &TransferSyntaxUid| {
            let mut takes = self.takes.iter();
            takes.any(|taken| taken.0 == kind.0 && taken.1 == *name)
        };
        let is_for = self.kinds.contains(kind);
        is_for.then(|| Plan::of(&kind.1, conversions, takes))
    }
}

/// Delivers instances to one destination.
pub(super) struct Delivery<'a> {
    shared: &'a Shared,
    destination: Destination,
    kinds: Kinds,
    originator: (AeTitle, u16),
    priority: Priority,
    open: Option<(Requestor, Arc<Agreed>)>,
    failures_count: u32,
    last_error: String,
}

impl<'a> Delivery<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        destination: Destination,
        kinds: Kinds,
        originator: (AeTitle, u16),
        priority: Priority,
    ) -> Self {
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
    fn refusal(&self) -> Option<SubOutcome> {
        self.is_given_up().then(|| SubOutcome::Failed {
            reason: self.last_error.clone(),
        })
    }

    /// How the next instance is to be got ready, as far as that is known before it is its turn.
    pub(super) fn plan(
        &self,
    ) -> impl FnOnce(&OutgoingInstance, &[TransferSyntaxUid]) -> Plan + Send + use<> {
        let refusal = self.refusal();
        let agreed = self.open.as_ref().map(|(_, agreed)| Arc::clone(agreed));
        move |instance, conversions| {
            if let Some(outcome) = refusal {
                return Plan::Refuse(outcome);
            }
            let kind = (instance.sop_class.clone(), instance.transfer_syntax.clone());
            let planned = agreed.and_then(|agreed| agreed.plan(&kind, conversions));
            planned.unwrap_or(Plan::AsKept)
        }
    }

    fn failed(&mut self, error: &RequestorError) {
        self.failures_count = self.failures_count.saturating_add(1);
        self.last_error = format!("{}: {error}", self.destination.ae_title);
    }

    /// Delivers an instance that is kept in `kept`. Failing is an outcome, not an error.
    pub(super) async fn deliver(
        &mut self,
        prepared: Prepared,
        kept: &TransferSyntaxUid,
    ) -> SubOutcome {
        let kind = (prepared.instance.sop_class.clone(), kept.clone());
        let agreed = match self.associate(&kind).await {
            Ok(agreed) => agreed,
            Err(reason) => return SubOutcome::Failed { reason },
        };
        // It was got ready before it was known what the destination takes.
        let takes =
            |taken: &Kind| taken.0 == kind.0 && taken.1 == prepared.instance.transfer_syntax;
        let prepared = if agreed.takes.iter().any(takes) {
            prepared
        } else {
            let plan = agreed.plan(&kind, self.kinds.conversions(kept));
            let plan = plan.unwrap_or_else(|| Plan::Refuse(SubOutcome::no_context(kept)));
            match plan.carry_out(prepared.instance).await {
                Ok(prepared) => prepared,
                Err(outcome) => return outcome,
            }
        };
        self.store(prepared).await
    }

    /// Sends an instance on the association that is open.
    async fn store(&mut self, prepared: Prepared) -> SubOutcome {
        let transfer_syntax = prepared.instance.transfer_syntax.clone();
        let Some((requestor, _)) = &mut self.open else {
            let reason = self.last_error.clone();
            return SubOutcome::Failed { reason };
        };
        let originator = (&self.originator.0, self.originator.1);
        let stored = requestor
            .store_prepared(prepared, self.priority, Some(originator))
            .await;
        match stored {
            Ok(StoreResponse { status: code, .. }) | Err(RequestorError::Status { code, .. }) => {
                self.failures_count = 0;
                SubOutcome::of(code)
            }
            Err(RequestorError::NoPresentationContext { .. }) => {
                SubOutcome::no_context(&transfer_syntax)
            }
            Err(error) => {
                if !requestor.is_established() {
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

    /// Sees to it that the association which is open is one for `kind`.
    async fn associate(&mut self, kind: &Kind) -> Result<Arc<Agreed>, String> {
        if let Some((_, agreed)) = &self.open
            && agreed.kinds.contains(kind)
        {
            return Ok(Arc::clone(agreed));
        }
        self.end().await;
        if self.is_given_up() {
            return Err(self.last_error.clone());
        }
        let contexts_max = self.shared.limits.presentation_contexts_max.min(128);
        let proposal = self.kinds.proposal(kind, contexts_max);
        match connect(self.shared, &self.destination, &proposal).await {
            Ok(requestor) => {
                let contexts = requestor.negotiated().contexts().iter();
                let contexts = contexts.filter(|context| context.requestor_roles.scu);
                let takes = contexts
                    .map(|c| (c.abstract_syntax.clone(), c.transfer_syntax.clone()))
                    .collect();
                let kinds = proposal.kinds;
                let agreed = Arc::new(Agreed { kinds, takes });
                self.open = Some((requestor, Arc::clone(&agreed)));
                Ok(agreed)
            }
            Err(error) => {
                self.failed(&error);
                Err(self.last_error.clone())
            }
        }
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
    proposal: &Proposal,
) -> Result<Requestor, RequestorError> {
    let calling = shared.ae_title.clone();
    let called = destination.ae_title.clone();
    let mut builder = Requestor::builder(calling, called)
        .connector(Arc::clone(&shared.connector))
        .shared_limits(Arc::clone(&shared.limits));
    for (sop_class, transfer_syntaxes) in &proposal.contexts {
        let names: Vec<&str> = transfer_syntaxes.iter().map(|name| name.as_str()).collect();
        builder = builder.context(sop_class.as_str(), &names);
    }
    builder.connect(&destination.address).await
}
