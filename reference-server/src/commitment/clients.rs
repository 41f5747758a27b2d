//! Requests of clients over the web (PS3.18 13): kept like those of devices, checked by the same
//! rules, and answered when they are asked for. Nothing is brought to anybody.
//!
//! A request is a document of the archive before it is answered, for [`CommitmentBounds`]'
//! `result_kept`. What came of it is in memory alone: after a restart, and where it is older than
//! `checked_for`, its instances are read again when somebody asks.

mod document;
mod ledger;

use super::checking::check_reference;
use super::desk::Checked;
use super::elsewhere::Elsewhere;
use super::{Commitments, PAGE_COUNT, Shared, now_unix_ms};
use async_trait::async_trait;
use document::Request;
use ledger::{Ledger, Now};
use pacs_core::access::Commit;
use pacs_core::uid::TransactionUid;
use pacs_core::{Caller, Permit};
use pacs_store::records::{Kind, RecordsError};
use pacs_web::commitment::{Commitment, Refusal, Standing, Wanted};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Documents of this kind are requests of clients over the web.
const KIND: Kind = Kind::new("commitment-web");

/// Storage commitment for clients over the web. Clones are the same.
#[derive(Debug, Clone)]
pub struct ClientCommitments {
    of: Commitments,
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    ledger: Mutex<Ledger>,
    /// Held while a request is taken: two with one transaction UID must see each other.
    taking: tokio::sync::Mutex<()>,
}

