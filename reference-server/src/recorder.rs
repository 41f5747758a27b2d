//! Records who searches, sees, gets and hides what, in the audit trail.
//!
//! Nobody gets anything whose record cannot be written: whoever gives it out waits for that first.
//! What many want at once is written at once, and what somebody goes on looking at is recorded once
//! in a while, not with each slice. What came in is recorded by [`arrivals`], once answered:
//! it neither waits for a record nor is lost for want of one.
//!
//! An archive that knows no organisations knows nobody to tell of either: there nothing is
//! recorded but alarms ([`programs`]).

pub mod alerts;
pub mod arrivals;
pub mod programs;

use self::alerts::{Alerts, Told};
use crate::clock::World;
use crate::directory::Directory;
use crate::limits::{
    RECORDED_AT_ONCE_MAX, RECORDED_PATIENTS_MAX, RECORDED_SIGHTS_MAX, RECORDER_QUEUE_MAX,
    SEARCHED_AGAIN_AFTER, SEEN_AGAIN_AFTER,
};
use crate::place;
use async_trait::async_trait;
use pacs_core::access::SignedIn;
use pacs_core::audit::{Act, Actor, ActorKind, AuditEvent, Outcome, Purpose, StudyTouched, masked};
use pacs_core::limits::AUDIT_INSTANCES_MAX;
use pacs_core::patient::PatientKey;
use pacs_core::role::{Agent, Licence, Reach, Unlicensed, duty::Reconcile};
use pacs_core::uid::StudyUid;
use pacs_core::{AeTitle, Caller, Phi};
use pacs_store::index::StoredInstance;
use pacs_store::registry::Registry;
use pacs_store::registry::audit::AuditTrail;
use pacs_web::record::{ProgramSent, Record, Unrecorded, Use};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// What somebody does could not be recorded, and is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it could not be recorded, and is not done")]
pub struct NotRecorded;

/// Records what is done. Clones are the same.
#[derive(Debug, Clone)]
pub struct Recorder {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: Registry,
    licence: Licence<Reconcile>,
    directory: Directory,
    alerts: Alerts,
    queue: mpsc::Sender<Waiting>,
    recent: Mutex<HashMap<[u8; 32], Instant>>,
    world: World,
}

/// Events that somebody waits for, or nobody.
struct Waiting {
    events: Vec<AuditEvent>,
    reply: Option<oneshot::Sender<Result<(), NotRecorded>>>,
}

/// What is done to instances.
#[derive(Debug, Clone, Copy)]
pub struct Access<'a> {
    /// What.
    pub act: Act,
    /// The instances.
    pub instances: &'a [StoredInstance],
    /// Whether these are a part of their studies.
    pub is_part: bool,
    /// To whom they go, where that is another than who asks.
    pub node: Option<&'a str>,
}

impl Recorder {
    /// For an archive with this registry; it works as long as it or a clone is there.
    ///
    /// # Errors
    /// [`Unlicensed`] where the table of roles does not let the archive itself read whose studies
    /// are whose.
    pub fn start(
        registry: &Registry,
        directory: Directory,
        alerts: Alerts,
    ) -> Result<Self, Unlicensed> {
        let (queue, waiting) = mpsc::channel(RECORDER_QUEUE_MAX);
        tokio::spawn(write(registry.audit_trail(), waiting));
        Ok(Self {
            inner: Arc::new(Inner {
                registry: registry.clone(),
                licence: Agent::system("recorder").national_licence()?,
                directory,
                alerts,
                queue,
                recent: Mutex::default(),
                world: World::real(),
            }),
        })
    }

    /// Records that somebody is known at a device, once in a while for the same session there.
    ///
    /// # Errors
    /// [`NotRecorded`]: they are not to be let in.
    pub async fn entered(&self, user: &SignedIn) -> Result<(), NotRecorded> {
        let caller = Caller::User(Box::new(user.clone()));
        let actor = self.anyone(&caller);
        let key = key_of(&actor, &caller, Act::SignedIn, "");
        if self.is_recent(&key, SEEN_AGAIN_AFTER) {
            return Ok(());
        }
        let mut event = event_of(Act::SignedIn, actor, &caller);
        event.object.user = Some(user.name.clone());
        event.reason = Some("BY_PASSCODE".to_owned());
        self.write(vec![event]).await?;
        self.note_recent(key);
        Ok(())
    }

