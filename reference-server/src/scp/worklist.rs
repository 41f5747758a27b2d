//! C-FIND of the modality worklist (PS3.4 Annex K): a console sees what its own organisation has
//! planned, in its own department or in none, in its own characters.

pub(crate) mod item;
mod reading;

pub(crate) use item::listing;

use super::caller;
use super::device::{KnownDevice, Unknown};
use crate::access::Access;
use crate::clock::World;
use crate::limits::{WORKLIST_PAGE_COUNT, WORKLIST_SCANNED_MAX, WORKLIST_STEPS_MAX};
use crate::place;
use async_trait::async_trait;
use pacs_core::access::{Worklist, permit};
use pacs_core::audit::{Act, Actor, ActorKind, AuditEvent, masked};
use pacs_core::limits::QueryLimits;
use pacs_core::role::{Licence, duty};
use pacs_core::worklist::WorklistQuery;
use pacs_core::{Phi, QueryError};
use pacs_net::service::{Matches, Peer, WorklistRequest, WorklistScp};
use pacs_net::status::FindStatus;
use pacs_store::registry::audit::AuditError;
use pacs_store::registry::{Moment, Registry, RegistryError};
use reading::{Reading, Seen};
use std::sync::Arc;

/// How much of a worklist is read and answered.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Examinations that are read at once.
    page_count: usize,
    /// Examinations that one query looks at.
    scanned_max: usize,
    /// Steps that one query is answered with.
    steps_max: usize,
}

/// Answers queries of the worklist.
#[derive(Debug)]
pub struct WorklistService {
    registry: Registry,
    access: Arc<Access>,
    bounds: Bounds,
}

impl WorklistService {
    /// From `registry`, under `access`.
    #[must_use]
    pub const fn new(registry: Registry, access: Arc<Access>) -> Self {
        let bounds = Bounds {
            page_count: WORKLIST_PAGE_COUNT,
            scanned_max: WORKLIST_SCANNED_MAX,
            steps_max: WORKLIST_STEPS_MAX,
        };
        Self {
            registry,
            access,
            bounds,
        }
    }

    /// Records that a device asks.
    async fn note(
        &self,
        peer: &Peer,
        device: &KnownDevice,
        query: &WorklistQuery,
        now: Moment,
    ) -> Result<(), AuditError> {
        let title = device.device.ae_title.as_str();
        let mut actor = Actor::new(ActorKind::Device, title);
        actor.organisation = Some(device.organisation());
        let mut event = AuditEvent::new(Act::Queried, now, actor);
        event.from = Some(peer.address.ip());
        event.correlation = World::real().correlation();
        event.object.query = Some(Phi::new(masked(query.describe().reveal())));
        let trail = self.registry.audit_trail();
        trail.commit(Vec::new(), &event).await.map(drop)
    }
}

#[async_trait]
impl WorklistScp for WorklistService {
    async fn worklist(
        &self,
        peer: &Peer,
        request: WorklistRequest,
    ) -> Result<Box<dyn Matches>, FindStatus> {
        if permit::<Worklist>(&*self.access, caller(peer)).is_err() {
            return Err(FindStatus::NOT_AUTHORIZED);
        }
        let device = match KnownDevice::find(&self.registry, peer).await {
            Ok(device) => device,
            Err(Unknown::Registry(error)) => return Err(failed(&error)),
            Err(Unknown::Title) => {
                tracing::warn!(
                    calling = %peer.calling_ae_title,
                    "an AE that is registered as no device asked for the worklist"
                );
                let why = Unknown::Title.to_string();
                return Err(FindStatus::NOT_AUTHORIZED.with_comment(why));
            }
        };
        let syntax = request.transfer_syntax;
        let query = WorklistQuery::read(&request.identifier, &syntax, &QueryLimits::default())
            .map_err(|error| not_a_query(&error))?;
        let licence: Licence<duty::WorklistQuery> =
            device.licence().map_err(|error| failed(&error))?;
        let now = place::now();
        // First the record: what cannot be recorded is not answered.
        if let Err(error) = self.note(peer, &device, &query, now).await {
            tracing::error!(%error, "a query of the worklist could not be recorded");
            return Err(FindStatus::UNABLE_TO_PROCESS);
        }
        let organisation = self.registry.organisation(device.organisation()).await;
        let organisation = organisation.map_err(|error| failed(&error))?.value;
        let days = query.days(&device.device.profile, now.date_naive());
        let seen = Seen {
            device: device.device,
            institution: item::institution(&organisation),
            query,
            syntax,
            now: now.naive_local(),
            bounds: self.bounds,
        };
        Ok(Box::new(Reading::new(
            self.registry.clone(),
            licence,
            &days,
            seen,
        )))
    }
}

fn not_a_query(error: &QueryError) -> FindStatus {
    let status = match error {
        QueryError::Limit { .. } => FindStatus::OUT_OF_RESOURCES,
        QueryError::Value { tag } => {
            FindStatus::IDENTIFIER_MISMATCH.with_offending_elements(vec![*tag])
        }
        QueryError::Level
        | QueryError::LowerLevel { .. }
        | QueryError::Scan(_)
        | QueryError::UniqueKey { .. }
        | _ => FindStatus::UNABLE_TO_PROCESS,
    };
    status.with_comment(error.to_string())
}

fn failed(error: &RegistryError) -> FindStatus {
    tracing::error!(%error, "a worklist could not be read");
    FindStatus::UNABLE_TO_PROCESS
}

#[cfg(test)]
mod tests;
