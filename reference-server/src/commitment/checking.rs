//! Checks what is asked about, one request of an AE after the other. Instances of all AEs share the
//! disk in turn. What other archives have not confirmed yet is put off, and holds nothing else up.

use super::desk::Checked;
use super::elsewhere::Elsewhere;
use super::transaction::Transaction;
use super::{Shared, Wake};
use pacs_core::AeTitle;
use pacs_core::commitment::{FailureReason, Place, Reference};
use pacs_net::sop_class::{ServiceClass, service_class};
use pacs_store::Safekeeping;
use tokio::time::Instant;

/// Checks for `ae` until it is dropped.
pub(super) async fn check(shared: &Shared, ae: &AeTitle, wake: &Wake) {
    let mut progress = shared.progress_elsewhere();
    let mut put_off = Vec::new();
    loop {
        // In a statement of its own: the lock is not held while it is waited.
        let next = shared.book().next_to_check(ae);
        let Some(key) = next else {
            tokio::select! {
                () = wake.checking.notified() => {}
                () = shared.changed_elsewhere(&mut progress), if !put_off.is_empty() => {
                    shared.book().check_again(ae, std::mem::take(&mut put_off));
                }
            }
            continue;
        };
        let began = Instant::now();
        let failures = match shared.load(&key).await {
            Ok(Some((transaction, _))) => match check_one(shared, &transaction).await {
                Some(failures) => failures,
                None => {
                    let until = Instant::now() + shared.parts.bounds.retry_for;
                    if shared.book().put_off(ae, &key, until) {
                        tracing::info!(
                            calling = %ae, transaction = %transaction.uid,
                            instances = transaction.references.len(),
                            "storage commitment is put off: not all of it is confirmed elsewhere"
                        );
                    }
                    put_off.push(key);
                    continue;
                }
            },
            Ok(None) => continue,
            Err(error) => {
                // It stays open, is given up in its time, and is tried again after a restart.
                tracing::error!(calling = %ae, %error, "a commitment request cannot be read");
                continue;
            }
        };
        shared.book().checked(ae, &key, Checked { failures, began });
    }
}

/// What fails; `None` where that is not known yet.
async fn check_one(
    shared: &Shared,
    transaction: &Transaction,
) -> Option<Vec<(usize, FailureReason)>> {
    let mut elsewhere = Vec::new();
    if !transaction.is_duplicate {
        let instances = transaction.references.iter().map(|of| &of.sop_instance);
        let accepted = transaction.accepted_unix_ms;
        elsewhere = shared.elsewhere(instances, accepted).await;
    }
    if elsewhere.contains(&Elsewhere::Waits) {
        return None;
    }
    let mut failures = Vec::new();
    for (at, reference) in transaction.references.iter().enumerate() {
        let failure = if transaction.is_duplicate {
            Some(FailureReason::DUPLICATE_TRANSACTION_UID)
        } else {
            let here = check_reference(shared, reference, None).await;
            here.or(elsewhere.get(at).and_then(|of| of.failure()))
        };
        shared.parts.counters.checked(failure);
        failures.extend(failure.map(|reason| (at, reason)));
    }
    if !failures.is_empty() {
        tracing::warn!(
            calling = %transaction.ae, transaction = %transaction.uid,
            instances = transaction.references.len(), failed = failures.len(),
            first = ?failures.first().map(|(_, reason)| reason),
            "not everything that was asked about can be committed"
        );
    }
    Some(failures)
}

/// Why an instance is not committed: one that has to be at `place`, where that is said.
pub(super) async fn check_reference(
    shared: &Shared,
    reference: &Reference,
    place: Option<&Place>,
) -> Option<FailureReason> {
    let Reference {
        sop_class,
        sop_instance,
    } = reference;
    if service_class(sop_class.as_str()) != ServiceClass::Storage {
        return Some(FailureReason::SOP_CLASS_NOT_SUPPORTED);
    }
    // The semaphore is never closed; without a place it would only be faster than it should.
    let _place = shared.checks.acquire().await.ok();
    let archive = &shared.parts.archive;
    let checked = archive.check_in(&shared.permit, sop_instance, sop_class, place);
    match checked.await {
        Ok(Safekeeping::Kept) => None,
        Ok(Safekeeping::Damaged) => Some(FailureReason::PROCESSING_FAILURE),
        Ok(Safekeeping::Hidden | Safekeeping::Unknown) => {
            Some(FailureReason::NO_SUCH_OBJECT_INSTANCE)
        }
        Ok(Safekeeping::OtherClass) => Some(FailureReason::CLASS_INSTANCE_CONFLICT),
        Err(error) => {
            tracing::error!(%error, "an instance could not be looked up for commitment");
            Some(FailureReason::PROCESSING_FAILURE)
        }
    }
}