    /// Records a search. The same search of the same caller is recorded again after a while.
    ///
    /// # Errors
    /// [`NotRecorded`]: nothing is to be answered.
    pub async fn search(&self, caller: &Caller, query: &Phi<String>) -> Result<(), NotRecorded> {
        let Some(actor) = self.actor(caller) else {
            return Ok(());
        };
        let query = masked(query.reveal());
        let key = key_of(&actor, caller, Act::Queried, &query);
        if self.is_recent(&key, SEARCHED_AGAIN_AFTER) {
            return Ok(());
        }
        let mut event = event_of(Act::Queried, actor, caller);
        event.correlation = self.inner.world.correlation();
        event.object.query = Some(Phi::new(query));
        self.write(vec![event]).await?;
        self.note_recent(key);
        Ok(())
    }

    /// Records an access: one event for each patient, with their studies. That somebody looks at a
    /// study is recorded again after a while; all else each time.
    ///
    /// # Errors
    /// [`NotRecorded`]: nothing of it is to be given.
    pub async fn access(&self, caller: &Caller, access: Access<'_>) -> Result<(), NotRecorded> {
        let Some(actor) = self.actor(caller) else {
            return Ok(());
        };
        let mut keys = Vec::new();
        let mut studies = studies_of(&access);
        if access.act == Act::ImagesViewed {
            studies.retain(|study| {
                let key = key_of(&actor, caller, access.act, study.study.as_str());
                let is_new = !self.is_recent(&key, SEEN_AGAIN_AFTER);
                if is_new {
                    keys.push(key);
                }
                is_new
            });
        }
        if studies.is_empty() {
            return Ok(());
        }
        let events = self
            .events((caller, &actor), (access.act, access.node), studies)
            .await;
        self.write(events).await?;
        keys.into_iter().for_each(|key| self.note_recent(key));
        Ok(())
    }

    /// Records what was sent, once it was. That it began to be sent is recorded already.
    pub(crate) async fn sent(
        &self,
        caller: &Caller,
        studies: Vec<StudyTouched>,
        node: Option<&str>,
    ) {
        let Some(actor) = self.actor(caller).filter(|_| !studies.is_empty()) else {
            return;
        };
        let what = (Act::ImagesSent, node);
        let events = self.events((caller, &actor), what, studies).await;
        self.later(events);
    }

    /// Records what the archive itself sends on to another AE: that it begins, or that it went.
    ///
    /// # Errors
    /// [`NotRecorded`]: nothing of it is to be sent.
    pub(crate) async fn passed_on(
        &self,
        act: Act,
        studies: Vec<StudyTouched>,
        node: &AeTitle,
    ) -> Result<(), NotRecorded> {
        if !self.inner.directory.has_organisations() {
            return Ok(());
        }
        let caller = Caller::System { task: "forwarding" };
        let actor = self.anyone(&caller);
        let what = (act, Some(node.as_str()));
        let events = self.events((&caller, &actor), what, studies).await;
        self.write(events).await
    }

    /// Records what has happened already: as soon as that can be done, and never waited for.
    fn later(&self, events: Vec<AuditEvent>) {
        let waiting = Waiting {
            events,
            reply: None,
        };
        if self.inner.queue.try_send(waiting).is_err() {
            tracing::error!("the end of a transfer could not be recorded: too much waits");
        }
    }

    /// The events of an access, one for each patient.
    async fn events(
        &self,
        (caller, actor): (&Caller, &Actor),
        (act, node): (Act, Option<&str>),
        studies: Vec<StudyTouched>,
    ) -> Vec<AuditEvent> {
        let mut of_patients: BTreeMap<Option<PatientKey>, Vec<StudyTouched>> = BTreeMap::new();
        for (at, study) in studies.into_iter().enumerate() {
            let patient = if at < RECORDED_PATIENTS_MAX {
                self.patient_of(&study.study).await
            } else {
                None
            };
            of_patients.entry(patient).or_default().push(study);
        }
        // What is done at once is tied together, however many patients it is about.
        let correlation = self.inner.world.correlation();
        let events = of_patients.into_iter().map(|(patient, studies)| {
            let mut event = event_of(act, actor.clone(), caller);
            event.correlation.clone_from(&correlation);
            event.object.patient = patient.map(Phi::new);
            event.object.studies = studies;
            if let Some(node) = node {
                event.object.node = Some(node.to_owned());
            }
            if let (Caller::User(user), Some(patient)) = (caller, patient) {
                let now = place::now().to_utc();
                let mut glasses = user.break_glass.iter();
                let is_open = glasses.any(|glass| glass.opens(patient, now));
                event.purpose = is_open.then_some(Purpose::Emergency);
            }
            event
        });
        events.collect()
    }

