//! «Restore to AE X»: studies go back to a console or workstation by C-STORE, in the background.
//!
//! What is to be sent is a document of the registry, and so is what was answered; a restart goes on
//! where it was. A few are sent at once, to each AE one. One that cannot be reached is tried again
//! with longer pauses, for a day.

mod feed;
mod running;

use crate::access::{Access, SystemMay};
use crate::clock::World;
use crate::config::Config;
use crate::limits::SendingBounds;
use crate::scp::Services;
use pacs_core::access::{Find, Move, permit};
use pacs_core::query::Matching;
use pacs_core::role::Agent;
use pacs_core::tag::{tags, vr_of};
use pacs_core::uid::{SeriesUid, StudyUid};
use pacs_core::{Action, AeTitle, Caller, Denied, Key, Level, Permit, Query, Tag};
use pacs_net::transport::Connector;
use pacs_store::index::IndexError;
use pacs_store::registry::rejections::RejectionId;
use pacs_store::registry::sendings::{NewSending, Sending};
use pacs_store::registry::{Registry, RegistryError, Stored};
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Why nothing is sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendingError {
    /// The index could not be asked.
    #[error("images could not be looked up")]
    Index(#[from] IndexError),
    /// The AE has no address in the configuration.
    #[error("there is no AE {0} with an address")]
    NoAddress(AeTitle),
    /// Nothing of it is in sight.
    #[error("there are no such images")]
    NotFound,
    /// The registry did not take it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Nothing secret can be made.
    #[error(transparent)]
    Random(#[from] crate::clock::NoRandomness),
}

/// What sending works with.
#[derive(Debug)]
pub(crate) struct Parts {
    /// Gives instances out, converted where a peer needs that.
    pub(crate) services: Arc<Services>,
    /// Knows where AEs are.
    pub(crate) access: Arc<Access>,
    /// Our title.
    pub(crate) our_title: AeTitle,
    /// Opens connections.
    pub(crate) connector: Arc<dyn Connector>,
    /// The time.
    pub(crate) world: World,
    /// Bounds.
    pub(crate) bounds: SendingBounds,
}

/// Sendings of one archive. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Sendings {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    parts: Parts,
    registry: Registry,
    moves: Permit<Move>,
    find: Permit<Find>,
    wake: Notify,
    /// Not before when a sending is tried again.
    pauses: Mutex<BTreeMap<RejectionId, Instant>>,
}

impl Sendings {
    /// Those of the archive behind `parts`. Nothing is sent before [`Self::run`].
    ///
    /// # Errors
    /// [`Denied`]: the policy does not know its own task.
    pub(crate) fn new(parts: Parts) -> Result<Self, Denied> {
        let policy = SystemMay(&[Action::Find, Action::Move]);
        let caller = || Caller::System { task: "sending" };
        Ok(Self {
            shared: Arc::new(Shared {
                moves: permit(&policy, caller())?,
                find: permit(&policy, caller())?,
                registry: parts.services.archive().registry(),
                parts,
                wake: Notify::new(),
                pauses: Mutex::default(),
            }),
        })
    }

    /// Those that `services` gives out.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(crate) fn of(
        config: &Config,
        services: &Services,
        access: &Arc<Access>,
        connector: Arc<dyn Connector>,
    ) -> Result<Self, Denied> {
        Self::new(Parts {
            services: Arc::new(services.clone()),
            access: Arc::clone(access),
            our_title: config.ae_title.clone(),
            connector,
            world: World::real(),
            bounds: SendingBounds::default(),
        })
    }

    /// Has a study, or a series of it, sent to an AE.
    ///
    /// # Errors
    /// [`SendingError`]; nothing is sent then.
    pub(crate) async fn order(
        &self,
        agent: &Agent,
        (study, series): (StudyUid, Option<SeriesUid>),
        destination: AeTitle,
    ) -> Result<Stored<Sending>, SendingError> {
        let registry = self.shared.registry.clone();
        self.order_through(&registry, agent, (study, series), destination)
            .await
    }

    /// The same, for one request that is done once: see [`Registry::once`].
    ///
    /// # Errors
    /// As [`Self::order`].
    pub(crate) async fn order_through(
        &self,
        registry: &Registry,
        agent: &Agent,
        (study, series): (StudyUid, Option<SeriesUid>),
        destination: AeTitle,
    ) -> Result<Stored<Sending>, SendingError> {
        let shared = &self.shared;
        // Whoever may not send there does not learn whether there is such an AE.
        registry
            .sending_permitted(agent, &study, &destination)
            .await?;
        if shared.parts.access.remote_ae(&destination).is_none() {
            return Err(SendingError::NoAddress(destination));
        }
        let instances_count = shared.count(&study, series.as_ref()).await?;
        if instances_count == 0 {
            return Err(SendingError::NotFound);
        }
        let new = NewSending {
            study,
            series,
            destination,
            instances_count,
            random: shared.parts.world.random()?,
        };
        let at = shared.parts.world.moment();
        let ordered = registry.order_sending(agent, &new, at).await?;
        tracing::info!(
            sending = %ordered.value.id, called = %ordered.value.destination,
            instances = instances_count, "a study is to be sent"
        );
        shared.wake.notify_one();
        Ok(ordered)
    }

    /// A sending, for whoever may send it.
    ///
    /// # Errors
    /// [`SendingError::Registry`].
    pub(crate) async fn sending(
        &self,
        agent: &Agent,
        id: &RejectionId,
    ) -> Result<Stored<Sending>, SendingError> {
        Ok(self.shared.registry.sending(agent, id).await?)
    }

    /// Says that something was ordered or broken off.
    pub(crate) fn look(&self) {
        self.shared.wake.notify_one();
    }

    /// Sends what is to be sent, until the task is dropped.
    pub(crate) async fn run(self) {
        let shared = &self.shared;
        let mut at_work: JoinSet<(RejectionId, AeTitle)> = JoinSet::new();
        let mut busy: HashSet<AeTitle> = HashSet::new();
        let mut going: HashSet<RejectionId> = HashSet::new();
        loop {
            let next = self.begin(&mut at_work, &mut busy, &mut going).await;
            tokio::select! {
                () = shared.wake.notified() => {}
                () = tokio::time::sleep_until(next) => {}
                Some(ended) = at_work.join_next() => match ended {
                    Ok((id, ae)) => {
                        busy.remove(&ae);
                        going.remove(&id);
                    }
                    Err(error) => {
                        // A panic is logged where it happens; what was under way is tried again.
                        tracing::error!(%error, "a sending broke down");
                        at_work.shutdown().await;
                        busy.clear();
                        going.clear();
                    }
                },
            }
        }
    }

    /// Begins what can be begun, and says when it is to be looked again.
    async fn begin(
        &self,
        at_work: &mut JoinSet<(RejectionId, AeTitle)>,
        busy: &mut HashSet<AeTitle>,
        going: &mut HashSet<RejectionId>,
    ) -> Instant {
        let bounds = self.shared.parts.bounds;
        let now = Instant::now();
        let mut next = now + bounds.look_every;
        let open = match self.shared.registry.open_sendings().await {
            Ok(open) => open,
            Err(error) => {
                tracing::error!(%error, "what is to be sent cannot be read");
                return next;
            }
        };
        self.shared.forget_pauses(&open);
        for sending in open {
            let (id, ae) = (sending.value.id.clone(), sending.value.destination.clone());
            if going.contains(&id) || busy.contains(&ae) || at_work.len() >= bounds.at_once_max {
                continue;
            }
            if let Some(at) = self.shared.pause_of(&id).filter(|at| *at > now) {
                next = next.min(at);
                continue;
            }
            going.insert(id.clone());
            busy.insert(ae.clone());
            let shared = Arc::clone(&self.shared);
            at_work.spawn(async move {
                shared.attempt(sending).await;
                (id, ae)
            });
        }
        next
    }
}

