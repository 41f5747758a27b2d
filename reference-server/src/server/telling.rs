//! What the server tells of itself: in the audit trail, and in the log.

use super::StartError;
use crate::access::Access;
use crate::accounts::Accounts;
use crate::clock::World;
use crate::config::Config;
use crate::forwarder::Forwarder;
use crate::in_force::{InForce, SERVER, Settings};
use crate::limits::TOLD_AGAIN_EVERY;
use crate::place;
use crate::recorder::alerts::Alerts;
use crate::tls::Tls;
use pacs_core::audit::{Act, Actor, AuditEvent, Outcome};
use pacs_store::Archive;
use pacs_store::records::RecordsError;
use pacs_store::registry::audit::{AuditError, AuditTrail};

/// What the start leaves to be said.
#[derive(Debug)]
pub(super) struct AtStart {
    /// Which settings are in force.
    pub(super) in_force: InForce,
    /// The token for the first account, where there is none.
    pub(super) set_up_token: Option<String>,
    /// That the server started, where that could not be told yet.
    pub(super) untold: Option<AuditEvent>,
}

/// The accounts, and what the start leaves to be said. That the server started is told first, or
/// where it could not be, later: a disk that is full must not keep images from who needs them. A
/// trail that is damaged ends the start.
pub(super) async fn accounts(
    config: &Config,
    archive: &Archive,
    (access, tls): (&Access, &Tls),
) -> Result<(Accounts, AtStart), StartError> {
    let trail = archive.registry().audit_trail();
    let broken = |error| StartError::Trail(Box::new(error));
    let accounts = Accounts::new(trail, config.accounts, World::real()).map_err(broken)?;
    let started = event_of(Act::ApplicationStarted);
    let in_force = InForce::of(archive);
    let in_force = in_force.map_err(|denied| StartError::Assembly(Box::new(denied)))?;
    let settings = Settings {
        network: access.digest(),
        security: tls.digest(),
    };
    let told = in_force.put(settings, Some(started.clone())).await;
    let untold = match told.inspect_err(untellable(&started)) {
        Ok(()) => None,
        Err(
            AuditError::Busy
            | AuditError::Records(RecordsError::Backend { .. } | RecordsError::Full),
        ) => Some(started),
        Err(error) => return Err(StartError::Trail(Box::new(error))),
    };
    let set_up_token = match accounts.set_up_token().await {
        Ok(token) => token,
        Err(error) if untold.is_some() => {
            tracing::error!(%error, "no token for the first account could be made in this run");
            None
        }
        Err(error) => return Err(StartError::Trail(Box::new(error))),
    };
    let at_start = AtStart {
        in_force,
        set_up_token,
        untold,
    };
    Ok((accounts, at_start))
}

/// What the server itself does, for the audit trail.
pub(super) fn event_of(act: Act) -> AuditEvent {
    AuditEvent::new(act, place::now(), Actor::system(SERVER))
}

pub(super) async fn tell(accounts: &Accounts, event: &AuditEvent) -> Result<(), AuditError> {
    let committed = accounts.trail().commit(Vec::new(), event).await;
    committed.map(drop).inspect_err(untellable(event))
}

/// What the log says of what cannot be told.
fn untellable(event: &AuditEvent) -> impl FnOnce(&AuditError) {
    let act = event.act;
    move |error| tracing::error!(%error, ?act, "the audit trail could not be written")
}

/// Tells that the server stopped, here and where the trail goes besides.
pub(super) async fn tell_of_the_end(
    accounts: &Accounts,
    alerts: &Alerts,
    forwarder: Option<&Forwarder>,
) {
    // Where that cannot be written the log has it.
    alerts.finish().await.ok();
    tell(accounts, &event_of(Act::ApplicationStopped))
        .await
        .ok();
    if let Some(forwarder) = forwarder {
        forwarder.finish().await;
    }
}

/// Tells it as soon as it can be told, with the time at which it happened.
pub(super) async fn tell_later(accounts: Accounts, event: AuditEvent) {
    loop {
        tokio::time::sleep(TOLD_AGAIN_EVERY).await;
        if tell(&accounts, &event).await.is_ok() {
            return;
        }
    }
}

/// Tells, as soon as it can be told, that nothing could be recorded for a while, and so was not
/// done either: an alarm, with the times at which that began and ended.
pub(super) async fn tell_of_interruptions(trail: AuditTrail) {
    let mut interrupted = trail.interrupted();
    // A closed channel means that the archive is gone.
    while interrupted.wait_for(|is| *is).await.is_ok() {
        let mut stopped = event_of(Act::AuditRecordingStopped);
        stopped.outcome = Outcome::MajorFailure;
        stopped.reason = Some("records could not be written".to_owned());
        tracing::error!(
            alarm = "audit_recording_stopped",
            "the audit trail cannot be written: nothing is done that has to be recorded"
        );
        loop {
            tokio::time::sleep(TOLD_AGAIN_EVERY).await;
            let started = event_of(Act::AuditRecordingStarted);
            if trail.resumed(&[stopped.clone(), started]).await.is_ok() {
                tracing::warn!("the audit trail can be written again");
                break;
            }
        }
    }
}

/// The log says where the last run did not end well.
pub(super) fn tell_of_the_last_run(archive: &Archive) {
    let opened = archive.opened();
    if opened.is_index_old {
        tracing::error!(
            replayed = opened.replayed_count,
            damaged = opened.damaged_count,
            "the index was of an earlier day, which no crash leaves: somebody, or the disk, put an \
             older file in its place; it was brought up to the log"
        );
    } else if opened.replayed_count > 0 || opened.damaged_count > 0 {
        tracing::warn!(
            replayed = opened.replayed_count,
            damaged = opened.damaged_count,
            "the last run did not end cleanly; the index was brought up to the log"
        );
    }
}
