//! What takes images out of sight in this server: people over the API, and programs over DICOMweb
//! whose token says so. No device does; their notes are followed as proposals.

use crate::access::SystemMay;
use crate::clock::World;
use crate::directory::Directory;
use crate::limits::{REJECTIONS_FINISHED_EVERY, RETENTION_LOOKED_AT_EVERY};
use crate::place;
use crate::sending::Sendings;
use crate::upkeep::Upkeep;
use async_trait::async_trait;
use pacs_core::access::{Hide, SignedIn, permit};
use pacs_core::examination::Reason;
use pacs_core::rejection::Title;
use pacs_core::role::sight::Sight;
use pacs_core::role::{Agent, AgentKind, Grant, Grants, Reach, Role};
use pacs_core::{Action, Caller, Denied, Permit};
use pacs_store::Archive;
use pacs_store::index::Target;
use pacs_store::limits::MatcherLimits;
use pacs_store::registry::RegistryError;
use pacs_store::rejection_notes::NoteFollower;
use pacs_store::rejections::{DestroyedStudies, Meant, RejectError, Rejections, Wanted};
use pacs_web::Derived;
use pacs_web::hide::{Deletion, DeletionRefused};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long is waited where following notes failed, before it goes on.
const RETRY_DURATION: Duration = Duration::from_secs(10);

/// How often derived data is cleared when something was erased: what was being made of it the first
/// time is kept after that.
const CLEARINGS: u32 = 2;

/// What is written down as the reason where a term is over (CID 7011 of PS3.16).
const TERM_OVER: &str = "data retention policy expired (113039)";

/// What is written down as the reason of a deletion over DICOMweb.
const DELETED: &str = "deleted over DICOMweb";

/// What the tasks of this module may.
const MAY: SystemMay = SystemMay(&[Action::Find, Action::Get, Action::Hide, Action::Maintain]);

/// What takes images out of sight and sends them, for all who ask for that.
#[derive(Debug, Clone)]
pub(crate) struct Keeping {
    pub(crate) rejections: Rejections,
    pub(crate) sendings: Sendings,
    /// Says what people see.
    directory: Directory,
    notes: Arc<NoteFollower>,
}

impl Keeping {
    /// That of `archive`, with what a crash left undone done, as far as that can be now.
    ///
    /// # Errors
    /// [`Denied`]: the policy does not know its own task.
    pub(crate) async fn open(
        archive: &Archive,
        sendings: Sendings,
        directory: Directory,
    ) -> Result<Self, Denied> {
        let caller = || Caller::System { task: "rejections" };
        let hide = permit(&MAY, caller())?;
        let (find, get) = (permit(&MAY, caller())?, permit(&MAY, caller())?);
        let rejections = Rejections::new(archive, (hide, find, get));
        finish(&rejections).await;
        let permits = (
            permit(&MAY, caller())?,
            permit(&MAY, caller())?,
            permit(&MAY, caller())?,
        );
        let limits = MatcherLimits::default();
        let notes = NoteFollower::new(archive, permits, place::offset(), limits);
        // Before anybody can send: what comes is looked at from the first note on.
        if let Err(error) = notes.cursor().await {
            let error = crate::tool::failure::chain(&error);
            tracing::error!(error, "rejection notes cannot be followed now");
        }
        Ok(Self {
            rejections,
            sendings,
            directory,
            notes: Arc::new(notes),
        })
    }

    /// Which studies somebody who is signed in sees.
    pub(crate) fn sight(&self, user: &SignedIn) -> Sight {
        self.directory.user(user, Action::Find)
    }

    /// DELETE of DICOMweb.
    pub(crate) fn deletion(&self) -> Arc<dyn Deletion> {
        Arc::new(WebDeletion::new(self.rejections.clone()))
    }

    /// Does what is done in the background, until the tasks are dropped.
    pub(crate) fn begin(self, tasks: &mut JoinSet<()>, derived: Derived, upkeep: Arc<Upkeep>) {
        tasks.spawn(follow(self.notes));
        tasks.spawn(propose_due(self.rejections.clone()));
        tasks.spawn(keep_up(self.rejections, derived, upkeep));
        tasks.spawn(self.sendings.run());
    }
}

async fn finish(rejections: &Rejections) {
    match rejections.finish().await {
        Ok(0) => {}
        Ok(count) => tracing::warn!(count, "rejections that were left undone were finished"),
        Err(error) => {
            let error = crate::tool::failure::chain(&error);
            tracing::error!(error, "rejections that were left undone wait");
        }
    }
}

/// Finishes what could not be done when it was asked for, until the task is dropped.
async fn keep_up(rejections: Rejections, derived: Derived, upkeep: Arc<Upkeep>) {
    let mut clearings = 0;
    loop {
        let world = World::real();
        if let Ok(random) = world.random()
            && let Err(error) = rejections.finish_erasures(random, world.moment()).await
        {
            let error = crate::tool::failure::chain(&error);
            tracing::error!(error, "erasures that were agreed to wait");
        }
        match rejections.destroy_erased(world.moment()).await {
            Ok(destroyed) => {
                upkeep.erasures_wait(destroyed.waiting_count);
                if destroyed != DestroyedStudies::default() {
                    clearings = CLEARINGS;
                }
            }
            Err(error) => {
                let error = crate::tool::failure::chain(&error);
                tracing::error!(error, "bytes that are erased wait to be destroyed");
            }
        }
        if clearings > 0 {
            match derived.clear().await {
                Ok(()) => clearings -= 1,
                Err(error) => tracing::error!(%error, "derived data of what is erased is left"),
            }
        }
        tokio::time::sleep(REJECTIONS_FINISHED_EVERY).await;
        finish(&rejections).await;
    }
}

