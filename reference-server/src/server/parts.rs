//! The parts of a server, each from its settings.

use super::StartError;
use crate::access::{Access, MaintenanceOnly};
use crate::accounts::Accounts;
use crate::admission::Watcher;
use crate::announcing::{self, Announcer};
use crate::api;
use crate::clock::World;
use crate::commitment::{ClientCommitments, Commitments, Parts};
use crate::config::Config;
use crate::derived::{self, DerivedMetrics};
use crate::forwarder::Forwarder;
use crate::forwarding::{self, Desks, Forwarding};
use crate::http::Health;
use crate::limits::{
    AnnouncingBounds, CONNECTIONS_MAX, CONNECTIONS_MIN, CommitmentBounds, DESCRIPTORS_RESERVED,
    DRAIN_MAX, ForwardingBounds,
};
use crate::local::own_records;
use crate::mailer::Mailer;
use crate::metrics::Metrics;
use crate::oidc::Provider;
use crate::overlays::RegistryOverlays;
use crate::reading::ReadingTasks;
use crate::recorder::Recorder;
use crate::recorder::alerts::Alerts;
use crate::register::Register;
use crate::rejecting::Keeping;
use crate::scp::commitment::CommitmentService;
use crate::scp::mpps::StepService;
use crate::scp::person::People;
use crate::scp::worklist::WorklistService;
use crate::scp::{ConversionCounters, Services};
use crate::sending::Sendings;
use crate::signing::Signer;
use crate::tls::Tls;
use crate::upkeep::Upkeep;
use crate::web::Answering;
use pacs_core::Caller;
use pacs_core::access::{Maintain, permit};
use pacs_core::role::Unlicensed;
use pacs_image::Decoders;
use pacs_net::{Acceptor, NetLimits};
use pacs_store::Archive;
use pacs_store::egress::Overlays;
use pacs_web::{Derived, Web};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The archive, open.
pub(super) async fn archive(config: &Config) -> Result<Archive, StartError> {
    let opened = crate::local::open(&config.data).await;
    opened.map_err(|source| StartError::Archive {
        directory: config.data.display().to_string(),
        source,
    })
}

/// The policy, and what records whom it refuses. Before anybody can ask it has learnt whose devices
/// there are.
pub(super) async fn access(
    config: &Config,
    archive: &Archive,
    metrics: &Arc<Metrics>,
) -> Result<(Arc<Access>, Alerts), StartError> {
    let alerts = Alerts::new(archive.registry().audit_trail());
    let access = Access::new(config).counting(Arc::clone(metrics));
    let access = access.telling(alerts.clone());
    let learnt = access.directory().learn(&archive.registry()).await;
    learnt.map_err(|error| StartError::Assembly(Box::new(error)))?;
    Ok((Arc::new(access), alerts))
}

/// What sends on all that comes. Before anybody can send.
pub(super) async fn forwarding(
    config: &Config,
    desks: &Desks,
    services: &Services,
    (access, tls, recorder): (&Arc<Access>, &Tls, &Recorder),
) -> Result<Forwarding, StartError> {
    let parts = forwarding::Parts {
        services: services.clone(),
        access: Arc::clone(access),
        our_title: config.ae_title.clone(),
        connector: tls.dialler(),
        recorder: recorder.clone(),
        bounds: ForwardingBounds::default(),
    };
    Ok(Forwarding::open(desks, parts).await?)
}

/// Storage commitment, and what is kept of the destinations to which all that comes is sent on.
pub(super) async fn commitments(
    config: &Config,
    archive: &Archive,
    (access, tls): (&Arc<Access>, &Tls),
    metrics: &Metrics,
) -> Result<(Desks, Commitments), StartError> {
    let desks = Desks::open(config, archive, metrics).await?;
    let parts = Parts {
        archive: archive.clone(),
        access: Arc::clone(access),
        our_title: config.ae_title.clone(),
        connector: tls.dialler(),
        confirmations: desks.confirmations(archive)?,
        counters: metrics.commitment().clone(),
        bounds: CommitmentBounds::default(),
    };
    let opened = Commitments::open(parts).await;
    let opened = opened.map_err(|source| StartError::Archive {
        directory: config.data.display().to_string(),
        source: source.into(),
    })?;
    Ok((desks, opened))
}

