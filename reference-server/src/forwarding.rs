//! Sends on all that comes to other AEs, as it comes: a hospital's gateway sends it to the central
//! archive and to workstations, and commits to its devices only what the centre has confirmed.
//!
//! Each destination has a place in the change sequence, a sender that follows it, and, where it is
//! to confirm, an asker behind the sender that asks for storage commitment of what was sent. Both
//! places are durable: a restart goes on there. What a destination does not take now is put aside
//! with a note and tried again, so that it keeps nothing else from going. Sent are the bytes as
//! they came, so that what is confirmed is what the device sent.
//!
//! Nothing here loses an instance: the place moves past one once it is taken, put aside durably, or
//! not to be sent.

mod asker;
mod asking;
mod confirmations;
mod counters;
mod desk;
mod ledger;
mod line;
mod outgoing;
mod reports;
mod sender;
mod told;

pub use confirmations::Confirmations;
pub(crate) use confirmations::Standing;

use crate::access::{Access, SystemMay};
use crate::config::{Config, Forward};
use crate::limits::ForwardingBounds;
use crate::local::own_records;
use crate::metrics::Metrics;
use crate::recorder::Recorder;
use crate::scp::Services;
use asker::Asker;
use counters::Counters;
use desk::Desk;
use pacs_core::access::{Maintain, Move, permit};
use pacs_core::role::{Agent, Licence, Unlicensed, duty::Reconcile};
use pacs_core::sender::Sender as CameFrom;
use pacs_core::{Action, AeTitle, Caller, Denied, Permit};
use pacs_net::RequestorError;
use pacs_net::service::CommitmentScu;
use pacs_net::transport::Connector;
use pacs_store::index::{ChangeNumber, IndexError, StoredInstance};
use pacs_store::records::RecordsError;
use pacs_store::registry::RegistryError;
use pacs_store::{Archive, Cursor};
use reports::Reports;
use sender::Sender;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// The task that it is, for permits and the audit trail.
const TASK: &str = "forwarding";

