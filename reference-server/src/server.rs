//! The server, put together: archive, acceptor and HTTP, from settings to drain.

use crate::access::{Access, MaintenanceOnly};
use crate::accounts::Accounts;
use crate::admission::Watcher;
use crate::api;
use crate::clock::World;
use crate::commitment::{ClientCommitments, Commitments, Parts};
use crate::config::{Config, Options};
use crate::control::Door;
use crate::decoding::decoders;
use crate::derived::{self, DerivedMetrics};
use crate::directory::Directory;
use crate::http::{self, Health};
use crate::limits::{
    CONNECTIONS_MAX, CONNECTIONS_MIN, CommitmentBounds, DESCRIPTORS_RESERVED, DRAIN_MAX,
    TOLD_AGAIN_EVERY,
};
use crate::matcher::Follower;
use crate::metrics::Metrics;
use crate::notes::NoteTaker;
use crate::overlays::RegistryOverlays;
use crate::place;
use crate::recorder::Recorder;
use crate::recorder::arrivals::Arrivals;
use crate::register::{self, Register};
use crate::reload::Reload;
use crate::room::Room;
use crate::scp::commitment::CommitmentService;
use crate::scp::mpps::StepService;
use crate::scp::worklist::WorklistService;
use crate::scp::{ConversionCounters, Services};
use crate::tls::{Tls, TlsFileError};
use crate::upkeep::Upkeep;
use crate::web;
use pacs_core::Caller;
use pacs_core::access::{Maintain, permit};
use pacs_core::audit::{Act, Actor, AuditEvent};
use pacs_core::role::Unlicensed;
use pacs_image::Decoders;
use pacs_net::{Acceptor, NetLimits};
use pacs_store::egress::Overlays;
use pacs_store::records::RecordsError;
use pacs_store::registry::audit::AuditError;
use pacs_store::scrub::ScrubPlan;
use pacs_store::{Archive, OpenError};
use pacs_web::Web;
use pacs_web::commitment::Commitment;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The archive could not be opened.
    #[error("archive in {directory} could not be opened")]
    Archive {
        /// Where.
        directory: String,
        /// Why.
        source: OpenError,
    },
    /// The system lets this process have too few files and connections.
    #[error("at most {descriptors} file descriptors are allowed (ulimit -n), 640 are needed")]
    Descriptors {
        /// How many.
        descriptors: usize,
    },
    /// A listener could not be opened.
    #[error("{protocol} cannot listen on {address}")]
    Listen {
        /// Of which protocol.
        protocol: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The files of TLS are of no use.
    #[error("TLS")]
    Tls(#[from] TlsFileError),
    /// The audit trail or the accounts cannot be read or written: nobody would know what is done.
    #[error("audit trail or accounts")]
    Trail(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A part was put together wrongly: a fault of this crate.
    #[error("server cannot be put together")]
    Assembly(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A part of the server ended that must not.
    Broken,
    /// The disk or the index failed; the process has to end, and the next one recovers.
    StoreFailed,
    /// It was asked to stop, and has drained.
    Stopped,
}

/// A server whose listeners are open.
#[derive(Debug)]
pub struct Server {
    archive: Archive,
    acceptor: Acceptor,
    dicom: TcpListener,
    dicom_tls: Option<TcpListener>,
    http: TcpListener,
    tls: Arc<Tls>,
    access: Arc<Access>,
    config: Config,
    health: Arc<Health>,
    door: Option<Door>,
    scrub: Option<ScrubPlan>,
    room: Room,
    commitments: Commitments,
    web: axum::Router,
    dicomweb: Web,
    feed: api::Feed,
    accounts: Accounts,
    register: Register,
    at_start: AtStart,
}

/// What the start leaves to be said.
#[derive(Debug, Default)]
struct AtStart {
    /// The token for the first account, where there is none.
    set_up_token: Option<String>,
    /// That the server started, where that could not be told yet.
    untold: Option<AuditEvent>,
}

/// Where a server listens.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// DICOM.
    pub dicom: SocketAddr,
    /// HTTP.
    pub http: SocketAddr,
    /// DICOM over TLS.
    pub dicom_tls: Option<SocketAddr>,
}

impl Server {
    /// Opens archive and listeners. Nothing is served before [`Server::run`].
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        let assembly = |error| StartError::Assembly(Box::new(error));
        let metrics = Arc::new(Metrics::new().map_err(assembly)?);
        let room = Room::new(&metrics).map_err(assembly)?;
        // Before the archive: it is quick, and what is wrong with it is the administrator's.
        let tls = Arc::new(Tls::open(config, &metrics)?);
        let archive =
            crate::local::open(&config.data)
                .await
                .map_err(|source| StartError::Archive {
                    directory: config.data.display().to_string(),
                    source,
                })?;
        tell_of_the_last_run(&archive);
        let access = access(config, &archive, &metrics).await?;
        let commitments = commitments(config, &archive, &access, &tls, &metrics).await?;
        let decoders = decoders().map_err(assembly_io)?;
        let derived = derived::open(config);
        DerivedMetrics::register(metrics.registry(), &derived).map_err(assembly)?;
        let overlays = RegistryOverlays::new(archive.registry());
        let overlays: Arc<dyn Overlays> = Arc::new(overlays.map_err(assembly_unlicensed)?);
        let recorder = Recorder::start(&archive.registry(), access.directory());
        let recorder = recorder.map_err(assembly_unlicensed)?;
        let tools = (&metrics, &decoders, (&overlays, &recorder));
        let services = services(config, &archive, &access, tools)?;
        let acceptor = acceptor(config, services, &access, &commitments, &tls, &metrics)?;
        let upkeep = Arc::new(upkeep(&archive, &metrics).await?);
        let http = listen("HTTP", config.http)?;
        let makers = (decoders, derived, for_clients(config, &commitments).await?);
        let at_http = http.local_addr().ok();
        let (accounts, at_start) = accounts(config, &archive).await?;
        let doors = (&access, &overlays, &accounts, &recorder);
        let (web, dicomweb) = web::routes(&archive, config, doors, makers, at_http, metrics.web());
        let health = Arc::new(Health {
            ready: AtomicBool::new(false),
            insecure_dicom: config.is_insecure(),
            insecure_http: config.is_http_insecure(),
            metrics_off_loopback: config.metrics_off_loopback,
            commitments: commitments.clone(),
            metrics,
            upkeep,
        });
        let register = register::open(&config.register, archive.registry(), World::real())?;
        let (web, feed) = with_portal(web, &archive, (&accounts, &register), config)?;
        let server = Self {
            web,
            feed,
            accounts,
            register,
            at_start,
            dicomweb,
            archive,
            door: door(config),
            scrub: config.scrub,
            acceptor,
            dicom: listen("DICOM", config.dicom)?,
            dicom_tls: listen_secured(config)?,
            http,
            tls,
            access,
            config: config.clone(),
            health,
            room,
            commitments,
        };
        let addresses = server.addresses().map_err(assembly_io)?;
        let mut listeners = vec![addresses.dicom, addresses.http];
        listeners.extend(addresses.dicom_tls);
        server.tls.dialler().listens_at(listeners);
        Ok(server)
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn addresses(&self) -> std::io::Result<Addresses> {
        let dicom_tls = self.dicom_tls.as_ref().map(TcpListener::local_addr);
        Ok(Addresses {
            dicom: self.dicom.local_addr()?,
            http: self.http.local_addr()?,
            dicom_tls: dicom_tls.transpose()?,
        })
    }

    /// The archive that it serves, for a program that has this server in itself.
    #[must_use]
    pub fn archive(&self) -> Archive {
        self.archive.clone()
    }

    /// Whose devices it tells apart.
    #[must_use]
    pub fn directory(&self) -> Directory {
        self.access.directory()
    }

    /// The accounts.
    pub(crate) const fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// The token by which the first account can be made, where there is none: to be printed once.
    #[must_use]
    pub fn set_up_token(&self) -> Option<&str> {
        self.at_start.set_up_token.as_deref()
    }

    /// What SIGHUP does; `options` are those that its settings were made from.
    #[must_use]
    pub fn reload(&self, options: &Options) -> Reload {
        let (access, tls) = (Arc::clone(&self.access), Arc::clone(&self.tls));
        let metrics = Arc::clone(&self.health.metrics);
        Reload::new(options, &self.config, access, tls, metrics)
    }

    /// Serves until `stop` resolves or the store fails, then drains.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Outcome {
        // Before anybody can send: what comes is matched from the first image on.
        let follower = Follower::begin(&self.archive).await;
        self.commitments.start();
        // Before anybody can ask: the archive is open, and whoever connects is served.
        self.health.ready.store(true, Ordering::Release);
        let (stopping, stopped) = watch::channel(false);
        let secured = self.dicom_tls.zip(self.tls.server());
        let mut dicom = tokio::spawn({
            let acceptor = self.acceptor;
            async move {
                let plain = acceptor.serve(self.dicom, until(stopped.clone()));
                let secured = async {
                    if let Some((listener, security)) = secured {
                        let stopped = until(stopped);
                        acceptor.serve_secured(listener, security, stopped).await;
                    }
                };
                tokio::join!(plain, secured);
            }
        });
        let pages = http::router(Arc::clone(&self.health)).merge(self.web);
        let mut http = tokio::spawn(http::serve(self.http, pages));
        let mut tasks = JoinSet::new();
        let upkeep = Arc::clone(&self.health.upkeep);
        if let Some(door) = self.door {
            let accounts = self.accounts.clone();
            tasks.spawn(door.serve(self.archive.clone(), Arc::clone(&upkeep), accounts));
        }
        if let Some(untold) = self.at_start.untold {
            tasks.spawn(tell_later(self.accounts.clone(), untold));
        }
        if let Some(plan) = self.scrub {
            let archive = self.archive.clone();
            tasks.spawn(async move { upkeep.scrub(&archive, plan).await });
        }
        take_notes(&mut tasks, &self.archive, &self.access, follower);
        tasks.spawn(self.room.watch(self.archive.clone()));
        tasks.spawn(self.accounts.clone().keep_clean());
        tasks.spawn(self.feed.follow());
        tasks.spawn(api::forget(self.archive.registry()));
        tasks.spawn(register::recheck(self.register));
        let quiet = self.config.derived.quiet_duration;
        tasks.spawn(derived::give_way(self.dicomweb.derived().clone()));
        tasks.spawn(derived::make_ready(self.dicomweb, quiet));
        let outcome = tokio::select! {
            () = stop => Outcome::Stopped,
            () = self.archive.failed() => Outcome::StoreFailed,
            // It ends by itself only when it panicked: then nobody can associate any more.
            _ended = &mut dicom => Outcome::Broken,
            // The same, of HTTP.
            _ended = &mut http => Outcome::Broken,
        };
        self.health.ready.store(false, Ordering::Release);
        stopping.send_replace(true);
        if outcome != Outcome::Stopped {
            // Nothing that is still under way can be answered truthfully any more.
            return outcome;
        }
        if tokio::time::timeout(DRAIN_MAX + DRAIN_MAX / 4, dicom)
            .await
            .is_err()
        {
            tracing::warn!("associations did not end in time");
        }
        tasks.shutdown().await;
        self.commitments.stop().await;
        let stopped = event_of(Act::ApplicationStopped);
        tell(&self.accounts, &stopped).await.ok();
        self.archive.close().await;
        http.abort();
        outcome
    }
}

/// Has what comes in matched, the index say of studies what the registry knows, and the trail tell
/// of what comes in.
fn take_notes(
    tasks: &mut JoinSet<()>,
    archive: &Archive,
    access: &Access,
    follower: Option<Follower>,
) {
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

/// The policy. Before anybody can ask it has learnt whose devices there are.
async fn access(
    config: &Config,
    archive: &Archive,
    metrics: &Arc<Metrics>,
) -> Result<Arc<Access>, StartError> {
    let access = Access::new(config).counting(Arc::clone(metrics));
    let learnt = access.directory().learn(&archive.registry()).await;
    learnt.map_err(|error| StartError::Assembly(Box::new(error)))?;
    Ok(Arc::new(access))
}

fn door(config: &Config) -> Option<Door> {
    let door = Door::open(&config.data).inspect_err(|error| {
        tracing::warn!(%error, "no control socket: pacs backup needs the server stopped");
    });
    door.ok()
}

/// The accounts, and what the start leaves to be said. That the server started is told first, or
/// where it could not be, later: a disk that is full must not keep images from who needs them. A
/// trail that is damaged ends the start.
async fn accounts(config: &Config, archive: &Archive) -> Result<(Accounts, AtStart), StartError> {
    let trail = archive.registry().audit_trail();
    let broken = |error| StartError::Trail(Box::new(error));
    let accounts = Accounts::new(trail, config.accounts, World::real()).map_err(broken)?;
    let started = event_of(Act::ApplicationStarted);
    let untold = match tell(&accounts, &started).await {
        Ok(()) => None,
        Err(AuditError::Busy | AuditError::Records(RecordsError::Backend { .. })) => Some(started),
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
        set_up_token,
        untold,
    };
    Ok((accounts, at_start))
}

/// The routes of DICOMweb and of the portal, and what the portal follows.
fn with_portal(
    web: axum::Router,
    archive: &Archive,
    (accounts, register): (&Accounts, &Register),
    config: &Config,
) -> Result<(axum::Router, api::Feed), StartError> {
    let desk = crate::matcher::matcher(archive).map_err(StartError::Assembly)?;
    let feed = api::Feed::new(archive);
    let public_url = config.web.public_url.as_deref();
    let behind = (feed.clone(), Arc::new(desk), register.clone());
    let portal = api::router(archive, accounts.clone(), behind, public_url);
    Ok((web.merge(portal), feed))
}

/// What the server itself does, for the audit trail.
fn event_of(act: Act) -> AuditEvent {
    AuditEvent::new(act, place::now(), Actor::system("pacs-server"))
}

async fn tell(accounts: &Accounts, event: &AuditEvent) -> Result<(), AuditError> {
    let committed = accounts.trail().commit(Vec::new(), event).await;
    committed.map(drop).inspect_err(|error| {
        tracing::error!(%error, act = ?event.act, "the audit trail could not be written");
    })
}

/// Tells it as soon as it can be told, with the time at which it happened.
async fn tell_later(accounts: Accounts, event: AuditEvent) {
    loop {
        tokio::time::sleep(TOLD_AGAIN_EVERY).await;
        if tell(&accounts, &event).await.is_ok() {
            return;
        }
    }
}

/// The log says where the last run did not end well.
fn tell_of_the_last_run(archive: &Archive) {
    let opened = archive.opened();
    if opened.replayed_count > 0 || opened.damaged_count > 0 {
        tracing::warn!(
            replayed = opened.replayed_count,
            damaged = opened.damaged_count,
            "the last run did not end cleanly; the index was brought up to the log"
        );
    }
}

async fn commitments(
    config: &Config,
    archive: &Archive,
    access: &Arc<Access>,
    tls: &Tls,
    metrics: &Metrics,
) -> Result<Commitments, StartError> {
    let parts = Parts {
        archive: archive.clone(),
        access: Arc::clone(access),
        our_title: config.ae_title.clone(),
        connector: tls.dialler(),
        counters: metrics.commitment().clone(),
        bounds: CommitmentBounds::default(),
    };
    let opened = Commitments::open(parts).await;
    opened.map_err(|source| StartError::Archive {
        directory: config.data.display().to_string(),
        source: source.into(),
    })
}

async fn for_clients(
    config: &Config,
    commitments: &Commitments,
) -> Result<Arc<dyn Commitment>, StartError> {
    let opened = ClientCommitments::open(commitments).await;
    let opened = opened.map_err(|source| StartError::Archive {
        directory: config.data.display().to_string(),
        source: source.into(),
    })?;
    Ok(Arc::new(opened))
}

fn assembly_io(error: std::io::Error) -> StartError {
    StartError::Assembly(Box::new(error))
}

async fn upkeep(archive: &Archive, metrics: &Metrics) -> Result<Upkeep, StartError> {
    let assembly = |error: Box<dyn std::error::Error + Send + Sync>| StartError::Assembly(error);
    let permit = permit::<Maintain>(&MaintenanceOnly, Caller::System { task: "start" });
    let permit = permit.map_err(|error| assembly(error.into()))?;
    let backup = archive.last_backup(&permit).await;
    let backup = backup.map_err(|error| assembly(error.into()))?;
    Upkeep::new(metrics.registry(), backup).map_err(|error| assembly(error.into()))
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // A closed channel means that the server is gone, which is a stop too.
    stopped.wait_for(|stopped| *stopped).await.ok();
}

fn assembly_unlicensed(error: Unlicensed) -> StartError {
    StartError::Assembly(Box::new(error))
}

/// What serves with the archive.
type Tools<'a> = (
    &'a Arc<Metrics>,
    &'a Decoders,
    (&'a Arc<dyn Overlays>, &'a Recorder),
);

fn services(
    config: &Config,
    archive: &Archive,
    access: &Arc<Access>,
    (metrics, decoders, (overlays, recorder)): Tools<'_>,
) -> Result<Services, StartError> {
    let counters = ConversionCounters::new(metrics.registry());
    let counters = counters.map_err(|error| StartError::Assembly(Box::new(error)))?;
    Ok(Services::new(
        archive.clone(),
        Arc::clone(access),
        config.ae_title.clone(),
        (counters, decoders.clone()),
        (Arc::clone(overlays), recorder.clone()),
    ))
}

fn acceptor(
    config: &Config,
    services: Services,
    access: &Arc<Access>,
    commitments: &Commitments,
    tls: &Tls,
    metrics: &Arc<Metrics>,
) -> Result<Acceptor, StartError> {
    let services = Arc::new(services);
    let (archive, registry) = (services.archive(), services.archive().registry());
    let limits = NetLimits {
        connections_max: connections_max()?,
        drain_duration_max: DRAIN_MAX,
        idle_duration_max: config.idle_duration_max,
        ..config.association_limits.over(NetLimits::default())
    };
    Acceptor::builder(config.ae_title.clone())
        .storage(Arc::clone(&services) as _)
        .query(Arc::clone(&services) as _)
        .retrieve(services)
        .commitment(Arc::new(CommitmentService::new(
            commitments.clone(),
            Arc::clone(access),
        )))
        .procedure_steps(Arc::new(StepService::new(archive, Arc::clone(access))))
        .worklist(Arc::new(WorklistService::new(registry, Arc::clone(access))))
        .policy(Arc::clone(access) as _)
        .observer(Arc::new(Watcher::new(Arc::clone(metrics))))
        // The AE table looks at it, so that guesses at it are counted with all others.
        .any_called_title(true)
        .connector(tls.dialler())
        .limits(limits)
        .build()
        .map_err(|error| StartError::Assembly(Box::new(error)))
}

/// How many DICOM connections there are descriptors for, once this process may have as many as the
/// system lets it: each connection takes one, and a C-MOVE takes two.
fn connections_max() -> Result<usize, StartError> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where the system refuses, what there is has to do.
    setrlimit(Resource::Nofile, limit).ok();
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
    let connections = descriptors.saturating_sub(DESCRIPTORS_RESERVED) / 2;
    if connections < CONNECTIONS_MIN {
        return Err(StartError::Descriptors { descriptors });
    }
    Ok(connections.min(CONNECTIONS_MAX))
}

/// Connections that the system holds until we take them: a hospital that comes back from a power
/// cut connects at once.
const BACKLOG: u32 = 4096;

fn listen_secured(config: &Config) -> Result<Option<TcpListener>, StartError> {
    let at = config.tls.address;
    at.map(|at| listen("DICOM over TLS", at)).transpose()
}

fn listen(protocol: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    let open = || {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        // As `TcpListener::bind` does: a server that starts again need not wait for old
        // connections.
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    open().map_err(|source| StartError::Listen {
        protocol,
        address,
        source,
    })
}
