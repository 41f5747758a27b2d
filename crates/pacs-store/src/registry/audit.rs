//! The audit trail: append-only, each record holding the digest of the one before it.
//!
//! A record is one line of JSON. Its last member, `digest`, is BLAKE3 of all bytes before the comma
//! in front of it, and `previous` is the digest of the record before; of the first it is 64 zeros.
//! The head, a document of its own, holds number and digest of the last record, so that a trail
//! that is cut is noticed. Who holds the whole data directory can make another trail of it: against
//! that somebody notes an [`Anchor`] elsewhere, and has it compared.
//!
//! [`AuditTrail::commit`] is the only way to append. It makes the changes that a record tells of in
//! the same transaction: an act whose record cannot be written does not happen.

mod forwarded;
mod record;
mod verify;

pub use forwarded::Forwarded;
pub use record::AuditRecord;
pub use verify::{AuditProblem, Verified};

use crate::limits::{AUDIT_APPEND_ATTEMPTS_MAX, AUDIT_PAGE_COUNT_MAX};
use crate::records::{Change, Kind, Record, Records, RecordsError, Revision};
use crate::registry::{DocumentError, read, write};
use pacs_core::audit::{AuditEvent, StateDigest};
use pacs_core::patient::PatientKey;
use record::{RECORD, key_of, read_record, write_record};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use tokio::sync::{Mutex, watch};

/// Number and digest of the last record.
const HEAD: Kind = Kind::new("audit-head");
const HEAD_KEY: &str = "head";

/// The records about a patient, newest first: the name of the patient, a slash, and how many
/// numbers there are above the record's.
const OF_PATIENT: Kind = Kind::new("audit-of-patient");

const VERSION: u32 = 1;

/// What the first record has in place of the digest of the one before it.
const NOTHING: StateDigest = StateDigest([0; 32]);

/// A record, by its number and its digest: noted elsewhere, it proves that the trail up to it is
/// the one that was. Written as `NUMBER:DIGEST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    /// The number of the record, from 1 on.
    pub number: u64,
    /// Its digest.
    pub digest: StateDigest,
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.number, self.digest)
    }
}

/// A text that is no [`Anchor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an anchor is a number, a colon and 64 hexadecimal digits")]
pub struct AnchorError;

impl FromStr for Anchor {
    type Err = AnchorError;

    fn from_str(text: &str) -> Result<Self, AnchorError> {
        let (number, digest) = text.trim().split_once(':').ok_or(AnchorError)?;
        let digest = StateDigest::try_from(digest.to_owned()).map_err(|_| AnchorError)?;
        match number.parse() {
            Ok(number @ 1..) => Ok(Self { number, digest }),
            _ => Err(AnchorError),
        }
    }
}

