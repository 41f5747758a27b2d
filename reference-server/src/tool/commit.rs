//! `pacs commit`: asks a peer to commit to instances, and waits for its report; on the association
//! that asked, and with `--listen` on one that the peer opens with reversed roles.

use super::Connection;
use super::connect::UNCOMPRESSED;
use super::failure::Failure;
use super::output::{Output, Unit};
use async_trait::async_trait;
use clap::Args;
use pacs_core::commitment::{CommitmentReport, CommitmentRequest, FailureReason, Reference};
use pacs_core::limits::CommitmentLimits;
use pacs_core::uid::TransactionUid;
use pacs_core::{SopClassUid, SopInstanceUid};
use pacs_media::{MediaLimits, Refusal, Sources, inspect};
use pacs_net::observer::Observer;
use pacs_net::requestor::{Requestor, RequestorError};
use pacs_net::service::{CommitmentScu, EventReport, Peer};
use pacs_net::sop_class::STORAGE_COMMITMENT_PUSH;
use pacs_net::status::EventStatus;
use pacs_net::{Acceptor, Ending};
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// Instances of one request: most providers take as many.
const REFERENCES_PER_REQUEST: usize = 1_000;

/// How long the association is kept where the report may come over another: a provider that has it
/// ready sends it at once.
const GRACE: Duration = Duration::from_secs(10);

/// How long a wait on the association goes before the listener is looked at.
const LOOK_UP: Duration = Duration::from_millis(100);

/// How long a provider may take to release the association that it brought its report on.
const LAST_RELEASE: Duration = Duration::from_secs(2);

/// What is to be committed, and how to wait for it.
#[derive(Debug, Clone, Args)]
pub struct Commit {
    /// Whom to ask
    #[command(flatten)]
    pub connection: Connection,
    /// Files, directories, DICOMDIRs and ZIP archives that hold the instances
    #[arg(value_name = "PATH", required_unless_present = "instances")]
    pub paths: Vec<PathBuf>,
    /// An instance, as SOPCLASS=SOPINSTANCE
    #[arg(long = "instance", value_name = "CLASS=UID", value_parser = parse_instance)]
    pub instances: Vec<Reference>,
    /// Seconds to wait for the report
    #[arg(long, value_name = "SECONDS", default_value = "60",
          value_parser = super::peer::parse_seconds)]
    pub wait: Duration,
    /// Listen here for a report on another association; the peer must know this address
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Release the association right after asking; the report then comes to --listen
    #[arg(long, requires = "listen")]
    pub leave: bool,
}

fn parse_instance(text: &str) -> Result<Reference, String> {
    let (class, instance) = text.split_once('=').ok_or("not CLASS=UID")?;
    Ok(Reference {
        sop_class: SopClassUid::parse_legacy(class).map_err(|error| error.to_string())?,
        sop_instance: SopInstanceUid::parse_legacy(instance).map_err(|error| error.to_string())?,
    })
}

pub(super) async fn commit(commit: &Commit, output: &Output) -> Result<(), Failure> {
    let (references, unread_count) = references(commit, output).await?;
    let reports = Arc::new(Reports::default());
    let listener = match commit.listen {
        Some(address) => Some(Listening::start(commit, address, &reports).await?),
        None => None,
    };
    let work = output.work("committing", Unit::Instances, Some(references.len() as u64));
    let asked = ask(commit, &references, &reports, listener.is_some()).await;
    let waited = match asked {
        Ok(association) => wait(commit, &reports, association, listener.is_some()).await,
        Err(failure) => Err(failure),
    };
    work.end();
    if let Some(listener) = listener {
        listener.stop().await;
    }
    let failed_count = tell(&references, &reports, output) + unread_count;
    let committed_count = references.len() + unread_count - failed_count;
    let value = serde_json::json!({ "committed": committed_count, "failed": failed_count });
    let text = format!("{committed_count} committed, {failed_count} failed");
    output.summary(&text, &value);
    waited?;
    if failed_count == 0 {
        return Ok(());
    }
    Err(Failure::Partly(format!(
        "{failed_count} instances are not committed: keep them"
    )))
}

/// What is asked about, each once, and how many files could not be read.
async fn references(commit: &Commit, output: &Output) -> Result<(Vec<Reference>, usize), Failure> {
    let (paths, teller) = (commit.paths.clone(), output.clone());
    let reading = tokio::task::spawn_blocking(move || read(paths, &teller));
    let (read, unread_count) = reading
        .await
        .map_err(|error| Failure::Archive(error.to_string()))?;
    let mut seen = BTreeSet::new();
    let all = commit.instances.iter().cloned().chain(read);
    let references: Vec<_> = all.filter(|of| seen.insert(of.clone())).collect();
    if references.is_empty() {
        return Err(Failure::CommandLine("no instance is there".to_owned()));
    }
    Ok((references, unread_count))
}

