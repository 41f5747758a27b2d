//! Brings reports: over the association of the request, else over one to the AE's address with
//! reversed roles, again and again with longer pauses, until they are taken or time is over.

use super::counters::Ended;
use super::desk::Circumstances;
use super::{Shared, Wake, now_unix_ms};
use pacs_core::commitment::CommitmentReport;
use pacs_core::{AeTitle, TransferSyntaxUid};
use pacs_net::pdu::Roles;
use pacs_net::service::{EventLine, LineEnded};
use pacs_net::sop_class::{
    EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, STORAGE_COMMITMENT_PUSH,
};
use pacs_net::status::{EventStatus, StatusClass};
use pacs_net::{Requestor, RequestorError};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// What has come to an end.
enum Done {
    Line,
    Attempt(Result<(), String>),
}

/// Pauses between attempts that fail.
#[derive(Debug, Default)]
struct Pauses {
    failures_count: u32,
    not_before: Option<Instant>,
}

impl Pauses {
    fn after(&mut self, is_success: bool, first: Duration, longest: Duration) {
        if is_success {
            *self = Self::default();
            return;
        }
        let factor = 1_u32.checked_shl(self.failures_count).unwrap_or(u32::MAX);
        let pause = first.saturating_mul(factor).min(longest);
        self.failures_count = self.failures_count.saturating_add(1);
        self.not_before = Some(Instant::now() + pause);
    }
}