/// What answers clients of DICOMweb beside the archive.
pub(super) async fn for_clients(
    config: &Config,
    archive: &Archive,
    access: &Access,
    (commitments, keeping): (&Commitments, &Keeping),
) -> Result<Answering, StartError> {
    let opened = ClientCommitments::open(commitments).await;
    let opened = opened.map_err(|source| StartError::Archive {
        directory: config.data.display().to_string(),
        source: source.into(),
    })?;
    let tasks = ReadingTasks::new(archive, access.directory(), config.ae_title.clone());
    let tasks = tasks.map_err(StartError::Assembly)?;
    Ok((Arc::new(opened), keeping.deletion(), Arc::new(tasks)))
}

/// What data sets are to say that go out, and what records whom they go to.
pub(super) fn beside(
    archive: &Archive,
    access: &Access,
    alerts: &Alerts,
) -> Result<(Arc<dyn Overlays>, Recorder), StartError> {
    let overlays = RegistryOverlays::new(archive.registry());
    let overlays = overlays.map_err(assembly_unlicensed)?;
    let recorder = Recorder::start(&archive.registry(), access.directory(), alerts.clone());
    Ok((Arc::new(overlays), recorder.map_err(assembly_unlicensed)?))
}

/// Where what is made of instances is kept, counted.
pub(super) fn derived(config: &Config, metrics: &Metrics) -> Result<Derived, StartError> {
    let derived = derived::open(config);
    let registered = DerivedMetrics::register(metrics.registry(), &derived);
    registered.map_err(|error| StartError::Assembly(Box::new(error)))?;
    Ok(derived)
}

/// What serves with the archive.
pub(super) type Tools<'a> = (
    &'a Arc<Metrics>,
    &'a Decoders,
    (&'a Arc<dyn Overlays>, &'a Recorder, &'a Accounts),
);

pub(super) fn services(
    config: &Config,
    archive: &Archive,
    access: &Arc<Access>,
    (metrics, decoders, (overlays, recorder, accounts)): Tools<'_>,
) -> Result<Services, StartError> {
    let counters = ConversionCounters::new(metrics.registry());
    let counters = counters.map_err(|error| StartError::Assembly(Box::new(error)))?;
    let people = People::new(accounts.clone(), archive.registry());
    Ok(Services::new(
        archive.clone(),
        Arc::clone(access),
        config.ae_title.clone(),
        (counters, decoders.clone()),
        (Arc::clone(overlays), recorder.clone(), people),
    ))
}

/// What commits, and what asks others to.
type Commits<'a> = (&'a Commitments, &'a Forwarding);

