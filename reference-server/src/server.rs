//! The server, put together: archive, acceptor and HTTP, from settings to drain.

mod listening;
mod parts;
mod tasks;
mod telling;

use crate::access::Access;
use crate::accounts::Accounts;
use crate::clock::World;
use crate::commitment::Commitments;
use crate::config::{Config, Options};
use crate::decoding::decoders;
use crate::directory::Directory;
use crate::draining::drain;
use crate::forwarder::ForwarderError;
use crate::forwarding::ForwardingError;
use crate::http::{self, Health};
use crate::in_force::InForce;
use crate::limits::{DRAIN_MAX, HTTP_DRAIN_MAX};
use crate::mailer::MailerError;
use crate::matcher::Follower;
use crate::metrics::Metrics;
use crate::oidc::OidcOpenError;
use crate::recorder::alerts::Alerts;
use crate::register;
use crate::reload::Reload;
use crate::room::Room;
use crate::signing::SigningError;
use crate::tls::{Tls, TlsFileError};
use crate::web;
use listening::{listen, listen_secured};
use pacs_net::Acceptor;
use pacs_store::{Archive, OpenError};
use parts::{
    acceptor, access, announcer, archive, assembly_io, beside, commitments, derived, for_clients,
    forwarding, health, keeping, mailer, services, signer, upkeep, with_portal,
};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tasks::{Background, door};
use telling::{accounts, tell_of_the_end, tell_of_the_last_run};
use tokio::net::TcpListener;

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
    /// The audit trail cannot be forwarded as the settings say.
    #[error("audit.syslog")]
    Forwarder(#[from] ForwarderError),
    /// What was sent on elsewhere cannot be read.
    #[error("forward")]
    Forwarding(#[from] ForwardingError),
    /// E-mail cannot be sent as the settings say.
    #[error("mail")]
    Mailer(#[from] MailerError),
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
    /// The OpenID provider by which people sign in cannot be set up.
    #[error("the OpenID provider")]
    Provider(#[from] OidcOpenError),
    /// The audit trail cannot be signed as the settings say.
    #[error("audit.signing_key")]
    Signing(#[from] SigningError),
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
    in_force: InForce,
    commitments: Commitments,
    web: axum::Router,
    accounts: Accounts,
    /// The token for the first account, where there is none.
    set_up_token: Option<String>,
    background: Background,
    alerts: Alerts,
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

impl Addresses {
    fn all(self) -> Vec<SocketAddr> {
        let all = [Some(self.dicom), Some(self.http), self.dicom_tls];
        all.into_iter().flatten().collect()
    }
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
        let archive = archive(config).await?;
        tell_of_the_last_run(&archive);
        let (access, alerts) = access(config, &archive, &metrics).await?;
        let asked = commitments(config, &archive, (&access, &tls), &metrics).await?;
        let (desks, commitments) = asked;
        let decoders = decoders().map_err(assembly_io)?;
        let derived = derived(config, &metrics)?;
        let (overlays, recorder) = beside(&archive, &access, &alerts)?;
        let http = listen("HTTP", config.http)?;
        let (accounts, at_start) = accounts(config, &archive, (&access, &tls)).await?;
        let tools = (&metrics, &decoders, (&overlays, &recorder, &accounts));
        let services = services(config, &archive, &access, tools)?;
        let sends = (&access, &*tls, &recorder);
        let forwarding = forwarding(config, &desks, &services, sends).await?;
        let keeping = keeping(config, &archive, &services, (&access, &tls)).await?;
        let announcer = announcer(config, &archive, &keeping, (&access, &tls, &metrics))?;
        let serves = ((&commitments, &forwarding), (&metrics, &alerts));
        let acceptor = acceptor(config, services, (&access, &tls), serves)?;
        let upkeep = upkeep(&archive, &metrics).await?;
        let for_clients = for_clients(config, &archive, &access, (&commitments, &keeping)).await?;
        let makers = (decoders, derived, for_clients);
        let at_http = http.local_addr().ok();
        let doors = (&access, &overlays, &accounts, &recorder);
        let (web, dicomweb) = web::routes(&archive, config, doors, makers, at_http, metrics.web());
        let health = health(config, &commitments, metrics, (upkeep, &accounts))?;
        let register = register::open(&config.register, archive.registry(), World::real())?;
        let portal = (&accounts, &register, &keeping, &dicomweb);
        let (web, feed) = with_portal(web, &archive, portal, config).await?;
        let server = Self {
            background: Background {
                door: door(config),
                scrub: config.scrub,
                room,
                feed,
                register,
                keeping,
                announcer,
                forwarding,
                dicomweb,
                quiet_duration: config.derived.quiet_duration,
                untold: at_start.untold,
                alerts: alerts.clone(),
                signer: signer(config, &archive)?,
                mailer: mailer(config, &archive, &accounts, &health.metrics)?,
            },
            alerts,
            web,
            accounts,
            set_up_token: at_start.set_up_token,
            archive,
            acceptor,
            dicom: listen("DICOM", config.dicom)?,
            dicom_tls: listen_secured(config)?,
            http,
            tls,
            access,
            config: config.clone(),
            health,
            in_force: at_start.in_force,
            commitments,
        };
        let own = server.addresses().map_err(assembly_io)?.all();
        server.tls.dialler().listens_at(own);
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
        self.set_up_token.as_deref()
    }

    /// What SIGHUP does; `options` are those that its settings were made from.
    #[must_use]
    pub fn reload(&self, options: &Options) -> Reload {
        let (access, tls) = (Arc::clone(&self.access), Arc::clone(&self.tls));
        let metrics = Arc::clone(&self.health.metrics);
        let trail = self.accounts.trail().clone();
        let told = (metrics, trail, self.in_force.clone());
        Reload::new(options, &self.config, (access, tls), told)
    }

    /// Serves until `stop` resolves or the store fails, then drains.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Outcome {
        // Before anybody can send: what comes is matched from the first image on.
        let follower = Follower::begin(&self.archive).await;
        self.commitments.start();
        // Before anybody can ask: the archive is open, and whoever connects is served.
        self.health.ready.store(true, Ordering::Release);
        let (stop_dicom, stopped) = drain();
        let (stop_http, http_stopped) = drain();
        let secured = self.dicom_tls.zip(self.tls.server());
        let mut dicom = tokio::spawn({
            let acceptor = self.acceptor;
            async move {
                let plain = acceptor.serve(self.dicom, stopped.clone().begun());
                let secured = async {
                    if let Some((listener, security)) = secured {
                        let stopped = stopped.begun();
                        acceptor.serve_secured(listener, security, stopped).await;
                    }
                };
                tokio::join!(plain, secured);
            }
        });
        let pages = http::router(Arc::clone(&self.health)).merge(self.web);
        let mut http = tokio::spawn(http::serve(self.http, pages, http_stopped));
        let parts = (&self.accounts, &*self.access, &*self.health);
        let mut tasks = self.background.begin(&self.archive, parts, follower);
        let outcome = tokio::select! {
            () = stop => Outcome::Stopped,
            () = self.archive.failed() => Outcome::StoreFailed,
            // It ends by itself only when it panicked: then nobody can associate any more.
            _ended = &mut dicom => Outcome::Broken,
            // The same, of HTTP.
            _ended = &mut http => Outcome::Broken,
        };
        self.health.ready.store(false, Ordering::Release);
        stop_dicom.begin();
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
        // Until here HTTP says that the server is not ready. What is asked now is answered, or not
        // at all: its task is gone before the archive is closed under it.
        stop_http.begin();
        if tokio::time::timeout(HTTP_DRAIN_MAX, &mut http)
            .await
            .is_err()
        {
            tracing::warn!("HTTP requests did not end in time");
            http.abort();
            http.await.ok();
        }
        tasks.shutdown().await;
        self.commitments.stop().await;
        let forwarder = self.health.forwarder.as_ref();
        tell_of_the_end(&self.accounts, &self.alerts, forwarder).await;
        self.archive.close().await;
        outcome
    }
}