/// The instances in files; those that are broken are told and counted. What is no DICOM file at
/// all is passed over, unless it was named itself.
fn read(paths: Vec<PathBuf>, output: &Output) -> (Vec<Reference>, usize) {
    let limits = MediaLimits::default();
    let mut references = Vec::new();
    let mut unread_count = 0;
    for found in Sources::new(paths, &limits) {
        let (place, is_named, inspected) = match found {
            Ok(found) => (
                found.place.clone(),
                found.is_named,
                inspect(&found, &limits),
            ),
            Err(refused) => (refused.place, true, Err(refused.why)),
        };
        match inspected {
            Ok(instance) => references.push(Reference {
                sop_class: instance.sop_class,
                sop_instance: instance.sop_instance,
            }),
            Err(Refusal::Directory | Refusal::NotDicom) if !is_named => {}
            Err(why) => {
                unread_count += 1;
                let text = format!("file {place}: {}", super::failure::chain(&why));
                output.problem(&text, &serde_json::json!({ "why": text }));
            }
        }
    }
    (references, unread_count)
}

/// Asks for all of it and gives the association, unless it is to be left.
async fn ask(
    commit: &Commit,
    references: &[Reference],
    reports: &Reports,
    may_leave: bool,
) -> Result<Option<Requestor>, Failure> {
    let connection = &commit.connection;
    let builder = connection
        .builder()
        .context(STORAGE_COMMITMENT_PUSH, &UNCOMPRESSED);
    let mut association = connection.connect(&builder).await?;
    let transfer_syntax = association
        .context(STORAGE_COMMITMENT_PUSH)?
        .transfer_syntax;
    for some in references.chunks(REFERENCES_PER_REQUEST) {
        let request = CommitmentRequest {
            transaction: new_transaction()?,
            references: some.to_vec(),
        };
        let information = request
            .to_data_set(&transfer_syntax)
            .map_err(|error| Failure::CommandLine(error.to_string()))?;
        reports.expect(request);
        association
            .request_commitment(information.into(), reports)
            .await?;
    }
    if commit.leave && may_leave {
        association.release().await?;
        return Ok(None);
    }
    Ok(Some(association))
}

/// Waits until every report has come.
async fn wait(
    commit: &Commit,
    reports: &Reports,
    association: Option<Requestor>,
    has_listener: bool,
) -> Result<(), Failure> {
    let until = Instant::now() + commit.wait;
    if let Some(mut association) = association {
        let here_until = if has_listener {
            until.min(Instant::now() + GRACE)
        } else {
            until
        };
        let mut here = Ok(());
        while !reports.are_complete() && Instant::now() < here_until {
            let patience = here_until.saturating_duration_since(Instant::now());
            let patience = if has_listener {
                patience.min(LOOK_UP)
            } else {
                patience
            };
            here = association
                .next_commitment_report(reports, patience)
                .await
                .map(drop);
            if here.is_err() {
                break;
            }
        }
        match here {
            // The other way is still open.
            Err(_ended) if has_listener => {}
            Err(error) => return Err(error.into()),
            Ok(()) => association.release().await?,
        }
    }
    let mut left = reports.left.subscribe();
    let complete = left.wait_for(|left| *left == 0);
    let patience = until.saturating_duration_since(Instant::now());
    match timeout(patience, complete).await {
        Ok(_complete) => Ok(()),
        Err(_elapsed) if reports.are_complete() => Ok(()),
        Err(_elapsed) => Err(Failure::Peer(RequestorError::TimedOut {
            waiting_for: "the report of the peer",
        })),
    }
}

/// Tells what became of each instance; how many are not committed.
fn tell(references: &[Reference], reports: &Reports, output: &Output) -> usize {
    let state = reports.state();
    let mut failed_count = 0;
    for reference in references {
        let outcome = state.outcomes.get(reference).copied();
        let (class, uid) = (reference.sop_class.as_str(), &reference.sop_instance);
        let (text, reason) = match outcome {
            Some(Ok(())) => (format!("committed {uid}"), None),
            Some(Err(reason)) => (
                format!("failed {uid}: {reason}"),
                Some(format!("{:04X}", reason.0)),
            ),
            None => (format!("failed {uid}: no word of it"), None),
        };
        let is_committed = outcome == Some(Ok(()));
        failed_count += usize::from(!is_committed);
        let value = serde_json::json!({
            "sop_class": class,
            "sop_instance": uid.as_str(),
            "committed": is_committed,
            "reason": reason,
        });
        output.result(&text, &value);
    }
    failed_count
}