/// Reports to `ae` until nothing is open any more.
pub(super) async fn report(shared: &Arc<Shared>, ae: &AeTitle, wake: &Wake) {
    let bounds = shared.parts.bounds;
    let mut work = JoinSet::new();
    let mut pauses = Pauses::default();
    let mut is_attempting = false;
    loop {
        let remote = shared.parts.access.remote_ae(ae);
        let address = remote.map(|remote| remote.address.to_string());
        let circumstances = Circumstances {
            now: Instant::now(),
            bounds: &bounds,
            has_address: address.is_some(),
            is_attempting,
            not_before: pauses.not_before,
        };
        let plan = shared.book().plan(ae, circumstances);
        if plan.is_closed {
            // The last association is still to be released.
            while work.join_next().await.is_some() {}
            return;
        }
        if plan.was_seen {
            pauses = Pauses::default();
        }
        for (key, line) in plan.over_lines {
            let (shared, ae) = (Arc::clone(shared), ae.clone());
            // Whoever has no other way back is waited for as long as the association stands.
            let patience = address.as_ref().map_or(Duration::MAX, |_| bounds.line_wait);
            work.spawn(async move {
                over_line(&shared, &ae, &key, &line, patience).await;
                Done::Line
            });
        }
        if let Some(address) = address.filter(|_| !plan.over_own.is_empty()) {
            is_attempting = true;
            let (shared, ae) = (Arc::clone(shared), ae.clone());
            work.spawn(async move {
                Done::Attempt(attempt(&shared, &ae, &address, &plan.over_own).await)
            });
        }
        for key in plan.given_up {
            shared.give_up(ae, &key).await;
        }
        for key in plan.stranded {
            shared.parts.counters.ended(Ended::NoWayBack);
            shared.close(ae, &key).await;
            tracing::warn!(
                calling = %ae, transaction = transaction_of(&key),
                "a storage commitment report has no way back: the association is over, and the AE \
                 has no address in the configuration"
            );
        }
        tokio::select! {
            () = wake.reporting.notified() => {}
            Some(done) = work.join_next() => match done {
                Ok(Done::Attempt(outcome)) => {
                    is_attempting = false;
                    pauses.after(outcome.is_ok(), bounds.retry_first, bounds.retry_longest);
                    shared.attempted(ae, outcome, pauses.not_before);
                }
                Ok(Done::Line) => {}
                // A panic is logged where it happens; the report is brought after a restart.
                Err(_panicked) => is_attempting = false,
            },
            () = at(plan.next) => {}
        }
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// Brings a report over the association of its request.
async fn over_line(shared: &Shared, ae: &AeTitle, key: &str, line: &EventLine, patience: Duration) {
    let is_over = match shared.compose(ae, key, line.transfer_syntax()).await {
        Err(_told) => true,
        Ok(None) => false,
        Ok(Some((event_type, information))) => {
            let sent = timeout(patience, line.report(event_type, information.into())).await;
            match sent {
                Ok(Ok(status)) => {
                    if shared.settle(ae, key, &status).await {
                        return;
                    }
                    true
                }
                Ok(Err(LineEnded)) | Err(_) => true,
            }
        }
    };
    shared.book().returned(ae, key, is_over);
}

/// Brings reports over one association of our own. An error is told and tried again.
async fn attempt(
    shared: &Shared,
    ae: &AeTitle,
    address: &str,
    keys: &[String],
) -> Result<(), String> {
    let outcome = match shared.reporters.acquire().await {
        Ok(_place) => bring(shared, ae, address, keys).await,
        Err(error) => Err(error.to_string()),
    };
    let mut book = shared.book();
    for key in keys {
        book.returned(ae, key, false);
    }
    outcome
}

async fn bring(
    shared: &Shared,
    ae: &AeTitle,
    address: &str,
    keys: &[String],
) -> Result<(), String> {
    let parts = &shared.parts;
    let provider = Roles {
        scu: false,
        scp: true,
    };
    let association = Requestor::builder(parts.our_title.clone(), ae.clone())
        .context(
            STORAGE_COMMITMENT_PUSH,
            &[EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN],
        )
        .roles(STORAGE_COMMITMENT_PUSH, provider)
        .connector(Arc::clone(&parts.connector))
        .limits(shared.net_limits.clone());
    let told = |error: RequestorError| chain(&error);
    let mut association = association.connect(address).await.map_err(told)?;
    let context = association.context(STORAGE_COMMITMENT_PUSH);
    let transfer_syntax = match context {
        Ok(context) => context.transfer_syntax,
        Err(error) => {
            association.release().await.ok();
            return Err(chain(&error));
        }
    };
    let mut refused = None;
    for key in keys {
        let (event_type, information) = match shared.compose(ae, key, &transfer_syntax).await {
            Ok(Some(report)) => report,
            Ok(None) => continue,
            Err(why) => {
                refused = Some(why);
                continue;
            }
        };
        let report = association.report_commitment(event_type, information.into());
        let status = report.await.map_err(told)?;
        if !shared.settle(ae, key, &status).await {
            refused = Some(format!("status {:04X}H", status.code()));
        }
    }
    if let Err(error) = association.release().await {
        tracing::debug!(called = %ae, %error, "release failed");
    }
    refused.map_or(Ok(()), Err)
}

/// The transaction UID in a key.
fn transaction_of(key: &str) -> &str {
    key.split('\\').nth(1).unwrap_or_default()
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

impl Shared {
    /// The event type and information of a report; `None` where there is none to bring now. An
    /// error has been told.
    async fn compose(
        &self,
        ae: &AeTitle,
        key: &str,
        transfer_syntax: &TransferSyntaxUid,
    ) -> Result<Option<(u16, Vec<u8>)>, String> {
        let Some(checked) = self.book().outcome(ae, key, &self.parts.bounds) else {
            return Ok(None);
        };
        let transaction = match self.load(key).await {
            Ok(Some((transaction, _))) => transaction,
            Ok(None) => return Err("the request is gone from the records".to_owned()),
            Err(error) => {
                tracing::error!(called = %ae, %error, "a commitment request cannot be read");
                return Err(error.to_string());
            }
        };
        let mut report = CommitmentReport {
            transaction: transaction.uid,
            retrieve_ae_title: Some(self.parts.our_title.clone()),
            committed: Vec::new(),
            failed: Vec::new(),
        };
        let mut failures = checked.failures.iter().peekable();
        for (at, reference) in transaction.references.into_iter().enumerate() {
            match failures.next_if(|(failed, _)| *failed == at) {
                Some((_, reason)) => report.failed.push((reference, *reason)),
                None => report.committed.push(reference),
            }
        }
        match report.to_data_set(transfer_syntax) {
            Ok(information) => Ok(Some((report.event_type(), information))),
            Err(error) => {
                tracing::error!(called = %ae, %error, "a commitment report cannot be written");
                Err(error.to_string())
            }
        }
    }

    /// The peer has answered a report with `status`; whether that is the end of it.
    async fn settle(&self, ae: &AeTitle, key: &str, status: &EventStatus) -> bool {
        let is_taken = match status.class() {
            StatusClass::Success | StatusClass::Warning => true,
            StatusClass::Cancel | StatusClass::Failure | StatusClass::Pending => false,
        };
        let transaction = transaction_of(key);
        if is_taken {
            self.parts.counters.ended(Ended::Delivered);
            self.close(ae, key).await;
            tracing::info!(called = %ae, transaction, "a storage commitment report was taken");
        } else if [
            EventStatus::PROCESSING_FAILURE,
            EventStatus::RESOURCE_LIMITATION,
        ]
        .iter()
        .any(|passing| passing.code() == status.code())
        {
            return false;
        } else {
            self.parts.counters.ended(Ended::Refused);
            self.close(ae, key).await;
            tracing::warn!(
                called = %ae, transaction, status = format!("{:04X}", status.code()),
                "a storage commitment report was refused for good"
            );
        }
        true
    }

    fn attempted(&self, ae: &AeTitle, outcome: Result<(), String>, again: Option<Instant>) {
        if let Err(why) = outcome {
            self.parts.counters.ended(Ended::Retried);
            let half = Duration::from_millis(500);
            let pause = again.map(|at| at.saturating_duration_since(Instant::now()) + half);
            tracing::warn!(
                called = %ae, why, again_in_s = pause.map(|pause| pause.as_secs()),
                "storage commitment reports could not be brought"
            );
        }
    }

    /// The time of a report is over. What is left tells of it for a while.
    async fn give_up(&self, ae: &AeTitle, key: &str) {
        let _turn = self.taking.lock().await;
        if !self.book().is_done(ae, key) {
            return;
        }
        self.parts.counters.ended(Ended::GivenUp);
        let remembered = match self.load(key).await {
            Ok(Some((mut transaction, _))) => {
                tracing::error!(
                    called = %ae, transaction = %transaction.uid,
                    instances = transaction.references.len(),
                    "ALARM: a storage commitment report was given up; the device still waits"
                );
                transaction.references.clear();
                transaction.given_up_unix_ms = Some(now_unix_ms());
                self.remember(key, &transaction).await
            }
            Ok(None) | Err(_) => false,
        };
        if remembered {
            self.book().close(ae, key);
            self.count();
        } else {
            self.forget(ae, key).await;
        }
    }

    async fn remember(&self, key: &str, transaction: &super::transaction::Transaction) -> bool {
        let now = now_unix_ms();
        let old = self.book().no_longer_shown(now, &self.parts.bounds);
        for old in old {
            if let Ok(Some((_, revision))) = self.load(&old).await {
                self.delete(&old, revision).await;
            }
        }
        if self.book().given_up_count(now, &self.parts.bounds) >= self.parts.bounds.given_up_max {
            return false;
        }
        if let Err(error) = self.put(key, transaction).await {
            tracing::error!(%error, "a report that was given up could not be remembered");
            return false;
        }
        self.book().given_up(key.to_owned(), now);
        true
    }
}
