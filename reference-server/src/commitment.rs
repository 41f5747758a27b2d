//! Storage commitment (PS3.4 Annex J): requests that outlive the process, and the reports that are
//! owed for them.
//!
//! A request is a document of the archive before it is answered, and goes away when its report was
//! taken, or given up. Each AE that is owed something has a desk: one task checks its instances,
//! one request after the other, and another brings the reports; over the association of the
//! request while there is time, else over one to the AE's configured address. What was checked is
//! in memory alone: after a restart it is checked again.
//!
//! An instance is committed if every version under its UID was read whole from the disk within
//! the hour before its report. Else the sender keeps its copy: see docs/decisions. Where other
//! archives are to have it all, what they have not confirmed yet puts the report off.

mod checking;
mod clients;
mod counters;
mod desk;
mod elsewhere;
mod reporting;
mod transaction;

pub use clients::ClientCommitments;
pub use counters::Counters;

use crate::access::Access;
use crate::forwarding::Confirmations;
use crate::limits::CommitmentBounds;
use desk::{Book, Open};
use pacs_core::access::{Commit, permit};
use pacs_core::commitment::{CommitmentRequest, Reference};
use pacs_core::{AeTitle, Caller, Denied, Permit};
use pacs_net::NetLimits;
use pacs_net::service::EventLine;
use pacs_net::transport::Connector;
use pacs_store::Archive;
use pacs_store::records::{Kind, Record, Records, RecordsError, Revision};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;
use transaction::Transaction;

/// Documents of this kind are open requests, and reports that were given up.
const KIND: Kind = Kind::new("commitment");

/// Documents read at once at start: each may have a megabyte.
const PAGE_COUNT: usize = 16;

/// Why a request is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The caller, or all callers together, have too much open.
    #[error("too many {what} are open")]
    Busy {
        /// What there is too much of.
        what: &'static str,
    },
    /// The request cannot be kept.
    #[error("request could not be kept")]
    Records(#[from] RecordsError),
}

/// What commitment works with.
#[derive(Debug)]
pub struct Parts {
    /// What is committed.
    pub archive: Archive,
    /// Who may ask, and where reports go.
    pub access: Arc<Access>,
    /// Our title.
    pub our_title: AeTitle,
    /// Opens connections for reports.
    pub connector: Arc<dyn Connector>,
    /// Says what other archives have confirmed that are to have it all, where there are any.
    pub confirmations: Option<Confirmations>,
    /// Counts.
    pub counters: Counters,
    /// Bounds.
    pub bounds: CommitmentBounds,
}

/// Storage commitment of one archive. Clones are the same.
#[derive(Debug, Clone)]
pub struct Commitments {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    parts: Parts,
    permit: Permit<Commit>,
    records: Arc<dyn Records>,
    net_limits: NetLimits,
    book: Mutex<Book>,
    /// Held while a request is taken: two with one transaction UID must see each other.
    taking: tokio::sync::Mutex<()>,
    /// Instances that are read at once.
    checks: Semaphore,
    /// Associations for reports at once.
    reporters: Semaphore,
    desks: Mutex<JoinSet<()>>,
}

impl Commitments {
    /// Reads what is open. Nothing is done before [`Self::start`].
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn open(parts: Parts) -> Result<Self, RecordsError> {
        let caller = Caller::System { task: "commitment" };
        let refused = |denied: Denied| RecordsError::Backend {
            operation: "be read",
            source: Box::new(denied),
        };
        let permit = permit::<Commit>(&*parts.access, caller).map_err(refused)?;
        let records = parts.archive.records(&permit);
        let commitments = Self {
            shared: Arc::new(Shared {
                checks: Semaphore::new(parts.bounds.checks_max),
                reporters: Semaphore::new(parts.bounds.reporters_max),
                net_limits: NetLimits {
                    response_duration_max: parts.bounds.response_duration_max,
                    ..NetLimits::default()
                },
                permit,
                records,
                parts,
                book: Mutex::default(),
                taking: tokio::sync::Mutex::default(),
                desks: Mutex::default(),
            }),
        };
        commitments.read_open().await?;
        Ok(commitments)
    }

