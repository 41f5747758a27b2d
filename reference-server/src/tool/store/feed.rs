//! What the associations of `pacs store` share, and how each takes files from it.

use crate::tool::failure::chain;
use crate::tool::tally::Tally;
use async_trait::async_trait;
use bytes::Bytes;
use pacs_core::{SopClassUid, SopInstanceUid, TransferSyntaxUid};
use pacs_media::content::{Place, Reader};
use pacs_media::inspect::chunk;
use pacs_media::{Content, Identity, MediaLimits, Refusal};
use pacs_net::requestor::{RequestorError, StoreResponse};
use pacs_net::service::{DataSetSource, OutgoingInstance, SourceError, SubOperations};
use std::collections::VecDeque;
use std::io::Read as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// Presentation contexts of one association, PS3.8 9.3.2.2.
const CONTEXTS_MAX: usize = 128;

pub(super) type Kind = (SopClassUid, TransferSyntaxUid);

/// A file that can be sent.
#[derive(Debug, Clone)]
pub(super) struct Sendable {
    pub(super) place: Place,
    pub(super) identity: Identity,
    pub(super) size_bytes: u64,
    pub(super) content: Content,
    pub(super) kind: Kind,
    pub(super) sop_instance: SopInstanceUid,
    pub(super) data_set_offset: u64,
    pub(super) data_set_bytes: u64,
}

/// What the associations share.
#[derive(Debug)]
pub(super) struct Shared {
    files: tokio::sync::Mutex<mpsc::Receiver<Sendable>>,
    /// Given back by associations that ended before they were answered.
    left_over: Mutex<VecDeque<Sendable>>,
    /// Kinds that were met so far, in that order.
    kinds: Mutex<Vec<Kind>>,
    /// Associations that are open.
    pub(super) open_count: AtomicUsize,
    /// Whether no more files are to be taken.
    pub(super) stops: AtomicBool,
    tally: Arc<Tally>,
    limits: MediaLimits,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(
        files: mpsc::Receiver<Sendable>,
        tally: Arc<Tally>,
        limits: MediaLimits,
    ) -> Self {
        Self {
            files: tokio::sync::Mutex::new(files),
            left_over: Mutex::default(),
            kinds: Mutex::default(),
            open_count: AtomicUsize::new(0),
            stops: AtomicBool::new(false),
            tally,
            limits,
        }
    }

    /// The next file; `None` after the last.
    pub(super) async fn take(&self) -> Option<Sendable> {
        if self.stops.load(Ordering::Acquire) {
            return None;
        }
        let left_over = locked(&self.left_over).pop_front();
        let file = match left_over {
            Some(file) => file,
            None => self.files.lock().await.recv().await?,
        };
        let mut kinds = locked(&self.kinds);
        if !kinds.contains(&file.kind) {
            kinds.push(file.kind.clone());
        }
        drop(kinds);
        Some(file)
    }

    pub(super) fn give_back(&self, file: Sendable) {
        locked(&self.left_over).push_back(file);
    }

    pub(super) fn has_left_over(&self) -> bool {
        !locked(&self.left_over).is_empty()
    }

    /// What an association proposes that begins with a file of `kind`: that and the kinds that were
    /// met last.
    pub(super) fn kinds(&self, kind: &Kind) -> Vec<Kind> {
        let known = locked(&self.kinds);
        let others = known.iter().rev().filter(|other| *other != kind);
        std::iter::once(kind)
            .chain(others)
            .take(CONTEXTS_MAX)
            .cloned()
            .collect()
    }

    /// Takes no more files from those who find them.
    pub(super) async fn close(&self) {
        self.files.lock().await.close();
    }
}

/// The files of one association.
pub(super) struct Feed {
    shared: Arc<Shared>,
    proposed: Vec<Kind>,
    /// The next one, taken already.
    next: Option<Sendable>,
    outstanding: Outstanding,
}

/// The files that an association was given and has not answered, in order.
#[derive(Clone)]
pub(super) struct Outstanding {
    files: Arc<Mutex<VecDeque<Sendable>>>,
    shared: Arc<Shared>,
}

impl Feed {
    pub(super) fn new(shared: Arc<Shared>, proposed: Vec<Kind>, first: Sendable) -> Self {
        Self {
            outstanding: Outstanding {
                files: Arc::default(),
                shared: Arc::clone(&shared),
            },
            shared,
            proposed,
            next: Some(first),
        }
    }