pub(super) fn acceptor(
    config: &Config,
    services: Services,
    (access, tls): (&Arc<Access>, &Tls),
    ((commitments, forwarding), (metrics, alerts)): (Commits<'_>, (&Arc<Metrics>, &Alerts)),
) -> Result<Acceptor, StartError> {
    let door = services.door();
    let services = Arc::new(services);
    let (archive, registry) = (services.archive(), services.archive().registry());
    let limits = NetLimits {
        connections_max: connections_max()?,
        drain_duration_max: DRAIN_MAX,
        idle_duration_max: config.idle_duration_max,
        ..config.association_limits.over(NetLimits::default())
    };
    let mut acceptor = Acceptor::builder(config.ae_title.clone())
        .storage(Arc::clone(&services) as _)
        .query(Arc::clone(&services) as _)
        .retrieve(services)
        .commitment(Arc::new(CommitmentService::new(
            commitments.clone(),
            Arc::clone(access),
        )))
        .procedure_steps(Arc::new(StepService::new(archive, Arc::clone(access))))
        .worklist(Arc::new(WorklistService::new(registry, Arc::clone(access))))
        .policy(Arc::new(door))
        .observer(Arc::new(Watcher::new(Arc::clone(metrics), alerts.clone())))
        // The AE table looks at it, so that guesses at it are counted with all others.
        .any_called_title(true)
        .connector(tls.dialler())
        .limits(limits);
    if let Some(reports) = forwarding.reports() {
        acceptor = acceptor.commitment_reports(reports);
    }
    let built = acceptor.build();
    built.map_err(|error| StartError::Assembly(Box::new(error)))
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

/// What takes images out of sight, and sends them.
pub(super) async fn keeping(
    config: &Config,
    archive: &Archive,
    services: &Services,
    (access, tls): (&Arc<Access>, &Tls),
) -> Result<Keeping, StartError> {
    let assembly = |error| StartError::Assembly(Box::new(error));
    let sendings = Sendings::of(config, services, access, tls.dialler()).map_err(assembly)?;
    let opened = Keeping::open(archive, sendings, access.directory()).await;
    opened.map_err(assembly)
}

/// What tells others which instances are to be had.
pub(super) fn announcer(
    config: &Config,
    archive: &Archive,
    keeping: &Keeping,
    (access, tls, metrics): (&Arc<Access>, &Arc<Tls>, &Arc<Metrics>),
) -> Result<Announcer, StartError> {
    let opened = Announcer::new(announcing::Parts {
        registry: archive.registry(),
        rejections: keeping.rejections.clone(),
        access: Arc::clone(access),
        our_title: config.ae_title.clone(),
        connector: tls.dialler(),
        counters: metrics.announcing().clone(),
        world: World::real(),
        bounds: AnnouncingBounds::default(),
    });
    opened.map_err(assembly_unlicensed)
}

/// The routes of DICOMweb and of the portal, and what the portal follows.
pub(super) async fn with_portal(
    web: axum::Router,
    archive: &Archive,
    (accounts, register, keeping, dicomweb): (&Accounts, &Register, &Keeping, &Web),
    config: &Config,
) -> Result<(axum::Router, api::Feed), StartError> {
    let provider = config.oidc.as_ref();
    let provider = provider.map(|config| Provider::open(config, World::real()));
    let desk = crate::matcher::matcher(archive).map_err(StartError::Assembly)?;
    let feed = api::Feed::new(archive);
    let public_url = config.web.public_url.as_deref();
    let cursors = api::Cursors::open(&archive.registry(), &World::real()).await;
    let cursors = cursors.map_err(|error| StartError::Assembly(Box::new(error)))?;
    let behind = api::Behind {
        cursors,
        feed: feed.clone(),
        desk: Arc::new(desk),
        register: register.clone(),
        keeping: Some(keeping.clone()),
        pictures: Some(dicomweb.clone()),
        provider: provider.transpose()?,
    };
    let portal = api::router(archive, accounts.clone(), behind, public_url);
    Ok((web.merge(portal), feed))
}

/// What is shown of its health, before it serves.
pub(super) fn health(
    config: &Config,
    commitments: &Commitments,
    metrics: Arc<Metrics>,
    (upkeep, accounts): (Upkeep, &Accounts),
) -> Result<Arc<Health>, StartError> {
    let forwarder = Forwarder::open(config.syslog.as_ref(), accounts, &metrics)?;
    Ok(Arc::new(Health {
        ready: AtomicBool::new(false),
        insecure_dicom: config.is_insecure(),
        insecure_http: config.is_http_insecure(),
        metrics_off_loopback: config.metrics_off_loopback,
        commitments: commitments.clone(),
        metrics,
        upkeep: Arc::new(upkeep),
        forwarder,
    }))
}

/// What signs the audit trail, where the settings have a key for it.
pub(super) fn signer(config: &Config, archive: &Archive) -> Result<Option<Signer>, StartError> {
    let trail = archive.registry().audit_trail();
    let key = config.audit_signing_key.as_deref();
    let signer = key.map(|path| Signer::open(trail, path)).transpose();
    signer.map_err(StartError::Signing)
}

/// What tells by e-mail, where the settings say to whom.
pub(super) fn mailer(
    config: &Config,
    archive: &Archive,
    accounts: &Accounts,
    metrics: &Metrics,
) -> Result<Option<Mailer>, StartError> {
    let Some(config) = &config.mail else {
        return Ok(None);
    };
    let records = own_records(archive, "mail");
    let records = records.map_err(|denied| StartError::Assembly(Box::new(denied)))?;
    Ok(Some(Mailer::open(config, accounts, records, metrics)?))
}

pub(super) async fn upkeep(archive: &Archive, metrics: &Metrics) -> Result<Upkeep, StartError> {
    let assembly = |error: Box<dyn std::error::Error + Send + Sync>| StartError::Assembly(error);
    let permit = permit::<Maintain>(&MaintenanceOnly, Caller::System { task: "start" });
    let permit = permit.map_err(|error| assembly(error.into()))?;
    let backup = archive.last_backup(&permit).await;
    let backup = backup.map_err(|error| assembly(error.into()))?;
    Upkeep::new(metrics.registry(), backup).map_err(|error| assembly(error.into()))
}

pub(super) fn assembly_io(error: std::io::Error) -> StartError {
    StartError::Assembly(Box::new(error))
}

pub(super) fn assembly_unlicensed(error: Unlicensed) -> StartError {
    StartError::Assembly(Box::new(error))
}
