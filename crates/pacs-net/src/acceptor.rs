//! The acceptor: takes associations and serves them with the application's services.
//!
//! Each association is one task with bounded memory. A service that panics costs its own
//! association.

mod admission;
mod commitment;
mod find;
mod handshake;
mod procedure_step;
mod retrieve;
mod session;
mod store;
mod watching;

use crate::limits::NetLimits;
use crate::link::{Buffered, ByteStream, Ending};
use crate::negotiation::Services;
use crate::observer::{NoObserver, Observer};
use crate::security::{Channel, Security};
use crate::service::{
    AdmitAll, AssociationPolicy, CommitmentScp, CommitmentScu, ProcedureStepScp, QueryScp,
    RetrieveScp, StorageScp, WorklistScp,
};
use crate::strangers::Strangers;
use crate::transport::{Connector, TcpConnector, prepare};
use admission::Admissions;
use pacs_core::AeTitle;
use session::Origin;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Pause after the operating system has no socket for us: others may close meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Time in which aborts may go out when the drain is over.
const ABORT_GRACE: Duration = Duration::from_secs(1);

/// Why an acceptor cannot be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A limit is zero or beyond what the protocol can carry.
    #[error("limit {name} is out of range")]
    Limit {
        /// Its name.
        name: &'static str,
    },
}

/// How far an acceptor is in stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Phase {
    Serving,
    Draining,
    Aborting,
}

/// Builds an [`Acceptor`].
#[derive(Debug)]
pub struct AcceptorBuilder {
    shared: Shared,
}

/// What all associations of an acceptor share.
#[derive(Debug)]
struct Shared {
    ae_title: AeTitle,
    any_called_title: bool,
    storage: Option<Arc<dyn StorageScp>>,
    query: Option<Arc<dyn QueryScp>>,
    retrieve: Option<Arc<dyn RetrieveScp>>,
    commitment: Option<Arc<dyn CommitmentScp>>,
    commitment_reports: Option<Arc<dyn CommitmentScu>>,
    worklist: Option<Arc<dyn WorklistScp>>,
    procedure_steps: Option<Arc<dyn ProcedureStepScp>>,
    policy: Arc<dyn AssociationPolicy>,
    observer: Arc<dyn Observer>,
    connector: Arc<dyn Connector>,
    limits: Arc<NetLimits>,
    admissions: Admissions,
    strangers: Strangers,
    buffered: Buffered,
    /// Of all listeners together.
    connections_count: AtomicUsize,
    phase: watch::Sender<Phase>,
}

impl Shared {
    /// What there is to offer at all.
    fn services(&self) -> Services {
        Services {
            verification: true,
            storage: self.storage.is_some(),
            find: self.query.is_some(),
            get: self.retrieve.is_some(),
            move_to: self.retrieve.is_some(),
            commitment: self.commitment.is_some(),
            commitment_reports: self.commitment_reports.is_some(),
            worklist: self.worklist.is_some(),
            procedure_steps: self.procedure_steps.is_some(),
        }
    }
}

impl AcceptorBuilder {
    /// Receives instances. Default: C-STORE is not offered.
    #[must_use]
    pub fn storage(mut self, storage: Arc<dyn StorageScp>) -> Self {
        self.shared.storage = Some(storage);
        self
    }

    /// Answers queries. Default: C-FIND is not offered.
    #[must_use]
    pub fn query(mut self, query: Arc<dyn QueryScp>) -> Self {
        self.shared.query = Some(query);
        self
    }

    /// Gives instances back. Default: C-GET and C-MOVE are not offered.
    #[must_use]
    pub fn retrieve(mut self, retrieve: Arc<dyn RetrieveScp>) -> Self {
        self.shared.retrieve = Some(retrieve);
        self
    }

    /// Takes requests for storage commitment. Default: N-ACTION is not offered.
    #[must_use]
    pub fn commitment(mut self, commitment: Arc<dyn CommitmentScp>) -> Self {
        self.shared.commitment = Some(commitment);
        self
    }