impl ClientCommitments {
    /// Reads what is kept. It works, and stops, with `of`.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn open(of: &Commitments) -> Result<Self, RecordsError> {
        let commitments = Self {
            of: of.clone(),
            inner: Arc::default(),
        };
        let mut after: Option<String> = None;
        loop {
            let records = &commitments.shared().records;
            let page = records.list(KIND, "", after.as_deref(), PAGE_COUNT).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.key.clone());
            for record in &page {
                match Request::from_record(record) {
                    Some(request) => commitments.ledger().add(&request),
                    None => tracing::error!("a commitment request of a client cannot be read"),
                }
            }
        }
        Ok(commitments)
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.of.shared
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // Nothing panics between the steps of a change.
        let ledger = self.inner.ledger.lock();
        ledger.unwrap_or_else(PoisonError::into_inner)
    }

    async fn load(&self, key: &str) -> Result<Option<Request>, RecordsError> {
        let Some(record) = self.shared().records.get(KIND, key).await? else {
            return Ok(None);
        };
        let request = Request::from_record(&record);
        let damaged = RecordsError::Damaged { what: "request" };
        request.map(Some).ok_or(damaged)
    }

    /// Takes `request`, unless it is there.
    async fn take(&self, mut request: Request) -> Result<(), Refusal> {
        let mut seen = BTreeSet::new();
        request.wanted.retain(|of| seen.insert(of.clone()));
        let _turn = self.inner.taking.lock().await;
        self.forget_old().await;
        let key = request.key();
        if self.ledger().has(&key) {
            let known = self.load(&key).await.map_err(failed)?;
            let is_same = known.is_some_and(|known| {
                known.wanted.len() == seen.len() && known.wanted.iter().all(|of| seen.contains(of))
            });
            return if is_same {
                Ok(())
            } else {
                Err(Refusal::Duplicate)
            };
        }
        let value = request.to_value().map_err(failed)?;
        let bounds = &self.shared().parts.bounds;
        let in_the_way = self.ledger().room(&request, bounds);
        for key in in_the_way.ok_or(Refusal::Busy)? {
            self.forget(&key).await;
        }
        let records = &self.shared().records;
        // One that could not be read may stand there.
        let there = records.get(KIND, &key).await.map_err(failed)?;
        let revision = there.map(|record| record.revision);
        let put = records.put(KIND, &key, value, revision).await;
        put.map_err(failed)?;
        self.ledger().add(&request);
        tracing::info!(
            client = request.client, transaction = %request.transaction,
            instances = request.wanted.len(), "storage commitment was asked for over the web"
        );
        Ok(())
    }

    /// Forgets what is kept no longer.
    async fn forget_old(&self) {
        let kept = self.shared().parts.bounds.result_kept;
        let old = self.ledger().older_than(now_unix_ms(), kept);
        for key in old {
            self.forget(&key).await;
        }
    }

    async fn forget(&self, key: &str) {
        self.ledger().remove(key);
        let records = &self.shared().records;
        let deleted = match records.get(KIND, key).await {
            Ok(Some(record)) => records.delete(KIND, key, record.revision).await,
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = deleted {
            // It is forgotten once more after the next start.
            tracing::error!(%error, "a commitment request of a client could not be deleted");
        }
    }

    /// What comes of the request `key` within `patience`.
    async fn stand(&self, key: &str, patience: Duration) -> Result<Standing, Refusal> {
        let bounds = &self.shared().parts.bounds;
        let now = Now {
            instant: Instant::now(),
            unix_ms: now_unix_ms(),
        };
        let standing = self.ledger().stand(key, now, bounds);
        let ledger::Standing { mut outcome, work } = standing.ok_or(Refusal::Unknown)?;
        if let Some(client) = work {
            self.serve(client);
        }
        let checked = match timeout(patience, outcome.wait_for(Option::is_some)).await {
            Ok(Ok(checked)) => checked.clone(),
            // It had to make room.
            Ok(Err(_gone)) => return Err(Refusal::Unknown),
            Err(_elapsed) => None,
        };
        let Some(checked) = checked else {
            let again_in = bounds.again_in;
            return Ok(Standing::Working { again_in });
        };
        let request = self.load(key).await.map_err(failed)?;
        let request = request.ok_or(Refusal::Unknown)?;
        let mut failures = checked.failures.iter().peekable();
        let told = request.wanted.into_iter().enumerate().map(|(at, wanted)| {
            let failure = failures.next_if(|(failed, _)| *failed == at);
            (wanted, failure.map(|(_, reason)| *reason))
        });
        Ok(Standing::Done(told.collect()))
    }

    /// Checks what `client` asked about, one request after the other, until nothing is left.
    fn serve(&self, client: String) {
        let this = self.clone();
        self.of.spawn(async move {
            loop {
                // In a statement of its own: the lock is not held while a request is checked.
                let next = this.ledger().next_of(&client);
                let Some(key) = next else { return };
                this.check(&key).await;
            }
        });
    }

    async fn check(&self, key: &str) {
        let began = Instant::now();
        let request = match self.load(key).await {
            Ok(Some(request)) => request,
            Ok(None) => return self.ledger().remove(key),
            Err(error) => {
                tracing::error!(%error, "a commitment request of a client cannot be read");
                return self.ledger().checked(key, None);
            }
        };
        let shared = self.shared();
        let instances = request.wanted.iter();
        let instances = instances.map(|of| &of.reference.sop_instance);
        let elsewhere = shared.elsewhere(instances, request.accepted_unix_ms).await;
        if elsewhere.contains(&Elsewhere::Waits) {
            // Whoever asks again has it looked at again.
            return self.ledger().checked(key, None);
        }
        let mut failures = Vec::new();
        for (at, Wanted { reference, place }) in request.wanted.iter().enumerate() {
            let here = check_reference(shared, reference, place.as_ref()).await;
            let failure = here.or(elsewhere.get(at).and_then(|of| of.failure()));
            shared.parts.counters.checked(failure);
            failures.extend(failure.map(|reason| (at, reason)));
        }
        if !failures.is_empty() {
            tracing::warn!(
                client = request.client, transaction = %request.transaction,
                instances = request.wanted.len(), failed = failures.len(),
                first = ?failures.first().map(|(_, reason)| reason),
                "not everything that a client asked about can be committed"
            );
        }
        let checked = Checked { failures, began };
        self.ledger().checked(key, Some(checked));
    }
}

#[async_trait]
impl Commitment for ClientCommitments {
    async fn request(
        &self,
        permit: &Permit<Commit>,
        transaction: TransactionUid,
        wanted: Vec<Wanted>,
        patience: Duration,
    ) -> Result<Standing, Refusal> {
        let request = Request {
            client: client_of(permit),
            transaction,
            accepted_unix_ms: now_unix_ms(),
            wanted,
        };
        let key = request.key();
        self.take(request).await?;
        self.stand(&key, patience).await
    }

    async fn result(
        &self,
        permit: &Permit<Commit>,
        transaction: &TransactionUid,
        patience: Duration,
    ) -> Result<Standing, Refusal> {
        let key = document::key(&client_of(permit), transaction);
        self.stand(&key, patience).await
    }
}

/// Whose request it is: clients without credentials are one.
fn client_of(permit: &Permit<Commit>) -> String {
    if let Caller::Client {
        name: Some(name), ..
    } = permit.caller()
    {
        name.clone()
    } else {
        String::new()
    }
}

fn failed(error: RecordsError) -> Refusal {
    if matches!(error, RecordsError::Unfit { .. }) {
        return Refusal::TooLarge;
    }
    if matches!(error, RecordsError::Full) {
        return Refusal::Full;
    }
    tracing::error!(%error, "records of storage commitment failed");
    Refusal::Failed
}