    pub(super) fn outstanding(&self) -> Outstanding {
        self.outstanding.clone()
    }

    /// Gives back what was not answered, for another association.
    pub(super) fn give_back(&mut self) {
        let files = std::mem::take(&mut *locked(&self.outstanding.files));
        for file in files.into_iter().chain(self.next.take()) {
            self.shared.give_back(file);
        }
    }
}

impl Outstanding {
    /// Takes the answer to the file that was sent first; whether it was stored.
    pub(super) fn answered(&self, response: &Result<StoreResponse, RequestorError>) -> bool {
        let Some(file) = locked(&self.files).pop_front() else {
            return false;
        };
        let tally = &self.shared.tally;
        match response {
            Ok(response) => {
                if response.is_warning() {
                    let text = format!("stored with warning {:04X}H", response.status);
                    tally.remark(&file.place, "warning", &text);
                }
                let path = serde_json::json!({
                    "path": file.place.to_string(),
                    "sop_instance": file.sop_instance.as_str(),
                    "status": format!("{:04X}", response.status),
                });
                tally.output.result("", &path);
                tally.stored(file.identity, file.size_bytes, file.data_set_bytes);
                true
            }
            Err(
                error @ (RequestorError::NoPresentationContext { .. }
                | RequestorError::Source(_)
                | RequestorError::Status { .. }),
            ) => {
                let reason = if matches!(error, RequestorError::Status { .. }) {
                    "status"
                } else if matches!(error, RequestorError::Source(_)) {
                    "read"
                } else {
                    "presentation-context"
                };
                tally.work.add(file.size_bytes);
                tally.refuse_because(&file.place, reason, &chain(error));
                false
            }
            // The association is gone: nobody knows what became of the file.
            Err(_) => {
                locked(&self.files).push_front(file);
                false
            }
        }
    }
}

#[async_trait]
impl SubOperations for Feed {
    fn count(&self) -> usize {
        usize::from(self.next.is_some())
    }

    fn kinds(&self) -> Vec<Kind> {
        self.proposed.clone()
    }

    async fn next(&mut self) -> Option<OutgoingInstance> {
        let file = match self.next.take() {
            Some(file) => file,
            None => self.shared.take().await?,
        };
        if !self.proposed.contains(&file.kind) {
            self.next = Some(file);
            return None;
        }
        locked(&self.outstanding.files).push_back(file.clone());
        Some(OutgoingInstance {
            sop_class: file.kind.0,
            sop_instance: file.sop_instance,
            transfer_syntax: file.kind.1,
            length_bytes: file.data_set_bytes,
            source: Box::new(Source {
                state: State::New(file.content, file.data_set_offset),
                limits: self.shared.limits,
            }),
        })
    }
}

/// The data set of a file, opened when it is needed.
struct Source {
    state: State,
    limits: MediaLimits,
}

enum State {
    /// Being read, or failed.
    Away,
    /// Not opened; the data set begins at an offset.
    New(Content, u64),
    Open(Reader),
}

impl State {
    fn read(self, limits: &MediaLimits) -> Result<(Self, Vec<u8>), Refusal> {
        let (mut reader, length) = match self {
            Self::Away => return Ok((Self::Away, Vec::new())),
            Self::Open(reader) => (reader, u64::MAX),
            Self::New(content, offset) => {
                let (mut reader, length) = content.open(limits)?;
                let mut before = reader.by_ref().take(offset);
                std::io::copy(&mut before, &mut std::io::sink()).map_err(Refusal::Read)?;
                (reader, length)
            }
        };
        let piece = chunk(&mut reader, limits, length)?;
        Ok((Self::Open(reader), piece))
    }
}

#[async_trait]
impl DataSetSource for Source {
    async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        let state = std::mem::replace(&mut self.state, State::Away);
        let limits = self.limits;
        let reading = tokio::task::spawn_blocking(move || state.read(&limits));
        let (state, piece) = match reading.await {
            Ok(read) => read.map_err(|error| SourceError(Box::new(error)))?,
            Err(error) => return Err(SourceError(Box::new(error))),
        };
        self.state = state;
        Ok((!piece.is_empty()).then(|| piece.into()))
    }
}