fn new_transaction() -> Result<TransactionUid, Failure> {
    TransactionUid::parse(&new_uid()).map_err(|error| Failure::CommandLine(error.to_string()))
}

/// A UID made from a random number (PS3.5 B.2).
pub(super) fn new_uid() -> String {
    // Each state is seeded by the system.
    let half = || u128::from(RandomState::new().hash_one(std::process::id()));
    let number = half() << 64 | half();
    format!("2.25.{number}")
}

/// Takes the reports, wherever they come.
#[derive(Debug)]
struct Reports {
    state: Mutex<State>,
    /// Requests whose report has not come.
    left: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct State {
    expected: HashMap<TransactionUid, Vec<Reference>>,
    outcomes: HashMap<Reference, Result<(), FailureReason>>,
}

impl Default for Reports {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            left: watch::Sender::new(0),
        }
    }
}

impl Reports {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expect(&self, request: CommitmentRequest) {
        let mut state = self.state();
        state
            .expected
            .insert(request.transaction, request.references);
        self.left.send_replace(state.expected.len());
    }

    fn are_complete(&self) -> bool {
        *self.left.borrow() == 0
    }
}

#[async_trait]
impl CommitmentScu for Reports {
    async fn report(&self, _peer: &Peer, report: EventReport) -> EventStatus {
        let (bytes, syntax) = (&report.information, &report.transfer_syntax);
        let limits = CommitmentLimits::default();
        let report = match CommitmentReport::read(bytes, syntax, &limits) {
            Ok(report) => report,
            Err(error) => {
                return EventStatus::INVALID_ARGUMENT_VALUE.with_comment(error.to_string());
            }
        };
        let mut state = self.state();
        let Some(asked) = state.expected.remove(&report.transaction) else {
            return EventStatus::NO_SUCH_SOP_INSTANCE.with_comment("transaction is not known");
        };
        let asked: BTreeSet<Reference> = asked.into_iter().collect();
        let committed = report.committed.into_iter().map(|of| (of, Ok(())));
        let failed = report.failed.into_iter().map(|(of, why)| (of, Err(why)));
        // A failure is stronger, should both be said; what was not asked does not count.
        let told = committed.chain(failed).filter(|(of, _)| asked.contains(of));
        state.outcomes.extend(told);
        self.left.send_replace(state.expected.len());
        EventStatus::SUCCESS
    }
}

/// A listener for reports.
struct Listening {
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
    open: watch::Receiver<usize>,
}

/// Counts associations.
#[derive(Debug)]
struct Open(watch::Sender<usize>);

impl Observer for Open {
    fn association_accepted(&self, _peer: &Peer) {
        self.0.send_modify(|open| *open += 1);
    }

    fn association_ended(
        &self,
        _address: SocketAddr,
        peer: Option<&Peer>,
        _ending: Ending,
        _duration: Duration,
    ) {
        if peer.is_some() {
            self.0.send_modify(|open| *open = open.saturating_sub(1));
        }
    }
}

impl Listening {
    async fn start(
        commit: &Commit,
        address: SocketAddr,
        reports: &Arc<Reports>,
    ) -> Result<Self, Failure> {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| Failure::CommandLine(format!("--listen {address}: {error}")))?;
        let (count, open) = watch::channel(0);
        let acceptor = Acceptor::builder(commit.connection.ae_title.clone())
            .commitment_reports(Arc::clone(reports) as _)
            .observer(Arc::new(Open(count)))
            .any_called_title(true)
            .build()
            .map_err(|error| Failure::CommandLine(error.to_string()))?;
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            acceptor.serve(listener, stopped).await;
        });
        Ok(Self {
            stop,
            serving,
            open,
        })
    }

    /// Ends it, once peers have released what they opened, or have had the time to.
    async fn stop(mut self) {
        let all_ended = self.open.wait_for(|open| *open == 0);
        timeout(LAST_RELEASE, all_ended).await.ok();
        self.stop.send(()).ok();
        self.serving.await.ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_typed_as_its_class_and_uid() {
        let read = parse_instance("1.2.840.10008.5.1.4.1.1.2=2.25.1").unwrap();
        assert_eq!(read.sop_instance.as_str(), "2.25.1");
        for wrong in ["1.2", "1.2=", "=1.2", "1.2=../x", "1.2=1.2=1"] {
            assert!(parse_instance(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_two_transactions_are_alike() {
        let some: BTreeSet<String> = (0..1_000)
            .map(|_| new_transaction().unwrap().as_str().to_owned())
            .collect();
        assert_eq!(some.len(), 1_000);
    }
}