    /// Whose study it is, where that is known.
    async fn patient_of(&self, study: &StudyUid) -> Option<PatientKey> {
        let registry = &self.inner.registry;
        let known = registry.known_study(&self.inner.licence, study).await;
        known.ok().flatten()?.bound.map(|bound| bound.patient.key)
    }

    /// Who does it, for the trail; `None` where nothing is recorded.
    fn actor(&self, caller: &Caller) -> Option<Actor> {
        // The archive's own tasks give nothing to anybody.
        let is_task = matches!(caller, Caller::System { .. });
        let is_told = self.inner.directory.has_organisations() && !is_task;
        is_told.then(|| self.anyone(caller))
    }

    /// Who does it, whatever is recorded of them.
    fn anyone(&self, caller: &Caller) -> Actor {
        let directory = &self.inner.directory;
        match caller {
            Caller::Client {
                name: Some(name), ..
            } => Actor::new(ActorKind::Program, name.clone()),
            Caller::Device { ae_title, .. } => {
                let mut actor = Actor::new(ActorKind::Device, ae_title.as_str());
                actor.organisation = directory.organisation(ae_title.as_str());
                actor
            }
            Caller::User(user) => {
                let mut actor = Actor::new(ActorKind::User, user.name.clone());
                actor.session.clone_from(&user.session);
                let grants: Vec<_> = user.grants.clone().into();
                actor.roles = grants.iter().map(|grant| grant.role).collect();
                actor.roles.sort_unstable();
                actor.roles.dedup();
                let mut organisations = grants.iter().filter_map(|grant| match grant.reach {
                    Reach::Organisation(code) => Some(code),
                    Reach::National => None,
                });
                let first = organisations.next();
                actor.organisation = first.filter(|first| organisations.all(|of| of == *first));
                actor
            }
            Caller::System { task } => Actor::system(task),
            Caller::Client { .. } | _ => Actor::nobody(),
        }
    }

    fn is_recent(&self, key: &[u8; 32], within: Duration) -> bool {
        let recent = self.inner.recent.lock();
        let recent = recent.unwrap_or_else(PoisonError::into_inner);
        recent.get(key).is_some_and(|at| at.elapsed() < within)
    }

    fn note_recent(&self, key: [u8; 32]) {
        let recent = self.inner.recent.lock();
        let mut recent = recent.unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= RECORDED_SIGHTS_MAX {
            recent.retain(|_, at| at.elapsed() < SEARCHED_AGAIN_AFTER);
            if recent.len() >= RECORDED_SIGHTS_MAX {
                // Something is recorded twice then.
                recent.clear();
            }
        }
        recent.insert(key, Instant::now());
    }

    async fn write(&self, events: Vec<AuditEvent>) -> Result<(), NotRecorded> {
        let (reply, written) = oneshot::channel();
        let waiting = Waiting {
            events,
            reply: Some(reply),
        };
        let sent = self.inner.queue.send(waiting).await;
        sent.map_err(|_closed| NotRecorded)?;
        written.await.unwrap_or(Err(NotRecorded))
    }
}

#[async_trait]
impl Record for Recorder {
    async fn searched(&self, caller: &Caller, query: &Phi<String>) -> Result<(), Unrecorded> {
        self.search(caller, query).await.map_err(|_| Unrecorded)
    }

    async fn used(
        &self,
        caller: &Caller,
        what: Use,
        (instances, is_part): (&[StoredInstance], bool),
    ) -> Result<(), Unrecorded> {
        let access = Access {
            act: match what {
                Use::Hide => Act::ImagesRejected,
                Use::Look => Act::ImagesViewed,
                Use::Take => Act::ImagesSent,
            },
            instances,
            is_part,
            node: None,
        };
        self.access(caller, access).await.map_err(|_| Unrecorded)
    }

    async fn program_sent(&self, caller: &Caller, sent: ProgramSent<'_>) -> Result<(), Unrecorded> {
        let mut event = programs::event(self.anyone(caller), sent);
        event.from = address_of(caller);
        event.correlation = self.inner.world.correlation();
        let (key, event) = match self.inner.alerts.judge(event, sent.preamble.kind()) {
            Told::Alone(event) => (None, event),
            Told::Opening(key, event) => (Some(key), event),
            Told::Counted => return Ok(()),
        };
        self.write(vec![*event]).await.map_err(|_| Unrecorded)?;
        if let Some(key) = key {
            self.inner.alerts.opened(key);
        }
        Ok(())
    }
}