/// Why it cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum ForwardingError {
    /// The policy does not let the archive itself do it.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The changes cannot be read.
    #[error("changes could not be followed")]
    Index(#[from] IndexError),
    /// Its metrics cannot be shown: a fault of this crate.
    #[error("metrics of forwarding")]
    Metrics(#[from] prometheus::Error),
    /// What is kept of it cannot be read or written.
    #[error("what was sent on could not be kept")]
    Records(#[from] RecordsError),
    /// The table of roles does not let the archive itself know whose studies are whose.
    #[error(transparent)]
    Unlicensed(#[from] Unlicensed),
}

/// Why an attempt did not go on.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("changes could not be followed")]
    Index(#[from] IndexError),
    #[error("{0}")]
    Peer(String),
    #[error("what was sent on could not be kept")]
    Records(#[from] RecordsError),
    #[error("the registry could not be asked")]
    Registry(#[from] RegistryError),
    #[error("it could not be recorded")]
    Unrecorded,
}

/// What it works with.
#[derive(Debug)]
pub(crate) struct Parts {
    /// Gives instances out, converted where a workstation needs that.
    pub(crate) services: Services,
    /// Knows where AEs are.
    pub(crate) access: Arc<Access>,
    /// Our title.
    pub(crate) our_title: AeTitle,
    /// Opens connections.
    pub(crate) connector: Arc<dyn Connector>,
    /// Records what went where.
    pub(crate) recorder: Recorder,
    /// Bounds.
    pub(crate) bounds: ForwardingBounds,
}

/// What sender and asker of all destinations share.
#[derive(Debug)]
struct Shared {
    parts: Parts,
    archive: Archive,
    maintain: Permit<Maintain>,
    moves: Permit<Move>,
    licence: Licence<Reconcile>,
}

impl Shared {
    /// The place of a follower; the first time, and where the archive is not as far as it, as no
    /// crash leaves it, `first`.
    async fn place(&self, name: &str, first: ChangeNumber) -> Result<Cursor, ForwardingError> {
        let mut cursor = self.archive.cursor(&self.maintain, name).await?;
        let last = self.archive.last_change(&self.maintain).await?;
        if cursor.position() > last {
            tracing::error!(
                name,
                at = cursor.position().0,
                last = last.0,
                "what was sent on is of a later day than the archive: it begins anew"
            );
        }
        if cursor.is_new() || cursor.position() > last {
            cursor.advance(first).await?;
        }
        Ok(cursor)
    }
}

/// The desks of all destinations, before anything is done.
#[derive(Debug)]
pub(crate) struct Desks {
    all: Vec<Arc<Desk>>,
    /// Goes up when something was confirmed, or failed.
    progress: Arc<watch::Sender<u64>>,
}

impl Desks {
    /// Those of `config`, with what is kept of them.
    ///
    /// # Errors
    /// [`ForwardingError`].
    pub(crate) async fn open(
        config: &Config,
        archive: &Archive,
        metrics: &Metrics,
    ) -> Result<Self, ForwardingError> {
        Self::of(&config.forwards, archive, metrics.registry()).await
    }

    async fn of(
        forwards: &[Forward],
        archive: &Archive,
        registry: &prometheus::Registry,
    ) -> Result<Self, ForwardingError> {
        let mut desks = Self {
            all: Vec::with_capacity(forwards.len()),
            progress: Arc::new(watch::Sender::new(0)),
        };
        if forwards.is_empty() {
            return Ok(desks);
        }
        let counters = Counters::new(registry)?;
        for forward in forwards {
            let records = own_records(archive, TASK)?;
            let told = (counters.of(&forward.to), Arc::clone(&desks.progress));
            let desk = Desk::open(forward, records, told).await?;
            desks.all.push(Arc::new(desk));
        }
        Ok(desks)
    }

    /// What says whether instances are confirmed, where any destination is to confirm them.
    ///
    /// # Errors
    /// [`ForwardingError`].
    pub(crate) fn confirmations(
        &self,
        archive: &Archive,
    ) -> Result<Option<Confirmations>, ForwardingError> {
        let confirming = self.all.iter().filter(|desk| desk.confirms);
        let confirming: Vec<Arc<Desk>> = confirming.cloned().collect();
        if confirming.is_empty() {
            return Ok(None);
        }
        let progress = Arc::clone(&self.progress);
        Ok(Some(Confirmations::new(archive, confirming, progress)?))
    }
}

/// Sends on all that comes, and asks whether it is safe there.
#[derive(Debug)]
pub(crate) struct Forwarding {
    senders: Vec<Sender>,
    askers: Vec<Asker>,
    reports: Option<Arc<Reports>>,
}

impl Forwarding {
    /// From where it was. To a destination that is new, what is there already goes if it is to
    /// confirm, and else what comes from now on; so this is to be called before anybody can send.
    ///
    /// # Errors
    /// [`ForwardingError`].
    pub(crate) async fn open(desks: &Desks, parts: Parts) -> Result<Self, ForwardingError> {
        let policy = SystemMay(&[Action::Maintain, Action::Move]);
        let caller = || Caller::System { task: TASK };
        let bounds = parts.bounds;
        let shared = Arc::new(Shared {
            maintain: permit(&policy, caller())?,
            moves: permit(&policy, caller())?,
            licence: Agent::system(TASK).national_licence()?,
            archive: parts.services.archive(),
            parts,
        });
        let mut forwarding = Self {
            senders: Vec::new(),
            askers: Vec::new(),
            reports: None,
        };
        for desk in &desks.all {
            let sender = Sender::open(Arc::clone(&shared), Arc::clone(desk)).await?;
            forwarding.senders.push(sender);
            if desk.confirms {
                let reports = forwarding.reports.take().unwrap_or_default();
                let (told, comes) = mpsc::channel(bounds.transactions_max);
                reports.goes_to(&desk.title, told, bounds.transactions_max);
                let shared = Arc::clone(&shared);
                let asker = Asker::open(shared, Arc::clone(desk), (Arc::clone(&reports), comes));
                forwarding.askers.push(asker.await?);
                forwarding.reports = Some(reports);
            }
        }
        Ok(forwarding)
    }

    /// What takes the reports that destinations bring, where any is to confirm.
    pub(crate) fn reports(&self) -> Option<Arc<dyn CommitmentScu>> {
        let reports = self.reports.as_ref();
        reports.map(|reports| Arc::clone(reports) as _)
    }

    /// Begins; it ends with the tasks.
    pub(crate) fn begin(self, tasks: &mut JoinSet<()>) {
        for sender in self.senders {
            tasks.spawn(sender.run());
        }
        for asker in self.askers {
            tasks.spawn(asker.run());
        }
    }
}

/// Whether an instance came from `title`, and so is not sent back there.
fn came_from(stored: &StoredInstance, title: &AeTitle) -> bool {
    stored.provenance.address.is_some()
        && CameFrom::of(&stored.provenance.calling) == CameFrom::Device(title.as_str())
}

/// Why a request failed, in words of ours: what the peer says besides may name a patient.
fn why(error: &RequestorError) -> String {
    if let RequestorError::Status { code, .. } = error {
        return format!("status {code:04X}H");
    }
    crate::tool::failure::chain(error)
}

/// The pause after so many failures in a row.
fn pause_after(failures_count: u32, first: Duration, longest: Duration) -> Duration {
    let doublings = failures_count.saturating_sub(1).min(16);
    let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(longest)
}

#[cfg(test)]
mod tests;