    /// Takes reports about storage commitment that peers bring with reversed roles. Default: they
    /// are not taken.
    #[must_use]
    pub fn commitment_reports(mut self, reports: Arc<dyn CommitmentScu>) -> Self {
        self.shared.commitment_reports = Some(reports);
        self
    }

    /// Answers queries of modality worklists. Default: they are not offered.
    #[must_use]
    pub fn worklist(mut self, worklist: Arc<dyn WorklistScp>) -> Self {
        self.shared.worklist = Some(worklist);
        self
    }

    /// Takes modality performed procedure steps. Default: N-CREATE and N-SET are not offered.
    #[must_use]
    pub fn procedure_steps(mut self, procedure_steps: Arc<dyn ProcedureStepScp>) -> Self {
        self.shared.procedure_steps = Some(procedure_steps);
        self
    }

    /// Decides who may associate. Default: everyone who names our AE title.
    #[must_use]
    pub fn policy(mut self, policy: Arc<dyn AssociationPolicy>) -> Self {
        self.shared.policy = policy;
        self
    }

    /// Is told what happens. Default: nobody.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.shared.observer = observer;
        self
    }

    /// Opens connections to the destinations of C-MOVE. Default: plain TCP.
    #[must_use]
    pub fn connector(mut self, connector: Arc<dyn Connector>) -> Self {
        self.shared.connector = connector;
        self
    }

    /// Default: [`NetLimits::default`].
    #[must_use]
    pub fn limits(mut self, limits: NetLimits) -> Self {
        self.shared.limits = Arc::new(limits);
        self
    }

    /// Answers to any called AE title. Default: only to our own.
    #[must_use]
    pub const fn any_called_title(mut self, any: bool) -> Self {
        self.shared.any_called_title = any;
        self
    }

    /// Checks the whole, once.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn build(self) -> Result<Acceptor, ConfigError> {
        let limits = &self.shared.limits;
        let in_range = [
            ("pdu_bytes_max", limits.pdu_bytes_max >= 4096),
            ("sent_pdu_bytes_max", limits.sent_pdu_bytes_max >= 4096),
            ("peer_pdu_bytes_min", limits.peer_pdu_bytes_min >= 8),
            ("read_bytes", limits.read_bytes >= 4096),
            (
                "handshake_duration_max",
                !limits.handshake_duration_max.is_zero(),
            ),
            ("artim", !limits.artim.is_zero()),
            ("pdu_duration_max", !limits.pdu_duration_max.is_zero()),
            ("idle_duration_max", !limits.idle_duration_max.is_zero()),
            ("write_duration_max", !limits.write_duration_max.is_zero()),
            (
                "response_duration_max",
                !limits.response_duration_max.is_zero(),
            ),
            ("associations_max", limits.associations_max > 0),
            ("connections_max", limits.connections_max > 0),
            (
                "presentation_contexts_max",
                limits.presentation_contexts_max > 0,
            ),
        ];
        for (name, fits) in in_range {
            if !fits {
                return Err(ConfigError::Limit { name });
            }
        }
        Ok(Acceptor {
            shared: Arc::new(self.shared),
        })
    }
}

/// Takes associations and serves them. Clones are the same acceptor.
#[derive(Debug, Clone)]
pub struct Acceptor {
    shared: Arc<Shared>,
}

impl Acceptor {
    /// An acceptor of this AE title; C-ECHO is always offered.
    #[must_use]
    pub fn builder(ae_title: AeTitle) -> AcceptorBuilder {
        let (phase, _) = watch::channel(Phase::Serving);
        AcceptorBuilder {
            shared: Shared {
                ae_title,
                any_called_title: false,
                storage: None,
                query: None,
                retrieve: None,
                commitment: None,
                commitment_reports: None,
                worklist: None,
                procedure_steps: None,
                policy: Arc::new(AdmitAll),
                observer: Arc::new(NoObserver),
                connector: Arc::new(TcpConnector),
                limits: Arc::new(NetLimits::default()),
                admissions: Admissions::default(),
                strangers: Strangers::default(),
                buffered: Buffered::default(),
                connections_count: AtomicUsize::new(0),
                phase,
            },
        }
    }