impl Shared {
    fn pauses(&self) -> MutexGuard<'_, BTreeMap<RejectionId, Instant>> {
        self.pauses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pause_of(&self, id: &RejectionId) -> Option<Instant> {
        self.pauses().get(id).copied()
    }

    fn forget_pauses(&self, open: &[Stored<Sending>]) {
        let open: HashSet<&RejectionId> = open.iter().map(|of| &of.value.id).collect();
        self.pauses().retain(|id, _| open.contains(id));
    }

    /// How many instances of it are in sight.
    async fn count(
        &self,
        study: &StudyUid,
        series: Option<&SeriesUid>,
    ) -> Result<u64, SendingError> {
        let (level, wanted) = match series {
            None => (Level::Study, tags::NUMBER_OF_STUDY_RELATED_INSTANCES),
            Some(_) => (Level::Series, tags::NUMBER_OF_SERIES_RELATED_INSTANCES),
        };
        let query = of(level, study, series).with(key(wanted, Matching::Universal));
        let archive = self.parts.services.archive();
        let found = archive.search(&self.find, &query).await?;
        let counts = found.into_iter().map(|found| {
            let count = found.attributes.text(wanted).unwrap_or_default();
            count.trim().parse::<u64>().unwrap_or(0)
        });
        Ok(counts.sum())
    }
}

/// A query for a study, or a series of it.
fn of(level: Level, study: &StudyUid, series: Option<&SeriesUid>) -> Query {
    let uid = |text: &str| Matching::SingleValue(text.to_owned());
    let query = Query::new(level).with(key(tags::STUDY_INSTANCE_UID, uid(study.as_str())));
    match series {
        None => query,
        Some(series) => query.with(key(tags::SERIES_INSTANCE_UID, uid(series.as_str()))),
    }
}

fn key(tag: Tag, matching: Matching) -> Key {
    Key {
        tag,
        vr: vr_of(tag),
        matching,
    }
}
