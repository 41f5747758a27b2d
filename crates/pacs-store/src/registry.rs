//! What is known of patients, examinations, organisations and devices: documents in the
//! [`records`](crate::records), with types.
//!
//! [`Registry`] is the only way to them. Whatever says something about a patient is read and
//! changed with a [`Licence`](pacs_core::role::Licence) of the one table of roles. Every change is
//! one batch: the documents, the keys by which they are found, and the record of who did it, or
//! nothing of it. Nobody overwrites a change unseen: a change names the [`Revision`] it is based on
//! and is refused where that is not the present one. Time and random numbers are arguments.

pub mod accounts;
pub mod announcements;
pub mod audit;
mod batch;
mod commit;
pub mod consents;
pub mod devices;
mod document;
pub mod erasures;
mod error;
pub mod examinations;
pub mod holds;
pub mod notices;
pub mod organisations;
pub mod patients;
pub mod rejections;
pub mod reports;
pub mod requests;
pub mod secrets;
pub mod sendings;
pub mod steps;
mod stirring;
pub mod witnesses;

pub use document::Stored;
pub use error::{Refusal, RegistryError};
pub use stirring::Stirred;

use crate::limits::{CHANGED_EXAMINATIONS_MAX, REQUEST_TURNS_COUNT};
use crate::records::Records;
pub use crate::records::Revision;
use audit::AuditTrail;
use chrono::{DateTime, FixedOffset};
use pacs_core::ExaminationId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use tokio::sync::{Mutex, MutexGuard, Notify, broadcast};

/// When something is done, with the offset of the place of the archive.
pub type Moment = DateTime<FixedOffset>;

/// The registry of an archive. Clones are the same.
#[derive(Debug, Clone)]
pub struct Registry {
    inner: Arc<Inner>,
    /// What is asked for, where it must be done once.
    request: Option<Arc<requests::Request>>,
}

#[derive(Debug)]
struct Inner {
    records: Arc<dyn Records>,
    trail: AuditTrail,
    /// Held from reading to committing by changes that many make at once, such as taking the next
    /// number: they would find each other's work, and begin again, without end.
    turn: Mutex<()>,
    /// One of them is held by a request that is done once, as long as it is under way.
    request_turns: [Mutex<()>; REQUEST_TURNS_COUNT],
    stirring: stirring::Stirring,
    /// Says that somebody is to be told of a study.
    announced: Notify,
    /// Says that the document of a report is owed to the archive.
    report_signed: Notify,
    /// Examinations that were changed, for whoever looks at them.
    changed: broadcast::Sender<ExaminationId>,
}

/// What an import made of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Imported {
    /// It was not there.
    Added,
    /// It was another.
    Changed,
    /// It was the same.
    Same,
}

impl Registry {
    /// The registry that is kept in `records`. There should be one of them at a time; two are
    /// correct, and slower.
    #[must_use]
    pub fn new(records: Arc<dyn Records>) -> Self {
        Self {
            inner: Arc::new(Inner {
                trail: AuditTrail::new(Arc::clone(&records)),
                records,
                turn: Mutex::new(()),
                request_turns: std::array::from_fn(|_| Mutex::new(())),
                stirring: stirring::Stirring::default(),
                announced: Notify::new(),
                report_signed: Notify::new(),
                changed: broadcast::Sender::new(CHANGED_EXAMINATIONS_MAX),
            }),
            request: None,
        }
    }

    /// The audit trail, to which every change here is appended.
    #[must_use]
    pub fn audit_trail(&self) -> AuditTrail {
        self.inner.trail.clone()
    }

    /// Tells of each examination that is changed from now on, by this process. Whoever does not
    /// listen for a while misses some, and is told so.
    #[must_use]
    pub fn changed_examinations(&self) -> broadcast::Receiver<ExaminationId> {
        self.inner.changed.subscribe()
    }

    fn records(&self) -> &dyn Records {
        &*self.inner.records
    }

    /// Waits for the turn to change something. Whoever holds it makes no change but those that take
    /// it: any other would wait for it.
    pub async fn turn(&self) -> Turn<'_> {
        Turn {
            _held: self.inner.turn.lock().await,
        }
    }
}

/// The turn to change something of a registry. What is counted in an archive while it is held is so
/// when the change is made that rests on it: that images are hidden or brought back is written down
/// in turns and counted from then on, whenever the archive does it; and what comes later is judged
/// in a later one.
#[derive(Debug)]
pub struct Turn<'a> {
    _held: MutexGuard<'a, ()>,
}

/// Why a document was not understood. Shows nothing of what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a document of kind {kind} is damaged or of another version")]
pub struct DocumentError {
    /// Its kind.
    pub kind: &'static str,
}

/// Reads a document of one kind.
pub(crate) fn read<T: DeserializeOwned>(
    kind: crate::records::Kind,
    value: &[u8],
) -> Result<T, DocumentError> {
    serde_json::from_slice(value).map_err(|_| DocumentError { kind: kind.name() })
}

/// Writes a document of one kind. Nothing stands for one that cannot be written.
pub(crate) fn write<T: Serialize>(
    kind: crate::records::Kind,
    document: &T,
) -> Result<Vec<u8>, DocumentError> {
    serde_json::to_vec(document).map_err(|_| DocumentError { kind: kind.name() })
}
