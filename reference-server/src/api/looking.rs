//! The record of what somebody only looked at: what cannot be recorded is not shown.

use super::problem::codes;
use super::{Api, Problem};
use pacs_core::OrganisationCode;
use pacs_core::audit::{Act, AuditEvent};
use pacs_core::role::Agent;
use pacs_store::registry::Moment;

/// That `agent` asked for what is of `organisation`.
pub(super) fn looked(
    agent: &Agent,
    organisation: Option<OrganisationCode>,
    at: Moment,
) -> AuditEvent {
    let mut event = AuditEvent::by(Act::Queried, at, agent);
    event.actor.organisation = organisation;
    event
}

/// Records it, before the answer is made.
pub(super) async fn recorded(api: &Api, event: &AuditEvent) -> Result<(), Problem> {
    let trail = api.registry.audit_trail();
    let recorded = trail.commit(Vec::new(), event).await;
    recorded.map(drop).map_err(|error| {
        tracing::error!(%error, "that somebody looked could not be recorded");
        (&codes::INTERNAL).into()
    })
}