/// Why the trail was not written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// A document of the trail is not what it must be: see [`AuditTrail::verify`].
    #[error("the audit trail is damaged")]
    Damaged(#[from] DocumentError),
    /// Others appended again and again in between. Nothing was done; it can be tried again.
    #[error("too many append to the audit trail at once")]
    Busy,
    /// The records were not read or changed. [`RecordsError::Changed`] names one of the caller's
    /// changes.
    #[error(transparent)]
    Records(#[from] RecordsError),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeadDocument {
    version: u32,
    number: u64,
    digest: StateDigest,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pointer {
    version: u32,
    number: u64,
}

/// The end of the trail, and the state of the document that says so.
#[derive(Debug, Clone, Copy)]
struct Head {
    number: u64,
    digest: StateDigest,
    revision: Option<Revision>,
}

/// The audit trail of an archive. Clones are the same trail; make one for a store of records.
#[derive(Debug, Clone)]
pub struct AuditTrail {
    records: Arc<dyn Records>,
    /// As it is known to be; held while something is appended.
    head: Arc<Mutex<Option<Head>>>,
    /// The number of the last record that was appended here.
    appended: Arc<watch::Sender<u64>>,
    /// Whether a record could not be written, and nothing in the trail tells so.
    interrupted: Arc<watch::Sender<bool>>,
}

impl AuditTrail {
    /// The trail that stands in `records`, or will.
    #[must_use]
    pub fn new(records: Arc<dyn Records>) -> Self {
        Self {
            records,
            head: Arc::default(),
            appended: Arc::new(watch::Sender::new(0)),
            interrupted: Arc::new(watch::Sender::new(false)),
        }
    }

    /// What it stands in.
    pub(crate) fn records(&self) -> &Arc<dyn Records> {
        &self.records
    }

    /// Makes `changes` and appends `event`, durably, or does neither. Gives the states of the
    /// documents in the order of the changes.
    ///
    /// Dropping it while it runs leaves all of it done, or nothing.
    ///
    /// # Errors
    /// [`AuditError::Records`] with [`RecordsError::Changed`], [`RecordsError::Unfit`],
    /// [`RecordsError::Full`] or [`RecordsError::Backend`], and [`AuditError::Busy`]: nothing was
    /// done, or with [`RecordsError::Backend`] perhaps all. [`AuditError::Damaged`] where the head
    /// cannot be read: nothing was done.
    pub async fn commit(
        &self,
        changes: Vec<Change>,
        event: &AuditEvent,
    ) -> Result<Vec<Revision>, AuditError> {
        self.commit_all(changes, std::slice::from_ref(event)).await
    }

    /// As [`AuditTrail::commit`], with several events, in their order. Without any it makes changes
    /// that no event tells of, such as when a session was last used.
    ///
    /// # Errors
    /// As [`AuditTrail::commit`].
    pub async fn commit_all(
        &self,
        changes: Vec<Change>,
        events: &[AuditEvent],
    ) -> Result<Vec<Revision>, AuditError> {
        let own_from = changes.len();
        let mut known = self.head.lock().await;
        for _ in 0..AUDIT_APPEND_ATTEMPTS_MAX {
            // Not known while the change is under way: it may be broken off.
            let head = match known.take() {
                Some(head) => head,
                None => self.read_head().await?,
            };
            let mut all = changes.clone();
            let next = match append(&mut all, head, events) {
                Ok(next) => next,
                Err(error) => {
                    *known = Some(head);
                    return Err(error.into());
                }
            };
            match self.records.apply(all).await {
                Ok(mut revisions) => {
                    let revision = revisions.get(own_from).copied().or(head.revision);
                    *known = Some(Head { revision, ..next });
                    if !events.is_empty() {
                        self.appended.send_replace(next.number);
                    }
                    revisions.truncate(own_from);
                    return Ok(revisions);
                }
                // Somebody else appended: another process, or a trail of its own in this one.
                Err(RecordsError::Changed { at, .. }) if at >= own_from => {}
                Err(error) => {
                    let is_unknown = matches!(error, RecordsError::Backend { .. });
                    if !is_unknown {
                        *known = Some(head);
                    }
                    if !events.is_empty() && (is_unknown || matches!(error, RecordsError::Full)) {
                        self.interrupted.send_replace(true);
                    }
                    return Err(error.into());
                }
            }
        }
        Err(AuditError::Busy)
    }

    /// The last record, to be noted elsewhere; `None` where there is none.
    ///
    /// # Errors
    /// [`AuditError::Damaged`], [`AuditError::Records`].
    pub async fn anchor(&self) -> Result<Option<Anchor>, AuditError> {
        let Head { number, digest, .. } = self.read_head().await?;
        Ok((number > 0).then_some(Anchor { number, digest }))
    }

    /// Up to `count_max` records before the record `before`, newest first; `None`: the newest of
    /// all.
    ///
    /// # Errors
    /// [`AuditError::Damaged`], [`AuditError::Records`].
    pub async fn page(
        &self,
        before: Option<u64>,
        count_max: usize,
    ) -> Result<Vec<AuditRecord>, AuditError> {
        let head = self.read_head().await?;
        let beyond = before.map_or(u64::MAX, |before| before.saturating_sub(1));
        let last = beyond.min(head.number);
        let count = u64::try_from(count_max.min(AUDIT_PAGE_COUNT_MAX)).unwrap_or(u64::MAX);
        let first = last.saturating_sub(count);
        let after = key_of(first);
        let wanted = usize::try_from(last.saturating_sub(first)).unwrap_or(AUDIT_PAGE_COUNT_MAX);
        let found = self.records.list(RECORD, "", Some(&after), wanted).await?;
        let read = found.iter().rev().map(read_record);
        Ok(read.collect::<Result<_, _>>()?)
    }

    /// Changes whenever something is appended through this trail.
    #[must_use]
    pub fn appended(&self) -> watch::Receiver<u64> {
        self.appended.subscribe()
    }

    /// Whether a record could not be written since [`AuditTrail::resumed`]: what it was about did
    /// not happen, and the trail does not tell that somebody tried.
    #[must_use]
    pub fn interrupted(&self) -> watch::Receiver<bool> {
        self.interrupted.subscribe()
    }

    /// Appends `events`, which tell that records could not be written and can be again.
    ///
    /// # Errors
    /// As [`AuditTrail::commit`]; it is still interrupted then.
    pub async fn resumed(&self, events: &[AuditEvent]) -> Result<(), AuditError> {
        self.commit_all(Vec::new(), events).await?;
        self.interrupted.send_replace(false);
        Ok(())
    }

    /// Up to `count_max` records after the record `number`, oldest first.
    ///
    /// # Errors
    /// [`AuditError::Damaged`], [`AuditError::Records`].
    pub async fn after(
        &self,
        number: u64,
        count_max: usize,
    ) -> Result<Vec<AuditRecord>, AuditError> {
        let count_max = count_max.min(AUDIT_PAGE_COUNT_MAX);
        let after = key_of(number);
        let found = self.records.list(RECORD, "", Some(&after), count_max);
        let read: Result<_, _> = found.await?.iter().map(read_record).collect();
        Ok(read?)
    }

    /// Up to `count_max` records about any of `patients` before the record `before`, newest first,
    /// each once: there are no more where it gives fewer.
    ///
    /// # Errors
    /// [`AuditError::Damaged`], [`AuditError::Records`].
    pub async fn of_patients(
        &self,
        patients: &[PatientKey],
        before: Option<u64>,
        count_max: usize,
    ) -> Result<Vec<AuditRecord>, AuditError> {
        let count_max = count_max.min(AUDIT_PAGE_COUNT_MAX);
        // The newest of all are among the newest of each.
        let mut newest = BTreeSet::new();
        for patient in patients {
            let prefix = format!("{}/", name_of(*patient));
            let after = before.map(|before| pointer_key(*patient, before));
            let found = self
                .records
                .list(OF_PATIENT, &prefix, after.as_deref(), count_max);
            for pointer in found.await? {
                newest.insert(Reverse(number_of(&pointer)?));
            }
            while newest.len() > count_max {
                newest.pop_last();
            }
        }
        let mut read = Vec::with_capacity(newest.len());
        for Reverse(number) in newest {
            let record = self.records.get(RECORD, &key_of(number)).await?;
            let record = record.ok_or_else(|| damaged(OF_PATIENT))?;
            let record = read_record(&record)?;
            if !record.event.patients().any(|of| patients.contains(&of)) {
                return Err(damaged(OF_PATIENT).into());
            }
            read.push(record);
        }
        Ok(read)
    }

    async fn read_head(&self) -> Result<Head, AuditError> {
        let Some(record) = self.records.get(HEAD, HEAD_KEY).await? else {
            return Ok(Head {
                number: 0,
                digest: NOTHING,
                revision: None,
            });
        };
        let HeadDocument {
            version,
            number,
            digest,
        } = read(HEAD, &record.value)?;
        if version != VERSION || number == 0 {
            return Err(damaged(HEAD).into());
        }
        Ok(Head {
            number,
            digest,
            revision: Some(record.revision),
        })
    }
}

/// The record that a pointer points at.
fn number_of(pointer: &Record) -> Result<u64, DocumentError> {
    let Pointer { version, number } = read(OF_PATIENT, &pointer.value)?;
    if version == VERSION {
        Ok(number)
    } else {
        Err(damaged(OF_PATIENT))
    }
}

const fn damaged(kind: Kind) -> DocumentError {
    DocumentError { kind: kind.name() }
}

/// What a patient is called in keys.
fn name_of(patient: PatientKey) -> String {
    patient.to_string()
}

fn pointer_key(patient: PatientKey, number: u64) -> String {
    let above = u64::MAX.saturating_sub(number);
    format!("{}/{above:020}", name_of(patient))
}

/// Adds to `changes` the new head, then the records of `events` and what points at them.
fn append(
    changes: &mut Vec<Change>,
    head: Head,
    events: &[AuditEvent],
) -> Result<Head, DocumentError> {
    let mut next = head;
    let mut appended = Vec::new();
    for event in events {
        next.number = next.number.saturating_add(1);
        let (value, digest) = write_record(next.number, next.digest, event)?;
        next.digest = digest;
        let number = next.number;
        appended.push(Change::put(RECORD, key_of(number), value, None));
        // Each once, in whatever order an event names them.
        let mut patients: Vec<String> = Vec::new();
        for patient in event.patients() {
            if patients.contains(&name_of(patient)) {
                continue;
            }
            patients.push(name_of(patient));
            let pointer = Pointer {
                version: VERSION,
                number,
            };
            let pointer = write(OF_PATIENT, &pointer)?;
            let key = pointer_key(patient, number);
            appended.push(Change::put(OF_PATIENT, key, pointer, None));
        }
    }
    if events.is_empty() {
        return Ok(head);
    }
    let document = HeadDocument {
        version: VERSION,
        number: next.number,
        digest: next.digest,
    };
    let document = write(HEAD, &document)?;
    changes.push(Change::put(HEAD, HEAD_KEY, document, head.revision));
    changes.extend(appended);
    Ok(next)
}

#[cfg(test)]
mod tests;