/// Proposes, once a day, to erase what the retention policy says is over, until the task is
/// dropped.
async fn propose_due(rejections: Rejections) {
    let Ok(reason) = Reason::parse(TERM_OVER) else {
        return;
    };
    loop {
        let world = World::real();
        if let Ok(random) = world.random() {
            match rejections
                .propose_due(&reason, random, world.moment())
                .await
            {
                Ok(0) => {}
                Ok(count) => tracing::info!(count, "studies whose term is over were proposed"),
                Err(error) => {
                    let error = crate::tool::failure::chain(&error);
                    tracing::error!(error, "what is over cannot be proposed now");
                }
            }
        }
        tokio::time::sleep(RETENTION_LOOKED_AT_EVERY).await;
    }
}

/// Keeps rejection notes as proposals, until the archive is closed.
async fn follow(notes: Arc<NoteFollower>) {
    while let Err(error) = notes.run().await {
        let error = crate::tool::failure::chain(&error);
        tracing::warn!(
            error,
            "rejection notes cannot be followed now: it is tried again"
        );
        tokio::time::sleep(RETRY_DURATION).await;
    }
}

/// DELETE of DICOMweb, by programs whose token has the scope `hide`: a rejection as a person's.
#[derive(Debug)]
struct WebDeletion {
    rejections: Rejections,
    world: World,
}

impl WebDeletion {
    fn new(rejections: Rejections) -> Self {
        Self {
            rejections,
            world: World::real(),
        }
    }
}

#[async_trait]
impl Deletion for WebDeletion {
    async fn delete(&self, permit: &Permit<Hide>, target: Target) -> Result<u64, DeletionRefused> {
        let (study, meant) = match target {
            Target::Study(study) => (study, Meant::Study),
            Target::SeriesIn { study, series } => (study, Meant::Series(series)),
            Target::InstanceIn {
                study, instance, ..
            } => (study, Meant::Instances(vec![instance])),
            Target::Instance(_) | Target::InstancesIn { .. } | Target::Series(_) => {
                return Err(DeletionRefused::NotFound);
            }
        };
        let wanted = Wanted {
            study,
            meant,
            title: Title::Quality,
            quality: None,
            reason: Reason::parse(DELETED).map_err(|_| DeletionRefused::Failed)?,
            note: None,
            random: self.world.random().map_err(|_| DeletionRefused::Failed)?,
        };
        let agent = agent_of(permit);
        let at = self.world.moment();
        let rejected = self.rejections.reject(&agent, wanted, at).await;
        match rejected {
            Ok(rejected) => Ok(rejected.value.instances_count),
            // It is seen, and somebody else's.
            Err(RejectError::NotFound | RejectError::Registry(RegistryError::Unlicensed(_)))
                if permit.sight().is_narrowed() =>
            {
                Ok(0)
            }
            Err(RejectError::NotFound) => Err(DeletionRefused::NotFound),
            Err(RejectError::Registry(RegistryError::Refused(_))) => Err(DeletionRefused::Conflict),
            Err(error) => {
                let error = crate::tool::failure::chain(&error);
                tracing::error!(error, "images could not be deleted over DICOMweb");
                Err(DeletionRefused::Failed)
            }
        }
    }
}

/// Whoever the policy let hide: a person, with their own roles; or a program, which by its token
/// looks after the archive, or after what it sees of it.
fn agent_of(permit: &Permit<Hide>) -> Agent {
    match permit.caller() {
        Caller::User(user) => {
            let mut agent = Agent::new(AgentKind::User, &user.name, user.grants.clone());
            agent.address = Some(user.address);
            agent.session.clone_from(&user.session);
            agent
        }
        Caller::Client { address, name } => {
            let name = name.as_deref().unwrap_or("loopback");
            let mut agent = Agent::new(AgentKind::Program, name, keeper_of(permit.sight()));
            agent.address = Some(*address);
            agent
        }
        Caller::Device { .. } | Caller::System { .. } | _ => {
            Agent::new(AgentKind::Program, "", Grants::default())
        }
    }
}

/// The role of whoever looks after all that is seen.
fn keeper_of(sight: &Sight) -> Grants {
    let role = Role::ArchiveAdmin;
    match sight {
        Sight::Everything => Grants::single(Grant::new(role, Reach::National)),
        Sight::Narrowed(onlooker) => {
            let held: Vec<Grant> = onlooker.grants.clone().into();
            let keeps = held.into_iter().map(|grant| Grant { role, ..grant });
            // One role contradicts no other.
            Grants::new(keeps.collect()).unwrap_or_default()
        }
    }
}