    async fn read_open(&self) -> Result<(), RecordsError> {
        let shared = &self.shared;
        let mut after: Option<String> = None;
        loop {
            let records = &shared.records;
            let page = records.list(KIND, "", after.as_deref(), PAGE_COUNT).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.key.clone());
            for record in &page {
                let Some(transaction) = Transaction::from_record(record) else {
                    tracing::error!("a commitment request in the records cannot be read");
                    continue;
                };
                self.read_one(record, &transaction).await;
            }
        }
        shared.count();
        Ok(())
    }

    async fn read_one(&self, record: &Record, transaction: &Transaction) {
        let shared = &self.shared;
        let bounds = &shared.parts.bounds;
        let now_unix_ms = now_unix_ms();
        if let Some(given_up_unix_ms) = transaction.given_up_unix_ms {
            if desk::is_of_late(given_up_unix_ms, now_unix_ms, bounds) {
                let key = record.key.clone();
                shared.book().given_up(key, given_up_unix_ms);
            } else {
                shared.delete(&record.key, record.revision).await;
            }
            return;
        }
        // A clock that jumped, or a long rest, is no reason not to try at all.
        let age_ms = now_unix_ms.saturating_sub(transaction.accepted_unix_ms);
        let left = bounds
            .retry_for
            .saturating_sub(std::time::Duration::from_millis(age_ms))
            .max(bounds.retry_after_restart);
        let open = Open::new(transaction, None, Instant::now() + left);
        shared
            .book()
            .open(transaction.ae.clone(), record.key.clone(), open);
    }

    /// Begins to work on what is open.
    pub fn start(&self) {
        let desks = self.shared.book().desks();
        for (ae, wake) in desks {
            self.serve(ae, wake);
        }
    }

    /// Ends all work. What is open stays so, and goes on after the next start.
    pub async fn stop(&self) {
        let mut desks = {
            let mut desks = self.desks();
            std::mem::take(&mut *desks)
        };
        desks.shutdown().await;
    }

    /// Requests that are open, and reports that were given up of late.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        self.shared.counts()
    }

    /// Takes a request of `ae`, durably: a report will be brought, or at least be tried to.
    ///
    /// A request that is open already is the same one, and is reported over the new `line`; one
    /// that only has its transaction UID fails as a whole (0131H).
    ///
    /// # Errors
    /// [`Refusal`]; nothing was taken then.
    pub async fn take(
        &self,
        ae: &AeTitle,
        mut request: CommitmentRequest,
        line: EventLine,
    ) -> Result<(), Refusal> {
        let shared = &self.shared;
        let mut seen = BTreeSet::new();
        request.references.retain(|of| seen.insert(of.clone()));
        let _turn = shared.taking.lock().await;
        let mut transaction = Transaction::new(ae.clone(), request, now_unix_ms());
        let line = Some((line, Instant::now()));
        let keys = shared.book().keys(ae, &transaction.prefix());
        for key in &keys {
            if shared.is_same(key, &seen).await? {
                shared.book().renew(ae, key, line);
                return Ok(());
            }
        }
        transaction.is_duplicate = !keys.is_empty();
        let bounds = &shared.parts.bounds;
        let references_count = transaction.references.len();
        shared.book().has_room(ae, references_count, bounds)?;
        let key = transaction.key(&keys);
        shared.put(&key, &transaction).await?;
        let open = Open::new(&transaction, line, Instant::now() + bounds.retry_for);
        tracing::info!(
            calling = %ae, transaction = %transaction.uid, instances = references_count,
            duplicate = transaction.is_duplicate, "storage commitment was asked for"
        );
        let new_desk = shared.book().open(ae.clone(), key, open);
        shared.count();
        if let Some(wake) = new_desk {
            self.serve(ae.clone(), wake);
        }
        Ok(())
    }

    /// Puts a desk to work.
    fn serve(&self, ae: AeTitle, wake: Arc<Wake>) {
        let shared = Arc::clone(&self.shared);
        self.spawn(async move {
            tokio::select! {
                () = reporting::report(&shared, &ae, &wake) => {}
                () = checking::check(&shared, &ae, &wake) => {}
            }
        });
    }

    /// Works until [`Self::stop`] at most.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut desks = self.desks();
        // Those that have closed are forgotten.
        while desks.try_join_next().is_some() {}
        desks.spawn(work);
    }

    fn desks(&self) -> MutexGuard<'_, JoinSet<()>> {
        let desks = self.shared.desks.lock();
        desks.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes the two tasks of a desk.
#[derive(Debug, Default)]
struct Wake {
    checking: Notify,
    reporting: Notify,
}

impl Shared {
    fn book(&self) -> MutexGuard<'_, Book> {
        // Nothing panics between the steps of a change.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> (usize, usize) {
        let book = self.book();
        let given_up = book.given_up_count(now_unix_ms(), &self.parts.bounds);
        (book.open_count(), given_up)
    }

    /// Shows how much is open.
    fn count(&self) {
        let (open, given_up) = self.counts();
        self.parts.counters.show(open, given_up);
    }

    async fn load(&self, key: &str) -> Result<Option<(Transaction, Revision)>, RecordsError> {
        let Some(record) = self.records.get(KIND, key).await? else {
            return Ok(None);
        };
        let transaction = Transaction::from_record(&record);
        let transaction = transaction.ok_or(RecordsError::Damaged { what: "request" })?;
        Ok(Some((transaction, record.revision)))
    }

    /// Writes a document, in place of what may be there.
    async fn put(&self, key: &str, transaction: &Transaction) -> Result<(), RecordsError> {
        let there = self.records.get(KIND, key).await?;
        let revision = there.map(|record| record.revision);
        let value = transaction.to_value()?;
        self.records.put(KIND, key, value, revision).await?;
        self.book().is_not_given_up(key);
        Ok(())
    }

    async fn delete(&self, key: &str, revision: Revision) {
        if let Err(error) = self.records.delete(KIND, key, revision).await {
            // It is reported once more after the next start: that does no harm.
            tracing::error!(%error, "a commitment request that is done could not be deleted");
        }
    }

    /// Whether what is open under `key` asks for the same.
    async fn is_same(
        &self,
        key: &str,
        references: &BTreeSet<Reference>,
    ) -> Result<bool, RecordsError> {
        let Some((open, _)) = self.load(key).await? else {
            return Ok(false);
        };
        let is_same = open.references.len() == references.len();
        Ok(is_same && open.references.iter().all(|of| references.contains(of)))
    }

    /// A request is done with: its document goes, and its place is free; unless it has come again.
    async fn close(&self, ae: &AeTitle, key: &str) {
        let _turn = self.taking.lock().await;
        if self.book().is_done(ae, key) {
            self.forget(ae, key).await;
        }
    }

    async fn forget(&self, ae: &AeTitle, key: &str) {
        match self.records.get(KIND, key).await {
            Ok(Some(record)) => self.delete(key, record.revision).await,
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "a commitment request could not be looked up"),
        }
        self.book().close(ae, key);
        self.count();
    }
}

fn now_unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) mod tests;