/// Writes what waits, as much at once as there is. Where that cannot be done, perhaps since it is
/// too much together, each is tried alone.
async fn write(trail: AuditTrail, mut queue: mpsc::Receiver<Waiting>) {
    let mut waiting = Vec::new();
    while queue.recv_many(&mut waiting, RECORDED_AT_ONCE_MAX).await > 0 {
        let together = if waiting.len() > 1 {
            commit(&trail, &waiting).await
        } else {
            Err(NotRecorded)
        };
        for one in waiting.drain(..) {
            let written = match together {
                Ok(()) => Ok(()),
                Err(NotRecorded) => commit(&trail, std::slice::from_ref(&one)).await,
            };
            if let Some(reply) = one.reply {
                // Who has gone needs no answer.
                reply.send(written).ok();
            }
        }
    }
}

async fn commit(trail: &AuditTrail, waiting: &[Waiting]) -> Result<(), NotRecorded> {
    let events = waiting.iter().flat_map(|one| &one.events);
    let events: Vec<AuditEvent> = events.cloned().collect();
    let written = trail.commit_all(Vec::new(), &events).await;
    written.map(drop).map_err(|error| {
        let error = crate::tool::failure::chain(&error);
        tracing::error!(error, "what was done could not be recorded");
        NotRecorded
    })
}

/// What somebody does and is not recorded each time.
fn key_of(actor: &Actor, caller: &Caller, act: Act, what: &str) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let session = actor.session.as_deref().unwrap_or_default();
    let address = address_of(caller).map(|address| address.to_string());
    let address = address.unwrap_or_default();
    let device = device_of(caller).map_or("", AeTitle::as_str);
    let act = act.name();
    for part in [actor.name.as_str(), session, &address, device, &act, what] {
        hasher.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    *hasher.finalize().as_bytes()
}

fn address_of(caller: &Caller) -> Option<std::net::IpAddr> {
    match caller {
        Caller::Client { address, .. } | Caller::Device { address, .. } => Some(*address),
        Caller::User(user) => Some(user.address),
        Caller::System { .. } | _ => None,
    }
}

/// The AE at which a person is: what they ask for goes there, unless it goes elsewhere.
fn device_of(caller: &Caller) -> Option<&AeTitle> {
    match caller {
        Caller::User(user) => user.device.as_ref(),
        Caller::Client { .. } | Caller::Device { .. } | Caller::System { .. } | _ => None,
    }
}

fn event_of(act: Act, actor: Actor, caller: &Caller) -> AuditEvent {
    let mut event = AuditEvent::new(act, place::now(), actor);
    event.outcome = Outcome::Success;
    event.from = address_of(caller);
    event.object.node = device_of(caller).map(|title| title.as_str().to_owned());
    event
}

/// The studies of an access. What is a part is listed, unless somebody looks around in a study.
fn studies_of(access: &Access<'_>) -> Vec<StudyTouched> {
    let is_listed = access.is_part && access.act != Act::ImagesViewed;
    let mut studies = Vec::new();
    for stored in access.instances {
        count(&mut studies, stored, is_listed);
    }
    studies
}

/// Counts an instance to its study, and lists it there where there is room.
pub(crate) fn count(studies: &mut Vec<StudyTouched>, stored: &StoredInstance, is_listed: bool) {
    let head = &stored.instance;
    // What comes next is mostly of the same.
    let is_it = |known: &StudyTouched| known.study == head.study;
    let last = studies.len().checked_sub(1);
    let last = last.filter(|at| studies.get(*at).is_some_and(is_it));
    let at = last.or_else(|| studies.iter().position(is_it));
    let at = at.unwrap_or_else(|| {
        studies.push(StudyTouched {
            study: head.study.clone(),
            sop_class: Some(head.sop_class.clone()),
            instances_count: 0,
            instances: Vec::new(),
        });
        studies.len().saturating_sub(1)
    });
    if let Some(study) = studies.get_mut(at) {
        study.instances_count = study.instances_count.saturating_add(1);
        if is_listed && study.instances.len() < AUDIT_INSTANCES_MAX {
            study.instances.push(head.instance.clone());
        }
    }
}
