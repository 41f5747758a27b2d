//! What a server does in the background, from when it serves until it stops.

use super::telling::{tell_later, tell_of_interruptions};
use crate::access::Access;
use crate::accounts::Accounts;
use crate::announcing::Announcer;
use crate::api;
use crate::config::Config;
use crate::control::Door;
use crate::derived;
use crate::forwarder::Forwarder;
use crate::forwarding::Forwarding;
use crate::http::Health;
use crate::mailer::Mailer;
use crate::matcher::Follower;
use crate::notes::NoteTaker;
use crate::recorder::alerts::Alerts;
use crate::recorder::arrivals::Arrivals;
use crate::register::{self, Register};
use crate::rejecting::Keeping;
use crate::reports::ReportWriter;
use crate::room::Room;
use crate::signing::Signer;
use pacs_core::audit::AuditEvent;
use pacs_store::Archive;
use pacs_store::scrub::ScrubPlan;
use pacs_web::Web;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// What is to be done.
#[derive(Debug)]
pub(super) struct Background {
    /// Where `pacs` asks.
    pub(super) door: Option<Door>,
    pub(super) scrub: Option<ScrubPlan>,
    pub(super) room: Room,
    pub(super) feed: api::Feed,
    pub(super) register: Register,
    pub(super) keeping: Keeping,
    pub(super) announcer: Announcer,
    pub(super) forwarding: Forwarding,
    pub(super) dicomweb: Web,
    /// How long a series is quiet before what is derived of it is made ready.
    pub(super) quiet_duration: Duration,
    /// That the server started, where that could not be told yet.
    pub(super) untold: Option<AuditEvent>,
    pub(super) alerts: Alerts,
    pub(super) signer: Option<Signer>,
    pub(super) mailer: Option<Mailer>,
}

impl Background {
    /// Begins all of it; it ends with the tasks.
    pub(super) fn begin(
        self,
        archive: &Archive,
        (accounts, access, health): (&Accounts, &Access, &Health),
        follower: Option<Follower>,
    ) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        let upkeep = &health.upkeep;
        if let Some(door) = self.door {
            let people = (accounts.clone(), self.keeping.sendings.clone());
            tasks.spawn(door.serve(archive.clone(), Arc::clone(upkeep), people));
        }
        if let Some(untold) = self.untold {
            tasks.spawn(tell_later(accounts.clone(), untold));
        }
        tasks.spawn(self.alerts.follow());
        if let Some(signer) = self.signer {
            tasks.spawn(signer.follow());
        }
        if let Some(mailer) = self.mailer {
            tasks.spawn(mailer.follow());
        }
        tasks.spawn(tell_of_interruptions(accounts.trail().clone()));
        if let Some(plan) = self.scrub {
            let (archive, upkeep) = (archive.clone(), Arc::clone(upkeep));
            tasks.spawn(async move { upkeep.scrub(&archive, plan).await });
        }
        let followers = (follower, health.forwarder.clone());
        take_notes(&mut tasks, archive, access, followers);
        let derived = self.dicomweb.derived().clone();
        self.keeping.begin(&mut tasks, derived, Arc::clone(upkeep));
        tasks.spawn(self.announcer.run());
        self.forwarding.begin(&mut tasks);
        tasks.spawn(self.room.watch(archive.clone()));
        tasks.spawn(accounts.clone().keep_clean());
        match ReportWriter::new(archive) {
            Ok(writer) => {
                tasks.spawn(writer.follow());
            }
            Err(error) => tracing::error!(%error, "signed reports are not put into the archive"),
        }
        tasks.spawn(self.feed.follow());
        tasks.spawn(api::forget(archive.registry()));
        tasks.spawn(register::recheck(self.register));
        tasks.spawn(derived::give_way(self.dicomweb.derived().clone()));
        tasks.spawn(derived::make_ready(self.dicomweb, self.quiet_duration));
        tasks
    }
}

/// Has what comes in matched, the index say of studies what the registry knows, and the trail tell
/// of what comes in, here and where it goes besides.
fn take_notes(
    tasks: &mut JoinSet<()>,
    archive: &Archive,
    access: &Access,
    (follower, forwarder): (Option<Follower>, Option<Forwarder>),
) {
    if let Some(forwarder) = forwarder {
        tasks.spawn(forwarder.follow());
    }
    if let Some(follower) = follower {
        tasks.spawn(follower.follow());
    }
    match Arrivals::new(archive, access.directory()) {
        Ok(arrivals) => {
            tasks.spawn(arrivals.follow());
        }
        Err(error) => tracing::error!(%error, "what comes in is not recorded"),
    }
    match NoteTaker::new(archive, access.directory()) {
        Ok(notes) => {
            tasks.spawn(notes.follow());
        }
        Err(error) => tracing::error!(%error, "what is known of studies is not noted"),
    }
}

/// The control socket, where there can be one.
pub(super) fn door(config: &Config) -> Option<Door> {
    let door = Door::open(&config.data).inspect_err(|error| {
        tracing::warn!(%error, "no control socket: pacs backup needs the server stopped");
    });
    door.ok()
}