    /// Serves connections of `listener` until `shutdown` resolves, then drains: running operations
    /// end, idle associations are aborted, and after `drain_duration_max` all others are too.
    ///
    /// Several listeners may be served at once; the limits hold for all of them together.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        self.listen(listener, None, shutdown).await;
    }

    /// As [`Self::serve`], with connections that `security` secures first.
    pub async fn serve_secured(
        &self,
        listener: TcpListener,
        security: Arc<dyn Security>,
        shutdown: impl Future<Output = ()>,
    ) {
        self.listen(listener, Some(security), shutdown).await;
    }

    async fn listen(
        &self,
        listener: TcpListener,
        security: Option<Arc<dyn Security>>,
        shutdown: impl Future<Output = ()>,
    ) {
        let mut shutdown = pin!(shutdown);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                accepted = listener.accept() => {
                    self.take(accepted, security.as_ref(), &mut connections).await;
                }
                Some(_ended) = connections.join_next() => {}
            }
        }
        drop(listener);
        self.drain(connections).await;
    }

    async fn take(
        &self,
        accepted: io::Result<(TcpStream, SocketAddr)>,
        security: Option<&Arc<dyn Security>>,
        connections: &mut JoinSet<()>,
    ) {
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(kind = ?error.kind(), "connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
                return;
            }
        };
        // Whoever is sent away goes at once, so that the limit is kept but for a moment.
        let place = Connection::count(&self.shared);
        if place.number > self.shared.limits.connections_max
            && !self.shared.strangers.evict_oldest()
        {
            self.shared.observer.connection_refused(address);
            return;
        }
        if let Err(error) = prepare(&stream) {
            tracing::debug!(%address, kind = ?error.kind(), "socket options were refused");
        }
        let acceptor = self.clone();
        let security = security.map(Arc::clone);
        connections.spawn(async move {
            let _place = place;
            let _ending = match security {
                None => acceptor.serve_stream(stream, address).await,
                Some(security) => {
                    let shared = Arc::clone(&acceptor.shared);
                    Box::pin(handshake::serve(stream, address, security, shared)).await
                }
            };
        });
    }

    async fn drain(&self, mut connections: JoinSet<()>) {
        self.advance(Phase::Draining);
        let all_ended = async { while connections.join_next().await.is_some() {} };
        if timeout(self.shared.limits.drain_duration_max, all_ended)
            .await
            .is_ok()
        {
            return;
        }
        self.advance(Phase::Aborting);
        let all_ended = async { while connections.join_next().await.is_some() {} };
        if timeout(ABORT_GRACE, all_ended).await.is_err() {
            connections.shutdown().await;
        }
    }

    /// Never back, whichever listener is the last.
    fn advance(&self, phase: Phase) {
        self.shared.phase.send_if_modified(|now| {
            let is_further = *now < phase;
            if is_further {
                *now = phase;
            }
            is_further
        });
    }

    /// Serves one connection that the application has accepted itself to its end.
    pub async fn serve_stream(&self, stream: impl ByteStream, address: SocketAddr) -> Ending {
        let stranger = self
            .shared
            .strangers
            .enter(address.ip(), &self.shared.limits);
        let origin = Origin {
            address,
            channel: Channel::Plain,
        };
        let shared = Arc::clone(&self.shared);
        // One allocation for each connection keeps the futures of callers small.
        Box::pin(session::serve(stream, origin, stranger, shared)).await
    }
}

/// One connection of a listener, counted until it is dropped.
struct Connection {
    shared: Arc<Shared>,
    /// How many there are with it.
    number: usize,
}

impl Connection {
    fn count(shared: &Arc<Shared>) -> Self {
        let before = shared.connections_count.fetch_add(1, Ordering::AcqRel);
        Self {
            shared: Arc::clone(shared),
            number: before.saturating_add(1),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.connections_count.fetch_sub(1, Ordering::AcqRel);
    }
}
