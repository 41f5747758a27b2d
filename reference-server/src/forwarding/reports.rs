//! Takes the reports of destinations that were asked for commitment, over whichever association
//! they come, and hands them to whoever asked.

use super::ledger::Content;
use async_trait::async_trait;
use pacs_core::AeTitle;
use pacs_core::commitment::{CommitmentReport, FailureReason, Reference};
use pacs_core::limits::CommitmentLimits;
use pacs_core::uid::TransactionUid;
use pacs_net::service::{CommitmentScu, EventReport, Peer};
use pacs_net::status::EventStatus;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// What a destination said of a request.
#[derive(Debug)]
pub(super) struct Reported {
    pub(super) transaction: TransactionUid,
    pub(super) committed: Vec<Content>,
    /// What it does not commit to; without a reason where it did not say a word of it.
    pub(super) failed: Vec<(Content, Option<FailureReason>)>,
}

/// The requests of one destination whose reports are taken, the oldest first.
#[derive(Debug)]
struct Expected {
    told: mpsc::Sender<Reported>,
    requests: VecDeque<(TransactionUid, Vec<Content>)>,
    requests_max: usize,
}

/// Takes reports.
#[derive(Debug, Default)]
pub(super) struct Reports {
    expected: Mutex<HashMap<AeTitle, Expected>>,
}

impl Reports {
    fn expected(&self) -> MutexGuard<'_, HashMap<AeTitle, Expected>> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports of `title` go to `told`.
    pub(super) fn goes_to(
        &self,
        title: &AeTitle,
        told: mpsc::Sender<Reported>,
        requests_max: usize,
    ) {
        let expected = Expected {
            told,
            requests: VecDeque::new(),
            requests_max,
        };
        self.expected().insert(title.clone(), expected);
    }

    /// A report of this request is taken from now on.
    pub(super) fn expect(
        &self,
        title: &AeTitle,
        transaction: &TransactionUid,
        contents: Vec<Content>,
    ) {
        if let Some(expected) = self.expected().get_mut(title) {
            if expected.requests.len() >= expected.requests_max {
                expected.requests.pop_front();
            }
            let request = (transaction.clone(), contents);
            expected.requests.push_back(request);
        }
    }

    /// Whether its report has not come.
    pub(super) fn is_expected(&self, title: &AeTitle, transaction: &TransactionUid) -> bool {
        let expected = self.expected();
        let requests = expected.get(title).map(|expected| &expected.requests);
        requests.is_some_and(|requests| requests.iter().any(|(open, _)| open == transaction))
    }

    /// The request was not taken: no report of it will come.
    pub(super) fn forget(&self, title: &AeTitle, transaction: &TransactionUid) {
        if let Some(expected) = self.expected().get_mut(title) {
            expected.requests.retain(|(open, _)| open != transaction);
        }
    }

    fn take(&self, title: &AeTitle, report: CommitmentReport) -> EventStatus {
        let mut expected = self.expected();
        let Some(expected) = expected.get_mut(title) else {
            return EventStatus::NO_SUCH_SOP_INSTANCE.with_comment("nothing was asked");
        };
        let known = expected.requests.iter();
        let at = known
            .enumerate()
            .find(|(_, (open, _))| *open == report.transaction);
        let Some((at, _)) = at else {
            return EventStatus::NO_SUCH_SOP_INSTANCE.with_comment("transaction is not known");
        };
        // Whoever is busy is told once more.
        let Ok(place) = expected.told.try_reserve() else {
            return EventStatus::PROCESSING_FAILURE;
        };
        if let Some((transaction, contents)) = expected.requests.remove(at) {
            place.send(judged(transaction, contents, report));
        }
        EventStatus::SUCCESS
    }
}

/// What a report says of each content; a failure is stronger, should both be said.
fn judged(
    transaction: TransactionUid,
    contents: Vec<Content>,
    report: CommitmentReport,
) -> Reported {
    let committed = report.committed.into_iter().map(|of| (of, Ok(())));
    let failed = report.failed.into_iter().map(|(of, why)| (of, Err(why)));
    let said: HashMap<Reference, Result<(), FailureReason>> = committed.chain(failed).collect();
    let mut reported = Reported {
        transaction,
        committed: Vec::new(),
        failed: Vec::new(),
    };
    for content in contents {
        match said.get(&reference_to(&content)) {
            Some(Ok(())) => reported.committed.push(content),
            Some(Err(why)) => reported.failed.push((content, Some(*why))),
            None => reported.failed.push((content, None)),
        }
    }
    reported
}

/// How a content is asked about.
pub(super) fn reference_to(content: &Content) -> Reference {
    Reference {
        sop_class: content.sop_class.clone(),
        sop_instance: content.instance.clone(),
    }
}

#[async_trait]
impl CommitmentScu for Reports {
    async fn report(&self, peer: &Peer, report: EventReport) -> EventStatus {
        let (bytes, syntax) = (&report.information, &report.transfer_syntax);
        let limits = CommitmentLimits::default();
        match CommitmentReport::read(bytes, syntax, &limits) {
            Ok(report) => self.take(&peer.calling_ae_title, report),
            Err(error) => EventStatus::INVALID_ARGUMENT_VALUE.with_comment(error.to_string()),
        }
    }
}
